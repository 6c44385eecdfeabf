package cloudwatch

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	apicw "clary/internal/api/cloudwatch"
	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/store"
)

const typeMetricAlarm = "MetricAlarm"

func validJSON(s string) bool { return jsontext.Value(s).IsValid() }

// DescribeAlarms gives alarms in the order of their names.
func (w *CloudWatch) DescribeAlarms(ctx context.Context, c op.Call, in *apicw.DescribeAlarmsInput) (*apicw.DescribeAlarmsOutput, error) {
	out := &apicw.DescribeAlarmsOutput{MetricAlarms: []apicw.MetricAlarm{}, CompositeAlarms: []apicw.CompositeAlarm{}}
	others := len(in.AlarmNames) > 0 || in.AlarmNamePrefix != "" || len(in.AlarmTypes) > 0 || in.StateValue != "" || in.ActionPrefix != ""
	switch {
	case in.ChildrenOfAlarmName != "" && in.ParentsOfAlarmName != "", (in.ChildrenOfAlarmName != "" || in.ParentsOfAlarmName != "") && others:
		return nil, apierr.Validation("ChildrenOfAlarmName and ParentsOfAlarmName can be given with MaxRecords and NextToken alone.")
	case in.ChildrenOfAlarmName != "" || in.ParentsOfAlarmName != "":
		return out, nil // without composite alarms no alarm has either
	case len(in.AlarmNames) > 0 && in.AlarmNamePrefix != "":
		return nil, apierr.Validation("AlarmNamePrefix and AlarmNames must not be given together.")
	case len(in.AlarmTypes) > 0 && !slices.Contains(in.AlarmTypes, typeMetricAlarm):
		return out, nil
	}
	limit := defaultPage
	if in.MaxRecords != nil {
		limit = int(*in.MaxRecords)
	}
	if len(in.AlarmNames) > 0 {
		return out, w.named(ctx, c, in, out)
	}
	q := resource.Query{
		Account: c.Account, Region: c.Region, Kind: KindAlarm, Phase: in.StateValue, NameContains: in.AlarmNamePrefix,
		Sort: resource.SortName, Token: in.NextToken,
	}
	for {
		q.Limit = limit - len(out.MetricAlarms) // so that the next page begins where this one ends
		recs, next, err := w.records.List(ctx, q)
		if errors.Is(err, store.ErrToken) {
			return nil, badToken(in.NextToken)
		}
		if err != nil {
			return nil, err
		}
		for _, r := range recs {
			a, err := readAlarm(r)
			if err != nil {
				return nil, err
			}
			if a.wanted(in) {
				out.MetricAlarms = append(out.MetricAlarms, a.shown())
			}
		}
		if q.Token = next; next == "" || len(out.MetricAlarms) == limit {
			out.NextToken = next
			return out, nil
		}
	}
}

func (w *CloudWatch) named(ctx context.Context, c op.Call, in *apicw.DescribeAlarmsInput, out *apicw.DescribeAlarmsOutput) error {
	if in.NextToken != "" {
		return badToken(in.NextToken)
	}
	return w.records.View(ctx, func(tx store.Tx) error {
		out.MetricAlarms = out.MetricAlarms[:0]
		for _, name := range slices.Compact(slices.Sorted(slices.Values(in.AlarmNames))) {
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
			if a.wanted(in) {
				out.MetricAlarms = append(out.MetricAlarms, a.shown())
			}
		}
		return nil
	})
}

func (a *alarm) wanted(in *apicw.DescribeAlarmsInput) bool {
	if !strings.HasPrefix(a.Name, in.AlarmNamePrefix) || in.StateValue != "" && a.Phase != in.StateValue {
		return false
	}
	if in.ActionPrefix == "" {
		return true
	}
	return slices.ContainsFunc(slices.Concat(a.spec.OKActions, a.spec.AlarmActions, a.spec.InsufficientDataActions), func(action string) bool {
		return strings.HasPrefix(action, in.ActionPrefix)
	})
}

