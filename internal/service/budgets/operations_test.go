package budgets

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/api"
	apib "clary/internal/api/budgets"
	"clary/internal/aws/apierr"
	"clary/internal/outbox"
	"clary/internal/resource"
	"clary/internal/store"
)

const topicArn = "arn:aws:sns:eu-west-1:" + account + ":money"

func topic(arn string) apib.Subscriber {
	return apib.Subscriber{SubscriptionType: "SNS", Address: arn}
}

func (w *world) makeTopic() {
	w.update(func(tx store.Tx) error {
		return tx.Put(&resource.Record{Key: resource.Key{Account: account, Region: "eu-west-1", Kind: "Topic", Name: "money"}, UID: resource.NewUID(), Arn: topicArn, Created: time.Now(), Modified: time.Now()})
	})
}

func monthlyOf(edit func(b *apib.Budget)) *apib.Budget {
	b := &apib.Budget{BudgetName: "b", BudgetType: "COST", TimeUnit: "MONTHLY", BudgetLimit: usdLimit("10")}
	if edit != nil {
		edit(b)
	}
	return b
}

func TestBadBudgets(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		many := func(n int) (out []apib.Subscriber) {
			for i := range n {
				out = append(out, letterTo(fmt.Sprintf("m%d@example.com", i)))
			}
			return out
		}
		for _, tt := range []struct {
			b    *apib.Budget
			to   []apib.Subscriber
			n    apib.Notification
			code string
			text string
		}{
			{monthlyOf(func(b *apib.Budget) { b.BudgetLimit.Unit = "EUR" }), nil, apib.Notification{}, "InvalidParameterException", "EUR is not in the supported unit set: [USD]"},
			{monthlyOf(func(b *apib.Budget) { b.BudgetLimit = nil }), nil, apib.Notification{}, "InvalidParameterException", "please provide one of the followings: Budget Limit"},
			{monthlyOf(func(b *apib.Budget) { b.BudgetType = "RI_COVERAGE" }), nil, apib.Notification{}, "InvalidParameterException", "RI_COVERAGE"},
			{monthlyOf(func(b *apib.Budget) { b.AutoAdjustData = &apib.AutoAdjustData{AutoAdjustType: "FORECAST"} }), nil, apib.Notification{}, "InvalidParameterException", "AutoAdjustData"},
			{monthlyOf(func(b *apib.Budget) { b.BudgetLimit.Amount = "1000000000000000" }), nil, apib.Notification{}, "InvalidParameterException", "is not valid"},
			{monthlyOf(func(b *apib.Budget) { b.CostFilters = map[string][]string{"CostCategory": {"x"}} }), nil, apib.Notification{}, "InvalidParameterException", "CostCategory is not supported"},
			{monthlyOf(func(b *apib.Budget) {
				b.CostTypes = &apib.CostTypes{UseBlended: api.Ptr(true), UseAmortized: api.Ptr(true)}
			}), nil, apib.Notification{}, "InvalidParameterException", "can't both be true"},
			{monthlyOf(func(b *apib.Budget) { b.FilterExpression = &apib.Expression{} }), nil, apib.Notification{}, "InvalidParameterException", "exactly one of"},
			{monthlyOf(func(b *apib.Budget) { b.Metrics = []string{"UsageQuantity"} }), nil, apib.Notification{}, "InvalidParameterException", "UsageQuantity is not supported"},
			{monthlyOf(func(b *apib.Budget) { b.TimePeriod = &apib.TimePeriod{End: api.At(date("1999-12-31"))} }), nil, apib.Notification{}, "InvalidParameterException", "must come before the end date"},
			{monthlyOf(func(b *apib.Budget) { b.TimePeriod = &apib.TimePeriod{End: api.At(date("2099-12-31"))} }), nil, apib.Notification{}, "InvalidParameterException", "06/15/87"},
			{monthlyOf(func(b *apib.Budget) { b.BillingViewArn = "arn:aws:billing::123456789012:billingview/custom" }), nil, apib.Notification{}, "InvalidParameterException", "billing view"},
			{monthlyOf(func(b *apib.Budget) { b.TimeUnit = "DAILY" }), many(1), apib.Notification{NotificationType: "FORECASTED"}, "InvalidParameterException", "FORECASTED"},
			{monthlyOf(nil), many(11), apib.Notification{}, "CreationLimitExceededException", "10 subscribers with type of EMAIL"},
			{monthlyOf(nil), append(many(1), many(1)...), apib.Notification{}, "DuplicateRecordException", "already exists"},
			{monthlyOf(nil), []apib.Subscriber{topic(topicArn), topic(topicArn + "2")}, apib.Notification{}, "CreationLimitExceededException", "one notification can only have 1 subscribers with type of SNS"},
			{monthlyOf(nil), []apib.Subscriber{topic(topicArn)}, apib.Notification{}, "InvalidParameterException", "does not exist"},
			{monthlyOf(nil), []apib.Subscriber{topic("arn:aws:sns:eu-west-1:999999999999:money")}, apib.Notification{}, "InvalidParameterException", "other accounts"},
			{monthlyOf(nil), []apib.Subscriber{topic("arn:aws:sqs:eu-west-1:123456789012:money")}, apib.Notification{}, "InvalidParameterException", "Invalid SNS topic ARN"},
			{monthlyOf(nil), []apib.Subscriber{letterTo("me")}, apib.Notification{}, "InvalidParameterException", "not a valid email address"},
			{monthlyOf(nil), many(1), apib.Notification{Threshold: 1_000_001}, "InvalidParameterException", "at most 1000000 percent"},
		} {
			in := &apib.CreateBudgetRequest{AccountId: account, Budget: tt.b}
			if tt.to != nil {
				if tt.n.NotificationType == "" {
					tt.n.NotificationType = "ACTUAL"
				}
				tt.n.ComparisonOperator = "GREATER_THAN"
				in.NotificationsWithSubscribers = []apib.NotificationWithSubscribers{{Notification: &tt.n, Subscribers: tt.to}}
			}
			if _, err := w.CreateBudget(t.Context(), call(), in); code(err) != tt.code || !strings.Contains(apierr.From(err).Message, tt.text) {
				t.Errorf("%v, want %s with %q", err, tt.code, tt.text)
			}
		}
		if out, err := w.DescribeBudgets(t.Context(), call(), &apib.DescribeBudgetsRequest{AccountId: account}); err != nil || len(out.Budgets) != 0 {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

func TestDefaultsAndLists(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		time.Sleep(40 * 24 * time.Hour) // 2000-02-10
		w.makeTopic()
		for _, name := range []string{"c", "a", "b"} {
			w.create(monthlyOf(func(b *apib.Budget) { b.BudgetName = name }), notice("ACTUAL", "GREATER_THAN", 80, "", letterTo("me@example.com"), topic(topicArn)))
		}
		_, err := w.CreateBudget(t.Context(), call(), &apib.CreateBudgetRequest{AccountId: account, Budget: monthlyOf(nil)})
		if code(err) != "DuplicateRecordException" || apierr.From(err).Message != "Error creating budget: b - the budget already exists." {
			t.Errorf("%v", err)
		}
		b := w.describe1("b")
		if !b.TimePeriod.Start.Equal(date("2000-02-01")) || !b.TimePeriod.End.Equal(date("2087-06-15")) || !*b.CostTypes.IncludeTax || *b.CostTypes.UseBlended || b.BudgetLimit.Amount != "10" {
			t.Errorf("%+v", b)
		}
		var names []string
		token := ""
		for range 3 {
			out, err := w.DescribeBudgets(t.Context(), call(), &apib.DescribeBudgetsRequest{AccountId: account, MaxResults: api.Ptr(int64(2)), NextToken: token})
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range out.Budgets {
				names = append(names, b.BudgetName)
			}
			if token = out.NextToken; token == "" {
				break
			}
		}
		if !slices.Equal(names, []string{"a", "b", "c"}) {
			t.Errorf("%v", names)
		}
		for _, f := range []func() error{
			func() error {
				_, err := w.DescribeBudgets(t.Context(), call(), &apib.DescribeBudgetsRequest{AccountId: account, NextToken: "x"})
				return err
			},
			func() error {
				_, err := w.DescribeNotificationsForBudget(t.Context(), call(), &apib.DescribeNotificationsForBudgetRequest{AccountId: account, BudgetName: "a", NextToken: "-1"})
				return err
			},
		} {
			if err := f(); code(err) != "InvalidNextTokenException" {
				t.Errorf("%v", err)
			}
		}
		other := call()
		other.Account = "999999999999"
		h := w.Operations()["DescribeBudget"]
		if _, err := h.Serve(t.Context(), other, &apib.DescribeBudgetRequest{AccountId: account, BudgetName: "a"}); code(err) != "AccessDeniedException" {
			t.Errorf("%v", err)
		}
		if got := h.Resource(call(), &apib.DescribeBudgetRequest{AccountId: account, BudgetName: "a"}); got != "arn:aws:budgets::"+account+":budget/a" || h.Action != "budgets:ViewBudget" {
			t.Errorf("%s on %s", h.Action, got)
		}
	})
}

