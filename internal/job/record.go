package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/aws/tags"
	"clary/internal/budget"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
)

// Create accepts a job that its feature has checked: one transaction, no
// compute touched. The stored spec is the wire form of the request. The caller
// must be allowed to pass on the role; "" is one that somebody passed on before.
func (e *Engine) Create(ctx context.Context, c op.Call, name, roleArn string, request any, list []api.Tag) (arn string, err error) {
	if roleArn != "" {
		if err := e.Auth.PassRole(ctx, c.Principal, roleArn, "sagemaker.amazonaws.com"); err != nil {
			return "", err
		}
	}
	if err := e.Free(); err != nil {
		return "", apierr.New(400, "ResourceLimitExceeded",
			"The server's disk is almost full and takes no new %ss. Delete objects or jobs, or give the data folder more room, and try again.", e.noun())
	}
	set, err := tags.Map(list)
	if err != nil {
		return "", err
	}
	spec, err := json.Marshal(request)
	if err != nil {
		return "", fmt.Errorf("spec: %w", err)
	}
	now := time.Now()
	rec := resource.Record{
		Key: e.key(c, name), UID: resource.NewUID(), Arn: e.Arn(c, name),
		Phase: phaseInProgress, Created: now, Modified: now, Due: now, Spec: spec,
	}
	st := Status{V: 1}
	st.enter(secStarting, e.Says[secStarting], now)
	if err := st.write(&rec); err != nil {
		return "", err
	}
	err = e.Store.Update(ctx, func(tx store.Tx) error {
		// Two names that differ in case have one ARN, and so would have one set of tags.
		if _, err := tx.ByArn(rec.Arn); err == nil {
			return store.ErrExists
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := e.admit(ctx, tx, &rec, set); err != nil {
			return err
		}
		r := rec
		if err := tx.Put(&r); err != nil {
			return err
		}
		return tx.PutTags(rec.Arn, set)
	})
	if errors.Is(err, store.ErrExists) {
		return "", apierr.InUse("%s", e.Taken(rec.Arn))
	}
	if err != nil {
		return "", err
	}
	e.track(&rec)
	return rec.Arn, nil
}

// admit asks whether hard budgets have room for a job.
func (e *Engine) admit(ctx context.Context, tx store.Tx, rec *resource.Record, tags map[string]string) error {
	if e.Gate == nil {
		return nil
	}
	w, err := e.Read(rec)
	if err != nil {
		return err
	}
	return e.Gate.Admit(ctx, tx, budget.Ask{Key: rec.Key, Tags: tags, Uses: []resource.Usage{
		{Component: e.Word, InstanceType: w.InstanceType, Unit: meter.InstanceSecond, Quantity: int64(w.hosts())},
	}})
}

// Get reads a job of the caller's. Waiters and SDKs match on the code and the
// text that say that there is none.
func (e *Engine) Get(ctx context.Context, c op.Call, name string) (*resource.Record, error) {
	r, err := e.Store.Get(ctx, e.key(c, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, apierr.Validation("%s", e.Missing(name, false))
	}
	return r, err
}

// Stop writes that the job shall stop; Reconcile stops it.
func (e *Engine) Stop(ctx context.Context, c op.Call, name string) error {
	return e.change(ctx, c, name, func(r *resource.Record) error {
		switch r.Phase {
		case phaseStopping:
			return errUnchanged
		case phaseInProgress:
		default:
			return apierr.Validation("The request was rejected because the %s is in status %s.", e.noun(), r.Phase)
		}
		st, err := ReadStatus(r)
		if err != nil {
			return err
		}
		now := time.Now()
		st.StopAsked = &now
		st.enter(secStopping, e.Says[secStopping], now)
		r.Phase = phaseStopping
		return st.write(r)
	})
}

// Delete removes a job that is over: its record, not its outputs or its bill.
func (e *Engine) Delete(ctx context.Context, c op.Call, name string) error {
	return e.change(ctx, c, name, func(r *resource.Record) error {
		switch {
		case r.Phase == phaseDeleting:
			return errUnchanged
		case !Terminal(r.Phase):
			return apierr.InUse("%s %s is in status %s and cannot be deleted; stop it first.", e.title(), r.Arn, r.Phase)
		}
		st, err := ReadStatus(r)
		if err == nil && st.Cleaned {
			err = errDone // it has nothing on the machine: its name is free at once
		}
		r.Phase = phaseDeleting
		return err
	})
}

// What an edit of a record can come to, besides another record.
var (
	errUnchanged = errors.New("unchanged")
	errDone      = errors.New("the record has done its work")
)

// change edits a job's record in one transaction and has it looked at.
func (e *Engine) change(ctx context.Context, c op.Call, name string, edit func(*resource.Record) error) error {
	switch err := e.edit(ctx, e.key(c, name), edit); {
	case errors.Is(err, errUnchanged):
		return nil
	case errors.Is(err, store.ErrNotFound):
		return apierr.Validation("%s", e.Missing(name, true))
	default:
		return err
	}
}

func (e *Engine) edit(ctx context.Context, k resource.Key, edit func(*resource.Record) error) error {
	return e.Store.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(k)
		if err != nil {
			return err
		}
		switch err := edit(r); {
		case errors.Is(err, errDone):
			return tx.Delete(k)
		case err != nil:
			return err
		}
		r.Modified = time.Now()
		r.Due = r.Modified
		return tx.Put(r)
	})
}
