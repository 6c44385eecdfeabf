package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// maxLine is what one log event may hold: CloudWatch counts 26 bytes besides
// the text.
const maxLine = 256<<10 - 26

// spooler writes a program's output as stamped lines.
type spooler struct {
	f    *os.File
	grew func()

	mu      sync.Mutex // guards what follows up to size; is held while a line waits for room
	partial []byte     // of a line whose end has not come
	out     []byte
	full    bool

	size   atomic.Int64
	dirty  atomic.Bool // something is not on disk yet
	giveUp chan struct{}
	max    int64 // of bytes; what comes after is dropped
}

func newSpooler(path string, most int64, grew func()) (*spooler, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &spooler{f: f, grew: grew, max: most, giveUp: make(chan struct{})}, nil
}

// run copies r until its end.
func (s *spooler) run(r io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			s.take(buf[:n])
		}
		if err != nil {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.partial) > 0 {
		s.line(nil, time.Now())
		s.flush()
	}
}

func (s *spooler) take(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(b, time.Now())
	s.flush()
}

// say puts a line of our own between the program's.
func (s *spooler) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	begun := s.partial
	s.partial = nil
	s.line([]byte("clary: "+text), time.Now())
	s.flush()
	s.partial = begun
}

func (s *spooler) add(b []byte, now time.Time) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		room := maxLine - len(s.partial)
		switch {
		case i >= 0 && i <= room:
			s.line(b[:i], now)
			b = b[i+1:]
		case len(b) > room:
			s.line(b[:room], now)
			b = b[room:]
		default:
			s.partial = append(s.partial, b...)
			return
		}
	}
}

// line ends the partial line with more.
func (s *spooler) line(more []byte, now time.Time) {
	if s.full {
		s.partial = s.partial[:0]
		return
	}
	if s.size.Load()+int64(len(s.out)+len(s.partial)+len(more)) > s.max {
		s.full = true
		more, s.partial = fmt.Appendf(nil, "clary: more than %d bytes of output; what follows is dropped", s.max), s.partial[:0]
	}
	s.out = strconv.AppendInt(s.out, now.UnixMilli(), 10)
	s.out = append(s.out, ' ')
	s.out = append(s.out, s.partial...)
	s.out = append(s.out, more...)
	s.out = append(s.out, '\n')
	s.partial = s.partial[:0]
}

// flush appends what is ready. While the disk is full the program waits.
func (s *spooler) flush() {
	if len(s.out) == 0 {
		return
	}
	for len(s.out) > 0 {
		n, err := s.f.Write(s.out)
		if n > 0 {
			s.size.Add(int64(n))
			s.dirty.Store(true)
			s.out = s.out[n:]
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			select {
			case <-s.giveUp:
				// A line is whole or not there.
				s.out = nil
				return
			case <-time.After(time.Second): // nothing tells that there is room again
			}
		}
	}
	if cap(s.out) > 1<<20 {
		s.out = nil
	} else {
		s.out = s.out[:0]
	}
	s.grew()
}

// sync brings the output to disk.
func (s *spooler) sync() error {
	if !s.dirty.Swap(false) {
		return nil
	}
	return unix.Fdatasync(int(s.f.Fd()))
}
