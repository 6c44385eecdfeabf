package dataplane_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/dataplane"
	"clary/internal/resource"
)

// says is a server that answers each connection with bytes.
func says(t *testing.T, text string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = http.ReadRequest(bufio.NewReader(c))
				_, _ = io.WriteString(c, text)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

// A WebSocket passes both ways, lives on while nothing happens to its session,
// and ends with it at both ends.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n, other := w.notebook("first", jupyter("first")), w.notebook("second", jupyter("second"))
	in := n.enter(root)
	c, br, status := n.socket(in)
	if status != http.StatusSwitchingProtocols {
		t.Fatal(status)
	}
	oc, obr, _ := other.socket(other.enter(root))
	echo := func(name string, c net.Conn, br *bufio.Reader) {
		t.Helper()
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := br.ReadString('\n'); err != nil || line != name+" hello\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	echo("first", c, br)
	looks := len(w.people.looks())
	until(t, "the session is looked at again", func() bool { return len(w.people.looks()) > looks+2 })
	echo("first", c, br)
	if err := w.plane.Close(t.Context(), n.uid); err != nil {
		t.Fatal(err)
	}
	if _, err := br.ReadByte(); err == nil {
		t.Error("it goes on")
	}
	w.want("the session", w.ask("GET", n.origin()+"/", in), http.StatusForbidden, "clary open first")
	if _, _, status := n.socket(in); status != http.StatusForbidden {
		t.Errorf("a new one: %d", status)
	}
	echo("second", oc, obr)
	until(t, "nothing is in flight but the other's", func() bool { return w.plane.Open() == 1 })
}

// Stop ends sessions, links and all that is open, and says how things stand.
func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	in, unused := n.enter(root), n.link(root)
	_, ws, _ := n.socket(in)
	begun, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		res, err := w.stream(n, "/events", in)
		if err != nil {
			t.Error(err)
			close(begun)
			return
		}
		defer res.Body.Close()
		b := bufio.NewReader(res.Body)
		if line, err := b.ReadString('\n'); err != nil || line != "data: 1\n" {
			t.Errorf("%q, %v", line, err)
		}
		close(begun)
		_, _ = io.Copy(io.Discard, b)
	}()
	<-begun
	n.change(func(r *resource.Record) { r.Phase = "Stopping" })
	for range 2 { // as often as one likes
		if err := w.plane.Close(t.Context(), n.uid); err != nil {
			t.Fatal(err)
		}
	}
	<-ended
	if _, err := ws.ReadByte(); err == nil {
		t.Error("the WebSocket goes on")
	}
	html := header("Accept", "text/html")
	w.want("stopping", w.ask("GET", n.origin()+"/lab", in, html), http.StatusServiceUnavailable, "first is stopping", "clary notebook open --start first")
	n.change(func(r *resource.Record) { r.Phase = "Stopped" })
	w.want("a link of before", w.ask("GET", unused, "", html), http.StatusServiceUnavailable, "first is stopped")
	n.change(func(r *resource.Record) { r.Phase = "Pending" })
	a := w.ask("GET", n.origin()+"/lab", in, html)
	w.want("starting", a, http.StatusServiceUnavailable, "first is starting")
	if a.header.Get("Refresh") != "2" {
		t.Error("the page does not look again")
	}
	n.change(func(r *resource.Record) { r.Phase = "InService" })
	w.want("a session of before", w.ask("GET", n.origin()+"/lab", in, html), http.StatusForbidden, "Open first again")
	w.want("a link of before", w.ask("GET", unused, "", html), http.StatusForbidden, "does not open first")
	n.change(func(r *resource.Record) { r.Phase = "Failed" })
	w.want("failed", w.ask("GET", n.origin()+"/lab", in, html), http.StatusServiceUnavailable, "first failed")
	n.change(func(r *resource.Record) { r.Phase = "Deleting" })
	w.want("deleting", w.ask("GET", n.origin()+"/lab", in, html), http.StatusServiceUnavailable, "first is being deleted")
}

// An instance that leaves service by itself ends what is open, without Close.
func TestPhaseEndsWhatIsOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	in := n.enter(root)
	_, ws, _ := n.socket(in)
	n.change(func(r *resource.Record) { r.Phase = "Failed" })
	if _, err := ws.ReadByte(); err == nil {
		t.Error("the WebSocket goes on")
	}
}

// stream asks without reading the answer.
func (w *world) stream(n notebook, path, session string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.addr+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Host = n.host()
	r.Header.Set("Cookie", cookie+"="+session)
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
}

