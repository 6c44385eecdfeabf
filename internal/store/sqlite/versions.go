package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"clary/internal/store"
)

// versionSchema keeps what is not the newest object of a key apart from what
// is, so that a listing of objects never steps over it: older versions, and
// delete markers even when they are newest. age orders the versions of a key:
// the smaller, the newer; blob_object's is smaller than all in blob_version.
// vid "" is the null version.
const versionSchema = `
ALTER TABLE blob_bucket ADD COLUMN versioning TEXT NOT NULL DEFAULT '';
ALTER TABLE blob_object ADD COLUMN vid TEXT NOT NULL DEFAULT '';
ALTER TABLE blob_object ADD COLUMN age INTEGER NOT NULL DEFAULT 0;
UPDATE blob_object SET age = -modified;
CREATE TABLE blob_version(
	bucket   INTEGER NOT NULL,
	key      BLOB    NOT NULL,
	age      INTEGER NOT NULL,
	vid      TEXT    NOT NULL,
	marker   INTEGER NOT NULL,
	version  TEXT    NOT NULL,
	size     INTEGER NOT NULL,
	etag     TEXT    NOT NULL,
	modified INTEGER NOT NULL,
	parts    INTEGER NOT NULL,
	sums     TEXT    NOT NULL,
	tags     BLOB,
	meta     BLOB,
	PRIMARY KEY(bucket, key, age)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX blob_version_null ON blob_version(bucket, key) WHERE vid = '';
CREATE INDEX blob_version_content ON blob_version(version);
CREATE TABLE blob_data(
	version TEXT NOT NULL PRIMARY KEY,
	data    BLOB NOT NULL
) STRICT;
CREATE TABLE blob_setting(
	bucket INTEGER NOT NULL,
	name   TEXT    NOT NULL,
	value  BLOB    NOT NULL,
	PRIMARY KEY(bucket, name)
) STRICT, WITHOUT ROWID;
`

const (
	vidTime = 10 // digits of a version's id that hold its age
	vidLen  = 32
)

// versionID makes an id from which the version's place among others can be
// read, even after it is gone: a listing goes on behind it.
func versionID(age int64) string {
	return fmt.Sprintf("%0*s", vidTime, strconv.FormatInt(-age, 32)) + strings.ToLower(randomText(vidLen-vidTime))
}

func randomText(n int) string {
	b := make([]byte, (n*5+7)/8)
	rand.Read(b)
	return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b)[:n]
}

