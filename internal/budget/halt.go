package budget

import (
	"context"
	"time"

	"clary/internal/aws/op"
	"clary/internal/meter"
	"clary/internal/resource"
)

// Halt is a budget's stop, as the record of what it stops keeps it.
type Halt struct {
	By   string       `json:"by"` // the budget
	At   time.Time    `json:"at"`
	Of   meter.Moment `json:"of"` // the same instant, by the clock that nobody sets
	Told bool         `json:"told,omitzero"`
}

// Ends is where an interval ends that would end at end: no later than bound
// after the stop, however long it takes to come to rest, and whatever was done
// to the wall clock. A nil Halt changes nothing.
func (h *Halt) Ends(end time.Time, on meter.Anchor, bound time.Duration) time.Time {
	if h == nil {
		return end
	}
	if at, ok := on.Place(h.Of); ok && at.Add(bound).Before(end) {
		return at.Add(bound)
	}
	return end
}

// Tell is the halt as it is once it was told of; false if it was, or is none.
func (h *Halt) Tell() (*Halt, bool) {
	if h == nil || h.Told {
		return h, false
	}
	told := *h
	told.Told = true
	return &told, true
}

// Record begins the record of a call that the server makes by itself; what is
// changed under the context that it gives keeps it.
type Record func(ctx context.Context, c op.Call, in any, arn string) (_ context.Context, end func(error) error)

// On has change made on record, as a call of SageMaker's operation which the
// service of budgets makes. A change that fails did nothing, and is no call that
// was refused. A nil record keeps none.
func (h *Halt) On(ctx context.Context, record Record, k resource.Key, operation string, in any, arn string, change func(context.Context) error) error {
	if record == nil {
		return change(ctx)
	}
	ctx, end := record(ctx, op.Call{
		Account: k.Account, Region: k.Region, Service: "sagemaker", Operation: operation, RequestID: resource.NewUID(),
		UserAgent: "clary budget " + h.By, Received: h.At,
		Principal: resource.Principal{Account: k.Account, Service: "budgets.amazonaws.com"},
	}, in, arn)
	if err := change(ctx); err != nil {
		return err
	}
	return end(nil)
}
