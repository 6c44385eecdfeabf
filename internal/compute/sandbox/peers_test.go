package sandbox_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/computetest"
	"clary/internal/compute/sandbox"
)

func TestPeers(t *testing.T) {
	t.Parallel()
	computetest.Peers(t, func(t *testing.T) computetest.Cell {
		p := newPlace(t)
		return computetest.Cell{Open: func(t *testing.T) compute.Driver { return p.open(t) }, Python: python}
	})
}

// host is one of three hosts of a job.
func host(job string, i int, text string) compute.Task {
	tk := python(fmt.Sprintf("%s-%d", job, i), text, "")
	tk.Network = compute.Network{Host: fmt.Sprintf("algo-%d", i), Peers: []string{"algo-1", "algo-2", "algo-3"}}
	return tk
}

const (
	// echoes sends back whatever comes, and says how much that was so far.
	echoes = `
import socket, time
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("", 7000))
print("up", flush=True)
n, said = 0, 0
while True:
    b, who = u.recvfrom(65536)
    n += 1
    u.sendto(b, who)
    if time.monotonic() - said > 0.1:
        said = time.monotonic()
        print("came", n, flush=True)
`
	// asks has one answer after the other.
	asks = `
import socket, time
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(0.5)
said = 0
while True:
    u.sendto(b"?", ("algo-1", 7000))
    try: u.recv(10)
    except OSError: continue
    if time.monotonic() - said > 0.1:
        said = time.monotonic()
        print("answered", flush=True)
`
	// floods sends as much as it can, to a host and to nobody.
	floods = `
import os, socket, time
for to in ("algo-1", "algo-1", "10.77.9.9"):
    if os.fork() == 0:
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while True:
            for n in (1, 1400, 60000):
                try: u.sendto(bytes(n), (to, 7000))
                except OSError: pass
print("up", flush=True)
time.sleep(1000)
`
)

func speaks(t *testing.T, d compute.Driver, id compute.TaskID) compute.TaskStatus {
	t.Helper()
	st, err := d.Status(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return computetest.Wait(t, d, id, "speaking", func(now compute.TaskStatus) bool { return now.Spooled > st.Spooled })
}

// TestPeersFlood: a host that sends without end costs its supervisor neither
// its signs of life, nor memory, nor Stop; and its peers still hear others.
func TestPeersFlood(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	for i, text := range []string{echoes, asks, floods} {
		if err := d.Start(t.Context(), host("flood", i+1, text)); err != nil {
			t.Fatal(err)
		}
	}
	const flood, asker = "flood-3", "flood-2"
	speaks(t, d, flood)
	st := speaks(t, d, asker)
	pid := processes(t, p, flood)["supervisor"]
	before := resident(t, pid)
	computetest.Wait(t, d, flood, "alive", func(now compute.TaskStatus) bool { return now.Heartbeat.Sub(st.Heartbeat) > 10*time.Second })
	if after := resident(t, pid); after > before+8<<10 {
		t.Errorf("the supervisor had %d KiB, and has %d", before, after)
	}
	speaks(t, d, asker)
	began := time.Now()
	for _, id := range []compute.TaskID{flood, asker, "flood-1"} {
		if err := d.Stop(t.Context(), id, 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		computetest.Ended(t, d, id)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the ends took %s", took)
	}
}

func resident(t *testing.T, pid int) int {
	t.Helper()
	n, err := strconv.Atoi(strings.Fields(statusLine(t, pid, "VmRSS"))[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPeersStalled: a supervisor that does nothing, then one that is killed,
// hold up nobody else.
func TestPeersStalled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	start := func(i int, text string) {
		t.Helper()
		if err := d.Start(t.Context(), host("stall", i, text)); err != nil {
			t.Fatal(err)
		}
		computetest.Wait(t, d, compute.TaskID(fmt.Sprintf("stall-%d", i)), "printing", func(s compute.TaskStatus) bool { return s.Spooled > 0 })
	}
	start(1, echoes)
	start(2, asks)
	pid := processes(t, p, "stall-2")["supervisor"]
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	start(3, asks)
	speaks(t, d, "stall-3")
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	speaks(t, d, "stall-2")
	killSupervisor(t, p, "stall-2")
	computetest.Wait(t, d, "stall-2", "lost", func(s compute.TaskStatus) bool { return s.Phase == compute.Lost })
	speaks(t, d, "stall-3")
}

// TestPeersServerKilled: hosts go on without the server that started them, and
// meet one that the next server starts.
func TestPeersServerKilled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s := startServer(t, p)
	for i, text := range []string{echoes, asks} {
		s.start(t, host("left", i+1, text))
		if l := s.line(t); l != "started" {
			t.Fatal(l)
		}
	}
	s.kill(t)
	d := p.open(t)
	if err := d.Start(t.Context(), host("left", 3, asks)); err != nil {
		t.Fatal(err)
	}
	speaks(t, d, "left-2")
	speaks(t, d, "left-3")
}

// TestPeersNamed: hosts are known by the ids of their tasks.
func TestPeersNamed(t *testing.T) {
	t.Parallel()
	d := newPlace(t).open(t)
	for _, tk := range []compute.Task{
		{ID: "named-1", Network: compute.Network{Host: "algo-2", Peers: []string{"algo-1", "algo-2"}}},
		{ID: "named-3", Network: compute.Network{Host: "algo-3", Peers: []string{"algo-1", "algo-2"}}},
		{ID: "named", Network: compute.Network{Host: "algo-1", Peers: []string{"algo-1", "algo-2"}}},
	} {
		if err := d.Start(t.Context(), tk); err == nil || !strings.Contains(err.Error(), "cannot have this id") {
			t.Errorf("%+v: %v", tk.Network, err)
		}
	}
}

// BenchmarkPeers sends one MiB after the other to a peer: -benchtime 5s has the
// start of both hardly count.
func BenchmarkPeers(b *testing.B) {
	bin, err := binary()
	if err != nil {
		b.Fatal(err)
	}
	d, err := sandbox.New(sandbox.Config{Dir: filepath.Join(b.TempDir(), "tasks"), TaskBinary: bin})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // returns nil
	b.SetBytes(1 << 20)
	for i, text := range []string{`
import socket, sys
c, _ = socket.create_server(("", 7000)).accept()
b, n = bytearray(1 << 20), 0
while k := c.recv_into(b): n += k
sys.exit(n != int(sys.argv[1]) << 20)`, `
import socket, sys, time
while True:
    try: c = socket.create_connection(("algo-1", 7000)); break
    except OSError: time.sleep(0.01)
for _ in range(int(sys.argv[1])): c.sendall(bytes(1 << 20))`} {
		tk := python(fmt.Sprintf("bench%d-%d", b.N, i+1), text, strconv.Itoa(b.N))
		tk.Network = compute.Network{Host: fmt.Sprintf("algo-%d", i+1), Peers: []string{"algo-1", "algo-2"}}
		if err := d.Start(b.Context(), tk); err != nil {
			b.Fatal(err)
		}
	}
	for {
		st, err := d.Status(b.Context(), compute.TaskID(fmt.Sprintf("bench%d-1", b.N)))
		if err != nil {
			b.Fatal(err)
		}
		if st.Phase == compute.Ended {
			if st.Exit.Result.ExitCode != 0 {
				b.Fatalf("%+v", *st.Exit)
			}
			return
		}
		<-d.Changes()
	}
}
