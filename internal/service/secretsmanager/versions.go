package secretsmanager

import (
	"context"
	"net/http"
	"slices"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/secretsmanager"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/store"
)

const (
	current  = "AWSCURRENT"
	previous = "AWSPREVIOUS"

	maxVersions = 100 // that are kept; those with labels always are
	maxLabels   = 20  // of all versions of a secret
)

// version finds one by its id, nil if there is none.
func (x *secret) version(id string) *version {
	for i := range x.Versions {
		if x.Versions[i].ID == id {
			return &x.Versions[i]
		}
	}
	return nil
}

// labelled finds the version that has a label, nil if none has it.
func (x *secret) labelled(stage string) *version {
	for i := range x.Versions {
		if slices.Contains(x.Versions[i].Stages, stage) {
			return &x.Versions[i]
		}
	}
	return nil
}

// label moves a label to a version. What was current becomes the previous one.
func (x *secret) label(id, stage string) {
	old := x.labelled(stage)
	if old != nil && old.ID == id {
		return
	}
	if old != nil {
		if old.Stages = slices.DeleteFunc(old.Stages, func(s string) bool { return s == stage }); len(old.Stages) == 0 {
			old.Stages = nil
		}
		if stage == current {
			x.label(old.ID, previous)
		}
	}
	v := x.version(id)
	v.Stages = append(v.Stages, stage)
}

// add makes a value the version of that id. The same value under the id of a
// version that is there is errAsItIs; another one is refused.
func (s *Service) add(tx store.Tx, x *secret, id string, v value, stages []string) error {
	if id == "" {
		return invalidRequest("You must provide a ClientRequestToken value. We recommend a UUID-type value.")
	}
	if x.version(id) != nil {
		old, err := s.open(tx, x, id)
		if err != nil {
			return err
		}
		if !old.is(v) {
			return exists("You can't use ClientRequestToken %s because that value is already in use for a version of secret %s.", id, x.Arn)
		}
		return errAsItIs
	}
	first := len(x.Versions) == 0
	x.Versions = append(x.Versions, version{ID: id, Created: time.Now()})
	if first || len(stages) == 0 {
		x.label(id, current)
	}
	for _, stage := range stages {
		x.label(id, stage)
	}
	labels := 0
	for _, v := range x.Versions {
		labels += len(v.Stages)
	}
	if labels > maxLabels {
		return apierr.New(http.StatusBadRequest, "LimitExceededException", "The versions of the secret would have %d staging labels; the limit is %d.", labels, maxLabels)
	}
	if err := s.keep(tx, x, id, v); err != nil {
		return err
	}
	return s.prune(tx, x)
}

// prune forgets the oldest versions that have no label.
func (s *Service) prune(tx store.Tx, x *secret) error {
	for len(x.Versions) > maxVersions {
		i := slices.IndexFunc(x.Versions, func(v version) bool { return len(v.Stages) == 0 })
		if i < 0 {
			return nil
		}
		if err := tx.Delete(versionKey(x, x.Versions[i].ID)); err != nil {
			return err
		}
		x.Versions = slices.Delete(x.Versions, i, i+1)
	}
	return nil
}

// stages are the labelled versions.
func (x *secret) stages() map[string][]string {
	out := make(map[string][]string)
	for _, v := range x.Versions {
		if len(v.Stages) > 0 {
			out[v.ID] = v.Stages
		}
	}
	return out
}

// ListSecretVersionIds pages through a secret's versions, the newest first. The
// token is the last version of the page before.
func (s *Service) ListSecretVersionIds(ctx context.Context, c op.Call, in *apism.ListSecretVersionIdsRequest) (*apism.ListSecretVersionIdsResponse, error) {
	x, err := s.look(ctx, c, in.SecretId)
	if err != nil {
		return nil, err
	}
	list := slices.Clone(x.Versions)
	slices.Reverse(list)
	if in.NextToken != "" {
		i := slices.IndexFunc(list, func(v version) bool { return v.ID == in.NextToken })
		if i < 0 {
			return nil, errToken()
		}
		list = list[i+1:]
	}
	if !api.Value(in.IncludeDeprecated) {
		list = slices.DeleteFunc(list, func(v version) bool { return len(v.Stages) == 0 })
	}
	out := &apism.ListSecretVersionIdsResponse{ARN: x.Arn, Name: x.Name, Versions: []apism.SecretVersionsListEntry{}}
	limit := maxPage
	if in.MaxResults != nil {
		limit = int(*in.MaxResults)
	}
	if len(list) > limit {
		list = list[:limit]
		out.NextToken = list[limit-1].ID
	}
	for _, v := range list {
		out.Versions = append(out.Versions, apism.SecretVersionsListEntry{VersionId: v.ID, VersionStages: v.Stages, CreatedDate: api.At(v.Created)})
	}
	return out, nil
}
