package job

import (
	"testing"
	"time"

	"clary/internal/budget"
	"clary/internal/compute"
	"clary/internal/meter"
	"clary/internal/stage/plan"
)

// halting is a job that downloads from at(10) on and that a budget stops at at(60),
// as its task's clock has it. The wall clock shows something else by then.
func halting() Status {
	st := started()
	began, asked := at(10), at(4000)
	st.Launched, st.Started, st.StepsSeen = true, &began, 2
	st.Line = &meter.Anchor{At: at(20), Of: meter.Moment{Boot: "b", Awake: int64(20 * time.Second)}}
	st.Halt, st.StopAsked = &budget.Halt{By: "small", At: asked, Of: meter.Moment{Boot: "b", Awake: int64(60 * time.Second)}}, &asked
	return st
}

func awake(s int) meter.Moment {
	return meter.Moment{Boot: "b", Awake: int64(time.Duration(s) * time.Second)}
}

// What a budget stops is billed for two minutes more at most, whatever it still
// uploads, and the ledger closes then.
func TestHaltIsBounded(t *testing.T) {
	t.Parallel()
	uploads := &compute.TaskStatus{Phase: compute.Running, Started: at(9), Heartbeat: at(90), Steps: stepsOf(plan.StepDownloading, plan.StepTraining, plan.StepUploading)}
	o := observed{now: at(4100), clock: awake(160), hosts: hosts{uploads}, about: some()}
	d := next(phaseStopping, halting(), o)
	if d.close != nil || d.effect != effectStop || d.after != 5*time.Second || d.st.Notes != 1 {
		t.Fatalf("100 s after the stop: %+v", d)
	}
	o.clock = awake(178)
	if d = next(phaseStopping, d.st, o); d.close != nil || d.after != 2*time.Second || d.st.Notes != 1 {
		t.Fatalf("118 s after the stop: closes %v, looks in %s", d.close, d.after)
	}
	o.clock = awake(7000)
	d = next(phaseStopping, d.st, o)
	if d.close == nil || !d.st.billedTo().Equal(at(180)) || d.phase != phaseStopping {
		t.Fatalf("long after the stop it is billed to %v, %s", d.st.Billed, d.phase)
	}
	o.hosts, o.logsDone = hosts{exited(compute.Exit{Reason: compute.ReasonStopped})}, true
	o.hosts[0].Exit.At = at(6000)
	if d = next(phaseStopping, d.st, o); d.phase != phaseStopped || !d.st.billedTo().Equal(at(180)) || d.st.Seconds() != 170 {
		t.Errorf("at its end: %s, %d s to %s", d.phase, d.st.Seconds(), d.st.billedTo())
	}
}

// One that ends before is billed to its end, and another start of the machine,
// after which nobody knows when the stop was on its clock, leaves it at that.
func TestHaltEndsBefore(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end  int
		boot string
		want int
	}{
		"before the bound":  {100, "b", 100},
		"after the bound":   {500, "b", 180},
		"of an earlier run": {500, "a", 500},
	} {
		st := halting()
		st.Line.Of.Boot = tc.boot
		end := exited(compute.Exit{Reason: compute.ReasonStopped})
		end.Exit.At = at(tc.end)
		d := next(phaseStopping, st, observed{now: at(9000), clock: awake(9000), hosts: hosts{end}, logsDone: true, about: some()})
		if d.phase != phaseStopped || !d.st.billedTo().Equal(at(tc.want)) {
			t.Errorf("%s: %s to %s, want %s", name, d.phase, d.st.billedTo(), at(tc.want))
		}
	}
}
