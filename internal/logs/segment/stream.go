package segment

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

type groupKey struct{ account, region, name string }

// group is one log group. Store.mu guards streams and stale.
type group struct {
	groupKey
	number  uint64
	created int64
	bytes   atomic.Int64
	streams []*stream // by name
	stale   []*stream // written to before a crash, and not looked at since
	settle  sync.Mutex
}

func (g *group) find(name string) (int, bool) {
	return slices.BinarySearchFunc(g.streams, name, func(st *stream, name string) int { return cmp.Compare(st.name, name) })
}

// stream is one log stream. There may be very many: what only a stream in use
// needs is in tail.
type stream struct {
	group   *group
	id      uint64 // random; also seeds the checksums
	name    string
	created int64

	// What a listing shows; written under mu.
	first, last, ingested, bytes atomic.Int64

	segment atomic.Uint32 // the active one, or one before it while tail is nil
	marked  atomic.Bool   // in the catalogue as being written to

	mu   sync.Mutex // guards tail and gone
	tail *tail
	gone bool
}

func (st *stream) summary() summary {
	return summary{st.first.Load(), st.last.Load(), st.ingested.Load(), st.bytes.Load()}
}

func (st *stream) setSummary(s summary) {
	st.group.bytes.Add(s.bytes - st.bytes.Load())
	st.first.Store(s.first)
	st.last.Store(s.last)
	st.ingested.Store(s.ingested)
	st.bytes.Store(s.bytes)
}

func (st *stream) key(n uint32) fileKey { return fileKey{stream: st.id, n: n} }

// tail is what appending to and reading a stream need. A reader takes a copy.
type tail struct {
	old     []part // full segments, oldest first
	n       uint32 // the active segment
	first   int64  // seq of its first event
	seq     int64  // of the next event
	size    int64  // of the active file; 0: not made yet
	index   []block
	offsets []offset
}

// part is a full segment.
type part struct {
	n        uint32
	first    int64
	min, max int64
	packed   bool
	damaged  bool
	size     int64   // of the records, while not packed
	index    []block // while not packed
}

func (t *tail) offset(task string) (int64, bool) {
	for _, o := range t.offsets {
		if o.task == task {
			return o.next, true
		}
	}
	return 0, false
}

func (t *tail) setOffset(task string, next int64) {
	for i := range t.offsets {
		if t.offsets[i].task == task {
			t.offsets[i].next = next
			return
		}
	}
	t.offsets = append(t.offsets, offset{task, next})
}

// snapshot is what a read goes by.
func (t *tail) snapshot() *tail {
	return &tail{old: slices.Clone(t.old), n: t.n, first: t.first, seq: t.seq, size: t.size, index: slices.Clone(t.index)}
}

// full makes the active segment a part and begins the next.
func (t *tail) rotate(damaged bool) {
	p := part{n: t.n, first: t.first, size: t.size, index: t.index, damaged: damaged}
	p.bounds()
	t.old = append(t.old, p)
	t.n++
	t.first, t.size, t.index = t.seq, 0, nil
}

func (p *part) bounds() {
	for i, b := range p.index {
		if i == 0 {
			p.min, p.max = b.min, b.max
		}
		p.min, p.max = min(p.min, b.min), max(p.max, b.max)
	}
}
