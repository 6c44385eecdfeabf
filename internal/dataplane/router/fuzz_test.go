package router

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/resource"
	"clary/internal/store"
)

// once dials a container that answers one request with bytes as they are.
type once struct{ text []byte }

func (o once) Dial(context.Context, compute.TaskID, int) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer func() { _ = theirs.Close() }()
		r, err := http.ReadRequest(bufio.NewReader(theirs))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = theirs.Write(o.text)
	}()
	return ours, nil
}

// nowhere has no records.
type nowhere struct{}

func (nowhere) Get(context.Context, resource.Key) (*resource.Record, error) {
	return nil, store.ErrNotFound
}

func (nowhere) Watch(context.Context, ...resource.Kind) <-chan resource.Key { return nil }

// FuzzAnswer: whatever bytes a container sends are an answer within its bounds
// or an error, and all room that was taken is given back.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n", "HTTP/1.0 500 No\r\n\r\nx", "HTTP/1.1 101 X\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\nX-Amzn-SageMaker-Custom-Attributes: a\x01\r\n\r\n", "\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const most = 4096
		r, err := New(Config{Records: nowhere{}, Dialer: once{text}, Meter: &meters{}, MaxPayload: most, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		v := &visit{r: r}
		h := &host{task: "t"}
		a, err := v.hop(t.Context(), h, &ask{body: []byte("x")}, false, time.Now().Add(5*time.Second))
		if err == nil && (a.status < 200 || len(a.body) > most || len(a.contentType) > maxHeader || !visible(a.attributes)) {
			t.Errorf("%+v", a)
		}
		v.release()
		h.close()
		if n := r.room.used.Load(); n != 0 {
			t.Errorf("%d bytes are still counted", n)
		}
	})
}
