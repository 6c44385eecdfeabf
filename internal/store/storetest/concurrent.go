package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

type counter struct{ N int }

func increment(r *resource.Record) error {
	c, err := resource.As[counter](r.Status)
	if err != nil {
		return err
	}
	c.N++
	r.Status, err = json.Marshal(c)
	return err
}

func count(t testing.TB, r *resource.Record) int {
	t.Helper()
	c, err := resource.As[counter](r.Status)
	if err != nil {
		t.Fatal(err)
	}
	return c.N
}

// Many writers at once, some of whom fail: no increment is lost, and none of
// a failed one stays.
func testConcurrency(t *testing.T, s store.Store) {
	const writers, each = 32, 40
	bad := errors.New("bad")
	put(t, s, record("a"), record("b"))
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				fails := (w+i)%3 == 0
				err := s.Update(t.Context(), func(tx store.Tx) error {
					for _, name := range []string{"a", "b"} {
						r, err := tx.Get(key(name))
						if err != nil {
							return err
						}
						if err := increment(r); err != nil {
							return err
						}
						if err := tx.Put(r); err != nil {
							return err
						}
						if fails {
							return bad
						}
					}
					return tx.Put(record(fmt.Sprintf("w%d-%d", w, i)))
				})
				if fails != errors.Is(err, bad) || !fails && err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
				if _, err := s.Get(t.Context(), key(fmt.Sprintf("w%d-%d", w, i))); (err == nil) == fails {
					t.Errorf("after the answer: %v", err)
				}
			}
		})
	}
	wg.Wait()
	want := 0
	for w := range writers {
		for i := range each {
			if (w+i)%3 != 0 {
				want++
			}
		}
	}
	for _, name := range []string{"a", "b"} {
		if n := count(t, get(t, s, name)); n != want {
			t.Errorf("%s counts %d, want %d", name, n, want)
		}
	}
}

// A function that read outside its transaction is run again when it came too
// late.
func testConflict(t *testing.T, s store.Store) {
	const writers, each = 4, 25
	put(t, s, record("a"))
	var runs atomic.Int32
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				for {
					err := s.Update(t.Context(), func(tx store.Tx) error {
						runs.Add(1)
						r, err := s.Get(t.Context(), key("a"))
						if err != nil {
							return err
						}
						runtime.Gosched()
						if err := increment(r); err != nil {
							return err
						}
						return tx.Put(r)
					})
					if err == nil {
						break
					}
					if !errors.Is(err, store.ErrConflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if n := count(t, get(t, s, "a")); n != writers*each {
		t.Errorf("counts %d, want %d", n, writers*each)
	}
	t.Logf("%d runs", runs.Load())
}

// A function that never returns takes nothing with it.
func testPanic(t *testing.T, s store.Store) {
	put(t, s, record("a"))
	die := func(how func()) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			_ = s.Update(context.Background(), func(tx store.Tx) error {
				r, err := tx.Get(key("a"))
				if err != nil {
					return err
				}
				r.Phase = "Broken"
				if err := tx.Put(r); err != nil {
					return err
				}
				how()
				return nil
			})
		}()
		<-done
	}
	die(func() { panic("boom") })
	die(runtime.Goexit)
	if r := get(t, s, "a"); r.Phase != "InProgress" {
		t.Errorf("phase %s", r.Phase)
	}
	put(t, s, record("b"))
	func() {
		defer func() { _ = recover() }()
		_ = s.View(context.Background(), func(store.Tx) error { panic("boom") })
	}()
	for range 100 { // no reader is lost
		get(t, s, "b")
	}
}

func testCancel(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Update(ctx, func(tx store.Tx) error { return tx.Put(record("a")) })
	wantErr(t, "update after cancel", err, context.Canceled)
	_, err = s.Get(t.Context(), key("a"))
	wantErr(t, "get", err, store.ErrNotFound)

	// Once begun, a write is answered truly.
	ctx, cancel = context.WithCancel(t.Context())
	err = s.Update(ctx, func(tx store.Tx) error {
		cancel()
		return tx.Put(record("a"))
	})
	_, got := s.Get(t.Context(), key("a"))
	if (err == nil) != (got == nil) {
		t.Errorf("the write answered %v, but the record: %v", err, got)
	}
}

// A snapshot sees whole transactions, and the same ones from begin to end.
func testSnapshot(t *testing.T, s store.Store) {
	put(t, s, record("a"), record("b"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			err := s.Update(t.Context(), func(tx store.Tx) error {
				for _, name := range []string{"a", "b"} {
					r, err := tx.Get(key(name))
					if err != nil {
						return err
					}
					if err := increment(r); err != nil {
						return err
					}
					if err := tx.Put(r); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	last := 0
	for range 200 {
		var seen []int
		err := s.View(t.Context(), func(tx store.Tx) error {
			for _, name := range []string{"a", "b", "a"} {
				r, err := tx.Get(key(name))
				if err != nil {
					return err
				}
				seen = append(seen, count(t, r))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if seen[0] != seen[1] || seen[0] != seen[2] || seen[0] < last {
			t.Fatalf("a snapshot saw %v after %d", seen, last)
		}
		last = seen[0]
	}
	close(stop)
	wg.Wait()

	for what, fn := range map[string]func(store.Tx) error{
		"put":        func(tx store.Tx) error { return tx.Put(record("c")) },
		"delete":     func(tx store.Tx) error { return tx.Delete(key("a")) },
		"tags":       func(tx store.Tx) error { return tx.PutTags("arn", map[string]string{"a": "b"}) },
		"untag":      func(tx store.Tx) error { return tx.DeleteTags("arn", []string{"a"}) },
		"open usage": func(tx store.Tx) error { return tx.OpenUsage(usage("u", epoch())) },
		"end usage":  func(tx store.Tx) error { return tx.CloseUsage("u", epoch()) },
		"tag usage":  func(tx store.Tx) error { return tx.TagUsage("uid-a", map[string]string{"a": "b"}) },
	} {
		if err := s.View(t.Context(), fn); err == nil {
			t.Errorf("%s in a View succeeded", what)
		}
	}
	_, err := s.Get(t.Context(), key("c"))
	wantErr(t, "put in a View", err, store.ErrNotFound)
}

func testWatch(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	things, all := s.Watch(ctx, kind), s.Watch(ctx, kind, "Other")
	_ = s.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.Put(record("rolled-back")), errors.New("bad"))
	})
	other := record("o")
	other.Kind = "Other"
	put(t, s, other)
	put(t, s, record("a"))
	wait := func(c <-chan resource.Key, want string) {
		t.Helper()
		deadline := time.After(10 * time.Second)
		for {
			select {
			case k := <-c:
				if k.Name == "rolled-back" || k.Kind == "Other" && want == "a" && c == things {
					t.Fatalf("hint of %+v", k)
				}
				if k.Name == want {
					if _, err := s.Get(t.Context(), k); err != nil {
						t.Errorf("a hint came before the record: %v", err)
					}
					return
				}
			case <-deadline:
				t.Fatalf("no hint of %s", want)
			}
		}
	}
	wait(things, "a")
	wait(all, "o")
	wait(all, "a")
	cancel()
	deadline := time.After(10 * time.Second)
	for open := true; open; {
		select {
		case _, open = <-things:
		case <-deadline:
			t.Fatal("the channel was not closed after cancel")
		}
	}
	put(t, s, record("after"))
}
