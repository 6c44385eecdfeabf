package server

import (
	"clary/internal/aws/op"
	"clary/internal/logs"
	"clary/internal/reconcile"
)

// features are all that have something to reconcile.
func (r *rooms) features() []reconcile.Reconciler {
	return []reconcile.Reconciler{r.jobs}
}

// logRead tells the features that a caller read a log stream.
func (r *rooms) logRead(c op.Call, s logs.Stream) {
	if s.Group == "/aws/sagemaker/TrainingJobs" {
		r.jobs.LogRead(c.Principal.AccessKeyID, s.Account, s.Region, s.Name)
	}
}
