package job

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/budget"
	"clary/internal/compute"
	"clary/internal/identity"
	"clary/internal/logs"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/plan"
	"clary/internal/store"
)

// Output takes a task's spool into a log stream and finds the metrics in it,
// each line once.
type Output interface {
	// Ensure follows the task's output if nobody does yet, into s and into sides
	// what is theirs. Metrics have these dimensions, in the namespace that the
	// stream's group is called.
	Ensure(task compute.TaskID, s logs.Stream, dims map[string]string, defs []plan.Metric, sides ...logs.Side) error
	// Done says whether all size bytes are in.
	Done(ctx context.Context, task compute.TaskID, s logs.Stream, size int64) (bool, error)
	// Forget ends what Ensure began, of a task that is no more.
	Forget(task compute.TaskID)
}

// Config is what jobs of all kinds work with.
type Config struct {
	Store     store.Store
	Driver    compute.Driver
	Catalog   runtimes.Catalog
	Output    Output
	Logs      logs.Store
	Auth      identity.Authorizer
	Sessions  identity.Sessions
	Instances InstanceMetrics
	Capacity  compute.Capacity
	Scale     float64       // divides CPU and memory of an instance type; 0 is 1
	Egress    bool          // jobs that are not isolated reach the outside
	Hold      time.Duration // --hold-describe; 0: the defaults of the design
	Wake      func(resource.Key)
	Free      func() error // store.ErrFull when the disk takes no new work
	Queue     *Queue       // of all kinds; nil: one of its own
	// Gate says whether hard budgets have room; nil: there are none.
	Gate budget.Gate
	// Record begins the record of a stop that a budget asks for; nil: there is none.
	Record budget.Record
	// Clock reads the machine's own count of time; nil: the wall clock stands in
	// for it.
	Clock func() meter.Moment
}

// Family is what the jobs of one kind have of their own.
type Family struct {
	Kind resource.Kind // TrainingJob
	Word string        // training: of ARNs, tasks, the ledger, and before "job" in texts
	// Says has the messages of secondary statuses, and of Preparing.
	Says map[string]string
	// Missing says that there is no job of a name, to describe or to change.
	Missing func(name string, change bool) string
	// Taken says that a name is another job's already.
	Taken func(arn string) string
	// Silent is the cause of a failure that says nothing.
	Silent string
	// OutOfMemory begins the FailureReason of a job that was killed for memory.
	OutOfMemory string
	// Program is what runs where a job names nothing; nil: it must.
	Program func(runtimes.Runtime) []string
	// Lacks says that an image has no such program; nil: how a job names one.
	Lacks func(image string, rt runtimes.Runtime) string
	// Side is what a further log stream of each instance is called, for those
	// lines of its first container that begin with Mark; "": there is none.
	Side, Mark string
	// Fixed says that a job cannot choose how large its volume is.
	Fixed bool
	// Hint says what a newcomer may not see in the cause of a failure; nil: nothing.
	Hint    func(w *Work, cause string) string
	Reasons bool // lists tell why a job failed and what it said at its end
	// Read says what a record asks for.
	Read func(*resource.Record) (*Work, error)
}

// Group is the log group of the family's jobs, and the namespace of their
// metrics.
func (f *Family) Group() string { return "/aws/sagemaker/" + string(f.Kind) + "s" }

func (f *Family) noun() string { return f.Word + " job" }

// title begins a sentence.
func (f *Family) title() string { return strings.ToUpper(f.Word[:1]) + f.Word[1:] + " job" }

// Engine reconciles the jobs of one family, and has of their operations what
// all families share.
type Engine struct {
	Config
	Family
	holds Holds

	mu   sync.Mutex                       // guards what follows
	jobs map[string]resource.Key          // by UID, as long as they have something to do
	used map[compute.TaskID]compute.Usage // that was put last
}

// New makes the engine of one family.
func New(c Config, f Family) *Engine {
	if c.Scale <= 0 {
		c.Scale = 1
	}
	if c.Queue == nil {
		c.Queue = new(Queue)
	}
	if c.Clock == nil {
		c.Clock = func() meter.Moment { return meter.Moment{Awake: time.Now().UnixNano()} }
	}
	return &Engine{Config: c, Family: f, holds: Holds{Longest: c.Hold}, jobs: make(map[string]resource.Key), used: make(map[compute.TaskID]compute.Usage)}
}

