package job

import (
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

// host is one that began at 0, came to steps at some seconds, and is over at
// another; 0 is never.
func host(down, train, up, end int, e compute.Exit) *compute.TaskStatus {
	t := &compute.TaskStatus{Phase: compute.Running, Started: at(0)}
	for i, s := range []int{down, train, up} {
		if s > 0 {
			t.Steps = append(t.Steps, compute.Step{Name: steps[i], At: at(s)})
		}
	}
	if end > 0 {
		e.At = at(end)
		t.Phase, t.Exit = compute.Ended, &e
	}
	return t
}

var (
	well    = compute.Exit{Reason: compute.ReasonExited, Result: plan.Result{Artifact: "s3://b/m"}}
	broke   = compute.Exit{Reason: compute.ReasonExited, Result: plan.Result{ExitCode: 1, Failure: "it broke"}}
	stopped = compute.Exit{Reason: compute.ReasonStopped, Result: plan.Result{ExitCode: 143}}
	limited = compute.Exit{Reason: compute.ReasonMaxRuntime, Result: plan.Result{ExitCode: 143}}
	memory  = compute.Exit{Reason: compute.ReasonMemory, Result: plan.Result{ExitCode: 137}}
)

func TestReached(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		hosts hosts
		want  [3]int
	}{
		"none":                   {hosts{nil, host(0, 0, 0, 0, well)}, [3]int{}},
		"one downloads":          {hosts{host(5, 0, 0, 0, well), host(0, 0, 0, 0, well)}, [3]int{5, 0, 0}},
		"the first counts":       {hosts{host(5, 0, 0, 0, well), host(3, 9, 0, 0, well)}, [3]int{3, 0, 0}},
		"all train":              {hosts{host(5, 7, 0, 0, well), host(3, 9, 0, 0, well)}, [3]int{3, 9, 0}},
		"one still trains":       {hosts{host(5, 7, 12, 0, well), host(3, 9, 0, 0, well)}, [3]int{3, 9, 0}},
		"the last has to upload": {hosts{host(5, 7, 12, 0, well), host(3, 9, 20, 0, well)}, [3]int{3, 9, 20}},
		"the last has nothing":   {hosts{host(5, 7, 12, 0, well), host(3, 9, 0, 20, well)}, [3]int{3, 9, 20}},
		"nobody uploads":         {hosts{host(5, 7, 0, 12, well), host(3, 9, 0, 20, well)}, [3]int{3, 9, 0}},
		"one never trained":      {hosts{host(5, 0, 0, 8, broke), host(3, 9, 12, 0, well)}, [3]int{3, 0, 12}},
	} {
		for step, s := range tc.want {
			want := time.Time{}
			if s > 0 {
				want = at(s)
			}
			if got := tc.hosts.reached(step); !got.Equal(want) {
				t.Errorf("%s: %s at %s, want %s", name, steps[step], got, want)
			}
		}
	}
}

