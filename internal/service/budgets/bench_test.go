package budgets

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	apib "clary/internal/api/budgets"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

// BenchmarkBudgets is what budgets cost with 100,000 intervals in the last 29
// days, of which 100 are open.
func BenchmarkBudgets(b *testing.B) {
	const intervals, running, budgets = 100_000, 100, 100
	db, err := sqlite.Open(filepath.Join(b.TempDir(), "db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	p, err := meter.ReadPrices(strings.NewReader(prices), "prices")
	if err != nil {
		b.Fatal(err)
	}
	s := New(Config{Store: db, Auth: nobody{}, Books: []meter.Book{meter.MinuteBook(p)}, Wake: func(resource.Key) {}, Log: slog.New(slog.DiscardHandler)})
	now := time.Now().UTC()
	begin := midnight(now).AddDate(0, 0, -29)
	step := now.Sub(begin) / intervals
	for at := 0; at < intervals; at += 10_000 {
		err := db.Update(b.Context(), func(tx store.Tx) error {
			for i := at; i < at+10_000; i++ {
				u := resource.Usage{
					ID: fmt.Sprint(i), Account: account, Region: "us-east-1", Kind: "TrainingJob", Name: fmt.Sprintf("job-%06d", i), UID: fmt.Sprintf("%026d", i),
					Component: "training", InstanceType: "ml.cent", Unit: meter.InstanceSecond, Quantity: 1, Start: begin.Add(time.Duration(i) * step),
				}
				if i%(intervals/running) == 0 {
					u.Kind, u.Component = "NotebookInstance", "notebook"
				} else {
					u.End = u.Start.Add(90 * time.Second)
				}
				end := u.End
				u.End = time.Time{}
				if err := tx.OpenUsage(u); err != nil {
					return err
				}
				if end.IsZero() {
					continue
				}
				if err := tx.CloseUsage(u.ID, end); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for i := range budgets {
		_, err := s.CreateBudget(b.Context(), call(), &apib.CreateBudgetRequest{
			AccountId: account, Budget: &apib.Budget{BudgetName: fmt.Sprintf("b%03d", i), BudgetType: "COST", TimeUnit: "CUSTOM", BudgetLimit: usdLimit("1000000"), TimePeriod: &apib.TimePeriod{Start: api.At(begin), End: api.At(begin.AddDate(0, 0, 60))}},
			NotificationsWithSubscribers: []apib.NotificationWithSubscribers{notice(forecasted, "GREATER_THAN", 100, "PERCENTAGE", letterTo("a@example.com"))},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	look := func(ctx context.Context, n int) {
		for i := range n {
			if _, err := s.Reconcile(ctx, keyOf(account, fmt.Sprintf("b%03d", i))); err != nil {
				b.Fatal(err)
			}
		}
	}
	look(b.Context(), budgets) // each is judged for the first time
	b.Run("look", func(b *testing.B) {
		for b.Loop() {
			look(b.Context(), 1)
		}
	})
	b.Run("hundred", func(b *testing.B) {
		for b.Loop() {
			look(b.Context(), budgets)
		}
	})
	b.Run("describe", func(b *testing.B) {
		for b.Loop() {
			out, err := s.DescribeBudgets(b.Context(), call(), &apib.DescribeBudgetsRequest{AccountId: account})
			if err != nil || len(out.Budgets) != budgets {
				b.Fatal(len(out.Budgets), err)
			}
		}
	})
}
