// Package logstest is what every logs.Store must pass.
package logstest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/logs"
)

// Open opens a store in a folder, which keeps what earlier stores left there.
type Open func(t *testing.T, dir string) logs.Store

// Run tests a store.
func Run(t *testing.T, open Open) {
	t.Helper()
	for _, c := range []struct {
		name string
		fn   func(*testing.T, Open)
	}{
		{"Groups", testGroups},
		{"Streams", testStreams},
		{"StreamsByTime", testStreamsByTime},
		{"Append", testAppend},
		{"Ingest", testIngest},
		{"IngestUnits", testIngestUnits},
		{"Random", testRandom},
		{"Follow", testFollow},
		{"FollowGroup", testFollowGroup},
		{"Concurrent", testConcurrent},
		{"Delete", testDelete},
		{"Isolation", testIsolation},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.fn(t, open)
		})
	}
}

const (
	account = "123456789012"
	region  = "us-west-2"
)

// Stream names a stream of the account that the tests use.
func Stream(group, name string) logs.Stream {
	return logs.Stream{Account: account, Region: region, Group: group, Name: name}
}

// Must fails the test on an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}

func wantNames[T any](t *testing.T, got []T, name func(T) string, names ...string) {
	t.Helper()
	var s []string
	for _, g := range got {
		s = append(s, name(g))
	}
	if !slices.Equal(s, names) {
		t.Fatalf("got %q, want %q", s, names)
	}
}

func groupName(g logs.GroupInfo) string   { return g.Name }
func streamName(s logs.StreamInfo) string { return s.Name }
func message(e logs.Event) string         { return e.Message }

func testGroups(t *testing.T, open Open) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	for _, g := range []string{"/b", "/a", "/ab"} {
		Must(t, s.CreateGroup(ctx, account, region, g))
	}
	want(t, s.CreateGroup(ctx, account, region, "/a"), logs.ErrGroupExists)
	check := func(s logs.Store) {
		t.Helper()
		all, err := s.Groups(ctx, account, region, "", "", 10)
		Must(t, err)
		wantNames(t, all, groupName, "/a", "/ab", "/b")
		some, err := s.Groups(ctx, account, region, "/a", "/a", 10)
		Must(t, err)
		wantNames(t, some, groupName, "/ab")
		one, err := s.Groups(ctx, account, region, "", "", 1)
		Must(t, err)
		wantNames(t, one, groupName, "/a")
	}
	check(s)
	Must(t, s.Close())
	s = open(t, dir)
	defer s.Close() //nolint:errcheck // test
	check(s)
	Must(t, s.DeleteGroup(ctx, account, region, "/ab"))
	want(t, s.DeleteGroup(ctx, account, region, "/ab"), logs.ErrNoGroup)
	_, err := s.Group(ctx, account, region, "/ab")
	want(t, err, logs.ErrNoGroup)
	g, err := s.Group(ctx, account, region, "/a")
	Must(t, err)
	if d := time.Since(g.Created); d < -time.Second || d > time.Minute {
		t.Errorf("created %v", g.Created)
	}
}

func testStreams(t *testing.T, open Open) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	want(t, s.CreateStream(ctx, Stream("/g", "x")), logs.ErrNoGroup)
	Must(t, s.CreateGroup(ctx, account, region, "/g"))
	for _, n := range []string{"b/1", "a/2", "a/1", "a-", "c"} {
		Must(t, s.CreateStream(ctx, Stream("/g", n)))
	}
	want(t, s.CreateStream(ctx, Stream("/g", "c")), logs.ErrStreamExists)
	_, err := s.Streams(ctx, account, region, "/none", "", "", false, false, 10)
	want(t, err, logs.ErrNoGroup)
	for range 2 {
		for _, c := range []struct {
			prefix, after string
			descending    bool
			limit         int
			names         []string
		}{
			{"", "", false, 10, []string{"a-", "a/1", "a/2", "b/1", "c"}},
			{"", "", true, 3, []string{"c", "b/1", "a/2"}},
			{"", "a/2", true, 3, []string{"a/1", "a-"}},
			{"a/", "", false, 10, []string{"a/1", "a/2"}},
			{"a/", "a/1", false, 10, []string{"a/2"}},
			{"a/", "", true, 1, []string{"a/2"}},
			{"", "a0", false, 10, []string{"b/1", "c"}}, // a stream that is gone by now
			{"d", "", false, 10, nil},
			{"c", "", false, 0, nil},
		} {
			got, err := s.Streams(ctx, account, region, "/g", c.prefix, c.after, false, c.descending, c.limit)
			Must(t, err)
			wantNames(t, got, streamName, c.names...)
		}
		Must(t, s.Close())
		s = open(t, dir)
	}
	Must(t, s.Close())
}

