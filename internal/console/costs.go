package console

import (
	"strings"
	"time"

	"clary/internal/meter"
	"clary/internal/resource"
)

// cost is what something costs by both price books, in micro-dollars.
type cost struct {
	Minute, AWS int64
	Seconds     int64 // used
	Unpriced    bool  // the sums are incomplete
	Running     bool  // and grow
	Hidden      bool  // the reader may not see them
}

func (c cost) Known() bool { return !c.Unpriced || c.Minute > 0 || c.AWS > 0 }

// byName sums usage by the resource's name.
func (b Bills) byName() map[string]cost {
	out := make(map[string]cost)
	for _, u := range b.Usage {
		c := out[u.Name]
		end := u.End
		if end.IsZero() {
			end, c.Running = b.Now, true
		}
		if u.Unit == meter.InstanceSecond && end.After(u.Start) {
			c.Seconds += int64((end.Sub(u.Start) + time.Second - 1) / time.Second) // begun ones, as AWS counts them
		}
		out[u.Name] = c
	}
	for _, name := range b.hidden {
		out[name] = cost{Hidden: true}
	}
	b.each(func(l meter.Line, aws bool) {
		c := out[l.Name]
		c.add(l, aws)
		out[l.Name] = c
	})
	return out
}

func (b Bills) each(f func(l meter.Line, aws bool)) {
	for _, l := range b.By["minute"].Lines {
		f(l, false)
	}
	for _, l := range b.By["aws"].Lines {
		f(l, true)
	}
}

func (c *cost) add(l meter.Line, aws bool) {
	switch {
	case l.Unpriced:
		c.Unpriced = true
	case aws:
		c.AWS += l.MicroUSD
	default:
		c.Minute += l.MicroUSD
	}
}

// sum is all of it.
func (b Bills) sum() cost {
	var c cost
	b.each(func(l meter.Line, aws bool) { c.add(l, aws) })
	return c
}

// costOf takes the books' amounts: minute, aws. What is used is counted by the
// second, as AWS does.
func costOf(by meter.Amounts) cost {
	if len(by) < 2 {
		return cost{}
	}
	return cost{Minute: by[0].MicroUSD, AWS: by[1].MicroUSD, Seconds: by[1].Seconds, Unpriced: by[0].Unpriced || by[1].Unpriced}
}

// dayCost is what a UTC day cost.
type dayCost struct {
	Day string
	cost
}

// eachDay lists the days from first to last, those without cost too.
func eachDay(list []meter.DaySpend, first, last time.Time) []dayCost {
	sums := make(map[string]meter.Amounts, len(list))
	for _, d := range list {
		sums[d.Day] = d.By
	}
	var out []dayCost
	for d := startOfDay(first); !d.After(last); d = d.AddDate(0, 0, 1) {
		day := d.Format(time.DateOnly)
		out = append(out, dayCost{day, costOf(sums[day])})
	}
	return out
}

// lineCost is what one resource's component costs.
type lineCost struct {
	Kind                          resource.Kind
	Name, Component, InstanceType string
	cost
}

func linesOfCost(list []meter.ResourceSpend) []lineCost {
	out := make([]lineCost, 0, len(list))
	for _, r := range list {
		out = append(out, lineCost{r.Kind, r.Name, r.Component, r.InstanceType, costOf(r.By)})
	}
	return out
}

// costs asks the ledger for resources by their names. Who may not see their
// costs may see the rest of a page.
func (v *view) costs(q resource.UsageQuery) (Bills, error) {
	q.Account, q.Region = v.call.Account, v.call.Region
	b, err := v.c.cfg.Costs.Costs(v.r.Context(), v.call, q)
	if denied(err) {
		return Bills{Now: v.c.cfg.Now(), hidden: q.Names}, nil
	}
	return b, err
}

// spend sums up the days from first to last, of all that the reader may list,
// and names so many of the dearest resources; by the values of a tag, too, if one
// is named.
func (v *view) spend(first, last, now time.Time, top int, tag string) (meter.Spend, error) {
	return v.c.cfg.Costs.Spend(v.r.Context(), v.call, meter.SpendQuery{
		Account: v.call.Account, Region: v.call.Region, From: startOfDay(first), To: startOfDay(last).AddDate(0, 0, 1), Now: now, Top: top, Tag: tag,
	})
}

// only says what a sum is of, where that is not everything.
func only(s meter.Spend) string {
	if s.Kinds == nil {
		return ""
	}
	var kinds []string
	for _, k := range s.Kinds {
		kinds = append(kinds, strings.ToLower(words(string(k)))+"s")
	}
	return "Of " + strings.Join(kinds, " and ") + " alone: you may not list the rest."
}

func startOfDay(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

func startOfMonth(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}
