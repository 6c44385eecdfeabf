package notebook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"clary/internal/stage/build"
	"clary/internal/stage/home"
)

// taskBinary is where a task finds this program.
const taskBinary = "/run/clary/clary-task"

// kernelVerb is this program as a kernel: see KernelMain.
const kernelVerb = "kernel"

// installed is in an environment that is whole.
const installed = ".clary-installed"

// offers tells Jupyter of the kernels that are installed when they are first
// used.
func (n *instance) offers() error {
	locks, err := filepath.Glob(n.path(filepath.Join(build.Env, build.Offers, "*.txt")))
	if err != nil {
		return err
	}
	for _, l := range locks {
		env := strings.TrimSuffix(filepath.Base(l), ".txt")
		if filepath.Base(l) == build.UVFile {
			continue
		}
		if err := n.kernelSpec("conda_"+env, []string{taskBinary, kernelVerb, env, "{connection_file}"}, env); err != nil {
			return err
		}
	}
	return nil
}

// KernelMain becomes a kernel, once its environment is there. What it says
// meanwhile is in the instance's log.
func KernelMain(ctx context.Context, args, environ []string, out io.Writer) int {
	if len(args) != 2 {
		return 2
	}
	n := newInstance("/", environ, out)
	name, connection := args[0], args[1]
	env := filepath.Join(n.envs, name)
	if err := n.install(ctx, name, env); err != nil {
		n.say("the kernel %s cannot be installed: %v", name, err)
		return 1
	}
	python := filepath.Join(env, "bin/python")
	err := syscall.Exec(python, []string{python, "-m", "ipykernel_launcher", "-f", connection}, environ)
	n.say("starting %s: %v", python, err)
	return 1
}

// install makes an offered kernel's environment unless it is there. Two
// notebooks may want it at once; the second waits.
func (n *instance) install(ctx context.Context, name, env string) error {
	lock, err := os.ReadFile(n.path(filepath.Join(build.Env, build.Offers, filepath.Base(name)+".txt")))
	if err != nil {
		return err
	}
	uv, err := os.ReadFile(n.path(filepath.Join(build.Env, build.Offers, build.UVFile)))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(n.path(env), 0o755); err != nil {
		return err
	}
	turn, err := os.OpenFile(n.path(env+".lock"), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer turn.Close() //nolint:errcheck // it gives the turn up
	err = unix.EINTR
	for errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(turn.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(n.path(filepath.Join(env, installed))); err == nil {
		return nil
	}
	dir, err := os.MkdirTemp("", "kernel")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	for file, data := range map[string][]byte{build.LockFile: lock, build.UVFile: uv} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
			return err
		}
	}
	cache := n.path(filepath.Join(n.home, ".cache/clary"))
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	python, err := os.Readlink(n.path(filepath.Join(build.Env, "bin/python")))
	if err != nil {
		return err
	}
	mask := unix.Umask(0o022)
	unix.Umask(mask)
	defer unix.Umask(mask) // a build opens its files to others
	n.say("installing the kernel %s, which is used for the first time", name)
	if code := build.Main(ctx, []string{"-python", python, "-dir", dir, "-env", n.path(env), "-cache", cache}, n.environ(), n.out); code != 0 {
		return fmt.Errorf("the installation ended with code %d", code)
	}
	return home.Write(n.path(filepath.Join(env, installed)), "")
}
