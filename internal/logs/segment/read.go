package segment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"

	"clary/internal/logs"
)

func cmpString(a, b string) int { return cmp.Compare(a, b) }

const (
	defaultEvents = 10_000
	defaultBytes  = 1 << 20
	readTries     = 4 // while segments are being packed under a reader
)

// Events implements logs.Store.
func (s *Store) Events(ctx context.Context, k logs.Stream, r logs.Read) ([]logs.Event, error) {
	if r.Max <= 0 {
		r.Max = defaultEvents
	}
	if r.MaxBytes <= 0 {
		r.MaxBytes = defaultBytes
	}
	st, err := s.lookup(k)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		st.mu.Lock()
		if st.gone {
			st.mu.Unlock()
			return nil, logs.ErrNoStream
		}
		t, err := s.load(st)
		if err == nil {
			t = t.snapshot()
		}
		st.mu.Unlock()
		if err == nil {
			var out []logs.Event
			out, err = s.read(ctx, st, t, r)
			if err == nil {
				return out, nil
			}
		}
		if !errors.Is(err, os.ErrNotExist) || try == readTries {
			return nil, fmt.Errorf("log stream %s: %w", k.Name, err)
		}
	}
}

func (s *Store) read(ctx context.Context, st *stream, t *tail, r logs.Read) ([]logs.Event, error) {
	parts := append(slices.Clip(t.old), part{n: t.n, first: t.first, index: t.index, size: t.size})
	parts[len(parts)-1].bounds()
	if r.From < 0 {
		r.From, r.Backward = t.seq, true
		if r.FromHead {
			r.From, r.Backward = 0, false
		}
	}
	c := &collector{r: r, left: r.MaxBytes}
	if r.Backward {
		for i := len(parts) - 1; i >= 0 && !c.full; i-- {
			if parts[i].first >= r.From || c.outside(parts[i].min, parts[i].max) {
				continue
			}
			if err := s.readPart(ctx, st, &parts[i], c); err != nil {
				return nil, err
			}
		}
		slices.Reverse(c.out)
		return c.out, nil
	}
	for i := range parts {
		if c.full {
			break
		}
		if (i+1 < len(parts) && parts[i+1].first <= r.From) || c.outside(parts[i].min, parts[i].max) {
			continue
		}
		if err := s.readPart(ctx, st, &parts[i], c); err != nil {
			return nil, err
		}
	}
	return c.out, nil
}

// collector takes events until there are enough: in order, or from the last to
// the first when reading backward.
type collector struct {
	r    logs.Read
	out  []logs.Event
	left int
	full bool
}

// outside says that no event between two times is wanted.
func (c *collector) outside(from, to int64) bool {
	return (c.r.Start > 0 && to < c.r.Start) || (c.r.End > 0 && from >= c.r.End)
}

func (c *collector) take(e logs.Event) bool {
	if c.outside(e.Timestamp, e.Timestamp) {
		return true
	}
	if len(c.out) > 0 && (len(c.out) >= c.r.Max || e.Size() > c.left) {
		c.full = true
		return false
	}
	c.out = append(c.out, e)
	c.left -= e.Size()
	if len(c.out) >= c.r.Max {
		c.full = true
	}
	return !c.full
}

func (s *Store) readPart(ctx context.Context, st *stream, p *part, c *collector) error {
	k := fileKey{st.id, p.n, p.packed}
	index := p.index
	if len(index) == 0 && !p.packed {
		return nil
	}
	f, _, err := s.files.get(k, false)
	if errors.Is(err, os.ErrNotExist) && !k.packed {
		k.packed = true // packed since the snapshot, for good
		f, _, err = s.files.get(k, false)
	}
	if err != nil {
		return err
	}
	defer s.files.put(f)
	if k.packed {
		_, index, err = readIndex(f, st.id)
		if err != nil {
			return err
		}
	}
	// The last block that begins at or before From.
	at := sort.Search(len(index), func(i int) bool { return index[i].seq > c.r.From }) - 1
	step := 1
	if c.r.Backward {
		step = -1
	}
	for i := max(at, 0); i >= 0 && i < len(index) && !c.full; i += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.outside(index[i].min, index[i].max) {
			continue
		}
		if err := s.readBlock(f, st.id, k.packed, index[i], c); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) readBlock(f *file, salt uint64, packed bool, b block, c *collector) error {
	buf := make([]byte, b.size)
	if _, err := f.ReadAt(buf, b.at); err != nil {
		return err
	}
	if packed {
		d, err := s.decode()
		if err != nil {
			return err
		}
		if buf, err = d.DecodeAll(buf, nil); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	if c.r.Backward {
		return readBackward(buf, salt, c)
	}
	var text string
	for len(buf) > 0 && !c.full {
		payload, n, err := next(buf, salt)
		if err != nil {
			return err
		}
		buf = buf[n:]
		h, rest, ok := readBatch(payload)
		if !ok {
			return errDamaged
		}
		if h.seq+h.count <= c.r.From || c.outside(h.min, h.max) {
			continue
		}
		text = string(rest)
		h.each(rest, text, func(e logs.Event) bool { return e.Seq < c.r.From || c.take(e) })
	}
	return nil
}

func readBackward(buf []byte, salt uint64, c *collector) error {
	var batches [][]byte
	for len(buf) > 0 {
		payload, n, err := next(buf, salt)
		if err != nil {
			return err
		}
		buf = buf[n:]
		batches = append(batches, payload)
	}
	var events []logs.Event
	for _, payload := range slices.Backward(batches) {
		h, rest, ok := readBatch(payload)
		if !ok {
			return errDamaged
		}
		if h.seq >= c.r.From || c.outside(h.min, h.max) {
			continue
		}
		events = events[:0]
		h.each(rest, string(rest), func(e logs.Event) bool {
			if e.Seq < c.r.From {
				events = append(events, e)
			}
			return e.Seq < c.r.From
		})
		for _, e := range slices.Backward(events) {
			if !c.take(e) {
				return nil
			}
		}
	}
	return nil
}
