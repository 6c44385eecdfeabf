// Package validate holds a request against the facts of the service model:
// first that each value has the JSON type that its shape wants, then every
// constraint, and says what is wrong in AWS's words. It looks at the request as
// the client wrote it, so that what is absent and what is zero stay apart. It
// knows no service and no rule that the model does not state. Start at Input.
package validate

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
)

// maxMessage bounds the text of one error; the count in it stays exact.
const maxMessage = 64 << 10

// Input checks n against the input shape s, nil for an operation without
// input. The error is an *apierr.Error: SerializationException when a value
// has the wrong type, else ValidationException with all violations.
func Input(s *facts.Shape, n *Node) error {
	if s == nil {
		return nil
	}
	if err := types(s, n); err != nil {
		return err
	}
	w := walker{}
	w.structure("", s, n)
	if w.count == 0 {
		return nil
	}
	noun := "errors"
	if w.count == 1 {
		noun = "error"
	}
	return apierr.Validation("%d validation %s detected: %s", w.count, noun, w.text.String())
}

// Serialization is the error for a request that cannot be read.
func Serialization(format string, args ...any) *apierr.Error {
	return apierr.New(http.StatusBadRequest, "SerializationException", format, args...)
}

func kindName(n *Node) string {
	switch n.Kind {
	case True:
		return "TRUE_VALUE"
	case False:
		return "FALSE_VALUE"
	case Text:
		return "STRING_VALUE"
	case Number:
		if strings.ContainsAny(n.Text, ".eE") {
			return "DECIMAL_VALUE"
		}
		return "NUMBER_VALUE"
	default:
		return "null"
	}
}

// types checks the JSON types below n, which is not null.
func types(s *facts.Shape, n *Node) error {
	switch {
	case s.Type == facts.Structure || s.Type == facts.Map:
		if n.Kind == Array {
			return Serialization("Start of list found where not expected")
		}
		if n.Kind != Object {
			return Serialization("Unexpected value type in payload: %s where a structure or map was expected", kindName(n))
		}
	case s.Type == facts.List:
		if n.Kind == Object {
			return Serialization("Start of structure or map found where not expected.")
		}
		if n.Kind != Array {
			return Serialization("Expected list or null")
		}
	case n.Kind == Array:
		return Serialization("Start of list found where not expected")
	case n.Kind == Object:
		return Serialization("Start of structure or map found where not expected.")
	default:
		return scalarType(s, n)
	}
	for i := range n.Items {
		if n.Items[i].Kind != Null {
			if err := types(s.Element.Shape, &n.Items[i]); err != nil {
				return err
			}
		}
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		if f.Value.Kind == Null {
			continue
		}
		to := s.Value
		if s.Type == facts.Structure {
			to = s.Member(f.Name)
		}
		if to == nil {
			continue
		}
		if err := types(to.Shape, &f.Value); err != nil {
			return err
		}
	}
	return nil
}

func scalarType(s *facts.Shape, n *Node) error {
	var want string
	var ok bool
	switch s.Type {
	case facts.String:
		want, ok = "a String", n.Kind == Text
	case facts.Boolean:
		want, ok = "a Boolean", n.Kind == True || n.Kind == False
	case facts.Integer:
		_, err := strconv.ParseInt(n.Text, 10, 32)
		want, ok = "an Integer", n.Kind == Number && err == nil
	case facts.Long:
		_, err := strconv.ParseInt(n.Text, 10, 64)
		want, ok = "a Long", n.Kind == Number && err == nil
	case facts.Float, facts.Double:
		v, err := strconv.ParseFloat(n.Text, 64)
		want, ok = "a "+facts.GoName(string(s.Type)), n.Kind == Number && err == nil && !math.IsInf(v, 0)
	case facts.Timestamp:
		v, err := strconv.ParseFloat(n.Text, 64)
		want, ok = "milliseconds since epoch", n.Kind == Number && err == nil && math.Abs(v) < 253402300800
	case facts.Blob:
		_, err := base64.StdEncoding.DecodeString(n.Text)
		want, ok = "a Blob", n.Kind == Text && err == nil
	default:
		want = string(s.Type)
	}
	if !ok {
		return Serialization("%s can not be converted to %s", kindName(n), want)
	}
	return nil
}

type walker struct {
	count int
	text  strings.Builder
}

func (w *walker) add(s *facts.Shape, n *Node, path, constraint string) {
	w.count++
	if w.text.Len() > maxMessage {
		return
	}
	if w.count > 1 {
		w.text.WriteString("; ")
	}
	switch {
	case n == nil:
		w.text.WriteString("Value null")
	case s.Sensitive:
		w.text.WriteString("Value")
	default:
		w.text.WriteString("Value '" + show(s, n) + "'")
	}
	fmt.Fprintf(&w.text, " at '%s' failed to satisfy constraint: %s", path, constraint)
}

func (w *walker) structure(path string, s *facts.Shape, n *Node) {
	if s.Union {
		set := 0
		var names []string
		for _, m := range s.Members {
			names = append(names, lowerFirst(m.Name))
			if n.Get(m.Name) != nil {
				set++
			}
		}
		if set != 1 {
			w.add(s, n, path, "Member must have exactly one of its members set: ["+strings.Join(names, ", ")+"]")
		}
	}
	for _, m := range s.Members {
		at := lowerFirst(m.Name)
		if path != "" {
			at = path + "." + at
		}
		v := n.Get(m.Name)
		if v == nil {
			if m.Required && !s.Union {
				w.add(m.Shape, nil, at, "Member must not be null")
			}
			continue
		}
		w.value(at, m.Shape, v)
	}
}

