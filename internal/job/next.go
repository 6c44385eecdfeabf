package job

import (
	"cmp"
	"strings"
	"time"
	"unicode/utf8"

	"clary/internal/compute"
	"clary/internal/meter"
)

// observed is all that a look at the world found.
type observed struct {
	now      time.Time
	clock    meter.Moment
	hosts    hosts
	image    image
	logsDone bool // every byte of the tasks' output is in the log
	about    about
}

// image is how the job's runtime stands.
type image struct {
	ready    bool
	title    string // of the runtime that is being built
	progress string // of its build
	failed   string // final for this job: ClientError in words
}

// effect is the one act that follows.
type effect int

const (
	effectNone   effect = iota
	effectStart         // start the tasks
	effectStop          // ask the tasks to stop
	effectRemove        // the job is over: forget the tasks
	effectDelete        // forget the tasks, then the record
	effectAwait         // nothing to do until something changes
)

// decision is what next found.
type decision struct {
	phase  string
	st     Status
	effect effect
	open   *time.Time // billing starts
	close  *time.Time // billing ends
	after  time.Duration
	family *Family
}

const msgNoCapacity = "Insufficient capacity error while launching instances, retrying!"

// next is pure: from the job's state and what was observed it says what the
// state becomes and the one effect to take.
func next(phase string, st Status, o observed) decision {
	d := decide(phase, st, o.about.family)
	switch {
	case phase == phaseDeleting:
		d.effect = effectDelete
		return d
	case Terminal(phase):
		if !st.Cleaned {
			d.effect = effectRemove
		}
		return d
	}
	d.halted()
	if !st.Launched && o.hosts.count() < len(o.hosts) {
		return d.beforeTasks(o)
	}

	d.st.Launched = true
	w := o.about.work
	d.fold(o.hosts[:w.hosts()])
	if d.open != nil {
		h := o.hosts[:w.hosts()]
		d.st.Line = &meter.Anchor{At: h.line(o.now).Add(-h.suspended()), Of: o.clock}
	}
	first, failing := o.hosts.failing(w)
	switch {
	case o.hosts.over():
		if !o.logsDone {
			d.effect, d.after = effectAwait, 5*time.Second
			return d
		}
		d.end(o)
	case st.StopAsked != nil, st.Broken, o.hosts.done(w): // whoever serves the instances is in the way then
		d.effect, d.after = effectStop, 5*time.Second
	case failing: // that is on record before any is stopped for it
		others := "instances"
		if _, container := w.place(first); container > 0 {
			others = "containers"
		}
		d.st.tell(w.title(first) + " is over, so the other " + others + " are stopped.")
		d.st.Broken, d.st.Cause = true, first
		d.after = time.Millisecond
	default:
		d.effect, d.after = effectAwait, 30*time.Second
	}
	d.paid(o)
	return d
}

func decide(phase string, st Status, f *Family) decision {
	d := decision{phase: phase, st: st, family: f}
	d.st.Transitions = append([]Transition(nil), st.Transitions...)
	return d
}

// beforeTasks is for a job whose hosts are not all there yet. What some of
// them did meanwhile does not count.
func (d decision) beforeTasks(o observed) decision {
	preparing := d.family.Says[saysPreparing]
	switch {
	case d.st.StopAsked != nil:
		d.stopped(secStopped, o.now)
	case o.image.failed != "":
		d.fail("ClientError: "+o.image.failed, o.now)
		d.st.tell(d.st.Failure)
	case !o.image.ready:
		// The fine steps of a build go to the log alone.
		d.st.enter(secStarting, joinText(preparing, "building the runtime "+o.image.title), o.now)
		d.st.tell(o.image.progress)
		d.effect, d.after = effectAwait, 30*time.Second
	default:
		d.st.enter(secStarting, joinText(preparing, d.st.Note), o.now)
		d.st.tell(d.st.Note)
		d.effect = effectStart
	}
	return d
}

