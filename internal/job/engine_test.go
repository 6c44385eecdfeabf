package job_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/job"
	"clary/internal/job/jobtest"
	"clary/internal/logs"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/plan"
	"clary/internal/store"
)

// order is the spec of a job here.
type order struct{ Hosts, Further int64 }

// bench is an engine and what surrounds it.
type bench struct {
	*job.Engine
	t *testing.T
}

// family is one whose jobs have a program of their own.
func family(kind resource.Kind, word string) job.Family {
	return job.Family{
		Kind: kind, Word: word,
		Read: func(r *resource.Record) (*job.Work, error) {
			o, err := resource.As[order](r.Spec)
			if err != nil {
				return nil, err
			}
			w := &job.Work{
				Image: "img", RoleArn: jobtest.Role, Args: []string{"run"}, InstanceType: "ml.m5.large", InstanceCount: o.Hosts, MaxRuntime: time.Hour, First: "container-1",
				Plan: func(host string, hosts []string, _ runtimes.Runtime) plan.Plan {
					return plan.Plan{Processing: &plan.Processing{JobName: r.Name, CurrentHost: host, Hosts: hosts}}
				},
			}
			for i := range o.Further {
				w.Further = append(w.Further, job.Container{
					Name: fmt.Sprintf("container-%d", i+2), Image: "img", Env: map[string]string{"OF": fmt.Sprint(i + 2)},
					Plan: func(runtimes.Runtime) plan.Plan { return plan.Plan{Serving: &plan.Serving{Region: r.Region}} },
				})
			}
			return w, nil
		},
	}
}

func newBench(t *testing.T, c job.Config) *bench {
	t.Helper()
	return &bench{job.New(c, family("ProcessingJob", "processing")), t}
}

func (b *bench) create(name string, hosts int64) {
	b.t.Helper()
	if _, err := b.Create(b.t.Context(), jobtest.Call(), name, jobtest.Role, order{Hosts: hosts}, nil); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) key(name string) resource.Key {
	return resource.Key{Account: jobtest.Account, Region: jobtest.Region, Kind: b.Kind(), Name: name}
}

