package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/feature/notebook"
	"clary/internal/identity"
	"clary/internal/logs"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/serving"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

// around brackets an effect by two points at which the server may be killed:
// then the effect did not happen, or it did and nobody learned of it.
func (l *life) around(what string, effect func() error) error {
	if l.dead.Load() || l.s.point(l, "before "+what) {
		return errDead
	}
	err := effect()
	if l.s.point(l, "after "+what) || l.dead.Load() {
		return errDead
	}
	return err
}

// asked is for what has no effect.
func asked[T any](l *life, ask func() (T, error)) (T, error) {
	var zero T
	if l.dead.Load() {
		return zero, errDead
	}
	v, err := ask()
	if l.dead.Load() {
		return zero, errDead
	}
	return v, err
}

// mortalStore is the store as long as the server lives.
type mortalStore struct {
	*sqlite.Store
	l *life
}

func (m mortalStore) Get(ctx context.Context, k resource.Key) (*resource.Record, error) {
	return asked(m.l, func() (*resource.Record, error) { return m.Store.Get(ctx, k) })
}

func (m mortalStore) Lease(ctx context.Context, kind resource.Kind, owner string, now, until time.Time, limit int) ([]*resource.Record, error) {
	return asked(m.l, func() ([]*resource.Record, error) { return m.Store.Lease(ctx, kind, owner, now, until, limit) })
}

func (m mortalStore) Take(ctx context.Context, k resource.Key, owner string, now, until time.Time) (*resource.Record, error) {
	return asked(m.l, func() (*resource.Record, error) { return m.Store.Take(ctx, k, owner, now, until) })
}

func (m mortalStore) NextDue(ctx context.Context, kind resource.Kind) (time.Time, error) {
	return asked(m.l, func() (time.Time, error) { return m.Store.NextDue(ctx, kind) })
}

func (m mortalStore) Release(ctx context.Context, k resource.Key, owner string, version int64, due time.Time, attempts int, lastError string) error {
	return m.l.around("release", func() error { return m.Store.Release(ctx, k, owner, version, due, attempts, lastError) })
}

func (m mortalStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	return m.l.around("transaction", func() error {
		if err := m.l.s.noRoom(); err != nil {
			return err
		}
		var seen notes
		err := m.Store.Update(ctx, func(tx store.Tx) error {
			seen = notes{life: m.l, policy: ctx.Value(policyKey{}) != nil}
			return fn(lawfulTx{tx, &seen})
		})
		if err == nil {
			for _, b := range seen.broken {
				m.l.s.fail("%s", b)
			}
			m.l.s.turned(seen.turns)
			m.l.s.directed(seen.sites)
		}
		return err
	})
}

// notes are what a transaction did that is worth to be known once it is done.
type notes struct {
	life   *life
	broken []string
	policy bool   // it is one of the idle policy
	turns  []turn // of notebooks
	sites  []siteTurn
}

// lawfulTx sees to it that what is over stays over, and that a notebook's
// status goes from one to the next as on AWS.
type lawfulTx struct {
	store.Tx
	seen *notes
}

