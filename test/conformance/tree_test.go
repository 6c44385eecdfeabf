package conformance

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
)

// What an answer's bytes say, as the tree that JSON would be: text that is not
// what its shape wants on the wire is an error here, constraints are the
// validator's.

var (
	digits  = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	iso8601 = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$`)
)

// scalarOf reads a scalar's text; clock is the format of timestamps whose
// shape names none.
func scalarOf(s *facts.Shape, text, clock string) (validate.Node, error) {
	n, ok := validate.Node{Kind: validate.Number, Text: text}, true
	switch s.Type { //nolint:exhaustive // the others have no text
	case facts.String:
		n.Kind = validate.Text
	case facts.Boolean:
		n.Kind, ok = validate.False, text == "true" || text == "false"
		if text == "true" {
			n.Kind = validate.True
		}
	case facts.Integer, facts.Long:
		ok = digits.MatchString(text)
	case facts.Float, facts.Double:
		_, err := strconv.ParseFloat(text, 64)
		ok = err == nil
	case facts.Blob:
		_, err := base64.StdEncoding.DecodeString(text)
		n.Kind, ok = validate.Text, err == nil
	case facts.Timestamp:
		var at time.Time
		var err error
		switch clock = or(s.TimestampFormat, clock); clock {
		case "iso8601":
			at, err = time.Parse(time.RFC3339Nano, text)
			ok = err == nil && iso8601.MatchString(text)
		case "rfc822":
			at, err = time.Parse(http.TimeFormat, text)
			ok = err == nil
		default:
			return n, fmt.Errorf("timestamps of format %q are not known", clock)
		}
		n.Text = strconv.FormatInt(at.Unix(), 10)
	default:
		ok = false
	}
	if !ok {
		return n, fmt.Errorf("%q is no %s", text, s.Type)
	}
	return n, nil
}

// headersOf puts the members that stand beside the body into the tree.
func headersOf(s *facts.Shape, a answer, n *validate.Node) error {
	add := func(name string, v validate.Node) {
		n.Fields = append(n.Fields, validate.Field{Name: name, Value: v})
	}
	known := map[string]bool{}
	for _, m := range s.Members {
		switch m.Location {
		case "statusCode":
			add(m.Name, validate.Node{Kind: validate.Number, Text: strconv.Itoa(a.status)})
		case "header":
			known[http.CanonicalHeaderKey(m.WireName())] = true
			all := a.header.Values(m.WireName())
			if len(all) == 0 {
				continue
			}
			v := validate.Node{Kind: validate.Array}
			parts, of := all, m.Shape
			if m.Shape.Type == facts.List {
				parts, of = strings.Split(strings.Join(all, ","), ","), m.Shape.Element.Shape
			}
			for _, p := range parts {
				item, err := scalarOf(of, strings.TrimSpace(p), "rfc822")
				if err != nil {
					return fmt.Errorf("header %s: %w", m.WireName(), err)
				}
				v.Items = append(v.Items, item)
			}
			if m.Shape.Type != facts.List {
				if len(all) > 1 {
					return fmt.Errorf("header %s: %q", m.WireName(), all)
				}
				v = v.Items[0]
			}
			add(m.Name, v)
		case "headers":
			v := validate.Node{Kind: validate.Object}
			for name, all := range a.header {
				if rest, ok := strings.CutPrefix(name, http.CanonicalHeaderKey(m.WireName())); ok {
					known[name] = true
					v.Fields = append(v.Fields, validate.Field{Name: strings.ToLower(rest), Value: validate.Node{Kind: validate.Text, Text: all[0]}})
				}
			}
			add(m.Name, v)
		}
	}
	for name := range a.header {
		if strings.HasPrefix(name, "X-Amz") && !known[name] && !slices.Contains([]string{"X-Amz-Request-Id", "X-Amz-Id-2", "X-Amzn-Requestid"}, name) {
			return fmt.Errorf("the model has no header %s", name)
		}
	}
	return nil
}

// cborTree reads an answer of Smithy RPC v2 CBOR.
func cborTree(s *facts.Shape, body []byte) (validate.Node, error) {
	var v any
	if err := cbor.Unmarshal(body, &v); err != nil {
		return validate.Node{}, err
	}
	return cborNode(s, "", v)
}

func cborNode(s *facts.Shape, path string, v any) (validate.Node, error) {
	ok := false
	n := validate.Node{Kind: validate.Number}
	switch v := v.(type) {
	case map[any]any:
		n.Kind, ok = validate.Object, s.Type == facts.Structure || s.Type == facts.Map
		for k, v := range v {
			name, isText := k.(string)
			if !isText || !ok {
				return n, fmt.Errorf("%s: key %v", path, k)
			}
			to := s.Value
			if s.Type == facts.Structure {
				to = s.Member(name)
			}
			if to == nil {
				return n, fmt.Errorf("the model has no %s.%s", path, name)
			}
			inside, err := cborNode(to.Shape, path+"."+name, v)
			if err != nil {
				return n, err
			}
			n.Fields = append(n.Fields, validate.Field{Name: name, Value: inside})
		}
	case []any:
		n.Kind, ok = validate.Array, s.Type == facts.List
		for i := range v {
			if !ok {
				break
			}
			inside, err := cborNode(s.Element.Shape, path+"[]", v[i])
			if err != nil {
				return n, err
			}
			n.Items = append(n.Items, inside)
		}
	case string:
		n, ok = validate.Node{Kind: validate.Text, Text: v}, s.Type == facts.String
	case []byte:
		n, ok = validate.Node{Kind: validate.Text, Text: b64(v)}, s.Type == facts.Blob
	case bool:
		n.Kind, ok = validate.False, s.Type == facts.Boolean
		if v {
			n.Kind = validate.True
		}
	case uint64, int64:
		n.Text, ok = fmt.Sprint(v), s.Type == facts.Integer || s.Type == facts.Long
	case float64:
		n.Text, ok = strconv.FormatFloat(v, 'g', -1, 64), s.Type == facts.Float || s.Type == facts.Double
	case time.Time: // of tag 1
		n.Text, ok = strconv.FormatInt(v.Unix(), 10), s.Type == facts.Timestamp
	}
	if !ok {
		return n, fmt.Errorf("%s: %T %v is no %s", path, v, v, s.Type)
	}
	return n, nil
}

// xmlTree reads the element that holds the output: the root, or wrapper in it.
func xmlTree(s *facts.Shape, body []byte, root, wrapper string) (validate.Node, error) {
	d := xml.NewDecoder(strings.NewReader(string(body)))
	depth := 0
	for {
		t, err := d.Token()
		if err != nil {
			return validate.Node{}, fmt.Errorf("%s in %s: %w", wrapper, root, err)
		}
		e, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		if depth++; depth == 1 && root != "" && e.Name.Local != root {
			return validate.Node{}, fmt.Errorf("the root is %s, not %s", e.Name.Local, root)
		}
		if depth == 1 && wrapper != "" {
			continue
		}
		if wrapper != "" && e.Name.Local != wrapper {
			return validate.Node{}, fmt.Errorf("%s is %s", wrapper, e.Name.Local)
		}
		n, err := xmlNode(d, e, s, e.Name.Local)
		if err != nil {
			return n, err
		}
		for err == nil {
			_, err = d.Token()
		}
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		return n, nil
	}
}

// xmlNode reads what is in an element of shape s, to its end.
func xmlNode(d *xml.Decoder, start xml.StartElement, s *facts.Shape, path string) (validate.Node, error) {
	n := validate.Node{Kind: validate.Object}
	if s.Type == facts.List {
		n.Kind = validate.Array
	}
	if s.Type == facts.Structure {
		for _, m := range s.Members {
			_, local, _ := strings.Cut(m.WireName(), ":")
			if i := slices.IndexFunc(start.Attr, func(a xml.Attr) bool { return a.Name.Local == local }); m.XMLAttribute && i >= 0 {
				n.Fields = append(n.Fields, validate.Field{Name: m.Name, Value: validate.Node{Kind: validate.Text, Text: start.Attr[i].Value}})
			}
		}
	}
	var text strings.Builder
	for {
		t, err := d.Token()
		if err != nil {
			return n, err
		}
		switch t := t.(type) {
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			if s.Type != facts.Structure && s.Type != facts.List && s.Type != facts.Map {
				n, err := scalarOf(s, text.String(), "iso8601")
				if err != nil {
					return n, fmt.Errorf("%s: %w", path, err)
				}
				return n, nil
			}
			if strings.TrimSpace(text.String()) != "" {
				return n, fmt.Errorf("%s holds the text %q", path, text.String())
			}
			n.Fields = append(n.Fields, empties(s, &n)...)
			return n, nil
		case xml.StartElement:
			if err := xmlChild(d, t, s, path, &n); err != nil {
				return n, err
			}
		}
	}
}

func xmlChild(d *xml.Decoder, e xml.StartElement, s *facts.Shape, path string, n *validate.Node) error {
	name := e.Name.Local
	path += "." + name
	switch s.Type { //nolint:exhaustive // scalars have none
	case facts.List:
		if name == or(s.Element.LocationName, "member") {
			item, err := xmlNode(d, e, s.Element.Shape, path)
			n.Items = append(n.Items, item)
			return err
		}
	case facts.Map:
		if name == "entry" {
			return xmlEntry(d, s, path, n)
		}
	case facts.Structure:
		for _, m := range s.Members {
			wire := m.WireName()
			flat := m.Shape.Type == facts.List && (m.Flattened || m.Shape.Flattened)
			if flat {
				wire = or(m.Shape.Element.LocationName, wire)
			}
			if wire != name || m.Location != "" || m.XMLAttribute {
				continue
			}
			have := n.Get(m.Name)
			if have != nil && !flat {
				return fmt.Errorf("%s is there twice", path)
			}
			to := m.Shape
			if flat {
				to = m.Shape.Element.Shape
			}
			v, err := xmlNode(d, e, to, path)
			if err != nil {
				return err
			}
			switch {
			case !flat:
				n.Fields = append(n.Fields, validate.Field{Name: m.Name, Value: v})
			case have == nil:
				n.Fields = append(n.Fields, validate.Field{Name: m.Name, Value: validate.Node{Kind: validate.Array, Items: []validate.Node{v}}})
			default:
				have.Items = append(have.Items, v)
			}
			return nil
		}
	}
	return fmt.Errorf("the model has no %s", path)
}

// xmlEntry reads one entry of a map.
func xmlEntry(d *xml.Decoder, s *facts.Shape, path string, n *validate.Node) error {
	both := facts.Shape{Type: facts.Structure}
	for _, m := range []*facts.Member{s.Key, s.Value} {
		half := *m
		half.Name = or(m.LocationName, "value")
		if m == s.Key {
			half.Name = or(m.LocationName, "key")
		}
		half.LocationName = ""
		both.Members = append(both.Members, &half)
	}
	v, err := xmlNode(d, xml.StartElement{}, &both, path)
	if err != nil {
		return err
	}
	key, value := v.Get(both.Members[0].Name), v.Get(both.Members[1].Name)
	if key == nil || value == nil {
		return fmt.Errorf("%s lacks its key or value", path)
	}
	n.Fields = append(n.Fields, validate.Field{Name: key.Text, Value: *value})
	return nil
}

// empties are the lists and maps that a structure needs and XML does not show
// while they are empty.
func empties(s *facts.Shape, n *validate.Node) []validate.Field {
	var out []validate.Field
	for _, m := range s.Members {
		if !m.Required || m.Location != "" || n.Get(m.Name) != nil {
			continue
		}
		switch m.Shape.Type { //nolint:exhaustive // the others are shown
		case facts.List:
			out = append(out, validate.Field{Name: m.Name, Value: validate.Node{Kind: validate.Array}})
		case facts.Map:
			out = append(out, validate.Field{Name: m.Name, Value: validate.Node{Kind: validate.Object}})
		}
	}
	return out
}
