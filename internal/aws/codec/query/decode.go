package query

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/aws/codec"
	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
)

// Codec speaks the query protocol.
type Codec struct{}

var _ codec.Codec = Codec{}

// New gives the codec.
func New() Codec { return Codec{} }

// Decode reads and checks a request.
func (Codec) Decode(op *facts.Operation, r *http.Request, body []byte, in any) error {
	if op.Input == nil {
		return nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return malformed("The request body is not a valid form.")
	}
	if r != nil && r.Method == http.MethodGet {
		form = r.URL.Query()
	}
	root, left := &tree{}, maxParts
	for k, v := range form {
		if !root.put(k, v[0], &left) {
			return malformed("The request has too many or too deep parameters.")
		}
	}
	n, err := node("", op.Input, root)
	if err != nil {
		return err
	}
	if err := validate.Input(op.Input, &n); err != nil {
		return err
	}
	if in == nil {
		return nil
	}
	if err := json.Unmarshal(n.AppendJSON(nil), in); err != nil {
		return malformed("The request could not be read.")
	}
	return nil
}

func malformed(format string, args ...any) error {
	return apierr.New(http.StatusBadRequest, "MalformedInput", format, args...)
}

// tree is a form by the parts of its keys.
type tree struct {
	value    *string
	children map[string]*tree
}

// The bounds of a form: what it is taken apart into is many times its size.
const (
	maxParts = 400_000
	maxDepth = 32
)

func (t *tree) put(key, value string, left *int) bool {
	if strings.Count(key, ".") > maxDepth {
		return false
	}
	for part := range strings.SplitSeq(key, ".") {
		if t.children == nil {
			t.children = map[string]*tree{}
		}
		next := t.children[part]
		if next == nil {
			if *left--; *left < 0 {
				return false
			}
			next = &tree{}
			t.children[part] = next
		}
		t = next
	}
	t.value = &value
	return true
}

// numbered gives the children 1, 2, 3 … in order.
func (t *tree) numbered() []*tree {
	if t == nil {
		return nil
	}
	type entry struct {
		n int
		t *tree
	}
	var all []entry
	for k, c := range t.children {
		if n, err := strconv.Atoi(k); err == nil && n > 0 && k[0] != '+' {
			all = append(all, entry{n, c})
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return a.n - b.n })
	out := make([]*tree, len(all))
	for i, e := range all {
		out[i] = e.t
	}
	return out
}

func node(path string, s *facts.Shape, t *tree) (validate.Node, error) {
	switch s.Type {
	case facts.Structure:
		return structure(path, s, t)
	case facts.List:
		n := validate.Node{Kind: validate.Array}
		from := t
		if !s.Flattened {
			from = t.children[elementName(s)]
		}
		for i, c := range from.numbered() {
			item, err := node(fmt.Sprintf("%s.%d.member", path, i+1), s.Element.Shape, c)
			if err != nil {
				return n, err
			}
			n.Items = append(n.Items, item)
		}
		return n, nil
	case facts.Map:
		return entries(path, s, t)
	default:
		if t.value == nil {
			return validate.Node{}, malformed("No value at '%s'.", path)
		}
		return scalar(path, s, *t.value)
	}
}

func elementName(s *facts.Shape) string {
	if s.Element.LocationName != "" {
		return s.Element.LocationName
	}
	return "member"
}

func structure(path string, s *facts.Shape, t *tree) (validate.Node, error) {
	n := validate.Node{Kind: validate.Object}
	for _, m := range s.Members {
		c := t.children[m.WireName()]
		if c == nil {
			continue
		}
		at := m.Name
		if path != "" {
			at = path + "." + m.Name
		}
		v, err := node(at, m.Shape, c)
		if err != nil {
			return n, err
		}
		n.Fields = append(n.Fields, validate.Field{Name: m.Name, Value: v})
	}
	return n, nil
}

func entries(path string, s *facts.Shape, t *tree) (validate.Node, error) {
	n := validate.Node{Kind: validate.Object}
	from := t
	if !s.Flattened {
		from = t.children["entry"]
	}
	key, value := "key", "value"
	if s.Key.LocationName != "" {
		key = s.Key.LocationName
	}
	if s.Value.LocationName != "" {
		value = s.Value.LocationName
	}
	seen := map[string]bool{}
	for _, c := range from.numbered() {
		k, v := c.children[key], c.children[value]
		if k == nil || k.value == nil || v == nil || seen[*k.value] {
			return n, malformed("The map at '%s' has an entry without key or value, or a key twice.", path)
		}
		seen[*k.value] = true
		val, err := node(path+"."+*k.value, s.Value.Shape, v)
		if err != nil {
			return n, err
		}
		n.Fields = append(n.Fields, validate.Field{Name: *k.value, Value: val})
	}
	return n, nil
}

// spelt writes a path as this protocol's own errors do: MetricData.member.1.Value.
func spelt(path string) string {
	parts := strings.Split(path, ".")
	for i := 1; i < len(parts); i++ {
		if parts[i] == "member" {
			parts[i-1], parts[i] = parts[i], parts[i-1]
		}
	}
	return strings.Join(parts, ".")
}

// scalar puts a text on the JSON type of its shape.
func scalar(path string, s *facts.Shape, v string) (validate.Node, error) {
	n, ok := validate.Scalar(s, v)
	if !ok {
		if s.Type == facts.Double || s.Type == facts.Float {
			if f, err := strconv.ParseFloat(v, 64); err == nil || math.IsInf(f, 0) { // no number that can be written
				return n, apierr.New(http.StatusBadRequest, "InvalidParameterValue", "The value %s for parameter %s is invalid.", v, spelt(path))
			}
		}
		return n, malformed("Value '%s' at '%s' is not a valid %s.", v, path, s.Type)
	}
	return n, nil
}
