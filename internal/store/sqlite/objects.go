package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"clary/internal/store"
)

// objectSchema is the index of buckets and objects. Keys are bytes, whatever
// their shape. A listing reads blob_object in the order of its primary key,
// so what a listing needs stands before tags and meta.
const objectSchema = `
CREATE TABLE blob_bucket(
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	name    TEXT    NOT NULL UNIQUE,
	account TEXT    NOT NULL,
	region  TEXT    NOT NULL,
	created INTEGER NOT NULL
) STRICT;
CREATE TABLE blob_object(
	bucket   INTEGER NOT NULL,
	key      BLOB    NOT NULL,
	version  TEXT    NOT NULL,
	size     INTEGER NOT NULL,
	etag     TEXT    NOT NULL,
	modified INTEGER NOT NULL,
	parts    INTEGER NOT NULL,
	sums     TEXT    NOT NULL,
	tags     BLOB,
	meta     BLOB,
	PRIMARY KEY(bucket, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_object_version ON blob_object(version);
CREATE TABLE blob_upload(
	id        TEXT    NOT NULL PRIMARY KEY,
	bucket    INTEGER NOT NULL,
	key       BLOB    NOT NULL,
	initiated INTEGER NOT NULL,
	tags      BLOB,
	meta      BLOB
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX blob_upload_key ON blob_upload(bucket, key, id);
CREATE TABLE blob_part(
	version  TEXT    NOT NULL,
	number   INTEGER NOT NULL,
	file     TEXT    NOT NULL,
	start    INTEGER NOT NULL,
	size     INTEGER NOT NULL,
	etag     TEXT    NOT NULL,
	modified INTEGER NOT NULL,
	sums     BLOB,
	PRIMARY KEY(version, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_part_start ON blob_part(version, start);
CREATE INDEX blob_part_file ON blob_part(file);
`

// querier is a transaction, of either kind.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func millis(t time.Time) int64      { return t.UnixMilli() }
func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// bucketRow is what writes and reads of objects need of a bucket.
type bucketRow struct {
	id         int64
	name       string
	versioning string
}

// bucketOf gives store.ErrNotFound when there is no such bucket.
func bucketOf(ctx context.Context, q querier, name string) (bucketRow, error) {
	b := bucketRow{name: name}
	err := q.QueryRowContext(ctx, `SELECT id, versioning FROM blob_bucket WHERE name = ?`, name).Scan(&b.id, &b.versioning)
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	return b, err
}

func insertBucket(ctx context.Context, q querier, b store.BlobBucket) error {
	res, err := q.ExecContext(ctx, `INSERT INTO blob_bucket(name, account, region, created) VALUES(?, ?, ?, ?)
		ON CONFLICT(name) DO NOTHING`, b.Name, b.Account, b.Region, millis(b.Created))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return store.ErrExists
}

func selectBuckets(ctx context.Context, q querier, where string, args ...any) (out []store.BlobBucket, err error) {
	rows, err := q.QueryContext(ctx, `SELECT name, account, region, created, versioning FROM blob_bucket `+where+` ORDER BY name`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		var b store.BlobBucket
		var created int64
		if err := rows.Scan(&b.Name, &b.Account, &b.Region, &created, &b.Versioning); err != nil {
			return nil, err
		}
		b.Created = fromMillis(created)
		out = append(out, b)
	}
	return out, rows.Err()
}

