// Package storetest is the suite that every adapter of the store passes. It
// asks only for what the contract says. An adapter's test calls Run, and its
// TestMain calls Child first so that Run can kill a process in mid-write.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

// Open opens the store kept in a folder; opened again after Close, or after
// its process died, it holds what it held.
type Open func(dir string) (store.Store, error)

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for name, f := range map[string]func(*testing.T, store.Store){
		"Records":        testRecords,
		"Versions":       testVersions,
		"Rollback":       testRollback,
		"Tags":           testTags,
		"Concurrency":    testConcurrency,
		"Conflict":       testConflict,
		"Panic":          testPanic,
		"Cancel":         testCancel,
		"Snapshot":       testSnapshot,
		"Watch":          testWatch,
		"ListModel":      testListModel,
		"ListStable":     testListStable,
		"ListToken":      testListToken,
		"ListNames":      testListNames,
		"Lease":          testLease,
		"LeaseRace":      testLeaseRace,
		"Release":        testRelease,
		"Usage":          testUsage,
		"UsageQueries":   testUsageQueries,
		"UsageSince":     testUsageSince,
		"UsageTags":      testUsageTags,
		"UsageWithState": testUsageWithState,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			f(t, s)
		})
	}
	t.Run("Reopen", func(t *testing.T) { t.Parallel(); testReopen(t, open) })
	t.Run("Crash", func(t *testing.T) { t.Parallel(); testCrash(t, open) })
}

const kind resource.Kind = "Thing"

// epoch is the time that tests count from.
func epoch() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 891011, time.UTC) }

func key(name string) resource.Key {
	return resource.Key{Account: "123456789012", Region: "us-east-1", Kind: kind, Name: name}
}

func record(name string) *resource.Record {
	return &resource.Record{
		Key: key(name), UID: resource.NewUID(), Arn: "arn:aws:sagemaker:us-east-1:123456789012:thing/" + name,
		Phase: "InProgress", Created: epoch(), Modified: epoch(),
		Spec: json.RawMessage(`{"Name":"` + name + `"}`), Status: json.RawMessage(`{"v":1}`),
	}
}

