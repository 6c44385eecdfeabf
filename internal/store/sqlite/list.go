package sqlite

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
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

// order says by which columns a listing runs and which index has them. The id
// ends each, so no two records stand in the same place. ties is for a column
// of few values: what has the same one is in the order of its making.
type order struct{ column, ties, index string }

func orderOf(s resource.Sort) (o order, ok bool) {
	switch s {
	case "", resource.SortCreated:
		return order{column: "created", index: "resource_created"}, true
	case resource.SortName:
		return order{column: "name", index: "resource_key"}, true
	case resource.SortPhase:
		return order{column: "phase", ties: "created", index: "resource_phase"}, true
	case resource.SortModified:
		return order{column: "modified", index: "resource_modified"}, true
	}
	return order{}, false
}

// place is the row value by which a listing is sorted.
func (o order) place() string {
	if o.ties != "" {
		return "(" + o.column + ", " + o.ties + ", id)"
	}
	return "(" + o.column + ", id)"
}

func (o order) by(desc bool) string {
	down := ""
	if desc {
		down = " DESC"
	}
	if o.ties != "" {
		return " ORDER BY " + o.column + down + ", " + o.ties + down + ", id" + down
	}
	return " ORDER BY " + o.column + down + ", id" + down
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
	f.created(q)
	f.modified(q)
	return f
}

func (f *filter) bound(cond string, at time.Time) {
	if ns := nanos(at); ns != 0 {
		f.and(cond, ns)
	}
}

func (f *filter) created(q resource.Query) {
	f.bound("created > ?", q.CreatedAfter)
	f.bound("created < ?", q.CreatedBefore)
}

func (f *filter) modified(q resource.Query) {
	f.bound("modified > ?", q.ModifiedAfter)
	f.bound("modified < ?", q.ModifiedBefore)
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
	q      resource.Query
	filter *filter // without NameContains
	order  order
	limit  int
	span   span

	out []*resource.Record
	ids []int64
}

// span bounds when the records of a page were made, its ends included.
type span struct{ from, to int64 }

func (s *span) cut(from, to int64) { s.from, s.to = max(s.from, from), min(s.to, to) }

func (p *page) where() string { return p.filter.where.String() }

// more tells whether there is another page.
func (p *page) more() bool { return len(p.out) > p.limit }

const shortColumns = `kind, account, region, name, phase, created, modified, brief`

// run reads the page, narrowed by a further condition.
func (p *page) run(t *tx, narrow, hint string, args ...any) error {
	p.out, p.ids = nil, nil
	what := columns
	if p.q.Short {
		what = shortColumns
	}
	text := `SELECT ` + what + `, id FROM resource ` + hint + ` WHERE ` + p.where() + narrow
	if p.q.NameContains != "" {
		text += ` AND instr(lower(name), ?) > 0`
	}
	q := t.query(text + p.order.by(p.q.Descending) + ` LIMIT ?`)
	q.bind(p.filter.args)
	q.bind(args)
	if p.q.NameContains != "" {
		q.text(asciiLower(p.q.NameContains))
	}
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
	p := &page{q: q, filter: newFilter(q), order: o, limit: min(q.Limit, maxPage), span: span{math.MinInt64, math.MaxInt64}}
	if at := nanos(q.CreatedAfter); at != 0 {
		p.span.cut(at, math.MaxInt64)
	}
	if at := nanos(q.CreatedBefore); at != 0 {
		p.span.cut(math.MinInt64, at)
	}
	if p.limit <= 0 {
		p.limit = defaultPage
	}
	if q.Token != "" {
		place, err := readToken(q)
		if err != nil {
			return nil, "", err
		}
		beyond, marks := " > ", "(?, ?)"
		if q.Descending {
			beyond = " < "
		}
		if o.ties != "" {
			marks = "(?, ?, ?)"
		}
		p.filter.and(o.place()+beyond+marks, place...)
		if at, ok := place[0].(int64); ok && o.column == "created" {
			if q.Descending {
				p.span.cut(math.MinInt64, at)
			} else {
				p.span.cut(at, math.MaxInt64)
			}
		}
	}
	read := s.reader
	if q.NameContains != "" || q.Account == "" || !q.ModifiedAfter.IsZero() || !q.ModifiedBefore.IsZero() {
		read = s.read // several statements, one snapshot
	}
	err := read(ctx, func(t *tx) error {
		defer t.interruptible(ctx)()
		return p.find(t)
	})
	if err != nil {
		return nil, "", fmt.Errorf("list %s: %w", q.Kind, err)
	}
	if !p.more() {
		return p.out, "", nil
	}
	out := p.out[:p.limit]
	return out, writeToken(q, out[p.limit-1], p.ids[p.limit-1]), nil
}

// few is how many records are sorted without a thought.
const few = 500

// find chooses the way to the page. The order's own index finds a page soon
// unless the filters leave little of it; then the bound's index is the way.
func (p *page) find(t *tx) error {
	if err := p.settle(t); err != nil {
		return err
	}
	q := p.q
	if !q.ModifiedAfter.IsZero() || !q.ModifiedBefore.IsZero() {
		if err := p.narrow(t); err != nil {
			return err
		}
	}
	if q.NameContains != "" {
		return p.byName(t)
	}
	byModified := (!q.ModifiedAfter.IsZero() || !q.ModifiedBefore.IsZero()) && p.order.column != "modified"
	byCreated := (!q.CreatedAfter.IsZero() || !q.CreatedBefore.IsZero()) && p.order.column != "created" && q.Phase == ""
	for _, way := range []struct {
		index string
		use   bool
	}{{"resource_modified", byModified}, {"resource_created", byCreated}} {
		if !way.use || q.Account == "" || q.Region == "" {
			continue
		}
		if rare, err := p.rare(t, way.index); err != nil {
			return err
		} else if rare {
			return p.run(t, "", "INDEXED BY "+way.index)
		}
	}
	return p.run(t, "", p.hint())
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
	if q.Phase != "" && (p.order.column == "created" || p.order.column == "phase") {
		return "INDEXED BY resource_phase"
	}
	return "INDEXED BY " + p.order.index
}

// rare tells whether few records are within the bounds of the index's column.
func (p *page) rare(t *tx, index string) (bool, error) {
	f := &filter{}
	f.and("kind = ?", string(p.q.Kind))
	f.and("account = ?", p.q.Account)
	f.and("region = ?", p.q.Region)
	if index == "resource_modified" {
		f.modified(p.q)
	} else {
		f.created(p.q)
	}
	q := t.query(`SELECT count(*) FROM (SELECT 1 FROM resource INDEXED BY ` + index + ` WHERE ` + f.where.String() + ` LIMIT ?)`)
	q.bind(f.args)
	q.int(few + 1)
	n := int64(0)
	if q.next() {
		n = q.num(0)
	}
	return n <= few, q.end()
}

// narrow bounds creation by what modification is bounded by.
func (p *page) narrow(t *tx) error {
	l, err := t.lag(p.q.Kind)
	if err != nil {
		return err
	}
	if a := nanos(p.q.ModifiedAfter); a != 0 && a > math.MinInt64/2+l.most {
		p.filter.and("created >= ?", a-l.most)
		p.span.cut(a-l.most, math.MaxInt64)
	}
	if b := nanos(p.q.ModifiedBefore); b != 0 && b < math.MaxInt64/2+l.least {
		p.filter.and("created <= ?", b-l.least)
		p.span.cut(math.MinInt64, b-l.least)
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
