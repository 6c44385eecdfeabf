package courier

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/outbox"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const account, region = "123456789012", "eu-west-1"

// post is a Sender that tests answer for.
type post struct {
	answer func(ctx context.Context, uid string, d *outbox.Delivery) error
	mu     sync.Mutex // guards sent
	sent   map[string]int
}

func (p *post) Send(ctx context.Context, uid string, d *outbox.Delivery) error {
	p.mu.Lock()
	if p.sent == nil {
		p.sent = map[string]int{}
	}
	p.sent[d.To]++
	p.mu.Unlock()
	if p.answer == nil {
		return nil
	}
	return p.answer(ctx, uid, d)
}

func (p *post) times(to string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent[to]
}

func open(t *testing.T) *sqlite.Store {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// run runs a courier until stop is called.
func run(t *testing.T, s store.Store, web, mail Sender) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var loop *reconcile.Loop
	c := New(s, web, mail, func(k resource.Key) { loop.Wake(k) })
	loop = reconcile.New(reconcile.Config{Store: s, Reconcilers: []reconcile.Reconciler{c}, Workers: map[resource.Kind]int{outbox.KindDelivery: Workers}, Owner: resource.NewUID()})
	var wg sync.WaitGroup
	wg.Go(func() { loop.Run(ctx) })
	if err := c.WakeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func() { cancel(); wg.Wait() }
}

func leave(t *testing.T, s store.Store, id string, d outbox.Delivery) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx store.Tx) error { return outbox.Send(tx, account, region, id, d, time.Now()) }); err != nil {
		t.Fatal(err)
	}
}

func look(t *testing.T, s store.Store, id string) outbox.Told {
	t.Helper()
	all, _, err := outbox.List(t.Context(), s, account, region, "", "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.ID == id {
			return d
		}
	}
	return outbox.Told{}
}

func TestRetriesAndEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		tries := 0
		web := &post{answer: func(_ context.Context, _ string, d *outbox.Delivery) error {
			switch d.To {
			case "http://down":
				return errors.New("the receiver answered 500")
			case "http://third":
				if tries++; tries < 3 {
					return errors.New("no answer")
				}
			case "http://gone":
				return &outbox.Final{Err: errors.New("the receiver answered 410")}
			}
			return nil
		}}
		stop := run(t, s, web, nil)
		// later sleeps without a server, which would look each minute
		later := func(d time.Duration) {
			stop()
			time.Sleep(d)
			stop = run(t, s, web, nil)
			time.Sleep(time.Minute)
		}
		defer func() { stop() }()
		begun := time.Now()
		for _, h := range []string{"down", "third", "gone", "up"} {
			leave(t, s, h, outbox.Delivery{Channel: "http", To: "http://" + h})
			leave(t, s, h, outbox.Delivery{Channel: "http", To: "http://" + h}) // as after a crash
		}
		leave(t, s, "pigeon", outbox.Delivery{Channel: "pigeon", To: "roof"})
		leave(t, s, "letter", outbox.Delivery{Channel: "email", To: "a@example.com"})
		time.Sleep(5 * time.Second)
		if d := look(t, s, "up"); d.Phase != outbox.PhaseDelivered || web.times("http://up") != 1 {
			t.Errorf("%+v, sent %d times", d, web.times("http://up"))
		}
		if d := look(t, s, "gone"); d.Phase != outbox.PhaseFailed || d.Reason != "the receiver answered 410" || web.times("http://gone") != 1 {
			t.Errorf("%+v", d)
		}
		if d := look(t, s, "down"); d.Phase != outbox.PhasePending || d.Attempts != 1 || d.Reason != "the receiver answered 500" || d.Due.Before(time.Now()) {
			t.Errorf("%+v", d)
		}
		if d := look(t, s, "pigeon"); d.Phase != outbox.PhaseFailed {
			t.Errorf("%+v", d)
		}
		if d := look(t, s, "letter"); d.Phase != outbox.PhasePending || d.Reason != noMail || d.Attempts != 0 {
			t.Errorf("%+v", d)
		}
		time.Sleep(2 * time.Minute)
		if d := look(t, s, "third"); d.Phase != outbox.PhaseDelivered || web.times("http://third") != 3 || d.Reason != "" {
			t.Errorf("%+v", d)
		}
		if d := look(t, s, "down"); d.Phase != outbox.PhaseFailed || d.Attempts != 4 || web.times("http://down") != 4 || d.Changed.Sub(begun) < time.Minute || d.Changed.Sub(begun) > 70*time.Second {
			t.Errorf("%+v after %s, sent %d times", d, d.Changed.Sub(begun), web.times("http://down"))
		}
		later(8 * 24 * time.Hour)
		if d := look(t, s, "up"); d.ID != "" {
			t.Errorf("still there: %+v", d)
		}
		if d := look(t, s, "down"); d.Phase != outbox.PhaseFailed {
			t.Errorf("%+v", d)
		}
		if d := look(t, s, "letter"); d.Phase != outbox.PhasePending {
			t.Errorf("%+v", d)
		}
		later(90 * 24 * time.Hour)
		if d := look(t, s, "down"); d.ID != "" {
			t.Errorf("still there: %+v", d)
		}
	})
}

