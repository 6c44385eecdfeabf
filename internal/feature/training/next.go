package training

import (
	"fmt"
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
		d.fail("InternalServerError: The instance that ran the training job is gone. Its output up to then is in the log.", o.now)
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
	d := decision{phase: phase, st: st, after: 10 * time.Second}
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
		at := t.Heartbeat
		d.fail("InternalServerError: The instance that ran the training job was lost; its last sign of life was at "+
			at.UTC().Format(time.RFC3339)+". The job is billed up to then.", at)
		return
	}
	e := t.Exit
	d.st.Artifact = e.Result.Artifact
	switch {
	case e.Reason == compute.ReasonMemory:
		d.fail("AlgorithmError: The training container ran out of memory and was killed"+peak(e.PeakMemory)+
			". Use a larger instance type, exit code: 137", e.At)
	case e.Reason == compute.ReasonDisk:
		d.fail("ClientError: The training job wrote more data than VolumeSizeInGB allows. Please use an instance with a larger VolumeSizeInGB", e.At)
	case e.Reason == compute.ReasonFailed:
		d.fail(joinText("InternalServerError: The training job could not be run", e.Result.Failure), e.At)
	case e.Reason == compute.ReasonStopped && e.Result.Class != "ClientError":
		d.phase = phaseStopped
		d.st.enter(secStopped, msgStopped, e.At)
		d.over(e.At)
	case e.Reason == compute.ReasonMaxRuntime && e.Result.Class != "ClientError":
		d.phase = phaseStopped
		d.st.enter(secMaxRuntime, msgMaxRuntime, e.At)
		d.over(e.At)
	case e.Result.Failure != "" || e.Result.ExitCode != 0 || e.Result.Signal != "":
		d.fail(reason(e.Result), e.At)
	default:
		d.phase = phaseCompleted
		d.st.enter(secCompleted, msgCompleted, e.At)
		d.over(e.At)
	}
}

// fail ends the job as Failed with a reason in AWS's form.
func (d *decision) fail(why string, at time.Time) {
	d.phase = phaseFailed
	d.st.Failure = cut(why, 1024)
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
	d.st.Ended = &at
	d.st.finish(at)
	d.effect = effectNone
}

// reason words a failed run: "AlgorithmError: <cause>, exit code: 1".
func reason(r plan.Result) string {
	class := r.Class
	if class == "" {
		class = "AlgorithmError"
	}
	cause := r.Failure
	if cause == "" {
		cause = "The training script ended without a message; see the job's log"
	}
	if class != "AlgorithmError" {
		return class + ": " + cause
	}
	suffix := fmt.Sprintf(", exit code: %d", r.ExitCode)
	if r.Signal != "" {
		suffix = ", signal: " + r.Signal
	}
	return cut(class+": "+cause, 1024-len(suffix)) + suffix
}

func peak(b int64) string {
	if b <= 0 {
		return ""
	}
	return fmt.Sprintf(" at %.1f GiB", float64(b)/(1<<30))
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
