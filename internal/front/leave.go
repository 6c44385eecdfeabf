package front

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"
)

// A front that makes way for another server goes in steps: Hurry, Leave, Left
// and Linger. Connections outlive it. One on which no request is under way is
// given away as it is, with what was read of the next request: the client does
// not notice. TLS cannot be given away: it stays where it was, and what is
// inside is passed on, from the next request to that one's answer.

// phase is how far a front has gone.
type phase int

const (
	serving phase = iota
	leaving       // nothing is accepted any more, and connections that wait are given away
	left          // no request begins here any more
)

// Waiting is a connection on which no request is under way.
type Waiting struct {
	Conn  net.Conn // the socket
	Head  []byte   // what was read of the next request
	Task  bool     // it came through a task's relay
	Spoke bool     // requests came before; otherwise the first byte says HTTP or TLS
	// Inside tells of the client's connection when its TLS stays with the giver
	// and Conn carries what is inside; nil: Conn is the client's own.
	Inside *Inside
}

// Inside is what a connection was before its TLS was taken away.
type Inside struct {
	Ended         string // the host of CONNECT whose TLS we ended, or ""
	ServerName    string // that the handshake asked for
	Local, Remote *net.TCPAddr
}

// flight is a request that is under way on a connection.
type flight struct {
	since time.Time
	alone bool // it needs nothing that the server has
}

// Hurry ends what does nothing but wait, until Calm. Shutdown does it too.
func (f *Front) Hurry() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hurry()
}

// Calm takes Hurry back.
func (f *Front) Calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leave, f.hurry = context.WithCancel(context.Background())
}

// Leave stops accepting, which is others' from now on, and gives connections
// away: those on which no request is under way now, the others when their
// requests are answered. give may be called until Shutdown returns.
func (f *Front) Leave(give func(Waiting)) {
	f.mu.Lock()
	f.phase, f.give = leaving, give
	feeds := slices.Clone(f.feeds)
	for c := range f.conns {
		if c.waits && c.movable() {
			_ = c.raw.SetReadDeadline(time.Unix(1, 0)) // ends its Read, which gives it away
		}
	}
	f.mu.Unlock()
	for _, d := range feeds {
		d.rest()
	}
}

// Quiet waits until no request is under way that began so long ago and needs
// what the server has.
func (f *Front) Quiet(ctx context.Context, age time.Duration) error {
	return f.until(ctx, func() bool { return f.busy(age) == 0 })
}

// Left lets no request begin any more, and cuts those that are under way and
// need what the server has; it says how many.
func (f *Front) Left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.phase = left
	for c, fl := range f.flights {
		if !fl.alone {
			_ = c.raw.Close() // gone is gone
		}
	}
	return f.busy(0)
}

// Linger waits until nothing is left here: requests that were under way are
// answered, tunnels closed, and no client has TLS with us.
func (f *Front) Linger(ctx context.Context) error {
	return f.until(ctx, func() bool {
		n := len(f.conns) + f.joins
		for _, d := range f.feeds {
			n += d.looked()
		}
		return n == 0
	})
}

