package notebook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/compute"
	"clary/internal/logs"
	"clary/internal/meter"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/agent"
	"clary/internal/store"
)

// Reconcile takes one step for a notebook.
func (n *Notebooks) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	rec, err := n.Store.Get(ctx, k)
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
	spec, err := readSpec(rec)
	if err != nil {
		return reconcile.Result{}, err
	}
	n.track(k, st)
	o, rt, err := n.observe(ctx, rec, st, spec)
	if err != nil {
		return reconcile.Result{}, err
	}
	d := next(rec.Phase, st, o)
	n.waits(k, false)
	if d, err = n.act(ctx, rec, st, spec, o, rt, d); err != nil {
		return reconcile.Result{}, err
	}
	if d.effect == effectDelete {
		return reconcile.Result{}, n.erase(ctx, rec)
	}
	for _, id := range []compute.TaskID{st.Task, st.Clear} {
		if id != "" && id != d.st.Task && id != d.st.Clear {
			n.forget(id)
		}
	}
	n.track(k, d.st)
	if err := n.tell(ctx, rec, st.Notes, d.st); err != nil {
		return reconcile.Result{}, err
	}
	cctx, end := n.recorded(ctx, rec, d)
	switch err := end(n.commit(cctx, rec, spec, d)); {
	case errors.Is(err, errStale):
		return reconcile.Result{After: time.Millisecond}, nil
	case err != nil:
		return reconcile.Result{}, err
	case d.rests():
		return reconcile.Result{}, nil
	}
	return reconcile.Result{After: max(d.after, time.Millisecond)}, nil
}

// act has the decision's effect, and says what becomes of the decision by it.
func (n *Notebooks) act(ctx context.Context, rec *resource.Record, st status, spec *request, o observed, rt runtimes.Runtime, d decision) (decision, error) {
	switch d.effect {
	case effectNone:
	case effectForget:
		if err := n.Door.Close(ctx, rec.UID); err != nil {
			return d, fmt.Errorf("end sessions: %w", err)
		}
	case effectHalt:
		if err := n.Driver.Stop(ctx, d.target, stopGrace); err != nil && !errors.Is(err, compute.ErrNotFound) {
			return d, fmt.Errorf("stop task: %w", err)
		}
	case effectRemove:
		if err := n.Driver.Remove(ctx, d.target); err != nil {
			return d, fmt.Errorf("remove task: %w", err)
		}
	case effectVolume:
		if err := n.Driver.EnsureVolume(ctx, volumeID(rec), d.st.Volume<<30); err != nil {
			return d, fmt.Errorf("volume: %w", err)
		}
	case effectStart:
		return n.start(ctx, rec, st, spec, o, rt, d)
	case effectCreated:
		n.created(ctx, d.st.Task)
	case effectWarn:
		n.warn(ctx, st.Idle, &d)
	case effectStop:
		return n.settle(ctx, o, d), nil
	case effectYield:
		return n.save(ctx, o, d), nil
	case effectRenew:
		n.renew(ctx, rec, spec, &d)
	case effectShelter:
		return n.shelter(ctx, rec, st, spec, o, d)
	case effectKeep:
		if err := n.keep(ctx, rec, o.found, &d); err != nil {
			return missed(ctx, rec, st, o, err)
		}
	case effectDelete:
		if err := n.Driver.RemoveVolume(ctx, volumeID(rec)); err != nil {
			return d, fmt.Errorf("remove volume: %w", err)
		}
	}
	return d, nil
}

