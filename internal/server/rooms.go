package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"clary/internal/blob/folder"
	"clary/internal/compute"
	"clary/internal/console"
	"clary/internal/dataplane"
	"clary/internal/dataplane/router"
	"clary/internal/feature/charges"
	"clary/internal/feature/endpoint"
	"clary/internal/feature/notebook"
	"clary/internal/feature/processing"
	"clary/internal/feature/training"
	"clary/internal/feature/transform"
	"clary/internal/front"
	"clary/internal/identity"
	"clary/internal/job"
	"clary/internal/logs"
	"clary/internal/logs/segment"
	"clary/internal/meter"
	"clary/internal/metrics"
	"clary/internal/outbox"
	"clary/internal/outbox/courier"
	"clary/internal/outbox/smtp"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/runtimes/catalog"
	"clary/internal/service/budgets"
	"clary/internal/service/cloudwatch"
	"clary/internal/service/secretsmanager"
	"clary/internal/service/sns"
	"clary/internal/store/diskfree"
	"clary/internal/store/sqlite"
)

// rooms are the parts of one server.
type rooms struct {
	cfg        Config
	log        *slog.Logger
	store      *sqlite.Store
	blobs      *folder.Store
	logs       *segment.Store
	metrics    metrics.Store
	watch      *cloudwatch.CloudWatch
	sums       *meter.Sums
	samples    *metrics.Samples
	ids        *identity.Identity
	driver     driver
	catalog    *catalog.Catalog
	ingest     *logs.Ingester
	training   *training.Training
	processing *processing.Processing
	transform  *transform.Transform
	notebooks  *notebook.Notebooks
	endpoints  *endpoint.Endpoints
	secrets    *secretsmanager.Service
	books      []meter.Book
	budgets    *budgets.Service
	topics     *sns.Service
	signer     *sns.Signer
	mailer     *smtp.Mailer // or nil
	courier    *courier.Courier
	loop       *reconcile.Loop
	ca         *front.CA
	front      *front.Front
	console    *console.Console
	plane      *dataplane.Plane   // traffic of notebook instances
	router     *router.Router     // requests to endpoints
	cert       *front.Certificate // the operator's own, or nil
	fronts     sync.WaitGroup     // what serves connections, which may outlive the rest
	land       context.CancelFunc // ends what must outlive them
	replacing  atomic.Bool        // another server is about to take the place
	heir       atomic.Pointer[heir]
	closers    []func() error // in the order of opening
}

func (r *rooms) onClose(f func() error) { r.closers = append(r.closers, f) }

func (r *rooms) close() {
	for _, v := range slices.Backward(r.closers) {
		if err := v(); err != nil && !errors.Is(err, net.ErrClosed) {
			r.log.Warn("close", "error", err)
		}
	}
}

