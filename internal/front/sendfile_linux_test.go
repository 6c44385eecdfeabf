package front

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// unixPair are both ends of a unix socket.
func unixPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test
	if a, err = net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr)); err != nil {
		t.Fatal(err)
	}
	if b, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// TestSendFile sends parts of a file to a reader who is slower, and to one who
// does not read.
func TestSendFile(t *testing.T) {
	t.Parallel()
	data := make([]byte, 3*sendPiece/2)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // a test
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct{ from, size int64 }{{0, int64(len(data))}, {12345, 1}, {1, 100_000}, {int64(len(data)) - 10, 100}, {5, 0}} {
		if _, err := f.Seek(part.from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		a, b := unixPair(t)
		want := data[part.from:min(part.from+part.size, int64(len(data)))]
		l := &io.LimitedReader{R: f, N: part.size}
		type sent struct {
			n       int64
			handled bool
			err     error
		}
		done := make(chan sent, 1)
		go func() {
			n, handled, err := sendFile(a, l)
			_ = a.Close()
			done <- sent{n, handled, err}
		}()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v: %d bytes came, %v", part, len(got), err)
		}
		if s := <-done; s.n != int64(len(want)) || !s.handled || s.err != nil || l.N != part.size-s.n {
			t.Errorf("%+v: %+v, %d left", part, s, l.N)
		}
		if at, err := f.Seek(0, io.SeekCurrent); err != nil || at != part.from+int64(len(want)) {
			t.Errorf("%+v: the file is at %d, %v", part, at, err)
		}
	}
	a, _ := unixPair(t)
	_, _ = f.Seek(0, io.SeekStart)
	_ = a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if n, handled, err := sendFile(a, &io.LimitedReader{R: f, N: int64(len(data))}); n == 0 || !handled || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("to nobody: %d, %v, %v", n, handled, err)
	}
	if _, handled, _ := sendFile(a, bytes.NewReader(data)); handled {
		t.Error("no file was sent")
	}
}
