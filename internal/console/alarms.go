package console

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"clary/internal/api"
	"clary/internal/api/cloudwatch"
	"clary/internal/budget"
)

const (
	alarmsPage = 50
	alarmSpan  = 3 * time.Hour // that is drawn
)

func alarmPath(name string) string { return "/alarms/" + url.PathEscape(name) }

// alarmRow is an alarm of any kind.
type alarmRow struct {
	Name, Path, State, Reason string
	Rule                      string
	Changed                   time.Time
	Actions                   []string
	Muted                     bool // actions are disabled
}

func rowOfAlarm(a cloudwatch.MetricAlarm) alarmRow {
	r := alarmRow{
		Name: a.AlarmName, Path: alarmPath(a.AlarmName), State: a.StateValue, Reason: a.StateReason, Changed: a.StateUpdatedTimestamp.Time,
		Actions: a.AlarmActions, Muted: a.ActionsEnabled != nil && !*a.ActionsEnabled, Rule: alarmRule(a),
	}
	return r
}

func rowOfComposite(a cloudwatch.CompositeAlarm) alarmRow {
	return alarmRow{
		Name: a.AlarmName, Path: alarmPath(a.AlarmName), State: a.StateValue, Reason: a.StateReason, Changed: a.StateUpdatedTimestamp.Time,
		Actions: a.AlarmActions, Muted: a.ActionsEnabled != nil && !*a.ActionsEnabled, Rule: a.AlarmRule,
	}
}

// alarmRule says when an alarm goes off.
func alarmRule(a cloudwatch.MetricAlarm) string {
	what := a.MetricName
	if what == "" {
		what = "an expression"
	}
	for _, d := range a.Dimensions {
		what += " " + d.Name + "=" + d.Value
	}
	if s := strings.TrimSpace(a.Statistic + a.ExtendedStatistic); s != "" {
		what = s + " of " + what
	}
	if a.Threshold != nil {
		what += " " + comparison(a.ComparisonOperator) + " " + number(*a.Threshold)
	}
	if a.Period != nil {
		what += " over " + span(time.Duration(*a.Period)*time.Second)
	}
	if n := a.EvaluationPeriods; n != nil && *n > 1 {
		of := *n
		if a.DatapointsToAlarm != nil {
			of = *a.DatapointsToAlarm
		}
		what += ", " + count(of) + " of " + count(*n) + " periods"
	}
	return what
}

func comparison(operator string) string {
	switch operator {
	case "GreaterThanOrEqualToThreshold":
		return "≥"
	case "GreaterThanThreshold":
		return ">"
	case "LessThanThreshold":
		return "<"
	case "LessThanOrEqualToThreshold":
		return "≤"
	}
	return operator
}

type alarmsBody struct {
	Rows        []alarmRow
	Name, State string
	States      []choice
	Filtered    bool
	First, Next string
	Wrong       string
	Empty       *emptyBody
}

// alarms lists them.
func (c *Console) alarms(v *view) (err error) {
	q := v.r.URL.Query()
	body := &alarmsBody{Name: strings.TrimSpace(q.Get("name")), State: q.Get("state")}
	body.States = choices(body.State, "Any state", "OK", "ALARM", "INSUFFICIENT_DATA")
	body.Filtered = body.Name != "" || body.State != ""
	if c.cfg.Calls.Serves("cloudwatch", "DescribeAlarms") {
		out, err := ask[cloudwatch.DescribeAlarmsOutput](v, "cloudwatch", "DescribeAlarms", &cloudwatch.DescribeAlarmsInput{
			AlarmNamePrefix: body.Name, StateValue: body.State, MaxRecords: ptr(alarmsPage), NextToken: q.Get("page"), AlarmTypes: []string{"MetricAlarm", "CompositeAlarm"},
		})
		if e, ok := refused(err); ok && !denied(err) {
			body.Wrong = e.Message
			return v.show("alarms", "Alarms", "alarms", body)
		}
		if err != nil {
			return err
		}
		for _, a := range out.MetricAlarms {
			body.Rows = append(body.Rows, rowOfAlarm(a))
		}
		for _, a := range out.CompositeAlarms {
			body.Rows = append(body.Rows, rowOfComposite(a))
		}
		body.First, body.Next = v.pages(out.NextToken)
	}
	if len(body.Rows) == 0 && !body.Filtered && body.First == "" {
		if body.Empty, err = v.empty("alarms"); err != nil {
			return err
		}
	}
	return v.show("alarms", "Alarms", "alarms", body)
}

