package cloudwatch

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/api"
	apicw "clary/internal/api/cloudwatch"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
)

// KindHistory is the kind of an alarm's history: a record an item, whose
// parent is the alarm's name and whose phase its type. It outlives the alarm,
// and is gone when it is due.
const KindHistory resource.Kind = "AlarmHistoryItem"

// Types of an item.
const (
	itemConfiguration = "ConfigurationUpdate"
	itemState         = "StateUpdate"
	itemAction        = "Action"
)

const (
	keptFor     = 30 * 24 * time.Hour
	mostData    = 4095 // characters of HistoryData
	mostSummary = 255
	defaultPage = 50 // of histories and of alarms
)

// item is what a history's record says.
type item struct {
	Summary string
	Data    string
}

// note adds an item to the alarm's history. The caller puts the alarm.
func (a *alarm) note(tx store.Tx, now time.Time, typ, summary string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return a.noteText(tx, now, typ, summary, string(b))
}

func (a *alarm) noteText(tx store.Tx, now time.Time, typ, summary, data string) error {
	if len(summary) > mostSummary {
		summary = strings.ToValidUTF8(summary[:mostSummary], "")
	}
	spec, err := json.Marshal(item{summary, data})
	if err != nil {
		return err
	}
	a.Items++
	return tx.Put(&resource.Record{
		Key: resource.Key{Account: a.Account, Region: a.Region, Kind: KindHistory, Name: fmt.Sprintf("%s-%06d", a.UID, a.Items)},
		UID: resource.NewUID(), Parent: a.Name, Phase: typ, Created: now, Modified: now, Due: now.Add(keptFor), Spec: spec,
	})
}

// change is the data of a ConfigurationUpdate.
type change struct {
	Version  string         `json:"version"`
	Type     string         `json:"type"`
	Created  *described     `json:"createdAlarm,omitzero"`
	Original map[string]any `json:"originalUpdatedFields,omitzero"`
	Updated  *described     `json:"updatedAlarm,omitzero"`
	Deleted  *described     `json:"deletedAlarm,omitzero"`
}

// described is an alarm as its history shows it.
type described struct {
	Threshold           javaNumber        `json:"threshold"`
	Namespace           string            `json:"namespace"`
	StateValue          string            `json:"stateValue"`
	Dimensions          []namedValue      `json:"dimensions"`
	OKActions           []string          `json:"okactions"`
	AlarmActions        []string          `json:"alarmActions"`
	EvaluationPeriods   int64             `json:"evaluationPeriods"`
	DatapointsToAlarm   *int64            `json:"datapointsToAlarm,omitzero"`
	ComparisonOperator  string            `json:"comparisonOperator"`
	MetricName          string            `json:"metricName"`
	Period              int64             `json:"period"`
	AlarmName           string            `json:"alarmName"`
	InsufficientActions []string          `json:"insufficientDataActions"`
	ActionsEnabled      bool              `json:"actionsEnabled"`
	AlarmDescription    string            `json:"alarmDescription"`
	AlarmArn            string            `json:"alarmArn"`
	Configured          string            `json:"alarmConfigurationUpdatedTimestamp"`
	Updated             string            `json:"stateUpdatedTimestamp"`
	Statistic           string            `json:"statistic"`
	Unit                string            `json:"unit,omitzero"`
	TreatMissingData    string            `json:"treatMissingData"`
	Metrics             []describedMetric `json:"metrics,omitzero"`
}

type namedValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type describedMetric struct {
	ID   string        `json:"id"`
	Stat describedStat `json:"metricStat"`
	Data bool          `json:"returnData"`
}

type describedStat struct {
	Metric struct {
		Dimensions []namedValue `json:"dimensions"`
		Name       string       `json:"metricName"`
		Namespace  string       `json:"namespace"`
	} `json:"metric"`
	Period int64  `json:"period"`
	Stat   string `json:"stat"`
	Unit   string `json:"unit,omitzero"`
}

func named(dims []apicw.Dimension) []namedValue {
	out := make([]namedValue, len(dims))
	for i, d := range dims {
		out[i] = namedValue(d)
	}
	return out
}

func (a *alarm) described() *described {
	s := &a.spec
	d := &described{
		Threshold: javaNumber(api.Value(s.Threshold)), Namespace: s.Namespace, StateValue: a.Phase, Dimensions: named(s.Dimensions),
		OKActions: list(s.OKActions), AlarmActions: list(s.AlarmActions), InsufficientActions: list(s.InsufficientDataActions),
		EvaluationPeriods: api.Value(s.EvaluationPeriods), DatapointsToAlarm: s.DatapointsToAlarm, ComparisonOperator: s.ComparisonOperator,
		MetricName: s.MetricName, Period: api.Value(s.Period), AlarmName: a.Name, ActionsEnabled: a.enabled(),
		AlarmDescription: s.AlarmDescription, AlarmArn: a.Arn,
		Configured: a.Configured.UTC().Format(dateForm), Updated: a.Updated.UTC().Format(dateForm),
		Statistic: s.Statistic, Unit: s.Unit, TreatMissingData: s.TreatMissingData,
	}
	for _, q := range s.Metrics {
		m := describedMetric{ID: q.Id, Data: q.ReturnData == nil || *q.ReturnData}
		m.Stat.Metric.Dimensions, m.Stat.Metric.Name, m.Stat.Metric.Namespace = named(q.MetricStat.Metric.Dimensions), q.MetricStat.Metric.MetricName, q.MetricStat.Metric.Namespace
		m.Stat.Period, m.Stat.Stat, m.Stat.Unit = q.MetricStat.Period, q.MetricStat.Stat, q.MetricStat.Unit
		d.Metrics = append(d.Metrics, m)
	}
	return d
}

