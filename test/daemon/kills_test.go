package daemon_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/test/daemon"
)

// A phase is a point in a job's life that lasts long enough to be hit.
type phase struct {
	name string
	step string // the last one that the task took; "" for Starting
	stop bool   // and it was asked to stop
}

func phases() []phase {
	return []phase{{"Starting", "", false}, {"Downloading", "Downloading", false}, {"Training", "Training", false}, {"Uploading", "Uploading", false}, {"Stopping", "Training", true}}
}

// enduring is a job that dwells in one phase for a while and does all else
// quickly.
func enduring(name string, ph phase) map[string]any {
	text := ""
	switch {
	case ph.stop:
		// It hears the request and takes its time.
		text = "import signal\nsignal.signal(signal.SIGTERM, lambda *a: (print('asked', flush=True), time.sleep(4), sys.exit(0)))\nprint('ready')\ntime.sleep(300)"
	case ph.name == "Training":
		text = "print('ready')\ntime.sleep(4)"
	case ph.name == "Uploading":
		text = "f = open('/opt/ml/model/large', 'wb')\nfor i in range(100): f.write(os.urandom(1 << 20))\nf.close()"
	}
	options := []func(map[string]any){script(text)}
	if ph.name == "Downloading" {
		options = append(options, daemon.Channel("train", "s3://faults/large/"))
	}
	return daemon.JobRequest(name, bucket, options...)
}

// reach starts a job and waits until it is in the phase.
func (w *world) reach(t testing.TB, name string, ph phase) *daemon.Task {
	t.Helper()
	w.create(t, enduring(name, ph))
	if ph.name == "Starting" {
		return w.task(t, name, "there", func(task *daemon.Task) bool { return task.PID != 0 })
	}
	task := w.task(t, name, ph.name, in(ph.step))
	if ph.stop {
		w.said(t, name, "ready")
		if err := w.SageMaker(t.Context(), "StopTrainingJob", map[string]string{"TrainingJobName": name}, nil); err != nil {
			t.Fatal(err)
		}
		w.said(t, name, "asked")
	}
	return task
}

// said waits for a line in a job's spool, which is there whether a server is
// or not.
func (w *world) said(t testing.TB, name, line string) {
	t.Helper()
	w.mu.Lock()
	path := filepath.Join(w.Data, "tasks", w.ids[name], "spool")
	w.mu.Unlock()
	eventually(t, fmt.Sprintf("%s to say %q", name, line), func() bool {
		b, err := os.ReadFile(path)
		return err == nil && bytes.Contains(b, []byte(" "+line+"\n"))
	})
}

func (w *world) large(t testing.TB) {
	t.Helper()
	if _, err := w.Upload(t.Context(), bucket, "large/zeros", bytes.NewReader(make([]byte, 300<<20))); err != nil {
		t.Fatal(err)
	}
}

