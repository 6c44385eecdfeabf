package cloudwatch

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"clary/internal/api"
	apicw "clary/internal/api/cloudwatch"
	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/store"
)

// Limits of alarms.
const (
	mostAlarms = 5000 // of an account in a region
	mostTags   = 50
	day        = 86400
	week       = 7 * day
)

// PutMetricAlarm makes an alarm, or gives one another configuration. It is
// looked at at once.
func (w *CloudWatch) PutMetricAlarm(ctx context.Context, c op.Call, in *apicw.PutMetricAlarmInput) (*struct{}, error) {
	if err := checkAlarm(c, in); err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	spec := *in
	spec.Tags = nil
	k := alarmKey(c, in.AlarmName)
	return nil, w.records.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Get(k)
		if errors.Is(err, store.ErrNotFound) {
			if w.watch.count(c.Account, c.Region) >= mostAlarms {
				return apierr.New(400, "LimitExceededFault", "You have reached the limit of %d alarms of this account in this region.", mostAlarms)
			}
			a := &alarm{&resource.Record{Key: k, UID: resource.NewUID(), Arn: alarmArn(k), Phase: stateInsufficient, Created: now}, spec, alarmStatus{
				V: 1, Reason: reasonCreated, Configured: now, Updated: now, Transitioned: now,
			}}
			if err := a.noteCreated(tx, now); err != nil {
				return err
			}
			if err := a.put(tx, now, now); err != nil {
				return err
			}
			return tx.PutTags(a.Arn, tags)
		}
		if err != nil {
			return err
		}
		a, err := readAlarm(rec)
		if err != nil {
			return err
		}
		before := a.described()
		a.spec, a.Configured = spec, now
		if err := a.noteUpdated(tx, now, before); err != nil {
			return err
		}
		return a.put(tx, now, now)
	})
}

// checkAlarm looks for what the model does not state.
func checkAlarm(c op.Call, in *apicw.PutMetricAlarmInput) error {
	if i := strings.IndexFunc(in.AlarmName, unicode.IsControl); i >= 0 {
		return apierr.Validation("Alarm name %q must not contain control characters.", in.AlarmName)
	}
	for _, check := range []func(*apicw.PutMetricAlarmInput) error{checkServed, checkMetric, checkPeriods, checkThreshold} {
		if err := check(in); err != nil {
			return err
		}
	}
	for _, list := range [][]string{in.OKActions, in.AlarmActions, in.InsufficientDataActions} {
		if err := checkActions(c, list); err != nil {
			return err
		}
	}
	return nil
}

// checkServed names what an alarm here cannot have.
func checkServed(in *apicw.PutMetricAlarmInput) error {
	for name, given := range map[string]bool{
		"EvaluationCriteria": in.EvaluationCriteria != nil, "EvaluationInterval": in.EvaluationInterval != nil,
		"WarmUpConfiguration": in.WarmUpConfiguration != nil, "ActionConfiguration": in.ActionConfiguration != nil,
		"EvaluationWindow.WallClockWindow": in.EvaluationWindow != nil && in.EvaluationWindow.WallClockWindow != nil,
		"ThresholdMetricId":                in.ThresholdMetricId != "", "ExtendedStatistic": in.ExtendedStatistic != "",
		"EvaluateLowSampleCountPercentile": in.EvaluateLowSampleCountPercentile != "",
	} {
		if given {
			return apierr.Validation("Clary does not support %s in PutMetricAlarm: its alarms compare one of the statistics SampleCount, Average, Sum, Minimum and Maximum with a fixed threshold, over a sliding window. Nothing was changed.", name)
		}
	}
	return nil
}

func checkMetric(in *apicw.PutMetricAlarmInput) error {
	if len(in.Metrics) > 0 {
		return checkMetrics(in)
	}
	switch {
	case in.Metrics != nil && in.MetricName == "":
		return apierr.Validation("Metrics list must not be empty.")
	case in.MetricName == "":
		return apierr.Validation("The parameter MetricName is required.")
	case in.Namespace == "":
		return apierr.Validation("The parameter Namespace is required.")
	case in.Statistic == "":
		return apierr.Validation("Exactly one of Statistic and ExtendedStatistic must be given.")
	case in.Period == nil:
		return apierr.Validation("The parameter Period is required.")
	}
	return checkDimensions("Dimensions", in.Dimensions)
}

func checkDimensions(at string, dims []apicw.Dimension) error {
	if _, err := dimensions(at, dims); err != nil {
		return apierr.Validation("%s", apierr.From(err).Message)
	}
	return nil
}

