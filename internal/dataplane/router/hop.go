package router

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"clary/internal/aws/apierr"
)

// kind is how a container failed to answer.
type kind int

const (
	unconnected kind = iota // it took no connection: it never saw the request
	died                    // the connection ended before the answer did
	timedOut
	garbled  // what it sent is no answer
	tooLarge // its answer is larger than it may be
	crowded  // there is no room for its answer
)

// hopError says that a container did not answer.
type hopError struct {
	kind kind
	err  error
	// unread says that the connection had served a request before and ended
	// without one byte of an answer to this one, as it does when a server closes
	// what it takes for idle.
	unread bool
}

func (e *hopError) Error() string { return e.err.Error() }
func (e *hopError) Unwrap() error { return e.err }

// again says whether the request may be asked anew: nobody saw it, or the
// container closed its side of a connection that was idle just as the request
// came. In the second case it may also have died over the request before it
// said a word, which looks alike; asked twice, it is then as if the client had
// tried again, as AWS's own clients do.
func (e *hopError) again() bool { return e.kind == unconnected || e.kind == died && e.unread }

// ask is what a container is sent.
type ask struct {
	contentType, accept, attributes, inference, session, prefix string
	body                                                        []byte
}

// head is the request's head.
func (a *ask) head(b []byte) []byte {
	b = append(b, "POST /invocations HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: AHC/2.0\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(a.body)), 10)
	for _, f := range [...]struct{ name, value string }{
		{"\r\nContent-Type: ", a.contentType},
		{"\r\nAccept: ", a.accept},
		{"\r\nX-Amzn-SageMaker-Custom-Attributes: ", a.attributes},
		{"\r\nX-Amzn-SageMaker-Inference-Id: ", a.inference},
		{"\r\nX-Amzn-SageMaker-Session-Id: ", a.session},
		{"\r\nX-Amzn-SageMaker-Prefix-Aware-Id: ", a.prefix},
	} {
		if f.value != "" {
			b = append(append(b, f.name...), f.value...)
		}
	}
	return append(b, "\r\n\r\n"...)
}

// check refuses what would end a header.
func (a *ask) check() error {
	for _, f := range [...]struct{ name, value string }{
		{"contentType", a.contentType},
		{"accept", a.accept},
		{"customAttributes", a.attributes},
		{"inferenceId", a.inference},
		{"sessionId", a.session},
		{"prefixAwareId", a.prefix},
	} {
		for i := range len(f.value) {
			if c := f.value[i]; c < ' ' && c != '\t' || c >= 0x7f {
				return apierr.Validation("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must be visible US-ASCII text", f.name)
			}
		}
	}
	return nil
}

// answer is what a container said.
type answer struct {
	status                                             int
	contentType, attributes, newSession, closedSession string
	body                                               []byte
}

func answerOf(res *http.Response) (*answer, error) {
	h := res.Header
	a := &answer{
		status: res.StatusCode, contentType: h.Get("Content-Type"), attributes: h.Get("X-Amzn-Sagemaker-Custom-Attributes"),
		newSession: h.Get("X-Amzn-Sagemaker-New-Session-Id"), closedSession: h.Get("X-Amzn-Sagemaker-Closed-Session-Id"),
	}
	for _, v := range [...]string{a.contentType, a.attributes, a.newSession, a.closedSession} {
		if len(v) > maxHeader || !visible(v) {
			return nil, &hopError{kind: garbled, err: errHeader}
		}
	}
	return a, nil
}

// heads lends room for the heads of requests, and for small bodies behind them.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, smallBody+4<<10); return &b }} //nolint:gochecknoglobals // memory alone

// maxLent bounds a buffer that is kept for the next answer.
const maxLent = 2 << 20

// answers lends room for answers, which come often and large.
var answers = sync.Pool{New: func() any { return new([]byte) }} //nolint:gochecknoglobals // memory alone

// room gives n bytes, until the visit ends.
func (v *visit) room(n int64) []byte {
	if n > maxLent {
		return make([]byte, n)
	}
	p := answers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // New's
	if int64(cap(*p)) < n {
		*p = make([]byte, n)
	}
	v.lent = append(v.lent, p)
	return (*p)[:n]
}

// hop asks one container and reads all of its answer.
func (v *visit) hop(ctx context.Context, h *host, a *ask, fresh bool, deadline time.Time) (*answer, error) {
	x, err := v.open(ctx, h, a, fresh, deadline)
	if err != nil {
		return nil, err
	}
	defer x.end()
	out, err := answerOf(x.res)
	if err != nil {
		return nil, err
	}
	out.body, err = v.read(x.res)
	if err != nil {
		if _, ok := err.(*hopError); ok { //nolint:errorlint // ours, as it is
			return nil, err
		}
		return nil, broken(ctx, err, x.l.got, false)
	}
	x.ended = true
	return out, nil
}

func (v *visit) open(ctx context.Context, h *host, a *ask, fresh bool, deadline time.Time) (*exchange, error) {
	buf := heads.Get().(*[]byte) //nolint:errcheck,forcetypeassert // New's
	head := a.head((*buf)[:0])
	x, err := h.begin(ctx, v.r.cfg.Dialer, fresh, deadline, head, a.body)
	if x == nil || x.written == nil { // else it may still be read
		*buf = head[:0]
		heads.Put(buf)
	}
	return x, err
}

// read takes a whole body into memory, within the bounds of one answer and of
// all.
func (v *visit) read(res *http.Response) ([]byte, error) {
	most := v.r.cfg.MaxPayload
	if res.ContentLength > most {
		return nil, &hopError{kind: tooLarge, err: errTooLarge}
	}
	if res.ContentLength >= 0 {
		if !v.hold(res.ContentLength) {
			return nil, &hopError{kind: crowded, err: errCrowded}
		}
		b := v.room(res.ContentLength)
		_, err := io.ReadFull(res.Body, b)
		return b, err
	}
	var b []byte
	for {
		if len(b) == cap(b) {
			step := min(max(int64(cap(b)), readBuffer), maxReadStep)
			if !v.hold(step) {
				return nil, &hopError{kind: crowded, err: errCrowded}
			}
			grown := make([]byte, len(b), int64(cap(b))+step)
			copy(grown, b)
			b = grown
		}
		n, err := res.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if int64(len(b)) > most {
			return nil, &hopError{kind: tooLarge, err: errTooLarge}
		}
		if err == io.EOF { //nolint:errorlint // as it says itself
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
