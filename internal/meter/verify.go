package meter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

// Proof is what a second reckoning of an account's ledger found.
type Proof struct {
	Account   string
	At        time.Time
	Intervals int // in the ledger
	Open      int // of these
	Books     []BookProof
	Checks    []Check
	OK        bool // all of it
}

// BookProof compares a book's bill with the second reckoning, in micro-dollars.
type BookProof struct {
	Book        string
	Bill, Again int64
	Lines       int
	Unpriced    bool
}

// Check is one thing that must hold.
type Check struct {
	Name  string
	OK    bool
	Found []string `json:",omitzero"` // what is wrong: a few of each sort
	Count int      // of what is wrong
}

// found keeps the first of what is wrong.
func (c *Check) found(format string, args ...any) {
	c.OK = false
	if c.Count++; len(c.Found) < 20 {
		c.Found = append(c.Found, fmt.Sprintf(format, args...))
	}
}

// Witness tells what whole UTC months cost by the first book, by another way
// than Bill's.
type Witness struct {
	Name  string
	Month func(ctx context.Context, account string, from, to, now time.Time) (micro int64, err error)
}

// Witness gives what s says.
func (s *Sums) Witness() Witness {
	return Witness{"the running sums", func(ctx context.Context, account string, from, to, now time.Time) (int64, error) {
		x, err := s.Spend(ctx, SpendQuery{Account: account, From: from, To: to, Now: now})
		if err != nil {
			return 0, err
		}
		return x.Total[0].MicroUSD, nil
	}}
}

// Books is what Verify reads.
type Books interface {
	Changes
	ListUsage(ctx context.Context, q resource.UsageQuery) ([]resource.Usage, error)
	Get(ctx context.Context, k resource.Key) (*resource.Record, error)
}

// Verify reckons an account's ledger once more, in another way and with exact
// fractions, and compares with Bill and with what else tells of money. It
// shares nothing with them but the prices and what tells tags apart. What it finds wrong is in the proof;
// an error is of reading.
func Verify(ctx context.Context, ledger Books, books []Book, account string, now time.Time, witnesses ...Witness) (Proof, error) {
	for try := 0; ; try++ {
		before, err := place(ctx, ledger, account)
		if err != nil {
			return Proof{}, err
		}
		p, err := verify(ctx, ledger, books, account, now.UTC(), witnesses)
		if err != nil || p.OK || try == 4 {
			return p, err
		}
		// What changes meanwhile is seen by one and not yet by the other.
		if after, err := place(ctx, ledger, account); err != nil || after == before {
			return p, err
		}
	}
}

// place is how far the ledger's history goes.
func place(ctx context.Context, ledger Changes, account string) (int64, error) {
	return ledger.UsageSince(ctx, account, time.Time{}, time.Time{}, math.MaxInt64, func(resource.Usage) {})
}

func verify(ctx context.Context, ledger Books, books []Book, account string, now time.Time, witnesses []Witness) (Proof, error) {
	usages, err := ledger.ListUsage(ctx, resource.UsageQuery{Account: account})
	if err != nil {
		return Proof{}, err
	}
	p := Proof{Account: account, At: now, Intervals: len(usages)}
	for i := range usages {
		if usages[i].End.IsZero() && usages[i].Unit != Request {
			p.Open++
		}
	}
	p.Checks = append(p.Checks, sane(usages), apart(usages))
	left, err := leftOpen(ctx, ledger, usages)
	if err != nil {
		return Proof{}, err
	}
	p.Checks = append(p.Checks, left)
	same := Check{Name: "the bill is the same, line by line, when it is reckoned once more", OK: true}
	var months map[string]*big.Int
	for i, b := range books {
		again := reckon(usages, b, now)
		if i == 0 {
			months = again.months()
		}
		p.Books = append(p.Books, again.compare(Bill(usages, b, time.Time{}, time.Time{}, now), b.Name, &same))
	}
	p.Checks = append(p.Checks, same)
	for _, w := range witnesses {
		c := Check{Name: "each month is the same by " + w.Name, OK: true}
		for _, m := range span(usages, now) {
			got, err := w.Month(ctx, account, m, m.AddDate(0, 1, 0), now)
			if err != nil {
				return Proof{}, fmt.Errorf("%s of %s: %w", w.Name, m.Format("2006-01"), err)
			}
			want := months[m.Format("2006-01")]
			if want == nil {
				want = new(big.Int)
			}
			if want.Cmp(big.NewInt(got)) != 0 {
				c.found("%s: %d micro-dollars, the ledger says %s", m.Format("2006-01"), got, want)
			}
		}
		p.Checks = append(p.Checks, c)
	}
	p.OK = !slices.ContainsFunc(p.Checks, func(c Check) bool { return !c.OK })
	return p, nil
}

