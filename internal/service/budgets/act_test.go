package budgets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apib "clary/internal/api/budgets"
	contract "clary/internal/budget"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
)

// halt stops as late as it may: what it stops costs until the bound.
type halt struct {
	w         *world
	kind      resource.Kind
	component string
	bound     time.Duration
}

func (w *world) halts() []contract.Stopper {
	return []contract.Stopper{
		halt{w, "NotebookInstance", "notebook", time.Minute},
		halt{w, "TrainingJob", "training", 2 * time.Minute},
		halt{w, "Endpoint", "hosting", time.Minute},
	}
}

func (h halt) Kind() resource.Kind  { return h.kind }
func (h halt) Bound() time.Duration { return h.bound }

func (h halt) Stop(ctx context.Context, k resource.Key, by string) error {
	if h.w.ask(string(k.Kind) + " " + k.Name + " for " + by) {
		return errors.New("out of order")
	}
	return h.w.db.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(k)
		if err != nil || r.Phase == "Stopping" {
			return err
		}
		r.Phase, r.Modified = "Stopping", time.Now()
		if err := tx.Put(r); err != nil {
			return err
		}
		for n := range 2 {
			if err := meter.Close(tx, meter.ID(r.UID, h.component, n+1), time.Now().Add(h.bound)); err != nil {
				return err
			}
		}
		return nil
	})
}

// stops makes a budget with an action that stops what is named.
func (w *world) stops(b *apib.Budget, approval string, names ...string) (id string) {
	w.t.Helper()
	w.create(b)
	out, err := w.CreateBudgetAction(w.t.Context(), call(), &apib.CreateBudgetActionRequest{
		AccountId: account, BudgetName: b.BudgetName, NotificationType: "ACTUAL", ActionType: typeStop, ApprovalModel: approval,
		ActionThreshold:  &apib.ActionThreshold{ActionThresholdValue: 100, ActionThresholdType: "PERCENTAGE"},
		Definition:       &apib.Definition{SsmActionDefinition: &apib.SsmActionDefinition{ActionSubType: "STOP_EC2_INSTANCES", Region: "us-east-1", InstanceIds: names}},
		ExecutionRoleArn: "arn:aws:iam::" + account + ":role/Role", Subscribers: []apib.Subscriber{letterTo("a@example.com")},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.ActionId
}

func dollar(name string) *apib.Budget {
	return &apib.Budget{BudgetName: name, BudgetType: "COST", TimeUnit: "MONTHLY", BudgetLimit: usdLimit("1.00")}
}

// total is what all intervals cost until a time, in micro-dollars.
func (w *world) total(until time.Time, names ...string) int64 {
	w.t.Helper()
	list, err := w.db.ListUsage(w.t.Context(), resource.UsageQuery{})
	if err != nil {
		w.t.Fatal(err)
	}
	list = slices.DeleteFunc(list, func(u resource.Usage) bool { return len(names) > 0 && !slices.Contains(names, u.Name) })
	return meter.Bill(list, w.Books[0], time.Time{}, time.Time{}, until).MicroUSD
}

// history are an action's statuses, the oldest first, and what was said last.
func (w *world) history(budget, id string) (statuses, last string) {
	w.t.Helper()
	out, err := w.DescribeBudgetActionHistories(w.t.Context(), call(), &apib.DescribeBudgetActionHistoriesRequest{AccountId: account, BudgetName: budget, ActionId: id})
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, h := range slices.Backward(out.ActionHistories) {
		all = append(all, h.Status)
	}
	return strings.Join(all, " "), out.ActionHistories[0].ActionHistoryDetails.Message
}

// What costs until the last moment that its stopper promises has cost the limit
// or less when it is at rest, and not less than the reserve below it.
func TestActsEarly(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{0, 17 * time.Second, 59 * time.Second} {
		t.Run(fmt.Sprint(late), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				b := dollar("small")
				b.TimeUnit = daily
				b.CostFilters = map[string][]string{"TagKeyValue": {"user:team$a"}}
				id := w.stops(b, automatic, "All")
				team := map[string]string{"team": "a"}
				w.runs(thing("NotebookInstance", "book"), "notebook", "ml.dime", team)
				time.Sleep(late)
				w.runs(thing("TrainingJob", "job"), "training", "ml.cent", team)
				other := w.runs(thing("NotebookInstance", "other"), "notebook", "ml.dime", map[string]string{"team": "b"})
				time.Sleep(time.Hour)
				w.ends(other, "notebook")
				if want := []string{"NotebookInstance book for small", "TrainingJob job for small"}; !slices.Equal(w.asked(), want) {
					t.Errorf("stopped %q, want %q", w.asked(), want)
				}
				const reserve = 3*100_000 + 4*10_000
				if is := w.total(time.Now(), "book", "job"); is > 1_000_000 || is < 1_000_000-reserve {
					t.Errorf("the ledger closes at %d", is)
				}
				is, text := w.history("small", id)
				if is != "STANDBY EXECUTION_IN_PROGRESS EXECUTION_SUCCESS" || !strings.Contains(text, "NotebookInstance book in us-east-1 ($6.00 per hour)") || !strings.Contains(text, "job") {
					t.Errorf("%s: %s", is, text)
				}
				if l := w.letters(); len(l) != 1 || l[0].To != "a@example.com" || !strings.Contains(l[0].Body, "book") {
					t.Errorf("letters: %v", l)
				}
				if late > 0 {
					return
				}
				time.Sleep(24 * time.Hour)
				if is, _ := w.history("small", id); is != "STANDBY EXECUTION_IN_PROGRESS EXECUTION_SUCCESS STANDBY" {
					t.Errorf("in the next period: %s", is)
				}
			})
		})
	}
}

