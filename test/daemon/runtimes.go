package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// RuntimesVar names a folder in which servers of tests leave the runtimes that
// they have built for others to come; without it each builds its own. A test of
// the building itself takes none from there.
const RuntimesVar = "CLARY_TEST_RUNTIMES"

const unusedAfter = 14 * 24 * time.Hour

// Borrow gives the server, before it is started, the runtimes that others have
// left.
func (d *Daemon) Borrow() error {
	shelf := os.Getenv(RuntimesVar)
	if shelf == "" {
		return nil
	}
	entries, err := os.ReadDir(shelf)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.Name()[0] != '.' && time.Since(info.ModTime()) > unusedAfter {
			_ = os.RemoveAll(filepath.Join(shelf, e.Name())) // another may do the same
		}
	}
	return d.Share(shelf)
}

// Share gives the server, before it is started, the runtimes that are built in a
// folder. Files are linked where they can be, not copied: a runtime never changes.
func (d *Daemon) Share(folder string) error {
	built, err := filepath.Glob(filepath.Join(folder, "*", "runtime.json"))
	if err != nil {
		return err
	}
	own := filepath.Join(d.Data, "runtimes")
	if err := os.MkdirAll(own, 0o700); err != nil {
		return err
	}
	for _, b := range built {
		if err := link(filepath.Dir(b), own, filepath.Base(filepath.Dir(b))); err != nil {
			return err
		}
	}
	return nil
}

// Lend leaves what the server has built, once it has stopped, for others.
func (d *Daemon) Lend() error { return Lend(filepath.Join(d.Data, "runtimes")) }

// Lend leaves the runtimes that were built in a folder for servers to come.
func Lend(folder string) error {
	shelf := os.Getenv(RuntimesVar)
	if shelf == "" {
		return nil
	}
	if err := os.MkdirAll(shelf, 0o700); err != nil {
		return err
	}
	built, err := filepath.Glob(filepath.Join(folder, "*", "runtime.json"))
	if err != nil {
		return err
	}
	for _, b := range built {
		dir := filepath.Dir(b)
		to := filepath.Join(shelf, filepath.Base(dir))
		now := time.Now()
		if os.Chtimes(to, now, now) == nil {
			continue // it is there, and still of use
		}
		if err := link(dir, shelf, filepath.Base(dir)); err != nil {
			return err
		}
	}
	return nil
}

// link makes a tree of links under a name, or of copies on another disk; all of
// it or nothing.
func link(from, folder, name string) error {
	half, err := os.MkdirTemp(folder, ".half-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(half) //nolint:errcheck // empty, or of no use
	to := filepath.Join(half, name)
	if exec.Command("cp", "-al", from, to).Run() != nil { //nolint:noctx // seconds
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil { //nolint:noctx // seconds
			return fmt.Errorf("cp -a %s: %w: %.300s", from, err, out)
		}
	}
	err = os.Rename(to, filepath.Join(folder, name))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
