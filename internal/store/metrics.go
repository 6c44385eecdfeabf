package store

import (
	"context"
	"time"
)

// MetricSeries is the row of a series. Dimensions is one canonical text for
// equal dimensions.
type MetricSeries struct {
	Account, Region, Namespace, Name, Dimensions string
	// What was measured last, by its own time.
	LastAt    time.Time
	LastValue float64
	LastUnit  string
}

// MetricPoint is the row of one minute of a series in one unit.
type MetricPoint struct {
	Minute               int64 // since 1970
	Unit                 string
	Sum, Min, Max, Count float64
}

// MetricAddition adds to one series.
type MetricAddition struct {
	Series MetricSeries
	Points []MetricPoint
}

// MetricSelection selects series. Empty members do not filter.
type MetricSelection struct {
	Account, Region, Namespace, Name, Dimensions string
	Since                                        time.Time
	After                                        MetricSeries // namespace, name, dimensions of the last one seen
	Limit                                        int
}

// Metrics holds one-minute rollups.
type Metrics interface {
	// AddMetrics adds to series, and makes them. With a task it does so only
	// if next is beyond the task's offset, which it then sets, all at once.
	AddMetrics(ctx context.Context, task string, next int64, add []MetricAddition) error
	MetricOffset(ctx context.Context, task string) (int64, error) // 0 if unknown
	// MetricPoints gives the minutes [from, to) of a series in order.
	MetricPoints(ctx context.Context, s MetricSeries, from, to int64) ([]MetricPoint, error)
	// MetricSeries lists by namespace, name and dimensions.
	MetricSeries(ctx context.Context, q MetricSelection) ([]MetricSeries, error)
}