// Storage costs on when all is at rest: what it will have cost by the end of the
// period is kept back.
func TestStorageIsKeptBack(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.stops(dollar("small"), automatic, "NotebookInstance")
		r := w.runs(thing("NotebookInstance", "book"), "notebook", "ml.cent", nil)
		w.update(func(tx store.Tx) error {
			return meter.Open(tx, meter.Of(r, "notebook-volume", meter.GBSecond, 1, 5, time.Now()))
		})
		time.Sleep(2 * time.Hour)
		if len(w.asked()) != 1 {
			t.Fatalf("stopped: %q", w.asked())
		}
		end := time.Date(2000, 2, 1, 0, 0, 0, 0, time.UTC)
		if is := w.total(end); is > 1_000_000 || is < 1_000_000-3*10_000 {
			t.Errorf("at the end of the month the ledger is at %d", is)
		}
	})
}

// What needs an approval is only named.
func TestApproval(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		id := w.stops(dollar("small"), manual, "TrainingJob")
		w.runs(thing("TrainingJob", "job"), "training", "ml.cent", nil)
		w.runs(thing("NotebookInstance", "book"), "notebook", "ml.dime", nil)
		time.Sleep(time.Hour)
		is, text := w.history("small", id)
		if is != "STANDBY PENDING" || !strings.Contains(text, "will stop: TrainingJob job in us-east-1 ($0.60 per hour)") || strings.Contains(text, "book") || len(w.asked()) > 0 {
			t.Fatalf("%s: %s, stopped %q", is, text, w.asked())
		}
		if l := w.letters(); len(l) != 1 || !strings.Contains(l[0].Body, "APPROVE_BUDGET_ACTION") {
			t.Errorf("letters: %v", l)
		}
		in := &apib.ExecuteBudgetActionRequest{AccountId: account, BudgetName: "small", ActionId: id, ExecutionType: "APPROVE_BUDGET_ACTION"}
		if _, err := w.ExecuteBudgetAction(t.Context(), call(), in); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if is, _ := w.history("small", id); is != "STANDBY PENDING EXECUTION_IN_PROGRESS EXECUTION_SUCCESS" || len(w.asked()) != 1 {
			t.Errorf("%s, stopped %q", is, w.asked())
		}
	})
}

// A server that is killed goes on with what it was about to stop; what could not
// be stopped is said, and tried again.
func TestStopsAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		id := w.stops(dollar("small"), automatic, "book")
		w.runs(thing("NotebookInstance", "book"), "notebook", "ml.dime", nil)
		w.outage(true)
		time.Sleep(9 * time.Minute)
		if is, _ := w.history("small", id); is != "STANDBY EXECUTION_IN_PROGRESS" || len(w.asked()) == 0 {
			t.Fatalf("%s, %d times", is, len(w.asked()))
		}
		w.kill()
		w.start()
		time.Sleep(10 * time.Minute)
		if is, text := w.history("small", id); !strings.HasPrefix(is, "STANDBY EXECUTION_IN_PROGRESS EXECUTION_FAILURE") || !strings.Contains(text, "spent") {
			t.Fatalf("%s: %s", is, text)
		}
		w.outage(false)
		time.Sleep(time.Minute)
		is, _ := w.history("small", id)
		if !strings.HasSuffix(is, "EXECUTION_IN_PROGRESS EXECUTION_SUCCESS") {
			t.Errorf("%s", is)
		}
		n := len(w.asked())
		time.Sleep(time.Hour)
		if len(w.asked()) != n {
			t.Errorf("stopped %d times more", len(w.asked())-n)
		}
	})
}

