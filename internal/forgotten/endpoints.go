package forgotten

import (
	"context"
	"fmt"
	"time"

	"clary/internal/budget"
	"clary/internal/meter"
	"clary/internal/metrics"
	"clary/internal/resource"
)

// endpoints are those that nobody asks, or only a monitor.
func (f Finder) endpoints(ctx context.Context, q Query, k *kept) (out []Item, err error) {
	for _, r := range k.records {
		used := k.usage[r.UID]
		going, _ := open(used, meter.InstanceSecond)
		if len(going) == 0 {
			continue
		}
		t, err := f.traffic(ctx, r, q.Now)
		if err != nil {
			return nil, err
		}
		i := Item{Kind: r.Kind, Region: r.Region, Name: r.Name, Arn: r.Arn}
		if i.Why, i.Since, i.Evidence = t.judge(going[0].Start, q); i.Why == "" {
			continue
		}
		i.end(budget.Remedy(r.Kind, r.Name))
		f.price(&i, q, used, going, meter.InstanceSecond)
		out = append(out, i)
	}
	return out, nil
}

// traffic is how often an endpoint was asked.
type traffic struct {
	last  time.Time         // it was; zero: never
	hours map[int64]float64 // requests by hour, as Unix counts them
	total float64           // of all hours
}

// traffic reads what the variants of an endpoint were asked in a week.
func (f Finder) traffic(ctx context.Context, r *resource.Record, now time.Time) (traffic, error) {
	t := traffic{hours: map[int64]float64{}}
	series, err := f.Metrics.List(ctx, metrics.SeriesQuery{
		Account: r.Account, Region: r.Region, Namespace: namespace, Name: requests, Dimensions: map[string]string{byName: r.Name},
	})
	if err != nil {
		return t, err
	}
	from := now.Add(-trafficOf).Truncate(time.Hour)
	if r.Created.After(from) { // what had its name before was asked by others
		from = r.Created
	}
	for _, s := range series {
		if s.Last.Before(r.Created.Truncate(time.Minute)) {
			continue
		}
		if s.Last.After(t.last) {
			t.last = s.Last
		}
		points, err := f.Metrics.Points(ctx, metrics.Query{
			Account: r.Account, Region: r.Region, Namespace: namespace, Name: requests, Dimensions: s.Dimensions,
			Start: from, End: now, Period: time.Hour,
		})
		if err != nil {
			return t, err
		}
		for _, p := range points {
			t.hours[p.Start.Unix()/3600] += p.Sum
			t.total += p.Sum
		}
	}
	return t, nil
}

// judge says why an endpoint that has cost since begun is taken for forgotten,
// if it is.
func (t traffic) judge(begun time.Time, q Query) (why string, since time.Time, evidence string) {
	since = begun
	if t.last.After(begun) {
		since = t.last
	}
	if d := q.Now.Sub(since); d >= q.after(quietAfter) {
		if t.last.IsZero() {
			return NoTraffic, since, "no request in the " + words(d) + " that its instances have run"
		}
		return NoTraffic, since, fmt.Sprintf("no request since %s, %s ago; %.0f in the last 7 days", t.last.UTC().Format(instant), words(d), t.total)
	}
	last := q.Now.Unix()/3600 - 1 // the last whole hour
	if begun.Unix()/3600 >= last-flatHours+1 {
		return "", since, ""
	}
	lo, hi := t.hours[last], t.hours[last]
	for h := last; h > last-flatHours; h-- {
		lo, hi = min(lo, t.hours[h]), max(hi, t.hours[h])
	}
	if lo == 0 || hi > flatMost || hi-lo > hi/10 {
		return "", since, ""
	}
	n := fmt.Sprintf("%.0f", lo)
	if hi > lo {
		n += fmt.Sprintf(" to %.0f", hi)
	}
	return Flat, begun, fmt.Sprintf("flat: %s requests in each of the last %d hours, as a monitor asks", n, flatHours)
}
