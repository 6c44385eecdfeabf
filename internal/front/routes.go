package front

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"clary/internal/aws/action"
	"clary/internal/aws/codec"
	"clary/internal/aws/facts"
	"clary/internal/aws/op"
)

// The protocols, as the models name them.
const (
	protoJSON     = "json"
	protoQuery    = "query"
	protoRESTJSON = "rest-json"
	protoRESTXML  = "rest-xml"
	protoCBOR     = "smithy-rpc-v2-cbor"
)

// service is one served model with the handlers that exist for it.
type service struct {
	name     string
	model    *facts.Model
	handlers map[string]op.Handler
	rest     *restTable // of the REST protocols
	cross    op.CrossOrigin
}

// routes finds service, protocol and operation.
type routes struct {
	services  map[string]*service   // by botocore's name
	byTarget  map[string]*service   // by target prefix
	bySigning map[string][]*service // by signing name
	codecs    map[string]codec.Codec
}

// newRoutes serves every model that is embedded, with or without handlers.
func newRoutes(list []op.Service, codecs map[string]codec.Codec) (*routes, error) {
	rt := &routes{
		services: map[string]*service{}, byTarget: map[string]*service{}, bySigning: map[string][]*service{},
		codecs: codecs,
	}
	for _, name := range facts.Services() {
		m, err := facts.Load(name)
		if err != nil {
			return nil, err
		}
		s := &service{name: name, model: m, handlers: map[string]op.Handler{}}
		rt.services[name] = s
		if m.TargetPrefix != "" {
			rt.byTarget[m.TargetPrefix] = s
		}
		rt.bySigning[m.SigningName] = append(rt.bySigning[m.SigningName], s)
	}
	for _, l := range list {
		s := rt.services[l.Name()]
		if s == nil {
			return nil, fmt.Errorf("service %s has no model", l.Name())
		}
		if c, ok := l.(op.CrossOrigin); ok {
			s.cross = c
		}
		for name, h := range l.Operations() {
			if err := s.add(name, h); err != nil {
				return nil, fmt.Errorf("service %s: %w", s.name, err)
			}
		}
	}
	for _, s := range rt.services {
		if s.model.Protocol == protoRESTXML || s.model.Protocol == protoRESTJSON {
			s.rest = newRestTable(s)
		}
	}
	return rt, nil
}

func (s *service) add(name string, h op.Handler) error {
	o := s.model.Operations[name]
	switch {
	case o == nil:
		return fmt.Errorf("operation %s is not in the model", name)
	case h.Serve == nil || h.In == nil:
		return fmt.Errorf("operation %s: empty handler", name)
	case s.handlers[name].Serve != nil:
		return fmt.Errorf("operation %s has two handlers", name)
	case !fits(h.In, o.Input):
		return fmt.Errorf("operation %s: its input is %s, not %s", name, o.Input.Name, h.In)
	case !fits(h.Out, o.Output):
		return fmt.Errorf("operation %s: its output is %s, not %s", name, o.Output.Name, h.Out)
	}
	s.handlers[name] = h
	return nil
}

// fits compares by name: package api spells a shape's name with a capital.
func fits(t reflect.Type, s *facts.Shape) bool {
	return s == nil || t != nil && t.Kind() == reflect.Struct && t.Name() == facts.GoName(s.Name)
}

// Unserved lists "service:operation" of the models that have no handler.
func (f *Front) Unserved() []string {
	var out []string
	for name, s := range f.routes.services {
		for o := range s.model.Operations {
			if s.handlers[o].Serve == nil {
				out = append(out, name+":"+o)
			}
		}
	}
	slices.Sort(out)
	return out
}

// route is where a request goes. op is nil when the service has no such
// operation; name is what was asked for.
type route struct {
	svc   *service
	proto string
	op    *facts.Operation
	name  string
}

// codec is the protocol's; JSON may have one for each version.
func (rt *routes) codec(proto, contentType string) codec.Codec {
	if v, ok := strings.CutPrefix(contentType, "application/x-amz-json-"); ok && proto == protoJSON {
		v, _, _ = strings.Cut(v, ";")
		if c := rt.codecs[protoJSON+"-"+v]; c != nil {
			return c
		}
	}
	return rt.codecs[proto]
}

// action is the IAM action of a route.
func (r route) action(h op.Handler) string {
	if h.Action != "" {
		return h.Action
	}
	return action.Of(r.svc.model, r.name)
}

// restTable matches method, path and query against a model.
type restTable struct {
	entries []restEntry
	// selectors are the query keys by which operations are told apart: a
	// request that carries one never falls through to an operation that does
	// not know it.
	selectors map[string]bool
	checks    map[*facts.Operation]*restCheck
}

