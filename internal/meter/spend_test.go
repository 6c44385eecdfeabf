package meter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"clary/internal/resource"
)

// paper is a ledger in memory, with its history.
type paper struct {
	rows  []resource.Usage
	at    map[string]int // of rows
	num   []int64        // of rows: when they changed last
	last  int64
	fails bool
}

func (p *paper) UsageSince(_ context.Context, account string, from, to time.Time, since int64, f func(resource.Usage)) (int64, error) {
	if since == p.last {
		return since, nil
	}
	for n, i := range p.order() {
		u := p.rows[i]
		over := u.Start.Before(to) && (u.End.IsZero() || u.End.After(from))
		if u.Account != account || p.num[i] <= since || since == 0 && !over {
			continue
		}
		if f(u); p.fails && n > 0 {
			return 0, errors.New("the disk is gone")
		}
	}
	return p.last, nil
}

func (p *paper) order() []int {
	out := make([]int, len(p.rows))
	for i := range out {
		out[i] = i
	}
	slices.SortFunc(out, func(a, b int) int { return cmp.Compare(p.num[a], p.num[b]) })
	return out
}

func (p *paper) open(u resource.Usage) {
	if p.at == nil {
		p.at = map[string]int{}
	}
	p.last++
	p.at[u.ID] = len(p.rows)
	p.rows, p.num = append(p.rows, u), append(p.num, p.last)
}

func (p *paper) close(i int, end time.Time) {
	if u := &p.rows[i]; u.End.IsZero() && u.Unit != Request {
		if u.End = end; end.Before(u.Start) {
			u.End = u.Start
		}
		p.last++
		p.num[i] = p.last
	}
}

func (p *paper) tag(uid string, tags map[string]string) {
	for i := range p.rows {
		if u := &p.rows[i]; u.UID == uid && u.End.IsZero() && u.Unit != Request {
			u.Tags = tags
			p.last++
			p.num[i] = p.last
		}
	}
}

// folded is what Spend must say, made of Bill's lines.
func folded(usages []resource.Usage, books []Book, only *Filter, q SpendQuery) Spend {
	var some []resource.Usage
	for _, u := range usages {
		if only.Match(&u) && u.Account == q.Account && (q.Region == "" || u.Region == q.Region) && (q.Kinds == nil || slices.Contains(q.Kinds, u.Kind)) {
			some = append(some, u)
		}
	}
	s := Spend{Total: make(Amounts, len(books)), Units: map[string]int64{}}
	days, kinds, tags := map[string]Amounts{}, map[resource.Kind]Amounts{}, map[string]Amounts{}
	things := map[resourceKey]*ResourceSpend{}
	for b, book := range books {
		st := Bill(some, book, q.From, q.To, q.Now)
		for _, l := range st.Lines {
			a := Amount{l.MicroUSD, l.Seconds, l.Unpriced}
			s.Total[b].add(a)
			if days[l.Day] == nil {
				days[l.Day] = make(Amounts, len(books))
			}
			days[l.Day][b].add(a)
			of(kinds, l.Kind, len(books))[b].add(a)
			if q.Tag != "" {
				of(tags, l.Tags[q.Tag], len(books))[b].add(a)
			}
			if b == 0 {
				s.Units[l.Unit] += l.Units
			}
			k := resourceKey{l.Region, l.UID, l.Name, l.Component, l.InstanceType}
			if things[k] == nil {
				things[k] = &ResourceSpend{l.Region, l.Kind, l.Name, l.UID, l.Component, l.InstanceType, make(Amounts, len(books))}
			}
			things[k].By[b].add(a)
		}
		if s.Total[b].MicroUSD != st.MicroUSD || s.Total[b].Unpriced != st.Unpriced {
			panic("a statement's sum is not that of its lines")
		}
	}
	for k, a := range kinds {
		s.ByKind = append(s.ByKind, KindSpend{k, a})
	}
	slices.SortFunc(s.ByKind, func(a, b KindSpend) int { return cmp.Compare(a.Kind, b.Kind) })
	for v, a := range tags {
		s.ByTag = append(s.ByTag, TagSpend{v, a})
	}
	slices.SortFunc(s.ByTag, func(a, b TagSpend) int { return cmp.Compare(a.Value, b.Value) })
	for d, a := range days {
		s.Days = append(s.Days, DaySpend{d, a})
	}
	slices.SortFunc(s.Days, func(a, b DaySpend) int { return cmp.Compare(a.Day, b.Day) })
	for _, r := range things {
		s.Top = append(s.Top, *r)
	}
	slices.SortFunc(s.Top, func(a, b ResourceSpend) int {
		return cmp.Or(cmp.Compare(b.By[0].MicroUSD, a.By[0].MicroUSD), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID),
			cmp.Compare(a.Component, b.Component), cmp.Compare(a.InstanceType, b.InstanceType), cmp.Compare(a.Region, b.Region))
	})
	if s.Kinds = q.Kinds; q.Top > 0 {
		s.Resources = len(s.Top)
	}
	if s.Top = s.Top[:min(len(s.Top), q.Top)]; len(s.Top) == 0 {
		s.Top = nil
	}
	return s
}

