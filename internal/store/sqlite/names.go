package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"clary/internal/resource"
)

// nameSchema indexes names by their trigrams. The index lags behind: the rows
// above name_indexed.id are looked at one by one. It keeps rows that were
// deleted; ids are not used again, so they lead nowhere.
const nameSchema = `
CREATE VIRTUAL TABLE name_index USING fts5(name, content='', columnsize=0, detail=none, tokenize='trigram');
CREATE TABLE name_indexed(id INTEGER NOT NULL) STRICT;
INSERT INTO name_indexed VALUES(0);
`

const (
	nameBlock   = 256  // rows that are indexed at once, and that wait at the least
	nameWalk    = 100  // rows beyond a page that are looked at before the index is asked
	nameMatches = 2000 // a needle that more names have is common: walking finds it soon
	nameGrams   = 12   // trigrams of a needle that are looked up
)

// indexNames brings the index up to date whenever enough rows wait.
func (s *Store) indexNames() {
	defer close(s.indexed)
	for {
		more := true
		for more {
			err := s.update(context.Background(), func(t *tx) (err error) {
				more, err = t.indexNames()
				return err
			})
			if err != nil {
				break // closed, or the disk is full; a later signal tries again
			}
		}
		select {
		case <-s.unindexed:
		case <-s.closing:
			return
		}
	}
}

// indexNames indexes a block of rows if one is full, and tells whether it was.
func (t *tx) indexNames() (bool, error) {
	ctx := context.Background()
	var upto, last, n int64
	if err := t.QueryRowContext(ctx, `SELECT id FROM name_indexed`).Scan(&upto); err != nil {
		return false, err
	}
	if err := t.QueryRowContext(ctx, `SELECT count(*), coalesce(max(id), 0) FROM (SELECT id FROM resource WHERE id > ? ORDER BY id LIMIT ?)`,
		upto, nameBlock).Scan(&n, &last); err != nil || n < nameBlock {
		return false, err
	}
	if _, err := t.exec(`INSERT INTO name_index(rowid, name) SELECT id, name FROM resource WHERE id > ? AND id <= ?`, upto, last); err != nil {
		return false, err
	}
	_, err := t.exec(`UPDATE name_indexed SET id = ?`, last)
	return err == nil, err
}

// wrote tells the indexer that rows were added, once a block's worth came
// together. The writer alone calls it.
func (s *Store) wrote(inserts int) {
	if s.inserts += inserts; s.inserts < nameBlock {
		return
	}
	s.inserts = 0
	select {
	case s.unindexed <- struct{}{}:
	default:
	}
}

// byName finds a page of records whose name has q.NameContains in it. The
// beginning of the listing is walked first, then the index is asked.
func (s *Store) byName(ctx context.Context, q resource.Query, p *page) error {
	return s.read(ctx, func(t *tx) error {
		var upto int64
		if err := t.QueryRowContext(ctx, `SELECT id FROM name_indexed`).Scan(&upto); err != nil {
			return err
		}
		match := grams(q.NameContains)
		if upto == 0 || match == "" {
			return p.run(ctx, t, "", "")
		}
		// The last place of the walk: none when the listing is shorter.
		var value any
		var id int64
		err := t.QueryRowContext(ctx, `SELECT `+p.column+`, id FROM resource WHERE `+p.where()+p.orderBy()+` LIMIT 1 OFFSET ?`,
			append(slices.Clone(p.args), p.limit+nameWalk)...).Scan(&value, &id)
		if errors.Is(err, sql.ErrNoRows) {
			return p.run(ctx, t, "", "")
		}
		if err != nil {
			return err
		}
		if err := p.run(ctx, t, ` AND (`+p.column+`, id) `+p.within()+` (?, ?)`, "", value, id); err != nil || p.more() {
			return err
		}
		var n int
		var ids string
		err = t.QueryRowContext(ctx, `SELECT count(*), json_group_array(rowid) FROM (SELECT rowid FROM name_index WHERE name_index MATCH ? LIMIT ?)`,
			match, nameMatches+1).Scan(&n, &ids)
		if err != nil {
			return err
		}
		if n > nameMatches {
			return p.run(ctx, t, "", "")
		}
		return p.run(ctx, t, ` AND id IN (SELECT value FROM json_each(?) UNION ALL SELECT id FROM resource WHERE id > ?)`, "NOT INDEXED", ids, upto)
	})
}

// grams is a full-text query for names that have all trigrams of a needle;
// "" when it is too short to have any. Who has them all need not have the
// needle, but who has the needle has them all.
func grams(needle string) string {
	rs := []rune(needle)
	if len(rs) < 3 || !utf8.ValidString(needle) || strings.ContainsRune(needle, 0) {
		return ""
	}
	var out []string
	step := max(1, (len(rs)-2)/nameGrams)
	for i := 0; i+3 <= len(rs) && len(out) < nameGrams; i += step {
		out = append(out, `"`+strings.ReplaceAll(string(rs[i:i+3]), `"`, `""`)+`"`)
	}
	return strings.Join(out, " AND ")
}
