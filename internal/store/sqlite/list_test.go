package sqlite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

func put1(t *testing.T, s *Store, rs ...*resource.Record) {
	t.Helper()
	err := s.Update(context.Background(), func(tx store.Tx) error {
		for _, r := range rs {
			w := *r
			if err := tx.Put(&w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The ways that listings go must not sort or visit what they do not show.
func TestListPlans(t *testing.T) {
	t.Parallel()
	s := open(t)
	at := time.Unix(1_800_000_000, 0)
	base := resource.Query{Account: "1", Region: "r", Kind: "K", Short: true}
	for _, by := range []resource.Sort{resource.SortCreated, resource.SortName, resource.SortModified} {
		for _, desc := range []bool{false, true} {
			for _, phase := range []string{"", "Failed"} {
				q := base
				q.Sort, q.Descending, q.Phase = by, desc, phase
				if phase != "" && by != resource.SortCreated {
					continue // no other column has an index with each status
				}
				o, _ := orderOf(by)
				q.Token = writeToken(q, &resource.Record{Key: testKey(1), Phase: "Failed", Created: at, Modified: at}, 7)
				place, err := readToken(q)
				if err != nil {
					t.Fatal(err)
				}
				p := newPage(q, o, place, 100)
				f := p.conditions(nil)
				err = s.reader(t.Context(), func(tx *tx) error {
					e := tx.query(`EXPLAIN QUERY PLAN SELECT ` + shortColumns + `, id FROM resource ` + p.hint() + ` WHERE ` + f.where.String() + o.by(desc))
					e.bind(f.args)
					for e.next() {
						plan := e.str(3)
						if strings.Contains(plan, "TEMP B-TREE") || strings.Contains(plan, "SCAN") {
							t.Errorf("%s %t %q: %s", by, desc, phase, plan)
						}
						if by == resource.SortCreated && phase == "" && !strings.Contains(plan, "COVERING") {
							t.Errorf("newest first looks at the records: %s", plan)
						}
					}
					return e.end()
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// Who asks of every place gets what is there, be it one place or several.
func TestListPlaces(t *testing.T) {
	t.Parallel()
	s := open(t)
	want := 0
	for i, place := range []struct{ account, region string }{{"1", "r"}, {"1", "s"}, {"2", "r"}, {"2", ""}} {
		for n := range 30 {
			k := resource.Key{Account: place.account, Region: place.region, Kind: "K", Name: fmt.Sprint("n", n)}
			put1(t, s, &resource.Record{Key: k, Phase: []string{"Failed", "InProgress"}[n%2], Created: time.Unix(1_800_000_000+int64(n*7%10), 0)})
		}
		want += 15
		for _, phase := range []string{"", "InProgress"} {
			for _, by := range []resource.Sort{resource.SortCreated, resource.SortName} {
				q := resource.Query{Kind: "K", Phase: phase, Sort: by, Limit: 7}
				n := 0
				for {
					rs, next, err := s.List(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					n += len(rs)
					if q.Token = next; next == "" {
						break
					}
				}
				if all := map[string]int{"": 2 * want, "InProgress": want}[phase]; n != all {
					t.Errorf("%d places, %q by %s: %d records, want %d", i+1, phase, by, n, all)
				}
			}
		}
	}
}

// Bounds of modification hold for records that a clock set back modified
// before they were made, and for those whose lag a failed write would have
// been the first to note.
func TestListLag(t *testing.T) {
	t.Parallel()
	s := open(t)
	at := time.Unix(1_800_000_000, 0)
	rec := func(name string, lag time.Duration) *resource.Record {
		return &resource.Record{Key: resource.Key{Account: "1", Region: "r", Kind: "K", Name: name}, Created: at, Modified: at.Add(lag)}
	}
	errNo := errors.New("no")
	err := s.Update(t.Context(), func(tx store.Tx) error {
		if err := tx.Put(rec("never", 300*time.Hour)); err != nil {
			return err
		}
		return errNo
	})
	if !errors.Is(err, errNo) {
		t.Fatal(err)
	}
	put1(t, s, rec("soon", time.Second), rec("back", -5*time.Hour), rec("late", 299*time.Hour))
	for what, c := range map[string]struct {
		after, before time.Duration
		want          string
	}{
		"late":   {after: 200 * time.Hour, want: "late"},
		"back":   {before: -time.Hour, want: "back"},
		"middle": {after: -time.Hour, before: time.Hour, want: "soon"},
	} {
		q := resource.Query{Account: "1", Region: "r", Kind: "K"}
		if c.after != 0 {
			q.ModifiedAfter = at.Add(c.after)
		}
		if c.before != 0 {
			q.ModifiedBefore = at.Add(c.before)
		}
		for _, desc := range []bool{false, true} {
			q.Descending = desc
			rs, _, err := s.List(t.Context(), q)
			if err != nil || len(rs) != 1 || rs[0].Name != c.want {
				t.Errorf("%s: %v, %v", what, rs, err)
			}
		}
	}
}

// Every piece of a name is found in its block, and is said to be there.
func TestNameBlock(t *testing.T) {
	t.Parallel()
	b := block{oldest: math.MaxInt64, newest: math.MinInt64}
	var names []string
	for i := range nameBlock {
		name := fmt.Sprintf("Job-%d-éß-%x", i, i*7919)
		names = append(names, strings.ToLower(name))
		b.add(int64(1000+3*i), int64(i), name)
	}
	if b.last != 1000+3*(nameBlock-1) || b.oldest != 0 || b.newest != nameBlock-1 {
		t.Errorf("%d, %d to %d", b.last, b.oldest, b.newest)
	}
	for i, name := range names {
		for from := range name {
			for _, n := range []int{1, 2, 3, 5, 60} {
				needle := name[from:min(from+n, len(name))]
				if !hasAll(b.grams[:], wanted(needle)) {
					t.Fatalf("%q is not said to be in the block", needle)
				}
				if i%16 > 0 {
					continue
				}
				ids, err := matches(nil, b.names, []byte(needle))
				if err != nil {
					t.Fatal(err)
				}
				var want []int64
				for j, other := range names {
					if strings.Contains(other, needle) {
						want = append(want, int64(1000+3*j))
					}
				}
				if fmt.Sprint(ids) != fmt.Sprint(want) {
					t.Fatalf("%q: %v, want %v", needle, ids, want)
				}
			}
		}
	}
	for _, needle := range []string{"q", "zz", "wxy", "job-job"} {
		if hasAll(b.grams[:], wanted(needle)) {
			t.Errorf("%q is said to be in the block", needle)
		}
	}
}

func FuzzMatches(f *testing.F) {
	b := block{}
	b.add(5, 1, "one")
	b.add(9, 2, "two")
	f.Add(b.names, []byte("o"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x7f}, []byte(""))
	f.Fuzz(func(t *testing.T, names, needle []byte) {
		ids, err := matches(nil, names, needle)
		if err == nil && len(ids) > len(names) {
			t.Errorf("%d ids of %d bytes", len(ids), len(names))
		}
	})
}

// A name of the oldest block belongs on the first page when its record is the
// newest.
func TestNamesOutOfOrder(t *testing.T) {
	t.Parallel()
	s := open(t)
	at := time.Unix(1_800_000_000, 0)
	var rs []*resource.Record
	for i := range 40 * nameBlock {
		r := &resource.Record{Key: resource.Key{Account: "1", Region: "r", Kind: "K", Name: fmt.Sprintf("a-%06d", i)}, UID: resource.NewUID(), Created: at.Add(time.Duration(i) * time.Second)}
		if i%20 == 3 {
			r.Name = fmt.Sprintf("q-%06d", i)
		}
		if i == 3 {
			r.Created = at.Add(time.Hour * 10000)
		}
		rs = append(rs, r)
	}
	for i := 0; i < len(rs); i += 1000 {
		put1(t, s, rs[i:min(i+1000, len(rs))]...)
	}
	for {
		more := false
		if err := s.update(t.Context(), func(tx *tx) (err error) { more, err = tx.indexNames(); return err }); err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
	}
	for _, desc := range []bool{true, false} {
		q := resource.Query{Account: "1", Region: "r", Kind: "K", NameContains: "Q", Descending: desc, Limit: 10}
		var got []string
		for {
			page, next, err := s.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				got = append(got, r.Name)
			}
			if q.Token = next; next == "" {
				break
			}
		}
		if len(got) != 40*nameBlock/20 {
			t.Errorf("%d names", len(got))
		}
		odd, other := got[0], got[len(got)-1]
		if !desc {
			odd, other = other, odd
		}
		if odd != "q-000003" || other != "q-000023" {
			t.Errorf("descending %t: %s and %s at the ends", desc, odd, other)
		}
	}
}

// A database of an earlier schema keeps its records, and they are listed.
func TestMigrate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "clary.db")
	w, err := openWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	const released = 4
	for i, m := range migrations()[:released] {
		if err := w.exec(fmt.Sprintf("BEGIN; %s; PRAGMA user_version = %d; COMMIT", m.ddl, i+1)); err != nil {
			t.Fatal(m.name, err)
		}
	}
	for i := range 600 {
		err := w.exec(fmt.Sprintf(`INSERT INTO resource(kind, account, region, name, uid, arn, parent, phase, created, modified, version, due, attempts, last_error, spec, status)
			VALUES('K', '1', 'r', 'old-%d', 'u%d', 'a%d', '', 'Failed', %d, %d, 1, 0, 0, '', x'7b7d', x'7b7d')`, i, i, i, int64(1e18)+int64(i)*1e9, int64(1e18)+int64(i)*1e9+5e9))
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		err := w.exec(fmt.Sprintf(`INSERT INTO usage(id, account, region, kind, name, uid, component, instance_type, unit, quantity, start, end)
			VALUES('x%d', '1', 'r', 'K', 'n', 'u%d', 'training', '', 'instance-second', 1, %d, %d)`, i, i, int64(1e18)-int64(i), i%2*2e18))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.exec(`INSERT INTO tag(arn, key, value) VALUES('a1', 'team', '"<é>"'), ('a1', 'a', '')`); err != nil {
		t.Fatal(err)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	us, err := s.ListUsage(t.Context(), resource.UsageQuery{UID: "u1"})
	if err != nil || len(us) != 1 || !maps.Equal(us[0].Tags, map[string]string{"team": `"<é>"`, "a": ""}) {
		t.Errorf("what a tagged resource used: %+v, %v", us, err)
	}
	var told []string
	tell := func(u resource.Usage) { told = append(told, u.ID) }
	if place, err := s.UsageSince(t.Context(), "1", time.Time{}, time.Time{}, 1, tell); err != nil || place != 3 || !slices.Equal(told, []string{"x1", "x0"}) {
		t.Errorf("the usage ledger: %v up to %d, %v", told, place, err)
	}
	q := resource.Query{Account: "1", Region: "r", Kind: "K", Limit: 1000}
	for what, c := range map[string]struct {
		change func(*resource.Query)
		want   int
	}{
		"all":      {func(*resource.Query) {}, 600},
		"short":    {func(q *resource.Query) { q.Short = true }, 600},
		"name":     {func(q *resource.Query) { q.NameContains = "D-59" }, 11},
		"modified": {func(q *resource.Query) { q.ModifiedAfter = time.Unix(0, 1e18+594e9) }, 10},
	} {
		q := q
		c.change(&q)
		rs, _, err := s.List(t.Context(), q)
		if err != nil || len(rs) != c.want {
			t.Errorf("%s: %d records, %v", what, len(rs), err)
		}
	}
}
