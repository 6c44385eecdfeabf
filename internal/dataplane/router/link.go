package router

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"clary/internal/compute"
	"clary/internal/serving"
)

const (
	idleTime    = time.Minute // of a connection, a route
	idleLinks   = 256         // kept of one task
	dialTime    = 5 * time.Second
	readBuffer  = 16 << 10
	maxHead     = 64 << 10 // of an answer, interim ones included
	maxInterim  = 8
	smallBody   = 32 << 10  // is sent in one piece with its head
	largeBody   = 128 << 10 // may fill what the kernel holds, so its answer is read beside
	maxReadStep = 1 << 20   // of a body whose length nobody said
)

// host is one container.
type host struct {
	task   compute.TaskID
	open   atomic.Int64 // requests that were given to its instance
	failed atomic.Int64 // when it last took no connection, in nanoseconds of Unix time

	mu   sync.Mutex // guards what follows
	idle []*link    // the longest idle first
	gone bool
}

// link is a connection to a container. One request at a time is on it.
type link struct {
	conn net.Conn
	br   *bufio.Reader
	left int64 // bytes that may come of a head
	got  int64 // bytes that came since the request
	used bool  // an answer came on it before
	at   time.Time
}

// Read implements io.Reader for br.
func (l *link) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errHead
	}
	n, err := l.conn.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	l.got += int64(n)
	return n, err
}

var (
	errHead    = errors.New("the head of the answer is too large")
	errInterim = errors.New("the answer is none: interim ones alone, or another protocol")
)

// link gives a connection: one that is idle, unless a fresh one is wanted, else
// a new one.
func (h *host) link(ctx context.Context, d compute.Dialer, fresh bool, deadline time.Time) (*link, error) {
	for !fresh {
		l := h.pop()
		if l == nil {
			break
		}
		_ = l.conn.SetDeadline(deadline)
		if l.alive() {
			return l, nil
		}
		_ = l.conn.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	c, err := d.Dial(ctx, h.task, serving.Port)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(deadline)
	l := &link{conn: c}
	l.br = bufio.NewReaderSize(l, readBuffer)
	return l, nil
}

func (h *host) pop() *link {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.idle)
	if n == 0 {
		return nil
	}
	l := h.idle[n-1]
	h.idle[n-1] = nil
	h.idle = h.idle[:n-1]
	return l
}

// put keeps a connection for the next request.
func (h *host) put(l *link) {
	l.used, l.at = true, time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone || len(h.idle) >= idleLinks || l.br.Buffered() > 0 {
		_ = l.conn.Close()
		return
	}
	h.idle = append(h.idle, l)
}

// expire closes what was idle too long.
func (h *host) expire(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for n < len(h.idle) && now.Sub(h.idle[n].at) > idleTime {
		_ = h.idle[n].conn.Close()
		n++
	}
	h.idle = append(h.idle[:0], h.idle[n:]...)
}

func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
	for _, l := range h.idle {
		_ = l.conn.Close()
	}
	h.idle = nil
}

// alive says that the container did not close an idle connection, nor say
// anything on it that nobody asked for: then a request is not sent in vain.
func (l *link) alive() bool {
	sc, ok := l.conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && quiet
}

// exchange is a request on a link, until its answer was read.
type exchange struct {
	h       *host
	l       *link
	res     *http.Response
	stop    func() bool // of ctx's watch; false: the link was interrupted
	written chan error  // of a large body; nil: all was sent
	half    bool        // the request was not sent to its end
	ended   bool        // the answer was read to its end
}

// begin sends a request and reads the head of its answer.
func (h *host) begin(ctx context.Context, d compute.Dialer, fresh bool, deadline time.Time, head, body []byte) (*exchange, error) {
	l, err := h.link(ctx, d, fresh, deadline)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if time.Now().After(deadline) {
			return nil, &hopError{kind: timedOut, err: err}
		}
		h.failed.Store(time.Now().UnixNano())
		return nil, &hopError{kind: unconnected, err: err}
	}
	x := &exchange{h: h, l: l}
	l.left, l.got = maxHead, 0
	x.stop = context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) })
	err = x.send(head, body)
	if err == nil || l.got == 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
		// who refuses a body may have said why
		var rerr error
		x.half = err != nil
		if x.res, rerr = l.head(); err == nil || rerr == nil { //nolint:bodyclose // the link is closed, or read to its end
			err = rerr
		}
	}
	if err != nil {
		got, used := l.got, l.used
		x.end()
		return nil, broken(ctx, err, got, used)
	}
	l.left = math.MaxInt64
	return x, nil
}

// broken says what an error of a link means.
func broken(ctx context.Context, err error, got int64, used bool) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &hopError{kind: timedOut, err: err}
	case got == 0:
		return &hopError{kind: died, err: err, unread: used}
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET):
		return &hopError{kind: died, err: err}
	}
	return &hopError{kind: garbled, err: err}
}

// send writes the request; a large body goes on while its answer is awaited.
func (x *exchange) send(head, body []byte) error {
	if len(body) <= smallBody {
		_, err := x.l.conn.Write(append(head, body...))
		return err
	}
	if len(body) <= largeBody {
		b := net.Buffers{head, body}
		_, err := b.WriteTo(x.l.conn)
		return err
	}
	x.written = make(chan error, 1)
	go func() {
		b := net.Buffers{head, body}
		_, err := b.WriteTo(x.l.conn)
		x.written <- err
	}()
	return nil
}

// head reads the head of the answer, past interim ones.
func (l *link) head() (*http.Response, error) {
	for range maxInterim {
		res, err := http.ReadResponse(l.br, asked)
		if err != nil {
			return nil, err
		}
		if res.StatusCode >= 200 {
			return res, nil
		}
		if res.StatusCode == http.StatusSwitchingProtocols {
			break
		}
	}
	return nil, errInterim
}

// asked tells net/http that an answer may have a body.
var asked = &http.Request{Method: http.MethodPost} //nolint:gochecknoglobals // a constant

// end gives the connection back, or closes it when there may be more on it.
// Nobody reads the request's body after it.
func (x *exchange) end() {
	done := x.stop() && x.ended && !x.half && !x.res.Close
	if x.written != nil {
		select {
		case err := <-x.written:
			done = done && err == nil
		default:
			_ = x.l.conn.Close()
			<-x.written
			return
		}
	}
	if done {
		x.h.put(x.l)
		return
	}
	_ = x.l.conn.Close()
}
