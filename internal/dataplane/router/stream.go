package router

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	api "clary/internal/api/sagemakerruntime"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
)

// pieceSize is the most that one event carries.
const pieceSize = 32 << 10

// stream is an answer that goes on.
type stream struct {
	v       *visit
	x       *exchange
	at      int // the container's place
	head    *answer
	body    []byte // of what is captured
	begun   time.Time
	started atomic.Bool
	over    chan struct{} // closed at the end
}

// InvokeEndpointWithResponseStream answers with what the last container of an
// instance says, as it says it.
func (r *Router) InvokeEndpointWithResponseStream(ctx context.Context, c op.Call, in *api.InvokeEndpointWithResponseStreamInput) (*api.InvokeEndpointWithResponseStreamOutput, func(context.Context, func(*api.ResponseStream) error) error, error) {
	if err := unsupported(in.EndpointName, "", in.TargetContainerHostname, in.InferenceComponentName, ""); err != nil {
		return nil, nil, err
	}
	a := &ask{
		contentType: in.ContentType, accept: in.Accept, attributes: in.CustomAttributes, inference: in.InferenceId,
		session: in.SessionId, prefix: in.PrefixAwareId, body: in.Body,
	}
	v, err := r.begin(ctx, c, in.EndpointName, in.TargetVariant, a)
	if err != nil {
		return nil, nil, err
	}
	s, err := v.streams(ctx, a)
	if err != nil {
		v.end(err)
		return nil, nil, err
	}
	context.AfterFunc(ctx, func() { // nobody may ask for the events
		if !s.started.Swap(true) {
			s.end(ctx.Err())
		}
	})
	return &api.InvokeEndpointWithResponseStreamOutput{
		ContentType: s.head.contentType, InvokedProductionVariant: v.v.name, CustomAttributes: s.head.attributes,
	}, s.run, nil
}

// streams asks as through does, but for the last container's body.
func (v *visit) streams(ctx context.Context, a *ask) (*stream, error) {
	deadline := time.Now().Add(v.r.cfg.StreamTimeout)
	if !v.hold(pieceSize) {
		return nil, busy()
	}
	s, out, at, err := v.lead(ctx, a, false, deadline)
	if at == 0 && v.elsewhere(ctx, err) {
		s, out, at, err = v.lead(ctx, a, true, deadline)
	}
	if s != nil {
		return s, nil
	}
	_, err = v.worded(ctx, out, at, err)
	return nil, err
}

// lead goes through a chain up to the head of the last answer; without a stream
// it gives the answer of the container that failed, or an error.
func (v *visit) lead(ctx context.Context, a *ask, fresh bool, deadline time.Time) (s *stream, out *answer, at int, err error) {
	begun := time.Now()
	defer func() {
		if s == nil {
			v.model += time.Since(begun)
		}
	}()
	last := len(v.at.hosts) - 1
	for at = range last {
		b := v.asked(a, out, at)
		out, err = anew(ctx, at, fresh, func(fresh bool) (*answer, error) { return v.hop(ctx, v.at.hosts[at], b, fresh, deadline) })
		if err != nil || out.status/100 != 2 {
			return nil, out, at, err
		}
	}
	b := v.asked(a, out, last)
	x, err := anew(ctx, last, fresh, func(fresh bool) (*exchange, error) { return v.open(ctx, v.at.hosts[last], b, fresh, deadline) })
	if err != nil {
		return nil, nil, last, err
	}
	head, err := answerOf(x.res)
	if err == nil && head.status/100 == 2 {
		return &stream{v: v, x: x, at: last, head: head, begun: begun, over: make(chan struct{})}, nil, last, nil
	}
	defer x.end()
	if err == nil {
		if head.body, err = v.read(x.res); err != nil {
			head.body, err = nil, nil // its status says enough
		}
	}
	return nil, head, last, err
}

// run sends what comes.
func (s *stream) run(ctx context.Context, send func(*api.ResponseStream) error) (err error) {
	if s.started.Swap(true) {
		<-s.over // until then the body is read
		return ctx.Err()
	}
	defer func() { s.end(err) }()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	buf := make([]byte, pieceSize)
	for {
		n, rerr := s.x.res.Body.Read(buf)
		if n > 0 {
			s.keep(buf[:n])
			if err := send(&api.ResponseStream{PayloadPart: &api.PayloadPart{Bytes: buf[:n]}}); err != nil {
				return err
			}
		}
		if errors.Is(rerr, io.EOF) {
			s.x.ended = true
			return nil
		}
		if rerr != nil {
			return s.broken(ctx, rerr)
		}
	}
}

// broken words what ended a stream early.
func (s *stream) broken(ctx context.Context, err error) error {
	h, ok := errors.AsType[*hopError](broken(ctx, err, s.x.l.got, false))
	if !ok {
		return err
	}
	code, text := "StreamBroken", "The connection to container "+s.v.container(s.at)+" ended before its response did."
	if h.kind == timedOut {
		code, text = "ModelInvocationTimeExceeded", "Container "+s.v.container(s.at)+" did not finish its response in time."
	}
	e := apierr.New(http.StatusFailedDependency, "ModelStreamError", "%s", text)
	e.Fields = map[string]string{"ErrorCode": code}
	return &modelError{e, 0}
}

// keep remembers what is captured, while there is room.
func (s *stream) keep(b []byte) {
	c := s.v.rt.capture
	if s.v.captured == nil || !c.Output {
		return
	}
	if int64(len(s.body)+len(b)) > s.v.r.cfg.MaxPayload || !s.v.hold(int64(len(b))) {
		s.v.r.captures.miss()
		s.v.captured, s.body = nil, nil
		return
	}
	s.body = append(s.body, b...)
}

func (s *stream) end(err error) {
	defer close(s.over)
	s.v.model += time.Since(s.begun)
	s.x.end()
	if err == nil {
		s.v.capture(s.head.contentType, s.body)
	}
	s.v.end(err)
}
