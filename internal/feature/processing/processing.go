package processing

import (
	"context"
	"time"

	shared "clary/internal/api"
	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/job"
	"clary/internal/resource"
)

// Kind is the record kind of processing jobs.
const Kind resource.Kind = "ProcessingJob"

// deleting is the phase of a job that was deleted while its tasks were being
// removed. It is no ProcessingJobStatus: such a job is not told of.
const deleting = "Deleting"

// Processing serves and reconciles processing jobs.
type Processing struct {
	*job.Engine
	answers job.Answers[api.DescribeProcessingJobResponse]
}

// New makes the feature.
func New(c job.Config) *Processing {
	return &Processing{Engine: job.New(c, job.Family{
		Kind: Kind, Word: "processing", Reasons: true, Read: work, Hint: hint,
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
	})}
}

// Name is the service whose operations these are.
func (p *Processing) Name() string { return "sagemaker" }

// Operations lists what this package serves.
func (p *Processing) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateProcessingJob": op.On(op.Op(p.Create), func(c op.Call, in *api.CreateProcessingJobRequest) string {
			return p.Arn(c, in.ProcessingJobName)
		}),
		"DescribeProcessingJob": op.On(op.Keep(p.Describe), func(c op.Call, in *api.DescribeProcessingJobRequest) string {
			return p.Arn(c, in.ProcessingJobName)
		}),
		"StopProcessingJob": op.On(op.Op(p.Stop), func(c op.Call, in *api.StopProcessingJobRequest) string {
			return p.Arn(c, in.ProcessingJobName)
		}),
		"DeleteProcessingJob": op.On(op.Op(p.Delete), func(c op.Call, in *api.DeleteProcessingJobRequest) string {
			return p.Arn(c, in.ProcessingJobName)
		}),
		"ListProcessingJobs": op.Op(p.List),
	}
}

// Create accepts a job: one transaction, no compute touched.
func (p *Processing) Create(ctx context.Context, c op.Call, in *request) (*api.CreateProcessingJobResponse, error) {
	if err := p.check(in); err != nil {
		return nil, err
	}
	arn, err := p.Engine.Create(ctx, c, in.ProcessingJobName, in.RoleArn, in, in.Tags)
	if err != nil {
		return nil, err
	}
	return &api.CreateProcessingJobResponse{ProcessingJobArn: arn}, nil
}

// Stop has the job stopped.
func (p *Processing) Stop(ctx context.Context, c op.Call, in *api.StopProcessingJobRequest) (*struct{}, error) {
	return nil, p.Engine.Stop(ctx, c, in.ProcessingJobName)
}

// Delete removes a job that is over: its record, not its outputs or its bill.
func (p *Processing) Delete(ctx context.Context, c op.Call, in *api.DeleteProcessingJobRequest) (*struct{}, error) {
	return nil, p.Engine.Delete(ctx, c, in.ProcessingJobName)
}

// Describe answers with the request, the defaults that clients expect back,
// and how the job stands.
func (p *Processing) Describe(ctx context.Context, c op.Call, in *api.DescribeProcessingJobRequest) (*op.Kept[api.DescribeProcessingJobResponse], error) {
	r, err := p.Await(ctx, c, in.ProcessingJobName)
	if err == nil && r.Phase == deleting {
		err = apierr.Validation("%s", p.Missing(r.Name, false))
	}
	if err != nil {
		return nil, err
	}
	if k := p.answers.Get(r); k != nil {
		return k, nil
	}
	st, err := job.ReadStatus(r)
	if err != nil {
		return nil, err
	}
	spec, err := readSpec(r)
	if err != nil {
		return nil, err
	}
	k := &op.Kept[api.DescribeProcessingJobResponse]{Out: &api.DescribeProcessingJobResponse{
		ProcessingJobName: r.Name, ProcessingJobArn: r.Arn,
		ProcessingJobStatus: r.Phase, FailureReason: st.Failure, ExitMessage: st.ExitMessage,
		ProcessingInputs: spec.ProcessingInputs, ProcessingOutputConfig: spec.ProcessingOutputConfig,
		ProcessingResources: spec.ProcessingResources, AppSpecification: spec.AppSpecification, Environment: spec.Environment,
		NetworkConfig: spec.NetworkConfig, RoleArn: spec.RoleArn, StoppingCondition: spec.StoppingCondition, ExperimentConfig: spec.ExperimentConfig,
		CreationTime: shared.At(r.Created), LastModifiedTime: shared.At(r.Modified),
		ProcessingStartTime: at(st.Started), ProcessingEndTime: at(st.Ended),
	}}
	p.answers.Put(r, k)
	return k, nil
}

// List pages through the jobs.
func (p *Processing) List(ctx context.Context, c op.Call, in *api.ListProcessingJobsRequest) (*api.ListProcessingJobsResponse, error) {
	jobs, next, err := p.Engine.List(ctx, c, job.Filter{
		NameContains: in.NameContains, Status: in.StatusEquals, SortBy: in.SortBy, SortOrder: in.SortOrder, Token: in.NextToken, Max: in.MaxResults,
		CreatedAfter: in.CreationTimeAfter.Time, CreatedBefore: in.CreationTimeBefore.Time,
		ModifiedAfter: in.LastModifiedTimeAfter.Time, ModifiedBefore: in.LastModifiedTimeBefore.Time,
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListProcessingJobsResponse{ProcessingJobSummaries: make([]api.ProcessingJobSummary, 0, len(jobs)), NextToken: next}
	for _, j := range jobs {
		if j.Phase == deleting {
			continue
		}
		out.ProcessingJobSummaries = append(out.ProcessingJobSummaries, api.ProcessingJobSummary{
			ProcessingJobName: j.Name, ProcessingJobArn: j.Arn, ProcessingJobStatus: j.Phase, FailureReason: j.Failure, ExitMessage: j.ExitMessage,
			CreationTime: shared.At(j.Created), LastModifiedTime: shared.At(j.Modified), ProcessingEndTime: shared.At(j.Ended),
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
