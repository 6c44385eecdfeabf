package logs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"clary/internal/logs"
	"clary/internal/logs/segment"
	"clary/internal/metrics"
	"clary/internal/store/sqlite"
)

// The clock of the matcher that backtracks stops by itself a second later.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2.runClock"))
}

// spool is a task's output in memory.
type spool struct {
	mu    sync.Mutex // guards b and ended
	grown *sync.Cond
	b     []byte
	ended bool
}

func newSpool() *spool {
	s := &spool{}
	s.grown = sync.NewCond(&s.mu)
	return s
}

func (s *spool) write(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b = append(s.b, text...)
	s.grown.Broadcast()
}

func (s *spool) end() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.grown.Broadcast()
	return int64(len(s.b))
}

// open reads at most limit bytes at a time.
func (s *spool) open(ctx context.Context, from int64, limit int) io.ReadCloser {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.grown.Broadcast()
	})
	return &reader{s: s, ctx: ctx, at: from, limit: limit, stop: stop}
}

type reader struct {
	s     *spool
	ctx   context.Context
	at    int64
	limit int
	stop  func() bool
}

func (r *reader) Read(p []byte) (int, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		if r.at < int64(len(r.s.b)) {
			n := copy(p[:min(len(p), r.limit)], r.s.b[r.at:])
			r.at += int64(n)
			return n, nil
		}
		if r.s.ended {
			return 0, io.EOF
		}
		r.s.grown.Wait()
	}
}

func (r *reader) Close() error { r.stop(); return nil }

type rooms struct {
	logs    *segment.Store
	metrics metrics.Store
}

func newRooms(t *testing.T) rooms {
	t.Helper()
	dir := t.TempDir()
	l, err := segment.Open(segment.Config{Dir: filepath.Join(dir, "logs"), SegmentSize: 20 << 10})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(l.Close(), db.Close()) })
	return rooms{l, metrics.New(db.Metrics())}
}

const namespace = "/aws/sagemaker/TrainingJobs"

var stream = logs.Stream{Account: "123456789012", Region: "us-west-2", Group: namespace, Name: "job/algo-1-1"} //nolint:gochecknoglobals // a constant

func dims() map[string]string { return map[string]string{"TrainingJobName": "job"} }

func (r rooms) lines(t *testing.T) []string { t.Helper(); return r.linesOf(t, stream) }

func (r rooms) linesOf(t *testing.T, s logs.Stream) (out []string) {
	t.Helper()
	for from := int64(0); ; {
		ev, err := r.logs.Events(t.Context(), s, logs.Read{From: from})
		if errors.Is(err, logs.ErrNoStream) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(ev) == 0 {
			return out
		}
		for _, e := range ev {
			out = append(out, fmt.Sprintf("%d %s", e.Timestamp, e.Message))
		}
		from = ev[len(ev)-1].Seq + 1
	}
}

