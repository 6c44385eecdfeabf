package transform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// payload is what a request carries. Its buffer can be used again once no request
// reads it any more, which may be after its answer came.
type payload struct {
	data  []byte
	reads atomic.Int32
}

func (p *payload) body() io.ReadCloser {
	p.reads.Add(1)
	return &payloadBody{Reader: bytes.NewReader(p.data), of: p}
}

type payloadBody struct {
	*bytes.Reader
	of   *payload
	once sync.Once
}

func (b *payloadBody) Close() error {
	b.once.Do(func() { b.of.reads.Add(-1) })
	return nil
}

// wholeConn sends a payload in one write. In pieces, as net/http copies it, each
// wakes who reads it, which costs more than the copy.
type wholeConn struct{ net.Conn }

// ReadFrom is called by net/http with what of a body its buffer did not hold.
func (c wholeConn) ReadFrom(r io.Reader) (int64, error) {
	l, ok := r.(*io.LimitedReader)
	if ok {
		if p, ok := l.R.(*payloadBody); ok && int64(p.Len()) <= l.N {
			n, err := p.WriteTo(c.Conn)
			l.N -= n
			return n, err
		}
	}
	return io.Copy(c.Conn, r)
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func wholeDial(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return wholeConn{c}, nil
	}
}

// answer is what the last container said to one request. It is held, or lies in a
// file when it is large.
type answer struct {
	contentType string
	size        int64
	data        []byte
	file        *os.File
}

// open reads it from its begin.
func (a *answer) open() io.Reader {
	if a.file == nil {
		return bytes.NewReader(a.data)
	}
	return io.NewSectionReader(a.file, 0, a.size)
}

func (a *answer) body() io.ReadCloser { return io.NopCloser(a.open()) }

func (a *answer) close() {
	if a.file != nil {
		_ = a.file.Close() // it has no name any more
	}
}

// errTooLarge is an answer without an end.
var errTooLarge = errors.New("its answer is too large")

// roomError is a scratch folder that cannot be written.
type roomError struct{ err error }

func (e *roomError) Error() string { return "an answer could not be put aside: " + e.err.Error() }
func (e *roomError) Unwrap() error { return e.err }

// invoke has the containers answer a request, and tries again where that can
// help: when one was not reached, broke off, took too long, or said that it was
// its own fault or too busy.
func (t *Transformer) invoke(ctx context.Context, payload *payload) (*answer, error) {
	for try := 0; ; try++ {
		a, err := t.once(ctx, payload)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !again(err) || try >= t.s.Retries {
			if silent, ok := errors.AsType[*noAnswerError](err); ok {
				silent.tries = try + 1
			}
			return nil, err
		}
		if !t.pause(ctx, try) {
			return nil, context.Cause(ctx)
		}
	}
}

// again says whether a request may be answered when it is asked once more.
func again(err error) bool {
	if status, ok := errors.AsType[*statusError](err); ok {
		return status.status >= 500 || status.status == http.StatusTooManyRequests
	}
	silent, ok := errors.AsType[*noAnswerError](err)
	return ok && !errors.Is(silent.err, errTooLarge)
}

// pause waits before the next try, each time four times as long.
func (t *Transformer) pause(ctx context.Context, try int) bool {
	d := min(t.s.Backoff<<(2*min(try, 8)), 10*time.Second)
	if d <= 0 {
		return ctx.Err() == nil
	}
	wait := time.NewTimer(d/2 + rand.N(d/2+1))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wait.C:
		return true
	}
}

// once asks one container after the other, each for what the one before said.
func (t *Transformer) once(ctx context.Context, payload *payload) (*answer, error) {
	ctx, cancel := t.limited(ctx)
	defer cancel()
	var a *answer
	media := t.s.ContentType
	for i := range t.s.Containers {
		size := int64(len(payload.data))
		body := payload.body
		if a != nil {
			size, body = a.size, a.body
		}
		if t.s.MaxPayload == 0 {
			size = -1
		}
		next, err := t.visit(ctx, i, body, size, media)
		if a != nil {
			a.close()
		}
		if err != nil {
			return nil, err
		}
		a, media = next, next.contentType
	}
	return a, nil
}

