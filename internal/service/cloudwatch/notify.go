package cloudwatch

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/api"
	apicw "clary/internal/api/cloudwatch"
	"clary/internal/aws/arn"
	"clary/internal/outbox"
	"clary/internal/store"
)

// topicKind is the kind of a topic's record: the service of topics keeps it.
const topicKind = "Topic"

// become changes the alarm's state in tx, with all that follows: its history,
// and a message left for each action. Each has a name that this change alone
// gives it, so it leaves once.
func (a *alarm) become(tx store.Tx, state, reason, data string, now, due time.Time) error {
	before := showState(a.Phase, a.Reason, a.ReasonData)
	a.Phase, a.Reason, a.ReasonData = state, reason, data
	a.Updated = now
	if before.Value != state {
		a.Transitioned = now
		a.Transitions++
		if err := a.noteState(tx, now, before, showState(state, reason, data)); err != nil {
			return err
		}
		if a.enabled() {
			for i, action := range a.actions(state) {
				if err := a.act(tx, action, fmt.Sprintf("%s-%d-%d", a.UID, a.Transitions, i+1), before.Value, now); err != nil {
					return fmt.Errorf("action %s: %w", action, err)
				}
			}
		}
	}
	return a.put(tx, now, due)
}

// acted is the data of an Action.
type acted struct {
	State     string  `json:"actionState"`
	Updated   int64   `json:"stateUpdateTimestamp"`
	Resource  string  `json:"notificationResource"`
	Published *string `json:"publishedMessage"`
	Error     *string `json:"error"`
}

func (a *alarm) act(tx store.Tx, action, id, old string, now time.Time) error {
	done := acted{State: "Succeeded", Updated: now.UnixMilli(), Resource: action}
	summary := "Successfully executed action " + action
	rec, err := tx.ByArn(action)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && rec.Kind != topicKind:
		text := "Topic does not exist"
		done.State, done.Error = "Failed", &text
		summary = fmt.Sprintf("Failed to execute action %s. Received error: %q", action, text)
	case err != nil:
		return err
	default:
		msg, err := json.Marshal(a.message(old))
		if err != nil {
			return err
		}
		topic, _ := arn.Parse(action)
		err = outbox.Publish(tx, topic.Account, topic.Region, id, outbox.Publication{
			TopicArn: action, Subject: a.subject(),
			Structured: map[string]string{"default": string(msg), "email": a.letter(old)},
			By:         "cloudwatch.amazonaws.com",
		}, now)
		if err != nil {
			return err
		}
		text := string(msg)
		done.Published = &text
	}
	b, err := json.Marshal(done)
	if err == nil && len(b) > mostData {
		done.Published = nil
		b, err = json.Marshal(done)
	}
	if err != nil {
		return err
	}
	return a.noteText(tx, now, itemAction, summary, string(b))
}

// mostSubject is how long a message's subject may be.
const mostSubject = 100

func (a *alarm) subject() string {
	form := a.Phase + ": \"%s\" in " + regionName(a.Region)
	name := a.Name
	if room := mostSubject - len(form) + len("%s"); len(name) > room {
		name = strings.ToValidUTF8(name[:room-3], "") + "..."
	}
	return fmt.Sprintf(form, name)
}

// message is what a topic's subscribers get, as AWS words it.
type message struct {
	AlarmName                          string
	AlarmDescription                   *string
	AWSAccountId                       string //nolint:revive // AWS's name
	AlarmConfigurationUpdatedTimestamp string
	NewStateValue                      string
	NewStateReason                     string
	StateChangeTime                    string
	Region                             string
	AlarmArn                           string
	OldStateValue                      string
	OKActions                          []string
	AlarmActions                       []string
	InsufficientDataActions            []string
	Trigger                            trigger
}

