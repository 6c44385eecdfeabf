package front

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
)

// restCheck are the members of one operation that the model constrains and
// that stand in headers and query, and the shape of its XML body.
type restCheck struct {
	head []*facts.Member
	body *facts.Shape // nil: none, or one that is bytes
	root bool         // the body's members are the input's own
}

func newRestCheck(o *facts.Operation) *restCheck {
	c := &restCheck{}
	if o.Input == nil {
		return c
	}
	for _, m := range o.Input.Members {
		s := m.Shape
		if s.Type == facts.List {
			s = s.Element.Shape
		}
		constrained := len(s.Enum) > 0 || s.Min != nil || s.Max != nil || s.Pattern != ""
		switch {
		case m.Location == "header" || m.Location == "querystring":
			if constrained {
				c.head = append(c.head, m)
			}
		case m.Location == "" && o.Input.Payload == nil:
			if c.body == nil {
				s := *o.Input // without the members that stand elsewhere
				s.Members = nil
				c.body, c.root = &s, true
			}
			c.body.Members = append(c.body.Members, m)
		}
	}
	if p := o.Input.Payload; p != nil && p.Shape.Type == facts.Structure {
		c.body = p.Shape
	}
	return c
}

// checkREST holds a REST-XML request against the model's constraints, as its
// protocol's errors say it. Handlers have checked what they can word better
// only after this.
func (q *request) checkREST(in any) error {
	c := q.route.svc.rest.checks[q.route.op]
	if c == nil {
		return nil
	}
	if len(c.head) > 0 {
		var query url.Values
		for _, m := range c.head {
			var values []string
			if m.Location == "header" {
				values = q.r.Header.Values(m.WireName())
			} else {
				if query == nil {
					query = q.r.URL.Query()
				}
				values = query[m.WireName()]
			}
			if err := checkValues(m, values); err != nil {
				return err
			}
		}
	}
	if c.body == nil {
		return nil
	}
	n, err := q.bodyNode(c, in)
	if err != nil {
		return err
	}
	if n == nil {
		return nil
	}
	if err := validate.Input(c.body, n); err != nil {
		if strings.Contains(err.Error(), "locationConstraint") {
			return apierr.New(http.StatusBadRequest, "InvalidLocationConstraint", "The specified location-constraint is not valid")
		}
		return malformedXML()
	}
	return nil
}

func malformedXML() error {
	return apierr.New(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

func checkValues(m *facts.Member, values []string) error {
	s := m.Shape
	if s.Type == facts.List {
		s = s.Element.Shape
		var all []string
		for _, v := range values {
			all = append(all, strings.Split(v, ",")...)
		}
		values = all
	}
	for _, v := range values {
		v = strings.TrimSpace(v)
		if v == "" && s.Type != facts.String || v == "" && m.Location == "header" {
			continue // an empty one is none
		}
		text := v
		if s.Pattern != "" {
			if u, err := url.PathUnescape(v); err == nil {
				text = u
			}
		}
		n := validate.Node{Kind: validate.Text, Text: text}
		if s.Type == facts.Integer || s.Type == facts.Long {
			n.Kind = validate.Number
		}
		if bad := validate.Broken(s, &n); len(bad) > 0 {
			return refused(m, s, v)
		}
	}
	return nil
}

// refused is S3's error for a member's value.
func refused(m *facts.Member, s *facts.Shape, value string) error {
	code, text := "InvalidArgument", fmt.Sprintf("Provided %s is not valid", m.WireName())
	switch s.Name {
	case "StorageClass":
		return apierr.New(http.StatusBadRequest, "InvalidStorageClass", "The storage class you specified is not valid")
	case "ChecksumAlgorithm":
		return apierr.New(http.StatusBadRequest, "InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [%s]", strings.Join(s.Enum, ", "))
	case "EncodingType":
		text = "Invalid Encoding Method specified in Request"
	case "MetadataDirective":
		text = "Unknown metadata directive."
	case "TaggingDirective":
		text = "Unknown tagging directive."
	case "ObjectLockMode":
		text = "Unknown wormMode directive."
	case "ObjectLockLegalHoldStatus":
		text = "Legal Hold must be either of 'ON' or 'OFF'"
	case "ObjectAttributes":
		text = "Invalid attribute name specified."
	case "ServerSideEncryption":
		text = "The encryption method specified is not supported"
	case "CopySource", "RenameSource":
		text = "Invalid copy source object key"
	case "ObjectOwnership":
		text = "Invalid x-amz-object-ownership header: " + value
	default:
		if s.Min != nil && s.Max != nil && s.Type == facts.Integer {
			text = fmt.Sprintf("Argument %s must be an integer between %.0f and %.0f", m.WireName(), *s.Min, *s.Max)
		}
	}
	e := apierr.New(http.StatusBadRequest, code, "%s", text)
	e.Fields = map[string]string{"ArgumentName": m.WireName(), "ArgumentValue": value}
	return e
}

// bodyNode is the XML body as the validator sees it; nil when there is none.
// What a handler's codec has decoded is not read twice.
func (q *request) bodyNode(c *restCheck, in any) (*validate.Node, error) {
	if in != nil {
		v := reflect.ValueOf(in).Elem()
		if !c.root {
			v = v.FieldByName(facts.GoName(q.route.op.Input.Payload.Name))
		}
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return nil, nil
			}
			v = v.Elem()
		}
		if len(bytes.TrimSpace(q.body)) == 0 {
			return nil, nil
		}
		n := structNode(c.body, v)
		return &n, nil
	}
	if len(bytes.TrimSpace(q.body)) == 0 {
		return nil, nil
	}
	d := xml.NewDecoder(bytes.NewReader(q.body))
	for {
		t, err := d.Token()
		if err != nil {
			return nil, malformedXML()
		}
		if _, ok := t.(xml.StartElement); ok {
			n, err := elementNode(d, c.body, 0)
			if err != nil {
				return nil, malformedXML()
			}
			return &n, nil
		}
	}
}