func (r rooms) sum(t *testing.T, name string) (sum, count float64) {
	t.Helper()
	points, err := r.metrics.Points(t.Context(), metrics.Query{
		Account: stream.Account, Region: stream.Region, Namespace: namespace, Name: name, Dimensions: dims(),
		Start: time.UnixMilli(0), End: time.UnixMilli(1 << 40), Period: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range points {
		sum += p.Sum
		count += p.Count
	}
	return sum, count
}

// eventually waits for the end of a task's output to be in.
func eventually(t *testing.T, in *logs.Ingester, size int64, again func()) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for time.Now().Before(deadline) {
		again()
		done, err := in.Done(t.Context(), "t", stream, size)
		if err == nil && done {
			return
		}
	}
	t.Fatal("output is not in")
}

var defs = []logs.MetricDefinition{ //nolint:gochecknoglobals // a constant
	{Name: "loss", Regex: `loss=([0-9.eE+-]+)`},
	{Name: "python", Regex: `(?<!train )acc: (\d+\.\d+)(?=;)`}, // RE2 refuses it
	{Name: "broken", Regex: `([`},
	{Name: "groupless", Regex: `loss`},
}

func TestLine(t *testing.T) {
	t.Parallel()
	r, sp := newRooms(t), newSpool()
	ended := make(chan string, 1)
	in := logs.NewIngester(logs.IngesterConfig{
		Store: r.logs, Metrics: r.metrics,
		Spool: func(ctx context.Context, _ string, from int64) (io.ReadCloser, error) {
			return sp.open(ctx, from, 1<<20), nil
		},
		Ended: func(task string) { ended <- task },
	})
	defer in.Close() //nolint:errcheck // test
	follow := r.logs.Follow(t.Context(), stream)
	for range 3 {
		if err := in.Ensure("t", stream, namespace, dims(), defs); err != nil {
			t.Fatal(err)
		}
	}
	for i, text := range []string{"1000 loss=0.5 loss=nan loss=0.25", "1001 ", "1001 acc: 0.75; train acc: 0.5;", "1002 no newline"} {
		if i < 3 {
			text += "\n"
		}
		sp.write(text)
		if i < 3 {
			select {
			case <-follow:
			case <-time.After(2 * time.Minute):
				t.Fatal("the line is not in")
			}
			if got := r.lines(t); len(got) != i+1 || got[i]+"\n" != text {
				t.Fatalf("lines %q after %q", got, text)
			}
		}
	}
	if done, err := in.Done(t.Context(), "t", stream, 1000); done || err != nil {
		t.Fatalf("done %v, %v before the end", done, err)
	}
	size := sp.end()
	if got := <-ended; got != "t" {
		t.Fatalf("ended %q", got)
	}
	if done, err := in.Done(t.Context(), "t", stream, size); !done || err != nil {
		t.Fatalf("done %v, %v at the end", done, err)
	}
	if got := r.lines(t); len(got) != 4 || got[3] != "1002 no newline" {
		t.Errorf("lines %q", got)
	}
	if sum, n := r.sum(t, "loss"); sum != 0.75 || n != 2 {
		t.Errorf("loss %v of %v", sum, n)
	}
	if sum, n := r.sum(t, "python"); sum != 0.75 || n != 1 {
		t.Errorf("acc %v of %v", sum, n)
	}
	if _, n := r.sum(t, "groupless"); n != 0 {
		t.Errorf("%v values without a group", n)
	}
	if done, err := in.Done(t.Context(), "unheard of", stream, 0); !done || err != nil {
		t.Errorf("no output: %v, %v", done, err)
	}
}

// flaky fails before or after what it does, as a crash would look like.
type flaky struct {
	mu sync.Mutex // guards r
	r  *rand.Rand
}

var errFlaky = errors.New("flaky")

func (f *flaky) fails(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.r.IntN(n) == 0
}

func (f *flaky) do(fn func() error) error {
	if f.fails(6) {
		return errFlaky
	}
	if err := fn(); err != nil {
		return err
	}
	if f.fails(6) {
		return errFlaky
	}
	return nil
}

type flakyLogs struct {
	logs.Store
	f *flaky
}

func (s flakyLogs) Ingest(ctx context.Context, k logs.Stream, task string, from, next int64, e []logs.Event) error {
	return s.f.do(func() error { return s.Store.Ingest(ctx, k, task, from, next, e) })
}

type flakyMetrics struct {
	metrics.Store
	f *flaky
}

func (s flakyMetrics) PutFrom(ctx context.Context, task string, next int64, d []metrics.Datum) error {
	return s.f.do(func() error { return s.Store.PutFrom(ctx, task, next, d) })
}

// TestOnce writes while everything fails and restarts now and then: each line
// and each value is in once.
func TestOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			once(t, seed)
		})
	}
}

// aside is a stream of its own for lines that begin with a mark.
func aside(name string) logs.Side {
	s := stream
	s.Name = "job/" + name
	return logs.Side{Mark: "\x1f" + name + "\x1f", Stream: s}
}

