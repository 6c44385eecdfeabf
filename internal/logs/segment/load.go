package segment

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

var errClosed = fmt.Errorf("logs: %w", os.ErrClosed)

// loaded bounds how many streams have a tail in memory.
type loaded struct {
	limit int
	mu    sync.Mutex // guards order
	order list.List  // of *stream, loaded first at the back
}

// add takes a stream in, for which one or two others may have to go. The caller
// holds st.mu; the others' locks are only tried.
func (l *loaded) add(st *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.order.PushFront(st)
	l.trimLocked(st, fewTries)
}

// fewTries bounds what one load does for others while most are being written to.
const fewTries = 8

// trim lets go of what add could not.
func (l *loaded) trim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trimLocked(nil, l.order.Len())
}

// trimLocked lets go of streams that are not being written to, oldest first.
func (l *loaded) trimLocked(keep *stream, tries int) {
	for ; l.order.Len() > l.limit && tries > 0; tries-- {
		old := l.order.Remove(l.order.Back()).(*stream)
		if old == keep || !old.mu.TryLock() {
			l.order.PushFront(old)
			continue
		}
		switch {
		case old.tail == nil:
		case old.marked.Load() || old.unpacked():
			l.order.PushFront(old)
		default:
			old.tail = nil
		}
		old.mu.Unlock()
	}
}

// unpacked says whether a segment waits to be packed. mu is held.
func (st *stream) unpacked() bool {
	for _, p := range st.tail.old {
		if !p.packed && !p.damaged {
			return true
		}
	}
	return false
}

// load reads how a stream stands. st.mu is held.
func (s *Store) load(st *stream) (*tail, error) {
	if st.tail != nil {
		return st.tail, nil
	}
	if s.closed.Load() {
		return nil, errClosed
	}
	n := st.segment.Load()
	for { // the catalogue may be behind, and what it missed packed by now
		more, err := s.files.exists(st.key(n + 1))
		if err == nil && !more {
			more, err = s.files.exists(fileKey{st.id, n + 1, true})
		}
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		n++
	}
	t, err := s.loadActive(st, n)
	if err != nil {
		return nil, err
	}
	waiting := false
	for i := range t.n {
		if len(t.old) > 0 && t.old[len(t.old)-1].n == i {
			break // the active one was damaged, and is a part now
		}
		p, err := s.loadPart(st, i)
		if err != nil {
			return nil, fmt.Errorf("segment %d: %w", i, err)
		}
		waiting = waiting || (!p.packed && !p.damaged)
		t.old = insertPart(t.old, p)
	}
	st.segment.Store(t.n)
	st.tail = t
	s.loaded.add(st)
	if waiting {
		s.pack.kick(st)
	}
	return t, nil
}

// insertPart keeps a damaged active segment last.
func insertPart(old []part, p part) []part {
	at := len(old)
	for at > 0 && old[at-1].n > p.n {
		at--
	}
	old = append(old, part{})
	copy(old[at+1:], old[at:])
	old[at] = p
	return old
}

