package validate_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
	"clary/internal/aws/validate/validatetest"
)

// TestEveryConstraint: for each operation, a request made of the facts passes,
// and with any one of its constraints broken it is refused for that reason.
func TestEveryConstraint(t *testing.T) {
	t.Parallel()
	m, err := facts.Load("sagemaker")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for n := range m.Operations {
		names = append(names, n)
	}
	slices.Sort(names)
	type kind struct { // one constraint of one member, tried in two requests
		member *facts.Member
		spoil  string
	}
	tried := map[kind]int{}
	spoilt, texts := map[string]int{}, map[*facts.Shape]string{}
	for i, name := range names {
		for _, full := range []bool{false, true} {
			g := &validatetest.Maker{Rand: rand.New(rand.NewPCG(uint64(i), 7)), Full: full, Texts: texts}
			s := m.Operations[name].Input
			n := g.Value(t, s)
			if err := validate.Input(s, &n); err != nil {
				t.Errorf("%s: a request made of the facts: %.600s", name, err)
				continue
			}
			for _, at := range validatetest.Sites("", s, &n, nil) {
				for _, sp := range validatetest.Spoils() {
					bad, text, ok := sp.Apply(at)
					k := kind{at.Member, sp.Name}
					if !ok || tried[k] == 2 {
						continue
					}
					tried[k]++
					was := *at.Node
					*at.Node = bad
					err := validate.Input(s, &n)
					*at.Node = was
					want := fmt.Sprintf("at '%s' failed to satisfy constraint: %s", at.Path, text)
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s, %s of %s: %.300v", name, sp.Name, at.Path, err)
					}
					spoilt[sp.Name]++
				}
			}
		}
	}
	for _, sp := range validatetest.Spoils() {
		if spoilt[sp.Name] == 0 {
			t.Errorf("nothing was spoilt by %s", sp.Name)
		}
	}
}
