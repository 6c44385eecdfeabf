package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"clary/internal/dataplane/router"
	"clary/internal/front"
	"clary/internal/metrics"
)

// next is whichever server has the place now, asked by its door: it may change
// hands again meanwhile.
type next struct {
	path string // of the door

	mu   sync.Mutex // guards line
	line line
}

const (
	handWait = 10 * time.Second // for a server to take what is left
	atOnce   = 100              // metrics in one message
)

// take hands a connection on.
func (n *next) take(w front.Waiting) error {
	defer w.Conn.Close() //nolint:errcheck // the other's end stays open
	c, ok := w.Conn.(interface{ File() (*os.File, error) })
	if !ok {
		return errors.New("it has no descriptor")
	}
	f, err := c.File()
	if err != nil {
		return err
	}
	defer f.Close()
	return n.ask(message{Say: sayWaiting, Head: w.Head, Task: w.Task, Spoke: w.Spoke, Inside: w.Inside}, f)
}

// count hands on what answers gave to count.
func (n *next) count(_ context.Context, data []metrics.Datum) error {
	for len(data) > 0 {
		some := min(atOnce, len(data))
		if err := n.ask(message{Say: sayMetrics, Metrics: data[:some]}); err != nil {
			return err
		}
		data = data[some:]
	}
	return nil
}

// keep hands on what was captured. Its body may be too long for a message: it
// goes as a file without a name.
func (n *next) keep(_ context.Context, f router.File) error {
	body, err := os.CreateTemp(filepath.Dir(n.path), ".captured-*")
	if err != nil {
		return err
	}
	defer body.Close()
	if err := os.Remove(body.Name()); err != nil {
		return err
	}
	if _, err := body.Write(f.Body); err != nil {
		return err
	}
	f.Body = nil
	return n.ask(message{Say: sayCapture, Capture: &f}, body)
}

func (n *next) ask(m message, files ...*os.File) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for begun := time.Now(); ; {
		var err error
		if n.line.c == nil {
			n.line, err = dialDoor(n.path)
		}
		if err == nil {
			if err = n.line.ask(m, files...); err == nil || errors.Is(err, errRefused) {
				return err
			}
			n.line.close()
			n.line = line{}
		}
		if time.Since(begun) > handWait {
			return err
		}
		time.Sleep(10 * time.Millisecond) // nothing tells when another one listens
	}
}

func (n *next) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.line.c != nil {
		n.line.close()
	}
}

// one is the descriptor that came with a message.
func one(files []*os.File) (*os.File, error) {
	if len(files) != 1 {
		return nil, fmt.Errorf("%d descriptors came where one must", len(files))
	}
	return files[0], nil
}

// adopt serves a connection that the server before this one left.
func (r *rooms) adopt(ctx context.Context, m message, files []*os.File) error {
	f, err := one(files)
	if err != nil {
		return err
	}
	c, err := net.FileConn(f)
	if err != nil {
		return err
	}
	return r.front.Adopt(ctx, front.Waiting{Conn: c, Head: m.Head, Task: m.Task, Spoke: m.Spoke, Inside: m.Inside})
}

// keepLeft keeps what the server before this one captured.
func (r *rooms) keepLeft(ctx context.Context, m message, files []*os.File) error {
	f, err := one(files)
	if err != nil || m.Capture == nil {
		return errors.Join(err, errors.New("nothing was captured"))
	}
	if m.Capture.Body, err = io.ReadAll(io.NewSectionReader(f, 0, maxCaptured)); err != nil {
		return err
	}
	return captures{r, capturer{r.blobs, r.ids}}.keep(ctx, *m.Capture)
}

// maxCaptured bounds what is read of another process's file.
const maxCaptured = 1 << 30