// look has a job looked at once, and tells how it stands then.
func (b *bench) look(name string) (*resource.Record, job.Status) {
	b.t.Helper()
	if _, err := b.Reconcile(b.t.Context(), b.key(name)); err != nil {
		b.t.Fatal(err)
	}
	r, err := b.Store.Get(b.t.Context(), b.key(name))
	if err != nil {
		b.t.Fatal(err)
	}
	st, err := job.ReadStatus(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return r, st
}

func (b *bench) tasks() []compute.TaskID {
	b.t.Helper()
	ids, err := b.Driver.List(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return ids
}

// limited is a driver with room for some tasks.
type limited struct {
	compute.Driver
	room    int
	broken  error // of every start
	started []compute.Task
}

func (l *limited) Start(ctx context.Context, t compute.Task) error {
	if l.broken != nil {
		return l.broken
	}
	ids, err := l.List(ctx)
	if err != nil {
		return err
	}
	if len(ids) >= l.room && !slices.Contains(ids, t.ID) {
		return fmt.Errorf("%w: full", compute.ErrCapacity)
	}
	l.started = append(l.started, t)
	return l.Driver.Start(ctx, t)
}

func forever(compute.Task) fake.Script { return fake.Script{Forever: true} }

func TestJobsThatDoNotFitWaitInOrder(t *testing.T) {
	t.Parallel()
	const ahead = 4
	c := jobtest.Config(t, forever)
	d := &limited{Driver: c.Driver, room: 2}
	woken := map[resource.Key]bool{}
	c.Driver, c.Wake = d, func(k resource.Key) { woken[k] = true }
	// Jobs of two kinds stand in one line.
	kinds := []*bench{newBench(t, c), {job.New(c, family("TransformJob", "transform")), t}}
	kind := func(i int) *bench { return kinds[i%2] }
	var names []string
	for i := range 9 {
		names = append(names, fmt.Sprintf("job-%d", i))
		kind(i).create(names[i], 1)
	}
	for i, n := range names {
		kind(i).look(n)
	}
	r, st := kind(5).look("job-5")
	if last := st.Transitions[len(st.Transitions)-1]; st.Secondary != "Pending" || last.Message != "Insufficient capacity error while launching instances, retrying!" || r.Phase != "InProgress" {
		t.Errorf("a job without room is %s, %+v", r.Phase, last)
	}
	// There is room again. The youngest looks first, and does not overtake.
	for i := 2; i+ahead < len(names); i++ {
		d.room++
		kind(8).look("job-8")
		clear(woken)
		kinds[0].Changed("unknown-1")
		if len(woken) != ahead || !woken[kind(i).key(names[i])] {
			t.Fatalf("with %s next, woken are %v", names[i], woken)
		}
		kind(i).look(names[i])
	}
	var started []string
	for _, task := range d.started {
		started = append(started, task.Name)
	}
	if !slices.Equal(started, names[:len(names)-ahead]) {
		t.Errorf("started %v", started)
	}
	// One that cannot be started is in nobody's way.
	d.broken = errors.New("no such role")
	first := kind(len(names) - ahead)
	if _, err := first.Reconcile(t.Context(), first.key(names[len(names)-ahead])); !errors.Is(err, d.broken) {
		t.Errorf("a broken start gives %v", err)
	}
	clear(woken)
	first.Changed("unknown-1")
	if len(woken) != ahead-1 || woken[first.key(names[len(names)-ahead])] {
		t.Errorf("waiting are %v", woken)
	}
}

func TestAllInstancesOrNone(t *testing.T) {
	t.Parallel()
	c := jobtest.Config(t, forever)
	d := &limited{Driver: c.Driver, room: 3}
	c.Driver = d
	b := newBench(t, c)
	for i, hosts := range []int64{2, 2, 1} {
		b.create(fmt.Sprintf("job-%d", i), hosts)
	}
	first, _ := b.look("job-0")
	_, st := b.look("job-1")
	if st.Secondary != "Pending" || st.Launched || len(d.started) != 3 {
		t.Errorf("job-1 is %+v after %d starts", st, len(d.started))
	}
	if ids := b.tasks(); len(ids) != 2 || !strings.HasPrefix(string(ids[0]), first.UID) || !strings.HasPrefix(string(ids[1]), first.UID) {
		t.Errorf("with job-0 alone, there are tasks %v", ids)
	}
	// The place that is left is not for the younger one.
	if _, st = b.look("job-2"); st.Secondary != "Pending" || len(b.tasks()) != 2 {
		t.Errorf("job-2 is %s, of %d tasks", st.Secondary, len(b.tasks()))
	}
	d.room++
	if _, st = b.look("job-1"); !st.Launched || len(b.tasks()) != 4 {
		t.Errorf("job-1 is %+v, of %d tasks", st, len(b.tasks()))
	}
	d.room++
	if _, st = b.look("job-2"); !st.Launched {
		t.Errorf("job-2 is %+v", st)
	}
}

// A server died when it had started one of three tasks, or all and had not
// written so; or its successor has room for none.
func TestStartGoesOn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		there, room, left int
		stop              bool
		phase             string
	}{
		"one is there":            {1, 3, 3, false, "InProgress"},
		"all are there":           {3, 3, 3, false, "InProgress"},
		"no room for the rest":    {1, 2, 0, false, "InProgress"},
		"stopped with one there":  {1, 3, 0, true, "Stopped"},
		"stopped with all there":  {3, 3, 3, true, "Stopping"},
		"none, and not even room": {0, 0, 0, false, "InProgress"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := jobtest.Config(t, forever)
			plain := c.Driver
			d := &limited{Driver: c.Driver, room: tc.room}
			c.Driver = d
			b := newBench(t, c)
			b.create("job", 3)
			r, err := b.Store.Get(t.Context(), b.key("job"))
			if err != nil {
				t.Fatal(err)
			}
			for i := range tc.there {
				if err := plain.Start(t.Context(), compute.Task{ID: compute.TaskID(fmt.Sprintf("%s-%d", r.UID, i+1)), Name: "job"}); err != nil {
					t.Fatal(err)
				}
			}
			if tc.stop {
				if err := b.Stop(t.Context(), jobtest.Call(), "job"); err != nil {
					t.Fatal(err)
				}
			}
			r, st := b.look("job")
			if r.Phase != tc.phase || len(b.tasks()) != tc.left || st.Launched != (tc.left == 3) {
				t.Errorf("%s with %d tasks, launched %v", r.Phase, len(b.tasks()), st.Launched)
			}
		})
	}
}

