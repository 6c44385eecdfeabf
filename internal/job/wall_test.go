package job

import (
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

// TestClockIsSet sets the wall clock while a job trains, with a server that
// begins anew: what the job shows and costs is what its tasks' clocks say.
func TestClockIsSet(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		look := func(st Status, now int, task *compute.TaskStatus) decision {
			t.Helper()
			return next(phaseInProgress, st, observed{now: at(now).Add(step), hosts: hosts{task}, logsDone: true, about: some()})
		}
		running := func(names ...string) *compute.TaskStatus {
			return &compute.TaskStatus{Phase: compute.Running, Started: at(9), Heartbeat: at(25), Steps: stepsOf(names...)}
		}
		st := started()
		st.Launched = true
		d := next(phaseInProgress, st, observed{now: at(15), hosts: hosts{running(plan.StepDownloading)}, about: some()})
		if d.open == nil || !d.open.Equal(at(10)) {
			t.Fatalf("opened at %v", d.open)
		}
		for range 2 { // a server that begins anew looks once more
			d = look(d.st, 30, running(plan.StepDownloading, plan.StepTraining))
			if d.open != nil || d.close != nil || d.phase != phaseInProgress || d.st.Secondary != secTraining {
				t.Fatalf("%s: while it trains: %+v", step, d)
			}
		}
		d = look(d.st, 101, exited(compute.Exit{Reason: compute.ReasonExited}))
		if d.phase != phaseCompleted || d.open != nil || !d.st.Started.Equal(at(10)) || !d.st.Ended.Equal(at(100)) || !d.st.billedTo().Equal(at(100)) || d.st.Seconds() != 90 {
			t.Errorf("%s: %s from %v to %v, billed to %v", step, d.phase, d.st.Started, d.st.Ended, d.st.billedTo())
		}
		for i, want := range []time.Time{t0, at(10), at(20), at(30)} {
			if tr := d.st.Transitions[i]; !tr.Start.Equal(want) || tr.End == nil || tr.End.Before(tr.Start) {
				t.Errorf("%s: transition %+v, want from %s", step, tr, want)
			}
		}
	}
}
