package sagemakermetrics

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemakermetrics"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

func call() op.Call { return op.Call{Account: "123456789012", Region: "us-west-2"} }

type bench struct {
	*Service
	t  *testing.T
	db *sqlite.Store
	n  int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &bench{Service: New(db, metrics.New(db.Metrics()), metrics.NewSamples(db.Samples())), t: t, db: db}
}

// record makes a resource, and gives its ARN.
func (b *bench) record(kind resource.Kind, typ, name string) string {
	b.t.Helper()
	b.n++
	r := &resource.Record{
		Key: resource.Key{Account: "123456789012", Region: "us-west-2", Kind: kind, Name: name},
		UID: strings.Repeat("a", 25) + string(rune('a'+b.n)), Arn: arn.SageMaker("us-west-2", "123456789012", typ, name),
		Created: time.Now().Add(-time.Minute), Spec: json.RawMessage("{}"), Status: json.RawMessage("{}"),
	}
	if err := b.db.Update(b.t.Context(), func(tx store.Tx) error { return tx.Put(r) }); err != nil {
		b.t.Fatal(err)
	}
	return r.Arn
}

func (b *bench) put(component string, data ...apism.RawMetricData) []apism.BatchPutMetricsError {
	b.t.Helper()
	out, err := b.BatchPutMetrics(b.t.Context(), call(), &apism.BatchPutMetricsRequest{TrialComponentName: component, MetricData: data})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Errors
}

func (b *bench) get(queries ...apism.MetricQuery) []apism.MetricQueryResult {
	b.t.Helper()
	out, err := b.BatchGetMetrics(b.t.Context(), call(), &apism.BatchGetMetricsRequest{MetricQueries: queries})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.MetricQueryResults
}

func byStep(arn, name, stat string) apism.MetricQuery {
	return apism.MetricQuery{MetricName: name, ResourceArn: arn, MetricStat: stat, Period: "IterationNumber", XAxisType: "IterationNumber"}
}

