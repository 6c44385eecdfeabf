package cloudwatch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	apicw "clary/internal/api/cloudwatch"
	"clary/internal/metrics"
)

// zero is a whole hour.
func zero() time.Time { return time.Unix(1_800_000_000, 0).UTC().Truncate(time.Hour) }

// rows makes minutes of a picture, the newest last and before end: 0 is fine,
// X breaches, - is missing. Each is of so many minutes.
func rows(picture string, end time.Time, step int) []metrics.Point {
	var out []metrics.Point
	list := strings.Fields(picture)
	for i, c := range list {
		if c == "-" {
			continue
		}
		v := 1.0
		if c == "X" {
			v = 9
		}
		at := end.Add(-time.Duration((len(list)-i)*step) * time.Minute)
		out = append(out, metrics.Point{Start: at, Sum: v, Min: v, Max: v, Count: 1})
	}
	return out
}

func request(n, m, period int64) *apicw.PutMetricAlarmInput {
	in := &apicw.PutMetricAlarmInput{
		AlarmName: "a", Namespace: "n", MetricName: "x", Statistic: "Average", Period: &period, EvaluationPeriods: &n,
		Threshold: ptr(5.0), ComparisonOperator: "GreaterThanThreshold",
	}
	if m > 0 {
		in.DatapointsToAlarm = &m
	}
	return in
}

// The tables of AWS's "Configuring how CloudWatch alarms treat missing data".
func TestMissingData(t *testing.T) {
	t.Parallel()
	const keep = "as it was"
	for _, tt := range []struct {
		m       int64
		picture string
		want    [4]string // missing, ignore, breaching, notBreaching
	}{
		{3, "0 - X - X", [4]string{"OK", "OK", "OK", "OK"}},
		{3, "- - - - 0", [4]string{"OK", "OK", "OK", "OK"}},
		{3, "- - - - -", [4]string{"INSUFFICIENT_DATA", keep, "ALARM", "OK"}},
		{3, "0 X X - X", [4]string{"ALARM", "ALARM", "ALARM", "ALARM"}},
		{3, "- - X - -", [4]string{"ALARM", keep, "ALARM", "OK"}},
		{2, "0 - X - X", [4]string{"ALARM", "ALARM", "ALARM", "ALARM"}},
		{2, "0 0 X 0 X", [4]string{"ALARM", "ALARM", "ALARM", "ALARM"}},
		{2, "0 - X - -", [4]string{"OK", "OK", "ALARM", "OK"}},
		{2, "- - - - 0", [4]string{"OK", "OK", "ALARM", "OK"}},
		{2, "- - - X -", [4]string{"ALARM", keep, "ALARM", "OK"}},
		// and of "Avoiding premature transitions to alarm state"
		{3, "- - - - X", [4]string{keep, keep, "ALARM", "OK"}},
		{3, "- - - X -", [4]string{keep, keep, "ALARM", "OK"}},
		{3, "- - - X 0", [4]string{"OK", "OK", "OK", "OK"}},
	} {
		for i, treat := range []string{treatMissing, treatIgnore, treatBreaching, treatNotBreaching} {
			for _, before := range []string{stateOK, stateAlarm, stateInsufficient} {
				in := request(3, tt.m, 300)
				in.TreatMissingData = treat
				r := ruleOf(in)
				want := tt.want[i]
				if want == keep {
					want = before
				}
				got := r.at(rows(tt.picture, zero(), 5), zero().Unix()/60, before)
				if got.state != want {
					t.Errorf("%d of 3, %q, %s, before %s: %s, want %s", tt.m, tt.picture, treat, before, got.state, want)
				}
			}
		}
	}
}

func TestOperatorsAndStatistics(t *testing.T) {
	t.Parallel()
	points := []metrics.Point{
		{Start: zero().Add(-2 * time.Minute), Sum: 4, Min: 1, Max: 3, Count: 2},
		{Start: zero().Add(-time.Minute), Sum: 6, Min: 6, Max: 6, Count: 1},
	}
	for _, tt := range []struct {
		stat, op  string
		threshold float64
		want      string
	}{
		{"Sum", "GreaterThanThreshold", 10, stateOK},
		{"Sum", "GreaterThanOrEqualToThreshold", 10, stateAlarm},
		{"Sum", "LessThanThreshold", 10, stateOK},
		{"Sum", "LessThanOrEqualToThreshold", 10, stateAlarm},
		{"SampleCount", "GreaterThanThreshold", 2.5, stateAlarm},
		{"SampleCount", "GreaterThanThreshold", 3, stateOK},
		{"Average", "GreaterThanThreshold", 3.3, stateAlarm},
		{"Average", "GreaterThanThreshold", 3.4, stateOK},
		{"Minimum", "LessThanThreshold", 1.5, stateAlarm},
		{"Minimum", "LessThanThreshold", 1, stateOK},
		{"Maximum", "GreaterThanThreshold", 5.5, stateAlarm},
		{"Maximum", "GreaterThanThreshold", 6, stateOK},
	} {
		in := request(1, 0, 300)
		in.Statistic, in.ComparisonOperator, in.Threshold = tt.stat, tt.op, &tt.threshold
		r := ruleOf(in)
		if v := r.at(points, zero().Unix()/60, stateInsufficient); v.state != tt.want {
			t.Errorf("%s %s %v: %s, want %s", tt.stat, tt.op, tt.threshold, v.state, tt.want)
		}
	}
}

