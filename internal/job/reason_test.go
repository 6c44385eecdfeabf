package job

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

func TestReasons(t *testing.T) {
	t.Parallel()
	a := some()
	a.family.Hint = func(w *Work, cause string) string {
		if strings.Contains(cause, "KeyError") {
			return "It has " + fmt.Sprint(w.Channels)
		}
		return ""
	}
	a.work.Channels = []string{"train"}
	small, second := a, a
	small.clamped, second.host = true, "algo-2"
	died := func(cause string) plan.Result {
		return plan.Result{ExitCode: 1, Class: "AlgorithmError", Failure: cause}
	}
	fixed := a
	fixed.family = &Family{Word: "transform", Fixed: true}
	told := func(class, cause string) plan.Result { return plan.Result{ExitCode: -1, Class: class, Failure: cause} }
	for name, c := range map[string]struct{ got, want string }{
		"what stage tells":                 {a.reason(told("AlgorithmError", "See job logs")), "AlgorithmError: See job logs"},
		"of a program that it ended":       {a.reason(plan.Result{Served: true, ExitCode: 137, Signal: "killed", Class: "AlgorithmError", Failure: "See job logs"}), "AlgorithmError: See job logs"},
		"what stage tells of the input":    {a.reason(told("ClientError", "See job logs")), "ClientError: See job logs"},
		"disk of a size that nobody chose": {fixed.outOfDisk(false), "ClientError: No space left on device: the transform job wrote more than its volume holds: 30 GB"},
		"a full volume that nobody chose":  {fixed.reason(died("No space left on device")), "AlgorithmError: No space left on device, exit code: 1"},
		"a cause with a hint":              {a.reason(died("KeyError: 'x'.\n")), "AlgorithmError: KeyError: 'x'. It has [train], exit code: 1"},
		"a cause without one":              {a.reason(died("it broke.")), "AlgorithmError: it broke., exit code: 1"},
		"no cause":                         {a.reason(died("")), "AlgorithmError: The training script ended without a message; see the job's log, exit code: 1"},
		"one of several hosts":             {second.reason(died("it broke")), "AlgorithmError: algo-2: it broke, exit code: 1"},
		"a full volume": {
			a.reason(died("OSError: [Errno 28] No space left on device")),
			"AlgorithmError: OSError: [Errno 28] No space left on device. VolumeSizeInGB is 30 GB; use a larger one if the job needs more, exit code: 1",
		},
		"memory": {
			a.outOfMemory(&compute.Exit{PeakMemory: 8<<30 - 1<<20}), "ClientError: More memory, please. " +
				"The training container ran out of memory and was killed. Its peak was 8.00 GiB; the limit of ml.m5.large is 8.00 GiB; ml.m5.xlarge has more, exit code: 137",
		},
		"memory of a small machine": {
			small.outOfMemory(&compute.Exit{}), "ClientError: More memory, please. " +
				"The training container ran out of memory and was killed; the limit of ml.m5.large is 8.00 GiB, all that this machine has: a larger instance type gives no more here, exit code: 137",
		},
		"memory of one of several hosts": {
			second.outOfMemory(&compute.Exit{}), "ClientError: More memory, please. The training container of algo-2 ran out of memory and was killed; the limit of ml.m5.large is 8.00 GiB; ml.m5.xlarge has more, exit code: 137",
		},
		"disk of one of several hosts": {
			second.outOfDisk(false), "ClientError: algo-2: No space left on device: the training job wrote more than its volume holds. Please use a larger VolumeSizeInGB; it is 30 GB",
		},
		"nothing is left of one of several hosts": {
			second.lost(nil), internalError + "algo-2: What the training job had on this machine is gone. Its output up to then is in the log.",
		},
		"disk": {
			a.outOfDisk(false), "ClientError: No space left on device: the training job wrote more than its volume holds. Please use a larger VolumeSizeInGB; it is 30 GB",
		},
		"disk by inputs": {
			a.outOfDisk(true), "ClientError: Data download failed: No space left on device: the input data is larger than the job's volume. Please use a larger VolumeSizeInGB; it is 30 GB",
		},
		"no program": {
			a.notRun(plan.Result{Class: "ClientError", Failure: "CannotStartContainerError. no such file"}), "ClientError: CannotStartContainerError. no such file",
		},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, c.got, c.want)
		}
	}
	// What to do survives a cause that is too long.
	long := second.reason(died("KeyError: " + strings.Repeat("x", 2000)))
	if len(long) > maxReason || !strings.HasSuffix(long, "x. It has [train], exit code: 1") {
		t.Errorf("a long cause hides what to do: %s", long)
	}
	// And a cause what to do, where that lists much.
	a.work.Channels = []string{strings.Repeat("c", 2000)}
	long = a.reason(died("KeyError: 'x'"))
	if len(long) > maxReason || !strings.HasPrefix(long, "AlgorithmError: KeyError: 'x'. It has [ccc") || !strings.HasSuffix(long, "c, exit code: 1") {
		t.Errorf("a long hint hides the cause: %s", long)
	}
}

func TestSleepIsShown(t *testing.T) {
	t.Parallel()
	task := exited(compute.Exit{Reason: compute.ReasonExited})
	task.Suspended = 90 * time.Minute
	d := next(phaseInProgress, started(), observed{now: at(101), hosts: hosts{task}, logsDone: true, about: some()})
	if d.phase != phaseCompleted || d.st.Notes != 1 || !strings.Contains(d.st.Said, "slept for 1h30m0s") || !strings.Contains(d.st.Said, "not billed") {
		t.Errorf("%s after %d notes: %q", d.phase, d.st.Notes, d.st.Said)
	}
}
