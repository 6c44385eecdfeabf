package store

import (
	"context"
	"time"
)

// Sample is one measurement that was kept as it came.
type Sample struct {
	Name  string
	At    time.Time // to the millisecond
	Step  int64     // NoStep when the sender counts none
	Value float64
}

// NoStep says that a sample has no step.
const NoStep = -1

// Samples holds measurements of an owner: the UID of a record.
type Samples interface {
	// AddSamples adds all or none. An equal sample is the same one: what is
	// sent again adds nothing.
	AddSamples(ctx context.Context, owner string, add []Sample) error
	// Samples gives an owner's samples of one name to fn in the order of their
	// time, until fn says false.
	Samples(ctx context.Context, owner, name string, fn func(Sample) bool) error
}
