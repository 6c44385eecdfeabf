package console

import (
	"fmt"
	"strings"
	"time"

	sm "clary/internal/api/sagemaker"
)

// trainingJobs are training jobs, as the pages of jobs have them.
func trainingJobs() *jobKind {
	return &jobKind{
		Kind: "TrainingJob", Section: "training-jobs", Group: "/aws/sagemaker/TrainingJobs", Note: "Last step",
		Keeps: "The job gets 120 seconds to save its work; what is then in /opt/ml/model is kept as its model.",
		hints: []hint{
			{"VolumeSizeInGB", "Give the job a larger volume: VolumeSizeInGB in ResourceConfig (volume_size in the SDK)."},
			{"No S3 objects found", "Check the prefix of the channel; the message names it."},
			{"ModuleNotFoundError", "Put the module into requirements.txt beside the script; it is installed before the script starts."},
		},
		list: listTraining, describe: describeTraining,
		stop: func(v *view, name string) error {
			_, err := v.act("StopTrainingJob", &sm.StopTrainingJobRequest{TrainingJobName: name})
			return err
		},
	}
}

func listTraining(v *view, q jobQuery) (rows []jobRow, next string, err error) {
	out, err := ask[sm.ListTrainingJobsResponse](v, "sagemaker", "ListTrainingJobs", &sm.ListTrainingJobsRequest{
		NameContains: q.Name, StatusEquals: q.Status, SortBy: q.SortBy, SortOrder: q.SortOrder,
		CreationTimeAfter: q.After, CreationTimeBefore: q.Before, MaxResults: &q.Max, NextToken: q.Page,
	})
	if err != nil {
		return nil, "", err
	}
	for _, j := range out.TrainingJobSummaries {
		rows = append(rows, jobRow{
			Name: j.TrainingJobName, Status: j.TrainingJobStatus, Step: j.SecondaryStatus, Note: j.SecondaryStatus,
			Created: j.CreationTime.Time, Ended: j.TrainingEndTime.Time,
		})
	}
	return rows, out.NextToken, nil
}

func describeTraining(v *view, name string) (*job, error) {
	d, err := ask[sm.DescribeTrainingJobResponse](v, "sagemaker", "DescribeTrainingJob", &sm.DescribeTrainingJobRequest{TrainingJobName: name})
	if err != nil {
		return nil, err
	}
	j := &job{
		Name: d.TrainingJobName, Status: d.TrainingJobStatus, Step: d.SecondaryStatus, Failure: d.FailureReason,
		Created: d.CreationTime.Time, Ended: d.TrainingEndTime.Time, transitions: d.SecondaryStatusTransitions, billable: d.BillableTimeInSeconds,
		Config: trainingConfig(d), Params: pairs(d.HyperParameters), Env: pairs(d.Environment),
		code: func(region string) ([]snippet, error) { return trainingCode(d, region) },
	}
	var count *int64
	if r := d.ResourceConfig; r != nil {
		count = r.InstanceCount
	}
	j.Hosts = hostNames(count)
	for _, m := range d.FinalMetricDataList {
		if m.Value != nil {
			j.final = append(j.final, fact{Name: m.MetricName, Value: number(*m.Value)})
		}
	}
	if a := d.AlgorithmSpecification; a != nil {
		j.metrics = a.MetricDefinitions
	}
	for _, ch := range d.InputDataConfig {
		if ch.DataSource != nil && ch.DataSource.S3DataSource != nil {
			uri := ch.DataSource.S3DataSource.S3Uri
			j.inputs = append(j.inputs, place{"Channel " + ch.ChannelName, uri, uri})
		}
	}
	if o := d.OutputDataConfig; o != nil && !running(d.TrainingJobStatus) {
		uri := strings.TrimRight(o.S3OutputPath, "/") + "/" + d.TrainingJobName + "/"
		j.outputs = []place{{"Output", uri, uri}}
	}
	return j, nil
}

