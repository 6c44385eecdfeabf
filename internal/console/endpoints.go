package console

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	sm "clary/internal/api/sagemaker"
	"clary/internal/meter"
	"clary/internal/resource"
)

const endpointKind = "Endpoint"

func endpointPath(name string) string { return "/endpoints/" + url.PathEscape(name) }

// hosting is what an endpoint costs.
type hosting struct {
	Cost      cost // so far; Seconds are those of all instances
	Billed    bool
	Hourly    cost   // of the instances that there are
	Instances string // these, in words
}

// Costs says whether it costs while it is there.
func (h hosting) Costs() bool { return h.Instances != "" }

// life is an endpoint, as the ledger has to tell it from those that had its
// name before.
type life struct {
	name    string
	created time.Time
}

// hostings reads the ledger for endpoints, by name.
func (v *view) hostings(of ...life) (map[string]hosting, error) {
	out := make(map[string]hosting)
	if len(of) == 0 {
		return out, nil
	}
	q := resource.UsageQuery{Kind: endpointKind}
	created := make(map[string]time.Time, len(of))
	for _, l := range of {
		q.Names, created[l.name] = append(q.Names, l.name), l.created
	}
	bills, err := v.costs(q)
	if err != nil {
		return nil, err
	}
	for _, name := range bills.hidden {
		out[name] = hosting{Cost: cost{Hidden: true}}
	}
	open := make(map[string]map[string]int64) // instances by name, and by type
	before := make(map[string]bool)           // UIDs of endpoints that are gone
	for _, u := range bills.Usage {
		if u.Start.Before(created[u.Name].Truncate(time.Second)) {
			before[u.UID] = true
		}
	}
	for _, u := range bills.Usage {
		if before[u.UID] || u.Unit != meter.InstanceSecond {
			continue
		}
		h := out[u.Name]
		h.Billed = true
		end := u.End
		if end.IsZero() {
			end, h.Cost.Running = bills.Now, true
			if open[u.Name] == nil {
				open[u.Name] = make(map[string]int64)
			}
			open[u.Name][u.InstanceType] += u.Quantity
		}
		if end.After(u.Start) {
			h.Cost.Seconds += int64((end.Sub(u.Start) + time.Second - 1) / time.Second)
		}
		out[u.Name] = h
	}
	bills.each(func(l meter.Line, aws bool) {
		if !before[l.UID] {
			h := out[l.Name]
			h.Cost.add(l, aws)
			out[l.Name] = h
		}
	})
	for name, types := range open {
		h := out[name]
		h.Hourly, h.Instances = v.hourlyOf(types)
		out[name] = h
	}
	return out, nil
}

// hourlyOf is what an hour of instances costs, and these in words.
func (v *view) hourlyOf(types map[string]int64) (sum cost, words string) {
	var list []string
	for t, n := range types {
		c := v.hourly(endpointKind, "hosting", t, n)
		sum.Minute, sum.AWS, sum.Unpriced = sum.Minute+c.Minute, sum.AWS+c.AWS, sum.Unpriced || c.Unpriced
		list = append(list, count(n)+" × "+t)
	}
	slices.Sort(list)
	return sum, strings.Join(list, ", ")
}

type endpointRow struct {
	Name, Path, Status string
	Created, Changed   time.Time
	hosting
}

type endpointsBody struct {
	Title, Path              string
	Rows                     []endpointRow
	Filter                   jobFilter
	Statuses                 []choice
	ByName, ByStatus, ByTime head
	Filtered                 bool
	First, Next              string
	Wrong                    string
	Hourly                   cost // of those that are shown
	Empty                    *emptyBody
}

// endpoints lists them: one page, newest first unless asked otherwise.
func (c *Console) endpoints(v *view) error {
	q := v.r.URL.Query()
	f := jobFilter{Name: strings.TrimSpace(q.Get("name")), Status: q.Get("status"), Sort: q.Get("sort"), From: q.Get("from"), To: q.Get("to")}
	in := sm.ListEndpointsInput{NameContains: f.Name, StatusEquals: f.Status, MaxResults: ptr(jobsPage), NextToken: q.Get("page")}
	f.Sort, in.SortBy, in.SortOrder = orderOf(f.Sort)
	s := sectionAt("endpoints")
	body := &endpointsBody{
		Title: s.Title, Path: "/" + s.Path, Filter: f, Filtered: f.Name != "" || f.Status != "" || f.From != "" || f.To != "",
		Statuses: choices(f.Status, "Any status", "Creating", "InService", "Updating", "RollingBack", "SystemUpdating", "Deleting", "Failed", "OutOfService", "UpdateRollbackFailed"),
		ByName:   v.head("Name", f.Sort, "name", "name-down"),
		ByStatus: v.head("Status", f.Sort, "status", "status-down"),
		ByTime:   v.head("Created", f.Sort, "oldest", "newest"),
	}
	if err := v.fillEndpoints(body, in); err != nil {
		return err
	}
	return v.show(s.Path, s.Title, s.Path, body)
}

