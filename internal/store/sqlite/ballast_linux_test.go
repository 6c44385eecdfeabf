package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

// fullDisk names the folder on which a child of TestFullDisk mounts a small
// disk of its own.
const fullDisk = "CLARY_SQLITE_FULL_DISK"

// A full disk takes what ballast there is: what is under way is recorded, and
// after that a write says that the disk is full and leaves nothing behind.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, "-test.run=^$")
	c.Env = append(os.Environ(), fullDisk+"="+t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "passed\n") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// onFullDisk is the child.
func onFullDisk() {
	dir := os.Getenv(fullDisk)
	if dir == "" {
		return
	}
	if err := onDisk(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("passed")
	os.Exit(0)
}

func onDisk(dir string) error {
	if err := syscall.Mount("small", dir, "tmpfs", 0, "size=16m"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	path := filepath.Join(dir, "clary.db")
	ballast := filepath.Join(dir, "ballast")
	s, err := Open(path, Options{Ballast: ballast, BallastBytes: 1 << 20})
	if err != nil {
		return err
	}
	if fi, err := os.Stat(ballast); err != nil || fi.Size() != 1<<20 {
		return fmt.Errorf("no ballast: %w", err)
	}
	add := func(i int) error {
		return s.Update(context.Background(), func(tx store.Tx) error {
			r := benchRecord(i)
			u := resource.Usage{ID: r.Name, UID: r.UID, Start: r.Created, Component: "training", Quantity: 1}
			return errors.Join(tx.Put(r), tx.OpenUsage(u))
		})
	}
	if err := add(0); err != nil {
		return err
	}
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return err
	}
	for _, size := range []int{1 << 20, 4096, 1} {
		for chunk := make([]byte, size); err == nil; {
			_, err = filler.Write(chunk)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("fill: %w", err)
		}
		err = nil
	}
	n := 1
	for ; err == nil; n++ {
		err = add(n)
	}
	if !errors.Is(err, store.ErrFull) {
		return fmt.Errorf("write %d on a full disk: %w", n, err)
	}
	if n < 10 {
		return fmt.Errorf("only %d writes went into the ballast", n)
	}
	if _, err := os.Stat(ballast); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("ballast is still there: %w", err)
	}
	for range 3 {
		if err := add(n); !errors.Is(err, store.ErrFull) {
			return fmt.Errorf("again: %w", err)
		}
	}
	whole := func() error {
		us, err := s.ListUsage(context.Background(), resource.UsageQuery{})
		if err != nil || len(us) != n-1 {
			return fmt.Errorf("%d intervals, want %d: %w", len(us), n-1, err)
		}
		for i := range n - 1 {
			if _, err := s.Get(context.Background(), benchRecord(i).Key); err != nil {
				return fmt.Errorf("record %d: %w", i, err)
			}
		}
		return nil
	}
	if err := whole(); err != nil {
		return err
	}
	// Space again: it goes on, and the ballast comes back.
	if err := filler.Truncate(0); err != nil {
		return err
	}
	past := func(store.Tx) error { s.ballast.tried = time.Time{}; return nil } // as if a while had passed; the writer runs it
	if err := s.Update(context.Background(), past); err != nil {
		return err
	}
	if err := add(n - 1); err != nil {
		return fmt.Errorf("with space again: %w", err)
	}
	n++
	if err := s.Close(); err != nil {
		return err
	}
	if fi, err := os.Stat(ballast); err != nil || fi.Size() != 1<<20 {
		return fmt.Errorf("the ballast did not come back: %w", err)
	}
	if s, err = Open(path, Options{}); err != nil {
		return err
	}
	return errors.Join(whole(), s.Close())
}
