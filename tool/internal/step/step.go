// Package step runs the commands of our tools and says what is going on. It
// knows no project; start at Run.
package step

import (
	"bytes"
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
	cmd.Env = append(cmd.Environ(), c.Env...) // PWD is Dir, which Go's test cache sees
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
	if err := write(embedded, b, 0o755); err != nil {
		return err
	}
	// Its name by content is made here, so that no start has to read it whole.
	sum := sha256.Sum256(b)
	if err := write(embedded+".sum", []byte(hex.EncodeToString(sum[:8])), 0o644); err != nil {
		return err
	}
	return goBuild(ctx, root, filepath.Join(root, "bin", "clary"), "./cmd/clary")
}

// write leaves an unchanged file its time, and Go its cached packages and tests.
func write(path string, b []byte, mode os.FileMode) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, b) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	half, err := os.CreateTemp(filepath.Dir(path), ".half-")
	if err != nil {
		return err
	}
	_, err = half.Write(b)
	if err = errors.Join(err, half.Chmod(mode), half.Close()); err == nil {
		err = os.Rename(half.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(half.Name()))
	}
	return err
}

// goBuild makes a program in a folder of its own, since Go gives it the time of
// the last build even if it is the same.
func goBuild(ctx context.Context, root, out, pkg string, flags ...string) error {
	built := filepath.Join(filepath.Dir(out), "built", filepath.Base(out))
	args := append([]string{"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", built}, flags...)
	if err := Run(ctx, Cmd{
		Dir:  root,
		Env:  []string{"CGO_ENABLED=0"},
		Args: append(args, pkg),
	}); err != nil {
		return err
	}
	b, err := os.ReadFile(built)
	if err != nil {
		return err
	}
	return write(out, b, 0o755)
}