// loadActive reads the last segment, cuts its torn tail and leaves a damaged
// one as it is, going on in the next.
func (s *Store) loadActive(st *stream, n uint32) (*tail, error) {
	f, _, err := s.files.get(st.key(n), false)
	if isMissing(err) {
		if n == 0 {
			return &tail{}, nil
		}
		packed, perr := s.files.exists(fileKey{st.id, n, true})
		if perr != nil || !packed {
			return nil, errors.Join(err, perr)
		}
		return nil, fmt.Errorf("segment %d: %w", n, errDamaged)
	}
	if err != nil {
		return nil, err
	}
	h, t, bad, err := s.scan(st, f, n)
	if err != nil {
		s.files.put(f)
		return nil, err
	}
	if h == nil {
		s.files.put(f)
		if errors.Is(bad, errDamaged) {
			return nil, fmt.Errorf("segment %d: head: %w", n, bad)
		}
		// A crash came between its creation and its head.
		if err := s.files.remove(st.key(n)); err != nil || n == 0 {
			return &tail{}, err
		}
		return s.loadActive(st, n-1)
	}
	defer s.files.put(f)
	st.setSummary(h.summary)
	switch {
	case errors.Is(bad, errDamaged):
		s.cfg.Log.Warn("log segment is damaged; lines after the damage are not shown", "file", st.key(n).name(), "at", t.size)
		t.rotate(true)
	case bad != nil:
		if err := f.Truncate(t.size); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// scan reads a segment's head and records. bad says why it ended before the end
// of the file. The head it returns has the summary brought up to date.
func (s *Store) scan(st *stream, f io.ReaderAt, n uint32) (h *head, t *tail, bad, err error) {
	r := newFrames(f)
	payload, size, bad, err := r.next(st.id)
	if err != nil || bad != nil {
		return nil, nil, bad, err
	}
	hd, ok := readHead(payload)
	if !ok || hd.name != st.name {
		return nil, nil, errDamaged, nil
	}
	t = &tail{n: n, first: hd.seq, seq: hd.seq, size: int64(size), offsets: hd.offsets}
	for {
		payload, size, bad, err := r.next(st.id)
		if errors.Is(bad, io.EOF) {
			return &hd, t, nil, err
		}
		if err != nil || bad != nil {
			return &hd, t, bad, err
		}
		b, _, ok := readBatch(payload)
		if !ok || b.seq != t.seq {
			return &hd, t, errDamaged, nil
		}
		t.index = addBlock(t.index, t.size, int64(size), b)
		t.size += int64(size)
		t.seq += b.count
		if b.next >= 0 {
			t.setOffset(b.task, b.next)
		}
		hd.summary.add(b)
	}
}

// loadPart reads the index of a full segment.
func (s *Store) loadPart(st *stream, n uint32) (part, error) {
	k := fileKey{st.id, n, true}
	f, _, err := s.files.get(k, false)
	if err == nil {
		defer s.files.put(f)
		return readPart(f, st.id, n)
	}
	if !isMissing(err) {
		return part{}, err
	}
	f, _, err = s.files.get(st.key(n), false)
	if err != nil {
		return part{}, err
	}
	defer s.files.put(f)
	h, t, bad, err := s.scan(st, f, n)
	if err != nil {
		return part{}, err
	}
	if h == nil {
		return part{n: n, damaged: true}, nil
	}
	p := part{n: n, first: t.first, size: t.size, index: t.index, damaged: bad != nil}
	p.bounds()
	return p, nil
}

// frames reads frames one after the other.
type frames struct {
	r   io.ReaderAt
	at  int64
	buf []byte
	pos int
	eof bool
}

func newFrames(r io.ReaderAt) *frames { return &frames{r: r} }

const scanRead = 256 << 10

// next returns one payload, which is valid until the next call. bad is io.EOF
// at the end, errTorn or errDamaged.
func (f *frames) next(salt uint64) (payload []byte, size int, bad, err error) {
	for {
		payload, size, bad = next(f.buf[f.pos:], salt)
		if bad == nil {
			f.pos += size
			return payload, size, nil, nil
		}
		if errors.Is(bad, errDamaged) || f.eof {
			if f.eof && f.pos == len(f.buf) {
				bad = io.EOF
			}
			return nil, 0, bad, nil
		}
		if err := f.fill(); err != nil {
			return nil, 0, nil, err
		}
	}
}

func (f *frames) fill() error {
	have := len(f.buf) - f.pos
	want := max(scanRead, 2*have)
	buf := f.buf
	if cap(buf) < have+want {
		buf = make([]byte, have, have+want)
	}
	buf = buf[:have]
	copy(buf, f.buf[f.pos:])
	n, err := f.r.ReadAt(buf[have:have+want], f.at)
	f.at += int64(n)
	f.buf, f.pos = buf[:have+n], 0
	if errors.Is(err, io.EOF) {
		f.eof = true
		return nil
	}
	return err
}
