package budgets

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"clary/internal/meter"
	"clary/internal/resource"
)

// ledger is what an account has open, read as far as the ledger's history went
// at the last look. All of it comes from there, so nothing is lost with the
// process.
type ledger struct {
	lock  chan struct{} // guards what follows, while the ledger is read, too
	place int64
	open  map[string]resource.Usage
}

// openUsage are the open intervals of an account, in the order of their ids,
// and the place in the ledger's history at which they are.
func (s *Service) openUsage(ctx context.Context, account string, now time.Time) (list []resource.Usage, place int64, err error) {
	s.mu.Lock()
	l := s.open[account]
	if l == nil {
		l = &ledger{lock: make(chan struct{}, 1), open: make(map[string]resource.Usage)}
		s.open[account] = l
	}
	s.mu.Unlock()
	select {
	case l.lock <- struct{}{}:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	defer func() { <-l.lock }()
	place, err = s.Store.UsageSince(ctx, account, now, time.Time{}, l.place, func(u resource.Usage) {
		if u.End.IsZero() && u.Unit != meter.Request {
			l.open[u.ID] = u
		} else {
			delete(l.open, u.ID)
		}
	})
	if err != nil {
		return nil, 0, fmt.Errorf("open usage: %w", err)
	}
	l.place = place
	for _, u := range l.open {
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b resource.Usage) int { return cmp.Compare(a.ID, b.ID) })
	return list, place, nil
}

// runningOf gathers open intervals by their resources, with what they cost.
func (s *Service) runningOf(list []resource.Usage, now time.Time) []running {
	var out []running
	at := make(map[string]int)
	for _, u := range list {
		i, ok := at[u.UID]
		if !ok {
			i = len(out)
			at[u.UID] = i
			out = append(out, running{Key: resource.Key{Account: u.Account, Region: u.Region, Kind: u.Kind, Name: u.Name}, UID: u.UID})
		}
		out[i].Uses = append(out[i].Uses, u)
		n, _ := s.Books[0].Hourly(&u, now)
		out[i].PerHour += round(n)
	}
	slices.SortFunc(out, func(a, b running) int {
		return cmp.Or(cmp.Compare(b.PerHour, a.PerHour), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return out
}

// wakeOpen has all looked at that costs.
func (s *Service) wakeOpen(ctx context.Context, account string, now time.Time) error {
	open, _, err := s.openUsage(ctx, account, now)
	for _, u := range open {
		s.Wake(resource.Key{Account: u.Account, Region: u.Region, Kind: u.Kind, Name: u.Name})
	}
	return err
}

// gather is how long changes of the ledger are gathered before budgets are
// woken.
const gather = 500 * time.Millisecond

// Run wakes budgets when the ledger changes, until ctx is done. Every interval
// is opened and closed with a change of a record; a hint that is lost costs a
// few seconds, since budgets are looked at without one while anything costs.
func (s *Service) Run(ctx context.Context) {
	hints := s.Store.Watch(ctx, "TrainingJob", "ProcessingJob", "TransformJob", "NotebookInstance", "Endpoint")
	seen := make(map[string]int64) // by account
	s.warm(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-hints:
			if !ok {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gather):
		}
		for range len(hints) {
			<-hints
		}
		if err := s.wakeChanged(ctx, seen); err != nil && ctx.Err() == nil {
			s.Log.Warn("budgets: the ledger was not read", "err", err)
		}
	}
}

// warm folds what budgets cover once, before somebody waits for it in a
// transaction.
func (s *Service) warm(ctx context.Context) {
	for token := ""; ; {
		recs, next, err := s.Store.List(ctx, resource.Query{Kind: Kind, Token: token, Limit: 1000})
		if err != nil {
			return // whoever asks folds
		}
		for _, r := range recs {
			if b, err := read(r); err == nil {
				now := time.Now()
				_, _, _ = s.spent(ctx, b, b.period(now), now)
			}
		}
		if token = next; token == "" {
			return
		}
	}
}

// wakeChanged wakes the budgets of accounts whose ledger changed since it was
// seen.
func (s *Service) wakeChanged(ctx context.Context, seen map[string]int64) error {
	places := make(map[string]int64)
	for token := ""; ; {
		recs, next, err := s.Store.List(ctx, resource.Query{Kind: Kind, Token: token, Limit: 1000, Short: true})
		if err != nil {
			return err
		}
		for _, r := range recs {
			place, asked := places[r.Account]
			if !asked {
				if _, place, err = s.openUsage(ctx, r.Account, time.Now()); err != nil {
					return err
				}
				places[r.Account] = place
			}
			if place != seen[r.Account] {
				s.Wake(r.Key)
			}
		}
		if token = next; token == "" {
			maps.Copy(seen, places)
			return nil
		}
	}
}