func (x lawfulTx) Put(r *resource.Record) error {
	old, err := x.Get(r.Key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if r.Kind == notebook.Kind {
		x.turn(old, r)
		return x.Tx.Put(r)
	}
	if r.Kind == serving.KindEndpoint {
		x.siteTurn(old, r)
		return x.Tx.Put(r)
	}
	switch {
	case err != nil:
	case over(old.Phase) && r.Phase != old.Phase && r.Phase != "Deleting",
		old.Phase == "Deleting" && r.Phase != old.Phase,
		old.Phase == "Stopping" && r.Phase == "InProgress":
		x.seen.broken = append(x.seen.broken, fmt.Sprintf("%s went from %s to %s", r.Name, old.Phase, r.Phase))
	}
	return x.Tx.Put(r)
}

func over(phase string) bool { return phase == "Completed" || phase == "Failed" || phase == "Stopped" }

// mortalLogs is the log store as long as the server lives.
type mortalLogs struct {
	logs.Store
	l *life
}

func (m mortalLogs) Ingest(ctx context.Context, st logs.Stream, task string, from, next int64, events []logs.Event) error {
	return m.l.around("ingest", func() error {
		if err := m.l.s.noRoom(); err != nil {
			return err
		}
		return m.Store.Ingest(ctx, st, task, from, next, events)
	})
}

func (m mortalLogs) Offset(ctx context.Context, st logs.Stream, task string) (int64, error) {
	return asked(m.l, func() (int64, error) { return m.Store.Offset(ctx, st, task) })
}

// mortalMetrics are the metrics as long as the server lives.
type mortalMetrics struct {
	metrics.Store
	l *life
}

func (m mortalMetrics) PutFrom(ctx context.Context, task string, next int64, data []metrics.Datum) error {
	return m.l.around("metrics", func() error {
		if err := m.l.s.noRoom(); err != nil {
			return err
		}
		return m.Store.PutFrom(ctx, task, next, data)
	})
}

func (m mortalMetrics) Offset(ctx context.Context, task string) (int64, error) {
	return asked(m.l, func() (int64, error) { return m.Store.Offset(ctx, task) })
}

// mortalDriver is the driver as long as the server lives. Now and then it
// fails, before or after it did what it was asked.
type mortalDriver struct {
	*fake.Driver
	l *life
}

var errFlaky = errors.New("the driver hiccups")

func (d *mortalDriver) act(what string, effect func() error) error {
	return d.l.around(what, func() error {
		switch d.l.s.roll(40) {
		case 0:
			return errFlaky
		case 1:
			if err := effect(); err != nil {
				return err
			}
			return errFlaky
		}
		return effect()
	})
}

func (d *mortalDriver) Start(ctx context.Context, t compute.Task) error {
	d.l.s.named(t)
	return d.act("start", func() error {
		if d.l.s.roll(8) == 0 || d.l.s.crowded(t.ID) {
			return compute.ErrCapacity
		}
		if err := d.l.s.noRoom(); err != nil {
			return err
		}
		return d.Driver.Start(ctx, t)
	})
}

func (d *mortalDriver) Stop(ctx context.Context, id compute.TaskID, grace time.Duration) error {
	return d.act("stop", func() error {
		d.l.s.halted(d.l, id)
		return d.Driver.Stop(ctx, id, grace)
	})
}

func (d *mortalDriver) Remove(ctx context.Context, id compute.TaskID) error {
	return d.act("remove", func() error {
		d.l.s.removed(ctx, d.l, d.Driver, id)
		return d.Driver.Remove(ctx, id)
	})
}

func (d *mortalDriver) Status(ctx context.Context, id compute.TaskID) (compute.TaskStatus, error) {
	return asked(d.l, func() (compute.TaskStatus, error) {
		if d.l.s.roll(6) == 0 {
			return compute.TaskStatus{}, errFlaky
		}
		st, err := d.Driver.Status(ctx, id)
		if err == nil {
			d.l.s.clocks(id, &st)
		}
		return st, err
	})
}

// builds is a catalog whose runtimes take a while, and whose builds may fail
// once.
type builds struct{ s *sim }

func (b *builds) Resolve(context.Context, string) (runtimes.Runtime, error) {
	return runtimes.Runtime{ID: "rt", Recipe: "rt", Title: "a runtime", Train: []string{"train"}, Serve: []string{"serve"}}, nil
}

func (b *builds) Notebook(context.Context) (runtimes.Runtime, error) {
	return runtimes.Runtime{ID: "nb", Recipe: "nb", Title: "JupyterLab", Serve: []string{"serve"}}, nil
}

func (b *builds) Ensure(context.Context, runtimes.Runtime) (runtimes.State, error) {
	if n := b.s.roll(10); n < 3 {
		return runtimes.State{Progress: fmt.Sprintf("installing %d packages", n)}, nil
	}
	return runtimes.State{Ready: true}, nil
}

func (b *builds) Changes() <-chan string { return nil }

// nobody allows everything and makes sessions of nothing.
type nobody struct{}

func (nobody) Allow(context.Context, resource.Principal, string, string) error    { return nil }
func (nobody) PassRole(context.Context, resource.Principal, string, string) error { return nil }
func (nobody) Assume(context.Context, string, string, time.Duration) (identity.Credentials, error) {
	return identity.Credentials{}, nil
}
