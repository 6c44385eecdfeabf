package metrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/store"
)

// New keeps metrics as rows of the store.
func New(rows store.Metrics) Store { return rollups{rows} }

type rollups struct{ rows store.Metrics }

// errDatum says that a datum cannot be kept.
var errDatum = errors.New("datum without name or time")

// Put implements Store.
func (r rollups) Put(ctx context.Context, data []Datum) error { return r.put(ctx, "", 0, data) }

// PutFrom implements Store.
func (r rollups) PutFrom(ctx context.Context, task string, next int64, data []Datum) error {
	if task == "" {
		return errors.New("metrics: no task")
	}
	return r.put(ctx, task, next, data)
}

func (r rollups) put(ctx context.Context, task string, next int64, data []Datum) error {
	add, err := rollUp(data)
	if err == nil && (len(add) > 0 || task != "") {
		err = r.rows.AddMetrics(ctx, task, next, add)
	}
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// seriesID is what series are told apart by.
type seriesID struct{ account, region, namespace, name, dimensions string }

func minute(t time.Time) int64 {
	ms := t.UnixMilli()
	m := ms / 60_000
	if ms%60_000 < 0 {
		m--
	}
	return m
}

// rollUp adds data up by series, minute and unit, so that a burst is few rows.
func rollUp(data []Datum) ([]store.MetricAddition, error) {
	type at struct {
		series int
		minute int64
		unit   string
	}
	var out []store.MetricAddition
	series := make(map[seriesID]int)
	points := make(map[at]int)
	for _, d := range data {
		if d.Name == "" || d.Time.IsZero() {
			return nil, errDatum
		}
		d = d.Rolled()
		if d.Unit == "" {
			d.Unit = "None"
		}
		id := seriesID{d.Account, d.Region, d.Namespace, d.Name, canonical(d.Dimensions)}
		i, ok := series[id]
		if !ok {
			i = len(out)
			series[id] = i
			out = append(out, store.MetricAddition{Series: store.MetricSeries{
				Account: d.Account, Region: d.Region, Namespace: d.Namespace, Name: d.Name, Dimensions: id.dimensions,
			}})
		}
		s := &out[i]
		if !d.Time.Before(s.Series.LastAt) {
			s.Series.LastAt, s.Series.LastValue, s.Series.LastUnit = d.Time, d.Sum/d.Count, d.Unit
		}
		k := at{i, minute(d.Time), d.Unit}
		j, ok := points[k]
		if !ok {
			points[k] = len(s.Points)
			s.Points = append(s.Points, store.MetricPoint{Minute: k.minute, Unit: d.Unit, Sum: d.Sum, Min: d.Min, Max: d.Max, Count: d.Count})
			continue
		}
		p := &s.Points[j]
		p.Sum, p.Min, p.Max, p.Count = p.Sum+d.Sum, min(p.Min, d.Min), max(p.Max, d.Max), p.Count+d.Count
	}
	return out, nil
}

// Offset implements Store.
func (r rollups) Offset(ctx context.Context, task string) (int64, error) {
	return r.rows.MetricOffset(ctx, task)
}

// Points implements Store.
func (r rollups) Points(ctx context.Context, q Query) ([]Point, error) {
	step := int64(q.Period / time.Minute)
	if step <= 0 || q.Period%time.Minute != 0 {
		return nil, fmt.Errorf("metrics: period %v is no multiple of a minute", q.Period)
	}
	from := floor(minute(q.Start), step)
	to := minute(q.End.Add(time.Minute - time.Millisecond)) // End is exclusive
	rows, err := r.rows.MetricPoints(ctx, store.MetricSeries{
		Account: q.Account, Region: q.Region, Namespace: q.Namespace, Name: q.Name, Dimensions: canonical(q.Dimensions),
	}, from, to)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	var out []Point
	for _, row := range rows {
		if q.Unit != "" && row.Unit != q.Unit {
			continue
		}
		start := time.Unix(floor(row.Minute, step)*60, 0).UTC()
		i := len(out) - 1
		for i >= 0 && out[i].Start.Equal(start) && out[i].Unit != row.Unit {
			i--
		}
		if i < 0 || !out[i].Start.Equal(start) {
			out = append(out, Point{Start: start, Sum: row.Sum, Min: row.Min, Max: row.Max, Count: row.Count, Unit: row.Unit})
			continue
		}
		p := &out[i]
		p.Sum, p.Min, p.Max, p.Count = p.Sum+row.Sum, min(p.Min, row.Min), max(p.Max, row.Max), p.Count+row.Count
	}
	return out, nil
}

func floor(n, step int64) int64 {
	m := n % step
	if m < 0 {
		m += step
	}
	return n - m
}

const (
	defaultSeries = 500
	listWalk      = 2000 // rows looked at in one go
)

// List implements Store.
func (r rollups) List(ctx context.Context, q SeriesQuery) ([]Series, error) {
	limit := cmp.Or(q.Max, defaultSeries)
	sel := store.MetricSelection{
		Account: q.Account, Region: q.Region, Namespace: q.Namespace, Name: q.Name, Since: q.Since, Limit: listWalk,
	}
	if parts := strings.SplitN(q.After, "\x00", 3); len(parts) == 3 {
		sel.After = store.MetricSeries{Namespace: parts[0], Name: parts[1], Dimensions: parts[2]}
	}
	var out []Series
	for {
		rows, err := r.rows.MetricSeries(ctx, sel)
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		for _, row := range rows {
			dims, err := parse(row.Dimensions)
			if err != nil {
				return nil, err
			}
			if !has(dims, q.Dimensions) {
				continue
			}
			out = append(out, Series{Namespace: row.Namespace, Name: row.Name, Dimensions: dims, Last: row.LastAt})
			if len(out) == limit {
				return out, nil
			}
		}
		if len(rows) < sel.Limit {
			return out, nil
		}
		sel.After = rows[len(rows)-1]
	}
}

func parse(dimensions string) (map[string]string, error) {
	var d map[string]string
	if err := json.Unmarshal([]byte(dimensions), &d); err != nil {
		return nil, fmt.Errorf("metrics: dimensions: %w", err)
	}
	return d, nil
}

func has(dims, want map[string]string) bool {
	for k, v := range want {
		if got, ok := dims[k]; !ok || (v != "" && got != v) {
			return false
		}
	}
	return true
}

const manySeries = 10_000

// Last implements Store.
func (r rollups) Last(ctx context.Context, account, region, namespace string, dims map[string]string) (map[string]Datum, error) {
	rows, err := r.rows.MetricSeries(ctx, store.MetricSelection{
		Account: account, Region: region, Namespace: namespace, Dimensions: canonical(dims), Limit: manySeries,
	})
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	out := make(map[string]Datum, len(rows))
	for _, s := range rows {
		d := Datum{
			Account: account, Region: region, Namespace: namespace, Name: s.Name, Dimensions: dims,
			Time: s.LastAt, Sum: s.LastValue, Count: 1, Unit: s.LastUnit,
		}
		out[s.Name] = d.Rolled()
	}
	return out, nil
}
