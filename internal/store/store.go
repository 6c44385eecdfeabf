// Package store is the contract for durable records. A write that returned is
// on disk; a transaction is all or nothing; two writers never lose each
// other's work. Adapters (sqlite) live below it, and storetest is the suite
// that each of them passes. database/sql is imported nowhere else.
package store

import (
	"context"
	"errors"
	"time"

	"clary/internal/resource"
)

var (
	// ErrNotFound says that there is no such record.
	ErrNotFound = errors.New("record not found")
	// ErrExists says that Put of a new record met one with the same key.
	ErrExists = errors.New("record exists")
	// ErrConflict says that the record changed since it was read. Update
	// retries its function on it, so callers rarely see it.
	ErrConflict = errors.New("record changed meanwhile")
	// ErrToken says that a page token is not one of ours.
	ErrToken = errors.New("invalid page token")
	// ErrLeased says that another owner looks at the record just now.
	ErrLeased = errors.New("record is leased")
	// ErrFull says that the disk is too full to take new work.
	ErrFull = errors.New("disk full")
)

// Store holds records, tags and the usage ledger.
type Store interface {
	Get(ctx context.Context, k resource.Key) (*resource.Record, error) // ErrNotFound
	// List returns one page in keyset order and the token of the next, "" at
	// the end.
	List(ctx context.Context, q resource.Query) ([]*resource.Record, string, error) // ErrToken
	// View reads one consistent snapshot; every writing method of Tx fails in it.
	View(ctx context.Context, fn func(Tx) error) error
	// Update runs fn in a transaction and returns once it is durable. fn may
	// run more than once (ErrConflict is retried), so it has no other effects.
	Update(ctx context.Context, fn func(Tx) error) error
	// Watch delivers the keys of records of these kinds that were put with a
	// due time or changed. Hints only: it may drop and repeat.
	Watch(ctx context.Context, kinds ...resource.Kind) <-chan resource.Key

	// Lease takes up to max records of kind that are due at now and not
	// leased, for owner until the given time.
	Lease(ctx context.Context, kind resource.Kind, owner string, now, until time.Time, max int) ([]*resource.Record, error)
	// Take leases one record whether it is due or not. ErrNotFound, ErrLeased.
	Take(ctx context.Context, k resource.Key, owner string, now, until time.Time) (*resource.Record, error)
	// Renew prolongs a lease. ErrLeased when it is no longer the owner's.
	Renew(ctx context.Context, k resource.Key, owner string, until time.Time) error
	// Release ends a lease and sets when to look again (zero: never), the
	// count of failed looks and the last error, provided that the record's
	// version is still the given one; otherwise it only ends the lease, and
	// the due time that the newer version has stays.
	Release(ctx context.Context, k resource.Key, owner string, version int64, due time.Time, attempts int, lastError string) error
	// NextDue says when the earliest record of kind is due; zero if none. A
	// leased record counts from the end of its lease.
	NextDue(ctx context.Context, kind resource.Kind) (time.Time, error)

	ListUsage(ctx context.Context, q resource.UsageQuery) ([]resource.Usage, error)
	// UsageSince calls f with the account's intervals that were opened, tagged
	// or closed since a place in the ledger's history, each as it is now, and
	// gives the place that this was read up to. From the beginning, 0, it
	// leaves out what does not overlap [from, to). f asks nothing of the store,
	// and does not write to the tags, which intervals may share.
	UsageSince(ctx context.Context, account string, from, to time.Time, since int64, f func(resource.Usage)) (place int64, err error)
	Close() error
}

// Tx is one transaction.
type Tx interface {
	Get(resource.Key) (*resource.Record, error) // ErrNotFound
	ByArn(arn string) (*resource.Record, error) // ErrNotFound
	// Put stores r if its Version is the stored one (0: must not exist), and
	// increments r.Version. ErrConflict, ErrExists.
	Put(r *resource.Record) error
	Delete(resource.Key) error // ErrNotFound; deletes its tags too

	// PutTags adds tags by key; DeleteTags removes keys; Tags reads them all.
	PutTags(arn string, tags map[string]string) error
	DeleteTags(arn string, keys []string) error
	Tags(arn string) (map[string]string, error)

	// OpenUsage starts an interval; opening the same ID again changes nothing.
	OpenUsage(u resource.Usage) error
	// CloseUsage ends it; closing a closed or unknown interval changes nothing.
	CloseUsage(id string, end time.Time) error
	// TagUsage sets the tags of a resource's open intervals. Closed ones keep
	// theirs, and so do requests, which are over when they are made.
	TagUsage(uid string, tags map[string]string) error
}
