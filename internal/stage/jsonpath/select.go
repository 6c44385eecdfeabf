package jsonpath

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// errInvalid is a document that is not JSON.
var errInvalid = errors.New("it is not valid JSON")

// Select gives what the path names in a JSON document, in JSON. Where a path
// may lead to several places, what is there comes as a list; several names in
// brackets at a path's end give an object of those that are there.
func (p *Path) Select(doc []byte) ([]byte, error) {
	if !json.Valid(doc) {
		return nil, errInvalid
	}
	doc = bytes.TrimSpace(doc)
	several := false
	at := [][]byte{doc}
	for i, s := range p.steps {
		var next [][]byte
		for _, v := range at {
			found, err := s.from(v, i == len(p.steps)-1)
			if err != nil && !several {
				return nil, err
			}
			next = append(next, found...) // what is missing in one of several is left out
		}
		at = next
		several = several || !s.one() && (s.names == nil || i < len(p.steps)-1)
	}
	if !several {
		return at[0], nil
	}
	return list(at), nil
}

func list(values [][]byte) []byte {
	out := []byte{'['}
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, v...)
	}
	return append(out, ']')
}

// from is where a step leads from a value. A step that leads to one place gives
// one or an error.
func (s step) from(v []byte, last bool) ([][]byte, error) {
	switch {
	case s.names != nil:
		return s.members(v, last)
	case s.all:
		var out [][]byte
		if err := Each(v, func(_, value []byte) { out = append(out, value) }); err != nil {
			return nil, fmt.Errorf("* is applied to %s", kind(v))
		}
		return out, nil
	}
	if v[0] != '[' {
		return nil, fmt.Errorf("an index is applied to %s", kind(v))
	}
	var all, out [][]byte
	if err := Each(v, func(_, value []byte) { all = append(all, value) }); err != nil {
		return nil, err
	}
	indexes, err := s.indexes(nil, len(all), false)
	if err != nil {
		return nil, err
	}
	for _, i := range indexes {
		out = append(out, all[i])
	}
	return out, nil
}

// members are those of an object that the step names.
func (s step) members(v []byte, last bool) ([][]byte, error) {
	if v[0] != '{' {
		return nil, fmt.Errorf("the name %q is applied to %s", s.names[0], kind(v))
	}
	keys, values := make([][]byte, len(s.names)), make([][]byte, len(s.names))
	err := Each(v, func(key, value []byte) {
		for i, name := range s.names {
			if Is(key, name) {
				keys[i], values[i] = key, value // the last of several counts, as elsewhere
			}
		}
	})
	if err != nil {
		return nil, err
	}
	var out [][]byte
	object := []byte{'{'}
	for i, value := range values {
		if value == nil {
			continue
		}
		out = append(out, value)
		if len(object) > 1 {
			object = append(object, ',')
		}
		object = append(append(append(object, keys[i]...), ':'), value...)
	}
	switch {
	case len(out) == 0:
		return nil, fmt.Errorf("there is no %q", s.names[0])
	case len(s.names) > 1 && last:
		return [][]byte{append(object, '}')}, nil
	}
	return out, nil
}

func kind(v []byte) string {
	switch v[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	}
	return "what is neither a list nor an object"
}

// Each visits the elements of a list or the members of an object, as they stand
// in valid JSON. A key comes in its quotes.
func Each(v []byte, visit func(key, value []byte)) error {
	v = bytes.TrimSpace(v)
	if len(v) < 2 || v[0] != '{' && v[0] != '[' {
		return errors.New("it has no members")
	}
	object := v[0] == '{'
	for i := space(v, 1); i < len(v)-1; {
		var key []byte
		if object {
			end := skip(v, i)
			key = v[i:end]
			i = space(v, end)
			if i >= len(v) || v[i] != ':' {
				return errInvalid
			}
			i = space(v, i+1)
		}
		end := skip(v, i)
		if end == i {
			return errInvalid
		}
		visit(key, v[i:end])
		if i = space(v, end); i < len(v)-1 {
			if v[i] != ',' {
				return errInvalid
			}
			i = space(v, i+1)
		}
	}
	return nil
}

// Is compares a key in its quotes with a name.
func Is(key []byte, name string) bool {
	if len(key) < 2 {
		return false
	}
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key[1:len(key)-1]) == name
	}
	var s string
	return json.Unmarshal(key, &s) == nil && s == name
}

func space(v []byte, i int) int {
	for i < len(v) && (v[i] == ' ' || v[i] == '\t' || v[i] == '\n' || v[i] == '\r') {
		i++
	}
	return i
}

// skip is the end of the value that begins at i.
func skip(v []byte, i int) int {
	depth := 0
	for ; i < len(v); i++ {
		switch v[i] {
		case '"':
			for i++; i < len(v) && v[i] != '"'; i++ {
				if v[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(v))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth <= 1 {
				if depth == 1 {
					i++
				}
				return i
			}
			depth--
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return len(v)
}
