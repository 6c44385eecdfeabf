package front

import (
	"errors"
	"net/http"

	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/aws/sigv4"
)

// unsigned serves what may be asked without a signature: pages and files that
// are for everybody, and by GET the operations whose handlers are Open, which
// are the links in messages. done says that the request was one of these.
func (q *request) unsigned(missing error) (done bool, err error) {
	if e, ok := errors.AsType[*sigv4.Error](missing); !ok || e.Reason != sigv4.Missing {
		return false, nil
	}
	if h := q.f.cfg.Open[q.r.URL.Path]; h != nil {
		q.route = route{proto: protoJSON, name: q.r.URL.Path}
		h.ServeHTTP(q.w, q.r)
		return true, nil
	}
	if q.r.Method != http.MethodGet || !q.isForm() {
		return false, nil
	}
	name := q.r.URL.Query().Get("Action")
	for _, s := range q.f.routes.services {
		if h := s.handlers[name]; h.Open != nil {
			q.route = route{svc: s, proto: protoQuery, name: name}
			q.call.Service, q.call.Operation = s.name, name
			q.nobody = true
			return true, q.dispatch()
		}
	}
	return false, nil
}

// settle says of which account and region an unsigned call is: those of what it
// is about.
func (q *request) settle(h op.Handler, in any) {
	if !q.nobody {
		return
	}
	if a, ok := arn.Parse(h.Open(in)); ok {
		q.call.Account, q.call.Region = a.Account, a.Region
	}
}