// A period slides with each minute.
func TestPeriodsSlide(t *testing.T) {
	t.Parallel()
	in := request(1, 0, 300)
	in.Statistic = "Sum"
	r := ruleOf(in)
	var points []metrics.Point
	for i := range 3 {
		points = append(points, metrics.Point{Start: zero().Add(time.Duration(i*2) * time.Minute), Sum: 2, Min: 2, Max: 2, Count: 1})
	}
	var got []string
	for i := range 9 {
		got = append(got, r.at(points, zero().Unix()/60+int64(i), stateOK).state)
	}
	// at :05 all three are in the five minutes before it, and at no other minute
	if want := strings.Fields("INSUFFICIENT_DATA OK OK OK OK ALARM OK OK OK"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 11, 30, 22, 40, 0, 0, time.UTC)
	for _, tt := range []struct {
		n, m          int64
		treat, before string
		picture       string
		want          string
	}{
		{1, 1, "", stateOK, "X", "Threshold Crossed: 1 out of the last 1 datapoints [9.0 (30/11/26 22:39:00)] was greater than the threshold (5.0) (minimum 1 datapoint for OK -> ALARM transition)."},
		{1, 1, "", stateAlarm, "0", "Threshold Crossed: 1 out of the last 1 datapoints [1.0 (30/11/26 22:39:00)] was not greater than the threshold (5.0) (minimum 1 datapoint for ALARM -> OK transition)."},
		{1, 0, "", stateOK, "X", "Threshold Crossed: 1 datapoint [9.0 (30/11/26 22:39:00)] was greater than the threshold (5.0)."},
		{3, 0, "", stateOK, "X X X", "Threshold Crossed: 3 datapoints [9.0 (30/11/26 22:39:00), 9.0 (30/11/26 22:38:00), 9.0 (30/11/26 22:37:00)] were greater than the threshold (5.0)."},
		{3, 2, "", stateAlarm, "0 X 0", "Threshold Crossed: 2 out of the last 3 datapoints [1.0 (30/11/26 22:39:00), 1.0 (30/11/26 22:37:00)] were not greater than the threshold (5.0) (minimum 2 datapoints for ALARM -> OK transition)."},
		{20, 1, treatNotBreaching, stateOK, "X", "Threshold Crossed: 1 out of the last 20 datapoints [9.0 (30/11/26 22:39:00)] was greater than the threshold (5.0) and 19 missing datapoints were treated as [NonBreaching] (minimum 1 datapoint for OK -> ALARM transition)."},
		{2, 0, treatBreaching, stateOK, "- -", "Threshold Crossed: no datapoints were received for 2 periods and 2 missing datapoints were treated as [Breaching]."},
		{3, 2, treatBreaching, stateOK, "0", "Threshold Crossed: 1 datapoint was received for 3 periods and 2 missing datapoints were treated as [Breaching]."},
		{1, 0, treatNotBreaching, stateAlarm, "-", "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as [NonBreaching]."},
		{1, 0, "", stateAlarm, "-", "Insufficient Data: 1 datapoint was unknown."},
		{3, 0, "", stateAlarm, "-", "Insufficient Data: 3 datapoints were unknown."},
	} {
		in := request(tt.n, tt.m, 60)
		in.TreatMissingData = tt.treat
		r := ruleOf(in)
		v := r.at(rows(tt.picture, end, 1), end.Unix()/60, tt.before)
		if got := r.reason(v, in); got != tt.want {
			t.Errorf("%d of %d, %q:\n%s, want\n%s", tt.m, tt.n, tt.picture, got, tt.want)
		}
	}
	in := request(2, 0, 60)
	r := ruleOf(in)
	got, err := r.data(r.at(rows("0 -", end, 1), end.Unix()/60, stateOK), end.Add(3*time.Second))
	want := `{"version":"1.0","queryDate":"2026-11-30T22:40:03.000+0000","startDate":"2026-11-30T22:38:00.000+0000","statistic":"Average","period":60,"recentDatapoints":[1.0],"threshold":5.0,` +
		`"evaluatedDatapoints":[{"timestamp":"2026-11-30T22:39:00.000+0000"},{"timestamp":"2026-11-30T22:38:00.000+0000","sampleCount":1.0,"value":1.0}]}`
	if err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
}

