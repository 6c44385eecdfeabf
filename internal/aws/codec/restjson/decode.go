package restjson

import (
	"bytes"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/aws/codec"
	"clary/internal/aws/codec/rest"
	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
)

// Codec speaks REST-JSON.
type Codec struct {
	maxPayload int64 // of raw payloads; 0: as the model says
}

var _ codec.Codec = Codec{}

// New gives the codec.
func New() Codec { return Codec{} }

// WithPayload is c with a bound of its own for payloads that are bytes as they
// are, in place of the model's.
func (c Codec) WithPayload(bytes int64) Codec {
	c.maxPayload = bytes
	return c
}

// Decode implements codec.Codec.
func (c Codec) Decode(op *facts.Operation, r *http.Request, body []byte, in any) error {
	if op.Input == nil {
		return nil
	}
	n := validate.Node{Kind: validate.Object}
	if err := fromBody(op, body, &n); err != nil {
		return err
	}
	if err := fromHead(op, r, &n); err != nil {
		return err
	}
	if err := validate.Input(withoutRaw(op.Input), &n); err != nil {
		return err
	}
	if err := c.rawLength(op.Input.Payload, body); err != nil {
		return err
	}
	if in == nil {
		return nil
	}
	if err := json.Unmarshal(n.AppendJSON(nil), in); err != nil {
		return validate.Serialization("The request could not be read.")
	}
	return setRaw(op, r, body, in)
}

// raw says whether a payload is bytes as they are.
func raw(m *facts.Member) bool {
	return m != nil && (m.Shape.Type == facts.Blob || m.Shape.Type == facts.String)
}

// withoutRaw is an input without its raw payload, which is always there and
// whose length is checked by itself.
func withoutRaw(s *facts.Shape) *facts.Shape {
	if !raw(s.Payload) {
		return s
	}
	c := *s
	c.Members = nil
	for _, m := range s.Members {
		if m != s.Payload {
			c.Members = append(c.Members, m)
		}
	}
	return &c
}

func (c Codec) rawLength(m *facts.Member, body []byte) error {
	if !raw(m) || body == nil || m.Shape.Max == nil {
		return nil
	}
	most := c.maxPayload
	if most == 0 {
		most = int64(*m.Shape.Max)
	}
	if int64(len(body)) <= most {
		return nil
	}
	return apierr.Validation("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d",
		strings.ToLower(m.Name[:1])+m.Name[1:], most)
}

func setRaw(op *facts.Operation, r *http.Request, body []byte, in any) error {
	m := op.Input.Payload
	if !raw(m) || reflect.ValueOf(in).Elem().Kind() != reflect.Struct { // policies look at no body
		return nil
	}
	slot := reflect.ValueOf(in).Elem().FieldByName(facts.GoName(m.Name))
	switch {
	case !slot.IsValid():
		return fmt.Errorf("decode %s: no member %s", op.Name, m.Name)
	case slot.Kind() == reflect.Interface:
		slot.Set(reflect.ValueOf(r.Body))
	case slot.Kind() == reflect.String:
		slot.SetString(string(body))
	default:
		slot.SetBytes(body)
	}
	return nil
}

// fromBody adds the members of a JSON body to n.
func fromBody(op *facts.Operation, body []byte, n *validate.Node) error {
	in := op.Input
	if raw(in.Payload) || len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	v, err := validate.ParseJSON(body)
	if err != nil {
		return validate.Serialization("The request body is not valid JSON: %s", strings.TrimPrefix(err.Error(), "jsontext: "))
	}
	if v.Kind == validate.Null {
		return nil
	}
	if in.Payload != nil {
		toMembers(in.Payload.Shape, &v)
		n.Fields = append(n.Fields, validate.Field{Name: in.Payload.Name, Value: v})
		return nil
	}
	if v.Kind != validate.Object {
		return validate.Serialization("Unexpected value type in payload: a structure was expected")
	}
	for _, f := range v.Fields {
		for _, m := range in.Members {
			if m.Location == "" && m.WireName() == f.Name {
				toMembers(m.Shape, &f.Value)
				f.Name = m.Name
				n.Fields = append(n.Fields, f)
				break
			}
		}
	}
	return nil
}

