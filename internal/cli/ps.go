package cli

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"clary/internal/client"
	"clary/internal/resource"
)

func (a *app) ps() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "ps", Short: "List jobs, notebook instances and endpoints, the newest first, with what they cost", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return fmt.Errorf("--limit %d: want at least 1", limit)
			}
			t, err := a.target()
			if err != nil {
				return err
			}
			n := &notebooks{app: a, t: t, c: t.client()}
			defer n.c.Close()
			jobs, err := listJobs(cmd.Context(), n.c, limit)
			if err != nil {
				return worded(err, n.t.Addr)
			}
			books, err := n.all(cmd.Context())
			if e, ok := errors.AsType[*client.Error](err); err != nil && (!ok || e.Code != "AccessDeniedException") {
				return err // whoever may see jobs alone sees jobs
			}
			books = books[:min(limit, len(books))]
			ofBooks, err := n.usage(cmd.Context(), books)
			if err != nil {
				return err
			}
			served, err := listEndpoints(cmd.Context(), n.c, limit)
			if e, ok := errors.AsType[*client.Error](err); err != nil && (!ok || e.Code != "AccessDeniedException") {
				return worded(err, n.t.Addr) // as above
			}
			ofServed, err := usageOfEndpoints(cmd.Context(), n.c, n.t.Region, served)
			if err != nil {
				return err
			}
			ofJobs := map[jobKind]usage{}
			for _, k := range jobKinds() {
				var names []string
				for _, j := range jobs {
					if j.kind == k {
						names = append(names, j.Name)
					}
				}
				if ofJobs[k], err = readUsageOf(cmd.Context(), n.c, n.t.Region, string(k), names); err != nil {
					return err
				}
			}
			jobList, jobTable := jobRows(jobs, ofJobs)
			bookList, bookTable := notebookRows(books, ofBooks)
			servedList, servedTable := endpointRows(served, ofServed)
			if a.json {
				return a.printJSON(slices.Concat(anys(jobList), anys(bookList), anys(servedList)))
			}
			return a.printAll(jobTable, bookTable, servedTable)
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "how many of each")
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// psRow is one job as --json prints it.
type psRow struct {
	Kind            string
	Name, Status    string
	SecondaryStatus string `json:",omitempty"`
	Instances       string `json:",omitempty"`
	Created         time.Time
	Ended           *time.Time `json:",omitempty"`
	Seconds         int64
	MicroUSD        int64
	Unpriced        bool `json:",omitempty"`
}

// anys are rows of one kind among those of others; never nil.
func anys[T any](list []T) []any {
	out := make([]any, 0, len(list))
	for _, x := range list {
		out = append(out, x)
	}
	return out
}

// printAll prints jobs and, below them, what costs until somebody ends it.
func (a *app) printAll(jobs, books, served [][]string) error {
	if len(jobs)+len(books)+len(served) == 0 {
		_, err := fmt.Fprintln(a.Out, "No jobs yet. Run a SageMaker script: clary run -- python train.py")
		return err
	}
	if len(jobs) > 0 {
		printTable(a.Out, []string{"job", "kind", "status", "instances", "created", "took", "cost"}, jobs, nil, 7)
	}
	if len(books) > 0 {
		printTable(a.Out, notebookHeads(), books, nil, 7)
	}
	if len(served) > 0 {
		printTable(a.Out, endpointHeads(), served, nil, 6)
	}
	return nil
}

func jobRows(jobs []job, by map[jobKind]usage) (out []psRow, rows [][]string) {
	instances, costs := map[[2]string]string{}, map[[2]string]sum{}
	for _, u := range by {
		for _, x := range u.Usage {
			instances[[2]string{string(x.Kind), x.Name}] = instanceText(x)
		}
		for _, l := range u.Bills["minute"].Lines {
			k := [2]string{string(l.Kind), l.Name}
			c := costs[k]
			c.add(l)
			costs[k] = c
		}
	}
	for _, j := range jobs {
		key, now := [2]string{string(j.kind), j.Name}, by[j.kind].Now
		cost := costs[key]
		r := psRow{
			Kind: string(j.kind), Name: j.Name, Status: j.Status, SecondaryStatus: j.Step, Instances: instances[key], Created: j.Created.time(),
			Seconds: cost.seconds, MicroUSD: cost.micro, Unpriced: cost.incomplete,
		}
		end := now
		if t := j.Ended.time(); !t.IsZero() {
			r.Ended, end = &t, t
		}
		out = append(out, r)
		status := r.Status
		if !j.over() && j.Step != "" {
			status += " (" + j.Step + ")"
		}
		rows = append(rows, []string{r.Name, j.kind.word(), status, r.Instances, span(now.Sub(r.Created)) + " ago", span(end.Sub(r.Created)), cost.String()})
	}
	return out, rows
}

func instanceText(u resource.Usage) string {
	if u.InstanceType == "" {
		return ""
	}
	return fmt.Sprintf("%d × %s", u.Quantity, u.InstanceType)
}
