package budgets

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	apib "clary/internal/api/budgets"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/meter"
	"clary/internal/outbox"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const account = "123456789012"

func call() op.Call { return op.Call{Account: account, Region: "us-east-1"} }

// A notebook instance of these types costs a cent and a dime a minute; ml.free
// has no price.
const prices = `region,component,unit,instance_type,usd_per_unit,as_of
*,notebook,instance-hour,ml.cent,0.60,2000-01-01
*,notebook,instance-hour,ml.dime,6.00,2000-01-01
*,training,instance-hour,ml.cent,0.60,2000-01-01
*,hosting,instance-hour,ml.dime,6.00,2000-01-01
*,notebook,GB-month,volume,0.10,2000-01-01
`

type nobody struct{}

func (nobody) Allow(context.Context, resource.Principal, string, string) error    { return nil }
func (nobody) PassRole(context.Context, resource.Principal, string, string) error { return nil }

// world is a store with what reconciles budgets, in virtual time.
type world struct {
	*Service
	t    *testing.T
	path string
	db   *sqlite.Store
	stop func()
	mu   sync.Mutex
	asks []string // what was stopped, as often as it was asked for
	down bool     // nothing can be stopped
	// through is what the server's parts use of the store, if not all of it.
	through func(store.Store) store.Store
}

// inWorld runs f in virtual time, which begins at midnight of 2000-01-01.
func inWorld(t *testing.T, f func(*testing.T, *world)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, path: path}
		w.start()
		defer func() { w.kill() }()
		f(t, w)
	})
}

// start is the start of a server.
func (w *world) start() {
	w.t.Helper()
	db, err := sqlite.Open(w.path, sqlite.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := meter.ReadPrices(strings.NewReader(prices), "prices")
	if err != nil {
		w.t.Fatal(err)
	}
	var loop *reconcile.Loop
	log := slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	w.db = db
	var st store.Store = db
	if w.through != nil {
		st = w.through(db)
	}
	w.Service = New(Config{
		Store: st, Auth: nobody{}, Books: []meter.Book{meter.MinuteBook(p)}, Log: log,
		Wake: func(k resource.Key) { loop.Wake(k) },
	})
	w.Stoppers = w.halts()
	loop = reconcile.New(reconcile.Config{Store: st, Reconcilers: []reconcile.Reconciler{w.Service, Actions{w.Service}}, Owner: resource.NewUID(), Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { loop.Run(ctx) })
	wg.Go(func() { w.Run(ctx) })
	w.stop = func() {
		cancel()
		wg.Wait()
		_ = db.Close()
	}
}

// kill ends the server; start is another one.
func (w *world) kill() { w.stop() }

// thing is something that can cost.
func thing(kind resource.Kind, name string) resource.Key {
	return resource.Key{Account: account, Region: "us-east-1", Kind: kind, Name: name}
}

// runs makes a resource that costs from now on.
func (w *world) runs(k resource.Key, component, instanceType string, tags map[string]string) *resource.Record {
	w.t.Helper()
	now := time.Now()
	r := &resource.Record{Key: k, UID: resource.NewUID(), Arn: "arn:aws:sagemaker:us-east-1:" + account + ":" + strings.ToLower(string(k.Kind)+"/"+k.Name), Phase: "InService", Created: now, Modified: now}
	w.update(func(tx store.Tx) error {
		if err := tx.Put(r); err != nil {
			return err
		}
		if err := tx.PutTags(r.Arn, tags); err != nil {
			return err
		}
		u := meter.Of(r, component, meter.InstanceSecond, 1, 1, now)
		u.InstanceType = instanceType
		return meter.Open(tx, u)
	})
	return r
}

// ends closes what costs.
func (w *world) ends(r *resource.Record, component string) {
	w.t.Helper()
	w.update(func(tx store.Tx) error {
		r, err := tx.Get(r.Key)
		if err != nil {
			return err
		}
		r.Phase = "Stopped"
		if err := tx.Put(r); err != nil {
			return err
		}
		return meter.Close(tx, meter.ID(r.UID, component, 1), time.Now())
	})
}

func (w *world) update(f func(store.Tx) error) {
	w.t.Helper()
	if err := w.db.Update(w.t.Context(), f); err != nil {
		w.t.Fatal(err)
	}
}

// letters are what was left for e-mail, the oldest first.
func (w *world) letters() []letter {
	w.t.Helper()
	recs, _, err := w.db.List(w.t.Context(), resource.Query{Kind: outbox.KindDelivery, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []letter
	for _, r := range recs {
		var d outbox.Delivery
		if err := json.Unmarshal(r.Spec, &d); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, letter{r.Created, d})
	}
	return out
}

type letter struct {
	at time.Time
	outbox.Delivery
}

func letterTo(to string) apib.Subscriber {
	return apib.Subscriber{SubscriptionType: "EMAIL", Address: to}
}

func usdLimit(amount string) *apib.Spend { return &apib.Spend{Amount: amount, Unit: "USD"} }

func notice(kind, operator string, threshold float64, typ string, to ...apib.Subscriber) apib.NotificationWithSubscribers {
	return apib.NotificationWithSubscribers{
		Notification: &apib.Notification{NotificationType: kind, ComparisonOperator: operator, Threshold: threshold, ThresholdType: typ}, Subscribers: to,
	}
}

// cost is a monthly budget of dollars with an alert at a percentage.
func (w *world) cost(name, amount string, percent float64, to ...apib.Subscriber) {
	w.t.Helper()
	w.create(&apib.Budget{BudgetName: name, BudgetType: "COST", TimeUnit: "MONTHLY", BudgetLimit: usdLimit(amount)},
		notice("ACTUAL", "GREATER_THAN", percent, "PERCENTAGE", to...))
}

func (w *world) create(b *apib.Budget, n ...apib.NotificationWithSubscribers) {
	w.t.Helper()
	if _, err := w.CreateBudget(w.t.Context(), call(), &apib.CreateBudgetRequest{AccountId: account, Budget: b, NotificationsWithSubscribers: n}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) describe1(name string) *apib.Budget {
	w.t.Helper()
	out, err := w.DescribeBudget(w.t.Context(), call(), &apib.DescribeBudgetRequest{AccountId: account, BudgetName: name})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Budget
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return apierr.From(err).Code
}

// ask notes that something is to be stopped, and says whether nothing can be.
func (w *world) ask(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asks = append(w.asks, what)
	return w.down
}

func (w *world) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asks)
}

func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asks = nil
}

func (w *world) outage(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}