func testStreamsByTime(t *testing.T, open Open) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	for i, at := range []int64{50, 10, 40, 10, 30} {
		k := Stream("/g", fmt.Sprintf("s%d", i))
		Must(t, s.Ingest(ctx, k, "t", 0, 1, []logs.Event{{Timestamp: at, Message: "m"}}))
	}
	for range 2 {
		list := func(descending bool) (names []string) {
			after := ""
			for {
				page, err := s.Streams(ctx, account, region, "/g", "", after, true, descending, 2)
				Must(t, err)
				if len(page) == 0 {
					return names
				}
				for _, p := range page {
					names = append(names, p.Name)
				}
				after = page[len(page)-1].After()
			}
		}
		if got := list(true); !slices.Equal(got, []string{"s0", "s2", "s4", "s3", "s1"}) {
			t.Errorf("descending: %v", got)
		}
		if got := list(false); !slices.Equal(got, []string{"s1", "s3", "s4", "s2", "s0"}) {
			t.Errorf("ascending: %v", got)
		}
		_, err := s.Streams(ctx, account, region, "/g", "", "bad", true, false, 2)
		want(t, err, logs.ErrToken)
		Must(t, s.Close())
		s = open(t, dir)
	}
	Must(t, s.Close())
}

func testAppend(t *testing.T, open Open) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	k := Stream("/g", "s")
	want(t, s.Append(ctx, k, []logs.Event{{Timestamp: 1, Message: "x"}}), logs.ErrNoGroup)
	Must(t, s.CreateGroup(ctx, account, region, "/g"))
	want(t, s.Append(ctx, k, []logs.Event{{Timestamp: 1, Message: "x"}}), logs.ErrNoStream)
	_, err := s.Events(ctx, k, logs.Read{From: -1})
	want(t, err, logs.ErrNoStream)
	Must(t, s.CreateStream(ctx, k))
	empty, err := s.Events(ctx, k, logs.Read{From: -1, FromHead: true})
	Must(t, err)
	wantNames(t, empty, message)
	info, err := s.Stream(ctx, k)
	Must(t, err)
	if info.Bytes != 0 || info.LastEvent != 0 {
		t.Errorf("empty stream: %+v", info)
	}
	Must(t, s.Append(ctx, k, []logs.Event{{Timestamp: 10, Message: "a"}, {Timestamp: 10, Message: "b"}, {Timestamp: 12, Message: ""}}))
	Must(t, s.Append(ctx, k, []logs.Event{{Timestamp: 5, Message: "late"}, {Timestamp: 10, Message: "c"}}))
	for range 2 {
		for _, c := range []struct {
			r    logs.Read
			want []string
		}{
			{logs.Read{From: -1, FromHead: true}, []string{"a", "b", "", "late", "c"}},
			{logs.Read{From: -1, FromHead: true, Max: 2}, []string{"a", "b"}},
			{logs.Read{From: -1, Max: 2}, []string{"late", "c"}},
			{logs.Read{From: 1, Max: 2}, []string{"b", ""}},
			{logs.Read{From: 3, Backward: true, Max: 2}, []string{"b", ""}},
			{logs.Read{From: 0, Backward: true}, nil},
			{logs.Read{From: 5}, nil},
			{logs.Read{From: 99}, nil},
			{logs.Read{From: 99, Backward: true, Max: 1}, []string{"c"}},
			{logs.Read{From: -1, FromHead: true, Start: 10, End: 12}, []string{"a", "b", "c"}},
			{logs.Read{From: -1, FromHead: true, End: 10}, []string{"late"}},
			{logs.Read{From: -1, Start: 10, Max: 2}, []string{"", "c"}},
			{logs.Read{From: -1, FromHead: true, MaxBytes: 2 * (1 + logs.Overhead)}, []string{"a", "b"}},
			{logs.Read{From: -1, FromHead: true, MaxBytes: 1}, []string{"a"}},
			{logs.Read{From: -1, MaxBytes: 1}, []string{"c"}},
		} {
			got, err := s.Events(ctx, k, c.r)
			Must(t, err)
			var m []string
			for _, e := range got {
				m = append(m, e.Message)
			}
			if !slices.Equal(m, c.want) {
				t.Errorf("%+v: %q, want %q", c.r, m, c.want)
			}
		}
		all, err := s.Events(ctx, k, logs.Read{From: -1, FromHead: true})
		Must(t, err)
		for i, e := range all {
			if e.Seq != int64(i) || e.Ingestion < time.Now().Add(-time.Minute).UnixMilli() {
				t.Errorf("event %d: %+v", i, e)
			}
		}
		info, err := s.Stream(ctx, k)
		Must(t, err)
		if info.FirstEvent != 5 || info.LastEvent != 12 || info.Bytes != 7+5*logs.Overhead || info.LastIngestion == 0 {
			t.Errorf("info %+v", info)
		}
		Must(t, s.Close())
		s = open(t, dir)
	}
	Must(t, s.Close())
}

