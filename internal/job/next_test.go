package job

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }

// some is what next is told of a job on one instance.
func some() about {
	f := &Family{Kind: "TrainingJob", Word: "training", Silent: "The training script ended without a message; see the job's log", OutOfMemory: "ClientError: More memory, please. ", Says: map[string]string{secTraining: "Training in progress."}}
	return about{family: f, work: &Work{InstanceType: "ml.m5.large", VolumeGB: 30, MaxRuntime: time.Hour}, memory: 8 << 30, larger: "ml.m5.xlarge"}
}

// of is the same of a job on n instances.
func of(n int) about {
	a := some()
	a.work.InstanceCount = int64(n)
	return a
}

func started() Status {
	st := Status{V: 1}
	st.enter(secStarting, "", t0)
	return st
}

func stepsOf(names ...string) []compute.Step {
	var out []compute.Step
	for i, n := range names {
		out = append(out, compute.Step{Name: n, At: at(10 * (i + 1))})
	}
	return out
}

func exited(e compute.Exit) *compute.TaskStatus {
	e.At = at(100)
	return &compute.TaskStatus{Phase: compute.Ended, Steps: stepsOf(plan.StepDownloading, plan.StepTraining, plan.StepUploading), Exit: &e, Spooled: 10}
}

func TestNextEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		exit             compute.Exit
		stop             bool
		phase, secondary string
		reason           string // a part of FailureReason
	}{
		"success": {compute.Exit{Reason: compute.ReasonExited, Result: plan.Result{Artifact: "s3://b/m"}}, false, phaseCompleted, secCompleted, ""},
		"served":  {compute.Exit{Reason: compute.ReasonExited, Result: plan.Result{Served: true, ExitCode: 143, Signal: "terminated"}}, false, phaseCompleted, secCompleted, ""},
		"served badly": {
			compute.Exit{Reason: compute.ReasonExited, Result: plan.Result{Served: true, ExitCode: 0, Class: "AlgorithmError", Failure: "See job logs"}},
			false,
			phaseFailed, secFailed, "AlgorithmError: See job logs",
		},
		"script raises": {
			compute.Exit{Reason: compute.ReasonExited, Result: plan.Result{ExitCode: 1, Class: "AlgorithmError", Failure: "ValueError: no"}},
			false,
			phaseFailed, secFailed, "AlgorithmError: ValueError: no, exit code: 1",
		},
		"signal": {
			compute.Exit{Reason: compute.ReasonExited, Result: plan.Result{ExitCode: 139, Signal: "segmentation fault"}},
			false,
			phaseFailed, secFailed, ", signal: segmentation fault",
		},
		"no input": {
			compute.Exit{Reason: compute.ReasonExited, Result: plan.Result{ExitCode: -1, Class: "ClientError", Failure: "No S3 objects found"}},
			false,
			phaseFailed, secFailed, "ClientError: No S3 objects found",
		},
		"stopped":           {compute.Exit{Reason: compute.ReasonStopped, Result: plan.Result{ExitCode: 143, Signal: "terminated"}}, true, phaseStopped, secStopped, ""},
		"ended before stop": {compute.Exit{Reason: compute.ReasonExited}, true, phaseCompleted, secCompleted, ""},
		"stopped, and its init died": {
			compute.Exit{Reason: compute.ReasonStopped, Result: plan.Result{ExitCode: -1, Class: "InternalServerError", Failure: "init died"}},
			true, phaseFailed, secFailed, "could not be run to its end: init died",
		},
		"time limit":         {compute.Exit{Reason: compute.ReasonMaxRuntime, Result: plan.Result{ExitCode: 143}}, false, phaseStopped, secMaxRuntime, ""},
		"memory":             {compute.Exit{Reason: compute.ReasonMemory, PeakMemory: 2 << 30, Result: plan.Result{ExitCode: 137}}, false, phaseFailed, secFailed, "ran out of memory and was killed. Its peak was 2.00 GiB; the limit of ml.m5.large is 8.00 GiB; ml.m5.xlarge has more, exit code: 137"},
		"disk":               {compute.Exit{Reason: compute.ReasonDisk}, false, phaseFailed, secFailed, "VolumeSizeInGB"},
		"could not be run":   {compute.Exit{Reason: compute.ReasonFailed, Result: plan.Result{Failure: "no namespaces"}}, false, phaseFailed, secFailed, "InternalServerError: We encountered an internal error. Please try again. The training job could not be run to its end: no namespaces"},
		"refused upload":     {compute.Exit{Reason: compute.ReasonExited, Result: plan.Result{Class: "ClientError", Failure: "may not write"}}, false, phaseFailed, secFailed, "ClientError: may not write"},
		"a very long reason": {compute.Exit{Reason: compute.ReasonExited, Result: plan.Result{ExitCode: 3, Failure: strings.Repeat("é", 2000)}}, false, phaseFailed, secFailed, ", exit code: 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			phase, st := phaseInProgress, started()
			if tc.stop {
				phase = phaseStopping
				now := at(50)
				st.StopAsked = &now
			}
			o := observed{now: at(101), hosts: hosts{exited(tc.exit)}, about: some()}
			wait := next(phase, st, o)
			if Terminal(wait.phase) || wait.effect != effectAwait {
				t.Fatalf("before its output is in, the job is %s with effect %v", wait.phase, wait.effect)
			}
			o.logsDone = true
			d := next(phase, wait.st, o)
			if d.phase != tc.phase || d.st.Secondary != tc.secondary {
				t.Errorf("job is %s/%s, want %s/%s", d.phase, d.st.Secondary, tc.phase, tc.secondary)
			}
			if !strings.Contains(d.st.Failure, tc.reason) || (tc.reason == "" && d.st.Failure != "") || len(d.st.Failure) > 1024 {
				t.Errorf("FailureReason %q, want one with %q", d.st.Failure, tc.reason)
			}
			if wait.open == nil || !wait.open.Equal(at(10)) || d.close == nil || !d.close.Equal(at(100)) {
				t.Errorf("billed from %v to %v, want the first download and the task's end", wait.open, d.close)
			}
		})
	}
}