// However the ledger grows and whenever somebody looks, what is kept says the
// same as a fold of all of it: open and late closed intervals, several of one
// line, month borders, looks that fail, a process that begins anew.
func TestSumsAreTheFold(t *testing.T) {
	t.Parallel()
	p := list(t)
	books := []Book{MinuteBook(p), AWSBook(p), {Name: "odd", Rounding: Rounding{Granularity: 7 * time.Second, Minimum: time.Minute}, Prices: p}}
	begin := at("2026-09-20T00:00:00Z")
	teams := []map[string]string{nil, {"team": "red"}, {"team": "blue", "other": "x"}, {"other": "y"}, {"team": ""}}
	looks, lines := 0, 0
	for seed := range uint64(24) {
		rng := rand.New(rand.NewPCG(seed, 3))
		ledger := &paper{}
		only := []*Filter{
			nil, nil, nil,
			{Tag: &Term{Key: "team", Values: []string{"red"}}},
			{Not: &Filter{Tag: &Term{Key: "team", Options: []string{"ABSENT"}}}},
			{Or: []Filter{{Dimension: &Term{Key: "REGION", Values: []string{"mars"}}}, {Tag: &Term{Key: "team", Values: []string{"blue"}}}}},
		}[seed%6]
		sums := NewSums(ledger, books).Only(only)
		now := begin
		for range 40 {
			now = now.Add(time.Duration(rng.Int64N(int64(60 * time.Hour))))
			for range rng.IntN(9) {
				u := randomUsages(rng, now.Add(-72*time.Hour))[0]
				u.ID, u.Account, u.End, u.Kind = fmt.Sprint(len(ledger.rows)), []string{"1", "1", "2"}[rng.IntN(3)], time.Time{}, "Thing"
				u.UID = string(rune('a' + rng.IntN(12)))
				if u.UID > "g" {
					u.Kind = "Other"
				}
				u.Name = u.UID
				u.Tags = teams[rng.IntN(len(teams))]
				if rng.IntN(6) == 0 {
					u.Component, u.InstanceType, u.Unit, u.Quantity = "notebook-volume", "", GBSecond, 5
				}
				if rng.IntN(8) == 0 {
					u.Component, u.InstanceType, u.Unit = "invocation", "", Request
					u.Start = u.Start.Add(time.Duration(rng.IntN(80)) * time.Hour)
				}
				ledger.open(u)
			}
			for range rng.IntN(8) {
				if len(ledger.rows) > 0 {
					i := rng.IntN(len(ledger.rows))
					ledger.close(i, now.Add(-time.Duration(rng.Int64N(int64([]time.Duration{time.Minute, 300 * time.Hour}[rng.IntN(2)])))))
				}
			}
			for range rng.IntN(3) {
				ledger.tag(string(rune('a'+rng.IntN(12))), teams[rng.IntN(len(teams))])
			}
			switch rng.IntN(12) {
			case 0:
				sums = NewSums(ledger, books).Only(only)
			case 1:
				ledger.fails = true
				_, _ = sums.Spend(t.Context(), SpendQuery{Account: "1", From: begin, To: begin.Add(40 * day), Now: now})
				ledger.fails = false
			}
			for range rng.IntN(3) {
				q := SpendQuery{Account: "1", Region: []string{"", "us-east-1", "mars"}[rng.IntN(3)], Now: now, Top: rng.IntN(30), Tag: []string{"", "team", "other"}[rng.IntN(3)]}
				q.Kinds = [][]resource.Kind{nil, nil, nil, {"Thing"}, {"Other"}, {"Other", "Thing"}}[rng.IntN(6)]
				q.From = begin.Add(time.Duration(rng.IntN(90)-10) * day)
				q.To = q.From.Add(time.Duration(1+rng.IntN(60)) * day)
				got, err := sums.Spend(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				want := folded(ledger.rows, books, only, q)
				looks++
				lines += want.Resources
				if len(got.Top) == 0 {
					got.Top = nil
				}
				if open, err := sums.Running(t.Context(), "1", now); err != nil || !reflect.DeepEqual(open, running(ledger.rows, only, now)) {
					t.Fatalf("seed %d: %+v are open, want %+v; %v", seed, open, running(ledger.rows, only, now), err)
				}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d, %+v:\n%+v, the fold says\n%+v", seed, q, got, want)
				}
			}
		}
	}
	if looks < 800 || lines < 5*looks {
		t.Errorf("%d looks at %d resources test little", looks, lines)
	}
}

