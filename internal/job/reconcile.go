package job

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
func (e *Engine) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	rec, err := e.Store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	waits := false
	defer func() {
		// Whoever has started, ended or failed is in nobody's way any more.
		if !waits && e.Queue.drop(rec) {
			e.wakeWaiting()
		}
	}()
	st, err := ReadStatus(rec)
	if err != nil {
		return reconcile.Result{}, err
	}
	w, err := e.Read(rec)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !Terminal(rec.Phase) || !st.Cleaned {
		e.track(rec)
	}

	o, rts, err := e.observe(ctx, rec, st, w)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !st.Launched && len(rts) > 0 {
		st.Note = e.note(w, rts)
	}
	d := next(rec.Phase, st, o)
	e.Queue.runs(k, d.running(w))
	if Terminal(d.phase) && !Terminal(rec.Phase) && (!d.st.Launched || o.hosts.count() == 0) {
		// There is nothing to wait for: its end and its removal are one step.
		if err := e.remove(ctx, rec, w); err != nil {
			return reconcile.Result{}, err
		}
		d.st.Cleaned = true
	}

	switch d.effect {
	case effectNone, effectAwait:
	case effectStart:
		switch err := e.start(ctx, rec, w, rts, o.hosts); {
		case errors.Is(err, compute.ErrCapacity):
			d, waits = waiting(rec.Phase, st, &e.Family, o.now), !errors.Is(err, errCrowded)
			if waits {
				e.Queue.put(rec, int64(w.tasks()))
			} else {
				d.after = time.Minute // each try takes the room that there is for a moment
			}
		case err != nil:
			return reconcile.Result{}, err
		default:
			d.st.Launched = true
			e.Queue.runs(k, d.running(w))
			for i := range o.hosts {
				if err := e.follow(rec, w, i); err != nil {
					return reconcile.Result{}, err
				}
			}
			d.after = 30 * time.Second
		}
	case effectStop:
		if err := e.stop(ctx, rec, w, o.hosts); err != nil {
			return reconcile.Result{}, err
		}
	case effectRemove, effectDelete:
		if err := e.remove(ctx, rec, w); err != nil {
			return reconcile.Result{}, err
		}
		if d.effect == effectDelete {
			err := e.Store.Update(ctx, func(tx store.Tx) error { return tx.Delete(rec.Key) })
			if errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			return reconcile.Result{}, err
		}
		d.st.Cleaned = true
	}

	if err := e.tell(ctx, rec, w, st.Notes, d.st); err != nil {
		return reconcile.Result{}, err
	}
	switch err := e.commit(ctx, rec, w, d); {
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

// errCrowded says that a job of several instances would not fit if all other
// jobs were over.
var errCrowded = fmt.Errorf("%w beside what is no job", compute.ErrCapacity)

// running is how many tasks the job has on the machine.
func (d decision) running(w *Work) int64 {
	if !d.st.Launched || Terminal(d.phase) || d.phase == phaseDeleting {
		return 0
	}
	return int64(w.tasks())
}

// start has the driver accept the job's tasks, when it is the job's turn: all
// or none, so that no job waits for others with half of its hosts, which wait
// for the rest. Those that a server started before it died are begun anew: what
// they did alone is neither the job's nor billed.
func (e *Engine) start(ctx context.Context, rec *resource.Record, w *Work, rts []runtimes.Runtime, there hosts) (err error) {
	some := false
	if len(there) > 1 {
		e.Queue.start.Lock()
		defer e.Queue.start.Unlock()
		if there.count() > 0 {
			if err := e.clear(ctx, rec, w); err != nil {
				return err
			}
		}
		defer func() {
			if err == nil || !some {
				return
			}
			if no := e.clear(ctx, rec, w); no != nil {
				err = no // the next look goes on
			}
		}()
	}
	if !e.Queue.turn(rec) {
		return compute.ErrCapacity
	}
	tasks, err := e.tasks(ctx, rec, w, rts)
	if err != nil {
		return err
	}
	for i, t := range tasks {
		if err := e.Driver.Start(ctx, t); err != nil {
			if errors.Is(err, compute.ErrCapacity) && len(tasks) > 1 && !e.Queue.fits(int64(len(tasks)), int64(i)) {
				return errCrowded
			}
			return fmt.Errorf("start task: %w", err)
		}
		some = true
	}
	return nil
}

// stop asks those tasks to stop that are not over.
func (e *Engine) stop(ctx context.Context, rec *resource.Record, w *Work, h hosts) error {
	for i, t := range h {
		if over(t) {
			continue
		}
		if err := e.Driver.Stop(ctx, taskID(rec.UID, i), w.grace()); err != nil && !errors.Is(err, compute.ErrNotFound) {
			return fmt.Errorf("stop task: %w", err)
		}
	}
	return nil
}

// remove ends all that there is of a job beside its record.
func (e *Engine) remove(ctx context.Context, rec *resource.Record, w *Work) error {
	if err := e.clear(ctx, rec, w); err != nil {
		return err
	}
	e.forget(rec, w.tasks())
	return nil
}

// clear has the driver forget the job's tasks.
func (e *Engine) clear(ctx context.Context, rec *resource.Record, w *Work) error {
	for i := range w.tasks() {
		if err := e.Driver.Remove(ctx, taskID(rec.UID, i)); err != nil {
			return fmt.Errorf("remove task: %w", err)
		}
	}
	return nil
}

// errStale says that the record changed while it was looked at.
var errStale = errors.New("the job changed meanwhile; looking again")

// due says when the job wants to be looked at again. The end of a job is told
// first; its tasks are removed in a look of its own.
func (d decision) due() time.Time {
	switch {
	case Terminal(d.phase) && d.st.Cleaned:
		return time.Time{}
	case Terminal(d.phase):
		return time.Now()
	case d.after == 0:
		return time.Now().Add(30 * time.Second)
	}
	return time.Now().Add(d.after)
}

// observe looks at the runtimes until all tasks exist, and at the tasks after.
func (e *Engine) observe(ctx context.Context, rec *resource.Record, st Status, w *Work) (observed, []runtimes.Runtime, error) {
	o := observed{now: time.Now(), clock: e.Clock(), hosts: make(hosts, w.tasks()), about: e.about(w)}
	if rec.Phase == phaseDeleting || Terminal(rec.Phase) {
		return o, nil, nil
	}
	for i := range o.hosts {
		ts, err := e.Driver.Status(ctx, taskID(rec.UID, i))
		switch {
		case err == nil:
			o.hosts[i] = &ts
		case !errors.Is(err, compute.ErrNotFound):
			return o, nil, fmt.Errorf("task status: %w", err)
		}
	}
	switch {
	case st.Launched || o.hosts.count() == len(o.hosts):
		e.measure(ctx, rec, w, o.hosts[:w.hosts()])
		var err error
		o.logsDone, err = e.output(ctx, rec, w, o.hosts)
		return o, nil, err
	case st.StopAsked != nil:
		return o, nil, nil
	}
	img, rts, err := e.images(ctx, w)
	o.image = img
	return o, rts, err
}

// output follows what the hosts print, and says whether they are over and all
// of it is in. It is for a job whose hosts are all there: what those print that
// are given up is in no log.
func (e *Engine) output(ctx context.Context, rec *resource.Record, w *Work, h hosts) (done bool, err error) {
	for i, t := range h {
		if t == nil {
			continue
		}
		if err := e.follow(rec, w, i); err != nil {
			return false, err
		}
	}
	for i, t := range h {
		if t == nil {
			continue
		}
		if !over(t) {
			return false, nil
		}
		if done, err := e.Output.Done(ctx, taskID(rec.UID, i), e.stream(rec, w, i), t.Spooled); err != nil {
			return false, fmt.Errorf("output: %w", err)
		} else if !done {
			return false, nil
		}
	}
	return true, nil
}

// images has the runtimes built of an instance's containers, all of them at
// once. Without all of them there are none.
func (e *Engine) images(ctx context.Context, w *Work) (image, []runtimes.Runtime, error) {
	all := image{ready: true}
	var rts []runtimes.Runtime
	for _, uri := range w.images() {
		img, rt, err := e.image(ctx, w, uri)
		if err != nil || img.failed != "" {
			return img, nil, err
		}
		if all.ready {
			all = img
		}
		rts = append(rts, rt)
	}
	return all, rts, nil
}

// image has one runtime built.
func (e *Engine) image(ctx context.Context, w *Work, uri string) (image, runtimes.Runtime, error) {
	rt, err := e.Catalog.Resolve(ctx, uri)
	if errors.Is(err, runtimes.ErrUnknownImage) {
		return image{failed: err.Error()}, rt, nil
	}
	if err != nil {
		return image{}, rt, fmt.Errorf("image: %w", err)
	}
	if !w.named() && (e.Program == nil || len(e.Program(rt)) == 0) {
		return image{failed: e.lacks(uri, rt)}, rt, nil
	}
	bs, err := e.Catalog.Ensure(ctx, rt)
	if err != nil {
		return image{}, rt, fmt.Errorf("runtime: %w", err)
	}
	img := image{ready: bs.Ready, title: rt.Title, progress: bs.Progress}
	if bs.Failed != "" {
		img.failed = "the runtime " + rt.Title + " could not be built: " + bs.Failed
	}
	rt.Image = bs.Image
	return img, rt, nil
}

// lacks says that an image has no program for jobs of this kind.
func (e *Engine) lacks(uri string, rt runtimes.Runtime) string {
	if e.Lacks != nil {
		return e.Lacks(uri, rt)
	}
	why := fmt.Sprintf("the image %s has no %s program; give ContainerEntrypoint and ContainerArguments", uri, e.Word)
	if e.Program != nil {
		why += ", or use a framework image"
	}
	return why
}

func (e *Engine) follow(rec *resource.Record, w *Work, task int) error {
	dims := map[string]string{string(e.Kind()) + "Name": rec.Name}
	if err := e.Output.Ensure(taskID(rec.UID, task), e.stream(rec, w, task), dims, w.Metrics, e.sides(rec, w, task)...); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}

// tell writes what happens before the program can speak into the job's log,
// each line once: the count of lines is the offset, so that a line that was
// written before a crash is not written again.
func (e *Engine) tell(ctx context.Context, rec *resource.Record, w *Work, was int, st Status) error {
	if st.Notes == was {
		return nil
	}
	line := []logs.Event{{Timestamp: time.Now().UnixMilli(), Message: "[clary] " + st.Said}}
	if err := e.Logs.Ingest(ctx, e.stream(rec, w, 0), string(taskID(rec.UID, 0))+"-notes", int64(was), int64(st.Notes), line); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}

// commit stores the decision with its usage in one transaction. The version
// of rec is the fence.
func (e *Engine) commit(ctx context.Context, rec *resource.Record, w *Work, d decision) error {
	if d.st.StopAsked != nil && !Terminal(d.phase) {
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
	err := e.Store.Update(ctx, func(tx store.Tx) error {
		cur, err := tx.Get(rec.Key)
		if err != nil {
			return err
		}
		if cur.Version != rec.Version {
			return errStale // what was decided rests on an older state
		}
		n := r
		if err := tx.Put(&n); err != nil {
			return err
		}
		if d.open != nil {
			u := meter.Of(rec, e.Word, meter.InstanceSecond, 1, int64(w.hosts()), *d.open)
			u.InstanceType = w.InstanceType
			if err := meter.Open(tx, u); err != nil {
				return err
			}
		}
		if d.close != nil {
			return meter.Close(tx, meter.ID(rec.UID, e.Word, 1), d.st.billedTo())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", e.noun(), rec.Name, err)
	}
	return nil
}
