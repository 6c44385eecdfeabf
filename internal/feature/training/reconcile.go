package training

import (
	"context"
	"errors"
	"fmt"
	"time"

	"clary/internal/compute"
	"clary/internal/logs"
	"clary/internal/meter"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/store"
)

// Reconcile takes one step for a job.
func (t *Training) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	rec, err := t.Store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	waits := false
	defer func() {
		// Whoever has started, ended or failed is in nobody's way any more.
		if !waits && t.queue.drop(rec) {
			t.wakeWaiting()
		}
	}()
	st, err := readStatus(rec)
	if err != nil {
		return reconcile.Result{}, err
	}
	spec, err := readSpec(rec)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !terminal(rec.Phase) || !st.Cleaned {
		t.track(rec)
	}

	o, rt, err := t.observe(ctx, rec, st, spec)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !st.Launched && rt.Recipe != "" {
		st.Note = t.note(spec, rt)
	}
	d := next(rec.Phase, st, o)
	if terminal(d.phase) && !terminal(rec.Phase) && o.task == nil {
		// There is nothing to wait for: its end and its removal are one step.
		if err := t.remove(ctx, rec); err != nil {
			return reconcile.Result{}, err
		}
		d.st.Cleaned = true
	}

	switch d.effect {
	case effectNone, effectAwait:
	case effectStart:
		switch err := t.start(ctx, rec, spec, rt); {
		case errors.Is(err, compute.ErrCapacity):
			d, waits = waiting(rec.Phase, d.st, o.now), true
			t.queue.put(rec)
		case err != nil:
			return reconcile.Result{}, err
		default:
			d.st.Launched = true
			if err := t.follow(rec, d.st, spec); err != nil {
				return reconcile.Result{}, err
			}
			d.after = 30 * time.Second
		}
	case effectStop:
		if err := t.Driver.Stop(ctx, taskID(rec.UID), stopGrace); err != nil && !errors.Is(err, compute.ErrNotFound) {
			return reconcile.Result{}, fmt.Errorf("stop task: %w", err)
		}
	case effectRemove, effectDelete:
		if err := t.remove(ctx, rec); err != nil {
			return reconcile.Result{}, err
		}
		if d.effect == effectDelete {
			err := t.Store.Update(ctx, func(tx store.Tx) error { return tx.Delete(rec.Key) })
			if errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			return reconcile.Result{}, err
		}
		d.st.Cleaned = true
	}

	if err := t.tell(ctx, rec, st.Notes, d.st); err != nil {
		return reconcile.Result{}, err
	}
	switch err := t.commit(ctx, rec, spec, d); {
	case errors.Is(err, errStale):
		return reconcile.Result{After: time.Millisecond}, nil
	case err != nil:
		return reconcile.Result{}, err
	}
	if due := d.due(); !due.IsZero() {
		return reconcile.Result{After: max(time.Until(due), time.Millisecond)}, nil
	}
	return reconcile.Result{}, nil
}

// start has the driver accept the job's task, when it is the job's turn.
func (t *Training) start(ctx context.Context, rec *resource.Record, spec *request, rt runtimes.Runtime) error {
	if !t.queue.turn(rec) {
		return compute.ErrCapacity
	}
	task, err := t.task(ctx, rec, spec, rt)
	if err != nil {
		return err
	}
	if err := t.Driver.Start(ctx, task); err != nil {
		return fmt.Errorf("start task: %w", err)
	}
	return nil
}

func (t *Training) remove(ctx context.Context, rec *resource.Record) error {
	if err := t.Driver.Remove(ctx, taskID(rec.UID)); err != nil {
		return fmt.Errorf("remove task: %w", err)
	}
	t.forget(rec)
	return nil
}

// errStale says that the record changed while it was looked at.
var errStale = errors.New("the job changed meanwhile; looking again")

// due says when the job wants to be looked at again. The end of a job is told
// first; its task is removed in a look of its own.
func (d decision) due() time.Time {
	switch {
	case terminal(d.phase) && d.st.Cleaned:
		return time.Time{}
	case terminal(d.phase):
		return time.Now()
	case d.after == 0:
		return time.Now().Add(30 * time.Second)
	}
	return time.Now().Add(d.after)
}

