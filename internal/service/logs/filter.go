package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"

	apilogs "clary/internal/api/logs"
	"clary/internal/aws/op"
	"clary/internal/logs"
)

const (
	maxScan   = 200_000 // events looked at for one answer
	maxWindow = 20_000  // events sorted at a time
	listPage  = 1000
)

// found is an event of some stream.
type found struct {
	logs.Event
	stream string
}

// after orders events: by time, then stream, then place.
func (a found) after(b found) int {
	return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), cmp.Compare(a.stream, b.stream), cmp.Compare(a.Seq, b.Seq))
}

// FilterLogEvents searches streams of a group, their events in one order. It
// goes through time in windows, so that streams whose events came late are in
// order too, and stops with a token when it has looked at much.
func (l *Logs) FilterLogEvents(ctx context.Context, c op.Call, in *apilogs.FilterLogEventsRequest) (*apilogs.FilterLogEventsResponse, error) {
	name, err := group(c, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	if len(in.LogStreamNames) > 0 && in.LogStreamNamePrefix != "" {
		return nil, invalid("Parameters logStreamNames and logStreamNamePrefix are mutually exclusive.")
	}
	if in.StartFromHead != nil && !*in.StartFromHead {
		return nil, invalid("Clary reads FilterLogEvents from the oldest event on; startFromHead cannot be false.")
	}
	s := &search{logs: l, call: c, group: name, end: math.MaxInt64, max: maxEvents, left: maxAnswer}
	if s.pattern, err = parsePattern(in.FilterPattern); err != nil {
		return nil, err
	}
	s.last = found{Event: logs.Event{Seq: -1}}
	if in.StartTime != nil {
		s.last.Timestamp = *in.StartTime
	}
	if in.EndTime != nil && *in.EndTime < math.MaxInt64 {
		s.end = *in.EndTime + 1 // inclusive here, unlike in GetLogEvents
	}
	if in.Limit != nil {
		s.max = int(*in.Limit)
	}
	if in.NextToken != "" {
		if s.last, err = openPlace(in.NextToken); err != nil {
			return nil, err
		}
	}
	if err := s.streams(ctx, in.LogStreamNames, in.LogStreamNamePrefix); err != nil {
		return nil, failed(err)
	}
	if err := s.run(ctx); err != nil {
		return nil, failed(err)
	}
	return s.answer(), nil
}

// search is one FilterLogEvents.
type search struct {
	logs    *Logs
	call    op.Call
	group   string
	pattern *pattern
	infos   []logs.StreamInfo
	end     int64 // exclusive
	max     int
	left    int // bytes
	scanned int

	last found // what the answer goes on after
	out  []found
	more bool
}

// streams finds those that may have events in the time asked for.
func (s *search) streams(ctx context.Context, names []string, prefix string) error {
	take := func(i logs.StreamInfo) {
		if i.LastIngestion > 0 && i.LastEvent >= s.last.Timestamp && i.FirstEvent < s.end {
			s.infos = append(s.infos, i)
		}
	}
	store := s.logs.cfg.Store
	if len(names) > 0 {
		names = slices.Compact(slices.Sorted(slices.Values(names)))
		for _, n := range names {
			k := s.logs.stream(s.call, s.group, n)
			i, err := store.Stream(ctx, k)
			if err != nil {
				return err
			}
			s.logs.cfg.OnRead(s.call, k)
			take(i)
		}
		return nil
	}
	for after := ""; ; {
		page, err := store.Streams(ctx, s.call.Account, s.call.Region, s.group, prefix, after, false, false, listPage)
		if err != nil {
			return err
		}
		for _, i := range page {
			take(i)
		}
		if len(page) < listPage {
			return nil
		}
		after = page[len(page)-1].Name
	}
}

func (s *search) run(ctx context.Context) error {
	newest := int64(0)
	from := int64(math.MaxInt64)
	for _, i := range s.infos {
		newest, from = max(newest, i.LastEvent+1), min(from, i.FirstEvent)
	}
	from, newest = max(from, s.last.Timestamp), min(newest, s.end)
	for width := newest - from; from < newest; {
		to := min(from+width, newest)
		events, fits, err := s.window(ctx, from, to, width == 1)
		if err != nil {
			return err
		}
		if !fits {
			width = max(width/2, 1)
			continue
		}
		slices.SortFunc(events, found.after)
		for _, e := range events {
			if len(s.out) > 0 && (len(s.out) == s.max || e.Size() > s.left) {
				s.more = true
				return nil
			}
			s.left -= e.Size()
			s.last = e
			s.out = append(s.out, e)
		}
		from = to
		if from < newest && s.scanned > maxScan {
			s.last, s.more = found{Event: logs.Event{Timestamp: from, Seq: -1}}, true
			return nil
		}
		if width > math.MaxInt64/2 {
			continue
		}
		width *= 2
	}
	return nil
}

// window finds what matches in [from, to). fits is false if there is too much
// to look at and a narrower window would do.
func (s *search) window(ctx context.Context, from, to int64, whole bool) (out []found, fits bool, err error) {
	looked := 0
	for _, i := range s.infos {
		if i.LastEvent < from || i.FirstEvent >= to {
			continue
		}
		k := s.logs.stream(s.call, s.group, i.Name)
		r := logs.Read{From: 0, Start: from, End: to, Max: maxEvents, MaxBytes: 8 * maxAnswer}
		if from <= 0 {
			r.Start = 0
		}
		for {
			events, err := s.logs.cfg.Store.Events(ctx, k, r)
			if errors.Is(err, logs.ErrNoStream) {
				break // deleted meanwhile
			}
			if err != nil {
				return nil, false, err
			}
			looked += len(events)
			s.scanned += len(events)
			for _, e := range events {
				f := found{e, i.Name}
				if f.after(s.last) > 0 && s.pattern.match(e.Message) {
					out = append(out, f)
				}
			}
			if looked > maxWindow && !whole {
				return nil, false, nil
			}
			if len(events) == 0 {
				break
			}
			r.From = events[len(events)-1].Seq + 1
		}
	}
	return out, true, nil
}

func (s *search) answer() *apilogs.FilterLogEventsResponse {
	out := &apilogs.FilterLogEventsResponse{
		Events: make([]apilogs.FilteredLogEvent, len(s.out)), SearchedLogStreams: []apilogs.SearchedLogStream{},
	}
	read := make(map[string]bool)
	for i := range s.out {
		e := &s.out[i]
		out.Events[i] = apilogs.FilteredLogEvent{
			LogStreamName: e.stream, Timestamp: &e.Timestamp, IngestionTime: &e.Ingestion, Message: e.Message, EventId: s.eventID(e),
		}
		if !read[e.stream] {
			read[e.stream] = true
			s.logs.cfg.OnRead(s.call, s.logs.stream(s.call, s.group, e.stream))
		}
	}
	if s.more {
		out.NextToken = sealPlace(s.last)
	}
	return out
}

// eventID is one number for an event wherever it is shown.
func (s *search) eventID(e *found) string {
	h := fnv.New64a()
	for _, part := range []string{s.call.Account, s.call.Region, s.group, e.stream} {
		_, _ = h.Write([]byte(part + "\x00"))
	}
	return fmt.Sprintf("%015d%020d%021d", e.Timestamp, h.Sum64(), e.Seq)
}

func sealPlace(f found) string {
	return seal("f", fmt.Sprintf("%d/%d/%s", f.Timestamp, f.Seq, f.stream))
}

func openPlace(token string) (found, error) {
	s, err := open("f", token)
	if err != nil {
		return found{}, err
	}
	parts := strings.SplitN(s, "/", 3)
	if len(parts) != 3 {
		return found{}, badToken()
	}
	at, err1 := strconv.ParseInt(parts[0], 10, 64)
	seq, err2 := strconv.ParseInt(parts[1], 10, 64)
	if errors.Join(err1, err2) != nil || at < 0 || seq < -1 {
		return found{}, badToken()
	}
	return found{Event: logs.Event{Timestamp: at, Seq: seq}, stream: parts[2]}, nil
}
