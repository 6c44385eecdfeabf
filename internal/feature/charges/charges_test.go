package charges

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/meter"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const account = "123456789012"

// world is a ledger with a publisher.
type world struct {
	t       *testing.T
	db      *sqlite.Store
	book    meter.Book
	changes chan struct{}
	stop    func()
}

// settle is what ends late after a restart.
const settle = 15 * time.Second

func open(t *testing.T, path string) *world {
	t.Helper()
	db, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := meter.ListPrices()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, db: db, book: meter.MinuteBook(list), changes: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		Run(ctx, Config{
			Account: account, Settle: settle, Sums: meter.NewSums(db, []meter.Book{w.book, meter.AWSBook(list)}), Ledger: db,
			Metrics: metrics.New(db.Metrics()), Changes: w.changes, Log: slog.New(slog.DiscardHandler),
		})
	})
	w.stop = func() {
		cancel()
		wg.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	return w
}

func (w *world) update(f func(tx store.Tx) error) {
	w.t.Helper()
	if err := w.db.Update(w.t.Context(), f); err != nil {
		w.t.Fatal(err)
	}
	select {
	case w.changes <- struct{}{}:
	default:
	}
	synctest.Wait()
}

func (w *world) begin(name string) {
	w.t.Helper()
	w.update(func(tx store.Tx) error {
		return meter.Open(tx, resource.Usage{
			ID: name, Account: account, Region: "us-east-1", Kind: "TrainingJob", Name: name, UID: "uid-" + name,
			Component: "training", InstanceType: "ml.m5.large", Unit: meter.InstanceSecond, Quantity: 1, Start: time.Now(),
		})
	})
}

func (w *world) end(name string) {
	w.t.Helper()
	w.update(func(tx store.Tx) error { return meter.Close(tx, name, time.Now()) })
}

// points are what was published for all services and for SageMaker since.
func (w *world) points(since time.Time) [2][]metrics.Point {
	w.t.Helper()
	var out [2][]metrics.Point
	for i, dims := range []map[string]string{{"Currency": "USD"}, {"Currency": "USD", "ServiceName": "AmazonSageMaker"}} {
		p, err := metrics.New(w.db.Metrics()).Points(w.t.Context(), metrics.Query{
			Account: account, Region: "us-east-1", Namespace: "AWS/Billing", Name: "EstimatedCharges", Dimensions: dims,
			Start: since, End: time.Now().Add(time.Minute), Period: time.Minute,
		})
		if err != nil {
			w.t.Fatal(err)
		}
		out[i] = p
	}
	return out
}

// bill is what the ledger says of the month.
func (w *world) bill() float64 {
	w.t.Helper()
	now := time.Now().UTC()
	from := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	usage, err := w.db.ListUsage(w.t.Context(), meter.Query(account, "", from, from.AddDate(0, 1, 0)))
	if err != nil {
		w.t.Fatal(err)
	}
	return float64(meter.Bill(usage, w.book, from, from.AddDate(0, 1, 0), now).MicroUSD) / 1e6
}

func (w *world) last() (float64, time.Time) {
	w.t.Helper()
	synctest.Wait()
	p := w.points(time.Time{})
	if len(p[0]) == 0 || len(p[0]) != len(p[1]) {
		w.t.Fatalf("%d and %d points", len(p[0]), len(p[1]))
	}
	a, b := p[0][len(p[0])-1], p[1][len(p[1])-1]
	if a.Max != b.Max {
		w.t.Errorf("%v in all, %v of SageMaker, which is all", a.Max, b.Max)
	}
	return a.Max, a.Start
}

func (w *world) same(what string) {
	w.t.Helper()
	if got, at := w.last(); got != w.bill() {
		w.t.Errorf("%s: %v at %s, the ledger says %v", what, got, at, w.bill())
	}
}

func TestPublished(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		w := open(t, path)
		time.Sleep(settle + time.Second)
		if v, _ := w.last(); v != 0 {
			t.Errorf("nothing costs, and %v is published", v)
		}
		// While nothing costs, some points a day.
		time.Sleep(24*time.Hour + time.Minute)
		if n := len(w.points(time.Now().Add(-24 * time.Hour))[0]); n < 5 || n > 7 {
			t.Errorf("%d points of a day on which nothing cost", n)
		}

		w.begin("a")
		time.Sleep(31 * time.Second)
		if v, _ := w.last(); v == 0 || v != w.bill() {
			t.Errorf("%v, the ledger says %v", v, w.bill())
		}
		for range 10 {
			before := w.bill()
			time.Sleep(time.Minute)
			if v, _ := w.last(); v <= before-1e-9 || v > w.bill() {
				t.Errorf("%v is not of the last minute: %v to %v", v, before, w.bill())
			}
		}
		w.begin("b")
		w.end("a")
		time.Sleep(31 * time.Second)
		w.same("one of two ended")
		w.end("b")
		time.Sleep(31 * time.Second)
		w.same("all ended")
		v, at := w.last()

		// A restart says the same, never more.
		w.stop()
		w = open(t, path)
		time.Sleep(settle + time.Second)
		if again, since := w.last(); again != v || since.Before(at) {
			t.Errorf("%v at %s after a restart, %v at %s before", again, since, v, at)
		}
		// What ends soon after it began is in the sum.
		time.Sleep(time.Hour)
		w.begin("c")
		time.Sleep(time.Second)
		w.end("c")
		time.Sleep(31 * time.Second)
		w.same("something short")
		if now, _ := w.last(); now <= v {
			t.Errorf("%v after another minute, %v before", now, v)
		}

		// The month begins at nothing, though something goes on.
		time.Sleep(time.Until(time.Date(2000, 1, 31, 23, 50, 0, 0, time.UTC)))
		w.begin("d")
		time.Sleep(time.Until(time.Date(2000, 2, 1, 0, 0, 31, 0, time.UTC)))
		w.same("the first of the month")
		if v, at := w.last(); v > 0.01 || at.Before(time.Date(2000, 2, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%v at %s in a new month", v, at)
		}
		w.stop()
	})
}

// What ended while the server was away is closed some time after its start:
// until then nothing is said of it.
func TestSettles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		w := open(t, path)
		w.begin("a")
		began := time.Now()
		time.Sleep(5 * time.Minute)
		w.stop()
		time.Sleep(time.Hour)
		w = open(t, path)
		time.Sleep(10 * time.Second)
		w.update(func(tx store.Tx) error { return meter.Close(tx, "a", began.Add(6*time.Minute)) })
		time.Sleep(time.Minute)
		w.same("it ended long ago")
		for _, p := range w.points(began)[0] {
			if p.Max > w.bill() {
				t.Errorf("%v at %s, in the end it is %v", p.Max, p.Start, w.bill())
			}
		}
		w.stop()
	})
}

// A month in which nothing costs begins at nothing, when it begins.
func TestQuietMonth(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		w := open(t, path)
		turn := time.Date(2000, 2, 1, 0, 0, 0, 0, time.UTC)
		time.Sleep(time.Until(turn.Add(-2 * time.Hour)))
		w.begin("a")
		time.Sleep(10 * time.Minute)
		w.end("a")
		time.Sleep(time.Until(turn.Add(-time.Second)))
		if v, _ := w.last(); v == 0 {
			t.Fatal("nothing was spent")
		}
		time.Sleep(31 * time.Second)
		if v, at := w.last(); v != 0 || at.Before(turn) {
			t.Errorf("%v at %s in a new month", v, at)
		}
		w.stop()
	})
}