func TestDoubles(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0.0", 1: "1.0", -2.5: "-2.5", 99.50160229693434: "99.50160229693434", 1e7: "1.0E7", 123456789: "1.23456789E8", 0.0005: "5.0E-4", 0.001: "0.001", 9999999: "9999999.0"} {
		if got := double(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

// someRule and somePoints are random, of few values so that much is near.
func someRule(rng *rand.Rand) rule {
	n := 1 + rng.Int64N(4)
	in := request(n, rng.Int64N(n+1), []int64{60, 60, 180, 600}[rng.IntN(4)])
	in.Statistic = []string{"Maximum", "Minimum", "Average", "Sum", "SampleCount"}[rng.IntN(5)]
	in.ComparisonOperator = []string{"GreaterThanThreshold", "GreaterThanOrEqualToThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"}[rng.IntN(4)]
	in.Threshold = ptr(float64(rng.IntN(4)))
	in.TreatMissingData = []string{"", treatIgnore, treatBreaching, treatNotBreaching}[rng.IntN(4)]
	return ruleOf(in)
}

func somePoints(rng *rand.Rand, from time.Time, minutes int) []metrics.Point {
	var out []metrics.Point
	for i := range minutes {
		if rng.IntN(3) == 0 {
			v := float64(rng.IntN(5))
			out = append(out, metrics.Point{Start: from.Add(time.Duration(i) * time.Minute), Sum: v, Min: v, Max: v, Count: 1})
		}
	}
	return out
}

func someState(rng *rand.Rand) string {
	return []string{stateOK, stateAlarm, stateInsufficient}[rng.IntN(3)]
}

// Between a look and the time of the next one no evaluation changes anything,
// and at that time one does, or all data are gone.
func TestNextLook(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	changes := 0
	for range 2_000 {
		r := someRule(rng)
		points := somePoints(rng, zero(), 12)
		now := zero().Add(time.Duration(rng.IntN(14*60)) * time.Second)
		v := r.at(points, now.Add(-grace).Unix()/60, someState(rng))
		due := r.next(points, v)
		last := now.Add(3 * time.Hour)
		if !due.IsZero() {
			last = due.Add(-time.Second)
		}
		for at := now; at.Before(last); at = at.Add(30 * time.Second) {
			if s := r.at(points, at.Add(-grace).Unix()/60, v.state).state; s != v.state {
				t.Fatalf("%+v: %s becomes %s at %s, but the next look is at %s; %+v", r, v.state, s, at, due, points)
			}
		}
		if !due.IsZero() && due.Before(now.Add(ahead*time.Minute)) {
			changes++
			if s := r.at(points, due.Add(-grace).Unix()/60, v.state).state; s == v.state {
				t.Fatalf("%+v: a look at %s for nothing; %+v", r, due, points)
			}
		}
	}
	if changes < 300 {
		t.Errorf("only %d changes", changes)
	}
}

// What is said before a minute ends is said at its end too, whatever comes
// until then.
func TestEarlyIsSure(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	early := 0
	for range 10_000 {
		r := someRule(rng)
		points := somePoints(rng, zero(), 10)
		now := zero().Add(9*time.Minute + 30*time.Second)
		before := someState(rng)
		settled := r.at(points, now.Add(-grace).Unix()/60, before).state
		if r.decide(points, now, before).state != stateAlarm || settled == stateAlarm {
			continue
		}
		early++
		more := slices.Clone(points)
		p := &more[len(more)-1]
		for range rng.IntN(3) {
			v := float64(rng.IntN(9) - 2)
			p.Sum, p.Min, p.Max, p.Count = p.Sum+v, min(p.Min, v), max(p.Max, v), p.Count+1
		}
		if v := r.decide(more, zero().Add(10*time.Minute+grace), stateAlarm); v.state != stateAlarm {
			t.Fatalf("%+v: ALARM within the minute, %s at its end; %v, then %v", r, v.state, points, more)
		}
	}
	if early < 50 {
		t.Errorf("only %d were early", early)
	}
}

// What looks back for more than a day is evaluated at whole hours.
func TestManyDays(t *testing.T) {
	t.Parallel()
	in := request(2, 0, 86400)
	in.Statistic = "Maximum"
	r := ruleOf(in)
	if v := r.decide(nil, zero().Add(40*time.Minute), stateOK); v.end != zero().Unix()/60 {
		t.Errorf("evaluated at %s", time.Unix(v.end*60, 0))
	}
	if got := fmt.Sprint(r.step, r.every, r.n, r.m); got != "1440 60 2 2" {
		t.Error(got)
	}
}
