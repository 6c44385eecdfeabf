package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"clary/internal/dataplane/router"
	"clary/internal/front"
	"clary/internal/metrics"
)

// How long a server that is replaced waits for what it has begun. First it
// serves on, until a moment at which nothing is under way that takes long:
// nobody waits for that. Then nothing begins, and what comes waits in the
// kernel. An answer that needs no data holds nothing up: it ends beside the
// next server.
const (
	lull       = time.Minute      // for such a moment
	heavy      = time.Second      // takes long
	lastWait   = 10 * time.Second // for what is under way then; what is not done is cut
	lingerTime = 10 * time.Minute // for answers that need no data; the longest may take 8
	takeWait   = 30 * time.Second // for the new server to look at the sockets
)

// heir is a server that takes this one's place.
type heir struct {
	line line
	pid  int
	from *rooms // this server
	log  *slog.Logger
	news chan message // what it says; closed when it is gone

	mu   sync.Mutex // guards what follows
	held []front.Waiting
	to   rest

	settled chan struct{} // closed once to is there
}

// rest is who takes what a server has left when its data are another's.
type rest interface {
	take(w front.Waiting) error
	count(ctx context.Context, data []metrics.Datum) error
	keep(ctx context.Context, f router.File) error
}

// listenDoor lets servers in that are to replace this one, and what they still
// have of the one that this one replaced, until ctx is done.
func (r *rooms) listenDoor(ctx context.Context, p *place, asked chan<- *heir) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { _ = p.door.Close() })()
	for {
		c, err := p.door.AcceptUnix()
		if err != nil {
			if ctx.Err() == nil {
				r.log.Warn("no other server can replace this one any more", "err", err)
			}
			return
		}
		wg.Go(func() { r.letIn(ctx, line{c}, p, asked) })
	}
}

func (r *rooms) letIn(ctx context.Context, l line, p *place, asked chan<- *heir) {
	if err := l.known(); err != nil {
		r.log.Warn("somebody who may not wants to replace this server", "err", err)
		l.close()
		return
	}
	stop := context.AfterFunc(ctx, l.close)
	for wait := replyWait; ; wait = 0 {
		m, files, err := l.receive(wait)
		if err != nil {
			break
		}
		switch m.Say { //nolint:exhaustive // the others are answers
		case sayReplace:
			closeAll(files)
			if h := r.askedToGo(ctx, l, m, p); h != nil && stop() { // the line is the heir's
				select {
				case asked <- h:
					return
				case <-ctx.Done():
				}
			}
			stop()
			l.close()
			return
		case sayWaiting:
			err = r.adopt(ctx, m, files)
		case sayMetrics:
			err = counts{r}.Put(ctx, m.Metrics)
		case sayCapture:
			err = r.keepLeft(ctx, m, files)
		default:
			err = fmt.Errorf("this version knows no %q", m.Say)
		}
		closeAll(files)
		a := message{Say: sayDone}
		if err != nil {
			a = message{Say: sayRefuse, PID: os.Getpid(), Text: err.Error()}
		}
		if l.send(a) != nil {
			break
		}
	}
	stop()
	l.close()
}

// askedToGo gives another server the sockets and waits for a moment to go; nil:
// this one stays.
func (r *rooms) askedToGo(ctx context.Context, l line, m message, p *place) *heir {
	refuse := func(format string, args ...any) *heir {
		text := fmt.Sprintf(format, args...)
		r.log.Warn("this server is not replaced", "process", m.PID, "why", text)
		_ = l.send(message{Say: sayRefuse, PID: os.Getpid(), Text: text}) // it sees the end otherwise
		return nil
	}
	if m.Version != exchange {
		return refuse("it cannot be replaced by this version: they speak exchange %d and %d. Stop it, by `clary down`, then start this one", exchange, m.Version)
	}
	if !r.replacing.CompareAndSwap(false, true) {
		return refuse("another server is taking its place")
	}
	stays := true
	defer func() {
		if stays {
			r.replacing.Store(false)
		}
	}()
	if err := l.send(message{Say: sayOffer, PID: os.Getpid(), Listen: r.cfg.Listen}, p.files...); err != nil {
		return refuse("the sockets cannot be sent: %v", err)
	}
	a, more, err := l.receive(takeWait)
	closeAll(more)
	if err != nil || a.Say != sayTake {
		return refuse("the new server does not take the sockets: %v %s", err, a.Text)
	}
	h := &heir{
		line: l, pid: m.PID, from: r, log: r.log,
		news: make(chan message, 4), settled: make(chan struct{}),
	}
	gone, left := context.WithCancel(ctx)
	go h.listen(left)
	r.log.Info("another server takes this one's place", "process", m.PID)
	r.front.Hurry()
	wait, cancel := context.WithTimeout(gone, lull)
	defer cancel()
	if err := r.front.Quiet(wait, heavy); err != nil && gone.Err() == nil {
		r.log.Info("what takes long is still under way", "waited", lull)
	}
	if gone.Err() != nil {
		r.front.Calm()
		return refuse("the new server is gone")
	}
	stays = false
	return h
}

// listen passes on what the heir says, and tells when it is gone.
func (h *heir) listen(gone func()) {
	defer close(h.news)
	defer gone()
	for {
		m, files, err := h.line.receive(0)
		closeAll(files)
		if err != nil {
			return
		}
		select {
		case h.news <- m:
		default: // it has more to say than there is
		}
	}
}

