package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
)

// nameSchema was an index of names by trigrams; name blocks took its place.
const nameSchema = `
CREATE VIRTUAL TABLE name_index USING fts5(name, content='', columnsize=0, detail=none, tokenize='trigram');
CREATE TABLE name_indexed(id INTEGER NOT NULL) STRICT;
INSERT INTO name_indexed VALUES(0);
`

// blockSchema packs the names of nameBlock records that were made one after
// the other: what to search is a hundredth of the table, and what letters,
// pairs and triples of letters a block has tells most blocks apart without a
// look at their names. The blocks lag behind: rows above name_indexed.id are
// looked at one by one. They keep rows that were deleted; ids are not used
// again, so they lead nowhere.
const blockSchema = `
DROP TABLE name_index;
UPDATE name_indexed SET id = 0;
CREATE TABLE name_block(
	last   INTEGER NOT NULL PRIMARY KEY,
	oldest INTEGER NOT NULL,
	newest INTEGER NOT NULL,
	grams  BLOB    NOT NULL
) STRICT;
CREATE TABLE name_text(
	last  INTEGER NOT NULL PRIMARY KEY,
	names BLOB    NOT NULL
) STRICT;
`

const (
	nameBlock   = 256  // rows of a block, and rows that wait at the least
	nameWalk    = 100  // rows beyond a page that are looked at before the blocks are
	nameMatches = 2000 // a needle that more names have is common: walking finds it soon
)

// indexNames brings the blocks up to date whenever enough rows wait.
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

// indexNames packs a block of rows if one is full, and tells whether it was.
func (t *tx) indexNames() (bool, error) {
	upto, err := t.upto()
	if err != nil {
		return false, err
	}
	q := t.query(`SELECT id, created, name FROM resource WHERE id > ? ORDER BY id LIMIT ?`)
	q.int(upto)
	q.int(nameBlock)
	b := block{oldest: math.MaxInt64, newest: math.MinInt64}
	n := 0
	for ; q.next(); n++ {
		b.add(q.num(0), q.num(1), q.str(2))
	}
	if err := q.end(); err != nil || n < nameBlock {
		return false, t.note(err)
	}
	q = t.query(`INSERT INTO name_block(last, oldest, newest, grams) VALUES(?, ?, ?, ?)`)
	q.int(b.last)
	q.int(b.oldest)
	q.int(b.newest)
	q.blob(b.grams[:])
	if err := q.run(); err != nil {
		return false, t.note(err)
	}
	q = t.query(`INSERT INTO name_text(last, names) VALUES(?, ?)`)
	q.int(b.last)
	q.blob(b.names)
	if err := q.run(); err != nil {
		return false, t.note(err)
	}
	q = t.query(`UPDATE name_indexed SET id = ?`)
	q.int(b.last)
	err = t.note(q.run())
	return err == nil, err
}

