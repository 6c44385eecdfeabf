// Package courier takes the outbox's deliveries to where they go. A delivery is
// sent, and then recorded as sent: one that the server dies between is sent
// again at the next start, so each arrives at least once, and carries what a
// receiver tells a repeated one by. What fails for a time is tried again as its
// policy says; what fails for good stays, with the reason.
//
// It must never hold one receiver's slowness against another, nor reach where
// the guard says no. Start at Reconcile.
package courier

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/outbox"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
)

// Workers is how many deliveries are looked at at a time; the channels bound
// how many of them are of one receiver.
const Workers = 64

const (
	keepDelivered = 7 * 24 * time.Hour
	keepFailed    = 90 * 24 * time.Hour
	perReceiver   = 4 // at a time
	allWeb        = Workers * 3 / 4
	grace         = 3 * time.Second // for what is on its way when the server ends
	busyWait      = time.Minute     // at most: who leaves a receiver calls the next
	noMailWait    = 24 * time.Hour  // a start with settings looks at once
	longestReason = 500
)

// noMail is why letters wait on a server without settings for mail.
const noMail = "no mail server is set: start clary serve with --smtp and --mail-from"

// Sender takes a delivery to where it goes, once. A *outbox.Final says that
// another try would fail as well. uid is the same each time that one delivery
// is sent.
type Sender interface {
	Send(ctx context.Context, uid string, d *outbox.Delivery) error
}

// Courier reconciles deliveries.
type Courier struct {
	store     store.Store
	web, mail Sender // mail may be nil
	wake      func(resource.Key)

	mu   sync.Mutex // guards what follows
	busy map[string]int
	ends map[string]ending // by UID, of what could not be recorded
	// queue are those that found their receiver busy, by it; "" is all of the web.
	queue  map[string][]resource.Key
	queued map[resource.Key]string // where
	called map[resource.Key]bool   // of the queue: due whatever their record says
}

// ending is how an attempt ended.
type ending struct {
	err error
	at  time.Time
}

// New makes a courier. mail is nil without settings for it; wake has the loop
// look at a delivery.
func New(s store.Store, web, mail Sender, wake func(resource.Key)) *Courier {
	return &Courier{
		store: s, web: web, mail: mail, wake: wake, busy: map[string]int{}, ends: map[string]ending{},
		queue: map[string][]resource.Key{}, queued: map[resource.Key]string{}, called: map[resource.Key]bool{},
	}
}

// Kind implements reconcile.Reconciler.
func (*Courier) Kind() resource.Kind { return outbox.KindDelivery }

// Reconcile makes one attempt, or forgets what has been over for long.
func (c *Courier) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	called := c.wasCalled(k)
	rec, err := c.store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if end, ok := c.ended(rec.UID); ok {
		return c.record(ctx, rec, end)
	}
	p, err := resource.As[outbox.Progress](rec.Status)
	if err != nil {
		return c.record(ctx, rec, ending{&outbox.Final{Err: err}, time.Now()})
	}
	left := time.Until(rec.Due)
	switch {
	case rec.Phase != outbox.PhasePending && left <= 0:
		return reconcile.Result{}, c.forget(ctx, k)
	case rec.Phase != outbox.PhasePending,
		left > 0 && !called && (!p.NoMail || c.mail == nil): // settings for mail end that wait
		return reconcile.Result{After: max(left, time.Millisecond)}, nil
	}
	d, err := resource.As[outbox.Delivery](rec.Spec)
	if err != nil {
		return c.record(ctx, rec, ending{&outbox.Final{Err: err}, time.Now()})
	}
	by, receiver := c.by(d)
	if by == nil {
		if d.Channel == "email" {
			return c.wait(ctx, rec, p)
		}
		return c.record(ctx, rec, ending{&outbox.Final{Err: fmt.Errorf("nothing is delivered by %q", d.Channel)}, time.Now()})
	}
	if !c.enter(k, receiver, by == c.web) {
		return reconcile.Result{After: busyWait}, nil
	}
	err = send(ctx, by, rec.UID, d)
	c.leave(receiver, by == c.web)
	if err != nil && ctx.Err() != nil {
		return reconcile.Result{}, ctx.Err() // called off: the next start tries
	}
	return c.record(ctx, rec, ending{err, time.Now()})
}

// send lets an attempt that has begun end, for a moment, when the server does.
func send(ctx context.Context, by Sender, uid string, d *outbox.Delivery) error {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		t := time.AfterFunc(grace, cancel)
		context.AfterFunc(own, func() { t.Stop() })
	})()
	return by.Send(own, uid, d)
}

// by is who sends a delivery, and the receiver that it keeps busy.
func (c *Courier) by(d *outbox.Delivery) (Sender, string) {
	switch d.Channel {
	case "http", "https":
		if u, err := url.Parse(d.To); err == nil {
			return c.web, u.Host
		}
		return c.web, d.To
	case "email":
		if c.mail != nil {
			return c.mail, "email"
		}
	}
	return nil, ""
}

