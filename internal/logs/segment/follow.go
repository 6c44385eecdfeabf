package segment

import (
	"context"
	"sync"
	"sync/atomic"

	"clary/internal/logs"
)

// followers are who waits for streams to grow.
type followers struct {
	count atomic.Int64 // so that appending costs nothing when nobody waits
	mu    sync.Mutex   // guards waits
	waits map[logs.Stream]map[chan struct{}]struct{}
}

// Follow implements logs.Store.
func (s *Store) Follow(ctx context.Context, k logs.Stream) <-chan struct{} {
	return s.follow.add(ctx, k)
}

func (f *followers) add(ctx context.Context, k logs.Stream) <-chan struct{} {
	ch := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waits == nil {
		f.waits = make(map[logs.Stream]map[chan struct{}]struct{})
	}
	if f.waits[k] == nil {
		f.waits[k] = make(map[chan struct{}]struct{})
	}
	f.waits[k][ch] = struct{}{}
	f.count.Add(1)
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if _, ok := f.waits[k][ch]; !ok {
			return
		}
		delete(f.waits[k], ch)
		if len(f.waits[k]) == 0 {
			delete(f.waits, k)
		}
		f.count.Add(-1)
	})
	return ch
}

func (f *followers) signal(k logs.Stream) {
	if f.count.Load() == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch := range f.waits[k] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (f *followers) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waits = nil
}
