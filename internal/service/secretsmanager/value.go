package secretsmanager

import (
	"context"
	"slices"

	"clary/internal/api"
	apism "clary/internal/api/secretsmanager"
	"clary/internal/aws/op"
	"clary/internal/store"
)

// GetSecretValue gives the value of one version, the current one unless another
// is asked for.
func (s *Service) GetSecretValue(ctx context.Context, c op.Call, in *apism.GetSecretValueRequest) (*apism.GetSecretValueResponse, error) {
	var out *apism.GetSecretValueResponse
	err := s.store.View(ctx, func(tx store.Tx) error {
		x, err := find(tx, c, in.SecretId)
		if err != nil {
			return err
		}
		if x.Phase == phaseDeleted {
			return errMarked()
		}
		v, err := x.wanted(in.VersionId, in.VersionStage)
		if err != nil {
			return err
		}
		val, err := s.open(tx, x, v.ID)
		out = &apism.GetSecretValueResponse{
			ARN: x.Arn, Name: x.Name, VersionId: v.ID, VersionStages: v.Stages, CreatedDate: api.At(v.Created),
			SecretString: val.text, SecretBinary: val.binary,
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// wanted is the version that a request names.
func (x *secret) wanted(id, stage string) (*version, error) {
	if id == "" {
		if stage == "" {
			stage = current
		}
		if v := x.labelled(stage); v != nil {
			return v, nil
		}
		return nil, notFound("Secrets Manager can't find the specified secret value for staging label: %s", stage)
	}
	v := x.version(id)
	if v == nil {
		return nil, notFound("Secrets Manager can't find the specified secret value for VersionId: %s", id)
	}
	if stage != "" && !slices.Contains(v.Stages, stage) {
		return nil, invalidRequest("You provided a VersionStage that is not associated to the provided VersionId.")
	}
	return v, nil
}

// given is the value of a request that has one.
func given(text string, binary []byte) (value, error) {
	if text != "" && len(binary) > 0 {
		return value{}, invalidParameter("You can't specify both a binary secret value and a string secret value in the same secret.")
	}
	return value{text, binary}, nil
}

// PutSecretValue makes a new version.
func (s *Service) PutSecretValue(ctx context.Context, c op.Call, in *apism.PutSecretValueRequest) (*apism.PutSecretValueResponse, error) {
	v, err := given(in.SecretString, in.SecretBinary)
	if err != nil {
		return nil, err
	}
	if v.none() {
		return nil, invalidRequest("You must provide either SecretString or SecretBinary.")
	}
	x, err := s.change(ctx, c, in.SecretId, func(tx store.Tx, x *secret) error {
		return s.add(tx, x, in.ClientRequestToken, v, in.VersionStages)
	})
	if err != nil {
		return nil, err
	}
	return &apism.PutSecretValueResponse{
		ARN: x.Arn, Name: x.Name, VersionId: in.ClientRequestToken, VersionStages: x.version(in.ClientRequestToken).Stages,
	}, nil
}
