package training

import (
	"context"
	"errors"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

// Stop writes that the job shall stop; Reconcile stops it.
func (t *Training) Stop(ctx context.Context, c op.Call, in *api.StopTrainingJobRequest) (*struct{}, error) {
	return nil, t.change(ctx, c, in.TrainingJobName, func(r *resource.Record) error {
		switch r.Phase {
		case phaseStopping:
			return errUnchanged
		case phaseInProgress:
		default:
			return apierr.Validation("The request was rejected because the training job is in status %s.", r.Phase)
		}
		st, err := readStatus(r)
		if err != nil {
			return err
		}
		now := time.Now()
		st.StopAsked = &now
		st.enter(secStopping, msgStopping, now)
		r.Phase = phaseStopping
		return st.write(r)
	})
}

// Delete removes a job that is over: its record, not its outputs or its bill.
func (t *Training) Delete(ctx context.Context, c op.Call, in *api.DeleteTrainingJobRequest) (*struct{}, error) {
	return nil, t.change(ctx, c, in.TrainingJobName, func(r *resource.Record) error {
		switch {
		case r.Phase == phaseDeleting:
			return errUnchanged
		case !terminal(r.Phase):
			return apierr.InUse("Training job %s is in status %s and cannot be deleted; stop it first.", r.Arn, r.Phase)
		}
		r.Phase = phaseDeleting
		return nil
	})
}

var errUnchanged = errors.New("unchanged")

// change edits a job's record in one transaction and has it looked at.
func (t *Training) change(ctx context.Context, c op.Call, name string, edit func(*resource.Record) error) error {
	k := key(c.Account, c.Region, name)
	err := t.Store.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(k)
		if err != nil {
			return err
		}
		if err := edit(r); err != nil {
			return err
		}
		r.Modified = time.Now()
		r.Due = r.Modified
		return tx.Put(r)
	})
	switch {
	case errors.Is(err, errUnchanged):
		return nil
	case errors.Is(err, store.ErrNotFound):
		return errNotFound()
	}
	return err
}
