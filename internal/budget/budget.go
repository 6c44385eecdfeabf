// Package budget is what a budget and those whose work it pays for agree on:
// whether there is room for what is about to begin, and how what costs too much
// is brought to its end. The service of budgets decides; features ask and stop.
// Start at Gate and Stopper.
package budget

import (
	"context"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

// Ask is what is about to begin.
type Ask struct {
	resource.Key
	Tags map[string]string
	// Uses are the intervals that would be opened, without ID, UID and times.
	Uses []resource.Usage
}

// Gate says whether hard budgets have room.
type Gate interface {
	// Admit is asked in the transaction that creates or starts a resource, and
	// takes room for it there. It refuses, with AWS's form of error and the
	// price in the text, what would be stopped at once.
	Admit(ctx context.Context, tx store.Tx, a Ask) error
}

// Admit asks a gate; where there is none, there are no hard budgets.
func Admit(ctx context.Context, g Gate, tx store.Tx, a Ask) error {
	if g == nil {
		return nil
	}
	return g.Admit(ctx, tx, a)
}

// Stopper ends what costs, for the resources of one kind.
type Stopper interface {
	Kind() resource.Kind
	// Bound is the longest that a resource goes on costing after Stop.
	Bound() time.Duration
	// Stop asks for the end, as the kind's own operation would, with what is to
	// be saved saved first. What is over, ending or gone is no error. by says
	// who stops it, for the audit and the resource's history: a budget's name.
	Stop(ctx context.Context, k resource.Key, by string) error
}
