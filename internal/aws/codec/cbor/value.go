package cbor

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
)

// timeTag marks epoch seconds.
const timeTag = 1

// plain is a parser's error without the name of the package that made it.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "cbor: ") }

func mismatch(s *facts.Shape, v any) error {
	got := "a value"
	switch v.(type) {
	case string:
		got = "a text string"
	case []byte:
		got = "a byte string"
	case uint64, int64:
		got = "an integer"
	case float64:
		got = "a floating-point number"
	case bool:
		got = "a boolean"
	case time.Time:
		got = "a timestamp"
	case []any:
		got = "a list"
	case map[any]any:
		got = "a map"
	case cbor.Tag:
		got = "a tagged value"
	}
	return validate.Serialization("%s can not be converted to %s %s", got, article(s.Type), s.Type)
}

func article(t facts.Type) string {
	if t == facts.Integer {
		return "an"
	}
	return "a"
}

// node puts a decoded value on its shape. Members that the shape does not have
// are dropped, and null is absence.
func node(s *facts.Shape, v any) (validate.Node, error) {
	if v == nil {
		return validate.Node{Kind: validate.Null}, nil
	}
	switch s.Type {
	case facts.Structure, facts.Map:
		m, ok := v.(map[any]any)
		if !ok {
			return validate.Node{}, mismatch(s, v)
		}
		return object(s, m)
	case facts.List:
		list, ok := v.([]any)
		if !ok {
			return validate.Node{}, mismatch(s, v)
		}
		n := validate.Node{Kind: validate.Array, Items: make([]validate.Node, len(list))}
		for i := range list {
			var err error
			if n.Items[i], err = node(s.Element.Shape, list[i]); err != nil {
				return n, err
			}
		}
		return n, nil
	default:
		n, ok := scalar(s.Type, v)
		if !ok {
			return n, mismatch(s, v)
		}
		return n, nil
	}
}

func object(s *facts.Shape, m map[any]any) (validate.Node, error) {
	byName := make(map[string]any, len(m))
	for k, v := range m {
		name, ok := k.(string)
		if !ok {
			return validate.Node{}, validate.Serialization("The key of a map must be a text string.")
		}
		byName[name] = v
	}
	n := validate.Node{Kind: validate.Object}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		to := s.Value
		if s.Type == facts.Structure {
			to = s.Member(name)
		}
		if to == nil {
			continue
		}
		v, err := node(to.Shape, byName[name])
		if err != nil {
			return n, err
		}
		n.Fields = append(n.Fields, validate.Field{Name: name, Value: v})
	}
	return n, nil
}

// scalar takes numbers of any width: a sender may choose the shortest form.
func scalar(t facts.Type, v any) (validate.Node, bool) {
	number := func(text string) (validate.Node, bool) {
		return validate.Node{Kind: validate.Number, Text: text}, true
	}
	switch x := v.(type) {
	case string:
		return validate.Node{Kind: validate.Text, Text: x}, t == facts.String
	case []byte:
		return validate.Node{Kind: validate.Text, Text: base64.StdEncoding.EncodeToString(x)}, t == facts.Blob
	case bool:
		n := validate.Node{Kind: validate.False}
		if x {
			n.Kind = validate.True
		}
		return n, t == facts.Boolean
	case uint64:
		if numeric(t) {
			return number(strconv.FormatUint(x, 10))
		}
	case int64:
		if numeric(t) {
			return number(strconv.FormatInt(x, 10))
		}
	case float64:
		whole := x == math.Trunc(x) && math.Abs(x) < 1<<53
		switch {
		case !numeric(t) || math.IsNaN(x) || math.IsInf(x, 0):
		case t == facts.Float || t == facts.Double:
			return number(strconv.FormatFloat(x, 'g', -1, 64))
		case whole:
			return number(strconv.FormatInt(int64(x), 10))
		}
	case time.Time:
		const end = 253402300800 // the year 10000; NaN is the zero time
		if t == facts.Timestamp && !x.IsZero() && x.Unix() < end && x.Unix() > -end {
			return number(seconds(x))
		}
	}
	return validate.Node{}, false
}

func numeric(t facts.Type) bool {
	return t == facts.Integer || t == facts.Long || t == facts.Float || t == facts.Double
}

// seconds are epoch seconds to the millisecond.
func seconds(t time.Time) string {
	ms := t.Round(time.Millisecond).UnixMilli()
	sign := ""
	if ms < 0 {
		sign, ms = "-", -ms
	}
	return fmt.Sprintf("%s%d.%03d", sign, ms/1000, ms%1000)
}

// value is the CBOR value of a JSON tree that fits s.
func value(s *facts.Shape, n *validate.Node) (any, error) {
	switch n.Kind {
	case validate.True:
		return true, nil
	case validate.False:
		return false, nil
	case validate.Text:
		if s.Type == facts.Blob {
			return base64.StdEncoding.DecodeString(n.Text)
		}
		return n.Text, nil
	case validate.Number:
		return numberValue(s.Type, n.Text)
	case validate.Array:
		out := make([]any, len(n.Items))
		for i := range n.Items {
			var err error
			if out[i], err = value(s.Element.Shape, &n.Items[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case validate.Object:
		out := make(map[string]any, len(n.Fields))
		for i := range n.Fields {
			f := &n.Fields[i]
			to := s.Value
			if s.Type == facts.Structure {
				to = s.Member(f.Name)
			}
			if to == nil {
				return nil, fmt.Errorf("shape %s has no member %s", s.Name, f.Name)
			}
			v, err := value(to.Shape, &f.Value)
			if err != nil {
				return nil, err
			}
			out[f.Name] = v
		}
		return out, nil
	default:
		return nil, nil //nolint:nilnil // CBOR's null
	}
}

func numberValue(t facts.Type, text string) (any, error) {
	switch t { //nolint:exhaustive // the others are no numbers
	case facts.Integer, facts.Long:
		return strconv.ParseInt(text, 10, 64)
	case facts.Timestamp:
		if whole, err := strconv.ParseInt(text, 10, 64); err == nil {
			return cbor.Tag{Number: timeTag, Content: whole}, nil
		}
		f, err := strconv.ParseFloat(text, 64)
		return cbor.Tag{Number: timeTag, Content: f}, err
	default:
		return strconv.ParseFloat(text, 64)
	}
}
