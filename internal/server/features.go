package server

import (
	"slices"

	"clary/internal/aws/op"
	"clary/internal/console"
	"clary/internal/dataplane"
	"clary/internal/logs"
	"clary/internal/reconcile"
)

// features are all that have something to reconcile.
func (r *rooms) features() []reconcile.Reconciler {
	return slices.Concat(console.Reconcilers(r.store), dataplane.Reconcilers(r.store), []reconcile.Reconciler{r.jobs, r.notebooks, r.secrets})
}

// logRead tells the features that a caller read a log stream.
func (r *rooms) logRead(c op.Call, s logs.Stream) {
	if s.Group == "/aws/sagemaker/TrainingJobs" {
		r.jobs.LogRead(c.Principal.AccessKeyID, s.Account, s.Region, s.Name)
	}
}
