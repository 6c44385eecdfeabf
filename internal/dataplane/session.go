package dataplane

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/identity/browser"
	"clary/internal/resource"
	"clary/internal/store"
)

const (
	// linkKind is a presigned URL, kept until it would have expired; sessionKind
	// a browser that came in by one.
	linkKind    resource.Kind = "NotebookLink"
	sessionKind resource.Kind = "NotebookSession"

	tokenParameter = "authToken" // as AWS's
	linkLife       = 5 * time.Minute

	// AWS's bounds and default of SessionExpirationDurationInSeconds.
	minLife     = 30 * time.Minute
	maxLife     = 12 * time.Hour
	defaultLife = maxLife
)

// link is what a presigned URL stands for.
type link struct {
	V       int                `json:"v"`
	UID     string             `json:"uid"` // of the notebook instance
	Who     resource.Principal `json:"who"`
	Life    int64              `json:"life"` // of the session, in seconds
	Expires time.Time          `json:"expires"`
	Session string             `json:"session,omitempty"` // hash of the session that it was used for
}

// Until implements browser.Ending.
func (l link) Until() time.Time { return l.Expires }

// session is a browser that speaks for somebody.
type session struct {
	V       int                `json:"v"`
	UID     string             `json:"uid"`
	Who     resource.Principal `json:"who"`
	Expires time.Time          `json:"expires"`
}

// Until implements browser.Ending.
func (s session) Until() time.Time { return s.Expires }

var (
	errUsed = errors.New("the link was used before")
	errLink = errors.New("no such link, or it has expired")
)

// URL mints an address that opens a notebook instance for the caller, once,
// within five minutes. life is how long the session lasts that it opens; 0 is
// AWS's default.
func (p *Plane) URL(ctx context.Context, c op.Call, rec *resource.Record, life time.Duration) (string, error) {
	if life == 0 {
		life = defaultLife
	}
	if life < minLife || life > maxLife {
		return "", apierr.Validation("SessionExpirationDurationInSeconds must be between %d and %d.", minLife/time.Second, maxLife/time.Second)
	}
	if rec.Kind != instanceKind || rec.Account != c.Principal.Account {
		return "", apierr.AccessDenied("User: %s is not authorized to perform: %s on resource: %s", c.Principal.Arn, openAction, rec.Arn)
	}
	base, err := p.base(c, rec.UID)
	if err != nil {
		return "", err
	}
	token, now := browser.Token(), p.cfg.Now()
	l := link{V: 1, UID: rec.UID, Who: c.Principal, Life: int64(life / time.Second), Expires: now.Add(linkLife)}
	err = p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		return browser.Put(tx, browser.Key(linkKind, token), rec.UID, l, now)
	})
	return base + "/?" + tokenParameter + "=" + token, err
}

// redeem takes a link. It gives the new session's token and its life, or no
// token for the browser that took the link before, whose cookie is had.
func (p *Plane) redeem(ctx context.Context, a ask, token, had string) (string, time.Duration, error) {
	key, now := browser.Key(linkKind, token), p.cfg.Now()
	l, err := browser.Get[link](ctx, p.cfg.Store, key, now)
	if errors.Is(err, browser.ErrNone) || err == nil && l.UID != a.uid {
		return "", 0, errLink
	}
	if err != nil {
		return "", 0, err
	}
	rec, err := p.find(ctx, a.uid)
	if err != nil {
		return "", 0, err
	}
	if err := p.allowed(ctx, a, l.Who, rec); err != nil {
		return "", 0, err
	}
	fresh := browser.Token()
	err = p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		return p.take(tx, key, rec.Key, a.uid, fresh, had)
	})
	if errors.Is(err, errSame) {
		return "", 0, nil
	}
	return fresh, time.Duration(l.Life) * time.Second, err
}

// errSame ends the transaction in which nothing was to be done.
var errSame = errors.New("the same browser once more")

// take binds a link to a session, if none has it yet and the instance is there
// still: it may have been stopped a moment ago, and its sessions ended.
func (p *Plane) take(tx store.Tx, key, instance resource.Key, uid, fresh, had string) error {
	now := p.cfg.Now()
	r, err := tx.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return errLink
	}
	if err != nil {
		return err
	}
	l, err := browser.Read[link](r, now)
	if errors.Is(err, browser.ErrNone) {
		return errLink
	}
	if err != nil {
		return err
	}
	if l.Session != "" {
		return p.again(tx, l, had)
	}
	rec, err := tx.Get(instance)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err != nil || rec.UID != uid {
		return errNotHere
	}
	if rec.Phase != inService {
		return phaseError{rec.Name, rec.Phase}
	}
	s := session{V: 1, UID: uid, Who: l.Who, Expires: now.Add(time.Duration(l.Life) * time.Second)}
	if err := browser.Put(tx, browser.Key(sessionKind, fresh), uid, s, now); err != nil {
		return err
	}
	l.Session = browser.Hash(fresh)
	if r.Spec, err = json.Marshal(l); err != nil {
		return err
	}
	r.Modified = now
	return tx.Put(r)
}

// again is a link that was used: by this browser, as its cookie shows, or by
// another one.
func (p *Plane) again(tx store.Tx, l link, had string) error {
	if had == "" || browser.Hash(had) != l.Session {
		return errUsed
	}
	r, err := tx.Get(browser.Key(sessionKind, had))
	if errors.Is(err, store.ErrNotFound) {
		return errUsed
	}
	if err != nil {
		return err
	}
	if _, err := browser.Read[session](r, p.cfg.Now()); err != nil {
		return errUsed
	}
	return errSame
}

// Close ends all sessions of a notebook instance, takes back its links and cuts
// what is open. It may be repeated. The instance must not be in service any
// more when it is called, or a link that is being used just now survives it.
func (p *Plane) Close(ctx context.Context, uid string) error {
	var errs []error
	for _, kind := range []resource.Kind{linkKind, sessionKind} {
		errs = append(errs, p.drop(ctx, kind, uid))
	}
	p.cut(uid)
	return errors.Join(errs...)
}

func (p *Plane) drop(ctx context.Context, kind resource.Kind, uid string) error {
	for {
		page, more, err := p.cfg.Store.List(ctx, resource.Query{Kind: kind, Parent: uid, Limit: 1000})
		if err != nil || len(page) == 0 {
			return err
		}
		err = p.cfg.Store.Update(ctx, func(tx store.Tx) error {
			for _, r := range page {
				if err := tx.Delete(r.Key); err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
			}
			return nil
		})
		if err != nil || more == "" {
			return err
		}
	}
}
