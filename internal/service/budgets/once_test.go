package budgets

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apib "clary/internal/api/budgets"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
)

// mortal is a store whose user dies at a call: before it or right after it,
// when nobody hears how it went.
type mortal struct {
	store.Store
	left atomic.Int64 // calls to live; below 0: dead
	dead chan struct{}
	done bool // the last call is done
}

var errDead = errors.New("the server is dead")

func (m *mortal) write(f func() error) error {
	switch n := m.left.Add(-1); {
	case n > 0:
		return f()
	case n < 0:
		return errDead
	}
	defer close(m.dead)
	if m.done {
		_ = f()
	}
	return errDead
}

func (m *mortal) Update(ctx context.Context, fn func(store.Tx) error) error {
	return m.write(func() error { return m.Store.Update(ctx, fn) })
}

func (m *mortal) Lease(ctx context.Context, kind resource.Kind, owner string, now, until time.Time, limit int) (recs []*resource.Record, err error) {
	err = m.write(func() (err error) {
		recs, err = m.Store.Lease(ctx, kind, owner, now, until, limit)
		return err
	})
	return recs, err
}

func (m *mortal) Release(ctx context.Context, k resource.Key, owner string, version int64, due time.Time, attempts int, lastError string) error {
	return m.write(func() error { return m.Store.Release(ctx, k, owner, version, due, attempts, lastError) })
}

// span is a time in which no server ran.
type span struct{ from, to time.Time }

// TestOnce: whatever is begun and ended, and wherever the server dies, each
// threshold is told of once in each day in which it is crossed, in time, and
// the spend is the bill's.
func TestOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) { once(t, w, seed) })
		})
	}
}

func once(t *testing.T, w *world, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 11))
	var m *mortal
	w.through = func(s store.Store) store.Store {
		m = &mortal{Store: s, dead: make(chan struct{}), done: r.IntN(2) == 0}
		m.left.Store(1 + r.Int64N(120))
		return m
	}
	filters := map[string][]string{"Region": {"us-east-1"}}
	at := []float64{30, 100, 170}
	var n []apib.NotificationWithSubscribers
	for _, percent := range at {
		n = append(n, notice("ACTUAL", "GREATER_THAN", percent, "PERCENTAGE", letterTo("me@example.com")))
	}
	w.create(&apib.Budget{BudgetName: "daily", BudgetType: "COST", TimeUnit: "DAILY", BudgetLimit: usdLimit("5"), CostFilters: filters}, n...)
	w.kill()
	w.start()

	var downs []span
	var alive []*resource.Record
	end := time.Now().Add(27*time.Hour + time.Duration(r.IntN(3600))*time.Second)
	for i := 0; time.Now().Before(end); i++ {
		switch n := r.IntN(10); {
		case n < 3:
			k := thing("NotebookInstance", fmt.Sprint("nb", i))
			k.Region = []string{"us-east-1", "eu-west-1"}[r.IntN(2)]
			typ := []string{"ml.cent", "ml.dime"}[r.IntN(8)/7]
			alive = append(alive, w.runs(k, "notebook", typ, nil))
		case n < 7 && len(alive) > 0:
			k := r.IntN(len(alive))
			w.ends(alive[k], "notebook")
			alive = append(alive[:k], alive[k+1:]...)
		case n == 8 && m.left.Load() > 0:
			checkSpend(t, w, filters)
		}
		pause := time.NewTimer(time.Duration(r.Int64N(int64(90 * time.Minute))))
		select {
		case <-pause.C:
		case <-m.dead:
			from := time.Now()
			w.kill()
			time.Sleep(time.Duration(r.Int64N(int64(10 * time.Minute))))
			w.start()
			downs = append(downs, span{from, time.Now()})
		}
	}
	m.left.Store(1 << 40)
	time.Sleep(3 * time.Minute) // a look that died holds its lease for a minute
	synctest.Wait()
	checkLetters(t, w, at, downs)
}

// bill is what the budget covers of a day, seen at now.
func (w *world) bill(day, now time.Time) int64 {
	w.t.Helper()
	list, err := w.db.ListUsage(w.t.Context(), resource.UsageQuery{Account: account})
	if err != nil {
		w.t.Fatal(err)
	}
	var covered []resource.Usage
	for _, u := range list {
		if u.Region != "us-east-1" || u.Start.After(now) {
			continue
		}
		if u.End.After(now) {
			u.End = time.Time{}
		}
		covered = append(covered, u)
	}
	return meter.Bill(covered, w.Books[0], day, day.Add(24*time.Hour), now).MicroUSD
}

