package task_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/task"
)

func TestLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if alive, err := task.Alive(dir); err != nil || alive {
		t.Fatalf("nobody has ever locked: %v, %v", alive, err)
	}
	f, ok, err := task.Lock(dir)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok, err := task.Lock(dir); err != nil || ok {
		t.Errorf("locked twice: %v, %v", ok, err)
	}
	if alive, err := task.Alive(dir); err != nil || !alive {
		t.Errorf("locked but not alive: %v, %v", alive, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if alive, err := task.Alive(dir); err != nil || alive {
		t.Errorf("unlocked but alive: %v, %v", alive, err)
	}
}

func TestWriteIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := task.ReadStatus(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%v", err)
	}
	for _, d := range []task.Durability{task.Quick, task.Durable} {
		want := task.Status{TaskStatus: compute.TaskStatus{Phase: compute.Running, Created: time.Now().UTC()}, Boot: task.BootID(), PID: os.Getpid()}
		if err := task.Write(dir, task.StatusFile, want, d); err != nil {
			t.Fatal(err)
		}
		got, err := task.ReadStatus(dir)
		if err != nil || got.Phase != want.Phase || !got.Created.Equal(want.Created) || got.Boot != want.Boot {
			t.Errorf("%+v, %v", got, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left over: %v, %v", entries, err)
	}
	if err := os.WriteFile(filepath.Join(dir, task.StatusFile), []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := task.ReadStatus(dir); err == nil {
		t.Error("half a status was believed")
	}
}

func TestStartTime(t *testing.T) {
	t.Parallel()
	a, err := task.StartTime(os.Getpid())
	if err != nil || a == 0 {
		t.Fatal(a, err)
	}
	if b, err := task.StartTime(os.Getpid()); err != nil || a != b {
		t.Errorf("%d, %v; was %d", b, err, a)
	}
	if _, err := task.StartTime(1 << 30); err == nil {
		t.Error("a process that cannot be has a start time")
	}
}

func TestSocketBelowALongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 20), strings.Repeat("longer", 20))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := task.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test
	peer := make(chan int, 1)
	go func() {
		c, err := l.AcceptUnix()
		if err != nil {
			peer <- -2
			return
		}
		uid, _ := task.Peer(c)
		peer <- uid
		_ = c.Close()
	}()
	c, err := task.Dial(t.Context(), filepath.Join(dir, task.SockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // a test
	if uid := <-peer; uid != os.Geteuid() {
		t.Errorf("peer %d", uid)
	}
	st, err := os.Stat(filepath.Join(dir, task.SockFile))
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st, err)
	}
}

// pair is two ends of a control socket.
func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, len(fds))
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "end")
		c, err := net.FileConn(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// One descriptor is taken; of several, as of none, nothing stays open.
func TestTake(t *testing.T) {
	t.Parallel()
	for n, fails := range []bool{false, false, true, true, true} {
		from, to := pair(t)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var rights []byte
		if n > 0 {
			fds := make([]int, n)
			for i := range fds {
				fds[i] = int(w.Fd())
			}
			rights = unix.UnixRights(fds...)
		}
		if _, _, err := from.WriteMsgUnix([]byte{task.DialledOK}, rights, nil); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		answer, fd, err := task.Take(to)
		if (err != nil) != fails || answer != task.DialledOK || (fd >= 0) != (n == 1) {
			t.Errorf("%d: %c, descriptor %d, %v", n, answer, fd, err)
		}
		if fd >= 0 {
			if err := unix.Close(fd); err != nil {
				t.Error(err)
			}
		}
		// A pipe ends when nobody holds its other end.
		if err := r.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%d: %v", n, err)
		}
		_ = r.Close()
	}
}
