package transform

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Whose fault a failure is, as FailureReason names it.
const (
	ClientError    = "ClientError"
	AlgorithmError = "AlgorithmError"
	InternalError  = "InternalServerError"
)

// Failure is why one object could not be transformed.
type Failure struct {
	Class string
	Text  string   // the cause, with the object's name
	Log   []string // the lines of the data log, in AWS's words
	err   error
}

func (f *Failure) Error() string { return f.Text }
func (f *Failure) Unwrap() error { return f.err }

// Silent says that a container gave no answer.
func (f *Failure) Silent() bool {
	_, ok := errors.AsType[*noAnswerError](f.err)
	return ok
}

// statusError is an answer that is not success.
type statusError struct {
	container string // "" of the only one
	status    int
	body      []byte // its begin
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s answered %d: %s", named(e.container), e.status, e.first())
}

// first is the answer's first line that says something.
func (e *statusError) first() string {
	for l := range strings.SplitSeq(string(e.body), "\n") {
		if l = strings.TrimSpace(l); l != "" {
			return printable(l, 300)
		}
	}
	return "and no more"
}

// noAnswerError is a container that did not answer.
type noAnswerError struct {
	container string
	tries     int
	err       error
}

func (e *noAnswerError) Error() string {
	text := fmt.Sprintf("%s gave no answer: %v", named(e.container), e.err)
	if e.tries > 1 {
		text += fmt.Sprintf(" (asked %d times)", e.tries)
	}
	return text
}
func (e *noAnswerError) Unwrap() error { return e.err }

func named(container string) string {
	if container == "" {
		return "the container"
	}
	return "the container at " + container
}

// recordError is a record or an answer that cannot be looked into.
type recordError struct {
	class string
	aws   string // as AWS says it
	text  string // what it is exactly
}

func (e *recordError) Error() string { return e.aws + ": " + e.text }

// errMismatch is an answer that has not a record for each that was sent.
var errMismatch = errors.New("Fail to join data: mismatched line count between the input and the output") //nolint:revive,staticcheck // AWS's words

// mismatchError tells how many.
type mismatchError struct{ sent, came string }

func (e *mismatchError) Error() string {
	return fmt.Sprintf("%v (%s and %s)", errMismatch, e.sent, e.came)
}
func (*mismatchError) Unwrap() error { return errMismatch }

// named says of which object an error is, and makes it a Failure if it is the
// object's or the containers'. Others, of storage or of a job's end, stay as they
// are.
func (t *Transformer) named(o Object, err error) error {
	f := &Failure{err: err}
	name := Printable(o.Name)
	line := func(format string, args ...any) { f.Log = append(f.Log, name+": "+fmt.Sprintf(format, args...)) }
	var (
		status *statusError
		silent *noAnswerError
		record *recordError
		bad    *malformedError
		many   *mismatchError
	)
	switch {
	case errors.As(err, &status):
		f.Class = AlgorithmError
		if status.status/100 == 4 {
			f.Class = ClientError
			line("ClientError: %d", status.status)
		} else {
			line("Bad HTTP status received from algorithm: %d", status.status)
		}
		line("")
		line("Message:")
		for _, l := range said(status.body) {
			line("%s", l)
		}
	case errors.As(err, &silent):
		f.Class = AlgorithmError
		line("Unable to get response from algorithm")
		line("%s", printable(silent.Error(), 1000))
	case errors.Is(err, errTooMuch):
		f.Class = ClientError
		line("Too much data for max payload size")
		err = t.tooMuch()
		line("%s", err)
	case errors.As(err, &many):
		f.Class = ClientError
		line("%s", errMismatch)
		line("%s and %s", many.sent, many.came)
	case errors.As(err, &record):
		f.Class = record.class
		line("%s", record.aws)
		line("%s", printable(record.text, 1000))
	case errors.As(err, &bad):
		f.Class = ClientError
		line("ClientError: %s", bad.text)
	default:
		return err
	}
	f.Text = name + ": " + printable(err.Error(), 600)
	return f
}

// tooMuch says what a record was too large for, and what helps.
func (t *Transformer) tooMuch() error {
	what, help := "a record", "use a larger MaxPayloadInMB (at most 100)"
	if t.s.Split == "" || t.s.Split == SplitNone {
		what, help = "the object", "set SplitType if it holds several records, or use a larger MaxPayloadInMB (at most 100), or 0, with which it is sent in chunks"
	}
	most := t.s.MaxPayload
	if most == 0 {
		most, help = mostRecord, "records may not be larger"
	}
	return fmt.Errorf("Too much data for max payload size: %s is larger than %d MB; %s", what, most/MB, help) //nolint:revive,staticcheck // AWS's words
}

// said are the lines of what a container said, of which the log has a bounded
// part.
func said(body []byte) []string {
	const most, longest = 40, 1000
	lines := strings.Split(strings.TrimRight(string(bytes.TrimSpace(body)), "\n"), "\n")
	if len(lines) > most {
		lines = append(lines[:most], "...")
	}
	for i, l := range lines {
		lines[i] = printable(strings.TrimRight(l, "\r"), longest)
	}
	return lines
}

// Printable is an object's name for a log: a key may hold whatever ends a line.
func Printable(name string) string { return printable(name, 1200) }

// printable is text for a log, of a bounded length.
func printable(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
