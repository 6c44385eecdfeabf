package logs

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apilogs "clary/internal/api/logs"
	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/logs"
)

// Limits of live tails, as CloudWatch Logs has them.
const (
	tailSessions = 15            // of an account in a region
	tailLife     = 3 * time.Hour // of a session
	tailBeat     = time.Second   // between updates, empty ones too
	tailEvents   = 500           // of an update; of more, a sample is given
	tailBytes    = 4 << 20       // of an update, in the same way
)

// sessions counts live tails by account and region.
type sessions struct {
	mu    sync.Mutex // guards count
	count map[[2]string]int
}

func (s *sessions) begin(account, region string) (end func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := [2]string{account, region}
	if s.count[k] >= tailSessions {
		return nil, false
	}
	if s.count == nil {
		s.count = make(map[[2]string]int)
	}
	s.count[k]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.count[k]--; s.count[k] == 0 {
			delete(s.count, k)
		}
	}), true
}

type sendTail = func(*apilogs.StartLiveTailResponseStream) error

// StartLiveTail sends what is written to groups from now on, until the client
// leaves or the session has lasted its time.
func (l *Logs) StartLiveTail(ctx context.Context, c op.Call, in *apilogs.StartLiveTailRequest) (func(context.Context, sendTail) error, error) {
	t := &tail{logs: l, call: c, in: in, next: make(map[logs.Stream]int64)}
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	end, ok := l.tails.begin(c.Account, c.Region)
	if !ok {
		return nil, apierr.New(400, "LimitExceededException", "The account has %d live tail sessions in the region, the most that there may be.", tailSessions)
	}
	context.AfterFunc(ctx, end) // whoever asked may leave without a look
	return func(ctx context.Context, send sendTail) error {
		defer end()
		waits, cancel := op.Waiting(ctx)
		defer cancel()
		err := t.run(waits, send)
		if waits.Err() != nil && ctx.Err() == nil {
			return apierr.New(400, "SessionStreamingException", "The server makes way for another one, or ends. Start the session again.")
		}
		return err
	}, nil
}

// tail is one session.
type tail struct {
	logs    *Logs
	call    op.Call
	in      *apilogs.StartLiveTailRequest
	groups  []string
	pattern *pattern

	growth *logs.Growth
	start  int64                 // unix ms: what was taken in before is not told
	next   map[logs.Stream]int64 // the first event not yet looked at
}

func (t *tail) check(ctx context.Context) error {
	for _, id := range t.in.LogGroupIdentifiers {
		if a, ok := arn.Parse(id); ok && strings.HasSuffix(a.Resource, "*") {
			return invalid("The specified logGroupIdentifier is not valid.")
		}
		name, err := group(t.call, "", id)
		if err != nil {
			return err
		}
		if _, err := t.logs.cfg.Store.Group(ctx, t.call.Account, t.call.Region, name); err != nil {
			return failed(err)
		}
		if !slices.Contains(t.groups, name) {
			t.groups = append(t.groups, name)
		}
	}
	names, prefixes := len(t.in.LogStreamNames), len(t.in.LogStreamNamePrefixes)
	switch {
	case names > 0 && prefixes > 0:
		return invalid("Parameters logStreamNames and logStreamNamePrefixes are mutually exclusive.")
	case names+prefixes > 0 && len(t.groups) > 1:
		return invalid("Parameters logStreamNames and logStreamNamePrefixes can be specified only with a single log group.")
	}
	var err error
	t.pattern, err = parsePattern(t.in.LogEventFilterPattern)
	return err
}

func (t *tail) run(ctx context.Context, send sendTail) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.growth, t.start = logs.NewGrowth(), time.Now().UnixMilli()
	for _, g := range t.groups {
		t.logs.cfg.Store.FollowGroup(ctx, t.call.Account, t.call.Region, g, t.growth)
	}
	err := send(&apilogs.StartLiveTailResponseStream{SessionStart: &apilogs.LiveTailSessionStart{
		RequestId: t.call.RequestID, SessionId: newSessionID(), LogGroupIdentifiers: t.in.LogGroupIdentifiers,
		LogStreamNames: t.in.LogStreamNames, LogStreamNamePrefixes: t.in.LogStreamNamePrefixes, LogEventFilterPattern: t.in.LogEventFilterPattern,
	}})
	if err != nil {
		return err
	}
	life, beat := time.NewTimer(t.logs.tailLife), time.NewTimer(tailBeat)
	defer life.Stop()
	defer beat.Stop()
	grown := t.growth.C
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-life.C:
			return apierr.New(400, "SessionTimeoutException", "The live tail session has reached its limit of %s.", hours(t.logs.tailLife))
		case <-beat.C:
		case <-grown:
		}
		u, err := t.update(ctx)
		if err != nil {
			return failed(err)
		}
		if err := send(&apilogs.StartLiveTailResponseStream{SessionUpdate: u}); err != nil {
			return err
		}
		beat.Reset(tailBeat)
		// what follows an update waits for the beat; after silence nothing waits
		if grown = t.growth.C; len(u.SessionResults) > 0 {
			grown = nil
		}
	}
}

