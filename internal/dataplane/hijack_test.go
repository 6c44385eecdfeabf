package dataplane

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// hijacked gives away a connection that can copy by itself, as the front's do.
type hijacked struct {
	http.ResponseWriter
	c net.Conn
}

type copies struct{ net.Conn }

func (copies) ReadFrom(io.Reader) (int64, error) { return 0, errors.New("large pieces") }

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return copies{h.c}, bufio.NewReadWriter(bufio.NewReader(h.c), bufio.NewWriter(h.c)), nil
}

// Copied by itself, a connection gets a deadline for megabytes, which a quiet
// WebSocket does not keep.
func TestHijackedIsPlain(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer a.Close()
	f := &flight{}
	f.ctx, f.cancel = context.WithCancelCause(t.Context())
	c, _, err := (&answer{ResponseWriter: hijacked{httptest.NewRecorder(), b}, f: f}).Hijack()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.(io.ReaderFrom); ok {
		t.Error("it copies by itself")
	}
	f.end()
	if _, err := a.Read(make([]byte, 1)); err == nil {
		t.Error("a cut leaves it open")
	}
	// and one that was cut before it was taken is given to nobody
	x, y := net.Pipe()
	defer x.Close()
	if _, _, err := (&answer{ResponseWriter: hijacked{httptest.NewRecorder(), y}, f: f}).Hijack(); !errors.Is(err, errCut) {
		t.Errorf("%v", err)
	}
}
