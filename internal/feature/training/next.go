package training

import (
	"time"
	"unicode/utf8"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

// observed is all that a look at the world found.
type observed struct {
	now      time.Time
	task     *compute.TaskStatus // nil: the driver knows no task
	image    image
	logsDone bool // every byte of the task's output is in the log
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
	effectStart         // start the task
	effectStop          // ask the task to stop
	effectRemove        // the job is over: forget the task
	effectDelete        // forget the task, then the record
	effectAwait         // nothing to do until something changes
)

// decision is what next found.
type decision struct {
	phase  string
	st     status
	effect effect
	open   *time.Time // billing starts
	close  *time.Time // billing ends
	after  time.Duration
}

const (
	msgStarting    = "Starting the training job"
	msgPreparing   = "Preparing the instances for training"
	msgNoCapacity  = "Insufficient capacity error while launching instances, retrying!"
	msgDownloading = "Downloading input data"
	msgTraining    = "Training image download completed. Training in progress."
	msgUploading   = "Uploading generated training model"
	msgCompleted   = "Training job completed"
	msgFailed      = "Training job failed"
	msgStopping    = "Stopping the training job"
	msgStopped     = "Training job stopped"
	msgMaxRuntime  = "Training job runtime exceeded MaxRuntimeInSeconds provided"
)

// next is pure: from the job's state and what was observed it says what the
// state becomes and the one effect to take.
func next(phase string, st status, o observed) decision {
	d := decision{phase: phase, st: st}
	d.st.Transitions = append([]transition(nil), st.Transitions...)

	switch {
	case phase == phaseDeleting:
		d.effect = effectDelete
		return d
	case terminal(phase):
		if !st.Cleaned {
			d.effect = effectRemove
		}
		return d
	case o.task == nil:
		return nextBeforeTask(d, o)
	}

	d.st.Launched = true
	d.fold(o.task)
	switch o.task.Phase {
	case compute.Ended, compute.Lost:
		if !o.logsDone {
			d.effect, d.after = effectAwait, 5*time.Second
			return d
		}
		d.end(o)
	default:
		if st.StopAsked != nil {
			d.effect, d.after = effectStop, 5*time.Second
			return d
		}
		d.effect, d.after = effectAwait, 30*time.Second
	}
	return d
}

func nextBeforeTask(d decision, o observed) decision {
	switch {
	case d.st.Launched:
		// The driver accepted it and knows it no more: its folder is gone.
		// Nobody knows since when: it is billed no further than it was seen.
		at := o.now
		if n := len(d.st.Transitions); n > 0 && d.st.Started != nil {
			at = d.st.Transitions[n-1].Start
		}
		d.fail(internalError+"What the training job had on this machine is gone. Its output up to then is in the log.", at)
	case d.st.StopAsked != nil:
		d.phase = phaseStopped
		d.st.enter(secStopped, msgStopped, o.now)
		d.over(o.now)
	case o.image.failed != "":
		d.fail("ClientError: "+o.image.failed, o.now)
		d.st.tell(d.st.Failure)
	case !o.image.ready:
		// The fine steps of a build go to the log alone.
		d.st.enter(secStarting, joinText(msgPreparing, "building the runtime "+o.image.title), o.now)
		d.st.tell(o.image.progress)
		d.effect, d.after = effectAwait, 30*time.Second
	default:
		d.st.enter(secStarting, joinText(msgPreparing, d.st.Note), o.now)
		d.st.tell(d.st.Note)
		d.effect = effectStart
	}
	return d
}

// waiting is the decision after the driver answered that the task does not fit
// now.
func waiting(phase string, st status, now time.Time) decision {
	d := decision{phase: phase, st: st, after: 20 * time.Second}
	d.st.Transitions = append([]transition(nil), st.Transitions...)
	d.st.enter(secPending, msgNoCapacity, now)
	d.st.tell(msgNoCapacity)
	return d
}

// fold takes over the steps that stage reported and were not yet seen.
func (d *decision) fold(t *compute.TaskStatus) {
	for _, s := range t.Steps[min(d.st.StepsSeen, len(t.Steps)):] {
		d.st.StepsSeen++
		switch s.Name {
		case plan.StepDownloading:
			if d.st.Started == nil {
				at := s.At
				d.st.Started, d.open = &at, &at
			}
			d.st.enter(secDownloading, msgDownloading, s.At)
		case plan.StepTraining:
			d.st.enter(secTraining, msgTraining, s.At)
		case plan.StepUploading:
			d.st.enter(secUploading, msgUploading, s.At)
		}
	}
	d.st.Suspended = t.Suspended.Seconds()
}

// end settles a job whose task is over.
func (d *decision) end(o observed) {
	t := o.task
	if t.Phase == compute.Lost || t.Exit == nil {
		d.fail(lost(t.Heartbeat), t.Heartbeat)
		return
	}
	e := t.Exit
	d.st.Artifact = e.Result.Artifact
	asked := e.Reason == compute.ReasonStopped || e.Reason == compute.ReasonMaxRuntime
	switch {
	case e.Reason == compute.ReasonMemory:
		d.fail(o.about.outOfMemory(e), e.At)
	case e.Reason == compute.ReasonDisk:
		d.fail(o.about.outOfDisk(lastStep(t) == plan.StepDownloading), e.At)
	case e.Reason == compute.ReasonFailed:
		d.fail(notRun(e.Result), e.At)
	case asked && e.Result.Class == "InternalServerError":
		// What the job had made is not where its owner will look for it.
		d.fail(notRun(e.Result), e.At)
	case e.Reason == compute.ReasonStopped && e.Result.Class != "ClientError":
		d.phase = phaseStopped
		d.st.enter(secStopped, msgStopped, e.At)
		d.over(e.At)
	case e.Reason == compute.ReasonMaxRuntime && e.Result.Class != "ClientError":
		d.phase = phaseStopped
		d.st.enter(secMaxRuntime, msgMaxRuntime, e.At)
		d.over(e.At)
	case e.Result.Failure != "" || e.Result.ExitCode != 0 || e.Result.Signal != "":
		d.fail(reason(e.Result, o.about), e.At)
	default:
		d.phase = phaseCompleted
		d.st.enter(secCompleted, msgCompleted, e.At)
		d.over(e.At)
	}
}

func lastStep(t *compute.TaskStatus) string {
	if len(t.Steps) == 0 {
		return ""
	}
	return t.Steps[len(t.Steps)-1].Name
}

// fail ends the job as Failed with a reason in AWS's form.
func (d *decision) fail(why string, at time.Time) {
	d.phase = phaseFailed
	d.st.Failure = cut(why, maxReason)
	d.st.enter(secFailed, msgFailed, at)
	d.over(at)
}

// over closes what is open. A task that ended before anything was downloaded
// was never billed.
func (d *decision) over(at time.Time) {
	if d.st.Started != nil {
		if at.Before(*d.st.Started) {
			at = *d.st.Started
		}
		d.close = &at
	}
	if slept := time.Duration(d.st.Suspended * float64(time.Second)); slept >= time.Second {
		d.st.tell("The machine slept for " + slept.Round(time.Second).String() + " while the training job ran; that time is not billed.")
	}
	d.st.Ended = &at
	d.st.finish(at)
	d.effect = effectNone
}

func joinText(a, b string) string {
	if b == "" {
		return a
	}
	return a + ": " + b
}

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
