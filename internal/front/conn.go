package front

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// origin says whose connections a listener takes.
type origin int

const (
	fromUser    origin = iota // of this machine, by loopback
	fromTask                  // through a task's relay
	fromNetwork               // of another machine, or over an address that others reach
)

// conn is one connection as the HTTP server reads it: plain or decrypted, its
// heads checked for ambiguity before the server sees them, and given up when
// it stalls.
type conn struct {
	net.Conn          // decrypted, when TLS
	raw      net.Conn // the socket
	scheme   string
	from     origin
	ended    string // the host whose TLS we ended after CONNECT, else ""
	guard    guard

	front  *Front      // nil: it is nobody's to give away
	inside *Inside     // its TLS is another process's
	waits  bool        // for a request; front.mu guards it
	ahead  []byte      // what was read of the next request while one was answered
	moved  atomic.Bool // another process has the socket
}

// name is the AWS name whose TLS ends here: after CONNECT, or asked for in the
// handshake on our own port; else "".
func (c *conn) name() string {
	if c.ended != "" {
		return c.ended
	}
	if c.from == fromNetwork {
		return ""
	}
	if n := c.serverName(); s3Name(n) {
		return n
	}
	return ""
}

// serverName is what the handshake asked for.
func (c *conn) serverName() string {
	if c.inside != nil {
		return c.inside.ServerName
	}
	if t, ok := c.Conn.(*tls.Conn); ok {
		return t.ConnectionState().ServerName
	}
	return ""
}

// Read never gives out bytes of a head before all of it is there and judged.
func (c *conn) Read(p []byte) (int, error) {
	if c.front == nil {
		return c.guard.read(c, p)
	}
	return c.read(p)
}

// Close leaves a socket alone that another process has.
func (c *conn) Close() error {
	if c.moved.Load() {
		return nil
	}
	return c.Conn.Close()
}

// What is sent under one deadline: by us, and by the kernel from a file.
const (
	writePiece = 64 << 10
	sendPiece  = 4 << 20
)

func (c *conn) Write(p []byte) (n int, err error) {
	for {
		_ = c.SetWriteDeadline(time.Now().Add(stallTime)) // a closed socket shows at Write
		m, err := c.Conn.Write(p[n:min(len(p), n+writePiece)])
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// ReadFrom keeps the kernel's way from file to socket, in pieces so that a
// stalled reader is noticed.
func (c *conn) ReadFrom(r io.Reader) (n int64, err error) {
	rf, ok := c.Conn.(io.ReaderFrom)
	if !ok {
		return io.Copy(onlyWriter{c}, r)
	}
	for {
		_ = c.SetWriteDeadline(time.Now().Add(stallTime)) // as in Write
		// the file must stay visible to the socket, one limit deep
		piece := int64(sendPiece)
		src := r
		outer, limited := r.(*io.LimitedReader)
		if limited {
			piece = min(piece, outer.N)
			src = outer.R
		}
		if piece <= 0 {
			return n, nil
		}
		m, err := rf.ReadFrom(&io.LimitedReader{R: src, N: piece})
		n += m
		if limited {
			outer.N -= m
		}
		if err != nil || m < piece {
			return n, err
		}
	}
}

type onlyWriter struct{ io.Writer }

// CloseWrite half-closes, so that the last answer arrives before the end.
func (c *conn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// SetReadDeadline is the HTTP server's, as Close.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.moved.Load() {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// feed is a listener whose connections were looked at: their first byte says
// HTTP or TLS. It also takes connections whose TLS we end after CONNECT.
type feed struct {
	front *Front
	l     net.Listener
	from  origin
	ca    *CA
	cert  *Certificate
	ready chan *conn
	quit  chan struct{}
	once  sync.Once
	slots chan struct{}
	work  sync.WaitGroup

	counts sync.Mutex         // guards by
	by     map[netip.Addr]int // connections of other machines

	mu   sync.Mutex            // guards open and err
	open map[net.Conn]struct{} // connections that are still being looked at
	err  error                 // of the listener
}

func newFeed(l net.Listener, from origin, ca *CA, cert *Certificate) *feed {
	return &feed{
		l: l, from: from, ca: ca, cert: cert, ready: make(chan *conn), quit: make(chan struct{}),
		slots: make(chan struct{}, maxConns), open: map[net.Conn]struct{}{},
		by: map[netip.Addr]int{},
	}
}

func (f *feed) Addr() net.Addr { return f.l.Addr() }

func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.ready:
		return c, nil
	case <-f.quit:
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.err != nil {
			return nil, f.err
		}
		return nil, net.ErrClosed
	}
}

// Close ends accepting; connections that were handed out live on.
func (f *feed) Close() error {
	var err error
	f.once.Do(func() {
		close(f.quit)
		if err = f.l.Close(); f.front.isLeaving() && errors.Is(err, net.ErrClosed) {
			err = nil // by rest
		}
		f.mu.Lock()
		for c := range f.open {
			_ = c.Close() // never became a request
		}
		f.mu.Unlock()
	})
	return err
}

func (f *feed) wait() { f.work.Wait() }

func (f *feed) run() {
	delay := time.Millisecond
	for {
		c, err := f.l.Accept()
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() || isTemporary(err) {
				select {
				case <-f.quit:
					return
				case <-time.After(delay):
				}
				delay = min(2*delay, time.Second)
				continue
			}
			if f.front.isLeaving() {
				return // others accept; what is accepted goes on
			}
			f.mu.Lock()
			f.err = err
			f.mu.Unlock()
			_ = f.Close() // the listener's error is told by Accept
			return
		}
		delay = time.Millisecond
		if !f.take(c, Waiting{}) {
			return
		}
	}
}