type trigger struct {
	MetricName                       string          `json:",omitzero"`
	Namespace                        string          `json:",omitzero"`
	StatisticType                    string          `json:",omitzero"`
	Statistic                        string          `json:",omitzero"`
	Unit                             *string         `json:"Unit"`
	Dimensions                       []valueNamed    `json:",omitzero"`
	Period                           int64           `json:"Period"`
	EvaluationPeriods                int64           `json:"EvaluationPeriods"`
	DatapointsToAlarm                *int64          `json:",omitzero"`
	ComparisonOperator               string          `json:"ComparisonOperator"`
	Threshold                        javaNumber      `json:"Threshold"`
	TreatMissingData                 string          `json:"TreatMissingData"`
	EvaluateLowSampleCountPercentile string          `json:"EvaluateLowSampleCountPercentile"`
	Metrics                          []triggerMetric `json:",omitzero"`
}

type valueNamed struct {
	Value string `json:"value"`
	Name  string `json:"name"`
}

type triggerMetric struct {
	Id         string //nolint:revive // AWS's name
	Label      string `json:",omitzero"`
	MetricStat struct {
		Metric struct {
			Dimensions []valueNamed
			MetricName string
			Namespace  string
		}
		Period int64
		Stat   string
		Unit   string `json:",omitzero"`
	}
	ReturnData bool
}

func valued(dims []apicw.Dimension) []valueNamed {
	out := make([]valueNamed, len(dims))
	for i, d := range dims {
		out[i] = valueNamed{d.Value, d.Name}
	}
	return out
}

func (a *alarm) message(old string) message {
	s := &a.spec
	m := message{
		AlarmName: a.Name, AWSAccountId: a.Account, AlarmConfigurationUpdatedTimestamp: a.Configured.UTC().Format(dateForm),
		NewStateValue: a.Phase, NewStateReason: a.Reason, StateChangeTime: a.Updated.UTC().Format(dateForm),
		Region: regionName(a.Region), AlarmArn: a.Arn, OldStateValue: old,
		OKActions: list(s.OKActions), AlarmActions: list(s.AlarmActions), InsufficientDataActions: list(s.InsufficientDataActions),
		Trigger: trigger{
			Period: seriesOf(s).Period, EvaluationPeriods: api.Value(s.EvaluationPeriods), DatapointsToAlarm: s.DatapointsToAlarm,
			ComparisonOperator: s.ComparisonOperator, Threshold: javaNumber(api.Value(s.Threshold)), TreatMissingData: s.TreatMissingData,
		},
	}
	if s.AlarmDescription != "" {
		m.AlarmDescription = &s.AlarmDescription
	}
	t := &m.Trigger
	if len(s.Metrics) > 0 {
		q := s.Metrics[0]
		x := triggerMetric{Id: q.Id, Label: q.Label, ReturnData: true}
		x.MetricStat.Metric.Dimensions = valued(q.MetricStat.Metric.Dimensions)
		x.MetricStat.Metric.MetricName, x.MetricStat.Metric.Namespace = q.MetricStat.Metric.MetricName, q.MetricStat.Metric.Namespace
		x.MetricStat.Period, x.MetricStat.Stat, x.MetricStat.Unit = q.MetricStat.Period, q.MetricStat.Stat, q.MetricStat.Unit
		t.Metrics = []triggerMetric{x}
		return m
	}
	t.MetricName, t.Namespace, t.StatisticType, t.Statistic = s.MetricName, s.Namespace, "Statistic", shouted(s.Statistic)
	t.Dimensions = valued(s.Dimensions)
	if s.Unit != "" {
		t.Unit = &s.Unit
	}
	return m
}

// shouted is a statistic as messages have it: SAMPLE_COUNT, AVERAGE.
func shouted(stat string) string {
	if stat == "SampleCount" {
		return "SAMPLE_COUNT"
	}
	return strings.ToUpper(stat)
}

