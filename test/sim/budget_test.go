package sim

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

	"github.com/go-json-experiment/json"

	apib "clary/internal/api/budgets"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/compute/fake"
	"clary/internal/feature/training"
	"clary/internal/meter"
	"clary/internal/outbox"
	"clary/internal/resource"
	"clary/internal/stage/plan"
)

// What is forgotten, and what beside it must go on. All of them cost two cents a
// minute, storage next to nothing.
const (
	budgetName  = "small"
	budgetLimit = 1_000_000 // micro-dollars
	perMinute   = 20_000
	otherName   = "other"
	budgetTag   = "team"

	simPrices = `region,component,unit,instance_type,usd_per_unit,as_of
*,notebook,instance-hour,ml.t3.medium,1.20,2000-01-01
*,notebook,GB-month,volume,0.001,2000-01-01
*,hosting,instance-hour,ml.m5.large,1.20,2000-01-01
*,training,instance-hour,ml.m5.large,1.20,2000-01-01
`
	// keptMinutes is what is kept back of each: what its stop takes, a minute to
	// notice, and one more that a sleep of the machine may begin.
	keptMinutes = (1 + 2) + (1 + 2) + (2 + 2)
)

// TestBudgets runs worlds in which a notebook instance, an endpoint and a
// training job that does not listen are forgotten below a budget of a dollar.
// The ledger closes at the dollar or under it, not earlier than what is kept
// back, and what the budget does not cover goes on. Where nothing is to be
// stopped, one letter tells of the crossing, in time.
func TestBudgets(t *testing.T) {
	t.Parallel()
	first, n := 0, (env("SIM_N", 200)+4)/5 // they are long
	if one := env("SIM_SEED", -1); one >= 0 {
		first, n = one, 1
	}
	var seen, told atomic.Int64 // worlds that ended while somebody could act; those with a letter
	t.Cleanup(func() {
		if n > 1 && 2*int(seen.Load()) < n || n >= 5 && told.Load() == 0 {
			t.Errorf("of %d worlds, only %d say whether the limit holds, and %d have a letter", n, seen.Load(), told.Load())
		}
	})
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			synctest.Test(t, func(t *testing.T) {
				run(t, dir, options{seed: uint64(seed), calm: seed%3 > 0, budget: 1 + seed%5/4, judged: &seen, told: &told, kill: anywhere})
			})
		})
	}
}

func simBooks() []meter.Book {
	p, err := meter.ReadPrices(strings.NewReader(simPrices), "prices of the simulation")
	if err != nil {
		panic(err)
	}
	return []meter.Book{meter.MinuteBook(p)}
}

// forgets makes what is forgotten, and another job.
func (s *sim) forgets(rng *rand.Rand, o options) {
	some := func(most time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(most))) }
	b := newBook(rng, "book", true)
	b.create, b.acts, b.leaves, b.code, b.use.spans = some(2*time.Minute), nil, true, false, []span{{time.Now(), time.Now().Add(patience)}}
	for i := range b.runs {
		b.runs[i].Forever, b.runs[i].IgnoreTERM = true, rng.IntN(2) == 0
	}
	w := newSite(rng, "site", true)
	w.create, w.acts = some(2*time.Minute), []act{{35 * time.Minute, "wait"}}
	w.erasing.Store(true) // perhaps: nobody but the budget says so
	for i := range w.runs {
		w.runs[i].Forever, w.runs[i].IgnoreTERM, w.runs[i].ill = true, rng.IntN(2) == 0, 0
	}
	for _, name := range []string{"job", otherName} {
		j := newJob(rng, name, 1, true)
		j.kind, j.create, j.stop, j.erase, j.maxRuntime = training.Kind, some(2*time.Minute), 0, false, 24*time.Hour
		j.scripts[0] = fake.Script{
			Delay: some(20 * time.Second), Forever: true, IgnoreTERM: true,
			Steps: []fake.Step{{Name: plan.StepDownloading}, {Name: plan.StepTraining, At: time.Second}},
		}
		s.plans[name] = j
	}
	s.plans[otherName].stop = 35 * time.Minute
	if o.budget == 2 {
		s.plans["job"].stop, b.acts = 35*time.Minute, []act{{35 * time.Minute, "stop"}}
	}
	s.books[b.name], s.sites[w.name] = b, w
	s.team = map[string]bool{"book": true, "site": true, "job": true}
}

// tagged are the tags of a resource with this name.
func (s *sim) tagged(name string) []apism.Tag {
	if !s.team[name] {
		return nil
	}
	return []apism.Tag{{Key: budgetTag, Value: "a"}}
}

