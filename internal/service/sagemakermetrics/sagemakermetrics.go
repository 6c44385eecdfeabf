// Package sagemakermetrics serves SageMaker's metrics data plane: training
// scripts put measurements by step, and charts read them. A measurement
// belongs to a job, by the name of the trial component that SageMaker gives
// each job, or to a trial component. It must never take one for something that
// does not exist. Start at Operations.
package sagemakermetrics

import (
	"context"
	"errors"
	"strings"
	"time"

	apism "clary/internal/api/sagemakermetrics"
	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/store"
)

// Service serves the operations.
type Service struct {
	records store.Store
	rollups metrics.Store
	samples *metrics.Samples
}

// New makes the service. rollups has what was found in jobs' output.
func New(records store.Store, rollups metrics.Store, samples *metrics.Samples) *Service {
	return &Service{records, rollups, samples}
}

// Name is botocore's.
func (s *Service) Name() string { return "sagemaker-metrics" }

// Operations lists what is served.
func (s *Service) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"BatchPutMetrics": op.On(op.Op(s.BatchPutMetrics), func(c op.Call, in *apism.BatchPutMetricsRequest) string {
			return "arn:aws:sagemaker:" + c.Region + ":" + c.Account + ":" + component + in.TrialComponentName
		}),
		"BatchGetMetrics": op.Op(s.BatchGetMetrics),
	}
}

const (
	component = "experiment-trial-component/"
	jobs      = resource.Kind("TrainingJob")
)

// suffixes are how SageMaker names the trial component of a job.
func suffixes() map[string]resource.Kind {
	return map[string]resource.Kind{
		"-aws-training-job":   jobs,
		"-aws-processing-job": "ProcessingJob",
		"-aws-transform-job":  "TransformJob",
	}
}

// byComponent finds what a trial component stands for.
func (s *Service) byComponent(ctx context.Context, c op.Call, name string) (*resource.Record, error) {
	r, err := s.records.Get(ctx, resource.Key{Kind: "TrialComponent", Account: c.Account, Region: c.Region, Name: name})
	if !errors.Is(err, store.ErrNotFound) {
		return r, err
	}
	for suffix, kind := range suffixes() {
		base, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		r, err := s.records.Get(ctx, resource.Key{Kind: kind, Account: c.Account, Region: c.Region, Name: base})
		if !errors.Is(err, store.ErrNotFound) {
			return r, err
		}
		// a trial component's name is its job's in lower case
		found, _, err := s.records.List(ctx, resource.Query{Account: c.Account, Region: c.Region, Kind: kind, NameContains: base})
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			if strings.EqualFold(r.Name, base) {
				return r, nil
			}
		}
	}
	return nil, store.ErrNotFound
}

