package training

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

// about is what a failure's text tells of the job itself.
type about struct {
	instance string // type
	memory   int64  // bytes, its limit; 0: none
	clamped  bool   // to what the machine has
	larger   string // an instance type with more memory, or ""
	volume   int64  // GB, VolumeSizeInGB; 0: none
	channels []string
}

// internalError is how AWS begins when it was not the user's doing.
const internalError = "InternalServerError: We encountered an internal error. Please try again. "

// maxReason is the model's limit of FailureReason, in bytes here.
const maxReason = 1024

// reason words a failed run: AWS's class and words, the cause, what to do, and
// at the end the exit code.
func reason(r plan.Result, a about) string {
	class := r.Class
	if class == "" {
		class = "AlgorithmError"
	}
	cause := r.Failure
	if cause == "" {
		cause = "The training script ended without a message; see the job's log"
	}
	suffix := ""
	if h := a.hint(cause); h != "" {
		suffix = ". " + h
		cause = strings.TrimRight(cause, ". \n")
	}
	if class == "AlgorithmError" {
		suffix += fmt.Sprintf(", exit code: %d", r.ExitCode)
		if r.Signal != "" {
			suffix += ", signal: " + r.Signal
		}
	}
	return cut(class+": "+cause, maxReason-len(suffix)) + suffix
}

// lost words the end of a task whose supervisor vanished.
func lost(seen time.Time) string {
	return internalError + "The process that watched over the training job is gone: the machine was restarted, or the process was killed. " +
		"Its last sign of life was at " + seen.UTC().Format(time.RFC3339) + "; the job is billed up to then, and its output up to the end is in the log."
}

// notRun words the end of a task that could not be run.
func notRun(r plan.Result) string {
	if r.Class == "ClientError" {
		return r.Class + ": " + r.Failure
	}
	return internalError + joinText("The training job could not be run to its end", r.Failure)
}

// outOfMemory words the end of a task that was killed for memory.
func (a about) outOfMemory(e *compute.Exit) string {
	var b strings.Builder
	b.WriteString("AlgorithmError: Please use an instance type with more memory, or reduce the size of training data processed on an instance. " +
		"The training container ran out of memory and was killed")
	if e.PeakMemory > 0 {
		fmt.Fprintf(&b, ". Its peak was %s", gib(e.PeakMemory))
	}
	if a.memory > 0 {
		fmt.Fprintf(&b, "; the limit of %s is %s", a.instance, gib(a.memory))
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
	what := "No space left on device: the training job wrote more than its volume holds"
	if downloading {
		what = "Data download failed: No space left on device: the input data is larger than the job's volume"
	}
	return "ClientError: " + what + ". " + a.largerVolume()
}

func (a about) largerVolume() string {
	if a.volume <= 0 {
		return "Please use a larger VolumeSizeInGB"
	}
	return fmt.Sprintf("Please use a larger VolumeSizeInGB; it is %d GB", a.volume)
}

var (
	channelPath = regexp.MustCompile(`/opt/ml/input/data/([A-Za-z0-9._-]+)`)
	channelName = regexp.MustCompile(`KeyError: '?SM_CHANNEL_([A-Z0-9_]+)`)
)

// hint says what a newcomer may not see in a cause.
func (a about) hint(cause string) string {
	if strings.Contains(cause, "No space left on device") && a.volume > 0 && !strings.Contains(cause, "VolumeSizeInGB is") {
		return "VolumeSizeInGB is " + fmt.Sprint(a.volume) + " GB; use a larger one if the job needs more"
	}
	has := func(name string) bool {
		return slices.ContainsFunc(a.channels, func(c string) bool { return strings.EqualFold(c, name) })
	}
	if m := channelName.FindStringSubmatch(cause); m != nil && !has(m[1]) {
		return a.noChannel(strings.ToLower(m[1]))
	}
	if strings.Contains(cause, "No such file or directory") || strings.Contains(cause, "NotFound") {
		if m := channelPath.FindStringSubmatch(cause); m != nil && !slices.Contains(a.channels, m[1]) {
			return a.noChannel(m[1])
		}
	}
	return ""
}

func (a about) noChannel(name string) string {
	rest := "; it has no input channels"
	if len(a.channels) > 0 {
		quoted := make([]string, len(a.channels))
		for i, c := range a.channels {
			quoted[i] = fmt.Sprintf("%q", c)
		}
		rest = ", only " + strings.Join(quoted, ", ")
	}
	return fmt.Sprintf("The job has no channel %q%s: add it to InputDataConfig, which is what fit() is given", name, rest)
}

func gib(b int64) string { return fmt.Sprintf("%.2f GiB", float64(b)/(1<<30)) }