// TestEndOfHosts says whose end is that of the job.
func TestEndOfHosts(t *testing.T) {
	t.Parallel()
	const limit = 3600 // of some()
	lost := host(1, 2, 0, 0, well)
	lost.Phase, lost.Heartbeat = compute.Lost, at(30)
	for name, tc := range map[string]struct {
		hosts            hosts
		stop, broken     bool
		phase, secondary string
		reason           string // a part of FailureReason
		end              int
	}{
		"all well":                    {hosts: hosts{host(1, 2, 8, 9, well), host(1, 2, 0, 20, well)}, phase: phaseCompleted, secondary: secCompleted, end: 20},
		"the second broke":            {hosts: hosts{host(1, 2, 0, 20, stopped), host(1, 2, 0, 9, broke)}, broken: true, phase: phaseFailed, secondary: secFailed, reason: "AlgorithmError: algo-2: it broke, exit code: 1", end: 20},
		"the first of two":            {hosts: hosts{host(1, 2, 0, 12, broke), host(1, 2, 0, 9, memory)}, phase: phaseFailed, secondary: secFailed, reason: "container of algo-2 ran out of memory", end: 12},
		"its upload takes long":       {hosts: hosts{host(1, 2, 8, 30, broke), host(1, 2, 0, 9, memory)}, phase: phaseFailed, secondary: secFailed, reason: "algo-1: it broke", end: 30},
		"one is lost":                 {hosts: hosts{lost, host(1, 2, 0, 40, stopped)}, broken: true, phase: phaseFailed, secondary: secFailed, reason: "algo-1: The process that watched over", end: 40},
		"one is gone":                 {hosts: hosts{host(1, 2, 0, 40, stopped), nil}, broken: true, phase: phaseFailed, secondary: secFailed, reason: "algo-2: What the training job had", end: 40},
		"all are gone":                {hosts: hosts{nil, nil}, phase: phaseFailed, secondary: secFailed, reason: "algo-1: What the training job had", end: 99},
		"stopped":                     {hosts: hosts{host(1, 2, 0, 9, stopped), host(1, 2, 0, 9, stopped)}, stop: true, phase: phaseStopped, secondary: secStopped, end: 9},
		"one was done before":         {hosts: hosts{host(1, 2, 0, 5, well), host(1, 2, 0, 9, stopped)}, stop: true, phase: phaseStopped, secondary: secStopped, end: 9},
		"all were done before":        {hosts: hosts{host(1, 2, 0, 5, well), host(1, 2, 0, 9, well)}, stop: true, phase: phaseCompleted, secondary: secCompleted, end: 9},
		"a peer was stopped":          {hosts: hosts{host(1, 2, 0, 9, stopped), host(1, 2, 0, 8, broke)}, stop: true, phase: phaseStopped, secondary: secStopped, end: 9},
		"stopped after one broke":     {hosts: hosts{host(1, 2, 0, 9, stopped), host(1, 2, 0, 8, broke)}, stop: true, broken: true, phase: phaseFailed, secondary: secFailed, reason: "algo-2: it broke", end: 9},
		"stopped, no memory":          {hosts: hosts{host(1, 2, 0, 9, stopped), host(1, 2, 0, 8, memory)}, stop: true, phase: phaseFailed, secondary: secFailed, reason: "algo-2 ran out of memory", end: 9},
		"broke by itself, then asked": {hosts: hosts{host(1, 2, 0, 9, well), host(1, 2, 0, 8, broke)}, stop: true, phase: phaseFailed, secondary: secFailed, reason: "algo-2: it broke", end: 9},
		"out of time":                 {hosts: hosts{host(1, 2, 0, limit+9, limited), host(1, 2, 0, limit+9, limited)}, phase: phaseStopped, secondary: secMaxRuntime, end: limit + 9},
		"a peer was out of time":      {hosts: hosts{host(1, 2, 0, limit+9, limited), host(1, 2, 0, limit+1, broke)}, phase: phaseStopped, secondary: secMaxRuntime, end: limit + 9},
		"one out of time, others not": {hosts: hosts{host(1, 2, 0, limit+9, limited), host(1, 2, 0, limit+20, stopped)}, broken: true, phase: phaseStopped, secondary: secMaxRuntime, end: limit + 20},
		"broke, and nobody looked":    {hosts: hosts{host(1, 2, 0, limit+9, limited), host(1, 2, 0, 8, broke)}, phase: phaseFailed, secondary: secFailed, reason: "algo-2: it broke", end: limit + 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			phase, st := phaseInProgress, started()
			st.Launched, st.Broken = true, tc.broken
			if tc.stop {
				now := at(7)
				phase, st.StopAsked = phaseStopping, &now
			}
			o := observed{now: at(99), hosts: tc.hosts, about: of(len(tc.hosts))}
			if d := next(phase, st, o); Terminal(d.phase) || d.effect != effectAwait {
				t.Errorf("before its output is in, the job is %s with effect %v", d.phase, d.effect)
			}
			o.logsDone = true
			d := next(phase, st, o)
			if d.phase != tc.phase || d.st.Secondary != tc.secondary || !strings.Contains(d.st.Failure, tc.reason) || (tc.reason == "") != (d.st.Failure == "") {
				t.Errorf("%s/%s %q, want %s/%s with %q", d.phase, d.st.Secondary, d.st.Failure, tc.phase, tc.secondary, tc.reason)
			}
			if !d.st.Ended.Equal(at(tc.end)) {
				t.Errorf("ended at %s, want %s", d.st.Ended, at(tc.end))
			}
		})
	}
}

// A job of which nothing is left is billed no further than it was seen.
func TestGoneHostsAreBilledAsSeen(t *testing.T) {
	t.Parallel()
	d := next(phaseInProgress, started(), observed{now: at(50), hosts: hosts{host(1, 2, 0, 0, well), host(1, 2, 0, 0, well)}, about: of(2)})
	seen := d.st.Transitions[len(d.st.Transitions)-1].Start
	d = next(d.phase, d.st, observed{now: at(5000), hosts: hosts{nil, nil}, logsDone: true, about: of(2)})
	if d.phase != phaseFailed || d.close == nil || !d.close.Equal(seen) {
		t.Errorf("%s, billed until %v, seen at %v", d.phase, d.close, seen)
	}
}