func once(t *testing.T, seed uint64) {
	t.Helper()
	r, sp := newRooms(t), newSpool()
	rnd := rand.New(rand.NewPCG(seed, 0))
	f := &flaky{r: rand.New(rand.NewPCG(seed, 1))}
	start := func() *logs.Ingester {
		return logs.NewIngester(logs.IngesterConfig{
			Store: flakyLogs{r.logs, f}, Metrics: flakyMetrics{r.metrics, f}, Log: slog.New(slog.DiscardHandler),
			Spool: func(ctx context.Context, _ string, from int64) (io.ReadCloser, error) {
				if f.fails(8) {
					return nil, errFlaky
				}
				return sp.open(ctx, from, 1+int(from%700)), nil
			},
		})
	}
	in := start()
	defer func() { _ = in.Close() }()
	var want []string
	sides := []logs.Side{aside("one"), aside("two"), aside("never")}
	apart := map[string][]string{}
	var sum float64
	n := 0
	for i := range 150 {
		text := fmt.Sprintf("%d line %d%s", 1000+i, i, strings.Repeat("é", rnd.IntN(80)))
		if rnd.IntN(3) == 0 {
			v := rnd.IntN(50)
			text += fmt.Sprintf(" loss=%d", v)
			sum += float64(v)
			n++
		}
		switch rnd.IntN(5) {
		case 0:
			name := []string{"one", "two"}[rnd.IntN(2)]
			apart[name] = append(apart[name], text)
			text = fmt.Sprintf("%d %s%s", 1000+i, aside(name).Mark, text[len("1000 "):])
		case 1:
			text = fmt.Sprintf("%d \x1fother\x1f%s", 1000+i, text[len("1000 "):])
			fallthrough
		default:
			want = append(want, text)
		}
		sp.write(text + "\n")
		if rnd.IntN(4) == 0 {
			if err := in.Ensure("t", stream, namespace, dims(), defs, sides...); err != nil {
				t.Fatal(err)
			}
		}
		if rnd.IntN(40) == 0 {
			if err := in.Close(); err != nil {
				t.Fatal(err)
			}
			in = start()
		}
	}
	size := sp.end()
	eventually(t, in, size, func() {
		if err := in.Ensure("t", stream, namespace, dims(), defs, sides...); err != nil {
			t.Fatal(err)
		}
	})
	if got := r.lines(t); !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d", len(got), len(want))
	}
	for _, s := range sides {
		name := strings.TrimPrefix(s.Stream.Name, "job/")
		if got := r.linesOf(t, s.Stream); !slices.Equal(got, apart[name]) {
			t.Errorf("%s has %d lines, want %d", name, len(got), len(apart[name]))
		}
	}
	if _, err := r.logs.Stream(t.Context(), sides[2].Stream); !errors.Is(err, logs.ErrNoStream) {
		t.Errorf("a stream without a line: %v", err)
	}
	if s, c := r.sum(t, "loss"); s != sum || c != float64(n) {
		t.Errorf("sum %v of %v, want %v of %d", s, c, sum, n)
	}
}

// TestDeletedStream deletes the stream under a running task: the job must be
// able to end all the same.
func TestDeletedStream(t *testing.T) {
	t.Parallel()
	r, sp := newRooms(t), newSpool()
	in := logs.NewIngester(logs.IngesterConfig{
		Store: r.logs, Metrics: r.metrics,
		Spool: func(ctx context.Context, _ string, from int64) (io.ReadCloser, error) {
			return sp.open(ctx, from, 1<<20), nil
		},
	})
	defer in.Close() //nolint:errcheck // test
	follow := r.logs.Follow(t.Context(), stream)
	sp.write("1 a\n")
	if err := in.Ensure("t", stream, namespace, nil, nil); err != nil {
		t.Fatal(err)
	}
	<-follow
	if err := r.logs.DeleteStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	sp.write("2 b\n")
	size := sp.end()
	eventually(t, in, size, func() {})
	if got := r.lines(t); !slices.Equal(got, []string{"2 b"}) {
		t.Errorf("lines %q", got)
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	r, sp := newRooms(t), newSpool()
	in := logs.NewIngester(logs.IngesterConfig{
		Store: r.logs, Metrics: r.metrics,
		Spool: func(ctx context.Context, _ string, from int64) (io.ReadCloser, error) {
			return sp.open(ctx, from, 1<<20), nil
		},
	})
	if err := in.Ensure("t", stream, namespace, nil, nil); err != nil {
		t.Fatal(err)
	}
	in.Forget("t")
	in.Forget("t")
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := in.Ensure("t", stream, namespace, nil, nil); err == nil {
		t.Error("a closed ingester follows")
	}
}
