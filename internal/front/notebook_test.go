package front

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	notebookUID  = "abcdefghijklmnopqrstuvwxyz"
	notebookHost = "nb-" + notebookUID
)

// seen answers as a notebook would, and says how it was asked.
func seen(w http.ResponseWriter, r *http.Request) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	_, _ = fmt.Fprintf(w, "notebook %s://%s%s", scheme, r.Host, r.URL.Path)
}

func withNotebooks(c *Config) {
	c.Notebook = http.HandlerFunc(seen)
	c.NotebookSuffix = "notebooks.example.org"
}

// A notebook's name leads to it from this machine's own clients; the operator's
// domain does over TLS; neither does for a task, nor without TLS from elsewhere.
func TestNotebookNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withNotebooks)
	ask := func(host string, task bool) reply {
		return w.do(shot{method: "GET", path: "/lab", host: host, task: task})
	}
	for _, host := range []string{notebookHost + ".localhost", notebookHost + ".localhost:2527", strings.ToUpper(notebookHost) + ".LocalHost:1", notebookHost + ".localhost."} {
		if got := ask(host, false); got.status != 200 || got.body != "notebook http://"+host+"/lab" {
			t.Errorf("%s: %d %s", host, got.status, got.body)
		}
		if got := ask(host, true); got.status != http.StatusMisdirectedRequest || strings.Contains(got.body, "notebook http") {
			t.Errorf("%s from a task: %d %s", host, got.status, got.body)
		}
	}
	for _, host := range []string{
		"nb-.localhost", "nb-abc.localhost", notebookHost + "a.localhost", notebookHost[:28] + ".localhost", "nb-abcdefghijklmnopqrstuvwxy1.localhost", "x" + notebookHost + ".localhost",
		notebookHost + ".evil.test", notebookHost + ".localhost.evil.test", notebookHost, "a." + notebookHost + ".localhost", notebookHost + ".console.localhost",
		notebookHost + ".notebooks.example.org", "notebooks.example.org", notebookHost + ".x.notebooks.example.org", notebookHost + ".127.0.0.1", notebookHost + ".s3.localhost",
	} {
		for _, task := range []bool{false, true} {
			if got := ask(host, task); strings.Contains(got.body, "notebook http") {
				t.Errorf("%s (task %v): %d %s", host, task, got.status, got.body)
			}
		}
	}
	for _, host := range []string{"127.0.0.1", "localhost", "console.localhost"} {
		if got := ask(host, false); strings.Contains(got.body, "notebook http") {
			t.Errorf("%s: %s", host, got.body)
		}
	}
	if got := newWorld(t).do(shot{method: "GET", path: "/", host: notebookHost + ".localhost"}); got.status != http.StatusMisdirectedRequest {
		t.Errorf("without notebooks: %d", got.status)
	}
}

func TestNotebookNamesOfOtherMachines(t *testing.T) {
	t.Parallel()
	w, addr, pool, _, _ := serveDistant(t, withNotebooks)
	for host, want := range map[string]string{
		notebookHost + ".notebooks.example.org":   "notebook https://" + notebookHost + ".notebooks.example.org/lab",
		notebookHost + ".notebooks.example.org:1": "notebook https://" + notebookHost + ".notebooks.example.org:1/lab",
		notebookHost + ".localhost":               "",
		notebookHost + ".clary.example.test":      "",
		"nb-x.notebooks.example.org":              "",
	} {
		r := w.request(shot{method: "GET", path: "/lab", host: host})
		got, _, err := over(t, addr, "clary.example.test", pool, r)
		if err != nil || want != "" && got.body != want || want == "" && (got.status == 200 || strings.Contains(got.body, "notebook https")) {
			t.Errorf("%s: %+v, %v", host, got, err)
		}
	}
	near := &world{t: t, addr: addr}
	if got := near.raw("GET /lab HTTP/1.1\r\nHost: " + notebookHost + ".notebooks.example.org\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400") || strings.Contains(got, "notebook http") {
		t.Errorf("plain: %s", got)
	}
}

// A WebSocket on a notebook's name may say little for as long as it likes, in
// both directions, though a body that stalls is given up.
func TestQuietWebSocket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, err := New(Config{Keys: keys{}, Auth: &policy{}, Notebook: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				n, err := io.Copy(io.Discard, r.Body)
				_, _ = fmt.Fprint(w, n, err)
				return
			}
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			var b [4]byte
			for {
				if _, err := io.ReadFull(c, b[:]); err != nil {
					return
				}
				if _, err := c.Write(b[:]); err != nil {
					return
				}
			}
		})})
		if err != nil {
			t.Fatal(err)
		}
		a, b := net.Pipe()
		p := &oneConn{conns: make(chan net.Conn, 1), done: make(chan struct{})}
		p.conns <- b
		served := make(chan error, 1)
		go func() { served <- f.Serve(p) }()
		_, _ = io.WriteString(a, "GET /ws HTTP/1.1\r\nHost: "+notebookHost+".localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		head := make([]byte, len("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
		if _, err := io.ReadFull(a, head); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(3 * time.Hour)
			if _, err := io.WriteString(a, "ping"); err != nil {
				t.Fatal(err)
			}
			var got [4]byte
			if _, err := io.ReadFull(a, got[:]); err != nil || string(got[:]) != "ping" {
				t.Fatalf("%q, %v", got, err)
			}
		}
		_ = a.Close()
		if err := f.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-served
	})
}

// oneConn is a loopback listener of in-memory connections.
type oneConn struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return near{c}, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *oneConn) Close() error { close(p.done); return nil }
func (*oneConn) Addr() net.Addr { return loopback }

// near is a connection whose ends are loopback's.
type near struct{ net.Conn }

var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}

func (near) LocalAddr() net.Addr  { return loopback }
func (near) RemoteAddr() net.Addr { return loopback }