// until waits for something that is true under f.mu.
func (f *Front) until(ctx context.Context, is func() bool) error {
	for {
		f.mu.Lock()
		if is() {
			f.mu.Unlock()
			return nil
		}
		if f.changed == nil {
			f.changed = make(chan struct{})
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tell wakes who waits in until. f.mu is held.
func (f *Front) tell() {
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// told is tell for who does not hold f.mu.
func (f *Front) told() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tell()
}

// busy counts requests that are under way. f.mu is held.
func (f *Front) busy(age time.Duration) (n int) {
	now := time.Now()
	for _, fl := range f.flights {
		if !fl.alone && now.Sub(fl.since) >= age {
			n++
		}
	}
	return n
}

func (f *Front) isLeaving() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.phase != serving
}

// Alone implements op.Flight.
func (c *conn) Alone() {
	f := c.front
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl, ok := f.flights[c]; ok {
		fl.alone = true
		f.flights[c] = fl
		f.tell()
	}
}

// Leaving implements op.Flight.
func (c *conn) Leaving() context.Context {
	f := c.front
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leave
}

// turn follows what the HTTP server makes of the connection.
func (c *conn) turn(s http.ConnState) {
	if s == http.StateActive && !c.waits {
		return // read has seen it begin
	}
	f := c.front
	f.mu.Lock()
	ahead := c.ahead
	c.ahead = nil
	goes := false
	switch s {
	case http.StateNew:
		f.conns[c] = struct{}{}
		c.waits = true
	case http.StateActive: // it came together with the one before it
		if c.waits = false; f.phase != left {
			f.flights[c] = flight{since: time.Now()}
		}
	case http.StateIdle:
		delete(f.flights, c)
		c.waits = true
		begun := len(ahead) > 0 || !blank(c.guard.pending) // the server has a part of the next one already
		if goes = begun && len(ahead) > 0 && c.goes(); begun && !goes {
			if c.waits = false; f.phase != left {
				f.flights[c] = flight{since: time.Now()}
			}
		}
	case http.StateHijacked, http.StateClosed:
		delete(f.conns, c)
		delete(f.flights, c)
	}
	f.tell()
	f.mu.Unlock()
	if goes {
		_ = c.giveAway(ahead) // the next read says that it ended
	}
}

// begun says whether a request that came may be served here.
func (c *conn) begun() bool {
	f := c.front
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.flights[c]
	return ok
}

// stays says whether the connection cannot go on where the next server is, so
// that its client does better with a new one.
func (c *conn) stays() bool {
	return c.inside != nil || c.scheme == "https" && c.front.isLeaving()
}

// goes says whether the connection waits for a request that others shall
// serve. f.mu is held.
func (c *conn) goes() bool {
	return c.waits && (c.front.phase == left || c.front.phase == leaving && c.movable())
}

// movable says whether it is a socket that another process can take.
func (c *conn) movable() bool {
	_, ok := socket(c.raw).(syscall.Conn)
	return ok && (c.scheme == "http" && c.ended == "" || c.inside != nil)
}

// read is Read of a connection that may be given away.
func (c *conn) read(p []byte) (int, error) {
	if c.moved.Load() {
		return 0, io.EOF
	}
	if !c.waits { // only whoever reads changes it
		n, err := c.guard.read(c, p)
		if len(p) == 1 && n == 1 { // so the server looks for the client's end while it answers
			c.ahead = append(c.ahead, p[0])
		}
		return n, err
	}
	f := c.front
	f.mu.Lock()
	if c.goes() && c.movable() {
		f.mu.Unlock()
		return 0, c.giveAway(nil)
	}
	f.mu.Unlock()
	n, err := c.guard.read(c, p)
	if n > 0 && blank(p[:n]) {
		return n, err
	}
	f.mu.Lock()
	goes := c.goes()
	if c.waits && n > 0 && !goes {
		c.waits = false
		f.flights[c] = flight{since: time.Now()}
	}
	f.mu.Unlock()
	if goes && (n > 0 || c.movable() && errors.Is(err, os.ErrDeadlineExceeded)) {
		return 0, c.giveAway(p[:n])
	}
	return n, err
}

// blank are no bytes, or the empty lines that may come between requests.
func blank(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != '\r' && c != '\n' })
}

// giveAway ends the connection for the HTTP server, and for it alone.
func (c *conn) giveAway(read []byte) error {
	f := c.front
	if c.guard.state == open && len(read)+len(c.guard.pending) == 0 {
		return io.EOF // nothing is framed there any more
	}
	w := Waiting{Head: slices.Concat(read, c.guard.pending, c.guard.head), Task: c.from == fromTask, Spoke: true, Inside: c.inside}
	if p, ok := c.Conn.(*peekedConn); ok && p.br != nil {
		b, _ := p.br.Peek(p.br.Buffered())
		w.Head = append(w.Head, b...)
	}
	_ = c.SetDeadline(time.Time{}) // a closed one shows at its next read
	if c.movable() {
		w.Conn = c.detach()
	} else {
		near, far, err := pair()
		if err != nil {
			f.log.Warn("a connection over TLS could not be left to the next server", "err", err)
			return io.EOF
		}
		w.Conn, w.Inside = far, c.within()
		c.moved.Store(true)
		f.pass(c.Conn, &answered{near, c.Conn})
	}
	f.given()(w)
	return io.EOF
}

