package budgets

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	apib "clary/internal/api/budgets"
	"clary/internal/meter"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
)

const (
	// often is how far looks lie apart at most while anything costs and moves
	// without a change of the ledger: what is forecast, what an action keeps
	// back, and what tags bring under a budget.
	often = 10 * time.Second
	// usual is the same where nothing does.
	usual = time.Minute
	// seldom is the same while nothing does.
	seldom = 5 * time.Minute
	// moment is how soon after an instant it is seen to be over.
	moment = time.Millisecond
	// leapSettle is how long sums are not believed after the machine slept or
	// its clock was set: what runs is looked at then, and tells of it within a
	// sign of life and a look. An action's margin bears that.
	leapSettle = 45 * time.Second
)

// Settle is what a server waits after its start.
const Settle = 15 * time.Second

// unsettled says for how long yet the ledger may say that something runs which
// does not.
func (s *Service) unsettled(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settling.Wait(now)
}

// cover is what budgets of one scope cover, summed up.
type cover struct {
	only *meter.Filter
	sums *meter.Sums
	used time.Time
}

const (
	// unused is how long a cover is kept that no budget asks for: each is looked
	// at more often.
	unused = 3 * seldom
	// maxCovers bounds what many scopes may hold, beyond which they are folded
	// anew.
	maxCovers = 200
)

// coverOf keeps the sums of a budget's scope from look to look; budgets of one
// scope share them.
func (s *Service) coverOf(b *budget) (*cover, error) {
	only, err := scopeOf(&b.Budget)
	if err != nil {
		return nil, fmt.Errorf("budget %s: %w", b.Name, err)
	}
	text, err := scopeText(only)
	if err != nil {
		return nil, err
	}
	key, now := b.Account+" "+text, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.covers[key]
	if c == nil {
		oldest := ""
		for k, other := range s.covers {
			if now.Sub(other.used) > unused {
				delete(s.covers, k)
			} else if oldest == "" || other.used.Before(s.covers[oldest].used) {
				oldest = k
			}
		}
		if len(s.covers) >= maxCovers {
			delete(s.covers, oldest)
		}
		c = &cover{only: only, sums: meter.NewSums(s.Store, s.Books[:1]).Only(only)}
		s.covers[key] = c
	}
	c.used = now
	return c, nil
}

// spent is what a budget's period cost up to now, in millionths of its unit.
func (s *Service) spent(ctx context.Context, b *budget, p period, now time.Time) (n int64, unpriced bool, err error) {
	c, err := s.coverOf(b)
	if err != nil || !p.From.Before(p.To) || !now.After(p.From) {
		return 0, false, err
	}
	to := p.To
	if today := midnight(now).Add(day); today.Before(to) {
		to = today // nothing was used later
	}
	sum, err := c.sums.Spend(ctx, meter.SpendQuery{Account: b.Account, From: p.From, To: to, Now: now})
	if err != nil {
		return 0, false, err
	}
	if b.Budget.BudgetType == typeUsage {
		return quantity(b.unit(), sum.Units[ledgerUnit(b.unit())]), false, nil
	}
	return sum.Total[0].MicroUSD, sum.Total[0].Unpriced, nil
}

// stand says how a budget stands in a period.
func (s *Service) stand(ctx context.Context, b *budget, p period, now time.Time) (standing, error) {
	st := standing{Now: now, Period: p, Limit: b.limit(p)}
	c, err := s.coverOf(b)
	if err != nil {
		return st, err
	}
	if st.Spent, st.Unpriced, err = s.spent(ctx, b, p, now); err != nil {
		return st, err
	}
	open, _, err := s.openUsage(ctx, b.Account, now)
	if err != nil {
		return st, err
	}
	st.Costs = len(open) > 0
	st.Forecast = st.Spent
	if now.Before(p.From) {
		return st, nil
	}
	var covered []resource.Usage
	for i := range open {
		if c.only.Match(&open[i]) {
			covered = append(covered, open[i])
		}
	}
	st.Running = s.runningOf(covered, now)
	return st, nil
}

