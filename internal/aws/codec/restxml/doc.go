// Package restxml is the wire format of S3: members in the path, the query,
// headers and XML bodies, streams, and S3's error documents. It reads the
// model for everything but S3's few habits that no model tells, which are
// named in s3.go. It must never hold a streamed body in memory, nor give an
// error text that is not the client's to see. Start at Codec.
package restxml

import (
	"net/http"
	"reflect"
	"sync"

	"clary/internal/aws/apierr"
	"clary/internal/aws/codec"
	"clary/internal/aws/facts"
)

// Codec is a codec.Codec; New makes it.
type Codec struct {
	plans sync.Map // planKey → *plan
}

var _ codec.Codec = (*Codec)(nil)

// New makes a codec.
func New() *Codec { return &Codec{} }

type planKey struct {
	shape *facts.Shape
	typ   reflect.Type
}

// plan is how one shape lies in one struct.
type plan struct {
	fields []field
	byElem map[string]*field // body members by element name
}

type field struct {
	*facts.Member
	index int
	elem  string // element or header name
	head  string // the same as net/http keeps a header
}

// plan gives the layout of shape in typ, a struct type.
func (c *Codec) plan(shape *facts.Shape, typ reflect.Type) *plan {
	key := planKey{shape, typ}
	if p, ok := c.plans.Load(key); ok {
		return p.(*plan)
	}
	p := &plan{byElem: map[string]*field{}}
	for _, m := range shape.Members {
		sf, ok := typ.FieldByName(facts.GoName(m.Name))
		if !ok || len(sf.Index) != 1 {
			continue
		}
		p.fields = append(p.fields, field{Member: m, index: sf.Index[0], elem: elementName(m), head: http.CanonicalHeaderKey(m.WireName())})
	}
	for i := range p.fields {
		if f := &p.fields[i]; f.Location == "" {
			p.byElem[f.elem] = f
		}
	}
	got, _ := c.plans.LoadOrStore(key, p)
	return got.(*plan)
}

// elementName is what a member is called in XML. A flattened list repeats the
// member's own name, unless the list names its elements.
func elementName(m *facts.Member) string {
	if m.Shape.Type == facts.List && flattened(m) && m.Shape.Element.LocationName != "" {
		return m.Shape.Element.LocationName
	}
	return m.WireName()
}

func flattened(m *facts.Member) bool { return m.Flattened || m.Shape.Flattened }

// streams says whether the member is bytes that are not held in memory.
func streams(m *facts.Member) bool { return m != nil && m.Shape.Type == facts.Blob && m.Streaming }

func malformed() *apierr.Error {
	return apierr.New(http.StatusBadRequest, "MalformedXML",
		"The XML you provided was not well-formed or did not validate against our published schema")
}

func invalidArgument(name, value, format string, args ...any) *apierr.Error {
	e := apierr.New(http.StatusBadRequest, "InvalidArgument", format, args...)
	e.Fields = map[string]string{"ArgumentName": name, "ArgumentValue": value}
	return e
}
