package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/computetest"
	"clary/internal/compute/sandbox"
)

// TestDialStalled dials a program that never accepts, more often than anything
// is bounded by. Its supervisor goes on, and so does everybody else.
func TestDialStalled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	deaf := compute.Task{ID: "deaf-1", Grace: time.Second, Args: []string{"python3", "-c", `
import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 9000)); s.listen(0)
print("up", flush=True)
time.sleep(1000)`}}
	good := compute.Task{ID: "good-1", Grace: time.Second, Args: shell(computetest.Program{Listen: 9000, Lines: []string{"up"}, Forever: true})}
	for _, tk := range []compute.Task{deaf, good} {
		if err := d.Start(t.Context(), tk); err != nil {
			t.Fatal(err)
		}
		computetest.Wait(t, d, tk.ID, "printing", func(s compute.TaskStatus) bool { return s.Spooled > 0 })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var stood sync.Map
	began := time.Now()
	for i := range 300 {
		wg.Go(func() {
			c, err := d.Dial(ctx, deaf.ID, 9000)
			if err == nil {
				stood.Store(i, c)
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a dial that is not taken: %v", err)
			}
		})
	}
	c, err := d.Dial(t.Context(), good.ID, 9000)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	wg.Wait()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("dials with two seconds to go took %s", took)
	}
	n := 0
	stood.Range(func(_, c any) bool {
		n++
		_ = c.(net.Conn).Close()
		return true
	})
	if n > 10 {
		t.Errorf("%d connections stand with nobody who accepts", n)
	}
	if fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", processes(t, p, deaf.ID)["supervisor"])); err != nil || len(fds) > 500 {
		t.Errorf("the supervisor has %d descriptors, %v", len(fds), err)
	}
	if err := d.Stop(t.Context(), deaf.ID, 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	computetest.Ended(t, d, deaf.ID)
}

// TestDialIsDirect: a connection outlives its supervisor's part in it, is of the
// kernel's own kind, and its halves close one by one.
func TestDialIsDirect(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	tk := compute.Task{ID: "half-1", Grace: time.Second, Args: []string{"python3", "-c", `
import socket
s = socket.create_server(("127.0.0.1", 9000))
print("up", flush=True)
while True:
    c, who = s.accept()
    print(who[0], flush=True)
    n = 0
    while True:
        b = c.recv(1 << 16)
        if not b: break
        n += len(b)
    c.sendall(b"%d bytes" % n)
    c.close()`}}
	if err := d.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	computetest.Wait(t, d, tk.ID, "printing", func(s compute.TaskStatus) bool { return s.Spooled > 0 })
	c, err := d.Dial(t.Context(), tk.ID, 9000)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // it is over
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		t.Fatalf("a %T", c)
	}
	if got := c.RemoteAddr().String(); got != "127.0.0.1:9000" {
		t.Errorf("remote address %s", got)
	}
	if _, err := tcp.Write([]byte(strings.Repeat("x", 5<<20))); err != nil {
		t.Fatal(err)
	}
	if err := tcp.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := tcp.Read(b)
	if got := string(b[:n]); err != nil || got != fmt.Sprintf("%d bytes", 5<<20) {
		t.Errorf("%q, %v", got, err)
	}
	// An isolated task can be reached, too: by whoever runs it alone.
	alone := compute.Task{ID: "alone-1", Grace: time.Second, Network: compute.Network{Isolated: true}, Args: shell(computetest.Program{Listen: 9000, Lines: []string{"up"}, Forever: true})}
	if err := d.Start(t.Context(), alone); err != nil {
		t.Fatal(err)
	}
	computetest.Wait(t, d, alone.ID, "printing", func(s compute.TaskStatus) bool { return s.Spooled > 0 })
	if c, err := d.Dial(t.Context(), alone.ID, 9000); err != nil {
		t.Error(err)
	} else {
		_ = c.Close()
	}
}

// TestRenewedIsKept: what was renewed is on disk, for whoever asks next.
func TestRenewedIsKept(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	tk := script("kept-1", "sleep 1000")
	tk.Identity = compute.Identity{AccessKeyID: "A1", Region: "eu-west-1"}
	if err := d.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	if err := d.Renew(t.Context(), tk.ID, compute.Identity{AccessKeyID: "A2", SecretAccessKey: "s2"}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(p.cfg.Dir, string(tk.ID), "identity.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func BenchmarkDial(b *testing.B) {
	bin, err := binary()
	if err != nil {
		b.Fatal(err)
	}
	d, err := sandbox.New(sandbox.Config{Dir: filepath.Join(b.TempDir(), "tasks"), TaskBinary: bin})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // returns nil
	tk := compute.Task{ID: "bench-1", Args: shell(computetest.Program{Listen: 9000, Lines: []string{"up"}, Forever: true})}
	if err := d.Start(b.Context(), tk); err != nil {
		b.Fatal(err)
	}
	defer d.Remove(context.Background(), tk.ID) //nolint:errcheck // a benchmark's
	for {
		if c, err := d.Dial(b.Context(), tk.ID, 9000); err == nil {
			_ = c.Close()
			break
		}
		time.Sleep(time.Millisecond) // nothing tells that it listens
	}
	for b.Loop() {
		c, err := d.Dial(b.Context(), tk.ID, 9000)
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}