// Hosts that were started long before the rest did nothing for their job.
func TestHalfAStartIsNotBilled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := jobtest.Config(t, func(compute.Task) fake.Script {
			return fake.Script{Run: time.Minute, Steps: []fake.Step{{Name: plan.StepDownloading}}}
		})
		b := newBench(t, c)
		b.create("job", 3)
		r, err := b.Store.Get(t.Context(), b.key("job"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Driver.Start(t.Context(), compute.Task{ID: compute.TaskID(r.UID + "-1"), Name: "job"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Hour) // until there is a server again
		b.look("job")
		time.Sleep(2 * time.Minute)
		if r, _ = b.look("job"); r.Phase != "Completed" {
			t.Errorf("the job is %s", r.Phase)
		}
		use, err := b.Store.ListUsage(t.Context(), resource.UsageQuery{Account: jobtest.Account})
		if err != nil || len(use) != 1 || use[0].End.Sub(use[0].Start) != time.Minute {
			t.Errorf("billed %+v, %v", use, err)
		}
	})
}

// leaving is the flight of every request to a server.
type leaving struct{ ctx context.Context } //nolint:containedctx // what a flight has

func (leaving) Alone()                     {}
func (l leaving) Leaving() context.Context { return l.ctx }

// An SDK's look that is held is answered when the server leaves or ends.
func TestLeavingEndsHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, jobtest.Config(t, forever))
		b.create("job", 1)
		leave, hurry := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, hurry)
		c, began := jobtest.Call(), time.Now()
		c.UserAgent = "AWS-SageMaker-Python-SDK/2.257.7"
		r, err := b.Await(op.WithFlight(t.Context(), leaving{leave}), c, "job")
		if err != nil || r.Phase != "InProgress" || time.Since(began) != time.Second {
			t.Errorf("after %s: %+v, %v", time.Since(began), r, err)
		}
	})
}

// Names that differ in case have one ARN: tags, and what policies say of it.
func TestNamesThatDifferInCase(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobtest.Config(t, forever))
	b.Taken = func(arn string) string { return arn + " is there" }
	b.create("Job", 1)
	_, err := b.Create(t.Context(), jobtest.Call(), "job", jobtest.Role, order{Hosts: 1}, nil)
	if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Code != "ResourceInUse" || !strings.HasSuffix(e.Message, ":processing-job/job is there") {
		t.Errorf("a second job of the ARN: %v", err)
	}
}

// follower notes whose output goes where.
type follower struct {
	job.Output
	followed map[compute.TaskID]string
}

func (f follower) Ensure(id compute.TaskID, s logs.Stream, dims map[string]string, _ []plan.Metric, sides ...logs.Side) error {
	f.followed[id] = fmt.Sprint(s.Group, " ", s.Name, " ", dims)
	for _, x := range sides {
		f.followed[id] += fmt.Sprintf(" %q to %s", x.Mark, x.Stream.Name)
	}
	return nil
}

func (f follower) Forget(id compute.TaskID) { delete(f.followed, id) }

