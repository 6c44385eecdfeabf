package cloudwatch

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"clary/internal/api"
	apicw "clary/internal/api/cloudwatch"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/metrics"
)

// Limits of answers.
const (
	maxStatistics = 1440    // points of GetMetricStatistics
	maxPoints     = 100_800 // points of GetMetricData
	maxQueries    = 500
	seriesPage    = 500
	listed        = 14 * 24 * time.Hour // a series without data for longer is not listed
	active        = 3 * time.Hour
)

// GetMetricStatistics gives a series' statistics by period, in order.
func (w *CloudWatch) GetMetricStatistics(ctx context.Context, c op.Call, in *apicw.GetMetricStatisticsInput) (*apicw.GetMetricStatisticsOutput, error) {
	switch {
	case len(in.Statistics) == 0 && len(in.ExtendedStatistics) == 0:
		return nil, badCombination("Must specify either Statistics or ExtendedStatistics")
	case len(in.ExtendedStatistics) > 0:
		return nil, badValue("Clary keeps sums, minima, maxima and counts by the minute; it has no ExtendedStatistics such as %s.", in.ExtendedStatistics[0])
	case !in.StartTime.Before(in.EndTime.Time):
		return nil, badCombination("The parameter StartTime must be less than the parameter EndTime.")
	}
	p, err := period(in.Period)
	if err != nil {
		return nil, err
	}
	if n := int64(in.EndTime.Sub(in.StartTime.Time)) / int64(p); n > maxStatistics {
		return nil, badCombination("You have requested up to %s datapoints, which exceeds the limit of 1,440. You may reduce the datapoints requested by increasing Period, or decreasing the time range.", thousands(n))
	}
	dims, err := dimensions("Dimensions", in.Dimensions)
	if err != nil {
		return nil, err
	}
	points, err := w.store.Points(ctx, metrics.Query{
		Account: c.Account, Region: c.Region, Namespace: in.Namespace, Name: in.MetricName, Dimensions: dims,
		Unit: in.Unit, Start: in.StartTime.Time, End: in.EndTime.Time, Period: p,
	})
	if err != nil {
		return nil, err
	}
	out := &apicw.GetMetricStatisticsOutput{Label: in.MetricName, Datapoints: make([]apicw.Datapoint, len(points))}
	for i, pt := range points {
		d := apicw.Datapoint{Timestamp: api.At(pt.Start), Unit: pt.Unit}
		for name, to := range map[string]**float64{
			"SampleCount": &d.SampleCount, "Average": &d.Average, "Sum": &d.Sum, "Minimum": &d.Minimum, "Maximum": &d.Maximum,
		} {
			if slices.Contains(in.Statistics, name) {
				v, _ := statistic(name, pt)
				*to = &v
			}
		}
		out.Datapoints[i] = d
	}
	return out, nil
}

