package budgets

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	contract "clary/internal/budget"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
)

// KindRoom is the record that hard budgets of an account share: which they are,
// and what was admitted and does not cost yet. There is none without a hard
// budget, so that whoever asks reads no more than that.
const KindRoom resource.Kind = "BudgetRoom"

type room struct {
	V     int      `json:"v"`
	Hard  []string `json:"hard,omitzero"`  // names of budgets
	Taken []taken  `json:"taken,omitzero"` // the oldest first
}

// taken is what was admitted: it holds its room until it costs, or never will.
type taken struct {
	resource.Key
	Uses []resource.Usage `json:"uses"`
}

func roomKey(account string) resource.Key {
	return resource.Key{Account: account, Kind: KindRoom, Name: "room"}
}

// readRoom gives nil where there is no hard budget.
func readRoom(get func(resource.Key) (*resource.Record, error), account string) (*resource.Record, *room, error) {
	r, err := get(roomKey(account))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	m, err := resource.As[room](r.Spec)
	return r, m, err
}

func (m *room) put(tx store.Tx, r *resource.Record, now time.Time) (err error) {
	m.V = 1
	if r.Spec, err = json.Marshal(m); err != nil {
		return err
	}
	r.Modified = now
	return tx.Put(r)
}

// brief keeps the account's room up to date, in the transaction that changes a
// budget or one of its actions.
func (s *Service) brief(tx store.Tx, b *budget, gone bool) error {
	hard := false
	for _, id := range b.Actions {
		if gone || hard {
			break
		}
		r, err := tx.Get(actionKey(b.Account, id))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		a, err := readAction(r)
		if err != nil {
			return err
		}
		hard = a.hard()
	}
	r, m, err := readRoom(tx.Get, b.Account)
	if err != nil || m == nil && !hard {
		return err
	}
	now := time.Now()
	if m == nil {
		m, r = new(room), &resource.Record{Key: roomKey(b.Account), UID: resource.NewUID(), Created: now, Status: []byte("{}")}
	}
	if slices.Contains(m.Hard, b.Name) == hard {
		return nil
	}
	if m.Hard = slices.DeleteFunc(m.Hard, func(n string) bool { return n == b.Name }); hard {
		m.Hard = append(m.Hard, b.Name)
	}
	if len(m.Hard) == 0 {
		return tx.Delete(r.Key)
	}
	return m.put(tx, r, now)
}

// creating says that a resource may be about to cost something.
func creating(kind resource.Kind, phase string) bool {
	switch kind {
	case "NotebookInstance":
		return phase == "Pending" || phase == "InService" // the reader may not see yet what it costs
	case "Endpoint":
		return phase == "Creating" || phase == "Updating"
	}
	return phase == "InProgress"
}

// pend is what of the room taken is still to come: open intervals have theirs in
// the ledger.
func (t taken) pend(phase string, open []resource.Usage) (out []resource.Usage) {
	if !creating(t.Kind, phase) {
		return nil
	}
	for _, u := range t.Uses {
		for _, o := range open {
			if o.Kind == t.Kind && o.Name == t.Name && o.Region == t.Region && o.Component == u.Component && o.InstanceType == u.InstanceType {
				u.Quantity -= o.Quantity
			}
		}
		if u.Quantity > 0 {
			out = append(out, u)
		}
	}
	return out
}