func checkMetrics(in *apicw.PutMetricAlarmInput) error {
	for name, given := range map[string]bool{
		"MetricName": in.MetricName != "", "Namespace": in.Namespace != "", "Statistic": in.Statistic != "",
		"Period": in.Period != nil, "Unit": in.Unit != "", "Dimensions": len(in.Dimensions) > 0,
	} {
		if given {
			return apierr.Validation("The parameters Metrics and %s must not be given together.", name)
		}
	}
	for _, q := range in.Metrics {
		if q.Expression != "" {
			return apierr.Validation("Clary does not support Expression in the Metrics of an alarm, only one MetricStat. Nothing was changed.")
		}
	}
	q := in.Metrics[0]
	switch {
	case len(in.Metrics) > 1:
		return apierr.Validation("Exactly one element of the metrics list should return data, and Clary supports no expressions over the others: give one element.")
	case q.ReturnData != nil && !*q.ReturnData:
		return apierr.Validation("Exactly one element of the metrics list should return data.")
	case q.MetricStat == nil || q.MetricStat.Metric == nil || q.MetricStat.Metric.MetricName == "" || q.MetricStat.Metric.Namespace == "":
		return apierr.Validation("The MetricStat of Metrics element %q must name a metric with its Namespace.", q.Id)
	case q.AccountId != "":
		return apierr.Validation("Clary does not support AccountId in the Metrics of an alarm. Nothing was changed.")
	}
	if _, ok := statistic(q.MetricStat.Stat, metrics.Point{Count: 1}); !ok {
		return apierr.Validation("Clary keeps sums, minima, maxima and counts by the minute; it has no statistic %s.", q.MetricStat.Stat)
	}
	return checkDimensions("Metrics.member.1.MetricStat.Metric.Dimensions", q.MetricStat.Metric.Dimensions)
}

func checkPeriods(in *apicw.PutMetricAlarmInput) error {
	p := seriesOf(in).Period
	if p != 10 && p != 20 && p != 30 && (p < 60 || p%60 != 0) {
		return apierr.Validation("Period must be 10, 20, 30 or a multiple of 60.")
	}
	if in.EvaluationPeriods == nil {
		return apierr.Validation("The parameter EvaluationPeriods is required.")
	}
	if m := in.DatapointsToAlarm; m != nil && *m > *in.EvaluationPeriods {
		return apierr.Validation("DatapointsToAlarm must be less than or equal to EvaluationPeriods.")
	}
	switch most := int64(day); {
	case p >= 3600 && (p > week || *in.EvaluationPeriods > week/p):
		return apierr.Validation("Metrics cannot be checked across more than 7 days (EvaluationPeriods * Period must be <= %d).", week)
	case p < 3600 && *in.EvaluationPeriods > most/p:
		return apierr.Validation("Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= %d).", most)
	}
	return nil
}

func checkThreshold(in *apicw.PutMetricAlarmInput) error {
	switch {
	case in.ComparisonOperator == "":
		return apierr.Validation("The parameter ComparisonOperator is required.")
	case strings.Contains(in.ComparisonOperator, "UpperThreshold") || strings.Contains(in.ComparisonOperator, "LowerThreshold"):
		return apierr.Validation("Clary does not support %s: it has no anomaly detection. Nothing was changed.", in.ComparisonOperator)
	case in.Threshold == nil:
		return apierr.Validation("The parameter Threshold is required.")
	case math.IsNaN(*in.Threshold) || math.IsInf(*in.Threshold, 0):
		return apierr.Validation("The parameter Threshold must be a finite number.")
	case in.TreatMissingData != "" && !slices.Contains([]string{treatBreaching, treatNotBreaching, treatIgnore, treatMissing}, in.TreatMissingData):
		return apierr.Validation("TreatMissingData %q must be one of breaching, notBreaching, ignore and missing.", in.TreatMissingData)
	}
	return nil
}

// checkActions takes topics alone: an action of a service that is not here
// would never be done, which nobody should learn from an alarm that was silent.
func checkActions(c op.Call, actions []string) error {
	seen := make(map[string]bool)
	for _, text := range actions {
		a, ok := arn.Parse(text)
		switch {
		case !ok:
			return apierr.Validation("Invalid arn syntax: %s", text)
		case seen[text]:
			return apierr.Validation("Actions must be unique: %s", text)
		case a.Service != "sns":
			return apierr.Validation("Clary's alarms act through SNS topics only; the action %s is of the service %s. Nothing was changed.", text, a.Service)
		case a.Account == "" || strings.ContainsAny(a.Resource, ":/"):
			return apierr.Validation("Invalid arn syntax: %s", text)
		case a.Account != c.Account:
			return apierr.Validation("Clary's alarms act through topics of their own account; %s is of another one. Nothing was changed.", text)
		case a.Region != c.Region:
			return apierr.Validation("Invalid region %s specified. Only %s is supported.", a.Region, c.Region)
		}
		seen[text] = true
	}
	return nil
}

