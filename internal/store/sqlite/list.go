package sqlite

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// listSchema has what a listing shows in the index that it usually walks. Each
// index ends in the id, which names say for a reason: it is not at its end here.
const listSchema = `
ALTER TABLE resource ADD COLUMN brief TEXT NOT NULL DEFAULT '';
DROP INDEX resource_created;
CREATE INDEX resource_created ON resource(kind, account, region, created, id, name, phase, modified, brief);
`

// order says by which column a listing runs and which index has it. The id
// comes after it, so no two records stand in the same place. A listing by
// status is one by creation for each, see byPhase.
type order struct{ column, index string }

func orderOf(s resource.Sort) (o order, ok bool) {
	switch s {
	case "", resource.SortCreated:
		return order{column: "created", index: "resource_created"}, true
	case resource.SortName:
		return order{column: "name", index: "resource_key"}, true
	case resource.SortPhase:
		return order{column: "phase"}, true
	case resource.SortModified:
		return order{column: "modified", index: "resource_modified"}, true
	}
	return order{}, false
}

// place is the row value by which a listing is sorted.
func (o order) place() string { return "(" + o.column + ", id)" }

func (o order) by(desc bool) string {
	if desc {
		return " ORDER BY " + o.column + " DESC, id DESC"
	}
	return " ORDER BY " + o.column + ", id"
}

// filter collects conditions and their arguments.
type filter struct {
	where strings.Builder
	args  []any
}

func (f *filter) and(cond string, args ...any) {
	if len(f.args) > 0 {
		f.where.WriteString(" AND ")
	}
	f.where.WriteString(cond)
	f.args = append(f.args, args...)
}

func newFilter(q resource.Query) *filter {
	f := &filter{}
	f.and("kind = ?", string(q.Kind))
	text := func(column, v string) {
		if v != "" {
			f.and(column+" = ?", v)
		}
	}
	text("account", q.Account)
	text("region", q.Region)
	text("parent", q.Parent)
	text("phase", q.Phase)
	text("uid", q.UID)
	if q.Parent != "" {
		f.where.WriteString(" AND parent <> ''")
	}
	if q.UID != "" {
		f.where.WriteString(" AND uid <> ''")
	}
	return f
}

// within has conditions for those ends of a span that bound anything and are
// not left out.
func (f *filter) within(column string, s span, noFrom, noTo bool) {
	if s.from != math.MinInt64 && !noFrom {
		f.and(column+" >= ?", s.from)
	}
	if s.to != math.MaxInt64 && !noTo {
		f.and(column+" <= ?", s.to)
	}
}

// asciiLower folds as SQLite's lower does: the letters A to Z alone.
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// page is one page of a listing in the making.
type page struct {
	q             resource.Query
	filter        *filter // without times, place and NameContains
	made, changed span
	order         order
	place         []any // that it is beyond, nil for the first page
	limit         int

	out []*resource.Record
	ids []int64
}

// span bounds a time of the records of a page, its ends included.
type span struct{ from, to int64 }

func between(after, before time.Time) span {
	s := span{math.MinInt64, math.MaxInt64}
	if at := nanos(after); at != 0 {
		s.from = shift(at, 1)
	}
	if at := nanos(before); at != 0 {
		s.to = shift(at, -1)
	}
	return s
}

func (s *span) cut(from, to int64) { s.from, s.to = max(s.from, from), min(s.to, to) }

// shift moves the end of a span, unless it is one that bounds nothing.
func shift(at, by int64) int64 {
	switch {
	case at == math.MinInt64 || at == math.MaxInt64:
		return at
	case by > 0 && at > math.MaxInt64-by:
		return math.MaxInt64
	case by < 0 && at < math.MinInt64-by:
		return math.MinInt64
	}
	return at + by
}

// conditions are those of the page, as far as to a place if one is given. Where
// the walk has a place at an end, that alone bounds it there: of two such bounds
// SQLite may walk by the one that is further away.
func (p *page) conditions(last []any) *filter {
	f := &filter{args: slices.Clone(p.filter.args)}
	f.where.WriteString(p.filter.where.String())
	from, to, beyond, within := p.place != nil, last != nil, " > ", " <= "
	if p.q.Descending {
		from, to, beyond, within = to, from, " < ", " >= "
	}
	made, changed := p.order.column == "created", p.order.column == "modified"
	f.within("created", p.made, made && from, made && to)
	f.within("modified", p.changed, changed && from, changed && to)
	if p.place != nil {
		f.and(p.order.place()+beyond+"(?, ?)", p.place...)
	}
	if last != nil {
		f.and(p.order.place()+within+"(?, ?)", last...)
	}
	return f
}

