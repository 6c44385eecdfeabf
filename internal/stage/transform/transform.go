// Package transform is batch transform's way with one object: it is split into
// records, these are filtered and sent to the model's containers, several
// requests at once, and the answers are joined with what they answer, filtered,
// and put together in the order of the input. What it holds at a time depends on
// the size and the number of requests and not on the object's. It trusts neither
// the object nor what the containers say, and it knows no storage: it reads where
// it is told to and writes to whom it is told. Start at New and Do.
package transform

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"clary/internal/stage/jsonpath"
)

// Settings are what a job asks for.
type Settings struct {
	// Containers are where the model's containers answer, http://host:port, in
	// the order in which they are asked.
	Containers []string
	// Dial replaces the dialling of their addresses.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Split       string // SplitNone ...
	Gzip        bool   // objects are compressed
	ContentType string // of requests
	Accept      string // of the last container's answers
	Lines       bool   // a newline is added after each answer that has none

	// SingleRecord sends each record in a request of its own, without what
	// stands around it in the object.
	SingleRecord bool
	MaxPayload   int // bytes of a request; 0: any number, sent in chunks
	Concurrency  int // requests at once
	Timeout      time.Duration
	Retries      int           // after the first try
	Backoff      time.Duration // before the first of them

	// Input names what of a record the containers see, Output what of a record's
	// answer is kept.
	Input, Output *jsonpath.Path
	Join          bool // the answer is added to its record, before Output
	// InferenceID adds an id of its own and Started to each record.
	InferenceID bool
	Started     time.Time

	// Scratch is a folder for answers that are too large to be held.
	Scratch string
}

// Sizes of what is held.
const (
	// MB is what MaxPayloadInMB counts.
	MB = 1 << 20
	// Uploads are the results that may be taken at once: two parts of a large one
	// are held.
	Uploads = 8
	// mostRecord bounds a record where no payload does.
	mostRecord = 100 * MB
	// mostAnswer bounds one answer to one request of bounded size.
	mostAnswer = 1 << 30
)

// Object is what Do is given.
type Object struct {
	Name string // bucket/key, for texts
	Size int64  // -1: not known
	// Open reads it from its begin. It may be called several times.
	Open func(context.Context) (io.ReadCloser, error)
}

// Transformer does objects. It is safe for concurrent use.
type Transformer struct {
	s      Settings
	client *http.Client
	format format // of the records, where they are looked into
	held   int    // bytes of an answer that are held
	most   int64  // of one to a request of bounded size
	free   chan []byte
}