func tagMap(list []apicw.Tag) (map[string]string, error) {
	out := make(map[string]string, len(list))
	for _, t := range list {
		if _, twice := out[t.Key]; twice {
			return nil, apierr.Validation("Duplicate tag key %q: tag keys must be unique.", t.Key)
		}
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, apierr.Validation("Invalid tag key %q: the prefix aws: is reserved.", t.Key)
		}
		out[t.Key] = t.Value
	}
	if len(out) > mostTags {
		return nil, apierr.Validation("A resource can have at most %d tags.", mostTags)
	}
	return out, nil
}

// SetAlarmState sets a state until the next evaluation, with all that follows
// of it.
func (w *CloudWatch) SetAlarmState(ctx context.Context, c op.Call, in *apicw.SetAlarmStateInput) (*struct{}, error) {
	if in.StateReasonData != "" && !validJSON(in.StateReasonData) {
		return nil, apierr.New(400, "InvalidFormatFault", "The StateReasonData %s is not valid JSON.", in.StateReasonData)
	}
	now := time.Now()
	// As AWS does, the alarm goes back to what its data say with the next
	// evaluation, which is at the end of a minute.
	due := now.Truncate(time.Minute).Add(time.Minute + grace)
	k := alarmKey(c, in.AlarmName)
	err := w.records.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Get(k)
		if errors.Is(err, store.ErrNotFound) {
			return apierr.New(404, "ResourceNotFound", "Alarm %s does not exist", in.AlarmName)
		}
		if err != nil {
			return err
		}
		a, err := readAlarm(rec)
		if err != nil {
			return err
		}
		return a.become(tx, in.StateValue, in.StateReason, in.StateReasonData, now, due)
	})
	if err == nil {
		w.watch.state(k, in.StateValue)
	}
	return nil, err
}

// EnableAlarmActions has alarms act; names of alarms that are not there are
// passed over, as AWS does.
func (w *CloudWatch) EnableAlarmActions(ctx context.Context, c op.Call, in *apicw.EnableAlarmActionsInput) (*struct{}, error) {
	return nil, w.enable(ctx, c, in.AlarmNames, true)
}

// DisableAlarmActions has them not act.
func (w *CloudWatch) DisableAlarmActions(ctx context.Context, c op.Call, in *apicw.DisableAlarmActionsInput) (*struct{}, error) {
	return nil, w.enable(ctx, c, in.AlarmNames, false)
}

func (w *CloudWatch) enable(ctx context.Context, c op.Call, names []string, on bool) error {
	now := time.Now()
	return w.each(ctx, c, names, func(tx store.Tx, a *alarm) error {
		if a.enabled() == on {
			return nil
		}
		before := a.described()
		a.spec.ActionsEnabled, a.Configured = api.Ptr(on), now
		if err := a.noteUpdated(tx, now, before); err != nil {
			return err
		}
		return a.put(tx, now, now)
	})
}

// DeleteAlarms deletes those that are there.
func (w *CloudWatch) DeleteAlarms(ctx context.Context, c op.Call, in *apicw.DeleteAlarmsInput) (*struct{}, error) {
	now := time.Now()
	err := w.each(ctx, c, in.AlarmNames, func(tx store.Tx, a *alarm) error {
		if err := a.noteDeleted(tx, now); err != nil {
			return err
		}
		return tx.Delete(a.Key)
	})
	if err != nil {
		return nil, err
	}
	for _, name := range in.AlarmNames {
		w.watch.forget(alarmKey(c, name))
	}
	return nil, nil
}

// each does something with the alarms of these names, in one transaction.
func (w *CloudWatch) each(ctx context.Context, c op.Call, names []string, do func(store.Tx, *alarm) error) error {
	return w.records.Update(ctx, func(tx store.Tx) error {
		for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
			rec, err := tx.Get(alarmKey(c, name))
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			a, err := readAlarm(rec)
			if err != nil {
				return err
			}
			if err := do(tx, a); err != nil {
				return err
			}
		}
		return nil
	})
}
