package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"clary/test/daemon"
)

const bucket = "faults"

// clary is the program that make build made.
func clary() string {
	path := os.Getenv("CLARY_BIN")
	if path == "" {
		path = "../../bin/clary"
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return path
}

func bin(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(clary()); err != nil {
		t.Fatalf("%v: run `make build`", err)
	}
	return clary()
}

// world is a server with what its tests need.
type world struct {
	*daemon.Daemon
	*daemon.API
	t testing.TB

	mu  sync.Mutex // guards ids
	ids map[string]string
}

// scale divides ml.m5.large's 8 GiB, so that running out of memory is cheap.
const scale = 32

// built is a folder with a built runtime, made by a server of its own: a server
// that starts clears away what others are building.
var built = sync.OnceValues(func() (dir string, err error) { //nolint:gochecknoglobals // built once for all tests
	if dir = os.Getenv(inside); dir != "" {
		return dir, nil // made before
	}
	if dir, err = os.MkdirTemp("", "clary-faults-built-"); err != nil {
		return "", err
	}
	made.Store(&dir)
	d, err := daemon.New(clary(), dir)
	if err != nil {
		return dir, err
	}
	if err := d.Borrow(); err != nil {
		return dir, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := d.Start(ctx); err != nil {
		return dir, err
	}
	err = first(ctx, d)
	if err = errors.Join(err, d.Stop()); err == nil {
		err = d.Lend()
	}
	return dir, err
})

var made atomic.Pointer[string] //nolint:gochecknoglobals // what built made, to be removed

func first(ctx context.Context, d *daemon.Daemon) error {
	a, err := d.API()
	if err != nil {
		return err
	}
	if err := a.CreateBucket(ctx, bucket); err != nil {
		return err
	}
	if err := a.SageMaker(ctx, "CreateTrainingJob", daemon.JobRequest("first", bucket, daemon.Python("")), nil); err != nil {
		return err
	}
	j, err := a.AwaitJob(ctx, "first")
	if err == nil && j.TrainingJobStatus != "Completed" {
		err = fmt.Errorf("the first job is %s: %s", j.TrainingJobStatus, j.FailureReason)
	}
	return err
}

func TestMain(m *testing.M) {
	code := m.Run()
	if dir := made.Load(); dir != nil {
		_ = os.RemoveAll(*dir)
	}
	os.Exit(code)
}

// dataDir makes a folder for a server's data; not t.TempDir, whose name is as
// long as the test's, and sockets live below.
func dataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "clary-faults-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("CLARY_TEST_KEEP") != "" {
			t.Logf("kept: %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing the data: %v", err)
		}
	})
	return dir
}