// BatchPutMetrics keeps measurements. What is put again adds nothing.
func (s *Service) BatchPutMetrics(ctx context.Context, c op.Call, in *apism.BatchPutMetricsRequest) (*apism.BatchPutMetricsResponse, error) {
	out := &apism.BatchPutMetricsResponse{}
	owner, err := s.byComponent(ctx, c, in.TrialComponentName)
	if errors.Is(err, store.ErrNotFound) {
		for i := range in.MetricData {
			n := int64(i)
			out.Errors = append(out.Errors, apism.BatchPutMetricsError{Code: "VALIDATION_ERROR", MetricIndex: &n})
		}
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	add := make([]store.Sample, len(in.MetricData))
	for i, d := range in.MetricData {
		add[i] = store.Sample{Name: d.MetricName, At: d.Timestamp.Time, Step: store.NoStep, Value: d.Value}
		if d.Step != nil {
			add[i].Step = *d.Step
		}
	}
	return out, s.samples.Put(ctx, owner.UID, add)
}

// maxPoints bounds one result.
const maxPoints = 10_000

// BatchGetMetrics answers each query for itself.
func (s *Service) BatchGetMetrics(ctx context.Context, c op.Call, in *apism.BatchGetMetricsRequest) (*apism.BatchGetMetricsResponse, error) {
	out := &apism.BatchGetMetricsResponse{MetricQueryResults: make([]apism.MetricQueryResult, 0, len(in.MetricQueries))}
	for i := range in.MetricQueries {
		r, err := s.answer(ctx, c, &in.MetricQueries[i])
		if e, ok := errors.AsType[*apierr.Error](err); ok {
			r, err = apism.MetricQueryResult{Status: "ValidationError", Message: e.Message}, nil
		}
		if err != nil {
			return nil, err
		}
		out.MetricQueryResults = append(out.MetricQueryResults, r)
	}
	return out, nil
}

func (s *Service) answer(ctx context.Context, c op.Call, q *apism.MetricQuery) (apism.MetricQueryResult, error) {
	r := apism.MetricQueryResult{Status: "Complete"}
	owner, err := s.byArn(ctx, c, q.ResourceArn)
	if err != nil {
		return r, err
	}
	sq := metrics.SampleQuery{
		Owner: owner.UID, Name: q.MetricName, Stat: metrics.Stat(q.MetricStat), From: q.Start, To: q.End, Max: maxPoints,
		Period: map[string]time.Duration{"OneMinute": time.Minute, "FiveMinute": 5 * time.Minute, "OneHour": time.Hour}[q.Period],
	}
	if q.XAxisType == "IterationNumber" {
		sq.Axis = metrics.ByStep
	}
	if (sq.Period == 0) != (sq.Axis == metrics.ByStep) {
		return r, apierr.Validation("The Period %s does not go with the XAxisType %s.", q.Period, q.XAxisType)
	}
	if q.Start != nil && q.End != nil && *q.Start > *q.End {
		return r, apierr.Validation("Start must not be greater than End.")
	}
	points, more, err := s.samples.Points(ctx, sq)
	if err == nil && len(points) == 0 && sq.Axis == metrics.ByTime && owner.Kind == jobs {
		points, more, err = s.fromOutput(ctx, owner, sq)
	}
	if err != nil {
		return r, err
	}
	if more {
		r.Status = "Truncated"
	}
	for _, p := range points {
		r.XAxisValues = append(r.XAxisValues, p.X)
		r.MetricValues = append(r.MetricValues, p.Y)
	}
	return r, nil
}

// byArn finds a resource of the caller's account and region.
func (s *Service) byArn(ctx context.Context, c op.Call, name string) (r *resource.Record, err error) {
	a, ok := arn.Parse(name)
	if !ok || a.Partition != "aws" || a.Service != "sagemaker" || a.Account != c.Account || a.Region != c.Region {
		return nil, apierr.Validation("The resource %s is not one of account %s in %s.", name, c.Account, c.Region)
	}
	if n, ok := strings.CutPrefix(a.Resource, component); ok {
		r, err = s.byComponent(ctx, c, n)
	} else {
		err = s.records.View(ctx, func(tx store.Tx) error {
			r, err = tx.ByArn(name)
			return err
		})
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, apierr.Validation("The resource %s does not exist.", name)
	}
	return r, err
}

// fromOutput reads what was found in a training job's output by its metric
// definitions, of which there are rollups by the minute.
func (s *Service) fromOutput(ctx context.Context, job *resource.Record, q metrics.SampleQuery) ([]metrics.XY, bool, error) {
	mq := metrics.Query{
		Account: job.Account, Region: job.Region, Namespace: "/aws/sagemaker/TrainingJobs", Name: q.Name,
		Dimensions: map[string]string{"TrainingJobName": job.Name},
		Start:      job.Created, End: time.Now(), Period: q.Period,
	}
	if q.From != nil {
		mq.Start = time.Unix(*q.From, 0)
	}
	if q.To != nil {
		mq.End = time.Unix(*q.To+1, 0)
	}
	found, err := s.rollups.Points(ctx, mq)
	if err != nil || len(found) == 0 {
		return nil, false, err
	}
	more := len(found) > q.Max
	var out []metrics.XY
	for _, p := range found[:min(len(found), q.Max)] {
		y := 0.0
		switch q.Stat {
		case metrics.StatMin:
			y = p.Min
		case metrics.StatMax:
			y = p.Max
		case metrics.StatAvg:
			y = p.Sum / p.Count
		case metrics.StatCount:
			y = p.Count
		case metrics.StatStdDev, metrics.StatLast:
			return nil, false, apierr.Validation("Clary keeps metrics that it found in a job's output as sums, minima, maxima and counts by the minute; it has no %s of %s.", q.Stat, q.Name)
		}
		out = append(out, metrics.XY{X: p.Start.Unix(), Y: y})
	}
	return out, more, nil
}