// await gives a job's end.
func (w *world) await(t testing.TB, name string) *daemon.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	j, err := w.AwaitJob(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// TestServerDies kills the server in each phase of a job, and leaves it away
// until the job has gone on. The job never notices.
func TestServerDies(t *testing.T) {
	t.Parallel()
	w := start(t, dataDir(t))
	w.large(t)
	for _, ph := range phases() {
		for _, away := range []string{"a moment", "until the end"} {
			name := strings.ToLower(ph.name) + "-" + strings.ReplaceAll(away, " ", "-")
			if away == "until the end" && (ph.name == "Downloading" || ph.name == "Uploading") {
				continue // what needs S3 waits for it
			}
			t.Run(name, func(t *testing.T) {
				w.reach(t, name, ph)
				w.must(w.Kill())
				if away == "until the end" {
					w.said(t, name, "line 19")
					if ph.stop {
						eventually(t, "its program to end", func() bool { task := w.TaskOf(name); return slices.Contains(task.Steps, "Uploading") })
					}
				}
				w.must(w.Start(context.WithoutCancel(t.Context())))
				j := w.await(t, name)
				want := "Completed"
				if ph.stop {
					want = "Stopped"
				}
				if j.TrainingJobStatus != want || j.SecondaryStatus != want {
					t.Errorf("it is %s, %s: %s", j.TrainingJobStatus, j.SecondaryStatus, j.FailureReason)
				}
				w.billed(t, j)
				w.lines(t, name, twenty())
				if keys := w.objects(t, "out/"+name+"/"); len(keys) != 2 {
					t.Errorf("uploaded were %q", keys)
				}
				w.settled(t, j)
			})
		}
	}
}

// TestTaskDies kills each process of a task in each phase.
func TestTaskDies(t *testing.T) {
	t.Parallel()
	w := start(t, dataDir(t))
	w.large(t)
	for _, ph := range phases() {
		for _, victim := range []string{"supervisor", "init", "stage", "program"} {
			if victim == "program" && ph.step != "Training" || ph.name == "Starting" && victim != "supervisor" {
				continue // it is not there, or gone before one could aim
			}
			name := strings.ToLower(ph.name) + "-" + victim
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				task := w.reach(t, name, ph)
				var begun time.Time
				if ph.step == "Training" && !ph.stop {
					w.said(t, name, "ready")
				}
				if err := task.Kill(victim); err != nil {
					if ph.name == "Uploading" && w.TaskOf(name) == nil {
						t.Fatalf("the upload was over too soon: %v", err)
					}
					t.Fatal(err)
				}
				begun = time.Now()
				j := w.await(t, name)
				t.Logf("%s: %s, %s: %s", time.Since(begun).Round(time.Millisecond), j.TrainingJobStatus, j.SecondaryStatus, j.FailureReason)
				begins := "InternalServerError: We encountered an internal error. Please try again. "
				if victim == "program" {
					begins = "AlgorithmError: "
				}
				switch {
				case victim == "program" && ph.stop: // it was asked to end and ended
					if j.TrainingJobStatus != "Stopped" {
						t.Errorf("it is %s: %s", j.TrainingJobStatus, j.FailureReason)
					}
				case j.TrainingJobStatus != "Failed" || j.SecondaryStatus != "Failed" || !strings.HasPrefix(j.FailureReason, begins):
					t.Errorf("it is %s, %s: %s", j.TrainingJobStatus, j.SecondaryStatus, j.FailureReason)
				}
				if victim == "program" && !ph.stop && !strings.Contains(j.FailureReason, "exit code: 137") {
					t.Errorf("the reason does not name the signal: %s", j.FailureReason)
				}
				if d := w.billed(t, j); d < 0 || d > time.Since(begun)+2*time.Minute {
					t.Errorf("billed are %s", d)
				}
				if ph.step == "Training" || ph.step == "Uploading" {
					w.lines(t, name, twenty())
				}
				w.settled(t, j)
			})
		}
	}
}

// TestReboot takes the machine's power away from a job as far as one can: all
// of its processes and the server are gone at once, and the next boot has
// another name.
func TestReboot(t *testing.T) {
	t.Parallel()
	w := start(t, dataDir(t))
	const name = "reboot"
	task := w.reach(t, name, phase{name: "Training", step: "Training"})
	w.said(t, name, "ready")
	w.must(w.Kill())
	w.must(task.Kill("supervisor"))
	status := filepath.Join(w.Data, "tasks", task.ID, "status.json")
	b, err := os.ReadFile(status)
	w.must(err)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	w.must(err)
	old := strings.TrimSpace(string(boot))
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("the status names no boot: %s", b)
	}
	// The old number of the supervisor is that of a process that lives: it must
	// not be believed, nor harmed.
	b = bytes.Replace(b, []byte(old), []byte("00000000-1111-2222-3333-444444444444"), 1)
	b = bytes.Replace(b, fmt.Appendf(nil, `"PID":%d`, task.PID), fmt.Appendf(nil, `"PID":%d`, os.Getpid()), 1)
	w.must(os.WriteFile(status, b, 0o600))
	w.must(w.Start(t.Context()))
	j := w.await(t, name)
	if j.TrainingJobStatus != "Failed" || !strings.Contains(j.FailureReason, "the machine was restarted") {
		t.Errorf("it is %s: %s", j.TrainingJobStatus, j.FailureReason)
	}
	w.billed(t, j)
	w.lines(t, name, twenty())
	w.settled(t, j)
}

// TestSecondServer sees that a data folder has one server.
func TestSecondServer(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	w := start(t, dir)
	second, err := daemon.New(bin(t), dir)
	w.must(err)
	if err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "in use by another clary server") {
		t.Errorf("a second server on the folder: %v", err)
	}
	if _, err := w.Usage(t.Context()); err != nil {
		t.Errorf("the first one does not serve any more: %v", err)
	}
}
