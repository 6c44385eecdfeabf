package segment

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"clary/internal/logs"
)

func (g *group) info() logs.GroupInfo {
	return logs.GroupInfo{Name: g.name, Created: time.UnixMilli(g.created), Bytes: g.bytes.Load()}
}

func (st *stream) info() logs.StreamInfo {
	sum := st.summary()
	return logs.StreamInfo{
		Name: st.name, Created: time.UnixMilli(st.created),
		FirstEvent: sum.first, LastEvent: sum.last, LastIngestion: sum.ingested, Bytes: sum.bytes,
	}
}

// Groups implements logs.Store.
func (s *Store) Groups(_ context.Context, account, region, prefix, after string, limit int) ([]logs.GroupInfo, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []*group
	for k, g := range s.groups {
		if k.account == account && k.region == region && k.name > after && strings.HasPrefix(k.name, prefix) {
			found = append(found, g)
		}
	}
	slices.SortFunc(found, func(a, b *group) int { return cmp.Compare(a.name, b.name) })
	out := make([]logs.GroupInfo, 0, min(limit, len(found)))
	for _, g := range found[:min(limit, len(found))] {
		out = append(out, g.info())
	}
	return out, nil
}

// Group implements logs.Store.
func (s *Store) Group(_ context.Context, account, region, name string) (logs.GroupInfo, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	g, _, err := s.group(groupKey{account, region, name}, false)
	if err != nil {
		return logs.GroupInfo{}, err
	}
	return g.info(), nil
}

// Stream implements logs.Store.
func (s *Store) Stream(_ context.Context, k logs.Stream) (logs.StreamInfo, error) {
	st, err := s.lookup(k)
	if err != nil {
		return logs.StreamInfo{}, err
	}
	s.refresh(st)
	return st.info(), nil
}

// refresh brings up to date what the catalogue says about a stream that was
// being written to at a crash.
func (s *Store) refresh(st *stream) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.gone {
		return
	}
	if _, err := s.load(st); err != nil {
		s.cfg.Log.Warn("log stream cannot be read", "stream", st.name, "err", err)
	}
}

// Streams implements logs.Store.
func (s *Store) Streams(_ context.Context, account, region, name, prefix, after string, byTime, descending bool, limit int) ([]logs.StreamInfo, error) {
	s.mu.RLock()
	g, _, err := s.group(groupKey{account, region, name}, false)
	s.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	s.settle(g)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if byTime {
		return g.newest(prefix, after, descending, limit)
	}
	from := sort.Search(len(g.streams), func(i int) bool { return g.streams[i].name >= prefix })
	to := from + sort.Search(len(g.streams)-from, func(i int) bool {
		n := g.streams[from+i].name
		return n > prefix && !strings.HasPrefix(n, prefix)
	})
	streams := g.streams[from:to]
	if after != "" {
		i, found := slices.BinarySearchFunc(streams, after, func(st *stream, name string) int { return cmp.Compare(st.name, name) })
		switch {
		case descending:
			streams = streams[:i]
		case found:
			streams = streams[i+1:]
		default:
			streams = streams[i:]
		}
	}
	n := min(limit, len(streams))
	out := make([]logs.StreamInfo, 0, n)
	for i := range n {
		if descending {
			i = len(streams) - 1 - i
		}
		out = append(out, streams[i].info())
	}
	return out, nil
}

// settle looks at the streams of a group that a crash left stale.
func (s *Store) settle(g *group) {
	g.settle.Lock()
	defer g.settle.Unlock()
	s.mu.RLock()
	stale := g.stale
	s.mu.RUnlock()
	if len(stale) == 0 {
		return
	}
	for _, st := range stale {
		s.refresh(st)
	}
	s.mu.Lock()
	g.stale = nil
	s.mu.Unlock()
}

// newest lists by the last event's time, then name. The store's lock is held.
func (g *group) newest(prefix, after string, descending bool, limit int) ([]logs.StreamInfo, error) {
	order := func(a, b logs.StreamInfo) int {
		c := cmp.Or(cmp.Compare(a.LastEvent, b.LastEvent), cmp.Compare(a.Name, b.Name))
		if descending {
			return -c
		}
		return c
	}
	var last logs.StreamInfo
	if after != "" {
		ms, name, ok := strings.Cut(after, "/")
		at, err := strconv.ParseInt(ms, 10, 64)
		if !ok || err != nil {
			return nil, logs.ErrToken
		}
		last.LastEvent, last.Name = at, name
	}
	h := &lastFirst{order: order}
	for _, st := range g.streams {
		i := logs.StreamInfo{Name: st.name, LastEvent: st.last.Load()}
		if !strings.HasPrefix(st.name, prefix) || (after != "" && order(i, last) <= 0) {
			continue
		}
		switch {
		case len(h.infos) < limit:
			heap.Push(h, st.info())
		case limit > 0 && order(i, h.infos[0]) < 0:
			h.infos[0] = st.info()
			heap.Fix(h, 0)
		}
	}
	slices.SortFunc(h.infos, order)
	return h.infos, nil
}

// lastFirst is a heap with the one that would be listed last on top.
type lastFirst struct {
	infos []logs.StreamInfo
	order func(a, b logs.StreamInfo) int
}

func (h *lastFirst) Len() int           { return len(h.infos) }
func (h *lastFirst) Less(i, j int) bool { return h.order(h.infos[i], h.infos[j]) > 0 }
func (h *lastFirst) Swap(i, j int)      { h.infos[i], h.infos[j] = h.infos[j], h.infos[i] }
func (h *lastFirst) Push(x any)         { h.infos = append(h.infos, x.(logs.StreamInfo)) }
func (h *lastFirst) Pop() any {
	n := len(h.infos) - 1
	x := h.infos[n]
	h.infos = h.infos[:n]
	return x
}
