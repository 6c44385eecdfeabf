package coderepository

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/aws/tags"
	"clary/internal/resource"
	"clary/internal/store"
)

// Create makes a repository known by a name. Nothing is cloned, nor looked at.
func (r *Repositories) Create(ctx context.Context, c op.Call, in *request) (*apism.CreateCodeRepositoryOutput, error) {
	if err := checkURL(in.GitConfig.RepositoryUrl); err != nil {
		return nil, err
	}
	set, err := tags.Map(in.Tags)
	if err != nil {
		return nil, err
	}
	spec, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	now := time.Now()
	arn := arnOf(c, in.CodeRepositoryName)
	err = r.store.Update(ctx, func(tx store.Tx) error {
		// Two names that differ in case have one ARN.
		if _, err := tx.ByArn(arn); !errors.Is(err, store.ErrNotFound) {
			if err == nil {
				err = store.ErrExists
			}
			return err
		}
		if err := tx.Put(&resource.Record{
			Key: key(c, in.CodeRepositoryName), UID: resource.NewUID(), Arn: arn, Created: now, Modified: now, Spec: spec,
		}); err != nil {
			return err
		}
		return tx.PutTags(arn, set)
	})
	if errors.Is(err, store.ErrExists) {
		return nil, apierr.Validation("Cannot create a duplicate CodeRepository (%s)", arn)
	}
	if err != nil {
		return nil, err
	}
	return &apism.CreateCodeRepositoryOutput{CodeRepositoryArn: arn}, nil
}

// Update gives a repository another secret; nothing else of it can change.
func (r *Repositories) Update(ctx context.Context, c op.Call, in *apism.UpdateCodeRepositoryInput) (*apism.UpdateCodeRepositoryOutput, error) {
	err := r.store.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Get(key(c, in.CodeRepositoryName))
		if err != nil {
			return err
		}
		spec, err := resource.As[request](rec.Spec)
		if err != nil {
			return err
		}
		if in.GitConfig != nil && in.GitConfig.SecretArn != "" {
			spec.GitConfig.SecretArn = in.GitConfig.SecretArn
		}
		if rec.Spec, err = json.Marshal(spec); err != nil {
			return fmt.Errorf("spec: %w", err)
		}
		rec.Modified = time.Now()
		return tx.Put(rec)
	})
	if err != nil {
		return nil, found(c, in.CodeRepositoryName, err)
	}
	return &apism.UpdateCodeRepositoryOutput{CodeRepositoryArn: arnOf(c, in.CodeRepositoryName)}, nil
}
