package facts

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

type tokenKind int

const (
	tokText   tokenKind = iota // groups, alternation, literals: the same in every dialect
	tokClass                   // one character of a set
	tokRepeat                  // *, +, ?, {n,m}
	tokBegin                   // ^
	tokEnd                     // $
)

type token struct {
	kind   tokenKind
	text   string
	lo, hi int // of a repeat; hi -1: no bound
	negate bool
	items  []item
}

// item is a range of runes or a Unicode category such as \p{L}.
type item struct {
	lo, hi   rune
	category string
}

func (t token) classText(esc func(rune) string) string {
	var sb strings.Builder
	sb.WriteByte('[')
	if t.negate {
		sb.WriteByte('^')
	}
	for _, it := range t.items {
		switch {
		case it.category != "":
			sb.WriteString(it.category)
		case it.lo == it.hi:
			sb.WriteString(esc(it.lo))
		default:
			sb.WriteString(esc(it.lo) + "-" + esc(it.hi))
		}
	}
	sb.WriteByte(']')
	return sb.String()
}

func runes(rs ...rune) []item {
	out := make([]item, len(rs))
	for i, r := range rs {
		out[i] = item{lo: r, hi: r}
	}
	return out
}

// Java's sets, which are ASCII, and its line terminators, which "." leaves out.
func digits() []item { return []item{{lo: '0', hi: '9'}} }

func alnum() []item {
	return []item{{lo: '0', hi: '9'}, {lo: 'A', hi: 'Z'}, {lo: 'a', hi: 'z'}}
}
func word() []item       { return append(alnum(), runes('_')...) }
func space() []item      { return runes(' ', '\t', '\n', '\v', '\f', '\r') }
func terminator() []item { return runes('\n', '\r', 0x85, 0x2028, 0x2029) }

// complement gives the ranges between those of items, which hold no category.
func complement(items []item) []item {
	items = slices.Clone(items)
	slices.SortFunc(items, func(a, b item) int { return int(a.lo) - int(b.lo) })
	var out []item
	next := rune(0)
	for _, it := range items {
		if it.lo > next {
			out = append(out, item{lo: next, hi: it.lo - 1})
		}
		next = it.hi + 1
	}
	return append(out, item{lo: next, hi: utf8.MaxRune})
}

type scanner struct {
	s   string
	i   int
	all bool // a dot is any character: (?s)
}