// ageOf reads the age in an id; false is for what is no id of ours.
func ageOf(vid string) (int64, bool) {
	if len(vid) != vidLen {
		return 0, false
	}
	for i := range len(vid) {
		if c := vid[i]; (c < '0' || c > '9') && (c < 'a' || c > 'v') {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(vid[:vidTime], 32, 64)
	return -n, err == nil
}

// shown is a version's id as the contract gives it.
func (b bucketRow) shown(vid string) string {
	if vid == "" && b.versioning != "" {
		return store.NullVersion
	}
	return vid
}

// version is a row of either table, as a write needs it.
type version struct {
	store.BlobObject

	vid     string
	age     int64
	current bool // in blob_object
}

const (
	rowColumns = ` version, size, etag, modified, parts, sums, tags, meta, vid, age`
	fromObject = `SELECT 0, 1,` + rowColumns + ` FROM blob_object WHERE bucket = ? AND key = ?`
	fromOlder  = `SELECT marker, 0,` + rowColumns + ` FROM blob_version WHERE bucket = ? AND key = ?`
)

// one reads a row of fromObject or fromOlder, nil when there is none.
func one(ctx context.Context, q querier, b bucketRow, key, query string, args ...any) (*version, error) {
	v := version{BlobObject: store.BlobObject{Bucket: b.name, Key: key}}
	var modified int64
	var tags, meta []byte
	err := q.QueryRowContext(ctx, query, append([]any{b.id, []byte(key)}, args...)...).Scan(&v.Marker, &v.current,
		&v.Version, &v.Size, &v.ETag, &modified, &v.Parts, &v.Sums, &tags, &meta, &v.vid, &v.age)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // the contract's way to say "none"
	}
	if err != nil {
		return nil, err
	}
	v.Modified, v.Tags, v.Meta, v.VersionID = fromMillis(modified), tags, meta, b.shown(v.vid)
	return &v, nil
}

// newest gives what a key stands for: an object, a marker or nothing.
func newest(ctx context.Context, q querier, b bucketRow, key string) (*version, error) {
	v, err := one(ctx, q, b, key, fromObject)
	if err != nil || v != nil || b.versioning == "" {
		return v, err
	}
	return one(ctx, q, b, key, fromOlder+` ORDER BY age LIMIT 1`)
}

// named gives one version by its id.
func named(ctx context.Context, q querier, b bucketRow, key, id string) (*version, error) {
	vid, age := id, int64(0)
	if id == store.NullVersion {
		vid = ""
	} else {
		var ok bool
		if age, ok = ageOf(id); !ok {
			return nil, store.ErrVersion
		}
	}
	v, err := one(ctx, q, b, key, fromObject+` AND vid = ?`, vid)
	if err != nil || v != nil || b.versioning == "" {
		return v, err
	}
	if vid == "" {
		return one(ctx, q, b, key, fromOlder+` AND vid = ''`)
	}
	return one(ctx, q, b, key, fromOlder+` AND age = ? AND vid = ?`, age, vid)
}

func find(ctx context.Context, q querier, b bucketRow, key, id string) (*version, error) {
	if id == "" {
		return newest(ctx, q, b, key)
	}
	return named(ctx, q, b, key, id)
}

func object(ctx context.Context, q querier, bucket, key, id string) (*store.BlobObject, error) {
	b, err := bucketOf(ctx, q, bucket)
	if err != nil {
		return nil, err
	}
	v, err := find(ctx, q, b, key, id)
	if err != nil || v == nil {
		return nil, err
	}
	return &v.BlobObject, nil
}

func setTags(ctx context.Context, q querier, bucket, key, id string, tags json.RawMessage) (*store.BlobObject, error) {
	b, err := bucketOf(ctx, q, bucket)
	if err != nil {
		return nil, err
	}
	v, err := find(ctx, q, b, key, id)
	if err != nil || v == nil {
		return nil, err
	}
	switch {
	case v.Marker:
	case v.current:
		_, err = q.ExecContext(ctx, `UPDATE blob_object SET tags = ? WHERE bucket = ? AND key = ?`, orNull(tags), b.id, []byte(key))
	default:
		_, err = q.ExecContext(ctx, `UPDATE blob_version SET tags = ? WHERE bucket = ? AND key = ? AND age = ?`, orNull(tags), b.id, []byte(key), v.age)
	}
	return &v.BlobObject, err
}

// whole is what a BlobCheck sees: nil for a marker.
func (v *version) whole() *store.BlobObject {
	if v == nil || v.Marker {
		return nil
	}
	return &v.BlobObject
}

// cover makes way for a new newest version: what it replaces is freed or kept.
// It gives the new one's id and age, and leaves no row in blob_object.
func cover(ctx context.Context, q querier, b bucketRow, key string, old *version, at time.Time) (vid string, age int64, freed []store.BlobContent, err error) {
	age = -millis(at)
	if b.versioning == "" {
		if old != nil {
			freed, err = erase(ctx, q, b, key, old)
		}
		return "", age, freed, err
	}
	if old != nil {
		age = min(age, old.age-1)
	}
	if b.versioning == store.VersioningEnabled {
		vid = versionID(age)
	} else {
		null, err := named(ctx, q, b, key, store.NullVersion)
		if err == nil && null != nil {
			freed, err = erase(ctx, q, b, key, null)
		}
		if err != nil {
			return "", 0, nil, err
		}
		if old != nil && old.vid == "" {
			old = nil
		}
	}
	if old == nil || !old.current {
		return vid, age, freed, nil
	}
	_, err = q.ExecContext(ctx, `INSERT INTO blob_version(bucket, key, age, vid, marker, version, size, etag, modified, parts, sums, tags, meta)
		SELECT bucket, key, age, vid, 0, version, size, etag, modified, parts, sums, tags, meta FROM blob_object WHERE bucket = ? AND key = ?`,
		b.id, []byte(key))
	if err == nil {
		_, err = q.ExecContext(ctx, `DELETE FROM blob_object WHERE bucket = ? AND key = ?`, b.id, []byte(key))
	}
	return vid, age, freed, err
}

// erase deletes a version's row and gives what that frees.
func erase(ctx context.Context, q querier, b bucketRow, key string, v *version) ([]store.BlobContent, error) {
	freed, err := dropContent(ctx, q, &v.BlobObject)
	if err != nil {
		return nil, err
	}
	if v.current {
		_, err = q.ExecContext(ctx, `DELETE FROM blob_object WHERE bucket = ? AND key = ?`, b.id, []byte(key))
	} else {
		_, err = q.ExecContext(ctx, `DELETE FROM blob_version WHERE bucket = ? AND key = ? AND age = ?`, b.id, []byte(key), v.age)
	}
	return freed, err
}

func putObject(ctx context.Context, q querier, o store.BlobObject, check store.BlobCheck) (string, []store.BlobContent, error) {
	b, err := bucketOf(ctx, q, o.Bucket)
	if err != nil {
		return "", nil, err
	}
	old, err := newest(ctx, q, b, o.Key)
	if err != nil {
		return "", nil, err
	}
	if check != nil {
		if err := check(old.whole()); err != nil {
			return "", nil, err
		}
	}
	vid, age, freed, err := cover(ctx, q, b, o.Key, old, o.Modified)
	if err != nil {
		return "", nil, err
	}
	_, err = q.ExecContext(ctx, `INSERT INTO blob_object(bucket, key, version, size, etag, modified, parts, sums, tags, meta, vid, age)
		VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		b.id, []byte(o.Key), o.Version, o.Size, o.ETag, millis(o.Modified), o.Parts, o.Sums, orNull(o.Tags), orNull(o.Meta), vid, age)
	if err == nil && o.Data != nil {
		_, err = q.ExecContext(ctx, `INSERT INTO blob_data(version, data) VALUES(?, ?)`, o.Version, o.Data)
	}
	return b.shown(vid), freed, err
}

// current gives a key's object with its data in one statement: nil when there
// is no such bucket, or what is newest is no object.
func current(ctx context.Context, q querier, bucket, key string) (*store.BlobObject, error) {
	o := store.BlobObject{Bucket: bucket, Key: key}
	b := bucketRow{name: bucket}
	var vid string
	var modified int64
	var tags, meta []byte
	err := q.QueryRowContext(ctx, `SELECT b.versioning, o.vid, o.version, o.size, o.etag, o.modified, o.parts, o.sums, o.tags, o.meta, d.data
		FROM blob_bucket b JOIN blob_object o ON o.bucket = b.id LEFT JOIN blob_data d ON d.version = o.version
		WHERE b.name = ? AND o.key = ?`, bucket, []byte(key)).Scan(&b.versioning, &vid, &o.Version, &o.Size, &o.ETag, &modified,
		&o.Parts, &o.Sums, &tags, &meta, &o.Data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // the contract's way to say "none"
	}
	if err != nil {
		return nil, err
	}
	o.Modified, o.Tags, o.Meta, o.VersionID = fromMillis(modified), tags, meta, b.shown(vid)
	return &o, nil
}

func data(ctx context.Context, q querier, version string) (data []byte, err error) {
	err = q.QueryRowContext(ctx, `SELECT data FROM blob_data WHERE version = ?`, version).Scan(&data)
	return data, err
}

func deleteObject(ctx context.Context, q querier, bucket, key, id string, check store.BlobCheck) (d store.BlobDeleted, freed []store.BlobContent, err error) {
	b, err := bucketOf(ctx, q, bucket)
	if err != nil {
		return d, nil, err
	}
	old, err := find(ctx, q, b, key, id)
	if err != nil {
		return d, nil, err
	}
	if check != nil {
		if err := check(old.whole()); err != nil {
			return d, nil, err
		}
	}
	switch {
	case id == "" && b.versioning != "":
		at := time.Now()
		vid, age, freed, err := cover(ctx, q, b, key, old, at)
		if err == nil {
			_, err = q.ExecContext(ctx, `INSERT INTO blob_version(bucket, key, age, vid, marker, version, size, etag, modified, parts, sums)
				VALUES(?, ?, ?, ?, 1, '', 0, '', ?, 0, '')`, b.id, []byte(key), age, vid, millis(at))
		}
		return store.BlobDeleted{VersionID: b.shown(vid), Marker: true}, freed, err
	case old == nil:
		return store.BlobDeleted{VersionID: id}, nil, nil
	}
	if freed, err = erase(ctx, q, b, key, old); err != nil {
		return d, nil, err
	}
	d = store.BlobDeleted{VersionID: b.shown(old.vid), Marker: old.Marker}
	if b.versioning == "" {
		return d, freed, nil
	}
	return d, freed, promote(ctx, q, b, key)
}

// promote makes the newest version the key's object, unless it is a marker or
// the key has an object.
func promote(ctx context.Context, q querier, b bucketRow, key string) error {
	v, err := newest(ctx, q, b, key)
	if err != nil || v == nil || v.current || v.Marker {
		return err
	}
	_, err = q.ExecContext(ctx, `INSERT INTO blob_object(bucket, key, version, size, etag, modified, parts, sums, tags, meta, vid, age)
		SELECT bucket, key, version, size, etag, modified, parts, sums, tags, meta, vid, age
		FROM blob_version WHERE bucket = ? AND key = ? AND age = ?`, b.id, []byte(key), v.age)
	if err == nil {
		_, err = q.ExecContext(ctx, `DELETE FROM blob_version WHERE bucket = ? AND key = ? AND age = ?`, b.id, []byte(key), v.age)
	}
	return err
}
