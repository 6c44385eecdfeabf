package coderepository

import (
	"context"
	"errors"

	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/store"
)

// Create makes a repository known by a name. Nothing is cloned, nor looked at.
func (r *Repositories) Create(ctx context.Context, c op.Call, in *request) (*apism.CreateCodeRepositoryOutput, error) {
	if err := checkURL(in.GitConfig.RepositoryUrl); err != nil {
		return nil, err
	}
	arn := r.set.Arn(c, in.CodeRepositoryName)
	err := r.set.Create(ctx, c, in.CodeRepositoryName, in, in.Tags)
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
	err := r.set.Edit(ctx, c, in.CodeRepositoryName, func(spec *request) {
		if in.GitConfig != nil && in.GitConfig.SecretArn != "" {
			spec.GitConfig.SecretArn = in.GitConfig.SecretArn
		}
	})
	if err != nil {
		return nil, r.found(c, in.CodeRepositoryName, err)
	}
	return &apism.UpdateCodeRepositoryOutput{CodeRepositoryArn: r.set.Arn(c, in.CodeRepositoryName)}, nil
}
