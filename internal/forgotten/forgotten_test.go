package forgotten

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/meter"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const account, region = "123456789012", "us-east-1"

var now = time.Date(2026, 11, 20, 12, 30, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// world is a store that tests fill.
type world struct {
	t       *testing.T
	store   *sqlite.Store
	metrics metrics.Store
	idle    map[string]Use
}

func newWorld(t *testing.T) *world {
	t.Helper()
	st, err := sqlite.Open(filepath.Join(t.TempDir(), "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return &world{t: t, store: st, metrics: metrics.New(st.Metrics()), idle: map[string]Use{}}
}

// used is an interval of a component, in hours before now; to < 0: it goes on.
type used struct {
	component, unit, instance string
	quantity                  int64
	from, to                  float64
}

func compute(component string, from, to float64) used {
	return used{component, meter.InstanceSecond, "ml.m5.xlarge", 1, from, to}
}

func disk(gigabytes int64, from, to float64) used {
	return used{"notebook-volume", meter.GBSecond, "", gigabytes, from, to}
}

func ago(hours float64) time.Time { return now.Add(-time.Duration(hours * float64(time.Hour))) }

func (w *world) put(kind resource.Kind, name, phase string, created float64, list ...used) {
	w.t.Helper()
	err := w.store.Update(w.t.Context(), func(tx store.Tx) error {
		r := &resource.Record{
			Key: resource.Key{Account: account, Region: region, Kind: kind, Name: name}, UID: resource.NewUID(), Arn: "arn:" + name,
			Phase: phase, Created: ago(created), Modified: ago(created),
		}
		if err := tx.Put(r); err != nil {
			return err
		}
		for n, x := range list {
			u := meter.Of(r, x.component, x.unit, n+1, x.quantity, ago(x.from))
			u.InstanceType = x.instance
			if err := meter.Open(tx, u); err != nil {
				return err
			}
			if x.to >= 0 {
				if err := meter.Close(tx, u.ID, ago(x.to)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// asked puts n requests to a variant, so many hours ago.
func (w *world) asked(endpoint, variant string, n, hours float64) {
	w.t.Helper()
	if err := w.metrics.Put(w.t.Context(), []metrics.Datum{{
		Account: account, Region: region, Namespace: namespace, Name: requests, Dimensions: map[string]string{byName: endpoint, "VariantName": variant},
		Time: ago(hours), Sum: n, Count: n, Min: 1, Max: 1, Unit: "None",
	}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) find(q Query) *Report {
	w.t.Helper()
	p, err := meter.ListPrices()
	if err != nil {
		w.t.Fatal(err)
	}
	f := Finder{Store: w.store, Metrics: w.metrics, Books: []meter.Book{meter.MinuteBook(p), meter.AWSBook(p)}, Idle: func(context.Context, string, string, []string) map[string]Use { return w.idle }}
	q.Account, q.Now = account, now
	if q.Kinds == nil {
		q.Kinds = []resource.Kind{"NotebookInstance", "Endpoint", "TrainingJob"}
	}
	rep, err := f.Find(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	return rep
}

func names(r *Report) string {
	var out []string
	for _, i := range r.Items {
		out = append(out, i.Name+":"+i.Why)
	}
	return strings.Join(out, " ")
}

// Each rule finds what it is about, and nothing that is in use, over, or not
// long enough unused.
func TestFind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("NotebookInstance", "used", "InService", 30, compute("notebook", 30, -1), disk(5, 30, -1))
	w.put("NotebookInstance", "short", "InService", 30, compute("notebook", 30, -1), disk(5, 30, -1))
	w.put("NotebookInstance", "idle", "InService", 30, compute("notebook", 30, -1), disk(5, 30, -1))
	w.put("NotebookInstance", "lately", "Stopped", 300, compute("notebook", 300, 167), disk(5, 300, -1))
	w.put("NotebookInstance", "long", "Stopped", 300, compute("notebook", 300, 169), disk(5, 300, 200), disk(20, 200, -1))
	w.put("NotebookInstance", "begins", "Pending", 300, compute("notebook", 300, 169), disk(5, 300, -1))
	w.put("NotebookInstance", "gone", "Deleting", 300, compute("notebook", 300, 169), disk(5, 300, 100))
	w.idle["short"] = Use{Since: ago(0.9)}
	w.idle["idle"] = Use{Since: ago(1.1), Evidence: "no kernel is there"}

	w.put("Endpoint", "never", "InService", 30, compute("hosting", 30, -1))
	w.put("Endpoint", "young", "InService", 23, compute("hosting", 23, -1))
	w.put("Endpoint", "quiet", "InService", 300, compute("hosting", 300, -1))
	w.put("Endpoint", "busy", "InService", 300, compute("hosting", 300, -1))
	w.put("Endpoint", "updated", "InService", 300, compute("hosting", 300, 2), compute("hosting", 2, -1))
	w.put("Endpoint", "failed", "Failed", 300, compute("hosting", 300, 2))
	w.asked("quiet", "a", 7, 100)
	w.asked("quiet", "b", 3, 25)
	w.asked("quiet", "b", 90, 290)
	w.asked("busy", "a", 1, 23)
	w.asked("never", "a", 4, 31) // of another that had its name
	w.put("Endpoint", "monitored", "InService", 300, compute("hosting", 300, -1))
	w.put("Endpoint", "hourly", "InService", 300, compute("hosting", 300, -1))
	w.put("Endpoint", "much", "InService", 300, compute("hosting", 300, -1))
	w.put("Endpoint", "gap", "InService", 300, compute("hosting", 300, -1))
	w.put("Endpoint", "renewed", "InService", 300, compute("hosting", 300, 2), compute("hosting", 2, -1)) // somebody works on it
	w.put("Endpoint", "second", "InService", 30, compute("hosting", 30, -1))
	w.asked("second", "a", 5, 40) // of another that had its name
	w.asked("second", "a", 2, 29)
	for h := range 24 {
		at := float64(h) + 0.75 // of the last 24 whole hours
		w.asked("monitored", "a", 60, at)
		w.asked("renewed", "a", 60, at)
		w.asked("hourly", "a", float64(10+h%3), at)
		w.asked("much", "a", 61, at)
		if h != 5 {
			w.asked("gap", "a", 12, at)
		}
	}

	rep := w.find(Query{})
	if got, want := names(rep), "idle:Idle monitored:FlatTraffic never:NoTraffic quiet:NoTraffic second:NoTraffic long:Volume"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	for _, i := range rep.Items {
		for name, want := range map[string][3]string{
			"idle":      {"nobody has used it for 66 minutes: no kernel is there", "clary notebook stop idle", "aws sagemaker stop-notebook-instance --notebook-instance-name idle --region us-east-1"},
			"monitored": {"flat: 60 requests in each of the last 24 hours", "clary endpoint delete monitored", ""},
			"never":     {"no request in the 30 hours", "clary endpoint delete never", "aws sagemaker delete-endpoint --endpoint-name never --region us-east-1"},
			"quiet":     {"no request since 19 November 11:30 UTC, 25 hours ago; 10 in the last 7 days", "clary endpoint delete quiet", ""},
			"second":    {"29 hours ago; 2 in the last 7 days", "clary endpoint delete second", ""},
			"long":      {"stopped for 7 days; its volume of 20 GB goes on", "clary notebook delete long", "aws sagemaker delete-notebook-instance --notebook-instance-name long --region us-east-1"},
		} {
			if i.Name == name && (!strings.Contains(i.Evidence, want[0]) || i.Command != want[1] || want[2] != "" && i.Call != want[2]) {
				t.Errorf("%s: %q, %q, %q", name, i.Evidence, i.Command, i.Call)
			}
		}
	}
	if got := names(w.find(Query{After: 30 * time.Minute})); !strings.Contains(got, "short:Idle") || !strings.Contains(got, "lately:Volume") || !strings.Contains(got, "young:NoTraffic") || strings.Contains(got, "used:") {
		t.Errorf("after half an hour: %s", got)
	}
	if got := names(w.find(Query{Kinds: []resource.Kind{"NotebookInstance"}})); got != "idle:Idle long:Volume" {
		t.Errorf("who may not list endpoints sees %s", got)
	}
	if got := names(w.find(Query{Region: "eu-west-1"})); got != "" {
		t.Errorf("another region has %s", got)
	}
}

// What is found is priced by both books: this month, to now, and 30 days more.
func TestPrices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("NotebookInstance", "n", "InService", 24*40, compute("notebook", 24*40, 24*39), compute("notebook", 2.0084, -1), disk(5, 24*40, -1)) // 2 h 30.24 s
	w.put("NotebookInstance", "v", "Stopped", 24*40, compute("notebook", 24*40, 24*39), disk(5, 24*40, -1))
	w.put("NotebookInstance", "x", "InService", 3, used{"notebook", meter.InstanceSecond, "ml.none.large", 1, 3, -1})
	w.idle["n"], w.idle["x"] = Use{Since: ago(2)}, Use{Since: ago(2)}
	rep := w.find(Query{})
	if got := names(rep); got != "n:Idle v:Volume x:Idle" {
		t.Fatal(got)
	}
	p, _ := meter.ListPrices()
	hour, ok := p.Price(region, "notebook", "ml.m5.xlarge", meter.InstanceSecond, "2026-11-20")
	gb, ok2 := p.Price(region, "notebook-volume", "", meter.GBSecond, "2026-11-20")
	if !ok || !ok2 {
		t.Fatal("no price")
	}
	n := rep.Items[0]
	second := float64(hour.Pico) / float64(hour.Per) / 1e6
	near := func(got int64, want float64) bool { return float64(got) > want-40 && float64(got) < want+40 } // rounded by day
	if !near(n.SoFar.MicroUSD, 121*60*second) || !near(n.SoFar.AWSMicroUSD, 7231*second) || !near(n.PerMonth.MicroUSD, 720*3600*second) || n.PerMonth.MicroUSD != n.PerMonth.AWSMicroUSD {
		t.Errorf("%+v", n)
	}
	v := rep.Items[1]
	if want := 5 * float64(gb.Pico) / 1e6; !near(v.PerMonth.MicroUSD, want) || !near(v.SoFar.MicroUSD, want*(19*24+12.5)/720) {
		t.Errorf("%+v, want %f a month", v, want)
	}
	if x := rep.Items[2]; !x.PerMonth.Unpriced || !x.SoFar.Unpriced || !rep.PerMonth.Unpriced {
		t.Errorf("%+v", x)
	}
	if rep.SoFar.MicroUSD != n.SoFar.MicroUSD+v.SoFar.MicroUSD || rep.PerMonth.AWSMicroUSD != n.PerMonth.AWSMicroUSD+v.PerMonth.AWSMicroUSD {
		t.Errorf("sums: %+v", rep)
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{time.Second: "1 second", 90 * time.Second: "1 minute", 119 * time.Minute: "119 minutes", 2 * time.Hour: "2 hours", 49 * time.Hour: "2 days"} {
		if got := words(d); got != want {
			t.Error(fmt.Sprint(d), got)
		}
	}
}
