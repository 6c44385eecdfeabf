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

// metrics draws what the job's metric definitions found in its output.
func (v *view) metrics(j *job, body *jobBody) error {
	if len(j.metrics) == 0 {
		return nil
	}
	end := j.Ended
	if end.IsZero() {
		end = v.c.cfg.Now()
	}
	var lines []line
	var err error
	if end.Sub(j.Created) <= shortJob && body.Log.Stream != "" {
		lines, err = v.printed(j, body.Log.Stream)
		body.MetricsNote = "Every value that " + body.Log.Writer() + " printed, in the order of its output."
	} else {
		lines, err = v.rollups(j, end)
		body.MetricsNote = "Means over one minute, as CloudWatch keeps them."
	}
	if err != nil {
		return err
	}
	for _, l := range lines[:min(len(lines), maxCharts)] {
		if len(l.Values) == 0 {
			continue
		}
		ch, err := l.draw()
		if err != nil {
			return err
		}
		body.Metrics = append(body.Metrics, ch)
	}
	return nil
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

// rollups asks CloudWatch for every metric at once.
func (v *view) rollups(j *job, to time.Time) ([]line, error) {
	from := j.Created
	in := &cloudwatch.GetMetricDataInput{
		StartTime: api.At(from.Truncate(time.Minute)), EndTime: api.At(to.Add(time.Minute)), ScanBy: "TimestampAscending",
	}
	name, period := string(j.Kind.Kind)+"Name", int64(60)
	for to.Sub(from)/(time.Duration(period)*time.Second) > 1000 {
		period *= 5
	}
	for i, d := range j.metrics {
		in.MetricDataQueries = append(in.MetricDataQueries, cloudwatch.MetricDataQuery{
			Id: "m" + strconv.Itoa(i), Label: d.Name,
			MetricStat: &cloudwatch.MetricStat{
				Metric: &cloudwatch.Metric{Namespace: j.Kind.Group, MetricName: d.Name, Dimensions: []cloudwatch.Dimension{{Name: name, Value: j.Name}}},
				Period: period, Stat: "Average",
			},
		})
	}
	out, err := ask[cloudwatch.GetMetricDataOutput](v, "cloudwatch", "GetMetricData", in)
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, r := range out.MetricDataResults {
		l := line{Title: r.Label, Unit: r.Label, X: "minutes since the job was created", Values: r.Values}
		for _, t := range r.Timestamps {
			l.Labels = append(l.Labels, strconv.Itoa(int(max(0, t.Sub(from)).Minutes())))
		}
		lines = append(lines, l)
	}
	return lines, nil
}
