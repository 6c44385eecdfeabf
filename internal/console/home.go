package console

import (
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/resource"
)

// runningRow is something that costs while it is there.
type runningRow struct {
	Kind, Name, Path, Status string
	Since                    time.Time
	Idle                     time.Duration // 0: it is used
	Cost                     cost
}

type homeBody struct {
	New          bool // nothing was ever made here
	Running      []runningRow
	More         bool // there are more jobs than are shown
	MoreBooks    bool // there are more notebook instances
	Failed       []api.TrainingJobSummary
	Recent       []jobRow
	Today, Month cost
	MonthName    string
	Now          time.Time
	Steps        *emptyBody
	Hidden       []string // what the reader may not see, and why
	Only         string   // what the sums are of
}

const homeRows = 8

// home shows what runs, what it costs, and what failed last.
func (c *Console) home(v *view) error {
	now := c.cfg.Now()
	body := homeBody{Now: now, MonthName: now.UTC().Format("January 2006")}
	jobs, running, failed, err := v.homeJobs(&body)
	if err != nil {
		return err
	}
	books, err := v.notebooksThatCost(&body)
	if err != nil {
		return err
	}
	if len(jobs.TrainingJobSummaries) == 0 && len(books) == 0 {
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
	byName, err := v.costsOf(jobs, running)
	if err != nil {
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
		}
		if n.Idles() {
			r.Idle = n.Idle
		}
		body.Running = append(body.Running, r)
	}
	for _, j := range running.TrainingJobSummaries {
		body.Running = append(body.Running, runningRow{
			Kind: "Training job", Name: j.TrainingJobName, Path: "/training-jobs/" + j.TrainingJobName,
			Status: j.SecondaryStatus, Since: j.CreationTime.Time, Cost: byName[j.TrainingJobName],
		})
	}
	body.More = running.NextToken != ""
	body.Failed = failed.TrainingJobSummaries
	for _, j := range jobs.TrainingJobSummaries {
		body.Recent = append(body.Recent, rowOf(j, byName, now))
	}
	return v.show("home", "Home", "home", body)
}

// homeJobs are the last jobs, those that run, and the last that failed. Who may
// see notebook instances alone sees none, and is told why.
func (v *view) homeJobs(body *homeBody) (last, running, failed *api.ListTrainingJobsResponse, err error) {
	for _, l := range []struct {
		to     **api.ListTrainingJobsResponse
		status string
		rows   int64
	}{{&last, "", homeRows}, {&running, "InProgress", homeRows}, {&failed, "Failed", 5}} {
		*l.to, err = v.listJobs(api.ListTrainingJobsRequest{SortBy: "CreationTime", SortOrder: "Descending", StatusEquals: l.status, MaxResults: ptr(l.rows)})
		if e, ok := refused(err); ok {
			body.Hidden = append(body.Hidden, "Training jobs are not shown. "+e.Message)
			none := &api.ListTrainingJobsResponse{}
			return none, none, none, nil
		}
		if err != nil {
			return nil, nil, nil, err
		}
	}
	return last, running, failed, nil
}

// homeSums are what today and this month cost.
func (v *view) homeSums(body *homeBody, now time.Time) error {
	spent, err := v.spend(startOfMonth(now), now, now, 0)
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
		body.MoreBooks = body.MoreBooks || list.NextToken != ""
	}
	return out, nil
}

// untouched says that there is no notebook instance either, not even one that
// is stopped.
func (v *view) untouched(body *homeBody) (bool, error) {
	any, err := v.listNotebooks(api.ListNotebookInstancesInput{MaxResults: ptr(1)})
	if _, ok := refused(err); ok {
		return len(body.Hidden) == 1, nil // there are no jobs, which the reader may see
	}
	if err != nil {
		return false, err
	}
	return len(any.NotebookInstances) == 0, nil
}

// costsOf is what jobs of some lists cost, by name.
func (v *view) costsOf(lists ...*api.ListTrainingJobsResponse) (map[string]cost, error) {
	var names []string
	for _, l := range lists {
		for _, j := range l.TrainingJobSummaries {
			names = append(names, j.TrainingJobName)
		}
	}
	if len(names) == 0 {
		return map[string]cost{}, nil
	}
	bills, err := v.costs(resource.UsageQuery{Kind: "TrainingJob", Names: names})
	return bills.byName(), err
}

func (v *view) listJobs(in api.ListTrainingJobsRequest) (*api.ListTrainingJobsResponse, error) {
	return ask[api.ListTrainingJobsResponse](v, "sagemaker", "ListTrainingJobs", &in)
}

func ptr(n int64) *int64 { return &n }
