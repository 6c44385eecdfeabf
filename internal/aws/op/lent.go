package op

import (
	"context"
	"fmt"
	"reflect"
)

// Lent is an output that holds something which goes back once it was sent, such
// as room in memory that was counted.
type Lent interface {
	Output() any
	// Back is called once, when nobody will look at the output any more, or,
	// with kept, when it belongs to who asked from now on.
	Back(kept bool)
}

// Loan is a Lent of a type.
type Loan[Out any] struct {
	Out    *Out
	Return func(kept bool)
}

// Output implements Lent.
func (l *Loan[Out]) Output() any { return l.Out }

// Back implements Lent.
func (l *Loan[Out]) Back(kept bool) { l.Return(kept) }

// Lend makes a Handler of a function whose output is lent.
func Lend[In, Out any](f func(context.Context, Call, *In) (*Loan[Out], error)) Handler {
	return Handler{
		In:  reflect.TypeFor[In](),
		Out: reflect.TypeFor[Out](),
		Serve: func(ctx context.Context, c Call, in any) (any, error) {
			p, ok := in.(*In)
			if !ok {
				return nil, fmt.Errorf("operation %s: input is %T", c.Operation, in)
			}
			out, err := f(ctx, c, p)
			if err != nil {
				return nil, err
			}
			return out, nil
		},
	}
}