// take gives a connection a place; false: there is none any more.
func (f *feed) take(c net.Conn, w Waiting) bool {
	select {
	case f.slots <- struct{}{}:
	case <-f.quit:
		_ = c.Close()
		return false
	}
	leave, ok := f.enter(c)
	if !ok {
		_ = c.Close()
		<-f.slots
		return true
	}
	c = &slotted{Conn: c, free: func() { leave(); <-f.slots }}
	f.work.Go(func() { f.look(c, "", w) })
	return true
}

// rest ends accepting alone, and has connections that said nothing yet given
// away.
func (f *feed) rest() {
	_ = f.l.Close() // closed already, then
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		if _, ok := c.(*slotted); ok { // a tunnel's stays
			_ = c.SetReadDeadline(time.Unix(1, 0)) // a closed one is noticed there
		}
	}
}

// looked is how many connections are being looked at.
func (f *feed) looked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.open)
}

// enter counts a connection of another machine, and refuses one too many: one
// address must not hold every place.
func (f *feed) enter(c net.Conn) (leave func(), ok bool) {
	t, isTCP := c.RemoteAddr().(*net.TCPAddr)
	if !isTCP || t.IP.IsLoopback() {
		return func() {}, true
	}
	a := t.AddrPort().Addr().Unmap()
	f.counts.Lock()
	defer f.counts.Unlock()
	if f.by[a] >= maxPerAddress {
		return nil, false
	}
	f.by[a]++
	return func() {
		f.counts.Lock()
		defer f.counts.Unlock()
		if f.by[a]--; f.by[a] == 0 {
			delete(f.by, a)
		}
	}, true
}

// look decides by the first byte and hands the connection on. ended names the
// host whose TLS is ended here; w says what another server knew of it.
func (f *feed) look(raw net.Conn, ended string, w Waiting) {
	f.mu.Lock()
	f.open[raw] = struct{}{}
	f.mu.Unlock()
	c, err := f.sniff(raw, ended, w)
	f.mu.Lock()
	delete(f.open, raw)
	f.mu.Unlock()
	defer f.front.told()
	if errors.Is(err, errGiven) {
		return
	}
	if err != nil {
		_ = raw.Close()
		return
	}
	select {
	case f.ready <- c:
	case <-f.quit:
		_ = raw.Close()
	}
}

func (f *feed) sniff(raw net.Conn, ended string, w Waiting) (*conn, error) {
	patience := sniffTime
	if w.Spoke {
		patience = idleTime
	}
	if err := raw.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	br := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(w.Head), raw), max(16, len(w.Head)))
	if f.front.isLeaving() && f.giveAway(raw, w.Head, w) {
		return nil, errGiven
	}
	first, err := br.Peek(max(1, len(w.Head)))
	if f.front.isLeaving() && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)) {
		if all, _ := br.Peek(br.Buffered()); f.giveAway(raw, all, w) {
			return nil, errGiven
		}
	}
	if err != nil {
		return nil, err
	}
	if err := raw.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	peeked := &peekedConn{Conn: raw, br: br}
	c := &conn{Conn: peeked, raw: raw, scheme: "http", from: f.origin(raw, ended), ended: ended, front: f.front}
	if w.Inside != nil {
		c.scheme, c.ended, c.inside = "https", w.Inside.Ended, w.Inside
	}
	const recordHandshake = 0x16
	if w.Spoke || first[0] != recordHandshake {
		if ended != "" {
			return nil, errors.New("no TLS where there must be")
		}
		return c, nil
	}
	var own *tls.Config
	switch {
	case c.from == fromNetwork:
		own = f.cert.serverConfig(nil)
	case f.ca != nil && ended != "":
		own = f.ca.serverConfig(ended)
	case f.ca != nil:
		own = f.cert.serverConfig(f.ca.serverConfig(""))
	}
	if own == nil {
		return nil, errors.New("TLS where there is none")
	}
	c.scheme = "https"
	c.Conn = tls.Server(peeked, own)
	return c, nil
}

// origin is loopback only when both ends are: an address that is rewritten on
// the way here is still another machine's.
func (f *feed) origin(raw net.Conn, ended string) origin {
	if f.from != fromUser || ended != "" {
		return f.from // a tunnel was asked for on loopback
	}
	for _, a := range []net.Addr{raw.LocalAddr(), raw.RemoteAddr()} {
		if t, ok := a.(*net.TCPAddr); !ok || !t.IP.IsLoopback() {
			return fromNetwork
		}
	}
	return fromUser
}

// peekedConn gives out the sniffed bytes first.
type peekedConn struct {
	net.Conn
	br *bufio.Reader
}

func (p *peekedConn) Read(b []byte) (int, error) {
	if p.br != nil {
		if p.br.Buffered() > 0 {
			return p.br.Read(b)
		}
		p.br = nil
	}
	return p.Conn.Read(b)
}

func (p *peekedConn) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := p.Conn.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(onlyWriter{p.Conn}, r)
}

func (p *peekedConn) CloseWrite() error {
	if cw, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// slotted frees its place when it is closed.
type slotted struct {
	net.Conn
	once sync.Once
	free func()
}

func (s *slotted) Close() error {
	err := s.Conn.Close()
	s.once.Do(s.free)
	return err
}

func (s *slotted) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := s.Conn.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	if n, ok, err := sendFile(s.Conn, r); ok {
		return n, err
	}
	return io.Copy(onlyWriter{s.Conn}, r)
}

func (s *slotted) CloseWrite() error {
	if cw, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// isTemporary are failures of accept that pass.
func isTemporary(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}
