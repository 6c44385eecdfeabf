package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	stsapi "clary/internal/api/sts"
	"clary/internal/aws/op"
)

// line is a client's connection, on which requests go one after the other.
type line struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
	n int
}

func (w *world) line(network, addr string, own *tls.Config) *line {
	w.t.Helper()
	c, err := (&net.Dialer{}).DialContext(w.t.Context(), network, addr)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	if own != nil {
		c = tls.Client(c, own)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return &line{t: w.t, c: c, r: bufio.NewReader(c)}
}

// text is a request as it is sent.
func (w *world) text(s shot) string {
	w.t.Helper()
	var b strings.Builder
	if err := w.request(s).Write(&b); err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}

func (l *line) say(text string) {
	l.t.Helper()
	if _, err := io.WriteString(l.c, text); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) hear() *http.Response {
	l.t.Helper()
	resp, err := http.ReadResponse(l.r, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		l.t.Fatalf("%d %s, %v", resp.StatusCode, body, err)
	}
	l.n++
	return resp
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.calls)
}

// waits has GetCallerIdentity wait until it is free.
func waits(begun chan<- string, free <-chan struct{}) func(*Config) {
	return func(c *Config) {
		c.Services = append(c.Services[:1:1], fakeService{"sts", map[string]op.Handler{
			"GetCallerIdentity": op.Op(func(ctx context.Context, c op.Call, _ *stsapi.GetCallerIdentityRequest) (*stsapi.GetCallerIdentityResponse, error) {
				if strings.Contains(c.UserAgent, "alone") {
					op.Alone(ctx)
				}
				begun <- c.UserAgent
				select {
				case <-free:
				case <-ctx.Done():
				}
				return &stsapi.GetCallerIdentityResponse{Account: c.Account}, nil
			}),
		}})
	}
}

// leaveTo makes one front give what it has to another.
func (w *world) leaveTo(next *world) {
	w.f.Leave(func(c Waiting) {
		if err := next.f.Adopt(w.t.Context(), c); err != nil {
			w.t.Error(err)
		}
	})
}

// Connections that wait go over as they are, whatever was said on them; their
// clients do not notice. What is under way is answered where it began.
func TestLeave(t *testing.T) {
	t.Parallel()
	begun, free := make(chan string, 1), make(chan struct{})
	old, next := newWorld(t, waits(begun, free)), newWorld(t)
	text := old.text(describe("one"))

	idle, fresh, half, task := old.line("tcp", old.addr, nil), old.line("tcp", old.addr, nil), old.line("tcp", old.addr, nil), old.line("unix", old.task, nil)
	secure := old.line("tcp", old.addr, old.tlsConfig("localhost"))
	for _, l := range []*line{idle, half, task, secure} {
		l.say(text)
		l.hear()
	}
	half.say(text[:40])
	busy := old.line("tcp", old.addr, nil)
	busy.say(text + text) // pipelined, as few clients do
	busy.hear()
	busy.hear()
	busy.say(old.text(whoami()))
	<-begun
	before := old.count()

	old.f.Hurry()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := old.f.Quiet(ctx, time.Hour); err != nil {
		t.Errorf("a request that has just begun counts as old: %v", err)
	}
	if err := old.f.Quiet(ctx, 0); err == nil {
		t.Error("it is quiet while a request is under way")
	}
	old.leaveTo(next)
	quiet := make(chan error, 1)
	go func() { quiet <- old.f.Quiet(t.Context(), 0) }()
	for _, l := range []*line{idle, fresh, task} {
		l.say(text)
		if resp := l.hear(); resp.Close {
			t.Error("a connection that goes on is said to end")
		}
	}
	half.say(text[40:])
	half.hear()
	if n := next.count(); n != 4 || old.count() != before {
		t.Fatalf("the next server answered %d of 4, the old one %d", n, old.count()-before)
	}
	// TLS cannot move: its requests are still answered here, then inside
	secure.say(text)
	if resp := secure.hear(); !resp.Close {
		t.Error("a client over TLS is not told to come anew")
	}
	secure = old.line("tcp", next.addr, next.tlsConfig("localhost"))
	secure.say(text)
	secure.hear()
	select {
	case err := <-quiet:
		t.Fatalf("quiet, %v, while a request is under way", err)
	default:
	}
	close(free)
	if err := <-quiet; err != nil {
		t.Fatal(err)
	}
	busy.hear()
	busy.say(text + text + text) // the last ones come while the first one is answered
	busy.hear()
	busy.hear()
	busy.hear()
	if n := next.count(); n != 8 {
		t.Errorf("the next server answered %d of 8", n)
	}
	if n := old.f.Left(); n != 0 {
		t.Errorf("%d requests are under way", n)
	}
	wait, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := old.f.Linger(wait); err != nil {
		t.Error(err)
	}
	if got := next.lastCall(); got.FromTask || got.Host != "http://"+old.addr {
		t.Errorf("the last call: %+v", got)
	}
}

