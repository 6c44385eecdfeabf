package meter

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"clary/internal/resource"
)

// Amount is what something costs by one book.
type Amount struct {
	MicroUSD int64
	Seconds  int64 // charged
	Unpriced bool  // a part has no price: MicroUSD says nothing of it
}

func (a *Amount) add(b Amount) {
	a.MicroUSD += b.MicroUSD
	a.Seconds += b.Seconds
	a.Unpriced = a.Unpriced || b.Unpriced
}

// Amounts are by book, in the order of the books.
type Amounts []Amount

func (a Amounts) add(b Amounts) {
	for i := range b {
		a[i].add(b[i])
	}
}

// DaySpend is what a UTC day costs.
type DaySpend struct {
	Day string // YYYY-MM-DD
	By  Amounts
}

// ResourceSpend is what a resource's component costs.
type ResourceSpend struct {
	Region                             string
	Kind                               resource.Kind
	Name, UID, Component, InstanceType string
	By                                 Amounts
}

// Spend is what a span of days costs: sums of the lines that Bill makes of it.
type Spend struct {
	Total     Amounts
	Days      []DaySpend       // those with a line, in order
	Top       []ResourceSpend  // the dearest by the first book
	Resources int              // with a line, a component each; counted where Top is asked for
	Kinds     []resource.Kind  // those asked for; nil: all
	ByKind    []KindSpend      // those with a line, by name
	ByTag     []TagSpend       // of the tag asked for: by value
	Units     map[string]int64 // charged by the first book, by unit
}

// KindSpend is what resources of a kind cost.
type KindSpend struct {
	Kind resource.Kind
	By   Amounts
}

// TagSpend is what resources with a value of a tag cost.
type TagSpend struct {
	Value string // "": without the tag, or empty
	By    Amounts
}

// SpendQuery selects whole UTC days.
type SpendQuery struct {
	Account, Region string          // Region "" is all
	Kinds           []resource.Kind // nil: all
	From, To        time.Time
	Now             time.Time // open intervals last until now
	Top             int       // so many resources at most
	Tag             string    // a key, to sum up by its values
}

// Changes is what Sums reads: see store.Store.
type Changes interface {
	UsageSince(ctx context.Context, account string, from, to time.Time, since int64, f func(resource.Usage)) (int64, error)
}

// Sums answers what days cost without folding the ledger each time. It keeps
// the fold of the closed intervals of months that were asked for, reads what
// changed since the last look, and adds what is open. Lines are walked only for
// Top and Tag: the rest are running totals. An amount is the same as
// Bill's, since a line is complete before it is rounded. All of it comes from
// the ledger, so nothing is lost with the process. Nows must not go back.
type Sums struct {
	ledger Changes
	books  []Book
	only   *Filter

	mu     sync.Mutex // guards what follows
	months map[monthKey]*month
	looks  int
}

type monthKey struct {
	account string
	from    time.Time
}

// maxKept bounds the lines that are kept of months that were not asked for
// last: some 30 MB.
const maxKept = 200_000

// NewSums makes one; it reads nothing yet.
func NewSums(ledger Changes, books []Book) *Sums {
	return &Sums{ledger: ledger, books: books, months: make(map[monthKey]*month)}
}

// Only makes Sums of what f selects. An interval whose tags change while it is
// open moves in or out with them.
func (s *Sums) Only(f *Filter) *Sums {
	return &Sums{ledger: s.ledger, books: s.books, only: f, months: make(map[monthKey]*month)}
}

