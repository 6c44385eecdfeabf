package training

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	api "clary/internal/api/sagemaker"
	"clary/internal/job"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/plan"
)

// request is the stored spec: the validated request as it was sent.
type request = api.CreateTrainingJobRequest

func readSpec(r *resource.Record) (*request, error) {
	var in request
	if err := json.Unmarshal(r.Spec, &in); err != nil {
		return nil, fmt.Errorf("training job %s: spec: %w", r.Name, err)
	}
	return &in, nil
}

// read says what a job asks for.
func read(rec *resource.Record) (*job.Work, error) {
	spec, err := readSpec(rec)
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	maps.Copy(env, spec.Environment)
	env["TRAINING_JOB_NAME"] = rec.Name
	env["TRAINING_JOB_ARN"] = rec.Arn

	alg, res := spec.AlgorithmSpecification, spec.ResourceConfig
	w := &job.Work{
		Image: alg.TrainingImage, RoleArn: spec.RoleArn, Entrypoint: alg.ContainerEntrypoint, Args: alg.ContainerArguments, Env: env,
		InstanceType: res.InstanceType, InstanceCount: *res.InstanceCount,
		MaxRuntime: maxRuntime(spec), Isolated: job.IsTrue(spec.EnableNetworkIsolation), Metrics: metricsOf(spec),
		Plan: func(host string, hosts []string, rt runtimes.Runtime) plan.Plan {
			return plan.Plan{Training: planOf(rec, spec, host, hosts, rt)}
		},
	}
	if v := res.VolumeSizeInGB; v != nil {
		w.VolumeGB = *v
	}
	for _, ch := range spec.InputDataConfig {
		w.Channels = append(w.Channels, ch.ChannelName)
	}
	return w, nil
}

// outputURI is the folder of what the job makes.
func outputURI(name string, spec *request) string {
	return strings.TrimRight(spec.OutputDataConfig.S3OutputPath, "/") + "/" + name + "/output"
}

// modelURI is where the job's model is to lie.
func modelURI(name string, spec *request) string {
	if spec.OutputDataConfig.CompressionType == "NONE" {
		return outputURI(name, spec) + "/model/"
	}
	return outputURI(name, spec) + "/model.tar.gz"
}

func planOf(rec *resource.Record, spec *request, host string, hosts []string, rt runtimes.Runtime) *plan.Training {
	alg := spec.AlgorithmSpecification
	p := &plan.Training{
		JobName: rec.Name, JobArn: rec.Arn, Account: rec.Account, Region: rec.Region, RoleArn: spec.RoleArn,
		Hosts: hosts, CurrentHost: host, InstanceType: spec.ResourceConfig.InstanceType,
		HyperParameters:  spec.HyperParameters,
		OutputS3Uri:      outputURI(rec.Name, spec),
		Compression:      "GZIP",
		MetricRegexes:    metricsOf(spec),
		NetworkIsolation: job.IsTrue(spec.EnableNetworkIsolation),
		ScriptMode:       rt.ScriptMode && len(alg.ContainerEntrypoint) == 0 && len(alg.ContainerArguments) == 0,
		Framework:        rt.Framework,
	}
	if c := spec.OutputDataConfig.CompressionType; c != "" {
		p.Compression = c
	}
	if c := spec.CheckpointConfig; c != nil {
		p.Checkpoint = &plan.Checkpoint{S3Uri: c.S3Uri, LocalPath: c.LocalPath}
		if p.Checkpoint.LocalPath == "" {
			p.Checkpoint.LocalPath = "/opt/ml/checkpoints"
		}
	}
	for _, ch := range spec.InputDataConfig {
		s3 := ch.DataSource.S3DataSource
		mode := ch.InputMode
		if mode == "" {
			mode = alg.TrainingInputMode
		}
		p.Channels = append(p.Channels, plan.Channel{
			Name: ch.ChannelName, S3DataType: s3.S3DataType, S3Uri: s3.S3Uri,
			Distribution: cmp.Or(s3.S3DataDistributionType, "FullyReplicated"), ContentType: ch.ContentType,
			CompressionType: cmp.Or(ch.CompressionType, "None"), RecordWrapper: cmp.Or(ch.RecordWrapperType, "None"), InputMode: mode,
			AttributeNames: s3.AttributeNames,
		})
	}
	return p
}

func metricsOf(spec *request) []plan.Metric {
	var out []plan.Metric
	for _, m := range spec.AlgorithmSpecification.MetricDefinitions {
		out = append(out, plan.Metric{Name: m.Name, Regex: m.Regex})
	}
	return out
}

const defaultMaxRuntime = 86400 // seconds; the API reference's default

func maxRuntime(spec *request) time.Duration {
	if s := spec.StoppingCondition; s != nil && s.MaxRuntimeInSeconds != nil {
		return time.Duration(*s.MaxRuntimeInSeconds) * time.Second
	}
	return defaultMaxRuntime * time.Second
}

var (
	channelPath = regexp.MustCompile(`/opt/ml/input/data/([A-Za-z0-9._-]+)`)
	channelName = regexp.MustCompile(`KeyError: '?SM_CHANNEL_([A-Z0-9_]+)`)
)

// hint tells whoever's script looked for a channel that the job has not.
func hint(w *job.Work, cause string) string {
	has := func(name string) bool {
		return slices.ContainsFunc(w.Channels, func(c string) bool { return strings.EqualFold(c, name) })
	}
	if m := channelName.FindStringSubmatch(cause); m != nil && !has(m[1]) {
		return noChannel(w, strings.ToLower(m[1]))
	}
	if strings.Contains(cause, "No such file or directory") || strings.Contains(cause, "NotFound") {
		if m := channelPath.FindStringSubmatch(cause); m != nil && !slices.Contains(w.Channels, m[1]) {
			return noChannel(w, m[1])
		}
	}
	return ""
}

func noChannel(w *job.Work, name string) string {
	rest := "; it has no input channels"
	if len(w.Channels) > 0 {
		quoted := make([]string, len(w.Channels))
		for i, c := range w.Channels {
			quoted[i] = fmt.Sprintf("%q", c)
		}
		rest = ", only " + strings.Join(quoted, ", ")
	}
	return fmt.Sprintf("The job has no channel %q%s: add it to InputDataConfig, which is what fit() is given", name, rest)
}