func testIngest(t *testing.T, open Open) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	k := Stream("/g", "job/algo-1")
	at, err := s.Offset(ctx, k, "t")
	Must(t, err)
	if at != 0 {
		t.Fatalf("offset %d before anything", at)
	}
	ev := func(m ...string) (out []logs.Event) {
		for i, m := range m {
			out = append(out, logs.Event{Timestamp: int64(i + 1), Message: m})
		}
		return out
	}
	Must(t, s.Ingest(ctx, k, "t", 0, 30, ev("a", "b")))
	Must(t, s.Ingest(ctx, k, "t", 0, 30, ev("a", "b")))
	Must(t, s.Ingest(ctx, k, "t", 0, 15, ev("a")))
	want(t, s.Ingest(ctx, k, "t", 15, 45, ev("b", "c")), logs.ErrOffset)
	want(t, s.Ingest(ctx, k, "t", 45, 60, ev("d")), logs.ErrOffset)
	want(t, s.Ingest(ctx, k, "t", 30, 20, ev("d")), logs.ErrOffset)
	Must(t, s.Ingest(ctx, k, "other", 0, 15, ev("x")))
	Must(t, s.Ingest(ctx, k, "t", 30, 45, ev("c")))
	Must(t, s.Ingest(ctx, k, "t", 45, 50, nil))
	for range 2 {
		got, err := s.Events(ctx, k, logs.Read{From: -1, FromHead: true})
		Must(t, err)
		wantNames(t, got, message, "a", "b", "x", "c")
		for task, n := range map[string]int64{"t": 50, "other": 15, "none": 0} {
			at, err := s.Offset(ctx, k, task)
			Must(t, err)
			if at != n {
				t.Errorf("offset of %s is %d, want %d", task, at, n)
			}
		}
		Must(t, s.Ingest(ctx, k, "t", 0, 30, ev("a", "b")))
		Must(t, s.Close())
		s = open(t, dir)
	}
	Must(t, s.Close())
}

func testIngestUnits(t *testing.T, open Open) {
	ctx := t.Context()
	s := open(t, t.TempDir())
	defer s.Close() //nolint:errcheck // test
	k := Stream("/g", "s")
	e := []logs.Event{{Timestamp: 1, Message: "0"}, {Timestamp: 2, Message: "1"}, {Timestamp: 3, Message: "2"}}
	Must(t, s.Ingest(ctx, k, "notes", 0, 1, e[:1]))
	Must(t, s.Ingest(ctx, k, "notes", 0, 3, e))
	got, err := s.Events(ctx, k, logs.Read{From: -1, FromHead: true})
	Must(t, err)
	wantNames(t, got, message, "0", "1", "2")
}

