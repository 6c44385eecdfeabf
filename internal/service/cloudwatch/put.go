package cloudwatch

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	apicw "clary/internal/api/cloudwatch"
	"clary/internal/aws/op"
	"clary/internal/metrics"
)

// Limits of PutMetricData.
const (
	maxData   = 1000
	maxValues = 150
	maxPast   = 14 * 24 * time.Hour
	maxFuture = 2 * time.Hour
)

// valueLimit is the largest magnitude that CloudWatch takes.
func valueLimit() float64 { return math.Ldexp(1, 360) }

// PutMetricData adds measurements: all of a request or none.
func (w *CloudWatch) PutMetricData(ctx context.Context, c op.Call, in *apicw.PutMetricDataInput) (*struct{}, error) {
	switch {
	case len(in.EntityMetricData) > 0:
		return nil, badValue("Clary does not support EntityMetricData. Nothing was stored.")
	case len(in.MetricData) == 0:
		return nil, missing("MetricData")
	case len(in.MetricData) > maxData:
		return nil, badValue("The collection MetricData must not have a size greater than %d.", maxData)
	case strings.HasPrefix(in.Namespace, "AWS/"):
		return nil, badValue("The value AWS/ for parameter Namespace is invalid.")
	}
	now := time.Now()
	var data []metrics.Datum
	for i := range in.MetricData {
		at := fmt.Sprintf("MetricData.member.%d", i+1)
		d, err := read(at, &in.MetricData[i], now)
		if err != nil {
			return nil, err
		}
		for j := range d {
			d[j].Account, d[j].Region, d[j].Namespace = c.Account, c.Region, in.Namespace
		}
		data = append(data, d...)
	}
	return nil, w.store.Put(ctx, data)
}

// read makes data of one MetricDatum. at names it in errors.
func read(at string, m *apicw.MetricDatum, now time.Time) ([]metrics.Datum, error) {
	dims, err := dimensions(at+".Dimensions", m.Dimensions)
	if err != nil {
		return nil, err
	}
	d := metrics.Datum{Name: m.MetricName, Dimensions: dims, Time: now, Unit: m.Unit}
	if !m.Timestamp.IsZero() {
		d.Time = m.Timestamp.Time
	}
	if d.Time.Before(now.Add(-maxPast)) || d.Time.After(now.Add(maxFuture)) {
		return nil, badValue("The value %s for parameter %s.Timestamp is invalid: it must be between two weeks ago and two hours ahead.",
			d.Time.UTC().Format(time.RFC3339), at)
	}
	if err := oneOf(at, m); err != nil {
		return nil, err
	}
	switch {
	case m.Value != nil:
		d.Sum = *m.Value
		return []metrics.Datum{d}, number(at+".Value", *m.Value)
	case m.StatisticValues != nil:
		return statistics(at+".StatisticValues", d, m.StatisticValues)
	}
	return values(at, d, m)
}

// oneOf checks that a datum says its value in one way.
func oneOf(at string, m *apicw.MetricDatum) error {
	var given []string
	if m.Value != nil {
		given = append(given, at+".Value")
	}
	if m.StatisticValues != nil {
		given = append(given, at+".StatisticValues")
	}
	if len(m.Values) > 0 {
		given = append(given, at+".Values")
	}
	switch {
	case len(given) == 0:
		return missing(at + ".Value")
	case len(given) > 1:
		return badCombination("The parameters %s and %s are mutually exclusive and you have specified both.", given[0], given[1])
	case len(m.Counts) > 0 && len(m.Counts) != len(m.Values):
		return badValue("The parameters %s.Values and %s.Counts must be of the same size.", at, at)
	}
	return nil
}

func number(at string, v float64) error {
	if math.IsNaN(v) || math.Abs(v) > valueLimit() {
		return badValue("The value %v for parameter %s is invalid.", v, at)
	}
	return nil
}

func statistics(at string, d metrics.Datum, s *apicw.StatisticSet) ([]metrics.Datum, error) {
	for name, v := range map[string]float64{"Sum": s.Sum, "Minimum": s.Minimum, "Maximum": s.Maximum, "SampleCount": s.SampleCount} {
		if err := number(at+"."+name, v); err != nil {
			return nil, err
		}
	}
	if s.SampleCount <= 0 {
		return nil, badValue("The value %v for parameter %s.SampleCount is invalid.", s.SampleCount, at)
	}
	if s.Minimum > s.Maximum {
		return nil, badValue("The value %v for parameter %s.Minimum is invalid: it exceeds Maximum.", s.Minimum, at)
	}
	d.Sum, d.Min, d.Max, d.Count = s.Sum, s.Minimum, s.Maximum, s.SampleCount
	return []metrics.Datum{d}, nil
}

func values(at string, d metrics.Datum, m *apicw.MetricDatum) ([]metrics.Datum, error) {
	if len(m.Values) > maxValues {
		return nil, badValue("The collection %s.Values must not have a size greater than %d.", at, maxValues)
	}
	out := make([]metrics.Datum, 0, len(m.Values))
	for i, v := range m.Values {
		n := 1.0
		if len(m.Counts) > 0 {
			n = m.Counts[i]
		}
		if err := number(fmt.Sprintf("%s.Values.member.%d", at, i+1), v); err != nil {
			return nil, err
		}
		if err := number(fmt.Sprintf("%s.Counts.member.%d", at, i+1), n); err != nil {
			return nil, err
		}
		if n < 0 {
			return nil, badValue("The value %v for parameter %s.Counts.member.%d is invalid.", n, at, i+1)
		}
		if n == 0 {
			continue
		}
		e := d
		e.Sum, e.Min, e.Max, e.Count = v*n, v, v, n
		out = append(out, e)
	}
	return out, nil
}
