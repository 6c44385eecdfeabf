package logs

import (
	"context"
	"time"

	apilogs "clary/internal/api/logs"
	"clary/internal/aws/op"
	"clary/internal/logs"
)

// Limits of PutLogEvents.
const (
	maxUpload = 1 << 20
	maxPast   = 14 * 24 * time.Hour
	maxFuture = 2 * time.Hour
	maxSpan   = 24 * time.Hour
)

// PutLogEvents adds events to a stream. What is too old or too new is left out
// and said so.
func (l *Logs) PutLogEvents(ctx context.Context, c op.Call, in *apilogs.PutLogEventsRequest) (*apilogs.PutLogEventsResponse, error) {
	k := l.stream(c, in.LogGroupName, in.LogStreamName)
	if in.Entity != nil {
		return nil, invalid("Clary does not support the entity of PutLogEvents. No event was stored.")
	}
	events := make([]logs.Event, len(in.LogEvents))
	bytes := 0
	for i, e := range in.LogEvents {
		events[i] = logs.Event{Timestamp: e.Timestamp, Message: e.Message}
		if n := events[i].Size(); n > maxUpload {
			return nil, invalid("Log event too large: %d bytes exceeds limit of %d", n, maxUpload)
		}
		bytes += events[i].Size()
		if i > 0 && e.Timestamp < in.LogEvents[i-1].Timestamp {
			return nil, invalid("Log events in a single PutLogEvents request must be in chronological order.")
		}
	}
	if bytes > maxUpload {
		return nil, invalid("Upload too large: %d bytes exceeds limit of %d", bytes, maxUpload)
	}
	if n := len(events); n > 0 && events[n-1].Timestamp-events[0].Timestamp > maxSpan.Milliseconds() {
		return nil, invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
	}
	// The stream must exist even if no event is taken.
	if _, err := l.cfg.Store.Stream(ctx, k); err != nil {
		return nil, failed(err)
	}

	now := time.Now()
	oldest, newest := now.Add(-maxPast).UnixMilli(), now.Add(maxFuture).UnixMilli()
	from, to := 0, len(events)
	for from < to && events[from].Timestamp < oldest {
		from++
	}
	for to > from && events[to-1].Timestamp > newest {
		to--
	}
	if err := l.cfg.Store.Append(ctx, k, events[from:to]); err != nil {
		return nil, failed(err)
	}
	out := &apilogs.PutLogEventsResponse{NextSequenceToken: sequence(now.UnixMilli())}
	if from > 0 || to < len(events) {
		out.RejectedLogEventsInfo = &apilogs.RejectedLogEventsInfo{}
		if from > 0 {
			n := int64(from)
			out.RejectedLogEventsInfo.TooOldLogEventEndIndex = &n
		}
		if to < len(events) {
			n := int64(to)
			out.RejectedLogEventsInfo.TooNewLogEventStartIndex = &n
		}
	}
	return out, nil
}
