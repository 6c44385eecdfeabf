package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

func usage(id string, start time.Time) resource.Usage {
	return resource.Usage{
		ID: id, Account: "123456789012", Region: "us-east-1", Kind: kind, Name: "a", UID: "uid-a",
		Component: "training", InstanceType: "ml.m5.large", Unit: "instance-second", Quantity: 2, Start: start,
	}
}

func listUsage(t testing.TB, s store.Store, q resource.UsageQuery) []resource.Usage {
	t.Helper()
	us, err := s.ListUsage(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return us
}

func testUsage(t *testing.T, s store.Store) {
	do := func(fn func(tx store.Tx) error) {
		t.Helper()
		if err := s.Update(t.Context(), fn); err != nil {
			t.Error(err)
		}
	}
	u := usage("u1", epoch())
	do(func(tx store.Tx) error { return tx.OpenUsage(u) })
	again := u
	again.Start, again.Quantity = epoch().Add(time.Hour), 9
	do(func(tx store.Tx) error { return tx.OpenUsage(again) })
	if us := listUsage(t, s, resource.UsageQuery{}); !reflect.DeepEqual(us, []resource.Usage{u}) {
		t.Errorf("opened twice: %+v", us)
	}
	end := epoch().Add(90*time.Second + time.Nanosecond)
	do(func(tx store.Tx) error { return tx.CloseUsage("u1", end) })
	do(func(tx store.Tx) error { return tx.CloseUsage("u1", end.Add(time.Hour)) })
	do(func(tx store.Tx) error { return tx.CloseUsage("nobody", end) })
	do(func(tx store.Tx) error { return tx.OpenUsage(again) })
	u.End = end
	if us := listUsage(t, s, resource.UsageQuery{}); !reflect.DeepEqual(us, []resource.Usage{u}) {
		t.Errorf("closed twice: %+v", us)
	}
	// An end before the start is a clock's fault: nothing is billed back.
	do(func(tx store.Tx) error { return tx.OpenUsage(usage("u2", epoch())) })
	do(func(tx store.Tx) error { return tx.CloseUsage("u2", epoch().Add(-time.Hour)) })
	for _, u := range listUsage(t, s, resource.UsageQuery{From: epoch().Add(-2 * time.Hour)}) {
		if u.ID == "u2" && !u.End.Equal(u.Start) {
			t.Errorf("u2 ends %s after its start", u.End.Sub(u.Start))
		}
	}
	for what, fn := range map[string]func(tx store.Tx) error{
		"no start": func(tx store.Tx) error { return tx.OpenUsage(usage("u3", time.Time{})) },
		"no id":    func(tx store.Tx) error { return tx.OpenUsage(usage("", epoch())) },
		"no end":   func(tx store.Tx) error { return tx.CloseUsage("u1", time.Time{}) },
	} {
		if err := s.Update(t.Context(), fn); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func testUsageQueries(t *testing.T, s store.Store) {
	rng := rand.New(rand.NewPCG(5, 5))
	at := func(n int) time.Time { return epoch().Add(time.Duration(n) * time.Second) }
	var us []resource.Usage
	err := s.Update(t.Context(), func(tx store.Tx) error {
		us = nil
		for i := range 200 {
			u := usage(fmt.Sprintf("u%03d", i), at(rng.IntN(100)))
			u.UID, u.Account, u.Region = pick(rng, "x", "y"), pick(rng, "1", "2"), pick(rng, "r", "s")
			u.Kind, u.Name = pick(rng, kind, "Other"), pick(rng, "a", "b", "c")
			if rng.IntN(3) > 0 {
				u.End = u.Start.Add(time.Duration(1+rng.IntN(50)) * time.Second)
			}
			if err := tx.OpenUsage(u); err != nil {
				return err
			}
			us = append(us, u)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	hits := 0
	for range 300 {
		q := resource.UsageQuery{Account: pick(rng, "", "1", "3"), Region: pick(rng, "", "r"), UID: pick(rng, "", "x")}
		if rng.IntN(2) == 0 {
			q.From = at(rng.IntN(150))
		}
		if rng.IntN(2) == 0 {
			q.To = at(rng.IntN(150))
		}
		if q.Account != "" && q.Region != "" && q.UID == "" && rng.IntN(2) == 0 {
			q.Kind, q.Names = kind, []string{pick(rng, "a", "b"), pick(rng, "c", "d")}
		}
		var want []resource.Usage
		for _, u := range us {
			if (q.Names == nil || u.Kind == q.Kind && slices.Contains(q.Names, u.Name)) && (q.Account == "" || q.Account == u.Account) && (q.Region == "" || q.Region == u.Region) && (q.UID == "" || q.UID == u.UID) &&
				(q.To.IsZero() || u.Start.Before(q.To)) && (u.End.IsZero() || q.From.IsZero() || u.End.After(q.From)) {
				want = append(want, u)
			}
		}
		slices.SortFunc(want, func(a, b resource.Usage) int {
			if c := a.Start.Compare(b.Start); c != 0 {
				return c
			}
			return compare(a.ID, b.ID)
		})
		hits += len(want)
		if got := listUsage(t, s, q); !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v: %d intervals, want %d", q, len(got), len(want))
		}
	}
	if hits < 1000 {
		t.Errorf("the queries match only %d intervals: they test nothing", hits)
	}
}

// Whoever reads what changed, look by look, knows the ledger as it is.
func testUsageSince(t *testing.T, s store.Store) {
	rng := rand.New(rand.NewPCG(7, 7))
	const account = "123456789012"
	known := make(map[string]resource.Usage)
	var place int64
	for look := range 60 {
		for range rng.IntN(4) {
			err := s.Update(t.Context(), func(tx store.Tx) error {
				for range rng.IntN(5) {
					u := usage(fmt.Sprintf("u%02d", rng.IntN(80)), epoch().Add(time.Duration(rng.IntN(1000))*time.Second))
					u.Account, u.Region, u.Component = pick(rng, account, "another"), pick(rng, "r", "s"), pick(rng, "training", "notebook")
					u.Name, u.UID = u.ID, "uid-"+u.ID
					if err := tx.OpenUsage(u); err != nil {
						return err
					}
				}
				for range rng.IntN(5) {
					if err := tx.CloseUsage(fmt.Sprintf("u%02d", rng.IntN(80)), epoch().Add(time.Duration(rng.IntN(2000))*time.Second)); err != nil {
						return err
					}
				}
				for range rng.IntN(2) {
					tags := map[string]string{"k": pick(rng, "1", "2"), "<&>": "\"é"}
					if rng.IntN(3) == 0 {
						tags = nil
					}
					if err := tx.TagUsage(fmt.Sprintf("uid-u%02d", rng.IntN(80)), tags); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		before := place
		var err error
		place, err = s.UsageSince(t.Context(), account, time.Time{}, time.Time{}, place, func(u resource.Usage) {
			if old, ok := known[u.ID]; ok && before > 0 && (!old.End.IsZero() || u.End.IsZero() && maps.Equal(u.Tags, old.Tags)) {
				t.Errorf("look %d: %s is told without a change", look, u.ID)
			}
			known[u.ID] = u
		})
		if err != nil || place < before {
			t.Fatalf("look %d: place %d after %d, %v", look, place, before, err)
		}
		all := listUsage(t, s, resource.UsageQuery{Account: account})
		if len(all) != len(known) {
			t.Fatalf("look %d: %d intervals, %d known", look, len(all), len(known))
		}
		for _, u := range all {
			if !reflect.DeepEqual(known[u.ID], u) {
				t.Fatalf("look %d: %+v is known as %+v", look, u, known[u.ID])
			}
		}
	}
	at := func(n int) time.Time { return epoch().Add(time.Duration(n) * time.Second) }
	for range 50 {
		from := at(rng.IntN(1500))
		to := from.Add(time.Duration(rng.IntN(500)) * time.Second)
		want, got := map[string]bool{}, map[string]bool{}
		for _, u := range listUsage(t, s, resource.UsageQuery{Account: account, From: from, To: to}) {
			want[u.ID] = true
		}
		p, err := s.UsageSince(t.Context(), account, from, to, 0, func(u resource.Usage) {
			if got[u.ID] {
				t.Errorf("%s is told twice", u.ID)
			}
			got[u.ID] = true
		})
		if err != nil || p != place || !reflect.DeepEqual(got, want) {
			t.Fatalf("from %s to %s: %d intervals, want %d; place %d, want %d; %v", from, to, len(got), len(want), p, place, err)
		}
	}
}

// An open interval has the tags that its resource has, a closed one those that
// it had at the end.
func testUsageTags(t *testing.T, s store.Store) {
	blue, red := map[string]string{"team": "blue", "empty": ""}, map[string]string{"team": "red"}
	var place int64
	// look gives the tags of what is told since the last look.
	look := func() map[string]map[string]string {
		told := make(map[string]map[string]string)
		var err error
		place, err = s.UsageSince(t.Context(), "123456789012", time.Time{}, time.Time{}, place, func(u resource.Usage) { told[u.ID] = u.Tags })
		if err != nil {
			t.Fatal(err)
		}
		return told
	}
	step := func(what string, want map[string]map[string]string, fn func(tx store.Tx) error) {
		t.Helper()
		if err := s.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
		if told := look(); !reflect.DeepEqual(told, want) {
			t.Errorf("%s: told of %v, want %v", what, told, want)
		}
	}
	tag := func(uid string, tags map[string]string) func(store.Tx) error {
		return func(tx store.Tx) error { return tx.TagUsage(uid, tags) }
	}
	type tags = map[string]map[string]string
	step("opened", tags{"u1": blue, "u2": nil, "u3": nil, "other": nil, "call": blue}, func(tx store.Tx) error {
		u1, u2, u3, other, call := usage("u1", epoch()), usage("u2", epoch()), usage("u3", epoch()), usage("other", epoch()), usage("call", epoch())
		u1.Tags, other.UID, call.Unit, call.Tags = blue, "uid-b", "request", blue
		return errors.Join(tx.OpenUsage(u1), tx.OpenUsage(u2), tx.OpenUsage(u3), tx.OpenUsage(other), tx.OpenUsage(call))
	})
	step("closed", tags{"u3": nil}, func(tx store.Tx) error { return tx.CloseUsage("u3", epoch().Add(time.Hour)) })
	step("tagged", tags{"u2": blue}, tag("uid-a", blue))
	step("tagged alike", tags{}, tag("uid-a", blue))
	step("another", tags{"u1": red, "u2": red}, tag("uid-a", red))
	step("nobody", tags{}, tag("uid-c", red))
	step("closed with tags", tags{"u1": red}, func(tx store.Tx) error { return tx.CloseUsage("u1", epoch().Add(time.Hour)) })
	step("none", tags{"u2": nil}, tag("uid-a", nil))
	got := make(tags)
	for _, u := range listUsage(t, s, resource.UsageQuery{Account: "123456789012"}) {
		got[u.ID] = u.Tags
	}
	if want := (tags{"u1": red, "u2": nil, "u3": nil, "other": nil, "call": blue}); !reflect.DeepEqual(got, want) {
		t.Errorf("at the end %v, want %v", got, want)
	}
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// An interval stands or falls with the status that causes it.
func testUsageWithState(t *testing.T, s store.Store) {
	put(t, s, record("a"))
	err := s.Update(t.Context(), func(tx store.Tx) error {
		r, err := tx.Get(key("a"))
		if err != nil {
			return err
		}
		if err := tx.OpenUsage(usage("u", epoch())); err != nil {
			return err
		}
		r.Version++ // as if it had changed meanwhile
		return tx.Put(r)
	})
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("%v, want a conflict", err)
	}
	if us := listUsage(t, s, resource.UsageQuery{}); len(us) != 0 {
		t.Errorf("an interval without its status: %+v", us)
	}
}
