package console

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	"clary/internal/api/budgets"
	"clary/internal/api/cloudwatch"
	"clary/internal/api/sns"
	"clary/internal/aws/op"
	"clary/internal/forgotten"
	"clary/internal/meter"
	"clary/internal/outbox"
)

func dollars(s string) *budgets.Spend { return &budgets.Spend{Amount: s, Unit: "USD"} }

// spending is an account with two budgets, of which one is over, with an action
// that waits, and an alarm.
func spending() *world {
	w := newWorld()
	note := budgets.Notification{NotificationType: "ACTUAL", ComparisonOperator: "GREATER_THAN", Threshold: 80, ThresholdType: "PERCENTAGE", NotificationState: "ALARM"}
	action := budgets.Action{
		ActionId: "a1", BudgetName: "dev", NotificationType: "ACTUAL", ActionType: "RUN_SSM_DOCUMENTS", ApprovalModel: "MANUAL", Status: "PENDING",
		ActionThreshold: &budgets.ActionThreshold{ActionThresholdValue: 100, ActionThresholdType: "PERCENTAGE"},
		Definition:      &budgets.Definition{SsmActionDefinition: &budgets.SsmActionDefinition{ActionSubType: "STOP_EC2_INSTANCES", Region: "us-east-1", InstanceIds: []string{"All"}}},
	}
	dev := budgets.Budget{
		BudgetName: "dev", BudgetType: "COST", TimeUnit: "MONTHLY", BudgetLimit: dollars("20"), CostFilters: map[string][]string{"TagKeyValue": {"user:team$<b>&"}},
		CalculatedSpend: &budgets.CalculatedSpend{ActualSpend: dollars("25.5"), ForecastedSpend: dollars("30")},
	}
	hours := budgets.Budget{
		BudgetName: "hours", BudgetType: "USAGE", TimeUnit: "DAILY", BudgetLimit: &budgets.Spend{Amount: "100", Unit: "Hrs"},
		CalculatedSpend: &budgets.CalculatedSpend{ActualSpend: &budgets.Spend{Amount: "25", Unit: "Hrs"}},
	}
	at := api.At(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	alarm := cloudwatch.MetricAlarm{
		AlarmName: "over", StateValue: "ALARM", StateReason: "Threshold Crossed: <b>&", MetricName: "EstimatedCharges", Namespace: "AWS/Billing", Statistic: "Maximum",
		Dimensions: []cloudwatch.Dimension{{Name: "Currency", Value: "USD"}}, Period: ptr(60), EvaluationPeriods: ptr(3), DatapointsToAlarm: ptr(2), Threshold: new(float64), ComparisonOperator: "GreaterThanThreshold",
	}
	*alarm.Threshold = 12.5
	w.money = map[string]any{
		"DescribeBudgets": &budgets.DescribeBudgetsResponse{Budgets: []budgets.Budget{dev, hours}},
		"DescribeBudget": func(in any) any {
			if in.(*budgets.DescribeBudgetRequest).BudgetName == "hours" {
				return &budgets.DescribeBudgetResponse{Budget: &hours}
			}
			return &budgets.DescribeBudgetResponse{Budget: &dev}
		},
		"DescribeBudgetNotificationsForAccount": &budgets.DescribeBudgetNotificationsForAccountResponse{BudgetNotificationsForAccount: []budgets.BudgetNotificationsForAccount{{BudgetName: "dev", Notifications: []budgets.Notification{note}}}},
		"DescribeBudgetActionsForAccount":       &budgets.DescribeBudgetActionsForAccountResponse{Actions: []budgets.Action{action}},
		"DescribeNotificationsForBudget":        &budgets.DescribeNotificationsForBudgetResponse{Notifications: []budgets.Notification{note}},
		"DescribeSubscribersForNotification":    &budgets.DescribeSubscribersForNotificationResponse{Subscribers: []budgets.Subscriber{{SubscriptionType: "EMAIL", Address: "me@example.com"}}},
		"DescribeBudgetActionsForBudget":        &budgets.DescribeBudgetActionsForBudgetResponse{Actions: []budgets.Action{action}},
		"DescribeBudgetAction":                  &budgets.DescribeBudgetActionResponse{Action: &action},
		"ExecuteBudgetAction":                   &budgets.ExecuteBudgetActionResponse{},
		"DescribeBudgetActionHistories": &budgets.DescribeBudgetActionHistoriesResponse{ActionHistories: []budgets.ActionHistory{
			{Timestamp: at, EventType: "CREATE_ACTION", Status: "STANDBY", ActionHistoryDetails: &budgets.ActionHistoryDetails{Message: "created"}},
			{Timestamp: api.At(at.Add(time.Hour)), EventType: "SYSTEM", Status: "PENDING", ActionHistoryDetails: &budgets.ActionHistoryDetails{Message: "would stop notebook n, $0.05 an hour"}},
		}},
		"DescribeBudgetPerformanceHistory": &budgets.DescribeBudgetPerformanceHistoryResponse{BudgetPerformanceHistory: &budgets.BudgetPerformanceHistory{BudgetedAndActualAmountsList: []budgets.BudgetedAndActualAmounts{
			{BudgetedAmount: dollars("20"), ActualAmount: dollars("25.5"), TimePeriod: &budgets.TimePeriod{Start: at}},
		}}},
		"DescribeAlarms":       &cloudwatch.DescribeAlarmsOutput{MetricAlarms: []cloudwatch.MetricAlarm{alarm}},
		"DescribeAlarmHistory": &cloudwatch.DescribeAlarmHistoryOutput{AlarmHistoryItems: []cloudwatch.AlarmHistoryItem{{Timestamp: at, HistoryItemType: "StateUpdate", HistorySummary: "Alarm updated from OK to ALARM"}}},
		"GetMetricData":        &cloudwatch.GetMetricDataOutput{MetricDataResults: []cloudwatch.MetricDataResult{{Id: "m", Timestamps: []api.Time{at, api.At(at.Add(time.Minute))}, Values: []float64{11, 13}}}},
		"ListTopics":           &sns.ListTopicsResponse{Topics: []sns.Topic{{TopicArn: "arn:aws:sns:us-east-1:123456789012:spend"}}},
		"ListSubscriptions": &sns.ListSubscriptionsResponse{Subscriptions: []sns.Subscription{
			{TopicArn: "arn:aws:sns:us-east-1:123456789012:spend", Protocol: "email", Endpoint: "me@example.com", SubscriptionArn: "PendingConfirmation"},
			{TopicArn: "arn:aws:sns:us-east-1:123456789012:spend", Protocol: "https", Endpoint: "https://hook", SubscriptionArn: "arn:aws:sns:us-east-1:123456789012:spend:1"},
		}},
	}
	w.left = forgotten.Report{Rules: []string{"a rule"}, PerMonth: forgotten.Cost{MicroUSD: 36_000_000}, Items: []forgotten.Item{
		{Kind: "NotebookInstance", Name: "n", Why: forgotten.Idle, Evidence: "nobody has used it <b>&", Command: "clary notebook stop n", PerMonth: forgotten.Cost{MicroUSD: 36_000_000, Unpriced: true}},
		{Kind: "Endpoint", Name: "e", Why: forgotten.Flat, Command: "clary endpoint delete e"},
		{Kind: "NotebookInstance", Name: "v", Why: forgotten.Volume, Command: "clary notebook delete v"},
	}}
	w.spent = func(q meter.SpendQuery) meter.Spend {
		both := meter.Amounts{{MicroUSD: 3e6}, {MicroUSD: 2e6, Seconds: 60}}
		s := meter.Spend{
			Total: both, Resources: 1, Days: []meter.DaySpend{{Day: q.From.Format(time.DateOnly), By: both}}, ByKind: []meter.KindSpend{{Kind: "Endpoint", By: both}},
			Top: []meter.ResourceSpend{{Kind: "Endpoint", Name: "e", By: both}},
		}
		if q.Tag != "" {
			s.ByTag = []meter.TagSpend{{Value: "", By: both}, {Value: "of " + q.Tag, By: both}}
		}
		return s
	}
	return w
}

// Pages of money say what there is, with a bounded number of operations, and
// nothing that is not escaped.
func TestMoneyPages(t *testing.T) {
	t.Parallel()
	for path, c := range map[string]struct {
		want  []string
		asked map[string]int
	}{
		"/billing?tag=team": {[]string{"By kind", "Endpoints", "of team", "without it", "clary bill export s3://", "on AWS", `key-1`, "&lt;b&gt;&amp;"}, map[string]int{"spend": 1, "GetTags": 1}},
		"/budgets": {
			[]string{"dev", "$25.50", "$20.00", "127.5 percent", `class="over" width="100.0"`, `class="spent" width="25.0"`, "100 Hrs", "1 in alarm", "waits for approval", "asks first", "it only tells"},
			map[string]int{"DescribeBudgets": 1, "DescribeBudgetNotificationsForAccount": 1, "DescribeBudgetActionsForAccount": 1},
		},
		"/budgets/dev": {
			[]string{"what is spent is over 80 % of the limit", "me@example.com", "stops All in us-east-1 when what is spent is at 100 % of the limit, once somebody approves it", "/budgets/dev/actions/a1/approve", "would stop notebook n", "user:team$&lt;b&gt;&amp;", "clary budget rm dev", `<svg class="chart"`},
			map[string]int{"DescribeBudget": 1, "DescribeNotificationsForBudget": 1, "DescribeSubscribersForNotification": 1, "DescribeBudgetActionsForBudget": 1, "DescribeBudgetActionHistories": 1, "DescribeBudgetPerformanceHistory": 1},
		},
		"/budgets/dev/actions/a1/approve": {
			[]string{"would stop notebook n, $0.05 an hour", "Stop these", `name="token"`}, map[string]int{"DescribeBudget": 1, "DescribeBudgetAction": 1, "DescribeBudgetActionHistories": 1},
		},
		"/alarms":      {[]string{"over", "ALARM", "Maximum of EstimatedCharges Currency=USD &gt; 12.5 over 1 min 00 s, 2 of 3 periods"}, map[string]int{"DescribeAlarms": 1}},
		"/alarms/over": {[]string{"Threshold Crossed: &lt;b&gt;&amp;", "Alarm updated from OK to ALARM", "threshold 12.5", `<svg class="chart"`}, map[string]int{"DescribeAlarms": 1, "DescribeAlarmHistory": 1, "GetMetricData": 1}},
		"/notifications": {
			[]string{"No mail server is set", "to be confirmed", "https://hook", "confirmed</span>", "550 no such user", "2 attempts"}, map[string]int{"ListTopics": 1, "ListSubscriptions": 1},
		},
		"/forgotten": {
			[]string{"Idle notebook instance", "/notebook-instances/n/stop", "/endpoints/e/delete", "clary notebook delete v", "$36.00 + unpriced", "<li>a rule</li>", "nobody has used it &lt;b&gt;"}, map[string]int{"forgotten": 1},
		},
		"/": {[]string{"3 forgotten resources", "costs $36.00 a month"}, nil},
	} {
		w := spending()
		con, cookie := open(t, w)
		con.cfg.Mail.Deliveries = func(_ context.Context, _ op.Call, phase, token string) ([]outbox.Told, string, error) {
			return []outbox.Told{{To: "me@example.com", Subject: "over", Phase: outbox.PhasePending, Reason: "550 no such user", Attempts: 2, Due: time.Now()}}, "", nil
		}
		r := httptest.NewRequest(http.MethodGet, "http://console.localhost"+path, nil)
		r.AddCookie(cookie)
		rec := httptest.NewRecorder()
		con.ServeHTTP(rec, r)
		body := rec.Body.String()
		if rec.Code != http.StatusOK {
			t.Errorf("%s: %d %.300s", path, rec.Code, body)
		}
		for _, want := range c.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %q:\n%s", path, want, body[max(0, strings.Index(body, "<main")):])
			}
		}
		if strings.Contains(body, "<b>&") || strings.Contains(body, " style=") {
			t.Errorf("%s: something is not escaped or would be refused", path)
		}
		if c.asked != nil && !maps.Equal(w.count, c.asked) {
			t.Errorf("%s asks %v, want %v", path, w.count, c.asked)
		}
	}
}

