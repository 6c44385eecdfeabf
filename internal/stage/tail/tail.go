// Package tail keeps the end of a program's output and finds in it why the
// program failed. It reads bytes and nothing else. Start at Cause.
package tail

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	// Size is how much of the output is kept.
	Size = 32 << 10
	// CauseSize leaves room for a prefix within FailureReason's 1024.
	CauseSize = 900
)

// cut begins what was shortened.
const cut = "...\n"

// header begins every Python traceback.
const header = "Traceback (most recent call last)"

// Buffer keeps the end of what is written to it. The zero value is ready.
type Buffer struct{ b []byte }

// Write never fails.
func (t *Buffer) Write(p []byte) (int, error) {
	n := len(p)
	if n >= Size {
		t.b = append(t.b[:0], p[n-Size:]...)
		return n, nil
	}
	if over := len(t.b) + n - 2*Size; over > 0 { // move rarely, not at each write
		t.b = append(t.b[:0], t.b[len(t.b)-Size:]...)
	}
	t.b = append(t.b, p...)
	return n, nil
}

// Bytes is at most the last Size bytes.
func (t *Buffer) Bytes() []byte {
	if len(t.b) > Size {
		return t.b[len(t.b)-Size:]
	}
	return t.b
}

// Cause finds in the end of a program's output why it failed: the last Python
// traceback, else the last lines. It is valid UTF-8, without terminal codes,
// and short enough for a FailureReason.
func Cause(output []byte) string {
	lines := strings.Split(clean(output), "\n")
	start := -1
	for i, l := range lines {
		if strings.HasPrefix(l, header) {
			start = i
		}
	}
	if start >= 0 {
		return Shorten(traceback(lines[start:]), CauseSize)
	}
	var last []string
	for i := len(lines) - 1; i >= 0 && len(last) < 5; i-- {
		if l := strings.TrimSpace(lines[i]); l != "" {
			last = append([]string{l}, last...)
		}
	}
	return Shorten(strings.Join(last, "\n"), CauseSize)
}

// exception is the line that ends a traceback's frames.
var exception = regexp.MustCompile(`^([A-Za-z_]\w*\.)*[A-Z]\w*(: .*)?$`)

// traceback cuts a traceback's end out of the lines that begin with it. Some
// launchers strip the indentation of what they pass on, so that it is no
// guide. A message may have several lines; what follows it cannot be told
// from it, so that few are taken.
func traceback(lines []string) string {
	end := len(lines)
	for i, l := range lines[1:] {
		if exception.MatchString(l) {
			end = i + 2
			break
		}
	}
	for n := 0; end < len(lines) && n < 10; n++ {
		if strings.TrimSpace(lines[end]) == "" || strings.Contains(lines[end], header) {
			break
		}
		end++
	}
	return strings.TrimSpace(strings.Join(lines[:end], "\n"))
}

// Exception is the line of a cause that names the exception, or "" if the
// cause is no traceback, whole or shortened.
func Exception(cause string) string {
	if !strings.HasPrefix(cause, header) && !strings.HasPrefix(cause, cut) {
		return ""
	}
	lines := strings.Split(cause, "\n")
	for i := len(lines) - 1; i > 0; i-- {
		if exception.MatchString(lines[i]) {
			return lines[i]
		}
	}
	return ""
}

// Shorten cuts s to at most most bytes, in whole lines when it can. A
// traceback keeps its first frames, which are the user's own script, and its
// end, which is the cause; other text keeps its end.
func Shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	head := ""
	if strings.HasPrefix(s, header) {
		head = s[:most/3]
		head = head[:strings.LastIndexByte(head, '\n')+1]
	}
	rest := s[len(s)-max(most-len(head)-len(cut), 0):]
	if i := strings.IndexByte(rest, '\n'); i >= 0 && i < len(rest)/2 {
		rest = rest[i+1:]
	}
	for rest != "" && !utf8.RuneStart(rest[0]) {
		rest = rest[1:]
	}
	return head + cut + rest
}

// clean drops terminal codes and what carriage returns overwrote.
func clean(b []byte) string {
	var out bytes.Buffer
	for len(b) > 0 {
		switch c := b[0]; {
		case c == 0x1b && len(b) > 1 && b[1] == '[':
			i := 2
			for i < len(b) && (b[i] < 0x40 || b[i] > 0x7e) {
				i++
			}
			b = b[min(i+1, len(b)):]
		case c == '\r':
			b = b[1:]
			if len(b) > 0 && b[0] != '\n' {
				if i := bytes.LastIndexByte(out.Bytes(), '\n'); i >= 0 {
					out.Truncate(i + 1)
				} else {
					out.Reset()
				}
			}
		case c == '\n' || c == '\t' || c >= 0x20:
			out.WriteByte(c)
			b = b[1:]
		default:
			b = b[1:]
		}
	}
	return strings.ToValidUTF8(out.String(), "\uFFFD")
}
