package browser

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
)

// ErrNone says that there is no such session or link, or none any more.
var ErrNone = errors.New("no such session")

// Token makes a secret for a cookie or a link.
func Token() string {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// Hash is what a record is named by: who reads the store cannot take a session
// over.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Key is where the record of a token is.
func Key(kind resource.Kind, token string) resource.Key {
	return resource.Key{Kind: kind, Name: Hash(token)}
}

// Ending is what such a record holds.
type Ending interface{ Until() time.Time }

// Put makes a record that ends by itself. ErrExists if there is one.
func Put(tx store.Tx, k resource.Key, parent string, v Ending, now time.Time) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Put(&resource.Record{Key: k, UID: resource.NewUID(), Parent: parent, Created: now, Modified: now, Due: v.Until(), Spec: b})
}

// Read gives what a record holds, unless its time is over.
func Read[T Ending](r *resource.Record, now time.Time) (v T, err error) {
	if err := json.Unmarshal(r.Spec, &v); err != nil {
		return v, err
	}
	if !now.Before(v.Until()) {
		return v, ErrNone
	}
	return v, nil
}

// Get finds a record that is not over.
func Get[T Ending](ctx context.Context, s store.Store, k resource.Key, now time.Time) (v T, err error) {
	r, err := s.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return v, ErrNone
	}
	if err != nil {
		return v, err
	}
	return Read[T](r, now)
}

// Sweep deletes records of one kind when their time is over.
type Sweep struct {
	Store store.Store
	Of    resource.Kind
}

// Kind implements reconcile.Reconciler.
func (s Sweep) Kind() resource.Kind { return s.Of }

// Reconcile implements reconcile.Reconciler.
func (s Sweep) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	var left time.Duration
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(k)
		if err != nil {
			return err
		}
		if left = time.Until(r.Due); left > 0 {
			return nil
		}
		return tx.Delete(k)
	})
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return reconcile.Result{After: max(left, 0)}, err
}
