// Package jsonpath is the part of JSONPath that batch transform knows: it says
// which of a record's members or columns go on. It reads text and nothing else,
// and never more of a document than it was given. Start at Parse.
package jsonpath

import (
	"fmt"
	"strconv"
	"strings"
)

// Path is a parsed JSONPath.
type Path struct{ steps []step }

// step is one operator. Exactly one of its members is set.
type step struct {
	names []string // .name, ['a','b']
	items []item   // [0], [0,-1], [1:], [0,5:]
	all   bool     // *
}

// item is an index, or a slice from the first to before the second.
type item struct {
	slice          bool
	from, to       int
	hasFrom, hasTo bool
}

// one says that the step leads to one place at most.
func (s step) one() bool {
	return len(s.names) == 1 || len(s.items) == 1 && !s.items[0].slice
}

// Parse reads a path. "" is "$".
func Parse(text string) (*Path, error) {
	if text == "" {
		text = "$"
	}
	p := &parser{text: text, rest: text}
	path, err := p.path()
	if err != nil {
		return nil, fmt.Errorf("%q is not a JSONPath that batch transform supports: %w", text, err)
	}
	return path, nil
}

// Everything says that the path names the whole of a record.
func (p *Path) Everything() bool { return len(p.steps) == 0 }

// ByIndex says that the path can be applied to a row of CSV, which is taken as
// a list of its columns.
func (p *Path) ByIndex() bool {
	return len(p.steps) == 0 || len(p.steps) == 1 && p.steps[0].names == nil
}

// Columns adds to list which of n columns a path that is ByIndex names, in its
// order.
func (p *Path) Columns(list []int, n int) ([]int, error) {
	if p.Everything() || p.steps[0].all {
		for i := range n {
			list = append(list, i)
		}
		return list, nil
	}
	return p.steps[0].indexes(list, n, true)
}

// indexes are those of n elements that the step names. An index that is not
// there is an error, and a slice that begins where nothing is if it must not.
func (s step) indexes(list []int, n int, must bool) ([]int, error) {
	for _, it := range s.items {
		from, to := it.bounds(n)
		if (from < 0 || from >= n) && (must || !it.slice) {
			at := "index " + strconv.Itoa(it.from)
			if it.slice {
				at = "the slice from " + strconv.Itoa(it.from)
			}
			return nil, fmt.Errorf("%s is not within the record, which has %d elements", at, n)
		}
		for i := from; i < to; i++ {
			list = append(list, i)
		}
	}
	return list, nil
}

// bounds are the item's first element and the one after its last, of n. As in
// other JSONPaths, a slice ends where the elements do.
func (it item) bounds(n int) (from, to int) {
	from, to = it.from, it.to
	if from < 0 {
		from += n
		if it.slice {
			from = max(from, 0)
		}
	}
	if !it.slice {
		return from, from + 1
	}
	switch {
	case !it.hasTo:
		to = n
	case to < 0:
		to += n
	}
	return from, min(to, n)
}

type parser struct{ text, rest string }

func (p *parser) path() (*Path, error) {
	if !p.eat("$") {
		return nil, fmt.Errorf("it must begin with $")
	}
	out := &Path{}
	for p.rest != "" {
		s, err := p.step()
		if err != nil {
			return nil, err
		}
		out.steps = append(out.steps, s)
	}
	return out, nil
}

func (p *parser) eat(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	if ok {
		p.rest = rest
	}
	return ok
}

// at says where the parser is, for texts.
func (p *parser) at() string {
	if p.rest == "" {
		return "at its end"
	}
	return fmt.Sprintf("at %q", p.rest)
}

func (p *parser) step() (step, error) {
	dot := p.eat(".")
	switch {
	case dot && strings.HasPrefix(p.rest, "."):
		return step{}, fmt.Errorf("it has the operator .. and may not")
	case p.eat("["):
		return p.bracket()
	case !dot:
		return step{}, fmt.Errorf("a . or a [ is missing %s", p.at())
	case p.eat("*"):
		return step{all: true}, nil
	}
	end := strings.IndexAny(p.rest, ".[]()*,'\"@?: \t\r\n")
	if end < 0 {
		end = len(p.rest)
	}
	if end == 0 {
		return step{}, fmt.Errorf("a name is missing %s", p.at())
	}
	name := p.rest[:end]
	p.rest = p.rest[end:]
	if strings.HasPrefix(p.rest, "(") {
		return step{}, fmt.Errorf("it has the function %s() and may not", name)
	}
	return step{names: []string{name}}, nil
}

// bracket reads what follows a [, to its ].
func (p *parser) bracket() (step, error) {
	var s step
	for {
		p.space()
		switch {
		case strings.HasPrefix(p.rest, "?") || strings.HasPrefix(p.rest, "("):
			return s, fmt.Errorf("it has a filter or a script in brackets and may not")
		case p.eat("*"):
			s.all = true
		case strings.HasPrefix(p.rest, "'") || strings.HasPrefix(p.rest, `"`):
			name, err := p.quoted()
			if err != nil {
				return s, err
			}
			s.names = append(s.names, name)
		default:
			it, err := p.item()
			if err != nil {
				return s, err
			}
			s.items = append(s.items, it)
		}
		p.space()
		if p.eat("]") {
			break
		}
		if !p.eat(",") {
			return s, fmt.Errorf("a , or a ] is missing %s", p.at())
		}
	}
	kinds := 0
	for _, is := range []bool{s.all, s.names != nil, s.items != nil} {
		if is {
			kinds++
		}
	}
	if kinds > 1 {
		return s, fmt.Errorf("one pair of brackets has names, indexes or a *, and not several of these")
	}
	return s, nil
}

func (p *parser) space() { p.rest = strings.TrimLeft(p.rest, " \t") }

// quoted reads a name in quotes, in which a backslash stands before a quote or
// another backslash.
func (p *parser) quoted() (string, error) {
	quote := p.rest[0]
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == quote:
			p.rest = p.rest[i+1:]
			return b.String(), nil
		case c == '\\' && i+1 < len(p.rest) && strings.IndexByte(`\'"`, p.rest[i+1]) >= 0:
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("a quote is not closed %s", p.at())
}

func (p *parser) item() (it item, err error) {
	if it.from, it.hasFrom, err = p.number(); err != nil {
		return it, err
	}
	p.space()
	if it.slice = p.eat(":"); it.slice {
		p.space()
		if it.to, it.hasTo, err = p.number(); err != nil {
			return it, err
		}
		p.space()
		if strings.HasPrefix(p.rest, ":") {
			return it, fmt.Errorf("a slice has a step and may not")
		}
		return it, nil
	}
	if !it.hasFrom {
		return it, fmt.Errorf("a name in quotes, an index or a slice is missing %s", p.at())
	}
	return it, nil
}

func (p *parser) number() (n int, found bool, err error) {
	end := 0
	for end < len(p.rest) && (p.rest[end] >= '0' && p.rest[end] <= '9' || end == 0 && p.rest[end] == '-') {
		end++
	}
	if end == 0 {
		return 0, false, nil
	}
	n, err = strconv.Atoi(p.rest[:end])
	if err != nil || n > most || n < -most {
		return 0, false, fmt.Errorf("%q is no index", p.rest[:end])
	}
	p.rest = p.rest[end:]
	return n, true, nil
}

// most is the largest index that is believed.
const most = 1 << 30
