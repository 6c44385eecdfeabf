package budgets

import "time"

// Time units of a budget.
const (
	daily     = "DAILY"
	monthly   = "MONTHLY"
	quarterly = "QUARTERLY"
	annually  = "ANNUALLY"
	custom    = "CUSTOM"
)

const day = 24 * time.Hour

// forever is the end that AWS gives a budget without one.
var forever = time.Date(2087, 6, 15, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// period is a span of whole UTC days, [From, To).
type period struct{ From, To time.Time }

func midnight(t time.Time) time.Time { return t.UTC().Truncate(day) }

// calendar is the unit's period that holds t, as the calendar has it; of a
// CUSTOM budget the day.
func calendar(unit string, t time.Time) period {
	t = t.UTC()
	y, m, _ := t.Date()
	var from time.Time
	var years, months int
	switch unit {
	case monthly:
		from, months = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC), 1
	case quarterly:
		from, months = time.Date(y, (m-1)/3*3+1, 1, 0, 0, 0, 0, time.UTC), 3
	case annually:
		from, years = time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC), 1
	default:
		return period{midnight(t), midnight(t).Add(day)}
	}
	return period{from, from.AddDate(years, months, 0)}
}

// at is the period of a budget that runs from start to end which holds t: that
// of the calendar, cut to the budget's days. A CUSTOM budget has one. Before
// its start it is the first one, after its end the last.
func at(unit string, start, end, t time.Time) period {
	first := midnight(start)
	last := midnight(end)
	if last.Before(end) {
		last = last.Add(day)
	}
	if unit == custom {
		return period{first, last}
	}
	if t.Before(first) {
		t = first
	}
	if !t.Before(last) {
		t = last.Add(-1)
	}
	p := calendar(unit, t)
	if p.From.Before(first) {
		p.From = first
	}
	if last.Before(p.To) {
		p.To = last
	}
	return p
}

// before gives up to n periods that ended by the beginning of p, the newest
// first, none of which begins before start.
func before(unit string, start, end time.Time, p period, n int) []period {
	var out []period
	for unit != custom && len(out) < n && p.From.After(midnight(start)) {
		p = at(unit, start, end, p.From.Add(-1))
		out = append(out, p)
	}
	return out
}
