package sqlite

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"clary/internal/resource"
)

// many is a store of records that were made a second apart and changed up to a
// minute later, and the records in the order of their ids.
func many(t *testing.T, n int) (*Store, []*resource.Record) {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "clary.db"), Options{Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var rs []*resource.Record
	for i := range n {
		r := &resource.Record{
			Key: resource.Key{Account: "1", Region: "r", Kind: "K", Name: fmt.Sprintf("job-%06d", i*7919%n)},
			UID: resource.NewUID(), Phase: "Completed", Created: time.Unix(1_800_000_000+int64(i), 0), Brief: "brief",
		}
		r.Modified = r.Created.Add(time.Duration(i*37%61) * time.Second)
		if i%(n/20) == 7 {
			r.Name = fmt.Sprintf("rarezq-%06d", i)
		}
		switch {
		case i%(n/100) == 3:
			r.Phase = "Stopped"
		case i%2 == 1:
			r.Phase = "Failed"
		}
		rs = append(rs, r)
	}
	put1(t, s, rs...)
	for more := true; more; {
		err := s.update(t.Context(), func(tx *tx) (err error) { more, err = tx.indexNames(); return err })
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, rs
}

// work is what SQLite did for a listing: steps of its machine, about a dozen
// for each record that is shown and half as many for one that is passed over,
// and pages of the database that it went to.
type work struct{ steps, pages int64 }

// worked runs fn and tells what the store's only reader did meanwhile.
func worked(t *testing.T, s *Store, fn func()) (w work) {
	t.Helper()
	look := func() {
		c := <-s.pool.slots
		defer func() { s.pool.slots <- c }()
		w = work{}
		if c == nil {
			return
		}
		for _, q := range c.quick {
			w.steps += int64(q.Status(sqlite3.STMTSTATUS_VM_STEP, true))
		}
		for _, op := range []sqlite3.DBStatus{sqlite3.DBSTATUS_CACHE_HIT, sqlite3.DBSTATUS_CACHE_MISS} {
			n, _, err := c.own.Status(op, true)
			if err != nil {
				t.Error(err)
			}
			w.pages += n
		}
	}
	look()
	fn()
	look()
	return w
}

// TestListWork holds that a page of a listing costs what a page is, however
// many records there are: with each filter that list operations have, alone and
// with a status or a name, in each order, at the beginning and in the middle.
func TestListWork(t *testing.T) {
	t.Parallel()
	const (
		limit = 100
		// What may be added: the most is where two filters leave many records and
		// the order is another. A walk over half of them takes 50,000 steps.
		steps = 25_000
		pages = 1000
	)
	type asked struct {
		name string
		ask  func(q *resource.Query)
	}
	took := make(map[string]work)
	for _, n := range []int{1000, 20_000} {
		s, rs := many(t, n)
		ids := make(map[string]int64)
		for i, r := range rs {
			ids[r.Name] = int64(i + 1)
		}
		made := rs[n/2].Created
		var changes []time.Time
		for _, r := range rs {
			changes = append(changes, r.Modified)
		}
		slices.SortFunc(changes, time.Time.Compare)
		changed, then := changes[n/2], changes[n/2+60]
		filters := []asked{
			{"all", func(*resource.Query) {}},
			{"made before", func(q *resource.Query) { q.CreatedBefore = made }},
			{"made after", func(q *resource.Query) { q.CreatedAfter = made }},
			{"made between", func(q *resource.Query) { q.CreatedAfter, q.CreatedBefore = made, made.Add(time.Minute) }},
			{"made between, many", func(q *resource.Query) {
				q.CreatedAfter, q.CreatedBefore = made.Add(-350*time.Second), made.Add(350*time.Second)
			}},
			{"changed before", func(q *resource.Query) { q.ModifiedBefore = changed }},
			{"changed after", func(q *resource.Query) { q.ModifiedAfter = changed }},
			{"changed between", func(q *resource.Query) { q.ModifiedAfter, q.ModifiedBefore = changed, then }},
		}
		with := []asked{
			{"", func(*resource.Query) {}},
			{", of a status that many have", func(q *resource.Query) { q.Phase = "Failed" }},
			{", of one that few have", func(q *resource.Query) { q.Phase = "Stopped" }},
			{", of one that none has", func(q *resource.Query) { q.Phase = "InProgress" }},
			{", of a name that many have", func(q *resource.Query) { q.NameContains = "Job" }},
			{", of a name that few have", func(q *resource.Query) { q.NameContains = "zq" }},
			{", of a name that none has", func(q *resource.Query) { q.NameContains = "nowhere" }},
		}
		for _, f := range filters {
			for _, also := range with {
				for _, by := range []resource.Sort{resource.SortCreated, resource.SortName, resource.SortPhase, resource.SortModified} {
					q := resource.Query{Account: "1", Region: "r", Kind: "K", Short: true, Sort: by, Limit: limit}
					f.ask(&q)
					also.ask(&q)
					all := expected(rs, ids, q)
					for _, desc := range []bool{false, true} {
						q, want := q, slices.Clone(all)
						if q.Descending = desc; desc {
							slices.Reverse(want)
						}
						for _, middle := range []bool{false, true} {
							if middle {
								if want = want[len(want)/2:]; len(want) < 2 {
									continue
								}
								q.Token = writeToken(q, want[0], ids[want[0].Name])
								want = want[1:]
							}
							what := fmt.Sprintf("%s%s, by %q, descending %t, in the middle %t", f.name, also.name, by, desc, middle)
							w := worked(t, s, func() {
								got, _, err := s.List(t.Context(), q)
								if err != nil {
									t.Fatal(err)
								}
								if !slices.EqualFunc(got, want[:min(limit, len(want))], func(a, b *resource.Record) bool { return a.Name == b.Name }) {
									t.Errorf("%s: %d records, not those that are asked for", what, len(got))
								}
							})
							if among, ok := took[what]; ok && (w.steps > among.steps+steps || w.pages > among.pages+pages) {
								t.Errorf("%s: %+v among %d records, %+v among fewer", what, w, n, among)
							}
							took[what] = w
						}
					}
				}
			}
		}
	}
}

// expected are all records of a listing, the first of its order first.
func expected(rs []*resource.Record, ids map[string]int64, q resource.Query) (out []*resource.Record) {
	part := strings.ToLower(q.NameContains)
	for _, r := range rs {
		if q.Phase != "" && r.Phase != q.Phase || !strings.Contains(r.Name, part) ||
			!q.CreatedAfter.IsZero() && !r.Created.After(q.CreatedAfter) || !q.CreatedBefore.IsZero() && !r.Created.Before(q.CreatedBefore) ||
			!q.ModifiedAfter.IsZero() && !r.Modified.After(q.ModifiedAfter) || !q.ModifiedBefore.IsZero() && !r.Modified.Before(q.ModifiedBefore) {
			continue
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *resource.Record) int {
		var c int
		switch q.Sort {
		case resource.SortName:
			c = cmp.Compare(a.Name, b.Name)
		case resource.SortPhase:
			c = cmp.Or(cmp.Compare(a.Phase, b.Phase), a.Created.Compare(b.Created))
		case resource.SortModified:
			c = a.Modified.Compare(b.Modified)
		default:
			c = a.Created.Compare(b.Created)
		}
		return cmp.Or(c, cmp.Compare(ids[a.Name], ids[b.Name]))
	})
	return out
}
