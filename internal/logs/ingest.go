package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"clary/internal/metrics"
	"clary/internal/metrics/pattern"
)

// Spool opens a task's output at a byte offset and follows it until the task
// has ended and all was read. The bytes are lines of "<unix ms> <text>\n" and
// never change.
type Spool func(ctx context.Context, task string, from int64) (io.ReadCloser, error)

// IngesterConfig is what an Ingester works with.
type IngesterConfig struct {
	Store   Store
	Metrics metrics.Store
	Spool   Spool
	Log     *slog.Logger
	// Ended, if set, is told when a task's output is in to its end, or when a
	// follower gave up: a good moment to ask Done.
	Ended func(task string)
}

// Ingester brings the output of tasks into streams, and the metrics in it into
// the metrics store. It keeps nothing that a restart would miss: the committed
// offsets say where to go on.
type Ingester struct {
	cfg    IngesterConfig
	ctx    context.Context //nolint:containedctx // of the followers, which outlive calls
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex // guards followers and closed
	followers map[string]*follower
	closed    bool
}

// NewIngester makes an Ingester; Close stops its followers.
func NewIngester(cfg IngesterConfig) *Ingester {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Ingester{cfg: cfg, ctx: ctx, cancel: cancel, followers: make(map[string]*follower)}
}

const (
	attempts = 6                     // of a follower in a row without progress
	pause    = 20 * time.Millisecond // after the first failure; doubles
	patience = 250 * time.Millisecond
)

// Side is a stream of its own for lines that begin with Mark, which is left out
// there.
type Side struct {
	Mark   string
	Stream Stream
}

// Ensure follows a task's output into a stream if nobody does yet, but for what
// belongs to sides. Metrics that defs find are put into namespace with these
// dimensions; definitions that are no regular expression or have no group find
// nothing.
func (in *Ingester) Ensure(task string, s Stream, namespace string, dims map[string]string, defs []MetricDefinition, sides ...Side) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return fmt.Errorf("ingester: %w", context.Canceled)
	}
	if f := in.followers[task]; f != nil && !f.over() {
		return nil
	}
	in.prune()
	ctx, cancel := context.WithCancel(in.ctx)
	f := &follower{
		cfg: &in.cfg, task: task, stream: s, namespace: namespace, dims: maps.Clone(dims),
		cancel: cancel, done: make(chan struct{}),
	}
	for _, x := range sides {
		f.sides = append(f.sides, side{Side: x})
	}
	for _, d := range defs {
		if p := pattern.New(d.Regex); p != nil {
			f.matchers = append(f.matchers, matcher{d.Name, p})
		}
	}
	in.followers[task] = f
	in.wg.Go(func() {
		defer cancel()
		f.follow(ctx)
		close(f.done)
		if in.cfg.Ended != nil && ctx.Err() == nil {
			in.cfg.Ended(task)
		}
	})
	return nil
}

// remembered is how many tasks whose output is in are kept in mind. Whoever is
// forgotten is looked up in the stores again.
const remembered = 4096

// prune forgets tasks whose output is in. mu is held.
func (in *Ingester) prune() {
	if len(in.followers) < remembered {
		return
	}
	for task, f := range in.followers {
		if f.over() {
			delete(in.followers, task)
		}
	}
}

