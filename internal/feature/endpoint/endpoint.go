package endpoint

import (
	"context"
	"strings"
	"sync"
	"time"

	"clary/internal/budget"
	"clary/internal/compute"
	"clary/internal/identity"
	"clary/internal/job"
	"clary/internal/logs"
	"clary/internal/meter"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/serving"
	"clary/internal/store"
)

// Driver is what an endpoint needs of a driver.
type Driver interface {
	compute.Driver
	compute.Dialer
	compute.Renewer
}

// Catalog has the runtimes that containers run.
type Catalog interface {
	Resolve(ctx context.Context, imageURI string) (runtimes.Runtime, error)
	Ensure(ctx context.Context, rt runtimes.Runtime) (runtimes.State, error)
}

// Output takes a task's spool into a log stream, each line once.
type Output interface {
	// Ensure follows the task's output into s, if nobody does yet.
	Ensure(task compute.TaskID, s logs.Stream, sides ...logs.Side) error
	// Done says whether all size bytes are in.
	Done(ctx context.Context, task compute.TaskID, s logs.Stream, size int64) (bool, error)
	// Forget ends what Ensure began, of a task that is no more.
	Forget(task compute.TaskID)
}

// InstanceMetrics keeps how much is used of instances.
type InstanceMetrics interface {
	// PutFrom adds data of a source up to next, which is beyond its offset or
	// nothing is added.
	PutFrom(ctx context.Context, source string, next int64, data []metrics.Datum) error
	Offset(ctx context.Context, source string) (int64, error) // 0 if unknown
}

// Config is what the feature works with.
type Config struct {
	Store     store.Store
	Driver    Driver
	Catalog   Catalog
	Output    Output
	Logs      logs.Store
	Auth      identity.Authorizer
	Sessions  identity.Sessions
	Instances InstanceMetrics
	Traffic   serving.Traffic // nil: nobody routes
	Capacity  compute.Capacity
	Scale     float64       // divides CPU and memory of an instance type; 0 is 1
	Heir      bool          // a server before this one may go on with requests that it had
	Egress    bool          // containers that are not isolated reach the outside
	Hold      time.Duration // --hold-describe; 0: the defaults of the design
	Wake      func(resource.Key)
	Free      func() error // store.ErrFull when the disk takes no new work
	// Gate says whether hard budgets have room; nil: there are none.
	Gate budget.Gate
	// Record begins the record of a deletion that a budget asks for; nil: there is none.
	Record budget.Record
	// Clock reads the machine's own count of time; nil: the wall clock stands in
	// for it.
	Clock func() meter.Moment
}

// Endpoints serves and reconciles endpoints.
type Endpoints struct {
	Config
	holds job.Holds

	mu      sync.Mutex                       // guards what follows, which is advice
	keys    map[string]resource.Key          // by UID
	waiting map[resource.Key]bool            // for room on the machine: whether there may be some
	began   time.Time                        // of this server's work
	pinged  map[compute.TaskID]time.Time     // when it was last asked whether it is healthy
	used    map[compute.TaskID]compute.Usage // that was put last
}

// New makes the feature.
func New(c Config) *Endpoints {
	if c.Scale <= 0 {
		c.Scale = 1
	}
	if c.Clock == nil {
		c.Clock = func() meter.Moment { return meter.Moment{Awake: time.Now().UnixNano()} }
	}
	if c.Traffic == nil {
		c.Traffic = nobody{}
	}
	return &Endpoints{
		Config: c, holds: job.Holds{Longest: c.Hold}, keys: make(map[string]resource.Key), waiting: make(map[resource.Key]bool),
		pinged: make(map[compute.TaskID]time.Time), used: make(map[compute.TaskID]compute.Usage),
	}
}

// nobody routes requests.
type nobody struct{}

func (nobody) Changed(resource.Key)    {}
func (nobody) Open(compute.TaskID) int { return 0 }

// Name is the service whose operations these are.
func (e *Endpoints) Name() string { return "sagemaker" }

// Kind is the record kind that Reconcile looks after.
func (e *Endpoints) Kind() resource.Kind { return serving.KindEndpoint }

// Changed passes a driver's hint on to the endpoint that the task belongs to,
// and to those that wait for room.
func (e *Endpoints) Changed(id compute.TaskID) {
	uid, _, _ := strings.Cut(string(id), "-")
	e.mu.Lock()
	var keys []resource.Key
	if k, ok := e.keys[uid]; ok {
		keys = append(keys, k)
	}
	for k := range e.waiting {
		e.waiting[k] = true
		keys = append(keys, k)
	}
	e.mu.Unlock()
	for _, k := range keys {
		e.Wake(k)
	}
}

// WakeAll has every endpoint looked at now: after a start, and when a runtime
// was built.
func (e *Endpoints) WakeAll(ctx context.Context) error {
	e.begin()
	for token := ""; ; {
		recs, next, err := e.Store.List(ctx, resource.Query{Kind: serving.KindEndpoint, Token: token, Limit: 1000})
		if err != nil {
			return err
		}
		for _, r := range recs {
			if st, err := readStatus(r); err == nil && rests(r.Phase, &st) {
				continue
			}
			e.track(r)
			e.Wake(r.Key)
		}
		if next == "" {
			return nil
		}
		token = next
	}
}

func (e *Endpoints) track(r *resource.Record) {
	e.mu.Lock()
	e.keys[r.UID] = r.Key
	e.mu.Unlock()
}

// untrack forgets an endpoint that is no more, or of which nothing runs.
func (e *Endpoints) untrack(r *resource.Record) {
	e.mu.Lock()
	delete(e.keys, r.UID)
	delete(e.waiting, r.Key)
	e.mu.Unlock()
}

func (e *Endpoints) forget(id compute.TaskID) {
	e.mu.Lock()
	delete(e.pinged, id)
	delete(e.used, id)
	e.mu.Unlock()
	e.Output.Forget(id)
}

// waits notes whether an endpoint waits for room.
func (e *Endpoints) waits(k resource.Key, yes bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !yes {
		delete(e.waiting, k)
	} else if _, ok := e.waiting[k]; !ok {
		e.waiting[k] = false
	}
}

// roomy says whether something has ended since an endpoint last tried to start
// an instance, so that there may be room for it.
func (e *Endpoints) roomy(k resource.Key) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	yes, ok := e.waiting[k]
	if ok {
		e.waiting[k] = false
	}
	return yes
}

// begin notes when this server's work begins.
func (e *Endpoints) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Heir && e.began.IsZero() {
		e.began = time.Now()
	}
}

func (e *Endpoints) begun() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.began
}

func key(account, region, name string) resource.Key {
	return resource.Key{Account: account, Region: region, Kind: serving.KindEndpoint, Name: name}
}

// group is the log group of an endpoint.
func group(name string) string { return "/aws/sagemaker/Endpoints/" + name }

// stream is that of one container of an instance.
func stream(r *resource.Record, in *instance, task int) logs.Stream {
	s := logs.Stream{Account: r.Account, Region: r.Region, Group: group(r.Name), Name: in.Variant + "/" + in.id(r.UID)}
	if len(in.Tasks) > 1 {
		s.Name += "/" + in.Tasks[task].Container
	}
	return s
}
