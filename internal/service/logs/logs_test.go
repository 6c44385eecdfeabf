package logs

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apilogs "clary/internal/api/logs"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/logs"
	"clary/internal/logs/segment"
)

type fixture struct {
	*Logs
	t    *testing.T
	c    op.Call
	mu   sync.Mutex // guards read
	read []string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	s, err := segment.Open(segment.Config{Dir: t.TempDir(), SegmentSize: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	f := &fixture{t: t, c: op.Call{Account: "123456789012", Region: "us-west-2"}}
	f.Logs = New(Config{Store: s, OnRead: func(_ op.Call, k logs.Stream) {
		f.mu.Lock()
		f.read = append(f.read, k.Name)
		f.mu.Unlock()
	}})
	return f
}

// group makes a group with streams.
func (f *fixture) group(name string, streams ...string) {
	f.t.Helper()
	_, err := f.CreateLogGroup(f.t.Context(), f.c, &apilogs.CreateLogGroupRequest{LogGroupName: name})
	f.code(err, "")
	for _, s := range streams {
		_, err := f.CreateLogStream(f.t.Context(), f.c, &apilogs.CreateLogStreamRequest{LogGroupName: name, LogStreamName: s})
		f.code(err, "")
	}
}

func (f *fixture) code(err error, want string) {
	f.t.Helper()
	var got string
	if err != nil {
		e, ok := errors.AsType[*apierr.Error](err)
		if !ok {
			f.t.Fatal(err)
		}
		got = e.Code
	}
	if got != want {
		f.t.Fatalf("error %v, want %q", err, want)
	}
}

func (f *fixture) put(group, stream string, events ...apilogs.InputLogEvent) *apilogs.PutLogEventsResponse {
	f.t.Helper()
	out, err := f.PutLogEvents(f.t.Context(), f.c, &apilogs.PutLogEventsRequest{LogGroupName: group, LogStreamName: stream, LogEvents: events})
	f.code(err, "")
	return out
}

func ptr[T any](v T) *T { return &v }

const (
	invalidCode  = "InvalidParameterException"
	notFoundCode = "ResourceNotFoundException"
	existsCode   = "ResourceAlreadyExistsException"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.group("/g", "s")
	ctx := t.Context()
	arnOther := "arn:aws:logs:us-east-1:123456789012:log-group:/g"
	for name, c := range map[string]struct {
		call func() error
		code string
	}{
		"group exists": {func() error {
			_, err := f.CreateLogGroup(ctx, f.c, &apilogs.CreateLogGroupRequest{LogGroupName: "/g"})
			return err
		}, existsCode},
		"tags are refused": {func() error {
			_, err := f.CreateLogGroup(ctx, f.c, &apilogs.CreateLogGroupRequest{LogGroupName: "/h", Tags: map[string]string{"a": "b"}})
			return err
		}, invalidCode},
		"reserved": {func() error {
			_, err := f.CreateLogGroup(ctx, f.c, &apilogs.CreateLogGroupRequest{LogGroupName: "aws/h"})
			return err
		}, invalidCode},
		"stream exists": {func() error {
			_, err := f.CreateLogStream(ctx, f.c, &apilogs.CreateLogStreamRequest{LogGroupName: "/g", LogStreamName: "s"})
			return err
		}, existsCode},
		"no group": {func() error {
			_, err := f.CreateLogStream(ctx, f.c, &apilogs.CreateLogStreamRequest{LogGroupName: "/x", LogStreamName: "s"})
			return err
		}, notFoundCode},
		"delete no stream": {func() error {
			_, err := f.DeleteLogStream(ctx, f.c, &apilogs.DeleteLogStreamRequest{LogGroupName: "/g", LogStreamName: "x"})
			return err
		}, notFoundCode},
		"delete no group": {func() error {
			_, err := f.DeleteLogGroup(ctx, f.c, &apilogs.DeleteLogGroupRequest{LogGroupName: "/x"})
			return err
		}, notFoundCode},
		"two names": {func() error {
			_, err := f.DescribeLogStreams(ctx, f.c, &apilogs.DescribeLogStreamsRequest{LogGroupName: "/g", LogGroupIdentifier: "/g"})
			return err
		}, invalidCode},
		"no name": {func() error {
			_, err := f.DescribeLogStreams(ctx, f.c, &apilogs.DescribeLogStreamsRequest{})
			return err
		}, invalidCode},
		"another region": {func() error {
			_, err := f.DescribeLogStreams(ctx, f.c, &apilogs.DescribeLogStreamsRequest{LogGroupIdentifier: arnOther})
			return err
		}, notFoundCode},
		"by time with prefix": {func() error {
			_, err := f.DescribeLogStreams(ctx, f.c, &apilogs.DescribeLogStreamsRequest{LogGroupName: "/g", OrderBy: "LastEventTime", LogStreamNamePrefix: "s"})
			return err
		}, invalidCode},
		"token of another listing": {func() error {
			_, err := f.DescribeLogStreams(ctx, f.c, &apilogs.DescribeLogStreamsRequest{LogGroupName: "/g", NextToken: seal("t", "1/s")})
			return err
		}, invalidCode},
		"token": {func() error {
			_, err := f.GetLogEvents(ctx, f.c, &apilogs.GetLogEventsRequest{LogGroupName: "/g", LogStreamName: "s", NextToken: "f/1/s"})
			return err
		}, invalidCode},
		"no stream": {func() error {
			_, err := f.GetLogEvents(ctx, f.c, &apilogs.GetLogEventsRequest{LogGroupName: "/g", LogStreamName: "x"})
			return err
		}, notFoundCode},
		"filter no stream": {func() error {
			_, err := f.FilterLogEvents(ctx, f.c, &apilogs.FilterLogEventsRequest{LogGroupName: "/g", LogStreamNames: []string{"x"}})
			return err
		}, notFoundCode},
		"filter token": {func() error {
			_, err := f.FilterLogEvents(ctx, f.c, &apilogs.FilterLogEventsRequest{LogGroupName: "/g", NextToken: "!"})
			return err
		}, invalidCode},
	} {
		t.Run(name, func(t *testing.T) {
			g := &fixture{t: t}
			g.code(c.call(), c.code)
		})
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.group("/g", "s")
	now := time.Now().UnixMilli()
	day := int64(24 * 3600 * 1000)
	refused := func(events ...apilogs.InputLogEvent) {
		t.Helper()
		_, err := f.PutLogEvents(t.Context(), f.c, &apilogs.PutLogEventsRequest{LogGroupName: "/g", LogStreamName: "s", LogEvents: events})
		f.code(err, invalidCode)
	}
	refused(apilogs.InputLogEvent{Timestamp: now, Message: "b"}, apilogs.InputLogEvent{Timestamp: now - 1, Message: "a"})
	refused(apilogs.InputLogEvent{Timestamp: now, Message: strings.Repeat("x", maxUpload-logs.Overhead+1)})
	refused(apilogs.InputLogEvent{Timestamp: now - day - 1, Message: "a"}, apilogs.InputLogEvent{Timestamp: now, Message: "b"})
	half := apilogs.InputLogEvent{Timestamp: now, Message: strings.Repeat("x", maxUpload/2)}
	refused(half, half)
	f.put("/g", "s", apilogs.InputLogEvent{Timestamp: now, Message: strings.Repeat("x", maxUpload-logs.Overhead)})

	out := f.put("/g", "s",
		apilogs.InputLogEvent{Timestamp: now - 14*day - 60_000, Message: "too old"},
		apilogs.InputLogEvent{Timestamp: now - 14*day + 60_000, Message: "old"})
	if r := out.RejectedLogEventsInfo; r == nil || *r.TooOldLogEventEndIndex != 1 || r.TooNewLogEventStartIndex != nil {
		t.Errorf("rejected %+v", r)
	}
	out = f.put("/g", "s",
		apilogs.InputLogEvent{Timestamp: now + day/12 - 60_000, Message: "soon"},
		apilogs.InputLogEvent{Timestamp: now + day/12 + 60_000, Message: "too new"})
	if r := out.RejectedLogEventsInfo; r == nil || *r.TooNewLogEventStartIndex != 1 || r.TooOldLogEventEndIndex != nil {
		t.Errorf("rejected %+v", r)
	}
	got, err := f.GetLogEvents(t.Context(), f.c, &apilogs.GetLogEventsRequest{LogGroupName: "/g", LogStreamName: "s", Limit: ptr(int64(2))})
	f.code(err, "")
	if len(got.Events) != 2 || got.Events[0].Message != "old" || got.Events[1].Message != "soon" {
		t.Errorf("events %+v", got.Events)
	}
}

// TestTokens reads as the SDKs do: forward to the end and on when there is
// more, backward to the beginning; each answer has both tokens.
func TestTokens(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.group("/g", "s")
	now := time.Now().UnixMilli()
	get := func(token string, fromHead bool) *apilogs.GetLogEventsResponse {
		t.Helper()
		out, err := f.GetLogEvents(t.Context(), f.c, &apilogs.GetLogEventsRequest{
			LogGroupIdentifier: "arn:aws:logs:us-west-2:123456789012:log-group:/g:*", LogStreamName: "s",
			NextToken: token, StartFromHead: &fromHead, Limit: ptr(int64(3)),
		})
		f.code(err, "")
		if out.Events == nil || out.NextForwardToken == "" || out.NextBackwardToken == "" {
			t.Fatalf("answer %+v", out)
		}
		return out
	}
	empty := get("", true)
	if again := get(empty.NextForwardToken, true); again.NextForwardToken != empty.NextForwardToken {
		t.Fatal("the end of an empty stream has two tokens")
	}
	for i := range 8 {
		f.put("/g", "s", apilogs.InputLogEvent{Timestamp: now, Message: fmt.Sprint(i)}) // one millisecond
	}
	var forward, backward []string
	token := empty.NextForwardToken
	for {
		out := get(token, true)
		for _, e := range out.Events {
			forward = append(forward, e.Message)
		}
		if out.NextForwardToken == token {
			break
		}
		token = out.NextForwardToken
	}
	f.put("/g", "s", apilogs.InputLogEvent{Timestamp: now, Message: "8"})
	for _, e := range get(token, true).Events {
		forward = append(forward, e.Message)
	}
	for token := ""; ; {
		out := get(token, false)
		for _, e := range slices.Backward(out.Events) {
			backward = append(backward, e.Message)
		}
		if out.NextBackwardToken == token {
			break
		}
		token = out.NextBackwardToken
	}
	slices.Reverse(backward)
	want := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8"}
	if !slices.Equal(forward, want) || !slices.Equal(backward, want) {
		t.Errorf("forward %v, backward %v", forward, backward)
	}
	if len(f.read) == 0 || f.read[0] != "s" {
		t.Errorf("told of %v", f.read)
	}
	// Nothing in the time asked for: the token is at the tail, not the head.
	out, err := f.GetLogEvents(t.Context(), f.c, &apilogs.GetLogEventsRequest{LogGroupName: "/g", LogStreamName: "s", StartTime: ptr(now + 1000)})
	f.code(err, "")
	if out.NextForwardToken != "f/"+fmt.Sprintf("%056d", 9)+"/s" {
		t.Errorf("token %s", out.NextForwardToken)
	}
}

func TestListings(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 120 {
		f.group(fmt.Sprintf("/g/%03d", i))
	}
	var names []string
	for in := (&apilogs.DescribeLogGroupsRequest{LogGroupNamePattern: "G/0"}); ; {
		out, err := f.DescribeLogGroups(t.Context(), f.c, in)
		f.code(err, "")
		if len(out.LogGroups) > 50 {
			t.Fatalf("page of %d", len(out.LogGroups))
		}
		for _, g := range out.LogGroups {
			names = append(names, g.LogGroupName)
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			break
		}
	}
	if len(names) != 100 || !slices.IsSorted(names) {
		t.Errorf("%d groups", len(names))
	}
	now := time.Now().UnixMilli()
	for i := range 7 {
		s := fmt.Sprintf("s%d", i)
		_, err := f.CreateLogStream(t.Context(), f.c, &apilogs.CreateLogStreamRequest{LogGroupName: "/g/000", LogStreamName: s})
		f.code(err, "")
		f.put("/g/000", s, apilogs.InputLogEvent{Timestamp: now - int64(i*3%7), Message: "m"})
	}
	var last []int64
	for in := (&apilogs.DescribeLogStreamsRequest{LogGroupName: "/g/000", OrderBy: "LastEventTime", Descending: ptr(true), Limit: ptr(int64(3))}); ; {
		out, err := f.DescribeLogStreams(t.Context(), f.c, in)
		f.code(err, "")
		for _, s := range out.LogStreams {
			last = append(last, -*s.LastEventTimestamp)
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			break
		}
	}
	if len(last) != 7 || !slices.IsSorted(last) {
		t.Errorf("last events %v", last)
	}
}

// TestFilter compares all pages with a sort of everything, whatever the page
// size and however late events came.
func TestFilter(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.group("/g", "a/1", "a/2", "b")
	r := rand.New(rand.NewPCG(5, 6))
	base := time.Now().UnixMilli() - 60_000
	type event struct {
		at      int64
		stream  string
		seq     int
		message string
	}
	var all []event
	seq := map[string]int{}
	for range 60 {
		s := []string{"a/1", "a/2", "b"}[r.IntN(3)]
		at := base + int64(r.IntN(3000))
		var batch []apilogs.InputLogEvent
		for range 1 + r.IntN(20) {
			at += int64(r.IntN(4))
			m := fmt.Sprintf("n%d %s", len(all), []string{"ERROR", "WARN", "ok"}[r.IntN(3)])
			batch = append(batch, apilogs.InputLogEvent{Timestamp: at, Message: m})
			all = append(all, event{at, s, seq[s], m})
			seq[s]++
		}
		f.put("/g", s, batch...)
	}
	slices.SortFunc(all, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.stream, b.stream), cmp.Compare(a.seq, b.seq))
	})
	start, end := base+500, base+2500
	for _, limit := range []int64{1, 7, 10_000} {
		in := &apilogs.FilterLogEventsRequest{
			LogGroupName: "/g", LogStreamNamePrefix: "a/", FilterPattern: "?ERROR ?WARN", Limit: &limit, StartTime: &start, EndTime: &end,
		}
		var got, want []string
		ids := map[string]bool{}
		for {
			out, err := f.FilterLogEvents(t.Context(), f.c, in)
			f.code(err, "")
			for _, e := range out.Events {
				got = append(got, e.Message)
				if ids[e.EventId] || len(e.EventId) != 56 {
					t.Fatalf("event id %s", e.EventId)
				}
				ids[e.EventId] = true
			}
			if in.NextToken = out.NextToken; in.NextToken == "" {
				break
			}
		}
		for _, e := range all {
			if strings.HasPrefix(e.stream, "a/") && e.at >= start && e.at <= end && !strings.HasSuffix(e.message, "ok") {
				want = append(want, e.message)
			}
		}
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("limit %d: %d events, want %d", limit, len(got), len(want))
		}
	}
}

