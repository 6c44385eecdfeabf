// Package logs is the contract for log groups, streams and events, in
// CloudWatch's terms, and the Ingester that brings tasks' output in. Events of
// one stream keep the order in which they were written; task output is taken in
// by byte offset, each line once. An event that was accepted survives a kill of
// the process at once and a loss of power a second later. Adapters (segment)
// live below it, and logstest is the suite that each of them passes. Start at
// Store.
package logs

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// What a store says of groups and streams.
var (
	ErrNoGroup      = errors.New("no such log group")
	ErrNoStream     = errors.New("no such log stream")
	ErrGroupExists  = errors.New("log group exists")
	ErrStreamExists = errors.New("log stream exists")
	ErrToken        = errors.New("invalid token")
	// ErrOffset says that an ingested batch does not start at the committed
	// offset and cannot be cut there.
	ErrOffset = errors.New("batch does not start at the committed offset")
	// ErrInUse says that another process has these logs open.
	ErrInUse = errors.New("logs are in use by another process")
)

// Stream names one stream.
type Stream struct {
	Account, Region, Group, Name string
}

// Event is one line. Seq is its stable position in the stream, from 0.
type Event struct {
	Timestamp int64 // unix milliseconds
	Ingestion int64
	Message   string
	Seq       int64
}

// GroupInfo and StreamInfo describe what exists.
type GroupInfo struct {
	Name    string
	Created time.Time
	Bytes   int64
}

// StreamInfo describes a stream.
type StreamInfo struct {
	Name                                 string
	Created                              time.Time
	FirstEvent, LastEvent, LastIngestion int64 // unix ms; 0 none
	Bytes                                int64
}

// After is where a listing by time goes on after this stream.
func (i StreamInfo) After() string { return strconv.FormatInt(i.LastEvent, 10) + "/" + i.Name }

// Read selects events of one stream. The answer is always in the order of Seq.
type Read struct {
	Start, End int64 // unix ms: [Start, End); 0 unbounded
	From       int64 // Seq to start at; -1: the head if FromHead, else the tail
	Backward   bool  // the last events before From rather than the first from it on
	FromHead   bool
	Max        int // events; 0: 10,000
	MaxBytes   int // as Size counts; 0: 1 MiB. The first event is given whatever its size
}

// Overhead is what an event counts beside its message.
const Overhead = 26

// Size is an event's size as CloudWatch counts it.
func (e Event) Size() int { return len(e.Message) + Overhead }

// Store holds logs.
type Store interface {
	CreateGroup(ctx context.Context, account, region, group string) error // ErrGroupExists
	DeleteGroup(ctx context.Context, account, region, group string) error // ErrNoGroup
	// Groups lists by name, after a name.
	Groups(ctx context.Context, account, region, prefix, after string, max int) ([]GroupInfo, error)
	Group(ctx context.Context, account, region, group string) (GroupInfo, error) // ErrNoGroup
	CreateStream(ctx context.Context, s Stream) error                            // ErrNoGroup, ErrStreamExists
	DeleteStream(ctx context.Context, s Stream) error                            // ErrNoGroup, ErrNoStream
	// Streams lists by name, or by the time of the last event, after a stream
	// of an earlier page: its name, or its After. ErrNoGroup, ErrToken.
	Streams(ctx context.Context, account, region, group, prefix, after string, byTime, descending bool, max int) ([]StreamInfo, error)
	Stream(ctx context.Context, s Stream) (StreamInfo, error) // ErrNoGroup, ErrNoStream
	// Append adds events in order and sets their ingestion time. ErrNoGroup,
	// ErrNoStream.
	Append(ctx context.Context, s Stream, events []Event) error
	// Ingest adds a task's lines [from, next) of its output and commits the
	// offset with them. It makes group and stream. What was committed before
	// is not added again: a batch that ends at or before the committed offset
	// adds nothing, one that reaches over it is cut when offsets count events
	// (next-from is their number) and else refused with ErrOffset, like one
	// that leaves a gap. The first batch of a task may start anywhere.
	Ingest(ctx context.Context, s Stream, task string, from, next int64, events []Event) error
	// Offset is the committed offset of a task's output in a stream, 0 if
	// there is none.
	Offset(ctx context.Context, s Stream, task string) (int64, error)
	Events(ctx context.Context, s Stream, r Read) ([]Event, error) // ErrNoGroup, ErrNoStream
	// Follow returns a channel that is signalled when the stream grows, until
	// ctx ends. The stream need not exist yet. Signals may be joined.
	Follow(ctx context.Context, s Stream) <-chan struct{}
	// FollowGroup tells g the names of the group's streams that grow, until ctx
	// ends. The group need not exist yet.
	FollowGroup(ctx context.Context, account, region, group string, g *Growth)
	Close() error
}