// letter is the message as people read it.
func (a *alarm) letter(old string) string {
	r := ruleOf(&a.spec)
	var b strings.Builder
	fmt.Fprintf(&b, "You are receiving this email because your Amazon CloudWatch Alarm %q in the %s region has entered the %s state, because %q at %q.\n",
		a.Name, regionName(a.Region), a.Phase, a.Reason, a.Updated.UTC().Format("Monday 02 January, 2006 15:04:05 UTC"))
	section := func(title string, lines ...[2]string) {
		fmt.Fprintf(&b, "\n%s:\n", title)
		for _, l := range lines {
			fmt.Fprintf(&b, "- %-27s%s\n", l[0]+":", l[1])
		}
	}
	section("Alarm Details",
		[2]string{"Name", a.Name}, [2]string{"Description", a.spec.AlarmDescription},
		[2]string{"State Change", old + " -> " + a.Phase}, [2]string{"Reason for State Change", a.Reason},
		[2]string{"Timestamp", a.Updated.UTC().Format("Monday 02 January, 2006 15:04:05 UTC")},
		[2]string{"AWS Account", a.Account}, [2]string{"Alarm Arn", a.Arn})
	fmt.Fprintf(&b, "\nThreshold:\n- The alarm is in the ALARM state when the metric is %s %s for at least %d of the last %d period(s) of %d seconds.\n",
		r.operator, double(r.threshold), r.m, r.n, r.Period)
	var dims []string
	for _, d := range sorted(r.Dimensions) {
		dims = append(dims, fmt.Sprintf("[%s = %s]", d.Name, d.Value))
	}
	unit := r.Unit
	if unit == "" {
		unit = "not specified"
	}
	section("Monitored Metric",
		[2]string{"MetricNamespace", r.Namespace}, [2]string{"MetricName", r.Name}, [2]string{"Dimensions", strings.Join(dims, " ")},
		[2]string{"Period", fmt.Sprintf("%d seconds", r.Period)}, [2]string{"Statistic", r.Stat}, [2]string{"Unit", unit},
		[2]string{"TreatMissingData", r.missing})
	section("State Change Actions",
		[2]string{"OK", bracketed(a.spec.OKActions)}, [2]string{"ALARM", bracketed(a.spec.AlarmActions)},
		[2]string{"INSUFFICIENT_DATA", bracketed(a.spec.InsufficientDataActions)})
	return b.String()
}

func bracketed(actions []string) string {
	var out []string
	for _, a := range actions {
		out = append(out, "["+a+"]")
	}
	return strings.Join(out, " ")
}

// regionName is a region as alarms' messages call it.
func regionName(region string) string {
	name := map[string]string{
		"us-east-1": "US East (N. Virginia)", "us-east-2": "US East (Ohio)", "us-west-1": "US West (N. California)", "us-west-2": "US West (Oregon)",
		"af-south-1": "Africa (Cape Town)", "ap-east-1": "Asia Pacific (Hong Kong)", "ap-south-1": "Asia Pacific (Mumbai)", "ap-south-2": "Asia Pacific (Hyderabad)",
		"ap-northeast-1": "Asia Pacific (Tokyo)", "ap-northeast-2": "Asia Pacific (Seoul)", "ap-northeast-3": "Asia Pacific (Osaka)",
		"ap-southeast-1": "Asia Pacific (Singapore)", "ap-southeast-2": "Asia Pacific (Sydney)", "ap-southeast-3": "Asia Pacific (Jakarta)", "ap-southeast-4": "Asia Pacific (Melbourne)",
		"ca-central-1": "Canada (Central)", "ca-west-1": "Canada West (Calgary)",
		"eu-central-1": "EU (Frankfurt)", "eu-central-2": "EU (Zurich)", "eu-west-1": "EU (Ireland)", "eu-west-2": "EU (London)", "eu-west-3": "EU (Paris)",
		"eu-north-1": "EU (Stockholm)", "eu-south-1": "EU (Milan)", "eu-south-2": "EU (Spain)",
		"il-central-1": "Israel (Tel Aviv)", "me-central-1": "Middle East (UAE)", "me-south-1": "Middle East (Bahrain)", "sa-east-1": "South America (Sao Paulo)",
	}[region]
	if name == "" {
		return region
	}
	return name
}