// An action is done by its page's form, and by nothing else.
func TestApprove(t *testing.T) {
	t.Parallel()
	w := spending()
	done := 0
	w.money["ExecuteBudgetAction"] = func(in any) any {
		x := in.(*budgets.ExecuteBudgetActionRequest)
		if x.ExecutionType != "APPROVE_BUDGET_ACTION" || x.BudgetName != "dev" || x.ActionId != "a1" || x.AccountId != "123456789012" {
			t.Errorf("%+v", x)
		}
		done++
		return &budgets.ExecuteBudgetActionResponse{}
	}
	c, cookie := open(t, w)
	for _, tt := range []struct {
		token  string
		status int
		done   int
	}{{"", http.StatusForbidden, 0}, {formToken(cookie.Value), http.StatusSeeOther, 1}} {
		r := httptest.NewRequest(http.MethodPost, "http://console.localhost/budgets/dev/actions/a1/approve", strings.NewReader(url.Values{"token": {tt.token}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(cookie)
		rec := httptest.NewRecorder()
		c.ServeHTTP(rec, r)
		if rec.Code != tt.status || done != tt.done {
			t.Errorf("with %q: %d, done %d times", tt.token, rec.Code, done)
		}
	}
}

// Each section of money has code for every client where nothing is there yet.
func TestMoneyEmpty(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/budgets", "/alarms", "/notifications", "/forgotten", "/billing"} {
		w := newWorld()
		w.money = map[string]any{
			"DescribeBudgets": &budgets.DescribeBudgetsResponse{}, "DescribeAlarms": &cloudwatch.DescribeAlarmsOutput{},
			"ListTopics": &sns.ListTopicsResponse{}, "ListSubscriptions": &sns.ListSubscriptionsResponse{},
		}
		rec := get(t, w, path)
		if n := strings.Count(rec.Body.String(), "data-snippet="); rec.Code != http.StatusOK || n != 4 {
			t.Errorf("%s: %d, %d snippets", path, rec.Code, n)
		}
	}
}

// Topics and subscriptions are listed over all of SNS's pages, up to a bound
// that the page tells of.
func TestManyTopics(t *testing.T) {
	t.Parallel()
	for pages, more := range map[int]bool{3: false, topicPages: false, topicPages + 1: true} {
		w := spending()
		turn := func(token string) (arn, next string) {
			n, _ := strconv.Atoi(token)
			if n+1 < pages {
				next = strconv.Itoa(n + 1)
			}
			return "arn:aws:sns:us-east-1:123456789012:topic-" + strconv.Itoa(n) + "-", next
		}
		w.money["ListTopics"] = func(in any) any {
			arn, next := turn(in.(*sns.ListTopicsInput).NextToken)
			return &sns.ListTopicsResponse{Topics: []sns.Topic{{TopicArn: arn}}, NextToken: next}
		}
		w.money["ListSubscriptions"] = func(in any) any {
			arn, next := turn(in.(*sns.ListSubscriptionsInput).NextToken)
			return &sns.ListSubscriptionsResponse{Subscriptions: []sns.Subscription{{TopicArn: arn, Endpoint: "to-" + lastPart(arn), SubscriptionArn: arn + ":1"}}, NextToken: next}
		}
		body := get(t, w, "/notifications").Body.String()
		for n := range min(pages, topicPages) {
			topic := fmt.Sprintf("topic-%d-", n)
			if !strings.Contains(body, `<td class="name">`+topic+"</td>") || !strings.Contains(body, ":"+topic+`</td><td class="num">1</td>`) || !strings.Contains(body, "to-"+topic) {
				t.Errorf("of %d pages lacks %s", pages, topic)
			}
		}
		if strings.Contains(body, "There are more") != more {
			t.Errorf("of %d pages: more is not %v", pages, more)
		}
	}
}

// Who may not ask for a part sees the rest, and why not.
func TestMoneyDenied(t *testing.T) {
	t.Parallel()
	for path, c := range map[string][2]string{
		"/budgets":       {"DescribeBudgetActionsForAccount", "dev"},
		"/budgets/dev":   {"DescribeBudgetPerformanceHistory", "me@example.com"},
		"/alarms/over":   {"DescribeAlarmHistory", "Threshold Crossed"},
		"/notifications": {"ListTopics", "Topics are not shown"},
		"/billing":       {"GetTags", "By kind"},
	} {
		w := spending()
		w.refuse = c[0]
		if rec := get(t, w, path); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), c[1]) {
			t.Errorf("%s without %s: %d", path, c[0], rec.Code)
		}
	}
	w := spending()
	w.money["DescribeBudget"] = func(any) any { return nil }
	w.refuse = "DescribeBudget"
	if rec := get(t, w, "/budgets/dev"); rec.Code != http.StatusForbidden {
		t.Error(rec.Code)
	}
}