// span lists the months that usage is of, up to now's.
func span(usages []resource.Usage, now time.Time) (out []time.Time) {
	last, first := now, now
	for i := range usages {
		if u := &usages[i]; u.Start.Before(first) {
			first = u.Start
		} else if u.Start.After(last) {
			last = u.Start
		}
		if usages[i].End.After(last) {
			last = usages[i].End
		}
	}
	first = first.UTC()
	for m := time.Date(first.Year(), first.Month(), 1, 0, 0, 0, 0, time.UTC); !m.After(last); m = m.AddDate(0, 1, 0) {
		out = append(out, m)
	}
	return out
}

func called(u *resource.Usage) string { return string(u.Kind) + " " + u.Name + ", interval " + u.ID }

// sane looks for intervals that cannot be.
func sane(usages []resource.Usage) Check {
	c := Check{Name: "no interval ends before it begins, and none has a quantity or unit that cannot be", OK: true}
	for i := range usages {
		switch u := &usages[i]; {
		case !u.End.IsZero() && u.End.Before(u.Start):
			c.found("%s ends %s before it begins", called(u), u.Start.Sub(u.End))
		case u.Quantity < 0:
			c.found("%s has the quantity %d", called(u), u.Quantity)
		case u.Unit != InstanceSecond && u.Unit != GBSecond && u.Unit != Request:
			c.found("%s has the unit %q", called(u), u.Unit)
		}
	}
	return c
}

// apart looks for time that is charged twice. Instances of an endpoint run
// beside each other; everything else is one after the other.
func apart(usages []resource.Usage) Check {
	c := Check{Name: "no two intervals of a resource's component overlap, unless the clock was set back between them", OK: true}
	last := make(map[string]*resource.Usage)
	byStart := make([]*resource.Usage, 0, len(usages))
	for i := range usages {
		byStart = append(byStart, &usages[i])
	}
	slices.SortFunc(byStart, func(a, b *resource.Usage) int { return cmp.Or(a.Start.Compare(b.Start), a.End.Compare(b.End)) })
	for _, u := range byStart {
		if u.Component == "hosting" || u.Unit == Request {
			continue
		}
		k := u.UID + "/" + u.Component
		if p := last[k]; p != nil && (p.End.IsZero() || p.End.After(u.Start)) {
			c.found("%s begins at %s, and %s is not over by then", called(u), u.Start.Format(time.RFC3339Nano), p.ID)
		}
		if p := last[k]; p == nil || u.End.IsZero() || !p.End.IsZero() && u.End.After(p.End) {
			last[k] = u
		}
	}
	return c
}

// leftOpen looks for what costs and is not there any more.
func leftOpen(ctx context.Context, ledger Books, usages []resource.Usage) (Check, error) {
	c := Check{Name: "no interval is open of a resource that is gone or of a job that is over", OK: true}
	for i := range usages {
		u := &usages[i]
		if !u.End.IsZero() || u.Unit == Request {
			continue
		}
		rec, err := ledger.Get(ctx, resource.Key{Account: u.Account, Region: u.Region, Kind: u.Kind, Name: u.Name})
		switch {
		case errors.Is(err, store.ErrNotFound), err == nil && rec.UID != u.UID:
			c.found("%s is open since %s; there is no such resource any more", called(u), u.Start.Format(time.RFC3339))
		case err != nil:
			return c, err
		case strings.HasSuffix(string(u.Kind), "Job") && (rec.Phase == "Completed" || rec.Phase == "Failed" || rec.Phase == "Stopped"):
			c.found("%s is open since %s; the job is %s", called(u), u.Start.Format(time.RFC3339), rec.Phase)
		}
	}
	return c, nil
}

// reckoning is a second bill by one book.
type reckoning map[lineName]*reckoned

type lineName struct{ account, region, kind, name, uid, component, typ, unit, day, version, tags string }

type reckoned struct {
	units, micro *big.Int // micro: nil without a price
}

