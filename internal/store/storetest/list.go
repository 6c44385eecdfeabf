package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

// all walks a listing to its end.
func all(t testing.TB, s store.Store, q resource.Query, page func(int)) (out []*resource.Record) {
	t.Helper()
	for n := 0; ; n++ {
		rs, next, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatalf("list %+v: %v", q, err)
		}
		limit := q.Limit
		if limit == 0 {
			limit = 100
		}
		if len(rs) > limit || next != "" && len(rs) < limit {
			t.Fatalf("page %d of %+v has %d records, next %q", n, q, len(rs), next)
		}
		out = append(out, rs...)
		if next == "" {
			return out
		}
		if page != nil {
			page(n)
		}
		q.Token = next
	}
}

func names(rs []*resource.Record) []string {
	out := make([]string, 0, len(rs))
	for _, r := range rs {
		out = append(out, r.Name)
	}
	return out
}

func pick[T any](rng *rand.Rand, vs ...T) T { return vs[rng.IntN(len(vs))] }

func randomRecord(rng *rand.Rand, i int) *resource.Record {
	r := record(fmt.Sprintf("%s-%d", pick(rng, "Train", "train", "xg-boost", "p_c%t", "ab"), i))
	r.Phase = pick(rng, "InProgress", "Completed", "Failed")
	r.Parent = pick(rng, "", "p1", "p2")
	r.Region = pick(rng, "us-east-1", "us-east-1", "eu-west-1")
	r.Account = pick(rng, "123456789012", "123456789012", "210987654321")
	r.Created = epoch().Add(time.Duration(rng.IntN(50)) * time.Second)
	r.Modified = r.Created.Add(time.Duration(rng.IntN(20)) * time.Second)
	return r
}

func randomQuery(rng *rand.Rand) resource.Query {
	at := func() time.Time {
		if rng.IntN(4) > 0 {
			return time.Time{}
		}
		return epoch().Add(time.Duration(rng.IntN(60)) * time.Second)
	}
	return resource.Query{
		Kind: kind, Account: pick(rng, "", "123456789012", "123456789012"), Region: pick(rng, "", "us-east-1", "us-east-1"),
		Parent: pick(rng, "", "", "p1"), Phase: pick(rng, "", "", "Completed", "Nothing"),
		NameContains: pick(rng, "", "", "TRAIN", "1", "-1", "%", "_", "g-boost-1", "zzz"),
		CreatedAfter: at(), CreatedBefore: at(), ModifiedAfter: at(), ModifiedBefore: at(),
		Sort:       pick(rng, "", resource.SortCreated, resource.SortName, resource.SortPhase, resource.SortModified),
		Descending: rng.IntN(2) == 0, Limit: pick(rng, 0, 1, 3, 7, 1000),
	}
}

// matches is the contract of Query in a few lines.
func matches(q resource.Query, r *resource.Record) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	after := func(bound, v time.Time) bool { return bound.IsZero() || v.After(bound) }
	before := func(bound, v time.Time) bool { return bound.IsZero() || v.Before(bound) }
	return r.Kind == q.Kind && same(q.Account, r.Account) && same(q.Region, r.Region) && same(q.Parent, r.Parent) &&
		same(q.Phase, r.Phase) && same(q.UID, r.UID) &&
		strings.Contains(strings.ToLower(r.Name), strings.ToLower(q.NameContains)) &&
		after(q.CreatedAfter, r.Created) && before(q.CreatedBefore, r.Created) &&
		after(q.ModifiedAfter, r.Modified) && before(q.ModifiedBefore, r.Modified)
}

func before(q resource.Query) func(a, b *resource.Record) int {
	by := func(a, b *resource.Record) int {
		switch q.Sort {
		case resource.SortName:
			return cmp.Compare(a.Name, b.Name)
		case resource.SortPhase:
			return cmp.Compare(a.Phase, b.Phase)
		case resource.SortModified:
			return a.Modified.Compare(b.Modified)
		default:
			return a.Created.Compare(b.Created)
		}
	}
	if q.Descending {
		return func(a, b *resource.Record) int { return by(b, a) }
	}
	return by
}