// What one host brought is the job's, whichever it is.
func TestWhatHostsLeave(t *testing.T) {
	t.Parallel()
	said := func(e compute.Exit, message string) compute.Exit { e.Result.ExitMessage = message; return e }
	second := well
	second.Result.Artifact = ""
	for _, tc := range []struct {
		hosts hosts
		want  string
	}{
		{hosts{host(1, 2, 0, 9, second), host(1, 2, 0, 9, said(well, "two"))}, "two"},
		{hosts{host(1, 2, 0, 9, said(second, "one")), host(1, 2, 0, 9, said(well, "two"))}, "one"},
		{hosts{host(1, 2, 0, 9, said(well, "one")), host(1, 2, 0, 9, said(broke, "two"))}, "two"},
	} {
		d := next(phaseInProgress, started(), observed{now: at(99), hosts: tc.hosts, logsDone: true, about: of(len(tc.hosts))})
		if d.st.ExitMessage != tc.want || d.st.Artifact != "s3://b/m" {
			t.Errorf("%q and %q, want %q", d.st.ExitMessage, d.st.Artifact, tc.want)
		}
	}
}

// The others do not go on without a host that is over, unless it ended well.
func TestHostsEndTogether(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first compute.Exit
		want  effect
	}{"well": {well, effectAwait}, "broke": {broke, effectStop}, "out of time": {limited, effectStop}, "memory": {memory, effectStop}} {
		o := observed{now: at(99), hosts: hosts{host(1, 2, 0, 9, tc.first), host(1, 2, 0, 0, well)}, about: of(2)}
		d := next(phaseInProgress, started(), o)
		if tc.want == effectStop {
			if d.effect != effectNone || d.after > time.Second { // first it is on record
				t.Errorf("%s: effect %v, again after %s", name, d.effect, d.after)
			}
			d = next(d.phase, d.st, o)
		}
		if d.effect != tc.want || d.phase != phaseInProgress || d.st.Broken != (tc.want == effectStop) || d.st.Broken != (d.st.Said == "algo-1 is over, so the other instances are stopped.") {
			t.Errorf("%s: effect %v, %s, broken %v", name, d.effect, d.phase, d.st.Broken)
		}
	}
}

// pipe is what next is told of a job on n instances of which each has one
// container more.
func pipe(n int) about {
	a := of(n)
	a.work.First, a.work.Further = "container-1", []Container{{Name: "container-2"}}
	return a
}