// Kind is the record kind that Reconcile looks after.
func (e *Engine) Kind() resource.Kind { return e.Family.Kind }

// Arn is that of a job of the caller's.
func (e *Engine) Arn(c op.Call, name string) string {
	return arn.SageMaker(c.Region, c.Account, e.Word+"-job", name)
}

// Changed passes a driver's hint on to the job that the task belongs to.
func (e *Engine) Changed(id compute.TaskID) {
	uid, _, _ := strings.Cut(string(id), "-")
	e.mu.Lock()
	k, ok := e.jobs[uid]
	e.mu.Unlock()
	if ok {
		e.Wake(k)
	}
	e.wakeWaiting()
}

// wakeWaiting has those look again whose turn it is to start: there may be
// room.
func (e *Engine) wakeWaiting() {
	for _, k := range e.Queue.next() {
		e.Wake(k)
	}
}

// WakeAll has every job that is under way looked at now: after a start, and
// when a runtime was built.
func (e *Engine) WakeAll(ctx context.Context) error {
	for _, phase := range []string{phaseInProgress, phaseStopping, phaseDeleting} {
		for token := ""; ; {
			recs, next, err := e.Store.List(ctx, resource.Query{Kind: e.Kind(), Phase: phase, Token: token, Limit: 1000})
			if err != nil {
				return err
			}
			for _, r := range recs {
				e.track(r)
				e.enqueue(r)
				e.Wake(r.Key)
			}
			if next == "" {
				break
			}
			token = next
		}
	}
	return nil
}

// enqueue tells the queue of a job that it may not know.
func (e *Engine) enqueue(r *resource.Record) {
	st, err := ReadStatus(r)
	if err != nil {
		return // its look says so
	}
	w, err := e.Read(r)
	if err != nil {
		return
	}
	if n := decide(r.Phase, st, nil).running(w); n > 0 {
		e.Queue.runs(r.Key, n)
	} else if st.Secondary == secPending {
		e.Queue.put(r, int64(w.tasks())) // nobody younger shall overtake it
	}
}

func (e *Engine) track(r *resource.Record) {
	e.mu.Lock()
	e.jobs[r.UID] = r.Key
	e.mu.Unlock()
}

func (e *Engine) forget(r *resource.Record, tasks int) {
	e.mu.Lock()
	delete(e.jobs, r.UID)
	for i := range tasks {
		delete(e.used, taskID(r.UID, i))
	}
	e.mu.Unlock()
	e.holds.Forget(r.UID)
	for i := range tasks {
		e.Output.Forget(taskID(r.UID, i))
	}
}

func (e *Engine) key(c op.Call, name string) resource.Key {
	return resource.Key{Account: c.Account, Region: c.Region, Kind: e.Kind(), Name: name}
}

// stream is that of one of the job's tasks: its instance's, and where that has
// several containers, one of its own below.
func (e *Engine) stream(r *resource.Record, w *Work, task int) logs.Stream {
	instance, container := w.place(task)
	s := e.instanceStream(r, instance)
	switch {
	case container > 0:
		s.Name += "/" + w.Further[container-1].Name
	case len(w.Further) > 0:
		s.Name += "/" + w.First
	}
	return s
}

func (e *Engine) instanceStream(r *resource.Record, instance int) logs.Stream {
	return logs.Stream{
		Account: r.Account, Region: r.Region, Group: e.Group(),
		Name: fmt.Sprintf("%s/%s-%d", r.Name, hostName(instance), r.Created.Unix()),
	}
}

// sides are the streams of an instance's first container beside its own.
func (e *Engine) sides(r *resource.Record, w *Work, task int) []logs.Side {
	instance, container := w.place(task)
	if e.Side == "" || container > 0 {
		return nil
	}
	s := e.instanceStream(r, instance)
	s.Name += "/" + e.Side
	return []logs.Side{{Mark: e.Mark, Stream: s}}
}

// taskID is that of one of the job's tasks, which are counted from 0.
func taskID(uid string, task int) compute.TaskID {
	return compute.TaskID(fmt.Sprintf("%s-%d", uid, task+1))
}

// hostName is how a job's program and its log know one of its hosts.
func hostName(host int) string { return fmt.Sprintf("algo-%d", host+1) }
