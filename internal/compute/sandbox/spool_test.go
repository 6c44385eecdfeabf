package sandbox

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/task"
)

// TestSpoolEnds has a supervisor say that its task is over while it lives on, as
// one does that has much to remove.
func TestSpoolEnds(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "task-1")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o700))
	lock, ok, err := task.Lock(dir)
	must(err)
	if !ok {
		t.Fatal("no lock")
	}
	defer lock.Close() //nolint:errcheck // a test
	status := func(phase compute.Phase) task.Status {
		now := time.Now()
		return task.Status{TaskStatus: compute.TaskStatus{Phase: phase, Created: now, Heartbeat: now, Spooled: 8}, Boot: task.BootID(), PID: os.Getpid()}
	}
	must(task.Write(dir, task.SpecFile, task.Spec{Created: time.Now()}, task.Quick))
	must(task.Write(dir, task.StatusFile, status(compute.Running), task.Quick))
	must(os.WriteFile(filepath.Join(dir, task.SpoolFile), []byte("1 hello\n"), 0o600))
	l, err := task.Listen(dir)
	must(err)
	defer l.Close() //nolint:errcheck // a test
	say := make(chan byte)
	defer close(say)
	go func() {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer c.Close() //nolint:errcheck // a test
		var m task.Control
		_ = json.NewDecoder(c).Decode(&m)
		for b := range say {
			_, _ = c.Write([]byte{b})
		}
	}()

	d, err := New(Config{Dir: root, TaskBinary: "/bin/true"})
	must(err)
	defer d.Close() //nolint:errcheck // a test
	r, err := d.Spool(t.Context(), "task-1", 0)
	must(err)
	defer r.Close() //nolint:errcheck // a test
	b := make([]byte, 100)
	n, err := r.Read(b)
	if err != nil || string(b[:n]) != "1 hello\n" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := r.Read(b)
		read <- err
	}()
	say <- task.EventSpool
	must(task.Write(dir, task.StatusFile, status(compute.Ended), task.Quick))
	say <- task.EventEnd
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case err := <-read:
		if err != io.EOF { //nolint:errorlint // as io.Reader has it
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("the end is not told while the supervisor is there")
	}
}
