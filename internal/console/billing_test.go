package console

import (
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
