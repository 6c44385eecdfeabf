package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/loop"
	"clary/internal/compute/sandbox/task"
)

// withImages says whether this process can mount an image.
func withImages(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 || Usable() != nil {
		return false
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "probe"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // a test's
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	dev, err := loop.Attach(f)
	if err != nil {
		return false
	}
	return dev.Close() == nil
}

// each runs a test on both kinds of volume that this machine can have.
func each(t *testing.T, f func(t *testing.T, dir string, image bool)) {
	t.Helper()
	kinds := map[string]bool{"folder": false}
	if withImages(t) {
		kinds["image"] = true
	}
	for name, image := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, filepath.Join(t.TempDir(), "vol"), image)
		})
	}
}

func TestMakeAndGrow(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, dir string, image bool) {
		if _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("before it is made: %v", err)
		}
		// What an earlier attempt left is no hindrance.
		if err := os.MkdirAll(filepath.Join(filepath.Dir(dir), ".vol", "data", "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		want := Info{Bytes: Least + 1, Image: image}
		if err := Make(dir, want); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(dir); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
		if err := Make(dir, want); err == nil {
			t.Error("it was made twice")
		}
		if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
			t.Errorf("left: %v, %v", left, err)
		}
		for _, bytes := range []int64{64 << 20, 64 << 20, Least} {
			if err := Grow(dir, bytes); err != nil {
				t.Fatal(err)
			}
			if got, err := Read(dir); err != nil || got.Bytes != 64<<20 {
				t.Errorf("grown to %d: %+v, %v", bytes, got, err)
			}
		}
		if err := Grow(dir+"-other", Least); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("one that is not there: %v", err)
		}
	})
}

func TestTake(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, dir string, image bool) {
		if err := Make(dir, Info{Bytes: 64 << 20, Image: image}); err != nil {
			t.Fatal(err)
		}
		o, err := Take(dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		if alive, err := task.Alive(dir); err != nil || !alive {
			t.Errorf("taken, but not locked: %v, %v", alive, err)
		}
		mnt := o.Mounted()
		if (mnt != nil) != image || o.Mounted() != nil {
			t.Errorf("mounted %v", mnt)
		}
		if image {
			if used, err := loop.InUse(Image(dir)); err != nil || !used {
				t.Errorf("mounted, but not in use: %v, %v", used, err)
			}
			if err := unix.Mkdirat(int(mnt.Fd()), "made", 0o755); err != nil {
				t.Error(err)
			}
			if err := mnt.Close(); err != nil {
				t.Fatal(err)
			}
			if err := idle(Image(dir)); err != nil {
				t.Error(err)
			}
			if clean, err := isClean(Image(dir)); err != nil || !clean {
				t.Errorf("it was not put away: %v, %v", clean, err)
			}
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		if alive, err := task.Alive(dir); err != nil || alive {
			t.Errorf("let go, but locked: %v, %v", alive, err)
		}
	})
}

func TestHolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if id, err := Holder(dir); err != nil || id != "" {
		t.Errorf("%q, %v", id, err)
	}
	for _, want := range []string{"a-1", "a-2"} {
		if err := Hand(dir, want); err != nil {
			t.Fatal(err)
		}
		if id, err := Holder(dir); err != nil || id != want {
			t.Errorf("%q, %v", id, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, holderFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Holder(dir); err == nil {
		t.Error("half a name was believed")
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for in, want := range map[int64]int64{5 << 30: 5 << 30, Least + 1: Least, 16384 << 30: most} {
		if got := size(in); got != want {
			t.Errorf("size(%d) = %d, want %d", in, got, want)
		}
	}
}

// TestLockOutlives: a program that works on an image keeps its lock when whoever
// started it is killed.
func TestLockOutlives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := command(lock, "cat")
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if alive, err := task.Alive(dir); err != nil || !alive {
		t.Errorf("it still works, but the lock is free: %v, %v", alive, err)
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Error(err)
	}
	if alive, err := task.Alive(dir); err != nil || alive {
		t.Errorf("it has ended, but the lock is taken: %v, %v", alive, err)
	}
}
