package logs

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// line is one line of output and the bytes [start, end) of the spool that it
// was read from.
type line struct {
	start, end int64
	ms         int64
	text       string
}

const (
	smallRead = 8 << 10
	largeRead = 1 << 20
)

// lines reads a spool. Each read's whole lines are one batch, so a lone line is
// handed on at once and a backlog in large pieces. The buffer grows only while
// reads fill it: thousands of quiet tasks must not hold a megabyte each.
type lines struct {
	r   io.Reader
	at  int64  // offset of buf[0]
	buf []byte // read and not yet handed on
	ms  int64  // of the line before
	eof bool
}

func newLines(r io.Reader, from int64) *lines {
	return &lines{r: r, at: from, buf: make([]byte, 0, smallRead)}
}

// next returns the lines of one read. At the end of the spool a last line needs
// no newline.
func (l *lines) next() ([]line, error) {
	if l.eof {
		return nil, io.EOF
	}
	switch free := cap(l.buf) - len(l.buf); {
	case free < smallRead/2:
		l.buf = append(make([]byte, 0, max(2*cap(l.buf), smallRead)), l.buf...)
	case cap(l.buf) > smallRead && len(l.buf) < smallRead/4:
		l.buf = append(make([]byte, 0, max(cap(l.buf)/2, smallRead)), l.buf...)
	}
	n, err := l.r.Read(l.buf[len(l.buf):cap(l.buf)])
	full := len(l.buf)+n == cap(l.buf)
	l.buf = l.buf[:len(l.buf)+n]
	l.eof = errors.Is(err, io.EOF)

	whole := bytes.LastIndexByte(l.buf, '\n') + 1
	if l.eof || (whole == 0 && len(l.buf) >= largeRead) {
		whole = len(l.buf)
	}
	batch := l.split(string(l.buf[:whole]))
	l.at += int64(whole)
	rest := copy(l.buf, l.buf[whole:])
	l.buf = l.buf[:rest]
	if full && cap(l.buf) < largeRead {
		l.buf = append(make([]byte, 0, 4*cap(l.buf)), l.buf...)
	}
	return batch, err
}

func (l *lines) split(s string) []line {
	if s == "" {
		return nil
	}
	batch := make([]line, 0, strings.Count(s, "\n")+1)
	for at := l.at; s != ""; {
		text, rest, found := strings.Cut(s, "\n")
		end := at + int64(len(text))
		if found {
			end++
		}
		ms, text := stamp(text)
		if ms == 0 {
			ms = cmp.Or(l.ms, time.Now().UnixMilli())
		}
		l.ms = ms
		batch = append(batch, line{start: at, end: end, ms: ms, text: clean(text)})
		at, s = end, rest
	}
	return batch
}

// stamp takes the time off a line; 0 if it has none, as the rest of a line that
// was too long.
func stamp(s string) (int64, string) {
	ms, n := int64(0), 0
	for ; n < len(s) && n < 16 && s[n] >= '0' && s[n] <= '9'; n++ {
		ms = ms*10 + int64(s[n]-'0')
	}
	if n == 0 || n == len(s) || s[n] != ' ' {
		return 0, s
	}
	return ms, s[n+1:]
}

// clean makes a line that JSON can carry.
func clean(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
