// Package document keeps the kinds of record that do nothing: a name, a
// request as it was sent, tags. What such a kind means is its feature's
// business, and that of whoever reads the record. No kind that has compute, a
// data plane or a price may be one. Start at Set.
package document

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/aws/tags"
	"clary/internal/resource"
	"clary/internal/store"
)

// defaultPage is how many a list has when the caller names no MaxResults.
const defaultPage = 10

// Set is all documents of one kind, whose spec is a T.
type Set[T any] struct {
	Store store.Store
	Kind  resource.Kind
	Type  string // in their ARNs
}

// Arn names a document, whether it exists or not.
func (s Set[T]) Arn(c op.Call, name string) string {
	return arn.SageMaker(c.Region, c.Account, s.Type, name)
}

func (s Set[T]) key(c op.Call, name string) resource.Key {
	return resource.Key{Account: c.Account, Region: c.Region, Kind: s.Kind, Name: name}
}

// Create keeps a request under a name. store.ErrExists; of tags that cannot be,
// their own error.
func (s Set[T]) Create(ctx context.Context, c op.Call, name string, in *T, tagged []api.Tag) error {
	set, err := tags.Map(tagged)
	if err != nil {
		return err
	}
	spec, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	now := time.Now()
	arn := s.Arn(c, name)
	return s.Store.Update(ctx, func(tx store.Tx) error {
		// Two names that differ in case have one ARN.
		if _, err := tx.ByArn(arn); err == nil {
			return store.ErrExists
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := tx.Put(&resource.Record{Key: s.key(c, name), UID: resource.NewUID(), Arn: arn, Created: now, Modified: now, Spec: spec}); err != nil {
			return err
		}
		return tx.PutTags(arn, set)
	})
}

// Get reads one. store.ErrNotFound.
func (s Set[T]) Get(ctx context.Context, c op.Call, name string) (*resource.Record, *T, error) {
	rec, err := s.Store.Get(ctx, s.key(c, name))
	if err != nil {
		return nil, nil, err
	}
	spec, err := resource.As[T](rec.Spec)
	return rec, spec, err
}

// Edit changes what one says. store.ErrNotFound.
func (s Set[T]) Edit(ctx context.Context, c op.Call, name string, edit func(*T)) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Get(s.key(c, name))
		if err != nil {
			return err
		}
		spec, err := resource.As[T](rec.Spec)
		if err != nil {
			return err
		}
		edit(spec)
		if rec.Spec, err = json.Marshal(spec); err != nil {
			return fmt.Errorf("spec: %w", err)
		}
		rec.Modified = time.Now()
		return tx.Put(rec)
	})
}

// Delete forgets one with its tags. store.ErrNotFound.
func (s Set[T]) Delete(ctx context.Context, c op.Call, name string) error {
	return s.Store.Update(ctx, func(tx store.Tx) error { return tx.Delete(s.key(c, name)) })
}

// List reads a page of the caller's, as filters, order and token of q say, and
// the token of the next; most is the request's MaxResults.
func (s Set[T]) List(ctx context.Context, c op.Call, q resource.Query, most *int64) ([]*resource.Record, string, error) {
	q.Account, q.Region, q.Kind, q.Limit = c.Account, c.Region, s.Kind, defaultPage
	if most != nil {
		q.Limit = int(*most)
	}
	recs, next, err := s.Store.List(ctx, q)
	if errors.Is(err, store.ErrToken) {
		return nil, "", apierr.Validation("Invalid NextToken: it is not from a previous answer to the same request.")
	}
	return recs, next, err
}
