package budgets

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apib "clary/internal/api/budgets"
	"clary/internal/aws/apierr"
	contract "clary/internal/budget"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
)

// begins creates a notebook instance as its feature does, in a transaction.
func (w *world) begins(tx store.Tx, name, instanceType string, tags map[string]string) error {
	k := thing("NotebookInstance", name)
	err := w.Admit(w.t.Context(), tx, contract.Ask{Key: k, Tags: tags, Uses: []resource.Usage{{Component: "notebook", InstanceType: instanceType, Unit: meter.InstanceSecond, Quantity: 1}}})
	if err != nil {
		return err
	}
	return tx.Put(&resource.Record{Key: k, UID: resource.NewUID(), Arn: "arn:" + name, Phase: "Pending", Created: time.Now(), Modified: time.Now()})
}

func (w *world) begin1(name, instanceType string, tags map[string]string) error {
	return w.db.Update(w.t.Context(), func(tx store.Tx) error { return w.begins(tx, name, instanceType, tags) })
}

// Two instances of a dime a minute fit into a dollar: the minute that it takes to
// stop each, one to notice and one for a sleep of the machine are kept back, and
// each has a first minute.
func TestGate(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		if err := w.begin1("before", "ml.dime", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := w.db.Get(t.Context(), roomKey(account)); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("without a hard budget there is a room: %v", err)
		}
		b := dollar("small")
		b.CostFilters = map[string][]string{"TagKeyValue": {"user:team$a"}}
		id := w.stops(b, automatic, "All")
		team := map[string]string{"team": "a"}
		all := func(names ...string) error {
			return w.db.Update(t.Context(), func(tx store.Tx) error {
				for _, n := range names {
					if err := w.begins(tx, n, "ml.dime", team); err != nil {
						return err
					}
				}
				return nil
			})
		}
		err := all("a", "b", "c")
		e, ok := errors.AsType[*apierr.Error](err)
		if !ok || e.Code != "ResourceLimitExceeded" {
			t.Fatalf("three at once: %v", err)
		}
		for _, part := range []string{"'budget small' is $1.00", "current utilization of $0.60", "a request delta of $0.40", "costs $6.00 per hour", "$0.40 are left", "NotebookInstance c"} {
			if !strings.Contains(e.Message, part) {
				t.Errorf("the refusal lacks %q: %s", part, e.Message)
			}
		}
		if _, err := w.db.Get(t.Context(), thing("NotebookInstance", "a")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a refused transaction left something: %v", err)
		}
		if err := all("a", "b"); err != nil {
			t.Fatal(err)
		}
		w.kill()
		w.start()
		if err := all("c"); err == nil {
			t.Error("a server that was killed forgot what was admitted")
		}
		if err := w.begin1("other", "ml.dime", map[string]string{"team": "b"}); err != nil {
			t.Errorf("beside the budget: %v", err)
		}
		if err := w.begin1("free", "ml.free", team); err != nil {
			t.Errorf("without a price: %v", err)
		}
		if err := w.begin1("cheap", "ml.cent", team); err != nil {
			t.Errorf("a cent a minute: %v", err)
		}
		w.update(func(tx store.Tx) error { return tx.Delete(thing("NotebookInstance", "a")) })
		if err := all("c"); err != nil {
			t.Errorf("room that was given back: %v", err)
		}
		if _, err := w.DeleteBudgetAction(t.Context(), call(), &apib.DeleteBudgetActionRequest{AccountId: account, BudgetName: "small", ActionId: id}); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if err := w.begin1(fmt.Sprint("more-", i), "ml.dime", team); err != nil {
				t.Fatalf("without a hard budget: %v", err)
			}
		}
	})
}

// What was admitted and has begun counts once.
func TestGateCountsOnce(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.stops(dollar("small"), automatic, "All")
		if err := w.begin1("first", "ml.dime", nil); err != nil {
			t.Fatal(err)
		}
		w.update(func(tx store.Tx) error {
			r, err := tx.Get(thing("NotebookInstance", "first"))
			if err != nil {
				return err
			}
			u := meter.Of(r, "notebook", meter.InstanceSecond, 1, 1, time.Now())
			u.InstanceType = "ml.dime"
			return meter.Open(tx, u)
		})
		time.Sleep(30 * time.Second)
		// 10 cents are spent, 30 are kept back and 40 asked for.
		if err := w.begin1("second", "ml.dime", nil); err != nil {
			t.Error(err)
		}
	})
}

// What an endpoint's update begins holds its room beside what runs already.
func TestGateHoldsASecondFleet(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.stops(dollar("small"), automatic, "All")
		r := w.runs(thing("Endpoint", "first"), "hosting", "ml.dime", nil)
		time.Sleep(30 * time.Second)
		err := w.db.Update(t.Context(), func(tx store.Tx) error {
			cur, err := tx.Get(r.Key)
			if err != nil {
				return err
			}
			if err := w.Admit(t.Context(), tx, contract.Ask{Key: r.Key, Uses: []resource.Usage{{Component: "hosting", InstanceType: "ml.dime", Unit: meter.InstanceSecond, Quantity: 1}}}); err != nil {
				return err
			}
			cur.Phase = "Updating"
			return tx.Put(cur)
		})
		if err != nil {
			t.Fatal(err)
		}
		// 10 cents are spent, 30 kept back for each fleet, and 40 asked for.
		if err := w.begin1("second", "ml.dime", nil); code(err) != "ResourceLimitExceeded" {
			t.Errorf("there is room for another: %v", err)
		}
	})
}
