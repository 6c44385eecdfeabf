package sandbox_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/task"
)

// owner is the host's user id of a task's program, as its spec says.
func owner(t *testing.T, p *place, id compute.TaskID) int {
	t.Helper()
	s, err := task.ReadSpec(filepath.Join(p.cfg.Dir, string(id)))
	if err != nil {
		t.Fatal(err)
	}
	return s.HostUID
}

// killSupervisor kills it as the kernel's out-of-memory killer would.
func killSupervisor(t *testing.T, p *place, id compute.TaskID) {
	t.Helper()
	st, err := task.ReadStatus(filepath.Join(p.cfg.Dir, string(id)))
	if err != nil {
		t.Fatal(err)
	}
	if start, err := task.StartTime(st.PID); err != nil || start != st.StartTime {
		t.Fatalf("the supervisor is gone already: %v", err)
	}
	proc, err := os.FindProcess(st.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := proc.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// listenLong listens at a path that is too long for an address.
func listenLong(t *testing.T, path string) net.Listener {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", short)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(short, path); err != nil {
		t.Fatal(err)
	}
	return l
}

func echo(c *net.UnixConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
	_ = c.Close()
}
