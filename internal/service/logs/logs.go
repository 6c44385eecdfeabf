// Package logs serves the part of CloudWatch Logs that SDKs, the AWS CLI and
// people use to write and read log events. It must never show one account what
// is another's, and gives events in the order of their stream, so that a token
// or a count of events at one millisecond stays true. Start at Operations.
package logs

import (
	"errors"
	"strings"
	"time"

	apilogs "clary/internal/api/logs"
	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/logs"
)

// Config is what the service works with.
type Config struct {
	Store logs.Store
	// OnRead, if set, is told when a caller has read events of a stream, or
	// looks for streams by a prefix, which is then the stream's name: whoever
	// waits for a stream to appear reads it as well.
	OnRead func(c op.Call, s logs.Stream)
}

// Logs serves the operations.
type Logs struct {
	cfg      Config
	tails    sessions
	tailLife time.Duration
}

// New makes the service.
func New(cfg Config) *Logs {
	if cfg.OnRead == nil {
		cfg.OnRead = func(op.Call, logs.Stream) {}
	}
	return &Logs{cfg: cfg, tailLife: tailLife}
}

// Name is the service's name.
func (l *Logs) Name() string { return "logs" }

// Operations lists what is served.
func (l *Logs) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateLogGroup": op.On(op.Op(l.CreateLogGroup), func(c op.Call, in *apilogs.CreateLogGroupRequest) string { return groupArn(c, in.LogGroupName) }),
		"DeleteLogGroup": op.On(op.Op(l.DeleteLogGroup), func(c op.Call, in *apilogs.DeleteLogGroupRequest) string { return groupArn(c, in.LogGroupName) }),
		"DescribeLogGroups": op.On(op.Op(l.DescribeLogGroups), func(c op.Call, in *apilogs.DescribeLogGroupsRequest) string {
			return groupArn(c, in.LogGroupNamePrefix)
		}),
		"CreateLogStream": op.On(op.Op(l.CreateLogStream), func(c op.Call, in *apilogs.CreateLogStreamRequest) string {
			return streamArn(c, in.LogGroupName, in.LogStreamName)
		}),
		"DeleteLogStream": op.On(op.Op(l.DeleteLogStream), func(c op.Call, in *apilogs.DeleteLogStreamRequest) string {
			return streamArn(c, in.LogGroupName, in.LogStreamName)
		}),
		"DescribeLogStreams": op.On(op.Op(l.DescribeLogStreams), func(c op.Call, in *apilogs.DescribeLogStreamsRequest) string {
			return groupArn(c, named(in.LogGroupName, in.LogGroupIdentifier))
		}),
		"PutLogEvents": op.On(op.Op(l.PutLogEvents), func(c op.Call, in *apilogs.PutLogEventsRequest) string {
			return streamArn(c, in.LogGroupName, in.LogStreamName)
		}),
		"GetLogEvents": op.On(op.Op(l.GetLogEvents), func(c op.Call, in *apilogs.GetLogEventsRequest) string {
			return streamArn(c, named(in.LogGroupName, in.LogGroupIdentifier), in.LogStreamName)
		}),
		// the groups are many: the policies are asked about each
		"StartLiveTail": op.Session[apilogs.StartLiveTailRequest, apilogs.StartLiveTailResponse](l.StartLiveTail),
		"FilterLogEvents": op.On(op.Op(l.FilterLogEvents), func(c op.Call, in *apilogs.FilterLogEventsRequest) string {
			return groupArn(c, named(in.LogGroupName, in.LogGroupIdentifier))
		}),
	}
}

// bareArn is the ARN that newer members show, without the ":*" for streams.
func bareArn(c op.Call, group string) string {
	return arn.ARN{Partition: "aws", Service: "logs", Region: c.Region, Account: c.Account, Resource: "log-group:" + group}.String()
}

func groupArn(c op.Call, group string) string { return bareArn(c, group) + ":*" }

func streamArn(c op.Call, group, stream string) string {
	return bareArn(c, group) + ":log-stream:" + stream
}

// named is the group's name, whichever way it was given.
func named(name, identifier string) string {
	if name != "" {
		return name
	}
	a, ok := arn.Parse(identifier)
	if !ok {
		return identifier
	}
	return strings.TrimSuffix(strings.TrimPrefix(a.Resource, "log-group:"), ":*")
}

// group checks how a request names its group.
func group(c op.Call, name, identifier string) (string, error) {
	switch {
	case name != "" && identifier != "":
		return "", invalid("LogGroupName and LogGroupIdentifier cannot both be specified.")
	case name == "" && identifier == "":
		return "", invalid("Either LogGroupName or LogGroupIdentifier must be specified.")
	case name != "":
		return name, nil
	}
	if a, ok := arn.Parse(identifier); ok {
		if a.Service != "logs" || !strings.HasPrefix(a.Resource, "log-group:") {
			return "", invalid("The specified logGroupIdentifier is not valid.")
		}
		if a.Account != c.Account || a.Region != c.Region {
			return "", noGroup()
		}
	}
	return named("", identifier), nil
}

func (l *Logs) stream(c op.Call, group, name string) logs.Stream {
	return logs.Stream{Account: c.Account, Region: c.Region, Group: group, Name: name}
}

func invalid(format string, args ...any) error {
	return apierr.New(400, "InvalidParameterException", format, args...)
}

func noGroup() error {
	return apierr.New(400, "ResourceNotFoundException", "The specified log group does not exist.")
}

// failed words the errors of the store.
func failed(err error) error {
	switch {
	case errors.Is(err, logs.ErrNoGroup):
		return noGroup()
	case errors.Is(err, logs.ErrNoStream):
		return apierr.New(400, "ResourceNotFoundException", "The specified log stream does not exist.")
	case errors.Is(err, logs.ErrGroupExists):
		return apierr.New(400, "ResourceAlreadyExistsException", "The specified log group already exists")
	case errors.Is(err, logs.ErrStreamExists):
		return apierr.New(400, "ResourceAlreadyExistsException", "The specified log stream already exists")
	case errors.Is(err, logs.ErrToken):
		return badToken()
	}
	return err
}

func badToken() error { return invalid("The specified nextToken is invalid.") }
