package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clary/internal/client"
	"clary/internal/meter"
)

const endpointKind = "Endpoint"

// endpoint is what we read of an endpoint.
type endpoint struct {
	EndpointName, EndpointStatus, FailureReason string
	CreationTime, LastModifiedTime              epoch
}

func (a *app) endpoint() *cobra.Command {
	cmd := &cobra.Command{
		Use: "endpoint", Short: "List, invoke and delete endpoints", Aliases: []string{"endpoints", "ep"},
		Long: "An endpoint keeps machines running that answer predictions. It costs by the minute of each of them, with or\n" +
			"without traffic, until it is deleted. SDKs, boto3 and the AWS CLI make endpoints.",
	}
	cmd.AddCommand(a.endpointList(), a.endpointInvoke(), a.endpointDelete())
	return cmd
}

// endpoints speaks to the server about them, with progress.
type endpoints struct {
	*app
	t    target
	c    *client.Client
	line *progress
}

// onEndpoints runs a verb.
func (a *app) onEndpoints(run func(ctx context.Context, e *endpoints, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		t, err := a.target()
		if err != nil {
			return err
		}
		e := &endpoints{app: a, t: t, c: t.client().Patient(time.Minute, nil), line: newProgress(a.Err)}
		defer e.c.Close()
		defer e.line.clear()
		return worded(run(cmd.Context(), e, args), t.Addr)
	}
}

func (e *endpoints) call(ctx context.Context, operation string, in, out any) error {
	return e.c.JSON(ctx, sagemaker, "SageMaker."+operation, in, out)
}

func describeEndpoint(ctx context.Context, c *client.Client, name string) (endpoint, error) {
	var e endpoint
	return e, c.JSON(ctx, sagemaker, "SageMaker.DescribeEndpoint", map[string]any{"EndpointName": name}, &e)
}

func noEndpoint(err error) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && strings.Contains(e.Message, "Could not find endpoint ")
}

func (a *app) endpointDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete an endpoint; its models and its configuration stay", Args: cobra.ExactArgs(1),
		RunE: a.onEndpoints(func(ctx context.Context, e *endpoints, args []string) error {
			name := args[0]
			if err := e.call(ctx, "DeleteEndpoint", map[string]any{"EndpointName": name}, nil); err != nil {
				return err
			}
			for {
				d, err := describeEndpoint(ctx, e.c, name)
				switch {
				case noEndpoint(err):
					return nil
				case err != nil:
					return err
				}
				e.line.show(name + ": " + d.EndpointStatus)
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(lookEvery):
				}
			}
		}),
	}
}

