package front

import (
	"cmp"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"clary/internal/aws/action"
	"clary/internal/aws/facts"
	"clary/internal/aws/op"
)

// Checked says what policies are asked about one operation.
type Checked struct {
	Service, Operation string
	Action             string // "-": the handler decides, or asks by itself
	Resource           string // with ${Region}, ${Account} and ${Member}
}

// Checks lists every operation of every model by service and name.
func (f *Front) Checks() []Checked {
	var out []Checked
	c := op.Call{Region: "${Region}", Account: "${Account}"}
	for name, s := range f.routes.services {
		for o, fact := range s.model.Operations {
			h := s.handlers[o]
			rt := route{svc: s, op: fact, name: o}
			var res string
			if h.Resource != nil {
				in := reflect.New(h.In)
				fillStrings(in.Elem())
				res = h.Resource(c, in.Interface())
			} else {
				res = action.Resources(c, fact, placeholders(fact.Input, 0))[0]
			}
			out = append(out, Checked{name, o, rt.action(h), spelt(res, fact.Input)})
		}
	}
	slices.SortFunc(out, func(a, b Checked) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Operation, b.Operation))
	})
	return out
}

// placeholders stand for an input's members by name.
func placeholders(s *facts.Shape, depth int) map[string]any {
	out := map[string]any{}
	if s == nil || depth > 2 {
		return out
	}
	for _, m := range s.Members {
		switch m.Shape.Type {
		case facts.Structure:
			out[m.Name] = placeholders(m.Shape, depth+1)
		case facts.List:
			if e := m.Shape.Element.Shape; e.Type == facts.Structure {
				out[m.Name] = []any{placeholders(e, depth+1)}
				continue
			}
			out[m.Name] = []any{"${" + m.Name + "}"}
		default:
			out[m.Name] = "${" + m.Name + "}"
		}
	}
	return out
}

func fillStrings(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() == reflect.String {
			f.SetString("${" + v.Type().Field(i).Name + "}")
		}
	}
}

var placeholder = regexp.MustCompile(`\$\{[A-Za-z]+\}`) //nolint:gochecknoglobals // a constant pattern

// spelt gives lower-cased placeholders their members' names again.
func spelt(res string, s *facts.Shape) string {
	return placeholder.ReplaceAllStringFunc(res, func(p string) string {
		for _, name := range slices.Sorted(maps.Keys(placeholders(s, 2))) {
			if strings.EqualFold(p, "${"+name+"}") {
				return "${" + name + "}"
			}
		}
		return p
	})
}
