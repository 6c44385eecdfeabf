package router

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	api "clary/internal/api/sagemakerruntime"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/serving"
)

const (
	maxHeader  = 1024 // as the model bounds what stands in headers
	maxMessage = 2048 // and an error's texts
	maxQuoted  = 1024 // of a container's text within ours
)

var (
	errHeader   = errors.New("a header of the answer is longer than 1024 characters or no visible US-ASCII")
	errTooLarge = errors.New("the answer is larger than it may be")
	errCrowded  = errors.New("there is no room for the answer")
)

// visit is one request on its way.
type visit struct {
	r        *Router
	c        op.Call
	key      resource.Key
	rt       *route
	v        *variant
	at       *instance
	begun    time.Time
	model    time.Duration // of which the containers took
	captured *ask          // what is captured, or nil
	held     int64         // of the room that all share
	lent     []*[]byte     // buffers
	over     atomic.Bool
}

// InvokeEndpoint answers with what the containers of one instance make of the
// body, one after the other.
func (r *Router) InvokeEndpoint(ctx context.Context, c op.Call, in *api.InvokeEndpointInput) (*op.Loan[api.InvokeEndpointOutput], error) {
	if err := unsupported(in.EndpointName, in.TargetModel, in.TargetContainerHostname, in.InferenceComponentName, in.EnableExplanations); err != nil {
		return nil, err
	}
	a := &ask{
		contentType: in.ContentType, accept: in.Accept, attributes: in.CustomAttributes, inference: in.InferenceId,
		session: in.SessionId, prefix: in.PrefixAwareId, body: in.Body,
	}
	v, err := r.begin(ctx, c, in.EndpointName, in.TargetVariant, a)
	if err != nil {
		return nil, err
	}
	out, err := v.through(ctx, a)
	if err != nil {
		v.end(err)
		return nil, err
	}
	return &op.Loan[api.InvokeEndpointOutput]{
		Out: &api.InvokeEndpointOutput{
			Body: out.body, ContentType: out.contentType, InvokedProductionVariant: v.v.name, CustomAttributes: out.attributes,
			NewSessionId: out.newSession, ClosedSessionId: out.closedSession,
		},
		Return: func(kept bool) { // the answer was sent
			v.capture(out.contentType, out.body)
			if kept {
				v.lent = nil
			}
			v.end(nil)
		},
	}, nil
}

// unsupported refuses members that mean something to endpoints of kinds that
// are not served.
func unsupported(endpoint, model, container, component, explanations string) error {
	for _, m := range [...]struct{ value, kind, header string }{
		{model, "a multi-model endpoint", "target model"}, // AWS's words; the others are made alike
		{container, "an endpoint of containers that are invoked directly", "target container hostname"},
		{component, "an endpoint of inference components", "inference component name"},
		{explanations, "an endpoint with an explainer", "enable explanations"},
	} {
		if m.value != "" {
			return apierr.Validation("Endpoint %s is not %s and does not support %s header.", endpoint, m.kind, m.header)
		}
	}
	return nil
}

