package console

import (
	"net/url"
	"strings"
	"time"

	"clary/internal/api"
	sm "clary/internal/api/sagemaker"
	"clary/internal/resource"
)

// jobRow is one row of the list.
type jobRow struct {
	Name, Status, Secondary string
	Created                 time.Time
	Ended                   *time.Time
	Took                    time.Duration // from creation to the end, or until now
	Cost                    cost
	Billed                  bool
}

func rowOf(j sm.TrainingJobSummary, costs map[string]cost, now time.Time) jobRow {
	r := jobRow{Name: j.TrainingJobName, Status: j.TrainingJobStatus, Secondary: j.SecondaryStatus, Created: j.CreationTime.Time}
	end := now
	if !j.TrainingEndTime.IsZero() {
		end = j.TrainingEndTime.Time
		r.Ended = &end
	}
	r.Took = end.Sub(r.Created)
	r.Cost, r.Billed = costs[r.Name]
	return r
}

// jobFilter is what the list's form says.
type jobFilter struct {
	Name, Status, Sort, From, To string
}

type choice struct {
	Value, Title string
	Chosen       bool
}

type jobsBody struct {
	Rows                     []jobRow
	Filter                   jobFilter
	Statuses                 []choice
	ByName, ByStatus, ByTime head
	Filtered                 bool
	First, Next              string // addresses of pages
	Wrong                    string // why the filter was refused
	Empty                    *emptyBody
}

// head is a column's head that sorts by it.
type head struct {
	Title, Path string
	Sorted      string // as aria-sort says it; "" if the list is sorted otherwise
}

// head leads to the order up or, where the list is in that already, down.
func (v *view) head(title, now, up, down string) head {
	h, next := head{Title: title}, up
	switch now {
	case up:
		h.Sorted, next = "ascending", down
	case down:
		h.Sorted = "descending"
	}
	q := v.r.URL.Query()
	q.Del("page")
	q.Set("sort", next)
	h.Path = v.r.URL.Path + "?" + q.Encode()
	return h
}

const jobsPage = 50

// trainingJobs lists jobs: one page, newest first unless asked otherwise.
func (c *Console) trainingJobs(v *view) error {
	q := v.r.URL.Query()
	f := jobFilter{Name: strings.TrimSpace(q.Get("name")), Status: q.Get("status"), Sort: q.Get("sort"), From: q.Get("from"), To: q.Get("to")}
	in := sm.ListTrainingJobsRequest{
		NameContains: f.Name, StatusEquals: f.Status, SortBy: "CreationTime", SortOrder: "Descending",
		MaxResults: ptr(jobsPage), NextToken: q.Get("page"),
	}
	switch f.Sort {
	case "oldest":
		in.SortOrder = "Ascending"
	case "name":
		in.SortBy, in.SortOrder = "Name", "Ascending"
	case "name-down":
		in.SortBy = "Name"
	case "status":
		in.SortBy, in.SortOrder = "Status", "Ascending"
	case "status-down":
		in.SortBy = "Status"
	default:
		f.Sort = "newest"
	}
	body := jobsBody{
		Filter: f, Filtered: f.Name != "" || f.Status != "" || f.From != "" || f.To != "",
		Statuses: choices(f.Status, "Any status", "InProgress", "Completed", "Failed", "Stopping", "Stopped"),
		ByName:   v.head("Name", f.Sort, "name", "name-down"),
		ByStatus: v.head("Status", f.Sort, "status", "status-down"),
		ByTime:   v.head("Created", f.Sort, "oldest", "newest"),
	}
	var wrong bool
	if in.CreationTimeAfter, wrong = dayBound(f.From, 0); wrong {
		body.Wrong = "“Created from” is not a day like 2026-01-31."
	}
	if in.CreationTimeBefore, wrong = dayBound(f.To, 24*time.Hour); wrong {
		body.Wrong = "“to” is not a day like 2026-01-31."
	}
	if body.Wrong != "" {
		return v.show("training-jobs", "Training jobs", "training-jobs", body)
	}
	out, err := v.listJobs(in)
	if e, ok := refused(err); ok && e.Code == "ValidationException" {
		body.Wrong = e.Message
		return v.show("training-jobs", "Training jobs", "training-jobs", body)
	}
	if err != nil {
		return err
	}
	if err := v.fill(&body, out); err != nil {
		return err
	}
	if len(body.Rows) == 0 && !body.Filtered && in.NextToken == "" {
		if body.Empty, err = v.empty("training-jobs"); err != nil {
			return err
		}
	}
	return v.show("training-jobs", "Training jobs", "training-jobs", body)
}

// fill adds rows, what they cost, and the addresses of other pages.
func (v *view) fill(body *jobsBody, out *sm.ListTrainingJobsResponse) error {
	now := v.c.cfg.Now()
	if jobs := out.TrainingJobSummaries; len(jobs) > 0 {
		uq := resource.UsageQuery{Kind: "TrainingJob"}
		for _, j := range jobs {
			uq.Names = append(uq.Names, j.TrainingJobName)
		}
		bills, err := v.costs(uq)
		if err != nil {
			return err
		}
		costs := bills.byName()
		for _, j := range jobs {
			body.Rows = append(body.Rows, rowOf(j, costs, now))
		}
	}
	here := v.r.URL.Query()
	if here.Get("page") != "" {
		here.Del("page")
		body.First = "/training-jobs?" + here.Encode()
	}
	if out.NextToken != "" {
		here.Set("page", out.NextToken)
		body.Next = "/training-jobs?" + here.Encode()
	}
	return nil
}

func choices(chosen, first string, values ...string) []choice {
	out := []choice{{"", first, chosen == ""}}
	for _, s := range values {
		out = append(out, choice{s, s, s == chosen})
	}
	return out
}

// dayBound is a bound in time by a UTC day, shifted.
func dayBound(s string, shift time.Duration) (t api.Time, wrong bool) {
	if s == "" {
		return t, false
	}
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return t, true
	}
	return api.At(d.Add(shift)), false
}

// jobPath is a job's page.
func jobPath(name string) string { return "/training-jobs/" + url.PathEscape(name) }
