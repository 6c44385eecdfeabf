package job

import (
	"context"
	"errors"
	"time"

	"clary/internal/aws/arn"
	"clary/internal/budget"
	"clary/internal/resource"
	"clary/internal/store"
)

// haltBound is for how long at most a job goes on costing that a budget stops:
// the time that AWS gives a program to end. What its program has made by then is
// uploaded, however long that takes, and that is not billed any more.
const haltBound = stopGrace

// stopper stops jobs for budgets.
type stopper struct{ e *Engine }

// Stopper stops jobs of the family for budgets.
func (e *Engine) Stopper() budget.Stopper { return stopper{e} }

func (s stopper) Kind() resource.Kind { return s.e.Kind() }

func (s stopper) Bound() time.Duration { return haltBound }

// Stop stops a job as its own operation does. One that somebody has stopped
// before is held to the bound from now on.
func (s stopper) Stop(ctx context.Context, k resource.Key, by string) error {
	e := s.e
	h := &budget.Halt{By: by, At: time.Now(), Of: e.Clock()}
	in := map[string]string{string(e.Kind()) + "Name": k.Name}
	err := h.On(ctx, e.Record, k, "Stop"+string(e.Kind()), in, arn.SageMaker(k.Region, k.Account, e.Word+"-job", k.Name), func(ctx context.Context) error {
		return e.edit(ctx, k, func(r *resource.Record) error {
			if r.Phase != phaseInProgress && r.Phase != phaseStopping {
				return errUnchanged
			}
			st, err := ReadStatus(r)
			if err != nil {
				return err
			}
			if st.Halt != nil {
				return errUnchanged
			}
			st.Halt = h
			if r.Phase == phaseInProgress {
				st.StopAsked = &h.At
				st.enter(secStopping, joinText(e.Says[secStopping], haltText(h)), h.At)
				r.Phase = phaseStopping
			}
			return st.write(r)
		})
	})
	if errors.Is(err, errUnchanged) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func haltText(h *budget.Halt) string { return "the budget \"" + h.By + "\" has come to its limit" }

// halted has the job's log say once that a budget stops it.
func (d *decision) halted() {
	h, first := d.st.Halt.Tell()
	if d.st.Halt = h; first {
		d.st.tell("The " + d.family.noun() + " is stopped: " + haltText(h) + ".")
	}
}

// paid closes what is billed of a job that a budget stopped when the bound is
// over, whatever the job still does.
func (d *decision) paid(o observed) {
	if d.st.Halt == nil || d.st.Line == nil || d.st.Started == nil || d.st.Billed != nil || o.hosts.over() {
		return
	}
	late, ok := o.clock.Since(d.st.Halt.Of)
	switch {
	case !ok:
	case late < haltBound:
		d.after = min(d.after, haltBound-late)
	default:
		at, _ := d.st.Line.Place(o.clock) // of one start of the machine: later than the bound
		d.bound(at.Add(d.slept()))
		d.close = d.st.Billed
	}
}

func (d *decision) slept() time.Duration { return time.Duration(d.st.Suspended * float64(time.Second)) }

// bound keeps what is billed of a job that a budget stopped within the bound.
func (d *decision) bound(at time.Time) {
	if d.st.Halt == nil || d.st.Line == nil || d.st.Billed != nil {
		return
	}
	slept := d.slept()
	end := d.st.Halt.Ends(at.Add(-slept), *d.st.Line, haltBound)
	if end.Before(*d.st.Started) {
		end = *d.st.Started
	}
	if end.Before(at.Add(-slept)) {
		d.st.Billed = &end
	}
}