func TestNextBeforeTask(t *testing.T) {
	t.Parallel()
	ready := image{ready: true}
	for name, tc := range map[string]struct {
		launched, stop bool
		img            image
		phase          string
		effect         effect
	}{
		"ready":           {img: ready, phase: phaseInProgress, effect: effectStart},
		"being built":     {img: image{progress: "installing 3 packages"}, phase: phaseInProgress, effect: effectAwait},
		"unknown image":   {img: image{failed: "no runtime"}, phase: phaseFailed},
		"stopped early":   {stop: true, img: ready, phase: phaseStopped},
		"folder vanished": {launched: true, img: ready, phase: phaseFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := started()
			st.Launched = tc.launched
			if tc.stop {
				now := at(1)
				st.StopAsked = &now
			}
			d := next(phaseInProgress, st, observed{now: at(2), hosts: hosts{nil}, logsDone: true, image: tc.img, about: some()})
			if d.phase != tc.phase || d.effect != tc.effect {
				t.Errorf("%s with effect %v, want %s with %v", d.phase, d.effect, tc.phase, tc.effect)
			}
			if d.open != nil || d.close != nil {
				t.Error("a job whose task never ran was billed")
			}
		})
	}
}

// What a program said is cut as a reason is, and text, whatever the driver says.
func TestExitMessageIsCut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\u00e9", 2000)
	for said, want := range map[string]string{"a" + long: "a" + long[:1022], "\xffso": "\ufffdso"} {
		for n := range 2 { // hosts besides
			e := well
			e.Result.ExitMessage = said
			h := append(make(hosts, 0, 2), host(1, 2, 0, 9, e))
			if n > 0 {
				h = append(hosts{host(1, 2, 0, 9, well)}, h...)
			}
			d := next(phaseInProgress, started(), observed{now: at(99), hosts: h, logsDone: true, about: of(len(h))})
			if d.st.ExitMessage != want {
				t.Errorf("%d bytes: %.20q", len(d.st.ExitMessage), d.st.ExitMessage)
			}
		}
	}
}

