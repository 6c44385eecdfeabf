package logs

import (
	"context"
	"fmt"

	apilogs "clary/internal/api/logs"
	"clary/internal/aws/op"
	"clary/internal/logs"
)

// CreateLogStream makes a stream in a group.
func (l *Logs) CreateLogStream(ctx context.Context, c op.Call, in *apilogs.CreateLogStreamRequest) (*struct{}, error) {
	return nil, failed(l.cfg.Store.CreateStream(ctx, l.stream(c, in.LogGroupName, in.LogStreamName)))
}

// DeleteLogStream deletes a stream and its events.
func (l *Logs) DeleteLogStream(ctx context.Context, c op.Call, in *apilogs.DeleteLogStreamRequest) (*struct{}, error) {
	return nil, failed(l.cfg.Store.DeleteStream(ctx, l.stream(c, in.LogGroupName, in.LogStreamName)))
}

// DescribeLogStreams lists a group's streams by name or by their last event.
func (l *Logs) DescribeLogStreams(ctx context.Context, c op.Call, in *apilogs.DescribeLogStreamsRequest) (*apilogs.DescribeLogStreamsResponse, error) {
	name, err := group(c, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	byTime := in.OrderBy == "LastEventTime"
	if byTime && in.LogStreamNamePrefix != "" {
		return nil, invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	kind := "n"
	if byTime {
		kind = "t"
	}
	after, err := open(kind, in.NextToken)
	if err != nil {
		return nil, err
	}
	if in.LogStreamNamePrefix != "" {
		l.cfg.OnRead(c, l.stream(c, name, in.LogStreamNamePrefix))
	}
	limit := size(in.Limit)
	descending := in.Descending != nil && *in.Descending
	page, err := l.cfg.Store.Streams(ctx, c.Account, c.Region, name, in.LogStreamNamePrefix, after, byTime, descending, limit+1)
	if err != nil {
		return nil, failed(err)
	}
	out := &apilogs.DescribeLogStreamsResponse{LogStreams: []apilogs.LogStream{}}
	if len(page) > limit {
		page = page[:limit]
		last := page[limit-1]
		after := last.Name
		if byTime {
			after = last.After()
		}
		out.NextToken = seal(kind, after)
	}
	for _, s := range page {
		out.LogStreams = append(out.LogStreams, describeStream(c, name, s))
	}
	return out, nil
}

func describeStream(c op.Call, group string, s logs.StreamInfo) apilogs.LogStream {
	// CloudWatch reports no bytes of single streams since 2019.
	created, bytes := s.Created.UnixMilli(), int64(0)
	out := apilogs.LogStream{
		LogStreamName: s.Name, CreationTime: &created, StoredBytes: &bytes, Arn: streamArn(c, group, s.Name),
		UploadSequenceToken: sequence(s.LastIngestion),
	}
	if s.LastIngestion > 0 {
		out.FirstEventTimestamp, out.LastEventTimestamp, out.LastIngestionTime = &s.FirstEvent, &s.LastEvent, &s.LastIngestion
	}
	return out
}

// sequence is a sequence token. Clients of before 2023 hand it back; it means
// nothing since.
func sequence(ms int64) string { return fmt.Sprintf("%056d", ms) }
