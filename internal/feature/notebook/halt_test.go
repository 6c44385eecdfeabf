package notebook

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/stage/agent"
)

// A budget's stop saves what is open first, is one whoever asks again, and closes
// the ledger within its bound even if nobody can look at the task any more.
func TestHalt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var heard []string
		b := newBench(t, func(k compute.Task) fake.Script {
			return served(k, fake.Agent{Lab: time.Second, Asked: func(_, path string, body []byte, _ agent.State) {
				if path == "/save" || path == "/warn" {
					heard = append(heard, path+" "+string(body))
				}
			}})
		})
		b.create(good("book"))
		b.settle("book", phaseInService)
		time.Sleep(time.Hour)
		k, x := key(account, region, "book"), b.Stopper()
		for range 2 {
			if err := x.Stop(t.Context(), k, "small"); err != nil {
				t.Fatal(err)
			}
		}
		asked := time.Now()
		b.settle("book", phaseStopped)
		if len(heard) != 2 || !strings.HasPrefix(heard[0], "/warn") || !strings.Contains(heard[0], `"small"`) || !strings.HasPrefix(heard[1], "/save") {
			t.Errorf("its first process heard %q", heard)
		}
		if u := b.usage("notebook"); len(u) != 1 || u[0].End.Before(asked) || u[0].End.Sub(asked) > x.Bound() {
			t.Errorf("billed %+v, stopped at %s", u, asked)
		}

		if err := b.start("book"); err != nil {
			t.Fatal(err)
		}
		b.settle("book", phaseInService)
		time.Sleep(time.Hour)
		if err := x.Stop(t.Context(), k, "small"); err != nil {
			t.Fatal(err)
		}
		asked = time.Now()
		b.trouble = errors.New("the driver does not answer")
		if _, err := b.Reconcile(t.Context(), k); err == nil {
			t.Fatal("a driver that does not answer was no trouble")
		}
		time.Sleep(time.Hour)
		b.trouble = nil
		b.settle("book", phaseStopped)
		if u := b.usage("notebook"); len(u) != 2 || !u[1].End.Equal(asked.Add(x.Bound())) {
			t.Errorf("billed %+v, stopped at %s", u, asked)
		}
		for _, gone := range []string{"book", "nobody"} {
			if err := x.Stop(t.Context(), key(account, region, gone), "small"); err != nil {
				t.Errorf("%s: %v", gone, err)
			}
		}
	})
}

// One that is not in service yet never is.
func TestHaltInCreation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, lab)
		b.create(good("book"))
		b.look("book")
		if err := b.Stopper().Stop(t.Context(), key(account, region, "book"), "small"); err != nil {
			t.Fatal(err)
		}
		d := b.settle("book", phaseFailed)
		if !strings.Contains(d.FailureReason, `budget "small"`) || len(b.usage("notebook")) > 0 {
			t.Errorf("%s, billed %+v", d.FailureReason, b.usage("notebook"))
		}
		for range 5 {
			b.look("book")
			time.Sleep(time.Minute)
		}
		if n := b.world.Running(); len(n) > 0 {
			t.Errorf("%v run", n)
		}
		if err := b.start("book"); err != nil {
			t.Fatal(err)
		}
		b.settle("book", phaseInService)
	})
}
