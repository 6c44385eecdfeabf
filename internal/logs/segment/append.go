package segment

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"clary/internal/logs"
)

// buffers holds *[]byte for encoding. Large ones are not kept.
type buffers struct{ sync.Pool }

const keepBuffer = 256 << 10

func (b *buffers) get() []byte {
	if p, ok := b.Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return nil
}

func (b *buffers) put(buf []byte) {
	if cap(buf) <= keepBuffer {
		b.Put(&buf)
	}
}

// Append implements logs.Store.
func (s *Store) Append(_ context.Context, k logs.Stream, events []logs.Event) error {
	st, err := s.lookup(k)
	if err != nil || len(events) == 0 {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.gone {
		return logs.ErrNoStream
	}
	t, err := s.load(st)
	if err != nil {
		return fmt.Errorf("log stream %s: %w", k.Name, err)
	}
	if err := s.write(st, t, &batch{next: -1}, events); err != nil {
		return fmt.Errorf("log stream %s: %w", k.Name, err)
	}
	s.follow.signal(k)
	return nil
}

// Ingest implements logs.Store.
func (s *Store) Ingest(_ context.Context, k logs.Stream, task string, from, upTo int64, events []logs.Event) error {
	if from < 0 || upTo < from {
		return fmt.Errorf("log stream %s: task %s [%d, %d): %w", k.Name, task, from, upTo, logs.ErrOffset)
	}
	for {
		st, err := s.lookup(k)
		if errors.Is(err, logs.ErrNoGroup) || errors.Is(err, logs.ErrNoStream) {
			st, _, err = s.create(k, true)
		}
		if err == nil {
			err = s.ingest(st, task, from, upTo, events)
		}
		switch {
		case errors.Is(err, errGone):
			continue // deleted just now
		case err != nil:
			return fmt.Errorf("log stream %s: task %s [%d, %d): %w", k.Name, task, from, upTo, err)
		}
		s.follow.signal(k)
		return nil
	}
}

var errGone = errors.New("stream is gone")

func (s *Store) ingest(st *stream, task string, from, upTo int64, events []logs.Event) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.gone {
		return errGone
	}
	t, err := s.load(st)
	if err != nil {
		return err
	}
	if have, known := t.offset(task); known {
		switch {
		case upTo <= have:
			return nil
		case from < have && upTo-from == int64(len(events)):
			events = events[have-from:]
		case from != have:
			return fmt.Errorf("%w: that is %d", logs.ErrOffset, have)
		}
	}
	return s.write(st, t, &batch{task: task, next: upTo}, events)
}

// Offset implements logs.Store.
func (s *Store) Offset(_ context.Context, k logs.Stream, task string) (int64, error) {
	st, err := s.lookup(k)
	if errors.Is(err, logs.ErrNoGroup) || errors.Is(err, logs.ErrNoStream) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.gone {
		return 0, nil
	}
	t, err := s.load(st)
	if err != nil {
		return 0, fmt.Errorf("log stream %s: %w", k.Name, err)
	}
	have, _ := t.offset(task)
	return have, nil
}

// write appends one record. st.mu is held. Nothing has changed when it fails.
func (s *Store) write(st *stream, t *tail, b *batch, events []logs.Event) error {
	if s.closed.Load() {
		return errClosed
	}
	b.seq, b.ingestion = t.seq, time.Now().UnixMilli()
	buf := appendBatch(s.buffers.get(), st.id, b, events)
	defer func() { s.buffers.put(buf) }()

	if t.size > 0 && len(t.index) > 0 && t.size+int64(len(buf)) > s.cfg.SegmentSize {
		t.rotate(false)
		s.pack.kick(st)
	}
	if !st.marked.Load() {
		if err := s.cat.add(markRecord(st)); err != nil {
			return err
		}
		st.marked.Store(true)
	}
	f, made, err := s.files.get(st.key(t.n), t.size == 0)
	if err != nil {
		return err
	}
	defer s.files.put(f)
	size := t.size
	if size == 0 {
		h := head{
			account: st.group.account, region: st.group.region, group: st.group.name, name: st.name,
			created: st.created, seq: t.seq, summary: st.summary(), offsets: t.offsets,
		}.append(nil, st.id)
		if _, err := f.WriteAt(h, 0); err != nil {
			return errors.Join(err, f.Truncate(0))
		}
		size = int64(len(h))
	}
	if _, err := f.WriteAt(buf, size); err != nil {
		return errors.Join(err, f.Truncate(t.size))
	}
	st.segment.Store(t.n)
	t.index = addBlock(t.index, size, int64(len(buf)), *b)
	t.size = size + int64(len(buf))
	t.seq += b.count
	if b.next >= 0 {
		t.setOffset(b.task, b.next)
	}
	sum := st.summary()
	sum.add(*b)
	st.setSummary(sum)
	s.sync.dirty(st, t.n, made)
	return nil
}