func hours(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return d.String()
}

// told is an event of some group's stream.
type told struct {
	logs.Event
	logs.Stream
}

// update collects what was written since the last one.
func (t *tail) update(ctx context.Context) (*apilogs.LiveTailSessionUpdate, error) {
	sampled := false
	var list []told
	for _, s := range t.growth.Take() {
		if !t.wants(s.Name) {
			continue
		}
		events, whole, err := t.read(ctx, s)
		if errors.Is(err, logs.ErrNoStream) || errors.Is(err, logs.ErrNoGroup) {
			delete(t.next, s) // deleted meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		sampled = sampled || !whole
		for _, e := range events {
			if t.pattern.match(e.Message) {
				list = append(list, told{e, s})
			}
		}
		if len(events) > 0 {
			t.logs.cfg.OnRead(t.call, s)
		}
	}
	// a stream's own order is that of its events' arrival
	slices.SortStableFunc(list, func(a, b told) int { return cmp.Compare(a.Ingestion, b.Ingestion) })
	list, whole := sample(list)
	sampled = sampled || !whole
	u := &apilogs.LiveTailSessionUpdate{
		SessionMetadata: &apilogs.LiveTailSessionMetadata{Sampled: &sampled}, SessionResults: make([]apilogs.LiveTailSessionLogEvent, len(list)),
	}
	for i := range list {
		e := &list[i]
		u.SessionResults[i] = apilogs.LiveTailSessionLogEvent{
			LogStreamName: e.Name, LogGroupIdentifier: e.Account + ":" + e.Group, Message: e.Message,
			Timestamp: &e.Timestamp, IngestionTime: &e.Ingestion,
		}
	}
	return u, nil
}

func (t *tail) wants(stream string) bool {
	switch {
	case len(t.in.LogStreamNames) > 0:
		return slices.Contains(t.in.LogStreamNames, stream)
	case len(t.in.LogStreamNamePrefixes) > 0:
		return slices.ContainsFunc(t.in.LogStreamNamePrefixes, func(p string) bool { return strings.HasPrefix(stream, p) })
	}
	return true
}

// read gives what is new in a stream; whole is false if that was too much at
// once, and a part of it is passed over.
func (t *tail) read(ctx context.Context, s logs.Stream) (events []logs.Event, whole bool, err error) {
	store := t.logs.cfg.Store
	next, known := t.next[s]
	if known {
		if events, err = store.Events(ctx, s, logs.Read{From: next, Max: maxEvents, MaxBytes: tailBytes}); err != nil {
			return nil, false, err
		}
		last, err := store.Events(ctx, s, logs.Read{From: -1, Max: 1})
		if err != nil {
			return nil, false, err
		}
		end := after(last)
		if end >= next { // else it was deleted and made anew
			t.next[s] = max(end, after(events))
			return events, after(events) >= end || end == next, nil
		}
	}
	if events, err = store.Events(ctx, s, logs.Read{From: -1, Max: maxEvents, MaxBytes: tailBytes}); err != nil {
		return nil, false, err
	}
	t.next[s] = after(events)
	from := slices.IndexFunc(events, func(e logs.Event) bool { return e.Ingestion >= t.start })
	if from < 0 {
		return nil, true, nil
	}
	return events[from:], from > 0 || events[0].Seq == 0, nil
}

// after is the place behind events.
func after(events []logs.Event) int64 {
	if len(events) == 0 {
		return 0
	}
	return events[len(events)-1].Seq + 1
}

// sample keeps as many of a long list as an update takes, from all over it.
func sample(list []told) (kept []told, whole bool) {
	size := 0
	for _, e := range list {
		size += e.Size()
	}
	n := min(len(list), tailEvents)
	if size > tailBytes {
		n = min(n, max(1, len(list)*tailBytes/size))
	}
	if n == len(list) {
		return list, true
	}
	kept = make([]told, n)
	for i := range kept {
		kept[i] = list[(i+1)*len(list)/n-1]
	}
	return kept, false
}

func newSessionID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
