package meter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

func (p *paper) ListUsage(_ context.Context, q resource.UsageQuery) (out []resource.Usage, err error) {
	for _, u := range p.rows {
		if u.Account == q.Account {
			out = append(out, u)
		}
	}
	return out, nil
}

// Get knows every resource that is not called gone.
func (p *paper) Get(_ context.Context, k resource.Key) (*resource.Record, error) {
	if strings.HasPrefix(k.Name, "gone") {
		return nil, store.ErrNotFound
	}
	phase := "InProgress"
	if strings.HasPrefix(k.Name, "over") {
		phase = "Completed"
	}
	return &resource.Record{Key: k, UID: k.Name, Phase: phase}, nil
}

// history fills a ledger as resources do: one interval of a component after
// the other, instances of endpoints beside each other, tags that change.
func history(rng *rand.Rand, begin time.Time, resources int) (ledger *paper, now time.Time) {
	ledger = &paper{}
	now = begin.Add(time.Duration(20+rng.IntN(30)) * day).Add(time.Duration(rng.Int64N(int64(day))))
	teams := []map[string]string{nil, {"team": "red"}, {"team": "blue", "stage": "test"}}
	for r := range resources {
		u := resource.Usage{
			Account: "1", Region: []string{"us-east-1", "us-east-1", "mars"}[rng.IntN(3)], Unit: InstanceSecond,
			InstanceType: []string{"ml.m5.large", "ml.m5.2xlarge", "ml.none"}[rng.IntN(3)], Quantity: int64(1 + rng.IntN(3)),
		}
		u.Kind, u.Component = "TrainingJob", "training"
		n := 1
		switch rng.IntN(4) {
		case 0:
			u.Kind, u.Component, u.Quantity, n = "NotebookInstance", "notebook", 1, 1+rng.IntN(5)
		case 1:
			u.Kind, u.Component, n = "Endpoint", "hosting", 1+rng.IntN(3)
		}
		u.Name = fmt.Sprintf("%s-%d", strings.ToLower(string(u.Kind)), r)
		u.UID = u.Name
		at := begin.Add(time.Duration(rng.Int64N(int64(30 * day))))
		for i := range n {
			u.ID, u.Start, u.End, u.Tags = ID(u.UID, u.Component, i+1), at, time.Time{}, teams[rng.IntN(len(teams))]
			if at.After(now) {
				break
			}
			long := time.Duration(rng.Int64N(int64([]time.Duration{2 * time.Minute, 5 * time.Hour, 60 * time.Hour}[rng.IntN(3)])))
			end := at.Add(long)
			if ledger.open(u); end.After(now) {
				break
			}
			if u.Kind != "Endpoint" || rng.IntN(3) > 0 {
				ledger.close(len(ledger.rows)-1, end)
				at = end.Add(time.Duration(rng.Int64N(int64(20 * time.Hour))))
			}
		}
		if u.Kind == "NotebookInstance" {
			v := u
			v.ID, v.Component, v.InstanceType, v.Unit, v.Quantity = ID(u.UID, "notebook-volume", 1), "notebook-volume", "", GBSecond, 5
			v.Start, v.End, v.Tags = begin.Add(time.Duration(rng.Int64N(int64(5*day)))), time.Time{}, teams[0]
			ledger.open(v)
		}
	}
	return ledger, now
}

func TestVerify(t *testing.T) {
	t.Parallel()
	p := list(t)
	books := []Book{MinuteBook(p), AWSBook(p), {Name: "odd", Rounding: Rounding{Granularity: 7 * time.Second, Minimum: 100 * time.Second}, Prices: p}}
	var micro int64
	for seed := range uint64(12) {
		ledger, now := history(rand.New(rand.NewPCG(seed, 11)), at("2026-09-20T00:00:00Z"), 12)
		sums := NewSums(ledger, books)
		proof, err := Verify(t.Context(), ledger, books, "1", now, sums.Witness())
		if err != nil || !proof.OK || proof.Intervals != len(ledger.rows) || len(proof.Checks) != 5 {
			t.Fatalf("seed %d: %+v, %v", seed, proof, err)
		}
		for i, b := range books {
			if want := Bill(ledger.rows, b, time.Time{}, time.Time{}, now); proof.Books[i].Again != want.MicroUSD || proof.Books[i].Bill != want.MicroUSD {
				t.Fatalf("seed %d: %+v, the bill is %d", seed, proof.Books[i], want.MicroUSD)
			}
		}
		micro += proof.Books[0].Again
	}
	if micro < 1e7 {
		t.Errorf("%d micro-dollars prove little", micro)
	}
}

// Tags that look alike are two lines, as in the bill.
func TestVerifyTellsTagsApart(t *testing.T) {
	t.Parallel()
	ledger := &paper{}
	for i, tags := range []map[string]string{{"a": "b c:d"}, {"a": "b", "c": "d"}} {
		u := training("2026-10-01T10:00:00Z", "2026-10-01T10:00:30Z")
		u.Account, u.ID, u.Tags = "1", ID(u.UID, u.Component, i+1), tags
		u.Start, u.End = u.Start.Add(time.Duration(i)*time.Hour), u.End.Add(time.Duration(i)*time.Hour)
		ledger.open(u)
	}
	p, err := Verify(t.Context(), ledger, []Book{MinuteBook(list(t))}, "1", at("2026-10-02T00:00:00Z"))
	if err != nil || !p.OK || p.Books[0].Lines != 2 {
		t.Errorf("%+v, %v", p, err)
	}
}

