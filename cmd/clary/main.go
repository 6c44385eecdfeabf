// Command clary is your own SageMaker: the server and the verbs around it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"clary/examples"
	"clary/internal/cli"
	"clary/internal/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, cli.IO{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Environ(), Exec: syscall.Exec,
		Serve: func(ctx context.Context, o cli.ServeOptions, ready func(addr string)) error {
			return server.Run(ctx, server.Config(o), ready)
		},
		Probe:    server.Probe,
		Runtimes: server.Runtimes,
		Examples: examples.Notebooks,
	}, os.Args[1:])
	stop()
	os.Exit(code)
}
