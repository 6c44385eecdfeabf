package secretsmanager

import (
	"context"
	"errors"

	api "clary/internal/api/secretsmanager"
	"clary/internal/aws/op"
	"clary/internal/store"
)

// UpdateSecret changes what is said of a secret, and its value if one is given.
func (s *Service) UpdateSecret(ctx context.Context, c op.Call, in *api.UpdateSecretRequest) (*api.UpdateSecretResponse, error) {
	if in.Type != "" {
		return nil, unsupported("Type")
	}
	v, err := given(in.SecretString, in.SecretBinary)
	if err != nil {
		return nil, err
	}
	x, err := s.change(ctx, c, in.SecretId, func(tx store.Tx, x *secret) error {
		if in.Description != "" {
			x.Description = in.Description
		}
		if in.KmsKeyId != "" {
			x.KmsKeyId = in.KmsKeyId
		}
		if v.none() {
			return nil
		}
		if err := s.add(tx, x, in.ClientRequestToken, v, nil); !errors.Is(err, errAsItIs) {
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &api.UpdateSecretResponse{ARN: x.Arn, Name: x.Name}
	if !v.none() {
		out.VersionId = in.ClientRequestToken
	}
	return out, nil
}
