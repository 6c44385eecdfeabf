// Package reconcile is the one loop that makes things happen. It looks at due
// records, one at a time per key, and lets the kind's Reconciler take one
// step. Wake-ups carry no payload: state decides, and a restart is just the
// next look. It must never look at one record twice at once, nor decide what a
// record becomes: that is the kind's Reconciler. Start at Loop.
package reconcile

import (
	"context"
	"time"

	"clary/internal/resource"
)

// Reconciler takes one step for a record of its kind.
type Reconciler interface {
	Kind() resource.Kind
	// Reconcile reads the record and the world, takes at most one effect and
	// says when to look again. An error backs off; it never ends a resource.
	Reconcile(ctx context.Context, k resource.Key) (Result, error)
}

// Result says when to look next; zero After: not before the record is put with
// a due time or woken.
type Result struct{ After time.Duration }