func checkSpend(t *testing.T, w *world, filters map[string][]string) {
	t.Helper()
	now := time.Now()
	if got, want := w.describe1("daily").CalculatedSpend.ActualSpend.Amount, decimal(w.bill(midnight(now), now)); got != want {
		t.Errorf("at %v: spent %s, the bill of %v says %s", now, got, filters, want)
	}
}

func checkLetters(t *testing.T, w *world, at []float64, downs []span) {
	t.Helper()
	got := make(map[string][]time.Time)
	for _, l := range w.letters() {
		_, rest, _ := strings.Cut(l.Body, "Alert Threshold: > ")
		threshold, _, _ := strings.Cut(rest, "\n")
		day := midnight(l.at)
		if _, ended, ok := strings.Cut(l.Body, "for the period that ended "); ok {
			day = date(ended[:10]).Add(-24 * time.Hour)
		}
		k := threshold + " " + day.Format(time.DateOnly)
		got[k] = append(got[k], l.at)
	}
	now := time.Now()
	for day := date("2000-01-01"); day.Before(now); day = day.Add(24 * time.Hour) {
		last := day.Add(24*time.Hour - time.Nanosecond)
		if now.Before(last) {
			last = now
		}
		for _, percent := range at {
			limit := int64(percent / 100 * 5 * million)
			k := dollars(limit) + " " + day.Format(time.DateOnly)
			if w.bill(day, last) <= limit {
				if len(got[k]) != 0 {
					t.Errorf("%s: told at %v of what did not happen", k, got[k])
				}
				continue
			}
			lo, hi := day, last
			for hi.Sub(lo) > time.Millisecond {
				if mid := lo.Add(hi.Sub(lo) / 2); w.bill(day, mid) > limit {
					hi = mid
				} else {
					lo = mid
				}
			}
			by := hi.Add(time.Minute)
			for _, d := range downs {
				// A look that died holds its lease for a minute.
				if by.After(d.from) && hi.Before(d.to.Add(time.Minute)) {
					by = d.to.Add(time.Minute + 5*time.Second)
				}
			}
			switch {
			case len(got[k]) != 1:
				t.Errorf("%s: told %d times, at %v; it was crossed at %v", k, len(got[k]), got[k], hi)
			case got[k][0].Before(lo) || got[k][0].After(by):
				t.Errorf("%s: told at %v; it was crossed at %v, down %v", k, got[k][0], hi, downs)
			}
			delete(got, k)
		}
	}
	for k, when := range got {
		if len(when) > 0 {
			t.Errorf("%s: told at %v", k, when)
		}
	}
}

// TestOldVerdict: what was found by a limit that was raised meanwhile is neither
// told nor kept.
func TestOldVerdict(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.cost("mine", "1.00", 100, letterTo("me@example.com"))
		w.runs(thing("NotebookInstance", "nb"), "notebook", "ml.cent", nil)
		time.Sleep(98*time.Minute + 30*time.Second)
		r, err := w.Store.Get(t.Context(), keyOf(account, "mine"))
		if err != nil {
			t.Fatal(err)
		}
		old, err := read(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.UpdateBudget(t.Context(), call(), &apib.UpdateBudgetRequest{AccountId: account, NewBudget: &apib.Budget{BudgetName: "mine", BudgetType: "COST", TimeUnit: "MONTHLY", BudgetLimit: usdLimit("10")}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		now := time.Now()
		p := old.period(now)
		st, err := w.judge(t.Context(), old, p, now, p.From)
		if !errors.Is(err, errMoved) || st.Spent <= st.Limit {
			t.Errorf("spent %d of %d: %v", st.Spent, st.Limit, err)
		}
		synctest.Wait()
		if l := w.letters(); len(l) != 0 {
			t.Errorf("told: %+v", l)
		}
		if got := w.describe1("mine").BudgetLimit.Amount; got != "10" {
			t.Errorf("the limit is %s", got)
		}
	})
}
