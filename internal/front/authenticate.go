package front

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
	"clary/internal/aws/sigv4"
)

// authenticate checks the signature, reads the body unless it streams, and
// completes the call. What the request claims was parsed before: finding its
// service takes that too.
func (q *request) authenticate(a *sigv4.Auth, err error) error {
	proto := q.route.proto
	if err != nil {
		return q.f.signatureError(proto, err)
	}
	a.Bucket = q.place.bucket
	if err := q.f.scopeFits(q.route, a); err != nil {
		return err
	}
	now := q.f.cfg.Now()
	if err := a.CheckTime(now); err != nil {
		return q.f.signatureError(proto, err)
	}
	secret, who, err := q.f.cfg.Keys.Secret(q.r.Context(), a.AccessKeyID, a.SessionToken)
	if err != nil {
		return q.f.keyError(proto, a, err)
	}
	if proto == protoRESTXML {
		err = q.verifyS3(a, secret, now)
	} else {
		err = q.verifyWhole(a, secret, now)
	}
	if err != nil {
		return q.f.signatureError(proto, err)
	}
	q.call.Principal = who
	q.call.Account = who.Account
	q.call.Region = a.Region
	if a.Region == "" || !strings.ContainsAny(a.Region, "0123456789") {
		q.call.Region = q.f.cfg.Region // a pseudo-region like aws-global, or none
	}
	if q.route.svc != nil {
		q.call.Service, q.call.Operation = q.route.svc.name, q.route.name
	} else {
		q.call.Service, q.call.Operation = "clary", q.route.name
	}
	return nil
}

// verifyWhole reads a bounded body and checks it with the signature.
func (q *request) verifyWhole(a *sigv4.Auth, secret string, now time.Time) error {
	sum := sha256.New() // as the body comes, beside the client's sending
	if err := q.readBody(q.r.Body, q.r.ContentLength, sum); err != nil {
		return err
	}
	if _, err := a.VerifyWith(&q.f.keys, q.r, secret, hex.EncodeToString(sum.Sum(nil)), now); err != nil {
		return err
	}
	return q.inflate()
}

