package cloudwatch

import (
	"time"

	"clary/internal/api"
	apicw "clary/internal/api/cloudwatch"
	"clary/internal/metrics"
)

// What becomes of an alarm is decided here, by pure functions of its request,
// its state, the minutes of its series and the time.
//
// An alarm looks at its last periods up to a whole minute, so that those of a
// long one slide. As AWS does, it looks farther back than it must: where
// periods lack data, older ones that have some stand in, and only what then is
// still missing is treated as the request says.

const (
	// spare is how many more periods than its EvaluationPeriods an alarm
	// looks at when some lack data.
	spare = 2
	// grace is how long after a minute its data may come and count as in time.
	grace = 2 * time.Second
	// ahead bounds how many evaluations are thought through to find the next
	// one that changes something; after so many the alarm is looked at again.
	ahead = 64
	// future is how far ahead of now data may be.
	future = maxFuture
)

// How missing data are treated. AWS takes any text, and those alone mean
// something other than treatMissing.
const (
	treatMissing      = "missing"
	treatIgnore       = "ignore"
	treatBreaching    = "breaching"
	treatNotBreaching = "notBreaching"
)

// rule is when an alarm is in which state.
type rule struct {
	watched
	step      int64 // minutes of a period
	every     int64 // minutes from an evaluation to the next
	n, m      int   // so many periods; so many breach in ALARM
	threshold float64
	operator  string
	missing   string
}

func ruleOf(in *apicw.PutMetricAlarmInput) rule {
	r := rule{
		watched: seriesOf(in), every: 1,
		n: int(api.Value(in.EvaluationPeriods)), threshold: api.Value(in.Threshold), operator: in.ComparisonOperator, missing: in.TreatMissingData,
	}
	if r.m = int(api.Value(in.DatapointsToAlarm)); r.m == 0 {
		r.m = r.n
	}
	if r.missing == "" {
		r.missing = treatMissing
	}
	r.step = max(1, r.Period/60) // metrics are of whole minutes
	if r.step*int64(r.n) > 24*60 {
		r.every = 60 // as AWS evaluates what looks back for more than a day
	}
	return r
}

func (r *rule) breaches(v float64) bool {
	switch r.operator {
	case "GreaterThanThreshold":
		return v > r.threshold
	case "GreaterThanOrEqualToThreshold":
		return v >= r.threshold
	case "LessThanThreshold":
		return v < r.threshold
	}
	return v <= r.threshold
}

// lasts says whether a period that breaches does so whatever data it still
// gets.
func (r *rule) lasts() bool {
	switch r.operator {
	case "GreaterThanThreshold", "GreaterThanOrEqualToThreshold":
		return r.Stat == "Maximum" || r.Stat == "SampleCount"
	}
	return r.Stat == "Minimum"
}

// bucket is one period of a series, which may have no data.
type bucket struct {
	start    int64 // minute
	have     bool
	point    metrics.Point
	value    float64
	breaches bool
}

// buckets are the last count periods before the minute end, the newest first.
// points are of single minutes, in order.
func (r *rule) buckets(points []metrics.Point, end int64, count int) []bucket {
	out := make([]bucket, count)
	for i := range out {
		out[i].start = end - int64(i+1)*r.step
	}
	for _, p := range points {
		m := p.Start.Unix() / 60
		i := (end - 1 - m) / r.step
		if m >= end || i >= int64(count) {
			continue
		}
		b := &out[i]
		if !b.have {
			b.have, b.point = true, p
			continue
		}
		b.point.Sum, b.point.Count = b.point.Sum+p.Sum, b.point.Count+p.Count
		b.point.Min, b.point.Max = min(b.point.Min, p.Min), max(b.point.Max, p.Max)
	}
	for i := range out {
		if b := &out[i]; b.have {
			b.value, _ = statistic(r.Stat, b.point)
			b.breaches = r.breaches(b.value)
		}
	}
	return out
}

// verdict is what an evaluation found.
type verdict struct {
	state string
	used  []bucket // that have data, the newest first
	lack  int      // periods that were treated as missing
	end   int64    // the minute it looked back from
	last  []bucket // the periods of EvaluationPeriods, the newest first
}

// at evaluates at the end of a minute.
func (r *rule) at(points []metrics.Point, end int64, state string) verdict {
	all := r.buckets(points, end, r.n+spare)
	v := verdict{end: end, last: all[:r.n]}
	breaching, oldest := 0, 0 // oldest: how many periods ago the oldest one was that breaches
	for i, b := range all {
		if b.have && len(v.used) < r.n {
			v.used = append(v.used, b)
			if b.breaches {
				breaching++
				oldest = i + 1
			}
		}
	}
	v.lack = r.n - len(v.used)
	fine := len(v.used) - breaching
	if r.missing == treatBreaching {
		breaching += v.lack
	}
	switch {
	case breaching >= r.m:
		v.state = stateAlarm
	case fine > 0 || v.lack > 0 && r.missing == treatNotBreaching || r.missing == treatBreaching:
		v.state = stateOK
	case r.missing == treatIgnore:
		v.state = state
	case len(v.used) == 0:
		v.state = stateInsufficient
	case oldest >= r.m:
		// All data there are breach, and began to long enough ago.
		v.state = stateAlarm
	default:
		v.state = state // the next data may be fine
	}
	return v
}

// decide evaluates at now. What the minute that has not ended yet shows is
// taken when nothing can undo it: nobody shall wait for an alarm that is sure.
func (r *rule) decide(points []metrics.Point, now time.Time, state string) verdict {
	v := r.at(points, r.floor(now.Add(-grace).Unix()/60), state)
	if v.state == stateAlarm || !r.lasts() || r.every > 1 {
		return v
	}
	if e := r.at(points, now.Unix()/60+1, state); e.state == stateAlarm && e.last[0].have && e.last[0].breaches {
		return e
	}
	return v
}

func (r *rule) floor(minute int64) int64 { return minute - minute%r.every }

// next says when an alarm that no further data reach changes its state, or
// when that is to be asked again; zero: never.
func (r *rule) next(points []metrics.Point, v verdict) time.Time {
	if len(points) == 0 {
		return time.Time{}
	}
	gone := points[len(points)-1].Start.Unix()/60 + 1 + int64(r.n+spare)*r.step // nothing is left by then
	end := r.floor(v.end) + r.every
	for range ahead {
		if r.at(points, end, v.state).state != v.state {
			break
		}
		if end >= gone {
			return time.Time{}
		}
		end += r.every
	}
	return time.Unix(end*60, 0).Add(grace)
}

// reach is the time that an evaluation at now may look at.
func (r *rule) reach(now time.Time) (from, to time.Time) {
	return now.Add(-grace - time.Duration(int64(r.n+spare)*r.step+r.every)*time.Minute), now.Add(future + time.Minute)
}
