package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clary/internal/resource"
)

func (a *app) cost() *cobra.Command {
	var fromText, toText, kind string
	var o costOptions
	cmd := &cobra.Command{
		Use: "cost [NAME]", Short: "Say what was used and what it costs", Args: cobra.MaximumNArgs(1),
		Long: "Say what was used and what it costs: by Clary's rule, per started minute, and by AWS's list prices, per second.\n" +
			"--by sums it up: by " + strings.Join(groupings, ", ") + " or tag:KEY.",
		Example: "  clary cost --by kind --from 2026-01-01\n  clary cost --by tag:team --tag env=dev\n  clary cost --live",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.from, err = day("--from", fromText); err != nil {
				return err
			}
			if o.to, err = day("--to", toText); err != nil {
				return err
			}
			if o.kind, err = kindNamed(kind); err != nil {
				return err
			}
			if o.by != "" && !strings.HasPrefix(o.by, "tag:") && !slices.Contains(groupings, o.by) {
				return fmt.Errorf("--by %s: want %s or tag:KEY", o.by, strings.Join(groupings, ", "))
			}
			if len(args) == 1 {
				o.name = args[0]
			}
			t, err := a.target()
			if err != nil {
				return err
			}
			c := t.client()
			defer c.Close()
			if o.live {
				return worded(a.costLive(cmd.Context(), c, o), t.Addr)
			}
			u, err := readUsage(cmd.Context(), c, o.from, o.to)
			if err != nil {
				return worded(err, t.Addr)
			}
			return a.printCost(o.filter(u), o.by)
		},
	}
	f := cmd.Flags()
	f.StringVar(&fromText, "from", "", "first day or instant, like 2026-01-31 or 2026-01-31T08:00:00Z")
	f.StringVar(&toText, "to", "", "the day or instant after the last")
	f.StringVar(&o.by, "by", "", "sum up by "+strings.Join(groupings, ", ")+" or tag:KEY")
	f.StringVar(&kind, "kind", "", "only this kind: training, processing, transform, notebook, endpoint")
	f.StringArrayVar(&o.tags, "tag", nil, "only what has this tag, KEY=VALUE or KEY; several: all of them")
	f.BoolVar(&o.live, "live", false, "go on while something runs; of this month, without --from")
	f.BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

func day(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s %s: want a day like 2026-01-31 or an instant like 2026-01-31T08:00:00Z", flag, s)
}

// costRow is one resource as --json prints it.
type costRow struct {
	Kind                resource.Kind
	Name, Region        string
	Component           string
	Instances           string `json:",omitempty"`
	Seconds             int64  // used
	Minutes             int64  // started: what the minute rule charges
	MicroUSD            int64
	AWSMicroUSD         int64
	Unpriced            bool `json:",omitempty"`
	Running             bool `json:",omitempty"`
	uid                 string
	types               []string
	minuteSum, awsTotal sum
	first               time.Time
}

// addType has the row name a type of instances once, without a number.
func (r *costRow) addType(name string) {
	if !slices.Contains(r.types, name) {
		r.types = append(r.types, name)
	}
	r.Instances = strings.Join(r.types, ", ")
}

// printCost prints each resource's components or, with by, sums.
func (a *app) printCost(u usage, by string) error {
	if by != "" {
		return a.printGroups(u, by)
	}
	byKey := map[[2]string]*costRow{}
	var list []*costRow
	for _, x := range u.Usage {
		k := [2]string{x.UID, x.Component}
		r := byKey[k]
		if r == nil {
			r = &costRow{Kind: x.Kind, Name: x.Name, Region: x.Region, Component: x.Component, Instances: instanceText(x), uid: x.UID, first: x.Start}
			byKey[k] = r
			list = append(list, r)
		}
		if x.Component == "hosting" { // an interval for each instance that there was
			r.addType(x.InstanceType)
		}
		end := x.End
		if end.IsZero() {
			end, r.Running = u.Now, true
		}
		start := x.Start
		if start.Before(u.From) {
			start = u.From
		}
		if !u.To.IsZero() && end.After(u.To) {
			end = u.To
		}
		if end.After(start) {
			r.Seconds += int64((end.Sub(start) + time.Second - 1) / time.Second) // begun ones, as Describe counts them
		}
	}
	var total, aws sum
	for book, to := range map[string]*sum{"minute": &total, "aws": &aws} {
		for _, l := range u.Bills[book].Lines {
			r := byKey[[2]string{l.UID, l.Component}]
			if r == nil {
				continue
			}
			to.add(l)
			if book == "minute" {
				r.minuteSum.add(l)
			} else {
				r.awsTotal.add(l)
			}
		}
	}
	slices.SortFunc(list, func(x, y *costRow) int { return cmp.Or(y.first.Compare(x.first), cmp.Compare(x.Name, y.Name)) })
	var rows [][]string
	for _, r := range list {
		r.Minutes = r.minuteSum.seconds / 60
		r.MicroUSD, r.AWSMicroUSD = r.minuteSum.micro, r.awsTotal.micro
		r.Unpriced = r.minuteSum.incomplete || r.awsTotal.incomplete
		seconds := strconv.FormatInt(r.Seconds, 10)
		if r.Running {
			seconds += "…"
		}
		rows = append(rows, []string{string(r.Kind), r.Name, r.Component, r.Instances, seconds, strconv.FormatInt(r.Minutes, 10), r.minuteSum.String(), r.awsTotal.String()})
	}
	if a.json {
		if list == nil {
			list = []*costRow{}
		}
		return a.printJSON(map[string]any{
			"Resources": list, "MicroUSD": total.micro, "AWSMicroUSD": aws.micro, "Unpriced": total.incomplete || aws.incomplete,
		})
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.Out, "Nothing was used.")
		return err
	}
	printTable(a.Out, []string{"kind", "name", "component", "instances", "seconds", "minutes", "cost", "on AWS"}, rows,
		[]string{"Total", "", "", "", "", "", total.String(), aws.String()}, 5, 6, 7, 8)
	return nil
}
