package op

import (
	"context"
	"reflect"
	"sync/atomic"
)

// Kept is an output that a handler gives many times over: nobody writes to Out
// any more, and its encoding stays with it.
type Kept[Out any] struct {
	Out  *Out
	json atomic.Pointer[[]byte]
}

// Lasting is a Kept of any type.
type Lasting interface {
	Output() any
	// JSON gives the encoding, which make makes when there is none yet.
	JSON(make func(out any) ([]byte, error)) ([]byte, error)
}

// Output is the typed output.
func (k *Kept[Out]) Output() any { return k.Out }

// JSON implements Lasting.
func (k *Kept[Out]) JSON(encode func(out any) ([]byte, error)) ([]byte, error) {
	if b := k.json.Load(); b != nil {
		return *b, nil
	}
	b, err := encode(k.Out)
	if err == nil {
		k.json.Store(&b)
	}
	return b, err
}

// Keep makes a Handler of a function whose output lasts.
func Keep[In, Out any](f func(context.Context, Call, *In) (*Kept[Out], error)) Handler {
	h := Op(f)
	h.Out = reflect.TypeFor[Out]()
	return h
}

// Plain is an output as handlers of the usual kind give it.
func Plain(out any) any {
	switch k := out.(type) {
	case Lasting:
		return k.Output()
	case Lent:
		return k.Output()
	}
	return out
}
