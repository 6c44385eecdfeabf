package budgets

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/api"
	apib "clary/internal/api/budgets"
	"clary/internal/store"
)

func TestCrossing(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.cost("mine", "1.00", 80, letterTo("me@example.com"))
		time.Sleep(time.Hour)
		begun := time.Now()
		w.runs(thing("NotebookInstance", "nb"), "notebook", "ml.cent", nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		// 80 minutes cost 0.80; the 81st is charged when it begins.
		if l := w.letters(); len(l) != 0 {
			t.Fatalf("told after %v: %+v", l[0].at.Sub(begun), l)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		l := w.letters()
		if len(l) != 1 {
			t.Fatalf("%d letters, want 1", len(l))
		}
		if d := l[0].at.Sub(begun) - 80*time.Minute; d < 0 || d > time.Second {
			t.Errorf("told %v after the crossing", d)
		}
		for _, want := range []string{
			"Budget Name: mine\n", "Budget Type: Cost\n", "Budgeted Amount: $1.00\n", "Alert Type: ACTUAL\n", "Alert Threshold: > $0.80\n", "ACTUAL Amount: $0.81\n",
			"NotebookInstance nb (us-east-1)\n  costs $0.60 per hour, $0.81 so far", "clary notebook stop nb\n", "aws sagemaker stop-notebook-instance --notebook-instance-name nb --region us-east-1\n",
		} {
			if !strings.Contains(l[0].Body, want) {
				t.Errorf("the letter lacks %q:\n%s", want, l[0].Body)
			}
		}
		if l[0].Subject != "AWS Budgets: mine has exceeded your alert threshold" || l[0].To != "me@example.com" || l[0].Channel != "email" {
			t.Errorf("%+v", l[0])
		}
		if got := w.describe1("mine").CalculatedSpend.ActualSpend; got.Amount != "1.2" || got.Unit != "USD" {
			t.Errorf("spent %+v", got)
		}
	})
}

// settle lets everything that is due now happen.
func settle() {
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

func TestAlreadyOver(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		r := w.runs(thing("NotebookInstance", "nb"), "notebook", "ml.dime", nil)
		time.Sleep(time.Hour)
		w.ends(r, "notebook")
		time.Sleep(time.Hour)
		made := time.Now()
		w.cost("late", "1.00", 100, letterTo("me@example.com"), letterTo("you@example.com"))
		settle()
		l := w.letters()
		if len(l) != 2 {
			t.Fatalf("%d letters, want one for each subscriber", len(l))
		}
		if d := l[0].at.Sub(made); d > time.Second {
			t.Errorf("told after %v", d)
		}
		if !strings.Contains(l[0].Body, "ACTUAL Amount: $6.00") || !strings.Contains(l[0].Body, "Nothing that this budget covers is running now.") {
			t.Error(l[0].Body)
		}
	})
}

// A threshold is told of once in its period, and again in the next one; a
// limit that is raised makes another threshold.
func TestOncePerPeriod(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		b := &apib.Budget{BudgetName: "daily", BudgetType: "COST", TimeUnit: "DAILY", BudgetLimit: usdLimit("1")}
		w.create(b, notice("ACTUAL", "GREATER_THAN", 100, "PERCENTAGE", letterTo("me@example.com")), notice("ACTUAL", "GREATER_THAN", 2.5, "ABSOLUTE_VALUE", letterTo("me@example.com")))
		w.runs(thing("Endpoint", "e"), "notebook", "ml.cent", nil)
		state := func() string {
			out, err := w.DescribeNotificationsForBudget(t.Context(), call(), &apib.DescribeNotificationsForBudgetRequest{AccountId: account, BudgetName: "daily"})
			if err != nil {
				t.Fatal(err)
			}
			var s []string
			for _, n := range out.Notifications {
				s = append(s, n.NotificationState)
			}
			return strings.Join(s, " ")
		}
		at := func(d time.Duration) { time.Sleep(time.Until(date("2000-01-01").Add(d))); synctest.Wait() }
		steps := []struct {
			at      time.Duration
			letters int
			state   string
		}{
			{99 * time.Minute, 0, "OK OK"},
			{102 * time.Minute, 1, "ALARM OK"},
			{249 * time.Minute, 1, "ALARM OK"},
			{251 * time.Minute, 2, "ALARM ALARM"},
			{24*time.Hour - time.Second, 2, "ALARM ALARM"},
			{24*time.Hour + time.Second, 2, "OK OK"},
			{26 * time.Hour, 3, "ALARM OK"},
		}
		for _, s := range steps {
			at(s.at)
			if got := len(w.letters()); got != s.letters || state() != s.state {
				t.Errorf("at %v: %d letters and %s, want %d and %s", s.at, got, state(), s.letters, s.state)
			}
			w.kill()
			w.start()
			settle()
			if got := len(w.letters()); got != s.letters {
				t.Errorf("at %v after a restart: %d letters, want %d", s.at, got, s.letters)
			}
		}
		up := *b
		up.BudgetLimit = usdLimit("2")
		if _, err := w.UpdateBudget(t.Context(), call(), &apib.UpdateBudgetRequest{AccountId: account, NewBudget: &up}); err != nil {
			t.Fatal(err)
		}
		settle()
		if state() != "OK OK" {
			t.Errorf("after the limit was raised: %s", state())
		}
		at(28 * time.Hour)
		if got := len(w.letters()); got != 4 {
			t.Errorf("%d letters after the raised limit was crossed, want 4", got)
		}
	})
}