// New checks what can be checked before any object is seen.
func New(s Settings) (*Transformer, error) {
	if s.Concurrency < 1 {
		s.Concurrency = 1
	}
	if s.Started.IsZero() {
		s.Started = time.Now()
	}
	if s.Split == "" || s.Split == SplitNone {
		s.SingleRecord = false // an object is one record
	}
	t := &Transformer{s: s, most: mostAnswer, free: make(chan []byte, s.Concurrency+1)}
	t.held = min(max(32*MB/(2*s.Concurrency), 64<<10), 16*MB)
	var err error
	if t.format, err = s.format(); err != nil {
		return nil, err
	}
	dial := s.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	t.client = &http.Client{
		Transport: &http.Transport{
			DialContext: wholeDial(dial), DisableCompression: true, MaxIdleConnsPerHost: s.Concurrency, IdleConnTimeout: 30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return t, nil
}

// Close drops idle connections.
func (t *Transformer) Close() { t.client.CloseIdleConnections() }

// chunked says that an object is one request of any size.
func (s *Settings) chunked() bool { return s.MaxPayload == 0 && !s.SingleRecord }

// processed says that records are looked into.
func (s *Settings) processed() bool {
	return s.filtersInput() || s.Join || s.filtersOutput() || s.InferenceID
}

func (s *Settings) filtersInput() bool  { return s.Input != nil && !s.Input.Everything() }
func (s *Settings) filtersOutput() bool { return s.Output != nil && !s.Output.Everything() }

// Weight is how many requests an object is worth at once: of all that may be in
// flight, it can use so many.
func (t *Transformer) Weight(size int64) int {
	switch {
	case t.s.chunked() || t.s.Split == "" || t.s.Split == SplitNone || size == 0:
		return 1
	case size < 0 || t.s.Gzip:
		return t.s.Concurrency
	case t.s.SingleRecord: // each has a byte at least
		return int(min(size, int64(t.s.Concurrency)))
	}
	return int(min(size/int64(t.s.MaxPayload)+1, int64(t.s.Concurrency)))
}

// Whole says that an object is one request, whose answer is read while it comes.
func (t *Transformer) Whole() bool { return t.s.chunked() }

// Memory is about how much the transformer holds at most.
func (s *Settings) Memory() int64 {
	payload := int64(s.MaxPayload)
	if s.MaxPayload == 0 {
		payload = MB
	}
	each := payload
	if s.Join && s.filtersInput() {
		each *= 3 // the records wait for their answers too, those that came before their turn as well
	} else if s.Join {
		each *= 2
	}
	return int64(s.Concurrency)*each + payload + 32*MB + int64(min(s.Concurrency, Uploads))*16*MB
}

// errGone is why a reader is closed when nobody writes any more.
var errGone = errors.New("what was made is no longer taken")

// errBroken is what the writer is told. It is no end of what is written, whatever
// the reason was: a cut gzip says that its data ended.
var errBroken = errors.New("the object could not be transformed")

// Do transforms one object with at most weight requests at once, and has the
// result written by put, which reads it to its end, and is called again when a
// whole object is sent again. If the reader that put is given fails, what came of it is not to be kept. A *Failure is the object's own
// and says how the job fails, if no other error is.
func (t *Transformer) Do(ctx context.Context, o Object, weight int, put func(context.Context, io.Reader) error) error {
	for try := 0; ; try++ {
		err := t.do(ctx, o, weight, put)
		if err == nil || !t.s.chunked() || !again(err) || try >= t.s.Retries || !t.pause(ctx, try) {
			return err // parts are asked again by themselves
		}
	}
}

func (t *Transformer) do(ctx context.Context, o Object, weight int, put func(context.Context, io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, w := io.Pipe()
	made := make(chan error, 1)
	go func() {
		err := t.write(ctx, o, weight, w)
		if err != nil {
			_ = w.CloseWithError(errBroken) // never fails
		} else {
			_ = w.Close()
		}
		made <- err
	}()
	err := put(ctx, r)
	if err != nil {
		cancel(err)
	}
	_ = r.CloseWithError(errGone) // never fails
	if werr := <-made; werr != nil && !errors.Is(werr, errGone) && (err == nil || !errors.Is(werr, err)) {
		return werr
	}
	return err
}

// write makes an object's result.
func (t *Transformer) write(ctx context.Context, o Object, weight int, w io.Writer) error {
	err := t.result(ctx, o, weight, w)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
	}
	return t.named(o, err)
}

func (t *Transformer) result(ctx context.Context, o Object, weight int, w io.Writer) error {
	if o.Size == 0 {
		return nil // nothing is asked about nothing
	}
	if t.s.chunked() {
		return t.stream(ctx, o, w)
	}
	return t.batches(ctx, o, weight, w)
}

// input reads an object's records.
func (t *Transformer) input(ctx context.Context, o Object) (splitter, io.Closer, error) {
	r, c, err := t.open(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	most := t.s.MaxPayload
	if most == 0 || t.s.filtersInput() {
		most = mostRecord // a payload has only what a filter lets through
	}
	kind := t.s.Split
	if t.format.byLine {
		kind = SplitLine
	}
	s, err := newSplitter(kind, r, most)
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return s, c, nil
}

// open reads an object, without its compression.
func (t *Transformer) open(ctx context.Context, o Object) (io.Reader, io.Closer, error) {
	body, err := o.Open(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !t.s.Gzip {
		return body, body, nil
	}
	z, err := gzip.NewReader(body)
	switch {
	case errors.Is(err, io.EOF):
		return strings.NewReader(""), body, nil // an object without a byte
	case err != nil:
		return nil, nil, errors.Join(gzipError(err), body.Close())
	}
	return unzipped{z}, body, nil
}

// unzipped tells bad compression from an object that could not be read.
type unzipped struct{ z *gzip.Reader }

func (u unzipped) Read(p []byte) (int, error) {
	n, err := u.z.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = gzipError(err)
	}
	return n, err
}

func gzipError(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("its gzip data ends too early")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return malformed("CompressionType is Gzip and it is no valid gzip: %v", err)
	}
	if strings.HasPrefix(err.Error(), "flate:") {
		return malformed("CompressionType is Gzip and it is no valid gzip: %v", err)
	}
	return fmt.Errorf("reading it: %w", err)
}