// errGiven is why nobody here looks at a connection any more.
var errGiven = errors.New("it is another server's")

// giveAway gives a connection away that said at most its first bytes; false:
// it cannot be.
func (f *feed) giveAway(raw net.Conn, head []byte, w Waiting) bool {
	s, ok := raw.(*slotted)
	if !ok {
		return false // the inside of a tunnel
	}
	below := socket(s)
	if _, ok := below.(syscall.Conn); !ok {
		return false
	}
	_ = s.SetDeadline(time.Time{}) // a closed one shows at its next read
	s.once.Do(s.free)
	f.front.given()(Waiting{Conn: below, Head: bytes.Clone(head), Task: f.from == fromTask, Spoke: w.Spoke, Inside: w.Inside})
	return true
}

func (f *Front) given() func(Waiting) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.give
}

// detach takes the socket from under the connection, which closes without it.
func (c *conn) detach() net.Conn {
	c.moved.Store(true)
	if s, ok := c.raw.(*slotted); ok {
		s.once.Do(s.free)
	}
	return socket(c.raw)
}

// within describes the connection for whoever gets what is inside its TLS.
func (c *conn) within() *Inside {
	in := &Inside{Ended: c.ended}
	in.Local, _ = c.raw.LocalAddr().(*net.TCPAddr)
	in.Remote, _ = c.raw.RemoteAddr().(*net.TCPAddr)
	in.ServerName = c.serverName()
	return in
}

// pass joins two connections as long as both are there, or until Shutdown.
func (f *Front) pass(a, b net.Conn) {
	f.mu.Lock()
	f.joins++
	f.mu.Unlock()
	f.tunnels.Go(func() {
		f.join(a, b)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.joins--
		f.tell()
	})
}

// Adopt serves a connection that another server has left, once this one serves
// such.
func (f *Front) Adopt(ctx context.Context, w Waiting) error {
	from := fromUser
	if w.Task {
		from = fromTask
	}
	var d *feed
	err := f.until(ctx, func() bool {
		if i := slices.IndexFunc(f.feeds, func(d *feed) bool { return d.from == from }); i >= 0 {
			d = f.feeds[i]
		}
		return d != nil || f.closed
	})
	if err == nil && d == nil {
		err = http.ErrServerClosed
	}
	if err != nil {
		return errors.Join(err, w.Conn.Close())
	}
	raw := w.Conn
	if w.Inside != nil {
		raw = &inner{Conn: raw, local: w.Inside.Local, remote: w.Inside.Remote}
	}
	go d.take(raw, w)
	return nil
}

// answered is where the answer to a client comes from: when there is no more of
// it, the client has a moment to see that and to go.
type answered struct {
	net.Conn
	client net.Conn
}

const goTime = time.Second

func (a *answered) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	if err != nil {
		_ = a.client.SetReadDeadline(time.Now().Add(goTime)) // it may have gone
	}
	return n, err
}

func (a *answered) CloseWrite() error { return closeWrite(a.Conn) }

// inner has the addresses of the connection that it is the inside of.
type inner struct {
	net.Conn
	local, remote *net.TCPAddr
}

func (a *inner) LocalAddr() net.Addr {
	if a.local == nil {
		return a.Conn.LocalAddr()
	}
	return a.local
}

func (a *inner) RemoteAddr() net.Addr {
	if a.remote == nil {
		return a.Conn.RemoteAddr()
	}
	return a.remote
}

func (a *inner) CloseWrite() error { return closeWrite(a.Conn) }

func closeWrite(c net.Conn) error {
	if cw, ok := c.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// socket is what lies below.
func socket(c net.Conn) net.Conn {
	for {
		switch v := c.(type) {
		case *slotted:
			c = v.Conn
		case *inner:
			c = v.Conn
		default:
			return c
		}
	}
}

// pair makes two connected sockets.
func pair() (a, b net.Conn, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ends := make([]net.Conn, 2)
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		var ferr error
		ends[i], ferr = net.FileConn(file)
		err = errors.Join(err, ferr, file.Close())
	}
	if err != nil {
		for _, e := range ends {
			if e != nil {
				_ = e.Close() // of no use alone
			}
		}
		return nil, nil, err
	}
	return ends[0], ends[1], nil
}