// structNode shows a decoded structure; the codec has already refused what
// must be there and is not.
func structNode(s *facts.Shape, v reflect.Value) validate.Node {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch s.Type { //nolint:exhaustive // the others are scalars
	case facts.Structure:
		n := validate.Node{Kind: validate.Object}
		for _, m := range s.Members {
			f := v.FieldByName(facts.GoName(m.Name))
			if !f.IsValid() || m.Location != "" || f.IsZero() && !m.Required {
				continue
			}
			if (f.Kind() == reflect.Pointer || f.Kind() == reflect.Slice) && f.IsNil() {
				if m.Shape.Type == facts.List { // absent and empty are one in XML
					n.Fields = append(n.Fields, validate.Field{Name: m.Name, Value: validate.Node{Kind: validate.Array}})
				}
				continue
			}
			n.Fields = append(n.Fields, validate.Field{Name: m.Name, Value: structNode(m.Shape, f)})
		}
		return n
	case facts.List:
		n := validate.Node{Kind: validate.Array}
		for i := range v.Len() {
			n.Items = append(n.Items, structNode(s.Element.Shape, v.Index(i)))
		}
		return n
	case facts.String:
		return validate.Node{Kind: validate.Text, Text: v.String()}
	case facts.Integer, facts.Long:
		return validate.Node{Kind: validate.Number, Text: fmt.Sprint(v.Interface())}
	case facts.Boolean:
		if v.Bool() {
			return validate.Node{Kind: validate.True}
		}
		return validate.Node{Kind: validate.False}
	}
	// times and bytes have no constraints here
	if s.Type == facts.Blob {
		return validate.Node{Kind: validate.Text}
	}
	return validate.Node{Kind: validate.Number, Text: "0"}
}

const maxXMLDepth = 32

var errNotFit = errors.New("the element does not fit its shape")

// elementNode reads the inside of an element that has begun, by its shape.
// Elements that the shape does not have are left out.
func elementNode(d *xml.Decoder, s *facts.Shape, depth int) (validate.Node, error) {
	n := validate.Node{}
	switch s.Type { //nolint:exhaustive // the others are scalars
	case facts.Structure:
		n.Kind = validate.Object
	case facts.List:
		n.Kind = validate.Array
	}
	if depth > maxXMLDepth {
		return n, errNotFit
	}
	var text strings.Builder
	for {
		t, err := d.Token()
		if err != nil {
			return n, err
		}
		switch t := t.(type) {
		case xml.Directive:
			return n, errNotFit
		case xml.CharData:
			text.Write(t)
		case xml.StartElement:
			if err := childNode(d, s, &n, t.Name.Local, depth); err != nil {
				return n, err
			}
		case xml.EndElement:
			return scalarNode(s, n, text.String())
		}
	}
}

func childNode(d *xml.Decoder, s *facts.Shape, n *validate.Node, name string, depth int) error {
	switch s.Type { //nolint:exhaustive // scalars have no children
	case facts.List:
		item, err := elementNode(d, s.Element.Shape, depth+1)
		n.Items = append(n.Items, item)
		return err
	case facts.Structure:
		for _, m := range s.Members {
			flat := m.Flattened || m.Shape.Flattened
			wire := m.WireName()
			if m.Shape.Type == facts.List && flat && m.Shape.Element.LocationName != "" {
				wire = m.Shape.Element.LocationName
			}
			if wire != name || m.Location != "" || m.XMLAttribute {
				continue
			}
			if m.Shape.Type == facts.List && flat {
				item, err := elementNode(d, m.Shape.Element.Shape, depth+1)
				if err != nil {
					return err
				}
				for i := range n.Fields {
					if n.Fields[i].Name == m.Name {
						n.Fields[i].Value.Items = append(n.Fields[i].Value.Items, item)
						return nil
					}
				}
				n.Fields = append(n.Fields, validate.Field{Name: m.Name, Value: validate.Node{Kind: validate.Array, Items: []validate.Node{item}}})
				return nil
			}
			v, err := elementNode(d, m.Shape, depth+1)
			n.Fields = append(n.Fields, validate.Field{Name: m.Name, Value: v})
			return err
		}
		return d.Skip()
	}
	return errNotFit
}

// scalarNode puts an element's text on the type of its shape.
func scalarNode(s *facts.Shape, n validate.Node, text string) (validate.Node, error) {
	switch s.Type { //nolint:exhaustive // the others are text
	case facts.Structure, facts.List:
		if strings.TrimSpace(text) != "" {
			return n, errNotFit
		}
		return n, nil
	case facts.Boolean:
		switch strings.TrimSpace(text) {
		case "true", "1":
			return validate.Node{Kind: validate.True}, nil
		case "false", "0":
			return validate.Node{Kind: validate.False}, nil
		}
		return n, errNotFit
	case facts.Integer, facts.Long, facts.Float, facts.Double:
		return validate.Node{Kind: validate.Number, Text: strings.TrimSpace(text)}, nil
	case facts.Timestamp:
		return validate.Node{Kind: validate.Number, Text: "0"}, nil
	}
	return validate.Node{Kind: validate.Text, Text: text}, nil
}
