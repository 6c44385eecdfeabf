package dataplane

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"clary/internal/aws/op"
)

// lookEvery is how often it is asked whether what is open may stay so.
const lookEvery = time.Second

// flight is a request that is being answered, or a WebSocket that is open.
type flight struct {
	ask    ask
	to     target
	ctx    context.Context //nolint:containedctx // the request's, which a cut ends
	cancel context.CancelCauseFunc
	since  time.Time

	mu      sync.Mutex // guards what follows
	lasting bool       // an event stream or a WebSocket: ends by itself only with its page
	conn    net.Conn   // of the browser, once it is a WebSocket
	ended   bool
}

// errCut is why a request ended whose session did.
var errCut = errors.New("the session has ended")

type flightKey struct{}

func flightOf(ctx context.Context) *flight {
	f, _ := ctx.Value(flightKey{}).(*flight)
	return f
}

// takeOff registers a request before it is judged: who ends sessions meanwhile
// finds it here, and it finds them ended.
func (p *Plane) takeOff(v *visit) *flight {
	f := &flight{ask: v.ask(sessionToken(v.r.Header)), since: p.cfg.Now()}
	f.ctx, f.cancel = context.WithCancelCause(v.r.Context())
	f.ctx = context.WithValue(f.ctx, flightKey{}, f)
	p.mu.Lock()
	p.flights[f] = struct{}{}
	p.mu.Unlock()
	select {
	case p.woken <- struct{}{}:
	default: // awake
	}
	return f
}

func (p *Plane) land(f *flight) {
	p.mu.Lock()
	delete(p.flights, f)
	p.mu.Unlock()
	f.cancel(nil)
}

// end cuts a flight, at both ends.
func (f *flight) end() {
	f.mu.Lock()
	f.ended = true
	conn := f.conn
	f.mu.Unlock()
	f.cancel(errCut)
	if conn != nil {
		_ = conn.Close() // gone is gone
	}
}

// last marks what ends only with its page, or with the server.
func (f *flight) last() {
	op.Alone(f.ctx)
	f.mu.Lock()
	f.lasting = true
	f.mu.Unlock()
}

// took notes the browser's connection; false: the flight was cut before.
func (f *flight) took(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn, f.lasting = c, true
	return !f.ended
}

func (f *flight) lasts() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lasting
}

// cut ends what an instance has open.
func (p *Plane) cut(uid string) {
	p.forget(uid)
	for _, f := range p.inFlight(func(f *flight) bool { return f.ask.uid == uid }) {
		f.end()
	}
	p.transport.CloseIdleConnections()
}

func (p *Plane) inFlight(is func(*flight) bool) (out []*flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for f := range p.flights {
		if is(f) {
			out = append(out, f)
		}
	}
	return out
}

// Run watches over what is open until ctx is done: a session that is over, a
// key that is gone and a policy that changed end what they let through.
func (p *Plane) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.woken:
		}
		if !p.watch(ctx) {
			return
		}
	}
}

// watch looks until nothing is open.
func (p *Plane) watch(ctx context.Context) bool {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
		}
		if len(p.inFlight(func(*flight) bool { return true })) == 0 {
			return true
		}
		p.review(ctx)
	}
}

// review asks again about all that has been open for a while. A failure of ours
// ends nothing.
func (p *Plane) review(ctx context.Context) {
	now := p.cfg.Now()
	said := map[ask]error{}
	for _, f := range p.inFlight(func(f *flight) bool { return now.Sub(f.since) >= passLife }) {
		err, ok := said[f.ask]
		if !ok {
			_, err = p.pass(ctx, f.ask)
			said[f.ask] = err
		}
		if ends(err) {
			f.end()
		}
	}
}

// ends says whether an error is about the session, not about us.
func ends(err error) bool {
	if _, ok := errors.AsType[phaseError](err); ok {
		return true
	}
	if _, ok := errors.AsType[deniedError](err); ok {
		return true
	}
	return errors.Is(err, errOver) || errors.Is(err, errNotHere)
}

// Shutdown cuts what would last as long as its page; the rest may end by
// itself. Pages connect again to the next server.
func (p *Plane) Shutdown() {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	for _, f := range p.inFlight((*flight).lasts) {
		f.end()
	}
	p.transport.CloseIdleConnections()
}

func (p *Plane) isClosing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closing
}

// answer is a writer that passes on no interim response, whose headers nobody
// looks at, and that keeps hold of a connection that becomes a WebSocket.
type answer struct {
	http.ResponseWriter
	f *flight
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	if code >= 200 {
		a.ResponseWriter.WriteHeader(code)
	}
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Hijack implements http.Hijacker.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	// Only what a net.Conn has: copied in large pieces, each under one
	// deadline, a WebSocket that says little would be given up.
	bare := struct{ net.Conn }{c}
	if !a.f.took(bare) {
		return nil, nil, errors.Join(errCut, c.Close())
	}
	return bare, rw, nil
}

// Open is how many requests and WebSockets are in flight.
func (p *Plane) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.flights)
}