// waiting is the decision after the driver answered that the job does not fit
// now: the state of before the look, so that to try again leaves no trace.
func waiting(phase string, st Status, f *Family, now time.Time) decision {
	d := decide(phase, st, f)
	d.after = 20 * time.Second
	d.st.enter(secPending, msgNoCapacity, now)
	d.st.tell(msgNoCapacity)
	return d
}

// fold takes over the steps that the hosts came to and that were not yet seen.
func (d *decision) fold(h hosts) {
	for step := d.st.StepsSeen; step < len(steps); step++ {
		at := h.reached(step)
		if at.IsZero() {
			continue
		}
		d.st.StepsSeen = step + 1
		if d.st.Started == nil {
			d.st.Started, d.open = &at, &at
		}
		sec := [...]string{secDownloading, secTraining, secUploading}[step]
		d.st.enter(sec, d.family.Says[sec], at)
	}
	d.st.Suspended = h.suspended().Seconds()
}

// end settles a job whose tasks are over.
func (d *decision) end(o observed) {
	w := o.about.work
	task := o.hosts.decider(w, d.st.StopAsked != nil && !d.st.Broken, d.st.Cause)
	t, at, a := o.hosts[task], o.hosts[:w.hosts()].ended(), o.about
	if len(o.hosts) > 1 && (w.hosts() > 1 || task > 0) {
		a.host = w.title(task)
	}
	for _, t := range o.hosts {
		if !lost(t) {
			r := t.Exit.Result
			d.st.Artifact, d.st.ExitMessage = cmp.Or(d.st.Artifact, r.Artifact), cmp.Or(d.st.ExitMessage, clip(r.ExitMessage))
		}
	}
	if lost(t) {
		if at.IsZero() {
			// Nobody knows since when: it is billed no further than it was seen.
			at = o.now
			if n := len(d.st.Transitions); n > 0 && d.st.Started != nil {
				at = d.st.Transitions[n-1].Start
			}
		}
		d.fail(a.lost(t), at)
		return
	}
	e := t.Exit
	d.st.ExitMessage = cmp.Or(clip(e.Result.ExitMessage), d.st.ExitMessage)
	switch how := o.hosts.ending(task, w); {
	case e.Reason == compute.ReasonMemory:
		d.fail(a.outOfMemory(e), at)
	case e.Reason == compute.ReasonDisk:
		d.fail(a.outOfDisk(reached(t, 1).IsZero() && !reached(t, 0).IsZero()), at)
	case e.Reason == compute.ReasonFailed, e.Reason != compute.ReasonExited && e.Result.Class == "InternalServerError":
		d.fail(a.notRun(e.Result), at)
	case how == endedAsked && e.Reason == compute.ReasonMaxRuntime:
		d.stopped(secMaxRuntime, at)
	case how == endedAsked:
		d.stopped(secStopped, at)
	case how == endedWell:
		d.phase = phaseCompleted
		d.over(secCompleted, at)
	default:
		d.fail(a.reason(e.Result), at)
	}
}

// fail ends the job as Failed with a reason in AWS's form.
func (d *decision) fail(why string, at time.Time) {
	d.phase = phaseFailed
	d.st.Failure = clip(why)
	d.over(secFailed, at)
}

func (d *decision) stopped(sec string, at time.Time) {
	d.phase = phaseStopped
	d.over(sec, at)
}

// over closes what is open. Tasks that ended before anything was downloaded
// were never billed.
func (d *decision) over(sec string, at time.Time) {
	d.st.enter(sec, d.family.Says[sec], at)
	if d.st.Started != nil {
		if at.Before(*d.st.Started) {
			at = *d.st.Started
		}
		d.close = &at
		d.bound(at)
	}
	if slept := time.Duration(d.st.Suspended * float64(time.Second)); slept >= time.Second {
		d.st.tell("The machine slept for " + slept.Round(time.Second).String() + " while the " + d.family.noun() + " ran; that time is not billed.")
	}
	d.st.Ended = &at
	d.st.finish(at)
	d.effect = effectNone
}

func joinText(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}

// clip is what a program said, or was said of it, as an answer can tell it.
func clip(s string) string { return cut(strings.ToValidUTF8(s, "\ufffd"), maxReason) }

// cut shortens s to at most n bytes at a character's border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
