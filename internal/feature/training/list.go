package training

import (
	"context"

	shared "clary/internal/api"
	api "clary/internal/api/sagemaker"
	"clary/internal/aws/op"
	"clary/internal/job"
)

// List pages through the jobs.
func (t *Training) List(ctx context.Context, c op.Call, in *api.ListTrainingJobsRequest) (*api.ListTrainingJobsResponse, error) {
	out := &api.ListTrainingJobsResponse{TrainingJobSummaries: []api.TrainingJobSummary{}}
	if in.WarmPoolStatusEquals != "" || in.TrainingPlanArnEquals != "" {
		return out, nil // no job here has a warm pool or a training plan
	}
	jobs, next, err := t.Engine.List(ctx, c, job.Filter{
		NameContains: in.NameContains, Status: in.StatusEquals,
		CreatedAfter: in.CreationTimeAfter.Time, CreatedBefore: in.CreationTimeBefore.Time,
		ModifiedAfter: in.LastModifiedTimeAfter.Time, ModifiedBefore: in.LastModifiedTimeBefore.Time,
		SortBy: in.SortBy, SortOrder: in.SortOrder, Token: in.NextToken, Max: in.MaxResults,
	})
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		out.TrainingJobSummaries = append(out.TrainingJobSummaries, api.TrainingJobSummary{
			TrainingJobName: j.Name, TrainingJobArn: j.Arn, CreationTime: shared.At(j.Created), LastModifiedTime: shared.At(j.Modified),
			TrainingJobStatus: j.Phase, SecondaryStatus: j.Secondary, TrainingEndTime: shared.At(j.Ended),
		})
	}
	out.NextToken = next
	return out, nil
}
