package notebook

import (
	"context"
	"errors"
	"slices"
	"strings"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

const defaultPage = 10 // MaxResults when the caller names none

// List pages through the notebooks. What filters is a column, or in the brief.
func (n *Notebooks) List(ctx context.Context, c op.Call, in *api.ListNotebookInstancesInput) (*api.ListNotebookInstancesOutput, error) {
	out := &api.ListNotebookInstancesOutput{NotebookInstances: []api.NotebookInstanceSummary{}}
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
	case "CreationTime":
		q.Sort = resource.SortCreated
	case "Status":
		q.Sort = resource.SortPhase
	default:
		q.Sort = resource.SortName
	}
	for most := q.Limit; ; {
		recs, next, err := n.Store.List(ctx, q)
		if errors.Is(err, store.ErrToken) {
			return nil, apierr.Validation("Invalid NextToken: it is not from a previous answer to the same request.")
		}
		if err != nil {
			return nil, err
		}
		for _, r := range recs {
			b := readBrief(r.Brief)
			if !b.matches(in) {
				continue
			}
			out.NotebookInstances = append(out.NotebookInstances, api.NotebookInstanceSummary{
				NotebookInstanceName: r.Name, NotebookInstanceArn: arnOf(c, r.Name), NotebookInstanceStatus: r.Phase,
				Url: n.Site(b.uid), InstanceType: b.instanceType, CreationTime: stamp(r.Created), LastModifiedTime: stamp(r.Modified),
				NotebookInstanceLifecycleConfigName: b.lifecycle, DefaultCodeRepository: b.code, AdditionalCodeRepositories: b.more,
			})
		}
		q.Token, out.NextToken = next, next
		if q.Limit = most - len(out.NotebookInstances); q.Limit == 0 || next == "" {
			return out, nil
		}
	}
}

// matches says whether a notebook is among those that are asked for.
func (b briefly) matches(in *api.ListNotebookInstancesInput) bool {
	contains := func(s, part string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(part)) }
	return contains(b.lifecycle, in.NotebookInstanceLifecycleConfigNameContains) && contains(b.code, in.DefaultCodeRepositoryContains) &&
		(in.AdditionalCodeRepositoryEquals == "" || slices.Contains(b.more, in.AdditionalCodeRepositoryEquals))
}
