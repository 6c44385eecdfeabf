// Package op is what a codec and a feature agree on: a call that was
// authenticated, and typed handlers by operation name. It knows no wire format.
package op

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"clary/internal/resource"
)

// Call says who asks for what. It is complete before a handler sees it.
type Call struct {
	Account, Region string
	Principal       resource.Principal
	RequestID       string
	Service         string // botocore's name: sagemaker, s3, sts, iam, logs, cloudwatch
	Operation       string
	UserAgent       string
	Host            string // as the client addressed us: scheme://host:port
	FromTask        bool   // arrived through a task's relay
	Received        time.Time
}

// Handler serves one operation. In and Out are struct types of package api.
type Handler struct {
	In, Out reflect.Type
	// Serve gets a *In and returns a *Out, or a Lasting that holds one, or an
	// error (*apierr.Error for the client's eyes; any other becomes
	// InternalFailure and is logged). A payload that is bytes as they are is
	// lent: to keep any of it longer than until it returns, or its events or its
	// Lent have ended, it copies them.
	Serve func(ctx context.Context, c Call, in any) (any, error)
	// Action is the IAM action when it is not service:Operation.
	Action string
	// Resource gives the ARN that the action is checked against; nil is "*".
	Resource func(c Call, in any) string
	// Open says that who has no key may ask as well, with nobody as the call's
	// Principal: the handler decides by what the request knows. It gives the ARN
	// whose account and region the call is of. nil: every request is signed.
	Open func(in any) string
}

// Free as a Handler's Action says that no policy is asked: the handler decides.
const Free = "-"

// Op makes a Handler of a typed function.
func Op[In, Out any](f func(context.Context, Call, *In) (*Out, error)) Handler {
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

// On returns h checked against the ARN that f names.
func On[In any](h Handler, f func(c Call, in *In) string) Handler {
	h.Resource = func(c Call, in any) string {
		if p, ok := in.(*In); ok {
			return f(c, p)
		}
		return "*"
	}
	return h
}

// As returns h checked as the given IAM action.
func (h Handler) As(action string) Handler {
	h.Action = action
	return h
}

// Service is a set of operations of one AWS service. Several rooms may serve
// parts of one service; no two the same operation.
type Service interface {
	Name() string // botocore's name
	Operations() map[string]Handler
}
