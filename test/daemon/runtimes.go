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
// left. Files are linked, not copied: a runtime never changes.
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
	own := filepath.Join(d.Data, "runtimes")
	if err := os.MkdirAll(own, 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name()[0] == '.' {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > unusedAfter {
			_ = os.RemoveAll(filepath.Join(shelf, e.Name())) // another may do the same
			continue
		}
		if err := link(filepath.Join(shelf, e.Name()), own, e.Name()); err != nil {
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

// link makes a tree of links under a name, all of it or nothing.
func link(from, folder, name string) error {
	half, err := os.MkdirTemp(folder, ".half-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(half) //nolint:errcheck // empty, or of no use
	//nolint:noctx // seconds
	if out, err := exec.Command("cp", "-al", from, filepath.Join(half, name)).CombinedOutput(); err != nil {
		return fmt.Errorf("cp -al %s: %w: %.300s", from, err, out)
	}
	err = os.Rename(filepath.Join(half, name), filepath.Join(folder, name))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
