package transform

import (
	"bufio"
	"context"
	"errors"
	"io"
)

// batch is one request.
type batch struct {
	payload []byte
	// records are those that the payload came of, where answers are joined with
	// them; a line each.
	records []byte
	own     bool // records are not the payload
	single  bool // they are one record, of several lines maybe
	n       int  // of them; 0: they were taken as a block, and not counted
	lost    bool // the payload is still read by a request that is over

	answer *answer
	err    error
	done   chan struct{} // closed when one of the two is there
}

// buffer lends room for a payload.
func (t *Transformer) buffer() []byte {
	select {
	case b := <-t.free:
		return b[:0]
	default:
		return nil
	}
}

func (t *Transformer) giveBack(b []byte) {
	if cap(b) == 0 {
		return
	}
	select {
	case t.free <- b:
	default:
	}
}

// batcher makes batches of records.
type batcher struct {
	t      *Transformer
	from   splitter
	filter filter
	// next is a record that did not fit in the last batch: what the containers
	// see of it, and the record itself.
	next, record []byte
	waits        bool
	kept         []byte // what next lies in when it was filtered
}

// batch gives the next request. After the last one it says io.EOF.
func (b *batcher) batch() (*batch, error) {
	s := &b.t.s
	keep := s.Join && s.filtersInput()
	out := &batch{payload: b.t.buffer(), own: keep, single: b.t.single(), done: make(chan struct{})}
	if keep {
		out.records = b.t.buffer()
	}
	if from, ok := b.from.(*lines); ok && !s.SingleRecord && !s.processed() {
		var err error
		out.payload, err = from.block(out.payload)
		return out, err
	}
	for {
		if !b.waits {
			err := b.read()
			if errors.Is(err, io.EOF) && out.n > 0 {
				break
			}
			if err != nil {
				return nil, err
			}
		}
		most := s.MaxPayload
		if most == 0 {
			most = mostRecord
		}
		if len(b.next) > most {
			return nil, errTooMuch
		}
		if out.n > 0 && (s.SingleRecord || len(out.payload)+len(b.next) > most || keep && len(out.records)+len(b.record) > most) {
			if b.t.oneBatch() {
				return nil, errTooMuch
			}
			return out, nil
		}
		b.waits = false
		out.payload = append(out.payload, b.next...)
		if keep {
			out.records = append(append(out.records, b.record...), '\n')
		}
		out.n++
		if s.SingleRecord {
			break
		}
	}
	return out, nil
}

// single says that a batch is one record.
func (t *Transformer) single() bool {
	return t.s.SingleRecord || t.oneBatch() && !t.format.byLine
}

// oneBatch says that an object is one request, although it is read by lines.
func (t *Transformer) oneBatch() bool { return t.s.Split == "" || t.s.Split == SplitNone }

// read finds the next record that is not left out.
func (b *batcher) read() error {
	s := &b.t.s
	for {
		raw, data, err := b.from.next()
		if err != nil {
			return err
		}
		if _, ok := b.from.(*lines); ok && (s.processed() || s.SingleRecord) && blank(data) {
			continue // a line that holds nothing is no record
		}
		b.waits, b.record, b.next = true, data, raw
		if s.SingleRecord {
			b.next = data
		}
		if !s.filtersInput() {
			return nil
		}
		b.kept, err = b.filter.add(b.kept[:0], data)
		if err != nil {
			return err
		}
		if !s.SingleRecord && !b.t.format.whole {
			b.kept = append(b.kept, '\n')
		}
		b.next = b.kept
		return nil
	}
}

// batcher reads an object's records.
func (t *Transformer) batcher(ctx context.Context, o Object) (*batcher, io.Closer, error) {
	s, c, err := t.input(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	return &batcher{t: t, from: s, filter: filter{kind: t.format.in, path: t.s.Input, name: "InputFilter"}}, c, nil
}

// batches has an object's requests answered, weight at a time, and writes what
// comes of it in their order. No more of them are held than twice as many.
func (t *Transformer) batches(ctx context.Context, o Object, weight int, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	window := 2 * weight
	if t.s.Join {
		window = weight + 1 // they keep their records
	}
	order, asked, held := make(chan *batch, window), make(chan struct{}, weight), make(chan struct{}, window)
	last := make(chan error, 1)
	go func() {
		defer close(order)
		err := t.ask(ctx, o, order, asked, held)
		if err != nil {
			cancel(err) // nobody waits for those in flight
		}
		last <- err
	}()
	out := bufio.NewWriterSize(w, 64<<10)
	var err error
	for b := range order {
		<-b.done
		if err == nil {
			if err = b.err; err == nil {
				err = t.post(out, b)
			}
			if err != nil {
				cancel(err)
			}
		}
		t.release(b)
		<-held
	}
	if rerr := <-last; rerr != nil && (err == nil || errors.Is(err, rerr)) {
		err = rerr
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

// ask sends an object's requests. It leaves each in order.
func (t *Transformer) ask(ctx context.Context, o Object, order chan<- *batch, asked, held chan struct{}) error {
	from, c, err := t.batcher(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // read to its end
	for {
		select {
		case held <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		b, err := from.batch()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case asked <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		order <- b // there is room for all that are held
		go func() {
			p := &payload{data: b.payload}
			b.answer, b.err = t.invoke(ctx, p)
			if p.reads.Load() > 0 {
				b.lost = true
			} else if !t.s.Join || b.own {
				t.giveBack(b.payload)
				b.payload = nil
			}
			<-asked
			close(b.done)
		}()
	}
}

// release ends a batch.
func (t *Transformer) release(b *batch) {
	if b.answer != nil {
		b.answer.close()
	}
	if !b.lost {
		t.giveBack(b.payload)
	}
	t.giveBack(b.records)
}
