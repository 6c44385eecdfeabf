// Setup installs what tests and the demo need and prints where it is. It is
// safe to run at any time; what is there already is left alone.
//
//	go run ./tool/setup          the AWS clients: Python environments and Node packages
//	go run ./tool/setup build    bin/clary with clary-task embedded
//	go run ./tool/setup gen      API structs and facts from the pinned botocore
//	go run ./tool/setup lock     new lock files from the requirements-*.in
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"clary/tool/internal/debian"
	"clary/tool/internal/pyenv"
	"clary/tool/internal/sdks"
	"clary/tool/internal/step"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "setup:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	root, err := step.Root()
	if err != nil {
		return err
	}
	verb := "clients"
	if len(args) > 0 {
		verb = args[0]
	}
	switch verb {
	case "clients":
		dir, err := step.CacheDir()
		if err != nil {
			return err
		}
		needs := append(debian.Programs(), pyenv.Needs(ctx))
		if err := debian.Need(ctx, filepath.Join(dir, "apt.lock"), say, needs...); err != nil {
			return err
		}
		c, err := pyenv.EnsureClients(ctx, say)
		if err != nil {
			return err
		}
		other, err := sdks.Ensure(ctx, say)
		if err != nil {
			return err
		}
		for _, line := range append(c.Env(), other.Env()...) {
			fmt.Println("export " + line)
		}
		return nil
	case "build":
		if err := step.Build(ctx, root); err != nil {
			return err
		}
		fmt.Println(filepath.Join("bin", "clary"))
		return nil
	case "gen":
		c, err := pyenv.EnsureClients(ctx, say)
		if err != nil {
			return err
		}
		data, err := c.Botocore()
		if err != nil {
			return err
		}
		return step.Run(ctx, step.Cmd{Dir: root, Out: os.Stdout, Args: []string{"go", "run", "./tool/modelgen", "-botocore", data}})
	case "lock":
		return lock(ctx, root)
	}
	return errors.New("unknown verb " + verb + "; see the comment on top of tool/setup/main.go")
}

// lock resolves the wanted packages anew, for every Python from 3.11 on.
func lock(ctx context.Context, root string) error {
	dir, err := step.CacheDir()
	if err != nil {
		return err
	}
	uv, err := (pyenv.Cache{Root: root, Dir: dir, Say: say}).UV(ctx)
	if err != nil {
		return err
	}
	for _, name := range []string{"uv", "v2", "v3"} {
		file := "requirements-" + name
		err := step.Run(ctx, step.Cmd{Dir: filepath.Join(root, "test", "sdk"), Args: []string{
			uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
			"--generate-hashes", "--upgrade", "-o", file + ".txt", file + ".in",
		}})
		if err != nil {
			return err
		}
		say("test/sdk/%s.txt", file)
	}
	return nil
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
