package sqlite

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"clary/internal/resource"
	"clary/internal/store"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// order says by which columns a listing runs. The id ends each, so no two
// records stand in the same place.
func order(s resource.Sort) (column string, ok bool) {
	switch s {
	case "", resource.SortCreated:
		return "created", true
	case resource.SortName:
		return "name", true
	case resource.SortPhase:
		return "phase", true
	case resource.SortModified:
		return "modified", true
	}
	return "", false
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
	bound := func(cond string, ns int64) {
		if ns != 0 {
			f.and(cond, ns)
		}
	}
	bound("created > ?", nanos(q.CreatedAfter))
	bound("created < ?", nanos(q.CreatedBefore))
	bound("modified > ?", nanos(q.ModifiedAfter))
	bound("modified < ?", nanos(q.ModifiedBefore))
	return f
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
	filter *filter // without NameContains
	needle string
	column string
	desc   bool
	limit  int

	args []any // of the filter
	out  []*resource.Record
	ids  []int64
}

func (p *page) where() string { return p.filter.where.String() }

func (p *page) orderBy() string {
	if p.desc {
		return ` ORDER BY ` + p.column + ` DESC, id DESC`
	}
	return ` ORDER BY ` + p.column + `, id`
}

// within compares a place with the last one that may be seen.
func (p *page) within() string {
	if p.desc {
		return ">="
	}
	return "<="
}

// more tells whether there is another page.
func (p *page) more() bool { return len(p.out) > p.limit }

// run reads the page, narrowed by a further condition.
func (p *page) run(ctx context.Context, t *tx, narrow, hint string, args ...any) error {
	p.out, p.ids = nil, nil
	all := append(append([]any(nil), p.args...), args...)
	query := `SELECT ` + columns + `, id FROM resource ` + hint + ` WHERE ` + p.where() + narrow
	if p.needle != "" {
		query += ` AND instr(lower(name), ?) > 0`
		all = append(all, asciiLower(p.needle))
	}
	rows, err := t.QueryContext(ctx, query+p.orderBy()+` LIMIT ?`, append(all, p.limit+1)...)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		var id int64
		r, err := scanRecord(rows, &id)
		if err != nil {
			return err
		}
		p.out, p.ids = append(p.out, r), append(p.ids, id)
	}
	return rows.Err()
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, q resource.Query) ([]*resource.Record, string, error) {
	column, ok := order(q.Sort)
	if !ok {
		return nil, "", fmt.Errorf("list %s: no order %q", q.Kind, q.Sort)
	}
	p := &page{filter: newFilter(q), needle: q.NameContains, column: column, desc: q.Descending, limit: min(q.Limit, maxPage)}
	if p.limit <= 0 {
		p.limit = defaultPage
	}
	if q.Token != "" {
		value, id, err := readToken(q)
		if err != nil {
			return nil, "", err
		}
		beyond := " > "
		if q.Descending {
			beyond = " < "
		}
		p.filter.and("("+column+", id)"+beyond+"(?, ?)", value, id)
	}
	p.args = p.filter.args
	var err error
	if q.NameContains != "" {
		err = s.byName(ctx, q, p)
	} else {
		err = s.reader(ctx, func(t *tx) error { return p.run(ctx, t, "", "") })
	}
	if err != nil {
		return nil, "", fmt.Errorf("list %s: %w", q.Kind, err)
	}
	if !p.more() {
		return p.out, "", nil
	}
	out := p.out[:p.limit]
	return out, writeToken(q, out[p.limit-1], p.ids[p.limit-1]), nil
}

// A token is a place in one listing: version, a fingerprint of the query, the
// id and the sort value of the last record, and a checksum.
const (
	tokenVersion = 1
	tokenFixed   = 1 + 4 + 8
)

// fingerprint stands for what must stay the same from page to page.
func fingerprint(q resource.Query) uint32 {
	column, _ := order(q.Sort)
	return crc32.ChecksumIEEE(fmt.Appendf(nil, "%q %q %q %q %q %q %q %d %d %d %d %s %t", q.Account, q.Region, q.Kind, q.Parent, q.Phase,
		q.UID, asciiLower(q.NameContains), nanos(q.CreatedAfter), nanos(q.CreatedBefore), nanos(q.ModifiedAfter), nanos(q.ModifiedBefore),
		column, q.Descending))
}

func writeToken(q resource.Query, r *resource.Record, id int64) string {
	b := binary.BigEndian.AppendUint32([]byte{tokenVersion}, fingerprint(q))
	b = binary.BigEndian.AppendUint64(b, uint64(id))
	switch q.Sort {
	case resource.SortName:
		b = append(b, r.Name...)
	case resource.SortPhase:
		b = append(b, r.Phase...)
	case resource.SortModified:
		b = binary.BigEndian.AppendUint64(b, uint64(nanos(r.Modified)))
	default:
		b = binary.BigEndian.AppendUint64(b, uint64(nanos(r.Created)))
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

func readToken(q resource.Query) (value any, id int64, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(q.Token)
	if err != nil || len(b) < tokenFixed+4 || b[0] != tokenVersion {
		return nil, 0, store.ErrToken
	}
	body := b[:len(b)-4]
	if binary.BigEndian.Uint32(b[len(body):]) != crc32.ChecksumIEEE(body) ||
		binary.BigEndian.Uint32(body[1:]) != fingerprint(q) {
		return nil, 0, store.ErrToken
	}
	id = int64(binary.BigEndian.Uint64(body[5:]))
	rest := body[tokenFixed:]
	if q.Sort == resource.SortName || q.Sort == resource.SortPhase {
		return string(rest), id, nil
	}
	if len(rest) != 8 {
		return nil, 0, store.ErrToken
	}
	return int64(binary.BigEndian.Uint64(rest)), id, nil
}
