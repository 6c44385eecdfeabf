package server

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

// What the console shows of a ledger on disk is what `clary cost` makes of it,
// while it is written to and after the store was opened anew.
func TestSpendIsTheLedgers(t *testing.T) {
	t.Parallel()
	books, err := priceBooks("")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "clary.db")
	st, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sums := meter.NewSums(st, books)
	rng := rand.New(rand.NewPCG(11, 11))
	begin := time.Date(2026, 9, 25, 0, 0, 0, 0, time.UTC)
	now := begin
	var money int64
	for step := range 120 {
		now = now.Add(time.Duration(rng.Int64N(int64(12 * time.Hour))))
		err := st.Update(t.Context(), func(tx store.Tx) error {
			for range rng.IntN(4) {
				n := rng.IntN(200)
				u := resource.Usage{
					ID: fmt.Sprint(n), Account: "123456789012", Region: "us-east-1", Kind: "TrainingJob", Name: fmt.Sprint("job-", n%70), UID: fmt.Sprint("uid-", n%70),
					Component: "training", InstanceType: "ml.m5.large", Unit: meter.InstanceSecond, Quantity: 1, Start: now.Add(-time.Duration(rng.IntN(5000)) * time.Second),
				}
				if err := meter.Open(tx, u); err != nil {
					return err
				}
				if err := meter.Close(tx, fmt.Sprint(rng.IntN(200)), now.Add(-time.Duration(rng.IntN(100))*time.Second)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if step%40 == 39 {
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			if st, err = sqlite.Open(path, sqlite.Options{}); err != nil {
				t.Fatal(err)
			}
			sums = meter.NewSums(st, books)
		}
		q := meter.SpendQuery{Account: "123456789012", Region: "us-east-1", From: begin, To: begin.AddDate(0, 3, 0), Now: now, Top: 5}
		if step%2 == 0 {
			q.From, q.To = begin.AddDate(0, 0, rng.IntN(60)), begin.AddDate(0, 0, 60+rng.IntN(30))
		}
		got, err := sums.Spend(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		usage, err := st.ListUsage(t.Context(), meter.Query(q.Account, q.Region, q.From, q.To))
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range books {
			want := meter.Bill(usage, b, q.From, q.To, now)
			money += want.MicroUSD
			var seconds int64
			for _, l := range want.Lines {
				seconds += l.Seconds
			}
			if a := got.Total[i]; a.MicroUSD != want.MicroUSD || a.Seconds != seconds || a.Unpriced != want.Unpriced {
				t.Fatalf("step %d, book %s: %+v, want %d µ$ for %d s", step, b.Name, a, want.MicroUSD, seconds)
			}
		}
	}
	if err := st.Close(); err != nil || money == 0 {
		t.Errorf("nothing was compared, or %v", err)
	}
}
