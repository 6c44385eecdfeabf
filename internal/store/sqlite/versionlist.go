package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"

	"clary/internal/store"
)

// A version's place in a walk has its age as the id, in digits that sort.
func ageText(age int64) string { return fmt.Sprintf("%016x", uint64(age)^1<<63) }

func (p place) age() (int64, error) {
	if p.id == "" {
		return math.MinInt64, nil
	}
	id, behind := strings.CutSuffix(p.id, "\x00")
	n, err := strconv.ParseUint(id, 16, 64)
	if err != nil {
		return 0, store.ErrVersion
	}
	age := int64(n ^ 1<<63)
	if behind {
		age++
	}
	return age, nil
}

// afterVersion is where a listing goes on behind a version. When a null
// version is gone, its place is not known: then all of the key is shown again.
func (w walk) afterVersion(ctx context.Context, q querier, b bucketRow, key, id string) (place, error) {
	if key == "" || id == "" {
		return w.after(key, ""), nil
	}
	age, ok := ageOf(id)
	if id == store.NullVersion {
		v, err := named(ctx, q, b, key, id)
		if err != nil {
			return place{}, err
		}
		if v == nil {
			return place{key: key}, nil
		}
		age, ok = v.age, true
	}
	if !ok {
		return place{}, store.ErrVersion
	}
	return w.after(key, ageText(age)), nil
}

// listed is a row of a listing of versions.
type listed struct {
	store.BlobObject

	age int64
}

const versionsFrom = `SELECT key, vid, age, 0 AS marker, version, size, etag, modified, parts, sums
	FROM blob_object WHERE bucket = ? AND (key, age) >= (?, ?) AND key < ?
	UNION ALL SELECT key, vid, age, marker, version, size, etag, modified, parts, sums
	FROM blob_version WHERE bucket = ? AND (key, age) >= (?, ?) AND key < ?
	ORDER BY key, age`

// keysEnd is behind every key, which are at most 1,024 bytes.
func keysEnd(end string) []byte {
	if end == "" {
		return []byte(strings.Repeat("\xff", 1100))
	}
	return []byte(end)
}

func listVersions(ctx context.Context, q querier, bucket string, w walk, afterKey, afterVersion string) (page store.BlobVersionPage, err error) {
	b, err := bucketOf(ctx, q, bucket)
	if err != nil {
		return page, err
	}
	start, err := w.afterVersion(ctx, q, b, afterKey, afterVersion)
	if err != nil {
		return page, err
	}
	got, err := roll(w, start,
		func(v listed) place { return place{key: v.Key, id: ageText(v.age)} },
		func(start place, end string, yield func(listed) bool) error {
			age, err := start.age()
			if err != nil {
				return err
			}
			// The first row may be of a key whose newer versions stand before it.
			before := ""
			if start.id != "" {
				newest, err := newest(ctx, q, b, start.key)
				if err != nil {
					return err
				}
				if newest != nil && newest.age < age {
					before = start.key
				}
			}
			return scanVersions(ctx, q, b, start.key, age, end, before, yield)
		})
	for _, v := range got.rows {
		page.Versions = append(page.Versions, v.BlobObject)
	}
	page.Prefixes = got.prefixes
	if got.more {
		page.NextKey = got.last
		if n := len(got.rows); got.lastID != "" {
			page.NextVersion = page.Versions[n-1].VersionID
		}
	}
	return page, err
}

func scanVersions(ctx context.Context, q querier, b bucketRow, key string, age int64, end, before string, yield func(listed) bool) error {
	from, to := []byte(key), keysEnd(end)
	rows, err := q.QueryContext(ctx, versionsFrom, b.id, from, age, to, b.id, from, age, to)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	first := before == ""
	for rows.Next() {
		v := listed{BlobObject: store.BlobObject{Bucket: b.name}}
		var key sql.RawBytes
		var vid string
		var modified int64
		if err := rows.Scan(&key, &vid, &v.age, &v.Marker, &v.Version, &v.Size, &v.ETag, &modified, &v.Parts, &v.Sums); err != nil {
			return err
		}
		v.Key, v.Modified, v.VersionID = string(key), fromMillis(modified), b.shown(vid)
		if v.VersionID == "" {
			v.VersionID = store.NullVersion
		}
		v.Latest = first || v.Key != before
		before, first = v.Key, false
		if !yield(v) {
			return nil
		}
	}
	return rows.Err()
}
