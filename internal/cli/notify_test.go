package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A service manager that asks is told which process answers now.
func TestNotify(t *testing.T) {
	t.Parallel()
	if err := (&app{}).notify(); err != nil {
		t.Errorf("nobody asked: %v", err)
	}
	dir, err := os.MkdirTemp("", "clary-notify-") // a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // only read
	a := &app{IO: IO{Env: []string{notifyName + "=" + path}}}
	if err := a.notify(); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 200)
	n, err := c.Read(b)
	if want := fmt.Sprintf("MAINPID=%d\nREADY=1\n", os.Getpid()); err != nil || string(b[:n]) != want {
		t.Errorf("%q, %v", b[:n], err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if a.notify() == nil {
		t.Error("a manager that is gone was told")
	}
}
