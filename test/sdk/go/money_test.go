package sdk

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/budgets"
	btypes "github.com/aws/aws-sdk-go-v2/service/budgets/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/costexplorer"
	cetypes "github.com/aws/aws-sdk-go-v2/service/costexplorer/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
)

const account = "123456789012"

func TestCosts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg, w := load(t)
	c := costexplorer.NewFromConfig(cfg)
	day := func(offset int) *string {
		return aws.String(time.Now().UTC().AddDate(0, 0, offset).Format(time.DateOnly))
	}
	ask := &costexplorer.GetCostAndUsageInput{
		TimePeriod: &cetypes.DateInterval{Start: day(-1), End: day(1)}, Granularity: cetypes.GranularityDaily, Metrics: []string{"UnblendedCost"},
	}
	whole := must(c.GetCostAndUsage(ctx, ask))(t)
	if len(whole.ResultsByTime) != 2 || *whole.ResultsByTime[0].TimePeriod.Start != *ask.TimePeriod.Start {
		t.Errorf("%+v", whole.ResultsByTime)
	}
	ask.GroupBy = []cetypes.GroupDefinition{{Type: cetypes.GroupDefinitionTypeDimension, Key: aws.String("USAGE_TYPE")}}
	for _, day := range must(c.GetCostAndUsage(ctx, ask))(t).ResultsByTime {
		for _, g := range day.Groups {
			if f, err := strconv.ParseFloat(aws.ToString(g.Metrics["UnblendedCost"].Amount), 64); err != nil || f < 0 {
				t.Errorf("%v: %v", g.Keys, err)
			}
		}
	}
	ask.TimePeriod.End = ask.TimePeriod.Start
	err := w.once(t, func() error { _, err := c.GetCostAndUsage(ctx, ask); return err })
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "ValidationException" {
		t.Error(err)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg, w := load(t)
	c, n := budgets.NewFromConfig(cfg), name()
	ask := &budgets.CreateBudgetInput{
		AccountId: aws.String(account),
		Budget: &btypes.Budget{
			BudgetName: &n, BudgetType: btypes.BudgetTypeCost, TimeUnit: btypes.TimeUnitMonthly,
			BudgetLimit: &btypes.Spend{Amount: aws.String("100000"), Unit: aws.String("USD")},
		},
		NotificationsWithSubscribers: []btypes.NotificationWithSubscribers{{
			Notification: &btypes.Notification{NotificationType: btypes.NotificationTypeActual, ComparisonOperator: btypes.ComparisonOperatorGreaterThan, Threshold: 80},
			Subscribers:  []btypes.Subscriber{{SubscriptionType: btypes.SubscriptionTypeEmail, Address: aws.String("me@example.com")}},
		}},
	}
	must(c.CreateBudget(ctx, ask))(t)
	twice := w.once(t, func() error { _, err := c.CreateBudget(ctx, ask); return err })
	if e, ok := errors.AsType[*btypes.DuplicateRecordException](twice); !ok || !strings.Contains(e.ErrorMessage(), n) {
		t.Error(twice)
	}
	d := must(c.DescribeBudget(ctx, &budgets.DescribeBudgetInput{AccountId: ask.AccountId, BudgetName: &n}))(t).Budget
	if d.CalculatedSpend == nil || d.TimePeriod == nil || d.TimePeriod.Start.Day() != 1 {
		t.Errorf("%+v", d)
	}
	var names []string
	for p := budgets.NewDescribeBudgetsPaginator(c, &budgets.DescribeBudgetsInput{AccountId: ask.AccountId, MaxResults: aws.Int32(1)}); p.HasMorePages(); {
		for _, b := range must(p.NextPage(ctx))(t).Budgets {
			names = append(names, *b.BudgetName)
		}
	}
	if !slices.Contains(names, n) {
		t.Errorf("%s is not among %v", n, names)
	}
	must(c.DeleteBudget(ctx, &budgets.DeleteBudgetInput{AccountId: ask.AccountId, BudgetName: &n}))(t)
	gone := w.once(t, func() error {
		_, err := c.DescribeBudget(ctx, &budgets.DescribeBudgetInput{AccountId: ask.AccountId, BudgetName: &n})
		return err
	})
	if _, ok := errors.AsType[*btypes.NotFoundException](gone); !ok {
		t.Error(gone)
	}
}

func TestAlarmTellsTopic(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg, w := load(t)
	topics, alarms, n := sns.NewFromConfig(cfg), cloudwatch.NewFromConfig(cfg), name()
	type posted struct{ Type, Token, TopicArn, Subject, Message string }
	got := make(chan posted, 8)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m posted
		b, err := io.ReadAll(r.Body)
		if err := errors.Join(err, json.Unmarshal(b, &m)); err != nil {
			t.Error(err)
		}
		got <- m
	}))
	t.Cleanup(server.Close)
	next := func(kind string) posted {
		t.Helper()
		select {
		case m := <-got:
			if m.Type != kind {
				t.Fatalf("%+v", m)
			}
			return m
		case <-time.After(90 * time.Second):
			t.Fatalf("no %s came", kind)
		}
		return posted{}
	}
	topic := must(topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: &n}))(t).TopicArn
	must(topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic, Protocol: aws.String("http"), Endpoint: &server.URL}))(t)
	confirmed := must(topics.ConfirmSubscription(ctx, &sns.ConfirmSubscriptionInput{TopicArn: topic, Token: aws.String(next("SubscriptionConfirmation").Token)}))(t)
	if !strings.HasPrefix(aws.ToString(confirmed.SubscriptionArn), *topic+":") {
		t.Error(aws.ToString(confirmed.SubscriptionArn))
	}
	must(topics.Publish(ctx, &sns.PublishInput{TopicArn: topic, Subject: aws.String("hello"), Message: aws.String("world")}))(t)
	if m := next("Notification"); m.Subject != "hello" || m.Message != "world" || m.TopicArn != *topic {
		t.Errorf("%+v", m)
	}
	empty := w.once(t, func() error {
		_, err := topics.Publish(ctx, &sns.PublishInput{TopicArn: topic, Message: aws.String("")})
		return err
	})
	if _, ok := errors.AsType[*snstypes.InvalidParameterException](empty); !ok {
		t.Error(empty)
	}

	must(alarms.PutMetricAlarm(ctx, &cloudwatch.PutMetricAlarmInput{
		AlarmName: &n, Namespace: &n, MetricName: aws.String("m"), Statistic: cwtypes.StatisticSum, Period: aws.Int32(60), EvaluationPeriods: aws.Int32(1),
		Threshold: aws.Float64(1), ComparisonOperator: cwtypes.ComparisonOperatorGreaterThanThreshold, TreatMissingData: aws.String("ignore"),
		AlarmActions: []string{*topic},
	}))(t)
	must(alarms.SetAlarmState(ctx, &cloudwatch.SetAlarmStateInput{AlarmName: &n, StateValue: cwtypes.StateValueAlarm, StateReason: aws.String("a test")}))(t)
	if m := next("Notification"); !strings.HasPrefix(m.Subject, `ALARM: "`+n+`"`) || !strings.Contains(m.Message, "a test") {
		t.Errorf("%+v", m)
	}
	d := must(alarms.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{n}, StateValue: cwtypes.StateValueAlarm}))(t)
	if len(d.MetricAlarms) != 1 || d.MetricAlarms[0].StateUpdatedTimestamp == nil {
		t.Errorf("%+v", d.MetricAlarms)
	}
	must(alarms.DeleteAlarms(ctx, &cloudwatch.DeleteAlarmsInput{AlarmNames: []string{n}}))(t)
	must(topics.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: topic}))(t)
}
