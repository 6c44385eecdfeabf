package task_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