// What was spent until the very end of a period counts, though nobody looked.
func TestPeriodEndsWhileDown(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.create(&apib.Budget{BudgetName: "daily", BudgetType: "COST", TimeUnit: "DAILY", BudgetLimit: usdLimit("14")},
			notice("ACTUAL", "GREATER_THAN", 100, "PERCENTAGE", letterTo("me@example.com")))
		w.runs(thing("NotebookInstance", "nb"), "notebook", "ml.cent", nil)
		time.Sleep(23 * time.Hour) // 13.80 by now, 14.40 by midnight
		synctest.Wait()
		w.kill()
		time.Sleep(3 * time.Hour)
		w.start()
		settle()
		l := w.letters()
		if len(l) != 1 || !strings.Contains(l[0].Body, "for the period that ended 2000-01-02") || !strings.Contains(l[0].Body, "ACTUAL Amount: $14.40") {
			t.Fatalf("%+v", l)
		}
		w.kill()
		w.start()
		settle()
		if l := w.letters(); len(l) != 1 {
			t.Errorf("%d letters", len(l))
		}
		// Days that nobody saw are judged, too.
		w.kill()
		time.Sleep(3 * 24 * time.Hour)
		w.start()
		settle()
		var ended []string
		for _, l := range w.letters() {
			_, rest, _ := strings.Cut(l.Body, "for the period that ended ")
			ended = append(ended, rest[:10])
		}
		slices.Sort(ended)
		if want := []string{"2000-01-02", "2000-01-03", "2000-01-04", "2000-01-05"}; !slices.Equal(ended, want) {
			t.Errorf("told of the periods that ended %v, want %v", ended, want)
		}
		if !strings.Contains(w.letters()[1].Body, "NotebookInstance nb") {
			t.Error("a letter of a period that is over lacks what runs still")
		}
	})
}

// A scope is folded once, however many budgets have it; a budget until the end
// of time looks no further than today.
func TestShares(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 5 {
			w.cost(fmt.Sprint("b", i), "1", 100, letterTo("me@example.com"))
		}
		w.create(&apib.Budget{
			BudgetName: "long", BudgetType: "COST", TimeUnit: "CUSTOM", BudgetLimit: usdLimit("1000"),
			TimePeriod: &apib.TimePeriod{Start: api.At(date("2000-01-01")), End: api.At(date("2000-04-10"))},
		})
		w.runs(thing("NotebookInstance", "nb"), "notebook", "ml.cent", nil)
		settle()
		if len(w.covers) != 1 {
			t.Errorf("%d covers of one scope", len(w.covers))
		}
		if got := w.describe1("long").CalculatedSpend.ForecastedSpend.Amount; got != "1440.0" && !strings.HasPrefix(got, "1440.00") && !strings.HasPrefix(got, "1439.99") {
			t.Errorf("forecast of 100 days at 14.40: %s", got)
		}
		if _, err := w.DeleteBudget(t.Context(), call(), &apib.DeleteBudgetRequest{AccountId: account, BudgetName: "b0"}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTwoBudgetsAndFilters(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		cost := func(name string, filters map[string][]string, e *apib.Expression) {
			w.create(&apib.Budget{BudgetName: name, BudgetType: "COST", TimeUnit: "MONTHLY", BudgetLimit: usdLimit("1"), CostFilters: filters, FilterExpression: e},
				notice("ACTUAL", "GREATER_THAN", 100, "PERCENTAGE", letterTo(name+"@example.com")))
		}
		dimension := func(k string, v ...string) *apib.Expression {
			return &apib.Expression{Dimensions: &apib.ExpressionDimensionValues{Key: k, Values: v}}
		}
		cost("all", nil, nil)
		cost("team", map[string][]string{"TagKeyValue": {"user:team$blue"}}, nil)
		cost("either", map[string][]string{"TagKeyValue": {"user:team$blue", "user:team$red"}, "Service": {"Amazon SageMaker"}}, nil)
		cost("type", map[string][]string{"InstanceType": {"ml.dime"}}, nil)
		cost("region", map[string][]string{"Region": {"eu-west-1"}}, nil)
		cost("not", nil, &apib.Expression{Not: dimension("INSTANCE_TYPE", "ml.cent")})
		cost("usage", nil, &apib.Expression{And: []apib.Expression{*dimension("USAGE_TYPE", "USE1-Train:ml.cent"), *dimension("LINKED_ACCOUNT", account)}})
		w.runs(thing("NotebookInstance", "blue"), "notebook", "ml.cent", map[string]string{"team": "blue"})
		red := w.runs(thing("TrainingJob", "red"), "training", "ml.cent", map[string]string{"team": "red"})
		time.Sleep(101 * time.Minute)
		synctest.Wait()
		told := func() string {
			var names []string
			for _, l := range w.letters() {
				name, _, _ := strings.Cut(l.To, "@")
				names = append(names, name)
			}
			slices.Sort(names)
			return strings.Join(names, " ")
		}
		if got := told(); got != "all either team usage" {
			t.Errorf("told: %s", got)
		}
		for name, want := range map[string]string{"all": "2.02", "team": "1.01", "either": "2.02", "type": "0.0", "region": "0.0", "not": "0.0", "usage": "1.01"} {
			if got := w.describe1(name).CalculatedSpend.ActualSpend.Amount; got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		// What gets another tag while it runs is in another scope, all of it.
		w.update(func(tx store.Tx) error {
			if err := tx.PutTags(red.Arn, map[string]string{"team": "blue"}); err != nil {
				return err
			}
			return tx.TagUsage(red.UID, map[string]string{"team": "blue"})
		})
		if got := w.describe1("team").CalculatedSpend.ActualSpend.Amount; got != "2.02" {
			t.Errorf("after the tag: %s", got)
		}
	})
}

func TestForecast(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.create(&apib.Budget{BudgetName: "ahead", BudgetType: "COST", TimeUnit: "MONTHLY", BudgetLimit: usdLimit("100")},
			notice("FORECASTED", "GREATER_THAN", 100, "PERCENTAGE", letterTo("me@example.com")))
		time.Sleep(24 * time.Hour)
		begun := time.Now()
		w.runs(thing("NotebookInstance", "nb"), "notebook", "ml.cent", nil) // 14.40 a day for 30 days
		time.Sleep(time.Minute)
		synctest.Wait()
		l := w.letters()
		if len(l) != 1 {
			t.Fatalf("%d letters, want 1", len(l))
		}
		if d := l[0].at.Sub(begun); d > 5*time.Second {
			t.Errorf("told after %v", d)
		}
		if !strings.Contains(l[0].Body, "FORECASTED Amount: $432.0") || !strings.Contains(l[0].Subject, "is forecasted to exceed") {
			t.Errorf("%s\n%s", l[0].Subject, l[0].Body)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if l := w.letters(); len(l) != 1 {
			t.Errorf("%d letters", len(l))
		}
	})
}

