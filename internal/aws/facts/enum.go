package facts

import (
	"slices"
	"strings"
	"unicode/utf16"
)

// EnumSet is the list of values as AWS prints it in "Member must satisfy enum
// value set".
func (s *Shape) EnumSet() string { return s.enumText() }

// enumSet orders values as a Java hash table of 32 buckets lists them, the
// later-declared first within a bucket; AWS's own messages follow that order.
func enumSet(values []string) string {
	type entry struct {
		value  string
		bucket uint32
		index  int
	}
	all := make([]entry, len(values))
	for i, v := range values {
		all[i] = entry{v, javaHash(v) & 31, i}
	}
	slices.SortFunc(all, func(a, b entry) int {
		if a.bucket != b.bucket {
			return int(a.bucket) - int(b.bucket)
		}
		return b.index - a.index
	})
	var sb strings.Builder
	sb.WriteByte('[')
	for i, e := range all {
		if i > 0 {
			sb.WriteString(", ")
		}
		sb.WriteString(e.value)
	}
	sb.WriteByte(']')
	return sb.String()
}

func javaHash(s string) uint32 {
	var h uint32
	for _, c := range utf16.Encode([]rune(s)) {
		h = 31*h + uint32(c)
	}
	return h
}
