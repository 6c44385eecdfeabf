package sqlite

import (
	"math"
	"strings"
	"testing"
	"time"

	"clary/internal/store"
)

func TestVersionIDs(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{time.UnixMilli(0), time.Now(), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)} {
		age := -at.UnixMilli()
		id := versionID(age)
		if got, ok := ageOf(id); !ok || got != age || len(id) != vidLen {
			t.Errorf("%d: id %q says %d, %v", age, id, got, ok)
		}
	}
	for _, bad := range []string{"", "null", "x", strings.Repeat("w", vidLen), strings.Repeat("A", vidLen), strings.Repeat("0", vidLen+1), "../" + strings.Repeat("0", vidLen-3)} {
		if age, ok := ageOf(bad); ok {
			t.Errorf("%q is taken for an id of age %d", bad, age)
		}
	}
	last := ""
	for _, age := range []int64{math.MinInt64, -1 << 40, -2, -1, 0, 1, math.MaxInt64} {
		text := ageText(age)
		if got, err := (place{id: text}).age(); err != nil || got != age || text <= last {
			t.Errorf("age %d as %q is %d, %v", age, text, got, err)
		}
		last = text
	}
}

// TestVersionListingIsSorted holds that a listing of versions reads rows in
// their own order: sorting would read a whole bucket for one page.
func TestVersionListingIsSorted(t *testing.T) {
	t.Parallel()
	s := open(t)
	var plan strings.Builder
	err := s.read(t.Context(), func(q *tx) error {
		rows, err := q.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+versionsFrom, 1, []byte("a"), 0, []byte("b"), 1, []byte("a"), 0, []byte("b"))
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				return err
			}
			plan.WriteString(detail + "\n")
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := plan.String(); strings.Contains(got, "TEMP B-TREE") || strings.Contains(got, "SCAN") || strings.Count(got, "SEARCH") != 2 {
		t.Errorf("plan:\n%s", got)
	}
}

// TestVersionsBeforeVersioning holds that objects of an older schema have
// their place among versions.
func TestVersionsBeforeVersioning(t *testing.T) {
	t.Parallel()
	s := open(t)
	x := s.Objects()
	ctx := t.Context()
	if err := x.CreateBucket(ctx, store.BlobBucket{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	put := func(size int64, at time.Time) string {
		t.Helper()
		id, _, err := x.PutObject(ctx, store.BlobObject{Bucket: "b", Key: "k", Size: size, Modified: at}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	put(1, old)
	if err := x.SetVersioning(ctx, "b", store.VersioningEnabled); err != nil {
		t.Fatal(err)
	}
	// A clock that went back makes no older version of a newer write.
	first, second := put(2, old.Add(-time.Hour)), put(3, old.Add(-2*time.Hour))
	page, err := x.ListVersions(ctx, "b", "", "", "", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Versions) != 3 || page.Versions[0].VersionID != second || page.Versions[1].VersionID != first ||
		page.Versions[2].VersionID != store.NullVersion || !page.Versions[0].Latest || page.Versions[1].Latest {
		t.Errorf("%+v", page.Versions)
	}
}
