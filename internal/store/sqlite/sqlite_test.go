package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "clary.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Virtual time must move past the store: nothing in it may wait for what only
// the outside of a bubble can give.
func TestVirtualTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "clary.db")
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		begin := time.Now()
		k := resource.Key{Account: "1", Region: "r", Kind: "K", Name: "n"}
		for range 100 {
			err := s.Update(context.Background(), func(tx store.Tx) error {
				r, err := tx.Get(k)
				if errors.Is(err, store.ErrNotFound) {
					r = &resource.Record{Key: k, Created: begin}
				} else if err != nil {
					return err
				}
				r.Modified = time.Now()
				return tx.Put(r)
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		r, err := s.Get(context.Background(), k)
		if err != nil {
			t.Fatal(err)
		}
		if r.Version != 100 || !r.Modified.Equal(begin.Add(99*time.Minute)) {
			t.Errorf("version %d, modified %s", r.Version, r.Modified.Sub(begin))
		}
	})
}