// fromHead adds the members of path, query and headers.
func fromHead(op *facts.Operation, r *http.Request, n *validate.Node) error {
	path, _, _ := strings.Cut(op.HTTP.URI, "?")
	params, ok := rest.Bind(path, r.URL.EscapedPath())
	if !ok {
		return fmt.Errorf("decode %s: path is not its own", op.Name)
	}
	query := r.URL.Query()
	for _, m := range op.Input.Members {
		var v validate.Node
		var found bool
		var err error
		name := m.WireName()
		switch m.Location {
		case "uri":
			text, uerr := url.PathUnescape(params[name])
			if uerr != nil {
				return validate.Serialization("The path is not valid.")
			}
			v, found, err = texts(m, []string{text})
		case "querystring":
			v, found, err = queryMember(op.Input, m, query)
		case "header":
			values := r.Header[textproto.CanonicalMIMEHeaderKey(name)]
			if m.Shape.Type == facts.List {
				values = strings.FieldsFunc(strings.Join(values, ","), func(c rune) bool { return c == ',' || c == ' ' })
			}
			v, found, err = texts(m, values)
		case "headers":
			v, found = headerMap(name, r.Header)
		}
		if err != nil {
			return err
		}
		if found {
			n.Fields = append(n.Fields, validate.Field{Name: m.Name, Value: v})
		}
	}
	return nil
}

// texts reads a member from where only text stands.
func texts(m *facts.Member, values []string) (n validate.Node, found bool, err error) {
	if len(values) == 0 {
		return n, false, nil
	}
	if m.Shape.Type != facts.List {
		n, ok := validate.Scalar(m.Shape, values[0])
		if !ok {
			return n, false, validate.Serialization("Value '%s' of %s is not a valid %s.", values[0], m.WireName(), m.Shape.Type)
		}
		return n, true, nil
	}
	n.Kind = validate.Array
	for _, v := range values {
		item, ok := validate.Scalar(m.Shape.Element.Shape, v)
		if !ok {
			return n, false, validate.Serialization("Value '%s' of %s is not a valid %s.", v, m.WireName(), m.Shape.Element.Shape.Type)
		}
		n.Items = append(n.Items, item)
	}
	return n, true, nil
}

// queryMember reads a value, a list of values, or, for a map, all keys that
// are no member's own.
func queryMember(in *facts.Shape, m *facts.Member, query url.Values) (n validate.Node, found bool, err error) {
	if m.Shape.Type != facts.Map {
		return texts(m, query[m.WireName()])
	}
	n.Kind = validate.Object
	for k, values := range query {
		own := false
		for _, other := range in.Members {
			own = own || other.Location == "querystring" && other != m && other.WireName() == k
		}
		if own {
			continue
		}
		v, found, err := texts(m.Shape.Value, values)
		if err != nil {
			return n, false, err
		}
		if found {
			n.Fields = append(n.Fields, validate.Field{Name: k, Value: v})
		}
	}
	return n, len(n.Fields) > 0, nil
}

func headerMap(prefix string, h http.Header) (n validate.Node, found bool) {
	n.Kind = validate.Object
	for name, values := range h {
		if key, ok := strings.CutPrefix(strings.ToLower(name), strings.ToLower(prefix)); ok && key != "" {
			n.Fields = append(n.Fields, validate.Field{Name: key, Value: validate.Node{Kind: validate.Text, Text: strings.Join(values, ",")}})
		}
	}
	return n, len(n.Fields) > 0
}

// toMembers gives the fields below n the names of the model's members. What the
// model does not have is dropped: its name could be a member's.
func toMembers(s *facts.Shape, n *validate.Node) {
	rename(s, n, func(s *facts.Shape, name string) *facts.Member {
		for _, m := range s.Members {
			if m.WireName() == name {
				return m
			}
		}
		return nil
	}, func(m *facts.Member) string { return m.Name })
}

// toWire gives them the names that they have in JSON.
func toWire(s *facts.Shape, n *validate.Node) {
	rename(s, n, (*facts.Shape).Member, (*facts.Member).WireName)
}

func rename(s *facts.Shape, n *validate.Node, find func(*facts.Shape, string) *facts.Member, name func(*facts.Member) string) {
	for i := range n.Items {
		if s.Element != nil {
			rename(s.Element.Shape, &n.Items[i], find, name)
		}
	}
	kept := n.Fields[:0]
	for _, f := range n.Fields {
		switch s.Type {
		case facts.Map:
			rename(s.Value.Shape, &f.Value, find, name)
		case facts.Structure:
			m := find(s, f.Name)
			if m == nil {
				continue
			}
			f.Name = name(m)
			rename(m.Shape, &f.Value, find, name)
		default: // no shape that has fields: the validator says so
		}
		kept = append(kept, f)
	}
	n.Fields = kept
}