// testRandom compares with a slice over many appends, reads and reopenings.
func testRandom(t *testing.T, open Open) {
	ctx, dir := t.Context(), t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	s := open(t, dir)
	k := Stream("/g", "s")
	var all []logs.Event
	var at int64
	for round := range 300 {
		var batch []logs.Event
		for range r.IntN(40) {
			batch = append(batch, logs.Event{
				Timestamp: int64(1_000_000 + round*10 + r.IntN(30)),
				Message:   strings.Repeat("x", r.IntN(400)) + fmt.Sprint(len(all)+len(batch)),
			})
		}
		next := at + int64(1000*(len(batch)+1))
		Must(t, s.Ingest(ctx, k, "t", at, next, batch))
		at = next
		all = append(all, batch...)
		if r.IntN(60) == 0 {
			Must(t, s.Close())
			s = open(t, dir)
		}
		q := logs.Read{From: int64(r.IntN(len(all)+5)) - 1, Backward: r.IntN(2) == 0, FromHead: r.IntN(2) == 0, Max: r.IntN(100)}
		if r.IntN(3) == 0 {
			q.Start = int64(1_000_000 + r.IntN(round*10+30))
		}
		if r.IntN(3) == 0 {
			q.End = int64(1_000_000 + r.IntN(round*10+30))
		}
		if r.IntN(4) == 0 {
			q.MaxBytes = 1 + r.IntN(20_000)
		}
		got, err := s.Events(ctx, k, q)
		Must(t, err)
		exp := model(all, q)
		if !slices.EqualFunc(got, exp, func(a, b logs.Event) bool {
			return a.Seq == b.Seq && a.Timestamp == b.Timestamp && a.Message == b.Message
		}) {
			t.Fatalf("round %d, %+v: %d events, want %d", round, q, len(got), len(exp))
		}
	}
	Must(t, s.Close())
}

// model is Events over a slice.
func model(all []logs.Event, q logs.Read) (out []logs.Event) {
	if q.Max == 0 {
		q.Max = 10_000
	}
	if q.MaxBytes == 0 {
		q.MaxBytes = 1 << 20
	}
	if q.From < 0 {
		q.From, q.Backward = int64(len(all)), true
		if q.FromHead {
			q.From, q.Backward = 0, false
		}
	}
	var cand []logs.Event
	for i, e := range all {
		e.Seq = int64(i)
		if (e.Seq < q.From) == q.Backward && (q.Start == 0 || e.Timestamp >= q.Start) && (q.End == 0 || e.Timestamp < q.End) {
			cand = append(cand, e)
		}
	}
	if q.Backward {
		slices.Reverse(cand)
	}
	size := 0
	for _, e := range cand {
		if len(out) > 0 && (len(out) == q.Max || size+e.Size() > q.MaxBytes) {
			break
		}
		size += e.Size()
		out = append(out, e)
	}
	if q.Backward {
		slices.Reverse(out)
	}
	return out
}

func testFollow(t *testing.T, open Open) {
	s := open(t, t.TempDir())
	defer s.Close() //nolint:errcheck // test
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	k := Stream("/g", "s")
	ch := s.Follow(ctx, k)
	Must(t, s.Ingest(ctx, Stream("/g", "other"), "t", 0, 1, []logs.Event{{Timestamp: 1, Message: "m"}}))
	select {
	case <-ch:
		t.Fatal("signalled for another stream")
	default:
	}
	for i := range int64(3) {
		Must(t, s.Ingest(ctx, k, "t", i, i+1, []logs.Event{{Timestamp: 1, Message: "m"}}))
		select {
		case <-ch:
		case <-time.After(10 * time.Second):
			t.Fatal("not signalled")
		}
	}
}

func testFollowGroup(t *testing.T, open Open) {
	s := open(t, t.TempDir())
	defer s.Close() //nolint:errcheck // test
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	one := []logs.Event{{Timestamp: 1, Message: "m"}}
	g := logs.NewGrowth()
	a, b := Stream("/g", "a"), Stream("/g", "b")
	s.FollowGroup(ctx, a.Account, a.Region, a.Group, g)
	Must(t, s.Ingest(ctx, Stream("/another", "a"), "t", 0, 1, one))
	if got := g.Take(); len(got) != 0 {
		t.Errorf("another group's streams are told: %v", got)
	}
	Must(t, s.Ingest(ctx, a, "t", 0, 1, one))
	Must(t, s.Ingest(ctx, b, "t", 0, 1, one))
	Must(t, s.Append(ctx, a, one))
	select {
	case <-g.C:
	case <-time.After(10 * time.Second):
		t.Fatal("not signalled")
	}
	got := g.Take()
	slices.SortFunc(got, func(x, y logs.Stream) int { return strings.Compare(x.Name, y.Name) })
	if !slices.Equal(got, []logs.Stream{a, b}) || len(g.Take()) != 0 {
		t.Errorf("%v grew", got)
	}
	Must(t, s.Append(ctx, b, one))
	select {
	case <-g.C:
	case <-time.After(10 * time.Second):
		t.Fatal("not signalled again")
	}
	if got := g.Take(); !slices.Equal(got, []logs.Stream{b}) {
		t.Errorf("%v grew again", got)
	}
}

