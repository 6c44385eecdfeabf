package folder

import (
	"sync"
)

// group lets concurrent callers share one run of do: each returns after a run
// that began after it called.
type group struct {
	do func() error

	running sync.Mutex
	mu      sync.Mutex // guards next
	next    *round
}

type round struct {
	done chan struct{}
	err  error
}

func (g *group) run() error {
	g.mu.Lock()
	r, lead := g.next, false
	if r == nil {
		r, lead = &round{done: make(chan struct{})}, true
		g.next = r
	}
	g.mu.Unlock()
	if !lead {
		<-r.done
		return r.err
	}
	g.running.Lock()
	g.mu.Lock()
	g.next = nil
	g.mu.Unlock()
	r.err = g.do()
	g.running.Unlock()
	close(r.done)
	return r.err
}

// remover takes files away one after another, off the path of requests.
type remover struct {
	mu     sync.Mutex // guards queue, closed, dirty
	wake   sync.Cond
	queue  []removal
	closed bool
	dirty  bool
	busy   bool
	done   chan struct{}
}

func (r *remover) start(remove func(removal) error) {
	r.wake.L = &r.mu
	r.done = make(chan struct{})
	go r.loop(remove)
}

func (r *remover) loop(remove func(removal) error) {
	defer close(r.done)
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		for len(r.queue) == 0 {
			if r.closed {
				return
			}
			r.busy = false
			r.wake.Broadcast()
			r.wake.Wait()
		}
		next := r.queue[0]
		r.queue = r.queue[1:]
		r.busy = true
		r.mu.Unlock()
		err := remove(next)
		r.mu.Lock()
		r.dirty = r.dirty || err != nil
	}
}

func (r *remover) add(next removal) {
	r.mu.Lock()
	r.queue = append(r.queue, next)
	r.wake.Broadcast()
	r.mu.Unlock()
}

// idle waits until nothing is left to remove.
func (r *remover) idle() {
	r.mu.Lock()
	for len(r.queue) > 0 || r.busy {
		r.wake.Wait()
	}
	r.mu.Unlock()
}

// close finishes the queue and reports whether all of it went.
func (r *remover) close() bool {
	r.mu.Lock()
	r.closed = true
	r.wake.Broadcast()
	r.mu.Unlock()
	<-r.done
	return !r.dirty
}
