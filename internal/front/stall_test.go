package front

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/aws/codec"
	"clary/internal/aws/codec/awsjson"
	"clary/internal/aws/codec/restxml"
	"clary/internal/aws/sigv4"
)

// pipes is a listener of in-memory connections, so that time can be the test's.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (*pipes) Addr() net.Addr   { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
func (p *pipes) dial() net.Conn { a, b := net.Pipe(); p.conns <- b; return a }

// A client that says too little or reads too little is given up after a while,
// and not before.
func TestStalledClients(t *testing.T) {
	t.Parallel()
	w := &world{t: t}
	ca, err := LoadCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s3put := func(body string, length int) string {
		r := w.request(shot{method: "PUT", path: "/bucket/k", service: "s3", payload: sigv4.UnsignedPayload, at: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), host: "clary"})
		var b strings.Builder
		fmt.Fprintf(&b, "PUT /bucket/k HTTP/1.1\r\nHost: clary\r\nContent-Length: %d\r\n", length)
		for k, v := range r.Header {
			fmt.Fprintf(&b, "%s: %s\r\n", k, v[0])
		}
		return b.String() + "\r\n" + body
	}
	for _, tt := range []struct {
		name  string
		says  string
		after time.Duration
	}{
		{"nothing", "", sniffTime},
		{"half a handshake", "\x16\x03\x01\x02\x00\x01", headerTime},
		{"half a head", "GET / HTTP/1.1\r\nHost: cl", headerTime},
		{"half a body", s3put("hel", 5), stallTime},
		{"nothing more", s3put("hello", 5), idleTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, err := New(Config{
					Services: w.services(), Keys: keys{}, Auth: &policy{}, Log: slog.New(slog.DiscardHandler), CA: ca,
					Codecs: map[string]codec.Codec{"json": awsjson.New("1.1"), "rest-xml": restxml.New()},
				})
				if err != nil {
					t.Fatal(err)
				}
				p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				served := make(chan error, 1)
				go func() { served <- f.ServeTask(p) }()
				c := p.dial()
				begun := time.Now()
				go func() { _, _ = io.WriteString(c, tt.says) }()
				answer, _ := io.ReadAll(c)
				// the server may wait a little for its answer to arrive
				if took := time.Since(begun); took < tt.after || took > tt.after+2*time.Second {
					t.Errorf("given up after %v, want %v", took, tt.after)
				}
				if tt.name == "nothing more" && !strings.Contains(string(answer), " 200 ") {
					t.Errorf("answer %s", answer)
				}
				if tt.name == "half a body" && !strings.Contains(string(answer), "RequestTimeout") {
					t.Errorf("answer %s", answer)
				}
				_ = c.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				if err := f.Shutdown(ctx); err != nil {
					t.Error(err)
				}
				if err := <-served; err == nil {
					t.Error("Serve ended without saying why")
				}
			})
		})
	}
}

// A reader that goes on, however slowly, is not given up; one that stops is.
func TestStalledReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := &conn{Conn: b}
		wrote := make(chan int64, 1)
		go func() {
			n, _ := c.ReadFrom(strings.NewReader(strings.Repeat("x", 200<<10)))
			wrote <- n
		}()
		buf := make([]byte, 64<<10)
		for range 2 {
			time.Sleep(stallTime - time.Second)
			if _, err := io.ReadFull(a, buf); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		n := <-wrote
		if took := time.Since(begun); n >= 200<<10 || took > stallTime {
			t.Errorf("%d bytes, given up after %v", n, took)
		}
		_ = a.Close()
	})
}
