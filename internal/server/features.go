package server

import (
	"context"
	"slices"

	"clary/internal/aws/op"
	"clary/internal/budget"
	"clary/internal/compute"
	"clary/internal/console"
	"clary/internal/dataplane"
	"clary/internal/job"
	"clary/internal/logs"
	"clary/internal/reconcile"
	"clary/internal/service/budgets"
)

// engines carry the jobs, of each kind one.
func (r *rooms) engines() []*job.Engine {
	return []*job.Engine{r.training.Engine, r.processing.Engine, r.transform.Engine}
}

// features are all that have something to reconcile.
func (r *rooms) features() []reconcile.Reconciler {
	all := slices.Concat(console.Reconcilers(r.store), dataplane.Reconcilers(r.store), r.watch.Reconcilers(), r.topics.Reconcilers(), []reconcile.Reconciler{r.notebooks, r.endpoints, r.secrets, r.courier, r.budgets, budgets.Actions{Service: r.budgets}})
	for _, e := range r.engines() {
		all = append(all, e)
	}
	return all
}

// stoppers end what costs, for budgets.
func (r *rooms) stoppers() []budget.Stopper {
	out := []budget.Stopper{r.notebooks.Stopper(), r.endpoints.Stopper()}
	for _, e := range r.engines() {
		out = append(out, e.Stopper())
	}
	return out
}

// record begins the record of what the server does as of a call.
func (r *rooms) record(ctx context.Context, c op.Call, in any, arn string) (context.Context, func(error) error) {
	return r.recorder().Begin(ctx, c, nil, in, arn)
}

// logRead tells the features that a caller read a log stream.
func (r *rooms) logRead(c op.Call, s logs.Stream) {
	for _, e := range r.engines() {
		e.LogRead(c.Principal.AccessKeyID, s)
	}
}

// taskChanged tells the feature whose task it is.
func (r *rooms) taskChanged(id compute.TaskID) {
	for _, e := range r.engines() {
		e.Changed(id)
	}
	r.notebooks.Changed(id)
	r.endpoints.Changed(id)
}

// wakeAll has everything that is under way looked at.
func (r *rooms) wakeAll(ctx context.Context) error {
	for _, e := range r.engines() {
		if err := e.WakeAll(ctx); err != nil {
			return err
		}
	}
	if err := r.endpoints.WakeAll(ctx); err != nil {
		return err
	}
	if err := r.courier.WakeAll(ctx); err != nil {
		return err
	}
	return r.notebooks.WakeAll(ctx)
}
