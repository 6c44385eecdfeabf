package meter

import (
	"cmp"
	"math/big"
	"slices"
	"time"

	"clary/internal/resource"
)

// Rounding says how the length of an interval is counted, each interval by
// itself. A granule is charged when it begins.
type Rounding struct {
	Granularity time.Duration // whole seconds
	Minimum     time.Duration // whole seconds
}

// Book is a way to charge: prices and how time is counted.
type Book struct {
	Name     string
	Rounding Rounding
	Prices   *Prices
}

// MinuteBook charges per started minute.
func MinuteBook(p *Prices) Book {
	return Book{Name: "minute", Rounding: Rounding{Granularity: time.Minute}, Prices: p}
}

// AWSBook charges as AWS does: SageMaker is billed by the second, with no
// minimum (https://aws.amazon.com/sagemaker/ai/pricing/).
func AWSBook(p *Prices) Book {
	return Book{Name: "aws", Rounding: Rounding{Granularity: time.Second}, Prices: p}
}

// Line is what one resource's component costs on one UTC day.
type Line struct {
	Account, Region string
	Kind            resource.Kind
	Name, UID       string
	Component       string
	InstanceType    string
	Unit            string
	Day             string // YYYY-MM-DD, UTC
	PriceVersion    string
	Units           int64 // charged: instance-seconds, gb-seconds, requests
	Seconds         int64 // of these, without the quantity; 0 for requests
	MicroUSD        int64
	Unpriced        bool // no price is known: MicroUSD says nothing
}

// Statement is a bill.
type Statement struct {
	Lines    []Line // by day, account, region, kind, name, uid, component, type
	MicroUSD int64  // of the lines with a price
	Unpriced bool   // some line has none, so the sum is incomplete
}

type lineKey struct {
	uid, component, instanceType, unit, day, version string
	account, region, name                            string
	kind                                             resource.Kind
	priced                                           bool
}

// counts of a line: what was charged since its day began, up to from and up
// to to.
type counts struct {
	price             Price
	untilFrom, until  int64
	secsFrom, seconds int64
}

// Bill folds usage into lines for [from, to), seen at now: open intervals last
// until now. A zero from is the beginning, a zero to is now's end of time.
// An amount is rounded once per line, counted from the beginning of its day,
// so that the sum does not depend on how time or resources are cut.
func Bill(usages []resource.Usage, b Book, from, to, now time.Time) Statement {
	lines := make(map[lineKey]*counts)
	for _, u := range usages {
		end := u.End
		if end.IsZero() || u.Unit == Request {
			end = now
		}
		if !u.Start.Before(now) && u.End.IsZero() && u.Unit != Request {
			continue // a clock that was set back: it has not begun
		}
		last := end
		if !to.IsZero() && to.Before(last) {
			last = to
		}
		if u.Unit == Request {
			last = u.Start
			if !to.IsZero() && !u.Start.Before(to) || u.Start.Before(from) || u.Start.After(now) {
				continue
			}
		}
		first := u.Start
		if from.After(first) {
			first = from
		}
		if u.Unit != Request && !first.Before(last) {
			continue
		}
		for day := first.UTC().Truncate(24 * time.Hour); !day.After(last); day = day.Add(24 * time.Hour) {
			b.addDay(lines, u, end, day, from, to)
		}
	}
	return b.statement(lines)
}

// addDay adds what u is charged on one day.
func (b Book) addDay(lines map[lineKey]*counts, u resource.Usage, end, day, from, to time.Time) {
	dayEnd := day.Add(24 * time.Hour)
	at := func(t time.Time) int64 { return b.charged(u, end, t) }
	base := at(day)
	until := dayEnd
	if !to.IsZero() && to.Before(until) {
		until = to
	}
	since := day
	if from.After(since) {
		since = from
	}
	if at(until) == at(since) {
		return
	}
	date := day.Format(time.DateOnly)
	price, ok := b.Prices.Price(u.Region, u.Component, u.InstanceType, u.Unit, date)
	k := lineKey{u.UID, u.Component, u.InstanceType, u.Unit, date, price.Version, u.Account, u.Region, u.Name, u.Kind, ok}
	c := lines[k]
	if c == nil {
		c = &counts{price: price}
		lines[k] = c
	}
	c.untilFrom += (at(since) - base) * u.Quantity
	c.until += (at(until) - base) * u.Quantity
	if u.Unit != Request {
		c.secsFrom += at(since) - base
		c.seconds += at(until) - base
	}
}

// charged is how many seconds of u are charged by t: all granules that have
// begun. For requests it is 1 from their instant on.
func (b Book) charged(u resource.Usage, end, t time.Time) int64 {
	if u.Unit == Request {
		if t.After(u.Start) {
			return 1
		}
		return 0
	}
	if t.After(end) {
		t = end
	}
	d := t.Sub(u.Start)
	if d <= 0 {
		return 0
	}
	g := max(b.Rounding.Granularity, time.Second)
	n := (d + g - 1) / g * g
	return int64(max(n, b.Rounding.Minimum) / time.Second)
}

func (b Book) statement(lines map[lineKey]*counts) Statement {
	var s Statement
	for k, c := range lines {
		l := Line{
			Account: k.account, Region: k.region, Kind: k.kind, Name: k.name, UID: k.uid, Component: k.component,
			InstanceType: k.instanceType, Unit: k.unit, Day: k.day, PriceVersion: k.version,
			Units: c.until - c.untilFrom, Seconds: c.seconds - c.secsFrom, Unpriced: !k.priced,
		}
		if k.priced {
			l.MicroUSD = c.price.micro(c.until) - c.price.micro(c.untilFrom)
			s.MicroUSD += l.MicroUSD
		} else {
			s.Unpriced = true
		}
		s.Lines = append(s.Lines, l)
	}
	slices.SortFunc(s.Lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID),
			cmp.Compare(a.Component, b.Component), cmp.Compare(a.InstanceType, b.InstanceType), cmp.Compare(a.PriceVersion, b.PriceVersion))
	})
	return s
}

// micro is the price of units in micro-dollars, rounded half to even.
func (p Price) micro(units int64) int64 {
	n := new(big.Int).Mul(big.NewInt(units), big.NewInt(p.Pico))
	d := new(big.Int).Mul(big.NewInt(p.Per), big.NewInt(1_000_000))
	q, r := new(big.Int).QuoRem(n, d, new(big.Int))
	switch r.Lsh(r, 1).Cmp(d) {
	case 1:
		return q.Int64() + 1
	case 0:
		return q.Int64() + q.Int64()&1
	}
	return q.Int64()
}