func testConcurrent(t *testing.T, open Open) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	const writers, lines = 8, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			k := Stream("/g", fmt.Sprintf("s%d", w/2)) // two tasks a stream
			for i := range int64(lines) {
				if err := s.Ingest(ctx, k, fmt.Sprint("t", w), i*20, (i+1)*20, []logs.Event{{Timestamp: i + 1, Message: fmt.Sprintf("%d-%d", w, i)}}); err != nil {
					t.Error(err)
					return
				}
				if i%10 == 0 {
					if _, err := s.Events(ctx, k, logs.Read{From: -1, Max: 5}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	Must(t, s.Close())
	s = open(t, dir)
	defer s.Close() //nolint:errcheck // test
	for w := range writers / 2 {
		got, err := s.Events(ctx, Stream("/g", fmt.Sprintf("s%d", w)), logs.Read{From: -1, FromHead: true})
		Must(t, err)
		at := map[string]int{}
		for _, e := range got {
			task, n, _ := strings.Cut(e.Message, "-")
			if n != fmt.Sprint(at[task]) {
				t.Fatalf("stream %d: %q after %d of its task", w, e.Message, at[task])
			}
			at[task]++
		}
		if len(got) != 2*lines {
			t.Fatalf("stream %d: %d lines", w, len(got))
		}
	}
}

func testDelete(t *testing.T, open Open) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	k := Stream("/g", "s")
	one := []logs.Event{{Timestamp: 1, Message: "old"}}
	Must(t, s.Ingest(ctx, k, "t", 0, 20, one))
	Must(t, s.Ingest(ctx, Stream("/g", "kept"), "t", 0, 20, one))
	before, err := s.Group(ctx, account, region, "/g")
	Must(t, err)
	Must(t, s.DeleteStream(ctx, k))
	want(t, s.DeleteStream(ctx, k), logs.ErrNoStream)
	after, err := s.Group(ctx, account, region, "/g")
	Must(t, err)
	if after.Bytes*2 != before.Bytes {
		t.Errorf("group bytes %d after %d", after.Bytes, before.Bytes)
	}
	// A task that goes on writing begins the stream anew.
	Must(t, s.Ingest(ctx, k, "t", 20, 40, []logs.Event{{Timestamp: 2, Message: "new"}}))
	for range 2 {
		got, err := s.Events(ctx, k, logs.Read{From: -1, FromHead: true})
		Must(t, err)
		wantNames(t, got, message, "new")
		if got[0].Seq != 0 {
			t.Errorf("seq %d", got[0].Seq)
		}
		Must(t, s.Close())
		s = open(t, dir)
	}
	Must(t, s.DeleteGroup(ctx, account, region, "/g"))
	_, err = s.Events(ctx, k, logs.Read{From: -1})
	want(t, err, logs.ErrNoGroup)
	Must(t, s.CreateGroup(ctx, account, region, "/g"))
	for range 2 {
		list, err := s.Streams(ctx, account, region, "/g", "", "", false, false, 10)
		Must(t, err)
		wantNames(t, list, streamName)
		Must(t, s.Close())
		s = open(t, dir)
	}
	Must(t, s.Close())
}

func testIsolation(t *testing.T, open Open) {
	ctx := t.Context()
	s := open(t, t.TempDir())
	defer s.Close() //nolint:errcheck // test
	for _, k := range []logs.Stream{
		{Account: "1", Region: "r", Group: "g", Name: "s"},
		{Account: "2", Region: "r", Group: "g", Name: "s"},
		{Account: "1", Region: "q", Group: "g", Name: "s"},
		{Account: "1", Region: "r", Group: "h", Name: "s"},
	} {
		Must(t, s.Ingest(ctx, k, "t", 0, 20, []logs.Event{{Timestamp: 1, Message: fmt.Sprint(k)}}))
		got, err := s.Events(ctx, k, logs.Read{From: -1})
		Must(t, err)
		wantNames(t, got, message, fmt.Sprint(k))
	}
	groups, err := s.Groups(ctx, "1", "r", "", "", 10)
	Must(t, err)
	wantNames(t, groups, groupName, "g", "h")
}
