package lifecycle

import (
	"context"
	"errors"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

const defaultPage = 10 // MaxResults when the caller names none

// List pages through the configurations, by age unless asked otherwise.
func (l *Configs) List(ctx context.Context, c op.Call, in *apism.ListNotebookInstanceLifecycleConfigsInput) (*apism.ListNotebookInstanceLifecycleConfigsOutput, error) {
	q := resource.Query{
		Account: c.Account, Region: c.Region, Kind: Kind, NameContains: in.NameContains,
		CreatedAfter: in.CreationTimeAfter.Time, CreatedBefore: in.CreationTimeBefore.Time,
		ModifiedAfter: in.LastModifiedTimeAfter.Time, ModifiedBefore: in.LastModifiedTimeBefore.Time,
		Sort: resource.SortCreated, Descending: in.SortOrder == "Descending", Token: in.NextToken, Limit: defaultPage, Short: true,
	}
	if in.MaxResults != nil {
		q.Limit = int(*in.MaxResults)
	}
	switch in.SortBy {
	case "Name":
		q.Sort = resource.SortName
	case "LastModifiedTime":
		q.Sort = resource.SortModified
	}
	recs, next, err := l.store.List(ctx, q)
	if errors.Is(err, store.ErrToken) {
		return nil, apierr.Validation("Invalid NextToken: it is not from a previous answer to the same request.")
	}
	if err != nil {
		return nil, err
	}
	out := &apism.ListNotebookInstanceLifecycleConfigsOutput{NotebookInstanceLifecycleConfigs: []apism.NotebookInstanceLifecycleConfigSummary{}, NextToken: next}
	for _, rec := range recs {
		out.NotebookInstanceLifecycleConfigs = append(out.NotebookInstanceLifecycleConfigs, apism.NotebookInstanceLifecycleConfigSummary{
			NotebookInstanceLifecycleConfigName: rec.Name, NotebookInstanceLifecycleConfigArn: arnOf(c, rec.Name),
			CreationTime: api.At(rec.Created), LastModifiedTime: api.At(rec.Modified),
		})
	}
	return out, nil
}
