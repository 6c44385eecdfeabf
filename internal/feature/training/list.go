package training

import (
	"context"
	"errors"

	shared "clary/internal/api"
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
		Descending: in.SortOrder == "Descending", Token: in.NextToken, Limit: defaultPage, Short: true,
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
	out.TrainingJobSummaries = make([]api.TrainingJobSummary, 0, len(recs))
	for _, r := range recs {
		secondary, ended, ok := readBrief(r.Brief)
		if !ok { // an earlier Clary wrote it
			if secondary, ended, err = t.briefOf(ctx, r.Key); errors.Is(err, store.ErrNotFound) {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		out.TrainingJobSummaries = append(out.TrainingJobSummaries, api.TrainingJobSummary{
			TrainingJobName: r.Name, TrainingJobArn: jobArn(c, r.Name), CreationTime: stamp(r.Created), LastModifiedTime: stamp(r.Modified),
			TrainingJobStatus: r.Phase, SecondaryStatus: secondary, TrainingEndTime: ended,
		})
	}
	out.NextToken = next
	return out, nil
}

func (t *Training) briefOf(ctx context.Context, k resource.Key) (string, shared.Time, error) {
	r, err := t.Store.Get(ctx, k)
	if err != nil {
		return "", shared.Time{}, err
	}
	st, err := readStatus(r)
	if err != nil {
		return "", shared.Time{}, err
	}
	secondary, ended, _ := readBrief(st.brief())
	return secondary, ended, nil
}