type restEntry struct {
	op       *facts.Operation
	method   string
	segments []string          // of the path: literal, {Name} or {Name+}
	query    map[string]string // literals
	needQ    []string          // required members in the query
	needH    []string          // required members in headers
	knows    map[string]bool   // query keys of this operation
	served   bool
	score    int
}

func newRestTable(s *service) *restTable {
	t := &restTable{selectors: map[string]bool{}, checks: map[*facts.Operation]*restCheck{}}
	for _, name := range slices.Sorted(maps.Keys(s.model.Operations)) {
		o := s.model.Operations[name]
		t.checks[o] = newRestCheck(o)
		path, rawQuery, _ := strings.Cut(o.HTTP.URI, "?")
		e := restEntry{
			op: o, method: o.HTTP.Method, segments: splitPath(path), query: map[string]string{}, knows: map[string]bool{},
			served: s.handlers[name].Serve != nil,
		}
		for p := range strings.SplitSeq(rawQuery, "&") {
			if k, v, _ := strings.Cut(p, "="); k != "" {
				e.query[k] = v
				e.knows[k] = true
				if k != "x-id" {
					t.selectors[k] = true
				}
			}
		}
		if o.Input != nil {
			for _, m := range o.Input.Members {
				switch {
				case m.Location == "querystring":
					e.knows[m.WireName()] = true
					if m.Required {
						e.needQ = append(e.needQ, m.WireName())
						t.selectors[m.WireName()] = true
					}
				case m.Location == "header" && m.Required:
					e.needH = append(e.needH, m.WireName())
				}
			}
		}
		literals := 0
		for _, seg := range e.segments {
			if !strings.HasPrefix(seg, "{") {
				literals++
			}
		}
		e.score = 4*(len(e.query)+len(e.needQ)+literals) + len(e.needH)
		t.entries = append(t.entries, e)
	}
	slices.SortStableFunc(t.entries, func(a, b restEntry) int {
		if c := cmp.Compare(b.score, a.score); c != 0 {
			return c
		}
		if a.served != b.served {
			if a.served {
				return -1
			}
			return 1
		}
		// of two generations of one operation the later has the longer name;
		// the directory buckets' listing shares its path with the general one
		if d := strings.Compare(directory(a), directory(b)); d != 0 {
			return d
		}
		return len(b.op.Name) - len(a.op.Name)
	})
	return t
}

func directory(e restEntry) string {
	if strings.Contains(e.op.Name, "Directory") {
		return "1"
	}
	return "0"
}

func splitPath(p string) []string {
	p = strings.Trim(p, "/")
	if p == "" {
		return nil
	}
	return strings.Split(p, "/")
}

// restRequest is what matching looks at.
type restRequest struct {
	method string
	path   string // as it came, path style
	query  map[string][]string
	header func(string) string
}

var errNoRoute = errors.New("no such operation")

func (t *restTable) match(r restRequest) (*facts.Operation, error) {
	for i := range t.entries {
		if t.entries[i].matches(r, t.selectors) {
			return t.entries[i].op, nil
		}
	}
	return nil, errNoRoute
}

func (e *restEntry) matches(r restRequest, selectors map[string]bool) bool {
	if e.method != r.method || !e.fitsPath(r.path) {
		return false
	}
	for k, v := range e.query {
		got, ok := r.query[k]
		if !ok && k == "x-id" {
			continue
		}
		if !ok || v != "" && !slices.Contains(got, v) {
			return false
		}
	}
	for _, k := range e.needQ {
		if _, ok := r.query[k]; !ok {
			return false
		}
	}
	for _, k := range e.needH {
		if r.header(k) == "" {
			return false
		}
	}
	for k := range r.query {
		if selectors[k] && !e.knows[k] {
			return false
		}
	}
	return true
}

// fitsPath takes keys as they are: "{Key+}" may be anything that is not empty,
// empty segments and a slash at its end included.
func (e *restEntry) fitsPath(path string) bool {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return false
	}
	if len(e.segments) == 0 {
		return rest == ""
	}
	for i, seg := range e.segments {
		if strings.HasSuffix(seg, "+}") {
			return rest != ""
		}
		part, tail, more := strings.Cut(rest, "/")
		if part == "" || !strings.HasPrefix(seg, "{") && seg != part {
			return false
		}
		if i == len(e.segments)-1 {
			return !more || tail == ""
		}
		if !more {
			return false
		}
		rest = tail
	}
	return true
}
