package logs

import "sync"

// Growth collects which streams grew since somebody last took a look.
type Growth struct {
	// C is signalled when there is something to take. Signals are joined.
	C <-chan struct{}

	signal chan struct{}
	mu     sync.Mutex // guards grown
	grown  map[Stream]struct{}
}

// NewGrowth makes an empty one.
func NewGrowth() *Growth {
	c := make(chan struct{}, 1)
	return &Growth{C: c, signal: c, grown: make(map[Stream]struct{})}
}

// Add notes that a stream grew.
func (g *Growth) Add(s Stream) {
	g.mu.Lock()
	g.grown[s] = struct{}{}
	g.mu.Unlock()
	select {
	case g.signal <- struct{}{}:
	default: // one is waiting already
	}
}

// Take gives the streams that grew since the last Take.
func (g *Growth) Take() []Stream {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]Stream, 0, len(g.grown))
	for s := range g.grown {
		out = append(out, s)
	}
	clear(g.grown)
	return out
}
