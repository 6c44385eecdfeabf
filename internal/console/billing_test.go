package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"clary/internal/meter"
)

func TestDates(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 13, 0, 0, 0, time.UTC)
	for query, want := range map[string]string{
		"":                              "2026-11-01 2026-11-25 1 to 25 November 2026",
		"month=2026-02":                 "2026-02-01 2026-02-28 February 2026",
		"from=2026-10-30&to=2026-11-02": "2026-10-30 2026-11-02 30 October 2026 to 2 November 2026",
		"from=2026-11-24":               "2026-11-24 2026-11-25 24 November 2026 to 25 November 2026",
		"to=2026-03-05":                 "2026-03-01 2026-03-05 1 to 5 March 2026",
		"from=2026-11-25&to=2026-12-25": "2026-11-25 2026-11-25 25 November 2026",
		"from=2025-12-31&to=2026-01-01": "2025-12-31 2026-01-01 31 December 2025 to 1 January 2026",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if d := datesOf(q, now); d.Wrong != "" || strings.Join([]string{d.From, d.To, d.Title}, " ") != want {
			t.Errorf("%s: %+v, want %s", query, d, want)
		}
	}
	for query, want := range map[string]string{
		"month=2026-13":                 "“Month” is not",
		"month=2026-12":                 "has begun",
		"from=yesterday":                "“From” is not",
		"from=0001-01-01":               "“From” is not",
		"to=2026-02-30":                 "“To” is not",
		"from=2026-11-20&to=2026-11-19": "after the last",
		"from=2026-11-26":               "yet to come",
		"from=2024-01-01":               "1060 days",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if d := datesOf(q, now); !strings.Contains(d.Wrong, want) {
			t.Errorf("%s: %q, want %q", query, d.Wrong, want)
		}
	}
}

// Bars stand for days, and where there would be too many for months; none of
// the money is lost on the way.
func TestBillBars(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{1: 1, 60: 60, 63: 4, 366: 13} {
		first := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
		var spent []meter.DaySpend
		for i := range n {
			spent = append(spent, meter.DaySpend{Day: first.AddDate(0, 0, i).Format(time.DateOnly), By: meter.Amounts{{MicroUSD: 1e6}, {}}})
		}
		l := bill(eachDay(spent, first, first.AddDate(0, 0, n-1)))
		var sum float64
		for _, v := range l.Values {
			sum += v
		}
		if len(l.Labels) != want || len(l.Values) != want || sum != float64(n) {
			t.Errorf("%d days: %d bars of %v dollars, want %d", n, len(l.Labels), sum, want)
		}
	}
}

// A bill names the dearest resources, more of them where that is asked for.
func TestBillRows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path      string
		resources int
		rows      int
		says, not string
	}{
		{"/billing", 230, billRows, "180 more are not shown. <a href=\"/billing?rows=200\">Show 200</a>", ""},
		{"/billing?month=2026-02", 60, billRows, "10 more are not shown. <a href=\"/billing?month=2026-02&amp;rows=200\">Show 60</a>", ""},
		{"/billing?rows=200", 230, billMost, "30 more are not shown. <code>", "Show 2"},
		{"/billing?rows=100000", 230, billRows, "Show 200", ""},
		{"/billing?rows=200", 60, 60, "job-59", "not shown"},
		{"/billing", 50, 50, "job-49", "not shown"},
	} {
		w := newWorld()
		w.spent = func(q meter.SpendQuery) meter.Spend {
			s := meter.Spend{Resources: c.resources, Total: meter.Amounts{{MicroUSD: 1e6}, {}}, Days: []meter.DaySpend{{Day: q.From.Format(time.DateOnly), By: meter.Amounts{{MicroUSD: 1e6}, {}}}}}
			for i := range min(q.Top, c.resources) {
				s.Top = append(s.Top, meter.ResourceSpend{Kind: "TrainingJob", Name: fmt.Sprint("job-", i), By: meter.Amounts{{MicroUSD: 1}, {}}})
			}
			return s
		}
		rec := get(t, w, c.path)
		body := rec.Body.String()
		if n := strings.Count(body, `href="/training-jobs/job-`); rec.Code != http.StatusOK || n != c.rows || !strings.Contains(body, c.says) || c.not != "" && strings.Contains(body, c.not) {
			t.Errorf("%s of %d: %d, %d rows: %s", c.path, c.resources, rec.Code, n, body[max(0, len(body)-600):])
		}
		_, after, _ := strings.Cut(body, `<tbody class="later">`)
		if n := strings.Count(after, "<tr>"); n != c.rows-25 {
			t.Errorf("%s of %d: %d rows are laid out later", c.path, c.resources, n)
		}
	}
}
