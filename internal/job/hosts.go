package job

import (
	"slices"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

// hosts are a job's tasks as the driver tells of them, in their order: those of
// the first containers of its instances, which are all there are for most jobs,
// and then the further ones. nil is one that the driver does not know.
type hosts []*compute.TaskStatus

// steps are what stage reports, in order.
var steps = [...]string{plan.StepDownloading, plan.StepTraining, plan.StepUploading} //nolint:gochecknoglobals // a constant

// reached is when a host came to a step or one after it; zero: not yet.
func reached(t *compute.TaskStatus, step int) time.Time {
	if t == nil {
		return time.Time{}
	}
	for _, s := range t.Steps {
		if slices.Contains(steps[step:], s.Name) {
			return s.At
		}
	}
	return time.Time{}
}

// over says that a host does nothing any more.
func over(t *compute.TaskStatus) bool {
	return t == nil || t.Phase == compute.Ended || t.Phase == compute.Lost
}

// lost says that a host is over and nobody told how it ended.
func lost(t *compute.TaskStatus) bool { return t == nil || t.Phase == compute.Lost || t.Exit == nil }

// ended is when a host was over, as far as anyone knows.
func ended(t *compute.TaskStatus) time.Time {
	switch {
	case t == nil:
		return time.Time{}
	case lost(t):
		return t.Heartbeat
	}
	return t.Exit.At
}

// count is how many the driver knows.
func (h hosts) count() (n int) {
	for _, t := range h {
		if t != nil {
			n++
		}
	}
	return n
}

// over says that all are.
func (h hosts) over() bool {
	for _, t := range h {
		if !over(t) {
			return false
		}
	}
	return true
}

// reached is when the job came to a step; zero: not yet. It downloads when the
// first host does. Its program runs when that of every host does, and it
// uploads when no host's program runs any more.
func (h hosts) reached(step int) (at time.Time) {
	for _, t := range h {
		switch r := reached(t, step); {
		case step == 0:
			if !r.IsZero() && (at.IsZero() || r.Before(at)) {
				at = r
			}
		case r.IsZero() && (step == 1 || !over(t)):
			return time.Time{}
		case r.After(at):
			at = r
		}
	}
	if step < 2 || at.IsZero() {
		return at
	}
	for _, t := range h {
		if e := ended(t); reached(t, step).IsZero() && e.After(at) {
			at = e
		}
	}
	return at
}

// ended is when the last one was over; zero if nobody knows.
func (h hosts) ended() (at time.Time) {
	for _, t := range h {
		if e := ended(t); e.After(at) {
			at = e
		}
	}
	return at
}

// suspended is how long the machine slept meanwhile.
func (h hosts) suspended() (d time.Duration) {
	for _, t := range h {
		if t != nil {
			d = max(d, t.Suspended)
		}
	}
	return d
}

// line is the hosts' own clock now: the wall clock, as long as that was not set
// since they began.
func (h hosts) line(now time.Time) (at time.Time) {
	const beat = 45 * time.Second // the longest that a sign of life is old, with something on top
	for _, t := range h {
		if t == nil {
			continue
		}
		mine := now
		if now.Before(t.Heartbeat) || !over(t) && now.Sub(t.Heartbeat) > beat {
			mine = t.Heartbeat
		}
		if mine.After(at) {
			at = mine
		}
	}
	return at
}

// ending is how a host's end counts for its job.
type ending int

const (
	endedWell  ending = iota
	endedAsked        // it was stopped, or out of time
	endedBroke        // its program failed
	endedFault        // it failed otherwise
)

func endingOf(t *compute.TaskStatus) ending {
	if lost(t) {
		return endedFault
	}
	r := t.Exit.Result
	program := r.Class == "" || r.Class == "AlgorithmError"
	switch t.Exit.Reason {
	case compute.ReasonExited:
		switch {
		case r.Failure == "" && (r.Served || r.ExitCode == 0 && r.Signal == ""):
			return endedWell
		case program:
			return endedBroke
		}
	case compute.ReasonStopped, compute.ReasonMaxRuntime:
		if program { // else what the job had made is not where its owner will look for it
			return endedAsked
		}
	case compute.ReasonMemory, compute.ReasonDisk, compute.ReasonFailed:
	}
	return endedFault
}

// ending is how the end of a task counts: a container that serves another has no
// good one of its own.
func (h hosts) ending(i int, w *Work) ending {
	e := endingOf(h[i])
	if e == endedWell && i >= w.hosts() {
		return endedBroke
	}
	return e
}

// matters says whether the end of a task says anything of its job. That of a
// container does not whose instance has done its work.
func (h hosts) matters(i int, w *Work) bool {
	instance, container := w.place(i)
	return container == 0 || !over(h[instance]) || endingOf(h[instance]) != endedWell
}

// done says that all instances have done their work.
func (h hosts) done(w *Work) bool {
	for _, t := range h[:w.hosts()] {
		if !over(t) || endingOf(t) != endedWell {
			return false
		}
	}
	return true
}

// failing is a task that is over in a way in which the others must not go on.
func (h hosts) failing(w *Work) (task int, is bool) {
	for i, t := range h {
		if over(t) && h.matters(i, w) && h.ending(i, w) != endedWell {
			return i, true
		}
	}
	return 0, false
}

// failed is the task that failed first of those that count, if one did. A program
// is over before what it left is uploaded.
func (h hosts) failed(w *Work, counts func(task int) bool) (task int, ok bool) {
	var first time.Time
	for i, t := range h {
		if !over(t) || h.ending(i, w) < endedBroke || !counts(i) {
			continue
		}
		at := ended(t)
		if up := reached(t, 2); !up.IsZero() {
			at = up
		}
		if !ok || at.Before(first) {
			task, first, ok = i, at, true
		}
	}
	return task, ok
}

// decider is the task whose end is that of the job: the first that failed, one
// that was out of time or stopped, or else the first of all, as when all
// instances have done their work. A program that fails because its peers were
// stopped, or were out of time, did not fail. stop says that its owner asked for
// its end before any task failed. cause is the task that the others were stopped
// for, if they were: it counts even if its instance came to its end without it.
func (h hosts) decider(w *Work, stop bool, cause int) int {
	if h.done(w) {
		return 0
	}
	asked := func(r compute.Reason) (int, bool) {
		for i, t := range h {
			if endingOf(t) == endedAsked && t.Exit.Reason == r && h.matters(i, w) {
				return i, true
			}
		}
		return 0, false
	}
	stopped, wasStopped := asked(compute.ReasonStopped)
	outOfTime, wasOutOfTime := asked(compute.ReasonMaxRuntime)
	first, failed := h.failed(w, func(task int) bool {
		excused := h.ending(task, w) == endedBroke &&
			(stop && wasStopped || wasOutOfTime && !ended(h[task]).Before(h[outOfTime].Started.Add(w.MaxRuntime)))
		return (task == cause || h.matters(task, w)) && !excused
	})
	switch {
	case failed:
		return first
	case wasOutOfTime:
		return outOfTime
	case wasStopped:
		return stopped
	}
	return 0
}