func TestPattern(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, message string
		match            bool
	}{
		{"", "anything", true},
		{"ERROR", "an ERROR here", true},
		{"ERROR", "an error here", false},
		{"a b", "b then a", true},
		{"a b", "only a", false},
		{`"a b"`, "x a b y", true},
		{`"a b"`, "b a", false},
		{`"say \"hi\""`, `say "hi"`, true},
		{"?a ?b", "b", true},
		{"?a ?b", "c", false},
		{"x ?a", "x", true},
		{"-bad", "good", true},
		{"good -bad", "good and bad", false},
		{`-"two words"`, "two words", false},
		{"%^[0-9]+ms$%", "12ms", true},
		{"%^[0-9]+ms$%", "about 12ms", false},
	} {
		p, err := parsePattern(c.pattern)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		if got := p.match(c.message); got != c.match {
			t.Errorf("%q on %q: %v", c.pattern, c.message, got)
		}
	}
	for _, bad := range []string{`"open`, "%open", "%(%", "a-b", "?", "-", "{ $.a = 1 }", "[a, b]"} {
		if _, err := parsePattern(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add(`a "b c" ?d -e %f%`, "text")
	f.Fuzz(func(_ *testing.T, pattern, message string) {
		if p, err := parsePattern(pattern); err == nil {
			p.match(message)
		}
	})
}

// Whoever looks for a job's streams reads its log, though none is there yet.
func TestLookingForStreamsIsReading(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	look := func(group, prefix, code string) {
		t.Helper()
		_, err := f.DescribeLogStreams(t.Context(), f.c, &apilogs.DescribeLogStreamsRequest{LogGroupName: group, LogStreamNamePrefix: prefix})
		f.code(err, code)
	}
	look("/g", "job/", "ResourceNotFoundException")
	f.group("/g")
	look("/g", "job/", "")
	look("/g", "", "")
	if want := []string{"job/", "job/"}; !slices.Equal(f.read, want) {
		t.Errorf("%q", f.read)
	}
}