// TestFurtherContainers says what the containers that serve an instance's first
// one mean for its job. Tasks are the first containers, then the others.
func TestFurtherContainers(t *testing.T) {
	t.Parallel()
	lives := func() *compute.TaskStatus { return host(1, 2, 0, 0, well) }
	gone := host(1, 2, 0, 0, well)
	gone.Phase, gone.Heartbeat = compute.Lost, at(6)
	for name, tc := range map[string]struct {
		hosts        hosts
		stop, broken bool
		cause        int
		effect       effect
		phase        string // "": it goes on
		reason       string
		end          int    // of the bill
		said         string // in the log
	}{
		"all live":                         {hosts: hosts{lives(), lives()}, effect: effectAwait},
		"the first is done":                {hosts: hosts{host(1, 2, 0, 9, well), lives()}, effect: effectStop},
		"one of two is done":               {hosts: hosts{host(1, 2, 0, 9, well), lives(), lives(), lives()}, effect: effectAwait},
		"one of two is done with its own":  {hosts: hosts{host(1, 2, 0, 9, well), lives(), host(1, 2, 0, 9, broke), lives()}, effect: effectAwait},
		"both are done":                    {hosts: hosts{host(1, 2, 0, 9, well), host(1, 2, 0, 20, well), lives(), host(1, 2, 0, 30, stopped)}, effect: effectStop},
		"it ends":                          {hosts: hosts{lives(), host(1, 2, 0, 9, broke)}, effect: effectStop, said: "container-2 is over, so the other containers are stopped."},
		"it ends well":                     {hosts: hosts{lives(), host(1, 2, 0, 9, well)}, effect: effectStop, said: "container-2 is over, so the other containers are stopped."},
		"that of the second ends":          {hosts: hosts{host(1, 2, 0, 5, well), lives(), lives(), host(1, 2, 0, 9, broke)}, effect: effectStop, said: "algo-2/container-2 is over, so the other containers are stopped."},
		"the first ends":                   {hosts: hosts{host(1, 2, 0, 9, broke), lives()}, effect: effectStop, said: "algo-1 is over, so the other instances are stopped."},
		"stop is asked":                    {hosts: hosts{lives(), lives()}, stop: true, effect: effectStop},
		"completed":                        {hosts: hosts{host(1, 2, 0, 9, well), host(1, 2, 0, 40, stopped)}, phase: phaseCompleted, end: 9},
		"completed, and asked to stop":     {hosts: hosts{host(1, 2, 0, 9, well), host(1, 2, 0, 40, stopped)}, stop: true, phase: phaseCompleted, end: 9},
		"completed without it":             {hosts: hosts{host(1, 2, 0, 9, well), host(1, 2, 0, 12, memory)}, phase: phaseCompleted, end: 9},
		"completed, though it was over":    {hosts: hosts{host(1, 2, 0, 9, well), host(1, 2, 0, 8, broke)}, broken: true, phase: phaseCompleted, end: 9},
		"completed, and nothing is left":   {hosts: hosts{host(1, 2, 0, 9, well), nil}, phase: phaseCompleted, end: 9},
		"it failed":                        {hosts: hosts{host(1, 2, 0, 20, stopped), host(1, 2, 0, 9, broke)}, broken: true, phase: phaseFailed, reason: "AlgorithmError: container-2: it broke, exit code: 1", end: 20},
		"it failed, and so did the first":  {hosts: hosts{host(1, 2, 0, 10, broke), host(1, 2, 0, 9, memory)}, broken: true, phase: phaseFailed, reason: "container-2 ran out of memory", end: 10},
		"the first failed":                 {hosts: hosts{host(1, 2, 0, 9, broke), host(1, 2, 0, 40, stopped)}, broken: true, phase: phaseFailed, reason: "AlgorithmError: it broke, exit code: 1", end: 9},
		"it ended by itself":               {hosts: hosts{host(1, 2, 0, 20, stopped), host(1, 2, 0, 9, well)}, broken: true, phase: phaseFailed, reason: "AlgorithmError: container-2: ", end: 20},
		"it is lost":                       {hosts: hosts{host(1, 2, 0, 20, stopped), gone}, broken: true, phase: phaseFailed, reason: "container-2: The process that watched over", end: 20},
		"that of the second failed":        {hosts: hosts{host(1, 2, 0, 5, well), host(1, 2, 0, 20, stopped), host(1, 2, 0, 20, stopped), host(1, 2, 0, 9, broke)}, broken: true, phase: phaseFailed, reason: "algo-2/container-2: it broke", end: 20},
		"that of one that came to its end": {hosts: hosts{host(1, 2, 0, 20, stopped), host(1, 2, 0, 12, well), host(1, 2, 0, 20, stopped), host(1, 2, 0, 9, well)}, broken: true, cause: 3, phase: phaseFailed, reason: "AlgorithmError: algo-2/container-2: ", end: 20},
		"of one that was done before":      {hosts: hosts{host(1, 2, 0, 20, stopped), host(1, 2, 0, 9, well), host(1, 2, 0, 20, stopped), host(1, 2, 0, 12, well)}, broken: true, cause: 3, phase: phaseFailed, reason: "AlgorithmError: algo-2/container-2: ", end: 20},
		"one that is lost, of one done":    {hosts: hosts{host(1, 2, 0, 20, stopped), host(1, 2, 0, 9, well), host(1, 2, 0, 20, stopped), gone}, broken: true, cause: 3, phase: phaseFailed, reason: "algo-2/container-2: The process that watched over", end: 20},
		"another had gone before":          {hosts: hosts{host(1, 2, 0, 8, well), host(1, 2, 0, 12, well), host(1, 2, 0, 20, stopped), host(1, 2, 0, 7, broke), host(1, 2, 0, 9, broke), host(1, 2, 0, 20, stopped)}, broken: true, cause: 4, phase: phaseFailed, reason: "AlgorithmError: algo-2/container-2: it broke", end: 20},
		"which broke the others":           {hosts: hosts{host(1, 2, 0, 20, broke), host(1, 2, 0, 12, well), host(1, 2, 0, 20, stopped), host(1, 2, 0, 9, broke)}, broken: true, cause: 3, phase: phaseFailed, reason: "AlgorithmError: algo-2/container-2: it broke", end: 20},
		"it went, and then they stopped":   {hosts: hosts{host(1, 2, 0, 20, stopped), host(1, 2, 0, 12, well), host(1, 2, 0, 20, stopped), host(1, 2, 0, 9, broke)}, stop: true, phase: phaseStopped, end: 20},
		"of one that is done":              {hosts: hosts{host(1, 2, 0, 5, well), host(1, 2, 0, 20, broke), host(1, 2, 0, 9, broke), host(1, 2, 0, 30, stopped)}, broken: true, phase: phaseFailed, reason: "AlgorithmError: algo-2: it broke", end: 20},
		"stopped":                          {hosts: hosts{host(1, 2, 0, 9, stopped), host(1, 2, 0, 30, stopped)}, stop: true, phase: phaseStopped, end: 9},
		"stopped, which broke it":          {hosts: hosts{host(1, 2, 0, 9, stopped), host(1, 2, 0, 8, broke)}, stop: true, phase: phaseStopped, end: 9},
		"stopped, and the first missed it": {hosts: hosts{host(1, 2, 0, 9, broke), host(1, 2, 0, 8, stopped)}, stop: true, phase: phaseStopped, end: 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			phase, st := phaseInProgress, started()
			st.Launched, st.Broken, st.Cause = true, tc.broken, tc.cause
			if tc.stop {
				now := at(7)
				phase, st.StopAsked = phaseStopping, &now
			}
			o := observed{now: at(99), hosts: tc.hosts, logsDone: true, about: pipe(len(tc.hosts) / 2)}
			d := next(phase, st, o)
			if tc.said != "" {
				if d.effect != effectNone || d.after > time.Second { // first it is on record
					t.Errorf("effect %v, again after %s", d.effect, d.after)
				}
				d = next(d.phase, d.st, o)
			}
			if tc.phase == "" {
				if Terminal(d.phase) || d.effect != tc.effect || d.close != nil || d.st.Said != tc.said || d.st.Broken != (tc.said != "") {
					t.Errorf("%s with effect %v, %q, broken %v", d.phase, d.effect, d.st.Said, d.st.Broken)
				}
				return
			}
			if d.phase != tc.phase || !strings.Contains(d.st.Failure, tc.reason) || (tc.reason == "") != (d.st.Failure == "") {
				t.Errorf("%s with %q, want %s with %q", d.phase, d.st.Failure, tc.phase, tc.reason)
			}
			if d.open == nil || !d.open.Equal(at(1)) || d.close == nil || !d.close.Equal(at(tc.end)) {
				t.Errorf("billed from %v to %v, want to %s", d.open, d.close, at(tc.end))
			}
		})
	}
}