// Spend sums up. From and To are the beginnings of UTC days.
func (s *Sums) Spend(ctx context.Context, q SpendQuery) (Spend, error) {
	from, to := q.From.UTC(), q.To.UTC()
	if !from.Equal(from.Truncate(day)) || !to.Equal(to.Truncate(day)) || !from.Before(to) {
		return Spend{}, fmt.Errorf("spend from %s to %s: no whole days", q.From, q.To)
	}
	total := newGather(q, len(s.books))
	first := time.Date(from.Year(), from.Month(), 1, 0, 0, 0, 0, time.UTC)
	many := to.After(first.AddDate(0, 1, 0))
	if many && q.Top > 0 {
		total.merged = make(map[resourceKey]*ResourceSpend)
	}
	if err := s.read(ctx, q, total.take); err != nil {
		return Spend{}, err
	}
	return total.spend(), nil
}

func (s *Sums) month(account string, from time.Time) *month {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := monthKey{account, from}
	m := s.months[k]
	if m == nil {
		m = &month{books: s.books, only: s.only, account: account, from: from, to: from.AddDate(0, 1, 0), lock: make(chan struct{}, 1)}
		s.months[k] = m
	}
	s.looks++
	m.looked = s.looks
	return m
}

// forget lets the months go that were not asked for the longest, while there
// is too much of them.
func (s *Sums) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := slices.SortedFunc(maps.Keys(s.months), func(a, b monthKey) int { return s.months[b].looked - s.months[a].looked })
	lines := 0
	for i, k := range old {
		if lines += int(s.months[k].lines.Load()); lines > maxKept && i > 0 {
			delete(s.months, k)
		}
	}
}

// month is the fold of an account's month.
type month struct {
	books    []Book
	only     *Filter
	account  string
	from, to time.Time
	looked   int // guarded by Sums.mu
	lines    atomic.Int64

	// Guards what follows, while the ledger is read, too: a channel, so that
	// whoever waits for it stands still in virtual time.
	lock  chan struct{}
	table *table // of the intervals that are final
	place int64  // in the ledger's history, up to which was read
	open  map[string]*opened
}

// opened is an open interval, whose whole days are in the table up to a
// midnight: what it costs on them stays as it is while it is open.
type opened struct {
	resource.Usage
	until time.Time // zero: nothing is
}

