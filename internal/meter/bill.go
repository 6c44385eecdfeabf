package meter

import (
	"cmp"
	"maps"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strings"
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

// Line is what one resource's component costs on one UTC day, while it had
// the same tags.
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
	Unpriced        bool              // no price is known: MicroUSD says nothing
	Tags            map[string]string `json:",omitzero"`
}

// Statement is a bill.
type Statement struct {
	Lines    []Line // by day, account, region, kind, name, uid, component, type, version, tags
	MicroUSD int64  // of the lines with a price
	Unpriced bool   // some line has none, so the sum is incomplete
}

type lineKey struct {
	uid, component, instanceType, unit, day, version string
	account, region, name, tags                      string
	kind                                             resource.Kind
	priced                                           bool
}

// counts of a line: what was charged since its day began, up to from and up
// to to.
type counts struct {
	price             Price
	untilFrom, until  int64
	secsFrom, seconds int64
	tags              map[string]string
}

// Query selects the usage that Bill needs for [from, to).
func Query(account, region string, from, to time.Time) resource.UsageQuery {
	if !from.IsZero() {
		from = from.UTC().Truncate(24 * time.Hour)
	}
	return resource.UsageQuery{Account: account, Region: region, From: from, To: to}
}

// Bill folds usage into lines for [from, to), seen at now: open intervals last
// until now. A zero from is the beginning, a zero to is open. An amount is
// rounded once per line, and what a part of a day costs is the difference of
// two such amounts since the day began, so the sum does not depend on how time
// or resources are cut. usages must therefore hold all of from's day: see Query.
func Bill(usages []resource.Usage, b Book, from, to, now time.Time) Statement {
	lines := make(map[lineKey]*counts)
	for _, u := range usages {
		end := u.End
		if u.Unit == Request {
			end = u.Start.Add(1) // an instant, charged when it was
			if end.After(now.Add(1)) {
				continue
			}
		} else if end.IsZero() {
			end = now
		}
		if !to.IsZero() && to.Before(end) {
			b.addDays(lines, u, end, from, to)
		} else {
			b.addDays(lines, u, end, from, end)
		}
	}
	return b.statement(lines)
}

// addDays adds what u, which ends at end, is charged on the days of [from, to).
func (b Book) addDays(lines map[lineKey]*counts, u resource.Usage, end, from, to time.Time) {
	first := u.Start
	if from.After(first) {
		first = from
	}
	for day := first.UTC().Truncate(24 * time.Hour); day.Before(to); day = day.Add(24 * time.Hour) {
		since, until := day, day.Add(24*time.Hour)
		if from.After(since) {
			since = from
		}
		if to.Before(until) {
			until = to
		}
		before := b.charged(u, end, day)
		c := b.line(lines, u, day.Format(time.DateOnly))
		c.untilFrom += (b.charged(u, end, since) - before) * u.Quantity
		c.until += (b.charged(u, end, until) - before) * u.Quantity
		if u.Unit != Request {
			c.secsFrom += b.charged(u, end, since) - before
			c.seconds += b.charged(u, end, until) - before
		}
	}
}

func (b Book) line(lines map[lineKey]*counts, u resource.Usage, day string) *counts {
	price, ok := b.Prices.Price(u.Region, u.Component, u.InstanceType, u.Unit, day)
	k := lineKey{u.UID, u.Component, u.InstanceType, u.Unit, day, price.Version, u.Account, u.Region, u.Name, tagText(u.Tags), u.Kind, ok}
	c := lines[k]
	if c == nil {
		c = &counts{price: price, tags: u.Tags}
		lines[k] = c
	}
	return c
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
	n := (d + g - 1).Truncate(g)
	return int64(max(n, b.Rounding.Minimum) / time.Second)
}

// tagText is one text for equal tags.
func tagText(tags map[string]string) string {
	if len(tags) == 0 {
		return ""
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		b.WriteString(k)
		b.WriteByte(0) // in no tag
		b.WriteString(tags[k])
		b.WriteByte(0)
	}
	return b.String()
}

func (b Book) statement(lines map[lineKey]*counts) Statement {
	var s Statement
	for k, c := range lines {
		if c.until == c.untilFrom {
			continue // all of it was before from
		}
		l := Line{
			Account: k.account, Region: k.region, Kind: k.kind, Name: k.name, UID: k.uid, Component: k.component,
			InstanceType: k.instanceType, Unit: k.unit, Day: k.day, PriceVersion: k.version,
			Units: c.until - c.untilFrom, Seconds: c.seconds - c.secsFrom, Unpriced: !k.priced, Tags: c.tags,
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
			cmp.Compare(a.Component, b.Component), cmp.Compare(a.InstanceType, b.InstanceType), cmp.Compare(a.PriceVersion, b.PriceVersion), cmp.Compare(tagText(a.Tags), tagText(b.Tags)))
	})
	return s
}

// micro is the price of units in micro-dollars, rounded half to even.
func (p Price) micro(units int64) int64 {
	if units < 0 || p.Pico < 0 || p.Per <= 0 || p.Per > maxPer {
		return p.exact(units)
	}
	hi, lo := bits.Mul64(uint64(units), uint64(p.Pico))
	d := uint64(p.Per) * 1_000_000
	if hi >= d {
		return p.exact(units)
	}
	q, r := bits.Div64(hi, lo, d)
	if r > d-r || r == d-r && q&1 == 1 {
		q++
	}
	return int64(q)
}

// maxPer keeps Per × 1,000,000 within 64 bits.
const maxPer = math.MaxInt64 / 1_000_000

func (p Price) exact(units int64) int64 {
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
