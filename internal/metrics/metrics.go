// Package metrics is the contract for CloudWatch-like metrics: one-minute
// rollups by namespace, name and dimensions.
package metrics

import (
	"context"
	"time"
)

// Datum is one measurement, or a ready-made rollup when Count > 1.
type Datum struct {
	Account, Region, Namespace, Name string
	Dimensions                       map[string]string
	Time                             time.Time
	Sum, Min, Max                    float64
	Count                            float64
	Unit                             string
}

// Point is one period of a series.
type Point struct {
	Start                time.Time
	Sum, Min, Max, Count float64
	Unit                 string
}

// Query selects one series.
type Query struct {
	Account, Region, Namespace, Name string
	Dimensions                       map[string]string // exact match
	Start, End                       time.Time
	Period                           time.Duration
}

// Store holds metrics.
type Store interface {
	Put(ctx context.Context, data []Datum) error
	// PutFrom adds data found in a task's output up to spool offset next, and
	// commits both together; a batch that was committed before adds nothing.
	PutFrom(ctx context.Context, task string, next int64, data []Datum) error
	Offset(ctx context.Context, task string) (int64, error)
	Points(ctx context.Context, q Query) ([]Point, error)
	// Last gives each metric's latest value with these dimensions, with its time.
	Last(ctx context.Context, account, region, namespace string, dims map[string]string) (map[string]Datum, error)
}
