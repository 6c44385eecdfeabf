package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"clary/internal/client"
	"clary/internal/resource"
)

func (a *app) ps() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "ps", Short: "List training jobs, the newest first, with what they cost", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return fmt.Errorf("--limit %d: want at least 1", limit)
			}
			t, err := a.target()
			if err != nil {
				return err
			}
			c := t.client()
			defer c.Close()
			jobs, err := listJobs(cmd.Context(), c, limit)
			if err != nil {
				return worded(err, t.Addr)
			}
			u, err := readUsage(cmd.Context(), c, t.Region, time.Time{}, time.Time{})
			if err != nil {
				return err
			}
			return a.printJobs(jobs, u)
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "how many")
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
	Name, Status, SecondaryStatus string
	Instances                     string `json:",omitempty"`
	Created                       time.Time
	Ended                         *time.Time `json:",omitempty"`
	Seconds                       int64
	MicroUSD                      int64
	Unpriced                      bool `json:",omitempty"`
}

func (a *app) printJobs(jobs []job, u usage) error {
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
	out := []psRow{}
	var rows [][]string
	for _, j := range jobs {
		r := psRow{Name: j.TrainingJobName, Status: j.TrainingJobStatus, SecondaryStatus: j.SecondaryStatus, Instances: instances[j.TrainingJobName], Created: j.CreationTime.time()}
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
	if a.json {
		return a.printJSON(out)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.Out, "No training jobs yet. Run a SageMaker script: clary run -- python train.py")
		return err
	}
	printTable(a.Out, []string{"job", "status", "instances", "created", "took", "cost"}, rows, nil, 6)
	return nil
}

func instanceText(u resource.Usage) string {
	if u.InstanceType == "" {
		return ""
	}
	return fmt.Sprintf("%d × %s", u.Quantity, u.InstanceType)
}
