package cloudwatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"clary/internal/metrics"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
)

// An alarm is looked at when it is made, when data of its series come, and when
// without any more of them its state would change; between these nothing
// happens. What knows of data is in memory, and all of it can be made anew: an
// alarm is noted before its data are read, and a server that starts looks at
// each once.

// watch knows which alarms watch what.
type watch struct {
	wake func(resource.Key)
	any  atomic.Int64 // alarms

	mu      sync.Mutex // guards what follows
	rules   map[resource.Key]*watching
	by      map[place]map[string]map[resource.Key]*watching // dimensions' sign, alarm
	pending map[resource.Key]int64                          // the minute after whose end to look
	changed chan struct{}                                   // pending has something sooner
}

// place is where series are, but for their dimensions.
type place struct{ account, region, namespace, name string }

type watching struct {
	rule  rule
	state string // as of the last look, or of whoever set it since
	at    place
	sign  string
}

func newWatch(wake func(resource.Key)) *watch {
	return &watch{
		wake: wake, rules: make(map[resource.Key]*watching), by: make(map[place]map[string]map[resource.Key]*watching),
		pending: make(map[resource.Key]int64), changed: make(chan struct{}, 1),
	}
}

func (w *watch) count(account, region string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for k := range w.rules {
		if k.Account == account && k.Region == region {
			n++
		}
	}
	return n
}

func (w *watch) note(k resource.Key, r rule, state string) {
	x := &watching{r, state, place{k.Account, k.Region, r.Namespace, r.Name}, r.Key()}
	w.mu.Lock()
	defer w.mu.Unlock()
	if old := w.rules[k]; old != nil && (old.at != x.at || old.sign != x.sign) {
		w.drop(k)
	}
	w.rules[k] = x
	if w.by[x.at] == nil {
		w.by[x.at] = make(map[string]map[resource.Key]*watching)
	}
	if w.by[x.at][x.sign] == nil {
		w.by[x.at][x.sign] = make(map[resource.Key]*watching)
	}
	w.by[x.at][x.sign][k] = x
	w.any.Store(int64(len(w.rules)))
}

// state notes that an alarm's state was set.
func (w *watch) state(k resource.Key, state string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x := w.rules[k]; x != nil {
		x.state = state
	}
}

func (w *watch) forget(k resource.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(k)
	w.any.Store(int64(len(w.rules)))
}

// drop is for whoever holds mu.
func (w *watch) drop(k resource.Key) {
	x := w.rules[k]
	if x == nil {
		return
	}
	delete(w.rules, k)
	delete(w.pending, k)
	signs := w.by[x.at]
	delete(signs[x.sign], k)
	if len(signs[x.sign]) == 0 {
		delete(signs, x.sign)
	}
	if len(signs) == 0 {
		delete(w.by, x.at)
	}
}

// added has the alarms looked at that watch what was put: at the end of its
// minute; or now, where that has ended or the end can change nothing.
func (w *watch) added(data []metrics.Datum, now time.Time) {
	if w.any.Load() == 0 {
		return
	}
	ended := now.Add(-grace).Unix() / 60
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range data {
		signs := w.by[place{d.Account, d.Region, d.Namespace, d.Name}]
		if signs == nil {
			continue
		}
		d = d.Rolled()
		minute := d.Time.Unix() / 60
		for k, x := range signs[metrics.Series{Namespace: d.Namespace, Name: d.Name, Dimensions: d.Dimensions}.Key()] {
			if minute < ended || x.state != stateAlarm && x.rule.sure(d) {
				w.wake(k)
				continue
			}
			if at, ok := w.pending[k]; !ok || minute < at {
				w.pending[k] = minute
				select {
				case w.changed <- struct{}{}:
				default:
				}
			}
		}
	}
}

// sure says whether a measurement alone makes its period one that breaches.
func (r *rule) sure(d metrics.Datum) bool {
	if !r.lasts() || r.every > 1 {
		return false
	}
	v, _ := statistic(r.Stat, metrics.Point{Sum: d.Sum, Min: d.Min, Max: d.Max, Count: d.Count})
	return r.breaches(v)
}

// run has alarms looked at when a minute ends in which their data came.
func (w *watch) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var at <-chan time.Time
		if next, any := w.flush(time.Now()); any {
			// The wall clock may be set meanwhile.
			timer.Reset(min(time.Until(next), time.Minute))
			at = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		case <-at:
		}
	}
}

// flush wakes those whose minute has ended, and says when the next one has.
func (w *watch) flush(now time.Time) (next time.Time, any bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, minute := range w.pending {
		end := time.Unix((minute+1)*60, 0).Add(grace)
		switch {
		case !now.Before(end):
			delete(w.pending, k)
			w.wake(k)
		case !any || end.Before(next):
			next, any = end, true
		}
	}
	return next, any
}

// Run has alarms looked at as time goes by, until ctx is done.
func (w *CloudWatch) Run(ctx context.Context) { w.watch.run(ctx) }

// WakeAll has every alarm looked at, which makes it known to whoever puts data.
func (w *CloudWatch) WakeAll(ctx context.Context) error {
	q := resource.Query{Kind: KindAlarm, Sort: resource.SortName, Limit: 1000, Short: true}
	for {
		recs, next, err := w.records.List(ctx, q)
		if err != nil {
			return fmt.Errorf("alarms: %w", err)
		}
		for _, r := range recs {
			w.watch.wake(r.Key)
		}
		if q.Token = next; next == "" {
			return nil
		}
	}
}

// Reconcilers look at alarms, and at their histories.
func (w *CloudWatch) Reconcilers() []reconcile.Reconciler {
	return []reconcile.Reconciler{evaluator{w}, sweeper{w.records}}
}

// evaluator evaluates alarms.
type evaluator struct{ *CloudWatch }

// Kind implements reconcile.Reconciler.
func (evaluator) Kind() resource.Kind { return KindAlarm }

// Reconcile implements reconcile.Reconciler.
func (e evaluator) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	rec, err := e.records.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		e.watch.forget(k)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	a, err := readAlarm(rec)
	if err != nil {
		return reconcile.Result{}, err
	}
	r := ruleOf(&a.spec)
	e.watch.note(k, r, a.Phase) // before the data are read: what comes from now on wakes it
	now := time.Now()
	points, err := e.points(ctx, k, &r, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	v := r.decide(points, now, a.Phase)
	due := r.next(points, v)
	if v.state == a.Phase {
		if due.IsZero() {
			return reconcile.Result{}, nil
		}
		return reconcile.Result{After: max(time.Millisecond, time.Until(due))}, nil
	}
	data, err := r.data(v, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	reason := r.reason(v, &a.spec)
	err = e.records.Update(ctx, func(tx store.Tx) error {
		cur, err := tx.Get(k)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if cur.Version != rec.Version {
			return nil // whoever changed it has it looked at
		}
		a, err := readAlarm(cur)
		if err != nil {
			return err
		}
		return a.become(tx, v.state, reason, data, now, due)
	})
	if err == nil {
		e.watch.state(k, v.state)
	}
	return reconcile.Result{}, err
}

// points are the minutes that an evaluation at now may look at, of all units
// unless the alarm names one.
func (w *CloudWatch) points(ctx context.Context, k resource.Key, r *rule, now time.Time) ([]metrics.Point, error) {
	from, to := r.reach(now)
	all, err := w.store.Points(ctx, metrics.Query{
		Account: k.Account, Region: k.Region, Namespace: r.Namespace, Name: r.Name, Dimensions: r.Dimensions,
		Unit: r.Unit, Start: from, End: to, Period: time.Minute,
	})
	return all, err
}
