package console

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"clary/internal/api/ce"
	"clary/internal/resource"
)

// dates are the days that a page shows, both of them too, in UTC.
type dates struct {
	First, Last time.Time
	From, To    string // as the form shows them
	Title       string
	Chosen      bool // by the reader
	Wrong       string
}

// maxDays bounds a range: more is for clary cost and a file.
const maxDays = 400

// datesOf reads from and to, or month; without them it is this month.
func datesOf(q url.Values, now time.Time) dates {
	d := dates{From: q.Get("from"), To: q.Get("to")}
	first := startOfMonth(now)
	if s := q.Get("month"); s != "" && d.From == "" && d.To == "" {
		m, err := time.Parse("2006-01", s)
		if err != nil || m.After(now) {
			d.Wrong = "“Month” is not a month like 2026-01 that has begun."
			return d
		}
		first = m
	}
	d.First, d.Last = first, first.AddDate(0, 1, -1)
	d.Chosen = d.From != "" || d.To != ""
	var wrong bool
	if d.From != "" {
		if d.First, wrong = dayAt(d.From); wrong {
			d.Wrong = "“From” is not a day like 2026-01-31."
			return d
		}
		if d.To == "" {
			d.Last = startOfDay(now)
		}
	}
	if d.To != "" {
		if d.Last, wrong = dayAt(d.To); wrong {
			d.Wrong = "“To” is not a day like 2026-01-31."
			return d
		}
		if d.From == "" {
			d.First = startOfMonth(d.Last)
		}
	}
	if today := startOfDay(now); d.Last.After(today) {
		d.Last = today
	}
	switch n := int(d.Last.Sub(d.First)/(24*time.Hour)) + 1; {
	case d.First.After(startOfDay(now)):
		d.Wrong = "These days are yet to come."
	case n < 1:
		d.Wrong = "The first day is after the last."
	case n > maxDays:
		d.Wrong = fmt.Sprintf("These are %d days, and a page shows at most %d.", n, maxDays)
	}
	d.From, d.To = d.First.Format(time.DateOnly), d.Last.Format(time.DateOnly)
	d.Title = spanOfDays(d.First, d.Last)
	return d
}

func dayAt(s string) (t time.Time, wrong bool) {
	t, err := time.Parse(time.DateOnly, s)
	return t, err != nil || t.Year() < 2000
}

// spanOfDays names days as people do.
func spanOfDays(first, last time.Time) string {
	switch {
	case first.Equal(last):
		return first.Format("2 January 2006")
	case first.Day() == 1 && first.Year() == last.Year() && first.Month() == last.Month():
		if last.AddDate(0, 0, 1).Day() == 1 {
			return first.Format("January 2006")
		}
		return first.Format("2 to ") + last.Format("2 January 2006")
	}
	return first.Format("2 January 2006 to ") + last.Format("2 January 2006")
}

// link leads to a page, which may be the one that is shown.
type link struct {
	Title, Path string
	Here        bool
}

type billingBody struct {
	Dates      dates
	Ranges     []link
	Total      cost
	Only       string // what the sums are of
	Chart      *chart
	Kinds      []kindCost
	Tags       []choice // keys to sum up by
	Tag        string
	Tagged     []tagCost
	Export     string // the command that exports these days
	Rows       []lineCost
	Left       int    // rows that are not shown
	More       string // address of the page with more of them
	Most       int    // so many
	Empty      *emptyBody
	Prev, Next string // addresses
}

const (
	billRows = 50  // of the dearest resources
	billMost = 200 // where these are asked for
)

// billing is what days cost in the session's region: this month unless asked
// otherwise.
func (c *Console) billing(v *view) error {
	now := c.cfg.Now()
	body := billingBody{Dates: datesOf(v.r.URL.Query(), now)}
	d := body.Dates
	body.links(now)
	if d.Wrong != "" {
		return v.show("billing", "Billing", "billing", body)
	}
	q, rows := v.r.URL.Query(), billRows
	if q.Get("rows") == strconv.Itoa(billMost) {
		rows = billMost
	}
	body.Tag = q.Get("tag")
	spent, err := v.spend(d.First, d.Last, now, rows, body.Tag)
	if err != nil {
		return err
	}
	body.Total, body.Rows, body.Left, body.Only = costOf(spent.Total), linesOfCost(spent.Top), spent.Resources-len(spent.Top), only(spent)
	if body.Left > 0 && rows < billMost {
		q.Set("rows", strconv.Itoa(billMost))
		body.More, body.Most = "/billing?"+q.Encode(), min(billMost, spent.Resources)
	}
	if len(body.Rows) == 0 {
		if !d.Chosen && d.First.Equal(startOfMonth(now)) {
			if body.Empty, err = v.empty("billing"); err != nil {
				return err
			}
		}
		return v.show("billing", "Billing", "billing", body)
	}
	for _, k := range spent.ByKind {
		body.Kinds = append(body.Kinds, kindCost{k.Kind, costOf(k.By)})
	}
	for _, t := range spent.ByTag {
		body.Tagged = append(body.Tagged, tagCost{t.Value, costOf(t.By)})
	}
	if body.Tags, err = v.tagKeys(d, body.Tag); err != nil {
		return err
	}
	body.Export = fmt.Sprintf("clary bill export s3://%s/bills/ --format csv --from %s --to %s", v.about().Bucket, d.From, d.Last.AddDate(0, 0, 1).Format(time.DateOnly))
	if body.Chart, err = bill(eachDay(spent.Days, d.First, d.Last)).bars(); err != nil {
		return err
	}
	return v.show("billing", "Billing", "billing", body)
}

