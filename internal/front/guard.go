package front

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// guard follows the framing of the requests on a connection, so that each head
// is judged as it stands on the wire: net/http drops a Content-Length beside a
// Transfer-Encoding, and two readers that disagree on where a request ends is
// how requests are smuggled. A head that could be read in two ways is spoiled,
// and the server answers it with 400 and closes.
type guard struct {
	state   guardState
	left    int64  // of a body or a chunk
	pending []byte // judged bytes not yet given out
	head    []byte // a head that is not complete
	line    []byte // a chunk's head or a trailer
	err     error  // of the connection, after pending
	buf     []byte
	room    []byte // where pending was and may be again
	// of the body that is being read: how long it was waited for, and what came
	waited time.Duration
	got    int64
}

type guardState int

const (
	inHead    guardState = iota
	inBody               // left bytes of it
	inChunk              // left bytes and CRLF of it
	inSize               // a chunk's size line
	inTrailer            // lines after the last chunk
	open                 // CONNECT, Upgrade: no more requests are framed here
)

const maxGuardLine = 8 << 10

func (g *guard) read(c *conn, p []byte) (int, error) {
	for {
		if len(g.pending) > 0 {
			n := copy(p, g.pending)
			g.pending = g.pending[n:]
			return n, nil
		}
		if g.err != nil {
			return 0, g.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		switch g.state {
		case open:
			return c.Conn.Read(p)
		case inBody:
			return g.body(c, p)
		case inHead, inChunk, inSize, inTrailer:
			if err := g.fill(c); err != nil {
				return 0, err
			}
		}
	}
}

// body passes a body of known length through without looking at it.
func (g *guard) body(c *conn, p []byte) (int, error) {
	if g.slow() {
		return 0, g.err
	}
	begun := time.Now()
	_ = c.SetReadDeadline(begun.Add(stallTime)) // a closed socket shows at Read
	n, err := c.Conn.Read(p[:min(int64(len(p)), g.left)])
	_ = c.SetReadDeadline(time.Time{})
	g.came(n, begun)
	g.left -= int64(n)
	if g.left == 0 {
		g.state = inHead
	}
	g.stall(err)
	return n, err
}

func (g *guard) came(n int, begun time.Time) {
	g.waited += time.Since(begun)
	g.got += int64(n)
}

// slow gives up a body that only trickles: each byte in time, all of it never.
func (g *guard) slow() bool {
	if g.waited <= bodyTime+time.Duration(g.got/trickleRate)*time.Second {
		return false
	}
	g.err = os.ErrDeadlineExceeded
	return true
}

// stall remembers that a client gave up in the middle of a body: whoever reads
// next need not wait as long again.
func (g *guard) stall(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		g.err = err
	}
}

// fill reads once and moves what is judged to pending. An error leaves what
// was read in place: the server interrupts its own reads and comes again.
func (g *guard) fill(c *conn) error {
	if g.buf == nil {
		g.buf = make([]byte, 8<<10)
	}
	stalled := g.state != inHead
	var begun time.Time
	if stalled {
		if g.slow() {
			return g.err
		}
		begun = time.Now()
		_ = c.SetReadDeadline(begun.Add(stallTime)) // as in body
	}
	n, err := c.Conn.Read(g.buf)
	if stalled {
		_ = c.SetReadDeadline(time.Time{})
		g.came(n, begun)
		g.stall(err)
	}
	g.scan(g.buf[:n])
	ended := errors.Is(err, io.EOF)
	if err == nil || len(g.pending) > 0 && !ended {
		return nil
	}
	if ended {
		// give out what there is: the server words its own complaint
		g.pending = append(g.pending, g.head...)
		g.head, g.err = nil, io.EOF
		return nil
	}
	return err
}

// scan consumes b.
func (g *guard) scan(b []byte) {
	for len(b) > 0 {
		switch g.state {
		case inHead:
			b = g.scanHead(b)
		case inBody:
			n := min(g.left, int64(len(b)))
			g.give(b[:n])
			b = b[n:]
			if g.left -= n; g.left == 0 {
				g.state = inHead
			}
		case inChunk:
			n := min(g.left, int64(len(b)))
			g.give(b[:n])
			b = b[n:]
			if g.left -= n; g.left == 0 {
				g.state = inSize
			}
		case inSize, inTrailer:
			b = g.scanLine(b)
		case open:
			g.give(b)
			return
		}
	}
}

func (g *guard) give(b []byte) {
	if len(g.pending) == 0 && cap(g.room) <= maxKept {
		g.pending = g.room[:0]
	}
	g.pending = append(g.pending, b...)
	if cap(g.pending) > cap(g.room) {
		g.room = g.pending[:0:cap(g.pending)]
	}
}

// maxKept bounds what an idle connection holds on to.
const maxKept = 4 << 10

// fail ends the connection: what follows cannot be framed.
func (g *guard) fail() {
	g.err = io.ErrUnexpectedEOF
	g.head, g.line, g.state = nil, nil, open
}

