package transform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	shared "clary/internal/api"
	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/job"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/serving"
	"clary/internal/stage/plan"
	"clary/internal/store"
)

// Kind is the record kind of transform jobs.
const Kind resource.Kind = "TransformJob"

// DataLog is what comes last in the name of the log stream in which an instance
// tells of the objects that it transforms.
const DataLog = "data-log"

// Transform serves and reconciles transform jobs.
type Transform struct {
	*job.Engine
	answers job.Answers[api.DescribeTransformJobResponse]
}

// New makes the feature.
func New(c job.Config) *Transform {
	t := new(Transform)
	t.Engine = job.New(c, job.Family{
		Kind: Kind, Word: "transform", Reasons: true, Fixed: true, Side: DataLog, Mark: plan.DataLog,
		Read:    func(r *resource.Record) (*job.Work, error) { return t.work(r) },
		Program: func(rt runtimes.Runtime) []string { return rt.Serve },
		Lacks: func(image string, rt runtimes.Runtime) string {
			return fmt.Sprintf("The image %q has no program that serves models: the runtime %s is for jobs alone. Use an inference image.", image, rt.Title)
		},
		Missing: func(name string, change bool) string {
			if change {
				return "Could not find job to update with name: " + name
			}
			return "Could not find requested job with name: " + name
		},
		Taken: func(arn string) string {
			return "Job name must be unique within an AWS account and region, and a job with this name already exists (" + arn + ")"
		},
		Silent:      "See job logs for more information",
		OutOfMemory: "ClientError: Please use an instance type with more memory, or reduce the size of job data processed on an instance. ",
	})
	return t
}

// Name is the service whose operations these are.
func (t *Transform) Name() string { return "sagemaker" }

// Operations lists what this package serves.
func (t *Transform) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateTransformJob": op.On(op.Op(t.Create), func(c op.Call, in *api.CreateTransformJobRequest) string {
			return t.Arn(c, in.TransformJobName)
		}),
		"DescribeTransformJob": op.On(op.Keep(t.Describe), func(c op.Call, in *api.DescribeTransformJobRequest) string {
			return t.Arn(c, in.TransformJobName)
		}),
		"StopTransformJob": op.On(op.Op(t.Stop), func(c op.Call, in *api.StopTransformJobRequest) string {
			return t.Arn(c, in.TransformJobName)
		}),
		"ListTransformJobs": op.Op(t.List),
	}
}

// Create accepts a job: one transaction, no compute touched. The model's role
// was passed on when the model was created.
func (t *Transform) Create(ctx context.Context, c op.Call, in *request) (*api.CreateTransformJobResponse, error) {
	if err := t.check(in); err != nil {
		return nil, err
	}
	model, err := t.model(ctx, c, in.ModelName)
	if err != nil {
		return nil, err
	}
	if err := t.CheckContainers(in.TransformResources.InstanceType, in.TransformResources.InstanceCount, len(serving.Containers(model))); err != nil {
		return nil, err
	}
	arn, err := t.Engine.Create(ctx, c, in.TransformJobName, "", &spec{*in, *model}, in.Tags)
	if err != nil {
		return nil, err
	}
	return &api.CreateTransformJobResponse{TransformJobArn: arn}, nil
}

// model reads one as it is now. Its feature has refused what nobody can serve.
func (t *Transform) model(ctx context.Context, c op.Call, name string) (*api.CreateModelInput, error) {
	r, err := t.Store.Get(ctx, resource.Key{Account: c.Account, Region: c.Region, Kind: serving.KindModel, Name: name})
	if errors.Is(err, store.ErrNotFound) {
		return nil, apierr.Validation("Could not find model %q.", arn.SageMaker(c.Region, c.Account, "model", name))
	}
	if err != nil {
		return nil, err
	}
	return resource.As[api.CreateModelInput](r.Spec)
}

// Stop has the job stopped.
func (t *Transform) Stop(ctx context.Context, c op.Call, in *api.StopTransformJobRequest) (*struct{}, error) {
	return nil, t.Engine.Stop(ctx, c, in.TransformJobName)
}

// Describe answers with the request, the defaults that AWS tells, and how the
// job stands.
func (t *Transform) Describe(ctx context.Context, c op.Call, in *api.DescribeTransformJobRequest) (*op.Kept[api.DescribeTransformJobResponse], error) {
	r, err := t.Await(ctx, c, in.TransformJobName)
	if err != nil {
		return nil, err
	}
	if k := t.answers.Get(r); k != nil {
		return k, nil
	}
	st, err := job.ReadStatus(r)
	if err != nil {
		return nil, err
	}
	s, err := readSpec(r)
	if err != nil {
		return nil, err
	}
	k := &op.Kept[api.DescribeTransformJobResponse]{Out: &api.DescribeTransformJobResponse{
		TransformJobName: r.Name, TransformJobArn: r.Arn, TransformJobStatus: r.Phase, FailureReason: st.Failure, ModelName: s.ModelName,
		MaxConcurrentTransforms: s.MaxConcurrentTransforms, ModelClientConfig: s.ModelClientConfig, MaxPayloadInMB: s.MaxPayloadInMB, BatchStrategy: s.BatchStrategy,
		Environment: s.Environment, TransformInput: s.TransformInput, TransformOutput: s.TransformOutput, DataCaptureConfig: s.DataCaptureConfig,
		TransformResources: s.TransformResources, DataProcessing: s.DataProcessing, ExperimentConfig: s.ExperimentConfig,
		CreationTime: shared.At(r.Created), TransformStartTime: at(st.Started), TransformEndTime: at(st.Ended),
	}}
	t.answers.Put(r, k)
	return k, nil
}

// List pages through the jobs, the newest first unless asked otherwise.
func (t *Transform) List(ctx context.Context, c op.Call, in *api.ListTransformJobsRequest) (*api.ListTransformJobsResponse, error) {
	jobs, next, err := t.Engine.List(ctx, c, job.Filter{
		NameContains: in.NameContains, Status: in.StatusEquals, SortBy: in.SortBy, SortOrder: cmp.Or(in.SortOrder, "Descending"), Token: in.NextToken, Max: in.MaxResults,
		CreatedAfter: in.CreationTimeAfter.Time, CreatedBefore: in.CreationTimeBefore.Time,
		ModifiedAfter: in.LastModifiedTimeAfter.Time, ModifiedBefore: in.LastModifiedTimeBefore.Time,
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListTransformJobsResponse{TransformJobSummaries: make([]api.TransformJobSummary, 0, len(jobs)), NextToken: next}
	for _, j := range jobs {
		out.TransformJobSummaries = append(out.TransformJobSummaries, api.TransformJobSummary{
			TransformJobName: j.Name, TransformJobArn: j.Arn, TransformJobStatus: j.Phase, FailureReason: j.Failure,
			CreationTime: shared.At(j.Created), LastModifiedTime: shared.At(j.Modified), TransformEndTime: shared.At(j.Ended),
		})
	}
	return out, nil
}

func at(t *time.Time) shared.Time {
	if t == nil {
		return shared.Time{}
	}
	return shared.At(*t)
}