// enter takes a place among those that a receiver may keep busy: many that
// hang must not hold up a letter.
func (c *Courier) enter(k resource.Key, receiver string, web bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := perReceiver
	if !web {
		most = Workers - allWeb
	}
	line := ""
	if c.busy[receiver] >= most {
		line = receiver
	}
	if line != "" || web && c.busy[""] >= allWeb {
		if _, had := c.queued[k]; !had {
			c.queued[k] = line
			c.queue[line] = append(c.queue[line], k)
		}
		return false
	}
	// One that came by its own due time waits and is called no more: its next
	// attempt is its policy's.
	if in, had := c.queued[k]; had {
		c.dequeue(in, slices.Index(c.queue[in], k))
	}
	delete(c.called, k)
	c.busy[receiver]++
	if web {
		c.busy[""]++
	}
	return true
}

func (c *Courier) leave(receiver string, web bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[receiver]--; c.busy[receiver] == 0 {
		delete(c.busy, receiver)
	}
	if web {
		c.busy[""]--
	}
	for _, line := range []string{receiver, ""} {
		if q := c.queue[line]; len(q) > 0 {
			k := q[0]
			c.dequeue(line, 0)
			c.called[k] = true
			c.wake(k)
		}
	}
}

func (c *Courier) dequeue(line string, i int) {
	q := c.queue[line]
	delete(c.queued, q[i])
	if i == 0 {
		q = q[1:] // the usual
	} else {
		q = slices.Delete(q, i, i+1)
	}
	if c.queue[line] = q; len(q) == 0 {
		delete(c.queue, line)
	}
}

// wasCalled says, once, whether a delivery was called out of its queue.
func (c *Courier) wasCalled(k resource.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	called := c.called[k]
	delete(c.called, k)
	return called
}

// ended takes the end of an attempt that could not be recorded: it must not be
// made again only because the disk was full.
func (c *Courier) ended(uid string) (ending, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	end, ok := c.ends[uid]
	delete(c.ends, uid)
	return end, ok
}

// record writes how an attempt ended, and when to look again.
func (c *Courier) record(ctx context.Context, rec *resource.Record, end ending) (reconcile.Result, error) {
	var due time.Time
	err := c.store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		r, err := tx.Get(rec.Key)
		if err != nil {
			return err
		}
		now := time.Now()
		r.Modified = now
		p := &outbox.Progress{V: 1}
		if had, err := resource.As[outbox.Progress](r.Status); err == nil { // one that cannot be read begins anew
			p.Attempts = had.Attempts
		}
		r.Phase, r.Due = outbox.PhaseDelivered, now.Add(keepDelivered)
		if end.err != nil {
			p.Attempts++
			p.Reason = clip(end.err.Error())
			r.Phase, r.Due = outbox.PhaseFailed, now.Add(keepFailed)
			if wait, more := again(r, p.Attempts, end); more {
				r.Phase, r.Due = outbox.PhasePending, now.Add(wait)
			}
		}
		due = r.Due
		return put(tx, r, p)
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return reconcile.Result{}, nil
	case err != nil:
		c.mu.Lock()
		c.ends[rec.UID] = end
		c.mu.Unlock()
		return reconcile.Result{}, err
	}
	return reconcile.Result{After: max(time.Until(due), time.Millisecond)}, nil
}

// again says when a delivery is tried again, if it is.
func again(r *resource.Record, attempts int, end ending) (time.Duration, bool) {
	if _, final := errors.AsType[*outbox.Final](end.err); final {
		return 0, false
	}
	d, err := resource.As[outbox.Delivery](r.Spec)
	if err != nil {
		return 0, false
	}
	policy := outbox.WebRetry()
	if d.Channel == "email" {
		policy = outbox.MailRetry()
	}
	if d.Retry != nil {
		policy = *d.Retry
	}
	wait, more := policy.Wait(attempts)
	return wait + rand.N(wait/10+1), more // receivers of many are not met by all at once
}

// wait leaves a letter until there are settings for mail.
func (c *Courier) wait(ctx context.Context, rec *resource.Record, p *outbox.Progress) (reconcile.Result, error) {
	if p.NoMail {
		return reconcile.Result{After: noMailWait}, nil
	}
	err := c.store.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(rec.Key)
		if err != nil {
			return err
		}
		r.Due = time.Now().Add(noMailWait)
		return put(tx, r, &outbox.Progress{V: 1, Attempts: p.Attempts, Reason: noMail, NoMail: true})
	})
	return reconcile.Result{After: noMailWait}, err
}

func (c *Courier) forget(ctx context.Context, k resource.Key) error {
	err := c.store.Update(ctx, func(tx store.Tx) error { return tx.Delete(k) })
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// WakeAll has letters looked at that wait for settings, which a start may bring.
func (c *Courier) WakeAll(ctx context.Context) error {
	if c.mail == nil {
		return nil
	}
	q := resource.Query{Kind: outbox.KindDelivery, Phase: outbox.PhasePending, Limit: 1000}
	for {
		recs, next, err := c.store.List(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range recs {
			p, err := resource.As[outbox.Progress](r.Status)
			if err == nil && p.NoMail {
				c.wake(r.Key)
			}
		}
		if q.Token = next; next == "" {
			return nil
		}
	}
}

func put(tx store.Tx, r *resource.Record, p *outbox.Progress) (err error) {
	if r.Status, err = json.Marshal(p); err != nil {
		return err
	}
	return tx.Put(r)
}

func clip(s string) string {
	if len(s) > longestReason {
		s = s[:longestReason]
	}
	return s
}