// begin chooses an instance. What it gives must end.
func (r *Router) begin(ctx context.Context, c op.Call, endpoint, target string, a *ask) (*visit, error) {
	if int64(len(a.body)) > r.cfg.MaxPayload {
		return nil, apierr.Validation("1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less than or equal to %d", r.cfg.MaxPayload)
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	v := &visit{r: r, c: c, key: resource.Key{Account: c.Account, Region: c.Region, Kind: serving.KindEndpoint, Name: endpoint}, begun: c.Received}
	if !v.hold(int64(len(a.body))) {
		return nil, busy()
	}
	var err error
	if v.rt, v.v, v.at, err = r.take(ctx, v.key, target, nil, false); err != nil {
		v.release()
		return nil, err
	}
	if v.sampled() {
		v.captured = a
	}
	op.Alone(ctx)
	return v, nil
}

// hold takes room until the visit ends.
func (v *visit) hold(n int64) bool {
	if !v.r.room.take(n) {
		return false
	}
	v.held += n
	return true
}

func (v *visit) release() {
	v.r.room.give(v.held)
	v.held = 0
	for _, p := range v.lent {
		answers.Put(p)
	}
	v.lent = nil
}

// end counts a visit out; err is what it ended with. It does so once.
func (v *visit) end(err error) {
	if v.over.Swap(true) {
		return
	}
	v.release()
	v.at.count(-1)
	v.v.meter.count(v, err)
	v.v.meter.open.Add(-1)
}

// through asks the containers of an instance one after the other, and of
// another one once if nobody saw the request: what the first container of a
// chain has answered is not asked of it again.
func (v *visit) through(ctx context.Context, a *ask) (*answer, error) {
	deadline := time.Now().Add(v.r.cfg.Timeout)
	out, at, err := v.chain(ctx, a, false, deadline)
	if at == 0 && v.elsewhere(ctx, err) {
		out, at, err = v.chain(ctx, a, true, deadline)
	}
	return v.worded(ctx, out, at, err)
}

// elsewhere moves to another instance if an error lets it.
func (v *visit) elsewhere(ctx context.Context, err error) bool {
	h, ok := errors.AsType[*hopError](err)
	if !ok || !h.again() || ctx.Err() != nil {
		return false
	}
	rt, to, at, err := v.r.take(ctx, v.key, v.v.name, v.at, h.kind == died)
	if err != nil {
		return false
	}
	v.at.count(-1)
	v.v.meter.open.Add(-1)
	v.rt, v.v, v.at = rt, to, at
	return true
}

// chain gives the last container's answer, or the first that is none; at is
// the container's place.
func (v *visit) chain(ctx context.Context, a *ask, fresh bool, deadline time.Time) (out *answer, at int, err error) {
	begun := time.Now()
	defer func() { v.model += time.Since(begun) }()
	for at = range v.at.hosts {
		b := v.asked(a, out, at)
		out, err = anew(ctx, at, fresh, func(fresh bool) (*answer, error) { return v.hop(ctx, v.at.hosts[at], b, fresh, deadline) })
		if err != nil || out.status/100 != 2 {
			break
		}
	}
	return out, at, err
}

// anew asks a container, and a later one of a chain once more by a new
// connection where it closed the kept one as the request came. Whether the first
// one is, and where, is elsewhere's to say.
func anew[T any](ctx context.Context, at int, fresh bool, ask func(fresh bool) (T, error)) (T, error) {
	out, err := ask(fresh)
	if h, ok := errors.AsType[*hopError](err); ok && at > 0 && !fresh && h.kind == died && h.again() && ctx.Err() == nil {
		return ask(true)
	}
	return out, err
}

// asked is what a container of a chain is asked: what the one before it
// answered. Its form is the container's own choice, but for the last one's,
// which the client chooses.
func (v *visit) asked(a *ask, before *answer, at int) *ask {
	last := at == len(v.at.hosts)-1
	if before == nil && last {
		return a
	}
	b := *a
	if before != nil {
		b.contentType, b.body = before.contentType, before.body
	}
	if !last {
		b.accept = ""
	}
	return &b
}

// worded gives an answer that is one, and says else what SageMaker would.
func (v *visit) worded(ctx context.Context, out *answer, at int, err error) (*answer, error) {
	if err == nil {
		if out.status/100 == 2 {
			return out, nil
		}
		return nil, v.modelError(at, out.status, string(out.body))
	}
	h, ok := errors.AsType[*hopError](err)
	if !ok || ctx.Err() != nil {
		return nil, err
	}
	name := v.container(at)
	v.r.log.Debug("invoke", "endpoint", v.key.Name, "variant", v.v.name, "instance", v.at.id, "container", name, "err", err)
	switch h.kind {
	case unconnected:
		return nil, &modelError{apierr.New(http.StatusServiceUnavailable, "ServiceUnavailable", "The container %s of variant %s takes no connections. Its instance is looked after; please try again.", name, v.v.name), 0}
	case crowded:
		return nil, busy()
	case timedOut:
		return nil, v.modelError(at, 0, "Your invocation timed out while waiting for a response from container "+name+". Review the latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again.")
	case died:
		return nil, v.modelError(at, 0, "An error occurred while handling request as the model process exited.")
	case tooLarge:
		return nil, v.modelError(at, 0, "The response of container "+name+" is larger than the "+strconv.FormatInt(v.r.cfg.MaxPayload, 10)+" bytes that it may have.")
	case garbled:
	}
	return nil, v.modelError(at, 0, "The response of container "+name+" is not one: "+clip(err.Error(), maxQuoted)+".")
}

func busy() error {
	return apierr.New(http.StatusServiceUnavailable, "ServiceUnavailable", "The server holds as many requests and responses as it may. Please try again.")
}

// modelError is an error of the model's, with the status that it gave; 0: none.
type modelError struct {
	told   *apierr.Error
	status int
}

func (e *modelError) Error() string { return e.told.Error() }

// Unwrap gives the error that the client gets.
func (e *modelError) Unwrap() error { return e.told }

func (v *visit) modelError(at, status int, message string) error {
	who, name := "server", v.container(at)
	if status/100 == 4 {
		who = "client"
	}
	region, group := v.key.Region, "/aws/sagemaker/Endpoints/"+v.key.Name
	e := apierr.New(http.StatusFailedDependency, "ModelError",
		`Received %s error (%d) from %s with message "%s". See https://%s.console.aws.amazon.com/cloudwatch/home?region=%s#logEventViewer:group=%s in account %s for more information.`,
		who, status, name, clip(message, maxQuoted), region, region, group, v.key.Account)
	e.Fields = map[string]string{
		"OriginalStatusCode": strconv.Itoa(status), "OriginalMessage": clip(message, maxMessage),
		"LogStreamArn": "arn:aws:logs:" + region + ":" + v.key.Account + ":log-group:" + group,
	}
	return &modelError{e, status}
}

// container is a container's name for texts.
func (v *visit) container(at int) string {
	if at < len(v.v.containers) && v.v.containers[at] != "" {
		return v.v.containers[at]
	}
	return "primary"
}

// clip bounds a text that somebody else wrote.
func clip(s string, most int) string {
	s = strings.ToValidUTF8(s[:min(len(s), most)], "\uFFFD")
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

func visible(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

func lower(s string) string { return strings.ToLower(s) }
