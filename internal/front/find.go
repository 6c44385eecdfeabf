package front

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"clary/internal/aws/apierr"
	"clary/internal/aws/sigv4"
)

// find sets the route by what the request looks like: target, path, form,
// scope, and last its REST path. auth is nil when the request has none that
// can be read.
func (q *request) find(auth *sigv4.Auth) error {
	rt := q.f.routes
	if t := q.r.Header.Get("X-Amz-Target"); t != "" {
		prefix, name := "", t
		if i := strings.LastIndexByte(t, '.'); i >= 0 { // CloudTrail's prefix has dots of its own
			prefix, name = t[:i], t[i+1:]
		}
		q.route = route{svc: rt.byTarget[prefix], proto: protoJSON, name: name}
		return q.known()
	}
	if rest, ok := strings.CutPrefix(q.r.URL.Path, "/service/"); ok && q.r.Header.Get("Smithy-Protocol") != "" {
		prefix, name, _ := strings.Cut(rest, "/operation/")
		q.route = route{svc: rt.byTarget[prefix], proto: protoCBOR, name: name}
		return q.known()
	}
	scope := ""
	if auth != nil {
		scope = auth.Service
	}
	if services := rt.bySigning[scope]; !anyREST(services) && q.isForm() {
		q.route = route{proto: protoQuery}
		if len(services) > 0 {
			q.route.svc = services[0]
		}
		// the operation's name is in the body, which is read when signed
		return nil
	}
	services := rt.bySigning[scope]
	if len(services) == 0 {
		q.route = route{proto: protoRESTXML, svc: rt.services["s3"]}
		if auth == nil {
			return errNoRoute // the signature's error is told
		}
		q.route = route{proto: protoJSON}
		return apierr.New(http.StatusNotFound, "UnknownOperationException", "The service %q is not served here.", scope)
	}
	return q.findREST(services)
}

func (q *request) isForm() bool {
	if q.r.Method == http.MethodPost {
		t, _, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
		return err == nil && t == "application/x-www-form-urlencoded"
	}
	return q.r.Method == http.MethodGet && q.r.URL.Path == "/" && q.r.URL.Query().Has("Action")
}

// anyREST says whether a form may be the body of one of the services' own.
func anyREST(services []*service) bool {
	return slices.ContainsFunc(services, func(s *service) bool { return s.rest != nil })
}

func (q *request) findREST(services []*service) error {
	raw, _, _ := strings.Cut(q.r.RequestURI, "?")
	if q.place.bucket != "" {
		raw = "/" + q.place.bucket + raw
	}
	in := restRequest{method: q.r.Method, path: raw, query: q.r.URL.Query(), header: q.r.Header.Get}
	for _, s := range services {
		if s.rest == nil {
			continue
		}
		q.route = route{svc: s, proto: s.model.Protocol}
		if o, err := s.rest.match(in); err == nil {
			q.route.op, q.route.name = o, o.Name
			return nil
		}
	}
	if q.route.svc == nil {
		q.route = route{svc: services[0], proto: protoJSON}
		return q.known()
	}
	if q.route.proto == protoRESTXML {
		e := apierr.New(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
		e.Fields = map[string]string{"Method": q.r.Method}
		return e
	}
	return q.unknown()
}

// known finds the operation in the service.
func (q *request) known() error {
	if q.route.svc != nil {
		q.route.op = q.route.svc.model.Operations[q.route.name]
	}
	if q.route.op == nil {
		return q.unknown()
	}
	return nil
}

func (q *request) unknown() error {
	if q.route.proto == protoQuery {
		return apierr.New(http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", q.route.name, q.version())
	}
	return apierr.New(http.StatusBadRequest, "UnknownOperationException", "The operation %q is not known.", q.route.name)
}

func (q *request) version() string {
	if q.route.svc == nil {
		return ""
	}
	return q.route.svc.model.APIVersion
}
