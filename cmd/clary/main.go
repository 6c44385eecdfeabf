// Command clary is your own SageMaker: the server and the verbs around it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"clary/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Environ(), Exec: syscall.Exec}, os.Args[1:])
	stop()
	os.Exit(code)
}
