// Package logs is the contract for log groups, streams and events, in
// CloudWatch's terms. Events of one stream keep the order in which they were
// written; task output is taken in by byte offset, each line once.
package logs

import (
	"context"
	"errors"
	"time"
)

var (
	ErrNoGroup      = errors.New("no such log group")
	ErrNoStream     = errors.New("no such log stream")
	ErrGroupExists  = errors.New("log group exists")
	ErrStreamExists = errors.New("log stream exists")
	ErrToken        = errors.New("invalid token")
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

type StreamInfo struct {
	Name                                 string
	Created                              time.Time
	FirstEvent, LastEvent, LastIngestion int64 // unix ms; 0 none
	Bytes                                int64
}

// Read selects events of one stream.
type Read struct {
	Start, End int64 // unix ms: [Start, End); 0 unbounded
	From       int64 // Seq to start at; -1: by FromHead
	Backward   bool  // events before From rather than from it on
	FromHead   bool
	Max        int
	MaxBytes   int
}

// Store holds logs.
type Store interface {
	CreateGroup(ctx context.Context, account, region, group string) error
	DeleteGroup(ctx context.Context, account, region, group string) error
	Groups(ctx context.Context, account, region, prefix, after string, max int) ([]GroupInfo, error)
	CreateStream(ctx context.Context, s Stream) error
	DeleteStream(ctx context.Context, s Stream) error
	// Streams lists by name after a name, or newest event first by offset.
	Streams(ctx context.Context, account, region, group, prefix, after string, byTime, descending bool, max int) ([]StreamInfo, error)
	// Append adds events in order.
	Append(ctx context.Context, s Stream, events []Event) error
	// Ingest adds a task's lines, which end at spool offset next, and commits
	// both together: a batch whose start is not the committed offset is cut
	// or refused so that no line is doubled. It makes group and stream.
	Ingest(ctx context.Context, s Stream, task string, from, next int64, events []Event) error
	// Offset is the committed spool offset of a task's stream.
	Offset(ctx context.Context, s Stream, task string) (int64, error)
	Events(ctx context.Context, s Stream, r Read) ([]Event, error)
	// Follow returns a channel that is signalled when the stream grows.
	Follow(ctx context.Context, s Stream) <-chan struct{}
	Close() error
}
