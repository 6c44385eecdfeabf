package sqlite

import (
	"context"
	"sync"

	"clary/internal/resource"
)

// watchBuffer is how many hints wait for a slow reader; more are dropped.
const watchBuffer = 1024

type watch struct {
	kinds map[resource.Kind]bool
	out   chan resource.Key
}

type watches struct {
	mu     sync.Mutex // guards what follows, and sends to and closing of a watch's channel
	all    map[*watch]struct{}
	closed bool
}

// Watch implements store.Store. The channel is closed when ctx is done or the
// store is closed.
func (s *Store) Watch(ctx context.Context, kinds ...resource.Kind) <-chan resource.Key {
	w := &watch{kinds: make(map[resource.Kind]bool, len(kinds)), out: make(chan resource.Key, watchBuffer)}
	for _, k := range kinds {
		w.kinds[k] = true
	}
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	if s.watches.closed {
		close(w.out)
		return w.out
	}
	s.watches.all[w] = struct{}{}
	context.AfterFunc(ctx, func() { s.watches.end(w) })
	return w.out
}

func (ws *watches) end(w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if _, ok := ws.all[w]; ok {
		delete(ws.all, w)
		close(w.out)
	}
}

func (ws *watches) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
	for w := range ws.all {
		close(w.out)
	}
	clear(ws.all)
}

func (ws *watches) tell(keys []resource.Key) {
	if len(keys) == 0 {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		for _, k := range keys {
			if len(w.kinds) > 0 && !w.kinds[k.Kind] {
				continue
			}
			select {
			case w.out <- k:
			default:
			}
		}
	}
}