type alarmBody struct {
	Row     alarmRow
	Config  []fact
	Chart   *chart
	History []cloudwatch.AlarmHistoryItem
	Remove  string
}

// alarm is one alarm's page.
func (c *Console) alarm(v *view) error {
	name := v.r.PathValue("name")
	out, err := ask[cloudwatch.DescribeAlarmsOutput](v, "cloudwatch", "DescribeAlarms", &cloudwatch.DescribeAlarmsInput{
		AlarmNames: []string{name}, AlarmTypes: []string{"MetricAlarm", "CompositeAlarm"},
	})
	if err != nil {
		return err
	}
	body := &alarmBody{Remove: "aws cloudwatch delete-alarms --region " + v.call.Region + " --alarm-names " + budget.Quote(name)}
	switch {
	case len(out.MetricAlarms) > 0:
		a := out.MetricAlarms[0]
		body.Row, body.Config = rowOfAlarm(a), alarmConfig(a)
		if body.Chart, err = v.alarmChart(a); err != nil {
			return err
		}
	case len(out.CompositeAlarms) > 0:
		body.Row = rowOfComposite(out.CompositeAlarms[0])
	default:
		return errNoPage
	}
	if c.cfg.Calls.Serves("cloudwatch", "DescribeAlarmHistory") {
		h, err := ask[cloudwatch.DescribeAlarmHistoryOutput](v, "cloudwatch", "DescribeAlarmHistory", &cloudwatch.DescribeAlarmHistoryInput{
			AlarmName: name, MaxRecords: ptr(historyRows), ScanBy: "TimestampDescending",
		})
		if _, no := refused(err); err != nil && !no {
			return err
		}
		if err == nil {
			body.History = h.AlarmHistoryItems
		}
	}
	return v.show("alarm", name, "alarms", body)
}

func alarmConfig(a cloudwatch.MetricAlarm) []fact {
	var out table
	out.add("Description", a.AlarmDescription)
	out.add("ARN", a.AlarmArn)
	out.add("Namespace", a.Namespace)
	out.add("Missing data", a.TreatMissingData)
	for title, list := range map[string][]string{"On alarm": a.AlarmActions, "On OK": a.OKActions, "Without data": a.InsufficientDataActions} {
		out.add(title, strings.Join(list, ", "))
	}
	slices.SortStableFunc(out, func(a, b fact) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// alarmChart draws the metric of the last hours beside its threshold; nil where
// the alarm is of an expression, or nothing was measured.
func (v *view) alarmChart(a cloudwatch.MetricAlarm) (*chart, error) {
	if a.MetricName == "" || a.Threshold == nil || a.Period == nil {
		return nil, nil
	}
	now := v.c.cfg.Now()
	period := max(*a.Period, 60)
	shown := max(alarmSpan, 60*time.Duration(period)*time.Second)
	stat := a.Statistic
	if stat == "" {
		stat = a.ExtendedStatistic
	}
	out, err := ask[cloudwatch.GetMetricDataOutput](v, "cloudwatch", "GetMetricData", &cloudwatch.GetMetricDataInput{
		StartTime: api.At(now.Add(-shown).Truncate(time.Minute)), EndTime: api.At(now.Add(time.Minute)), ScanBy: "TimestampAscending",
		MetricDataQueries: []cloudwatch.MetricDataQuery{{Id: "m", MetricStat: &cloudwatch.MetricStat{
			Metric: &cloudwatch.Metric{Namespace: a.Namespace, MetricName: a.MetricName, Dimensions: a.Dimensions}, Period: period, Stat: stat, Unit: a.Unit,
		}}},
	})
	if _, no := refused(err); no {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l := line{Title: a.MetricName, Unit: a.Unit, X: "time, UTC", Names: []string{stat, "threshold " + strconv.FormatFloat(*a.Threshold, 'f', -1, 64)}}
	form := "15:04"
	if shown > 24*time.Hour {
		form = "2 Jan 15:04"
	}
	for _, r := range out.MetricDataResults {
		for _, p := range pointsOf(r) {
			l.Labels, l.Values, l.Beside = append(l.Labels, p.at.UTC().Format(form)), append(l.Values, p.value), append(l.Beside, *a.Threshold)
		}
	}
	if len(l.Values) == 0 {
		return nil, nil
	}
	return l.draw()
}
