package identity

import "strings"

// literal stands before a character of a pattern that is no wildcard. No
// document holds it.
const literal = '\x00'

// expand puts values for the variables of patterns or texts. One whose variable
// the request lacks, and that names no default, matches nothing and is left out.
func (a ask) expand(l list, pattern bool) list {
	if !a.variables {
		return l
	}
	var out list
	for _, s := range l {
		if t, ok := a.expandOne(s, pattern); ok {
			out = append(out, t)
		}
	}
	return out
}

func (a ask) expandOne(s string, pattern bool) (string, bool) {
	var sb strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${")
		sb.WriteString(before)
		if !found {
			return sb.String(), true
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", false
		}
		v, ok := a.variable(name)
		if !ok {
			return "", false
		}
		if pattern {
			for i := range len(v) {
				sb.WriteByte(literal)
				sb.WriteByte(v[i])
			}
		} else {
			sb.WriteString(v)
		}
		s = after
	}
}

// variable is the value of ${name} or ${name, 'default'}; *, ? and $ stand for
// themselves.
func (a ask) variable(name string) (string, bool) {
	switch name {
	case "*", "?", "$":
		return name, true
	}
	key, fallback, has := strings.Cut(name, ",")
	if v := a.keys.values(strings.ToLower(strings.TrimSpace(key))); len(v) == 1 {
		return v[0], true
	}
	fallback = strings.TrimSpace(fallback)
	if n := len(fallback); has && n >= 2 && fallback[0] == '\'' && fallback[n-1] == '\'' {
		return fallback[1 : n-1], true
	}
	return "", false
}
