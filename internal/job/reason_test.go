package job

import (
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

func TestReasons(t *testing.T) {
	t.Parallel()
	a := about{instance: "ml.m5.large", memory: 8 << 30, larger: "ml.m5.xlarge", volume: 30, channels: []string{"train", "Test"}}
	none, small := a, a
	none.channels, small.clamped = nil, true
	died := func(cause string) plan.Result {
		return plan.Result{ExitCode: 1, Class: "AlgorithmError", Failure: cause}
	}
	const missing = "FileNotFoundError: [Errno 2] No such file or directory: '/opt/ml/input/data/validation/a.csv'"
	for name, c := range map[string]struct{ got, want string }{
		"a channel that the job has not": {
			reason(died(missing), a), "AlgorithmError: " + missing + `. The job has no channel "validation", only "train", "Test": ` +
				"add it to InputDataConfig, which is what fit() is given, exit code: 1",
		},
		"no channels": {
			reason(died("KeyError: 'SM_CHANNEL_EVAL'"), none), `AlgorithmError: KeyError: 'SM_CHANNEL_EVAL'. The job has no channel "eval"; it has no input channels: ` +
				"add it to InputDataConfig, which is what fit() is given, exit code: 1",
		},
		"a file that a channel lacks": {
			reason(died("No such file or directory: '/opt/ml/input/data/train/a.csv'"), a), "AlgorithmError: No such file or directory: '/opt/ml/input/data/train/a.csv', exit code: 1",
		},
		"a channel by its variable": {reason(died("KeyError: 'SM_CHANNEL_TEST'"), a), "AlgorithmError: KeyError: 'SM_CHANNEL_TEST', exit code: 1"},
		"a full volume": {
			reason(died("OSError: [Errno 28] No space left on device"), a),
			"AlgorithmError: OSError: [Errno 28] No space left on device. VolumeSizeInGB is 30 GB; use a larger one if the job needs more, exit code: 1",
		},
		"memory": {
			a.outOfMemory(&compute.Exit{PeakMemory: 8<<30 - 1<<20}), "AlgorithmError: Please use an instance type with more memory, or reduce the size of training data processed on an instance. " +
				"The training container ran out of memory and was killed. Its peak was 8.00 GiB; the limit of ml.m5.large is 8.00 GiB; ml.m5.xlarge has more, exit code: 137",
		},
		"memory of a small machine": {
			small.outOfMemory(&compute.Exit{}), "AlgorithmError: Please use an instance type with more memory, or reduce the size of training data processed on an instance. " +
				"The training container ran out of memory and was killed; the limit of ml.m5.large is 8.00 GiB, all that this machine has: a larger instance type gives no more here, exit code: 137",
		},
		"disk": {
			a.outOfDisk(false), "ClientError: No space left on device: the training job wrote more than its volume holds. Please use a larger VolumeSizeInGB; it is 30 GB",
		},
		"disk by inputs": {
			a.outOfDisk(true), "ClientError: Data download failed: No space left on device: the input data is larger than the job's volume. Please use a larger VolumeSizeInGB; it is 30 GB",
		},
		"no program": {
			notRun(plan.Result{Class: "ClientError", Failure: "CannotStartContainerError. no such file"}), "ClientError: CannotStartContainerError. no such file",
		},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, c.got, c.want)
		}
	}
	// What to do survives a cause that is too long.
	long := reason(died(missing+strings.Repeat("x", 2000)), none)
	if len(long) > maxReason || !strings.Contains(long, "The job has no channel") || !strings.HasSuffix(long, ", exit code: 1") {
		t.Errorf("a long cause hides what to do: %s", long)
	}
}

func TestSleepIsShown(t *testing.T) {
	t.Parallel()
	task := exited(compute.Exit{Reason: compute.ReasonExited})
	task.Suspended = 90 * time.Minute
	d := next(phaseInProgress, started(), observed{now: at(101), task: task, logsDone: true})
	if d.phase != phaseCompleted || d.st.Notes != 1 || !strings.Contains(d.st.Said, "slept for 1h30m0s") || !strings.Contains(d.st.Said, "not billed") {
		t.Errorf("%s after %d notes: %q", d.phase, d.st.Notes, d.st.Said)
	}
}
