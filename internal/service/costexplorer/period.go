package costexplorer

import (
	"time"

	apice "clary/internal/api/ce"
	"clary/internal/aws/apierr"
)

const (
	daily   = "DAILY"
	monthly = "MONTHLY"
	hourly  = "HOURLY"

	day      = 24 * time.Hour
	hourForm = "2006-01-02T15:04:05Z"
)

// span is a time period and how it is cut.
type span struct {
	from, to time.Time
	cut      string
}

// instant reads a time of a period; of has its date alone.
func instant(what, s string) (t time.Time, date bool, err error) {
	if t, err = time.Parse(time.DateOnly, s); err == nil {
		return t, true, nil
	}
	if t, err = time.Parse(hourForm, s); err == nil {
		return t, false, nil
	}
	return t, false, apierr.Validation("%s time %s is invalid. Valid format is: yyyy-MM-dd.", what, s)
}

// interval reads a period's two ends.
func interval(in *apice.DateInterval, cut string) (span, error) {
	p := span{cut: cut}
	var dates [2]bool
	var err error
	if p.from, dates[0], err = instant("Start", in.Start); err != nil {
		return p, err
	}
	if p.to, dates[1], err = instant("End", in.End); err != nil {
		return p, err
	}
	for i, t := range []time.Time{p.from, p.to} {
		what, text := []string{"Start", "End"}[i], []string{in.Start, in.End}[i]
		switch {
		case cut == hourly && (dates[i] || !t.Equal(t.Truncate(time.Hour))):
			return p, apierr.Validation("%s time %s is invalid. Valid format is: yyyy-MM-ddTHH:00:00Z.", what, text)
		case cut != hourly && !dates[i]:
			return p, apierr.Validation("Hourly timePeriod is not supported for this request")
		}
	}
	return p, nil
}

// past reads a period of which usage is told.
func past(in *apice.DateInterval, cut string, now time.Time, resources bool) (span, error) {
	p, err := interval(in, cut)
	if err != nil {
		return p, err
	}
	now = now.UTC()
	today := now.Truncate(day)
	next := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	switch {
	case !p.from.Before(p.to):
		return p, apierr.Validation("Start date (and hour) should be before end date (and hour)")
	case p.to.After(next):
		return p, apierr.Validation("end date past the beginning of next month")
	case (cut == hourly || resources) && p.from.Before(today.AddDate(0, 0, -14)):
		return p, apierr.Validation("start date is too old for hourly, the max supported days for hourly granularity is 14 days.")
	case !p.from.Before(today.AddDate(0, -14, 0)):
		return p, nil
	case p.from.Day() != 1:
		return p, apierr.Validation("To retrieve data beyond the past 14 months, your start date needs to be the first day of the month.")
	case cut == daily:
		return p, apierr.Validation("You haven't enabled historical data beyond 14 months.")
	case p.from.Before(next.AddDate(0, -39, 0)):
		return p, apierr.Validation("You haven't enabled historical data beyond 38 months.")
	}
	return p, nil
}

// cuts are the beginnings of the parts.
func (p span) cuts() []time.Time {
	var out []time.Time
	for t := p.from; t.Before(p.to); t = p.after(t) {
		out = append(out, t)
	}
	return out
}

// after is the end of the part that begins at t.
func (p span) after(t time.Time) time.Time {
	var end time.Time
	switch p.cut {
	case hourly:
		end = t.Add(time.Hour)
	case daily:
		end = t.Add(day)
	default:
		end = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	}
	if p.to.Before(end) {
		return p.to
	}
	return end
}

// part is the number of the part that t lies in.
func (p span) part(t time.Time) int {
	switch p.cut {
	case hourly:
		return int(t.Sub(p.from) / time.Hour)
	case daily:
		return int(t.Sub(p.from) / day)
	}
	return (t.Year()-p.from.Year())*12 + int(t.Month()) - int(p.from.Month())
}

func (p span) interval(from, to time.Time) *apice.DateInterval {
	form := time.DateOnly
	if p.cut == hourly {
		form = hourForm
	}
	return &apice.DateInterval{Start: from.Format(form), End: to.Format(form)}
}