// start runs a server until the test ends and sees that nothing is left of its
// jobs.
func start(t *testing.T, dir string, args ...string) *world {
	t.Helper()
	d, err := daemon.New(bin(t), dir, append([]string{"--instance-scale", fmt.Sprint(scale)}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	from, err := built()
	if err != nil {
		t.Fatalf("building the runtime: %v", err)
	}
	if err := d.Share(filepath.Join(from, "data", "runtimes")); err != nil {
		t.Fatalf("take the runtime: %v", err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &world{Daemon: d, t: t, ids: map[string]string{}}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
		if t.Failed() {
			t.Logf("end of the server's log:\n%s", d.Tail())
		}
	})
	if w.API, err = d.API(); err != nil {
		t.Fatal(err)
	}
	w.must(w.CreateBucket(t.Context(), bucket))
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// create starts a job and remembers its task as soon as there is one.
func (w *world) create(t testing.TB, in map[string]any) string {
	t.Helper()
	name, _ := in["TrainingJobName"].(string)
	if err := w.SageMaker(t.Context(), "CreateTrainingJob", in, nil); err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return name
}

// run starts a job and waits for its end.
func (w *world) run(t testing.TB, in map[string]any) *daemon.Job {
	t.Helper()
	name := w.create(t, in)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	j, err := w.AwaitJob(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// task waits until a job's task is such that ok holds, and fails when the task
// is over before.
func (w *world) task(t testing.TB, name, what string, ok func(*daemon.Task) bool) *daemon.Task {
	t.Helper()
	var last *daemon.Task
	eventually(t, "the task of "+name+" to be "+what, func() bool {
		task := w.TaskOf(name)
		if task == nil {
			return false
		}
		w.mu.Lock()
		w.ids[name] = task.ID
		w.mu.Unlock()
		last = task
		if !ok(task) && task.Exited {
			t.Fatalf("the task of %s ended before it was %s: %+v", name, what, task)
		}
		return ok(task)
	})
	return last
}

// in says that a task has taken a step and no later one.
func in(step string) func(*daemon.Task) bool {
	return func(task *daemon.Task) bool {
		return len(task.Steps) > 0 && task.Steps[len(task.Steps)-1] == step
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(10 * time.Millisecond) // the world outside gives no signal
	}
}

// billed sees that a job is billed once, for as long as it says, and gives how
// long that is.
func (w *world) billed(t testing.TB, j *daemon.Job) time.Duration {
	t.Helper()
	usage, err := w.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	us := usage[j.TrainingJobName]
	if j.TrainingStartTime == 0 {
		if len(us) != 0 {
			t.Errorf("%s never began and is billed: %+v", j.TrainingJobName, us)
		}
		return 0
	}
	if len(us) != 1 {
		t.Errorf("%s has %d intervals on the bill, want 1: %+v", j.TrainingJobName, len(us), us)
		return 0
	}
	u := us[0]
	if u.End.IsZero() || u.Quantity != 1 || u.InstanceType != "ml.m5.large" {
		t.Errorf("%s: billed %+v", j.TrainingJobName, u)
	}
	near := func(at time.Time, stamp float64) bool {
		return math.Abs(float64(at.UnixMicro())/1e6-stamp) < 0.002
	}
	if !near(u.Start, j.TrainingStartTime) || !near(u.End, j.TrainingEndTime) {
		t.Errorf("%s ran from %f to %f and is billed from %s to %s", j.TrainingJobName, j.TrainingStartTime, j.TrainingEndTime, u.Start, u.End)
	}
	length := u.End.Sub(u.Start)
	if j.BillableTimeInSeconds == nil || float64(*j.BillableTimeInSeconds) != max(1, math.Ceil(length.Seconds())) {
		t.Errorf("%s: billable seconds %v of an interval of %s", j.TrainingJobName, j.BillableTimeInSeconds, length)
	}
	return length
}

// settled sees that a job's end is told as AWS tells it, that it stays so, and
// that nothing of its task is left.
func (w *world) settled(t testing.TB, j *daemon.Job) {
	t.Helper()
	if n := len(j.SecondaryStatusTransitions); n == 0 || j.SecondaryStatusTransitions[n-1].Status != j.SecondaryStatus {
		t.Errorf("%s: the last of %+v is not %s", j.TrainingJobName, j.SecondaryStatusTransitions, j.SecondaryStatus)
	}
	for _, tr := range j.SecondaryStatusTransitions {
		if tr.EndTime == 0 || tr.EndTime < tr.StartTime {
			t.Errorf("%s: %s is from %f to %f", j.TrainingJobName, tr.Status, tr.StartTime, tr.EndTime)
		}
	}
	w.mu.Lock()
	id := w.ids[j.TrainingJobName]
	w.mu.Unlock()
	if id == "" {
		if usage, err := w.Usage(t.Context()); err == nil && len(usage[j.TrainingJobName]) > 0 {
			id = usage[j.TrainingJobName][0].UID
		}
	}
	if id == "" {
		return // it never had one that lasted
	}
	var left []string
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if left = w.Left(id); len(left) == 0 || time.Now().After(deadline) {
			break
		}
	}
	if len(left) > 0 {
		t.Errorf("%s left: %s", j.TrainingJobName, strings.Join(left, "\n"))
	}
}

// objects are the keys below a prefix.
func (w *world) objects(t testing.TB, prefix string) []string {
	t.Helper()
	var keys []string
	for o, err := range w.List(t.Context(), bucket, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// lines sees that a job's log holds the lines that a script printed, each once
// and in order, among lines of ours.
func (w *world) lines(t testing.TB, job string, want []string) {
	t.Helper()
	all, err := w.LogLines(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for _, l := range all {
		if i < len(want) && l == want[i] {
			i++
		} else if strings.HasPrefix(l, "line ") {
			t.Errorf("%s: the log has %q where line %d should be", job, l, i)
			return
		}
	}
	if i != len(want) {
		t.Errorf("%s: the log has %d of %d lines:\n%s", job, i, len(want), strings.Join(all, "\n"))
	}
}
