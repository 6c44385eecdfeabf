package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"clary/internal/metrics"
)

// run is a server that a test has started.
type run struct {
	addr string
	stop context.CancelFunc
	done chan error
}

// serveOn runs a server on a folder until it is stopped or replaced.
func serveOn(t *testing.T, cfg Config) *run {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &run{stop: cancel, done: make(chan error, 1)}
	ready := make(chan string, 1)
	go func() { r.done <- Run(ctx, cfg, func(addr string) { ready <- addr }) }()
	select {
	case r.addr = <-ready:
	case err := <-r.done:
		t.Fatal("the server ended: ", err)
	case <-time.After(time.Minute):
		t.Fatal("the server does not get ready")
	}
	return r
}

// ended waits until a server is gone.
func (r *run) ended(t *testing.T) {
	t.Helper()
	select {
	case err := <-r.done:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the server has not ended")
	}
}

// caller is a connection on which one request follows another.
type caller struct {
	t    *testing.T
	c    net.Conn
	r    *bufio.Reader
	host string
}

func dial(t *testing.T, addr string) *caller {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(time.Minute))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &caller{t, c, bufio.NewReader(c), addr}
}

func (c *caller) ask() {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", c.host); err != nil {
		c.t.Fatal(err)
	}
}

// hear wants an answer: unsigned as the request is, 403.
func (c *caller) hear() {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusForbidden {
		c.t.Fatalf("%s, %v", resp.Status, err)
	}
}

// door reaches the server on a folder.
func door(t *testing.T, dir string) line {
	t.Helper()
	l, err := dialDoor(filepath.Join(dir, "run", doorSocket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

func (l line) want(t *testing.T, want verb) (message, []*os.File) {
	t.Helper()
	m, files, err := l.receive(time.Minute)
	if err != nil || m.Say != want {
		t.Fatalf("it says %+v, %v; want %s", m, err, want)
	}
	return m, files
}

func say(t *testing.T, l line, m message) {
	t.Helper()
	if err := l.send(m); err != nil {
		t.Fatal(err)
	}
}

// offered is the line of a server to be that has seen the sockets.
func offered(t *testing.T, dir string) line {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		l := door(t, dir)
		err := l.send(message{Say: sayReplace, Version: exchange, PID: os.Getpid()})
		var m message
		if err == nil {
			var files []*os.File
			m, files, err = l.receive(time.Minute)
			closeAll(files)
		}
		if err == nil && m.Say == sayOffer {
			return l
		}
		// The server may not have seen yet that the last one that asked is gone, or
		// may just be taking its own place again, which closes its door for a moment.
		busy := errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || m.Say == sayRefuse && strings.Contains(m.Text, "another server is taking its place")
		if !busy || time.Now().After(end) {
			t.Fatalf("it says %+v, %v", m, err)
		}
		l.close()
	}
}

// A server whose heir dies before it answers takes its place again: clients
// that came meanwhile, and those that had stayed, do not notice.
func TestHeirDies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serveOn(t, Config{Data: dir, Listen: "127.0.0.1:0"})
	stayed := dial(t, s.addr)
	stayed.ask()
	stayed.hear()
	for _, last := range []string{"take", "released", "failed"} {
		l := offered(t, dir)
		say(t, l, message{Say: sayTake})
		var came *caller
		if last != "take" {
			l.want(t, sayReleased)
			if unlock, err := lock(dir, lockWait); err != nil {
				t.Errorf("the data folder was not released: %v", err)
			} else {
				unlock()
			}
			came = dial(t, s.addr)
			came.ask()
			stayed.ask()
		}
		if last == "failed" {
			say(t, l, message{Say: sayFailed, Text: "no disk"})
		}
		l.close()
		if came != nil {
			came.hear()
			stayed.hear()
		}
		stayed.ask()
		stayed.hear()
	}
	select {
	case err := <-s.done:
		t.Fatal("the server ended: ", err)
	default:
	}
	next := serveOn(t, Config{Data: dir, Replace: true})
	s.ended(t)
	if next.addr != s.addr {
		t.Errorf("it listens on %s, not %s", next.addr, s.addr)
	}
	stayed.ask()
	stayed.hear()
	next.stop()
	next.ended(t)
}

// What is asked for in another way than it must is refused, and the server
// serves on.
func TestDoorRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serveOn(t, Config{Data: dir, Listen: "127.0.0.1:0"})
	for _, tt := range []struct {
		m    message
		want string
	}{
		{message{Say: sayReplace, Version: exchange + 1}, "they speak exchange"},
		{message{Say: "dance"}, `knows no "dance"`},
		{message{Say: sayWaiting}, "0 descriptors"},
		{message{Say: sayCapture}, "0 descriptors"},
		{message{Say: sayMetrics, Metrics: []metrics.Datum{{}}}, "without name"},
	} {
		l := door(t, dir)
		say(t, l, tt.m)
		if m, _ := l.want(t, sayRefuse); !strings.Contains(m.Text, tt.want) {
			t.Errorf("%+v: %s", tt.m, m.Text)
		}
	}
	l := door(t, dir)
	if _, err := l.c.Write([]byte("{")); err != nil {
		t.Fatal(err)
	}
	if m, _, err := l.receive(time.Minute); !errors.Is(err, io.EOF) {
		t.Errorf("half a message: %+v, %v", m, err)
	}
	first := offered(t, dir)
	second := door(t, dir)
	say(t, second, message{Say: sayReplace, Version: exchange})
	if m, _ := second.want(t, sayRefuse); !strings.Contains(m.Text, "another server is taking its place") {
		t.Errorf("a second one: %s", m.Text)
	}
	first.close()
	c := dial(t, s.addr)
	c.ask()
	c.hear()
	s.stop()
	s.ended(t)
}

