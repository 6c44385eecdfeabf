package console

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	sm "clary/internal/api/sagemaker"
)

type codeBody struct {
	Name, Path string
	Snippets   []snippet
}

// trainingCode is the code that makes the same job again.
func (c *Console) trainingCode(v *view) error {
	job, err := v.describeJob()
	if err != nil {
		return err
	}
	code, err := codeOf(job, v.call.Region)
	if err != nil {
		return err
	}
	return v.show("code", "Code of "+job.TrainingJobName, "training-jobs", codeBody{job.TrainingJobName, jobPath(job.TrainingJobName), code})
}

// codeOf writes the request that made a job, under a new name, for boto3 and
// for the command line, and the nearest to it with either SDK.
func codeOf(job *sm.DescribeTrainingJobResponse, region string) ([]snippet, error) {
	in := sm.CreateTrainingJobRequest{
		TrainingJobName: again(job.TrainingJobName), HyperParameters: job.HyperParameters,
		AlgorithmSpecification: job.AlgorithmSpecification, RoleArn: job.RoleArn, InputDataConfig: job.InputDataConfig,
		OutputDataConfig: job.OutputDataConfig, ResourceConfig: job.ResourceConfig, VpcConfig: job.VpcConfig,
		StoppingCondition: job.StoppingCondition, CheckpointConfig: job.CheckpointConfig, Environment: job.Environment,
		RetryStrategy: job.RetryStrategy, ExperimentConfig: job.ExperimentConfig,
		ProfilerConfig: job.ProfilerConfig, DebugHookConfig: job.DebugHookConfig,
	}
	if job.EnableNetworkIsolation != nil && *job.EnableNetworkIsolation {
		in.EnableNetworkIsolation = job.EnableNetworkIsolation
	}
	if job.EnableManagedSpotTraining != nil && *job.EnableManagedSpotTraining {
		in.EnableManagedSpotTraining = job.EnableManagedSpotTraining
	}
	b, err := json.Marshal(in, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("code: %w", err)
	}
	python, err := pythonOf(b)
	if err != nil {
		return nil, fmt.Errorf("code: %w", err)
	}
	boto := fmt.Sprintf("import boto3\n\nsm = boto3.client(\"sagemaker\", region_name=%q)\nsm.create_training_job(**%s)\n", region, python)
	cli := fmt.Sprintf("cat > job.json <<'END'\n%s\nEND\naws sagemaker create-training-job --region %s --cli-input-json file://job.json\n", b, region)
	return []snippet{{"boto3", "boto3", boto}, {"cli", "AWS CLI", cli}, {"v2", "SageMaker SDK v2", estimatorOf(job)}, {"v3", "SageMaker SDK v3", resourceOf(job, region)}}, nil
}

// again is a name for the same job a second time, within 63 characters.
func again(name string) string {
	if len(name) > 57 {
		name = strings.TrimRight(name[:57], "-")
	}
	return name + "-again"
}

// pythonOf writes JSON as a Python literal: true, false and null have other
// names there, all else is the same.
func pythonOf(b []byte) (string, error) {
	var out bytes.Buffer
	d := jsontext.NewDecoder(bytes.NewReader(b))
	last := 0
	for {
		t, err := d.ReadToken()
		if err != nil {
			if d.InputOffset() >= int64(len(bytes.TrimSpace(b))) {
				out.Write(b[last:])
				return out.String(), nil
			}
			return "", err
		}
		word := map[jsontext.Kind]string{'t': "True", 'f': "False", 'n': "None"}[t.Kind()]
		if word == "" {
			continue
		}
		end := int(d.InputOffset())
		out.Write(b[last : end-len(t.String())])
		out.WriteString(word)
		last = end
	}
}

func pythonString(s string) string {
	b, _ := jsontext.AppendQuote(nil, s) // only invalid UTF-8 fails, and gives something all the same
	return string(b)
}

// estimatorOf starts the job by the SDK's generic estimator.
func estimatorOf(job *sm.DescribeTrainingJobResponse) string {
	var b strings.Builder
	b.WriteString("from sagemaker.estimator import Estimator\n\nestimator = Estimator(\n")
	arg := func(name, value string) { fmt.Fprintf(&b, "    %s=%s,\n", name, value) }
	arg("image_uri", pythonString(job.AlgorithmSpecification.TrainingImage))
	arg("role", pythonString(job.RoleArn))
	if r := job.ResourceConfig; r != nil {
		if r.InstanceCount != nil {
			arg("instance_count", fmt.Sprint(*r.InstanceCount))
		}
		arg("instance_type", pythonString(r.InstanceType))
		if r.VolumeSizeInGB != nil {
			arg("volume_size", fmt.Sprint(*r.VolumeSizeInGB))
		}
	}
	if o := job.OutputDataConfig; o != nil {
		arg("output_path", pythonString(o.S3OutputPath))
	}
	if s := job.StoppingCondition; s != nil && s.MaxRuntimeInSeconds != nil {
		arg("max_run", fmt.Sprint(*s.MaxRuntimeInSeconds))
	}
	if len(job.AlgorithmSpecification.ContainerEntrypoint) > 0 {
		arg("container_entry_point", pythonList(job.AlgorithmSpecification.ContainerEntrypoint))
	}
	if len(job.AlgorithmSpecification.ContainerArguments) > 0 {
		arg("container_arguments", pythonList(job.AlgorithmSpecification.ContainerArguments))
	}
	dict(&b, "hyperparameters", job.HyperParameters)
	dict(&b, "environment", job.Environment)
	b.WriteString(")\nestimator.fit(")
	if len(job.InputDataConfig) > 0 {
		b.WriteString("{\n")
		for _, ch := range job.InputDataConfig {
			if ch.DataSource != nil && ch.DataSource.S3DataSource != nil {
				fmt.Fprintf(&b, "    %s: %s,\n", pythonString(ch.ChannelName), pythonString(ch.DataSource.S3DataSource.S3Uri))
			}
		}
		b.WriteString("}")
	}
	b.WriteString(")\n")
	return b.String()
}

func pythonList(list []string) string {
	var q []string
	for _, s := range list {
		q = append(q, pythonString(s))
	}
	return "[" + strings.Join(q, ", ") + "]"
}

func dict(b *strings.Builder, name string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	fmt.Fprintf(b, "    %s={\n", name)
	for _, p := range pairs(m) {
		fmt.Fprintf(b, "        %s: %s,\n", pythonString(p.Name), pythonString(p.Value))
	}
	b.WriteString("    },\n")
}

// resourceOf finds the job by SDK v3's resource class.
func resourceOf(job *sm.DescribeTrainingJobResponse, region string) string {
	lines := []string{
		"from sagemaker.core.resources import TrainingJob",
		"",
		fmt.Sprintf("job = TrainingJob.get(%s, region=%q)", pythonString(job.TrainingJobName), region),
		"job.wait(logs=True)",
		"print(job.training_job_status, job.model_artifacts.s3_model_artifacts)",
	}
	return strings.Join(slices.Clip(lines), "\n") + "\n"
}