// foresee fills in the forecast for all of the period, unless that is over.
func (s *Service) foresee(ctx context.Context, b *budget, st *standing) error {
	st.Forecast = st.Spent
	if !st.Now.Before(st.Period.To) {
		return nil
	}
	c, err := s.coverOf(b)
	if err != nil {
		return err
	}
	// Whole days to come are alike: one stands for all that follow it.
	q := meter.ForecastQuery{Account: b.Account, From: st.Period.From, To: st.Period.To, Now: st.Now}
	rest := int64(0)
	if known := maxTime(midnight(st.Now), st.Period.From).Add(2 * day); known.Before(q.To) {
		rest, q.To = int64(q.To.Sub(known)/day), known
	}
	if b.Budget.BudgetType == typeUsage {
		q.Unit = ledgerUnit(b.unit())
	}
	f, err := c.sums.Forecast(ctx, q)
	if err != nil {
		return err
	}
	st.Forecast = f.Total.Mean
	if rest > 0 {
		st.Forecast += rest * f.Days[len(f.Days)-1].Mean
	}
	if b.Budget.BudgetType == typeUsage {
		st.Forecast = quantity(b.unit(), st.Forecast)
	}
	return nil
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// value is the amount that an alert compares.
func (st standing) value(kind string) int64 {
	if kind == forecasted {
		return st.Forecast
	}
	return st.Spent
}

// over says whether an alert's threshold is crossed. Amounts are equal when
// they are to the cent, or the hundredth of a unit.
func over(a alert, st standing) bool {
	v, at := st.value(a.NotificationType), threshold(a.Threshold, a.ThresholdType, st.Limit)
	switch a.ComparisonOperator {
	case "LESS_THAN":
		return v < at
	case "EQUAL_TO":
		const cent = million / 100
		return (v+cent/2)/cent == (at+cent/2)/cent
	}
	return v > at
}

// verdict says which alerts are to be told of now, and what is known of all of
// them then. An alert is told of once for each period and threshold.
func verdict(alerts []alert, was map[string]told, st standing) (tell []alert, is map[string]told) {
	is = make(map[string]told, len(alerts))
	for _, a := range alerts {
		t := was[a.ID]
		at := threshold(a.Threshold, a.ThresholdType, st.Limit)
		t.Alarm = over(a, st)
		if t.Alarm && (!t.Period.Equal(st.Period.From) || t.Amount != at) {
			t.Period, t.Amount = st.Period.From, at
			tell = append(tell, a)
		}
		is[a.ID] = t
	}
	return tell, is
}

// errMoved ends a step whose record changed since it was read: whoever changed
// it made it due.
var errMoved = errors.New("the budget changed meanwhile")

// Kind is what the reconciler looks at.
func (*Service) Kind() resource.Kind { return Kind }

// Reconcile looks at a budget: it ends the period that is over, or tells of
// thresholds that were crossed, and says when one can be crossed next.
func (s *Service) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	r, err := s.Store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	b, err := read(r)
	if err != nil {
		return reconcile.Result{}, err
	}
	now := time.Now()
	if wait := s.unsettled(now); wait > 0 {
		return reconcile.Result{After: wait}, s.wakeOpen(ctx, k.Account, now)
	}
	end := b.Budget.TimePeriod.End.Time
	p := b.period(now)
	last := b.Period
	if !now.Before(end) {
		p.From = end // no period any more: the last one ends as any
	}
	if !last.IsZero() && !last.Equal(p.From) {
		// What was spent until its very end is judged once more, however late,
		// and so is each period that nobody saw.
		over := b.period(last)
		if over.To.Before(p.From) {
			p.From = over.To
		}
		if _, err := s.judge(ctx, b, over, now, p.From); err != nil {
			return again(err)
		}
		return reconcile.Result{After: moment}, nil
	}
	if !now.Before(end) {
		return again(s.Store.Update(ctx, func(tx store.Tx) error { return s.expire(tx, b) }))
	}
	st, err := s.judge(ctx, b, p, now, p.From)
	if err != nil {
		return again(err)
	}
	after := s.next(b, st)
	switch soon, err := s.act(ctx, b, st); {
	case err != nil:
		return reconcile.Result{}, err
	case soon > 0:
		after = min(after, soon)
	}
	return reconcile.Result{After: after}, nil
}

// again is the result of a step that may have met a change.
func again(err error) (reconcile.Result, error) {
	if errors.Is(err, errMoved) {
		return reconcile.Result{After: moment}, nil
	}
	return reconcile.Result{}, err
}