// observe looks at the runtime until the task exists, and at the task after.
func (t *Training) observe(ctx context.Context, rec *resource.Record, st status, spec *request) (observed, runtimes.Runtime, error) {
	o := observed{now: time.Now(), about: t.about(spec)}
	var rt runtimes.Runtime
	if rec.Phase == phaseDeleting || terminal(rec.Phase) {
		return o, rt, nil
	}
	ts, err := t.Driver.Status(ctx, taskID(rec.UID))
	switch {
	case err == nil:
		o.task = &ts
		if err := t.follow(rec, st, spec); err != nil {
			return o, rt, err
		}
		if ts.Phase == compute.Ended || ts.Phase == compute.Lost {
			o.logsDone, err = t.Output.Done(ctx, taskID(rec.UID), t.stream(rec, st), ts.Spooled)
			if err != nil {
				return o, rt, fmt.Errorf("output: %w", err)
			}
		}
		return o, rt, nil
	case !errors.Is(err, compute.ErrNotFound):
		return o, rt, fmt.Errorf("task status: %w", err)
	case st.Launched || st.StopAsked != nil:
		return o, rt, nil
	}

	rt, err = t.Catalog.Resolve(ctx, spec.AlgorithmSpecification.TrainingImage)
	if errors.Is(err, runtimes.ErrUnknownImage) {
		o.image.failed = err.Error()
		return o, rt, nil
	}
	if err != nil {
		return o, rt, fmt.Errorf("image: %w", err)
	}
	if len(rt.Train) == 0 && len(spec.AlgorithmSpecification.ContainerEntrypoint) == 0 && len(spec.AlgorithmSpecification.ContainerArguments) == 0 {
		o.image.failed = fmt.Sprintf("the image %s has no training program; give ContainerEntrypoint and ContainerArguments, or use a framework image",
			spec.AlgorithmSpecification.TrainingImage)
		return o, rt, nil
	}
	bs, err := t.Catalog.Ensure(ctx, rt)
	if err != nil {
		return o, rt, fmt.Errorf("runtime: %w", err)
	}
	o.image.ready, o.image.title, o.image.progress = bs.Ready, rt.Title, bs.Progress
	if bs.Failed != "" {
		o.image.failed = "the runtime " + rt.Title + " could not be built: " + bs.Failed
	}
	rt.Image = bs.Image
	return o, rt, nil
}

func (t *Training) follow(rec *resource.Record, st status, spec *request) error {
	if err := t.Output.Ensure(taskID(rec.UID), t.stream(rec, st), rec.Name, metricsOf(spec)); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}

// tell writes what happens before the program can speak into the job's log,
// each line once: the count of lines is the offset, so that a line that was
// written before a crash is not written again.
func (t *Training) tell(ctx context.Context, rec *resource.Record, was int, st status) error {
	if st.Notes == was {
		return nil
	}
	line := []logs.Event{{Timestamp: time.Now().UnixMilli(), Message: "[clary] " + st.Said}}
	if err := t.Logs.Ingest(ctx, t.stream(rec, st), string(taskID(rec.UID))+"-notes", int64(was), int64(st.Notes), line); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}

// commit stores the decision with its usage in one transaction. The version
// of rec is the fence.
func (t *Training) commit(ctx context.Context, rec *resource.Record, spec *request, d decision) error {
	if d.st.StopAsked != nil && !terminal(d.phase) {
		d.phase = phaseStopping
	}
	r := *rec
	if err := d.st.write(&r); err != nil {
		return err
	}
	if string(r.Status) == string(rec.Status) && d.phase == rec.Phase && d.open == nil && d.close == nil {
		return nil
	}
	r.Phase, r.Modified, r.Due, r.Attempts, r.LastError = d.phase, time.Now(), d.due(), 0, ""
	err := t.Store.Update(ctx, func(tx store.Tx) error {
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
		if d.open != nil {
			if err := meter.Open(tx, t.usage(rec, spec, *d.open)); err != nil {
				return err
			}
		}
		if d.close != nil {
			slept := time.Duration(d.st.Suspended * float64(time.Second))
			return meter.Close(tx, meter.ID(rec.UID, "training", 1), d.close.Add(-slept))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("training job %s: %w", rec.Name, err)
	}
	return nil
}

func (t *Training) usage(rec *resource.Record, spec *request, at time.Time) resource.Usage {
	u := meter.Of(rec, "training", meter.InstanceSecond, 1, *spec.ResourceConfig.InstanceCount, at)
	u.InstanceType = spec.ResourceConfig.InstanceType
	return u
}