func TestSubscribers(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.makeTopic()
		w.create(monthlyOf(nil), notice("ACTUAL", "GREATER_THAN", 80, "PERCENTAGE", letterTo("me@example.com")))
		n := &apib.Notification{NotificationType: "ACTUAL", ComparisonOperator: "GREATER_THAN", Threshold: 80}
		add := func(s apib.Subscriber) error {
			_, err := w.CreateSubscriber(t.Context(), call(), &apib.CreateSubscriberRequest{AccountId: account, BudgetName: "b", Notification: n, Subscriber: &s})
			return err
		}
		if err := add(topic(topicArn)); err != nil {
			t.Error(err)
		}
		if err := add(letterTo("me@example.com")); code(err) != "DuplicateRecordException" {
			t.Errorf("%v", err)
		}
		me, you := letterTo("me@example.com"), letterTo("you@example.com")
		if _, err := w.UpdateSubscriber(t.Context(), call(), &apib.UpdateSubscriberRequest{AccountId: account, BudgetName: "b", Notification: n, OldSubscriber: &me, NewSubscriber: &you}); err != nil {
			t.Error(err)
		}
		if _, err := w.UpdateSubscriber(t.Context(), call(), &apib.UpdateSubscriberRequest{AccountId: account, BudgetName: "b", Notification: n, OldSubscriber: &me, NewSubscriber: &you}); code(err) != "NotFoundException" {
			t.Errorf("%v", err)
		}
		out, err := w.DescribeSubscribersForNotification(t.Context(), call(), &apib.DescribeSubscribersForNotificationRequest{AccountId: account, BudgetName: "b", Notification: n})
		if err != nil || !slices.Equal(out.Subscribers, []apib.Subscriber{you, topic(topicArn)}) {
			t.Errorf("%+v, %v", out, err)
		}
		// Both are told, the topic in its region.
		w.runs(thing("NotebookInstance", "nb"), "notebook", "ml.dime", nil)
		time.Sleep(2 * time.Hour)
		settle()
		recs, _, err := w.db.List(t.Context(), resource.Query{Kind: outbox.KindPublication})
		if err != nil || len(recs) != 1 || len(w.letters()) != 1 || w.letters()[0].To != "you@example.com" {
			t.Fatalf("%v, %v, %+v", recs, err, w.letters())
		}
		var p outbox.Publication
		if err := json.Unmarshal(recs[0].Spec, &p); err != nil {
			t.Fatal(err)
		}
		if recs[0].Region != "eu-west-1" || p.TopicArn != topicArn || p.By != "budgets.amazonaws.com" || p.Message != w.letters()[0].Body || len(p.Subject) > 100 {
			t.Errorf("%s: %+v", recs[0].Region, p)
		}
		for _, s := range []apib.Subscriber{you, topic(topicArn)} {
			if _, err := w.DeleteSubscriber(t.Context(), call(), &apib.DeleteSubscriberRequest{AccountId: account, BudgetName: "b", Notification: n, Subscriber: &s}); err != nil {
				t.Error(err)
			}
		}
		if _, err := w.DeleteNotification(t.Context(), call(), &apib.DeleteNotificationRequest{AccountId: account, BudgetName: "b", Notification: n}); code(err) != "NotFoundException" {
			t.Errorf("the notification is there without its last subscriber: %v", err)
		}
	})
}

