package restxml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strings"

	"clary/internal/aws/facts"
)

// maxDepth is more than any shape nests.
const maxDepth = 32

// decodeRoot reads a document into v. The root may have any name: S3 does not
// look at it, and clients differ.
func (c *Codec) decodeRoot(p *plan, v reflect.Value, body []byte) error {
	d := xml.NewDecoder(bytes.NewReader(body))
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errors.New("not UTF-8") }
	for {
		t, err := d.Token()
		if err != nil {
			return malformed()
		}
		switch t := t.(type) {
		case xml.Directive:
			return malformed() // no DTD is ever needed
		case xml.StartElement:
			r := reading{c, d}
			if err := r.structure(p, v, t, 0); err != nil {
				return malformed()
			}
			return r.end()
		}
	}
}

type reading struct {
	c *Codec
	d *xml.Decoder
}

// end refuses anything behind the root.
func (r reading) end() error {
	for {
		t, err := r.d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return malformed()
		}
		switch t := t.(type) {
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return malformed()
			}
		case xml.Comment, xml.ProcInst:
		default:
			return malformed()
		}
	}
}

var errXML = errors.New("xml does not fit")

func (r reading) structure(p *plan, v reflect.Value, start xml.StartElement, depth int) error {
	if depth > maxDepth {
		return errXML
	}
	for _, a := range start.Attr {
		for i := range p.fields {
			f := &p.fields[i]
			_, local, _ := strings.Cut(f.WireName(), ":")
			if f.XMLAttribute && (a.Name.Local == local || a.Name.Local == f.WireName()) {
				if err := setScalar(v.Field(f.index), f.Member, a.Value); err != nil {
					return err
				}
			}
		}
	}
	seen := map[string]bool{}
	for {
		t, err := r.d.Token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			f := p.byElem[t.Name.Local]
			if f == nil || f.XMLAttribute {
				if err := r.d.Skip(); err != nil {
					return err
				}
				continue
			}
			if err := r.member(f.Member, v.Field(f.index), t, depth+1, seen[f.Name]); err != nil {
				return err
			}
			seen[f.Name] = true
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return errXML
			}
		case xml.EndElement:
			return required(p, seen)
		}
	}
}

// required refuses a structure without a member that it must have. An absent
// list counts as an empty one.
func required(p *plan, seen map[string]bool) error {
	for i := range p.fields {
		f := &p.fields[i]
		if f.Required && f.Location == "" && !f.XMLAttribute && !seen[f.Name] && f.Shape.Type != facts.List {
			return errXML
		}
	}
	return nil
}

// member reads one element; again says that the member was there before.
func (r reading) member(m *facts.Member, v reflect.Value, start xml.StartElement, depth int, again bool) error {
	if m.Shape.Type == facts.List {
		if flattened(m) {
			return r.element(m.Shape.Element, v, start, depth)
		}
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		return r.list(m, v, depth)
	}
	if again {
		return errXML
	}
	return r.value(m, v, start, depth)
}

// element appends one value to the list v.
func (r reading) element(m *facts.Member, v reflect.Value, start xml.StartElement, depth int) error {
	item := reflect.New(v.Type().Elem()).Elem()
	if err := r.value(m, item, start, depth); err != nil {
		return err
	}
	v.Set(reflect.Append(v, item))
	return nil
}

func (r reading) list(m *facts.Member, v reflect.Value, depth int) error {
	name := m.Shape.Element.LocationName
	if name == "" {
		name = "member"
	}
	for {
		t, err := r.d.Token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if t.Name.Local != name {
				return errXML
			}
			if err := r.element(m.Shape.Element, v, t, depth+1); err != nil {
				return err
			}
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return errXML
			}
		case xml.EndElement:
			return nil
		}
	}
}

