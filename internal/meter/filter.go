package meter

import (
	"slices"
	"strings"

	"clary/internal/resource"
)

// Filter selects usage, as Cost Explorer's Expression does. What is not set
// selects all; a nil Filter does, too.
type Filter struct {
	And, Or   []Filter `json:",omitzero"`
	Not       *Filter  `json:",omitzero"`
	Dimension *Term    `json:",omitzero"`
	Tag       *Term    `json:",omitzero"`
}

// Term asks for one of several values of a dimension or a tag. A tag's value
// "" stands for no tag of that key as well, as on AWS.
type Term struct {
	Key     string
	Values  []string `json:",omitzero"`
	Options []string `json:",omitzero"` // AWS's MatchOptions; none: EQUALS, CASE_SENSITIVE
}

// Match says whether u is selected.
func (f *Filter) Match(u *resource.Usage) bool {
	if f == nil {
		return true
	}
	for i := range f.And {
		if !f.And[i].Match(u) {
			return false
		}
	}
	if len(f.Or) > 0 && !slices.ContainsFunc(f.Or, func(g Filter) bool { return g.Match(u) }) {
		return false
	}
	if f.Not != nil && f.Not.Match(u) {
		return false
	}
	if t := f.Dimension; t != nil {
		v, ok := Attribute(u, t.Key)
		if !t.match(v, ok) {
			return false
		}
	}
	if t := f.Tag; t != nil {
		v, ok := u.Tags[t.Key]
		if !t.match(v, ok) {
			return false
		}
	}
	return true
}

func (t *Term) match(v string, ok bool) bool {
	has := func(option string) bool { return slices.Contains(t.Options, option) }
	if has("ABSENT") {
		return !ok
	}
	fold := func(s string) string { return s }
	if has("CASE_INSENSITIVE") {
		fold = strings.ToLower
	}
	how := func(v, want string) bool { return v == want }
	switch {
	case has("STARTS_WITH"):
		how = strings.HasPrefix
	case has("ENDS_WITH"):
		how = strings.HasSuffix
	case has("CONTAINS"):
		how = strings.Contains
	}
	for _, want := range t.Values {
		if how(fold(v), fold(want)) {
			return true
		}
	}
	return false
}