// TestMailSetLater: letters that waited for settings leave at once when a start
// brings them.
func TestMailSetLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		stop := run(t, s, &post{}, nil)
		leave(t, s, "letter", outbox.Delivery{Channel: "email", To: "a@example.com"})
		time.Sleep(50 * time.Hour) // it is looked at meanwhile, and keeps its reason
		if d := look(t, s, "letter"); d.Reason != noMail {
			t.Errorf("%+v", d)
		}
		stop()
		mail := &post{}
		defer run(t, s, &post{}, mail)()
		time.Sleep(time.Second)
		if d := look(t, s, "letter"); d.Phase != outbox.PhaseDelivered || mail.times("a@example.com") != 1 {
			t.Errorf("%+v", d)
		}
	})
}

// TestSlowReceivers: many that hang do not hold up a letter, nor one another.
func TestSlowReceivers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		var mu sync.Mutex                // guards failed
		failed := map[string]time.Time{} // when, last
		web := &post{answer: func(ctx context.Context, uid string, d *outbox.Delivery) error {
			if d.To == "http://quick" {
				return nil
			}
			mu.Lock()
			if at, ok := failed[uid]; ok && time.Since(at) < time.Duration(outbox.WebRetry().Min)*time.Second {
				t.Errorf("tried again after %s", time.Since(at))
			}
			mu.Unlock()
			defer func() {
				mu.Lock()
				failed[uid] = time.Now()
				mu.Unlock()
			}()
			select {
			case <-time.After(15 * time.Second):
			case <-ctx.Done():
			}
			return errors.New("no answer")
		}}
		mail := &post{}
		defer run(t, s, web, mail)()
		for i := range 80 {
			leave(t, s, fmt.Sprint("slow", i), outbox.Delivery{Channel: "http", To: "http://slow"})
		}
		time.Sleep(time.Second)
		leave(t, s, "letter", outbox.Delivery{Channel: "email", To: "a@example.com"})
		leave(t, s, "quick", outbox.Delivery{Channel: "http", To: "http://quick"})
		time.Sleep(20 * time.Second)
		if n := web.times("http://slow"); n > 2*perReceiver {
			t.Errorf("%d at a time", n)
		}
		for _, id := range []string{"letter", "quick"} {
			if d := look(t, s, id); d.Phase != outbox.PhaseDelivered || d.Changed.Sub(d.Created) > 15*time.Second {
				t.Errorf("%s after %s: %+v", id, d.Changed.Sub(d.Created), d)
			}
		}
		// who waits for a place keeps count of its attempts: all end, by their policy
		time.Sleep(time.Hour)
		ended, _, err := outbox.List(t.Context(), s, account, region, outbox.PhaseFailed, "", "", 1000)
		if err != nil || len(ended) != 80 || web.times("http://slow") != 4*80 {
			t.Errorf("%d of 80 have ended after %d attempts, %v", len(ended), web.times("http://slow"), err)
		}
	})
}

