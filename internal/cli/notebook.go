package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clary/internal/client"
	"clary/internal/meter"
)

const notebooksGroup = "/aws/sagemaker/NotebookInstances"

// notebook is what we read of a notebook instance.
type notebook struct {
	NotebookInstanceName, NotebookInstanceStatus string
	InstanceType, FailureReason                  string
	CreationTime, LastModifiedTime               epoch

	NotebookInstanceLifecycleConfigName, DefaultCodeRepository string
	AdditionalCodeRepositories                                 []string
}

func (a *app) notebook() *cobra.Command {
	cmd := &cobra.Command{
		Use: "notebook", Short: "Make, open, stop and list notebook instances", Aliases: []string{"notebooks", "nb"},
		Long: "A notebook instance is a small machine with JupyterLab. It costs by the minute from the moment it is\n" +
			"in service until it is stopped, used or not; its files stay until it is deleted.",
	}
	cmd.AddCommand(a.notebookCreate(), a.notebookOpen(), a.notebookStart(), a.notebookStop(), a.notebookDelete(), a.notebookList(), a.notebookRepo(), a.notebookLifecycle(), a.notebookRescue())
	return cmd
}

// notebooks speaks to the server about them, with progress.
type notebooks struct {
	*app
	t    target
	c    *client.Client
	line *progress
}

func (a *app) toNotebooks() (*notebooks, error) {
	t, err := a.target()
	if err != nil {
		return nil, err
	}
	return &notebooks{app: a, t: t, c: t.client().Patient(time.Minute, nil), line: newProgress(a.Err)}, nil
}

func (n *notebooks) close() {
	n.line.clear()
	n.c.Close()
}

func (n *notebooks) call(ctx context.Context, operation string, in, out any) error {
	return worded(n.c.JSON(ctx, sagemaker, "SageMaker."+operation, in, out), n.t.Addr)
}

func named(name string) map[string]any { return map[string]any{"NotebookInstanceName": name} }

// one runs a verb on one instance.
func (a *app) one(use, short string, run func(ctx context.Context, n *notebooks, name string) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.toNotebooks()
			if err != nil {
				return err
			}
			defer n.close()
			return run(cmd.Context(), n, args[0])
		},
	}
}