func (g *guard) scanHead(b []byte) (rest []byte) {
	if len(g.head) == 0 {
		// the server allows empty lines between requests
		i := 0
		for i < len(b) && (b[i] == '\r' || b[i] == '\n') {
			i++
		}
		g.give(b[:i])
		if b = b[i:]; len(b) == 0 {
			return nil
		}
	}
	if len(g.head) == 0 {
		if end := headEnd(b, 0); end >= 0 { // all of it came at once
			g.judge(b[:end])
			g.give(b[:end])
			return b[end:]
		}
	}
	from := max(len(g.head)-3, 0)
	g.head = append(g.head, b...)
	end := headEnd(g.head, from)
	if end < 0 {
		if len(g.head) > maxHeader+4096 {
			// the server answers 431 to so much
			g.give(g.head)
			g.head, g.state = nil, open
		}
		return nil
	}
	head := g.head[:end]
	rest = b[len(b)-(len(g.head)-end):]
	g.judge(head)
	g.give(head)
	g.head = nil
	return rest
}

// headEnd finds the end of the empty line, however its lines end.
func headEnd(b []byte, from int) int {
	for i := from; i < len(b); i++ {
		if b[i] != '\n' {
			continue
		}
		if i+1 < len(b) && b[i+1] == '\n' {
			return i + 2
		}
		if i+2 < len(b) && b[i+1] == '\r' && b[i+2] == '\n' {
			return i + 3
		}
	}
	return -1
}

// judge sets the framing that follows head, and spoils head in place when it
// is ambiguous.
func (g *guard) judge(head []byte) {
	first, fields, _ := bytes.Cut(head, []byte("\n"))
	method, _, _ := strings.Cut(string(first), " ")
	f, ok := readFraming(first, fields)
	opens := method == http.MethodConnect || f.upgrade
	if !ok || opens && (f.chunked || f.length > 0) { // where would the tunnel begin?
		spoil(head, len(first)+1)
		g.state = open // the server closes after its 400
		return
	}
	g.waited, g.got = 0, 0
	switch {
	case opens:
		g.state = open
	case f.chunked:
		g.state = inSize
	case f.length > 0:
		g.state, g.left = inBody, f.length
	default:
		g.state = inHead
	}
}

type framing struct {
	chunked, upgrade bool
	length           int64
}

func readFraming(first, fields []byte) (f framing, ok bool) {
	var lengths, codings []string
	if !bytes.HasSuffix(first, []byte("\r")) {
		return f, false
	}
	for len(fields) > 0 {
		line, rest, _ := bytes.Cut(fields, []byte("\n"))
		fields = rest
		text, crlf := bytes.CutSuffix(line, []byte("\r"))
		if !crlf {
			return f, false
		}
		if len(text) == 0 {
			break
		}
		if text[0] == ' ' || text[0] == '\t' || bytes.IndexByte(text, '\r') >= 0 || bytes.IndexByte(text, 0) >= 0 {
			return f, false
		}
		name, value, colon := bytes.Cut(text, []byte(":"))
		if !colon || len(name) != len(bytes.TrimSpace(name)) {
			return f, false
		}
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			lengths = append(lengths, string(bytes.Trim(value, " \t")))
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			codings = append(codings, string(bytes.Trim(value, " \t")))
		case bytes.EqualFold(name, []byte("upgrade")):
			f.upgrade = true
		}
	}
	if len(lengths) > 1 || len(codings) > 1 || len(lengths)+len(codings) > 1 {
		return f, false
	}
	if len(codings) == 1 {
		f.chunked = strings.EqualFold(codings[0], "chunked")
		return f, f.chunked && bytes.HasSuffix(first, []byte(" HTTP/1.1\r"))
	}
	if len(lengths) == 1 {
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil || strings.Trim(lengths[0], "0123456789") != "" {
			return f, false
		}
		f.length = int64(n)
	}
	return f, true
}

// spoil makes the first header field one that no server accepts.
func spoil(head []byte, at int) {
	if at < len(head) && head[at] != '\r' && head[at] != '\n' {
		head[at] = '('
		return
	}
	head[0] = '('
}

// scanLine takes one line of a chunked body's framing.
func (g *guard) scanLine(b []byte) (rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if g.line = append(g.line, b...); len(g.line) > maxGuardLine {
			g.fail()
			return nil
		}
		g.give(b)
		return nil
	}
	line := string(append(g.line, b[:i+1]...))
	g.line = nil
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || len(line) > maxGuardLine {
		g.fail()
		return nil
	}
	g.give(b[:i+1])
	rest = b[i+1:]
	if g.state == inTrailer {
		if text == "" {
			g.state = inHead
		}
		return rest
	}
	size, _, _ := strings.Cut(text, ";")
	size = strings.TrimRight(size, " \t")
	n, err := strconv.ParseUint(size, 16, 62)
	if err != nil || strings.ContainsAny(size, "+-_") {
		g.fail()
		return nil
	}
	if n == 0 {
		g.state = inTrailer
		return rest
	}
	g.state, g.left = inChunk, int64(n)+2 // and its CRLF, which the server checks
	return rest
}
