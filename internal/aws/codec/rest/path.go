// Package rest is what the REST protocols share: the parameters in a path. It
// knows no format of bodies.
package rest

import "strings"

type segment struct {
	text   string // of a fixed segment
	param  string // name of a parameter
	greedy bool
}

// parsePath reads a template: /{Bucket}/{Key+}.
func parsePath(path string) []segment {
	var out []segment
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if part == "" {
			continue
		}
		name, ok := strings.CutPrefix(part, "{")
		if !ok {
			out = append(out, segment{text: part})
			continue
		}
		name = strings.TrimSuffix(name, "}")
		name, greedy := strings.CutSuffix(name, "+")
		out = append(out, segment{param: name, greedy: greedy})
	}
	return out
}

// Bind reads the parameters of a path by a template, like /{Bucket}/{Key+}.
// Nothing of a greedy parameter is cleaned: it may hold empty segments and
// dots.
func Bind(template, path string) (map[string]string, bool) {
	segments := parsePath(template)
	rest := strings.TrimPrefix(path, "/")
	params := make(map[string]string, len(segments))
	for _, s := range segments {
		if rest == "" {
			return nil, false
		}
		if s.greedy {
			params[s.param], rest = rest, ""
			continue
		}
		part, tail, _ := strings.Cut(rest, "/")
		if s.param == "" && s.text != part || part == "" {
			return nil, false
		}
		if s.param != "" {
			params[s.param] = part
		}
		rest = tail
	}
	return params, rest == ""
}
