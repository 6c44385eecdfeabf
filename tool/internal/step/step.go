// Package step runs the commands of our tools and says what is going on. It
// knows no project; start at Run.
package step

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Cmd is one command. Output goes to Out, or is kept and shown on failure
// alone when Out is nil.
type Cmd struct {
	Dir  string
	Env  []string // beside the process's own; later entries win
	Args []string
	Out  io.Writer
}

// Run runs c to its end. A cancelled context interrupts it with all that it
// started, and kills them when it has not ended ten seconds later.
func Run(ctx context.Context, c Cmd) error {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	// A group of its own: `go test` passes no interrupt on to the tests.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	var kept strings.Builder
	cmd.Stdout, cmd.Stderr = c.Out, c.Out
	if c.Out == nil {
		cmd.Stdout, cmd.Stderr = &kept, &kept
	}
	err := cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // there may be nobody left
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, strings.TrimRight(kept.String(), "\n"))
	}
	return nil
}

// Root is the folder of this module, from any folder inside it.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s is not inside a Go module", dir)
		}
	}
}

// Hold takes a lock between processes.
func Hold(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // only its lock was used
}

// CacheDir is where downloaded things are kept between runs, outside the
// repository.
func CacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder to cache in: %w; set HOME or XDG_CACHE_HOME", err)
	}
	dir := filepath.Join(base, "clary-test")
	return dir, os.MkdirAll(dir, 0o755)
}

// Build makes bin/clary-task and bin/clary with it embedded.
func Build(ctx context.Context, root string) error {
	task := filepath.Join(root, "bin", "clary-task")
	// It speaks HTTP/1.1 alone, over sockets of its own.
	if err := goBuild(ctx, root, task, "./cmd/clary-task", "-tags=nethttpomithttp2"); err != nil {
		return err
	}
	b, err := os.ReadFile(task)
	if err != nil {
		return err
	}
	embedded := filepath.Join(root, "internal", "server", "taskbin", "clary-task")
	// An unchanged file keeps its time, and Go its cached packages.
	if have, err := os.ReadFile(embedded); err != nil || string(have) != string(b) {
		if err := os.MkdirAll(filepath.Dir(embedded), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(embedded, b, 0o755); err != nil {
			return err
		}
	}
	// Its name by content is made here, so that no start has to read it whole.
	sum := sha256.Sum256(b)
	if err := os.WriteFile(embedded+".sum", []byte(hex.EncodeToString(sum[:8])), 0o644); err != nil {
		return err
	}
	return goBuild(ctx, root, filepath.Join(root, "bin", "clary"), "./cmd/clary")
}

func goBuild(ctx context.Context, root, out, pkg string, flags ...string) error {
	args := append([]string{"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out}, flags...)
	return Run(ctx, Cmd{
		Dir:  root,
		Env:  []string{"CGO_ENABLED=0"},
		Args: append(args, pkg),
	})
}
