package op

import "context"

// Flight is a request that is being answered, as whoever answers knows it.
type Flight interface {
	// Alone says that the answer needs no record any more.
	Alone()
	// Leaving ends when the server makes way for another one, or ends.
	Leaving() context.Context
}

type flightKey struct{}

// WithFlight gives the handlers below ctx their flight.
func WithFlight(ctx context.Context, f Flight) context.Context {
	return context.WithValue(ctx, flightKey{}, f)
}

// Alone is called by a handler that has read all it needs of the records and
// goes on for long: a server that is replaced gives its data to the next one
// and ends such answers beside it. What stores are asked after it may fail.
func Alone(ctx context.Context) {
	if f, ok := ctx.Value(flightKey{}).(Flight); ok {
		f.Alone()
	}
}

// Waiting is a context for what does nothing but wait: it also ends when the
// server makes way for another one, or ends, which shall not wait for it.
func Waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	f, ok := ctx.Value(flightKey{}).(Flight)
	ctx, cancel := context.WithCancel(ctx)
	if !ok {
		return ctx, cancel
	}
	stop := context.AfterFunc(f.Leaving(), cancel)
	return ctx, func() { stop(); cancel() }
}