// limits makes the budget, with an action unless it shall only tell.
func (s *sim) limits(acts bool) {
	ctx := context.Background()
	once := func(err error) error {
		if e, ok := errors.AsType[*apierr.Error](err); ok && e.Code == "DuplicateRecordException" {
			return nil
		}
		return err
	}
	mail := []apib.Subscriber{{SubscriptionType: "EMAIL", Address: "a@example.com"}}
	s.insist(func(l *life) error {
		_, err := l.budgets.CreateBudget(ctx, call(), &apib.CreateBudgetRequest{AccountId: account, Budget: &apib.Budget{
			BudgetName: budgetName, BudgetType: "COST", TimeUnit: "MONTHLY", BudgetLimit: &apib.Spend{Amount: "1.00", Unit: "USD"},
			CostFilters: map[string][]string{"TagKeyValue": {"user:" + budgetTag + "$a"}},
		}, NotificationsWithSubscribers: []apib.NotificationWithSubscribers{{
			Notification: &apib.Notification{NotificationType: "ACTUAL", ComparisonOperator: "GREATER_THAN", Threshold: 100, ThresholdType: "PERCENTAGE"}, Subscribers: mail,
		}}})
		return once(err)
	})
	if !acts {
		return
	}
	s.insist(func(l *life) error {
		_, err := l.budgets.CreateBudgetAction(ctx, call(), &apib.CreateBudgetActionRequest{
			AccountId: account, BudgetName: budgetName, NotificationType: "ACTUAL", ActionType: "RUN_SSM_DOCUMENTS", ApprovalModel: "AUTOMATIC", ExecutionRoleArn: role,
			ActionThreshold: &apib.ActionThreshold{ActionThresholdValue: 100, ActionThresholdType: "PERCENTAGE"},
			Definition:      &apib.Definition{SsmActionDefinition: &apib.SsmActionDefinition{ActionSubType: "STOP_EC2_INSTANCES", Region: region, InstanceIds: []string{"All"}}},
			Subscribers:     mail,
		})
		return once(err)
	})
}

// judgeBudget sees what became of the dollar.
func (s *sim) judgeBudget(l *life, acts bool, judged, told *atomic.Int64) {
	ctx := context.Background()
	usage, err := l.store.ListUsage(ctx, resource.UsageQuery{})
	if err != nil {
		s.fail("usage: %v", err)
		return
	}
	var mine []resource.Usage
	for _, u := range usage {
		if s.team[u.Name] {
			mine = append(mine, u)
		}
	}
	month := time.Date(2000, 2, 1, 0, 0, 0, 0, time.UTC)
	spent := func(until time.Time) int64 {
		return meter.Bill(mine, simBooks()[0], time.Time{}, until, until).MicroUSD
	}
	stops := s.budgetStops(ctx, l)
	if stops[otherName].n > 0 {
		s.fail("what the budget does not cover was stopped")
	}
	if !acts {
		if len(stops) > 0 {
			s.fail("a budget without an action stopped %v", stops)
		}
		if s.judgeLetter(ctx, l, spent, spent(month) > budgetLimit) {
			told.Add(1)
		}
		return
	}
	var last time.Time
	for name := range s.team {
		if k := stops[name]; k.n > 1 {
			s.fail("%s was stopped %d times", name, k.n)
		} else if k.at.After(last) {
			last = k.at
		}
	}
	if last.IsZero() {
		// A restart of the machine may have ended what was forgotten.
		if is := spent(month); is > budgetLimit {
			s.fail("nothing was stopped, at %d", is)
		}
		return
	}
	// The reserve bears a minute without a server, each start of which waits for
	// what the ledger does not know yet.
	if away := s.away(last.Add(-5*time.Minute), last); away <= time.Minute {
		judged.Add(1)
		if is := spent(month); is > budgetLimit {
			s.fail("the ledger closes at %d, stopped at %s: %v", is, last.Format(time.TimeOnly), stops)
		}
	}
	if is := spent(month); len(s.naps) == 0 && is < budgetLimit-keptMinutes*perMinute-1000 {
		s.fail("the ledger closes at %d, too early: %v", is, stops)
	}
}

// away is for how long nobody could act.
func (s *sim) away(from, to time.Time) (d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.downs {
		until := x.to.Add(20 * time.Second)
		if x.from.Before(to) && until.After(from) {
			d += until.Sub(x.from)
		}
	}
	return d
}

type stopped struct {
	n  int
	at time.Time
}

// budgetStops are what the service of budgets is on record to have stopped.
func (s *sim) budgetStops(ctx context.Context, l *life) map[string]stopped {
	out := make(map[string]stopped)
	for token := ""; ; {
		events, next, err := l.store.ListEvents(ctx, resource.EventQuery{Account: account, Region: region, Token: token, Limit: 1000})
		if err != nil {
			s.fail("events: %v", err)
			return out
		}
		for _, e := range events {
			if e.User == "budgets.amazonaws.com" && strings.Contains(string(e.Text), `"clary budget small"`) {
				k := out[e.ResourceName]
				out[e.ResourceName] = stopped{k.n + 1, e.At}
			}
		}
		if token = next; token == "" {
			return out
		}
	}
}

// judgeLetter sees that the crossing, if there was one, was told of once, in time.
func (s *sim) judgeLetter(ctx context.Context, l *life, spent func(time.Time) int64, crossed bool) (told bool) {
	recs, _, err := l.store.List(ctx, resource.Query{Kind: outbox.KindDelivery, Limit: 1000})
	s.mu.Lock()
	// What was not over at the letter may turn out to have slept, or to have ended
	// before: then the ledger closes below what it was.
	corrected := len(s.naps) > 0 || s.boot > 0
	s.mu.Unlock()
	want := map[bool]int{true: 1}[crossed]
	if err != nil || len(recs) != want && (len(recs) != 1 || !corrected) {
		s.fail("%d letters, want %d: %v", len(recs), want, err)
		return false
	}
	if !crossed {
		return false
	}
	var d outbox.Delivery
	if err := json.Unmarshal(recs[0].Spec, &d); err != nil || !strings.Contains(d.Subject, budgetName) {
		s.fail("the letter: %v %s", err, d.Subject)
	}
	at := recs[0].Created
	if late := len(s.naps) > 0 || s.away(at.Add(-5*time.Minute), at) > 0; !late && (spent(at) <= budgetLimit || spent(at.Add(-time.Minute)) > budgetLimit) {
		s.fail("told at %s of %d, a minute before of %d", at.Format(time.TimeOnly), spent(at), spent(at.Add(-time.Minute)))
	}
	return true
}