// leave ends serving: connections and requests first, then what works on the
// data is to end.
func (r *rooms) leave(h *heir, p *place) {
	p.keep()
	r.front.Leave(h.give)
	r.plane.Shutdown()
	ctx, cancel := context.WithTimeout(context.Background(), lastWait)
	defer cancel()
	_ = r.front.Quiet(ctx, 0) // what is not done is cut
	if n := r.front.Left(); n > 0 {
		r.log.Warn("requests were cut that are under way for too long", "requests", n)
	}
	if err := r.router.Close(); err != nil { // what it has is put where it belongs; it goes on
		r.log.Warn("close", "error", err)
	}
	r.heir.Store(h)
}

// released tells the heir that the data are its own.
func (h *heir) released() {
	_ = h.line.send(message{Say: sayReleased}) // one that is gone is noticed below
}

// give takes a connection that is left, until somebody can have it.
func (h *heir) give(w front.Waiting) {
	h.mu.Lock()
	to := h.to
	if to == nil {
		h.held = append(h.held, w)
	}
	h.mu.Unlock()
	if to != nil {
		h.hand(w, to)
	}
}

func (h *heir) hand(w front.Waiting, to rest) {
	if err := to.take(w); err != nil {
		h.log.Warn("a client's connection was lost on its way to the next server", "err", err)
	}
}

// settle says who has what is left.
func (h *heir) settle(to rest) {
	h.mu.Lock()
	held := h.held
	h.held, h.to = nil, to
	h.mu.Unlock()
	close(h.settled)
	for _, w := range held {
		h.hand(w, to)
	}
}

// succeeds waits until the heir answers; false: it does not, and this server
// goes on.
func (h *heir) succeeds(ctx context.Context) bool {
	var late <-chan time.Time
	for ended := ctx.Done(); ; {
		select {
		case m, ok := <-h.news:
			switch {
			case !ok:
				h.log.Warn("the new server is gone before it answered; this one serves on", "process", h.pid)
				return false
			case m.Say == sayServes:
				h.log.Info("replaced", "process", h.pid)
				return true
			case m.Say == sayFailed:
				h.log.Warn("the new server could not start; this one serves on", "process", h.pid, "why", m.Text)
				return false
			}
		case <-ended:
			ended, late = nil, time.After(drain)
		case <-late:
			return true // we are told to end, whoever serves
		}
	}
}

// resume takes the place again that the heir did not fill.
func (h *heir) resume(p *place, data string) (err error) {
	h.line.close()
	if p.unlock, err = lock(data, deathWait); err != nil {
		return fmt.Errorf("serve on after a replacement that failed: %w", err)
	}
	return p.listen()
}

// linger ends what goes on beside the next server.
func (h *heir) linger(ctx context.Context) {
	h.line.close()
	n := &next{path: h.from.path("run", doorSocket)}
	defer n.close()
	h.settle(n)
	h.finish(ctx)
}

// finish waits until nothing is left of this server's connections. When ctx is
// done it has as long as at every stop.
func (h *heir) finish(ctx context.Context) {
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), lingerTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-wait.Done():
		case <-time.After(drain):
			cancel()
		}
	})()
	r := h.from
	if err := r.front.Linger(wait); err != nil {
		h.log.Warn("connections were cut that are open for too long after the replacement")
	}
	cut, now := context.WithCancel(context.Background())
	now()
	_ = r.front.Shutdown(cut) // says only that it cut
	r.land()
	r.fronts.Wait()
	if err := r.router.Close(); err != nil {
		h.log.Warn("close", "error", err)
	}
}

// after waits for who has what is left.
func (h *heir) after(ctx context.Context) (rest, error) {
	select {
	case <-h.settled:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.to, nil
}

// counts takes metrics of answers, also of those that end beside the next
// server.
type counts struct{ r *rooms }

// Put stores what was measured.
func (c counts) Put(ctx context.Context, data []metrics.Datum) error {
	h := c.r.heir.Load()
	if h == nil {
		err := c.r.metrics.Put(ctx, data)
		if h = c.r.heir.Load(); err == nil || h == nil {
			return err
		}
	}
	to, err := h.after(ctx)
	if err != nil {
		return err
	}
	return to.count(ctx, data)
}

// captures keeps what was captured of answers, also of those that end beside
// the next server.
type captures struct {
	r    *rooms
	here capturer
}

func (c captures) keep(ctx context.Context, f router.File) error {
	h := c.r.heir.Load()
	if h == nil {
		err := c.here.keep(ctx, f)
		if h = c.r.heir.Load(); err == nil || h == nil {
			return err
		}
	}
	to, err := h.after(ctx)
	if err != nil {
		return err
	}
	return to.keep(ctx, f)
}

// same is the rest of a server that goes on in the same process.
type same struct {
	ctx context.Context //nolint:containedctx // of the server that goes on
	r   *rooms
}

func (s same) take(w front.Waiting) error { return s.r.front.Adopt(s.ctx, w) }

func (s same) count(ctx context.Context, data []metrics.Datum) error {
	return counts{s.r}.Put(ctx, data)
}

func (s same) keep(ctx context.Context, f router.File) error {
	return captures{s.r, capturer{s.r.blobs, s.r.ids}}.keep(ctx, f)
}
