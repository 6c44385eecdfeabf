package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

func due(name string, at time.Time) *resource.Record {
	r := record(name)
	r.Due = at
	return r
}

func lease(t testing.TB, s store.Store, owner string, now, until time.Time, limit int) []*resource.Record {
	t.Helper()
	rs, err := s.Lease(t.Context(), kind, owner, now, until, limit)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func wantNames(t testing.TB, what string, rs []*resource.Record, want ...string) {
	t.Helper()
	if got := names(rs); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func wantDue(t testing.TB, s store.Store, want time.Time) {
	t.Helper()
	at, err := s.NextDue(t.Context(), kind)
	if err != nil || !at.Equal(want) {
		t.Errorf("next due %v, %v; want %v", at, err, want)
	}
}

func testLease(t *testing.T, s store.Store) {
	now := epoch().Add(time.Hour)
	at := now.Add
	wantDue(t, s, time.Time{})
	other := due("other", at(-time.Hour))
	other.Kind = "Other"
	put(t, s, due("late", at(-time.Minute)), due("later", at(time.Minute)), due("now", now), record("never"), other)
	wantDue(t, s, at(-time.Minute))

	wantNames(t, "none asked for", lease(t, s, "a", now, at(time.Minute), 0))
	first := lease(t, s, "a", now, at(10*time.Second), 1)
	wantNames(t, "the most overdue first", first, "late")
	if first[0].Version != 1 || first[0].Spec == nil {
		t.Errorf("a lease gives the whole record: %+v", first[0])
	}
	wantDue(t, s, now)
	wantNames(t, "the rest", lease(t, s, "b", now, at(30*time.Second), 10), "now")
	wantNames(t, "nothing left", lease(t, s, "a", now, at(time.Minute), 10))
	wantDue(t, s, at(10*time.Second)) // when the first lease ends

	// A lease that ran out is anybody's.
	wantNames(t, "run out", lease(t, s, "b", at(10*time.Second), at(time.Minute), 10), "late")
	wantErr(t, "renew what another holds", s.Renew(t.Context(), key("late"), "a", at(time.Hour)), store.ErrLeased)
	if err := s.Renew(t.Context(), key("late"), "b", at(time.Hour)); err != nil {
		t.Error(err)
	}
	wantNames(t, "renewed", lease(t, s, "a", at(31*time.Second), at(time.Minute), 10), "now")
	wantErr(t, "renew what nobody holds", s.Renew(t.Context(), key("never"), "a", at(time.Hour)), store.ErrLeased)

	// Any record may be taken by name.
	r, err := s.Take(t.Context(), key("never"), "a", now, at(time.Minute))
	if err != nil || r.Name != "never" {
		t.Errorf("take: %v, %v", r, err)
	}
	_, err = s.Take(t.Context(), key("never"), "b", at(time.Minute-1), at(time.Hour))
	wantErr(t, "take what is held", err, store.ErrLeased)
	if _, err = s.Take(t.Context(), key("never"), "b", at(time.Minute), at(time.Hour)); err != nil {
		t.Errorf("take what ran out: %v", err)
	}
	_, err = s.Take(t.Context(), key("nobody"), "b", now, at(time.Hour))
	wantErr(t, "take what is not there", err, store.ErrNotFound)
	wantNames(t, "at last", lease(t, s, "c", at(2*time.Hour), at(3*time.Hour), 10), "late", "now", "later")
}

func testRelease(t *testing.T, s store.Store) {
	now := epoch().Add(time.Hour)
	at := now.Add
	release := func(version int64, due time.Time, attempts int, msg string) {
		t.Helper()
		if err := s.Release(t.Context(), key("a"), "me", version, due, attempts, msg); err != nil {
			t.Error(err)
		}
	}
	put(t, s, due("a", now))
	lease(t, s, "me", now, at(time.Minute), 1)
	release(1, at(time.Second), 2, "no luck")
	if r := get(t, s, "a"); !r.Due.Equal(at(time.Second)) || r.Attempts != 2 || r.LastError != "no luck" || r.Version != 1 || !r.Modified.Equal(epoch()) {
		t.Errorf("after release: %+v", r)
	}
	wantDue(t, s, at(time.Second))
	wantNames(t, "released", lease(t, s, "me", at(time.Second), at(time.Minute), 1), "a")

	// Put meanwhile: the newer version's due time stays, the lease ends.
	r := get(t, s, "a")
	r.Due = at(2 * time.Second)
	put(t, s, r)
	release(1, at(time.Hour), 7, "stale")
	if r := get(t, s, "a"); !r.Due.Equal(at(2*time.Second)) || r.Attempts != 2 || r.LastError != "no luck" {
		t.Errorf("a stale release changed the record: %+v", r)
	}
	wantNames(t, "lease has ended", lease(t, s, "me", at(2*time.Second), at(time.Minute), 1), "a")
	release(2, time.Time{}, 0, "")
	wantDue(t, s, time.Time{})
	if r := get(t, s, "a"); !r.Due.IsZero() || r.Attempts != 0 || r.LastError != "" {
		t.Errorf("never again: %+v", r)
	}

	// Whose lease ran out and was taken has nothing to say any more.
	r = get(t, s, "a")
	r.Due = now
	put(t, s, r)
	lease(t, s, "me", now, at(time.Second), 1)
	lease(t, s, "you", at(time.Second), at(time.Minute), 1)
	release(3, time.Time{}, 0, "")
	if r := get(t, s, "a"); !r.Due.Equal(now) {
		t.Errorf("a lease that was lost still wrote: due %s", r.Due)
	}
	if _, err := s.Take(t.Context(), key("a"), "me", at(2*time.Second), at(time.Minute)); !errors.Is(err, store.ErrLeased) {
		t.Errorf("a lost lease's release ended another's: %v", err)
	}
	if err := s.Release(t.Context(), key("nobody"), "me", 1, now, 0, ""); err != nil {
		t.Errorf("release of what was deleted: %v", err)
	}
}

// Many owners at once: no record is held twice, none is left behind.
func testLeaseRace(t *testing.T, s store.Store) {
	const records, owners = 200, 8
	now := epoch()
	for i := range records {
		put(t, s, due(fmt.Sprint("r", i), now.Add(-time.Duration(i)*time.Second)))
	}
	var mu sync.Mutex
	seen := make(map[string]int)
	var wg sync.WaitGroup
	for o := range owners {
		wg.Go(func() {
			owner := fmt.Sprint("o", o)
			for {
				rs, err := s.Lease(t.Context(), kind, owner, now, now.Add(time.Minute), 5)
				if err != nil {
					t.Error(err)
				}
				if len(rs) == 0 {
					return
				}
				for _, r := range rs {
					mu.Lock()
					seen[r.Name]++
					mu.Unlock()
					if err := s.Release(t.Context(), r.Key, owner, r.Version, time.Time{}, 0, ""); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != records {
		t.Errorf("%d records were leased, want %d", len(seen), records)
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s was leased %d times", name, n)
		}
	}
}
