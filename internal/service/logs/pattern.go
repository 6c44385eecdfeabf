package logs

import (
	"regexp"
	"strings"
)

// pattern is a filter pattern over plain text: terms that must all be there,
// terms of which one must, terms that must not.
type pattern struct {
	all, any, none []func(string) bool
}

func (p *pattern) match(message string) bool {
	for _, t := range p.none {
		if t(message) {
			return false
		}
	}
	for _, t := range p.all {
		if !t(message) {
			return false
		}
	}
	// Beside terms that must be there, optional ones change nothing.
	if len(p.any) == 0 || len(p.all) > 0 {
		return true
	}
	for _, t := range p.any {
		if t(message) {
			return true
		}
	}
	return false
}

// parsePattern reads the text form of CloudWatch's filter patterns.
func parsePattern(s string) (*pattern, error) {
	p := &pattern{}
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
		return nil, invalid("Clary does not support filter patterns for JSON and space-delimited log events, only terms.")
	}
	for s != "" {
		to := &p.all
		switch s[0] {
		case '?':
			to, s = &p.any, s[1:]
		case '-':
			to, s = &p.none, s[1:]
		}
		term, rest, err := takeTerm(s)
		if err != nil {
			return nil, err
		}
		*to = append(*to, term)
		s = strings.TrimLeft(rest, " \t\r\n")
	}
	return p, nil
}

func takeTerm(s string) (match func(string) bool, rest string, err error) {
	switch {
	case s == "":
		return nil, "", invalid("Invalid filter pattern: a term is missing.")
	case s[0] == '"':
		return quoted(s[1:])
	case s[0] == '%':
		end := strings.IndexByte(s[1:], '%')
		if end < 0 {
			return nil, "", invalid("Invalid filter pattern: the regular expression has no end.")
		}
		re, err := regexp.Compile(s[1 : 1+end])
		if err != nil {
			return nil, "", invalid("Invalid filter pattern: the regular expression %q is not valid.", s[1:1+end])
		}
		return re.MatchString, s[end+2:], nil
	}
	end := strings.IndexAny(s, " \t\r\n")
	if end < 0 {
		end = len(s)
	}
	word := s[:end]
	for _, r := range word {
		if !wordRune(r) {
			return nil, "", invalid("Invalid character(s) in term '%s'", word)
		}
	}
	return func(m string) bool { return strings.Contains(m, word) }, s[end:], nil
}

// quoted reads a term up to its closing quote.
func quoted(s string) (func(string) bool, string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			phrase := b.String()
			return func(m string) bool { return strings.Contains(m, phrase) }, s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return nil, "", invalid("Invalid filter pattern: a quote is not closed.")
}

func wordRune(r rune) bool {
	return r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 127
}