func (a *app) endpointInvoke() *cobra.Command {
	var file, kind, accept, variant string
	cmd := &cobra.Command{
		Use: "invoke NAME [BODY]", Short: "Send a request to an endpoint and print the answer", Args: cobra.RangeArgs(1, 2),
		Example: "  clary endpoint invoke NAME '[[5.1, 3.5, 1.4, 0.2]]'",
		Long:    "Send a request to an endpoint and print what its model answers. Without BODY and --file, standard input is sent.",
		RunE: a.onEndpoints(func(ctx context.Context, e *endpoints, args []string) error {
			if len(args) == 2 && file != "" {
				return errors.New("both BODY and --file are given; send one of them")
			}
			var body []byte
			var err error
			switch {
			case len(args) == 2:
				body = []byte(args[1])
			case file != "" && file != "-":
				body, err = os.ReadFile(file)
			default:
				body, err = io.ReadAll(e.In)
			}
			if err != nil {
				return err
			}
			h := http.Header{"Content-Type": {kind}}
			for name, value := range map[string]string{"Accept": accept, "X-Amzn-Sagemaker-Target-Variant": variant} {
				if value != "" {
					h.Set(name, value)
				}
			}
			e.line.show(args[0] + ": asked")
			out, err := e.c.Invoke(ctx, args[0], h, body)
			if err != nil {
				return err
			}
			e.line.clear()
			if _, err = e.Out.Write(out.Body); err == nil && terminal(e.Out) && !strings.HasSuffix(string(out.Body), "\n") {
				_, err = io.WriteString(e.Out, "\n")
			}
			return err
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&file, "file", "f", "", "file to send; - is standard input")
	f.StringVarP(&kind, "content-type", "t", "application/json", "what is sent")
	f.StringVar(&accept, "accept", "", "what is wanted back (default: what the model answers by itself)")
	f.StringVar(&variant, "variant", "", "the variant that is asked (default: by weight)")
	return cmd
}

func (a *app) endpointList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Short: "List endpoints, with what they cost", Args: cobra.NoArgs, Aliases: []string{"list"},
		RunE: a.onEndpoints(func(ctx context.Context, e *endpoints, _ []string) error {
			all, err := listEndpoints(ctx, e.c, 0)
			if err != nil {
				return err
			}
			u, err := usageOfEndpoints(ctx, e.c, e.t.Region, all)
			if err != nil {
				return err
			}
			out, rows := endpointRows(all, u)
			if e.json {
				return e.printJSON(out)
			}
			if len(rows) == 0 {
				_, err := fmt.Fprintln(e.Out, "No endpoint. Deploy a model: the console's page “Endpoints” has code for it")
				return err
			}
			printTable(e.Out, endpointHeads(), rows, nil, 6)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// listEndpoints are the region's, the newest first, so many or, with 0, all.
func listEndpoints(ctx context.Context, c *client.Client, limit int) ([]endpoint, error) {
	var list []endpoint
	in := map[string]any{"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 100}
	for {
		var page struct {
			Endpoints []endpoint
			NextToken string
		}
		if err := c.JSON(ctx, sagemaker, "SageMaker.ListEndpoints", in, &page); err != nil {
			return nil, err
		}
		list = append(list, page.Endpoints...)
		if limit > 0 && len(list) >= limit {
			return list[:limit], nil
		}
		if page.NextToken == "" {
			return list, nil
		}
		in["NextToken"] = page.NextToken
	}
}

func usageOfEndpoints(ctx context.Context, c *client.Client, region string, list []endpoint) (usage, error) {
	var names []string
	for _, e := range list {
		names = append(names, e.EndpointName)
	}
	return readUsageOf(ctx, c, region, endpointKind, names)
}

// endpointRow is one endpoint as --json prints it.
type endpointRow struct {
	Kind         string
	Name, Status string
	Instances    string `json:",omitempty"` // that cost now
	Created      time.Time
	Changed      time.Time
	Seconds      int64 // of all instances
	MicroUSD     int64
	Unpriced     bool `json:",omitempty"`
}

func endpointHeads() []string {
	return []string{"endpoint", "status", "instances", "created", "changed", "cost"}
}

// endpointRows are endpoints for --json, and for people.
func endpointRows(all []endpoint, u usage) (out []endpointRow, rows [][]string) {
	out = []endpointRow{}
	for _, e := range all {
		r := endpointRow{Kind: endpointKind, Name: e.EndpointName, Status: e.EndpointStatus, Created: e.CreationTime.time(), Changed: e.LastModifiedTime.time()}
		cost := u.endpoint(&r)
		out = append(out, r)
		rows = append(rows, []string{r.Name, r.Status, r.Instances, span(u.Now.Sub(r.Created)) + " ago", span(u.Now.Sub(r.Changed)) + " ago", cost.String()})
	}
	return out, rows
}

// endpoint fills a row from the ledger: of what had its name before, nothing.
func (u usage) endpoint(r *endpointRow) sum {
	before := map[string]bool{}
	for _, x := range u.Usage {
		if x.Start.Before(r.Created.Truncate(time.Second)) {
			before[x.UID] = true
		}
	}
	now := map[string]int64{}
	for _, x := range u.Usage {
		if x.Kind == endpointKind && x.Name == r.Name && x.Unit == meter.InstanceSecond && x.End.IsZero() && !before[x.UID] {
			now[x.InstanceType] += x.Quantity
		}
	}
	var words []string
	for t, n := range now {
		words = append(words, fmt.Sprintf("%d × %s", n, cmp.Or(t, "unknown")))
	}
	slices.Sort(words)
	r.Instances = strings.Join(words, ", ")
	var cost sum
	for _, l := range u.Bills["minute"].Lines {
		if l.Kind == endpointKind && l.Name == r.Name && !before[l.UID] {
			cost.add(l)
		}
	}
	r.Seconds, r.MicroUSD, r.Unpriced = cost.seconds, cost.micro, cost.incomplete
	return cost
}
