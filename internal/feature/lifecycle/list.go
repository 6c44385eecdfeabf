package lifecycle

import (
	"context"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/op"
	"clary/internal/resource"
)

// List pages through the configurations, by age unless asked otherwise.
func (l *Configs) List(ctx context.Context, c op.Call, in *apism.ListNotebookInstanceLifecycleConfigsInput) (*apism.ListNotebookInstanceLifecycleConfigsOutput, error) {
	q := resource.Query{
		NameContains: in.NameContains,
		CreatedAfter: in.CreationTimeAfter.Time, CreatedBefore: in.CreationTimeBefore.Time,
		ModifiedAfter: in.LastModifiedTimeAfter.Time, ModifiedBefore: in.LastModifiedTimeBefore.Time,
		Sort: resource.SortCreated, Descending: in.SortOrder == "Descending", Token: in.NextToken, Short: true,
	}
	switch in.SortBy {
	case "Name":
		q.Sort = resource.SortName
	case "LastModifiedTime":
		q.Sort = resource.SortModified
	}
	recs, next, err := l.set.List(ctx, c, q, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &apism.ListNotebookInstanceLifecycleConfigsOutput{NotebookInstanceLifecycleConfigs: []apism.NotebookInstanceLifecycleConfigSummary{}, NextToken: next}
	for _, rec := range recs {
		out.NotebookInstanceLifecycleConfigs = append(out.NotebookInstanceLifecycleConfigs, apism.NotebookInstanceLifecycleConfigSummary{
			NotebookInstanceLifecycleConfigName: rec.Name, NotebookInstanceLifecycleConfigArn: l.set.Arn(c, rec.Name),
			CreationTime: api.At(rec.Created), LastModifiedTime: api.At(rec.Modified),
		})
	}
	return out, nil
}
