package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"clary/internal/budget"
	"clary/internal/compute"
	"clary/internal/feature/endpoint"
	"clary/internal/feature/notebook"
	"clary/internal/feature/processing"
	"clary/internal/feature/training"
	"clary/internal/feature/transform"
	engine "clary/internal/job"
	"clary/internal/logs"
	"clary/internal/logs/segment"
	"clary/internal/metrics"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/service/budgets"
	"clary/internal/serving"
	"clary/internal/stage/plan"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

// errDead is what a killed server's rooms answer to their callers, who do not
// live any more either.
var errDead = errors.New("the server was killed")

// life is one life of the server, from start to kill.
type life struct {
	s      *sim
	dead   atomic.Bool
	killed chan struct{}

	store      *sqlite.Store
	logs       *segment.Store
	metrics    metrics.Store
	ingest     *logs.Ingester
	training   *training.Training
	processing *processing.Processing
	transform  *transform.Transform
	books      *notebook.Notebooks
	sites      *endpoint.Endpoints
	budgets    *budgets.Service
	cancel     context.CancelFunc
	ended      chan struct{}
}

// setClock is what a server finds whose machine's clock was set while it was
// away: whatever was due at a time is due at another.
func (l *life) setClock(by time.Duration) error {
	ctx := context.Background()
	if by == 0 {
		return nil
	}
	var recs []*resource.Record
	for _, kind := range []resource.Kind{training.Kind, processing.Kind, transform.Kind, notebook.Kind, serving.KindEndpoint} {
		some, _, err := l.store.List(ctx, resource.Query{Kind: kind, Limit: 1000})
		if err != nil {
			return err
		}
		recs = append(recs, some...)
	}
	return l.store.Update(ctx, func(tx store.Tx) error {
		for _, rec := range recs {
			r, err := tx.Get(rec.Key)
			if err != nil {
				return err
			}
			if r.Due.IsZero() {
				continue
			}
			r.Due = r.Due.Add(by)
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// begin starts the server on what the last life left behind; the clock was set
// since.
func (s *sim) begin(step time.Duration) (*life, error) {
	l := &life{s: s, killed: make(chan struct{}), ended: make(chan struct{})}
	st, err := sqlite.Open(filepath.Join(s.dir, database), sqlite.Options{Readers: 2})
	if err != nil {
		return nil, err
	}
	lg, err := segment.Open(segment.Config{Dir: filepath.Join(s.dir, "logs"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	l.store, l.logs = st, lg
	if err := l.setClock(step); err != nil {
		return nil, errors.Join(err, lg.Close(), st.Close())
	}
	l.metrics = mortalMetrics{metrics.New(st.Metrics()), l}
	drv := &mortalDriver{Driver: s.world.Driver(), l: l}
	var loop *reconcile.Loop
	l.ingest = logs.NewIngester(logs.IngesterConfig{
		Store: mortalLogs{lg, l}, Metrics: l.metrics,
		Spool: func(ctx context.Context, task string, from int64) (io.ReadCloser, error) {
			return drv.Spool(ctx, compute.TaskID(task), from)
		},
		Ended: func(task string) {
			l.changed(compute.TaskID(task))
		},
	})
	db := mortalStore{st, l}
	l.budgets = budgets.New(budgets.Config{Store: db, Auth: nobody{}, Books: simBooks(), Settle: budgets.Settle, Wake: func(k resource.Key) { loop.Wake(k) }, Log: slog.New(s.log)})
	jobs := engine.Config{
		Store: db, Driver: drv, Catalog: &builds{s: s}, Output: output{l.ingest}, Logs: mortalLogs{lg, l},
		Auth: nobody{}, Sessions: nobody{}, Wake: func(k resource.Key) { loop.Wake(k) }, Free: s.room, Queue: new(engine.Queue),
		Gate: l.budgets, Record: l.record(db), Clock: s.moment,
	}
	l.training, l.processing, l.transform = training.New(training.Config{Config: jobs}), processing.New(jobs), transform.New(jobs)
	l.books = notebook.New(notebook.Config{
		Store: db, Driver: drv, Catalog: &builds{s: s}, Output: bookOutput{output{l.ingest}}, Logs: mortalLogs{lg, l},
		Auth: nobody{}, Sessions: nobody{}, Door: mortalDoor{l}, Keeper: mortalKeeper{l}, Wake: func(k resource.Key) { loop.Wake(k) }, Free: s.room,
		Gate: l.budgets, IdleStop: idleStop, Record: l.record(db), Clock: s.moment, Site: func(uid string) string { return uid },
	})
	l.sites = endpoint.New(endpoint.Config{
		Store: db, Driver: drv, Catalog: &builds{s: s}, Output: bookOutput{output{l.ingest}}, Logs: mortalLogs{lg, l},
		Auth: nobody{}, Sessions: nobody{}, Instances: l.metrics, Traffic: mortalTraffic{l}, Wake: func(k resource.Key) { loop.Wake(k) }, Free: s.room,
		Gate: l.budgets, Record: l.record(db), Clock: s.moment,
	})
	l.budgets.Stoppers = []budget.Stopper{l.books.Stopper(), l.sites.Stopper(), l.training.Stopper(), l.processing.Stopper(), l.transform.Stopper()}
	loop = reconcile.New(reconcile.Config{
		Store: db, Reconcilers: []reconcile.Reconciler{l.training, l.processing, l.transform, l.books, l.sites, l.budgets, budgets.Actions{Service: l.budgets}}, Owner: fmt.Sprint("life", s.lives),
		Workers: map[resource.Kind]int{training.Kind: 4, processing.Kind: 4, transform.Kind: 4, notebook.Kind: 4, serving.KindEndpoint: 4}, Log: slog.New(s.log),
	})
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	hints := make(chan struct{})
	go func() {
		defer close(hints)
		for {
			select {
			case <-ctx.Done():
				return
			case id := <-drv.Changes():
				l.changed(id)
			}
		}
	}()
	go func() {
		defer close(l.ended)
		watching := make(chan struct{})
		go func() {
			defer close(watching)
			l.budgets.Run(ctx)
		}()
		loop.Run(ctx)
		<-hints
		<-watching
	}()
	for _, wake := range []func(context.Context) error{l.training.WakeAll, l.processing.WakeAll, l.transform.WakeAll, l.books.WakeAll, l.sites.WakeAll} {
		if err := wake(ctx); err != nil && !errors.Is(err, errDead) {
			return nil, errors.Join(err, l.end())
		}
	}
	return l, nil
}

// changed passes a hint on.
func (l *life) changed(id compute.TaskID) {
	l.training.Changed(id)
	l.processing.Changed(id)
	l.transform.Changed(id)
	l.books.Changed(id)
	l.sites.Changed(id)
}

// kill ends this life at once: from here on it has no effect on the world.
func (l *life) kill() {
	if l.dead.CompareAndSwap(false, true) {
		close(l.killed)
	}
}

// end clears away what a killed process would not have left.
func (l *life) end() error {
	l.kill()
	l.cancel()
	<-l.ended
	return errors.Join(l.ingest.Close(), l.logs.Close(), l.store.Close())
}

// output is the server's own bridge from jobs to the ingester.
type output struct{ in *logs.Ingester }

func (o output) Ensure(task compute.TaskID, st logs.Stream, dims map[string]string, defs []plan.Metric, sides ...logs.Side) error {
	var ds []logs.MetricDefinition
	for _, d := range defs {
		ds = append(ds, logs.MetricDefinition{Name: d.Name, Regex: d.Regex})
	}
	return o.in.Ensure(string(task), st, st.Group, dims, ds, sides...)
}

func (o output) Forget(task compute.TaskID) { o.in.Forget(string(task)) }

func (o output) Done(ctx context.Context, task compute.TaskID, st logs.Stream, size int64) (bool, error) {
	return o.in.Done(ctx, string(task), st, size)
}