// verifyS3 checks the signature before the body is read. The body is then what
// the signature says: its errors come when it is read.
func (q *request) verifyS3(a *sigv4.Auth, secret string, now time.Time) error {
	payload, ok := a.SignedPayload()
	if !ok {
		return apierr.New(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	}
	v, err := a.VerifyWith(&q.f.keys, q.r, secret, payload, now)
	if err != nil {
		return err
	}
	body, length, err := v.Body(q.r)
	if err != nil {
		return err
	}
	if length > maxObject {
		return tooLarge(length)
	}
	if q.r.Method == http.MethodPut && length == 0 && q.r.Header.Get("Content-Length") == "" && len(q.r.TransferEncoding) == 0 {
		return apierr.New(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	q.r.ContentLength = length
	dropChunkedCoding(q.r.Header)
	if q.streams() {
		q.r.Body = &Stream{Body: body, under: q.r.Body, left: maxObject}
		q.r.Trailer = body.Trailer()
		return nil
	}
	q.r.Trailer = body.Trailer()
	return q.readBody(body, length, io.Discard)
}

// Stream is the body that a handler of a streaming operation reads. Its
// Trailer is complete after io.EOF.
type Stream struct {
	*sigv4.Body
	under io.Closer
	left  int64
}

// Read refuses what is longer than one PUT may be.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.Body.Read(p)
	err = bodyError(err)
	if s.left -= int64(n); s.left < 0 {
		return n, tooLarge(maxObject - s.left)
	}
	return n, err
}

// bodyError words what ended a body early: the client's doing, whatever
// net/http calls it.
func bodyError(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if _, ok := errors.AsType[*apierr.Error](err); ok {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errStalled
	}
	return apierr.New(http.StatusBadRequest, "IncompleteBody", "The request body terminated unexpectedly")
}

// Close closes the request's own body.
func (s *Stream) Close() error { return s.under.Close() }

func tooLarge(n int64) error {
	e := apierr.New(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	e.Fields = map[string]string{"ProposedSize": fmt.Sprint(n), "MaxSizeAllowed": fmt.Sprint(int64(maxObject))}
	return e
}

// dropChunkedCoding leaves the object's own encodings.
func dropChunkedCoding(h http.Header) {
	v := h.Get("Content-Encoding")
	if !strings.Contains(strings.ToLower(v), "aws-chunked") {
		return
	}
	var keep []string
	for c := range strings.SplitSeq(v, ",") {
		if c = strings.TrimSpace(c); !strings.EqualFold(c, "aws-chunked") && c != "" {
			keep = append(keep, c)
		}
	}
	if len(keep) == 0 {
		h.Del("Content-Encoding")
		return
	}
	h.Set("Content-Encoding", strings.Join(keep, ","))
}

func (q *request) streams() bool {
	o := q.route.op
	return o != nil && o.Input != nil && o.Input.Payload != nil && o.Input.Payload.Streaming
}

// opaque says whether the body is bytes for somebody else.
func (q *request) opaque() bool {
	o := q.route.op
	return q.route.proto == protoRESTJSON && o != nil && o.Input != nil && o.Input.Payload != nil && o.Input.Payload.Shape.Type == facts.Blob
}

// most is how large the body may be.
func (q *request) most() int64 {
	if q.opaque() {
		return max(maxBody, q.f.cfg.MaxPayload)
	}
	return maxBody
}

// maxLent bounds a buffer that is kept for the next body.
const maxLent = 2 << 20

// buffers are lent to opaque bodies, which come often and large: the collector
// would else have little to do but them.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }} //nolint:gochecknoglobals // memory alone

// room is where a body goes. What is lent is its handler's until it returns, or
// its events have ended.
func (q *request) room(length int64) *bytes.Buffer {
	if !q.opaque() || q.lent != nil || length > maxLent {
		return new(bytes.Buffer)
	}
	q.lent = buffers.Get().(*bytes.Buffer) //nolint:errcheck,forcetypeassert // New's
	q.lent.Reset()
	return q.lent
}

func giveBack(b *bytes.Buffer) {
	if b != nil && b.Cap() <= maxLent {
		buffers.Put(b)
	}
}

// readBody reads what a body may have, within the budget of all bodies. also
// gets what was read.
func (q *request) readBody(r io.Reader, length int64, also io.Writer) error {
	most := q.most()
	if length > most {
		return errTooBig
	}
	need, room := length, int64(math.MaxInt64) // all of it is taken at once
	if need < 0 {
		need, room = firstPiece, firstPiece
	}
	if err := q.take(need); err != nil {
		return err
	}
	buf := q.room(length)
	if length > 0 {
		buf.Grow(int(length) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(&paced{q: q, r: io.LimitReader(r, most+1), also: also, begun: time.Now(), room: room})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errStalled
	case err != nil:
		if _, ok := errors.AsType[*apierr.Error](err); ok {
			return err
		}
		return apierr.New(http.StatusBadRequest, "SerializationException", "The request's body could not be read.")
	case n > most:
		return errTooBig
	}
	q.body = buf.Bytes()
	return nil
}

// take takes of the budget. Who waits for it holds none yet. Bodies that are
// bytes for somebody else are held for as long as that one thinks: they have a
// budget of their own, which nobody waits for.
func (q *request) take(n int64) error {
	if q.opaque() {
		q.budget = q.f.payloads
		if !q.budget.TryAcquire(n) {
			return errBusy
		}
	} else {
		q.budget = q.f.bodies
		if err := q.budget.Acquire(q.r.Context(), n); err != nil {
			return err
		}
	}
	q.held += n
	return nil
}

// paced reads a body that is held in memory: not slower than any line is, and
// within the budget, of which more is taken only where it is free. A few slow
// clients must not hold what all share.
type paced struct {
	q     *request
	r     io.Reader
	also  io.Writer
	begun time.Time
	got   int64
	room  int64
}

func (p *paced) Read(b []byte) (int, error) {
	if time.Since(p.begun) > bodyTime+time.Duration(p.got/bodyRate)*time.Second {
		return 0, errStalled
	}
	if p.got >= p.room {
		if !p.q.budget.TryAcquire(nextPiece) {
			return 0, errBusy
		}
		p.q.held += nextPiece
		p.room += nextPiece
	}
	n, err := p.r.Read(b[:min(int64(len(b)), p.room-p.got)])
	p.got += int64(n)
	if n > 0 {
		if _, werr := p.also.Write(b[:n]); werr != nil {
			return n, werr
		}
	}
	return n, err
}

var errBusy = apierr.New(http.StatusServiceUnavailable, "ServiceUnavailable", "The server holds as many requests as it may. Please try again.")

var errStalled = apierr.New(http.StatusBadRequest, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.")

var errTooBig = apierr.New(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", "Request size exceeded %d bytes.", maxBody)

// inflate undoes the compression that newer clients apply to large requests.
func (q *request) inflate() error {
	if !strings.EqualFold(q.r.Header.Get("Content-Encoding"), "gzip") {
		return nil
	}
	z, err := gzip.NewReader(bytes.NewReader(q.body))
	if err != nil {
		return apierr.New(http.StatusBadRequest, "SerializationException", "The body is not gzip.")
	}
	q.r.Header.Del("Content-Encoding")
	// never wait for more of the budget while holding some
	q.budget.Release(q.held)
	q.held = 0
	return q.readBody(z, -1, io.Discard)
}