// slow has not taken in what some task printed.
type slow struct {
	job.Output
	task string // the end of its id
}

func (s slow) Done(_ context.Context, id compute.TaskID, _ logs.Stream, _ int64) (bool, error) {
	return !strings.HasSuffix(string(id), s.task), nil
}

// A job is not over before the log of each host is whole.
func TestEveryLogIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, task := range []string{"-1", "-2", "-3"} {
		c := jobtest.Config(t, func(compute.Task) fake.Script { return fake.Script{} })
		whole := c.Output
		c.Output = slow{whole, task}
		b := newBench(t, c)
		b.create("job", 3)
		for range 3 {
			if r, _ := b.look("job"); r.Phase != "InProgress" {
				t.Errorf("without the log of host %s, the job is %s", task, r.Phase)
			}
		}
		b.Output = whole
		if r, _ := b.look("job"); r.Phase != "Completed" {
			t.Errorf("with all logs, the job is %s", r.Phase)
		}
	}
}

// A server that starts knows who waits before anybody looks.
func TestQueueAfterRestart(t *testing.T) {
	t.Parallel()
	c := jobtest.Config(t, forever)
	d := &limited{Driver: c.Driver}
	c.Driver = d
	b := newBench(t, c)
	b.create("old", 2)
	b.look("old")
	b.create("young", 1)
	d.room = 1
	c.Queue = nil
	b = newBench(t, c)
	if err := b.WakeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, st := b.look("young"); st.Launched {
		t.Error("the younger one takes a place of the older one's")
	}
}

// spoken notes the lines of ours.
type spoken struct {
	logs.Store
	lines *[]string
}

func (s spoken) Ingest(_ context.Context, _ logs.Stream, _ string, from, to int64, events []logs.Event) error {
	*s.lines = append(*s.lines, fmt.Sprint(from, to, events[0].Message))
	return nil
}

// A job that tries again and again says so once, and loses no line.
func TestRetriesLeaveNoTrace(t *testing.T) {
	t.Parallel()
	var lines []string
	c := jobtest.Config(t, forever)
	d := &limited{Driver: c.Driver}
	c.Driver, c.Logs, c.Capacity.MemoryBytes = d, spoken{c.Logs, &lines}, 1<<30
	b := newBench(t, c)
	b.create("job", 1)
	for range 3 {
		if _, st := b.look("job"); len(st.Transitions) != 2 || len(lines) != 1 {
			t.Fatalf("%d lines, %+v", len(lines), st.Transitions)
		}
	}
	d.room = 1
	b.look("job")
	if _, st := b.look("job"); len(st.Transitions) != 3 || st.Secondary != "Starting" {
		t.Errorf("%+v", st.Transitions)
	}
	want := []string{"0 1[clary] Insufficient capacity error while launching instances, retrying!", "1 2[clary] memory is limited to the machine's 1.0 GiB; ml.m5.large has 8 GiB"}
	if !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
}

