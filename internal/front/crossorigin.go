package front

import (
	"net/http"

	"clary/internal/aws/op"
)

// crossOrigin tells a page of another origin what a bucket's own rules allow.
// It answers a preflight, which nobody signs, and then says done. Of any other
// request the rules add headers to the answer, and decide nothing else.
func (q *request) crossOrigin() (done bool, err error) {
	preflight := q.r.Method == http.MethodOptions
	origin := q.r.Header.Get("Origin")
	if origin == "" && !preflight {
		return false, nil
	}
	s := q.f.routes.services["s3"]
	if s == nil || s.cross == nil || !preflight && q.route.svc != s {
		return false, nil
	}
	c := op.Cross{Path: q.r.URL.Path, Origin: origin, Method: q.r.Method, Preflight: preflight}
	if q.place.bucket != "" {
		c.Path = "/" + q.place.bucket + c.Path
	}
	if preflight {
		q.route = route{proto: protoRESTXML, svc: s, name: "OPTIONS"}
		c.Method, c.Headers = q.r.Header.Get("Access-Control-Request-Method"), q.r.Header.Get("Access-Control-Request-Headers")
	}
	headers, err := s.cross.CrossOrigin(q.r.Context(), c)
	if err != nil {
		return preflight, err
	}
	for name, value := range headers {
		q.w.Header().Set(name, value)
	}
	if preflight {
		q.w.Header().Set("Content-Length", "0")
		q.w.WriteHeader(http.StatusOK)
	}
	return preflight, nil
}
