package meter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"clary/internal/resource"
)

// Entry is what a line costs in a span of time.
type Entry struct {
	// Of is whose line it is, without ID, Quantity, Start and End. Entries
	// share it: keep a copy.
	Of    *resource.Usage
	Day   time.Time // when the span begins: a UTC day, or an hour
	Units int64     // charged by the first book
	By    Amounts   // shared as well
}

// Each gives the lines of whole UTC days to f, in no order; sums of them are
// Spend's. f asks nothing of s.
func (s *Sums) Each(ctx context.Context, q SpendQuery, f func(*Entry)) error {
	return s.read(ctx, q, func(t *table) { t.each(q, f) })
}

// read gives the tables of the months of a query, as they are at its now, to f,
// which keeps nothing of them.
func (s *Sums) read(ctx context.Context, q SpendQuery, f func(*table)) error {
	from, to := q.From.UTC(), q.To.UTC()
	for m := time.Date(from.Year(), from.Month(), 1, 0, 0, 0, 0, time.UTC); m.Before(to); m = m.AddDate(0, 1, 0) {
		if err := s.month(q.Account, m).read(ctx, s.ledger, q.Now, f); err != nil {
			return fmt.Errorf("usage of %s: %w", m.Format("2006-01"), err)
		}
	}
	s.forget()
	return nil
}

func (t *table) each(q SpendQuery, f func(*Entry)) {
	wanted := t.wanted(q)
	e := Entry{Of: new(resource.Usage), By: make(Amounts, len(t.books))}
	for id := range t.things {
		named := false
		for i := t.things[id].line; i >= 0; i = t.lines[i].next {
			r := t.lines[i].rate
			if !wanted[r] {
				continue
			}
			e.Units = t.amounts[0][i].units
			used := false
			for b := range e.By {
				a := t.amounts[b][i]
				used = used || a.units != 0
				e.By[b] = Amount{a.micro, a.seconds, !t.rate[r].known[b] && a.units != 0}
			}
			if !used {
				continue
			}
			if !named {
				named = true
				x, c := &t.things[id], &t.class[t.things[id].class]
				*e.Of = resource.Usage{
					Account: q.Account, Region: c.region, Kind: c.kind, Name: string(t.name(x)), UID: string(t.uid(x)),
					Component: c.component, InstanceType: c.instanceType, Unit: c.unit,
				}
			}
			e.Of.Tags, e.Day = t.label[t.lines[i].label], time.Unix(int64(t.rate[r].day)*86400, 0).UTC()
			f(&e)
		}
	}
}

// wanted says which rates are of what a query asks for.
func (t *table) wanted(q SpendQuery) []bool {
	wanted := make([]bool, len(t.rate))
	from, to := dayOf(q.From), dayOf(q.To)
	for i, r := range t.rate {
		c := &t.class[r.class]
		wanted[i] = r.day >= from && r.day < to && (q.Region == "" || q.Region == c.region) && (q.Kinds == nil || slices.Contains(q.Kinds, c.kind))
	}
	return wanted
}

// Hours gives the lines of a book's hours in [from, to), which begin and end
// with one, to f: those of a day's hours sum up to its line. Like Bill's,
// usages must hold all of from's day. f keeps nothing of an entry.
func Hours(usages []resource.Usage, b Book, from, to, now time.Time, f func(*Entry)) {
	type hours struct {
		of    resource.Usage
		day   time.Time
		price Price
		units [24]int64 // charged in each hour
		secs  [24]int64
	}
	lines := make(map[lineKey]*hours)
	for _, u := range usages {
		end, over := final(u, now)
		switch {
		case u.Unit == Request && !over:
			continue
		case !over:
			end = now
		}
		stop := end
		if to.Before(stop) {
			stop = to
		}
		h := u.Start.UTC().Truncate(time.Hour)
		if first := from.UTC().Truncate(day); h.Before(first) {
			h = first
		}
		for ; h.Before(stop); h = h.Add(time.Hour) {
			d := h.Truncate(day)
			text := d.Format(time.DateOnly)
			price, ok := b.Prices.Price(u.Region, u.Component, u.InstanceType, u.Unit, text)
			k := lineKey{u.UID, u.Component, u.InstanceType, u.Unit, text, price.Version, u.Account, u.Region, u.Name, tagText(u.Tags), u.Kind, ok}
			l := lines[k]
			if l == nil {
				l = &hours{of: u, day: d, price: price}
				l.of.ID, l.of.Quantity, l.of.Start, l.of.End = "", 0, time.Time{}, time.Time{}
				lines[k] = l
			}
			until := h.Add(time.Hour)
			if stop.Before(until) {
				until = stop
			}
			n := b.charged(u, end, until) - b.charged(u, end, h)
			l.units[h.Hour()] += n * u.Quantity
			if u.Unit != Request {
				l.secs[h.Hour()] += n
			}
		}
	}
	for k, l := range lines {
		e := Entry{Of: &l.of, By: make(Amounts, 1)}
		var before int64
		for i, n := range l.units {
			if n == 0 {
				continue
			}
			e.Day, e.Units = l.day.Add(time.Duration(i)*time.Hour), n
			e.By[0] = Amount{Seconds: l.secs[i], Unpriced: !k.priced}
			if k.priced {
				e.By[0].MicroUSD = l.price.micro(before+n) - l.price.micro(before)
			}
			if before += n; !e.Day.Before(from) {
				f(&e)
			}
		}
	}
}
