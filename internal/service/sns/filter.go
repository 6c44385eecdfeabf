package sns

import (
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/outbox"
)

// Bounds of a filter policy
// (https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html).
const (
	maxKeys         = 5
	maxCombinations = 150
)

// filter says which messages a subscription gets: for each key one of its
// conditions must hold.
type filter map[string][]condition

// condition holds of the values of an attribute; has is whether it is there.
type condition func(values []any, has bool) bool

// readFilter reads a FilterPolicy. An empty one lets everything pass.
func readFilter(text string) (filter, error) {
	if text == "" {
		return nil, nil
	}
	var raw map[string]jsontext.Value
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, invalid("FilterPolicy: failed to parse JSON")
	}
	if len(raw) > maxKeys {
		return nil, invalid("FilterPolicy: Filter policy can not have more than %d keys", maxKeys)
	}
	f, combinations := filter{}, 1
	for key, v := range raw {
		var list []jsontext.Value
		if err := json.Unmarshal(v, &list); err != nil {
			return nil, invalid("FilterPolicy: %q must be an object or an array", key)
		}
		if len(list) == 0 {
			return nil, invalid("FilterPolicy: %q: empty arrays are not allowed", key)
		}
		combinations *= len(list)
		if key == "$or" {
			return nil, unsupported("$or in a FilterPolicy.")
		}
		for _, e := range list {
			c, err := readCondition(key, e)
			if err != nil {
				return nil, err
			}
			f[key] = append(f[key], c)
		}
	}
	if combinations > maxCombinations {
		return nil, invalid("FilterPolicy: Filter policy is too complex")
	}
	return f, nil
}

// passes says whether a message of these attributes does.
func (f filter) passes(attributes map[string]outbox.Attribute) bool {
	for key, conditions := range f {
		a, has := attributes[key]
		values := valuesOf(a)
		has = has && values != nil
		if !slices.ContainsFunc(conditions, func(c condition) bool { return c(values, has) }) {
			return false
		}
	}
	return true
}

func readCondition(key string, raw jsontext.Value) (condition, error) {
	if raw.Kind() == '{' {
		var o map[string]jsontext.Value
		if err := json.Unmarshal(raw, &o); err != nil || len(o) != 1 {
			return nil, invalid("FilterPolicy: Only one key allowed in match expression, in %q", key)
		}
		for name, v := range o {
			return operator(key, name, v)
		}
	}
	want, ok := scalar(raw)
	if !ok {
		return nil, invalid("FilterPolicy: Match value must be String, number, true, false, or null, in %q", key)
	}
	return any1(func(v any) bool { return equal(v, want) }), nil
}

// any1 holds where one of the values fits.
func any1(fits func(any) bool) condition {
	return func(values []any, has bool) bool { return has && slices.ContainsFunc(values, fits) }
}

// texts is a condition on strings.
func texts(fits func(string) bool) condition {
	return any1(func(v any) bool {
		s, ok := v.(string)
		return ok && fits(s)
	})
}

func operator(key, name string, raw jsontext.Value) (condition, error) {
	var text string
	isText := json.Unmarshal(raw, &text) == nil
	switch name {
	case "exists":
		var want bool
		if err := json.Unmarshal(raw, &want); err != nil {
			return nil, invalid("FilterPolicy: exists match pattern must be either true or false, in %q", key)
		}
		return func(_ []any, has bool) bool { return has == want }, nil
	case "prefix", "suffix", "equals-ignore-case":
		if !isText || text == "" && name != "equals-ignore-case" {
			return nil, invalid("FilterPolicy: %s match pattern must be a string, in %q", name, key)
		}
		return texts(func(s string) bool { return fitsText(name, s, text) }), nil
	case "numeric":
		return readNumeric(key, raw)
	case "anything-but":
		return readBut(key, raw)
	}
	return nil, invalid("FilterPolicy: Unrecognized match type %s", name)
}

func fitsText(operator, s, text string) bool {
	switch operator {
	case "prefix":
		return strings.HasPrefix(s, text)
	case "suffix":
		return strings.HasSuffix(s, text)
	}
	return strings.EqualFold(s, text)
}

