package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ncruces/go-sqlite3"

	"clary/internal/resource"
	"clary/internal/store"
)

// Instants are nanoseconds since 1970, 0 for none. The id follows the order in
// which records were made and is never used again; each index ends in it.
const recordSchema = `
CREATE TABLE resource(
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	kind       TEXT    NOT NULL,
	account    TEXT    NOT NULL,
	region     TEXT    NOT NULL,
	name       TEXT    NOT NULL,
	uid        TEXT    NOT NULL,
	arn        TEXT    NOT NULL,
	parent     TEXT    NOT NULL,
	phase      TEXT    NOT NULL,
	created    INTEGER NOT NULL,
	modified   INTEGER NOT NULL,
	version    INTEGER NOT NULL,
	due        INTEGER NOT NULL,
	attempts   INTEGER NOT NULL,
	last_error TEXT    NOT NULL,
	spec       BLOB,
	status     BLOB
) STRICT;
CREATE UNIQUE INDEX resource_key ON resource(kind, account, region, name);
CREATE INDEX resource_created ON resource(kind, account, region, created);
CREATE INDEX resource_modified ON resource(kind, account, region, modified);
CREATE INDEX resource_phase ON resource(kind, account, region, phase, created);
CREATE INDEX resource_parent ON resource(kind, account, region, parent, created) WHERE parent <> '';
CREATE INDEX resource_due ON resource(kind, due) WHERE due > 0;
CREATE UNIQUE INDEX resource_uid ON resource(uid) WHERE uid <> '';
CREATE INDEX resource_arn ON resource(arn) WHERE arn <> '';
CREATE TABLE tag(
	arn   TEXT NOT NULL,
	key   TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY(arn, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE usage(
	id            TEXT    NOT NULL PRIMARY KEY,
	account       TEXT    NOT NULL,
	region        TEXT    NOT NULL,
	kind          TEXT    NOT NULL,
	name          TEXT    NOT NULL,
	uid           TEXT    NOT NULL,
	component     TEXT    NOT NULL,
	instance_type TEXT    NOT NULL,
	unit          TEXT    NOT NULL,
	quantity      INTEGER NOT NULL,
	start         INTEGER NOT NULL,
	end           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_start ON usage(account, start);
CREATE INDEX usage_open ON usage(account, start) WHERE end = 0;
CREATE INDEX usage_uid ON usage(uid);
`

const columns = `kind, account, region, name, uid, arn, parent, phase, created, modified, version, due, attempts, last_error, spec, status, brief`