func (r reading) value(m *facts.Member, v reflect.Value, start xml.StartElement, depth int) error {
	switch m.Shape.Type { //nolint:exhaustive // the others are scalars
	case facts.Structure:
		v = indirect(v)
		if v.Kind() != reflect.Struct {
			return errXML
		}
		return r.structure(r.c.plan(m.Shape, v.Type()), v, start, depth)
	case facts.List:
		return r.list(m, v, depth)
	case facts.Map:
		return errXML // no shape of S3 has one in a body
	}
	s, err := r.text()
	if err != nil {
		return err
	}
	return setScalar(v, m, s)
}

func (r reading) text() (string, error) {
	var b strings.Builder
	for {
		t, err := r.d.Token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.StartElement:
			return "", errXML
		case xml.EndElement:
			return b.String(), nil
		}
	}
}

// writing makes a document.
type writing struct {
	c *Codec
	b *bytes.Buffer
}

func (w writing) open(name, attributes string) {
	w.b.WriteByte('<')
	w.b.WriteString(name)
	w.b.WriteString(attributes)
	w.b.WriteByte('>')
}

func (w writing) close(name string) {
	w.b.WriteString("</")
	w.b.WriteString(name)
	w.b.WriteByte('>')
}

func (w writing) text(s string) {
	if strings.ContainsAny(s, "<>&'\"\t\n\r") || !plain(s) {
		_ = xml.EscapeText(w.b, []byte(s)) // a buffer takes everything
		return
	}
	w.b.WriteString(s)
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7F {
			return false
		}
	}
	return true
}

func (w writing) leaf(name, text string) {
	w.open(name, "")
	w.text(text)
	w.close(name)
}

// members writes what of v belongs into a body.
func (w writing) members(shape *facts.Shape, p *plan, v reflect.Value) {
	for i := range p.fields {
		f := &p.fields[i]
		if f.Location != "" || f.XMLAttribute {
			continue
		}
		slot := v.Field(f.index)
		if f.Shape.Type != facts.List {
			if slot.Kind() == reflect.String && slot.Len() == 0 && emptyToo(shape, f.Name) {
				w.leaf(f.elem, "")
				continue
			}
			w.value(f.Member, f.elem, slot)
			continue
		}
		if flattened(f.Member) {
			for j := range slot.Len() {
				w.value(f.Shape.Element, f.elem, slot.Index(j))
			}
			continue
		}
		w.list(f.Member, f.elem, slot)
	}
}

func (w writing) list(m *facts.Member, name string, v reflect.Value) {
	if v.IsNil() && !m.Required {
		return
	}
	elem := m.Shape.Element.LocationName
	if elem == "" {
		elem = "member"
	}
	w.open(name, "")
	for i := range v.Len() {
		w.value(m.Shape.Element, elem, v.Index(i))
	}
	w.close(name)
}

func (w writing) value(m *facts.Member, name string, v reflect.Value) {
	switch m.Shape.Type { //nolint:exhaustive // the others are scalars
	case facts.Structure:
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return
			}
			v = v.Elem()
		}
		p := w.c.plan(m.Shape, v.Type())
		w.open(name, attributes(m, p, v))
		w.members(m.Shape, p, v)
		w.close(name)
	case facts.List:
		w.list(m, name, v)
	case facts.Map:
	default:
		if s, ok := scalar(v, m); ok || (m.Required && v.Kind() == reflect.String) {
			w.leaf(name, s)
		}
	}
}

// attributes writes the members of v that are attributes, with the namespace
// of their prefix.
func attributes(m *facts.Member, p *plan, v reflect.Value) string {
	var b strings.Builder
	for i := range p.fields {
		f := &p.fields[i]
		if !f.XMLAttribute {
			continue
		}
		s, ok := scalar(v.Field(f.index), f.Member)
		if !ok {
			continue
		}
		ns := m.XMLNamespace
		if ns == "" {
			ns = m.Shape.XMLNamespace
		}
		if prefix, _, ok := strings.Cut(f.WireName(), ":"); ok && ns != "" {
			b.WriteString(" xmlns:" + prefix + `="` + ns + `"`)
		}
		b.WriteString(" " + f.WireName() + `="`)
		_ = xml.EscapeText(&b, []byte(s)) // a builder takes everything
		b.WriteByte('"')
	}
	return b.String()
}