func thousands(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

func invalidData(format string, args ...any) error {
	return apierr.New(400, "ValidationError", format, args...)
}

// GetMetricData gives one statistic of many series.
func (w *CloudWatch) GetMetricData(ctx context.Context, c op.Call, in *apicw.GetMetricDataInput) (*apicw.GetMetricDataOutput, error) {
	switch {
	case in.NextToken != "":
		return nil, apierr.New(400, "InvalidNextToken", "The token %s is invalid.", in.NextToken)
	case len(in.MetricDataQueries) == 0:
		return nil, invalidData("The collection MetricDataQueries must not be empty.")
	case len(in.MetricDataQueries) > maxQueries:
		return nil, invalidData("The collection MetricDataQueries must not have a size greater than %d.", maxQueries)
	case !in.StartTime.Before(in.EndTime.Time):
		return nil, invalidData("The parameter StartTime must be less than the parameter EndTime.")
	}
	limit := maxPoints
	if in.MaxDatapoints != nil && *in.MaxDatapoints > 0 {
		limit = min(limit, int(*in.MaxDatapoints))
	}
	seen := make(map[string]bool)
	out := &apicw.GetMetricDataOutput{MetricDataResults: []apicw.MetricDataResult{}, Messages: []apicw.MessageData{}}
	total := 0
	for _, q := range in.MetricDataQueries {
		if seen[q.Id] {
			return nil, invalidData("The values for parameter id in MetricDataQueries are not unique.")
		}
		seen[q.Id] = true
		r, err := w.series(ctx, c, in, &q)
		if err != nil {
			return nil, err
		}
		if total += len(r.Values); total > limit {
			return nil, invalidData("Clary answers GetMetricData in one page, and this one has more than %d data points. Ask for a shorter time or a longer Period.", limit)
		}
		if q.ReturnData == nil || *q.ReturnData {
			out.MetricDataResults = append(out.MetricDataResults, *r)
		}
	}
	return out, nil
}

// series answers one query.
func (w *CloudWatch) series(ctx context.Context, c op.Call, in *apicw.GetMetricDataInput, q *apicw.MetricDataQuery) (*apicw.MetricDataResult, error) {
	switch {
	case q.Expression != "":
		return nil, invalidData("Clary does not support Expression in MetricDataQueries, only MetricStat.")
	case q.MetricStat == nil || q.MetricStat.Metric == nil:
		return nil, invalidData("Either MetricStat or Expression must be given for MetricDataQuery %s.", q.Id)
	case q.AccountId != "" && q.AccountId != c.Account:
		return nil, invalidData("The account %s of MetricDataQuery %s is not the caller's.", q.AccountId, q.Id)
	}
	s, m := q.MetricStat, q.MetricStat.Metric
	if _, ok := statistic(s.Stat, metrics.Point{Count: 1}); !ok {
		return nil, invalidData("Clary keeps sums, minima, maxima and counts by the minute; it has no statistic %s.", s.Stat)
	}
	p, err := period(s.Period)
	if err != nil {
		return nil, err
	}
	dims, err := dimensions("Dimensions", m.Dimensions)
	if err != nil {
		return nil, err
	}
	points, err := w.store.Points(ctx, metrics.Query{
		Account: c.Account, Region: c.Region, Namespace: m.Namespace, Name: m.MetricName, Dimensions: dims,
		Unit: s.Unit, Start: in.StartTime.Time, End: in.EndTime.Time, Period: p,
	})
	if err != nil {
		return nil, err
	}
	r := &apicw.MetricDataResult{
		Id: q.Id, Label: q.Label, StatusCode: "Complete",
		Timestamps: make([]api.Time, len(points)), Values: make([]float64, len(points)),
	}
	if r.Label == "" {
		r.Label = m.MetricName
	}
	if in.ScanBy != "TimestampAscending" {
		slices.Reverse(points)
	}
	for i, pt := range points {
		r.Timestamps[i] = api.At(pt.Start)
		r.Values[i], _ = statistic(s.Stat, pt)
	}
	return r, nil
}

// ListMetrics lists series that had data lately.
func (w *CloudWatch) ListMetrics(ctx context.Context, c op.Call, in *apicw.ListMetricsInput) (*apicw.ListMetricsOutput, error) {
	if in.OwningAccount != "" && in.OwningAccount != c.Account {
		return nil, badValue("The value %s for parameter OwningAccount is invalid.", in.OwningAccount)
	}
	since := listed
	if in.RecentlyActive != "" {
		since = active
	}
	q := metrics.SeriesQuery{
		Account: c.Account, Region: c.Region, Namespace: in.Namespace, Name: in.MetricName,
		Dimensions: make(map[string]string, len(in.Dimensions)), Since: time.Now().Add(-since), Max: seriesPage + 1,
	}
	for _, d := range in.Dimensions {
		q.Dimensions[d.Name] = d.Value
	}
	if in.NextToken != "" {
		b, err := base64.RawURLEncoding.DecodeString(in.NextToken)
		if err != nil || len(b) == 0 {
			return nil, badValue("The value %s for parameter NextToken is invalid.", in.NextToken)
		}
		q.After = string(b)
	}
	found, err := w.store.List(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &apicw.ListMetricsOutput{Metrics: []apicw.Metric{}}
	if len(found) > seriesPage {
		found = found[:seriesPage]
		out.NextToken = base64.RawURLEncoding.EncodeToString([]byte(found[seriesPage-1].Key()))
	}
	for _, s := range found {
		out.Metrics = append(out.Metrics, apicw.Metric{Namespace: s.Namespace, MetricName: s.Name, Dimensions: sorted(s.Dimensions)})
	}
	return out, nil
}
