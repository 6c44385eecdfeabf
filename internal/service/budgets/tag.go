package budgets

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	apib "clary/internal/api/budgets"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/store"
)

func tagsOf(list []apib.ResourceTag) (map[string]string, error) {
	out := make(map[string]string, len(list))
	for _, t := range list {
		if _, twice := out[t.Key]; twice {
			return nil, invalid("Duplicate tag key %q: tag keys must be unique.", t.Key)
		}
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, invalid("Invalid tag key %q: the prefix aws: is reserved.", t.Key)
		}
		out[t.Key] = t.Value
	}
	return out, tagRoom(len(out))
}

func tagRoom(n int) error {
	if n > maxTags {
		return apierr.New(400, "ServiceQuotaExceededException", "A resource can have %d tags; there would be %d.", maxTags, n)
	}
	return nil
}

// tagged finds what an ARN names: a budget, or an action of one.
func tagged(tx store.Tx, c op.Call, arn string) error {
	r, err := tx.ByArn(arn)
	if errors.Is(err, store.ErrNotFound) || err == nil && (r.Account != c.Account || r.Kind != Kind && r.Kind != KindAction) {
		return notFound("Unable to find the resource %s.", arn)
	}
	return err
}

// TagResource sets tags by key.
func (s *Service) TagResource(ctx context.Context, c op.Call, in *apib.TagResourceRequest) (*apib.TagResourceResponse, error) {
	set, err := tagsOf(in.ResourceTags)
	if err != nil {
		return nil, err
	}
	return nil, s.Store.Update(ctx, func(tx store.Tx) error {
		if err := tagged(tx, c, in.ResourceARN); err != nil {
			return err
		}
		all, err := tx.Tags(in.ResourceARN)
		if err != nil {
			return err
		}
		maps.Copy(all, set)
		if err := tagRoom(len(all)); err != nil {
			return err
		}
		return tx.PutTags(in.ResourceARN, set)
	})
}

// UntagResource removes tags by key; unknown keys are no error.
func (s *Service) UntagResource(ctx context.Context, c op.Call, in *apib.UntagResourceRequest) (*apib.UntagResourceResponse, error) {
	return nil, s.Store.Update(ctx, func(tx store.Tx) error {
		if err := tagged(tx, c, in.ResourceARN); err != nil {
			return err
		}
		return tx.DeleteTags(in.ResourceARN, in.ResourceTagKeys)
	})
}

// ListTagsForResource lists tags by key.
func (s *Service) ListTagsForResource(ctx context.Context, c op.Call, in *apib.ListTagsForResourceRequest) (*apib.ListTagsForResourceResponse, error) {
	out := &apib.ListTagsForResourceResponse{}
	return out, s.Store.View(ctx, func(tx store.Tx) error {
		if err := tagged(tx, c, in.ResourceARN); err != nil {
			return err
		}
		tags, err := tx.Tags(in.ResourceARN)
		for _, k := range slices.Sorted(maps.Keys(tags)) {
			out.ResourceTags = append(out.ResourceTags, apib.ResourceTag{Key: k, Value: tags[k]})
		}
		return err
	})
}
