package sns

import (
	"context"
	"errors"
	"time"

	"clary/internal/aws/arn"
	"clary/internal/outbox"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"

	"github.com/go-json-experiment/json"
)

const (
	fanPage      = 200                // deliveries of one transaction
	keepTold     = 8 * 24 * time.Hour // longer than what was delivered: it is not made again
	keepUntold   = 90 * 24 * time.Hour
	reasonNoSuch = "Topic does not exist"
)

// fanout makes deliveries of publications.
type fanout struct{ *Service }

// Kind implements reconcile.Reconciler.
func (fanout) Kind() resource.Kind { return outbox.KindPublication }

// Reconcile leaves a delivery for each subscription that a publication passes.
// Each has a name of publication and subscription, so doing it again after a
// crash leaves none twice.
func (s fanout) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	rec, err := s.store.Get(ctx, k)
	if err != nil {
		return reconcile.Result{}, gone(err)
	}
	if rec.Phase != outbox.PhasePending {
		if left := time.Until(rec.Due); left > 0 {
			return reconcile.Result{After: left}, nil
		}
		return reconcile.Result{}, gone(s.store.Update(ctx, func(tx store.Tx) error { return tx.Delete(k) }))
	}
	p, err := resource.As[outbox.Publication](rec.Spec)
	if err != nil {
		return s.end(ctx, rec, &outbox.Publication{}, err.Error())
	}
	t, err := s.topicOf(ctx, k, p.TopicArn)
	if errors.Is(err, store.ErrNotFound) {
		return s.end(ctx, rec, p, reasonNoSuch)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	q := resource.Query{Account: t.Account, Region: t.Region, Kind: KindSubscription, Parent: t.UID, Phase: phaseConfirmed, Limit: fanPage}
	for {
		recs, next, err := s.store.List(ctx, q)
		if err != nil {
			return reconcile.Result{}, err
		}
		if err := s.leave(ctx, t, rec, p, recs); err != nil {
			return reconcile.Result{}, err
		}
		if q.Token = next; next == "" {
			return s.end(ctx, rec, p, "")
		}
	}
}

// topicOf reads a publication's topic, which may be of another region than
// whoever published, but not of another account.
func (s fanout) topicOf(ctx context.Context, k resource.Key, id string) (*topic, error) {
	a, ok := arn.Parse(id)
	if !ok || a.Service != "sns" || a.Account != k.Account {
		return nil, store.ErrNotFound
	}
	r, err := s.store.Get(ctx, topicKey(a.Account, a.Region, a.Resource))
	if err != nil {
		return nil, err
	}
	return readTopic(r)
}

// leave leaves the deliveries to a page of subscriptions.
func (s fanout) leave(ctx context.Context, t *topic, rec *resource.Record, p *outbox.Publication, recs []*resource.Record) error {
	now, id := time.Now(), messageID(rec.Name, rec.UID)
	type left struct {
		key  resource.Key
		name string
		d    *outbox.Delivery
	}
	var all []left
	for _, r := range recs {
		x, err := readSubscription(r)
		if err != nil {
			return err
		}
		f, err := readFilter(x.Attributes["FilterPolicy"])
		if err != nil {
			return err
		}
		if !f.passes(p.Attributes) {
			continue
		}
		d, err := s.notification(x, t, p, id, rec.Created)
		if err != nil {
			return err
		}
		all = append(all, left{x.Key, id + "-" + x.Name, d})
	}
	if len(all) == 0 {
		return nil
	}
	return s.store.Update(ctx, func(tx store.Tx) error {
		for _, l := range all {
			switch r, err := tx.Get(l.key); {
			case errors.Is(err, store.ErrNotFound), err == nil && r.Phase != phaseConfirmed:
				continue // it ended meanwhile
			case err != nil:
				return err
			}
			if err := outbox.Send(tx, t.Account, t.Region, l.name, *l.d, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// end ends a publication. One that nobody can be told of is shown among the
// deliveries that failed.
func (s fanout) end(ctx context.Context, rec *resource.Record, p *outbox.Publication, reason string) (reconcile.Result, error) {
	keepFor := keepTold
	err := s.store.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(rec.Key)
		if err != nil {
			return gone(err)
		}
		now := time.Now()
		r.Phase, r.Modified, r.Due = outbox.PhaseDelivered, now, now.Add(keepFor)
		if reason == "" {
			return tx.Put(r)
		}
		r.Phase, r.LastError = outbox.PhaseFailed, reason
		spec, err := json.Marshal(outbox.Delivery{Channel: "sns", To: p.TopicArn, Subject: p.Subject, Body: p.Message, About: p.TopicArn})
		if err != nil {
			return err
		}
		progress, err := json.Marshal(outbox.Progress{V: 1, Reason: reason})
		if err != nil {
			return err
		}
		if err := tx.Put(&resource.Record{
			Key: resource.Key{Account: r.Account, Region: r.Region, Kind: outbox.KindDelivery, Name: messageID(r.Name, r.UID)}, UID: resource.NewUID(), Parent: p.TopicArn,
			Phase: outbox.PhaseFailed, Created: r.Created, Modified: now, Due: now.Add(keepUntold), Spec: spec, Status: progress,
		}); err != nil {
			return err
		}
		return tx.Put(r)
	})
	return reconcile.Result{After: keepFor}, err
}