// testListModel compares listings with a model, page by page.
func testListModel(t *testing.T, s store.Store) {
	rng := rand.New(rand.NewPCG(7, 7))
	var rs []*resource.Record
	for i := range 300 {
		rs = append(rs, randomRecord(rng, i))
	}
	put(t, s, rs...)
	other := record("other")
	other.Kind = "Other"
	put(t, s, other)
	hits := 0
	for range 400 {
		q := randomQuery(rng)
		if rng.IntN(20) == 0 {
			q = resource.Query{Kind: kind, UID: pick(rng, rs...).UID}
		}
		got := all(t, s, q, nil)
		want := make(map[string]bool)
		for _, r := range rs {
			if matches(q, r) {
				want[r.UID] = true
			}
		}
		hits += len(want)
		seen := make(map[string]bool)
		for _, r := range got {
			if seen[r.UID] || !want[r.UID] {
				t.Fatalf("%+v: %s is there twice or should not be", q, r.Name)
			}
			seen[r.UID] = true
		}
		if len(seen) != len(want) || !slices.IsSortedFunc(got, before(q)) {
			t.Fatalf("%+v: %d records, want %d in order; got %v", q, len(seen), len(want), names(got))
		}
	}
	if hits < 1000 {
		t.Errorf("the queries match only %d records: they test nothing", hits)
	}
}

// What exists when a walk begins is seen once, whatever is added or deleted
// on the way.
func testListStable(t *testing.T, s store.Store) {
	for i, sort := range []resource.Sort{resource.SortCreated, resource.SortName} {
		for _, descending := range []bool{false, true} {
			rng := rand.New(rand.NewPCG(uint64(i), 9))
			region := fmt.Sprint(sort, descending)
			q := resource.Query{Kind: kind, Region: region, Sort: sort, Descending: descending, Limit: 7}
			at := func(name string) *resource.Record {
				r := record(name)
				r.Region, r.Created = region, epoch().Add(time.Duration(rng.IntN(10))*time.Second)
				return r
			}
			kept := make(map[string]int)
			var doomed []*resource.Record
			for i := range 100 {
				r := at(fmt.Sprintf("%03d-kept", rng.IntN(1000)*1000+i))
				put(t, s, r)
				kept[r.Name] = 0
				d := at(fmt.Sprintf("%03d-doomed", i))
				put(t, s, d)
				doomed = append(doomed, d)
			}
			got := all(t, s, q, func(n int) {
				put(t, s, at(fmt.Sprintf("%03d-new-%d", rng.IntN(1000), n)))
				if n < len(doomed) {
					if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Delete(doomed[n].Key) }); err != nil {
						t.Fatal(err)
					}
				}
			})
			for _, r := range got {
				if _, ok := kept[r.Name]; ok {
					kept[r.Name]++
				}
			}
			for name, n := range kept {
				if n != 1 {
					t.Errorf("%s descending %t: %s was seen %d times", sort, descending, name, n)
				}
			}
		}
	}
}

