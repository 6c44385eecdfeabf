package endpoint

import (
	"context"
	"errors"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
)

const defaultPage = 10 // MaxResults when the caller names none

// List pages through the caller's endpoints; every filter is a column.
func (e *Endpoints) List(ctx context.Context, c op.Call, in *apism.ListEndpointsInput) (*apism.ListEndpointsOutput, error) {
	q := resource.Query{
		Account: c.Account, Region: c.Region, Kind: serving.KindEndpoint, NameContains: in.NameContains, Phase: in.StatusEquals,
		CreatedAfter: in.CreationTimeAfter.Time, CreatedBefore: in.CreationTimeBefore.Time,
		ModifiedAfter: in.LastModifiedTimeAfter.Time, ModifiedBefore: in.LastModifiedTimeBefore.Time,
		Descending: in.SortOrder != "Ascending", Token: in.NextToken, Limit: defaultPage, Short: true,
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
	recs, next, err := e.Store.List(ctx, q)
	if errors.Is(err, store.ErrToken) {
		return nil, apierr.Validation("Invalid NextToken: it is not from a previous answer to the same request.")
	}
	if err != nil {
		return nil, err
	}
	out := &apism.ListEndpointsOutput{Endpoints: []apism.EndpointSummary{}, NextToken: next}
	for _, r := range recs {
		out.Endpoints = append(out.Endpoints, apism.EndpointSummary{
			EndpointName: r.Name, EndpointArn: arnOf(c, r.Name), EndpointStatus: r.Phase,
			CreationTime: api.At(r.Created), LastModifiedTime: api.At(r.Modified),
		})
	}
	return out, nil
}
