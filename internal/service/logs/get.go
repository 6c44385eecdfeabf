package logs

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	apilogs "clary/internal/api/logs"
	"clary/internal/aws/op"
	"clary/internal/logs"
)

// Limits of one answer with events.
const (
	maxEvents = 10_000
	maxAnswer = 1 << 20
)

// GetLogEvents reads a stream. A token is a place between two events, so it
// stays good while the stream grows, and the end gives back the token that led
// there.
func (l *Logs) GetLogEvents(ctx context.Context, c op.Call, in *apilogs.GetLogEventsRequest) (*apilogs.GetLogEventsResponse, error) {
	name, err := group(c, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	k := l.stream(c, name, in.LogStreamName)
	r := logs.Read{From: -1, FromHead: in.StartFromHead != nil && *in.StartFromHead, Max: maxEvents, MaxBytes: maxAnswer}
	if in.StartTime != nil {
		r.Start = *in.StartTime
	}
	if in.EndTime != nil {
		if r.End = *in.EndTime; r.End == 0 {
			r.End = 1 // nothing is before 1970; 0 would be no bound
		}
	}
	if in.Limit != nil {
		r.Max = int(*in.Limit)
	}
	if in.NextToken != "" {
		if r.From, r.Backward, err = place(in.NextToken); err != nil {
			return nil, err
		}
	}
	events, err := l.cfg.Store.Events(ctx, k, r)
	if err != nil {
		return nil, failed(err)
	}
	first, after := r.From, r.From
	switch {
	case len(events) > 0:
		first, after = events[0].Seq, events[len(events)-1].Seq+1
	case r.From < 0 && r.FromHead:
		first, after = 0, 0
	case r.From < 0:
		last, err := l.cfg.Store.Events(ctx, k, logs.Read{From: -1, Max: 1})
		if err != nil {
			return nil, failed(err)
		}
		first, after = 0, 0
		if len(last) > 0 {
			first, after = last[0].Seq+1, last[0].Seq+1
		}
	}
	l.cfg.OnRead(c, k)
	out := &apilogs.GetLogEventsResponse{
		Events:           make([]apilogs.OutputLogEvent, len(events)),
		NextForwardToken: token('f', after), NextBackwardToken: token('b', first),
	}
	for i := range events {
		e := &events[i]
		out.Events[i] = apilogs.OutputLogEvent{Timestamp: &e.Timestamp, IngestionTime: &e.Ingestion, Message: e.Message}
	}
	return out, nil
}

func token(direction byte, seq int64) string { return fmt.Sprintf("%c/%056d/s", direction, seq) }

// place reads a token.
func place(token string) (seq int64, backward bool, err error) {
	direction, rest, ok := strings.Cut(token, "/")
	if !ok || (direction != "f" && direction != "b") {
		return 0, false, badToken()
	}
	digits, tail, _ := strings.Cut(rest, "/")
	seq, perr := strconv.ParseInt(digits, 10, 64)
	if perr != nil || seq < 0 || len(digits) != 56 || tail != "s" {
		return 0, false, badToken()
	}
	return seq, direction == "b", nil
}
