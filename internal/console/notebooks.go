package console

import (
	"net/url"
	"strings"
	"time"

	"clary/internal/api/logs"
	sm "clary/internal/api/sagemaker"
	"clary/internal/meter"
	"clary/internal/resource"
)

const notebookKind = "NotebookInstance"

// upkeep is what a notebook instance costs, and how it is used.
type upkeep struct {
	Since  time.Time     // in service since then; zero while it is not
	Idle   time.Duration // nobody has used it for so long; 0 while it is used
	Unused Idle          // what is known of that, and what follows
	Cost   cost          // machine and volume; Seconds are the machine's
	Billed bool
}

// upkeeps reads the ledger for instances, by name.
func (v *view) upkeeps(names ...string) (map[string]upkeep, error) {
	out := make(map[string]upkeep)
	if len(names) == 0 {
		return out, nil
	}
	bills, err := v.costs(resource.UsageQuery{Kind: notebookKind, Names: names})
	if err != nil {
		return nil, err
	}
	for name, c := range bills.byName() {
		out[name] = upkeep{Cost: c, Billed: true}
	}
	for _, u := range bills.Usage {
		k := out[u.Name]
		k.Unused = bills.Idle[u.Name]
		if u.Unit == meter.InstanceSecond && u.End.IsZero() {
			k.Since = u.Start
			if at := k.Unused.Since; !at.IsZero() && bills.Now.After(at) {
				k.Idle = bills.Now.Sub(at)
			}
		}
		out[u.Name] = k
	}
	return out, nil
}

// Idles says whether it is worth a word.
func (k upkeep) Idles() bool { return k.Idle >= 5*time.Minute }

type notebookRow struct {
	Name, Path, Status, Type string
	Created                  time.Time
	Up                       time.Duration // in service for so long, now
	upkeep
}

type notebooksBody struct {
	Rows            []notebookRow
	Filter          jobFilter
	Statuses, Sorts []choice
	Filtered        bool
	First, Next     string
	Wrong           string
	Empty           *emptyBody
	Rescues         *rescuesBody
}

// notebookInstances lists them: one page, newest first unless asked otherwise.
func (c *Console) notebookInstances(v *view) error {
	q := v.r.URL.Query()
	f := jobFilter{Name: strings.TrimSpace(q.Get("name")), Status: q.Get("status"), Sort: q.Get("sort")}
	in := sm.ListNotebookInstancesInput{
		NameContains: f.Name, StatusEquals: f.Status, SortBy: "CreationTime", SortOrder: "Descending",
		MaxResults: ptr(jobsPage), NextToken: q.Get("page"),
	}
	switch f.Sort {
	case "name":
		in.SortBy, in.SortOrder = "Name", "Ascending"
	case "status":
		in.SortBy, in.SortOrder = "Status", "Ascending"
	default:
		f.Sort = "newest"
	}
	body := notebooksBody{
		Filter: f, Filtered: f.Name != "" || f.Status != "",
		Statuses: choices(f.Status, "Any status", "Pending", "InService", "Stopping", "Stopped", "Failed", "Updating", "Deleting"),
		Sorts: []choice{
			{"newest", "Newest first", f.Sort == "newest"},
			{"name", "By name", f.Sort == "name"},
			{"status", "By status", f.Sort == "status"},
		},
	}
	const title, section = "Notebook instances", "notebook-instances"
	out, err := v.listNotebooks(in)
	if e, ok := refused(err); ok && e.Code == "ValidationException" {
		body.Wrong = e.Message
		return v.show(section, title, section, body)
	}
	if err != nil {
		return err
	}
	if body.Rows, err = v.notebookRows(out.NotebookInstances); err != nil {
		return err
	}
	if body.Rescues, err = v.rescues(); err != nil {
		return err
	}
	body.First, body.Next = v.pages(out.NextToken)
	if len(body.Rows) == 0 && !body.Filtered && in.NextToken == "" {
		if body.Empty, err = v.empty(section); err != nil {
			return err
		}
	}
	return v.show(section, title, section, body)
}

func (v *view) listNotebooks(in sm.ListNotebookInstancesInput) (*sm.ListNotebookInstancesOutput, error) {
	return ask[sm.ListNotebookInstancesOutput](v, "sagemaker", "ListNotebookInstances", &in)
}

