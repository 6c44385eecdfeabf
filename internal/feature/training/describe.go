package training

import (
	"context"
	"errors"
	"math"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

// errNotFound is what DescribeTrainingJob answers for an unknown name; waiters
// and SDKs match on code and text.
func errNotFound() error { return apierr.Validation("Requested resource not found.") }

func (t *Training) get(ctx context.Context, c op.Call, name string) (*resource.Record, error) {
	r, err := t.Store.Get(ctx, key(c.Account, c.Region, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNotFound()
	}
	return r, err
}

// Describe answers with the request, the defaults that clients expect back,
// and how the job stands.
func (t *Training) Describe(ctx context.Context, c op.Call, in *api.DescribeTrainingJobRequest) (*op.Kept[api.DescribeTrainingJobResponse], error) {
	r, err := t.get(ctx, c, in.TrainingJobName)
	if err != nil {
		return nil, err
	}
	if r, err = t.await(ctx, c, r); errors.Is(err, store.ErrNotFound) {
		return nil, errNotFound()
	} else if err != nil {
		return nil, err
	}
	if k := t.answers.get(r); k != nil {
		return k, nil
	}
	out, lasts, err := t.describe(ctx, r)
	if err != nil {
		return nil, err
	}
	k := &op.Kept[api.DescribeTrainingJobResponse]{Out: out}
	if lasts {
		t.answers.put(r, k)
	}
	return k, nil
}

// describe answers from a record. The answer lasts as long as the record's
// version unless metrics, which are no part of the record, are in it.
func (t *Training) describe(ctx context.Context, r *resource.Record) (_ *api.DescribeTrainingJobResponse, lasts bool, _ error) {
	st, err := readStatus(r)
	if err != nil {
		return nil, false, err
	}
	spec, err := readSpec(r)
	if err != nil {
		return nil, false, err
	}
	out := &api.DescribeTrainingJobResponse{
		TrainingJobName: r.Name, TrainingJobArn: r.Arn,
		ModelArtifacts:    &api.ModelArtifacts{S3ModelArtifacts: st.Artifact},
		TrainingJobStatus: r.Phase, SecondaryStatus: st.Secondary, FailureReason: st.Failure,
		HyperParameters: spec.HyperParameters, AlgorithmSpecification: spec.AlgorithmSpecification, RoleArn: spec.RoleArn,
		InputDataConfig: spec.InputDataConfig, OutputDataConfig: spec.OutputDataConfig, ResourceConfig: spec.ResourceConfig,
		VpcConfig: spec.VpcConfig, StoppingCondition: spec.StoppingCondition,
		CreationTime: stamp(r.Created), LastModifiedTime: stamp(r.Modified),
		EnableNetworkIsolation:                orFalse(spec.EnableNetworkIsolation),
		EnableInterContainerTrafficEncryption: orFalse(spec.EnableInterContainerTrafficEncryption),
		EnableManagedSpotTraining:             orFalse(spec.EnableManagedSpotTraining),
		CheckpointConfig:                      spec.CheckpointConfig, DebugHookConfig: spec.DebugHookConfig,
		DebugRuleConfigurations: spec.DebugRuleConfigurations, TensorBoardOutputConfig: spec.TensorBoardOutputConfig,
		ExperimentConfig: spec.ExperimentConfig, ProfilerConfig: spec.ProfilerConfig,
		ProfilerRuleConfigurations: spec.ProfilerRuleConfigurations, Environment: spec.Environment,
		RetryStrategy: spec.RetryStrategy, RemoteDebugConfig: spec.RemoteDebugConfig, InfraCheckConfig: spec.InfraCheckConfig,
		MlflowConfig: spec.MlflowConfig,
	}
	if out.StoppingCondition == nil {
		d := int64(defaultMaxRuntime)
		out.StoppingCondition = &api.StoppingCondition{MaxRuntimeInSeconds: &d}
	}
	for _, tr := range st.Transitions {
		s := api.SecondaryStatusTransition{Status: tr.Status, StartTime: stamp(tr.Start), StatusMessage: tr.Message}
		if tr.End != nil {
			s.EndTime = stamp(*tr.End)
		}
		out.SecondaryStatusTransitions = append(out.SecondaryStatusTransitions, s)
	}
	if st.Started != nil {
		out.TrainingStartTime = stamp(*st.Started)
	}
	if st.Ended != nil && terminal(r.Phase) {
		out.TrainingEndTime = stamp(*st.Ended)
		if st.Started != nil {
			secs := seconds(st)
			out.TrainingTimeInSeconds, out.BillableTimeInSeconds = &secs, &secs
		}
	}
	if t.Metrics != nil && len(metricsOf(spec)) > 0 {
		last, err := t.Metrics.Last(ctx, r.Account, r.Region, r.Name)
		if err != nil {
			return nil, false, err
		}
		for _, m := range metricsOf(spec) {
			if v, ok := last[m.Name]; ok {
				f := v.Value
				out.FinalMetricDataList = append(out.FinalMetricDataList, api.MetricData{MetricName: m.Name, Value: &f, Timestamp: stamp(v.At)})
			}
		}
	}
	return out, len(metricsOf(spec)) == 0, nil
}

// seconds is the job's billable time in whole seconds, at least one, as
// DescribeTrainingJob counts it.
func seconds(st status) int64 {
	d := st.Ended.Sub(*st.Started) - time.Duration(st.Suspended*float64(time.Second))
	return int64(max(1, math.Ceil(d.Seconds())))
}

func orFalse(b *bool) *bool {
	if b == nil {
		return new(bool)
	}
	return b
}
