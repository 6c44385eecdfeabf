package cloudwatch

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"testing"
	"time"

	"clary/internal/api"
	apicw "clary/internal/api/cloudwatch"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/store/sqlite"
)

func newService(t *testing.T) *CloudWatch {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return New(metrics.New(db.Metrics()), db, func(resource.Key) {})
}

func call() op.Call { return op.Call{Account: "123456789012", Region: "us-west-2"} }

func code(err error) string {
	if e, ok := errors.AsType[*apierr.Error](err); ok {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func ptr[T any](v T) *T { return &v }

func TestStatistics(t *testing.T) {
	t.Parallel()
	w := newService(t)
	ctx := t.Context()
	minute := time.Now().Truncate(time.Hour)
	dims := []apicw.Dimension{{Name: "TrainingJobName", Value: "j"}}
	at := func(d time.Duration) api.Time { return api.At(minute.Add(d)) }
	_, err := w.PutMetricData(ctx, call(), &apicw.PutMetricDataInput{Namespace: "/aws/sagemaker/TrainingJobs", MetricData: []apicw.MetricDatum{
		{MetricName: "loss", Dimensions: dims, Timestamp: at(0), Value: ptr(1.0)},
		{MetricName: "loss", Dimensions: dims, Timestamp: at(30 * time.Second), Value: ptr(2.0)},
		{MetricName: "loss", Dimensions: dims, Timestamp: at(time.Minute), Values: []float64{4, 6}, Counts: []float64{3, 1}},
		{MetricName: "loss", Dimensions: dims, Timestamp: at(2 * time.Minute), StatisticValues: &apicw.StatisticSet{Sum: 10, SampleCount: 4, Minimum: 1, Maximum: 5}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	q := &apicw.GetMetricStatisticsInput{
		Namespace: "/aws/sagemaker/TrainingJobs", MetricName: "loss", Dimensions: dims, Period: 60,
		StartTime: at(0), EndTime: at(time.Hour), Statistics: []string{"Average", "Maximum"},
	}
	out, err := w.GetMetricStatistics(ctx, call(), q)
	if err != nil {
		t.Fatal(err)
	}
	want := []float64{1.5, 4.5, 2.5}
	if len(out.Datapoints) != len(want) || out.Label != "loss" {
		t.Fatalf("%+v", out)
	}
	for i, d := range out.Datapoints {
		if *d.Average != want[i] || d.Sum != nil || d.Maximum == nil || d.Unit != "None" || !d.Timestamp.Equal(minute.Add(time.Duration(i)*time.Minute)) {
			t.Errorf("point %d: %+v", i, d)
		}
	}
	data, err := w.GetMetricData(ctx, call(), &apicw.GetMetricDataInput{StartTime: at(0), EndTime: at(time.Hour), MetricDataQueries: []apicw.MetricDataQuery{
		{Id: "a", MetricStat: &apicw.MetricStat{Metric: &apicw.Metric{Namespace: q.Namespace, MetricName: "loss", Dimensions: dims}, Period: 3600, Stat: "Sum"}},
		{Id: "b", MetricStat: &apicw.MetricStat{Metric: &apicw.Metric{Namespace: q.Namespace, MetricName: "loss"}, Period: 60, Stat: "Sum"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if r := data.MetricDataResults; len(r) != 2 || len(r[0].Values) != 1 || r[0].Values[0] != 31 || len(r[1].Values) != 0 {
		t.Errorf("%+v", data.MetricDataResults)
	}
}

func TestListPages(t *testing.T) {
	t.Parallel()
	w := newService(t)
	const n = 1001
	var data []apicw.MetricDatum
	for i := range n {
		data = append(data, apicw.MetricDatum{MetricName: "m", Dimensions: []apicw.Dimension{{Name: "i", Value: fmt.Sprint(i)}}, Value: ptr(1.0)})
	}
	for len(data) > 0 {
		k := min(len(data), maxData)
		if _, err := w.PutMetricData(t.Context(), call(), &apicw.PutMetricDataInput{Namespace: "n", MetricData: data[:k]}); err != nil {
			t.Fatal(err)
		}
		data = data[k:]
	}
	seen, pages := map[string]bool{}, 0
	for in := (&apicw.ListMetricsInput{Namespace: "n", RecentlyActive: "PT3H"}); ; pages++ {
		out, err := w.ListMetrics(t.Context(), call(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out.Metrics {
			seen[m.Dimensions[0].Value] = true
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			break
		}
	}
	if len(seen) != n || pages != 2 {
		t.Errorf("%d series on %d pages", len(seen), pages+1)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	w := newService(t)
	ctx := t.Context()
	now := api.At(time.Now())
	put := func(d ...apicw.MetricDatum) error {
		_, err := w.PutMetricData(ctx, call(), &apicw.PutMetricDataInput{Namespace: "n", MetricData: d})
		return err
	}
	stats := func(change func(*apicw.GetMetricStatisticsInput)) error {
		in := &apicw.GetMetricStatisticsInput{
			Namespace: "n", MetricName: "m", StartTime: api.At(now.Add(-time.Hour)), EndTime: now, Period: 60, Statistics: []string{"Sum"},
		}
		change(in)
		_, err := w.GetMetricStatistics(ctx, call(), in)
		return err
	}
	const value, combination, absent = "InvalidParameterValueException", "InvalidParameterCombinationException", "MissingRequiredParameterException"
	twice := []apicw.Dimension{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}}
	for name, c := range map[string]struct {
		err  error
		code string
	}{
		"nothing":       {put(), absent},
		"no value":      {put(apicw.MetricDatum{MetricName: "m"}), absent},
		"two values":    {put(apicw.MetricDatum{MetricName: "m", Value: ptr(1.0), Values: []float64{1}}), combination},
		"not a number":  {put(apicw.MetricDatum{MetricName: "m", Value: ptr(math.NaN())}), value},
		"too large":     {put(apicw.MetricDatum{MetricName: "m", Value: ptr(math.Inf(1))}), value},
		"too old":       {put(apicw.MetricDatum{MetricName: "m", Value: ptr(1.0), Timestamp: api.At(now.Add(-maxPast - time.Hour))}), value},
		"too new":       {put(apicw.MetricDatum{MetricName: "m", Value: ptr(1.0), Timestamp: api.At(now.Add(maxFuture + time.Hour))}), value},
		"counts":        {put(apicw.MetricDatum{MetricName: "m", Values: []float64{1}, Counts: []float64{1, 2}}), value},
		"dimension":     {put(apicw.MetricDatum{MetricName: "m", Value: ptr(1.0), Dimensions: twice}), value},
		"min above max": {put(apicw.MetricDatum{MetricName: "m", StatisticValues: &apicw.StatisticSet{SampleCount: 1, Minimum: 2, Maximum: 1}}), value},
		"many":          {put(make([]apicw.MetricDatum, maxData+1)...), value},
		"all or none":   {put(apicw.MetricDatum{MetricName: "m", Value: ptr(1.0)}, apicw.MetricDatum{MetricName: "m"}), absent},
		"period":        {stats(func(in *apicw.GetMetricStatisticsInput) { in.Period = 61 }), value},
		"no statistic":  {stats(func(in *apicw.GetMetricStatisticsInput) { in.Statistics = nil }), combination},
		"percentile":    {stats(func(in *apicw.GetMetricStatisticsInput) { in.ExtendedStatistics = []string{"p90"} }), value},
		"times":         {stats(func(in *apicw.GetMetricStatisticsInput) { in.EndTime = in.StartTime }), combination},
		"points":        {stats(func(in *apicw.GetMetricStatisticsInput) { in.StartTime = api.At(now.Add(-25 * time.Hour)) }), combination},
	} {
		if got := code(c.err); got != c.code {
			t.Errorf("%s: %v, want %s", name, c.err, c.code)
		}
	}
	if l, err := w.ListMetrics(ctx, call(), &apicw.ListMetricsInput{}); err != nil || len(l.Metrics) != 0 {
		t.Errorf("a refused request left %+v, %v", l, err)
	}
}
