package secretsmanager

import (
	"context"
	"errors"
	"strings"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/secretsmanager"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
)

const (
	day           = 24 * time.Hour
	defaultWindow = 30 // days
)

// DeleteSecret marks a secret for deletion after the recovery window, or removes
// it at once.
func (s *Service) DeleteSecret(ctx context.Context, c op.Call, in *apism.DeleteSecretRequest) (*apism.DeleteSecretResponse, error) {
	window := int64(defaultWindow)
	force := api.Value(in.ForceDeleteWithoutRecovery)
	if in.RecoveryWindowInDays != nil {
		if force {
			return nil, invalidParameter("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
		}
		if window = *in.RecoveryWindowInDays; window < 7 || window > 30 {
			return nil, invalidParameter("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
		}
	}
	if force {
		return s.remove(ctx, c, in.SecretId)
	}
	x, err := s.change(ctx, c, in.SecretId, func(_ store.Tx, x *secret) error {
		x.Phase, x.Deleted = phaseDeleted, time.Now()
		x.Due = x.Deleted.Add(time.Duration(window) * day)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &apism.DeleteSecretResponse{ARN: x.Arn, Name: x.Name, DeletionDate: api.At(x.Due)}, nil
}

// remove deletes for good. One that is not there is as good as removed.
func (s *Service) remove(ctx context.Context, c op.Call, id string) (*apism.DeleteSecretResponse, error) {
	out := &apism.DeleteSecretResponse{ARN: id, Name: id, DeletionDate: api.At(time.Now())}
	if !strings.HasPrefix(id, "arn:") {
		out.ARN = suffixed(c, id, randomEnd())
	}
	err := s.store.Update(ctx, func(tx store.Tx) error {
		x, err := find(tx, c, id)
		if e, ok := errors.AsType[*apierr.Error](err); ok && e.Code == "ResourceNotFoundException" {
			return nil
		}
		if err != nil {
			return err
		}
		out.ARN, out.Name = x.Arn, x.Name
		return x.destroy(tx)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// destroy removes a secret with all its values.
func (x *secret) destroy(tx store.Tx) error {
	for _, v := range x.Versions {
		if err := tx.Delete(versionKey(x, v.ID)); err != nil {
			return err
		}
	}
	return tx.Delete(x.Key)
}

// RestoreSecret takes the mark off; a secret without one stays as it is.
func (s *Service) RestoreSecret(ctx context.Context, c op.Call, in *apism.RestoreSecretRequest) (*apism.RestoreSecretResponse, error) {
	var x *secret
	err := s.store.Update(ctx, func(tx store.Tx) (err error) {
		if x, err = find(tx, c, in.SecretId); err != nil || x.Phase != phaseDeleted {
			return err
		}
		x.Phase, x.Deleted, x.Due = phaseActive, time.Time{}, time.Time{}
		return x.put(tx)
	})
	if err != nil {
		return nil, err
	}
	return &apism.RestoreSecretResponse{ARN: x.Arn, Name: x.Name}, nil
}

// Kind implements reconcile.Reconciler.
func (*Service) Kind() resource.Kind { return Kind }

// Reconcile removes a secret whose recovery window is over.
func (s *Service) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	var left time.Duration
	err := s.store.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(k)
		if err != nil || r.Phase != phaseDeleted {
			return err
		}
		if left = time.Until(r.Due); left > 0 {
			return nil
		}
		x, err := read(r)
		if err != nil {
			return err
		}
		return x.destroy(tx)
	})
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return reconcile.Result{After: max(left, 0)}, err
}