// running is what Running must say of account 1.
func running(rows []resource.Usage, only *Filter, now time.Time) (out []resource.Usage) {
	end := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	for _, u := range rows {
		if u.Account == "1" && u.End.IsZero() && u.Unit != Request && u.Start.Before(end) && only.Match(&u) {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b resource.Usage) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID)) })
	return out
}

func TestSumsForget(t *testing.T) {
	t.Parallel()
	ledger := &paper{}
	start := at("2026-01-01T00:00:00Z")
	for m := range 8 {
		for i := range 30_000 {
			u := training("2026-01-01T00:00:00Z", "")
			u.Start = start.AddDate(0, m, 0).Add(time.Duration(i) * time.Second)
			u.End = u.Start.Add(time.Minute)
			u.ID, u.UID = fmt.Sprint(m, i), fmt.Sprint(m, i)
			ledger.open(u)
		}
	}
	s := NewSums(ledger, []Book{MinuteBook(list(t))})
	got, err := s.Spend(t.Context(), SpendQuery{Account: "123456789012", From: start, To: start.AddDate(1, 0, 0), Now: start.AddDate(2, 0, 0), Top: 1})
	if err != nil || got.Resources != 240_000 || len(s.months) == 0 || len(s.months) > 11 {
		t.Errorf("%d resources, %d months are kept, %v", got.Resources, len(s.months), err)
	}
	for _, q := range []SpendQuery{{From: start.Add(time.Hour), To: start.Add(30 * day)}, {From: start, To: start}, {From: start, To: start.Add(-day)}} {
		if _, err := s.Spend(t.Context(), q); err == nil {
			t.Errorf("%+v: no error", q)
		}
	}
}

func TestMicroIsExact(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 9))
	for range 20_000 {
		p := Price{Pico: rng.Int64() >> rng.IntN(62), Per: []int64{1, 3600, 30 * 24 * 3600, 7}[rng.IntN(4)]}
		units := rng.Int64() >> rng.IntN(62)
		whole := new(big.Int).Mul(big.NewInt(units), big.NewInt(p.Pico))
		if whole.Quo(whole, big.NewInt(p.Per*1_000_000)); whole.BitLen() > 62 {
			continue
		}
		if got, want := p.micro(units), p.exact(units); got != want {
			t.Fatalf("%d units at %+v: %d, want %d", units, p, got, want)
		}
	}
}

func BenchmarkSpend(b *testing.B) {
	ledger := &paper{}
	start := at("2026-11-01T00:00:00Z")
	for i := range 100_000 {
		u := training("2026-01-01T00:00:00Z", "")
		u.Start = start.Add(time.Duration(i) * 20 * time.Second)
		u.End = u.Start.Add(90 * time.Second)
		u.ID, u.Name = fmt.Sprint(i), fmt.Sprintf("job-%06d", i)
		u.UID = fmt.Sprintf("%026d", i)
		ledger.open(u)
	}
	books := []Book{MinuteBook(list(b)), AWSBook(list(b))}
	q := SpendQuery{Account: "123456789012", From: start, To: start.AddDate(0, 1, 0), Now: start.AddDate(0, 1, 0), Top: 200}
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := NewSums(ledger, books).Spend(b.Context(), q); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		s := NewSums(ledger, books)
		for b.Loop() {
			if _, err := s.Spend(b.Context(), q); err != nil {
				b.Fatal(err)
			}
		}
	})
}
