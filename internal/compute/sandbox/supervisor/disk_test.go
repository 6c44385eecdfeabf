package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func fill(t *testing.T, path string, n int) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil { // blocks are counted when they are there
		t.Fatal(err)
	}
	return f
}

func TestMeasureTree(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	for name, tt := range map[string]struct {
		make func(t *testing.T, dir string)
		over bool
	}{
		"empty": {func(*testing.T, string) {}, false},
		"link and hole": {func(t *testing.T, dir string) {
			fill(t, dir+"/a", size-1<<16)
			if err := os.Link(dir+"/a", dir+"/b"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/usr", dir+"/away"); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(fill(t, dir+"/sparse", 0).Name(), 1<<40); err != nil {
				t.Fatal(err)
			}
		}, false},
		"large": {func(t *testing.T, dir string) { fill(t, dir+"/a", size+1<<12) }, true},
		"closed folder": {func(t *testing.T, dir string) {
			if err := os.Mkdir(dir+"/d", 0o700); err != nil {
				t.Fatal(err)
			}
			fill(t, dir+"/d/a", size+1<<12)
			if err := os.Chmod(dir+"/d", 0); err != nil {
				t.Fatal(err)
			}
		}, true},
		"long path": {func(t *testing.T, dir string) {
			at, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			for range 30 { // 6,000 bytes
				if err == nil {
					n := strings.Repeat("d", 200)
					_ = unix.Mkdirat(at, n, 0o700)
					next, oerr := unix.Openat(at, n, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
					_ = unix.Close(at)
					at, err = next, oerr
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(at) //nolint:errcheck // a test's
			fill(t, fmt.Sprintf("/proc/self/fd/%d/a", at), size+1<<12)
		}, true},
		"many names": {func(t *testing.T, dir string) {
			for i := range 1200 {
				fd, err := unix.Open(fmt.Sprintf("%s/%d", dir, i), unix.O_CREAT|unix.O_CLOEXEC, 0o600)
				if err != nil {
					t.Fatal(err)
				}
				_ = unix.Close(fd)
			}
		}, true},
		"too deep": {func(t *testing.T, dir string) {
			if err := os.MkdirAll(dir+strings.Repeat("/d", deepestTree+2), 0o700); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tt.make(t, dir)
			t.Cleanup(func() { _ = RemoveTree(dir) })
			limit := int64(size)
			if name == "too deep" {
				limit = 64 << 20
			}
			if n, ok := measureTree(dir, limit, nil); ok == tt.over {
				t.Errorf("%d bytes, ok %v", n, ok)
			}
		})
	}
}

func TestUnlinked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := fill(t, dir+"/a", 1<<20)
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	if n, ok := measureTree(dir, 1<<19, unlinked(os.Getpid())); ok || n < 1<<20 {
		t.Errorf("%d bytes, ok %v", n, ok)
	}
}

// TestHostFull ends a task that still writes when the host's disk is almost
// full, and no other.
func TestHostFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := fill(t, dir+"/image", 1<<20)
	free := int64(hostLast)
	w := &volumeWatch{folder: &diskWatch{dir: dir, limit: 1 << 30}, images: []sparse{{path: f.Name()}}, free: func(string) int64 { return free }}
	if over, err := w.look(); over || err != nil {
		t.Errorf("with room: %v, %v", over, err)
	}
	free--
	if over, err := w.look(); over || err != nil {
		t.Errorf("at rest: %v, %v", over, err)
	}
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if over, err := w.look(); over || err == nil {
		t.Errorf("writing: %v, %v", over, err)
	}
}

// TestSoftWatch lets a volume that no file system bounds be too large, once it
// was told, and ends who goes on; what was too large before is nobody's fault.
func TestSoftWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill := func(name string, mib int) {
		t.Helper()
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(mib)<<20); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var said []string
	w := newSoftWatch(dir, 100<<20, func(s string) { said = append(said, s) })
	look := func() bool { // as if a second had passed
		w.next = w.next.Add(-time.Hour)
		return w.over()
	}
	steps := []struct {
		name string
		mib  int
		over bool
		told int
	}{
		{"a", 50, false, 0}, {"b", 60, false, 1}, {"c", 100, false, 1}, {"a", 0, false, 1}, {"b", 0, false, 1}, {"c", 0, false, 1}, {"b", 120, false, 2}, {"c", 250, true, 2},
	}
	if w.over() {
		t.Error("an empty folder is over")
	}
	for i, s := range steps {
		if s.mib == 0 {
			if err := os.Remove(filepath.Join(dir, s.name)); err != nil {
				t.Fatal(err)
			}
		} else {
			fill(s.name, s.mib)
		}
		if got := look(); got != s.over || len(said) != s.told {
			t.Errorf("step %d: over %v, told %q", i, got, said)
		}
	}
	// The next task finds 370 MiB and may tidy up.
	again := newSoftWatch(dir, 100<<20, func(string) {})
	if again.over() {
		t.Error("it may not even begin")
	}
	fill("d", 100)
	again.next = again.next.Add(-time.Hour)
	if again.over() {
		t.Error("it was ended within its grace")
	}
	fill("e", 200)
	again.next = again.next.Add(-time.Hour)
	if !again.over() {
		t.Error("it may grow without end")
	}
}

// TestLast sees what was written since a look that was not long ago.
func TestLast(t *testing.T) {
	t.Parallel()
	w := &diskWatch{dir: t.TempDir(), limit: 1 << 40}
	if w.over() {
		t.Fatal("an empty folder is too much")
	}
	fill(t, filepath.Join(w.dir, "a"), 2<<20)
	w.limit, w.free = 1<<20, 0 // the host has more room than it had
	if w.over() {
		t.Error("it was not time for a look")
	}
	if !w.last() {
		t.Error("what is left is not looked at")
	}
}
