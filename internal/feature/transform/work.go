package transform

import (
	"cmp"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	shared "clary/internal/api"
	api "clary/internal/api/sagemaker"
	"clary/internal/job"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/serving"
	"clary/internal/stage/plan"
)

// request is what a job is created with.
type request = api.CreateTransformJobRequest

// spec is what is kept of a job: the validated request as it was sent, and the
// model as it was then.
type spec struct {
	api.CreateTransformJobRequest
	ClaryModel api.CreateModelInput
}

const (
	maxRuntime = 5 * 24 * time.Hour // no request names another
	stopGrace  = 30 * time.Second   // from SIGTERM to SIGKILL, as documented of containers that serve
	diskGB     = 30                 // of an instance; no request names another

	defaultTimeout = 600 // seconds of one invocation; documented, as what follows
	defaultRetries = 3
)

// readSpec reads a job's and puts in what it leaves to AWS's defaults.
func readSpec(r *resource.Record) (*spec, error) {
	var s spec
	if err := json.Unmarshal(r.Spec, &s); err != nil {
		return nil, fmt.Errorf("transform job %s: spec: %w", r.Name, err)
	}
	if s.Environment == nil {
		s.Environment = map[string]string{}
	}
	in, out := s.TransformInput, s.TransformOutput
	in.CompressionType, in.SplitType = cmp.Or(in.CompressionType, none), cmp.Or(in.SplitType, none)
	out.AssembleWith = cmp.Or(out.AssembleWith, none)
	if s.DataProcessing == nil {
		s.DataProcessing = new(api.DataProcessing)
	}
	d := s.DataProcessing
	d.InputFilter, d.OutputFilter, d.JoinSource = cmp.Or(d.InputFilter, "$"), cmp.Or(d.OutputFilter, "$"), cmp.Or(d.JoinSource, none)
	return &s, nil
}

// none is what enumerations of this family call nothing.
const none = "None"

// work is what a job asks of the engine.
func (t *Transform) work(r *resource.Record) (*job.Work, error) {
	s, err := readSpec(r)
	if err != nil {
		return nil, err
	}
	res, model := s.TransformResources, &s.ClaryModel
	containers := serving.Containers(model)
	if len(containers) == 0 {
		return nil, fmt.Errorf("transform job %s: its model has no container", r.Name)
	}
	w := &job.Work{
		Image: containers[0].Image, RoleArn: model.ExecutionRoleArn, Env: s.environment(&containers[0]),
		InstanceType: res.InstanceType, InstanceCount: res.InstanceCount, VolumeGB: diskGB, MaxRuntime: maxRuntime, Grace: stopGrace,
		Isolated: job.IsTrue(model.EnableNetworkIsolation), First: name(&containers[0], 0),
	}
	size, _ := meter.Instance(res.InstanceType)
	limits, _ := t.Capacity.Sized(size.VCPU, size.MemoryGiB, t.Scale)
	for i := range containers[1:] {
		c := &containers[i+1]
		w.Further = append(w.Further, job.Container{
			Name: name(c, i+1), Image: c.Image, Env: s.environment(c),
			Plan: func(runtimes.Runtime) plan.Plan {
				return plan.Plan{Serving: &plan.Serving{
					Region: r.Region, RoleArn: w.RoleArn, VCPU: limits.VCPU, Models: serving.Models(c), NetworkIsolation: w.Isolated,
				}}
			},
		})
	}
	w.Plan = func(host string, hosts []string, _ runtimes.Runtime) plan.Plan {
		p := s.plan(r, host, hosts)
		p.VCPU, p.Models, p.NetworkIsolation = limits.VCPU, serving.Models(&containers[0]), w.Isolated
		for i := range w.Further {
			p.Next = append(p.Next, job.FurtherHost(host, i+1))
		}
		return plan.Plan{Transform: p}
	}
	return w, nil
}

// name is what a container's log is called, and texts call it.
func name(c *api.ContainerDefinition, i int) string {
	return cmp.Or(c.ContainerHostname, fmt.Sprintf("container-%d", i+1))
}

// environment is that of a container: what AWS tells those of transform jobs,
// what the model says, and above that what the job says.
func (s *spec) environment(c *api.ContainerDefinition) map[string]string {
	env := map[string]string{"SAGEMAKER_BATCH": "true"}
	if n := s.MaxPayloadInMB; n != nil {
		env["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = strconv.FormatInt(*n, 10)
	}
	if n := s.MaxConcurrentTransforms; n != nil {
		env["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = strconv.FormatInt(*n, 10)
	}
	switch s.BatchStrategy {
	case "SingleRecord":
		env["SAGEMAKER_BATCH_STRATEGY"] = "SINGLE_RECORD"
	case "MultiRecord":
		env["SAGEMAKER_BATCH_STRATEGY"] = "MULTI_RECORD"
	}
	maps.Copy(env, c.Environment)
	maps.Copy(env, s.Environment)
	env["SAGEMAKER_BIND_TO_PORT"] = strconv.Itoa(serving.Port) // where it is asked
	return env
}

// plan is that of an instance's first container, as far as the request says.
func (s *spec) plan(r *resource.Record, host string, hosts []string) *plan.Transform {
	in, out, data := s.TransformInput, s.TransformOutput, s.DataProcessing
	p := &plan.Transform{
		JobName: r.Name, JobArn: r.Arn, Account: r.Account, Region: r.Region, RoleArn: s.ClaryModel.ExecutionRoleArn, Hosts: hosts, CurrentHost: host,
		Input: plan.TransformInput{
			S3DataType: in.DataSource.S3DataSource.S3DataType, S3Uri: in.DataSource.S3DataSource.S3Uri,
			ContentType: in.ContentType, CompressionType: in.CompressionType, SplitType: in.SplitType,
		},
		Output:        plan.TransformOutput{S3OutputPath: out.S3OutputPath, Accept: out.Accept, AssembleWith: out.AssembleWith},
		BatchStrategy: s.BatchStrategy, MaxConcurrentTransforms: s.MaxConcurrentTransforms, MaxPayloadInMB: s.MaxPayloadInMB,
		TimeoutSeconds: defaultTimeout, MaxRetries: defaultRetries,
		InputFilter: data.InputFilter, OutputFilter: data.OutputFilter, JoinSource: data.JoinSource,
	}
	if c := s.ModelClientConfig; c != nil {
		p.TimeoutSeconds = cmp.Or(shared.Value(c.InvocationsTimeoutInSeconds), defaultTimeout)
		if c.InvocationsMaxRetries != nil {
			p.MaxRetries = *c.InvocationsMaxRetries
		}
	}
	if c := s.DataCaptureConfig; c != nil {
		p.Capture = &plan.TransformCapture{S3Uri: c.DestinationS3Uri, GenerateInferenceID: job.IsTrue(c.GenerateInferenceId)}
	}
	return p
}
