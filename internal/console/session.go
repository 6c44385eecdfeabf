package console

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/identity/browser"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
)

const (
	// sessionKind is a browser that signed in; linkKind a sign-in link that
	// was used, kept until it would have expired.
	sessionKind resource.Kind = "ConsoleSession"
	linkKind    resource.Kind = "ConsoleLink"

	sessionLife = 12 * time.Hour // as the AWS console's
)

// session is who a browser speaks for. The principal itself is looked up anew
// for each request, so that a key that is gone opens nothing.
type session struct {
	V            int       `json:"v"`
	AccessKeyID  string    `json:"accessKeyId"`
	SessionToken string    `json:"sessionToken,omitempty"`
	Region       string    `json:"region"`
	Expires      time.Time `json:"expires"`
}

// sessions keeps sign-ins as records. The name is a hash: who reads the store
// cannot take a session over.
type sessions struct {
	store store.Store
	now   func() time.Time
}

func sessionKey(token string) resource.Key { return browser.Key(sessionKind, token) }

// Until implements browser.Ending.
func (s session) Until() time.Time { return s.Expires }

// usedLink is a sign-in link that was taken.
type usedLink struct{ Expires time.Time }

// Until implements browser.Ending.
func (u usedLink) Until() time.Time { return u.Expires }

// begin makes a session and gives the token that a browser keeps.
func (s sessions) begin(ctx context.Context, v session) (string, error) {
	token := browser.Token()
	now := s.now()
	v.V, v.Expires = 1, now.Add(sessionLife)
	return token, s.store.Update(ctx, func(tx store.Tx) error {
		return browser.Put(tx, sessionKey(token), "", v, now)
	})
}

// get finds a session that has not expired.
func (s sessions) get(ctx context.Context, token string) (session, error) {
	if token == "" {
		return session{}, browser.ErrNone
	}
	return browser.Get[session](ctx, s.store, sessionKey(token), s.now())
}

// region changes where a session looks.
func (s sessions) region(ctx context.Context, token, region string) error {
	return s.store.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(sessionKey(token))
		if err != nil {
			return err
		}
		var v session
		if err := json.Unmarshal(r.Spec, &v); err != nil {
			return err
		}
		v.Region = region
		if r.Spec, err = json.Marshal(v); err != nil {
			return err
		}
		r.Modified = s.now()
		return tx.Put(r)
	})
}

// end forgets a session.
func (s sessions) end(ctx context.Context, token string) error {
	err := s.store.Update(ctx, func(tx store.Tx) error { return tx.Delete(sessionKey(token)) })
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// use takes a sign-in link by its signature; false: it was taken before.
func (s sessions) use(ctx context.Context, signature string, until time.Time) (bool, error) {
	err := s.store.Update(ctx, func(tx store.Tx) error {
		return browser.Put(tx, browser.Key(linkKind, signature), "", usedLink{until}, s.now())
	})
	if errors.Is(err, store.ErrExists) {
		return false, nil
	}
	return err == nil, err
}

// Reconcilers sweep what expired.
func Reconcilers(s store.Store) []reconcile.Reconciler {
	return []reconcile.Reconciler{browser.Sweep{Store: s, Of: sessionKind}, browser.Sweep{Store: s, Of: linkKind}}
}
