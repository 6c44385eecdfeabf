package front

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"clary/internal/aws/action"
	"clary/internal/aws/op"
	"clary/internal/identity"
)

// describe puts what conditions may ask about the call into its context.
func (q *request) describe() {
	q.about = identity.Request{
		// a task's socket ends inside this machine
		Secure: q.conn.scheme == "https" || q.conn.from == fromTask, SourceIP: q.conn.source(),
		UserAgent: q.r.UserAgent(), Referer: q.r.Referer(), Time: q.start, Own: q,
	}
	// A copy: net/http goes on by its own request's length and body, and takes
	// the rest of a refused body off the connection before it answers.
	q.r = q.r.WithContext(identity.WithRequest(q.r.Context(), &q.about))
}

// source is the address of the client; tasks have none.
func (c *conn) source() netip.Addr {
	if c.raw == nil {
		return netip.Addr{}
	}
	t, ok := c.raw.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return t.AddrPort().Addr().Unmap()
}

// authorize asks whether the principal may do what was decoded, to each
// resource that it is about.
func (q *request) authorize(h op.Handler, resources []string) error {
	name := q.route.action(h)
	if name == op.Free {
		return nil
	}
	for _, r := range resources {
		if err := q.f.cfg.Auth.Allow(q.r.Context(), q.call.Principal, name, r); err != nil {
			return err
		}
	}
	return nil
}

// passRoles asks for what a handler would ask, where there is none.
func (q *request) passRoles() error {
	if q.route.svc.name != "sagemaker" {
		return nil
	}
	for _, role := range action.Roles(q.in) {
		if err := q.f.cfg.Auth.PassRole(q.r.Context(), q.call.Principal, role, "sagemaker.amazonaws.com"); err != nil {
			return err
		}
	}
	return nil
}

func (q *request) resources(h op.Handler) []string {
	if h.Resource != nil {
		return []string{h.Resource(q.call, q.in)}
	}
	in := q.in
	if in == nil {
		in = q.pathMembers()
	}
	return action.Resources(q.call, q.route.op, in)
}

// pathMembers reads bucket and key of an S3 operation that nothing serves.
func (q *request) pathMembers() map[string]string {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(q.r.URL.Path, "/"), "/")
	return map[string]string{"Bucket": bucket, "Key": key}
}

// ConditionKey finds the keys that the request's own members and headers
// decide.
func (q *request) ConditionKey(name string) []string {
	if rest, ok := strings.CutPrefix(name, "s3:"); ok {
		return q.s3Key(rest)
	}
	if q.route.op == nil || q.in == nil {
		return nil
	}
	return action.Key(q.route.op, q.in, name)
}

func (q *request) s3Key(name string) []string {
	query, header := q.r.URL.Query(), q.r.Header
	if q.conn == nil { // it came by Call, and has no URL of its own
		query, header = q.spelled()
	}
	switch name {
	case "prefix", "delimiter":
		return query[name]
	case "max-keys":
		return query[name]
	case "versionid":
		return query["versionId"]
	case "signatureversion":
		if query.Has("AWSAccessKeyId") {
			return []string{"AWS"}
		}
		return []string{"AWS4-HMAC-SHA256"}
	case "authtype":
		if q.conn != nil && header.Get("Authorization") == "" {
			return []string{"REST-QUERY-STRING"}
		}
		return []string{"REST-HEADER"}
	}
	if strings.HasPrefix(name, "x-amz-") {
		return header.Values(name)
	}
	return nil
}

// spelled is what query and header of the input would be on the wire.
func (q *request) spelled() (url.Values, http.Header) {
	query, header := url.Values{}, http.Header{}
	if q.route.op == nil || q.route.op.Input == nil || q.in == nil {
		return query, header
	}
	for _, m := range q.route.op.Input.Members {
		switch v := action.Member(q.in, m.Name); m.Location {
		case "querystring":
			query[m.WireName()] = v
		case "header":
			header[http.CanonicalHeaderKey(m.WireName())] = v
		}
	}
	return query, header
}