func trainingConfig(d *sm.DescribeTrainingJobResponse) []fact {
	var out table
	out.add("ARN", d.TrainingJobArn)
	out.add("Role", d.RoleArn)
	if a := d.AlgorithmSpecification; a != nil {
		out.add("Image", a.TrainingImage)
		out.add("Input mode", a.TrainingInputMode)
		out.add("Entrypoint", strings.Join(a.ContainerEntrypoint, " "))
		out.add("Arguments", strings.Join(a.ContainerArguments, " "))
	}
	if r := d.ResourceConfig; r != nil {
		out.add("Instances", count(len(hostNames(r.InstanceCount)))+" × "+r.InstanceType)
		if r.VolumeSizeInGB != nil {
			out.add("Volume", count(*r.VolumeSizeInGB)+" GB")
		}
	}
	if s := d.StoppingCondition; s != nil && s.MaxRuntimeInSeconds != nil {
		out.add("Longest run", span(time.Duration(*s.MaxRuntimeInSeconds)*time.Second))
	}
	if yes(d.EnableNetworkIsolation) {
		out.add("Network", "isolated")
	}
	if o := d.OutputDataConfig; o != nil {
		out.add("Output", o.S3OutputPath)
	}
	if k := d.CheckpointConfig; k != nil {
		out.add("Checkpoints", k.S3Uri)
	}
	return out
}

// trainingCode writes the request that made a job, and the nearest to it with
// either SDK.
func trainingCode(d *sm.DescribeTrainingJobResponse, region string) ([]snippet, error) {
	in := &sm.CreateTrainingJobRequest{
		TrainingJobName: again(d.TrainingJobName), HyperParameters: d.HyperParameters,
		AlgorithmSpecification: d.AlgorithmSpecification, RoleArn: d.RoleArn, InputDataConfig: d.InputDataConfig,
		OutputDataConfig: d.OutputDataConfig, ResourceConfig: d.ResourceConfig, VpcConfig: d.VpcConfig,
		StoppingCondition: d.StoppingCondition, CheckpointConfig: d.CheckpointConfig, Environment: d.Environment,
		RetryStrategy: d.RetryStrategy, ExperimentConfig: d.ExperimentConfig,
		ProfilerConfig: d.ProfilerConfig, DebugHookConfig: d.DebugHookConfig,
	}
	if yes(d.EnableNetworkIsolation) {
		in.EnableNetworkIsolation = d.EnableNetworkIsolation
	}
	if yes(d.EnableManagedSpotTraining) {
		in.EnableManagedSpotTraining = d.EnableManagedSpotTraining
	}
	return jobCode("training-job", in, region, estimatorOf(d), resourceOf(d, region))
}

// estimatorOf starts the job by the SDK's generic estimator.
func estimatorOf(d *sm.DescribeTrainingJobResponse) string {
	var b pythonCall
	b.WriteString("from sagemaker.estimator import Estimator\n\nestimator = Estimator(\n")
	b.arg("image_uri", pythonString(d.AlgorithmSpecification.TrainingImage))
	b.arg("role", pythonString(d.RoleArn))
	if r := d.ResourceConfig; r != nil {
		b.number("instance_count", r.InstanceCount)
		b.arg("instance_type", pythonString(r.InstanceType))
		b.number("volume_size", r.VolumeSizeInGB)
	}
	if o := d.OutputDataConfig; o != nil {
		b.arg("output_path", pythonString(o.S3OutputPath))
	}
	if s := d.StoppingCondition; s != nil {
		b.number("max_run", s.MaxRuntimeInSeconds)
	}
	b.list("container_entry_point", d.AlgorithmSpecification.ContainerEntrypoint)
	b.list("container_arguments", d.AlgorithmSpecification.ContainerArguments)
	b.dict("hyperparameters", d.HyperParameters)
	b.dict("environment", d.Environment)
	b.WriteString(")\nestimator.fit(")
	if len(d.InputDataConfig) > 0 {
		b.WriteString("{\n")
		for _, ch := range d.InputDataConfig {
			if ch.DataSource != nil && ch.DataSource.S3DataSource != nil {
				b.say("    %s: %s,\n", pythonString(ch.ChannelName), pythonString(ch.DataSource.S3DataSource.S3Uri))
			}
		}
		b.WriteString("}")
	}
	b.WriteString(")\n")
	return b.String()
}

// resourceOf finds the job by SDK v3's resource class.
func resourceOf(d *sm.DescribeTrainingJobResponse, region string) string {
	return strings.Join([]string{
		"from sagemaker.core.resources import TrainingJob",
		"",
		fmt.Sprintf("job = TrainingJob.get(%s, region=%q)", pythonString(d.TrainingJobName), region),
		"job.wait(logs=True)",
		"print(job.training_job_status, job.model_artifacts.s3_model_artifacts)",
	}, "\n") + "\n"
}
