package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const kind resource.Kind = "Thing"

func key(name string) resource.Key {
	return resource.Key{Account: "123456789012", Region: "us-east-1", Kind: kind, Name: name}
}

// stepper is a Reconciler made of a function.
type stepper func(ctx context.Context, k resource.Key) (reconcile.Result, error)

func (stepper) Kind() resource.Kind { return kind }
func (f stepper) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	return f(ctx, k)
}

type bench struct {
	t    testing.TB
	s    *sqlite.Store
	l    *reconcile.Loop
	stop func()
}

// start runs a loop over a store. In a bubble all of it must be made inside.
func start(t testing.TB, path string, workers int, f stepper) *bench {
	t.Helper()
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := reconcile.New(reconcile.Config{
		Store: s, Reconcilers: []reconcile.Reconciler{f}, Owner: "test",
		Workers: map[resource.Kind]int{kind: workers},
		Log:     slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx)
	}()
	var once sync.Once
	b := &bench{t: t, s: s, l: l, stop: func() {
		once.Do(func() {
			cancel()
			<-ended
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}}
	return b
}

func (b *bench) put(name string, due time.Time) {
	b.t.Helper()
	err := b.s.Update(context.Background(), func(tx store.Tx) error {
		r, err := tx.Get(key(name))
		if errors.Is(err, store.ErrNotFound) {
			r, err = &resource.Record{Key: key(name), UID: resource.NewUID(), Created: time.Now()}, nil
		}
		if err != nil {
			return err
		}
		r.Due, r.Modified = due, time.Now()
		return tx.Put(r)
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) get(name string) *resource.Record {
	b.t.Helper()
	r, err := b.s.Get(context.Background(), key(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// inBubble runs f in virtual time with a loop over f's reconciler.
func inBubble(t *testing.T, workers int, step func(b *bench) stepper, f func(t *testing.T, b *bench)) {
	t.Helper()
	t.Parallel()
	path := filepath.Join(t.TempDir(), "clary.db")
	synctest.Test(t, func(t *testing.T) {
		var b *bench
		ready := make(chan struct{})
		b = start(t, path, workers, func(ctx context.Context, k resource.Key) (reconcile.Result, error) {
			<-ready
			return step(b)(ctx, k)
		})
		close(ready)
		defer b.stop()
		f(t, b)
	})
}

func TestDueNowAndLater(t *testing.T) {
	var looks atomic.Int32
	var last atomic.Int64
	inBubble(t, 4, func(*bench) stepper {
		return func(context.Context, resource.Key) (reconcile.Result, error) {
			looks.Add(1)
			last.Store(time.Now().UnixNano())
			return reconcile.Result{}, nil
		}
	}, func(t *testing.T, b *bench) {
		begin := time.Now()
		b.put("now", begin)
		synctest.Wait()
		if n := looks.Load(); n != 1 {
			t.Fatalf("%d looks at what is due now, want 1", n)
		}
		if d := time.Unix(0, last.Load()).Sub(begin); d != 0 {
			t.Errorf("looked %s late", d)
		}
		b.put("later", begin.Add(3*time.Hour))
		time.Sleep(3*time.Hour - time.Nanosecond)
		synctest.Wait()
		if n := looks.Load(); n != 1 {
			t.Fatalf("%d looks before the due time, want 1", n)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n := looks.Load(); n != 2 {
			t.Fatalf("%d looks at the due time, want 2", n)
		}
		time.Sleep(24 * time.Hour)
		if n := looks.Load(); n != 2 {
			t.Errorf("%d looks a day after, want 2: nothing is due any more", n)
		}
		if r := b.get("later"); !r.Due.IsZero() || r.Version != 1 {
			t.Errorf("due %s, version %d after the look", r.Due, r.Version)
		}
	})
}

func TestAfterIsPersisted(t *testing.T) {
	var looks atomic.Int32
	inBubble(t, 4, func(*bench) stepper {
		return func(context.Context, resource.Key) (reconcile.Result, error) {
			looks.Add(1)
			return reconcile.Result{After: time.Hour}, nil
		}
	}, func(t *testing.T, b *bench) {
		begin := time.Now()
		b.put("x", begin)
		synctest.Wait()
		if r := b.get("x"); !r.Due.Equal(begin.Add(time.Hour)) {
			t.Errorf("due in %s, want 1h", r.Due.Sub(begin))
		}
		time.Sleep(10*time.Hour + time.Minute)
		if n := looks.Load(); n != 11 {
			t.Errorf("%d looks in ten hours, want 11", n)
		}
	})
}

func TestWokenRecordKeepsItsTime(t *testing.T) {
	var looks atomic.Int32
	inBubble(t, 4, func(*bench) stepper {
		return func(context.Context, resource.Key) (reconcile.Result, error) {
			looks.Add(1)
			return reconcile.Result{After: time.Hour}, nil
		}
	}, func(t *testing.T, b *bench) {
		begin := time.Now()
		b.put("x", begin)
		time.Sleep(30 * time.Minute)
		b.l.Wake(key("x"))
		synctest.Wait()
		if r := b.get("x"); looks.Load() != 2 || !r.Due.Equal(begin.Add(time.Hour)) {
			t.Errorf("%d looks, due in %s after the first, want 2 and 1h", looks.Load(), r.Due.Sub(begin))
		}
		time.Sleep(31 * time.Minute)
		if r := b.get("x"); looks.Load() != 3 || !r.Due.Equal(begin.Add(2*time.Hour)) {
			t.Errorf("%d looks, due in %s after the first, want 3 and 2h", looks.Load(), r.Due.Sub(begin))
		}
	})
}

func TestBackoffGrowsAndIsKept(t *testing.T) {
	var mu sync.Mutex
	var at []time.Time
	fail := true
	inBubble(t, 4, func(*bench) stepper {
		return func(context.Context, resource.Key) (reconcile.Result, error) {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Now())
			switch {
			case !fail:
				return reconcile.Result{}, nil
			case len(at)%2 == 0:
				panic("boom")
			}
			return reconcile.Result{}, errors.New("no luck")
		}
	}, func(t *testing.T, b *bench) {
		b.put("x", time.Now())
		time.Sleep(2 * time.Hour)
		r := b.get("x")
		mu.Lock()
		for i := 1; i < len(at); i++ {
			want := min(time.Second<<(min(i, 20)-1), time.Minute)
			if d := at[i].Sub(at[i-1]); d < want*8/10 || d > want*12/10 {
				t.Errorf("look %d after %s, want about %s", i+1, d, want)
			}
		}
		if len(at) < 100 || len(at) > 160 {
			t.Errorf("%d looks in two hours", len(at))
		}
		if r.Attempts != len(at) || r.LastError != "panic: boom" && r.LastError != "no luck" {
			t.Errorf("attempts %d of %d, last error %q", r.Attempts, len(at), r.LastError)
		}
		fail = false
		mu.Unlock()
		time.Sleep(10 * time.Minute)
		if r := b.get("x"); r.Attempts != 0 || r.LastError != "" || !r.Due.IsZero() {
			t.Errorf("after a good look: attempts %d, error %q, due %s", r.Attempts, r.LastError, r.Due)
		}
	})
}

// A step that puts its record and then fails must not run hot, and one that
// leaves a past due time behind must not either.
func TestPutThenFailDoesNotRunHot(t *testing.T) {
	var looks atomic.Int32
	inBubble(t, 4, func(b *bench) stepper {
		return func(_ context.Context, k resource.Key) (reconcile.Result, error) {
			looks.Add(1)
			err := b.s.Update(context.Background(), func(tx store.Tx) error {
				r, err := tx.Get(k)
				if err != nil {
					return err
				}
				r.Status = fmt.Appendf(nil, `{"n":%d}`, looks.Load())
				return tx.Put(r)
			})
			return reconcile.Result{}, errors.Join(err, errors.New("after the put"))
		}
	}, func(t *testing.T, b *bench) {
		b.put("x", time.Now())
		time.Sleep(10 * time.Minute)
		if n := looks.Load(); n < 100 || n > 1000 {
			t.Errorf("%d looks in ten minutes", n)
		}
	})
}

func TestPerKeySerialAndWorkers(t *testing.T) {
	var mu sync.Mutex
	busy := make(map[string]bool)
	most, total := 0, 0
	inBubble(t, 3, func(*bench) stepper {
		return func(_ context.Context, k resource.Key) (reconcile.Result, error) {
			mu.Lock()
			if busy[k.Name] {
				t.Errorf("%s is looked at twice at once", k.Name)
			}
			busy[k.Name] = true
			most, total = max(most, len(busy)), total+1
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			delete(busy, k.Name)
			mu.Unlock()
			return reconcile.Result{}, nil
		}
	}, func(t *testing.T, b *bench) {
		for i := range 20 {
			b.put(fmt.Sprint(i), time.Now())
		}
		for i := range 20 { // woken while waiting or under way: one more look at most
			b.l.Wake(key(fmt.Sprint(i)))
			b.l.Wake(key(fmt.Sprint(i)))
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if most != 3 || total < 20 || total > 40 || len(busy) != 0 {
			t.Errorf("at most %d at once (want 3), %d looks, %d under way", most, total, len(busy))
		}
	})
}

func TestWake(t *testing.T) {
	var looks atomic.Int32
	inBubble(t, 4, func(*bench) stepper {
		return func(context.Context, resource.Key) (reconcile.Result, error) {
			looks.Add(1)
			time.Sleep(time.Second)
			return reconcile.Result{After: time.Hour}, nil
		}
	}, func(t *testing.T, b *bench) {
		b.put("x", time.Time{})
		time.Sleep(time.Minute)
		if n := looks.Load(); n != 0 {
			t.Fatalf("%d looks at what is never due", n)
		}
		b.l.Wake(key("x"))
		synctest.Wait()
		if n := looks.Load(); n != 1 {
			t.Fatalf("%d looks after Wake, want 1", n)
		}
		b.l.Wake(key("x")) // while it is looked at
		time.Sleep(1500 * time.Millisecond)
		if n := looks.Load(); n != 2 {
			t.Errorf("%d looks, want another after the first", n)
		}
		b.l.Wake(key("nobody"))
		b.l.Wake(resource.Key{Kind: "Other", Name: "x"})
		time.Sleep(10 * time.Minute)
		if n := looks.Load(); n != 2 {
			t.Errorf("%d looks, want 2", n)
		}
	})
}

// What is put as due while the record is looked at is looked at right after.
func TestPutDuringLook(t *testing.T) {
	var looks atomic.Int32
	inBubble(t, 4, func(b *bench) stepper {
		return func(context.Context, resource.Key) (reconcile.Result, error) {
			if looks.Add(1) == 1 {
				b.put("x", time.Now()) // as a stop request would
			}
			return reconcile.Result{After: time.Hour}, nil
		}
	}, func(t *testing.T, b *bench) {
		b.put("x", time.Now())
		time.Sleep(time.Second)
		if n := looks.Load(); n != 2 {
			t.Errorf("%d looks, want 2", n)
		}
	})
}

// A long look keeps its lease; a loop that died is replaced at once.
func TestLeaseIsRenewedAndRestartIsTheNextLook(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "clary.db")
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int32
		slow := func(ctx context.Context, _ resource.Key) (reconcile.Result, error) {
			looks.Add(1)
			select {
			case <-time.After(time.Hour):
			case <-ctx.Done():
			}
			return reconcile.Result{}, ctx.Err()
		}
		b := start(t, path, 4, slow)
		b.put("x", time.Now())
		time.Sleep(30 * time.Minute)
		if _, err := b.s.Take(context.Background(), key("x"), "other", time.Now(), time.Now().Add(time.Minute)); !errors.Is(err, store.ErrLeased) {
			t.Errorf("the lease of a long look was taken: %v", err)
		}
		if n := looks.Load(); n != 1 {
			t.Fatalf("%d looks, want 1", n)
		}
		b.stop() // in the middle of the look
		b = start(t, path, 4, slow)
		synctest.Wait()
		if n := looks.Load(); n != 2 {
			t.Errorf("%d looks after a restart, want 2", n)
		}
		time.Sleep(2 * time.Hour)
		if r := b.get("x"); !r.Due.IsZero() || r.Attempts != 0 {
			t.Errorf("due %s, attempts %d: being called off is no failure", r.Due, r.Attempts)
		}
		b.stop()
	})
}

// The way from a wake-up to the look is short: no disk is waited for.
func TestWakeLatency(t *testing.T) {
	seen := make(chan time.Time, 1)
	b := start(t, filepath.Join(t.TempDir(), "clary.db"), 4, func(context.Context, resource.Key) (reconcile.Result, error) {
		seen <- time.Now()
		return reconcile.Result{}, nil
	})
	defer b.stop()
	b.put("x", time.Time{})
	best := time.Hour
	for range 200 {
		begin := time.Now()
		b.l.Wake(key("x"))
		best = min(best, (<-seen).Sub(begin))
	}
	if best > time.Millisecond {
		t.Errorf("at best %s from Wake to Reconcile, want under 1ms", best)
	}
	t.Logf("at best %s", best)
}
