package metrics

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"clary/internal/store"
)

// Axis is what samples are gathered along.
type Axis int

// The axes.
const (
	ByTime Axis = iota // Period is the width of a point
	ByStep             // one point a step; samples without one are left out
)

// Stat is a statistic of the samples in one point.
type Stat string

// The statistics, as SageMaker names them.
const (
	StatMin    Stat = "Min"
	StatMax    Stat = "Max"
	StatAvg    Stat = "Avg"
	StatCount  Stat = "Count"
	StatStdDev Stat = "StdDev" // of the population
	StatLast   Stat = "Last"   // by time
)

// SampleQuery asks for one statistic of one series. From and To, both
// inclusive, are epoch seconds or steps; nil is no bound.
type SampleQuery struct {
	Owner, Name string
	Axis        Axis
	Stat        Stat
	Period      time.Duration
	From, To    *int64
	Max         int // points
}

// XY is one point: X is the first epoch second of its period, or a step.
type XY struct {
	X int64
	Y float64
}

// Samples holds measurements one by one, with their steps: what training
// scripts put, for charts by step. Owner is the UID of the record that was
// measured.
type Samples struct{ rows store.Samples }

// NewSamples keeps samples as rows of the store.
func NewSamples(rows store.Samples) *Samples { return &Samples{rows} }

// Put adds all samples or none; one that is there already adds nothing.
func (s *Samples) Put(ctx context.Context, owner string, add []store.Sample) error {
	if err := s.rows.AddSamples(ctx, owner, add); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// Points gives points in order, at most q.Max; more says that there are others
// behind them.
func (s *Samples) Points(ctx context.Context, q SampleQuery) (points []XY, more bool, err error) {
	step := int64(q.Period / time.Second)
	if q.Axis == ByTime && step <= 0 {
		return nil, false, fmt.Errorf("metrics: period %v", q.Period)
	}
	all := map[int64]*gathered{}
	err = s.rows.Samples(ctx, q.Owner, q.Name, func(a store.Sample) bool {
		at, x := a.Step, a.Step
		if q.Axis == ByTime {
			at = a.At.Unix()
			x = floor(at, step)
		} else if at == store.NoStep {
			return true
		}
		if q.From != nil && at < *q.From || q.To != nil && at > *q.To {
			return true
		}
		g := all[x]
		if g == nil {
			g = &gathered{min: math.Inf(1), max: math.Inf(-1)}
			all[x] = g
		}
		g.add(a.Value)
		return true
	})
	if err != nil {
		return nil, false, fmt.Errorf("metrics: %w", err)
	}
	for x, g := range all {
		points = append(points, XY{x, g.stat(q.Stat)})
	}
	slices.SortFunc(points, func(a, b XY) int { return cmp.Compare(a.X, b.X) })
	if len(points) > q.Max {
		return points[:q.Max], true, nil
	}
	return points, false, nil
}

// gathered sums up the samples of one point. mean and m2 are Welford's, which
// does not cancel.
type gathered struct{ count, min, max, last, mean, m2 float64 }

func (g *gathered) add(v float64) {
	g.count++
	g.min, g.max, g.last = min(g.min, v), max(g.max, v), v
	d := v - g.mean
	g.mean += d / g.count
	g.m2 += d * (v - g.mean)
}

func (g *gathered) stat(s Stat) float64 {
	switch s {
	case StatMin:
		return g.min
	case StatMax:
		return g.max
	case StatCount:
		return g.count
	case StatStdDev:
		return math.Sqrt(g.m2 / g.count)
	case StatLast:
		return g.last
	case StatAvg:
	}
	return g.mean
}
