package endpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/compute"
	"clary/internal/logs"
	"clary/internal/meter"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/serving"
	"clary/internal/store"
)

// Reconcile takes one step for an endpoint.
func (e *Endpoints) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	rec, err := e.Store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	st, err := readStatus(rec)
	if err != nil {
		return reconcile.Result{}, err
	}
	e.track(rec)
	o, rts, err := e.observe(ctx, rec, &st)
	if err != nil {
		return reconcile.Result{}, err
	}
	d := next(rec.Phase, st, o)
	if d.effect == effectDelete {
		return reconcile.Result{}, e.erase(ctx, rec)
	}
	if e.act(ctx, rec, &d, rts); ctx.Err() != nil {
		return reconcile.Result{}, ctx.Err()
	}
	e.waits(k, slices.ContainsFunc(d.st.Fleet, func(in instance) bool { return !in.Crowded.IsZero() }))
	if err := e.tell(ctx, rec, &st, &d.st); err != nil {
		return reconcile.Result{}, err
	}
	switch err := e.commit(ctx, rec, d); {
	case errors.Is(err, errStale):
		return reconcile.Result{After: time.Millisecond}, nil
	case err != nil:
		return reconcile.Result{}, err
	}
	if rests(d.phase, &d.st) {
		e.untrack(rec)
		return reconcile.Result{}, nil
	}
	return reconcile.Result{After: max(d.after, time.Millisecond)}, nil
}

// errStale says that the record changed while it was looked at.
var errStale = errors.New("the endpoint changed meanwhile; looking again")

// act has the decision's effect, and notes in the decision what came of it.
// What goes wrong with one instance keeps nobody from looking after the others.
func (e *Endpoints) act(ctx context.Context, rec *resource.Record, d *decision, rts map[string]runtimes.Runtime) {
	if d.tail != nil {
		e.quote(ctx, rec, d)
	}
	if d.effect == effectNone {
		return
	}
	in := &d.st.Fleet[d.index]
	switch d.effect {
	case effectStart:
		e.start(ctx, rec, d, in, rts)
	case effectRenew:
		e.renew(ctx, rec, d, in)
	case effectHalt:
		for _, t := range in.Tasks {
			if err := e.Driver.Stop(ctx, t.ID, stopGrace); err != nil && !errors.Is(err, compute.ErrNotFound) {
				in.Halted = time.Time{}
				in.again(time.Now(), "stopped", err)
				return
			}
		}
		in.Tries = 0
	case effectRemove:
		for _, t := range in.Tasks {
			if err := e.Driver.Remove(ctx, t.ID); err != nil {
				in.again(time.Now(), "removed", err)
				return
			}
			e.forget(t.ID)
		}
		d.st.Fleet = append(d.st.Fleet[:d.index:d.index], d.st.Fleet[d.index+1:]...)
	case effectNone, effectDelete:
	}
}

// start has the driver accept an instance's tasks.
func (e *Endpoints) start(ctx context.Context, rec *resource.Record, d *decision, in *instance, rts map[string]runtimes.Runtime) {
	dep := d.st.of(in)
	tasks, err := e.tasks(ctx, rec, dep.variant(in.Variant), in, rts)
	for i, t := range tasks {
		if err == nil {
			err = e.Driver.Start(ctx, t)
		}
		if err != nil {
			break
		}
		in.Tasks[i].Launched = true
		in.Expires = t.Identity.Expiration
	}
	now := time.Now()
	switch {
	case err == nil:
		in.Tries, in.Trouble, in.Crowded = 0, "", time.Time{}
	case errors.Is(err, compute.ErrCapacity):
		if in.Crowded.IsZero() {
			in.Crowded = now
		}
		in.tell(msgNoCapacity + " It is tried again.")
		in.After = now.Add(capacityRetry)
	case refused(err):
		in.Refused = "The role " + dep.variant(in.Variant).RoleArn + " cannot be assumed" + because(err.Error()) + "."
	default:
		in.again(now, "started", err)
	}
}

