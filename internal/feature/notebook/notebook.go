package notebook

import (
	"context"
	"sync"
	"time"

	"clary/internal/aws/op"
	"clary/internal/budget"
	"clary/internal/compute"
	"clary/internal/identity"
	"clary/internal/logs"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/agent"
	"clary/internal/store"
)

// Driver is what a notebook needs of a driver.
type Driver interface {
	compute.Driver
	compute.Volumes
	compute.Dialer
	compute.Renewer
}

// Catalog has the runtime that notebooks run.
type Catalog interface {
	Notebook(ctx context.Context) (runtimes.Runtime, error)
	Ensure(ctx context.Context, rt runtimes.Runtime) (runtimes.State, error)
}

// Output takes a task's spool into the notebook's log streams, each line once.
type Output interface {
	// Ensure follows the task's output into s, and into sides what is theirs, if
	// nobody does yet.
	Ensure(task compute.TaskID, s logs.Stream, sides ...logs.Side) error
	// Done says whether all size bytes are in.
	Done(ctx context.Context, task compute.TaskID, s logs.Stream, size int64) (bool, error)
	// Forget ends what Ensure began, of a task that is no more.
	Forget(task compute.TaskID)
}

// Door lets browsers into notebooks.
type Door interface {
	// URL is a presigned URL that opens a session of the caller, as long as
	// life, on the notebook.
	URL(ctx context.Context, c op.Call, rec *resource.Record, life time.Duration) (string, error)
	// Close ends the sessions on a notebook and what is open of them.
	Close(ctx context.Context, uid string) error
}

// Config is what the feature works with.
type Config struct {
	Store    store.Store
	Driver   Driver
	Catalog  Catalog
	Output   Output
	Logs     logs.Store
	Auth     identity.Authorizer
	Sessions identity.Sessions
	Door     Door
	Keeper   Keeper
	Capacity compute.Capacity
	Scale    float64 // divides CPU and memory of an instance type; 0 is 1
	Egress   bool    // notebooks with DirectInternetAccess reach the outside
	Wake     func(resource.Key)
	Free     func() error // store.ErrFull when the disk takes no new work
	// IdleStop is after how long without use an instance is stopped, unless a tag
	// of its own says something else; 0: never.
	IdleStop time.Duration
	// Gate says whether hard budgets have room; nil: there are none.
	Gate budget.Gate
	// Record begins the record of what the idle policy and budgets do, as of a
	// call. nil: there is none.
	Record budget.Record
	// Clock reads the machine's own count of time; nil: the wall clock stands
	// in for it.
	Clock func() meter.Moment
	// Site is the host, with its port, that serves a notebook to browsers.
	Site func(uid string) string
}

// Notebooks serves and reconciles notebook instances.
type Notebooks struct {
	Config

	mu      sync.Mutex // guards what follows
	tasks   map[compute.TaskID]resource.Key
	waiting map[resource.Key]bool // for room on the machine; advice, like tasks
}

// New makes the feature.
func New(c Config) *Notebooks {
	if c.Scale <= 0 {
		c.Scale = 1
	}
	if c.Clock == nil {
		c.Clock = func() meter.Moment { return meter.Moment{Awake: time.Now().UnixNano()} }
	}
	return &Notebooks{Config: c, tasks: make(map[compute.TaskID]resource.Key), waiting: make(map[resource.Key]bool)}
}

// Name is the service whose operations these are.
func (n *Notebooks) Name() string { return "sagemaker" }

// Kind is the record kind that Reconcile looks after.
func (n *Notebooks) Kind() resource.Kind { return Kind }

// Changed passes a driver's hint on to the notebook that the task belongs to,
// and to those that wait for room.
func (n *Notebooks) Changed(id compute.TaskID) {
	n.mu.Lock()
	var keys []resource.Key
	if k, ok := n.tasks[id]; ok {
		keys = append(keys, k)
	}
	for k := range n.waiting {
		keys = append(keys, k)
	}
	n.mu.Unlock()
	for _, k := range keys {
		n.Wake(k)
	}
}

// WakeAll has every notebook that is under way looked at now: after a start,
// and when a runtime was built.
func (n *Notebooks) WakeAll(ctx context.Context) error {
	for _, phase := range []string{phasePending, phaseInService, phaseStopping, phaseUpdating, phaseDeleting} {
		for token := ""; ; {
			recs, next, err := n.Store.List(ctx, resource.Query{Kind: Kind, Phase: phase, Token: token, Limit: 1000})
			if err != nil {
				return err
			}
			for _, r := range recs {
				if st, err := readStatus(r); err == nil {
					n.track(r.Key, st)
				}
				n.Wake(r.Key)
			}
			if next == "" {
				break
			}
			token = next
		}
	}
	return nil
}

func (n *Notebooks) track(k resource.Key, st status) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range []compute.TaskID{st.Task, st.Clear} {
		if id != "" {
			n.tasks[id] = k
		}
	}
}

func (n *Notebooks) forget(id compute.TaskID) {
	n.mu.Lock()
	delete(n.tasks, id)
	n.mu.Unlock()
	n.Output.Forget(id)
}

// waits notes whether a notebook waits for room.
func (n *Notebooks) waits(k resource.Key, yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if yes {
		n.waiting[k] = true
	} else {
		delete(n.waiting, k)
	}
}

func key(account, region, name string) resource.Key {
	return resource.Key{Account: account, Region: region, Kind: Kind, Name: name}
}

const logGroup = "/aws/sagemaker/NotebookInstances"

func stream(r *resource.Record) logs.Stream {
	return logs.Stream{Account: r.Account, Region: r.Region, Group: logGroup, Name: r.Name + "/jupyter.log"}
}

// sides are the streams of lifecycle scripts.
func sides(r *resource.Record) (out []logs.Side) {
	for _, name := range []string{agent.StreamOnCreate, agent.StreamOnStart} {
		s := stream(r)
		s.Name = r.Name + "/" + name
		out = append(out, logs.Side{Mark: agent.Mark + name + agent.Mark, Stream: s})
	}
	return out
}

func volumeID(r *resource.Record) compute.VolumeID { return compute.VolumeID(r.UID) }