// TestNextProperties walks random observations of jobs on one instance and on
// several: a terminal phase never changes, transitions are only appended and
// stay in order, billing opens at most once and closes exactly when a billed
// job ends, and no host is left behind or stopped without a reason.
func TestNextProperties(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 1))
		phase, st := phaseInProgress, started()
		o := observed{hosts: make(hosts, 1+seed%4), about: of(1 + int(seed%4))}
		if seed%8 > 4 { // each instance has a container more
			o.about = pipe(len(o.hosts))
			o.hosts = make(hosts, 2*len(o.hosts))
		}
		w := o.about.work
		opened, closed := 0, 0
		for now := 1; now < 80; now++ {
			if r.IntN(20) == 0 && phase == phaseInProgress {
				a := at(now)
				st.StopAsked, phase = &a, phaseStopping
			}
			o.now, o.image, o.logsDone = at(now), image{ready: r.IntN(3) > 0, failed: pick(r, 40, "broken")}, r.IntN(2) == 0
			for _, task := range o.hosts {
				lives(r, task, now)
			}
			d := next(phase, st, o)
			if Terminal(phase) && (d.phase != phase || d.open != nil || d.close != nil || len(d.st.Transitions) != len(st.Transitions)) {
				t.Fatalf("seed %d: %s became %s", seed, phase, d.phase)
			}
			for i, tr := range st.Transitions {
				got := d.st.Transitions[i]
				if got.Status != tr.Status || got.Message != tr.Message || !got.Start.Equal(tr.Start) || (tr.End != nil && !got.End.Equal(*tr.End)) {
					t.Fatalf("seed %d: transition %d was rewritten", seed, i)
				}
				if got.End != nil && got.End.Before(got.Start) {
					t.Fatalf("seed %d: transition %d ends before it starts", seed, i)
				}
			}
			if d.open != nil {
				opened++
			}
			if d.close != nil {
				closed++
				if last := o.hosts[:w.hosts()].ended(); d.close.After(last) && !last.IsZero() && d.close.After(*d.st.Started) {
					t.Fatalf("seed %d: billed to %s, and the instances were over at %s", seed, d.close, last)
				}
			}
			if d.st.Launched && o.hosts.done(w) && Terminal(d.phase) && d.phase != phaseCompleted || d.phase == phaseCompleted && !Terminal(phase) && !o.hosts.done(w) {
				t.Fatalf("seed %d: %s, and its instances have done their work: %v", seed, d.phase, o.hosts.done(w))
			}
			if Terminal(d.phase) && d.st.Launched && !o.hosts.over() {
				t.Fatalf("seed %d: %s with a host that runs", seed, d.phase)
			}
			_, failing := o.hosts.failing(w)
			if why := d.st.StopAsked != nil || failing || o.hosts.done(w); d.effect == effectStop && !why || d.effect == effectAwait && why && d.st.Launched && !o.hosts.over() {
				t.Fatalf("seed %d: effect %v while stop is asked, all is done, or a host failed: %v", seed, d.effect, why)
			}
			phase, st = d.phase, d.st
			switch d.effect { //nolint:exhaustive // the others do nothing to tasks
			case effectStart:
				// A server may die while it starts them.
				for i := range o.hosts {
					if st.Launched = r.IntN(4) > 0; !st.Launched {
						break
					}
					if o.hosts[i] == nil {
						o.hosts[i] = &compute.TaskStatus{Phase: compute.Running, Started: at(now)}
					}
				}
			case effectStop:
				for _, task := range o.hosts {
					if !over(task) && r.IntN(3) == 0 {
						task.Phase, task.Exit = compute.Ended, &compute.Exit{At: at(now), Reason: compute.ReasonStopped, Result: plan.Result{ExitCode: 143}}
					}
				}
			}
			if i := r.IntN(len(o.hosts)); st.Launched && r.IntN(300) == 0 {
				o.hosts[i] = nil // its folder is gone
			}
		}
		if opened > 1 || closed > 1 || (Terminal(phase) && opened != closed) || (!Terminal(phase) && closed > 0) {
			t.Fatalf("seed %d: %s after billing opened %d times and closed %d times", seed, phase, opened, closed)
		}
		if Terminal(phase) && (st.Ended == nil || st.Transitions[len(st.Transitions)-1].End == nil) {
			t.Fatalf("seed %d: a job at its end has an open transition", seed)
		}
	}
}

// lives has a task go on for a second.
func lives(r *rand.Rand, task *compute.TaskStatus, now int) {
	switch {
	case over(task):
	case len(task.Steps) < 3 && r.IntN(3) == 0:
		task.Steps = append(task.Steps, compute.Step{Name: steps[len(task.Steps)], At: at(now)})
	case r.IntN(8) == 0:
		task.Phase = compute.Ended
		task.Exit = &compute.Exit{At: at(now), Reason: []compute.Reason{compute.ReasonExited, compute.ReasonExited, compute.ReasonMaxRuntime, compute.ReasonMemory}[r.IntN(4)], Result: plan.Result{ExitCode: r.IntN(2)}}
		if r.IntN(5) == 0 {
			task.Phase, task.Exit, task.Heartbeat = compute.Lost, nil, at(now-1)
		}
	}
}

func pick(r *rand.Rand, n int, s string) string {
	if r.IntN(n) == 0 {
		return s
	}
	return ""
}
