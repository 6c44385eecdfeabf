package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"clary/internal/client"
	"clary/internal/resource"
)

func (a *app) ps() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "ps", Short: "List training jobs and notebook instances, the newest first, with what they cost", Args: cobra.NoArgs,
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
			var names []string
			for _, j := range jobs {
				names = append(names, j.TrainingJobName)
			}
			ofJobs, err := readUsageOf(cmd.Context(), n.c, n.t.Region, "TrainingJob", names)
			if err != nil {
				return err
			}
			return n.printAll(jobs, books, ofJobs, ofBooks)
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "how many of each")
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

func listJobs(ctx context.Context, c *client.Client, limit int) ([]job, error) {
	var jobs []job
	in := map[string]any{"SortBy": "CreationTime", "SortOrder": "Descending"}
	for {
		in["MaxResults"] = min(100, limit-len(jobs))
		var page struct {
			TrainingJobSummaries []job
			NextToken            string
		}
		if err := c.JSON(ctx, sagemaker, "SageMaker.ListTrainingJobs", in, &page); err != nil {
			return nil, err
		}
		jobs = append(jobs, page.TrainingJobSummaries...)
		if page.NextToken == "" || len(jobs) >= limit {
			return jobs, nil
		}
		in["NextToken"] = page.NextToken
	}
}

// psRow is one job as --json prints it.
type psRow struct {
	Kind                          string
	Name, Status, SecondaryStatus string
	Instances                     string `json:",omitempty"`
	Created                       time.Time
	Ended                         *time.Time `json:",omitempty"`
	Seconds                       int64
	MicroUSD                      int64
	Unpriced                      bool `json:",omitempty"`
}

// printAll prints jobs and, below them, notebook instances.
func (n *notebooks) printAll(jobs []job, books []notebook, ofJobs, ofBooks usage) error {
	jobList, jobTable := jobRows(jobs, ofJobs)
	bookList, bookTable := notebookRows(books, ofBooks)
	if n.json {
		all := []any{}
		for _, j := range jobList {
			all = append(all, j)
		}
		for _, b := range bookList {
			all = append(all, b)
		}
		return n.printJSON(all)
	}
	if len(jobTable) == 0 && len(bookTable) == 0 {
		_, err := fmt.Fprintln(n.Out, "No training jobs yet. Run a SageMaker script: clary run -- python train.py")
		return err
	}
	if len(jobTable) > 0 {
		printTable(n.Out, []string{"job", "status", "instances", "created", "took", "cost"}, jobTable, nil, 6)
	}
	if len(bookTable) > 0 {
		printTable(n.Out, notebookHeads(), bookTable, nil, 7)
	}
	return nil
}

func jobRows(jobs []job, u usage) (out []psRow, rows [][]string) {
	instances := map[string]string{}
	for _, x := range u.Usage {
		if x.Kind == "TrainingJob" {
			instances[x.Name] = instanceText(x)
		}
	}
	costs := map[string]*sum{}
	for _, l := range u.Bills["minute"].Lines {
		if l.Kind != "TrainingJob" {
			continue
		}
		if costs[l.Name] == nil {
			costs[l.Name] = &sum{}
		}
		costs[l.Name].add(l)
	}
	for _, j := range jobs {
		r := psRow{Kind: "TrainingJob", Name: j.TrainingJobName, Status: j.TrainingJobStatus, SecondaryStatus: j.SecondaryStatus, Instances: instances[j.TrainingJobName], Created: j.CreationTime.time()}
		end := u.Now
		if t := j.TrainingEndTime.time(); !t.IsZero() {
			r.Ended, end = &t, t
		}
		cost := costs[r.Name]
		if cost == nil {
			cost = &sum{}
		}
		r.Seconds, r.MicroUSD, r.Unpriced = cost.seconds, cost.micro, cost.incomplete
		out = append(out, r)
		status := r.Status
		if !j.over() && r.SecondaryStatus != "" {
			status += " (" + r.SecondaryStatus + ")"
		}
		rows = append(rows, []string{r.Name, status, r.Instances, span(u.Now.Sub(r.Created)) + " ago", span(end.Sub(r.Created)), cost.String()})
	}
	return out, rows
}

func instanceText(u resource.Usage) string {
	if u.InstanceType == "" {
		return ""
	}
	return fmt.Sprintf("%d × %s", u.Quantity, u.InstanceType)
}
