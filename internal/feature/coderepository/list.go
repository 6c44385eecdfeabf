package coderepository

import (
	"context"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/op"
	"clary/internal/resource"
)

// List pages through the repositories, by name unless asked otherwise.
func (r *Repositories) List(ctx context.Context, c op.Call, in *apism.ListCodeRepositoriesInput) (*apism.ListCodeRepositoriesOutput, error) {
	q := resource.Query{
		NameContains: in.NameContains,
		CreatedAfter: in.CreationTimeAfter.Time, CreatedBefore: in.CreationTimeBefore.Time,
		ModifiedAfter: in.LastModifiedTimeAfter.Time, ModifiedBefore: in.LastModifiedTimeBefore.Time,
		Sort: resource.SortName, Descending: in.SortOrder == "Descending", Token: in.NextToken,
	}
	switch in.SortBy {
	case "CreationTime":
		q.Sort = resource.SortCreated
	case "LastModifiedTime":
		q.Sort = resource.SortModified
	}
	recs, next, err := r.set.List(ctx, c, q, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &apism.ListCodeRepositoriesOutput{CodeRepositorySummaryList: []apism.CodeRepositorySummary{}, NextToken: next}
	for _, rec := range recs {
		spec, err := resource.As[request](rec.Spec)
		if err != nil {
			return nil, err
		}
		out.CodeRepositorySummaryList = append(out.CodeRepositorySummaryList, apism.CodeRepositorySummary{
			CodeRepositoryName: rec.Name, CodeRepositoryArn: rec.Arn, GitConfig: spec.GitConfig,
			CreationTime: api.At(rec.Created), LastModifiedTime: api.At(rec.Modified),
		})
	}
	return out, nil
}
