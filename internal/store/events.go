package store

import (
	"context"
	"sync/atomic"

	"clary/internal/resource"
)

// Pending is an event that awaits the change it tells of.
type Pending struct {
	resource.Event
	// Render makes the event's text, once its place and the hash of the event
	// before it (64 zeros before the first) are known.
	Render func(seq int64, previous string) ([]byte, error)
	kept   atomic.Bool
}

// Kept says whether the event is on disk with the change it tells of.
func (p *Pending) Kept() bool { return p.kept.Load() }

// Keep is called by an adapter once the event is on disk.
func (p *Pending) Keep() { p.kept.Store(true) }

type pendingKey struct{}

// WithEvent has the first change that is made under the context, by whatever
// part of the store, append p in its own transaction.
func WithEvent(ctx context.Context, p *Pending) context.Context {
	return context.WithValue(ctx, pendingKey{}, p)
}

// PendingEvent is the event that a change under ctx must append, or nil.
func PendingEvent(ctx context.Context) *Pending {
	p, _ := ctx.Value(pendingKey{}).(*Pending)
	if p == nil || p.Kept() {
		return nil
	}
	return p
}

// Events is the log of calls. Each account and region has a chain of its own:
// an event's text holds the hash of the one before it.
type Events interface {
	// AppendEvent adds an event whose call changed nothing in the store.
	AppendEvent(ctx context.Context, p *Pending) error
	// ListEvents returns one page, newest first, and the token of the next:
	// the chain backwards or, if the query asks for anything, by time.
	ListEvents(ctx context.Context, q resource.EventQuery) ([]resource.Event, string, error) // ErrToken
	// EventHeads lists the chains of an account by their newest events, in the
	// regions' order.
	EventHeads(ctx context.Context, account string) ([]resource.EventHead, error)
}