// reckon counts granules: one is charged on the day on which it begins.
func reckon(usages []resource.Usage, b Book, now time.Time) reckoning {
	out := make(reckoning)
	price := make(map[lineName]*big.Rat)
	for i := range usages {
		u := &usages[i]
		from, end := u.Start.UnixNano(), u.End.UnixNano()
		if u.End.IsZero() {
			end = now.UnixNano()
		}
		if u.Unit == Request {
			if end = from + 1; u.Start.After(now) {
				continue
			}
		}
		const whole = int64(24 * time.Hour)
		for d := floor(from, whole); d*whole < end; d++ {
			begin := max(d*whole, from)
			stop := min((d+1)*whole, end)
			n := int64(1)
			if u.Unit != Request {
				n = seconds(b.Rounding, begin-from, stop-from)
			}
			if n*u.Quantity == 0 {
				continue
			}
			name := time.Unix(d*86400, 0).UTC().Format("2006-01-02")
			p, ok := b.Prices.Price(u.Region, u.Component, u.InstanceType, u.Unit, name)
			k := lineName{u.Account, u.Region, string(u.Kind), u.Name, u.UID, u.Component, u.InstanceType, u.Unit, name, p.Version, tagText(u.Tags)}
			if out[k] == nil {
				out[k] = &reckoned{units: new(big.Int)}
				if ok {
					price[k] = big.NewRat(p.Pico, p.Per)
					price[k].Quo(price[k], big.NewRat(1_000_000, 1))
				}
			}
			out[k].units.Add(out[k].units, new(big.Int).Mul(big.NewInt(n), big.NewInt(u.Quantity)))
		}
	}
	for k, l := range out {
		if price[k] != nil {
			l.micro = nearest(new(big.Rat).Mul(price[k], new(big.Rat).SetInt(l.units)))
		}
	}
	return out
}

// seconds charged of the granules that begin in [from, to) of an interval's
// nanoseconds: granule k goes from k·g to (k+1)·g, and the first one is as long
// as the minimum.
func seconds(r Rounding, from, to int64) int64 {
	g, least := max(int64(r.Granularity), int64(time.Second)), int64(r.Minimum)
	upTo := func(t int64) int64 { // granules that began before t
		if t <= 0 {
			return 0
		}
		return -floor(-t, g)
	}
	first, next := upTo(from), upTo(to)
	if first == next {
		return 0
	}
	length := func(n int64) int64 { // of n granules
		if n == 0 {
			return 0
		}
		return max(n*g, least)
	}
	return (length(next) - length(first)) / int64(time.Second)
}

func floor(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// nearest rounds to a whole number, halves to an even one.
func nearest(r *big.Rat) *big.Int {
	double := new(big.Int).Lsh(r.Num(), 1)
	double.Add(double, r.Denom())
	whole, rest := new(big.Int).DivMod(double, new(big.Int).Lsh(r.Denom(), 1), new(big.Int))
	if rest.Sign() == 0 && whole.Bit(0) == 1 {
		whole.Sub(whole, big.NewInt(1))
	}
	return whole
}

// months sums up by month.
func (r reckoning) months() map[string]*big.Int {
	out := make(map[string]*big.Int)
	for k, l := range r {
		m := k.day[:len("2006-01")]
		if out[m] == nil {
			out[m] = new(big.Int)
		}
		if l.micro != nil {
			out[m].Add(out[m], l.micro)
		}
	}
	return out
}

// compare sets a bill against the reckoning.
func (r reckoning) compare(s Statement, book string, c *Check) BookProof {
	p := BookProof{Book: book, Bill: s.MicroUSD, Lines: len(s.Lines), Unpriced: s.Unpriced}
	total, sum, seen := new(big.Int), new(big.Int), 0
	for _, l := range r {
		if l.micro != nil {
			total.Add(total, l.micro)
		}
	}
	for _, l := range s.Lines {
		name := fmt.Sprintf("book %s, %s, %s %s, %s", book, l.Day, l.Kind, l.Name, l.Component)
		sum.Add(sum, big.NewInt(l.MicroUSD))
		x := r[lineName{l.Account, l.Region, string(l.Kind), l.Name, l.UID, l.Component, l.InstanceType, l.Unit, l.Day, l.PriceVersion, tagText(l.Tags)}]
		switch {
		case x == nil:
			c.found("%s: the bill has %d units, the reckoning none", name, l.Units)
			continue
		case x.units.Cmp(big.NewInt(l.Units)) != 0:
			c.found("%s: the bill has %d units, the reckoning %s", name, l.Units, x.units)
		case (x.micro == nil) != l.Unpriced:
			c.found("%s: the bill has it without a price: %t, the reckoning: %t", name, l.Unpriced, x.micro == nil)
		case x.micro != nil && x.micro.Cmp(big.NewInt(l.MicroUSD)) != 0:
			c.found("%s: %d micro-dollars, the reckoning has %s", name, l.MicroUSD, x.micro)
		}
		seen++
	}
	if seen != len(r) {
		c.found("book %s: the bill has %d lines, the reckoning %d", book, len(s.Lines), len(r))
	}
	if p.Again = total.Int64(); !total.IsInt64() || total.Cmp(sum) != 0 || total.Cmp(big.NewInt(s.MicroUSD)) != 0 {
		c.found("book %s: the bill is %d micro-dollars, its lines are %s, the reckoning %s", book, s.MicroUSD, sum, total)
	}
	return p
}
