package console

import (
	"slices"
	"strings"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/forgotten"
)

// runningRow is something that costs while it is there.
type runningRow struct {
	Kind, Name, Path, Status string
	Since                    time.Time
	Idle                     time.Duration // 0: it is used
	Cost, Hourly             cost          // Hourly: of what costs until somebody ends it
}

type homeBody struct {
	New            bool // nothing was ever made here
	Running        []runningRow
	More           []link // lists that have more that runs
	Failed, Recent []jobRow
	Today, Month   cost
	MonthName      string
	Steps          *emptyBody
	Hidden         []string // what the reader may not see, and why
	Only           string   // what the sums are of
	Forgotten      *forgotten.Report
	touched        bool // something was made that is not running
}

const (
	homeRows   = 8
	homeFailed = 5
)

// home shows what runs, what it costs, and what failed last.
func (c *Console) home(v *view) error {
	now := c.cfg.Now()
	body := homeBody{MonthName: now.UTC().Format("January 2006")}
	running, err := v.homeJobs(&body)
	if err != nil {
		return err
	}
	books, err := v.notebooksThatCost(&body)
	if err != nil {
		return err
	}
	served, err := v.endpointsThatCost(&body)
	if err != nil {
		return err
	}
	if len(body.Recent) == 0 && len(books) == 0 && !body.touched {
		if body.New, err = v.untouched(&body); err != nil {
			return err
		}
	}
	if body.New {
		if body.Steps, err = v.empty("training-jobs"); err != nil {
			return err
		}
	}
	if err := v.homeSums(&body, now); err != nil {
		return err
	}
	if body.Forgotten, err = v.forgotten(); err != nil {
		return err
	}
	if err := v.price(body.Recent, running); err != nil {
		return err
	}
	instances, err := v.notebookRows(books)
	if err != nil {
		return err
	}
	for _, n := range instances {
		r := runningRow{Kind: "Notebook instance", Name: n.Name, Path: n.Path, Status: n.Status, Since: n.Since, Cost: n.Cost}
		if r.Since.IsZero() {
			r.Since = n.Created
		} else {
			r.Hourly = v.hourly(notebookKind, "notebook", n.Type, 1)
		}
		if n.Idles() {
			r.Idle = n.Idle
		}
		body.Running = append(body.Running, r)
	}
	for _, e := range served {
		body.Running = append(body.Running, e.running())
	}
	for _, j := range running {
		r := runningRow{Kind: words(string(j.Kind.Kind)), Name: j.Name, Path: j.Path, Status: j.Step, Since: j.Created, Cost: j.Cost}
		if r.Status == "" {
			r.Status = j.Status
		}
		body.Running = append(body.Running, r)
	}
	return v.show("home", "Home", "home", body)
}

// homeJobs are the jobs that run; the page gets the last ones, and the last that
// failed. Of a kind that the reader may not see it says why there are none.
func (v *view) homeJobs(body *homeBody) (running []jobRow, err error) {
	for _, k := range jobKinds() {
		title := sectionAt(k.Section).Thing
		title = strings.ToUpper(title[:1]) + title[1:]
		for _, l := range []struct {
			to     *[]jobRow
			status string
			rows   int64
		}{{&body.Recent, "", homeRows}, {&running, "InProgress", homeRows}, {&body.Failed, "Failed", homeFailed}} {
			rows, next, err := v.jobs(k, jobQuery{SortBy: "CreationTime", SortOrder: "Descending", Status: l.status, Max: l.rows})
			if e, ok := refused(err); ok {
				body.Hidden = append(body.Hidden, title+" are not shown. "+e.Message)
				break
			}
			if err != nil {
				return nil, err
			}
			if *l.to = append(*l.to, rows...); l.status == "InProgress" && next != "" {
				body.More = append(body.More, link{Title: "All " + k.Thing() + "s that run", Path: "/" + k.Section + "?status=InProgress"})
			}
		}
	}
	for _, rows := range [][]jobRow{body.Recent, running, body.Failed} {
		slices.SortStableFunc(rows, func(a, b jobRow) int { return b.Created.Compare(a.Created) })
	}
	body.Recent = body.Recent[:min(len(body.Recent), homeRows)]
	body.Failed = body.Failed[:min(len(body.Failed), homeFailed)]
	return running, nil
}

// homeSums are what today and this month cost.
func (v *view) homeSums(body *homeBody, now time.Time) error {
	spent, err := v.spend(startOfMonth(now), now, now, 0, "")
	if denied(err) {
		body.Today, body.Month = cost{Hidden: true}, cost{Hidden: true}
		return nil
	}
	if err != nil {
		return err
	}
	body.Month, body.Only = costOf(spent.Total), only(spent)
	if days := eachDay(spent.Days, now, now); len(days) == 1 {
		body.Today = days[0].cost
	}
	return nil
}

// notebooksThatCost are those in service, and those on the way there. Who may
// see jobs alone sees no instance, and is told why.
func (v *view) notebooksThatCost(body *homeBody) ([]api.NotebookInstanceSummary, error) {
	var out []api.NotebookInstanceSummary
	for _, status := range []string{"Pending", "InService"} {
		list, err := v.listNotebooks(api.ListNotebookInstancesInput{SortBy: "CreationTime", SortOrder: "Descending", StatusEquals: status, MaxResults: ptr(homeRows)})
		if e, ok := refused(err); ok {
			body.Hidden = append(body.Hidden, "Notebook instances are not shown. "+e.Message)
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, list.NotebookInstances...)
		if list.NextToken != "" {
			body.More = append(body.More, link{Title: "All instances that are " + status, Path: "/notebook-instances?status=" + status})
		}
	}
	return out, nil
}

// untouched says that there is no notebook instance either, not even one that
// is stopped.
func (v *view) untouched(body *homeBody) (bool, error) {
	any, err := v.listNotebooks(api.ListNotebookInstancesInput{MaxResults: ptr(1)})
	if _, ok := refused(err); ok {
		return len(body.Hidden) <= len(jobKinds())+1, nil // there are no jobs, of which the reader may see some
	}
	if err != nil {
		return false, err
	}
	return len(any.NotebookInstances) == 0, nil
}

func yes(b *bool) bool { return b != nil && *b }

func ptr(n int64) *int64 { return &n }