// limited ends with the time that one request has.
func (t *Transformer) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if t.s.Timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, t.s.Timeout, fmt.Errorf("it took longer than %s, which InvocationsTimeoutInSeconds allows", t.s.Timeout))
}

// visit asks the i-th container and takes all of its answer.
func (t *Transformer) visit(ctx context.Context, i int, body func() io.ReadCloser, size int64, media string) (*answer, error) {
	resp, err := t.send(ctx, i, body, size, media)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	a, err := t.take(resp)
	if room, ok := errors.AsType[*roomError](err); ok {
		return nil, room
	}
	if err != nil {
		return nil, t.silent(ctx, i, err)
	}
	return a, nil
}

// send sends a request and gives an answer that is success. A size of -1 is sent
// in chunks.
func (t *Transformer) send(ctx context.Context, i int, body func() io.ReadCloser, size int64, media string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.s.Containers[i]+"/invocations", http.NoBody)
	if err != nil {
		return nil, err
	}
	if size != 0 {
		req.Body, req.ContentLength = body(), size
	}
	if size > 0 {
		// On a kept connection that turns out to be closed it is sent again, which
		// net/http does where this header, which is not sent, allows it.
		req.GetBody = func() (io.ReadCloser, error) { return body(), nil }
		req.Header["Idempotency-Key"] = nil
	}
	if media != "" {
		req.Header["Content-Type"] = []string{media}
	}
	if t.s.Accept != "" && i == len(t.s.Containers)-1 {
		req.Header["Accept"] = []string{t.s.Accept}
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, t.silent(ctx, i, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()                                       //nolint:errcheck // its begin is read
	text, _ := io.ReadAll(io.LimitReader(resp.Body, mostMessage)) // what there is of it
	return nil, &statusError{container: t.called(i), status: resp.StatusCode, body: text}
}

// mostMessage is what is read of an answer that is not success.
const mostMessage = 32 << 10

// called is a container for texts.
func (t *Transformer) called(i int) string {
	if len(t.s.Containers) == 1 {
		return ""
	}
	return t.s.Containers[i]
}

func (t *Transformer) silent(ctx context.Context, i int, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &noAnswerError{container: t.called(i), err: plain(err)}
}

// plain takes the request's address off an error: it is the same for all.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return errors.New("it closed the connection before its answer had ended")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errors.New("it reset the connection before its answer had ended")
	}
	return err
}

// take reads an answer, and puts it aside when it is large.
func (t *Transformer) take(resp *http.Response) (*answer, error) {
	a := &answer{contentType: resp.Header.Get("Content-Type")}
	var err error
	if a.data, err = readUpTo(resp.Body, sized(resp.ContentLength, t.held), t.held+1); err != nil {
		return nil, err
	}
	if a.size = int64(len(a.data)); len(a.data) <= t.held {
		return a, nil
	}
	if a.file, err = Scratch(t.s.Scratch); err != nil {
		return nil, &roomError{err}
	}
	_, err = a.file.Write(a.data)
	if err != nil {
		err = &roomError{err}
	}
	if err == nil {
		var rest int64
		rest, err = aside(a.file, resp.Body, t.most-a.size)
		if a.size += rest; errors.Is(err, errTooLarge) {
			err = fmt.Errorf("%w: more than %d MB", err, t.most/MB)
		}
	}
	if err != nil {
		a.close()
		return nil, err
	}
	a.data = nil
	return a, nil
}

// aside writes the rest of an answer, which may have most bytes, and says how
// many there were.
func aside(f *os.File, from io.Reader, most int64) (size int64, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if size += int64(n); size > most {
			return size, errTooLarge
		}
		if _, werr := f.Write(buf[:n]); werr != nil {
			return size, &roomError{werr}
		}
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
}

// sized is room for an answer of which a length is said, as far as that is
// believed.
func sized(length int64, most int) []byte {
	if length <= 0 || length > int64(most) || length > 1<<20 {
		return nil
	}
	return make([]byte, 0, length+1)
}

// Scratch is a file without a name in a folder; "" is the system's for such.
func Scratch(folder string) (*os.File, error) {
	f, err := os.CreateTemp(folder, "clary-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
