package jsonpath

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSelect(t *testing.T) {
	t.Parallel()
	const doc = ` {"id": 7, "a b":{"c.d":[1, {"x":"y,]\"}"}, 3e2] }, "e":{}, "list":[[1,2],[3],[]], "SageMakerOutput" : {"label":1.0}, "id": 8} `
	for _, tt := range []struct{ path, want string }{
		{"$", strings.TrimSpace(doc)},
		{"", strings.TrimSpace(doc)},
		{"$.id", "8"},
		{"$['id']", "8"},
		{`$["id"]`, "8"},
		{"$.['id']", "8"},
		{"$['a b']['c.d'][1].x", `"y,]\"}"`},
		{"$['a b'].*", `[[1, {"x":"y,]\"}"}, 3e2]]`},
		{"$['a b']['c.d'][-1]", "3e2"},
		{"$['a b']['c.d'][0,-1]", "[1,3e2]"},
		{"$['a b']['c.d'][0,1:]", `[1,{"x":"y,]\"}"},3e2]`},
		{"$['a b']['c.d'][:-1]", `[1,{"x":"y,]\"}"}]`},
		{"$['a b']['c.d'][-9:1]", "[1]"},
		{"$['a b']['c.d'][1:99]", `[{"x":"y,]\"}"},3e2]`},
		{"$['SageMakerOutput','id','nothing']", `{"SageMakerOutput":{"label":1.0},"id":8}`},
		{"$['SageMakerOutput', 'e'].label", "[1.0]"},
		{"$.list[*][0]", "[1,3]"},
		{"$.list.*[0]", "[1,3]"},
		{"$.list[:2][0]", "[1,3]"},
		{"$.e.*", "[]"},
		{"$.list[3:]", "[]"},
		{"$.list[2][0:]", "[]"},
	} {
		p, err := Parse(tt.path)
		if err != nil {
			t.Errorf("%s: %v", tt.path, err)
			continue
		}
		got, err := p.Select([]byte(doc))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.path, got, err, tt.want)
		}
	}
	for path, want := range map[string]string{
		"$.nothing":                `there is no "nothing"`,
		"$['x','y']":               `there is no "x"`,
		"$[0]":                     "an index is applied to an object",
		"$.id.x":                   "applied to what is neither",
		"$.id.*":                   "* is applied to",
		"$.list.x":                 "applied to a list",
		"$.list[3]":                "index 3 is not within the record, which has 3 elements",
		"$.list[-4]":               "index -4 is not within",
		"$.list[0,3]":              "index 3 is not within",
		"$['a b']['c.d'][1].x.foo": "applied to a string",
	} {
		p, err := Parse(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got, err := p.Select([]byte(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s, %v; want %s", path, got, err, want)
		}
	}
	if p, err := Parse("$.a"); err != nil {
		t.Error(err)
	} else if _, err := p.Select([]byte(`{"a":1`)); err == nil {
		t.Error("half a document is read")
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"id":                      "must begin with $",
		"$id":                     "a . or a [ is missing at \"id\"",
		"$..id":                   "the operator ..",
		"$.":                      "a name is missing at its end",
		"$.a.":                    "a name is missing",
		"$[":                      "is missing at its end",
		"$[]":                     "is missing at \"]\"",
		"$[1":                     "a , or a ] is missing",
		"$[1,]":                   "is missing",
		"$[1:2:3]":                "a slice has a step",
		"$['a]":                   "a quote is not closed",
		"$['a',1]":                "and not several",
		"$[*,1]":                  "and not several",
		"$[?(@.a>1)]":             "a filter or a script",
		"$[(@.length)":            "a filter or a script",
		"$.a.length()":            "the function length()",
		"$[99999999999999999999]": "is no index",
		"$.a b":                   "is missing",
	} {
		if _, err := Parse(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "is not a JSONPath that batch transform supports") {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

func TestColumns(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][]int{
		"$": {0, 1, 2, 3}, "$[*]": {0, 1, 2, 3}, "$[1:]": {1, 2, 3}, "$[:-1]": {0, 1, 2}, "$[0,-1]": {0, 3}, "$[2]": {2}, "$[0,2:]": {0, 2, 3}, "$[1:3]": {1, 2}, "$[:0]": nil,
	} {
		p, err := Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Columns(nil, 4)
		if err != nil || !p.ByIndex() || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v; want %v", path, got, err, want)
		}
	}
	for _, path := range []string{"$.a", "$['a']", "$[0][1]", "$[0].a"} {
		if p, err := Parse(path); err != nil || p.ByIndex() {
			t.Errorf("%s is said to be for columns (%v)", path, err)
		}
	}
	for _, path := range []string{"$[4]", "$[4:]", "$[0,-5]"} {
		p, err := Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		if list, err := p.Columns(nil, 4); err == nil {
			t.Errorf("%s of 4 columns is %v", path, list)
		}
	}
	if p, _ := Parse("$"); !p.Everything() {
		t.Error("$ is not everything")
	}
}

// A path that is read can be asked of any document, and what it gives is what
// the plain reading of decoded values gives.
func FuzzSelect(f *testing.F) {
	for _, path := range []string{"$", "$.a", "$['a','b']", "$[0,-1]", "$[1:]", "$.a[*].b", "$['a','b'].c", "$.*.*", "$[0,1:3]"} {
		for _, doc := range []string{`{"a":[1,{"b":2}],"b":"c"}`, `[1,2,[3,4]]`, `{"a":{"c":1},"b":{"c":null}}`, `"x"`, ` [ ] `, `{"\u0061":1}`, `{"a":1`, `[[{"b":"]"}],"\\"]`} {
			f.Add(path, []byte(doc))
		}
	}
	f.Fuzz(func(t *testing.T, text string, doc []byte) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		got, err := p.Select(doc)
		var v any
		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.UseNumber()
		if !json.Valid(doc) {
			if err == nil {
				t.Fatalf("%q of %q, which is no JSON, is %s", text, doc, got)
			}
			return
		}
		if err := dec.Decode(&v); err != nil || !utf8.Valid(doc) || !utf8.ValidString(text) {
			return // the decoder replaces what is no text
		}
		want, ok := plain(p, v)
		if ok != (err == nil) {
			t.Fatalf("%q of %q: %v; plainly %v, %v", text, doc, err, want, ok)
		}
		if err != nil {
			return
		}
		var have any
		dec = json.NewDecoder(bytes.NewReader(got))
		dec.UseNumber()
		if err := dec.Decode(&have); err != nil {
			t.Fatalf("%q of %q is %q: %v", text, doc, got, err)
		}
		if unordered := strings.Contains(text, "*"); !unordered && !reflect.DeepEqual(have, want) {
			t.Fatalf("%q of %q is %s, plainly %v", text, doc, got, want)
		}
	})
}

// plain is the reading of decoded values. Where * meets an object its order is
// another one.
func plain(p *Path, v any) (any, bool) {
	at, several := []any{v}, false
	for i, s := range p.steps {
		last := i == len(p.steps)-1
		var next []any
		for _, v := range at {
			found, ok := plainStep(s, v, last)
			if !ok && !several {
				return nil, false
			}
			next = append(next, found...)
		}
		at = next
		if len(s.names) != 1 && (len(s.items) != 1 || s.items[0].slice) && (s.names == nil || !last) {
			several = true
		}
	}
	if several {
		if at == nil {
			at = []any{}
		}
		return at, true
	}
	return at[0], true
}

func plainStep(s step, v any, last bool) (out []any, ok bool) {
	object, isObject := v.(map[string]any)
	elements, isList := v.([]any)
	switch {
	case s.names != nil:
		some := map[string]any{}
		for _, n := range s.names {
			if m, ok := object[n]; ok {
				out, some[n] = append(out, m), m
			}
		}
		if len(s.names) > 1 && last && len(out) > 0 {
			return []any{some}, isObject
		}
		return out, isObject && len(out) > 0
	case s.all:
		for _, m := range object {
			elements = append(elements, m)
		}
		return elements, isObject || isList
	}
	for _, it := range s.items {
		n := len(elements)
		from, to := it.from, it.from+1
		if from < 0 {
			from, to = from+n, from+n+1
		}
		if it.slice {
			from, to = max(from, 0), n
			if it.hasTo {
				if to = it.to; to < 0 {
					to += n
				}
			}
		}
		if !it.slice && (from < 0 || from >= n) {
			return nil, false
		}
		for i := from; i < min(to, n); i++ {
			out = append(out, elements[i])
		}
	}
	return out, isList
}