// scan reads a Java pattern as far as the models use the language, and fails
// on anything else.
func scan(p string) ([]token, error) {
	sc := &scanner{s: p}
	if strings.HasPrefix(p, "(?s)") {
		sc.i, sc.all = len("(?s)"), true
	}
	var out []token
	for sc.i < len(sc.s) {
		t, err := sc.token()
		if err != nil {
			return nil, fmt.Errorf("at %d: %w", sc.i, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func (sc *scanner) token() (token, error) {
	rest := sc.s[sc.i:]
	r, n := utf8.DecodeRuneInString(rest)
	switch r {
	case '[':
		sc.i++
		return sc.class()
	case '.':
		sc.i++
		if sc.all {
			return token{kind: tokClass, items: []item{{lo: 0, hi: utf8.MaxRune}}}, nil
		}
		return token{kind: tokClass, negate: true, items: terminator()}, nil
	case '^':
		sc.i++
		return token{kind: tokBegin}, nil
	case '$':
		sc.i++
		return token{kind: tokEnd}, nil
	case '(':
		for _, open := range []string{"(?:", "(?=", "(?!", "(?<=", "(?<!"} {
			if strings.HasPrefix(rest, open) {
				sc.i += len(open)
				return token{text: open}, nil
			}
		}
		if strings.HasPrefix(rest, "(?i)") && sc.i > 0 { // until its group ends
			sc.i += len("(?i)")
			return token{text: "(?i)"}, nil
		}
		if strings.HasPrefix(rest, "(?") {
			return token{}, errors.New("unknown group")
		}
		sc.i++
		return token{text: "(?:"}, nil
	case ')', '|':
		sc.i++
		return token{text: string(r)}, nil
	case '*', '+', '?', '{':
		return sc.repeat()
	case '\\':
		sc.i++
		switch {
		case strings.HasPrefix(rest, `\b`):
			sc.i++
			return token{text: `\b`}, nil
		case strings.HasPrefix(rest, `\A`):
			sc.i++
			return token{kind: tokBegin}, nil
		case strings.HasPrefix(rest, `\z`):
			sc.i++
			return token{kind: tokEnd}, nil
		}
		items, negate, err := sc.escape()
		if err != nil {
			return token{}, err
		}
		if len(items) == 1 && !negate && items[0].category == "" && items[0].lo == items[0].hi {
			return literal(items[0].lo), nil
		}
		return token{kind: tokClass, negate: negate, items: items}, nil
	}
	sc.i += n
	return literal(r), nil
}

func literal(r rune) token { return token{text: regexp.QuoteMeta(string(r))} }

func (sc *scanner) repeat() (token, error) {
	t := token{kind: tokRepeat, hi: -1}
	start := sc.i
	switch sc.s[sc.i] {
	case '*':
		sc.i++
	case '+':
		t.lo = 1
		sc.i++
	case '?':
		t.hi = 1
		sc.i++
	default:
		end := strings.IndexByte(sc.s[sc.i:], '}')
		if end < 0 {
			return t, errors.New("open repeat")
		}
		lo, hi, ranged := strings.Cut(sc.s[sc.i+1:sc.i+end], ",")
		var err error
		if t.lo, err = strconv.Atoi(lo); err != nil {
			return t, err
		}
		switch {
		case !ranged:
			t.hi = t.lo
		case hi != "":
			if t.hi, err = strconv.Atoi(hi); err != nil {
				return t, err
			}
		}
		sc.i += end + 1
	}
	if sc.i < len(sc.s) {
		switch sc.s[sc.i] {
		case '+':
			return t, errors.New("possessive repeat")
		case '?':
			sc.i++
		}
	}
	t.text = sc.s[start:sc.i]
	return t, nil
}

// class reads a set after its bracket.
func (sc *scanner) class() (token, error) {
	t := token{kind: tokClass}
	if strings.HasPrefix(sc.s[sc.i:], "^") {
		t.negate = true
		sc.i++
	}
	for first := true; ; first = false {
		if sc.i >= len(sc.s) {
			return t, errors.New("open set")
		}
		if sc.s[sc.i] == ']' && !first {
			sc.i++
			return t, nil
		}
		items, err := sc.classAtom()
		if err != nil {
			return t, err
		}
		rest := sc.s[sc.i:]
		single := len(items) == 1 && items[0].category == "" && items[0].lo == items[0].hi
		if !single || len(rest) < 2 || rest[0] != '-' || rest[1] == ']' {
			t.items = append(t.items, items...)
			continue
		}
		sc.i++
		end, err := sc.classAtom()
		if err != nil {
			return t, err
		}
		if len(end) != 1 || end[0].category != "" || end[0].lo != end[0].hi || end[0].lo < items[0].lo {
			return t, errors.New("bad range in set")
		}
		t.items = append(t.items, item{lo: items[0].lo, hi: end[0].hi})
	}
}

func (sc *scanner) classAtom() ([]item, error) {
	rest := sc.s[sc.i:]
	switch {
	case strings.HasPrefix(rest, "&&"):
		return nil, errors.New("intersection of sets")
	case strings.HasPrefix(rest, "["):
		return nil, errors.New("set within a set")
	case strings.HasPrefix(rest, `\`):
		sc.i++
		items, negate, err := sc.escape()
		if err != nil {
			return nil, err
		}
		if negate {
			items = complement(items)
		}
		return items, nil
	}
	r, n := utf8.DecodeRuneInString(rest)
	sc.i += n
	return runes(r), nil
}

// escape reads what follows a backslash.
func (sc *scanner) escape() (items []item, negate bool, err error) {
	if sc.i >= len(sc.s) {
		return nil, false, errors.New("trailing backslash")
	}
	c := sc.s[sc.i]
	sc.i++
	switch c {
	case 'd', 'D':
		return digits(), c == 'D', nil
	case 'w', 'W':
		return word(), c == 'W', nil
	case 's', 'S':
		return space(), c == 'S', nil
	case 't':
		return runes('\t'), false, nil
	case 'n':
		return runes('\n'), false, nil
	case 'r':
		return runes('\r'), false, nil
	case 'f':
		return runes('\f'), false, nil
	case 'u':
		return sc.unicode()
	case 'x':
		r, err := sc.hex(2)
		return runes(r), false, err
	case 'p':
		end := strings.IndexByte(sc.s[sc.i:], '}')
		if end < 2 || sc.s[sc.i] != '{' {
			return nil, false, errors.New("bad category")
		}
		name := sc.s[sc.i+1 : sc.i+end]
		sc.i += end + 1
		switch name {
		case "Alnum":
			return alnum(), false, nil
		case "ASCII":
			return []item{{lo: 0, hi: 0x7f}}, false, nil
		case "Print":
			return []item{{lo: ' ', hi: '~'}}, false, nil
		case "L", "M", "N", "P", "S", "Z", "Zs":
			return []item{{category: `\p{` + name + `}`}}, false, nil
		}
		return nil, false, fmt.Errorf("category %s", name)
	}
	if c >= utf8.RuneSelf || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
		return nil, false, fmt.Errorf("escape \\%c", c)
	}
	return runes(rune(c)), false, nil
}

// unicode reads \uXXXX; a high surrogate takes the low one that follows.
func (sc *scanner) unicode() ([]item, bool, error) {
	r, err := sc.hex(4)
	if err != nil {
		return nil, false, err
	}
	if r >= 0xD800 && r <= 0xDBFF && strings.HasPrefix(sc.s[sc.i:], `\u`) {
		sc.i += 2
		low, err := sc.hex(4)
		if err != nil {
			return nil, false, err
		}
		if low < 0xDC00 || low > 0xDFFF {
			return nil, false, errors.New("high surrogate without a low one")
		}
		r = 0x10000 + (r-0xD800)<<10 + (low - 0xDC00)
	} else if r >= 0xD800 && r <= 0xDFFF {
		return nil, false, errors.New("lone surrogate")
	}
	return runes(r), false, nil
}

func (sc *scanner) hex(n int) (rune, error) {
	if sc.i+n > len(sc.s) {
		return 0, errors.New("short escape")
	}
	v, err := strconv.ParseUint(sc.s[sc.i:sc.i+n], 16, 32)
	sc.i += n
	return rune(v), err
}
