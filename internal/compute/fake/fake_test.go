package fake_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/computetest"
	"clary/internal/compute/fake"
	"clary/internal/stage/plan"
)

func TestContract(t *testing.T) {
	t.Parallel()
	computetest.Run(t, func(*testing.T) computetest.Subject {
		w := fake.NewWorld(func(tk compute.Task) fake.Script {
			var p computetest.Program
			if err := json.Unmarshal([]byte(tk.Args[0]), &p); err != nil {
				panic(err)
			}
			return fake.Script{
				Delay: 2 * time.Millisecond, Run: 20*time.Millisecond + p.Run, Forever: p.Forever, IgnoreTERM: p.IgnoreTERM,
				Output: p.Lines, Result: plan.Result{ExitCode: p.Exit},
			}
		}, nil)
		return computetest.Subject{
			Open: func(*testing.T) compute.Driver { return w.Driver() },
			Args: func(p computetest.Program) []string {
				b, err := json.Marshal(p)
				if err != nil {
					panic(err)
				}
				return []string{string(b)}
			},
		}
	})
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := fake.NewWorld(func(tk compute.Task) fake.Script {
			s := fake.Script{
				Delay: time.Second, Run: time.Minute,
				Steps:  []fake.Step{{plan.StepDownloading, 0}, {plan.StepTraining, 10 * time.Second}},
				Output: []string{"a"},
			}
			if tk.ID == "lost-1" {
				s.Lost = 40 * time.Second
			}
			return s
		}, nil)
		d := w.Driver()
		began := time.Now()
		for _, id := range []compute.TaskID{"ok-1", "lost-1"} {
			if err := d.Start(t.Context(), compute.Task{ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(15 * time.Second)
		st, err := d.Status(t.Context(), "ok-1")
		if err != nil || st.Phase != compute.Running || len(st.Steps) != 2 || st.Spooled != 0 {
			t.Fatalf("after 15 s: %+v, %v", st, err)
		}
		st = computetest.Ended(t, d, "ok-1")
		if got := st.Exit.At.Sub(began); got != 61*time.Second {
			t.Errorf("ended after %s", got)
		}
		st, err = d.Status(t.Context(), "lost-1")
		if err != nil || st.Phase != compute.Lost || st.Heartbeat.Sub(began) != 30*time.Second {
			t.Errorf("lost task: %+v, %v", st, err)
		}
		if n := w.Starts("ok-1"); n != 1 {
			t.Errorf("%d starts", n)
		}
		if r := w.Running(); len(r) != 0 {
			t.Errorf("still running: %v", r)
		}
	})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	fail := true
	w := fake.NewWorld(func(compute.Task) fake.Script { return fake.Script{} }, func(op string, _ compute.TaskID, after bool) error {
		if op == "Start" && after && fail {
			fail = false
			return compute.ErrCapacity // the answer is lost, the effect is not
		}
		return nil
	})
	d := w.Driver()
	if err := d.Start(t.Context(), compute.Task{ID: "f-1"}); err == nil {
		t.Fatal("no fault")
	}
	if err := d.Start(t.Context(), compute.Task{ID: "f-1"}); err != nil {
		t.Fatal(err)
	}
	if n := w.Starts("f-1"); n != 1 {
		t.Errorf("%d starts", n)
	}
}
