package sqlite

import (
	"context"
	"errors"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

type lease struct {
	owner string
	until time.Time
}

// leases are held in memory. The lock is held while due records are read and
// taken, and Release ends a lease only after its write: so a record that was
// just dealt with is never taken again from an older snapshot. It is a channel
// and no mutex because a read may wait, and virtual time stands still while
// somebody waits for a mutex.
type leases struct {
	lock chan struct{} // guards held: who put a value in has it
	held map[resource.Key]lease
}

func (l *leases) enter() { l.lock <- struct{}{} }
func (l *leases) leave() { <-l.lock }

func (l *leases) taken(k resource.Key, now time.Time) bool {
	h, ok := l.held[k]
	return ok && h.until.After(now)
}

// Lease implements store.Store.
func (s *Store) Lease(ctx context.Context, kind resource.Kind, owner string, now, until time.Time, limit int) (out []*resource.Record, err error) {
	if limit <= 0 {
		return nil, nil
	}
	s.leases.enter()
	defer s.leases.leave()
	due, err := s.untaken(ctx, kind, now, limit)
	if err != nil {
		return nil, err
	}
	for _, k := range due {
		r, err := s.Get(context.WithoutCancel(ctx), k)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, err
		case !r.Due.IsZero() && !r.Due.After(now): // nothing happened to it meanwhile
			out = append(out, r)
		}
	}
	for _, r := range out {
		s.leases.held[r.Key] = lease{owner, until}
	}
	return out, nil
}

// untaken finds records that are due and not leased. Those that are may be
// many, and stand before the others: of them only the names are read.
func (s *Store) untaken(ctx context.Context, kind resource.Kind, now time.Time, limit int) (out []resource.Key, err error) {
	err = s.reader(ctx, func(t *tx) error {
		q := t.query(`SELECT account, region, name FROM resource WHERE kind = ? AND due > 0 AND due <= ? ORDER BY due, id`)
		q.text(string(kind))
		q.int(nanos(now))
		for len(out) < limit && q.next() {
			k := resource.Key{Kind: kind, Account: q.str(0), Region: q.str(1), Name: q.str(2)}
			if !s.leases.taken(k, now) {
				out = append(out, k)
			}
		}
		return q.end()
	})
	return out, err
}

// Take implements store.Store.
func (s *Store) Take(ctx context.Context, k resource.Key, owner string, now, until time.Time) (*resource.Record, error) {
	s.leases.enter()
	defer s.leases.leave()
	if s.leases.taken(k, now) {
		return nil, store.ErrLeased
	}
	r, err := s.Get(ctx, k)
	if err != nil {
		return nil, err
	}
	s.leases.held[k] = lease{owner, until}
	return r, nil
}

// Renew implements store.Store.
func (s *Store) Renew(_ context.Context, k resource.Key, owner string, until time.Time) error {
	s.leases.enter()
	defer s.leases.leave()
	if s.leases.held[k].owner != owner {
		return store.ErrLeased
	}
	s.leases.held[k] = lease{owner, until}
	return nil
}

// Release implements store.Store.
func (s *Store) Release(ctx context.Context, k resource.Key, owner string, version int64, due time.Time, attempts int, lastError string) error {
	defer func() {
		s.leases.enter()
		defer s.leases.leave()
		if s.leases.held[k].owner == owner {
			delete(s.leases.held, k)
		}
	}()
	// Most looks change nothing that must be written.
	r, err := s.Get(ctx, k)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case r.Version != version, r.Due.Equal(due) && r.Attempts == attempts && r.LastError == lastError:
		return nil
	}
	s.leases.enter()
	ours := s.leases.held[k].owner == owner
	s.leases.leave()
	if !ours {
		return nil // it ran out, and another looks at the record now
	}
	return s.update(ctx, func(t *tx) error {
		q := t.query(`UPDATE resource SET due = ?, attempts = ?, last_error = ?
			WHERE kind = ? AND account = ? AND region = ? AND name = ? AND version = ?`)
		q.int(nanos(due))
		q.int(int64(attempts))
		q.text(lastError)
		q.key(k)
		q.int(version)
		t.touch(k, touch{})
		return t.note(q.run())
	})
}

// NextDue implements store.Store.
func (s *Store) NextDue(ctx context.Context, kind resource.Kind) (next time.Time, err error) {
	s.leases.enter()
	defer s.leases.leave()
	err = s.reader(ctx, func(t *tx) error {
		q := t.query(`SELECT account, region, name, due FROM resource WHERE kind = ? AND due > 0 ORDER BY due, id`)
		q.text(string(kind))
		for q.next() {
			k := resource.Key{Kind: kind, Account: q.str(0), Region: q.str(1), Name: q.str(2)}
			at := instant(q.num(3))
			if !next.IsZero() && !at.Before(next) {
				break
			}
			h, held := s.leases.held[k]
			if held && h.until.After(at) {
				at = h.until
			}
			if next.IsZero() || at.Before(next) {
				next = at
			}
			if !held {
				break
			}
		}
		return q.end()
	})
	return next, err
}
