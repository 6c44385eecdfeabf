package server

import (
	"context"
	"io"

	"clary/internal/compute"
	"clary/internal/feature/training"
	"clary/internal/logs"
	"clary/internal/metrics"
	"clary/internal/stage/plan"
)

// finals reads the last values of a training job's metrics.
type finals struct{ m metrics.Store }

func (f finals) Last(ctx context.Context, account, region, job string) (map[string]training.MetricValue, error) {
	last, err := f.m.Last(ctx, account, region, "/aws/sagemaker/TrainingJobs", map[string]string{"TrainingJobName": job})
	if err != nil {
		return nil, err
	}
	out := make(map[string]training.MetricValue, len(last))
	for name, d := range last {
		out[name] = training.MetricValue{Value: d.Sum / max(d.Count, 1), At: d.Time}
	}
	return out, nil
}

// output feeds tasks' spools to the log ingester.
type output struct{ in *logs.Ingester }

func (o output) Ensure(task compute.TaskID, s logs.Stream, dims map[string]string, defs []plan.Metric, sides ...logs.Side) error {
	var ds []logs.MetricDefinition
	for _, d := range defs {
		ds = append(ds, logs.MetricDefinition{Name: d.Name, Regex: d.Regex})
	}
	return o.in.Ensure(string(task), s, s.Group, dims, ds, sides...)
}

func (o output) Done(ctx context.Context, task compute.TaskID, s logs.Stream, size int64) (bool, error) {
	return o.in.Done(ctx, string(task), s, size)
}

func (o output) Forget(task compute.TaskID) { o.in.Forget(string(task)) }

func opener(d compute.Driver) func(ctx context.Context, id string, from int64) (io.ReadCloser, error) {
	return func(ctx context.Context, id string, from int64) (io.ReadCloser, error) {
		return d.Spool(ctx, compute.TaskID(id), from)
	}
}
