package training

import (
	"context"
	"sync"
	"time"

	"clary/internal/compute"
	"clary/internal/identity"
	"clary/internal/logs"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/plan"
	"clary/internal/store"
)

// Output takes a task's spool into the job's log stream and finds the metrics
// in it, each line once.
type Output interface {
	// Ensure follows the task's output if nobody does yet.
	Ensure(task compute.TaskID, s logs.Stream, job string, defs []plan.Metric) error
	// Done says whether all size bytes are in.
	Done(ctx context.Context, task compute.TaskID, s logs.Stream, size int64) (bool, error)
	// Forget ends what Ensure began, of a task that is no more.
	Forget(task compute.TaskID)
}

// Config is what the feature works with.
type Config struct {
	Store    store.Store
	Driver   compute.Driver
	Catalog  runtimes.Catalog
	Output   Output
	Logs     logs.Store
	Auth     identity.Authorizer
	Sessions identity.Sessions
	Metrics  FinalMetrics
	Capacity compute.Capacity
	Scale    float64       // divides CPU and memory of an instance type; 0 is 1
	Egress   bool          // jobs that are not isolated reach the outside
	Hold     time.Duration // --hold-describe; 0: the defaults of the design
	Wake     func(resource.Key)
	Free     func() error // store.ErrFull when the disk takes no new work
}

// FinalMetrics gives the last value of each metric that a job's output named.
type FinalMetrics interface {
	Last(ctx context.Context, account, region, job string) (map[string]MetricValue, error)
}

// MetricValue is one of them.
type MetricValue struct {
	Value float64
	At    time.Time
}

// Training serves and reconciles training jobs.
type Training struct {
	Config
	holds   holds
	answers answers
	queue   queue

	mu    sync.Mutex // guards tasks
	tasks map[compute.TaskID]resource.Key
}

// New makes the feature.
func New(c Config) *Training {
	if c.Scale <= 0 {
		c.Scale = 1
	}
	return &Training{Config: c, tasks: make(map[compute.TaskID]resource.Key)}
}

// Name is the service whose operations these are.
func (t *Training) Name() string { return "sagemaker" }

// Kind is the record kind that Reconcile looks after.
func (t *Training) Kind() resource.Kind { return Kind }

// Changed passes a driver's hint on to the job that the task belongs to.
func (t *Training) Changed(id compute.TaskID) {
	t.mu.Lock()
	k, ok := t.tasks[id]
	t.mu.Unlock()
	if ok {
		t.Wake(k)
	}
	t.wakeWaiting()
}

// wakeWaiting has those look again whose turn it is to start: there may be
// room.
func (t *Training) wakeWaiting() {
	for _, k := range t.queue.next() {
		t.Wake(k)
	}
}

// WakeAll has every job that is under way looked at now: after a start, and
// when a runtime was built.
func (t *Training) WakeAll(ctx context.Context) error {
	for _, phase := range []string{phaseInProgress, phaseStopping, phaseDeleting} {
		for token := ""; ; {
			recs, next, err := t.Store.List(ctx, resource.Query{Kind: Kind, Phase: phase, Token: token, Limit: 1000})
			if err != nil {
				return err
			}
			for _, r := range recs {
				t.track(r)
				if st, err := readStatus(r); err == nil && st.Secondary == secPending && !st.Launched {
					t.queue.put(r) // nobody younger shall overtake it
				}
				t.Wake(r.Key)
			}
			if next == "" {
				break
			}
			token = next
		}
	}
	return nil
}

func (t *Training) track(r *resource.Record) {
	t.mu.Lock()
	t.tasks[taskID(r.UID)] = r.Key
	t.mu.Unlock()
}

func (t *Training) forget(r *resource.Record) {
	t.mu.Lock()
	delete(t.tasks, taskID(r.UID))
	t.mu.Unlock()
	t.holds.forget(r.UID)
	t.Output.Forget(taskID(r.UID))
}

func key(account, region, name string) resource.Key {
	return resource.Key{Account: account, Region: region, Kind: Kind, Name: name}
}

func (t *Training) stream(r *resource.Record, st status) logs.Stream {
	return logs.Stream{Account: r.Account, Region: r.Region, Group: logGroup, Name: st.Stream}
}

const logGroup = "/aws/sagemaker/TrainingJobs"