// still is the room that is still taken, with what is still to come of each.
func still(get func(resource.Key) (*resource.Record, error), list []taken, open []resource.Usage) (keep, coming []taken, err error) {
	for _, t := range list {
		r, err := get(t.Key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if uses := t.pend(r.Phase, open); len(uses) > 0 {
			keep, coming = append(keep, t), append(coming, taken{t.Key, uses})
		}
	}
	return keep, coming, nil
}

// covered is the part of uses that a budget covers.
func covered(f *meter.Filter, uses []resource.Usage) (out []resource.Usage) {
	for _, u := range uses {
		if f.Match(&u) {
			out = append(out, u)
		}
	}
	return out
}

// coming is what was admitted, is covered by a budget, and does not cost yet.
func (s *Service) coming(ctx context.Context, b *budget, now time.Time) ([]taken, error) {
	get := func(k resource.Key) (*resource.Record, error) { return s.Store.Get(ctx, k) }
	_, m, err := readRoom(get, b.Account)
	if err != nil || m == nil {
		return nil, err
	}
	open, _, err := s.openUsage(ctx, b.Account, now)
	if err != nil {
		return nil, err
	}
	_, list, err := still(get, m.Taken, open)
	if err != nil {
		return nil, err
	}
	f, err := scopeOf(&b.Budget)
	if err != nil {
		return nil, err
	}
	return coveredOf(f, list), nil
}

func coveredOf(f *meter.Filter, list []taken) (out []taken) {
	for _, t := range list {
		if uses := covered(f, t.Uses); len(uses) > 0 {
			out = append(out, taken{t.Key, uses})
		}
	}
	return out
}

// inCreation are the records of what is about to cost something and is covered
// by a budget, as far as one can know by now.
func (s *Service) inCreation(ctx context.Context, b *budget, now time.Time) (out []*resource.Record, err error) {
	f, err := scopeOf(&b.Budget)
	if err != nil {
		return nil, err
	}
	admitted, err := s.coming(ctx, b, now)
	if err != nil {
		return nil, err
	}
	component := map[resource.Kind]string{"NotebookInstance": "notebook", "Endpoint": "hosting", "TrainingJob": "training", "ProcessingJob": "processing", "TransformJob": "transform"}
	for _, x := range s.Stoppers {
		for _, phase := range []string{"Pending", "Creating", "Updating", "InProgress"} {
			if !creating(x.Kind(), phase) {
				continue
			}
			for token := ""; ; {
				recs, next, err := s.Store.List(ctx, resource.Query{Account: b.Account, Kind: x.Kind(), Phase: phase, Token: token, Limit: 1000})
				if err != nil {
					return nil, err
				}
				for _, r := range recs {
					yes := slices.ContainsFunc(admitted, func(t taken) bool { return t.Key == r.Key })
					if !yes {
						tags, err := s.tagsOf(ctx, r.Arn)
						if err != nil {
							return nil, err
						}
						u := meter.Of(r, component[r.Kind], meter.InstanceSecond, 1, 1, now)
						u.Tags = tags
						yes = f.Match(&u)
					}
					if yes {
						out = append(out, r)
					}
				}
				if token = next; token == "" {
					break
				}
			}
		}
	}
	return out, nil
}

func (s *Service) tagsOf(ctx context.Context, arn string) (tags map[string]string, err error) {
	err = s.Store.View(ctx, func(tx store.Tx) (err error) {
		tags, err = tx.Tags(arn)
		return err
	})
	return tags, err
}

// Admit implements budget.Gate. What is committed the readers see; what others
// were admitted for in the same commit is in the room's record.
func (s *Service) Admit(ctx context.Context, tx store.Tx, ask contract.Ask) error {
	r, m, err := readRoom(tx.Get, ask.Account)
	if err != nil || m == nil {
		return err
	}
	now := time.Now()
	uses := slices.Clone(ask.Uses)
	for i := range uses {
		u := &uses[i]
		u.Account, u.Region, u.Kind, u.Name, u.Tags, u.Start = ask.Account, ask.Region, ask.Kind, ask.Name, ask.Tags, now
	}
	open, _, err := s.openUsage(ctx, ask.Account, now)
	if err != nil {
		return err
	}
	keep, coming, err := still(tx.Get, slices.DeleteFunc(m.Taken, func(t taken) bool { return t.Key == ask.Key }), open)
	if err != nil {
		return err
	}
	for _, name := range m.Hard {
		if err := s.admit(ctx, tx, ask, name, uses, coming, now); err != nil {
			return err
		}
	}
	// Beside what it has open already, which an update keeps until it is done.
	want := taken{ask.Key, uses}
	for i := range want.Uses {
		u := &want.Uses[i]
		for _, o := range open {
			if o.Kind == u.Kind && o.Name == u.Name && o.Region == u.Region && o.Component == u.Component && o.InstanceType == u.InstanceType {
				u.Quantity += o.Quantity
			}
		}
	}
	m.Taken = slices.Concat(keep, []taken{want})
	return m.put(tx, r, now)
}

// admit refuses what one budget has no room for.
func (s *Service) admit(ctx context.Context, tx store.Tx, ask contract.Ask, name string, uses []resource.Usage, coming []taken, now time.Time) error {
	rec, err := tx.Get(keyOf(ask.Account, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := read(rec)
	if err != nil {
		return err
	}
	f, err := scopeOf(&b.Budget)
	if err != nil {
		return err
	}
	mine := covered(f, uses)
	p := b.period(now)
	if len(mine) == 0 || now.Before(p.From) || !now.Before(p.To) {
		return nil
	}
	var bound time.Duration
	if x := s.stopper(ask.Kind); x != nil {
		bound = x.Bound()
	}
	// Its first minute, and what it costs until it is at rest.
	delta := s.begin(b, mine, p, now, margin+bound+margin+split)
	if delta == 0 {
		return nil // it costs nothing of the budget's, as far as anyone knows
	}
	st, err := s.stand(ctx, b, p, now)
	if err != nil {
		return err
	}
	for _, id := range b.Actions {
		r, err := tx.Get(actionKey(b.Account, id))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		a, err := readAction(r)
		if err != nil {
			return err
		}
		if !a.hard() {
			continue
		}
		limit, kept := a.at(st.Limit), s.reserve(b, a, st, coveredOf(f, coming))
		if st.Spent+kept+delta >= limit {
			return s.refusal(b, ask, mine, st, kept, delta, limit)
		}
	}
	return nil
}

// refusal words what a hard budget has no room for, as SageMaker words limits.
func (s *Service) refusal(b *budget, ask contract.Ask, uses []resource.Usage, st standing, kept, delta, limit int64) error {
	var perHour int64
	for i := range uses {
		n, _ := s.Books[0].Hourly(&uses[i], st.Now)
		perHour += round(n)
	}
	left := max(0, limit-st.Spent-kept)
	return apierr.New(400, "ResourceLimitExceeded",
		"The account-level service limit 'budget %s' is %s, with current utilization of %s and a request delta of %s. "+
			"The %s %s costs %s per hour, and %s are left of the budget until %s: %s were spent, and %s are kept back for what runs until it is stopped. Nothing was started; raise the limit of the budget, or stop something else.",
		b.Name, b.words(limit), b.words(st.Spent+kept), b.words(delta),
		ask.Kind, ask.Name, price(perHour), b.words(left), st.Period.To.Format(time.RFC3339), b.words(st.Spent), b.words(kept))
}