// orderOf reads what a column's head asks for.
func orderOf(s string) (sort, by, order string) {
	switch s {
	case "oldest":
		return s, "CreationTime", "Ascending"
	case "name":
		return s, "Name", "Ascending"
	case "name-down":
		return s, "Name", "Descending"
	case "status":
		return s, "Status", "Ascending"
	case "status-down":
		return s, "Status", "Descending"
	}
	return "newest", "CreationTime", "Descending"
}

// fillEndpoints adds rows, what they cost, and the addresses of other pages; or
// why there are none.
func (v *view) fillEndpoints(body *endpointsBody, in sm.ListEndpointsInput) error {
	if in.CreationTimeAfter, in.CreationTimeBefore, body.Wrong = body.Filter.days(); body.Wrong != "" {
		return nil
	}
	out, err := ask[sm.ListEndpointsOutput](v, "sagemaker", "ListEndpoints", &in)
	if e, ok := refused(err); ok && e.Code == "ValidationException" {
		body.Wrong = e.Message
		return nil
	}
	if err != nil {
		return err
	}
	if body.Rows, err = v.endpointRows(out.Endpoints); err != nil {
		return err
	}
	for _, r := range body.Rows {
		body.Hourly.Minute, body.Hourly.AWS, body.Hourly.Unpriced = body.Hourly.Minute+r.Hourly.Minute, body.Hourly.AWS+r.Hourly.AWS, body.Hourly.Unpriced || r.Hourly.Unpriced
	}
	body.First, body.Next = v.pages(out.NextToken)
	if len(body.Rows) == 0 && !body.Filtered && in.NextToken == "" {
		body.Empty, err = v.empty("endpoints")
	}
	return err
}

func (v *view) endpointRows(list []sm.EndpointSummary) ([]endpointRow, error) {
	var of []life
	for _, e := range list {
		of = append(of, life{e.EndpointName, e.CreationTime.Time})
	}
	costs, err := v.hostings(of...)
	if err != nil {
		return nil, err
	}
	var rows []endpointRow
	for _, e := range list {
		rows = append(rows, endpointRow{
			Name: e.EndpointName, Path: endpointPath(e.EndpointName), Status: e.EndpointStatus,
			Created: e.CreationTime.Time, Changed: e.LastModifiedTime.Time, hosting: costs[e.EndpointName],
		})
	}
	return rows, nil
}

// endpointsThatCost are those of the newest that are, or are on the way, in
// service. Who may not list them is told so.
func (v *view) endpointsThatCost(body *homeBody) ([]endpointRow, error) {
	out, err := ask[sm.ListEndpointsOutput](v, "sagemaker", "ListEndpoints", &sm.ListEndpointsInput{SortBy: "CreationTime", SortOrder: "Descending", MaxResults: ptr(jobsPage)})
	if e, ok := refused(err); ok {
		body.Hidden = append(body.Hidden, "Endpoints are not shown. "+e.Message)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	body.touched = body.touched || len(out.Endpoints) > 0
	all, err := v.endpointRows(out.Endpoints)
	if err != nil {
		return nil, err
	}
	rows := slices.DeleteFunc(all, func(r endpointRow) bool {
		return !r.Costs() && statusClass(r.Status) != "good" && statusClass(r.Status) != "busy"
	})
	if len(rows) > homeRows || out.NextToken != "" {
		rows = rows[:min(len(rows), homeRows)]
		body.More = append(body.More, link{Title: "All endpoints", Path: "/endpoints"})
	}
	return rows, nil
}

// running is the row of an endpoint on the first page.
func (r endpointRow) running() runningRow {
	return runningRow{Kind: "Endpoint", Name: r.Name, Path: r.Path, Status: r.Status, Since: r.Created, Cost: r.Cost, Hourly: r.Hourly}
}

// typesOf counts the instances that a configuration asks for.
func typesOf(list []sm.ProductionVariant) map[string]int64 {
	out := make(map[string]int64)
	for _, p := range list {
		if p.InitialInstanceCount != nil {
			out[cmp.Or(p.InstanceType, "unknown")] += *p.InitialInstanceCount
		}
	}
	return out
}
