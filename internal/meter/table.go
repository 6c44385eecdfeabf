package meter

import (
	"hash/maphash"
	"time"

	"clary/internal/resource"
)

// table is a fold of intervals within one span of whole UTC days: the same
// lines that Bill makes, kept so that one more interval costs one step and a
// hundred thousand lines cost the collector nothing (there is no pointer in
// what there is much of).
type table struct {
	books    []Book
	from, to time.Time

	seed    maphash.Seed
	things  []thing
	byHash  map[uint64]int32 // the newest thing of a hash; see thing.same
	text    []byte           // of things: uid, then name
	lines   []slot
	amounts [][]amount // by book, by line

	classes map[class]int32
	class   []class
	rates   map[classDay]int32
	rate    []rate
	totals  [][]total // by book, by rate
	labels  map[string]int32
	label   []map[string]string // tags; the first: none
}

// class is what is said of very many things alike.
type class struct {
	region                        string
	kind                          resource.Kind
	component, instanceType, unit string
}

// thing is a resource's component.
type thing struct {
	text       uint32
	uid, name  uint16 // lengths
	class      int32
	line, same int32 // its newest line; another thing of the same hash; none: -1
}

type classDay struct{ class, day int32 }

// rate is what units of a class cost on a day, by each book.
type rate struct {
	classDay
	price []Price
	known []bool
}

// slot is a line's place: what it costs is in amounts.
type slot struct {
	thing, next int32 // next: an older line of the thing, or -1
	rate, label int32
}

type amount struct{ units, seconds, micro int64 }

// total is the sum of all lines of a rate, kept as they change.
type total struct {
	amount
	lines int64 // that have units: others are none
}

func newTable(books []Book, from, to time.Time) *table {
	return &table{
		books: books, from: from, to: to, seed: maphash.MakeSeed(), byHash: make(map[uint64]int32),
		classes: make(map[class]int32), rates: make(map[classDay]int32), amounts: make([][]amount, len(books)), totals: make([][]total, len(books)),
		labels: map[string]int32{"": 0}, label: []map[string]string{nil},
	}
}

const day = 24 * time.Hour

func dayOf(t time.Time) int32 { return int32(t.Unix() / 86400) }

func dayText(d int32) string { return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly) }

// add folds u, which ends at end, n times: once, or -1 times to take it out
// again.
func (t *table) add(u *resource.Usage, end time.Time, n int64) { t.span(u, end, t.from, n) }

// span is add for what of the table's days from a midnight on is left.
func (t *table) span(u *resource.Usage, end, from time.Time, n int64) {
	to := end
	if t.to.Before(end) {
		to = t.to
	}
	first := u.Start
	if from.After(first) {
		first = from
	}
	if !first.Before(to) {
		return
	}
	id, label := t.thing(u), t.tags(u.Tags)
	for d := first.UTC().Truncate(day); d.Before(to); d = d.Add(day) {
		until := d.Add(day)
		if to.Before(until) {
			until = to
		}
		i := t.line(id, dayOf(d), label)
		ri := t.lines[i].rate
		r := &t.rate[ri]
		for b, book := range t.books {
			charged := n * (book.charged(*u, end, until) - book.charged(*u, end, d))
			a := t.amounts[b][i]
			t.totals[b][ri].add(a, -1)
			a.units += charged * u.Quantity
			if u.Unit != Request {
				a.seconds += charged
			}
			if r.known[b] {
				a.micro = r.price[b].micro(a.units)
			}
			t.totals[b][ri].add(a, 1)
			t.amounts[b][i] = a
		}
	}
}

// add counts a line in, n = 1, or out, n = -1. It was rounded, so totals are
// the sums of lines and nothing else.
func (t *total) add(a amount, n int64) {
	if a.units == 0 {
		return
	}
	t.lines += n
	t.units += n * a.units
	t.seconds += n * a.seconds
	t.micro += n * a.micro
}

func (t *table) thing(u *resource.Usage) int32 {
	c := class{u.Region, u.Kind, u.Component, u.InstanceType, u.Unit}
	ci, ok := t.classes[c]
	if !ok {
		ci = int32(len(t.class))
		t.class = append(t.class, c)
		t.classes[c] = ci
	}
	var h maphash.Hash
	h.SetSeed(t.seed)
	_, _ = h.WriteString(u.UID)
	_ = h.WriteByte(byte(ci))
	sum := h.Sum64()
	other, ok := t.byHash[sum]
	if !ok {
		other = -1
	}
	for i := other; i >= 0; i = t.things[i].same {
		if x := &t.things[i]; x.class == ci && string(t.uid(x)) == u.UID && string(t.name(x)) == u.Name {
			return i
		}
	}
	id := int32(len(t.things))
	t.things = append(t.things, thing{uint32(len(t.text)), uint16(len(u.UID)), uint16(len(u.Name)), ci, -1, other})
	t.text = append(append(t.text, u.UID...), u.Name...)
	t.byHash[sum] = id
	return id
}

func (t *table) uid(x *thing) []byte { return t.text[x.text : x.text+uint32(x.uid)] }

func (t *table) name(x *thing) []byte {
	at := x.text + uint32(x.uid)
	return t.text[at : at+uint32(x.name)]
}

func (t *table) tags(tags map[string]string) int32 {
	if len(tags) == 0 {
		return 0
	}
	text := tagText(tags)
	i, ok := t.labels[text]
	if !ok {
		i = int32(len(t.label))
		t.label = append(t.label, tags)
		t.labels[text] = i
	}
	return i
}

// line finds or makes a thing's line of a day.
func (t *table) line(id, d, label int32) int32 {
	x := &t.things[id]
	k := classDay{x.class, d}
	r, ok := t.rates[k]
	if !ok {
		r = t.newRate(k)
	}
	for i := x.line; i >= 0; i = t.lines[i].next {
		if t.lines[i].rate == r && t.lines[i].label == label {
			return i
		}
	}
	i := int32(len(t.lines))
	t.lines = append(t.lines, slot{thing: id, next: x.line, rate: r, label: label})
	for b := range t.amounts {
		t.amounts[b] = append(t.amounts[b], amount{})
	}
	x.line = i
	return i
}

func (t *table) newRate(k classDay) int32 {
	r := rate{classDay: k}
	c := t.class[k.class]
	for _, b := range t.books {
		p, ok := b.Prices.Price(c.region, c.component, c.instanceType, c.unit, dayText(k.day))
		r.price, r.known = append(r.price, p), append(r.known, ok)
	}
	i := int32(len(t.rate))
	t.rate = append(t.rate, r)
	for b := range t.totals {
		t.totals[b] = append(t.totals[b], total{})
	}
	t.rates[k] = i
	return i
}