// readBut reads anything-but: a value, a list of them, or a prefix or suffix.
// None of the attribute's values may fit.
func readBut(key string, raw jsontext.Value) (condition, error) {
	var out []func(any) bool
	bad := invalid("FilterPolicy: anything-but takes a value, a list of values, a prefix or a suffix, in %q", key)
	switch raw.Kind() {
	case '{':
		var o map[string]string
		if err := json.Unmarshal(raw, &o); err != nil || len(o) != 1 {
			return nil, bad
		}
		for name, text := range o {
			if name != "prefix" && name != "suffix" || text == "" {
				return nil, bad
			}
			out = append(out, func(v any) bool { s, ok := v.(string); return ok && fitsText(name, s, text) })
		}
	case '[':
		var list []jsontext.Value
		if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
			return nil, bad
		}
		for _, e := range list {
			want, ok := scalar(e)
			if !ok {
				return nil, bad
			}
			out = append(out, func(v any) bool { return equal(v, want) })
		}
	default:
		want, ok := scalar(raw)
		if !ok {
			return nil, bad
		}
		out = append(out, func(v any) bool { return equal(v, want) })
	}
	return func(values []any, has bool) bool {
		return has && !slices.ContainsFunc(values, func(v any) bool {
			return slices.ContainsFunc(out, func(f func(any) bool) bool { return f(v) })
		})
	}, nil
}

// readNumeric reads ["=", 1] or a range like [">=", 0, "<", 100].
func readNumeric(key string, raw jsontext.Value) (condition, error) {
	var list []jsontext.Value
	bad := invalid("FilterPolicy: Value of numeric must be an operator and a number, or two of them that bound a range, in %q", key)
	if err := json.Unmarshal(raw, &list); err != nil || len(list) != 2 && len(list) != 4 {
		return nil, bad
	}
	type bound struct {
		op string
		n  *big.Rat
	}
	var bounds []bound
	for i := 0; i < len(list); i += 2 {
		var b bound
		v, ok := scalar(list[i+1])
		n, number := v.(*big.Rat)
		if err := json.Unmarshal(list[i], &b.op); err != nil || !ok || !number || !slices.Contains([]string{"=", "<", "<=", ">", ">="}, b.op) {
			return nil, bad
		}
		if b.n = n; len(list) == 4 && strings.HasPrefix(b.op, []string{"<", ">"}[i/2]) || len(list) == 4 && b.op == "=" {
			return nil, bad // the lower bound stands first
		}
		bounds = append(bounds, b)
	}
	return any1(func(v any) bool {
		n, ok := v.(*big.Rat)
		return ok && !slices.ContainsFunc(bounds, func(b bound) bool {
			c := n.Cmp(b.n)
			return !map[string]bool{"=": c == 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[b.op]
		})
	}), nil
}

// scalar reads a value: a string, a number, a truth value or null.
func scalar(raw jsontext.Value) (any, bool) {
	switch raw.Kind() { //nolint:exhaustive // the others are no scalars
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err == nil
	case '0':
		return number(string(raw))
	case 't', 'f':
		return raw.Kind() == 't', true
	case 'n':
		return nil, true
	}
	return nil, false
}

// number reads one, of a size that people write.
func number(s string) (any, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f > 1e15 || f < -1e15 || len(s) > 64 {
		return nil, false
	}
	n, ok := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, 64))
	return n, ok
}

func equal(a, b any) bool {
	x, xn := a.(*big.Rat)
	y, yn := b.(*big.Rat)
	if xn || yn {
		return xn && yn && x.Cmp(y) == 0
	}
	return a == b
}

// valuesOf are an attribute's; a Binary one has none that could fit.
func valuesOf(a outbox.Attribute) []any {
	switch {
	case strings.HasPrefix(a.Type, "Number"):
		if n, ok := number(a.Value); ok {
			return []any{n}
		}
	case strings.HasPrefix(a.Type, "String.Array"):
		var list []jsontext.Value
		if json.Unmarshal([]byte(a.Value), &list) == nil {
			out := []any{}
			for _, e := range list {
				if v, ok := scalar(e); ok {
					out = append(out, v)
				}
			}
			return out
		}
	case strings.HasPrefix(a.Type, "String"):
		return []any{a.Value}
	}
	return nil
}