// start has the driver accept the run.
func (n *Notebooks) start(ctx context.Context, rec *resource.Record, st status, spec *request, o observed, rt runtimes.Runtime, d decision) (decision, error) {
	order, err := n.order(ctx, rec, &d.st, spec)
	if no, ok := errors.AsType[refusal](err); ok {
		d := decision{phase: rec.Phase, st: st}
		d.fail(no.Error(), o)
		return d, nil
	}
	if err != nil {
		return d, fmt.Errorf("order: %w", err)
	}
	if !slices.Equal(d.st.Repos, st.Repos) {
		// Which folder is whose is on record before anything is cloned.
		st.Repos = d.st.Repos
		return decision{phase: rec.Phase, st: st}, nil
	}
	task, err := n.task(ctx, rec, &d.st, spec, rt, order)
	if e, ok := errors.AsType[*apierr.Error](err); ok && e.Status < 500 {
		d := decision{phase: rec.Phase, st: st}
		d.fail("The role "+spec.RoleArn+" cannot be assumed"+because(e.Message), o)
		return d, nil
	}
	if err != nil {
		return d, err
	}
	switch err := n.Driver.Start(ctx, task); {
	case errors.Is(err, compute.ErrCapacity):
		n.waits(rec.Key, true)
		return waiting(rec.Phase, st, o), nil
	case errors.Is(err, compute.ErrNoVolume):
		d := decision{phase: rec.Phase, st: st}
		d.fail("The volume of the notebook instance is not on this machine any more", o)
		return d, nil
	case err != nil:
		return d, fmt.Errorf("start task: %w", err)
	}
	d.st.Expires = task.Identity.Expiration
	return d, n.follow(rec, st.Task)
}

// renew hands the task a fresh session of its role. What goes wrong with it
// must not keep anybody from looking after the task.
func (n *Notebooks) renew(ctx context.Context, rec *resource.Record, spec *request, d *decision) {
	id, err := n.identity(ctx, rec, spec)
	if err == nil {
		err = n.Driver.Renew(ctx, d.st.Task, id)
	}
	if err != nil {
		d.st.tell("The credentials of " + spec.RoleArn + " could not be renewed" + because(err.Error()))
		return
	}
	d.st.Expires = id.Expiration
}

// erase ends the record of a notebook whose volume is destroyed.
func (n *Notebooks) erase(ctx context.Context, rec *resource.Record) error {
	err := n.Store.Update(ctx, func(tx store.Tx) error { return tx.Delete(rec.Key) })
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return err
}

// errStale says that the record changed while it was looked at.
var errStale = errors.New("the notebook instance changed meanwhile; looking again")

// observe looks at the tasks, at what runs in them, and at the runtime while
// there is no task.
func (n *Notebooks) observe(ctx context.Context, rec *resource.Record, st status, spec *request) (o observed, rt runtimes.Runtime, err error) {
	o = observed{uid: rec.UID, now: time.Now(), clock: n.Clock(), lastError: rec.LastError, volume: gigabytes(spec), about: n.about(spec)}
	if st.Clear != "" {
		if o.clear, o.clearRead, err = n.look(ctx, rec, st.Clear); err != nil {
			return o, rt, err
		}
		if o.clear != nil {
			return o, rt, nil // nothing else happens before it is gone
		}
	}
	if st.Task == "" {
		return o, rt, nil
	}
	if o.task, o.taskRead, err = n.look(ctx, rec, st.Task); err != nil {
		return o, rt, err
	}
	if rec.Phase == phaseDeleting {
		return o, rt, n.observeRescue(ctx, rec, st, &o)
	}
	serving := rec.Phase == phasePending || rec.Phase == phaseInService
	switch {
	case !serving, st.Halt != nil:
	case st.Ready != nil:
		return o, rt, n.watch(ctx, rec, st, &o)
	case o.task != nil && o.task.Phase == compute.Running && st.Ready == nil:
		ordered := st.Agent || !st.Launched // the driver had it, and nobody learned of it
		if ordered {
			o.agent = n.state(ctx, st.Task)
		}
		if !ordered || o.agent != nil && o.agent.Phase == agent.Serving {
			o.answers = n.answers(ctx, st.Task)
		}
		o.now, o.clock = time.Now(), n.Clock() // asking took a while
	case o.task == nil && !st.Launched:
		rt, err = n.Catalog.Notebook(ctx)
		if err != nil {
			return o, rt, fmt.Errorf("runtime: %w", err)
		}
		bs, err := n.Catalog.Ensure(ctx, rt)
		if err != nil {
			return o, rt, fmt.Errorf("runtime: %w", err)
		}
		o.image = image{ready: bs.Ready, title: rt.Title, progress: bs.Progress}
		if bs.Failed != "" {
			o.image.failed = "The runtime " + rt.Title + " could not be built: " + bs.Failed
		}
		rt.Image = bs.Image
	}
	return o, rt, nil
}