func (a *alarm) noteCreated(tx store.Tx, now time.Time) error {
	return a.note(tx, now, itemConfiguration, fmt.Sprintf("Alarm %q created", a.Name), change{Version: "1.0", Type: "Create", Created: a.described()})
}

func (a *alarm) noteDeleted(tx store.Tx, now time.Time) error {
	return a.note(tx, now, itemConfiguration, fmt.Sprintf("Alarm %q deleted", a.Name), change{Version: "1.0", Type: "Delete", Deleted: a.described()})
}

// noteUpdated tells what was otherwise before.
func (a *alarm) noteUpdated(tx store.Tx, now time.Time, before *described) error {
	after := a.described()
	c := change{Version: "1.0", Type: "Update", Original: map[string]any{}, Updated: after}
	old, cur := reflect.ValueOf(*before), reflect.ValueOf(*after)
	for i := range old.NumField() {
		if o := old.Field(i).Interface(); !reflect.DeepEqual(o, cur.Field(i).Interface()) {
			name, _, _ := strings.Cut(old.Type().Field(i).Tag.Get("json"), ",")
			c.Original[name] = o
		}
	}
	return a.note(tx, now, itemConfiguration, fmt.Sprintf("Alarm %q updated", a.Name), c)
}

// stateChange is the data of a StateUpdate.
type stateChange struct {
	Version string     `json:"version"`
	Old     stateShown `json:"oldState"`
	New     stateShown `json:"newState"`
}

type stateShown struct {
	Value  string         `json:"stateValue"`
	Reason string         `json:"stateReason"`
	Data   jsontext.Value `json:"stateReasonData,omitzero"`
}

func showState(value, reason, data string) stateShown {
	s := stateShown{Value: value, Reason: reason}
	if v := jsontext.Value(data); data != "" && v.IsValid() {
		s.Data = v
	}
	return s
}

// noteState notes a change of state, with as much of it as an item can hold.
func (a *alarm) noteState(tx store.Tx, now time.Time, old, cur stateShown) error {
	c := stateChange{"1.0", old, cur}
	b, err := json.Marshal(c)
	if err == nil && len(b) > mostData {
		c.Old.Data = nil
		b, err = json.Marshal(c)
	}
	if err == nil && len(b) > mostData {
		c.New.Data = nil
		b, err = json.Marshal(c)
	}
	if err != nil {
		return err
	}
	return a.noteText(tx, now, itemState, fmt.Sprintf("Alarm updated from %s to %s", old.Value, cur.Value), string(b))
}

// DescribeAlarmHistory gives what happened to alarms, those that are gone too.
func (w *CloudWatch) DescribeAlarmHistory(ctx context.Context, c op.Call, in *apicw.DescribeAlarmHistoryInput) (*apicw.DescribeAlarmHistoryOutput, error) {
	if !in.StartDate.IsZero() && !in.EndDate.IsZero() && in.EndDate.Before(in.StartDate.Time) {
		return nil, apierr.Validation("The parameter StartDate must be less than or equal to the parameter EndDate.")
	}
	out := &apicw.DescribeAlarmHistoryOutput{AlarmHistoryItems: []apicw.AlarmHistoryItem{}}
	if in.AlarmContributorId != "" || len(in.AlarmTypes) > 0 && !slices.Contains(in.AlarmTypes, typeMetricAlarm) {
		return out, nil
	}
	q := resource.Query{
		Account: c.Account, Region: c.Region, Kind: KindHistory, Parent: in.AlarmName, Phase: in.HistoryItemType,
		Sort: resource.SortCreated, Descending: in.ScanBy != "TimestampAscending", Token: in.NextToken, Limit: defaultPage,
	}
	if in.MaxRecords != nil {
		q.Limit = int(*in.MaxRecords)
	}
	// The query's bounds are exclusive, and shown are milliseconds.
	if !in.StartDate.IsZero() {
		q.CreatedAfter = in.StartDate.Add(-1)
	}
	if !in.EndDate.IsZero() {
		q.CreatedBefore = in.EndDate.Add(time.Millisecond)
	}
	recs, next, err := w.records.List(ctx, q)
	if errors.Is(err, store.ErrToken) {
		return nil, badToken(in.NextToken)
	}
	if err != nil {
		return nil, err
	}
	out.NextToken = next
	for _, r := range recs {
		i, err := resource.As[item](r.Spec)
		if err != nil {
			return nil, fmt.Errorf("history of alarm %s: %w", r.Parent, err)
		}
		out.AlarmHistoryItems = append(out.AlarmHistoryItems, apicw.AlarmHistoryItem{
			AlarmName: r.Parent, AlarmType: typeMetricAlarm, Timestamp: api.At(r.Created),
			HistoryItemType: r.Phase, HistorySummary: i.Summary, HistoryData: i.Data,
		})
	}
	return out, nil
}

func badToken(token string) error {
	return apierr.New(400, "InvalidNextToken", "The token %s is invalid.", token)
}

// sweeper forgets histories that are old.
type sweeper struct{ records store.Store }

// Kind implements reconcile.Reconciler.
func (sweeper) Kind() resource.Kind { return KindHistory }

// Reconcile implements reconcile.Reconciler.
func (s sweeper) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	var res reconcile.Result
	err := s.records.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(k)
		if err != nil {
			return err
		}
		if left := time.Until(r.Created.Add(keptFor)); left > 0 {
			res.After = left
			return nil
		}
		return tx.Delete(k)
	})
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return res, err
}
