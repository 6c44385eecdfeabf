package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

const (
	defaultWorkers = 16
	defaultLease   = time.Minute
	storeRetry     = time.Second // after the store itself failed
	// longest bounds a wait for a due time, which is of the wall clock: that
	// one may be set, or go on while the machine sleeps.
	longest = time.Minute
)

// Config is what a Loop works with.
type Config struct {
	Store       store.Store
	Reconcilers []Reconciler
	// Workers limits how many records of a kind are looked at at once; 16
	// where it says nothing.
	Workers map[resource.Kind]int
	// Owner marks this loop's leases; no other loop on the store has it.
	Owner string
	// Lease is how long a lease lasts when nobody renews it; 0 is a minute.
	Lease time.Duration
	Log   *slog.Logger // nil is the default logger
}

// Loop looks at due records until it is told to end.
type Loop struct {
	cfg   Config
	kinds map[resource.Kind]*kindLoop
}

// New makes a loop. Two reconcilers of one kind are a mistake of the program.
func New(c Config) *Loop {
	if c.Lease <= 0 {
		c.Lease = defaultLease
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	l := &Loop{cfg: c, kinds: make(map[resource.Kind]*kindLoop)}
	for _, r := range c.Reconcilers {
		if l.kinds[r.Kind()] != nil {
			panic(fmt.Sprintf("two reconcilers for %s", r.Kind()))
		}
		workers := c.Workers[r.Kind()]
		if workers <= 0 {
			workers = defaultWorkers
		}
		l.kinds[r.Kind()] = &kindLoop{
			cfg: &l.cfg, r: r, kind: r.Kind(), workers: workers,
			signal: make(chan struct{}, 1), done: make(chan resource.Key),
			running: make(map[resource.Key]*look),
			woken:   make(map[resource.Key]struct{}),
		}
	}
	return l
}

// Wake has a record looked at now, due or not. It may be called at any time
// and returns at once; a record that is being looked at is looked at again.
func (l *Loop) Wake(k resource.Key) {
	kl := l.kinds[k.Kind]
	if kl == nil {
		return
	}
	kl.mu.Lock()
	kl.woken[k] = struct{}{}
	kl.mu.Unlock()
	select {
	case kl.signal <- struct{}{}:
	default:
	}
}

// Run looks at records until ctx is done, and returns when the last look ended.
func (l *Loop) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, kl := range l.kinds {
		wg.Go(func() { kl.run(ctx) })
	}
	wg.Wait()
}

// kindLoop is the loop of one kind. Its goroutine alone hands out work.
type kindLoop struct {
	cfg     *Config
	r       Reconciler
	kind    resource.Kind
	workers int

	signal chan struct{} // woken has something
	done   chan resource.Key

	running map[resource.Key]*look

	mu    sync.Mutex // guards woken
	woken map[resource.Key]struct{}
}

// look is what shall follow a look that is under way.
type look struct {
	again bool             // it was woken meanwhile
	next  *resource.Record // leased anew: its lease ends a moment before the look does
}

func (kl *kindLoop) run(ctx context.Context) {
	hints := kl.cfg.Store.Watch(ctx, kl.kind)
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := true // something may be
	for {
		var next time.Time
		if ctx.Err() == nil {
			var err error
			if next, err = kl.dispatch(ctx, due); err != nil && ctx.Err() == nil {
				kl.cfg.Log.Error("reconcile: the store does not answer", "kind", kl.kind, "err", err)
				next = time.Now().Add(storeRetry)
			}
			due = false
		}
		timer.Stop()
		var at <-chan time.Time
		if !next.IsZero() {
			timer.Reset(min(max(0, time.Until(next)), longest))
			at = timer.C
		}
		if ctx.Err() != nil && len(kl.running) == 0 {
			return
		}
		ended := ctx.Done()
		if ctx.Err() != nil {
			ended = nil // what is left are the looks under way
		}
		select {
		case <-ended:
		case <-at:
			due = true
		case _, ok := <-hints:
			if !ok {
				hints = nil
			}
			due = true
			for range len(hints) { // one look answers them all
				<-hints
			}
		case <-kl.signal:
		case k := <-kl.done:
			l := kl.running[k]
			delete(kl.running, k)
			if l.again {
				kl.wake(k)
			}
			if l.next != nil {
				kl.start(ctx, l.next)
			}
			due = true
		}
	}
}

func (kl *kindLoop) wake(k resource.Key) {
	kl.mu.Lock()
	kl.woken[k] = struct{}{}
	kl.mu.Unlock()
}