func (v *view) notebookRows(list []sm.NotebookInstanceSummary) ([]notebookRow, error) {
	var names []string
	for _, n := range list {
		names = append(names, n.NotebookInstanceName)
	}
	costs, err := v.upkeeps(names...)
	if err != nil {
		return nil, err
	}
	var rows []notebookRow
	for _, n := range list {
		r := notebookRow{
			Name: n.NotebookInstanceName, Path: notebookPath(n.NotebookInstanceName), Status: n.NotebookInstanceStatus, Type: n.InstanceType,
			Created: n.CreationTime.Time, upkeep: costs[n.NotebookInstanceName],
		}
		if !r.Since.IsZero() {
			r.Up = v.c.cfg.Now().Sub(r.Since)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func notebookPath(name string) string { return "/notebook-instances/" + url.PathEscape(name) }

type notebookBody struct {
	Notebook *sm.DescribeNotebookInstanceOutput
	Path     string
	Up       time.Duration
	Hourly   cost // of the machine
	upkeep
	Rescue   string // where what is kept when it is deleted goes
	Config   []fact
	Log      []logLine
	Snippets []snippet
}

// notebookInstance is an instance's page.
func (c *Console) notebookInstance(v *view) error {
	n, body, err := v.describeNotebook()
	if err != nil {
		return err
	}
	body.Config = notebookConfig(n)
	if body.Log, err = v.lastLines("/aws/sagemaker/NotebookInstances", n.NotebookInstanceName+"/jupyter.log"); err != nil {
		return err
	}
	if body.Snippets, err = sectionAt("notebook-instances").snippets(v.about()); err != nil {
		return err
	}
	if label, _, ok := strings.Cut(n.Url, "."); ok {
		// The form that opens it is answered by way of the notebook's own host,
		// which has its label beside the console's.
		guardForm(v.w.Header(), "http://"+label+"."+strings.TrimPrefix(v.r.Host, "console."))
	}
	return v.show("notebook-instance", n.NotebookInstanceName, "notebook-instances", body)
}

// describeNotebook reads an instance with what it costs.
func (v *view) describeNotebook() (*sm.DescribeNotebookInstanceOutput, *notebookBody, error) {
	n, err := ask[sm.DescribeNotebookInstanceOutput](v, "sagemaker", "DescribeNotebookInstance",
		&sm.DescribeNotebookInstanceInput{NotebookInstanceName: v.r.PathValue("name")})
	if err != nil {
		return nil, nil, err
	}
	costs, err := v.upkeeps(n.NotebookInstanceName)
	if err != nil {
		return nil, nil, err
	}
	body := &notebookBody{Notebook: n, Path: notebookPath(n.NotebookInstanceName), Rescue: v.rescueURI(n.NotebookInstanceName), upkeep: costs[n.NotebookInstanceName]}
	if !body.Since.IsZero() {
		body.Up = v.c.cfg.Now().Sub(body.Since)
	}
	body.Hourly = v.hourly(notebookKind, "notebook", n.InstanceType, 1)
	return n, body, nil
}

// hourly is what an hour of instances costs.
func (v *view) hourly(kind resource.Kind, component, instanceType string, n int64) cost {
	now := v.c.cfg.Now()
	u := resource.Usage{
		ID: "hour", Account: v.call.Account, Region: v.call.Region, Kind: kind, Component: component,
		InstanceType: instanceType, Unit: meter.InstanceSecond, Quantity: n, Start: now.Add(-time.Hour), End: now,
	}
	return Bills{By: v.c.cfg.Costs.Price(u)}.sum()
}

// lastLines is the end of a log stream; nothing while there is none.
func (v *view) lastLines(group, stream string) ([]logLine, error) {
	out, err := ask[logs.GetLogEventsResponse](v, "logs", "GetLogEvents",
		&logs.GetLogEventsRequest{LogGroupName: group, LogStreamName: stream, Limit: ptr(tailLines)})
	if e, ok := refused(err); ok && e.Code == "ResourceNotFoundException" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return linesOf(out.Events), nil
}

func notebookConfig(n *sm.DescribeNotebookInstanceOutput) []fact {
	var out table
	add := out.add
	add("ARN", n.NotebookInstanceArn)
	add("Role", n.RoleArn)
	add("Platform", n.PlatformIdentifier)
	if n.VolumeSizeInGB != nil {
		add("Volume", count(*n.VolumeSizeInGB)+" GB at /home/ec2-user/SageMaker")
	}
	add("Internet access", n.DirectInternetAccess)
	add("Root access", n.RootAccess)
	if name := n.NotebookInstanceLifecycleConfigName; name != "" {
		out = append(out, fact{"Lifecycle configuration", name, lifecyclePath(name)})
	}
	if name := n.DefaultCodeRepository; name != "" {
		out = append(out, fact{"Git repository", name, repositoryPath(name)})
	}
	for _, name := range n.AdditionalCodeRepositories {
		out = append(out, fact{"Further repository", name, repositoryPath(name)})
	}
	add("Address", n.Url)
	return out
}

// notebookOpen leads the browser into an instance by a presigned URL.
func (c *Console) notebookOpen(v *view) error {
	out, err := ask[sm.CreatePresignedNotebookInstanceUrlOutput](v, "sagemaker", "CreatePresignedNotebookInstanceUrl",
		&sm.CreatePresignedNotebookInstanceUrlInput{NotebookInstanceName: v.r.PathValue("name")})
	if err != nil {
		return err
	}
	v.w.Header().Set("Referrer-Policy", "no-referrer")
	v.to(out.AuthorizedUrl)
	return nil
}

// notebookAsk is the page that asks once more before something begins to cost,
// or ends.
func (c *Console) notebookAsk(verb string) func(*view) error {
	return func(v *view) error {
		n, body, err := v.describeNotebook()
		if err != nil {
			return err
		}
		return v.show("notebook-"+strings.ToLower(verb), verb+" "+n.NotebookInstanceName, "notebook-instances", body)
	}
}

func (c *Console) notebookStart(v *view) error {
	return v.onNotebook("StartNotebookInstance", &sm.StartNotebookInstanceInput{NotebookInstanceName: v.r.PathValue("name")})
}

func (c *Console) notebookStop(v *view) error {
	return v.onNotebook("StopNotebookInstance", &sm.StopNotebookInstanceInput{NotebookInstanceName: v.r.PathValue("name")})
}

func (v *view) onNotebook(operation string, in any) error {
	if _, err := v.act(operation, in); err != nil {
		return err
	}
	v.to(notebookPath(v.r.PathValue("name")))
	return nil
}