// What is started again within the period is stopped again.
func TestStartedAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.stops(dollar("small"), automatic, "All")
		r := w.runs(thing("NotebookInstance", "book"), "notebook", "ml.dime", nil)
		time.Sleep(time.Hour)
		w.update(func(tx store.Tx) error {
			cur, err := tx.Get(r.Key)
			if err != nil {
				return err
			}
			cur.Phase = "InService"
			if err := tx.Put(cur); err != nil {
				return err
			}
			u := meter.Of(cur, "notebook", meter.InstanceSecond, 2, 1, time.Now())
			u.InstanceType = "ml.cent"
			return meter.Open(tx, u)
		})
		time.Sleep(20 * time.Minute)
		if len(w.asked()) != 2 || w.total(time.Now()) > 1_000_000 {
			t.Errorf("stopped: %q", w.asked())
		}
	})
}

// An action stops in its region, though its budget is of all.
func TestActsInItsRegion(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.stops(dollar("small"), automatic, "All")
		there := thing("NotebookInstance", "there")
		there.Region = "eu-west-1"
		w.runs(there, "notebook", "ml.dime", nil)
		w.runs(thing("NotebookInstance", "here"), "notebook", "ml.dime", nil)
		time.Sleep(time.Hour)
		if want := []string{"NotebookInstance here for small"}; !slices.Equal(w.asked(), want) {
			t.Errorf("stopped %q, want %q", w.asked(), want)
		}
	})
}

// What was made under the name of what is to be stopped is not stopped for it.
func TestStopsNothingElse(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		id := w.stops(dollar("small"), automatic, "All")
		old := w.runs(thing("NotebookInstance", "book"), "notebook", "ml.dime", nil)
		w.outage(true)
		time.Sleep(9 * time.Minute)
		if len(w.asked()) == 0 {
			t.Fatal("nothing is being stopped")
		}
		w.update(func(tx store.Tx) error {
			if err := meter.Close(tx, meter.ID(old.UID, "notebook", 1), time.Now()); err != nil {
				return err
			}
			if err := tx.Delete(old.Key); err != nil {
				return err
			}
			return tx.Put(&resource.Record{Key: old.Key, UID: resource.NewUID(), Arn: old.Arn, Phase: "InService", Created: time.Now(), Modified: time.Now()})
		})
		w.outage(false)
		w.forget()
		time.Sleep(time.Minute)
		r, err := w.db.Get(t.Context(), old.Key)
		if err != nil {
			t.Fatal(err)
		}
		is, _ := w.history("small", id)
		if is != "STANDBY EXECUTION_IN_PROGRESS EXECUTION_SUCCESS" || r.Phase != "InService" || len(w.asked()) > 0 {
			t.Errorf("%s, it is %s, stopped %q", is, r.Phase, w.asked())
		}
	})
}

// A limit that was raised since a look sets nothing off.
func TestActsByTheLimitOfNow(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		id := w.stops(dollar("small"), automatic, "All")
		w.runs(thing("NotebookInstance", "book"), "notebook", "ml.dime", nil)
		time.Sleep(5 * time.Minute)
		r, err := w.db.Get(t.Context(), keyOf(account, "small"))
		if err != nil {
			t.Fatal(err)
		}
		old, err := read(r)
		if err != nil {
			t.Fatal(err)
		}
		raised := dollar("small")
		raised.BudgetLimit = usdLimit("100")
		if _, err := w.UpdateBudget(t.Context(), call(), &apib.UpdateBudgetRequest{AccountId: account, NewBudget: raised}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Minute)
		now := time.Now()
		st, err := w.stand(t.Context(), old, old.period(now), now)
		if err != nil || st.Limit != 1_000_000 || st.Spent < 900_000 {
			t.Fatalf("%d of %d: %v", st.Spent, st.Limit, err)
		}
		again, err := w.act(t.Context(), old, st)
		if err != nil || again == 0 {
			t.Errorf("looked at again after %s: %v", again, err)
		}
		time.Sleep(time.Minute)
		if is, _ := w.history("small", id); is != "STANDBY" || len(w.asked()) > 0 {
			t.Errorf("%s, stopped %q", is, w.asked())
		}
	})
}
