package restxml

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"clary/internal/aws/facts"
)

// Router finds the operation that a request means. Operations that share a
// method and a path differ by literals in the query (?tagging) or by required
// members in query and headers (UploadPart, CopyObject).
type Router struct {
	routes map[string][]route // by method
}

type route struct {
	op       *facts.Operation
	segments []segment
	literals []literal
	query    []string // names of required members
	headers  []string
}

type segment struct {
	text   string // of a fixed segment
	param  string // name of a parameter
	greedy bool
}

type literal struct {
	name, value string
	valued      bool
}

// NewRouter reads the routes of a model.
func NewRouter(m *facts.Model) *Router {
	r := &Router{routes: map[string][]route{}}
	for _, op := range m.Operations {
		r.routes[op.HTTP.Method] = append(r.routes[op.HTTP.Method], newRoute(op))
	}
	for _, list := range r.routes {
		// The most particular first; the name settles what the model cannot.
		slices.SortFunc(list, func(a, b route) int {
			if d := b.weight() - a.weight(); d != 0 {
				return d
			}
			return strings.Compare(a.op.Name, b.op.Name)
		})
	}
	return r
}

func newRoute(op *facts.Operation) route {
	path, query, _ := strings.Cut(op.HTTP.URI, "?")
	r := route{op: op, segments: parsePath(path)}
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, valued := strings.Cut(part, "=")
		r.literals = append(r.literals, literal{name, value, valued})
	}
	if op.Input == nil {
		return r
	}
	for _, m := range op.Input.Members {
		switch {
		case !m.Required:
		case m.Location == "querystring":
			r.query = append(r.query, m.WireName())
		case m.Location == "header":
			r.headers = append(r.headers, m.WireName())
		}
	}
	return r
}

func parsePath(path string) []segment {
	var out []segment
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if part == "" {
			continue
		}
		name, ok := strings.CutPrefix(part, "{")
		if !ok {
			out = append(out, segment{text: part})
			continue
		}
		name = strings.TrimSuffix(name, "}")
		name, greedy := strings.CutSuffix(name, "+")
		out = append(out, segment{param: name, greedy: greedy})
	}
	return out
}

func (r route) weight() int {
	n := 10 * (len(r.literals) + len(r.query) + len(r.headers))
	for _, s := range r.segments {
		if s.param == "" {
			n += 1000
		}
	}
	return n
}

// Match gives the operation of r, nil when the model has none. r's path has
// the bucket in it: see PathStyle.
func (t *Router) Match(r *http.Request) *facts.Operation {
	query := r.URL.Query()
	for _, c := range t.routes[r.Method] {
		if _, ok := bind(c.segments, r.URL.Path); ok && c.fits(query, r.Header) {
			return c.op
		}
	}
	return nil
}

func (r route) fits(query url.Values, header http.Header) bool {
	for _, l := range r.literals {
		if values, ok := query[l.name]; !ok || (l.valued && !slices.Contains(values, l.value)) {
			return false
		}
	}
	for _, name := range r.query {
		if !query.Has(name) {
			return false
		}
	}
	for _, name := range r.headers {
		if len(header.Values(name)) == 0 {
			return false
		}
	}
	return true
}

// bind reads the parameters of a path. Nothing of a key is cleaned: it may
// hold empty segments and dots.
func bind(segments []segment, path string) (map[string]string, bool) {
	rest := strings.TrimPrefix(path, "/")
	params := make(map[string]string, len(segments))
	for _, s := range segments {
		if rest == "" {
			return nil, false
		}
		if s.greedy {
			params[s.param], rest = rest, ""
			continue
		}
		part, tail, _ := strings.Cut(rest, "/")
		if s.param == "" && s.text != part || part == "" {
			return nil, false
		}
		if s.param != "" {
			params[s.param] = part
		}
		rest = tail
	}
	return params, rest == ""
}

// PathStyle gives u with the bucket that the host named put in the path.
func PathStyle(u *url.URL, bucket string) *url.URL {
	out := *u
	out.Path = "/" + bucket + "/" + strings.TrimPrefix(u.Path, "/")
	if u.RawPath != "" {
		out.RawPath = "/" + bucket + "/" + strings.TrimPrefix(u.RawPath, "/")
	}
	return &out
}