// kindCost is what a kind of resources costs, tagCost what those with a value of
// a tag do.
type kindCost struct {
	Kind resource.Kind
	cost
}

type tagCost struct {
	Value string
	cost
}

// tagKeys are the keys of tags that what was used in some days has. Who may not
// ask for them, or where nobody knows them, sums up by none.
func (v *view) tagKeys(d dates, chosen string) ([]choice, error) {
	if !v.c.cfg.Calls.Serves("ce", "GetTags") {
		return nil, nil
	}
	out, err := ask[ce.GetTagsResponse](v, "ce", "GetTags", &ce.GetTagsRequest{
		TimePeriod: &ce.DateInterval{Start: d.From, End: d.Last.AddDate(0, 0, 1).Format(time.DateOnly)},
	})
	if _, no := refused(err); no {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := choices(chosen, "No tag")
	for _, key := range out.Tags {
		list = append(list, choice{key, key, key == chosen})
	}
	return list, nil
}

// maxBars is as many days as bars can be told apart.
const maxBars = 60

// bill is the chart's line: by day or, where these are too many, by month.
func bill(days []dayCost) line {
	l := line{Title: "Cost by day", Unit: "US dollars", X: "day, UTC", Names: []string{"per started minute", "on AWS"}}
	form := "2 Jan"
	first, last := days[0].Day, days[len(days)-1].Day
	switch {
	case len(days) > maxBars:
		l.Title, l.X, form = "Cost by month", "month, UTC", "Jan 2006"
	case first[:7] == last[:7]:
		form = "2"
		if t, err := time.Parse(time.DateOnly, first); err == nil {
			l.X = t.Format("day of January 2006, UTC")
		}
	}
	for _, d := range days {
		label := d.Day
		if t, err := time.Parse(time.DateOnly, d.Day); err == nil {
			label = t.Format(form)
		}
		if n := len(l.Labels); n == 0 || l.Labels[n-1] != label {
			l.Labels, l.Values, l.Beside = append(l.Labels, label), append(l.Values, 0), append(l.Beside, 0)
		}
		l.Values[len(l.Values)-1] += float64(d.Minute) / 1e6
		l.Beside[len(l.Beside)-1] += float64(d.AWS) / 1e6
	}
	return l
}

func (b *billingBody) links(now time.Time) {
	month, today := startOfMonth(now), startOfDay(now)
	add := func(title string, q url.Values, first, last time.Time) {
		p := "/billing"
		if len(q) > 0 {
			p += "?" + q.Encode()
		}
		b.Ranges = append(b.Ranges, link{title, p, b.Dates.Wrong == "" && b.Dates.First.Equal(first) && b.Dates.Last.Equal(last)})
	}
	since := func(first time.Time) url.Values {
		return url.Values{"from": {first.Format(time.DateOnly)}, "to": {today.Format(time.DateOnly)}}
	}
	add("This month", nil, month, today)
	before := month.AddDate(0, -1, 0)
	add("Last month", url.Values{"month": {before.Format("2006-01")}}, before, month.AddDate(0, 0, -1))
	week, many, year := today.AddDate(0, 0, -6), today.AddDate(0, 0, -29), time.Date(today.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	add("7 days", since(week), week, today)
	add("30 days", since(many), many, today)
	add("This year", since(year), year, today)
	if b.Dates.Wrong != "" || b.Dates.Chosen {
		return
	}
	b.Prev = "/billing?month=" + b.Dates.First.AddDate(0, -1, 0).Format("2006-01")
	if next := b.Dates.First.AddDate(0, 1, 0); !next.After(now) {
		b.Next = "/billing?month=" + next.Format("2006-01")
	}
}
