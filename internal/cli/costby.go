package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"clary/internal/meter"
	"clary/internal/resource"
)

// costOptions are what clary cost is asked for.
type costOptions struct {
	from, to time.Time
	name, by string
	kind     resource.Kind
	tags     []string // KEY=VALUE or KEY
	live     bool
}

var groupings = []string{"resource", "kind", "type", "region", "day"} //nolint:gochecknoglobals // a table

// kindNamed takes a kind as the API names it, or in short.
func kindNamed(s string) (resource.Kind, error) {
	for short, kind := range map[string]resource.Kind{
		"": "", "training": "TrainingJob", "processing": "ProcessingJob", "transform": "TransformJob", "notebook": "NotebookInstance", "endpoint": endpointKind,
	} {
		if s == short || s == string(kind) {
			return kind, nil
		}
	}
	return "", fmt.Errorf("--kind %s: want training, processing, transform, notebook or endpoint", s)
}

// filter leaves what is asked for.
func (o costOptions) filter(u usage) usage {
	fits := func(kind resource.Kind, name string, tags map[string]string) bool {
		if o.kind != "" && kind != o.kind || o.name != "" && name != o.name {
			return false
		}
		for _, t := range o.tags {
			key, want, exact := strings.Cut(t, "=")
			if v, ok := tags[key]; !ok || exact && v != want {
				return false
			}
		}
		return true
	}
	u.Usage = slices.DeleteFunc(slices.Clone(u.Usage), func(x resource.Usage) bool { return !fits(x.Kind, x.Name, x.Tags) })
	bills := make(map[string]meter.Statement, len(u.Bills))
	for book, s := range u.Bills {
		var left meter.Statement
		for _, l := range s.Lines {
			if !fits(l.Kind, l.Name, l.Tags) {
				continue
			}
			left.Lines = append(left.Lines, l)
			left.MicroUSD, left.Unpriced = left.MicroUSD+l.MicroUSD, left.Unpriced || l.Unpriced
		}
		bills[book] = left
	}
	u.Bills = bills
	return u
}

// group is a sum, as --json prints it.
type group struct {
	Value                 string        // of what it is summed up by
	Kind                  resource.Kind `json:",omitzero"` // by resource
	Region                string        `json:",omitzero"`
	Resources             int
	MicroUSD, AWSMicroUSD int64
	Unpriced              bool `json:",omitzero"`
	Running               int  `json:",omitzero"` // resources that go on
}

type groupSum struct {
	group
	minute, aws   sum
	uids, running map[string]bool
}

// groups sums the bill up. Every line is in one group, so they sum to it.
func (u usage) groups(by string) []*groupSum {
	all := make(map[group]*groupSum)
	var list []*groupSum
	of := func(l meter.Line) *groupSum {
		k := groupOf(l, by)
		g := all[k]
		if g == nil {
			g = &groupSum{group: k, uids: map[string]bool{}, running: map[string]bool{}}
			all[k], list = g, append(list, g)
		}
		g.uids[l.UID] = true
		return g
	}
	open := map[string]bool{}
	for _, x := range u.Usage {
		if x.End.IsZero() && x.Unit != meter.Request {
			open[x.UID+"/"+x.Component] = true
		}
	}
	for _, l := range u.Bills["minute"].Lines {
		g := of(l)
		g.minute.add(l)
		if open[l.UID+"/"+l.Component] && l.Day == u.Now.UTC().Format(time.DateOnly) {
			g.running[l.UID] = true
		}
	}
	for _, l := range u.Bills["aws"].Lines {
		of(l).aws.add(l)
	}
	for _, g := range list {
		g.Resources, g.Running = len(g.uids), len(g.running)
		g.MicroUSD, g.AWSMicroUSD, g.Unpriced = g.minute.micro, g.aws.micro, g.minute.incomplete || g.aws.incomplete
	}
	slices.SortFunc(list, func(a, b *groupSum) int {
		if by == "day" {
			return cmp.Compare(a.Value, b.Value)
		}
		return cmp.Or(cmp.Compare(b.MicroUSD, a.MicroUSD), cmp.Compare(b.AWSMicroUSD, a.AWSMicroUSD), cmp.Compare(a.Value, b.Value), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Region, b.Region))
	})
	return list
}

func groupOf(l meter.Line, by string) group {
	switch by {
	case "resource":
		return group{Value: l.Name, Kind: l.Kind, Region: l.Region}
	case "kind":
		return group{Value: string(l.Kind)}
	case "type":
		return group{Value: cmp.Or(l.InstanceType, l.Component)} // volumes have no type
	case "region":
		return group{Value: l.Region}
	case "day":
		return group{Value: l.Day}
	}
	return group{Value: l.Tags[strings.TrimPrefix(by, "tag:")]}
}

func (a *app) printGroups(u usage, by string) error {
	list := u.groups(by)
	var minute, aws sum
	var rows [][]string
	out := []group{}
	for _, g := range list {
		minute.join(g.minute)
		aws.join(g.aws)
		out = append(out, g.group)
		row := []string{cmp.Or(g.Value, "(none)")}
		if by == "resource" {
			row = append(row, string(g.Kind), g.Region)
		}
		count := fmt.Sprint(g.Resources)
		if g.Running > 0 {
			count += fmt.Sprintf(" (%d run)", g.Running)
		}
		rows = append(rows, append(row, count, g.minute.String(), g.aws.String()))
	}
	if a.json {
		return a.printJSON(map[string]any{"By": by, "Groups": out, "MicroUSD": minute.micro, "AWSMicroUSD": aws.micro, "Unpriced": minute.incomplete || aws.incomplete})
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.Out, "Nothing was used.")
		return err
	}
	head, foot := []string{by, "resources", "cost", "on AWS"}, []string{"Total", "", minute.String(), aws.String()}
	if by == "resource" {
		head, foot = []string{"name", "kind", "region", "resources", "cost", "on AWS"}, []string{"Total", "", "", "", minute.String(), aws.String()}
	}
	printTable(a.Out, head, rows, foot, len(head)-2, len(head)-1, len(head))
	return nil
}

func (s *sum) join(o sum) {
	s.micro, s.seconds, s.incomplete = s.micro+o.micro, s.seconds+o.seconds, s.incomplete || o.incomplete
}