func TestUsageBudget(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.create(&apib.Budget{
			BudgetName: "hours", BudgetType: "USAGE", TimeUnit: "MONTHLY", BudgetLimit: &apib.Spend{Amount: "2", Unit: "Hrs"},
			CostFilters: map[string][]string{"UsageType": {"USE1-Notebk:ml.cent"}},
		},
			notice("ACTUAL", "GREATER_THAN", 100, "PERCENTAGE", letterTo("me@example.com")))
		begun := time.Now()
		w.runs(thing("NotebookInstance", "nb"), "notebook", "ml.cent", nil)
		w.runs(thing("TrainingJob", "job"), "training", "ml.cent", nil)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		l := w.letters()
		if len(l) != 1 {
			t.Fatalf("%d letters", len(l))
		}
		if d := l[0].at.Sub(begun) - 2*time.Hour; d < 0 || d > time.Second {
			t.Errorf("told %v after the crossing", d)
		}
		if !strings.Contains(l[0].Body, "Budget Type: Usage\nBudgeted Amount: 2 Hrs\n") || !strings.Contains(l[0].Body, "> 2 Hrs") {
			t.Error(l[0].Body)
		}
		if got := w.describe1("hours").CalculatedSpend.ActualSpend; got.Amount != "3.0" || got.Unit != "Hrs" {
			t.Errorf("%+v", got)
		}
	})
}

// A budget is gone when its time is over, with what is told of its last day.
func TestExpires(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.create(&apib.Budget{
			BudgetName: "short", BudgetType: "COST", TimeUnit: "CUSTOM", BudgetLimit: usdLimit("28.79"),
			TimePeriod: &apib.TimePeriod{Start: api.At(date("2000-01-01")), End: api.At(date("2000-01-03"))},
		},
			notice("ACTUAL", "GREATER_THAN", 100, "PERCENTAGE", letterTo("me@example.com")))
		w.runs(thing("NotebookInstance", "nb"), "notebook", "ml.cent", nil)
		time.Sleep(48*time.Hour - time.Second)
		synctest.Wait()
		if w.describe1("short") == nil {
			t.Error("gone before its end")
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if _, err := w.DescribeBudget(t.Context(), call(), &apib.DescribeBudgetRequest{AccountId: account, BudgetName: "short"}); code(err) != "NotFoundException" {
			t.Errorf("%v", err)
		}
		if l := w.letters(); len(l) != 1 {
			t.Errorf("%d letters", len(l))
		}
	})
}
