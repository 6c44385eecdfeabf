package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"clary/internal/api"
	"clary/internal/resource"
)

// jobKind is a kind of jobs: what its operations are called, and how their
// answers read as a job. The pages are the same for all kinds.
type jobKind struct {
	Kind     resource.Kind // as the ledger has it
	Section  string        // the path of its list
	Group    string        // of its logs
	Note     string        // what the list says of a job, beside its status
	Keeps    string        // what is kept of a job that is stopped
	LogNote  string        // what its streams are, where their names do not say it
	hints    []hint        // its own, before those of all kinds
	list     func(v *view, q jobQuery) (list []jobRow, next string, err error)
	describe func(v *view, name string) (*job, error)
	stop     func(v *view, name string) error
	// models says which model each row is of; nil: a job is of none.
	models func(v *view, rows []jobRow) error
	// main is whose lines of a job's log tell most; nil: mainHost's.
	main func(j *job) string
	// prepare adds what a job's page and its log show and describe has not; nil:
	// there is nothing.
	prepare func(v *view, j *job) error
	// data shows what went in and what came out; nil: by place.
	data func(v *view, j *job, body *jobBody) error
}

// jobKinds are all, in the order of the work.
func jobKinds() []*jobKind { return []*jobKind{processingJobs(), trainingJobs(), transformJobs()} }

// Thing is what one job is called.
func (k *jobKind) Thing() string { return strings.ToLower(words(string(k.Kind))) }

// Work is what its jobs do.
func (k *jobKind) Work() string { return strings.TrimSuffix(string(k.Kind), "Job") }

// Modelled says that each of its jobs is of a model.
func (k *jobKind) Modelled() bool { return k.models != nil }

func (k *jobKind) path(name string) string { return "/" + k.Section + "/" + url.PathEscape(name) }

// pages are those that every kind has.
func (k *jobKind) pages(c *Console, m *http.ServeMux) {
	at := "/" + k.Section
	m.Handle("GET "+at, c.page(k.listPage))
	m.Handle("GET "+at+"/{name}", c.page(k.jobPage))
	m.Handle("GET "+at+"/{name}/code", c.page(k.codePage))
	m.Handle("GET "+at+"/{name}/log", c.page(k.logPage))
	m.Handle("GET "+at+"/{name}/log/live", c.page(k.tail))
	m.Handle("GET "+at+"/{name}/stop", c.page(k.stopPage))
	m.Handle("POST "+at+"/{name}/stop", c.page(k.stopIt))
}

// pathOf is the page of what usage and events name; "" if it has none.
func pathOf(kind resource.Kind, name string) string {
	switch kind {
	case notebookKind:
		return notebookPath(name)
	case endpointKind:
		return endpointPath(name)
	case "Model":
		return modelPath(name)
	case "EndpointConfig":
		return configPath(name)
	}
	for _, k := range jobKinds() {
		if k.Kind == kind {
			return k.path(name)
		}
	}
	return ""
}

// jobRow is one row of a list.
type jobRow struct {
	Kind               *jobKind
	Name, Path, Status string
	Step, Note         string // Step: finer than the status, "" if there is nothing finer
	Model              named  // that it is of, in lists of kinds that have one
	Created            time.Time
	Ended              time.Time     // zero: it runs
	Took               time.Duration // from creation to the end, or until now
	Cost               cost
	Billed             bool
}

// jobQuery asks for a page of a list.
type jobQuery struct {
	Name, Status, SortBy, SortOrder string
	After, Before                   api.Time // created
	Max                             int64
	Page                            string
}

// jobFilter is what a list's form says.
type jobFilter struct {
	Name, Status, Sort, From, To string
}

type choice struct {
	Value, Title string
	Chosen       bool
}

