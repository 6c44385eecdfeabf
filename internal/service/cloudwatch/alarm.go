package cloudwatch

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/api"
	apicw "clary/internal/api/cloudwatch"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/store"
)

// KindAlarm is the kind of alarms' records. Its phase is the alarm's state, its
// parent a sign of the series that the alarm watches.
const KindAlarm resource.Kind = "MetricAlarm"

// States of an alarm.
const (
	stateOK           = "OK"
	stateAlarm        = "ALARM"
	stateInsufficient = "INSUFFICIENT_DATA"
)

// alarmStatus is what we keep beside an alarm's request.
type alarmStatus struct {
	V            int       `json:"v"`
	Reason       string    `json:"reason"`
	ReasonData   string    `json:"reasonData,omitzero"`
	Configured   time.Time `json:"configured"`   // when the request was made
	Updated      time.Time `json:"updated"`      // when the state was last set
	Transitioned time.Time `json:"transitioned"` // when it was last another one
	// Transitions is how often the state changed: what is told of a change is
	// named by it.
	Transitions int `json:"transitions,omitzero"`
	Items       int `json:"items,omitzero"` // of its history, so far
}

// alarm is a record with what it says.
type alarm struct {
	*resource.Record
	spec apicw.PutMetricAlarmInput // without Tags
	alarmStatus
}

func readAlarm(r *resource.Record) (*alarm, error) {
	spec, err := resource.As[apicw.PutMetricAlarmInput](r.Spec)
	if err != nil {
		return nil, fmt.Errorf("alarm %s: %w", r.Name, err)
	}
	st, err := resource.As[alarmStatus](r.Status)
	if err != nil {
		return nil, fmt.Errorf("alarm %s: %w", r.Name, err)
	}
	return &alarm{r, *spec, *st}, nil
}

// put stores the alarm, to be looked at when it is due.
func (a *alarm) put(tx store.Tx, now, due time.Time) (err error) {
	if a.Spec, err = json.Marshal(a.spec); err != nil {
		return err
	}
	if a.Status, err = json.Marshal(a.alarmStatus); err != nil {
		return err
	}
	a.Parent, a.Modified, a.Due = sign(seriesOf(&a.spec).Series), now, due
	return tx.Put(a.Record)
}

// seriesOf is what an alarm watches.
func seriesOf(in *apicw.PutMetricAlarmInput) watched {
	w := watched{Stat: in.Statistic, Period: api.Value(in.Period), Unit: in.Unit}
	w.Namespace, w.Name = in.Namespace, in.MetricName
	dims := in.Dimensions
	if len(in.Metrics) == 1 {
		s := in.Metrics[0].MetricStat
		w.Stat, w.Period, w.Unit = s.Stat, s.Period, s.Unit
		w.Namespace, w.Name, dims = s.Metric.Namespace, s.Metric.MetricName, s.Metric.Dimensions
	}
	w.Dimensions = make(map[string]string, len(dims))
	for _, d := range dims {
		w.Dimensions[d.Name] = d.Value
	}
	return w
}

// watched is a statistic of a series.
type watched struct {
	metrics.Series
	Stat, Unit string
	Period     int64 // seconds
}

// sign is short and the same for the same series.
func sign(s metrics.Series) string {
	sum := sha256.Sum256([]byte(s.Key()))
	return hex.EncodeToString(sum[:16])
}

func alarmKey(c op.Call, name string) resource.Key {
	return resource.Key{Account: c.Account, Region: c.Region, Kind: KindAlarm, Name: name}
}

func alarmArn(k resource.Key) string {
	return arn.ARN{Partition: "aws", Service: "cloudwatch", Region: k.Region, Account: k.Account, Resource: "alarm:" + k.Name}.String()
}

// shown is the alarm as DescribeAlarms shows it.
func (a *alarm) shown() apicw.MetricAlarm {
	s := &a.spec
	m := apicw.MetricAlarm{
		AlarmName: a.Name, AlarmArn: a.Arn, AlarmDescription: s.AlarmDescription,
		AlarmConfigurationUpdatedTimestamp: api.At(a.Configured),
		ActionsEnabled:                     api.Ptr(a.enabled()),
		OKActions:                          list(s.OKActions), AlarmActions: list(s.AlarmActions), InsufficientDataActions: list(s.InsufficientDataActions),
		StateValue: a.Phase, StateReason: a.Reason, StateReasonData: a.ReasonData,
		StateUpdatedTimestamp: api.At(a.Updated), StateTransitionedTimestamp: api.At(a.Transitioned),
		MetricName: s.MetricName, Namespace: s.Namespace, Statistic: s.Statistic, Dimensions: list(s.Dimensions),
		Period: s.Period, Unit: s.Unit, EvaluationPeriods: s.EvaluationPeriods, DatapointsToAlarm: s.DatapointsToAlarm,
		Threshold: s.Threshold, ComparisonOperator: s.ComparisonOperator, TreatMissingData: s.TreatMissingData,
		Metrics: s.Metrics, EvaluationWindow: s.EvaluationWindow,
	}
	return m
}

func (a *alarm) enabled() bool { return a.spec.ActionsEnabled == nil || *a.spec.ActionsEnabled }

// actions are those of a state.
func (a *alarm) actions(state string) []string {
	switch state {
	case stateOK:
		return a.spec.OKActions
	case stateAlarm:
		return a.spec.AlarmActions
	}
	return a.spec.InsufficientDataActions
}

// list is never nil: AWS shows lists that are empty.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

func sorted(d map[string]string) []apicw.Dimension {
	out := make([]apicw.Dimension, 0, len(d))
	for name, value := range d {
		out = append(out, apicw.Dimension{Name: name, Value: value})
	}
	slices.SortFunc(out, func(a, b apicw.Dimension) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
