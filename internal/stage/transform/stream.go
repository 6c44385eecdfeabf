package transform

import (
	"bufio"
	"context"
	"errors"
	"io"
)

// stream sends an object as one request of any size, and writes what comes of
// the answer while it comes. It cannot be asked again: a part of the answer may
// have been taken. Whoever calls Do may do that with the whole of it.
func (t *Transformer) stream(ctx context.Context, o Object, w io.Writer) error {
	lctx, cancel := t.limited(ctx)
	defer cancel()
	r, sent := io.Pipe()
	read := make(chan error, 1)
	go func() {
		err := t.feed(lctx, o, sent)
		if err != nil {
			_ = sent.CloseWithError(errBroken) // never fails
		} else {
			_ = sent.Close()
		}
		read <- err
	}()
	first := bufio.NewReader(r)
	err := func() error {
		if _, err := first.Peek(1); errors.Is(err, io.EOF) {
			return nil // no record: nothing is asked
		}
		return t.chain(lctx, o, first, w)
	}()
	late := lctx.Err() != nil
	cancel()
	_ = r.CloseWithError(errGone) // never fails
	rerr := <-read
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// What is wrong with the object comes before what a container says to half of
	// it, and not before that it was late, or took no more.
	if rerr != nil && !late && !errors.Is(rerr, errGone) && !errors.Is(rerr, context.Canceled) {
		return rerr
	}
	return err
}

// feed writes what the containers see of an object.
func (t *Transformer) feed(ctx context.Context, o Object, w io.Writer) error {
	if !t.s.filtersInput() {
		from, c, err := t.open(ctx, o)
		if err != nil {
			return err
		}
		defer c.Close() //nolint:errcheck // read to its end
		_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{from}, make([]byte, 64<<10))
		return err
	}
	b, c, err := t.batcher(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // read to its end
	out := bufio.NewWriterSize(w, 64<<10)
	for {
		err := b.read()
		if errors.Is(err, io.EOF) {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		if _, err := out.Write(b.next); err != nil {
			return err
		}
	}
}

// chain has each container read what the one before says while it says it.
func (t *Transformer) chain(ctx context.Context, o Object, body io.Reader, w io.Writer) error {
	media := t.s.ContentType
	for i := range t.s.Containers {
		resp, err := t.send(ctx, i, func() io.ReadCloser { return io.NopCloser(body) }, -1, media)
		if err != nil {
			return err
		}
		defer resp.Body.Close() //nolint:errcheck // a container each, read to its end
		body, media = &spoken{t: t, ctx: ctx, i: i, from: resp.Body}, resp.Header.Get("Content-Type")
	}
	out := bufio.NewWriterSize(w, 64<<10)
	if err := t.streamed(ctx, o, out, body, media); err != nil {
		return err
	}
	return out.Flush()
}

// spoken is a container's answer, whose errors are the container's.
type spoken struct {
	t    *Transformer
	ctx  context.Context //nolint:containedctx // of the one request
	i    int
	from io.Reader
}

func (s *spoken) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = s.t.silent(s.ctx, s.i, err)
	}
	return n, err
}

// streamed writes what comes of an answer to a whole object, which is read a
// second time where the answer is joined with it.
func (t *Transformer) streamed(ctx context.Context, o Object, w *bufio.Writer, answer io.Reader, media string) error {
	if !t.s.looks() {
		return t.copyAnswer(w, answer, t.single())
	}
	var again records
	if t.s.Join {
		s, c, err := t.input(ctx, o)
		if err != nil {
			return err
		}
		defer c.Close() //nolint:errcheck // read to its end
		again = &secondRead{from: s}
	}
	return t.join(w, again, answer, media, false)
}

// secondRead are an object's records once more.
type secondRead struct{ from splitter }

func (r *secondRead) next() ([]byte, error) {
	for {
		_, data, err := r.from.next()
		if err != nil || !blank(data) {
			return data, err
		}
	}
}
