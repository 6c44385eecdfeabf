// Package cloudwatch serves the metrics of CloudWatch, what jobs and people put
// by the minute, and alarms on them. It must never answer with a statistic that
// it cannot compute from one-minute rollups, such as a percentile, nor let an
// alarm change its state without what follows of that, in one transaction.
// Start at Operations; rule says what becomes of an alarm, watch when it is
// looked at, and become what follows.
package cloudwatch

import (
	"time"

	apicw "clary/internal/api/cloudwatch"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/store"
)

// CloudWatch serves the operations.
type CloudWatch struct {
	store   metrics.Store
	records store.Store // of alarms
	watch   *watch
}

// New makes the service. wake has a record looked at by its reconciler.
func New(data metrics.Store, records store.Store, wake func(resource.Key)) *CloudWatch {
	w := &CloudWatch{records: records, watch: newWatch(wake)}
	w.store = metrics.Told(data, func(d []metrics.Datum) { w.watch.added(d, time.Now()) })
	return w
}

// Metrics are the data, for whoever puts some: alarms are told of them.
func (w *CloudWatch) Metrics() metrics.Store { return w.store }

// Name is the service's name.
func (w *CloudWatch) Name() string { return "cloudwatch" }

// Operations lists what is served. What of it is about alarms is checked
// against their ARNs, as package action knows them.
func (w *CloudWatch) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"PutMetricData":       op.Op(w.PutMetricData),
		"GetMetricStatistics": op.Op(w.GetMetricStatistics),
		"GetMetricData":       op.Op(w.GetMetricData),
		"ListMetrics":         op.Op(w.ListMetrics),

		"PutMetricAlarm":          op.Op(w.PutMetricAlarm),
		"DescribeAlarms":          op.Op(w.DescribeAlarms),
		"DescribeAlarmsForMetric": op.Op(w.DescribeAlarmsForMetric),
		"DescribeAlarmHistory":    op.Op(w.DescribeAlarmHistory),
		"DeleteAlarms":            op.Op(w.DeleteAlarms),
		"SetAlarmState":           op.Op(w.SetAlarmState),
		"EnableAlarmActions":      op.Op(w.EnableAlarmActions),
		"DisableAlarmActions":     op.Op(w.DisableAlarmActions),
		"TagResource":             op.Op(w.TagResource),
		"UntagResource":           op.Op(w.UntagResource),
		"ListTagsForResource":     op.Op(w.ListTagsForResource),
	}
}

func badValue(format string, args ...any) error {
	return apierr.New(400, "InvalidParameterValueException", format, args...)
}

func badCombination(format string, args ...any) error {
	return apierr.New(400, "InvalidParameterCombinationException", format, args...)
}

func missing(parameter string) error {
	return apierr.New(400, "MissingRequiredParameterException", "The parameter %s is required.", parameter)
}

// dimensions are a series' dimensions; at names them in errors.
func dimensions(at string, list []apicw.Dimension) (map[string]string, error) {
	if len(list) > maxDimensions {
		return nil, badValue("The collection %s must not have a size greater than %d.", at, maxDimensions)
	}
	out := make(map[string]string, len(list))
	for i, d := range list {
		if _, twice := out[d.Name]; twice {
			return nil, badValue("No Metric may specify the same dimension key twice. (%s.member.%d)", at, i+1)
		}
		out[d.Name] = d.Value
	}
	return out, nil
}

const maxDimensions = 30

// period is how fine an answer can be: rollups are of one minute, which serves
// the periods below a minute too.
func period(seconds int64) (time.Duration, error) {
	switch {
	case seconds == 1, seconds == 5, seconds == 10, seconds == 20, seconds == 30:
		return time.Minute, nil
	case seconds > 0 && seconds%60 == 0 && seconds <= maxPeriod:
		return time.Duration(seconds) * time.Second, nil
	}
	return 0, badValue("The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60, at most %d.", maxPeriod)
}

const maxPeriod = 86400 * 31

// statistic computes one of the five statistics.
func statistic(name string, p metrics.Point) (float64, bool) {
	switch name {
	case "SampleCount":
		return p.Count, true
	case "Average":
		return p.Sum / p.Count, true
	case "Sum":
		return p.Sum, true
	case "Minimum":
		return p.Min, true
	case "Maximum":
		return p.Max, true
	}
	return 0, false
}