// more tells whether there is another page.
func (p *page) more() bool { return len(p.out) > p.limit }

const shortColumns = `kind, account, region, name, phase, created, modified, brief`

// run reads the page.
func (p *page) run(t *tx, hint string, f *filter) error {
	p.out, p.ids = nil, nil
	what := columns
	if p.q.Short {
		what = shortColumns
	}
	if p.q.NameContains != "" {
		f.and("instr(lower(name), ?) > 0", asciiLower(p.q.NameContains))
	}
	q := t.query(`SELECT ` + what + `, id FROM resource ` + hint + ` WHERE ` + f.where.String() + p.order.by(p.q.Descending) + ` LIMIT ?`)
	q.bind(f.args)
	q.int(int64(p.limit) + 1)
	for q.next() {
		if p.q.Short {
			p.out, p.ids = append(p.out, q.short()), append(p.ids, q.num(8))
		} else {
			p.out, p.ids = append(p.out, q.record()), append(p.ids, q.num(17))
		}
	}
	return q.end()
}

func (q *query) short() *resource.Record {
	return &resource.Record{
		Key:   resource.Key{Kind: resource.Kind(q.str(0)), Account: q.str(1), Region: q.str(2), Name: q.str(3)},
		Phase: q.str(4), Created: instant(q.num(5)), Modified: instant(q.num(6)), Brief: q.str(7),
	}
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, q resource.Query) ([]*resource.Record, string, error) {
	o, ok := orderOf(q.Sort)
	if !ok {
		return nil, "", fmt.Errorf("list %s: no order %q", q.Kind, q.Sort)
	}
	limit := min(q.Limit, maxPage)
	if limit <= 0 {
		limit = defaultPage
	}
	var place []any
	if q.Token != "" {
		var err error
		if place, err = readToken(q); err != nil {
			return nil, "", err
		}
	}
	read := s.reader
	if o.column == "phase" || q.NameContains != "" || q.Account == "" || !q.ModifiedAfter.IsZero() || !q.ModifiedBefore.IsZero() {
		read = s.read // several statements, one snapshot
	}
	var p *page
	err := read(ctx, func(t *tx) (err error) {
		defer t.interruptible(ctx)()
		if o.column == "phase" {
			p, err = byPhase(t, q, place, limit)
			return err
		}
		p = newPage(q, o, place, limit)
		return p.find(t)
	})
	if err != nil {
		return nil, "", fmt.Errorf("list %s: %w", q.Kind, err)
	}
	if !p.more() {
		return p.out, "", nil
	}
	out := p.out[:limit]
	return out, writeToken(q, out[limit-1], p.ids[limit-1]), nil
}

// newPage is the page beyond a place, or the first.
func newPage(q resource.Query, o order, place []any, limit int) *page {
	p := &page{
		q: q, filter: newFilter(q), order: o, place: place, limit: limit,
		made: between(q.CreatedAfter, q.CreatedBefore), changed: between(q.ModifiedAfter, q.ModifiedBefore),
	}
	if place != nil && o.column == "created" {
		if at, _ := place[0].(int64); q.Descending {
			p.made.cut(math.MinInt64, at)
		} else {
			p.made.cut(at, math.MaxInt64)
		}
	}
	return p
}

// byPhase makes a page by status: one by creation of each until it is full,
// so that bounds of time are where a walk begins and not what it looks at.
func byPhase(t *tx, q resource.Query, place []any, limit int) (*page, error) {
	all := &page{limit: limit}
	o, _ := orderOf(resource.SortCreated)
	one := q
	found := true
	if place != nil {
		one.Phase, place = place[0].(string), place[1:]
	} else if q.Phase == "" {
		var err error
		if one.Phase, found, err = nextPhase(t, q, nil); err != nil {
			return nil, err
		}
	}
	for found {
		p := newPage(one, o, place, limit-len(all.out))
		if one.Phase == "" {
			p.filter.and("phase = ?", "")
		}
		if err := p.find(t); err != nil {
			return nil, err
		}
		all.out, all.ids = append(all.out, p.out...), append(all.ids, p.ids...)
		if all.more() || q.Phase != "" {
			break
		}
		var err error
		if one.Phase, found, err = nextPhase(t, q, &one.Phase); err != nil {
			return nil, err
		}
		place = nil
	}
	return all, nil
}