type jobsBody struct {
	Kind                     *jobKind
	Title, Path              string
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

// listPage lists jobs: one page, newest first unless asked otherwise.
func (k *jobKind) listPage(v *view) error {
	q := v.r.URL.Query()
	f := jobFilter{Name: strings.TrimSpace(q.Get("name")), Status: q.Get("status"), Sort: q.Get("sort"), From: q.Get("from"), To: q.Get("to")}
	in := jobQuery{Name: f.Name, Status: f.Status, Max: jobsPage, Page: q.Get("page")}
	f.Sort, in.SortBy, in.SortOrder = orderOf(f.Sort)
	body := jobsBody{
		Kind: k, Title: sectionAt(k.Section).Title, Path: "/" + k.Section,
		Filter: f, Filtered: f.Name != "" || f.Status != "" || f.From != "" || f.To != "",
		Statuses: choices(f.Status, "Any status", "InProgress", "Completed", "Failed", "Stopping", "Stopped"),
		ByName:   v.head("Name", f.Sort, "name", "name-down"),
		ByStatus: v.head("Status", f.Sort, "status", "status-down"),
		ByTime:   v.head("Created", f.Sort, "oldest", "newest"),
	}
	if err := v.fill(&body, in); err != nil {
		return err
	}
	return v.show("jobs", body.Title, k.Section, body)
}

// fill adds rows, what they cost, and the addresses of other pages; or why
// there are none.
func (v *view) fill(body *jobsBody, in jobQuery) error {
	if in.After, in.Before, body.Wrong = body.Filter.days(); body.Wrong != "" {
		return nil
	}
	rows, next, err := v.jobs(body.Kind, in)
	if e, ok := refused(err); ok && e.Code == "ValidationException" {
		body.Wrong = e.Message
		return nil
	}
	if err != nil {
		return err
	}
	body.Rows = rows
	if err := v.price(rows); err != nil {
		return err
	}
	if body.Kind.models != nil {
		if err := body.Kind.models(v, rows); err != nil {
			return err
		}
	}
	body.First, body.Next = v.pages(next)
	if len(rows) == 0 && !body.Filtered && in.Page == "" {
		body.Empty, err = v.empty(body.Kind.Section)
	}
	return err
}

// pages are the addresses of a list's first page, if this is another, and of its
// next.
func (v *view) pages(token string) (first, next string) {
	here := v.r.URL.Query()
	if here.Get("page") != "" {
		here.Del("page")
		first = v.r.URL.Path + "?" + here.Encode()
	}
	if token != "" {
		here.Set("page", token)
		next = v.r.URL.Path + "?" + here.Encode()
	}
	return first, next
}

// days are the bounds of the creation that are asked for, or what is wrong with
// them.
func (f jobFilter) days() (after, before api.Time, text string) {
	after, wrong := dayBound(f.From, 0)
	if wrong {
		text = "“Created from” is not a day like 2026-01-31."
	}
	if before, wrong = dayBound(f.To, 24*time.Hour); wrong {
		text = "“to” is not a day like 2026-01-31."
	}
	return after, before, text
}

// jobs asks for a page of a kind's list.
func (v *view) jobs(k *jobKind, q jobQuery) (rows []jobRow, next string, err error) {
	rows, next, err = k.list(v, q)
	now := v.c.cfg.Now()
	for i := range rows {
		r := &rows[i]
		end := r.Ended
		if end.IsZero() {
			end = now
		}
		r.Kind, r.Path, r.Took = k, k.path(r.Name), end.Sub(r.Created)
	}
	return rows, next, err
}

// price says what jobs cost: one question for each kind among them.
func (v *view) price(lists ...[]jobRow) error {
	for _, k := range jobKinds() {
		var of []*jobRow
		q := resource.UsageQuery{Kind: k.Kind}
		for _, rows := range lists {
			for i := range rows {
				if rows[i].Kind.Kind == k.Kind {
					of, q.Names = append(of, &rows[i]), append(q.Names, rows[i].Name)
				}
			}
		}
		if len(of) == 0 {
			continue
		}
		bills, err := v.costs(q)
		if err != nil {
			return err
		}
		costs := bills.byName()
		for _, r := range of {
			r.Cost, r.Billed = costs[r.Name]
		}
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