func TestPlannedAndHistory(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		plan := make(map[string]apib.Spend)
		for i := range 4 {
			plan[fmt.Sprint(date("2000-01-01").AddDate(0, 3*i, 0).Unix())] = *usdLimit(fmt.Sprint(10 * (i + 1)))
		}
		quarterly := monthlyOf(func(b *apib.Budget) { b.TimeUnit, b.BudgetLimit, b.PlannedBudgetLimits = "QUARTERLY", nil, plan })
		w.create(quarterly)
		short := *quarterly
		short.BudgetName, short.PlannedBudgetLimits = "short", map[string]apib.Spend{"0": *usdLimit("1")}
		if _, err := w.CreateBudget(t.Context(), call(), &apib.CreateBudgetRequest{AccountId: account, Budget: &short}); code(err) != "InvalidParameterException" || !strings.Contains(err.Error(), "946684800") {
			t.Errorf("%v", err)
		}
		nb := w.runs(thing("NotebookInstance", "nb"), "notebook", "ml.cent", nil)
		time.Sleep(time.Hour)
		w.ends(nb, "notebook")
		for when, want := range map[string]string{"2000-02-01": "10", "2000-12-31": "40", "2003-01-01": "40"} {
			b := &budget{spec: spec{Budget: *quarterly}}
			if got := b.planned(calendar("QUARTERLY", date(when))); got.Amount != want {
				t.Errorf("%s: %s, want %s", when, got.Amount, want)
			}
		}
		w.kill()
		time.Sleep(time.Until(date("2000-05-01")))
		w.start()
		if got := w.describe1("b").BudgetLimit; got.Amount != "20" {
			t.Errorf("limit %+v", got)
		}
		out, err := w.DescribeBudgetPerformanceHistory(t.Context(), call(), &apib.DescribeBudgetPerformanceHistoryRequest{AccountId: account, BudgetName: "b"})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range out.BudgetPerformanceHistory.BudgetedAndActualAmountsList {
			got = append(got, h.TimePeriod.Start.Format(time.DateOnly)+" "+h.BudgetedAmount.Amount+" "+h.ActualAmount.Amount)
		}
		if want := []string{"2000-04-01 20.0 0.0", "2000-01-01 10.0 0.6"}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestActionsAndTags(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.create(monthlyOf(nil))
		in := apib.CreateBudgetActionRequest{
			AccountId: account, BudgetName: "b", NotificationType: "ACTUAL", ActionType: "RUN_SSM_DOCUMENTS", ApprovalModel: "MANUAL",
			ActionThreshold:  &apib.ActionThreshold{ActionThresholdValue: 100, ActionThresholdType: "PERCENTAGE"},
			Definition:       &apib.Definition{SsmActionDefinition: &apib.SsmActionDefinition{ActionSubType: "STOP_EC2_INSTANCES", Region: "us-east-1", InstanceIds: []string{"All"}}},
			ExecutionRoleArn: "arn:aws:iam::123456789012:role/stop", Subscribers: []apib.Subscriber{letterTo("me@example.com")},
			ResourceTags: []apib.ResourceTag{{Key: "k", Value: "v"}},
		}
		made, err := w.CreateBudgetAction(t.Context(), call(), &in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.CreateBudgetAction(t.Context(), call(), &in); code(err) != "DuplicateRecordException" {
			t.Errorf("%v", err)
		}
		bad := in
		bad.ActionType = "APPLY_SCP_POLICY"
		if _, err := w.CreateBudgetAction(t.Context(), call(), &bad); code(err) != "InvalidParameterException" {
			t.Errorf("%v", err)
		}
		arn := "arn:aws:budgets::" + account + ":budget/b/action/" + made.ActionId
		tags, err := w.ListTagsForResource(t.Context(), call(), &apib.ListTagsForResourceRequest{ResourceARN: arn})
		if err != nil || !slices.Equal(tags.ResourceTags, in.ResourceTags) {
			t.Errorf("%+v, %v", tags, err)
		}
		execute := func(what string) string {
			_, err := w.ExecuteBudgetAction(t.Context(), call(), &apib.ExecuteBudgetActionRequest{AccountId: account, BudgetName: "b", ActionId: made.ActionId, ExecutionType: what})
			return code(err)
		}
		for _, what := range []string{"APPROVE_BUDGET_ACTION", "RETRY_BUDGET_ACTION", "REVERSE_BUDGET_ACTION", "RESET_BUDGET_ACTION"} {
			if got := execute(what); got != "InvalidParameterException" {
				t.Errorf("%s on standby: %q", what, got)
			}
		}
		phase := func(p string) {
			w.update(func(tx store.Tx) error {
				b, err := get(tx, account, "b", "get budget")
				if err != nil {
					return err
				}
				a, err := b.action(tx, made.ActionId)
				if err != nil {
					return err
				}
				a.becomes(p, eventSystem, p, time.Now())
				return a.put(tx, time.Now(), time.Time{})
			})
		}
		phase(executing)
		id := apib.DeleteBudgetActionRequest{AccountId: account, BudgetName: "b", ActionId: made.ActionId}
		if _, err := w.DeleteBudgetAction(t.Context(), call(), &id); code(err) != "ResourceLockedException" {
			t.Errorf("%v", err)
		}
		if _, err := w.UpdateBudgetAction(t.Context(), call(), &apib.UpdateBudgetActionRequest{AccountId: account, BudgetName: "b", ActionId: made.ActionId, ApprovalModel: "AUTOMATIC"}); code(err) != "ResourceLockedException" {
			t.Errorf("%v", err)
		}
		if got := execute("RESET_BUDGET_ACTION"); got != "ResourceLockedException" {
			t.Errorf("%q", got)
		}
		phase(executed)
		if got := execute("RESET_BUDGET_ACTION"); got != "" {
			t.Errorf("%q", got)
		}
		h, err := w.DescribeBudgetActionHistories(t.Context(), call(), &apib.DescribeBudgetActionHistoriesRequest{AccountId: account, BudgetName: "b", ActionId: made.ActionId, MaxResults: api.Ptr(int64(3))})
		if err != nil || len(h.ActionHistories) != 3 || h.NextToken == "" || h.ActionHistories[0].Status != "STANDBY" || h.ActionHistories[0].EventType != "EXECUTE_ACTION" || h.ActionHistories[1].Status != "EXECUTION_SUCCESS" {
			t.Errorf("%+v, %v", h, err)
		}
		if _, err := w.DeleteBudget(t.Context(), call(), &apib.DeleteBudgetRequest{AccountId: account, BudgetName: "b"}); err != nil {
			t.Fatal(err)
		}
		out, err := w.DescribeBudgetActionsForAccount(t.Context(), call(), &apib.DescribeBudgetActionsForAccountRequest{AccountId: account})
		if err != nil || len(out.Actions) != 0 {
			t.Errorf("%+v, %v", out, err)
		}
	})
}