// nextPhase is the status that comes after another in the listing.
func nextPhase(t *tx, q resource.Query, after *string) (phase string, found bool, err error) {
	f := newFilter(resource.Query{Kind: q.Kind, Account: q.Account, Region: q.Region})
	beyond, down := "phase > ?", ""
	if q.Descending {
		beyond, down = "phase < ?", " DESC"
	}
	if after != nil {
		f.and(beyond, *after)
	}
	s := t.query(`SELECT phase FROM resource INDEXED BY resource_phase WHERE ` + f.where.String() + ` ORDER BY phase` + down + ` LIMIT 1`)
	s.bind(f.args)
	if found = s.next(); found {
		phase = s.str(0)
	}
	return phase, found, s.end()
}

// few is how many records are sorted without a thought.
const few = 500

// find chooses the way to the page. The order's own index finds a page soon
// unless the filters leave little of it; then a filter's index is the way.
func (p *page) find(t *tx) error {
	if err := p.settle(t); err != nil {
		return err
	}
	q := p.q
	modified := !q.ModifiedAfter.IsZero() || !q.ModifiedBefore.IsZero()
	created := !q.CreatedAfter.IsZero() || !q.CreatedBefore.IsZero()
	if modified || created && p.order.column == "modified" {
		if err := p.narrow(t); err != nil {
			return err
		}
	}
	for _, way := range []struct {
		index string
		use   bool
	}{
		{"resource_phase", q.Phase != "" && p.order.column != "created"},
		{"resource_modified", modified && p.order.column != "modified"},
		{"resource_created", created && p.order.column != "created" && q.Phase == ""},
	} {
		if !way.use || q.Account == "" || q.Region == "" {
			continue
		}
		if rare, err := p.rare(t, way.index); err != nil {
			return err
		} else if rare {
			return p.run(t, "INDEXED BY "+way.index, p.conditions(nil))
		}
	}
	if q.NameContains != "" {
		return p.byName(t)
	}
	return p.run(t, p.hint(), p.conditions(nil))
}

// settle says where all records of the kind are, if that is one place, for
// whoever asks of all places: each index begins with the place.
func (p *page) settle(t *tx) error {
	if p.q.Account != "" {
		return nil
	}
	var account, region string
	for n := 0; ; n++ {
		q := t.query(`SELECT account, region FROM resource INDEXED BY resource_key WHERE kind = ? AND (account, region) > (?, ?) ORDER BY account, region LIMIT 1`)
		q.text(string(p.q.Kind))
		q.text(account)
		q.text(region)
		found := q.next()
		if found {
			account, region = q.str(0), q.str(1)
		}
		if err := q.end(); err != nil {
			return err
		}
		switch {
		case found && n == 0 && account != "" && region != "" && (p.q.Region == "" || p.q.Region == region):
		case !found && n == 1:
			p.filter.and("account = ?", account)
			if p.q.Region == "" {
				p.filter.and("region = ?", region)
			}
			p.q.Account, p.q.Region = account, region
			return nil
		default:
			return nil
		}
	}
}

// hint names the order's index where SQLite may think of another one, which
// would have it sort all that a bound leaves.
func (p *page) hint() string {
	q := p.q
	if q.Account == "" && q.Phase != "" && q.Parent == "" && q.UID == "" {
		return "INDEXED BY resource_phase"
	}
	if q.Account == "" || q.Region == "" || q.Parent != "" || q.UID != "" {
		return ""
	}
	if q.Phase != "" && p.order.column == "created" {
		return "INDEXED BY resource_phase"
	}
	return "INDEXED BY " + p.order.index
}

