package processing

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	shared "clary/internal/api"
	api "clary/internal/api/sagemaker"
	"clary/internal/job"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/plan"
)

// request is the stored spec: the validated request as it was sent.
type request = api.CreateProcessingJobRequest

const defaultMaxRuntime = 86400 // seconds; the default of StoppingCondition

// readSpec reads a job's request and puts in what it leaves to AWS's defaults.
func readSpec(r *resource.Record) (*request, error) {
	var in request
	if err := json.Unmarshal(r.Spec, &in); err != nil {
		return nil, fmt.Errorf("processing job %s: spec: %w", r.Name, err)
	}
	if cc := in.ProcessingResources.ClusterConfig; cc.InstanceCount == nil {
		cc.InstanceCount = shared.Ptr(int64(1))
	}
	if in.StoppingCondition == nil {
		in.StoppingCondition = &api.ProcessingStoppingCondition{MaxRuntimeInSeconds: defaultMaxRuntime}
	}
	for _, x := range in.ProcessingInputs {
		if s3 := x.S3Input; s3 != nil {
			s3.S3InputMode = cmp.Or(s3.S3InputMode, "File")
			s3.S3DataDistributionType = cmp.Or(s3.S3DataDistributionType, "FullyReplicated")
			s3.S3CompressionType = cmp.Or(s3.S3CompressionType, "None")
		}
	}
	return &in, nil
}

// work is what a job asks of the engine.
func work(r *resource.Record) (*job.Work, error) {
	spec, err := readSpec(r)
	if err != nil {
		return nil, err
	}
	file, err := configFile(r, spec)
	if err != nil {
		return nil, fmt.Errorf("processing job %s: processingjobconfig.json: %w", r.Name, err)
	}
	app, cc := spec.AppSpecification, spec.ProcessingResources.ClusterConfig
	w := &job.Work{
		Image: app.ImageUri, RoleArn: spec.RoleArn, Entrypoint: app.ContainerEntrypoint, Env: spec.Environment,
		InstanceType: cc.InstanceType, InstanceCount: *cc.InstanceCount, VolumeGB: cc.VolumeSizeInGB,
		MaxRuntime: time.Duration(spec.StoppingCondition.MaxRuntimeInSeconds) * time.Second,
		Isolated:   spec.NetworkConfig != nil && job.IsTrue(spec.NetworkConfig.EnableNetworkIsolation),
	}
	if len(app.ContainerEntrypoint) > 0 {
		w.Args = app.ContainerArguments // without, they are the image's own program's
	}
	inputs, outputs := staged(spec)
	w.Plan = func(host string, hosts []string, _ runtimes.Runtime) plan.Plan {
		return plan.Plan{Processing: &plan.Processing{
			JobName: r.Name, JobArn: r.Arn, Region: r.Region, RoleArn: spec.RoleArn, Hosts: hosts, CurrentHost: host,
			Config: file, Inputs: inputs, Outputs: outputs, NetworkIsolation: w.Isolated,
		}}
	}
	return w, nil
}

// staged are the inputs and outputs that the program does not manage itself.
func staged(spec *request) (inputs []plan.Input, outputs []plan.Output) {
	for _, in := range spec.ProcessingInputs {
		if s3 := in.S3Input; !job.IsTrue(in.AppManaged) {
			inputs = append(inputs, plan.Input{LocalPath: s3.LocalPath, Channel: plan.Channel{
				Name: in.InputName, S3DataType: s3.S3DataType, S3Uri: s3.S3Uri,
				Distribution: s3.S3DataDistributionType, CompressionType: s3.S3CompressionType, InputMode: s3.S3InputMode,
			}})
		}
	}
	if spec.ProcessingOutputConfig == nil {
		return inputs, nil
	}
	for _, out := range spec.ProcessingOutputConfig.Outputs {
		if s3 := out.S3Output; !job.IsTrue(out.AppManaged) {
			outputs = append(outputs, plan.Output{Name: out.OutputName, S3Uri: s3.S3Uri, LocalPath: s3.LocalPath, Continuous: s3.S3UploadMode == "Continuous"})
		}
	}
	return inputs, outputs
}

var missingFile = regexp.MustCompile(`(?:No such file or directory: |FileNotFoundError: |can't open file )['"]?(` + base + `/[A-Za-z0-9._/-]+)`)

// hint says where the inputs lie of a program that looked beside them.
func hint(w *job.Work, cause string) string {
	m := missingFile.FindStringSubmatch(cause)
	if m == nil {
		return ""
	}
	within := func(folder string) bool { return strings.HasPrefix(m[1]+"/", path.Clean(folder)+"/") }
	p := w.Plan("", nil, runtimes.Runtime{}).Processing
	var lie []string
	for _, in := range p.Inputs {
		if within(in.LocalPath) {
			return ""
		}
		lie = append(lie, fmt.Sprintf("%q in %s", in.Name, in.LocalPath))
	}
	if slices.ContainsFunc(p.Outputs, func(out plan.Output) bool { return within(out.LocalPath) }) {
		return ""
	}
	if len(lie) == 0 {
		lie = []string{"it has none"}
	}
	return "None of the job's inputs lies there: " + strings.Join(lie, ", ") + ". Add it to ProcessingInputs, which is what run() is given"
}
