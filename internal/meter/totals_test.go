package meter

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"clary/internal/resource"
)

// Totals are the sums of lines after each change of any of them: what closes,
// what is open for a look, what other tags move.
func TestTotalsDoNotDrift(t *testing.T) {
	t.Parallel()
	p := list(t)
	books := []Book{MinuteBook(p), AWSBook(p)}
	from := at("2026-10-01T00:00:00Z")
	many := 0
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 21))
		tab := newTable(books, from, from.AddDate(0, 1, 0))
		var in []resource.Usage
		ends := map[string]time.Time{}
		for step := range 400 {
			if len(in) > 0 && rng.IntN(3) == 0 {
				i := rng.IntN(len(in))
				tab.add(&in[i], ends[in[i].ID], -1)
				in = append(in[:i], in[i+1:]...)
			} else {
				u := randomUsages(rng, from.Add(time.Duration(rng.IntN(28))*day))[0]
				u.ID, u.UID, u.Kind = fmt.Sprint(step), string(rune('a'+rng.IntN(5))), "TrainingJob"
				u.Name, u.Quantity = u.UID, int64(rng.IntN(4)) // nothing of it, too
				u.Tags = []map[string]string{nil, {"team": "red"}}[rng.IntN(2)]
				ends[u.ID] = u.Start.Add(time.Duration(rng.Int64N(int64(50 * time.Hour))))
				tab.add(&u, ends[u.ID], 1)
				in = append(in, u)
			}
			want := make([][]total, len(books))
			for b := range books {
				want[b] = make([]total, len(tab.rate))
				for i, l := range tab.lines {
					if a := tab.amounts[b][i]; a.units != 0 {
						w := &want[b][l.rate]
						w.units, w.seconds, w.micro, w.lines = w.units+a.units, w.seconds+a.seconds, w.micro+a.micro, w.lines+1
						many++
					}
				}
				for r, w := range want[b] {
					if tab.totals[b][r] != w {
						t.Fatalf("seed %d, step %d, book %s: the total of %s is %+v, of its lines %+v", seed, step, books[b].Name, dayText(tab.rate[r].day), tab.totals[b][r], w)
					}
				}
			}
		}
		for i := range in {
			tab.add(&in[i], ends[in[i].ID], -1)
		}
		for b := range books {
			for r, got := range tab.totals[b] {
				if got != (total{}) {
					t.Errorf("seed %d: %+v of rate %d is left of nothing", seed, got, r)
				}
			}
		}
	}
	if many < 10_000 {
		t.Errorf("%d lines test little", many)
	}
}

// Whole days of what is open are kept: when it closes before them, its tags
// move it or the clock is set back, they are taken out again.
func TestOpenDaysAreTakenOut(t *testing.T) {
	t.Parallel()
	books := []Book{MinuteBook(list(t)), AWSBook(list(t))}
	ledger := &paper{}
	for i, start := range []string{"2026-09-28T23:59:30Z", "2026-10-02T00:00:00Z", "2026-10-03T10:00:01Z"} {
		u := training(start, "")
		u.Account, u.ID, u.UID = "1", fmt.Sprint(i), fmt.Sprint(i)
		ledger.open(u)
	}
	only := &Filter{Tag: &Term{Key: "team", Values: []string{""}}}
	sums := NewSums(ledger, books).Only(only)
	for what, now := range []string{
		"2026-10-10T12:00:00Z", "2026-10-10T12:30:00Z", "2026-10-08T01:00:00Z", "2026-10-02T00:00:00Z", "2026-11-03T00:00:00Z",
		"2026-11-04T10:00:00Z", "2026-11-05T10:00:00Z", "2026-11-06T10:00:00Z",
	} {
		switch what {
		case 5:
			ledger.close(1, at("2026-10-04T00:00:30Z"))
		case 6:
			ledger.tag("0", map[string]string{"team": "red"})
		case 7:
			ledger.tag("0", nil)
			ledger.close(2, at("2026-10-03T10:00:01Z"))
		}
		for _, top := range []int{0, 9} {
			q := SpendQuery{Account: "1", From: at("2026-09-01T00:00:00Z"), To: at("2026-12-01T00:00:00Z"), Now: at(now), Top: top}
			got, err := sums.Spend(t.Context(), q)
			if want := folded(ledger.rows, books, only, q); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("at %s: %+v, %v; the fold says %+v", now, got, err, want)
			}
		}
	}
}

