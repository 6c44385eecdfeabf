package sdk

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/test/daemon"
)

// image is what the flows of other languages train in: any that has a shell,
// so the one that is built soonest.
const image = "CLARY_TEST_IMAGE=683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:1.0"

// languages runs the flows that are not Python.
func languages(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	for name, program := range map[string]func(t *testing.T) (dir string, args []string){"go": goFlow, "js": jsFlow} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, args := program(t)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			cmd := d.Command(ctx, "", args...)
			cmd.Dir = dir
			cmd.Env = append(cmd.Env, image)
			if err := daemon.Lines(cmd, func(line string) { fmt.Println(name + " | " + line) }); err != nil {
				t.Errorf("%s: %v", args, err)
			}
		})
	}
}

// goFlow builds the tests of the module in go, outside of the environment that
// they run in: Go would look for modules through our proxy.
func goFlow(t *testing.T) (dir string, args []string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "flows")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", out, ".")
	cmd.Dir = "go"
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, b)
	}
	return "go", []string{out, "-test.v", "-test.count=1"}
}

// jsFlow runs the flows beside their packages: Node looks for them there only.
func jsFlow(t *testing.T) (dir string, args []string) {
	t.Helper()
	modules := os.Getenv("CLARY_NODE_MODULES")
	if modules == "" {
		t.Fatal("CLARY_NODE_MODULES is not set: run `make sdk`, or eval \"$(make -s setup)\" first")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("%v: run `make setup`", err)
	}
	dir = t.TempDir()
	files, err := filepath.Glob(filepath.Join("js", "*.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	args = []string{node, "--test"}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Base(file)
		if err := os.WriteFile(filepath.Join(dir, base), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(base, ".test.mjs") {
			args = append(args, base)
		}
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir, args
}