func put(t testing.TB, s store.Store, rs ...*resource.Record) {
	t.Helper()
	err := s.Update(t.Context(), func(tx store.Tx) error {
		for _, r := range rs {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, s store.Store, name string) *resource.Record {
	t.Helper()
	r, err := s.Get(t.Context(), key(name))
	if err != nil {
		t.Fatalf("get %s: %v", name, err)
	}
	return r
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func testRecords(t *testing.T, s store.Store) {
	_, err := s.Get(t.Context(), key("a"))
	wantErr(t, "get what is not", err, store.ErrNotFound)

	want := record("a")
	want.Parent, want.Due, want.Attempts, want.LastError = "p", epoch().Add(time.Nanosecond), 3, "no \x01 luck é"
	put(t, s, want)
	if want.Version != 1 {
		t.Errorf("version %d after the first put, want 1", want.Version)
	}
	got := get(t, s, "a")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	got.Name, got.Spec[0] = "changed", 'X'
	if again := get(t, s, "a"); !reflect.DeepEqual(again, want) {
		t.Error("a record that was handed out is shared with the store")
	}

	bare := &resource.Record{Key: resource.Key{Kind: kind, Name: "bare"}}
	put(t, s, bare)
	got, err = s.Get(t.Context(), bare.Key)
	if err != nil || !reflect.DeepEqual(got, bare) {
		t.Errorf("bare record: %+v, %v", got, err)
	}
	// Another kind, account or region is another record.
	for _, k := range []resource.Key{
		{Account: "123456789012", Region: "us-east-1", Kind: "Other", Name: "a"},
		{Account: "123456789012", Region: "eu-west-1", Kind: kind, Name: "a"},
		{Account: "210987654321", Region: "us-east-1", Kind: kind, Name: "a"},
		{Account: "123456789012", Region: "us-east-1", Kind: kind, Name: "A"},
	} {
		if _, err := s.Get(t.Context(), k); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%+v: %v", k, err)
		}
	}
	err = s.View(t.Context(), func(tx store.Tx) error {
		if r, err := tx.ByArn(want.Arn); err != nil || r.Name != "a" {
			t.Errorf("by arn: %v, %v", r, err)
		}
		for _, arn := range []string{"", "arn:aws:nothing"} {
			_, err := tx.ByArn(arn)
			wantErr(t, "by arn "+arn, err, store.ErrNotFound)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	del := func() error {
		return s.Update(t.Context(), func(tx store.Tx) error { return tx.Delete(key("a")) })
	}
	if err := del(); err != nil {
		t.Error(err)
	}
	wantErr(t, "delete twice", del(), store.ErrNotFound)
	_, err = s.Get(t.Context(), key("a"))
	wantErr(t, "get what was deleted", err, store.ErrNotFound)
	put(t, s, record("a")) // the name is free again
}

func testVersions(t *testing.T, s store.Store) {
	put(t, s, record("a"))
	fresh := record("a")
	err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Put(fresh) })
	wantErr(t, "put a new record over an old one", err, store.ErrExists)
	if fresh.Version != 0 {
		t.Errorf("version %d after a failed put, want 0", fresh.Version)
	}
	one, two := get(t, s, "a"), get(t, s, "a")
	one.Phase = "Completed"
	put(t, s, one)
	two.Phase = "Failed"
	err = s.Update(t.Context(), func(tx store.Tx) error { return tx.Put(two) })
	wantErr(t, "put over a newer version", err, store.ErrConflict)
	if two.Version != 1 {
		t.Errorf("version %d after a conflict, want 1 as before", two.Version)
	}
	if r := get(t, s, "a"); r.Phase != "Completed" || r.Version != 2 {
		t.Errorf("phase %s, version %d", r.Phase, r.Version)
	}
	gone := record("gone")
	gone.Version = 4
	err = s.Update(t.Context(), func(tx store.Tx) error { return tx.Put(gone) })
	wantErr(t, "put a version of what is not there", err, store.ErrConflict)

	// Twice in one transaction.
	r := get(t, s, "a")
	err = s.Update(t.Context(), func(tx store.Tx) error {
		if err := tx.Put(r); err != nil {
			return err
		}
		return tx.Put(r)
	})
	if err != nil || r.Version != 4 {
		t.Errorf("two puts in a transaction: %v, version %d", err, r.Version)
	}
}

func testRollback(t *testing.T, s store.Store) {
	bad := errors.New("bad")
	put(t, s, record("kept"))
	fresh, old := record("fresh"), get(t, s, "kept")
	err := s.Update(t.Context(), func(tx store.Tx) error {
		if err := tx.Put(fresh); err != nil {
			return err
		}
		if _, err := tx.Get(fresh.Key); err != nil {
			t.Errorf("a transaction does not see its own put: %v", err)
		}
		old.Phase = "Failed"
		if err := tx.Put(old); err != nil {
			return err
		}
		if err := tx.PutTags(old.Arn, map[string]string{"k": "v"}); err != nil {
			return err
		}
		if err := tx.OpenUsage(usage("u", epoch())); err != nil {
			return err
		}
		if err := tx.Delete(old.Key); err != nil {
			return err
		}
		return bad
	})
	wantErr(t, "failing transaction", err, bad)
	if fresh.Version != 0 || old.Version != 1 {
		t.Errorf("versions %d and %d after a rollback, want 0 and 1", fresh.Version, old.Version)
	}
	_, err = s.Get(t.Context(), fresh.Key)
	wantErr(t, "get what was rolled back", err, store.ErrNotFound)
	if r := get(t, s, "kept"); r.Phase != "InProgress" || r.Version != 1 {
		t.Errorf("phase %s, version %d", r.Phase, r.Version)
	}
	if us := listUsage(t, s, resource.UsageQuery{}); len(us) != 0 {
		t.Errorf("usage was kept: %v", us)
	}
	put(t, s, fresh, old)
}

func testTags(t *testing.T, s store.Store) {
	r := record("a")
	put(t, s, r)
	tags := func() (m map[string]string) {
		err := s.View(t.Context(), func(tx store.Tx) (err error) { m, err = tx.Tags(r.Arn); return err })
		if err != nil {
			t.Error(err)
		}
		return m
	}
	do := func(fn func(tx store.Tx) error) {
		t.Helper()
		if err := s.Update(t.Context(), fn); err != nil {
			t.Error(err)
		}
	}
	if m := tags(); m == nil || len(m) != 0 {
		t.Errorf("no tags: %v", m)
	}
	do(func(tx store.Tx) error { return tx.PutTags(r.Arn, map[string]string{"a": "1", "b": "2", "": ""}) })
	do(func(tx store.Tx) error { return tx.PutTags(r.Arn, map[string]string{"b": "3", "c": "4"}) })
	do(func(tx store.Tx) error { return tx.PutTags("arn:other", map[string]string{"x": "y"}) })
	do(func(tx store.Tx) error { return tx.DeleteTags(r.Arn, []string{"a", "nobody"}) })
	if m, want := tags(), map[string]string{"b": "3", "c": "4", "": ""}; !reflect.DeepEqual(m, want) {
		t.Errorf("tags %v, want %v", m, want)
	}
	do(func(tx store.Tx) error { return tx.Delete(r.Key) })
	if m := tags(); len(m) != 0 {
		t.Errorf("tags outlived their record: %v", m)
	}
}

func testReopen(t *testing.T, open Open) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	want := make(map[string]*resource.Record)
	for round := range 4 {
		s, err := open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for name, w := range want {
			if r := get(t, s, name); !reflect.DeepEqual(r, w) {
				t.Errorf("round %d: got %+v, want %+v", round, r, w)
			}
		}
		for i := range 20 {
			r := record(fmt.Sprintf("r%d-%d", round, i))
			put(t, s, r)
			want[r.Name] = r
		}
		for name, w := range want {
			if rng.IntN(3) == 0 {
				w.Phase = fmt.Sprint("P", round)
				put(t, s, w)
			}
			if rng.IntN(10) == 0 {
				if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Delete(w.Key) }); err != nil {
					t.Fatal(err)
				}
				delete(want, name)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
		if err := s.Update(context.Background(), func(store.Tx) error { return nil }); err == nil {
			t.Error("a closed store took a write")
		}
		if _, err := s.Get(context.Background(), key("x")); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("a closed store answered: %v", err)
		}
	}
}