// Whatever is wrong with a ledger is found, and said of whom.
func TestVerifyFinds(t *testing.T) {
	t.Parallel()
	books := []Book{MinuteBook(list(t))}
	now := at("2026-10-03T12:00:00Z")
	row := func(n int, name, start, end string) resource.Usage {
		u := training(start, end)
		u.Account, u.Name, u.UID, u.ID = "1", name, name, ID(name, u.Component, n)
		return u
	}
	for what, c := range map[string]struct {
		rows []resource.Usage
		say  string
	}{
		"nothing":     {[]resource.Usage{row(1, "a", "2026-10-01T10:00:00Z", "2026-10-01T11:00:00Z"), row(2, "a", "2026-10-01T11:00:00Z", "")}, ""},
		"backwards":   {[]resource.Usage{row(1, "a", "2026-10-01T10:00:00Z", "2026-10-01T09:00:00Z")}, "ends 1h0m0s before it begins"},
		"overlap":     {[]resource.Usage{row(1, "a", "2026-10-01T10:00:00Z", "2026-10-01T11:00:00Z"), row(2, "a", "2026-10-01T10:59:59Z", "2026-10-01T12:00:00Z")}, "a/training/1 is not over by then"},
		"within":      {[]resource.Usage{row(1, "a", "2026-10-01T10:00:00Z", "2026-10-01T18:00:00Z"), row(2, "a", "2026-10-01T11:00:00Z", "2026-10-01T12:00:00Z"), row(3, "a", "2026-10-01T13:00:00Z", "2026-10-01T14:00:00Z")}, "a/training/3 begins"},
		"twice open":  {[]resource.Usage{row(1, "a", "2026-10-01T10:00:00Z", ""), row(2, "a", "2026-10-01T11:00:00Z", "")}, "a/training/1 is not over by then"},
		"gone":        {[]resource.Usage{row(1, "gone-a", "2026-10-01T10:00:00Z", "")}, "there is no such resource any more"},
		"over":        {[]resource.Usage{row(1, "over-a", "2026-10-01T10:00:00Z", "")}, "the job is Completed"},
		"gone, ended": {[]resource.Usage{row(1, "gone-a", "2026-10-01T10:00:00Z", "2026-10-01T10:10:00Z")}, ""},
	} {
		ledger := &paper{}
		for i := range c.rows {
			c.rows[i].Kind = "TrainingJob"
			ledger.open(c.rows[i])
		}
		p, err := Verify(t.Context(), ledger, books, "1", now)
		var found []string
		for _, x := range p.Checks {
			found = append(found, x.Found...)
			if x.OK != (x.Count == 0) {
				t.Errorf("%s: %+v", what, x)
			}
		}
		all := strings.Join(found, "\n")
		if err != nil || p.OK != (c.say == "") || !strings.Contains(all, c.say) || c.say == "" && all != "" {
			t.Errorf("%s: found %q, %v", what, all, err)
		}
	}
}

// A witness that is one micro-dollar off, or of a month that is none, is told on.
func TestVerifyDoubtsWitnesses(t *testing.T) {
	t.Parallel()
	books := []Book{MinuteBook(list(t))}
	ledger, now := history(rand.New(rand.NewPCG(5, 5)), at("2026-09-20T00:00:00Z"), 10)
	honest := NewSums(ledger, books).Witness()
	for _, month := range []string{"2026-09", "2026-10"} {
		liar := Witness{"a liar", func(ctx context.Context, account string, from, to, now time.Time) (int64, error) {
			n, err := honest.Month(ctx, account, from, to, now)
			if from.Format("2006-01") == month {
				n++
			}
			return n, err
		}}
		p, err := Verify(t.Context(), ledger, books, "1", now, honest, liar)
		last := p.Checks[len(p.Checks)-1]
		if err != nil || p.OK || last.OK || last.Count != 1 || !strings.HasPrefix(last.Found[0], month) || !p.Checks[len(p.Checks)-2].OK {
			t.Errorf("%s: %+v, %v", month, p, err)
		}
	}
}

// A bill that was reckoned wrongly is told on, line by line.
func TestCompareDoubtsTheBill(t *testing.T) {
	t.Parallel()
	b := MinuteBook(list(t))
	ledger, now := history(rand.New(rand.NewPCG(6, 6)), at("2026-09-20T00:00:00Z"), 10)
	again := reckon(ledger.rows, b, now)
	for what, change := range map[string]func(*Statement){
		"money":    func(s *Statement) { s.Lines[3].MicroUSD++; s.MicroUSD++ },
		"units":    func(s *Statement) { s.Lines[3].Units++ },
		"sum":      func(s *Statement) { s.MicroUSD++ },
		"left out": func(s *Statement) { s.MicroUSD -= s.Lines[3].MicroUSD; s.Lines = append(s.Lines[:3], s.Lines[4:]...) },
		"added":    func(s *Statement) { s.Lines = append(s.Lines, Line{Name: "x"}) },
		// No sum tells of it.
		"left out, without a price": func(s *Statement) {
			i := slices.IndexFunc(s.Lines, func(l Line) bool { return l.Unpriced })
			s.Lines = slices.Delete(s.Lines, i, i+1)
		},
		"unpriced":  func(s *Statement) { s.Lines[3].Unpriced = !s.Lines[3].Unpriced },
		"no change": func(*Statement) {},
	} {
		s := Bill(ledger.rows, b, time.Time{}, time.Time{}, now)
		change(&s)
		c := Check{OK: true}
		if again.compare(s, b.Name, &c); c.OK != (what == "no change") {
			t.Errorf("%s: %+v", what, c)
		}
	}
}