// What an old server still has reaches whichever has the place now.
func TestWhatIsLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serveOn(t, Config{Data: dir, Listen: "127.0.0.1:0"})
	n := &next{path: filepath.Join(dir, "run", doorSocket)}
	defer n.close()
	data := make([]metrics.Datum, atOnce+1)
	for i := range data {
		data[i] = metrics.Datum{Account: defaultAccount, Region: defaultRegion, Namespace: "N", Name: "M", Time: time.Now(), Sum: 1, Unit: "Count"}
	}
	for range 2 {
		if err := n.count(t.Context(), data); err != nil {
			t.Fatal(err)
		}
		again := serveOn(t, Config{Data: dir, Replace: true})
		s.ended(t)
		s = again
	}
	s.stop()
	s.ended(t)
	r, err := open(t.Context(), Config{Data: dir, Account: defaultAccount, Region: defaultRegion}, "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	now := time.Now()
	points, err := r.metrics.Points(t.Context(), metrics.Query{
		Account: defaultAccount, Region: defaultRegion, Namespace: "N", Name: "M", Start: now.Add(-time.Hour), End: now.Add(time.Hour), Period: 24 * time.Hour,
	})
	sum := 0.0
	for _, p := range points {
		sum += p.Sum
	}
	if err != nil || sum != float64(2*len(data)) {
		t.Errorf("%v of %d, %v", sum, 2*len(data), err)
	}
}

// A server that is to replace another one says why it cannot, before that one
// lets go.
func TestAgree(t *testing.T) {
	t.Parallel()
	at := func(s string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, tt := range []struct{ want, theirs, at, listen, err string }{
		{"", "127.0.0.1:2527", "127.0.0.1:2527", "127.0.0.1:2527", ""},
		{"127.0.0.1:2527", "127.0.0.1:2527", "127.0.0.1:2527", "127.0.0.1:2527", ""},
		{"localhost:2527", "127.0.0.1:2527", "127.0.0.1:2527", "localhost:2527", ""},
		{"127.0.0.1:2528", "127.0.0.1:2527", "127.0.0.1:2527", "", "listens on 127.0.0.1:2527"},
		{"127.0.0.1:2527", "0.0.0.0:2527", "[::]:2527", "", "listens on [::]:2527"},
		{"0.0.0.0:2527", ":2527", "[::]:2527", "0.0.0.0:2527", ""},
		{"", "0.0.0.0:2527", "[::]:2527", "", "a certificate is needed"},
	} {
		cfg := &Config{Listen: tt.want}
		err := agree(cfg, tt.theirs, at(tt.at))
		if tt.err == "" && (err != nil || cfg.Listen != tt.listen) || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%+v: %s, %v", tt, cfg.Listen, err)
		}
	}
}

