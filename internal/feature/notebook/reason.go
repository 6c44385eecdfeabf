package notebook

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"clary/internal/compute"
	"clary/internal/runtimes"
)

// maxReason is the model's limit of FailureReason, in bytes here.
const maxReason = 1024

const msgNoCapacity = "Insufficient notebook instance capacity. Retry later or with a different instance type."

// about is what a failure's text tells of the notebook itself.
type about struct {
	instance string // type
	memory   int64  // bytes, its limit; 0: none
	larger   string // an instance type with more memory, or ""
}

// ending words how a task ended.
func (a about) ending(t *compute.TaskStatus) string {
	e := t.Exit
	if t.Phase == compute.Lost || e == nil {
		return "The process that watched over JupyterLab is gone: the machine was restarted, or the process was killed"
	}
	switch e.Reason {
	case compute.ReasonMemory:
		text := "JupyterLab and its kernels ran out of memory and were killed"
		if a.memory > 0 {
			text += fmt.Sprintf("; the limit of %s is %.2f GiB", a.instance, float64(a.memory)/(1<<30))
		}
		if a.larger != "" {
			text += "; " + a.larger + " has more"
		}
		return text
	case compute.ReasonDisk:
		return "No space left on device: more was written than the volume at " + runtimes.NotebookDir + ", or the disk beside it, holds"
	case compute.ReasonFailed:
		return "JupyterLab could not be run" + because(e.Result.Failure)
	case compute.ReasonExited, compute.ReasonStopped, compute.ReasonMaxRuntime:
	}
	text := fmt.Sprintf("JupyterLab ended with exit code %d", e.Result.ExitCode)
	if e.Result.Signal != "" {
		text = "JupyterLab ended by signal: " + e.Result.Signal
	}
	return text + because(e.Result.Failure)
}

func because(cause string) string {
	if cause = strings.TrimRight(cause, ". \n"); cause == "" {
		return ""
	}
	return ": " + cause
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