// open makes every room. addr is where clients reach us.
func open(ctx context.Context, cfg Config, addr string) (_ *rooms, err error) {
	r := &rooms{cfg: cfg, log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if err := r.openData(); err != nil {
		return nil, err
	}
	if err := r.openCompute(addr); err != nil {
		return nil, err
	}
	capacity, err := r.driver.Probe(ctx)
	if err != nil {
		return nil, fmt.Errorf("compute: %w", err)
	}
	for _, n := range capacity.Notes {
		r.log.Info("compute", "driver", r.driver.Name(), "note", n)
	}
	if err := r.openPlane(addr); err != nil {
		return nil, err
	}
	if err := r.openRouter(); err != nil {
		return nil, err
	}
	if err := r.openNotices(addr); err != nil {
		return nil, err
	}
	r.openFeatures(capacity)
	return r, r.openFront(addr)
}

func (r *rooms) path(parts ...string) string {
	return filepath.Join(append([]string{r.cfg.Data}, parts...)...)
}

func (r *rooms) openData() error {
	st, err := sqlite.Open(r.path("clary.db"), sqlite.Options{Ballast: r.path("ballast")})
	if err != nil {
		return err
	}
	r.store = st
	r.onClose(st.Close)
	if r.blobs, err = folder.Open(folder.Config{Root: r.path("blobs"), Index: st.Objects(), Room: r.room, Log: r.log}); err != nil {
		return err
	}
	r.onClose(r.blobs.Close)
	if r.logs, err = segment.Open(segment.Config{Dir: r.path("logs"), Log: r.log}); err != nil {
		return err
	}
	r.onClose(r.logs.Close)
	r.watch = cloudwatch.New(metrics.New(st.Metrics()), st, func(k resource.Key) { r.loop.Wake(k) })
	r.metrics = r.watch.Metrics()
	r.samples = metrics.NewSamples(st.Samples())
	if r.ids, err = identity.Open(identity.Config{Store: st, Dir: r.path("keys"), Account: r.cfg.Account, StrictRoles: r.cfg.StrictRoles}); err != nil {
		return err
	}
	seal, err := identity.KeyFile(r.path("keys"), "secrets.key")
	if err != nil {
		return err
	}
	r.secrets = secretsmanager.New(st, seal)
	r.books, err = priceBooks(r.cfg.Prices)
	return err
}

// room says whether the disk takes new work.
func (r *rooms) room() error { return diskfree.Check(r.cfg.Data) }

func (r *rooms) openCompute(addr string) error {
	bin, err := unpackTask(r.path("bin"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.path("run"), 0o700); err != nil {
		return err
	}
	if r.ca, err = front.LoadCA(r.path("keys")); err != nil {
		return err
	}
	if err := writeBundle(r.path("run", "ca-bundle.pem"), r.path("keys", "ca.pem")); err != nil {
		return err
	}
	if r.driver, err = newDriver(r.cfg, r.path("tasks"), bin, r.path("run", taskSocket), r.path("run", "ca-bundle.pem"), addr); err != nil {
		return err
	}
	r.onClose(r.driver.Close)
	if r.catalog, err = catalog.New(catalog.Config{Dir: r.path("runtimes"), Driver: r.driver, Environ: os.Getenv, Envs: r.driver.Envs, WheelIndex: r.cfg.WheelIndex}); err != nil {
		return err
	}
	r.onClose(func() error { r.catalog.Close(); return nil })
	return nil
}

func (r *rooms) openFeatures(capacity compute.Capacity) {
	wake := func(k resource.Key) { r.loop.Wake(k) }
	r.ingest = logs.NewIngester(logs.IngesterConfig{
		Store: r.logs, Metrics: r.metrics, Spool: opener(r.driver), Log: r.log,
		Ended: func(task string) { r.taskChanged(compute.TaskID(task)) },
	})
	r.onClose(r.ingest.Close)
	r.budgets = budgets.New(budgets.Config{Store: r.store, Auth: r.ids, Books: r.books, Settle: budgets.Settle, Wake: wake, Log: r.log})
	jobs := job.Config{
		Store: r.store, Driver: r.driver, Catalog: r.catalog, Output: output{r.ingest}, Logs: r.logs,
		Auth: r.ids, Sessions: r.ids, Instances: r.metrics, Capacity: capacity, Scale: r.cfg.InstanceScale, Egress: r.cfg.TaskEgress,
		Hold: r.cfg.HoldDescribe, Wake: wake, Free: r.room, Queue: new(job.Queue), Gate: r.budgets, Record: r.record, Clock: clock(),
	}
	r.training = training.New(training.Config{Config: jobs, Metrics: finals{r.metrics}})
	r.processing = processing.New(jobs)
	r.transform = transform.New(jobs)
	r.openNotebooks(capacity)
	r.openEndpoints(capacity)
	r.budgets.Stoppers = r.stoppers()
	r.loop = reconcile.New(reconcile.Config{
		Store: r.store, Reconcilers: r.features(), Workers: map[resource.Kind]int{outbox.KindDelivery: courier.Workers}, Owner: resource.NewUID(), Log: r.log,
	})
}

func (r *rooms) openFront(addr string) error {
	books := r.books
	r.sums = meter.NewSums(r.store, books)
	if err := r.openConsole(books); err != nil {
		return err
	}
	cfg, err := r.frontConfig(addr)
	if err != nil {
		return err
	}
	cfg.Console, cfg.Audit, cfg.Notebook = r.console, r.recorder().Begin, r.plane
	if err := r.openNames(&cfg); err != nil {
		return err
	}
	usage := usagePath{store: r.store, auth: r.ids, books: books, idle: r.notebooks.Idle}
	cfg.Open = r.openPaths()
	cfg.Private = map[string]front.Private{
		"/_clary/deliveries": deliveriesPath{r.store, r.ids}.serve,
		"/_clary/mail":       r.mailPath,
		"/_clary/usage":      usage.serve,
		"/_clary/forgotten":  forgottenPath{usage, r.metrics}.serve,
		"/_clary/proof":      r.proofPath,
		"/_clary/trails":     trailsPath{r.store, r.ids}.serve,
	}
	r.front, err = front.New(cfg)
	return err
}

// priceBooks are what usage is charged by; own is an operator's price file.
func priceBooks(own string) ([]meter.Book, error) {
	list, err := meter.ListPrices()
	if err != nil {
		return nil, err
	}
	if own != "" {
		f, err := os.Open(own)
		if err != nil {
			return nil, fmt.Errorf("price file: %w", err)
		}
		defer f.Close()
		mine, err := meter.ReadPrices(f, own)
		if err != nil {
			return nil, fmt.Errorf("price file: %w", err)
		}
		list = list.With(mine)
	}
	return []meter.Book{meter.MinuteBook(list), meter.AWSBook(list)}, nil
}

// serve runs until ctx is done, then lets requests in flight end; or until
// another server is to take the place, which it returns. before is one that
// was to, and did not: what was left to it comes back.
func (r *rooms) serve(ctx context.Context, p *place, before *heir, ready func()) (*heir, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, len(p.users)+1)
	asked := make(chan *heir)
	var wg sync.WaitGroup
	defer wg.Wait()

	for _, l := range p.users {
		r.fronts.Go(func() { failed <- r.front.Serve(l) })
	}
	r.fronts.Go(func() { failed <- r.front.ServeTask(p.tasks) })
	flying, land := context.WithCancel(context.WithoutCancel(ctx))
	r.land = land
	r.fronts.Go(func() { r.router.Run(flying) })
	wg.Go(func() { r.listenDoor(ctx, p, asked) })
	wg.Go(func() { r.loop.Run(ctx) })
	wg.Go(func() { r.hints(ctx) })
	wg.Go(func() { r.plane.Run(ctx) })
	wg.Go(func() { r.budgets.Run(ctx) })
	wg.Go(func() { r.health(ctx) })
	wg.Go(func() { r.watch.Run(ctx) })
	wg.Go(func() { charges.Run(ctx, r.charges(ctx)) })
	if before != nil {
		before.settle(same{ctx, r})
	}
	if r.cert != nil {
		hup, stop := hangups()
		defer stop()
		wg.Go(func() { r.reload(ctx, hup) })
	}
	r.catalog.Prepare()
	if err := errors.Join(r.wakeAll(ctx), r.watch.WakeAll(ctx)); err != nil {
		cancel()
		return nil, errors.Join(err, r.shutdown())
	}
	ready()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	case h := <-asked:
		r.leave(h, p)
		cancel()
		return h, nil
	}
	cancel()
	return nil, errors.Join(err, r.shutdown())
}

func (r *rooms) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	r.plane.Shutdown()
	err := r.front.Shutdown(ctx)
	r.land()
	r.fronts.Wait()
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// hints passes on what drivers and builders noticed.
func (r *rooms) hints(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-r.driver.Changes():
			r.taskChanged(id)
		case <-r.catalog.Changes():
			if err := r.wakeAll(ctx); err != nil && ctx.Err() == nil {
				r.log.Warn("wake all", "error", err)
			}
		}
	}
}
