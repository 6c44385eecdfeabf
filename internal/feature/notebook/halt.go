package notebook

import (
	"context"
	"errors"
	"fmt"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/arn"
	"clary/internal/budget"
	"clary/internal/compute"
	"clary/internal/resource"
	"clary/internal/stage/agent"
	"clary/internal/store"
)

// haltBound is for how long at most an instance goes on costing that a budget
// stops: open pages have half a minute of it to save what they hold.
const haltBound = time.Minute

// stopper stops notebook instances for budgets.
type stopper struct{ n *Notebooks }

// Stopper stops notebook instances for budgets.
func (n *Notebooks) Stopper() budget.Stopper { return stopper{n} }

func (s stopper) Kind() resource.Kind { return Kind }

func (s stopper) Bound() time.Duration { return haltBound }

// Stop accepts that an instance shall stop. Reconcile has what is open saved
// first, and gives one up that is not in service yet.
func (s stopper) Stop(ctx context.Context, k resource.Key, by string) error {
	h := &budget.Halt{By: by, At: time.Now(), Of: s.n.Clock()}
	in := &api.StopNotebookInstanceInput{NotebookInstanceName: k.Name}
	err := h.On(ctx, s.n.Record, k, "StopNotebookInstance", in, arn.SageMaker(k.Region, k.Account, arnType, k.Name), func(ctx context.Context) error {
		return s.n.edit(ctx, k, func(_ store.Tx, r *resource.Record, st *status, _ *request) error {
			if r.Phase != phaseInService && r.Phase != phasePending || st.Halt != nil {
				return errUnchanged
			}
			st.Halt = h
			return nil
		})
	})
	if errors.Is(err, errUnchanged) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// errUnchanged says that there is nothing to stop.
var errUnchanged = errors.New("unchanged")

// yield ends a run that a budget stops.
func (d *decision) yield(o observed) {
	why := fmt.Sprintf("The budget %q has come to its limit", d.st.Halt.By)
	late, ok := o.clock.Since(d.st.Halt.Of)
	serves := d.st.Ready != nil && d.st.Down == nil && o.task != nil && o.task.Phase == compute.Running
	switch {
	case d.phase == phasePending:
		// AWS has no way from Pending to Stopped; waiters see the end of this one.
		d.fail(why+", and the notebook instance was given up before it was in service. StartNotebookInstance starts it again", o)
	case serves && ok && late < haltBound:
		d.effect, d.after = effectYield, 0
	default:
		d.rest(o)
	}
}

// save has what is open saved, and stops the run.
func (n *Notebooks) save(ctx context.Context, o observed, d decision) decision {
	sctx, cancel := context.WithTimeout(ctx, samplePatience)
	_ = n.say(sctx, d.st.Task, "/warn", agent.Warning{StopAt: o.now, Budget: d.st.Halt.By}) // nothing depends on who hears it
	cancel()
	n.saveOpen(ctx, &d.st)
	o.now, o.clock = time.Now(), n.Clock()
	d.rest(o)
	return d
}

// rest ends the run as StopNotebookInstance does.
func (d *decision) rest(o observed) {
	if d.st.Bill != nil {
		d.closes(d.st.billedTo(o.clock, o.task))
	}
	d.phase = phaseStopping
	d.st.tell(fmt.Sprintf("Stopped, as the budget %q has come to its limit.", d.st.Halt.By))
	d.after = 0
}