// TestTornLook has a first look find an instance before its end, and its further
// container after its own, which came later: it is that container that the others
// are stopped for.
func TestTornLook(t *testing.T) {
	t.Parallel()
	lives := host(1, 2, 0, 0, well)
	st := started()
	st.Launched = true
	d := next(phaseInProgress, st, observed{now: at(13), hosts: hosts{lives, lives, lives, host(1, 2, 0, 12, well)}, about: pipe(2)})
	o := observed{now: at(14), hosts: hosts{lives, host(1, 2, 0, 9, well), lives, host(1, 2, 0, 12, well)}, about: pipe(2)}
	if d = next(d.phase, d.st, o); d.effect != effectStop {
		t.Errorf("effect %v", d.effect)
	}
	o = observed{now: at(99), hosts: hosts{host(1, 2, 0, 20, stopped), host(1, 2, 0, 9, well), host(1, 2, 0, 20, stopped), host(1, 2, 0, 12, well)}, logsDone: true, about: pipe(2)}
	if d = next(d.phase, d.st, o); d.phase != phaseFailed || !strings.Contains(d.st.Failure, "algo-2/container-2: ") {
		t.Errorf("%s with %q", d.phase, d.st.Failure)
	}
}

// The tasks of two instances with three containers each.
func TestPlaces(t *testing.T) {
	t.Parallel()
	w := &Work{InstanceCount: 2, Image: "a", First: "one", Further: []Container{{Name: "two", Image: "b"}, {Name: "three", Image: "c"}}}
	var names, titles []string
	for i := range w.tasks() {
		names, titles = append(names, w.hostName(i)), append(titles, w.title(i))
	}
	if got := strings.Join(names, " "); got != "algo-1 algo-2 algo-1-container-2 algo-1-container-3 algo-2-container-2 algo-2-container-3" {
		t.Errorf("hosts %s", got)
	}
	if got := strings.Join(titles, " "); got != "algo-1 algo-2 algo-1/two algo-1/three algo-2/two algo-2/three" {
		t.Errorf("titles %s", got)
	}
	if got := strings.Join(w.images(), " "); got != "a b c" {
		t.Errorf("images %s", got)
	}
}
