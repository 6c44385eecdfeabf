package meter

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"clary/internal/resource"
)

// ForecastQuery asks what whole UTC days will have cost by the first book.
type ForecastQuery struct {
	Account, Region string // Region "" is all
	From, To        time.Time
	Now             time.Time
	Level           int    // percent: how sure the bounds are; 0 is 80
	Unit            string // "": money; else charged units of this one
}

// Outlook is what a span is expected to come to: micro-dollars or units.
type Outlook struct{ Mean, Low, High int64 }

// Forecast is an Outlook of each day, and of all: bounds of a sum are narrower
// than the sum of bounds.
type Forecast struct {
	Days     []Outlook // from From on
	Total    Outlook
	History  int  // whole days that it rests on
	None     bool // nothing was used in them or since
	Unpriced bool // a part has no price and is not in it
}

const lookback = 14 // days of which the mean is taken

// Forecast says what days will have cost: those that are over what they did,
// today and later what stands now at its rate, and jobs at their mean of the
// last days.
func (s *Sums) Forecast(ctx context.Context, q ForecastQuery) (Forecast, error) {
	today := q.Now.UTC().Truncate(day)
	p := past{today: today, began: today}
	begin := today.AddDate(0, 0, -lookback)
	if q.From.Before(begin) {
		begin = q.From
	}
	p.all = make([]int64, int(today.Sub(begin)/day)+1)
	p.jobs = make([]int64, len(p.all))
	out := Forecast{}
	look := SpendQuery{Account: q.Account, Region: q.Region, From: begin, To: today.Add(day), Now: q.Now}
	err := s.read(ctx, look, func(t *table) {
		for ri, ok := range t.wanted(look) {
			r, sum := &t.rate[ri], t.totals[0][ri]
			c := &t.class[r.class]
			if !ok || sum.lines == 0 || q.Unit != "" && c.unit != q.Unit {
				continue
			}
			v := sum.units
			if q.Unit == "" {
				v = sum.micro
				out.Unpriced = out.Unpriced || !r.known[0]
			}
			i := int(r.day - dayOf(begin))
			p.all[i] += v
			if !stands(c.kind, c.unit) {
				p.jobs[i] += v
			}
			if d := begin.Add(time.Duration(i) * day); d.Before(p.began) {
				p.began = d
			}
			p.any = true
		}
	})
	if err != nil {
		return Forecast{}, err
	}
	open, err := s.Running(ctx, q.Account, q.Now)
	if err != nil {
		return Forecast{}, err
	}
	for i := range open {
		u := &open[i]
		if q.Region != "" && u.Region != q.Region || q.Unit != "" && u.Unit != q.Unit || !stands(u.Kind, u.Unit) {
			continue
		}
		p.any = true
		if q.Unit != "" {
			p.standing += float64(u.Quantity) * day.Seconds()
			continue
		}
		hourly, ok := s.books[0].Hourly(u, q.Now)
		out.Unpriced = out.Unpriced || !ok
		p.standing += 24 * hourly
	}
	out.None = !p.any
	p.outlook(&out, begin, q)
	return out, nil
}

// stands says that usage goes on until somebody ends it: all but jobs.
func stands(kind resource.Kind, unit string) bool {
	return kind != "TrainingJob" && kind != "ProcessingJob" && kind != "TransformJob" && unit != Request
}

// past is what a forecast rests on, by days up to today.
type past struct {
	all, jobs []int64
	standing  float64 // a day
	began     time.Time
	today     time.Time
	any       bool
}

func (p *past) outlook(out *Forecast, begin time.Time, q ForecastQuery) {
	n := min(lookback, int(p.today.Sub(p.began)/day))
	out.History = n
	end := len(p.jobs) - 1
	mean, spread := meanOf(p.jobs[end-n : end])
	level := q.Level
	if level == 0 {
		level = 80
	}
	z := math.Sqrt2 * math.Erfinv(float64(level)/100)
	var sure, days float64 // of all days: what is known, and days of jobs to come
	total := 0.0
	for d := q.From.UTC(); d.Before(q.To); d = d.Add(day) {
		was, left := 0.0, 1.0
		if !d.After(p.today) {
			was, left = float64(p.all[int(d.Sub(begin)/day)]), 0
			if d.Equal(p.today) {
				left = 1 - q.Now.Sub(d).Hours()/24
			}
		}
		m := was + left*(p.standing+mean)
		out.Days = append(out.Days, bounds(m, was, z*spread*deviation(left, n)))
		total, sure, days = total+m, sure+was, days+left
	}
	out.Total = bounds(total, sure, z*spread*deviation(days, n))
}

// deviation of what jobs cost in some days from their mean of n days, in
// deviations of one day.
func deviation(days float64, n int) float64 {
	if n == 0 {
		return 0
	}
	return math.Sqrt(days + days*days/float64(n))
}

func bounds(mean, least, width float64) Outlook {
	r := func(f float64) int64 { return int64(math.RoundToEven(f)) }
	return Outlook{r(mean), r(max(least, mean-width)), r(mean + width)}
}

// meanOf gives the mean of days and by how much one of them differs from it.
func meanOf(days []int64) (mean, spread float64) {
	if len(days) == 0 {
		return 0, 0
	}
	for _, d := range days {
		mean += float64(d) / float64(len(days))
	}
	if len(days) == 1 {
		return mean, mean // nothing is known but that it may be otherwise
	}
	for _, d := range days {
		spread += (float64(d) - mean) * (float64(d) - mean) / float64(len(days)-1)
	}
	return mean, math.Sqrt(spread)
}

// Running lists the intervals that are open, by start and ID.
func (s *Sums) Running(ctx context.Context, account string, now time.Time) ([]resource.Usage, error) {
	now = now.UTC()
	var out []resource.Usage
	m := s.month(account, time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC))
	err := m.running(ctx, s.ledger, now, func(u resource.Usage) { out = append(out, u) })
	slices.SortFunc(out, func(a, b resource.Usage) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, err
}

// Hourly is what u costs an hour at a time, in micro-dollars; false: it has no
// price.
func (b Book) Hourly(u *resource.Usage, at time.Time) (float64, bool) {
	p, ok := b.Prices.Price(u.Region, u.Component, u.InstanceType, u.Unit, at.UTC().Format(time.DateOnly))
	if !ok || u.Unit == Request {
		return 0, ok
	}
	return float64(p.Pico) / float64(p.Per) / 1e6 * 3600 * float64(u.Quantity), true
}
