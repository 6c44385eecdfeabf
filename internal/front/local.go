package front

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/aws/validate"
	"clary/internal/identity"
)

// way is how a browser's request reached the console.
type way struct {
	source netip.Addr
	secure bool
}

type wayKey struct{}

// console hands a request for the console's name to it. The console asks
// operations by Call, under the address that the browser has.
func (h *handler) console(w http.ResponseWriter, r *http.Request, c *conn) {
	c.tell(r)
	ctx := r.Context()
	if r.Header.Get("Accept") == "text/event-stream" { // it waits; the browser comes again
		var cancel context.CancelFunc
		ctx, cancel = op.Waiting(ctx)
		defer cancel()
	}
	h.f.cfg.Console.ServeHTTP(w, r.WithContext(context.WithValue(ctx, wayKey{}, way{c.source(), c.scheme == "https"})))
}

// notebook hands on a request for a notebook instance. Bodies and WebSockets
// are as large and as long as they are; a client that stalls is given up as
// everywhere.
func (h *handler) notebook(w http.ResponseWriter, r *http.Request, c *conn) {
	c.tell(r)
	h.f.cfg.Notebook.ServeHTTP(w, r)
}

// tell has a request show TLS as net/http would of a connection that it had
// ended itself.
func (c *conn) tell(r *http.Request) {
	if t, ok := c.Conn.(*tls.Conn); ok {
		state := t.ConnectionState()
		r.TLS = &state
	} else if c.inside != nil {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: c.inside.ServerName}
	}
}

// Serves says whether an operation has behaviour.
func (f *Front) Serves(service, operation string) bool {
	s := f.routes.services[service]
	return s != nil && s.handlers[operation].Serve != nil
}

// Call asks c.Operation of c.Service as a client's request would: validated,
// authorised as c.Principal, recorded and served. in is a pointer to the
// operation's input. The error is an *apierr.Error or a failure of ours.
func (f *Front) Call(ctx context.Context, c op.Call, in any) (any, error) {
	s := f.routes.services[c.Service]
	if s == nil || s.model.Operations[c.Operation] == nil {
		return nil, fmt.Errorf("no operation %s of %s", c.Operation, c.Service)
	}
	q := &request{f: f, call: c, route: route{svc: s, name: c.Operation, op: s.model.Operations[c.Operation], proto: protoJSON}, start: c.Received}
	h := s.handlers[c.Operation]
	if h.Serve == nil {
		return nil, apierr.Unsupported(c.Service, c.Operation)
	}
	if o := q.route.op; o.Input != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Operation, err)
		}
		n, err := validate.ParseJSON(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Operation, err)
		}
		if err := validate.Input(o.Input, &n); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
	if err != nil {
		return nil, err
	}
	by, _ := ctx.Value(wayKey{}).(way)
	q.about = identity.Request{Secure: by.secure, SourceIP: by.source, UserAgent: c.UserAgent, Time: c.Received, Own: q}
	q.r = r.WithContext(identity.WithRequest(ctx, &q.about))
	out, err := q.ask(h, in)
	if l, ok := out.(op.Lent); ok {
		l.Back(true)
	}
	return op.Plain(out), err
}