// A forecast rests on the bill's lines: what days cost, how much of that were
// jobs, and what stands.
func TestForecastRestsOnTheBill(t *testing.T) {
	t.Parallel()
	b := MinuteBook(list(t))
	jobs, standing := 0.0, 0.0
	for seed := range uint64(8) {
		ledger, now := history(rand.New(rand.NewPCG(seed, 22)), at("2026-09-20T00:00:00Z"), 14)
		today := now.Truncate(day)
		from := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
		begin := today.AddDate(0, 0, -lookback)
		if from.Before(begin) {
			begin = from
		}
		q := ForecastQuery{Account: "1", From: from, To: today.AddDate(0, 0, 9), Now: now, Unit: []string{"", "", InstanceSecond, GBSecond}[seed%4]}
		value := func(l *Line) float64 {
			switch q.Unit {
			case "":
				return float64(l.MicroUSD)
			case l.Unit:
				return float64(l.Units)
			}
			return 0
		}
		perDay, mean, stand, unpriced := map[string]float64{}, 0.0, 0.0, false
		for _, l := range Bill(ledger.rows, b, begin, time.Time{}, now).Lines {
			perDay[l.Day] += value(&l)
			unpriced = unpriced || q.Unit == "" && l.Unpriced
			if l.Kind == "TrainingJob" && l.Day >= today.AddDate(0, 0, -lookback).Format(time.DateOnly) && l.Day < today.Format(time.DateOnly) {
				mean += value(&l) / lookback
			}
		}
		for _, u := range ledger.rows {
			if !u.End.IsZero() || u.Kind == "TrainingJob" {
				continue
			}
			hour, _ := b.Hourly(&u, now)
			switch q.Unit {
			case "":
				stand += 24 * hour
			case u.Unit:
				stand += float64(u.Quantity * 86400)
			}
		}
		jobs, standing = jobs+mean, standing+stand
		f, err := NewSums(ledger, []Book{b}).Forecast(t.Context(), q)
		if err != nil || f.None || f.Unpriced != unpriced || f.History != lookback || len(f.Days) != int(q.To.Sub(from)/day) {
			t.Fatalf("seed %d: %+v, %v; unpriced: %t", seed, f, err, unpriced)
		}
		for i, o := range f.Days {
			d := from.AddDate(0, 0, i)
			left := 1.0
			switch {
			case d.Before(today):
				left = 0
			case d.Equal(today):
				left = 1 - now.Sub(today).Hours()/24
			}
			if want := perDay[d.Format(time.DateOnly)] + left*(stand+mean); float64(o.Mean) < want-1 || float64(o.Mean) > want+1 {
				t.Errorf("seed %d: %s will cost %d, want %.1f", seed, d.Format(time.DateOnly), o.Mean, want)
			}
		}
	}
	if jobs == 0 || standing == 0 {
		t.Errorf("jobs of %f and %f that stands test little", jobs, standing)
	}
}

// BenchmarkTotals is what a budget asks for in a month of 100,000 intervals, of
// which 100 are open.
func BenchmarkTotals(b *testing.B) {
	ledger := &paper{}
	start := at("2026-11-01T00:00:00Z")
	for i := range 100_000 {
		u := training("2026-01-01T00:00:00Z", "")
		u.Start = start.Add(time.Duration(i) * 20 * time.Second)
		if i%1000 == 0 {
			u.Kind = "NotebookInstance"
		} else {
			u.End = u.Start.Add(90 * time.Second)
		}
		u.ID, u.Name, u.UID = fmt.Sprint(i), fmt.Sprintf("job-%06d", i), fmt.Sprintf("%026d", i)
		ledger.open(u)
	}
	q := SpendQuery{Account: "123456789012", From: start, To: start.AddDate(0, 1, 0), Now: start.AddDate(0, 0, 29)}
	s := NewSums(ledger, []Book{MinuteBook(list(b)), AWSBook(list(b))})
	if _, err := s.Spend(b.Context(), q); err != nil { // the first look folds
		b.Fatal(err)
	}
	b.Run("spend", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Spend(b.Context(), q); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("forecast", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Forecast(b.Context(), ForecastQuery{Account: q.Account, From: q.From, To: q.To, Now: q.Now}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
