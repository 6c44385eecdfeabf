package logs

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	apilogs "clary/internal/api/logs"
	"clary/internal/aws/apierr"
	"clary/internal/logs"
)

// watched is a session whose events a test takes one by one.
type watched struct {
	t      *testing.T
	events chan *apilogs.StartLiveTailResponseStream
	done   chan error
	leave  context.CancelFunc
}

func (f *fixture) tail(in *apilogs.StartLiveTailRequest) *watched {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	run, err := f.StartLiveTail(ctx, f.c, in)
	f.code(err, "")
	w := &watched{f.t, make(chan *apilogs.StartLiveTailResponseStream), make(chan error, 1), cancel}
	go func() {
		w.done <- run(ctx, func(e *apilogs.StartLiveTailResponseStream) error {
			select {
			case w.events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	f.t.Cleanup(func() {
		cancel()
		if err := <-w.done; err != nil && !errors.Is(err, context.Canceled) {
			if _, ok := errors.AsType[*apierr.Error](err); !ok {
				f.t.Error(err)
			}
		}
	})
	if e := w.take(); e.SessionStart == nil || e.SessionStart.SessionId == "" || !slices.Equal(e.SessionStart.LogGroupIdentifiers, in.LogGroupIdentifiers) {
		f.t.Fatalf("the first event is %+v", e)
	}
	return w
}

func (w *watched) take() *apilogs.StartLiveTailResponseStream {
	w.t.Helper()
	select {
	case e := <-w.events:
		return e
	case <-time.After(2 * time.Minute):
		w.t.Fatal("no event comes")
		return nil
	}
}

// until collects messages until n have come; sampled is what the last update
// with some said.
func (w *watched) until(n int) (messages []string, sampled bool) {
	w.t.Helper()
	for len(messages) < n {
		u := w.take().SessionUpdate
		if u == nil {
			w.t.Fatal("not an update")
		}
		for _, e := range u.SessionResults {
			messages = append(messages, e.Message)
			sampled = *u.SessionMetadata.Sampled
		}
	}
	return messages, sampled
}

func (f *fixture) write(group, stream string, messages ...string) {
	f.t.Helper()
	in := &apilogs.PutLogEventsRequest{LogGroupName: group, LogStreamName: stream}
	for _, m := range messages {
		in.LogEvents = append(in.LogEvents, apilogs.InputLogEvent{Timestamp: time.Now().UnixMilli(), Message: m})
	}
	_, err := f.PutLogEvents(f.t.Context(), f.c, in)
	f.code(err, "")
}

func TestLiveTail(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.group("/a", "one", "two")
	f.group("/b", "one")
	f.write("/a", "one", "before")
	// what was taken in at the very millisecond of the begin may be told
	for begun := time.Now().UnixMilli(); time.Now().UnixMilli() == begun; {
		time.Sleep(time.Millisecond)
	}
	all := f.tail(&apilogs.StartLiveTailRequest{LogGroupIdentifiers: []string{"arn:aws:logs:us-west-2:123456789012:log-group:/a", "/b"}})
	some := f.tail(&apilogs.StartLiveTailRequest{LogGroupIdentifiers: []string{"/a"}, LogEventFilterPattern: `error -"error 3"`})
	two := f.tail(&apilogs.StartLiveTailRequest{LogGroupIdentifiers: []string{"/a"}, LogStreamNames: []string{"two"}})
	prefix := f.tail(&apilogs.StartLiveTailRequest{LogGroupIdentifiers: []string{"/a"}, LogStreamNamePrefixes: []string{"tw", "x"}})
	var want []string
	for i := range 6 {
		f.write("/a", "one", fmt.Sprint("error ", i))
		f.write("/a", "two", fmt.Sprint("fine ", i))
		f.write("/b", "one", fmt.Sprint("b ", i))
		want = append(want, fmt.Sprint("error ", i), fmt.Sprint("fine ", i), fmt.Sprint("b ", i))
	}
	got, sampled := all.until(len(want))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || sampled {
		t.Errorf("all: %q", got)
	}
	if got, _ := some.until(5); !slices.Equal(got, []string{"error 0", "error 1", "error 2", "error 4", "error 5"}) {
		t.Errorf("by a pattern: %q", got)
	}
	for _, w := range []*watched{two, prefix} {
		if got, _ := w.until(6); !slices.Equal(got, []string{"fine 0", "fine 1", "fine 2", "fine 3", "fine 4", "fine 5"}) {
			t.Errorf("one stream: %q", got)
		}
	}
	// a stream that is made anew counts from 0 again
	_, err := f.DeleteLogStream(t.Context(), f.c, &apilogs.DeleteLogStreamRequest{LogGroupName: "/a", LogStreamName: "two"})
	f.code(err, "")
	_, err = f.CreateLogStream(t.Context(), f.c, &apilogs.CreateLogStreamRequest{LogGroupName: "/a", LogStreamName: "two"})
	f.code(err, "")
	f.write("/a", "two", "anew")
	if got, _ := two.until(1); !slices.Equal(got, []string{"anew"}) {
		t.Errorf("a stream made anew: %q", got)
	}
	// nothing happens: updates come all the same, and are empty
	for range 2 {
		if u := some.take().SessionUpdate; u == nil || len(u.SessionResults) != 0 || *u.SessionMetadata.Sampled {
			t.Errorf("%+v", u)
		}
	}
}

func TestLiveTailSamples(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.group("/a", "one")
	w := f.tail(&apilogs.StartLiveTailRequest{LogGroupIdentifiers: []string{"/a"}})
	many := make([]string, 3000)
	for i := range many {
		many[i] = fmt.Sprintf("%04d", i)
	}
	f.write("/a", "one", many...)
	got, sampled := w.until(1)
	if len(got) != tailEvents || !sampled || !slices.IsSorted(got) || got[len(got)-1] != "2999" || got[0] > "0010" {
		t.Errorf("%d events, sampled %t, from %s to %s", len(got), sampled, got[0], got[len(got)-1])
	}
	f.write("/a", "one", "next")
	if got, sampled := w.until(1); !slices.Equal(got, []string{"next"}) || sampled {
		t.Errorf("after a sample: %q, sampled %t", got, sampled)
	}
	big := strings.Repeat("x", 250<<10)
	for range 3 {
		f.write("/a", "one", big, big, big, big)
		f.write("/a", "one", big, big, big, big)
	}
	u := w.take().SessionUpdate
	for u != nil && len(u.SessionResults) == 0 {
		u = w.take().SessionUpdate
	}
	size := 0
	for _, e := range u.SessionResults {
		size += len(e.Message)
	}
	if size > tailBytes {
		t.Errorf("an update of %d bytes", size)
	}
}

func TestLiveTailRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.group("/a", "one")
	f.group("/b", "one")
	for want, list := range map[string][]*apilogs.StartLiveTailRequest{
		"ResourceNotFoundException": {
			{LogGroupIdentifiers: []string{"/nowhere"}}, {LogGroupIdentifiers: []string{"/a", "arn:aws:logs:us-west-2:210987654321:log-group:/a"}},
		},
		"InvalidParameterException": {
			{LogGroupIdentifiers: []string{"arn:aws:logs:us-west-2:123456789012:log-group:/a:*"}},
			{LogGroupIdentifiers: []string{"arn:aws:s3:::a"}},
			{LogGroupIdentifiers: []string{"/a"}, LogStreamNames: []string{"x"}, LogStreamNamePrefixes: []string{"x"}},
			{LogGroupIdentifiers: []string{"/a", "/b"}, LogStreamNames: []string{"x"}},
			{LogGroupIdentifiers: []string{"/a", "/b"}, LogStreamNamePrefixes: []string{"x"}},
			{LogGroupIdentifiers: []string{"/a"}, LogEventFilterPattern: `{ $.x = 1 }`},
			{LogGroupIdentifiers: []string{"/a"}, LogEventFilterPattern: `"`},
		},
	} {
		for _, in := range list {
			_, err := f.StartLiveTail(t.Context(), f.c, in)
			f.code(err, want)
		}
	}
	in := &apilogs.StartLiveTailRequest{LogGroupIdentifiers: []string{"/a"}}
	var open []*watched
	for range tailSessions {
		open = append(open, f.tail(in))
	}
	_, err := f.StartLiveTail(t.Context(), f.c, in)
	f.code(err, "LimitExceededException")
	open[3].leave()
	err = <-open[3].done
	open[3].done <- err
	f.tail(in)
}

// A session ends when it has lasted its time, and says so.
func TestLiveTailEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.group("/a", "one")
	f.tailLife = 30 * time.Millisecond
	w := f.tail(&apilogs.StartLiveTailRequest{LogGroupIdentifiers: []string{"/a"}})
	err := <-w.done
	w.done <- err
	f.code(err, "SessionTimeoutException")
	if !reflect.DeepEqual(f.tails.count, map[[2]string]int{}) {
		t.Errorf("sessions are left: %v", f.tails.count)
	}
}

func TestSample(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 499, 500, 501, 999, 1000, 100_000} {
		list := make([]told, n)
		for i := range list {
			list[i].Event = logs.Event{Seq: int64(i)}
		}
		got, whole := sample(list)
		if len(got) != min(n, tailEvents) || whole != (n <= tailEvents) || n > 0 && got[len(got)-1].Seq != int64(n-1) {
			t.Errorf("%d: %d are kept, whole %t", n, len(got), whole)
		}
	}
}