// upto is the last row that is in a block.
func (t *tx) upto() (id int64, err error) {
	q := t.query(`SELECT id FROM name_indexed`)
	if q.next() {
		id = q.num(0)
	}
	return id, t.note(q.end())
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

// The bits of a block's grams: one for each byte, then pairs and triples of
// bytes, which share theirs with others.
const (
	pairBits   = 11
	tripleBits = 13
	gramBits   = 1<<8 + 1<<pairBits + 1<<tripleBits
	spread     = 2654435769 // 2^32 over the golden ratio
)

type grams [gramBits / 8]byte

func letter(a byte) uint32 { return uint32(a) }

func pair(a, b byte) uint32 {
	return 1<<8 + (uint32(a)<<8|uint32(b))*spread>>(32-pairBits)
}

func triple(a, b, c byte) uint32 {
	return 1<<8 + 1<<pairBits + (uint32(a)<<16|uint32(b)<<8|uint32(c))*spread>>(32-tripleBits)
}

func (g *grams) set(bit uint32) { g[bit/8] |= 1 << (bit % 8) }

// wanted are the bits that a block has in which a name has the needle.
func wanted(needle string) []uint32 {
	switch len(needle) {
	case 0:
		return nil
	case 1:
		return []uint32{letter(needle[0])}
	case 2:
		return []uint32{pair(needle[0], needle[1])}
	}
	out := make([]uint32, 0, len(needle)-2)
	for i := range len(needle) - 2 {
		out = append(out, triple(needle[i], needle[i+1], needle[i+2]))
	}
	return out
}

func hasAll(g []byte, bits []uint32) bool {
	for _, b := range bits {
		if int(b/8) >= len(g) || g[b/8]&(1<<(b%8)) == 0 {
			return false
		}
	}
	return true
}

// block is one in the making. In names each is preceded by how far its id is
// from the one before, and by its length.
type block struct {
	last           int64 // its newest row
	oldest, newest int64
	grams          grams
	names          []byte
}

func (b *block) add(id, created int64, name string) {
	name = asciiLower(name)
	b.names = binary.AppendUvarint(b.names, uint64(id-b.last))
	b.names = binary.AppendUvarint(b.names, uint64(len(name)))
	b.names = append(b.names, name...)
	b.last, b.oldest, b.newest = id, min(b.oldest, created), max(b.newest, created)
	for i := range len(name) {
		b.grams.set(letter(name[i]))
		if i+1 < len(name) {
			b.grams.set(pair(name[i], name[i+1]))
		}
		if i+2 < len(name) {
			b.grams.set(triple(name[i], name[i+1], name[i+2]))
		}
	}
}

var errBlock = errors.New("a block of names cannot be read")

// matches appends the ids of the names that have the needle.
func matches(ids []int64, names, needle []byte) ([]int64, error) {
	for id := int64(0); len(names) > 0; {
		d, n := binary.Uvarint(names)
		if n <= 0 {
			return nil, errBlock
		}
		size, m := binary.Uvarint(names[n:])
		if m <= 0 || size > uint64(len(names)-n-m) {
			return nil, errBlock
		}
		name := names[n+m:][:size]
		names = names[n+m+int(size):]
		id += int64(d)
		if bytes.Contains(name, needle) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// byName finds a page of records whose name has q.NameContains in it. The
// beginning of the listing is walked first, then the blocks are asked.
func (p *page) byName(t *tx) error {
	upto, err := t.upto()
	if err != nil {
		return err
	}
	if upto == 0 {
		return p.run(t, p.hint(), p.conditions(nil))
	}
	// The last place of the walk: none when the listing is shorter.
	place, err := p.ahead(t, p.limit+nameWalk)
	if err != nil {
		return err
	}
	if place == nil {
		return p.run(t, p.hint(), p.conditions(nil))
	}
	if err := p.run(t, p.hint(), p.conditions(place)); err != nil || p.more() {
		return err
	}
	h, err := p.haystack(t)
	if err != nil {
		return err
	}
	byCreation := p.order.column == "created"
	room := nameMatches
	if byCreation { // blocks are in about that order: the first few make a page
		room = 2 * (p.limit + nameWalk)
	}
	for ; ; room *= 4 {
		if err := h.search(t, room); err != nil {
			return err
		}
		if len(h.blocks) > 0 && !byCreation {
			return p.run(t, p.hint(), p.conditions(nil))
		}
		f := p.conditions(nil)
		f.and(`id IN (SELECT value FROM json_each(?) UNION ALL SELECT id FROM resource WHERE id > ?)`, h.list(), upto)
		if err := p.run(t, "NOT INDEXED", f); err != nil {
			return err
		}
		if len(h.blocks) == 0 || p.more() && h.beyond(nanos(p.out[p.limit].Created)) {
			return nil
		}
	}
}

// ahead gives the place n rows further in the listing, nil when it is shorter.
func (p *page) ahead(t *tx, n int) (place []any, err error) {
	f := p.conditions(nil)
	q := t.query(`SELECT id, ` + p.order.column + ` FROM resource ` + p.hint() + ` WHERE ` + f.where.String() + p.order.by(p.q.Descending) + ` LIMIT 1 OFFSET ?`)
	q.bind(f.args)
	q.int(int64(n))
	if q.next() {
		if p.order.column == "name" {
			place = append(place, q.str(1), q.num(0))
		} else {
			place = append(place, q.num(1), q.num(0))
		}
	}
	return place, q.end()
}

// haystack is the blocks that may have the needle, in the order of what they
// may contribute to a listing by creation, and what was found in those that
// were searched.
type haystack struct {
	needle []byte
	desc   bool
	blocks []bounds
	ids    []int64
}

type bounds struct{ last, oldest, newest int64 }

func (p *page) haystack(t *tx) (*haystack, error) {
	needle := asciiLower(p.q.NameContains)
	h := &haystack{needle: []byte(needle), desc: p.q.Descending}
	bits := wanted(needle)
	q := t.query(`SELECT last, oldest, newest, grams FROM name_block`)
	for q.next() {
		b := bounds{q.num(0), q.num(1), q.num(2)}
		if b.oldest <= p.made.to && b.newest >= p.made.from && hasAll(q.s.ColumnRawBlob(3), bits) {
			h.blocks = append(h.blocks, b)
		}
	}
	slices.SortFunc(h.blocks, func(a, b bounds) int {
		if h.desc {
			return cmp.Compare(b.newest, a.newest)
		}
		return cmp.Compare(a.oldest, b.oldest)
	})
	return h, q.end()
}

// search goes on until about so many names were found in all.
func (h *haystack) search(t *tx, room int) error {
	for len(h.blocks) > 0 && len(h.ids) < room {
		b := h.blocks[0]
		q := t.query(`SELECT names FROM name_text WHERE last = ?`)
		q.int(b.last)
		err := errBlock
		if q.next() {
			h.ids, err = matches(h.ids, q.s.ColumnRawBlob(0), h.needle)
		}
		if end := q.end(); end != nil {
			err = end
		}
		if err != nil {
			return err
		}
		h.blocks = h.blocks[1:]
	}
	return nil
}

// beyond tells whether what was made then stands before all that is in the
// blocks still to be searched.
func (h *haystack) beyond(created int64) bool {
	if h.desc {
		return created > h.blocks[0].newest
	}
	return created < h.blocks[0].oldest
}

// list is the ids as a JSON array.
func (h *haystack) list() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, id := range h.ids {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(id, 10))
	}
	b.WriteByte(']')
	return b.String()
}