// What a job is created with is there as it is, and what followed its hosts ends with them.
func TestTagsAndOutput(t *testing.T) {
	t.Parallel()
	c := jobtest.Config(t, func(compute.Task) fake.Script { return fake.Script{} })
	f := follower{c.Output, map[compute.TaskID]string{}}
	c.Output = f
	b := newBench(t, c)
	arn, err := b.Create(t.Context(), jobtest.Call(), "job", jobtest.Role, order{Hosts: 3}, []api.Tag{{Key: "team", Value: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	var tags map[string]string
	if err := b.Store.View(t.Context(), func(tx store.Tx) (err error) { tags, err = tx.Tags(arn); return err }); err != nil || len(tags) != 1 || tags["team"] != "a" {
		t.Errorf("tags %v, %v", tags, err)
	}
	if b.look("job"); len(f.followed) != 3 {
		t.Errorf("followed are %v", f.followed)
	}
	b.look("job")
	if b.look("job"); len(f.followed) != 0 {
		t.Errorf("after its end, followed are %v", f.followed)
	}
}

// A job that does not fit beside what is no job holds nobody, as long as that is so.
func TestCrowdedJobHoldsNobody(t *testing.T) {
	t.Parallel()
	c := jobtest.Config(t, forever)
	notebook := c.Driver
	d := &limited{Driver: c.Driver, room: 4}
	c.Driver = d
	b := newBench(t, c)
	for _, id := range []compute.TaskID{"notebook-1", "notebook-2"} {
		if err := notebook.Start(t.Context(), compute.Task{ID: id, Name: string(id)}); err != nil {
			t.Fatal(err)
		}
	}
	b.create("big", 3)
	for i := range 2 {
		if r, st := b.look("big"); st.Secondary != "Pending" || time.Until(r.Due) < 50*time.Second || len(b.tasks()) != 2+i {
			t.Errorf("the big one is %s until %s, of %d tasks", st.Secondary, r.Due, len(b.tasks()))
		}
		b.create(fmt.Sprint("young-", i), 1)
		if _, st := b.look(fmt.Sprint("young-", i)); !st.Launched {
			t.Errorf("a younger one is %s", st.Secondary)
		}
	}
	// Without a notebook it fits once the younger ones are over. A new server knows that too.
	if err := notebook.Remove(t.Context(), "notebook-1"); err != nil {
		t.Fatal(err)
	}
	c.Queue = nil
	b = newBench(t, c)
	if err := b.WakeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.look("big")
	b.create("late", 1)
	if _, st := b.look("late"); st.Launched {
		t.Error("a late one takes a place of the big one's")
	}
	for i := range 2 {
		if err := b.Stop(t.Context(), jobtest.Call(), fmt.Sprint("young-", i)); err != nil {
			t.Fatal(err)
		}
		b.look(fmt.Sprint("young-", i))
		for range 2 {
			b.look(fmt.Sprint("young-", i))
		}
	}
	// Another notebook comes: those that are over count no more.
	if err := notebook.Start(t.Context(), compute.Task{ID: "notebook-1", Name: "notebook-1"}); err != nil {
		t.Fatal(err)
	}
	b.look("big")
	if _, st := b.look("late"); !st.Launched {
		t.Errorf("with two notebooks, the late one is %s", st.Secondary)
	}
	for _, id := range []compute.TaskID{"notebook-1", "notebook-2"} {
		if err := notebook.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if _, st := b.look("big"); !st.Launched {
		t.Errorf("with room, the big one is %s", st.Secondary)
	}
}

// A job that is deleted as soon as it is over leaves no task behind.
func TestDeletedBeforeItsTasks(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobtest.Config(t, func(compute.Task) fake.Script { return fake.Script{} }))
	b.create("job", 2)
	b.look("job")
	if r, _ := b.look("job"); r.Phase != "Completed" || len(b.tasks()) != 2 {
		t.Fatalf("%s, of %d tasks", r.Phase, len(b.tasks()))
	}
	if err := b.Delete(t.Context(), jobtest.Call(), "job"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Reconcile(t.Context(), b.key("job")); err != nil || len(b.tasks()) != 0 {
		t.Errorf("%v, of %d tasks", err, len(b.tasks()))
	}
	if _, err := b.Store.Get(t.Context(), b.key("job")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("its record: %v", err)
	}
}

// TestSeveralInstances takes a job on three instances through its life.
func TestSeveralInstances(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		script func(*fake.Script)
		stop   bool
		phase  string
		reason string
		steps  string
		billed time.Duration
	}{
		"ends well": {nil, false, "Completed", "", "Starting Downloading Training Uploading Completed", 105 * time.Second},
		"the second breaks": {
			func(s *fake.Script) {
				s.Run, s.Steps, s.Result = 40*time.Second, s.Steps[:2], plan.Result{ExitCode: 3, Failure: "no"}
			},
			false,
			"Failed", "AlgorithmError: algo-2: no, exit code: 3", "Starting Downloading Training Failed", 42 * time.Second, // the others are stopped at the look after the one that finds it
		},
		"is stopped": {nil, true, "Stopped", "", "Starting Downloading Training Stopping Stopped", 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := jobtest.Config(t, func(task compute.Task) fake.Script {
					n := time.Duration(task.ID[len(task.ID)-1]-'0') * time.Second // each host is a second behind the one before
					s := fake.Script{
						Delay: n, Run: 100*time.Second + n, Result: plan.Result{},
						Steps: []fake.Step{{Name: plan.StepDownloading}, {Name: plan.StepTraining, At: 10 * time.Second}, {Name: plan.StepUploading, At: 90 * time.Second}},
					}
					if tc.script != nil && task.Network.Host == "algo-2" {
						tc.script(&s)
					}
					return s
				})
				d := &limited{Driver: c.Driver, room: 9}
				f := follower{c.Output, map[compute.TaskID]string{}}
				c.Driver, c.Output = d, f
				b := newBench(t, c)
				b.create("job", 3)
				r, _ := b.look("job")
				for i, task := range d.started {
					host, peers := fmt.Sprintf("algo-%d", i+1), []string{"algo-1", "algo-2", "algo-3"}
					p := task.Plan.Processing
					if task.ID != compute.TaskID(fmt.Sprintf("%s-%d", r.UID, i+1)) || task.Kind != "processing" || task.Network.Host != host || !slices.Equal(task.Network.Peers, peers) ||
						p.CurrentHost != host || !slices.Equal(p.Hosts, peers) {
						t.Errorf("host %d is %+v with plan %+v", i+1, task, p)
					}
					if want := fmt.Sprintf("/aws/sagemaker/ProcessingJobs job/%s-%d map[ProcessingJobName:job]", host, r.Created.Unix()); f.followed[task.ID] != want {
						t.Errorf("output of %s goes to %s, want %s", host, f.followed[task.ID], want)
					}
				}
				began := time.Now()
				var st job.Status
				for time.Since(began) < 5*time.Minute && (!job.Terminal(r.Phase) || !r.Due.IsZero()) {
					time.Sleep(500 * time.Millisecond)
					if tc.stop && time.Since(began) == 41*time.Second {
						if err := b.Stop(t.Context(), jobtest.Call(), "job"); err != nil {
							t.Fatal(err)
						}
					}
					r, st = b.look("job")
				}
				var seen []string
				for _, x := range st.Transitions {
					seen = append(seen, x.Status)
				}
				if r.Phase != tc.phase || st.Failure != tc.reason || strings.Join(seen, " ") != tc.steps {
					t.Errorf("%s with %q after %v", r.Phase, st.Failure, seen)
				}
				if ids := b.tasks(); len(ids) != 0 {
					t.Errorf("tasks stay behind: %v", ids)
				}
				use, err := b.Store.ListUsage(t.Context(), resource.UsageQuery{Account: jobtest.Account})
				if err != nil || len(use) != 1 {
					t.Fatalf("usage %+v, %v", use, err)
				}
				u := use[0]
				if got := u.End.Sub(u.Start).Round(time.Second); got != tc.billed || u.Quantity != 3 || u.Component != "processing" || u.InstanceType != "ml.m5.large" {
					t.Errorf("billed %s of %+v", got, u)
				}
			})
		})
	}
}