func TestPutAndGet(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.record("TrainingJob", "training-job", "My-Job")
	at := time.Now().Truncate(time.Hour)
	for range 2 { // a client that repeats a request
		if errs := b.put("my-job-aws-training-job",
			apism.RawMetricData{MetricName: "loss", Timestamp: api.At(at), Step: api.Ptr[int64](1), Value: 4},
			apism.RawMetricData{MetricName: "loss", Timestamp: api.At(at.Add(time.Second)), Step: api.Ptr[int64](1), Value: 2},
			apism.RawMetricData{MetricName: "loss", Timestamp: api.At(at.Add(time.Minute)), Step: api.Ptr[int64](2), Value: 1},
			apism.RawMetricData{MetricName: "lr", Timestamp: api.At(at), Value: 0.1},
		); errs != nil {
			t.Errorf("%v", errs)
		}
	}
	x := at.Unix()
	got := b.get(
		byStep(job, "loss", "Avg"),
		byStep(strings.Replace(job, "training-job/my-job", "experiment-trial-component/my-job-aws-training-job", 1), "loss", "Count"),
		apism.MetricQuery{MetricName: "loss", ResourceArn: job, MetricStat: "Last", Period: "OneMinute", XAxisType: "Timestamp"},
		apism.MetricQuery{MetricName: "loss", ResourceArn: job, MetricStat: "Min", Period: "OneHour", XAxisType: "Timestamp", End: api.Ptr(x + 1)},
		byStep(job, "lr", "Avg"),
		byStep(job, "no such", "Avg"),
	)
	want := []apism.MetricQueryResult{
		{Status: "Complete", XAxisValues: []int64{1, 2}, MetricValues: []float64{3, 1}},
		{Status: "Complete", XAxisValues: []int64{1, 2}, MetricValues: []float64{2, 1}},
		{Status: "Complete", XAxisValues: []int64{x, x + 60}, MetricValues: []float64{2, 1}},
		{Status: "Complete", XAxisValues: []int64{x}, MetricValues: []float64{2}},
		{Status: "Complete"},
		{Status: "Complete"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestTrialComponent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	trial := b.record("TrialComponent", "experiment-trial-component", "mine")
	if errs := b.put("mine", apism.RawMetricData{MetricName: "loss", Timestamp: api.At(time.Now()), Step: api.Ptr[int64](0), Value: 4}); errs != nil {
		t.Errorf("%v", errs)
	}
	if got := b.get(byStep(trial, "loss", "Max")); !reflect.DeepEqual(got[0].MetricValues, []float64{4}) {
		t.Errorf("%+v", got)
	}
}

func TestWhatDoesNotExist(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job, trial := b.record("TrainingJob", "training-job", "job"), b.record("TrialComponent", "experiment-trial-component", "mine")
	at := api.At(time.Now())
	for _, name := range []string{"job", "other-aws-training-job", "job-aws-processing-job", "aws-training-job"} {
		errs := b.put(name, apism.RawMetricData{MetricName: "a", Timestamp: at}, apism.RawMetricData{MetricName: "b", Timestamp: at})
		if len(errs) != 2 || errs[0].Code != "VALIDATION_ERROR" || *errs[1].MetricIndex != 1 {
			t.Errorf("%s: %+v", name, errs)
		}
	}
	for _, q := range []apism.MetricQuery{
		byStep(job+"x", "a", "Avg"),
		byStep("arn:aws:sagemaker:us-west-2:123456789012:experiment-trial-component/no", "a", "Avg"),
		byStep(strings.Replace(job, "123456789012", "210987654321", 1), "a", "Avg"),
		byStep(strings.Replace(job, "us-west-2", "us-east-1", 1), "a", "Avg"),
		byStep(strings.Replace(trial, "arn:aws:", "arn:aws-cn:", 1), "a", "Avg"),
		{MetricName: "a", ResourceArn: job, MetricStat: "Avg", Period: "OneMinute", XAxisType: "IterationNumber"},
		{MetricName: "a", ResourceArn: job, MetricStat: "Avg", Period: "IterationNumber", XAxisType: "Timestamp"},
		{MetricName: "a", ResourceArn: job, MetricStat: "Avg", Period: "OneMinute", XAxisType: "Timestamp", Start: api.Ptr[int64](2), End: api.Ptr[int64](1)},
	} {
		got := b.get(q, byStep(job, "a", "Avg"))
		if got[0].Status != "ValidationError" || got[0].Message == "" || got[1].Status != "Complete" {
			t.Errorf("%+v: %+v", q, got)
		}
	}
}

// What a job printed is there as well, as far as rollups tell it.
func TestFromOutput(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.record("TrainingJob", "training-job", "job")
	minute := time.Now().Truncate(time.Minute)
	put := func(v float64) {
		err := b.rollups.Put(t.Context(), []metrics.Datum{{
			Account: "123456789012", Region: "us-west-2", Namespace: "/aws/sagemaker/TrainingJobs", Name: "loss",
			Dimensions: map[string]string{"TrainingJobName": "job"}, Time: minute, Sum: v,
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	put(5)
	for stat, want := range map[string]float64{"Min": 1, "Max": 5, "Avg": 3, "Count": 2} {
		q := apism.MetricQuery{MetricName: "loss", ResourceArn: job, MetricStat: stat, Period: "OneMinute", XAxisType: "Timestamp"}
		if got := b.get(q); !reflect.DeepEqual(got[0], apism.MetricQueryResult{Status: "Complete", XAxisValues: []int64{minute.Unix()}, MetricValues: []float64{want}}) {
			t.Errorf("%s: %+v", stat, got)
		}
	}
	got := b.get(apism.MetricQuery{MetricName: "loss", ResourceArn: job, MetricStat: "StdDev", Period: "OneMinute", XAxisType: "Timestamp"})
	if got[0].Status != "ValidationError" || !strings.Contains(got[0].Message, "no StdDev of loss") {
		t.Errorf("%+v", got)
	}
}
