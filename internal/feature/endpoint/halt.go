package endpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"clary/internal/aws/arn"
	"clary/internal/budget"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
)

// haltBound is for how long at most an endpoint goes on costing that a budget
// deletes: its containers have half a minute of it to end.
const haltBound = time.Minute

// stopper deletes endpoints for budgets.
type stopper struct{ e *Endpoints }

// Stopper deletes endpoints for budgets. Their configurations and models stay.
func (e *Endpoints) Stopper() budget.Stopper { return stopper{e} }

func (s stopper) Kind() resource.Kind { return serving.KindEndpoint }

func (s stopper) Bound() time.Duration { return haltBound }

// halted is what the record of a deletion says: enough to make the endpoint
// again.
type halted struct{ EndpointName, EndpointConfigName string }

// Stop deletes an endpoint as DeleteEndpoint does. One that somebody has deleted
// before is held to the bound from now on.
func (s stopper) Stop(ctx context.Context, k resource.Key, by string) error {
	h := &budget.Halt{By: by, At: time.Now(), Of: s.e.Clock()}
	in := &halted{EndpointName: k.Name}
	if r, err := s.e.Store.Get(ctx, k); err == nil {
		if st, err := readStatus(r); err == nil {
			in.EndpointConfigName = st.Config
		}
	}
	err := h.On(ctx, s.e.Record, k, "DeleteEndpoint", in, arn.SageMaker(k.Region, k.Account, "endpoint", k.Name), func(ctx context.Context) error {
		return s.e.edit(ctx, k, func(_ store.Tx, r *resource.Record, st *status) error {
			if st.Halt != nil || rests(r.Phase, st) {
				return errUnchanged
			}
			st.Halt = h
			if r.Phase != serving.PhaseDeleting && r.Phase != serving.PhaseFailed { // that one's instances are on their way out
				r.Phase = serving.PhaseDeleting
				st.Live, st.Next = nil, nil
			}
			return nil
		})
	})
	if errors.Is(err, errUnchanged) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// paid closes what is billed of an instance when the bound of a budget's stop is
// over, and says that it did.
func (d *decision) paid(in *instance, o observed) bool {
	if d.st.Halt == nil {
		return false
	}
	at, ok := in.Bill.Line.Place(o.clock)
	late, same := o.clock.Since(d.st.Halt.Of)
	if !ok || !same {
		return false
	}
	if late < haltBound {
		d.soon(haltBound - late)
		return false
	}
	d.closes(in, at)
	return true
}

// halted has the log of each instance say once that a budget deletes the
// endpoint, and how it is made again.
func (d *decision) halted() {
	h, first := d.st.Halt.Tell()
	if d.st.Halt = h; !first || d.phase == serving.PhaseFailed {
		return
	}
	for i := range d.st.Fleet {
		d.st.Fleet[i].tell(fmt.Sprintf("The endpoint is deleted, as the budget %q has come to its limit. Its configuration %s stays: CreateEndpoint with it makes it again.", h.By, d.st.Config))
	}
}
