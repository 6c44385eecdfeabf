package iam

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"clary/internal/api"
	apiiam "clary/internal/api/iam"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/identity"
)

const maxTags = 50 // per role

// tagged adds tags to those of a role; a key is the same in any case.
func tagged(old map[string]string, add []apiiam.Tag) (map[string]string, error) {
	out := maps.Clone(old)
	if out == nil {
		out = map[string]string{}
	}
	seen := map[string]bool{}
	for _, t := range add {
		key := strings.ToLower(t.Key)
		if strings.HasPrefix(key, "aws:") {
			return nil, apierr.New(http.StatusBadRequest, "InvalidInput", "Invalid tag key %s: the prefix aws: is reserved.", t.Key)
		}
		if seen[key] {
			return nil, apierr.New(http.StatusBadRequest, "InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[key] = true
		maps.DeleteFunc(out, func(k, _ string) bool { return strings.EqualFold(k, t.Key) })
		out[t.Key] = t.Value
	}
	if len(out) > maxTags {
		return nil, apierr.New(http.StatusConflict, "LimitExceeded", "The number of tags has reached the maximum limit of %d.", maxTags)
	}
	return out, nil
}

func tagList(tags map[string]string) []apiiam.Tag {
	out := make([]apiiam.Tag, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, apiiam.Tag{Key: k, Value: tags[k]})
	}
	return out
}

// TagRole adds tags to a role; policies see them as aws:PrincipalTag.
func (s *IAM) TagRole(ctx context.Context, c op.Call, in *apiiam.TagRoleRequest) (*struct{}, error) {
	return nil, s.id.ChangeRole(ctx, c.Account, in.RoleName, func(r *identity.Role) (err error) {
		r.Tags, err = tagged(r.Tags, in.Tags)
		return err
	})
}

// UntagRole removes tags; those that are not there are no error.
func (s *IAM) UntagRole(ctx context.Context, c op.Call, in *apiiam.UntagRoleRequest) (*struct{}, error) {
	return nil, s.id.ChangeRole(ctx, c.Account, in.RoleName, func(r *identity.Role) error {
		maps.DeleteFunc(r.Tags, func(k, _ string) bool {
			return slices.ContainsFunc(in.TagKeys, func(t string) bool { return strings.EqualFold(t, k) })
		})
		return nil
	})
}

// ListRoleTags lists a role's tags by key.
func (s *IAM) ListRoleTags(ctx context.Context, c op.Call, in *apiiam.ListRoleTagsRequest) (*apiiam.ListRoleTagsResponse, error) {
	r, err := s.id.RoleNamed(ctx, c.Account, in.RoleName)
	if err != nil {
		return nil, err
	}
	tags, marker := page(tagList(r.Tags), in.Marker, in.MaxItems, func(t apiiam.Tag) string { return t.Key })
	return &apiiam.ListRoleTagsResponse{Tags: tags, Marker: marker, IsTruncated: api.Ptr(marker != "")}, nil
}