// Done says whether the first size bytes of a task's output, and the metrics in
// them, are in. It waits a moment for a follower that is at it.
func (in *Ingester) Done(ctx context.Context, task string, s Stream, size int64) (bool, error) {
	if size <= 0 {
		return true, nil
	}
	in.mu.Lock()
	f := in.followers[task]
	in.mu.Unlock()
	if f != nil {
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case <-f.done:
			if f.end >= size {
				return true, nil
			}
		case <-t.C:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	at, err := in.cfg.Store.Offset(ctx, s, task)
	if err != nil {
		return false, fmt.Errorf("task %s: log offset: %w", task, err)
	}
	if at < size || f == nil || !f.over() {
		return false, nil
	}
	if len(f.matchers) == 0 {
		return true, nil
	}
	at, err = in.cfg.Metrics.Offset(ctx, task)
	if err != nil {
		return false, fmt.Errorf("task %s: metrics offset: %w", task, err)
	}
	return at >= size, nil
}

// Forget stops following a task whose output nobody wants any more.
func (in *Ingester) Forget(task string) {
	in.mu.Lock()
	f := in.followers[task]
	delete(in.followers, task)
	in.mu.Unlock()
	if f != nil {
		f.cancel()
		<-f.done
	}
}

// Close stops all followers and waits for them.
func (in *Ingester) Close() error {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	in.cancel()
	in.wg.Wait()
	return nil
}

// follower brings one task's output in.
type follower struct {
	cfg       *IngesterConfig
	task      string
	stream    Stream
	namespace string
	dims      map[string]string
	matchers  []matcher
	sides     []side
	cancel    context.CancelFunc
	done      chan struct{}
	end       int64 // all before it is in, once done is closed

	logged int64 // committed offset of lines: all before it are in, those of sides too

	mu       sync.Mutex // guards what waits for the metrics store
	pending  []metrics.Datum
	measured int64 // all lines before it were matched; pending holds what they gave
	flushing *time.Timer
}

// side is a Side as far as it is in.
type side struct {
	Side
	logged int64 // committed offset: all of its lines before it are in
}

func (f *follower) over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// follow reads to the end, and starts again from the committed offsets when
// something fails.
func (f *follower) follow(ctx context.Context) {
	defer f.stopTimer()
	for failures := 0; ctx.Err() == nil; {
		was := f.logged
		size, err := f.once(ctx)
		if err == nil {
			f.end = size
			f.mu.Lock() // a flush may still be on its way
			f.matchers = nil
			f.mu.Unlock()
			return
		}
		if ctx.Err() != nil {
			return
		}
		if failures++; f.logged > was {
			failures = 1
		}
		if failures >= attempts {
			f.cfg.Log.Warn("output is not taken in", "task", f.task, "err", err)
			return
		}
		t := time.NewTimer(pause << (failures - 1))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// once follows the output from the committed offsets and returns its size when
// its end was reached and all is in.
func (f *follower) once(ctx context.Context) (int64, error) {
	var err error
	if f.logged, err = f.cfg.Store.Offset(ctx, f.stream, f.task); err != nil {
		return 0, fmt.Errorf("log offset: %w", err)
	}
	for i, x := range f.sides {
		if f.sides[i].logged, err = f.cfg.Store.Offset(ctx, x.Stream, f.task); err != nil {
			return 0, fmt.Errorf("log offset: %w", err)
		}
	}
	from := f.logged
	if len(f.matchers) > 0 {
		at, err := f.cfg.Metrics.Offset(ctx, f.task)
		if err != nil {
			return 0, fmt.Errorf("metrics offset: %w", err)
		}
		f.mu.Lock()
		f.pending, f.measured = nil, at
		f.mu.Unlock()
		from = min(from, at)
	}
	r, err := f.cfg.Spool(ctx, f.task, from)
	if err != nil {
		return 0, fmt.Errorf("spool: %w", err)
	}
	defer r.Close() //nolint:errcheck // a reader
	lines := newLines(r, from)
	for {
		batch, err := lines.next()
		if len(batch) > 0 {
			if err := f.take(ctx, batch); err != nil {
				return 0, err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return lines.at, f.flush(ctx, lines.at, true)
		case err != nil:
			return 0, fmt.Errorf("spool: %w", err)
		}
	}
}

// take commits a batch of lines: to the log at once, to the metrics soon.
func (f *follower) take(ctx context.Context, batch []line) error {
	fresh := batch
	for len(fresh) > 0 && fresh[0].start < f.logged {
		fresh = fresh[1:]
	}
	if len(fresh) > 0 {
		// The sides first: what is before the offset of the stream itself is
		// never read again. A side that was ahead when a server died knows by
		// its own offset what it has, however the lines come together anew.
		rest, err := f.takeSides(ctx, fresh)
		if err != nil {
			return err
		}
		next := fresh[len(fresh)-1].end
		if err := f.cfg.Store.Ingest(ctx, f.stream, f.task, f.logged, next, rest); err != nil {
			return fmt.Errorf("ingest: %w", err)
		}
		f.logged = next
	}
	if len(f.matchers) == 0 {
		return nil
	}
	return f.measure(ctx, batch)
}

// takeSides commits those lines that belong to sides, and gives the others.
func (f *follower) takeSides(ctx context.Context, batch []line) ([]Event, error) {
	rest := make([]Event, 0, len(batch))
	events, ends := make([][]Event, len(f.sides)), make([]int64, len(f.sides))
	for _, l := range batch {
		i := slices.IndexFunc(f.sides, func(x side) bool { return strings.HasPrefix(l.text, x.Mark) })
		switch {
		case i < 0:
			rest = append(rest, Event{Timestamp: l.ms, Message: l.text})
		case l.start >= f.sides[i].logged:
			events[i] = append(events[i], Event{Timestamp: l.ms, Message: l.text[len(f.sides[i].Mark):]})
			ends[i] = l.end
		}
	}
	for i, x := range f.sides {
		if len(events[i]) == 0 {
			continue
		}
		if err := f.cfg.Store.Ingest(ctx, x.Stream, f.task, x.logged, ends[i], events[i]); err != nil {
			return nil, fmt.Errorf("ingest: %w", err)
		}
		f.sides[i].logged = ends[i]
	}
	return rest, nil
}

const (
	flushAfter = 300 * time.Millisecond // how long a metric may wait for others
	flushCount = 1000
)

// measure matches lines. What they give is put together with what comes soon
// after: if it is lost meanwhile, the offset says where to match again.
func (f *follower) measure(ctx context.Context, batch []line) error {
	f.mu.Lock()
	from := f.measured
	f.mu.Unlock()
	var found []metrics.Datum
	for _, l := range batch {
		if l.start < from {
			continue
		}
		for _, m := range f.matchers {
			for _, v := range m.Values(l.text) {
				found = append(found, metrics.Datum{
					Account: f.stream.Account, Region: f.stream.Region, Namespace: f.namespace, Name: m.name,
					Dimensions: f.dims, Time: time.UnixMilli(l.ms), Sum: v, Unit: "None",
				})
			}
		}
	}
	f.mu.Lock()
	f.measured = max(f.measured, batch[len(batch)-1].end)
	f.pending = append(f.pending, found...)
	full := len(f.pending) >= flushCount
	if len(f.pending) > 0 && !full && f.flushing == nil {
		f.flushing = time.AfterFunc(flushAfter, func() {
			// A failure shows again at the next flush, which is not alone.
			if err := f.flush(ctx, 0, false); err != nil && ctx.Err() == nil {
				f.cfg.Log.Warn("metrics wait", "task", f.task, "err", err)
			}
		})
	}
	f.mu.Unlock()
	if full {
		return f.flush(ctx, 0, false)
	}
	return nil
}

// flush puts what was measured. At the end the offset is committed even if
// there is nothing to put.
func (f *follower) flush(ctx context.Context, size int64, end bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flushing != nil {
		f.flushing.Stop()
		f.flushing = nil
	}
	if len(f.matchers) == 0 || (len(f.pending) == 0 && !end) {
		return nil
	}
	if err := f.cfg.Metrics.PutFrom(ctx, f.task, max(f.measured, size), f.pending); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	f.pending = nil
	return nil
}

func (f *follower) stopTimer() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flushing != nil {
		f.flushing.Stop()
		f.flushing = nil
	}
}