// What comes over TLS after the server left is answered by the next one, as
// what it is: of the same client, and secure.
func TestLeaveInsideTLS(t *testing.T) {
	t.Parallel()
	old, next := newWorld(t), newWorld(t)
	text := old.text(describe("one"))
	used, unused := old.line("tcp", old.addr, old.tlsConfig("localhost")), old.line("tcp", old.addr, old.tlsConfig("localhost"))
	used.say(text)
	used.hear()
	if err := unused.c.(*tls.Conn).HandshakeContext(t.Context()); err != nil { //nolint:forcetypeassert // line's
		t.Fatal(err)
	}
	old.leaveTo(next)
	if err := old.f.Quiet(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if n := old.f.Left(); n != 0 {
		t.Errorf("%d requests are under way", n)
	}
	for _, l := range []*line{used, unused} {
		l.say(text)
		if resp := l.hear(); !resp.Close {
			t.Error("the client is not told to come anew")
		}
		if got := next.lastCall(); got.Host != "https://"+old.addr || got.FromTask {
			t.Errorf("the call: %+v", got)
		}
	}
	if n := next.count(); n != 2 {
		t.Errorf("the next server answered %d", n)
	}
	wait, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := old.f.Linger(wait); err != nil {
		t.Error(err)
	}
}

// A request that needs no data holds nobody up, and ends beside the next
// server; one that does is cut in the end.
func TestLeaveAlone(t *testing.T) {
	t.Parallel()
	begun, free := make(chan string, 2), make(chan struct{})
	old, next := newWorld(t, waits(begun, free)), newWorld(t)
	ask := func(agent string) *line {
		s := whoami()
		s.headers["User-Agent"] = agent
		l := old.line("tcp", old.addr, nil)
		l.say(old.text(s))
		if got := <-begun; got != agent {
			t.Fatalf("%s began", got)
		}
		return l
	}
	alone := ask("alone")
	if err := old.f.Quiet(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	bound := ask("bound")
	old.leaveTo(next)
	if n := old.f.Left(); n != 1 {
		t.Errorf("%d requests were cut", n)
	}
	if _, err := bound.r.ReadByte(); err == nil {
		t.Error("a request that needs data is answered without")
	}
	close(free)
	alone.hear()
	alone.say(old.text(describe("next")))
	alone.hear()
	if n := next.count(); n != 1 {
		t.Errorf("the next server answered %d", n)
	}
}

// What only waits is answered when the server ends, and delays that no longer.
func TestShutdownEndsWaits(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	w := newWorld(t, func(c *Config) {
		c.Services = []op.Service{fakeService{"sts", map[string]op.Handler{
			"GetCallerIdentity": op.Op(func(ctx context.Context, c op.Call, _ *stsapi.GetCallerIdentityRequest) (*stsapi.GetCallerIdentityResponse, error) {
				waits, leave := op.Waiting(ctx)
				defer leave()
				close(begun)
				<-waits.Done()
				return &stsapi.GetCallerIdentityResponse{Account: c.Account}, ctx.Err()
			}),
		}}}
	})
	l := w.line("tcp", w.addr, nil)
	l.say(w.text(whoami()))
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.f.Shutdown(ctx); err != nil {
		t.Fatalf("the wait goes on: %v", err)
	}
	l.hear()
}

// Clients that never pause, on connections that stay and on new ones, see
// nothing of ten servers in turn.
func TestLeaveUnderLoad(t *testing.T) {
	t.Parallel()
	worlds := []*world{newWorld(t)}
	first := worlds[0]
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File() //nolint:forcetypeassert // a TCP listener is one
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	first.also(l)
	stop := make(chan struct{})
	var answered atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		tr := client(&stays{addr: l.Addr().String()})
		if i%2 == 0 {
			tr = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
			}}
		}
		wg.Go(func() {
			defer tr.CloseIdleConnections()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				r := first.request(describe(fmt.Sprint(i, "-", n)))
				r.GetBody = nil // a request that is lost is not sent again
				resp, err := tr.RoundTrip(r)
				if err != nil {
					t.Errorf("request %d of client %d: %v", n, i, err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("request %d of client %d: %d %s %v", n, i, resp.StatusCode, body, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	more := func() {
		for from := answered.Load(); answered.Load() < from+50 && !t.Failed(); {
			time.Sleep(time.Millisecond) // clients give no signal
		}
	}
	for range 10 {
		more()
		old, next := worlds[len(worlds)-1], newWorld(t)
		own, err := net.FileListener(file)
		if err != nil {
			t.Fatal(err)
		}
		old.leaveTo(next)
		if err := old.f.Quiet(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if n := old.f.Left(); n != 0 {
			t.Errorf("%d requests were cut", n)
		}
		next.also(own)
		worlds = append(worlds, next)
	}
	more()
	close(stop)
	wg.Wait()
	for i, w := range worlds {
		if w.count() == 0 {
			t.Errorf("server %d answered nothing", i)
		}
	}
}

// stays is a client's one connection: whoever closes it fails the client.
type stays struct {
	addr string
	c    net.Conn
	r    *bufio.Reader
}

func (s *stays) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.c == nil {
		c, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", s.addr)
		if err != nil {
			return nil, err
		}
		s.c, s.r = c, bufio.NewReader(c)
	}
	if err := s.c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return nil, err
	}
	if err := r.Write(s.c); err != nil {
		return nil, err
	}
	return http.ReadResponse(s.r, r)
}

func (s *stays) CloseIdleConnections() {
	if s.c != nil {
		_ = s.c.Close() // its client is done
	}
}

// client is what sends requests.
type client interface {
	http.RoundTripper
	CloseIdleConnections()
}

// also serves one more listener, until the front is shut down.
func (w *world) also(l net.Listener) { go func() { _ = w.f.Serve(l) }() }
