package identity

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// operator is a condition operator taken apart:
// [ForAnyValue:|ForAllValues:]Name[IfExists].
type operator struct {
	set      string // "", ForAnyValue, ForAllValues
	ifExists bool
	negated  bool
	null     bool
	pattern  bool // values have wildcards
	test     func(want, have string) bool
}

func parseOperator(name string) (operator, error) {
	var o operator
	base := name
	if set, rest, ok := strings.Cut(name, ":"); ok {
		if set != "ForAnyValue" && set != "ForAllValues" {
			return o, fmt.Errorf("invalid condition operator %q", name)
		}
		o.set, base = set, rest
	}
	base, o.ifExists = strings.CutSuffix(base, "IfExists")
	switch base {
	case "StringEquals":
		o.test = func(w, h string) bool { return w == h }
	case "StringNotEquals":
		o.test, o.negated = func(w, h string) bool { return w == h }, true
	case "StringEqualsIgnoreCase":
		o.test = strings.EqualFold
	case "StringNotEqualsIgnoreCase":
		o.test, o.negated = strings.EqualFold, true
	case "StringLike":
		o.test, o.pattern = like, true
	case "StringNotLike":
		o.test, o.negated, o.pattern = like, true, true
	case "ArnLike", "ArnEquals":
		o.test, o.pattern = arnLike, true
	case "ArnNotLike", "ArnNotEquals":
		o.test, o.negated, o.pattern = arnLike, true, true
	case "Bool":
		o.test = strings.EqualFold
	case "BinaryEquals":
		o.test = sameBytes
	case "Null":
		if o.set != "" || o.ifExists {
			return o, fmt.Errorf("invalid condition operator %q", name)
		}
		o.null = true
	case "IpAddress":
		o.test = inPrefix
	case "NotIpAddress":
		o.test, o.negated = inPrefix, true
	case "NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals":
		o.negated = base == "NumericNotEquals"
		o.test = numeric(strings.TrimPrefix(base, "Numeric"))
	case "DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals":
		o.negated = base == "DateNotEquals"
		o.test = date(strings.TrimPrefix(base, "Date"))
	default:
		return o, fmt.Errorf("invalid condition operator %q", name)
	}
	return o, nil
}

func compare(op string, c int) bool {
	switch op {
	case "LessThan":
		return c < 0
	case "LessThanEquals":
		return c <= 0
	case "GreaterThan":
		return c > 0
	case "GreaterThanEquals":
		return c >= 0
	}
	return c == 0
}

func numeric(op string) func(want, have string) bool {
	return func(want, have string) bool {
		w, err1 := strconv.ParseFloat(want, 64)
		h, err2 := strconv.ParseFloat(have, 64)
		if err1 != nil || err2 != nil || w-w != 0 || h-h != 0 { // not a number, infinite
			return false
		}
		switch {
		case h < w:
			return compare(op, -1)
		case h > w:
			return compare(op, 1)
		}
		return compare(op, 0)
	}
}

func date(op string) func(want, have string) bool {
	parse := func(s string) (time.Time, bool) {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return time.Unix(n, 0), true
		}
		for _, form := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01"} {
			if t, err := time.Parse(form, s); err == nil {
				return t, true
			}
		}
		return time.Time{}, false
	}
	return func(want, have string) bool {
		w, ok1 := parse(want)
		h, ok2 := parse(have)
		return ok1 && ok2 && compare(op, h.Compare(w))
	}
}

// arnLike compares the six parts of an ARN one by one: a wildcard in one part
// does not reach into the next. The last part may hold colons.
func arnLike(pattern, have string) bool {
	if pattern == "*" {
		return true
	}
	for range 5 {
		p, rest, ok1 := cutColon(pattern)
		h, tail, ok2 := strings.Cut(have, ":")
		if !ok1 || !ok2 || !like(p, h) {
			return false
		}
		pattern, have = rest, tail
	}
	return like(pattern, have)
}

// cutColon cuts at the first colon that is none of a variable's value.
func cutColon(p string) (before, after string, ok bool) {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case literal:
			i++
		case ':':
			return p[:i], p[i+1:], true
		}
	}
	return p, "", false
}

func sameBytes(want, have string) bool {
	w, err1 := base64.StdEncoding.DecodeString(want)
	h, err2 := base64.StdEncoding.DecodeString(have)
	return err1 == nil && err2 == nil && bytes.Equal(w, h)
}

func inPrefix(want, have string) bool {
	ip, err := netip.ParseAddr(have)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	if p, err := netip.ParsePrefix(want); err == nil {
		return p.Contains(ip)
	}
	a, err := netip.ParseAddr(want)
	return err == nil && a == ip
}

// conditionsHold: all operators and all keys must hold; the values of one key
// are alternatives. A key that the request lacks fails a plain operator, and
// satisfies a negated one and IfExists.
func conditionsHold(cond map[string]map[string]list, a ask) bool {
	for name, byKey := range cond {
		o, err := parseOperator(name)
		if err != nil {
			return false
		}
		for key, want := range byKey {
			if !o.holds(a.expand(want, o.pattern), a.keys.values(strings.ToLower(key))) {
				return false
			}
		}
	}
	return true
}

func (o operator) holds(want list, have []string) bool {
	if o.null {
		return len(want) == 1 && strings.EqualFold(want[0], "true") == (len(have) == 0)
	}
	if len(have) == 0 {
		return o.ifExists || o.negated && o.set != "ForAnyValue" || o.set == "ForAllValues"
	}
	one := func(h string) bool {
		for _, w := range want {
			if o.test(w, h) {
				return !o.negated
			}
		}
		return o.negated
	}
	for _, h := range have {
		switch ok := one(h); {
		case ok && o.set == "ForAnyValue":
			return true
		case !ok && o.set != "ForAnyValue":
			return false
		}
	}
	return o.set != "ForAnyValue"
}