// renew hands an instance's tasks a fresh session of their role. What goes
// wrong with it must not keep anybody from looking after them.
func (e *Endpoints) renew(ctx context.Context, rec *resource.Record, d *decision, in *instance) {
	role := d.st.of(in).variant(in.Variant).RoleArn
	id, err := e.identity(ctx, rec, role)
	for _, t := range in.Tasks {
		if err == nil {
			err = e.Driver.Renew(ctx, t.ID, id)
		}
	}
	if err != nil {
		in.tell("The credentials of " + role + " could not be renewed" + because(err.Error()))
		in.After = time.Now().Add(time.Minute)
		return
	}
	in.Expires = id.Expiration
}

// erase ends the record of an endpoint of which nothing is left.
func (e *Endpoints) erase(ctx context.Context, rec *resource.Record) error {
	err := e.Store.Update(ctx, func(tx store.Tx) error { return tx.Delete(rec.Key) })
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	e.untrack(rec)
	e.Traffic.Changed(rec.Key)
	return nil
}

// observe looks at the tasks, at what answers in them, and at the runtimes of
// instances that have to start.
func (e *Endpoints) observe(ctx context.Context, rec *resource.Record, st *status) (observed, map[string]runtimes.Runtime, error) {
	o := observed{uid: rec.UID, now: time.Now(), clock: e.Clock(), room: e.roomy(rec.Key), tasks: make(map[compute.TaskID]seen), images: make(map[string]image)}
	rts := make(map[string]runtimes.Runtime)
	var ask []compute.TaskID
	var trouble error
	known := 0
	for i := range st.Fleet {
		in := &st.Fleet[i]
		for j, t := range in.Tasks {
			s, err := e.look(ctx, rec, in, j)
			if err != nil {
				trouble = err
				o.tasks[t.ID] = seen{unknown: true}
				continue
			}
			known++
			o.tasks[t.ID] = s
			if in.Away == nil && e.pings(in, t.ID, s.status, o.now) {
				ask = append(ask, t.ID)
			}
		}
		dep := st.of(in)
		if dep == nil || in.Away != nil {
			continue
		}
		v := dep.variant(in.Variant)
		e.measure(ctx, rec, v, in, o)
		if in.launched() || in.idle(o) {
			continue
		}
		for c := range v.Containers {
			e.image(ctx, v.Containers[c].Image, &o, rts)
		}
	}
	if known == 0 && trouble != nil {
		return o, nil, trouble
	}
	if len(ask) > 0 {
		e.ping(ctx, ask, o.tasks)
		o.waited, o.now, o.clock = time.Since(o.now), time.Now(), e.Clock()
	}
	return o, rts, ctx.Err()
}

// look is how a task of an instance stands.
func (e *Endpoints) look(ctx context.Context, rec *resource.Record, in *instance, i int) (seen, error) {
	id := in.Tasks[i].ID
	ts, err := e.Driver.Status(ctx, id)
	if errors.Is(err, compute.ErrNotFound) {
		return seen{}, nil
	}
	if err != nil {
		return seen{}, fmt.Errorf("task status: %w", err)
	}
	s := seen{status: &ts, open: e.Traffic.Open(id)}
	if in.Away != nil && in.Drain && in.Away.Before(e.begun().Add(drainBound)) {
		s.open++ // who knows: a server before this one may still have requests there
	}
	if err := e.Output.Ensure(id, stream(rec, in, i)); err != nil {
		return seen{}, fmt.Errorf("output: %w", err)
	}
	if over(&ts) {
		s.read, err = e.Output.Done(ctx, id, stream(rec, in, i), ts.Spooled)
		if err != nil {
			return seen{}, fmt.Errorf("output: %w", err)
		}
	}
	return s, nil
}

// image has a container's runtime built.
func (e *Endpoints) image(ctx context.Context, uri string, o *observed, rts map[string]runtimes.Runtime) {
	if _, ok := o.images[uri]; ok {
		return
	}
	rt, err := e.Catalog.Resolve(ctx, uri)
	if errors.Is(err, runtimes.ErrUnknownImage) {
		o.images[uri] = image{failed: fmt.Sprintf("The image %q cannot be used: %s.", uri, strings.TrimRight(err.Error(), "."))}
		return
	}
	if err != nil {
		o.images[uri] = image{progress: "The image " + uri + " could not be looked up" + because(err.Error()) + ". It is tried again."}
		return
	}
	if len(rt.Serve) == 0 {
		o.images[uri] = image{failed: fmt.Sprintf("The image %q has no program that serves models: the runtime %s is for jobs alone. Use an inference image.", uri, rt.Title)}
		return
	}
	bs, err := e.Catalog.Ensure(ctx, rt)
	if err != nil {
		o.images[uri] = image{progress: "The runtime " + rt.Title + " could not be built" + because(err.Error()) + ". It is tried again."}
		return
	}
	img := image{ready: bs.Ready, title: rt.Title, progress: bs.Progress}
	if bs.Failed != "" {
		img.failed = "The runtime " + rt.Title + " could not be built: " + bs.Failed
	}
	rt.Image = bs.Image
	o.images[uri], rts[uri] = img, rt
}

