// Command clary-task is what runs beside and inside a task. The server starts
// it as a supervisor; everything else it is, it is within a task.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/sudo"
	"clary/internal/compute/sandbox/supervisor"
	"clary/internal/stage/build"
	"clary/internal/stage/control"
	"clary/internal/stage/gitcode"
	"clary/internal/stage/launch"
	"clary/internal/stage/notebook"
	"clary/internal/stage/rescue"
	"clary/internal/stage/serve"
	"clary/internal/stage/spark"
)

// Supervisor, init and warden set up their first thread and make children of
// it; control groups count memory where that thread is.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // the only way to be on the first thread

func main() {
	os.Exit(run(os.Args))
}

func run(args []string) int {
	verb := ""
	if len(args) > 1 {
		verb = args[1]
	}
	// A task finds script mode's launcher in its PATH under the name that
	// SageMaker's images give it.
	switch filepath.Base(args[0]) {
	case "train":
		verb = "launch"
	case build.SparkSubmit:
		return spark.Main(args[1:], os.Environ(), os.Stderr)
	case "sudo": // of a task that has a user, as are those that follow
		return sudo.Main(args[1:], os.Environ(), os.Stdout, os.Stderr)
	case control.Crontab, control.Systemctl, control.Initctl:
		return control.Main(context.Background(), filepath.Base(args[0]), args[1:], os.Stdin, os.Stdout, os.Stderr)
	}
	switch verb {
	case "supervise":
		args, with := withVolume(args)
		if len(args) != 3 {
			return usage()
		}
		var volume *os.File
		if with {
			volume = os.NewFile(3, jail.WithVolume)
		}
		if err := supervisor.Run(args[2], volume); err != nil {
			fmt.Fprintln(os.Stderr, "clary-task supervise:", err)
			return 1
		}
		return 0
	case "init":
		args, with := withVolume(args)
		if len(args) != 4 {
			return usage()
		}
		groups, err := strconv.Atoi(args[3])
		if err != nil {
			return usage()
		}
		return jail.Init(args[2], groups, with)
	case "warden":
		return jail.Warden()
	case "hold": // keeps its namespaces until it is killed or not needed any more
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	case "peers": // tries, in namespaces of its own, what hosts of one job need
		if err := jail.TryPeers(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	case "stage":
		return runStage()
	case "build":
		return build.Main(context.Background(), args[2:], os.Environ(), os.Stdout)
	case "launch":
		return launch.Main(context.Background(), "/opt/ml", os.Environ(), os.Stdout, os.Stderr)
	case "serve":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		return serve.Main(ctx, args[2:], "/opt/ml", os.Environ(), os.Stdout)
	case "notebook":
		if err := sudo.BecomeRoot(jail.Binary, args, os.Environ()); err != nil {
			fmt.Fprintln(os.Stderr, "clary-task notebook:", err)
			return 1
		}
		return notebook.Main(os.Environ(), os.Stdout)
	case "home":
		return notebook.HomeMain(os.Environ(), os.Stdout)
	case "git-credential":
		return gitcode.CredentialMain(context.Background(), args[2:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	case "rescue":
		return rescue.Main(os.Environ(), os.Stdout)
	case "kernel":
		return notebook.KernelMain(context.Background(), args[2:], os.Environ(), os.Stdout)
	}
	return usage()
}

// withVolume takes the last argument away if it says so.
func withVolume(args []string) ([]string, bool) {
	last := len(args) - 1
	if args[last] == jail.WithVolume {
		return args[:last], true
	}
	return args, false
}

func usage() int {
	fmt.Fprintf(os.Stderr, "%s is started by clary; it has nothing to be called for by hand\n", filepath.Base(os.Args[0]))
	return 2
}