func (a *app) notebookCreate() *cobra.Command {
	var (
		kind, role         string
		volume             int
		noWait, noExamples bool
		code               codeFlags
	)
	cmd := a.one("create", "Make a notebook instance and wait until it is in service", func(ctx context.Context, n *notebooks, name string) error {
		if err := n.create(ctx, name, kind, role, volume, code); err != nil || noWait {
			return err
		}
		if err := n.until(ctx, name, "InService"); err != nil {
			return err
		}
		if !noExamples {
			if err := n.putExamples(ctx, name); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(n.Err, "%s is in service, and costs until it is stopped: clary notebook open %s; clary notebook stop %s\n", name, name, name)
		return err
	})
	f := cmd.Flags()
	f.StringVar(&kind, "type", "ml.t3.medium", "instance type")
	f.IntVar(&volume, "volume", 5, "size of the volume in GB, at /home/ec2-user/SageMaker")
	f.StringVar(&role, "role", "", "ARN of the role that its code acts as (default: SageMakerRole of the account)")
	f.BoolVar(&noWait, "no-wait", false, "do not wait until it is in service")
	f.BoolVar(&noExamples, "no-examples", false, "put no example notebook into it")
	code.add(cmd)
	return cmd
}

func (n *notebooks) create(ctx context.Context, name, kind, role string, volume int, code codeFlags) error {
	if role == "" {
		role = "arn:aws:iam::" + n.t.Account + ":role/SageMakerRole"
	}
	in := map[string]any{"NotebookInstanceName": name, "InstanceType": kind, "RoleArn": role, "VolumeSizeInGB": volume}
	code.into(in)
	return n.call(ctx, "CreateNotebookInstance", in, nil)
}

func (a *app) notebookOpen() *cobra.Command {
	var show, start bool
	cmd := a.one("open", "Open a notebook instance in the browser", func(ctx context.Context, n *notebooks, name string) error {
		return n.open(ctx, name, "", start, show)
	})
	cmd.Flags().BoolVar(&show, "print", false, "print the link instead; it works once, within five minutes")
	cmd.Flags().BoolVar(&start, "start", false, "start it first if it is stopped or has failed; it costs from then on")
	return cmd
}

// open leads the browser into an instance, to a page of JupyterLab such as
// lab/tree/first-steps.ipynb.
func (n *notebooks) open(ctx context.Context, name, page string, start, show bool) error {
	nb, err := n.describe(ctx, name)
	if err != nil {
		return err
	}
	if at := nb.NotebookInstanceStatus; at == "Stopped" || at == "Failed" {
		if !start {
			is := "is stopped"
			if at == "Failed" {
				is = "has failed (" + printable(nb.FailureReason) + ")"
			}
			return fmt.Errorf("%s %s: clary notebook open --start %s starts it, and it costs from then on", name, is, name)
		}
		if err := n.call(ctx, "StartNotebookInstance", named(name), nil); err != nil {
			return err
		}
	}
	if err := n.until(ctx, name, "InService"); err != nil {
		return err
	}
	link, err := n.link(ctx, name)
	if err != nil {
		return err
	}
	if page != "" {
		link += "&next=/" + page
	}
	n.line.clear()
	return n.browse(link, name+" opens in your browser", show)
}

// link is a presigned URL.
func (n *notebooks) link(ctx context.Context, name string) (string, error) {
	var out struct{ AuthorizedUrl string } //nolint:revive // AWS's name
	err := n.call(ctx, "CreatePresignedNotebookInstanceUrl", named(name), &out)
	return out.AuthorizedUrl, err
}

func (a *app) notebookStart() *cobra.Command {
	return a.one("start", "Start a stopped notebook instance; it costs from then on", func(ctx context.Context, n *notebooks, name string) error {
		if err := n.call(ctx, "StartNotebookInstance", named(name), nil); err != nil {
			return err
		}
		return n.until(ctx, name, "InService")
	})
}

func (a *app) notebookStop() *cobra.Command {
	return a.one("stop", "Stop a notebook instance; its files stay", func(ctx context.Context, n *notebooks, name string) error {
		if err := n.call(ctx, "StopNotebookInstance", named(name), nil); err != nil {
			return err
		}
		return n.until(ctx, name, "Stopped")
	})
}

func (a *app) notebookDelete() *cobra.Command {
	cmd := a.one("delete", "Delete a stopped notebook instance, with its files", func(ctx context.Context, n *notebooks, name string) error {
		// Who may delete an instance need not see the bucket.
		before, unseen := n.rescues(ctx, name)
		if err := n.call(ctx, "DeleteNotebookInstance", named(name), nil); err != nil {
			return err
		}
		if err := n.until(ctx, name, ""); err != nil {
			return err
		}
		if unseen == nil {
			unseen = n.tellRescue(ctx, name, before)
		}
		if unseen != nil {
			_, err := fmt.Fprintf(n.Err, "%s is deleted. Whether anything of its volume was kept in s3://%s/%s%s/ cannot be seen: %s\n",
				name, n.bucket(), rescuePrefix, name, printable(unseen.Error()))
			return err
		}
		return nil
	})
	cmd.Long = "Delete a stopped notebook instance, with its volume. What on the volume no Git remote has, and files that are in\n" +
		"no repository, is kept in the account's bucket first, and can be brought back: clary notebook rescue restore NAME"
	return cmd
}

func (n *notebooks) describe(ctx context.Context, name string) (notebook, error) {
	var nb notebook
	return nb, n.call(ctx, "DescribeNotebookInstance", named(name), &nb)
}

// until waits for a status, "" is gone, and shows how it goes. Failed is an
// error.
func (n *notebooks) until(ctx context.Context, name, status string) error {
	for {
		nb, err := n.describe(ctx, name)
		switch {
		case status == "" && gone(err):
			return nil
		case err != nil:
			return err
		case nb.NotebookInstanceStatus == status:
			n.line.clear()
			return nil
		case nb.NotebookInstanceStatus == "Failed":
			return fmt.Errorf("%s failed: %s", name, printable(nb.FailureReason))
		case slices.Contains([]string{"Stopping", "Stopped", "Deleting"}, nb.NotebookInstanceStatus) && status == "InService":
			return fmt.Errorf("%s is %s", name, nb.NotebookInstanceStatus)
		}
		text := name + ": " + nb.NotebookInstanceStatus
		if said := n.said(ctx, name); said != "" && nb.NotebookInstanceStatus == "Pending" {
			text += ", " + said
		}
		if status == "" && nb.FailureReason != "" {
			text += ", " + printable(nb.FailureReason)
		}
		n.line.show(text)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

func gone(err error) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && strings.Contains(e.Message, "RecordNotFound")
}

// said is the last that the server wrote into the instance's log about its
// start; "" when there is nothing, which is no failure of the wait.
func (n *notebooks) said(ctx context.Context, name string) string {
	var page struct {
		Events []struct {
			Message string `json:"message"`
		} `json:"events"`
	}
	in := map[string]any{"logGroupName": notebooksGroup, "logStreamName": name + "/jupyter.log", "limit": 1}
	if n.line.w == nil || n.c.JSON(ctx, "logs", logsTarget+"GetLogEvents", in, &page) != nil || len(page.Events) == 0 {
		return ""
	}
	said, ours := strings.CutPrefix(page.Events[0].Message, "[clary] ")
	if !ours {
		return ""
	}
	return said
}

func (a *app) notebookList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Short: "List notebook instances, with what they cost", Args: cobra.NoArgs, Aliases: []string{"list"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := a.toNotebooks()
			if err != nil {
				return err
			}
			defer n.close()
			return n.list(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// all are the region's notebook instances, the newest first.
func (n *notebooks) all(ctx context.Context) ([]notebook, error) {
	var list []notebook
	in := map[string]any{"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 100}
	for {
		var page struct {
			NotebookInstances []notebook
			NextToken         string
		}
		if err := n.call(ctx, "ListNotebookInstances", in, &page); err != nil {
			return nil, err
		}
		list = append(list, page.NotebookInstances...)
		if page.NextToken == "" {
			return list, nil
		}
		in["NextToken"] = page.NextToken
	}
}

// notebookRow is one instance as --json prints it.
type notebookRow struct {
	Kind               string
	Name, Status, Type string
	Created            time.Time
	InService          *time.Time `json:",omitempty"` // since
	IdleSince          *time.Time `json:",omitempty"`
	IdleEvidence       string     `json:",omitempty"` // by what it is known that nobody uses it, or used it
	StopAt             *time.Time `json:",omitempty"` // it will be stopped for that
	StoppedUnused      *time.Time `json:",omitempty"` // it was
	Seconds            int64      // in service
	MicroUSD           int64      // machine and volume
	Unpriced           bool       `json:",omitempty"`
}

func (n *notebooks) list(ctx context.Context) error {
	all, err := n.all(ctx)
	if err != nil {
		return err
	}
	u, err := n.usage(ctx, all)
	if err != nil {
		return err
	}
	out, rows := notebookRows(all, u)
	if n.json {
		return n.printJSON(out)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(n.Out, "No notebook instance. Make one: clary notebook create NAME")
		return err
	}
	printTable(n.Out, notebookHeads(), rows, nil, 7)
	return nil
}

// usage is what instances used, and what that costs.
func (n *notebooks) usage(ctx context.Context, list []notebook) (usage, error) {
	var names []string
	for _, nb := range list {
		names = append(names, nb.NotebookInstanceName)
	}
	return readUsageOf(ctx, n.c, n.t.Region, "NotebookInstance", names)
}

func notebookHeads() []string {
	return []string{"notebook", "status", "type", "created", "in service", "idle", "cost"}
}

// notebookRows are instances for --json, and for people.
func notebookRows(all []notebook, u usage) (out []notebookRow, rows [][]string) {
	out = []notebookRow{}
	for _, nb := range all {
		r := notebookRow{Kind: "NotebookInstance", Name: nb.NotebookInstanceName, Status: nb.NotebookInstanceStatus, Type: nb.InstanceType, Created: nb.CreationTime.time()}
		cost := u.notebook(&r)
		out = append(out, r)
		up := ""
		if r.InService != nil {
			up = span(u.Now.Sub(*r.InService))
		}
		rows = append(rows, []string{r.Name, r.Status, r.Type, span(u.Now.Sub(r.Created)) + " ago", up, r.idle(u.Now), cost.String()})
	}
	return out, rows
}

// notebook fills a row from the ledger.
func (u usage) notebook(r *notebookRow) sum {
	for _, x := range u.Usage {
		if x.Kind == "NotebookInstance" && x.Name == r.Name && x.Unit == meter.InstanceSecond && x.End.IsZero() {
			r.InService = &x.Start
		}
	}
	var cost sum
	for _, l := range u.Bills["minute"].Lines {
		if l.Kind != "NotebookInstance" || l.Name != r.Name {
			continue
		}
		if l.Unit != meter.InstanceSecond {
			l.Seconds = 0 // the volume's
		}
		cost.add(l)
	}
	if at, ok := u.Idle[r.Name]; ok && r.InService != nil {
		r.IdleSince = &at
	}
	if note := u.IdleNotes[r.Name]; note.Evidence != "" {
		r.IdleEvidence = note.Evidence
		if !note.StopAt.IsZero() {
			r.StopAt = &note.StopAt
		}
		if !note.Stopped.IsZero() {
			r.StoppedUnused = &note.Stopped
		}
	}
	r.Seconds, r.MicroUSD, r.Unpriced = cost.seconds, cost.micro, cost.incomplete
	return cost
}

// idle is how long nobody has used it, and what follows of that.
func (r notebookRow) idle(now time.Time) string {
	switch {
	case r.StoppedUnused != nil:
		return "stopped unused"
	case r.IdleSince == nil:
		return ""
	case r.StopAt != nil:
		return span(now.Sub(*r.IdleSince)) + ", stops in " + span(r.StopAt.Sub(now))
	}
	return span(now.Sub(*r.IdleSince))
}