// quote adds the last lines of a container that never answered to the reason of
// the failure.
func (e *Endpoints) quote(ctx context.Context, rec *resource.Record, d *decision) {
	const lines = 10
	events, err := e.Logs.Events(ctx, stream(rec, &d.tail.in, d.tail.task), logs.Read{From: -1, Backward: true, Max: lines})
	if err != nil {
		return // it said nothing yet, or it is in the log for whoever looks there
	}
	var said []string
	for _, ev := range events {
		if !strings.HasPrefix(ev.Message, mark) {
			said = append(said, ev.Message)
		}
	}
	if len(said) > 0 {
		d.st.Failure = fit(d.st.Failure, "Its last lines: "+strings.Join(said, "\n"))
	}
}

// mark begins a line of ours in a container's log.
const mark = "[clary] "

// tell writes what a container cannot say itself into its instance's log, each
// line once: the count of lines is the offset, so that a line that was written
// before a crash is not written again.
func (e *Endpoints) tell(ctx context.Context, rec *resource.Record, was, is *status) error {
	before := make(map[int]int, len(was.Fleet))
	for i := range was.Fleet {
		before[was.Fleet[i].N] = was.Fleet[i].Notes
	}
	for i := range is.Fleet {
		in := &is.Fleet[i]
		if in.Notes == before[in.N] {
			continue
		}
		line := []logs.Event{{Timestamp: time.Now().UnixMilli(), Message: mark + in.Said}}
		if err := e.Logs.Ingest(ctx, stream(rec, in, 0), string(in.Tasks[0].ID)+"-notes", int64(before[in.N]), int64(in.Notes), line); err != nil {
			return fmt.Errorf("log: %w", err)
		}
	}
	return nil
}

// commit stores the decision with its usage in one transaction, and has the
// router go by it. The version of rec is the fence.
func (e *Endpoints) commit(ctx context.Context, rec *resource.Record, d decision) error {
	r := *rec
	if err := d.st.write(&r); err != nil {
		return err
	}
	if bytes.Equal(r.Status, rec.Status) && d.phase == rec.Phase {
		return nil
	}
	now := time.Now()
	if d.phase != rec.Phase {
		r.Modified = now
	}
	r.Phase, r.Attempts, r.LastError, r.Due = d.phase, 0, "", time.Time{}
	if !rests(d.phase, &d.st) {
		r.Due = now.Add(d.after)
	}
	err := e.Store.Update(ctx, func(tx store.Tx) error {
		cur, err := tx.Get(rec.Key)
		if err != nil {
			return err
		}
		if cur.Version != rec.Version {
			return errStale // what was decided rests on an older state
		}
		w := r
		if err := tx.Put(&w); err != nil {
			return err
		}
		for _, l := range d.ledger {
			if err := l.write(tx, rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", rec.Name, err)
	}
	if !sameTraffic(rec, &r) {
		e.Traffic.Changed(rec.Key)
	}
	return nil
}

// sameTraffic says whether a router need not look at a record again.
func sameTraffic(was, is *resource.Record) bool {
	a, err := serving.Of(was)
	if err != nil {
		return false
	}
	b, err := serving.Of(is)
	return err == nil && reflect.DeepEqual(a, b)
}

const component = "hosting"

// write keeps a line of the ledger.
func (l entry) write(tx store.Tx, rec *resource.Record) error {
	if l.opens == "" {
		return meter.Close(tx, meter.ID(rec.UID, component, l.n), l.at)
	}
	u := meter.Of(rec, component, meter.InstanceSecond, l.n, 1, l.at)
	u.InstanceType = l.opens
	return meter.Open(tx, u)
}

// refused says whether a role cannot be assumed, whatever is tried again.
func refused(err error) bool {
	e, ok := errors.AsType[*apierr.Error](err)
	return ok && e.Status < 500
}