// look is how a task stands, nil if the driver knows none, and whether all of
// its output is in the log.
func (n *Notebooks) look(ctx context.Context, rec *resource.Record, id compute.TaskID) (*compute.TaskStatus, bool, error) {
	ts, err := n.Driver.Status(ctx, id)
	if errors.Is(err, compute.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("task status: %w", err)
	}
	if err := n.follow(rec, id); err != nil {
		return nil, false, err
	}
	if ts.Phase != compute.Ended && ts.Phase != compute.Lost {
		return &ts, false, nil
	}
	read, err := n.Output.Done(ctx, id, stream(rec), ts.Spooled)
	if err != nil {
		return nil, false, fmt.Errorf("output: %w", err)
	}
	return &ts, read, nil
}

func (n *Notebooks) follow(rec *resource.Record, id compute.TaskID) error {
	if err := n.Output.Ensure(id, stream(rec), sides(rec)...); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}

// tell writes what JupyterLab cannot say itself into the notebook's log, each
// line once: the count of lines is the offset, so that a line that was written
// before a crash is not written again.
func (n *Notebooks) tell(ctx context.Context, rec *resource.Record, was int, st status) error {
	if st.Notes == was {
		return nil
	}
	line := []logs.Event{{Timestamp: time.Now().UnixMilli(), Message: "[clary] " + st.Said}}
	if err := n.Logs.Ingest(ctx, stream(rec), rec.UID+"-notes", int64(was), int64(st.Notes), line); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}

// commit stores the decision with its usage in one transaction. The version
// of rec is the fence.
func (n *Notebooks) commit(ctx context.Context, rec *resource.Record, spec *request, d decision) error {
	r := *rec
	if d.shrink {
		spec.VolumeSizeInGB = &d.st.Volume
		b, err := marshal(spec)
		if err != nil {
			return err
		}
		r.Spec = b
	}
	if err := d.st.write(&r, spec); err != nil {
		return err
	}
	if string(r.Status) == string(rec.Status) && d.phase == rec.Phase && d.open == nil && d.close == nil && !d.grown && !d.rests() {
		return nil
	}
	now := time.Now()
	if d.phase != rec.Phase {
		r.Modified = now
	}
	r.Phase, r.Attempts, r.LastError, r.Due = d.phase, 0, "", time.Time{}
	if !d.rests() {
		r.Due = now.Add(d.after)
	}
	if d.grown {
		d.st.Volumes++
		if err := d.st.write(&r, spec); err != nil {
			return err
		}
	}
	err := n.Store.Update(ctx, func(tx store.Tx) error {
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
		if d.close != nil {
			if err := meter.Close(tx, computeID(rec.UID, d.closed), *d.close); err != nil {
				return err
			}
		}
		if d.open != nil {
			if err := meter.Open(tx, computeUsage(rec, spec, d.st.Bills, *d.open)); err != nil {
				return err
			}
		}
		if d.grown {
			return growVolume(tx, rec, d.st, now)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("notebook instance %s: %w", rec.Name, err)
	}
	return nil
}

const (
	componentCompute = "notebook"
	componentVolume  = "notebook-volume"
)

func computeID(uid string, interval int) string { return meter.ID(uid, componentCompute, interval) }

func computeUsage(rec *resource.Record, spec *request, interval int, at time.Time) resource.Usage {
	u := meter.Of(rec, componentCompute, meter.InstanceSecond, interval, 1, at)
	u.InstanceType = spec.InstanceType
	return u
}

// openVolume starts the volume's newest interval.
func openVolume(tx store.Tx, rec *resource.Record, st status, at time.Time) error {
	return meter.Open(tx, meter.Of(rec, componentVolume, meter.GBSecond, st.Volumes, st.Volume, at))
}

// closeVolume ends it.
func closeVolume(tx store.Tx, uid string, st status, at time.Time) error {
	return meter.Close(tx, meter.ID(uid, componentVolume, st.Volumes), at)
}

// growVolume splits the volume's interval where it has a new size.
func growVolume(tx store.Tx, rec *resource.Record, st status, at time.Time) error {
	before := st
	before.Volumes--
	if err := closeVolume(tx, rec.UID, before, at); err != nil {
		return err
	}
	return openVolume(tx, rec, st, at)
}
