package secretsmanager

import (
	"context"
	"maps"
	"slices"
	"strings"

	api "clary/internal/api/secretsmanager"
	"clary/internal/aws/op"
	"clary/internal/store"
)

const maxTags = 50 // per secret

func tagsOf(list []api.Tag) (map[string]string, error) {
	out := make(map[string]string, len(list))
	for _, t := range list {
		if _, twice := out[t.Key]; twice || t.Key == "" {
			return nil, invalidParameter("Tag keys must be given, and each once: %q.", t.Key)
		}
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, invalidParameter("Invalid tag key %q: the prefix aws: is reserved.", t.Key)
		}
		out[t.Key] = t.Value
	}
	if len(out) > maxTags {
		return nil, invalidParameter("A secret can have %d tags; there would be %d.", maxTags, len(out))
	}
	return out, nil
}

func tagList(tags map[string]string) []api.Tag {
	var out []api.Tag
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, api.Tag{Key: k, Value: tags[k]})
	}
	return out
}

// TagResource sets tags by key.
func (s *Service) TagResource(ctx context.Context, c op.Call, in *api.TagResourceRequest) (*struct{}, error) {
	set, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	_, err = s.change(ctx, c, in.SecretId, func(tx store.Tx, x *secret) error {
		all, err := tx.Tags(x.Arn)
		if err != nil {
			return err
		}
		maps.Copy(all, set)
		if len(all) > maxTags {
			return invalidParameter("A secret can have %d tags; there would be %d.", maxTags, len(all))
		}
		return tx.PutTags(x.Arn, set)
	})
	return nil, err
}

// UntagResource removes tags by key; unknown keys are no error.
func (s *Service) UntagResource(ctx context.Context, c op.Call, in *api.UntagResourceRequest) (*struct{}, error) {
	_, err := s.change(ctx, c, in.SecretId, func(tx store.Tx, x *secret) error { return tx.DeleteTags(x.Arn, in.TagKeys) })
	return nil, err
}
