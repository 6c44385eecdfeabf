// Package metrics is the contract for CloudWatch-like metrics: one-minute
// rollups by namespace, name and dimensions. Data that were accepted are on
// disk. It must never count a task's output twice. metricstest is the suite
// that each adapter passes. Start at Store.
package metrics

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"
)

// Datum is one measurement, whose value is Sum, or a ready-made rollup when
// Count is neither 0 nor 1; only then Min and Max are read.
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
	Unit                             string            // "" for all, each in points of its own
	Start, End                       time.Time
	Period                           time.Duration
}

// Series names one series; Last is its newest measurement.
type Series struct {
	Namespace, Name string
	Dimensions      map[string]string
	Last            time.Time
}

// SeriesQuery selects series. Zero members do not filter; a dimension without
// a value asks for the name alone.
type SeriesQuery struct {
	Account, Region, Namespace, Name string
	Dimensions                       map[string]string // the series has them, and maybe others
	Since                            time.Time
	After                            string // Key of the last series of the page before
	Max                              int    // 0: 500
}

// Store holds metrics.
type Store interface {
	Put(ctx context.Context, data []Datum) error
	// PutFrom adds data found in a task's output up to spool offset next, and
	// commits both together; a batch that was committed before adds nothing.
	PutFrom(ctx context.Context, task string, next int64, data []Datum) error
	Offset(ctx context.Context, task string) (int64, error)
	// Points gives the periods that have data, in order. Period is a multiple
	// of a minute; periods start at multiples of it since 1970.
	Points(ctx context.Context, q Query) ([]Point, error)
	// List gives series in the order of their keys.
	List(ctx context.Context, q SeriesQuery) ([]Series, error)
	// Last gives each metric's latest value with these dimensions, with its time.
	Last(ctx context.Context, account, region, namespace string, dims map[string]string) (map[string]Datum, error)
}

// Rolled gives d as a rollup of at least one measurement.
func (d Datum) Rolled() Datum {
	if d.Count == 0 || d.Count == 1 {
		d.Count, d.Min, d.Max = 1, d.Sum, d.Sum
	}
	return d
}

// Key orders series: namespace, name, then dimensions.
func (s Series) Key() string {
	return s.Namespace + "\x00" + s.Name + "\x00" + canonical(s.Dimensions)
}

// canonical is one text for equal dimensions.
func canonical(d map[string]string) string {
	b, _ := json.Marshal(d, json.Deterministic(true)) // a map of strings
	if len(d) == 0 {
		return "{}"
	}
	return string(b)
}
