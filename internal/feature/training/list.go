package training

import (
	"context"
	"errors"
	"fmt"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

const defaultPage = 10 // MaxResults when the caller names none

// List pages through the jobs; every filter is a column.
func (t *Training) List(ctx context.Context, c op.Call, in *api.ListTrainingJobsRequest) (*api.ListTrainingJobsResponse, error) {
	out := &api.ListTrainingJobsResponse{TrainingJobSummaries: []api.TrainingJobSummary{}}
	if in.WarmPoolStatusEquals != "" || in.TrainingPlanArnEquals != "" {
		return out, nil // no job here has a warm pool or a training plan
	}
	q := resource.Query{
		Account: c.Account, Region: c.Region, Kind: Kind,
		NameContains: in.NameContains, Phase: in.StatusEquals,
		CreatedAfter: in.CreationTimeAfter.Time, CreatedBefore: in.CreationTimeBefore.Time,
		ModifiedAfter: in.LastModifiedTimeAfter.Time, ModifiedBefore: in.LastModifiedTimeBefore.Time,
		Descending: in.SortOrder == "Descending", Token: in.NextToken, Limit: defaultPage,
	}
	if in.MaxResults != nil {
		q.Limit = int(*in.MaxResults)
	}
	switch in.SortBy {
	case "Name":
		q.Sort = resource.SortName
	case "Status":
		q.Sort = resource.SortPhase
	default:
		q.Sort = resource.SortCreated
	}
	recs, next, err := t.Store.List(ctx, q)
	if errors.Is(err, store.ErrToken) {
		return nil, apierr.Validation("Invalid NextToken: it is not from a previous answer to the same request.")
	}
	if err != nil {
		return nil, err
	}
	for _, r := range recs {
		var st struct { // of status, what a list shows
			Secondary string     `json:"secondary"`
			Ended     *time.Time `json:"ended"`
		}
		if err := unmarshal(r.Status, &st); err != nil {
			return nil, fmt.Errorf("training job %s: status: %w", r.Name, err)
		}
		s := api.TrainingJobSummary{
			TrainingJobName: r.Name, TrainingJobArn: r.Arn, CreationTime: stamp(r.Created), LastModifiedTime: stamp(r.Modified),
			TrainingJobStatus: r.Phase, SecondaryStatus: st.Secondary,
		}
		if st.Ended != nil {
			s.TrainingEndTime = stamp(*st.Ended)
		}
		out.TrainingJobSummaries = append(out.TrainingJobSummaries, s)
	}
	out.NextToken = next
	return out, nil
}