// expire deletes a budget whose time is over, as AWS does.
func (s *Service) expire(tx store.Tx, b *budget) error {
	r, err := tx.Get(b.Key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil && r.Version != b.Version {
		err = errMoved
	}
	if err != nil {
		return err
	}
	return s.remove(tx, b)
}

// judge judges a period and keeps what it found, with the messages, in
// one transaction; next is the beginning of the period that is looked at from
// then on.
func (s *Service) judge(ctx context.Context, b *budget, p period, now, next time.Time) (standing, error) {
	st, err := s.stand(ctx, b, p, now)
	if err != nil {
		return st, err
	}
	if b.foresees() {
		if err := s.foresee(ctx, b, &st); err != nil {
			return st, err
		}
	}
	tell, is := verdict(b.Alerts, b.Told, st)
	if len(tell) == 0 && b.Period.Equal(next) && sameTold(is, b.Told) {
		return st, nil
	}
	texts := make([]message, len(tell))
	for i, a := range tell {
		if texts[i], err = s.message(ctx, b, a, st); err != nil {
			return st, err
		}
	}
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(b.Key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err != nil:
			return err
		case r.Version != b.Version:
			return errMoved
		}
		now, err := read(r)
		if err != nil {
			return err
		}
		for i, a := range tell {
			if err := s.tell(tx, now, alertID(now.UID, a.ID, st.Period, is[a.ID].Amount), a.Subscribers, texts[i], st.Now); err != nil {
				return err
			}
		}
		now.Told, now.Period = is, next
		return now.put(tx, st.Now)
	})
	return st, err
}

// alertID names what is told: the same crossing has the same name whoever tells
// of it.
func alertID(uid, alert string, p period, amount int64) string {
	return fmt.Sprintf("budget/%s/%s/%s/%d", uid, alert, p.From.Format(time.DateOnly), amount)
}

func sameTold(a, b map[string]told) bool {
	if len(a) != len(b) {
		return false
	}
	for id, t := range a {
		o, ok := b[id]
		if !ok || t.Alarm != o.Alarm || t.Amount != o.Amount || !t.Period.Equal(o.Period) {
			return false
		}
	}
	return true
}

// next is when a budget is looked at again: at the next instant at which what
// runs can bring it over a threshold, and now and then before.
func (s *Service) next(b *budget, st standing) time.Duration {
	wait := seldom
	if st.Costs {
		wait = usual
		if b.foresees() || b.tagged() {
			wait = often
		}
	}
	wait = min(wait, st.Period.To.Sub(st.Now)+moment)
	g := max(s.Books[0].Rounding.Granularity, time.Second)
	var step int64 // what everything that runs costs in a granule
	soonest := wait
	for _, r := range st.Running {
		for _, u := range r.Uses {
			var n int64
			if b.Budget.BudgetType == typeCost {
				hour, _ := s.Books[0].Hourly(&u, st.Now)
				n = int64(math.Ceil(hour * g.Hours()))
			} else if u.Unit == ledgerUnit(b.unit()) {
				n = quantity(b.unit(), int64(g/time.Second)*u.Quantity)
			}
			if n == 0 {
				continue
			}
			step += n + 1 // a line is rounded once
			// A granule is charged when it begins.
			soonest = min(soonest, (g-st.Now.Sub(u.Start)%g)%g+moment)
		}
	}
	for _, a := range b.Alerts {
		at := threshold(a.Threshold, a.ThresholdType, st.Limit)
		if v := st.value(a.NotificationType); v <= at && v+step >= at-million/100 {
			wait = min(wait, soonest)
		}
	}
	return max(wait, moment)
}

// tagged says whether tags decide what the budget covers.
func (b *budget) tagged() bool {
	if len(b.Budget.CostFilters[tagFilter]) > 0 {
		return true
	}
	var in func(e *apib.Expression) bool
	in = func(e *apib.Expression) bool {
		return e != nil && (e.Tags != nil || in(e.Not) ||
			slices.ContainsFunc(e.And, func(e apib.Expression) bool { return in(&e) }) ||
			slices.ContainsFunc(e.Or, func(e apib.Expression) bool { return in(&e) }))
	}
	return in(b.Budget.FilterExpression)
}

// foresees says whether anything depends on the forecast.
func (b *budget) foresees() bool {
	return len(b.Actions) > 0 || slices.ContainsFunc(b.Alerts, func(a alert) bool { return a.NotificationType == forecasted })
}