// fakeServer holds a folder's door and lock and does what a test says.
func fakeServer(t *testing.T, dir string, does func(l line)) {
	t.Helper()
	unlock, err := lock(dir, lockWait)
	if err != nil {
		t.Fatal(err)
	}
	d, err := listenUnix(packets, filepath.Join(dir, "run", doorSocket))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer unlock()
		defer d.Close()
		c, err := d.AcceptUnix()
		if err != nil {
			return
		}
		l := line{c}
		defer l.close()
		if m, _, err := l.receive(time.Minute); err != nil || m.Say != sayReplace {
			t.Errorf("it says %+v, %v", m, err)
			return
		}
		does(l)
	}()
	t.Cleanup(func() { <-ended })
}

// Whatever becomes of the server that is to be replaced, the new one serves or
// says why not.
func TestPredecessor(t *testing.T) {
	t.Parallel()
	offer := func(t *testing.T, dir string, l line) {
		t.Helper()
		p := &place{}
		var err error
		if p.users, err = listen("127.0.0.1:0"); err == nil {
			p.tasks, err = listenUnix("unix", filepath.Join(dir, "run", taskSocket))
		}
		if err != nil {
			t.Error(err)
			return
		}
		p.tasks.SetUnlinkOnClose(false)
		for _, l := range p.listeners() {
			f, err := l.(interface{ File() (*os.File, error) }).File() //nolint:forcetypeassert // both have one
			if err != nil {
				t.Error(err)
			}
			p.files = append(p.files, f)
		}
		if err := l.send(message{Say: sayOffer, Listen: "127.0.0.1:0"}, append(p.files, p.files[1])...); err != nil {
			t.Error(err)
		}
		if m, _, err := l.receive(time.Minute); err != nil || m.Say != sayTake {
			t.Errorf("it says %+v, %v", m, err)
		}
		p.close()
	}
	for _, tt := range []struct {
		name string
		does func(t *testing.T, dir string, l line)
		err  string
	}{
		{"dies at once", func(*testing.T, string, line) {}, ""},
		{"dies when its sockets are taken", offer, ""},
		{"refuses", func(_ *testing.T, _ string, l line) { _ = l.send(message{Say: sayRefuse, PID: 7, Text: "not now"}) }, "process 7, refuses: not now"},
		{"offers nothing", func(_ *testing.T, _ string, l line) { _ = l.send(message{Say: sayOffer}) }, "left 0 sockets"},
		{"is another kind of program", func(_ *testing.T, _ string, l line) { _, _ = l.c.Write([]byte("hello")) }, "the exchange with the server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			fakeServer(t, dir, func(l line) { tt.does(t, dir, l) })
			cfg := &Config{Data: dir, Replace: true}
			if tt.name == "dies at once" {
				cfg.Listen = "127.0.0.1:0"
			}
			p, before, err := enter(t.Context(), cfg, slog.New(slog.DiscardHandler))
			if p != nil {
				defer p.close()
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || len(p.users) != 1 || p.unlock == nil {
				t.Fatalf("%+v, %v", p, err)
			}
			before.serves() // to nobody
			if _, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.users[0].Addr().String()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Without a server there is nothing to replace: the new one starts.
func TestReplaceNobody(t *testing.T) {
	t.Parallel()
	s := serveOn(t, Config{Data: t.TempDir(), Listen: "127.0.0.1:0", Replace: true})
	c := dial(t, s.addr)
	c.ask()
	c.hear()
	s.stop()
	s.ended(t)
}
