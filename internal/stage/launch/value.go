package launch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// value is a JSON value as Python sees it: nil, bool, number, string, list or
// dict. Scripts get these in Python's own notation, so that argparse, eval and
// json.loads find what they find on SageMaker.
type value any

type (
	number string // an int's digits, or a float as Python writes it
	list   []value
	dict   struct {
		keys []string // as they came
		m    map[string]value
	}
)

func newDict() *dict { return &dict{m: map[string]value{}} }

func (d *dict) set(k string, v value) {
	if _, ok := d.m[k]; !ok {
		d.keys = append(d.keys, k)
	}
	d.m[k] = v
}

func (d *dict) sorted() []string {
	keys := slices.Clone(d.keys)
	slices.Sort(keys)
	return keys
}

// parse reads one JSON text.
func parse(data []byte) (value, error) {
	switch s := strings.TrimSpace(string(data)); s {
	case "NaN":
		return number("nan"), nil
	case "Infinity", "-Infinity":
		return number(strings.ToLower(s[:len(s)-5])), nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := parseNext(dec)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return v, nil
}

func parseNext(dec *json.Decoder) (value, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := tok.(type) {
	case json.Number:
		return pythonNumber(string(t))
	case json.Delim:
		if t == '[' {
			l := list{}
			for dec.More() {
				v, err := parseNext(dec)
				if err != nil {
					return nil, err
				}
				l = append(l, v)
			}
			_, err := dec.Token()
			return l, err
		}
		d := newDict()
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := parseNext(dec)
			if err != nil {
				return nil, err
			}
			key, ok := k.(string)
			if !ok {
				return nil, errors.New("a key is not a string")
			}
			d.set(key, v)
		}
		_, err := dec.Token()
		return d, err
	}
	return tok, nil // nil, bool, string
}

// pythonNumber is an int as it is and a float as Python's repr writes it.
func pythonNumber(s string) (value, error) {
	if !strings.ContainsAny(s, ".eE") {
		if s == "-0" {
			s = "0"
		}
		return number(s), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return nil, err
	}
	return number(pythonFloat(f)), nil
}

func pythonFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case f != 0 && (math.Abs(f) < 1e-4 || math.Abs(f) >= 1e16):
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// toJSON is json.dumps with sorted keys, compact and in ASCII.
func toJSON(v value) string {
	var b strings.Builder
	writeJSON(&b, v)
	return b.String()
}

func writeJSON(b *strings.Builder, v value) {
	switch t := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(t))
	case number:
		switch t {
		case "inf":
			t = "Infinity"
		case "-inf":
			t = "-Infinity"
		case "nan":
			t = "NaN"
		}
		b.WriteString(string(t))
	case string:
		writeASCII(b, t)
	case list:
		b.WriteByte('[')
		for i, e := range t {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, e)
		}
		b.WriteByte(']')
	case *dict:
		b.WriteByte('{')
		for i, k := range t.sorted() {
			if i > 0 {
				b.WriteByte(',')
			}
			writeASCII(b, k)
			b.WriteByte(':')
			writeJSON(b, t.m[k])
		}
		b.WriteByte('}')
	}
}

func writeASCII(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < 0x20 || r >= 0x7f && r <= 0xffff:
			if r == 0x7f {
				b.WriteRune(r)
				continue
			}
			fmt.Fprintf(b, `\u%04x`, r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

// toEnv is a value in an SM_ variable: strings plain, the rest JSON.
func toEnv(v value) string {
	switch t := v.(type) {
	case nil:
		return ""
	case string:
		return t
	}
	return toJSON(v)
}

// toArg is a value on the command line: Python's str, nothing for None, and
// key=value pairs for a dict.
func toArg(v value) string {
	switch t := v.(type) {
	case nil:
		return ""
	case *dict:
		var pairs []string
		for _, k := range t.sorted() {
			pairs = append(pairs, k+"="+str(t.m[k]))
		}
		return strings.Join(pairs, ",")
	}
	return str(v)
}

func str(v value) string {
	if s, ok := v.(string); ok {
		return s
	}
	return repr(v)
}

func repr(v value) string {
	switch t := v.(type) {
	case bool:
		if t {
			return "True"
		}
		return "False"
	case number:
		return string(t)
	case string:
		return reprString(t)
	case list:
		var parts []string
		for _, e := range t {
			parts = append(parts, repr(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case *dict:
		var parts []string
		for _, k := range t.keys {
			parts = append(parts, reprString(k)+": "+repr(t.m[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return "None"
}

func reprString(s string) string {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r) && r != utf8.RuneError:
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteRune(quote)
	return b.String()
}
