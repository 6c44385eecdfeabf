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
	mu    sync.Mutex   // guards what follows
	waits map[logs.Stream]map[chan struct{}]struct{}
	// groups are waited for under a stream without a name.
	groups map[logs.Stream]map[*logs.Growth]struct{}
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

// FollowGroup implements logs.Store.
func (s *Store) FollowGroup(ctx context.Context, account, region, group string, g *logs.Growth) {
	f, k := &s.follow, logs.Stream{Account: account, Region: region, Group: group}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.groups == nil {
		f.groups = make(map[logs.Stream]map[*logs.Growth]struct{})
	}
	if f.groups[k] == nil {
		f.groups[k] = make(map[*logs.Growth]struct{})
	}
	f.groups[k][g] = struct{}{}
	f.count.Add(1)
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if _, ok := f.groups[k][g]; !ok {
			return
		}
		delete(f.groups[k], g)
		if len(f.groups[k]) == 0 {
			delete(f.groups, k)
		}
		f.count.Add(-1)
	})
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
	for g := range f.groups[logs.Stream{Account: k.Account, Region: k.Region, Group: k.Group}] {
		g.Add(k)
	}
}

func (f *followers) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waits, f.groups = nil, nil
}