// hold has the month to oneself until the function it gives is called.
func (m *month) hold(ctx context.Context) (release func(), err error) {
	select {
	case m.lock <- struct{}{}:
		return func() {
			if m.table != nil {
				m.lines.Store(int64(len(m.table.lines)))
			}
			<-m.lock
		}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// read gives what the month costs at now to f, which keeps nothing of it.
func (m *month) read(ctx context.Context, ledger Changes, now time.Time, f func(*table)) error {
	release, err := m.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := m.look(ctx, ledger, now); err != nil {
		return err
	}
	for _, o := range m.open {
		m.settle(o, now.UTC().Truncate(day))
		m.table.span(&o.Usage, now, m.after(o), 1)
	}
	f(m.table)
	for _, o := range m.open {
		m.table.span(&o.Usage, now, m.after(o), -1)
	}
	return nil
}

// after is from when on o is not in the table.
func (m *month) after(o *opened) time.Time {
	if o.until.IsZero() {
		return m.from
	}
	return o.until
}

// settle brings o into the table up to a midnight.
func (m *month) settle(o *opened, midnight time.Time) {
	if m.to.Before(midnight) {
		midnight = m.to
	}
	if midnight.Before(o.until) {
		m.unsettle(o) // the clock was set back
	}
	if o.Start.Before(midnight) && m.from.Before(midnight) && !midnight.Equal(o.until) {
		m.table.span(&o.Usage, midnight, m.after(o), 1)
		o.until = midnight
	}
}

// unsettle takes out of the table what of o is there.
func (m *month) unsettle(o *opened) {
	if !o.until.IsZero() {
		m.table.add(&o.Usage, o.until, -1)
		o.until = time.Time{}
	}
}

// running gives what is open to f.
func (m *month) running(ctx context.Context, ledger Changes, now time.Time, f func(resource.Usage)) error {
	release, err := m.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := m.look(ctx, ledger, now); err != nil {
		return err
	}
	for _, o := range m.open {
		if o.Unit != Request {
			f(o.Usage)
		}
	}
	return nil
}

// look reads what changed. An interval is open until it is seen closed, and is
// then folded once: the ledger tells of a closed one only once, and changes it
// no more. Of an open one it tells again when it has other tags.
func (m *month) look(ctx context.Context, ledger Changes, now time.Time) error {
	if m.table == nil {
		m.table, m.place, m.open = newTable(m.books, m.from, m.to), 0, make(map[string]*opened)
	}
	seen := func(u resource.Usage) {
		if o := m.open[u.ID]; o != nil {
			m.unsettle(o)
			delete(m.open, u.ID)
		}
		if !m.only.Match(&u) {
			return
		}
		if end, ok := final(u, now); ok {
			m.table.add(&u, end, 1)
		} else if u.Start.Before(m.to) {
			m.open[u.ID] = &opened{Usage: u}
		}
	}
	place, err := ledger.UsageSince(ctx, m.account, m.from, m.to, m.place, seen)
	if err != nil {
		m.table = nil // what was read in part is read anew
		return err
	}
	m.place = place
	for _, o := range m.open { // requests whose time has come
		if _, over := final(o.Usage, now); over {
			seen(o.Usage)
		}
	}
	return nil
}

// final says when u ended, if it did for good.
func final(u resource.Usage, now time.Time) (end time.Time, ok bool) {
	if u.Unit == Request {
		return u.Start.Add(1), !u.Start.After(now)
	}
	return u.End, !u.End.IsZero()
}

// gather is a sum in the making.
type gather struct {
	q      SpendQuery
	books  int
	days   map[int32]Amounts
	top    []ResourceSpend
	count  int
	merged map[resourceKey]*ResourceSpend // of several months
	kinds  map[resource.Kind]Amounts
	tags   map[string]Amounts
	units  map[string]int64
}

func newGather(q SpendQuery, books int) *gather {
	return &gather{
		q: q, books: books, days: make(map[int32]Amounts), kinds: make(map[resource.Kind]Amounts),
		tags: make(map[string]Amounts), units: make(map[string]int64),
	}
}

// of finds or makes a sum.
func of[K comparable](sums map[K]Amounts, k K, books int) Amounts {
	a := sums[k]
	if a == nil {
		a = make(Amounts, books)
		sums[k] = a
	}
	return a
}

type resourceKey struct{ region, uid, name, component, instanceType string }

// take adds the days asked for of a table.
func (g *gather) take(t *table) {
	wanted := t.wanted(g.q)
	g.sum(t, wanted)
	if g.q.Top > 0 || g.q.Tag != "" {
		g.walk(t, wanted)
	}
}

// sum adds what totals say.
func (g *gather) sum(t *table, wanted []bool) {
	for ri, ok := range wanted {
		if !ok {
			continue
		}
		r := &t.rate[ri]
		c := &t.class[r.class]
		for b := range t.books {
			sum := t.totals[b][ri]
			if sum.lines == 0 {
				continue
			}
			if b == 0 {
				g.units[c.unit] += sum.units
			}
			part := Amount{sum.micro, sum.seconds, !r.known[b]}
			of(g.days, r.day, g.books)[b].add(part)
			of(g.kinds, c.kind, g.books)[b].add(part)
		}
	}
}

// walk looks at each line: whose it is, and how tagged.
func (g *gather) walk(t *table, wanted []bool) {
	top := ranking{t: t, max: g.q.Top}
	sum := make(Amounts, g.books)
	labels := make([]Amounts, len(t.label))
	for id := range t.things {
		clear(sum)
		any := false
		for i := t.things[id].line; i >= 0; i = t.lines[i].next {
			r, label := t.lines[i].rate, t.lines[i].label
			if !wanted[r] {
				continue
			}
			for b := range sum {
				a := t.amounts[b][i]
				if a.units == 0 {
					continue
				}
				any = true
				part := Amount{a.micro, a.seconds, !t.rate[r].known[b]}
				sum[b].add(part)
				if g.q.Tag != "" {
					if labels[label] == nil {
						labels[label] = of(g.tags, t.label[label][g.q.Tag], g.books)
					}
					labels[label][b].add(part)
				}
			}
		}
		switch {
		case !any || g.q.Top == 0:
		case g.merged != nil:
			g.merge(t, int32(id), sum)
		default:
			g.count++
			top.offer(int32(id), sum)
		}
	}
	for _, p := range top.list {
		g.top = append(g.top, t.resource(p.id, p.sum))
	}
}

func (t *table) resource(id int32, sum Amounts) ResourceSpend {
	x := &t.things[id]
	c := t.class[x.class]
	return ResourceSpend{
		Region: c.region, Kind: c.kind, Name: string(t.name(x)), UID: string(t.uid(x)),
		Component: c.component, InstanceType: c.instanceType, By: sum,
	}
}

func (g *gather) merge(t *table, id int32, sum Amounts) {
	r := t.resource(id, nil)
	k := resourceKey{r.Region, r.UID, r.Name, r.Component, r.InstanceType}
	m := g.merged[k]
	if m == nil {
		r.By = make(Amounts, g.books)
		m = &r
		g.merged[k] = m
	}
	m.By.add(sum)
}

func (g *gather) spend() Spend {
	s := Spend{Total: make(Amounts, g.books), Top: g.top, Resources: g.count, Kinds: g.q.Kinds, Units: g.units}
	for _, k := range slices.Sorted(maps.Keys(g.kinds)) {
		s.ByKind = append(s.ByKind, KindSpend{k, g.kinds[k]})
	}
	for _, v := range slices.Sorted(maps.Keys(g.tags)) {
		s.ByTag = append(s.ByTag, TagSpend{v, g.tags[v]})
	}
	for _, d := range slices.Sorted(maps.Keys(g.days)) {
		s.Days = append(s.Days, DaySpend{dayText(d), g.days[d]})
		s.Total.add(g.days[d])
	}
	if g.merged != nil {
		s.Resources = len(g.merged)
		for _, r := range g.merged {
			s.Top = append(s.Top, *r)
		}
		slices.SortFunc(s.Top, func(a, b ResourceSpend) int {
			return cmp.Or(cmp.Compare(b.By[0].MicroUSD, a.By[0].MicroUSD), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID),
				cmp.Compare(a.Component, b.Component), cmp.Compare(a.InstanceType, b.InstanceType), cmp.Compare(a.Region, b.Region))
		})
		s.Top = s.Top[:min(len(s.Top), g.q.Top)]
	}
	return s
}

// ranking is the dearest things of a table.
type ranking struct {
	t    *table
	max  int
	list []ranked
}

type ranked struct {
	id  int32
	sum Amounts
}

func (r *ranking) compare(a, b ranked) int {
	if c := cmp.Compare(b.sum[0].MicroUSD, a.sum[0].MicroUSD); c != 0 {
		return c
	}
	x, y := &r.t.things[a.id], &r.t.things[b.id]
	cx, cy := r.t.class[x.class], r.t.class[y.class]
	return cmp.Or(bytes.Compare(r.t.name(x), r.t.name(y)), bytes.Compare(r.t.uid(x), r.t.uid(y)),
		cmp.Compare(cx.component, cy.component), cmp.Compare(cx.instanceType, cy.instanceType), cmp.Compare(cx.region, cy.region))
}

func (r *ranking) offer(id int32, sum Amounts) {
	p := ranked{id, sum}
	if len(r.list) == r.max {
		if r.compare(p, r.list[r.max-1]) >= 0 {
			return
		}
		r.list = r.list[:r.max-1]
	}
	p.sum = slices.Clone(sum)
	at, _ := slices.BinarySearchFunc(r.list, p, r.compare)
	r.list = slices.Insert(r.list, at, p)
}