// TestContainers takes a job on two instances of two containers each through its
// life: the second ones are tasks like the first, and have no other part in it.
func TestContainers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := jobtest.Config(t, func(task compute.Task) fake.Script {
			if task.Plan.Serving != nil {
				return fake.Script{Forever: true, IgnoreTERM: true, Uses: compute.Usage{CPU: time.Second}, Steps: []fake.Step{{Name: plan.StepDownloading}, {Name: plan.StepTraining}}}
			}
			return fake.Script{Delay: 10 * time.Second, Run: 100 * time.Second, Steps: []fake.Step{{Name: plan.StepDownloading}, {Name: plan.StepTraining, At: 5 * time.Second}}}
		})
		d := &limited{Driver: c.Driver, room: 3}
		f := follower{c.Output, map[compute.TaskID]string{}}
		c.Driver, c.Output = d, f
		b := newBench(t, c)
		b.Side, b.Mark = "data-log", "#"
		if _, err := b.Create(t.Context(), jobtest.Call(), "job", "", order{2, 1}, nil); err != nil {
			t.Fatal(err)
		}
		if _, st := b.look("job"); st.Secondary != "Pending" || len(b.tasks()) != 0 {
			t.Fatalf("with room for three of four tasks, it is %s of %d tasks", st.Secondary, len(b.tasks()))
		}
		d.room, d.started = 4, nil
		r, _ := b.look("job")
		names := []string{"algo-1", "algo-2", "algo-1-container-2", "algo-2-container-2"}
		streams := []string{"algo-1-%d/container-1", "algo-2-%d/container-1", "algo-1-%d/container-2", "algo-2-%d/container-2"}
		for i, task := range d.started {
			if task.ID != compute.TaskID(fmt.Sprintf("%s-%d", r.UID, i+1)) || task.Network.Host != names[i] || !slices.Equal(task.Network.Peers, names) || (task.Plan.Serving != nil) != (i > 1) ||
				task.Plan.Processing != nil && !slices.Equal(task.Plan.Processing.Hosts, names[:2]) || (task.Env["OF"] == "2") != (i > 1) {
				t.Errorf("task %d is %+v with plan %+v", i+1, task, task.Plan)
			}
			want := fmt.Sprintf("/aws/sagemaker/ProcessingJobs job/"+streams[i]+" map[ProcessingJobName:job]", r.Created.Unix())
			if i < 2 {
				want += fmt.Sprintf(` "#" to job/%s-%d/data-log`, names[i], r.Created.Unix())
			}
			if f.followed[task.ID] != want {
				t.Errorf("output of task %d goes to %s, want %s", i+1, f.followed[task.ID], want)
			}
		}
		began := time.Now()
		var st job.Status
		for time.Since(began) < 10*time.Minute && (!job.Terminal(r.Phase) || !r.Due.IsZero()) {
			time.Sleep(500 * time.Millisecond)
			r, st = b.look("job")
		}
		if r.Phase != "Completed" || st.Failure != "" || len(b.tasks()) != 0 || len(f.followed) != 0 {
			t.Errorf("%s with %q, of %d tasks, %d followed", r.Phase, st.Failure, len(b.tasks()), len(f.followed))
		}
		if d := time.Since(began); d < 200*time.Second {
			t.Errorf("it was over after %s, before those who did not stop", d)
		}
		use, err := b.Store.ListUsage(t.Context(), resource.UsageQuery{Account: jobtest.Account})
		if err != nil || len(use) != 1 || use[0].End.Sub(use[0].Start) != 100*time.Second || use[0].Quantity != 2 {
			t.Errorf("billed %+v, %v", use, err)
		}
	})
}

// What an earlier Clary wrote of a job that runs is still understood.
func TestEarlierStatus(t *testing.T) {
	t.Parallel()
	r := &resource.Record{Status: []byte(`{"v":1,"secondary":"Training","transitions":[{"status":"Starting","start":"2026-01-02T03:04:05Z"}],` +
		`"started":"2026-01-02T03:04:06Z","launched":true,"stepsSeen":2,"stream":"j/algo-1-1767323045","suspended":1.5}`)}
	st, err := job.ReadStatus(r)
	if err != nil || st.Secondary != "Training" || st.StepsSeen != 2 || !st.Launched || st.Started == nil || st.Suspended != 1.5 || len(st.Transitions) != 1 {
		t.Errorf("%+v, %v", st, err)
	}
}

var _ reconcile.Reconciler = (*job.Engine)(nil)
