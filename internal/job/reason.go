package job

import (
	"fmt"
	"strings"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

// about is what a failure's text tells of the job itself.
type about struct {
	family  *Family
	work    *Work
	host    string // that failed, where there are several
	memory  int64  // bytes, an instance's limit; 0: none
	clamped bool   // to what the machine has
	larger  string // an instance type with more memory, or ""
}

// internalError is how AWS begins when it was not the user's doing.
const internalError = "InternalServerError: We encountered an internal error. Please try again. "

// neverRan is the exit code of a program that did not end: it is stage that
// tells of the failure.
const neverRan = -1

// maxReason is the model's limit of FailureReason, in bytes here.
const maxReason = 1024

// at begins a text with the host that it is about.
func (a about) at(text string) string { return joinText(a.host, text) }

// reason words a failed run: AWS's class and words, the cause, what to do, and
// at the end the exit code.
func (a about) reason(r plan.Result) string {
	class := r.Class
	if class == "" {
		class = "AlgorithmError"
	}
	cause := r.Failure
	if cause == "" {
		cause = a.family.Silent
	}
	suffix := ""
	if h := cut(a.hint(cause), maxReason/2); h != "" { // a hint may list all that a job has; the cause needs its room
		suffix = ". " + h
		cause = strings.TrimRight(cause, ". \n")
	}
	if class == "AlgorithmError" && r.ExitCode != neverRan && !r.Served {
		suffix += fmt.Sprintf(", exit code: %d", r.ExitCode)
		if r.Signal != "" {
			suffix += ", signal: " + r.Signal
		}
	}
	return cut(class+": "+a.at(cause), maxReason-len(suffix)) + suffix
}

// lost words the end of a host whose supervisor vanished, or of which nothing
// is left.
func (a about) lost(t *compute.TaskStatus) string {
	if t == nil {
		// The driver accepted it and knows it no more: its folder is gone.
		return internalError + a.at("What the "+a.family.noun()+" had on this machine is gone. Its output up to then is in the log.")
	}
	return internalError + a.at("The process that watched over the "+a.family.noun()+" is gone: the machine was restarted, or the process was killed. "+
		"Its last sign of life was at "+t.Heartbeat.UTC().Format(time.RFC3339)+"; the job is billed up to then, and its output up to the end is in the log.")
}

// notRun words the end of a task that could not be run.
func (a about) notRun(r plan.Result) string {
	if r.Class == "ClientError" {
		return r.Class + ": " + a.at(r.Failure)
	}
	return internalError + a.at(joinText("The "+a.family.noun()+" could not be run to its end", r.Failure))
}

// outOfMemory words the end of a task that was killed for memory.
func (a about) outOfMemory(e *compute.Exit) string {
	var b strings.Builder
	b.WriteString(a.family.OutOfMemory + "The " + a.family.Word + " container")
	if a.host != "" {
		b.WriteString(" of " + a.host)
	}
	b.WriteString(" ran out of memory and was killed")
	if e.PeakMemory > 0 {
		fmt.Fprintf(&b, ". Its peak was %s", gib(e.PeakMemory))
	}
	if a.memory > 0 {
		fmt.Fprintf(&b, "; the limit of %s is %s", a.work.InstanceType, gib(a.memory))
	}
	switch {
	case a.clamped:
		b.WriteString(", all that this machine has: a larger instance type gives no more here")
	case a.larger != "":
		fmt.Fprintf(&b, "; %s has more", a.larger)
	}
	b.WriteString(", exit code: 137")
	return b.String()
}

// outOfDisk words the end of a task that wrote more than its volume holds.
func (a about) outOfDisk(downloading bool) string {
	what := "No space left on device: the " + a.family.noun() + " wrote more than its volume holds"
	if downloading {
		what = "Data download failed: No space left on device: the input data is larger than the job's volume"
	}
	what = "ClientError: " + a.at(what)
	if a.family.Fixed {
		return fmt.Sprintf("%s: %d GB", what, a.work.VolumeGB)
	}
	what += ". Please use a larger VolumeSizeInGB"
	if a.work.VolumeGB > 0 {
		what += fmt.Sprintf("; it is %d GB", a.work.VolumeGB)
	}
	return what
}

// hint says what a newcomer may not see in a cause.
func (a about) hint(cause string) string {
	if strings.Contains(cause, "No space left on device") && a.work.VolumeGB > 0 && !a.family.Fixed && !strings.Contains(cause, "VolumeSizeInGB is") {
		return "VolumeSizeInGB is " + fmt.Sprint(a.work.VolumeGB) + " GB; use a larger one if the job needs more"
	}
	if a.family.Hint != nil {
		return a.family.Hint(a.work, cause)
	}
	return ""
}

func gib(b int64) string { return fmt.Sprintf("%.2f GiB", float64(b)/(1<<30)) }
