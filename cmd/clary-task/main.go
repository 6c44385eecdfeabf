// Command clary-task is what runs beside and inside a task. The server starts
// it as a supervisor; everything else it is, it is within a task.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/supervisor"
	"clary/internal/stage/build"
	"clary/internal/stage/launch"
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
	if filepath.Base(args[0]) == "train" {
		verb = "launch"
	}
	switch verb {
	case "supervise":
		if len(args) != 3 {
			return usage()
		}
		if err := supervisor.Run(args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "clary-task supervise:", err)
			return 1
		}
		return 0
	case "init":
		if len(args) != 4 {
			return usage()
		}
		groups, err := strconv.Atoi(args[3])
		if err != nil {
			return usage()
		}
		return jail.Init(args[2], groups)
	case "warden":
		return jail.Warden()
	case "hold": // keeps its namespaces until it is killed or not needed any more
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	case "stage":
		return runStage()
	case "build":
		return build.Main(context.Background(), args[2:], os.Environ(), os.Stdout)
	case "launch":
		return launch.Main(context.Background(), "/opt/ml", os.Environ(), os.Stdout, os.Stderr)
	}
	return usage()
}

func usage() int {
	fmt.Fprintf(os.Stderr, "%s is started by clary; it has nothing to be called for by hand\n", filepath.Base(os.Args[0]))
	return 2
}
