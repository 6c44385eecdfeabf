// Package tagging serves AddTags, ListTags and DeleteTags for every kind of
// SageMaker resource that is a record. It knows no kind.
package tagging

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

const (
	maxTags = 50 // per resource
	page    = 50 // ListTags' page, unless MaxResults says more
)

// Tagging serves the operations.
type Tagging struct{ store store.Store }

// New makes the feature.
func New(s store.Store) *Tagging { return &Tagging{store: s} }

// Name is the service whose operations these are.
func (t *Tagging) Name() string { return "sagemaker" }

// Operations lists what this package serves.
func (t *Tagging) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"AddTags":    op.On(op.Op(t.Add), func(_ op.Call, in *api.AddTagsInput) string { return in.ResourceArn }),
		"ListTags":   op.On(op.Op(t.List), func(_ op.Call, in *api.ListTagsInput) string { return in.ResourceArn }),
		"DeleteTags": op.On(op.Op(t.Delete), func(_ op.Call, in *api.DeleteTagsInput) string { return in.ResourceArn }),
	}
}

// Add sets tags by key and answers with the full set.
func (t *Tagging) Add(ctx context.Context, c op.Call, in *api.AddTagsInput) (*api.AddTagsOutput, error) {
	add := make(map[string]string, len(in.Tags))
	for _, tag := range in.Tags {
		if strings.HasPrefix(strings.ToLower(tag.Key), "aws:") {
			return nil, apierr.Validation("Invalid tag key %q: the prefix aws: is reserved.", tag.Key)
		}
		if _, twice := add[tag.Key]; twice {
			return nil, apierr.Validation("Duplicate tag key %q: tag keys must be unique.", tag.Key)
		}
		add[tag.Key] = tag.Value
	}
	var all map[string]string
	err := t.store.Update(ctx, func(tx store.Tx) error {
		rec, err := exists(tx, c, in.ResourceArn)
		if err != nil {
			return err
		}
		if all, err = tx.Tags(in.ResourceArn); err != nil {
			return err
		}
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, add)
		if len(all) > maxTags {
			return apierr.New(400, "ResourceLimitExceeded", "The resource %s would have %d tags; the limit is %d.", in.ResourceArn, len(all), maxTags)
		}
		if err := tx.PutTags(in.ResourceArn, add); err != nil {
			return err
		}
		return tx.TagUsage(rec.UID, all)
	})
	if err != nil {
		return nil, err
	}
	return &api.AddTagsOutput{Tags: list(all, sortedKeys(all))}, nil
}

// List pages through a resource's tags in the order of their keys; the token
// is the last key of the page.
func (t *Tagging) List(ctx context.Context, c op.Call, in *api.ListTagsInput) (*api.ListTagsOutput, error) {
	var all map[string]string
	err := t.store.View(ctx, func(tx store.Tx) error {
		_, err := exists(tx, c, in.ResourceArn)
		if err != nil {
			return err
		}
		all, err = tx.Tags(in.ResourceArn)
		return err
	})
	if err != nil {
		return nil, err
	}
	keys := sortedKeys(all)
	if in.NextToken != "" {
		i, _ := slices.BinarySearch(keys, in.NextToken)
		for i < len(keys) && keys[i] <= in.NextToken {
			i++
		}
		keys = keys[i:]
	}
	limit := page
	if in.MaxResults != nil {
		limit = int(*in.MaxResults)
	}
	out := &api.ListTagsOutput{}
	if len(keys) > limit {
		keys = keys[:limit]
		out.NextToken = keys[limit-1]
	}
	out.Tags = list(all, keys)
	return out, nil
}

// Delete removes tags by key; unknown keys are no error.
func (t *Tagging) Delete(ctx context.Context, c op.Call, in *api.DeleteTagsInput) (*api.DeleteTagsOutput, error) {
	err := t.store.Update(ctx, func(tx store.Tx) error {
		rec, err := exists(tx, c, in.ResourceArn)
		if err != nil {
			return err
		}
		if err := tx.DeleteTags(in.ResourceArn, in.TagKeys); err != nil {
			return err
		}
		all, err := tx.Tags(in.ResourceArn)
		if err != nil {
			return err
		}
		return tx.TagUsage(rec.UID, all)
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteTagsOutput{}, nil
}

// exists finds a record, and refuses resources that are not, or are another account's, or another
// service's: a tag may open a secret.
func exists(tx store.Tx, c op.Call, name string) (*resource.Record, error) {
	a, ok := arn.Parse(name)
	if !ok || a.Service != "sagemaker" || a.Account != c.Account || a.Region != c.Region {
		return nil, apierr.Validation("Invalid ResourceArn %q: it names no resource of account %s in %s.", name, c.Account, c.Region)
	}
	rec, err := tx.ByArn(name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, apierr.Validation("Requested resource not found.")
	}
	return rec, err
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func list(all map[string]string, keys []string) []api.Tag {
	out := make([]api.Tag, 0, len(keys))
	for _, k := range keys {
		out = append(out, api.Tag{Key: k, Value: all[k]})
	}
	return out
}
