package training

import (
	"cmp"
	"context"

	shared "clary/internal/api"
	api "clary/internal/api/sagemaker"
	"clary/internal/aws/op"
	"clary/internal/job"
	"clary/internal/resource"
)

// Describe answers with the request, the defaults that clients expect back,
// and how the job stands.
func (t *Training) Describe(ctx context.Context, c op.Call, in *api.DescribeTrainingJobRequest) (*op.Kept[api.DescribeTrainingJobResponse], error) {
	r, err := t.Await(ctx, c, in.TrainingJobName)
	if err != nil {
		return nil, err
	}
	if k := t.answers.Get(r); k != nil {
		return k, nil
	}
	out, lasts, err := t.describe(ctx, r)
	if err != nil {
		return nil, err
	}
	k := &op.Kept[api.DescribeTrainingJobResponse]{Out: out}
	if lasts {
		t.answers.Put(r, k)
	}
	return k, nil
}

// describe answers from a record. The answer lasts as long as the record's
// version unless metrics, which are no part of the record, are in it.
func (t *Training) describe(ctx context.Context, r *resource.Record) (_ *api.DescribeTrainingJobResponse, lasts bool, _ error) {
	st, err := job.ReadStatus(r)
	if err != nil {
		return nil, false, err
	}
	spec, err := readSpec(r)
	if err != nil {
		return nil, false, err
	}
	out := &api.DescribeTrainingJobResponse{
		TrainingJobName: r.Name, TrainingJobArn: r.Arn,
		ModelArtifacts:    &api.ModelArtifacts{S3ModelArtifacts: cmp.Or(st.Artifact, modelURI(r.Name, spec))},
		TrainingJobStatus: r.Phase, SecondaryStatus: st.Secondary, FailureReason: st.Failure,
		HyperParameters: spec.HyperParameters, AlgorithmSpecification: spec.AlgorithmSpecification, RoleArn: spec.RoleArn,
		InputDataConfig: spec.InputDataConfig, OutputDataConfig: spec.OutputDataConfig, ResourceConfig: spec.ResourceConfig,
		VpcConfig: spec.VpcConfig, StoppingCondition: spec.StoppingCondition,
		CreationTime: shared.At(r.Created), LastModifiedTime: shared.At(r.Modified),
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
		s := api.SecondaryStatusTransition{Status: tr.Status, StartTime: shared.At(tr.Start), StatusMessage: tr.Message}
		if tr.End != nil {
			s.EndTime = shared.At(*tr.End)
		}
		out.SecondaryStatusTransitions = append(out.SecondaryStatusTransitions, s)
	}
	if st.Started != nil {
		out.TrainingStartTime = shared.At(*st.Started)
	}
	if st.Ended != nil && job.Terminal(r.Phase) {
		out.TrainingEndTime = shared.At(*st.Ended)
		if secs := st.Seconds(); secs > 0 {
			out.TrainingTimeInSeconds, out.BillableTimeInSeconds = &secs, &secs
		}
	}
	if t.metrics != nil && len(metricsOf(spec)) > 0 {
		last, err := t.metrics.Last(ctx, r.Account, r.Region, r.Name)
		if err != nil {
			return nil, false, err
		}
		for _, m := range metricsOf(spec) {
			if v, ok := last[m.Name]; ok {
				f := v.Value
				out.FinalMetricDataList = append(out.FinalMetricDataList, api.MetricData{MetricName: m.Name, Value: &f, Timestamp: shared.At(v.At)})
			}
		}
	}
	return out, len(metricsOf(spec)) == 0, nil
}

func orFalse(b *bool) *bool {
	if b == nil {
		return new(bool)
	}
	return b
}
