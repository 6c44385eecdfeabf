package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

func testKey(i int) resource.Key {
	return resource.Key{Account: "1", Region: "r", Kind: "K", Name: fmt.Sprint("n", i)}
}

// onDisk reads past the cache.
func stored(t *testing.T, s *Store, k resource.Key) *resource.Record {
	t.Helper()
	var r *resource.Record
	err := s.reader(context.Background(), func(tx *tx) (err error) {
		r, err = tx.lookup(k)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Writers put, delete, fail, panic and share batches, on few records, while
// readers look: what Get gives never goes back, is never older than what a
// finished write left, and is at the end what the database holds.
func TestCacheIsExact(t *testing.T) {
	t.Parallel()
	s := open(t)
	const keys = 5
	errNo := errors.New("changed my mind")
	var done [keys]struct {
		sync.Mutex
		version int64 // the newest that a write was answered for
	}
	step := func(rng *rand.Rand) {
		i := rng.IntN(keys)
		k := testKey(i)
		var version int64
		func() {
			defer func() { _ = recover() }()
			err := s.Update(context.Background(), func(tx store.Tx) error {
				version = 0
				r, err := tx.Get(k)
				if errors.Is(err, store.ErrNotFound) {
					r, err = &resource.Record{Key: k, UID: resource.NewUID(), Created: time.Now()}, nil
				}
				if err != nil {
					return err
				}
				r.Modified, r.Spec = time.Now(), fmt.Appendf(nil, `{"x":%d}`, rng.IntN(1000))
				if err := tx.Put(r); err != nil {
					return err
				}
				switch rng.IntN(6) {
				case 0:
					return errNo
				case 1:
					panic("boom")
				case 2:
					if err := tx.Put(r); err != nil {
						return err
					}
				}
				version = r.Version
				return nil
			})
			if err != nil && !errors.Is(err, errNo) {
				t.Error(err)
			}
			if err != nil {
				version = 0
			}
		}()
		d := &done[i]
		d.Lock()
		d.version = max(d.version, version)
		d.Unlock()
	}
	stop := make(chan struct{})
	var writers, readers sync.WaitGroup
	for w := range 6 {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for range 150 {
				step(rng)
			}
		})
	}
	for range 3 {
		readers.Go(func() {
			var seen [keys]int64
			for {
				for i := range keys {
					select {
					case <-stop:
						return
					default:
					}
					done[i].Lock()
					least := done[i].version
					done[i].Unlock()
					r, err := s.Get(context.Background(), testKey(i))
					if errors.Is(err, store.ErrNotFound) {
						r, err = &resource.Record{}, nil
					}
					if err != nil {
						t.Error(err)
						return
					}
					if r.Version < least || r.Version < seen[i] {
						t.Errorf("version %d after %d was answered and %d was seen", r.Version, least, seen[i])
						return
					}
					seen[i] = r.Version
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	for i := range keys {
		for range 2 { // from the database or the writer, then from the cache
			r, err := s.Get(context.Background(), testKey(i))
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			if want := stored(t, s, testKey(i)); !reflect.DeepEqual(r, want) {
				t.Errorf("cached %+v, stored %+v", r, want)
			}
		}
	}
}

// A record that was asked for is as stored after every way to change it.
func TestCacheFollows(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := context.Background()
	k := testKey(1)
	look := func(what string) *resource.Record {
		t.Helper()
		r, err := s.Get(ctx, k)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		if want := stored(t, s, k); !reflect.DeepEqual(r, want) {
			t.Errorf("%s: cached %+v, stored %+v", what, r, want)
		}
		return r
	}
	update := func(fn func(tx store.Tx) error) {
		t.Helper()
		if err := s.Update(ctx, fn); err != nil {
			t.Fatal(err)
		}
	}
	look("absent")
	at := time.Now()
	update(func(tx store.Tx) error {
		return tx.Put(&resource.Record{Key: k, UID: "u", Arn: "a", Created: at, Modified: at, Due: at, Spec: []byte(`{}`), Brief: "b"})
	})
	r := look("made")
	r.Phase = "mine alone"
	look("given out")
	// what never changes is not changed by an update that says otherwise
	update(func(tx store.Tx) error {
		r, err := tx.Get(k)
		if err != nil {
			return err
		}
		r.UID, r.Arn, r.Created = "v", "b", at.Add(time.Hour)
		return tx.Put(r)
	})
	if r := look("changed"); r.UID != "u" {
		t.Errorf("uid %s", r.UID)
	}
	if _, err := s.Take(ctx, k, "me", at, at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(ctx, k, "me", 2, at.Add(time.Minute), 3, "why"); err != nil {
		t.Fatal(err)
	}
	if r := look("released"); r.Attempts != 3 || r.LastError != "why" {
		t.Errorf("%+v", r)
	}
	update(func(tx store.Tx) error {
		if err := tx.Delete(k); err != nil {
			return err
		}
		if _, err := tx.Get(k); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("deleted here: %v", err)
		}
		return tx.Put(&resource.Record{Key: k, UID: "w"})
	})
	if r := look("made again"); r.UID != "w" {
		t.Errorf("uid %s", r.UID)
	}
	update(func(tx store.Tx) error { return tx.Delete(k) })
	if look("deleted") != nil {
		t.Error("it is still there")
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache()
	for i := range 20000 {
		k := testKey(i)
		_, _, ticket := c.get(k)
		c.offer(k, &resource.Record{Key: k, Spec: make([]byte, 10<<10)}, ticket)
	}
	total := 0
	for i := range c.shards {
		for _, m := range []map[resource.Key]*resource.Record{c.shards[i].young, c.shards[i].old} {
			for k, r := range m {
				total += size(k, r)
			}
		}
	}
	if total > cacheBytes || total < cacheBytes/4 {
		t.Errorf("%d bytes", total)
	}
	k := testKey(-1)
	_, _, ticket := c.get(k)
	c.offer(k, &resource.Record{Key: k, Spec: make([]byte, cacheRecord)}, ticket)
	if _, known, _ := c.get(k); known {
		t.Error("a large record is kept")
	}
	// a ticket from before a change is worth nothing
	_, _, ticket = c.get(k)
	c.change(map[resource.Key]touch{k: {}})
	c.offer(k, &resource.Record{Key: k}, ticket)
	c.changed(map[resource.Key]touch{k: {}}, true)
	c.offer(k, &resource.Record{Key: k}, ticket)
	if _, known, _ := c.get(k); known {
		t.Error("an old record came back")
	}
}
