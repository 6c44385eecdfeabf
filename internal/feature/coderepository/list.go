package coderepository

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

// List pages through the repositories, by name unless asked otherwise.
func (r *Repositories) List(ctx context.Context, c op.Call, in *apism.ListCodeRepositoriesInput) (*apism.ListCodeRepositoriesOutput, error) {
	q := resource.Query{
		Account: c.Account, Region: c.Region, Kind: Kind, NameContains: in.NameContains,
		CreatedAfter: in.CreationTimeAfter.Time, CreatedBefore: in.CreationTimeBefore.Time,
		ModifiedAfter: in.LastModifiedTimeAfter.Time, ModifiedBefore: in.LastModifiedTimeBefore.Time,
		Sort: resource.SortName, Descending: in.SortOrder == "Descending", Token: in.NextToken, Limit: defaultPage,
	}
	if in.MaxResults != nil {
		q.Limit = int(*in.MaxResults)
	}
	switch in.SortBy {
	case "CreationTime":
		q.Sort = resource.SortCreated
	case "LastModifiedTime":
		q.Sort = resource.SortModified
	}
	recs, next, err := r.store.List(ctx, q)
	if errors.Is(err, store.ErrToken) {
		return nil, apierr.Validation("Invalid NextToken: it is not from a previous answer to the same request.")
	}
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
