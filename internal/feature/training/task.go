package training

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"clary/internal/compute"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/plan"
)

const (
	hostName   = "algo-1"
	stopGrace  = 120 * time.Second // from SIGTERM to SIGKILL; DescribeTrainingJob's documentation of StopTrainingJob
	sessionTTL = 2 * time.Hour     // beyond the job's time limit: staging and upload
)

// task is the job's only instance.
func (t *Training) task(ctx context.Context, rec *resource.Record, spec *request, rt runtimes.Runtime) (compute.Task, error) {
	limit := maxRuntime(spec)
	creds, err := t.Sessions.Assume(ctx, spec.RoleArn, "SageMaker", limit+sessionTTL)
	if err != nil {
		return compute.Task{}, fmt.Errorf("role session: %w", err)
	}
	isolated := isTrue(spec.EnableNetworkIsolation)

	env := map[string]string{}
	maps.Copy(env, rt.Env)
	maps.Copy(env, spec.Environment)
	env["TRAINING_JOB_NAME"] = rec.Name
	env["TRAINING_JOB_ARN"] = rec.Arn
	env["AWS_REGION"] = rec.Region

	alg := spec.AlgorithmSpecification
	task := compute.Task{
		ID: taskID(rec.UID), Kind: "training", Name: rec.Name,
		Image: rt.Image, Entrypoint: alg.ContainerEntrypoint, Args: alg.ContainerArguments,
		Env:       env,
		Plan:      plan.Plan{Training: t.plan(rec, spec, rt)},
		Resources: t.resources(spec),
		Network:   compute.Network{Host: hostName, Peers: []string{hostName}, Isolated: isolated, Egress: t.Egress && !isolated},
		Identity: compute.Identity{
			RoleArn: spec.RoleArn, AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretAccessKey,
			SessionToken: creds.SessionToken, Expiration: creds.Expiration, Region: rec.Region,
		},
		MaxRuntime: limit,
		Grace:      stopGrace,
	}
	if len(task.Entrypoint) == 0 && len(task.Args) == 0 {
		task.Args = rt.Train
	}
	return task, nil
}

func (t *Training) plan(rec *resource.Record, spec *request, rt runtimes.Runtime) *plan.Training {
	alg := spec.AlgorithmSpecification
	p := &plan.Training{
		JobName: rec.Name, JobArn: rec.Arn, Account: rec.Account, Region: rec.Region, RoleArn: spec.RoleArn,
		Hosts: []string{hostName}, CurrentHost: hostName, InstanceType: spec.ResourceConfig.InstanceType,
		HyperParameters:  spec.HyperParameters,
		OutputS3Uri:      strings.TrimRight(spec.OutputDataConfig.S3OutputPath, "/") + "/" + rec.Name + "/output",
		Compression:      "GZIP",
		MetricRegexes:    metricsOf(spec),
		NetworkIsolation: isTrue(spec.EnableNetworkIsolation),
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
			Distribution: orElse(s3.S3DataDistributionType, "FullyReplicated"), ContentType: ch.ContentType,
			CompressionType: orElse(ch.CompressionType, "None"), RecordWrapper: orElse(ch.RecordWrapperType, "None"), InputMode: mode,
			AttributeNames: s3.AttributeNames,
		})
	}
	return p
}

// resources are the instance type's, divided by the operator's scale; memory
// is what the machine has at most.
func (t *Training) resources(spec *request) compute.Resources {
	r, _ := t.sized(spec)
	if v := spec.ResourceConfig.VolumeSizeInGB; v != nil && *v > 0 {
		r.DiskBytes = *v << 30
	}
	return r
}

// sized are the limits of the instance type, and whether this machine has less.
func (t *Training) sized(spec *request) (compute.Resources, bool) {
	size, _ := meter.Instance(spec.ResourceConfig.InstanceType)
	return t.Capacity.Sized(size.VCPU, size.MemoryGiB, t.Scale)
}

// about tells what a failure's text needs to know of the job.
func (t *Training) about(spec *request) about {
	r := t.resources(spec)
	_, clamped := t.sized(spec)
	a := about{
		instance: spec.ResourceConfig.InstanceType, memory: r.MemoryBytes, larger: meter.Larger(spec.ResourceConfig.InstanceType),
		clamped: clamped, volume: r.DiskBytes >> 30,
	}
	for _, ch := range spec.InputDataConfig {
		a.channels = append(a.channels, ch.ChannelName)
	}
	return a
}

// note says in the job's status where it runs on something else than was asked.
func (t *Training) note(spec *request, rt runtimes.Runtime) string {
	var notes []string
	if rt.Note != "" {
		notes = append(notes, rt.Note)
	}
	if r, clamped := t.sized(spec); clamped {
		size, _ := meter.Instance(spec.ResourceConfig.InstanceType)
		notes = append(notes, fmt.Sprintf("memory is limited to the machine's %.1f GiB; %s has %d GiB",
			float64(r.MemoryBytes)/(1<<30), spec.ResourceConfig.InstanceType, size.MemoryGiB))
	}
	return strings.Join(notes, "; ")
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

func isTrue(b *bool) bool { return b != nil && *b }

func orElse(s, d string) string {
	if s == "" {
		return d
	}
	return s
}
