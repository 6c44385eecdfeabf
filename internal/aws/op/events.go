package op

import (
	"context"
	"fmt"
	"reflect"
)

// Events is an output that goes on: its events are sent as they come.
type Events interface {
	// Each calls send with each event, a pointer to a struct of which one
	// member is set, until the session is over, ctx ends or send fails. An
	// *apierr.Error that the stream's model names is sent as its last event.
	Each(ctx context.Context, send func(event any) error) error
	// Head is a pointer to the output's struct with the members beside the
	// stream, or nil.
	Head() any
}

type eventsOf[Event any] struct {
	head any
	run  func(ctx context.Context, send func(*Event) error) error
}

// Head implements Events.
func (e eventsOf[Event]) Head() any { return e.head }

// Each implements Events.
func (e eventsOf[Event]) Each(ctx context.Context, send func(event any) error) error {
	return e.run(ctx, func(v *Event) error { return send(v) })
}

// Session is Stream of an operation whose output is the stream alone.
func Session[In, Out, Event any](f func(context.Context, Call, *In) (run func(ctx context.Context, send func(*Event) error) error, err error)) Handler {
	return Stream(func(ctx context.Context, c Call, in *In) (*Out, func(ctx context.Context, send func(*Event) error) error, error) {
		run, err := f(ctx, c, in)
		return nil, run, err
	})
}

// Stream makes a Handler of a function that begins a session: what can be
// refused is refused before there is an answer, and the function that it gives
// back, which is called in any case, sends the events.
func Stream[In, Out, Event any](f func(context.Context, Call, *In) (head *Out, run func(ctx context.Context, send func(*Event) error) error, err error)) Handler {
	return Handler{
		In:  reflect.TypeFor[In](),
		Out: reflect.TypeFor[Out](),
		Serve: func(ctx context.Context, c Call, in any) (any, error) {
			p, ok := in.(*In)
			if !ok {
				return nil, fmt.Errorf("operation %s: input is %T", c.Operation, in)
			}
			head, run, err := f(ctx, c, p)
			if err != nil {
				return nil, err
			}
			e := eventsOf[Event]{run: run}
			if head != nil {
				e.head = head
			}
			return e, nil
		},
	}
}