// value checks one value and all below it.
func (w *walker) value(path string, s *facts.Shape, n *Node) {
	for _, c := range Broken(s, n) {
		w.add(s, n, path, c)
	}
	switch s.Type {
	case facts.Structure:
		w.structure(path, s, n)
	case facts.List:
		w.list(path, s, n)
	case facts.Map:
		w.entries(path, s, n)
	default: // a scalar has nothing below it
	}
}

// list checks elements. Those that have a path of their own are walked; of
// plain ones AWS shows the list and names all constraints of an element.
func (w *walker) list(path string, s *facts.Shape, n *Node) {
	elem := s.Element.Shape
	bad := false
	for i := range n.Items {
		item := &n.Items[i]
		at := fmt.Sprintf("%s.%d.member", path, i+1)
		if item.Kind == Null {
			w.add(elem, nil, at, "Member must not be null")
			continue
		}
		if elem.Type == facts.Structure {
			w.value(at, elem, item)
			continue
		}
		bad = bad || len(Broken(elem, item)) > 0
		w.below(at, elem, item)
	}
	if bad {
		w.add(s, n, path, "Member must satisfy constraint: ["+strings.Join(all(elem), ", ")+"]")
	}
}

func (w *walker) entries(path string, s *facts.Shape, n *Node) {
	key, val := s.Key.Shape, s.Value.Shape
	badKey, badValue := false, false
	for i := range n.Fields {
		f := &n.Fields[i]
		badKey = badKey || len(Broken(key, &Node{Kind: Text, Text: f.Name})) > 0
		at := path + "." + f.Name + ".member"
		if f.Value.Kind == Null {
			w.add(val, nil, at, "Member must not be null")
			continue
		}
		if val.Type == facts.Structure {
			w.value(at, val, &f.Value)
			continue
		}
		badValue = badValue || len(Broken(val, &f.Value)) > 0
		w.below(at, val, &f.Value)
	}
	if badKey {
		w.add(s, n, path, "Map keys must satisfy constraint: ["+strings.Join(all(key), ", ")+"]")
	}
	if badValue {
		w.add(s, n, path, "Map value must satisfy constraint: ["+strings.Join(all(val), ", ")+"]")
	}
}

// below walks into a list or map that is itself an element.
func (w *walker) below(path string, s *facts.Shape, n *Node) {
	switch s.Type {
	case facts.List:
		w.list(path, s, n)
	case facts.Map:
		w.entries(path, s, n)
	default: // checked with the list or map that holds it
	}
}

// Broken lists the constraints of s itself that n violates.
func Broken(s *facts.Shape, n *Node) []string {
	var out []string
	if len(s.Enum) > 0 && !s.HasEnum(n.Text) {
		out = append(out, enumText(s))
	}
	size, text := measure(s, n)
	if s.Pattern != "" && !fits(s, n.Text) {
		out = append(out, patternText(s))
	}
	if s.Max != nil && size > *s.Max {
		out = append(out, boundText(text, "less", *s.Max))
	}
	if s.Min != nil && size < *s.Min {
		out = append(out, boundText(text, "greater", *s.Min))
	}
	return out
}

// fits matches the pattern; a text that is far too long anyway is not tried.
func fits(s *facts.Shape, v string) bool {
	if s.Max != nil && float64(len(v)) > 16*(*s.Max)+4096 {
		return false
	}
	return s.Matches(v)
}

// all lists every constraint of an element in AWS's order.
func all(s *facts.Shape) []string {
	var out []string
	_, text := measure(s, &Node{})
	if s.Max != nil {
		out = append(out, boundText(text, "less", *s.Max))
	}
	if s.Min != nil {
		out = append(out, boundText(text, "greater", *s.Min))
	}
	if s.Pattern != "" {
		out = append(out, patternText(s))
	}
	if len(s.Enum) > 0 {
		out = append(out, enumText(s))
	}
	return out
}

// measure gives what Min and Max bound, and how AWS calls it.
func measure(s *facts.Shape, n *Node) (float64, string) {
	switch s.Type {
	case facts.String:
		return float64(utf8.RuneCountInString(n.Text)), "length"
	case facts.Blob:
		b, _ := base64.StdEncoding.DecodeString(n.Text)
		return float64(len(b)), "length"
	case facts.List:
		return float64(len(n.Items)), "length"
	case facts.Map:
		return float64(len(n.Fields)), "length"
	default:
		v, _ := strconv.ParseFloat(n.Text, 64)
		return v, "value"
	}
}

func enumText(s *facts.Shape) string { return "Member must satisfy enum value set: " + s.EnumSet() }

func patternText(s *facts.Shape) string {
	return "Member must satisfy regular expression pattern: " + s.Pattern
}

func boundText(what, than string, bound float64) string {
	return fmt.Sprintf("Member must have %s %s than or equal to %s", what, than, strconv.FormatFloat(bound, 'f', -1, 64))
}

// lowerFirst is how AWS's messages spell a member.
func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}