// dispatch starts looks at what was woken and at what is due while workers
// are free, and says when there is more to do.
func (kl *kindLoop) dispatch(ctx context.Context, due bool) (time.Time, error) {
	now := time.Now()
	until := now.Add(kl.cfg.Lease)
	for _, k := range kl.takeWoken() {
		rec, err := kl.cfg.Store.Take(ctx, k, kl.cfg.Owner, now, until)
		switch {
		case err == nil:
			kl.start(ctx, rec)
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrLeased):
			// Gone, or somebody else is at it: they will see what we would.
		default:
			kl.wake(k)
			return time.Time{}, err
		}
	}
	if free := kl.workers - len(kl.running); due && free > 0 {
		recs, err := kl.cfg.Store.Lease(ctx, kl.kind, kl.cfg.Owner, now, until, free)
		if err != nil {
			return time.Time{}, err
		}
		for _, rec := range recs {
			if l := kl.running[rec.Key]; l != nil {
				l.next = rec
				continue
			}
			kl.start(ctx, rec)
		}
	}
	if len(kl.running) >= kl.workers {
		return time.Time{}, nil // whoever ends first brings us back
	}
	return kl.cfg.Store.NextDue(ctx, kl.kind)
}

// takeWoken gives as many woken keys as there are free workers. Of those that
// are being looked at it keeps in mind that they want another look.
func (kl *kindLoop) takeWoken() []resource.Key {
	kl.mu.Lock()
	defer kl.mu.Unlock()
	var out []resource.Key
	for k := range kl.woken {
		if l := kl.running[k]; l != nil {
			l.again = true
			delete(kl.woken, k)
			continue
		}
		if len(kl.running)+len(out) < kl.workers {
			out = append(out, k)
			delete(kl.woken, k)
		}
	}
	return out
}

func (kl *kindLoop) start(ctx context.Context, rec *resource.Record) {
	kl.running[rec.Key] = &look{}
	go func() {
		defer func() { kl.done <- rec.Key }()
		kl.look(ctx, rec)
	}()
}

// look lets the reconciler take a step and records how it went.
func (kl *kindLoop) look(ctx context.Context, rec *resource.Record) {
	held, drop := context.WithCancelCause(ctx)
	defer drop(nil)
	stop := kl.renew(held, drop, rec.Key)
	res, err := kl.step(held, rec.Key)
	stop()

	// The end of a look is recorded even when the loop is told to end.
	rctx := context.WithoutCancel(ctx)
	out := outcome{version: rec.Version}
	switch {
	case err == nil:
		if res.After > 0 {
			out.due = time.Now().Add(res.After)
			// A woken record that is due before then stays so: no look is
			// missed, and a look that changes nothing writes nothing.
			if rec.Due.After(time.Now()) && rec.Due.Before(out.due) {
				out.due = rec.Due
			}
		}
	case held.Err() != nil:
		// Called off: as if there had been no look.
		out.due, out.attempts, out.lastError = rec.Due, rec.Attempts, rec.LastError
	default:
		kl.cfg.Log.Warn("reconcile failed", "kind", kl.kind, "name", rec.Name, "attempts", rec.Attempts+1, "err", err)
		out = kl.failed(rctx, rec, err)
	}
	if err := kl.cfg.Store.Release(rctx, rec.Key, kl.cfg.Owner, out.version, out.due, out.attempts, out.lastError); err != nil {
		kl.cfg.Log.Error("reconcile: a look's end was not recorded", "kind", kl.kind, "name", rec.Name, "err", err)
		select { // it may be due still
		case <-time.After(storeRetry):
		case <-ctx.Done():
		}
	}
}

// outcome is what Release is told.
type outcome struct {
	version   int64
	due       time.Time
	attempts  int
	lastError string
}

// failed postpones the next look. A record that was put during the look keeps
// no claim to an immediate one, or a step that puts and then fails would run
// hot; but what put it may be urgent, so it waits no longer than the first time.
func (kl *kindLoop) failed(ctx context.Context, rec *resource.Record, err error) outcome {
	out := outcome{version: rec.Version, attempts: rec.Attempts + 1, lastError: clip(err.Error())}
	wait := backoff(out.attempts)
	if cur, err := kl.cfg.Store.Get(ctx, rec.Key); err == nil && cur.Version != rec.Version {
		out.version, wait = cur.Version, backoff(1)
	}
	out.due = time.Now().Add(wait)
	return out
}

// step runs the reconciler; a panic is an error like another.
func (kl *kindLoop) step(ctx context.Context, k resource.Key) (res Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			kl.cfg.Log.Error("reconcile panicked", "kind", kl.kind, "name", k.Name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return kl.r.Reconcile(ctx, k)
}

// renew prolongs the lease until stop is called. When the lease is lost it
// calls the look off.
func (kl *kindLoop) renew(ctx context.Context, drop context.CancelCauseFunc, k resource.Key) (stop func()) {
	every := kl.cfg.Lease / 3
	var t *time.Timer
	var mu sync.Mutex // guards t and ended
	ended := false
	again := func() {}
	again = func() {
		err := kl.cfg.Store.Renew(ctx, k, kl.cfg.Owner, time.Now().Add(kl.cfg.Lease))
		if errors.Is(err, store.ErrLeased) {
			drop(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			t = time.AfterFunc(every, again)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	t = time.AfterFunc(every, again)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
		t.Stop()
	}
}
