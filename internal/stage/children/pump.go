package children

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// longest is how many bytes of a line are waited for.
const longest = 64 << 10

// Pump takes what programs write into a pipe line by line, for as long as one
// of them or of their children holds it.
type Pump struct {
	r    *os.File
	line func(text []byte) // without its end; called by one goroutine
	rest []byte            // of a line that has not ended
	end  chan struct{}

	mu      sync.Mutex // guards waiting and the pipe's deadline
	waiting []chan struct{}
}

// NewPump makes a pipe. The caller gives w to a program and closes it.
func NewPump(line func(text []byte)) (p *Pump, w *os.File, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	if err := w.Chmod(0o666); err != nil { // so that whoever may write to it can also open /dev/stdout
		return nil, nil, errors.Join(err, r.Close(), w.Close())
	}
	p = &Pump{r: r, line: line, end: make(chan struct{})}
	go p.run()
	return p, w, nil
}

// Settle returns when all that was written before has been taken.
func (p *Pump) Settle() {
	c := make(chan struct{})
	p.mu.Lock()
	p.waiting = append(p.waiting, c)
	_ = p.r.SetReadDeadline(time.Unix(1, 0)) // it wakes the reader
	p.mu.Unlock()
	select {
	case <-c:
	case <-p.end:
	}
}

func (p *Pump) run() {
	defer close(p.end)
	defer p.r.Close() //nolint:errcheck // it was read
	buf := make([]byte, 32<<10)
	for {
		n, err := p.r.Read(buf)
		p.take(buf[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.mu.Lock()
			_ = p.r.SetReadDeadline(time.Time{})
			asked := p.waiting
			p.waiting = nil
			p.mu.Unlock()
			p.drain(buf)
			for _, c := range asked {
				close(c)
			}
		case err != nil:
			p.flush()
			return
		}
	}
}

// drain takes what is there.
func (p *Pump) drain(buf []byte) {
	conn, err := p.r.SyscallConn()
	if err != nil {
		return
	}
	for n := 1; n > 0; {
		n = 0
		_ = conn.Read(func(fd uintptr) bool {
			n, _ = unix.Read(int(fd), buf)
			return true
		})
		if n > 0 {
			p.take(buf[:n])
		}
	}
	p.flush()
}

func (p *Pump) take(b []byte) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			p.rest = append(p.rest, b...)
			if len(p.rest) >= longest {
				p.flush()
			}
			return
		}
		p.line(append(p.rest, b[:i]...))
		p.rest, b = p.rest[:0], b[i+1:]
	}
}

func (p *Pump) flush() {
	if len(p.rest) > 0 {
		p.line(p.rest)
		p.rest = p.rest[:0]
	}
}
