package secretsmanager

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"clary/internal/api"
	apism "clary/internal/api/secretsmanager"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

const maxPage = 100 // the largest page, and the default

func errToken() error {
	return apierr.New(http.StatusBadRequest, "InvalidNextTokenException", "Invalid NextToken: it is not from a previous answer to the same request.")
}

// DescribeSecret says all of a secret but its values.
func (s *Service) DescribeSecret(ctx context.Context, c op.Call, in *apism.DescribeSecretRequest) (*apism.DescribeSecretResponse, error) {
	var x *secret
	var tags map[string]string
	err := s.store.View(ctx, func(tx store.Tx) (err error) {
		if x, err = find(tx, c, in.SecretId); err == nil {
			tags, err = tx.Tags(x.Arn)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &apism.DescribeSecretResponse{
		ARN: x.Arn, Name: x.Name, Description: x.Description, KmsKeyId: x.KmsKeyId, CreatedDate: api.At(x.Created),
		LastChangedDate: api.At(x.Modified), DeletedDate: api.At(x.Deleted), Tags: tagList(tags), VersionIdsToStages: x.stages(),
	}, nil
}

// ListSecrets pages through the secrets that fit all filters, by age unless
// asked otherwise.
func (s *Service) ListSecrets(ctx context.Context, c op.Call, in *apism.ListSecretsRequest) (*apism.ListSecretsResponse, error) {
	q := resource.Query{
		Account: c.Account, Region: c.Region, Kind: Kind, Phase: phaseActive, Descending: in.SortOrder == "desc", Token: in.NextToken,
	}
	if api.Value(in.IncludePlannedDeletion) {
		q.Phase = ""
	}
	switch in.SortBy {
	case "name":
		q.Sort = resource.SortName
	case "last-changed-date":
		q.Sort = resource.SortModified
	case "last-accessed-date":
		return nil, invalidParameter("Clary does not keep when a secret was last accessed. Sort by created-date, last-changed-date or name.")
	}
	limit := maxPage
	if in.MaxResults != nil {
		limit = int(*in.MaxResults)
	}
	out := &apism.ListSecretsResponse{SecretList: []apism.SecretListEntry{}}
	for {
		// Never more than there is room for: the store's token is behind the
		// last record that it gave.
		q.Limit = limit - len(out.SecretList)
		recs, next, err := s.store.List(ctx, q)
		if errors.Is(err, store.ErrToken) {
			return nil, errToken()
		}
		if err != nil {
			return nil, err
		}
		if err := s.entries(ctx, recs, in.Filters, out); err != nil {
			return nil, err
		}
		if q.Token = next; next == "" || len(out.SecretList) == limit {
			out.NextToken = next
			return out, nil
		}
	}
}

// entries adds those of the records that fit.
func (s *Service) entries(ctx context.Context, recs []*resource.Record, filters []apism.Filter, out *apism.ListSecretsResponse) error {
	return s.store.View(ctx, func(tx store.Tx) error {
		for _, r := range recs {
			x, err := read(r)
			if err != nil {
				return err
			}
			tags, err := tx.Tags(x.Arn)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(filters, func(f apism.Filter) bool { return !fits(f, x, tags) }) {
				continue
			}
			out.SecretList = append(out.SecretList, apism.SecretListEntry{
				ARN: x.Arn, Name: x.Name, Description: x.Description, KmsKeyId: x.KmsKeyId, CreatedDate: api.At(x.Created),
				LastChangedDate: api.At(x.Modified), DeletedDate: api.At(x.Deleted), Tags: tagList(tags), SecretVersionsToStages: x.stages(),
			})
		}
		return nil
	})
}

// fits says whether one of a filter's values is the secret's, and none of those
// that begin with an exclamation mark.
func fits(f apism.Filter, x *secret, tags map[string]string) bool {
	has := func(want string) bool {
		begins := func(have string) bool { return strings.HasPrefix(have, want) }
		switch f.Key {
		case "name":
			return begins(x.Name)
		case "description":
			return x.Description != "" && strings.HasPrefix(strings.ToLower(x.Description), strings.ToLower(want))
		case "tag-key":
			return slices.ContainsFunc(slices.Collect(maps.Keys(tags)), begins)
		case "tag-value":
			return slices.ContainsFunc(slices.Collect(maps.Values(tags)), begins)
		case "all":
			text := []string{x.Name, x.Description}
			for k, v := range tags {
				text = append(text, k, v)
			}
			all := strings.ToLower(strings.Join(text, "\n"))
			return !slices.ContainsFunc(strings.Fields(strings.ToLower(want)), func(word string) bool { return !strings.Contains(all, word) })
		}
		return false // no secret is a replica, or another service's
	}
	wanted, found := false, false
	for _, v := range f.Values {
		if not, ok := strings.CutPrefix(v, "!"); ok {
			if has(not) {
				return false
			}
			continue
		}
		wanted, found = true, found || has(v)
	}
	return found || !wanted
}