func deleteBucket(ctx context.Context, q querier, name string) (freed []store.BlobContent, err error) {
	b, err := bucketOf(ctx, q, name)
	if err != nil {
		return nil, err
	}
	id := b.id
	var one int
	err = q.QueryRowContext(ctx, `SELECT 1 FROM blob_object WHERE bucket = ?
		UNION ALL SELECT 1 FROM blob_version WHERE bucket = ? LIMIT 1`, id, id).Scan(&one)
	if err == nil {
		return nil, store.ErrNotEmpty
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	files, err := texts(ctx, q, `SELECT file FROM blob_part WHERE version IN (SELECT id FROM blob_upload WHERE bucket = ?)`, id)
	if err != nil {
		return nil, err
	}
	for _, stmt := range []string{
		`DELETE FROM blob_part WHERE version IN (SELECT id FROM blob_upload WHERE bucket = ?)`,
		`DELETE FROM blob_upload WHERE bucket = ?`,
		`DELETE FROM blob_setting WHERE bucket = ?`,
		`DELETE FROM blob_bucket WHERE id = ?`,
	} {
		if _, err := q.ExecContext(ctx, stmt, id); err != nil {
			return nil, err
		}
	}
	return single(files), nil
}

// single frees files one by one: nobody reads parts of an unfinished upload.
func single(files []string) []store.BlobContent {
	var out []store.BlobContent
	for _, f := range files {
		if f != "" {
			out = append(out, store.BlobContent{Version: f, Files: []string{f}})
		}
	}
	return out
}

func texts(ctx context.Context, q querier, query string, args ...any) (out []string, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// dropContent gives what an object's going sets free, and deletes its segments.
func dropContent(ctx context.Context, q querier, o *store.BlobObject) ([]store.BlobContent, error) {
	if o == nil || o.Marker || o.Version == "" {
		return nil, nil
	}
	if strings.HasPrefix(o.Version, store.SmallMark) {
		_, err := q.ExecContext(ctx, `DELETE FROM blob_data WHERE version = ?`, o.Version)
		return nil, err
	}
	if o.Parts == 0 {
		return single([]string{o.Version}), nil
	}
	files, err := texts(ctx, q, `SELECT file FROM blob_part WHERE version = ? AND file <> ''`, o.Version)
	if err != nil {
		return nil, err
	}
	if _, err := q.ExecContext(ctx, `DELETE FROM blob_part WHERE version = ?`, o.Version); err != nil {
		return nil, err
	}
	return []store.BlobContent{{Version: o.Version, Files: files}}, nil
}

// orNull is NULL for nothing.
func orNull(m json.RawMessage) any {
	if len(m) == 0 {
		return nil
	}
	return []byte(m)
}

func listObjects(ctx context.Context, q querier, bucket string, w walk, after string) (page store.BlobPage, err error) {
	b, err := bucketOf(ctx, q, bucket)
	if err != nil {
		return page, err
	}
	got, err := roll(w, w.after(after, ""),
		func(o store.BlobObject) place { return place{key: o.Key} },
		func(start place, end string, yield func(store.BlobObject) bool) error {
			query, args := `SELECT key, version, size, etag, modified, parts, sums FROM blob_object WHERE bucket = ? AND key >= ?`,
				[]any{b.id, []byte(start.key)}
			if end != "" {
				query, args = query+` AND key < ?`, append(args, []byte(end))
			}
			rows, err := q.QueryContext(ctx, query+` ORDER BY key`, args...)
			if err != nil {
				return err
			}
			defer rows.Close() //nolint:errcheck // rows.Err tells
			for rows.Next() {
				o := store.BlobObject{Bucket: bucket}
				var key sql.RawBytes
				var modified int64
				if err := rows.Scan(&key, &o.Version, &o.Size, &o.ETag, &modified, &o.Parts, &o.Sums); err != nil {
					return err
				}
				o.Key, o.Modified = string(key), fromMillis(modified)
				if !yield(o) {
					return nil
				}
			}
			return rows.Err()
		})
	page.Objects, page.Prefixes = got.rows, got.prefixes
	if got.more {
		page.Next = got.last
	}
	return page, err
}

// lookAtOnce is how many files one statement looks for.
const lookAtOnce = 200

// referenced looks in all places where a row can name a file.
func referenced(ctx context.Context, q querier, files []string) ([]string, error) {
	marks := strings.Repeat("?,", lookAtOnce-1) + "?"
	query := fmt.Sprintf(`SELECT version FROM blob_object WHERE version IN (%s)
		UNION SELECT version FROM blob_version WHERE version IN (%s)
		UNION SELECT file FROM blob_part WHERE file IN (%s)`, marks, marks, marks)
	var out []string
	for len(files) > 0 {
		n := min(len(files), lookAtOnce)
		args := make([]any, 3*lookAtOnce) // NULL is in no list
		for i, f := range files[:n] {
			args[i], args[lookAtOnce+i], args[2*lookAtOnce+i] = f, f, f
		}
		found, err := texts(ctx, q, query, args...)
		if err != nil {
			return nil, err
		}
		out, files = append(out, found...), files[n:]
	}
	return out, nil
}