func testListToken(t *testing.T, s store.Store) {
	for i := range 5 {
		put(t, s, record(fmt.Sprint("r", i)))
	}
	q := resource.Query{Kind: kind, Limit: 2, Account: "123456789012", Region: "us-east-1"}
	_, token, err := s.List(t.Context(), q)
	if err != nil || token == "" {
		t.Fatalf("%q, %v", token, err)
	}
	if strings.Trim(token, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_=.") != "" || len(token) > 1024 {
		t.Errorf("token %q is not fit for a URL", token)
	}
	bad := func(what string, q resource.Query) {
		t.Helper()
		if _, _, err := s.List(t.Context(), q); err == nil {
			t.Errorf("%s: no error", what)
		} else {
			wantErr(t, what, err, store.ErrToken)
		}
	}
	for _, tok := range []string{"x", "!", "AAAA", token + "A", token[1:], token[:len(token)-2], strings.Repeat("A", len(token)), " " + token} {
		q := q
		q.Token = tok
		bad("token "+tok, q)
	}
	for i := range token {
		q := q
		c := byte('A')
		if token[i] == 'A' {
			c = 'B'
		}
		q.Token = token[:i] + string(c) + token[i+1:]
		bad("a changed letter", q)
	}
	q.Token = token
	for what, change := range map[string]func(*resource.Query){
		"another order":     func(q *resource.Query) { q.Sort = resource.SortName },
		"another direction": func(q *resource.Query) { q.Descending = true },
		"another kind":      func(q *resource.Query) { q.Kind = "Other" },
		"another account":   func(q *resource.Query) { q.Account = "210987654321" },
		"another filter":    func(q *resource.Query) { q.Phase = "Failed" },
	} {
		q := q
		change(&q)
		bad(what, q)
	}
	q.Limit = 100
	rs, next, err := s.List(t.Context(), q)
	if err != nil || len(rs) != 3 || next != "" {
		t.Errorf("the page size may change: %v, %q, %v", names(rs), next, err)
	}
	q.Limit = 5000
	if _, _, err := s.List(t.Context(), q); err != nil {
		t.Errorf("a large limit: %v", err)
	}
	if _, _, err := s.List(t.Context(), resource.Query{Kind: kind, Sort: "color"}); err == nil {
		t.Error("an unknown order was taken")
	}
}

// Rare names among many, in every order, whole and page by page: an adapter
// may find them another way than it walks.
func testListNames(t *testing.T, s store.Store) {
	rng := rand.New(rand.NewPCG(3, 3))
	var rs []*resource.Record
	for i := range 6000 {
		name := fmt.Sprintf("job-%06d", i)
		switch {
		case i%1000 == 17:
			name = fmt.Sprintf("Needle-%06d", i)
		case i%7 == 0:
			name = fmt.Sprintf("common-%06d-éa", i)
		}
		r := record(name)
		r.Created = epoch().Add(time.Duration(rng.IntN(100000)) * time.Millisecond)
		r.Modified = r.Created.Add(time.Duration(rng.IntN(100000)) * time.Millisecond)
		r.Phase = pick(rng, "Completed", "Failed")
		rs = append(rs, r)
	}
	for c := range slices.Chunk(rs, 500) {
		put(t, s, c...)
	}
	for i := 0; i < len(rs); i += 31 { // some are deleted, and one name is used again
		if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Delete(rs[i].Key) }); err != nil {
			t.Fatal(err)
		}
		if i == 17*31 {
			rs[i] = record(rs[i].Name)
			put(t, s, rs[i])
			continue
		}
		rs[i] = nil
	}
	rs = slices.DeleteFunc(rs, func(r *resource.Record) bool { return r == nil })
	for _, needle := range []string{"needle", "NEEDLE-00", "eedle-0010", "common", "é", "-éa", "17", "7", "nowhere", "b-0000", "000017", `"`, "*", "ob-0", rs[500].Name} {
		for _, sort := range []resource.Sort{resource.SortCreated, resource.SortName, resource.SortModified, resource.SortPhase} {
			for _, descending := range []bool{true, false} {
				q := resource.Query{
					Kind: kind, Account: "123456789012", Region: "us-east-1", NameContains: needle,
					Sort: sort, Descending: descending, Limit: pick(rng, 2, 50, 1000),
					Phase: pick(rng, "", "Failed"),
				}
				want := 0
				for _, r := range rs {
					if matches(q, r) {
						want++
					}
				}
				if want > 100 {
					q.Limit = 1000 // the pages are the model test's matter
				}
				got := all(t, s, q, nil)
				uids := make(map[string]bool)
				for _, r := range got {
					uids[r.UID] = true
					if !matches(q, r) {
						t.Fatalf("%+v gives %s", q, r.Name)
					}
				}
				if len(got) != want || len(uids) != want || !slices.IsSortedFunc(got, before(q)) {
					t.Fatalf("%+v: %d records, %d different, want %d in order", q, len(got), len(uids), want)
				}
			}
		}
	}
}