// Events arrive when they are sent, and a server that stops cuts them rather
// than wait.
func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	in := n.enter(root)
	res, err := w.stream(n, "/events", in)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b := bufio.NewReader(res.Body)
	if line, err := b.ReadString('\n'); err != nil || line != "data: 1\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, ws, _ := n.socket(in)
	begun := time.Now()
	w.stop()
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("the server stops after %v", took)
	}
	if _, err := io.Copy(io.Discard, b); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	if _, err := ws.ReadByte(); err == nil {
		t.Error("the WebSocket goes on")
	}
	// the page comes back to the next server, with the same session
	w.start(w.addr)
	c, again, status := n.socket(in)
	if status != http.StatusSwitchingProtocols {
		t.Fatal(status)
	}
	_, _ = io.WriteString(c, "back\n")
	if line, err := again.ReadString('\n'); err != nil || line != "first back\n" {
		t.Errorf("%q, %v", line, err)
	}
}

// Another start of an instance is another task, which is found without a word.
func TestTaskThatCameBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := httptest.NewServer(jupyter("before"))
	n := w.notebookAt("first", before.Listener.Addr().String())
	in := n.enter(root)
	w.want("before", w.ask("GET", n.origin()+"/", in), http.StatusOK, "before GET")
	w.tasks.mu.Lock()
	w.tasks.errs[n.task()] = compute.ErrRefused
	w.tasks.mu.Unlock()
	before.CloseClientConnections()
	before.Close()
	w.want("crashed", w.ask("GET", n.origin()+"/", in, header("Accept", "text/html")), http.StatusBadGateway, "JupyterLab of first does not answer")
	fresh := w.notebook("other", jupyter("after"))
	next := compute.TaskID(n.uid + "-2")
	w.tasks.mu.Lock()
	w.tasks.addrs[next] = w.tasks.addrs[fresh.task()]
	w.tasks.mu.Unlock()
	n.change(func(r *resource.Record) { r.Status = json.RawMessage(`{"v":1,"task":"` + string(next) + `"}`) })
	until(t, "the new task answers", func() bool {
		return strings.HasPrefix(w.ask("GET", n.origin()+"/", in).body, "after GET")
	})
	n.change(func(r *resource.Record) { r.Status = json.RawMessage(`{"v":1}`) })
	until(t, "no task is said", func() bool { return w.ask("GET", n.origin()+"/", in).status == http.StatusBadGateway })
}

// Connections to a notebook are used again, and never for another one.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.notebook("first", jupyter("first")), w.notebook("second", jupyter("second"))
	ina, inb := a.enter(root), b.enter(root)
	for range 10 {
		w.want("first", w.ask("GET", a.origin()+"/", ina), http.StatusOK, "first GET")
		w.want("second", w.ask("GET", b.origin()+"/", inb), http.StatusOK, "second GET")
	}
	w.tasks.mu.Lock()
	defer w.tasks.mu.Unlock()
	for id, n := range w.tasks.conns {
		if n != 1 {
			t.Errorf("%s was dialled %d times", id, n)
		}
	}
}

// Large bodies pass in both directions without being held.
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	const size = 256 << 20
	w := newWorld(t)
	n := w.notebook("first", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			rw.Header().Set("Content-Length", fmt.Sprint(size))
			_, _ = io.CopyN(rw, zeros{}, size)
			return
		}
		k, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(rw, "%d %v", k, err)
	}))
	in := n.enter(root)
	peak, done := make(chan uint64), make(chan struct{})
	go func() {
		var most uint64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	for what, set := range map[string]func(*http.Request){
		"of known length": func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(io.LimitReader(zeros{}, size)), size },
		"in chunks":       func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(io.LimitReader(zeros{}, size)), -1 },
	} {
		w.want(what, w.ask("PUT", n.origin()+"/api/contents/big", in, set), http.StatusOK, fmt.Sprintf("%d <nil>", size))
	}
	res, err := w.stream(n, "/files/big", in)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := io.Copy(io.Discard, res.Body); k != size || err != nil {
		t.Errorf("%d bytes, %v", k, err)
	}
	_ = res.Body.Close()
	close(done)
	if most := <-peak; most > 128<<20 {
		t.Errorf("%d MiB of heap", most>>20)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// An answer that breaks off is not taken for a whole one.
func TestBrokenAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebookAt("first", says(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"))
	res, err := w.stream(n, "/", n.enter(root))
	if err != nil {
		return // cut before anything was said
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("half an answer is a whole one")
	}
}

func TestSweepers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	n.enter(root)
	var kinds []string
	for _, r := range dataplane.Reconcilers(w.store) {
		kinds = append(kinds, string(r.Kind()))
		page, _, err := w.store.List(t.Context(), resource.Query{Kind: r.Kind()})
		if err != nil || len(page) != 1 {
			t.Fatalf("%s: %d, %v", r.Kind(), len(page), err)
		}
		res, err := r.Reconcile(t.Context(), page[0].Key)
		if err != nil || res.After <= 0 || res.After > time.Hour || page[0].Due.IsZero() {
			t.Errorf("%s: %+v, %v, due %v", r.Kind(), res, err, page[0].Due)
		}
	}
	if len(kinds) != 2 {
		t.Error(kinds)
	}
}