var errReadOnly = errors.New("a view changes nothing")

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func instant(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// record reads the columns of a record.
func (q *query) record() *resource.Record {
	return &resource.Record{
		Key: resource.Key{Kind: resource.Kind(q.str(0)), Account: q.str(1), Region: q.str(2), Name: q.str(3)},
		UID: q.str(4), Arn: q.str(5), Parent: q.str(6), Phase: q.str(7),
		Created: instant(q.num(8)), Modified: instant(q.num(9)), Version: q.num(10), Due: instant(q.num(11)),
		Attempts: int(q.num(12)), LastError: q.str(13), Spec: q.bytes(14), Status: q.bytes(15), Brief: q.str(16),
	}
}

// one reads the only row.
func (q *query) one() (*resource.Record, error) {
	var r *resource.Record
	if q.next() {
		r = q.record()
	}
	if err := q.end(); err != nil {
		return nil, err
	}
	if r == nil {
		return nil, store.ErrNotFound
	}
	return r, nil
}

// copied keeps what the cache has from those who fill in a record of theirs.
// Spec and status are never written to, only replaced.
func copied(r *resource.Record) (*resource.Record, error) {
	if r == nil {
		return nil, store.ErrNotFound
	}
	c := *r
	return &c, nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, k resource.Key) (r *resource.Record, err error) {
	r, known, ticket := s.cache.get(k)
	if known {
		return copied(r)
	}
	err = s.reader(ctx, func(t *tx) error {
		r, err = t.lookup(k)
		return err
	})
	switch {
	case err == nil:
		s.cache.offer(k, r, ticket)
		return copied(r)
	case errors.Is(err, store.ErrNotFound):
		s.cache.offer(k, nil, ticket)
	}
	return nil, err
}

// Get implements store.Tx. The writer sees what was committed last, but for
// what its own transaction changed; a reader's snapshot may be older.
func (t *tx) Get(k resource.Key) (*resource.Record, error) {
	if t.writes {
		if _, own := t.touched[k]; !own {
			if r, known, _ := t.cache.get(k); known {
				return copied(r)
			}
		}
	}
	return t.lookup(k)
}

func (t *tx) lookup(k resource.Key) (*resource.Record, error) {
	q := t.query(`SELECT ` + columns + ` FROM resource WHERE kind = ? AND account = ? AND region = ? AND name = ?`)
	q.key(k)
	r, err := q.one()
	return r, t.note(err)
}

func (q *query) key(k resource.Key) {
	q.text(string(k.Kind))
	q.text(k.Account)
	q.text(k.Region)
	q.text(k.Name)
}

// ByArn implements store.Tx.
func (t *tx) ByArn(arn string) (*resource.Record, error) {
	if arn == "" {
		return nil, store.ErrNotFound
	}
	q := t.query(`SELECT ` + columns + ` FROM resource WHERE arn = ? AND arn <> ''`)
	q.text(arn)
	r, err := q.one()
	return r, t.note(err)
}

// Put implements store.Tx.
func (t *tx) Put(r *resource.Record) error {
	if !t.writes {
		return errReadOnly
	}
	same := t.replaces(r)
	if err := t.put(r); err != nil {
		return err
	}
	t.puts = append(t.puts, put{r, r.Version})
	t.hints = append(t.hints, r.Key)
	r.Version++
	t.touch(r.Key, touch{})
	if same {
		kept := *r
		kept.Created, kept.Modified, kept.Due = instant(nanos(r.Created)), instant(nanos(r.Modified)), instant(nanos(r.Due))
		t.touched[r.Key] = touch{&kept, true}
	}
	return nil
}

// replaces tells whether the database will hold r just as it is: an update
// leaves alone what never changes, whatever r says of it.
func (t *tx) replaces(r *resource.Record) bool {
	if r.Version == 0 {
		return true
	}
	var old *resource.Record
	if own, ok := t.touched[r.Key]; ok {
		old = own.r
	} else {
		old, _, _ = t.cache.get(r.Key)
	}
	return old != nil && old.UID == r.UID && old.Arn == r.Arn && old.Created.Equal(r.Created)
}

// put writes r, whose version is the stored one.
func (t *tx) put(r *resource.Record) error {
	if err := t.widen(r); err != nil {
		return err
	}
	if r.Version == 0 {
		return t.insert(r)
	}
	q := t.query(`UPDATE resource SET parent = ?, phase = ?, modified = ?, version = version + 1, due = ?, attempts = ?,
		last_error = ?, spec = ?, status = ?, brief = ? WHERE kind = ? AND account = ? AND region = ? AND name = ? AND version = ?`)
	q.text(r.Parent)
	q.text(r.Phase)
	q.int(nanos(r.Modified))
	q.int(nanos(r.Due))
	q.int(int64(r.Attempts))
	q.text(r.LastError)
	q.blob(r.Spec)
	q.blob(r.Status)
	q.text(r.Brief)
	q.key(r.Key)
	q.int(r.Version)
	if err := t.note(q.run()); err != nil {
		return err
	}
	if t.own.Changes() == 0 {
		return store.ErrConflict
	}
	return nil
}

func (t *tx) insert(r *resource.Record) error {
	q := t.query(`INSERT INTO resource(` + columns + `) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)`)
	q.key(r.Key)
	q.text(r.UID)
	q.text(r.Arn)
	q.text(r.Parent)
	q.text(r.Phase)
	q.int(nanos(r.Created))
	q.int(nanos(r.Modified))
	q.int(nanos(r.Due))
	q.int(int64(r.Attempts))
	q.text(r.LastError)
	q.blob(r.Spec)
	q.blob(r.Status)
	q.text(r.Brief)
	err := t.note(q.run())
	if errors.Is(err, sqlite3.CONSTRAINT_UNIQUE) {
		if _, err := t.Get(r.Key); err == nil {
			return store.ErrExists
		}
		return fmt.Errorf("uid %s was used before: %w", r.UID, err)
	}
	if err == nil {
		t.inserts++
	}
	return err
}

// Delete implements store.Tx.
func (t *tx) Delete(k resource.Key) error {
	if !t.writes {
		return errReadOnly
	}
	r, err := t.Get(k)
	if err != nil {
		return err
	}
	q := t.query(`DELETE FROM resource WHERE kind = ? AND account = ? AND region = ? AND name = ?`)
	q.key(k)
	if err := t.note(q.run()); err != nil {
		return err
	}
	if r.Arn != "" {
		if _, err := t.exec(`DELETE FROM tag WHERE arn = ?`, r.Arn); err != nil {
			return err
		}
	}
	t.hints = append(t.hints, k)
	t.touch(k, touch{nil, true})
	return nil
}

// lagSchema bounds, for each kind, by how much a record may have been modified
// after it was made: a listing in the order of creation that is bounded by
// modification need not look beyond.
const lagSchema = `
CREATE TABLE lag(
	kind  TEXT    NOT NULL PRIMARY KEY,
	least INTEGER NOT NULL,
	most  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO lag SELECT kind, min(0, min(modified - created)), max(0, max(modified - created)) FROM resource GROUP BY kind;
`

// widen has the bounds hold for r as well. They grow in powers of two and so
// seldom, and never shrink.
func (t *tx) widen(r *resource.Record) error {
	d := nanos(r.Modified) - nanos(r.Created)
	if have, ok := t.lags[r.Kind]; ok && have.least <= d && d <= have.most {
		return nil
	}
	have, err := t.lag(r.Kind)
	if err != nil {
		return err
	}
	if have.least <= d && d <= have.most {
		t.lags[r.Kind] = have
		return nil
	}
	step := int64(time.Second)
	for step < max(d, -d) && step < math.MaxInt64/2 {
		step *= 2
	}
	if d < 0 {
		have.least = min(d, -step)
	} else {
		have.most = max(d, step)
	}
	delete(t.lags, r.Kind) // until it is on disk
	q := t.query(`INSERT INTO lag VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET least = excluded.least, most = excluded.most`)
	q.text(string(r.Kind))
	q.int(have.least)
	q.int(have.most)
	return t.note(q.run())
}

type lag struct{ least, most int64 }

// lag is zero for a kind that has no records.
func (t *tx) lag(k resource.Kind) (l lag, err error) {
	q := t.query(`SELECT least, most FROM lag WHERE kind = ?`)
	q.text(string(k))
	if q.next() {
		l = lag{q.num(0), q.num(1)}
	}
	return l, t.note(q.end())
}
