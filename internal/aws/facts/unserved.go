package facts

import (
	"slices"
	"strings"
)

// Unserved lists the operations of m that served does not have, one a line in
// alphabetical order: the text of test/golden/operations.txt.
func Unserved[V any](m *Model, served map[string]V) string {
	var names []string
	for name := range m.Operations {
		if _, ok := served[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return ""
	}
	return strings.Join(names, "\n") + "\n"
}
