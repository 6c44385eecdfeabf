package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

const columns = `kind, account, region, name, uid, arn, parent, phase, created, modified, version, due, attempts, last_error, spec, status`

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

// scanner is a row or rows.
type scanner interface{ Scan(dest ...any) error }

func scanRecord(row scanner, more ...any) (*resource.Record, error) {
	var r resource.Record
	var kind string
	var created, modified, due int64
	var spec, status []byte
	err := row.Scan(append([]any{&kind, &r.Account, &r.Region, &r.Name, &r.UID, &r.Arn, &r.Parent, &r.Phase,
		&created, &modified, &r.Version, &due, &r.Attempts, &r.LastError, &spec, &status}, more...)...)
	if err != nil {
		return nil, err
	}
	r.Kind = resource.Kind(kind)
	r.Created, r.Modified, r.Due = instant(created), instant(modified), instant(due)
	r.Spec, r.Status = spec, status
	return &r, nil
}

func found(r *resource.Record, err error) (*resource.Record, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return nil, store.ErrNotFound
	}
	return r, err
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, k resource.Key) (r *resource.Record, err error) {
	err = s.reader(ctx, func(t *tx) error {
		r, err = t.Get(k)
		return err
	})
	return r, err
}

// Get implements store.Tx.
func (t *tx) Get(k resource.Key) (*resource.Record, error) {
	return found(scanRecord(t.QueryRowContext(context.Background(),
		`SELECT `+columns+` FROM resource WHERE kind = ? AND account = ? AND region = ? AND name = ?`,
		string(k.Kind), k.Account, k.Region, k.Name)))
}

// ByArn implements store.Tx.
func (t *tx) ByArn(arn string) (*resource.Record, error) {
	if arn == "" {
		return nil, store.ErrNotFound
	}
	return found(scanRecord(t.QueryRowContext(context.Background(),
		`SELECT `+columns+` FROM resource WHERE arn = ? AND arn <> ''`, arn)))
}

// Put implements store.Tx.
func (t *tx) Put(r *resource.Record) error {
	if err := t.put(r); err != nil {
		return err
	}
	t.puts = append(t.puts, put{r, r.Version})
	t.hints = append(t.hints, r.Key)
	r.Version++
	return nil
}

func (t *tx) put(r *resource.Record) error {
	if r.Version == 0 {
		_, err := t.exec(`INSERT INTO resource(`+columns+`) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?)`,
			string(r.Kind), r.Account, r.Region, r.Name, r.UID, r.Arn, r.Parent, r.Phase,
			nanos(r.Created), nanos(r.Modified), nanos(r.Due), r.Attempts, r.LastError, []byte(r.Spec), []byte(r.Status))
		if errors.Is(err, sqlite3.CONSTRAINT_UNIQUE) {
			if _, err := t.Get(r.Key); err == nil {
				return store.ErrExists
			}
			return fmt.Errorf("uid %s was used before: %w", r.UID, err)
		}
		t.inserts++
		return err
	}
	n, err := t.exec(`UPDATE resource SET parent = ?, phase = ?, modified = ?, version = version + 1, due = ?, attempts = ?,
		last_error = ?, spec = ?, status = ? WHERE kind = ? AND account = ? AND region = ? AND name = ? AND version = ?`,
		r.Parent, r.Phase, nanos(r.Modified), nanos(r.Due), r.Attempts, r.LastError, []byte(r.Spec), []byte(r.Status),
		string(r.Kind), r.Account, r.Region, r.Name, r.Version)
	if err == nil && n == 0 {
		return store.ErrConflict
	}
	return err
}

// Delete implements store.Tx.
func (t *tx) Delete(k resource.Key) error {
	r, err := t.Get(k)
	if err != nil {
		return err
	}
	if _, err := t.exec(`DELETE FROM resource WHERE kind = ? AND account = ? AND region = ? AND name = ?`,
		string(k.Kind), k.Account, k.Region, k.Name); err != nil {
		return err
	}
	if r.Arn != "" {
		if _, err := t.exec(`DELETE FROM tag WHERE arn = ?`, r.Arn); err != nil {
			return err
		}
	}
	t.hints = append(t.hints, k)
	return nil
}