// rare tells whether the filters of an index leave few records.
func (p *page) rare(t *tx, index string) (bool, error) {
	most, err := p.few(t)
	if err != nil {
		return false, err
	}
	f := newFilter(resource.Query{Kind: p.q.Kind, Account: p.q.Account, Region: p.q.Region})
	switch index {
	case "resource_phase":
		f.and("phase = ?", p.q.Phase)
		f.within("created", p.made, false, false)
	case "resource_modified":
		f.within("modified", p.changed, false, false)
	default:
		f.within("created", p.made, false, false)
	}
	q := t.query(`SELECT count(*) FROM (SELECT 1 FROM resource INDEXED BY ` + index + ` WHERE ` + f.where.String() + ` LIMIT ?)`)
	q.bind(f.args)
	q.int(most + 1)
	n := int64(0)
	if q.next() {
		n = q.num(0)
	}
	return n <= most, q.end()
}

// few is how many records are sorted rather than looked for by walking. Names
// say nothing of when and how, so a walk over them to a page of n records looks
// at all/n for each: as many as are sorted here at the most.
func (p *page) few(t *tx) (int64, error) {
	if p.order.column != "name" {
		return few, nil
	}
	q := t.query(`SELECT id FROM resource ORDER BY id DESC LIMIT 1`)
	last := int64(0)
	if q.next() {
		last = q.num(0)
	}
	return max(few, int64(math.Sqrt(float64(p.limit)*float64(last)))), q.end()
}

// narrow bounds creation by what modification is bounded by, or the other way
// around where the listing runs by modification.
func (p *page) narrow(t *tx) error {
	l, err := t.lag(p.q.Kind)
	if err != nil {
		return err
	}
	if p.order.column == "modified" {
		p.changed.cut(shift(p.made.from, l.least), shift(p.made.to, l.most))
	} else {
		p.made.cut(shift(p.changed.from, -l.most), shift(p.changed.to, -l.least))
	}
	return nil
}

// A token is a place in one listing: version, a fingerprint of the query, the
// id and the sort values of the last record, and a checksum.
const (
	tokenVersion = 2
	tokenFixed   = 1 + 4 + 8
)

// fingerprint stands for what must stay the same from page to page.
func fingerprint(q resource.Query) uint32 {
	o, _ := orderOf(q.Sort)
	b := make([]byte, 0, 256)
	for _, s := range []string{q.Account, q.Region, string(q.Kind), q.Parent, q.Phase, q.UID, asciiLower(q.NameContains), o.column} {
		b = strconv.AppendQuote(b, s)
	}
	for _, at := range []time.Time{q.CreatedAfter, q.CreatedBefore, q.ModifiedAfter, q.ModifiedBefore} {
		b = binary.BigEndian.AppendUint64(b, uint64(nanos(at)))
	}
	return crc32.ChecksumIEEE(strconv.AppendBool(b, q.Descending))
}

func writeToken(q resource.Query, r *resource.Record, id int64) string {
	b := binary.BigEndian.AppendUint32([]byte{tokenVersion}, fingerprint(q))
	b = binary.BigEndian.AppendUint64(b, uint64(id))
	switch q.Sort {
	case resource.SortName:
		b = append(b, r.Name...)
	case resource.SortPhase:
		b = binary.BigEndian.AppendUint64(b, uint64(nanos(r.Created)))
		b = append(b, r.Phase...)
	case resource.SortModified:
		b = binary.BigEndian.AppendUint64(b, uint64(nanos(r.Modified)))
	default:
		b = binary.BigEndian.AppendUint64(b, uint64(nanos(r.Created)))
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

// readToken gives the values of the order's place.
func readToken(q resource.Query) ([]any, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(q.Token)
	if err != nil || len(b) < tokenFixed+4 || b[0] != tokenVersion {
		return nil, store.ErrToken
	}
	body := b[:len(b)-4]
	if binary.BigEndian.Uint32(b[len(body):]) != crc32.ChecksumIEEE(body) ||
		binary.BigEndian.Uint32(body[1:]) != fingerprint(q) {
		return nil, store.ErrToken
	}
	id := int64(binary.BigEndian.Uint64(body[5:]))
	rest := body[tokenFixed:]
	if q.Sort == resource.SortName {
		return []any{string(rest), id}, nil
	}
	if len(rest) < 8 || len(rest) > 8 && q.Sort != resource.SortPhase {
		return nil, store.ErrToken
	}
	at := int64(binary.BigEndian.Uint64(rest))
	if q.Sort == resource.SortPhase {
		return []any{string(rest[8:]), at, id}, nil
	}
	return []any{at, id}, nil
}