// DescribeAlarmsForMetric gives the alarms that watch a series.
func (w *CloudWatch) DescribeAlarmsForMetric(ctx context.Context, c op.Call, in *apicw.DescribeAlarmsForMetricInput) (*apicw.DescribeAlarmsForMetricOutput, error) {
	dims, err := dimensions("Dimensions", in.Dimensions)
	if err != nil {
		return nil, err
	}
	out := &apicw.DescribeAlarmsForMetricOutput{MetricAlarms: []apicw.MetricAlarm{}}
	q := resource.Query{
		Account: c.Account, Region: c.Region, Kind: KindAlarm, Sort: resource.SortName, Limit: 1000,
		Parent: sign(metrics.Series{Namespace: in.Namespace, Name: in.MetricName, Dimensions: dims}),
	}
	for {
		recs, next, err := w.records.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range recs {
			a, err := readAlarm(r)
			if err != nil {
				return nil, err
			}
			s := seriesOf(&a.spec)
			if (in.Statistic == "" || in.Statistic == s.Stat) && in.ExtendedStatistic == "" &&
				(in.Period == nil || *in.Period == s.Period) && (in.Unit == "" || in.Unit == s.Unit) {
				out.MetricAlarms = append(out.MetricAlarms, a.shown())
			}
		}
		if q.Token = next; next == "" {
			return out, nil
		}
	}
}

// TagResource adds tags to an alarm.
func (w *CloudWatch) TagResource(ctx context.Context, c op.Call, in *apicw.TagResourceInput) (*apicw.TagResourceOutput, error) {
	add, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return nil, w.records.Update(ctx, func(tx store.Tx) error {
		have, err := tagged(tx, c, in.ResourceARN)
		if err != nil {
			return err
		}
		maps.Copy(have, add)
		if len(have) > mostTags {
			return apierr.Validation("A resource can have at most %d tags.", mostTags)
		}
		return tx.PutTags(in.ResourceARN, add)
	})
}

// UntagResource takes tags away; keys that are not there are passed over.
func (w *CloudWatch) UntagResource(ctx context.Context, c op.Call, in *apicw.UntagResourceInput) (*apicw.UntagResourceOutput, error) {
	return nil, w.records.Update(ctx, func(tx store.Tx) error {
		if _, err := tagged(tx, c, in.ResourceARN); err != nil {
			return err
		}
		return tx.DeleteTags(in.ResourceARN, in.TagKeys)
	})
}

// ListTagsForResource gives an alarm's tags in the order of their keys.
func (w *CloudWatch) ListTagsForResource(ctx context.Context, c op.Call, in *apicw.ListTagsForResourceInput) (*apicw.ListTagsForResourceOutput, error) {
	out := &apicw.ListTagsForResourceOutput{Tags: []apicw.Tag{}}
	err := w.records.View(ctx, func(tx store.Tx) error {
		have, err := tagged(tx, c, in.ResourceARN)
		out.Tags = out.Tags[:0]
		for k, v := range have {
			out.Tags = append(out.Tags, apicw.Tag{Key: k, Value: v})
		}
		return err
	})
	slices.SortFunc(out.Tags, func(a, b apicw.Tag) int { return cmp.Compare(a.Key, b.Key) })
	return out, err
}

// tagged are the tags of an alarm of the caller's.
func tagged(tx store.Tx, c op.Call, of string) (map[string]string, error) {
	a, ok := arn.Parse(of)
	name, isAlarm := strings.CutPrefix(a.Resource, "alarm:")
	if !ok || a.Service != "cloudwatch" {
		return nil, badValue("The value %s for parameter ResourceARN is invalid.", of)
	}
	if isAlarm && a.Account == c.Account && a.Region == c.Region {
		switch _, err := tx.Get(alarmKey(c, name)); {
		case err == nil:
			return tx.Tags(of)
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
	}
	e := apierr.New(404, "ResourceNotFoundException", "Resource %s does not exist", of)
	e.Fields = map[string]string{"ResourceType": "alarm", "ResourceId": of}
	return nil, e
}
