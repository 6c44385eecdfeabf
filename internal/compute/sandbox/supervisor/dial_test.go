package supervisor

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"clary/internal/compute/sandbox/relay"
	"clary/internal/compute/sandbox/task"
)

// TestGive sees that who connects gets a connection that nobody stands between.
func TestGive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	listen := func(name string) *net.UnixListener {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	far, near := listen("far"), listen("near")
	ended := make(chan struct{})
	go func() {
		c, err := far.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(c, c)
		_ = c.Close()
		close(ended)
	}()
	var refuse atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		relay.Each(near, func(ctx context.Context) (net.Conn, error) {
			if refuse.Load() {
				return nil, errors.New("no")
			}
			return (&net.Dialer{}).DialContext(ctx, "unix", far.Addr().String())
		}, give)
	}()
	ask := func() (net.Conn, error) {
		c, err := net.Dial("unix", near.Addr().String()) //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // a test
		_, conn, err := task.Connected(c.(*net.UnixConn))
		return conn, err
	}
	conn, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test
	refuse.Store(true)
	if c, err := ask(); err == nil || c != nil {
		t.Errorf("%v, %v of a server that is away", c, err)
	}
	_ = near.Close()
	<-done
	_, _ = io.WriteString(conn, "hello")
	b := make([]byte, 5)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	_ = conn.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("somebody else keeps the connection")
	}
}
