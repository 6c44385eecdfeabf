package notebook

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/budget"
	"clary/internal/compute"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
)

// must is AWS's refusal of an act that the notebook's status does not allow.
func must(r *resource.Record, to string, from ...string) error {
	if slices.Contains(from, r.Phase) {
		return nil
	}
	return apierr.Validation("Status (%s) not in ([%s]). Unable to transition to (%s) for Notebook Instance (%s)",
		r.Phase, strings.Join(from, ", "), to, r.Arn)
}

// change edits a notebook's record in one transaction, with its usage, and has
// it looked at.
func (n *Notebooks) change(ctx context.Context, c op.Call, name string, edit func(store.Tx, *resource.Record, *status, *request) error) error {
	err := n.edit(ctx, key(c.Account, c.Region, name), edit)
	if errors.Is(err, store.ErrNotFound) {
		return errNotFound()
	}
	return err
}

func (n *Notebooks) edit(ctx context.Context, k resource.Key, edit func(store.Tx, *resource.Record, *status, *request) error) error {
	return n.Store.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(k)
		if err != nil {
			return err
		}
		st, err := readStatus(r)
		if err != nil {
			return err
		}
		spec, err := readSpec(r)
		if err != nil {
			return err
		}
		if err := edit(tx, r, &st, spec); err != nil {
			return err
		}
		if err := st.write(r, spec); err != nil {
			return err
		}
		r.Modified = time.Now()
		r.Due, r.Attempts, r.LastError = r.Modified, 0, ""
		return tx.Put(r)
	})
}

// Start has a stopped or failed notebook run again.
func (n *Notebooks) Start(ctx context.Context, c op.Call, in *api.StartNotebookInstanceInput) (*struct{}, error) {
	if _, err := n.get(ctx, c, in.NotebookInstanceName); err != nil {
		return nil, err
	}
	if err := n.room(); err != nil {
		return nil, err
	}
	return nil, n.change(ctx, c, in.NotebookInstanceName, func(tx store.Tx, r *resource.Record, st *status, spec *request) error {
		if err := must(r, phasePending, phaseStopped, phaseFailed); err != nil {
			return err
		}
		if err := n.checkType(spec.InstanceType); err != nil {
			return err
		}
		if err := n.admit(ctx, tx, r, computeAsk(spec)); err != nil {
			return err
		}
		r.Phase = phasePending
		st.run(r.UID, time.Now())
		st.Crashes, st.Failure, st.Halted, st.Halt = nil, "", nil, nil
		return nil
	})
}

// admit asks whether hard budgets have room for what an instance is about to
// cost more.
func (n *Notebooks) admit(ctx context.Context, tx store.Tx, r *resource.Record, use resource.Usage) error {
	if n.Gate == nil {
		return nil
	}
	tags, err := tx.Tags(r.Arn)
	if err != nil {
		return err
	}
	return n.Gate.Admit(ctx, tx, budget.Ask{Key: r.Key, Tags: tags, Uses: []resource.Usage{use}})
}

// Stop accepts that the notebook shall stop, which is not billed any more from
// here on; Reconcile stops it.
func (n *Notebooks) Stop(ctx context.Context, c op.Call, in *api.StopNotebookInstanceInput) (*struct{}, error) {
	for {
		r, err := n.get(ctx, c, in.NotebookInstanceName)
		if err != nil {
			return nil, err
		}
		st, err := readStatus(r)
		if err != nil {
			return nil, err
		}
		task, known := n.lastWord(ctx, &st)
		err = n.change(ctx, c, in.NotebookInstanceName, func(tx store.Tx, cur *resource.Record, st *status, _ *request) error {
			if err := must(cur, phaseStopping, phaseInService); err != nil {
				return err
			}
			if cur.Version != r.Version {
				return errStale // the task that was asked about may be another by now
			}
			cur.Phase = phaseStopping
			if st.Bill == nil {
				return nil
			}
			m := n.Clock()
			if !known {
				st.Until = &m
				return nil
			}
			at := st.Halt.Ends(st.billedTo(m, task), meter.Anchor{At: st.Bill.Start, Of: st.Bill.From}, haltBound)
			if at.Before(st.Bill.Start) {
				at = st.Bill.Start
			}
			st.Bill, st.Down = nil, nil
			return meter.Close(tx, computeID(cur.UID, st.Bills), at)
		})
		if !errors.Is(err, errStale) {
			return nil, err
		}
	}
}

// lastWord is how a notebook's task stands, nil if there is none. What a driver
// cannot tell, which is false, must not keep anybody from ending what costs:
// Reconcile asks again, and ends the interval where it did end.
func (n *Notebooks) lastWord(ctx context.Context, st *status) (*compute.TaskStatus, bool) {
	if st.Task == "" {
		return nil, true
	}
	ts, err := n.Driver.Status(ctx, st.Task)
	switch {
	case err == nil:
		return &ts, true
	case errors.Is(err, compute.ErrNotFound):
		return nil, true
	}
	return nil, false
}

// Delete accepts that a notebook that does not run shall be no more, with its
// volume, which is not billed any more from here on.
func (n *Notebooks) Delete(ctx context.Context, c op.Call, in *api.DeleteNotebookInstanceInput) (*struct{}, error) {
	return nil, n.change(ctx, c, in.NotebookInstanceName, func(tx store.Tx, r *resource.Record, st *status, _ *request) error {
		if err := must(r, phaseDeleting, phaseStopped, phaseFailed); err != nil {
			return err
		}
		r.Phase = phaseDeleting
		return closeVolume(tx, r.UID, *st, time.Now())
	})
}
