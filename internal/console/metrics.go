package console

import (
	"strconv"
	"time"

	"clary/internal/api"
	"clary/internal/api/cloudwatch"
	"clary/internal/api/logs"
	"clary/internal/metrics/pattern"
)

// shortJob bounds the jobs whose metrics are drawn from their log, each value
// that was printed; of longer ones CloudWatch's one-minute means are drawn.
const shortJob = 15 * time.Minute

const (
	maxCharts  = 12
	maxMatched = 10000 // log lines, as many as one GetLogEvents gives
)

// metrics draws what the job's metric definitions found in its output, and how
// much of its instance the host used whose log is shown.
func (v *view) metrics(j *job, body *jobBody) error {
	end := j.Ended
	if end.IsZero() {
		end = v.c.cfg.Now()
	}
	name := []cloudwatch.Dimension{{Name: string(j.Kind.Kind) + "Name", Value: j.Name}}
	host := []cloudwatch.Dimension{{Name: "Host", Value: j.Name + "/" + body.Log.Instance()}}
	var lines []line
	var asked []series
	switch {
	case len(j.metrics) == 0:
	case end.Sub(j.Created) <= shortJob && body.Log.Stream != "":
		var err error
		if lines, err = v.printed(j, body.Log.Stream); err != nil {
			return err
		}
		body.MetricsNote = "Every value that " + body.Log.Writer() + " printed, in the order of its output."
	default:
		for _, d := range j.metrics {
			asked = append(asked, series{title: d.Name, unit: d.Name, space: j.Kind.Group, name: d.Name, of: name})
		}
		body.MetricsNote = "Means over one minute, as CloudWatch keeps them."
	}
	own := len(asked)
	asked = append(asked,
		series{title: "CPU utilization", unit: "percent of one vCPU", space: j.Kind.Group, name: "CPUUtilization", of: host},
		series{title: "Memory utilization", unit: "percent", space: j.Kind.Group, name: "MemoryUtilization", of: host},
	)
	rolled, err := v.rollups(asked, j.Created, end, "minutes since the job was created", func(t time.Time) string {
		return strconv.Itoa(int(max(0, t.Sub(j.Created)).Minutes()))
	})
	switch {
	case denied(err) && own == 0: // the rest of the page has none of it
	case err != nil:
		return err
	default:
		lines = append(lines, rolled[:own]...)
		if body.Usage, err = draw(rolled[own:]); err != nil {
			return err
		}
	}
	body.Metrics, err = draw(lines[:min(len(lines), maxCharts)])
	return err
}

// draw makes the charts of those lines that have values.
func draw(lines []line) ([]*chart, error) {
	var out []*chart
	for _, l := range lines {
		if len(l.Values) == 0 {
			continue
		}
		ch, err := l.draw()
		if err != nil {
			return nil, err
		}
		out = append(out, ch)
	}
	return out, nil
}

// printed reads the values from the log's lines.
func (v *view) printed(j *job, stream string) ([]line, error) {
	head := true
	out, err := v.events(logs.GetLogEventsRequest{LogGroupName: j.Kind.Group, LogStreamName: stream, StartFromHead: &head, Limit: ptr(maxMatched)})
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, d := range j.metrics {
		find := pattern.New(d.Regex)
		if find == nil {
			continue // nothing can be found by it
		}
		l := line{Title: d.Name, Unit: d.Name, X: "value number"}
		for _, e := range out.Events {
			for _, f := range find.Values(e.Message) {
				l.Values = append(l.Values, f)
				l.Labels = append(l.Labels, strconv.Itoa(len(l.Values)))
			}
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// series is one of CloudWatch's, and what its chart is called.
type series struct {
	title, unit, space, name string
	of                       []cloudwatch.Dimension
	// rate has what was counted shown by the minute, and nothing where nothing
	// was; else means are shown, times scale if there is one.
	rate  bool
	scale float64
}

// rollups asks CloudWatch for all series at once; there is a line for each, in
// their order, whose points label names by their time.
func (v *view) rollups(asked []series, from, to time.Time, x string, label func(time.Time) string) ([]line, error) {
	in := &cloudwatch.GetMetricDataInput{
		StartTime: api.At(from.Truncate(time.Minute)), EndTime: api.At(to.Add(time.Minute)), ScanBy: "TimestampAscending",
	}
	period := time.Minute
	for to.Sub(from)/period > 1000 {
		period *= 5
	}
	lines := make([]line, len(asked))
	byID := map[string]int{}
	for i, s := range asked {
		id := "m" + strconv.Itoa(i)
		lines[i] = line{Title: s.title, Unit: s.unit, X: x}
		byID[id] = i
		stat := "Average"
		if s.rate {
			stat = "Sum"
		}
		in.MetricDataQueries = append(in.MetricDataQueries, cloudwatch.MetricDataQuery{
			Id: id, MetricStat: &cloudwatch.MetricStat{
				Metric: &cloudwatch.Metric{Namespace: s.space, MetricName: s.name, Dimensions: s.of},
				Period: int64(period / time.Second), Stat: stat,
			},
		})
	}
	out, err := ask[cloudwatch.GetMetricDataOutput](v, "cloudwatch", "GetMetricData", in)
	if err != nil {
		return nil, err
	}
	for _, r := range out.MetricDataResults {
		i, ok := byID[r.Id]
		if !ok || len(r.Values) == 0 {
			continue
		}
		points := pointsOf(r)
		if asked[i].rate {
			points = perMinute(points, from, to, period)
		}
		for _, p := range points {
			if asked[i].scale != 0 {
				p.value *= asked[i].scale
			}
			lines[i].Values, lines[i].Labels = append(lines[i].Values, p.value), append(lines[i].Labels, label(p.at))
		}
	}
	return lines, nil
}

// point is a value in time.
type point struct {
	at    time.Time
	value float64
}

func pointsOf(r cloudwatch.MetricDataResult) []point {
	out := make([]point, 0, len(r.Values))
	for i, t := range r.Timestamps[:min(len(r.Timestamps), len(r.Values))] {
		out = append(out, point{t.Time, r.Values[i]})
	}
	return out
}

// perMinute makes sums over periods a rate, which is 0 where nothing was
// counted.
func perMinute(sums []point, from, to time.Time, period time.Duration) []point {
	by := make(map[int64]float64, len(sums))
	for _, p := range sums {
		by[p.at.Truncate(period).Unix()] += p.value
	}
	var out []point
	for t := from.Truncate(period); !t.After(to); t = t.Add(period) {
		out = append(out, point{t, by[t.Unix()] / period.Minutes()})
	}
	return out
}
