package facts

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// matcher says whether a whole string fits a pattern.
type matcher func(string) bool

// matchTimeout bounds one match of a pattern that needs backtracking; a string
// that takes longer does not fit.
const matchTimeout = 200 * time.Millisecond

// Matches says whether all of v fits the shape's pattern; without a pattern
// everything does.
func (s *Shape) Matches(v string) bool {
	if s.Pattern == "" {
		return true
	}
	m, err := s.match()
	if err != nil {
		return false
	}
	return m(v)
}

// CheckPattern says whether a pattern of a model can be translated.
func CheckPattern(p string) error {
	_, err := compile(p)
	return err
}

// compile translates one of AWS's patterns, which are Java's, and makes a
// matcher of it: in linear time where the pattern allows, else by backtracking.
func compile(p string) (matcher, error) {
	if p == "" {
		return func(string) bool { return true }, nil
	}
	toks, err := scan(p)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", p, err)
	}
	if m, ok, err := simpleRepeat(toks); err != nil || ok {
		return m, err
	}
	re, err := regexp.Compile(`\A(?:` + render(toks, false) + `)\z`)
	if err == nil {
		return re.MatchString, nil
	}
	re2, err2 := regexp2.Compile(`\A(?:`+render(toks, true)+`)\z`, regexp2.None)
	if err2 != nil {
		return nil, fmt.Errorf("pattern %q: %w; %w", p, err, err2)
	}
	re2.MatchTimeout = matchTimeout
	return func(v string) bool {
		ok, err := re2.MatchString(v)
		return err == nil && ok
	}, nil
}

// simpleRepeat takes patterns that are one character class repeated, often
// thousands of times: the class is checked and the characters are counted.
func simpleRepeat(toks []token) (matcher, bool, error) {
	for len(toks) > 0 && toks[0].kind == tokBegin {
		toks = toks[1:]
	}
	for len(toks) > 0 && toks[len(toks)-1].kind == tokEnd {
		toks = toks[:len(toks)-1]
	}
	if len(toks) != 2 || toks[0].kind != tokClass || toks[1].kind != tokRepeat {
		return nil, false, nil
	}
	re, err := regexp.Compile(`\A(?:` + render(toks[:1], false) + `)*\z`)
	if err != nil {
		return nil, false, err
	}
	lo, hi := toks[1].lo, toks[1].hi
	return func(v string) bool {
		n := utf8.RuneCountInString(v)
		return n >= lo && (hi < 0 || n <= hi) && re.MatchString(v)
	}, true, nil
}

// render writes the tokens in the dialect of RE2 or of the backtracking engine.
// RE2 refuses to repeat anything more than a thousand times, so longer repeats
// are written one after the other.
func render(toks []token, backtracking bool) string {
	esc := re2Rune
	if backtracking {
		esc = netRune
	}
	var out string
	atom := 0 // where the last atom of out starts
	var groups []int
	for _, t := range toks {
		switch {
		case t.kind == tokRepeat && t.hi > maxRepeat && !backtracking:
			x := out[atom:]
			lo, hi := t.lo, t.hi
			out = out[:atom]
			for hi > 0 {
				out += fmt.Sprintf("%s{%d,%d}", x, min(lo, maxRepeat), min(hi, maxRepeat))
				lo, hi = max(0, lo-maxRepeat), hi-maxRepeat
			}
			continue
		case t.kind == tokRepeat:
			out += t.text
			continue
		case t.text == ")":
			if len(groups) > 0 {
				atom = groups[len(groups)-1]
				groups = groups[:len(groups)-1]
			}
			out += ")"
			continue
		}
		atom = len(out)
		switch t.kind {
		case tokClass:
			out += t.classText(esc)
		case tokBegin:
			out += `(?:\A)`
		case tokEnd:
			out += `(?:\z)`
		default:
			if strings.HasPrefix(t.text, "(?") && t.text != "(?i)" {
				groups = append(groups, atom)
			}
			out += t.text
		}
	}
	return out
}

// maxRepeat is RE2's bound.
const maxRepeat = 1000

func re2Rune(r rune) string { return fmt.Sprintf(`\x{%x}`, r) }

func netRune(r rune) string {
	if r > 0xFFFF {
		return string(r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}