// TestQueue: a place that is free goes to who waits for it; who got one by its
// own due time meanwhile waits no more, and is not due before its policy says.
func TestQueue(t *testing.T) {
	t.Parallel()
	var woken []string
	c := New(nil, nil, nil, func(k resource.Key) { woken = append(woken, k.Name) })
	key := func(name string) resource.Key { return resource.Key{Kind: outbox.KindDelivery, Name: name} }
	enter := func(name string, want bool) {
		t.Helper()
		if got := c.enter(key(name), "slow", true); got != want {
			t.Fatalf("%s entered: %t", name, got)
		}
	}
	for i := range perReceiver {
		enter(fmt.Sprint(i), true)
	}
	for _, name := range []string{"a", "b", "c", "a"} {
		enter(name, false)
	}
	c.leave("slow", true) // calls a
	enter("b", true)      // is due by itself, and quicker
	if !c.wasCalled(key("a")) || c.wasCalled(key("a")) {
		t.Error("a was to be called once")
	}
	enter("a", false)
	c.leave("slow", true) // calls c, not b
	c.leave("slow", true) // calls a, behind it
	if got := fmt.Sprint(woken); got != "[a c a]" || c.wasCalled(key("b")) {
		t.Errorf("called: %s", got)
	}
	enter("c", true) // before it looked whether it was called
	if c.wasCalled(key("c")) {
		t.Error("c has its place and is called")
	}
	enter("a", true)
	for range perReceiver {
		c.leave("slow", true)
	}
	if len(woken) != 3 || len(c.busy) != 1 || c.busy[""] != 0 || len(c.queue)+len(c.queued)+len(c.called) != 0 {
		t.Errorf("left: %v %v %v %v %v", woken, c.busy, c.queue, c.queued, c.called)
	}
}

// full is a store whose disk is full for a while.
type full struct {
	store.Store
	mu sync.Mutex // guards on
	on bool
}

func (f *full) set(on bool) { f.mu.Lock(); f.on = on; f.mu.Unlock() }

func (f *full) Update(ctx context.Context, fn func(store.Tx) error) error {
	f.mu.Lock()
	on := f.on
	f.mu.Unlock()
	if on {
		return store.ErrFull
	}
	return f.Store.Update(ctx, fn)
}

// TestNotRecorded: what was sent and could not be recorded is recorded later,
// not sent again.
func TestNotRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &full{Store: open(t)}
		web := &post{answer: func(context.Context, string, *outbox.Delivery) error { s.set(true); return nil }}
		defer run(t, s, web, nil)()
		leave(t, s, "one", outbox.Delivery{Channel: "http", To: "http://up"})
		time.Sleep(time.Minute)
		s.set(false)
		time.Sleep(10 * time.Minute)
		if d := look(t, s, "one"); d.Phase != outbox.PhaseDelivered || web.times("http://up") != 1 {
			t.Errorf("%+v, sent %d times", d, web.times("http://up"))
		}
	})
}

// TestStop: an attempt that has begun may end when the server does, for a
// moment; one that hangs is tried again by the next.
func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		web := &post{answer: func(ctx context.Context, _ string, d *outbox.Delivery) error {
			wait := 2 * time.Second
			if d.To == "http://hangs" {
				wait = time.Hour
			}
			select {
			case <-time.After(wait):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		stop := run(t, s, web, nil)
		leave(t, s, "soon", outbox.Delivery{Channel: "http", To: "http://soon"})
		leave(t, s, "hangs", outbox.Delivery{Channel: "http", To: "http://hangs"})
		time.Sleep(time.Second)
		begun := time.Now()
		stop()
		if took := time.Since(begun); took > grace+time.Second {
			t.Errorf("the end took %s", took)
		}
		if d := look(t, s, "soon"); d.Phase != outbox.PhaseDelivered {
			t.Errorf("%+v", d)
		}
		if d := look(t, s, "hangs"); d.Phase != outbox.PhasePending || d.Attempts != 0 {
			t.Errorf("%+v", d)
		}
		quick := &post{}
		defer run(t, s, quick, nil)()
		time.Sleep(2 * time.Minute)
		if d := look(t, s, "hangs"); d.Phase != outbox.PhaseDelivered || quick.times("http://hangs") != 1 || quick.times("http://soon") != 0 {
			t.Errorf("%+v", d)
		}
	})
}
