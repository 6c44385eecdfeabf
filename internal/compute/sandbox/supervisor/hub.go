package supervisor

import (
	"encoding/json"
	"net"
	"os"
	"sync"

	"clary/internal/compute/sandbox/task"
)

// hub answers on the control socket and tells watchers that something changed.
type hub struct {
	stop chan<- task.Stop
	kill chan<- struct{}
	dial *dialer
	// peers is nil where the task is alone.
	peers *peers

	mu       sync.Mutex // guards what follows
	watchers map[*watcher]struct{}
	ended    bool // whoever comes late is told too
}

type watcher struct {
	status, spool, end bool // guarded by the hub's mu
	wake               chan struct{}
}

func (h *hub) serve(l *net.UnixListener) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		go h.conn(c)
	}
}

func (h *hub) conn(c *net.UnixConn) {
	defer c.Close()
	if uid, err := task.Peer(c); err != nil || (uid != os.Geteuid() && uid != 0) {
		return
	}
	dec := json.NewDecoder(c)
	for {
		var m task.Control
		if dec.Decode(&m) != nil {
			return
		}
		switch {
		case m.Stop != nil:
			h.stop <- *m.Stop
		case m.Kill:
			select {
			case h.kill <- struct{}{}:
			default:
			}
		case m.Dial != 0:
			h.dial.serve(c, m.Dial)
			return
		case m.Peer != 0:
			h.peers.answer(c, m.Peer)
			return
		case m.Watch:
			h.watch(c)
			return
		}
	}
}

func (h *hub) watch(c *net.UnixConn) {
	w := &watcher{status: true, spool: true, wake: make(chan struct{}, 1)}
	w.wake <- struct{}{}
	h.mu.Lock()
	if h.watchers == nil {
		h.watchers = map[*watcher]struct{}{}
	}
	h.watchers[w] = struct{}{}
	w.end = h.ended
	h.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		b := make([]byte, 64)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}()
	defer func() {
		h.mu.Lock()
		delete(h.watchers, w)
		h.mu.Unlock()
	}()
	for {
		select {
		case <-gone:
			return
		case <-w.wake:
		}
		var b []byte
		h.mu.Lock()
		if w.spool {
			b = append(b, task.EventSpool)
		}
		if w.status {
			b = append(b, task.EventStatus)
		}
		if w.end {
			b = append(b, task.EventEnd)
		}
		w.spool, w.status, w.end = false, false, false
		h.mu.Unlock()
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// end tells that the task is over.
func (h *hub) end() {
	h.mu.Lock()
	h.ended = true
	for w := range h.watchers {
		w.end = true
	}
	h.mu.Unlock()
	h.tell(true, true)
}

func (h *hub) tell(status, spool bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.status = w.status || status
		w.spool = w.spool || spool
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}
