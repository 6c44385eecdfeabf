package console

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	api "clary/internal/api/budgets"
	"clary/internal/budget"
)

const (
	budgetsPage  = 50
	historyRows  = 20 // of an action
	mostSubjects = 10 // notifications whose subscribers are asked for
)

func budgetPath(name string) string { return "/budgets/" + url.PathEscape(name) }

// gauge is how much of a limit is spent and forecast, in percent.
type gauge struct {
	Spent, Forecast, Part float64 // Part: as a number for people
	Over                  bool
	Known                 bool
}

func gaugeOf(b api.Budget) gauge {
	limit, ok := amount(b.BudgetLimit)
	if !ok || limit <= 0 || b.CalculatedSpend == nil {
		return gauge{}
	}
	spent, ok := amount(b.CalculatedSpend.ActualSpend)
	if !ok {
		return gauge{}
	}
	forecast, _ := amount(b.CalculatedSpend.ForecastedSpend)
	part := 100 * spent / limit
	return gauge{Spent: min(part, 100), Forecast: min(max(100*forecast/limit, 0), 100), Part: part, Over: spent > limit, Known: true}
}

func amount(s *api.Spend) (float64, bool) {
	if s == nil {
		return 0, false
	}
	f, err := strconv.ParseFloat(s.Amount, 64)
	return f, err == nil
}

// spendText writes an amount as people do; a budget's may be of hours, too.
func spendText(s *api.Spend) string {
	f, ok := amount(s)
	switch {
	case s == nil:
		return ""
	case !ok:
		return s.Amount + " " + s.Unit
	case s.Unit == "USD":
		return money(int64(f*1e6 + 0.5))
	}
	return number(f) + " " + s.Unit
}

// budgetRow is a budget in the list.
type budgetRow struct {
	Name, Path, Type, Unit string
	Limit, Spent, Forecast string
	Gauge                  gauge
	Alarms, Notifications  int // Alarms: of these, those that were crossed
	Actions                []api.Action
	Health                 string
}

func rowOfBudget(b api.Budget) budgetRow {
	r := budgetRow{Name: b.BudgetName, Path: budgetPath(b.BudgetName), Type: b.BudgetType, Unit: b.TimeUnit, Limit: spendText(b.BudgetLimit), Gauge: gaugeOf(b)}
	if c := b.CalculatedSpend; c != nil {
		r.Spent, r.Forecast = spendText(c.ActualSpend), spendText(c.ForecastedSpend)
	}
	if h := b.HealthStatus; h != nil && h.Status != "HEALTHY" {
		r.Health = h.StatusReason
	}
	return r
}

type budgetsBody struct {
	Rows        []budgetRow
	Pending     []api.Action // that wait for somebody's word
	First, Next string
	Hidden      string
	Empty       *emptyBody
}

// budgets lists them, with how far each is spent.
func (c *Console) budgets(v *view) error {
	body := &budgetsBody{}
	if !c.cfg.Calls.Serves("budgets", "DescribeBudgets") {
		return v.emptyBudgets(body)
	}
	out, err := ask[api.DescribeBudgetsResponse](v, "budgets", "DescribeBudgets", &api.DescribeBudgetsRequest{
		AccountId: v.call.Account, MaxResults: ptr(budgetsPage), NextToken: v.r.URL.Query().Get("page"),
	})
	if err != nil {
		return err
	}
	at := map[string]int{}
	for _, b := range out.Budgets {
		at[b.BudgetName] = len(body.Rows)
		body.Rows = append(body.Rows, rowOfBudget(b))
	}
	body.First, body.Next = v.pages(out.NextToken)
	if len(body.Rows) == 0 && body.First == "" {
		return v.emptyBudgets(body)
	}
	notes, err := ask[api.DescribeBudgetNotificationsForAccountResponse](v, "budgets", "DescribeBudgetNotificationsForAccount",
		&api.DescribeBudgetNotificationsForAccountRequest{AccountId: v.call.Account, MaxResults: ptr(budgetsPage)})
	if _, no := refused(err); err != nil && !no {
		return err
	}
	if err == nil {
		for _, n := range notes.BudgetNotificationsForAccount {
			i, ok := at[n.BudgetName]
			if !ok {
				continue
			}
			body.Rows[i].Notifications = len(n.Notifications)
			for _, x := range n.Notifications {
				if x.NotificationState == "ALARM" {
					body.Rows[i].Alarms++
				}
			}
		}
	}
	actions, err := ask[api.DescribeBudgetActionsForAccountResponse](v, "budgets", "DescribeBudgetActionsForAccount",
		&api.DescribeBudgetActionsForAccountRequest{AccountId: v.call.Account, MaxResults: ptr(100)})
	if _, no := refused(err); err != nil && !no {
		return err
	}
	if err == nil {
		for _, a := range actions.Actions {
			if i, ok := at[a.BudgetName]; ok {
				body.Rows[i].Actions = append(body.Rows[i].Actions, a)
			}
			if a.Status == "PENDING" {
				body.Pending = append(body.Pending, a)
			}
		}
	}
	return v.show("budgets", "Budgets", "budgets", body)
}

func (v *view) emptyBudgets(body *budgetsBody) (err error) {
	if body.Empty, err = v.empty("budgets"); err != nil {
		return err
	}
	return v.show("budgets", "Budgets", "budgets", body)
}

// alertRow is a notification with whom it tells.
type alertRow struct {
	api.Notification
	Text        string
	Subscribers []api.Subscriber
	Hidden      bool
}

// actionRow is an action with what it did.
type actionRow struct {
	api.Action
	Text    string
	History []api.ActionHistory
	Approve string // address of the page that asks; "": nothing waits
}

type budgetBody struct {
	Row                  budgetRow
	Budget               *api.Budget
	Config               []fact
	Alerts               []alertRow
	Actions              []actionRow
	Chart                *chart
	Hidden, Path, Remove string
}

// budget is one budget's page.
func (c *Console) budget(v *view) error {
	b, err := v.describeBudget()
	if err != nil {
		return err
	}
	body := &budgetBody{Row: rowOfBudget(*b), Budget: b, Path: budgetPath(b.BudgetName), Config: budgetConfig(b)}
	body.Remove = fmt.Sprintf("clary budget rm %s\naws budgets delete-budget --account-id %s --budget-name %s", budget.Quote(b.BudgetName), v.call.Account, budget.Quote(b.BudgetName))
	if body.Alerts, err = v.alerts(b.BudgetName); err != nil {
		return err
	}
	if body.Actions, err = v.actions(b.BudgetName); err != nil {
		return err
	}
	if body.Chart, err = v.performance(b.BudgetName); err != nil {
		return err
	}
	return v.show("budget", b.BudgetName, "budgets", body)
}

func (v *view) describeBudget() (*api.Budget, error) {
	out, err := ask[api.DescribeBudgetResponse](v, "budgets", "DescribeBudget", &api.DescribeBudgetRequest{
		AccountId: v.call.Account, BudgetName: v.r.PathValue("name"),
	})
	if err != nil {
		return nil, err
	}
	if out.Budget == nil {
		return nil, errNoPage
	}
	return out.Budget, nil
}

func budgetConfig(b *api.Budget) []fact {
	var out table
	out.add("Type", b.BudgetType)
	out.add("Time unit", b.TimeUnit)
	if p := b.TimePeriod; p != nil {
		out.add("From", dayText(p.Start.Time))
		if p.End.Year() < 2087 { // AWS's word for ever
			out.add("To", dayText(p.End.Time))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(b.CostFilters)) {
		out.add("Only "+p, strings.Join(b.CostFilters[p], ", "))
	}
	out.add("Changed", dayText(b.LastUpdatedTime.Time))
	return out
}

func dayText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

// threshold writes when something happens, as "ACTUAL > 80 %".
func threshold(kind, operator string, value float64, unit string) string {
	sign := map[string]string{"GREATER_THAN": "over", "LESS_THAN": "under", "EQUAL_TO": "at"}[operator]
	what := "what is spent"
	if kind == "FORECASTED" {
		what = "the forecast"
	}
	if unit == "ABSOLUTE_VALUE" {
		return fmt.Sprintf("%s is %s %s", what, cmp.Or(sign, "over"), money(int64(value*1e6+0.5)))
	}
	return fmt.Sprintf("%s is %s %s %% of the limit", what, cmp.Or(sign, "over"), number(value))
}

func (v *view) alerts(name string) ([]alertRow, error) {
	out, err := ask[api.DescribeNotificationsForBudgetResponse](v, "budgets", "DescribeNotificationsForBudget",
		&api.DescribeNotificationsForBudgetRequest{AccountId: v.call.Account, BudgetName: name})
	if _, no := refused(err); no {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var rows []alertRow
	for i, n := range out.Notifications {
		r := alertRow{Notification: n, Text: threshold(n.NotificationType, n.ComparisonOperator, n.Threshold, n.ThresholdType)}
		if i < mostSubjects {
			whom, err := ask[api.DescribeSubscribersForNotificationResponse](v, "budgets", "DescribeSubscribersForNotification",
				&api.DescribeSubscribersForNotificationRequest{AccountId: v.call.Account, BudgetName: name, Notification: &n})
			if _, no := refused(err); err != nil && !no {
				return nil, err
			}
			if r.Hidden = err != nil; !r.Hidden {
				r.Subscribers = whom.Subscribers
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (v *view) actions(name string) ([]actionRow, error) {
	out, err := ask[api.DescribeBudgetActionsForBudgetResponse](v, "budgets", "DescribeBudgetActionsForBudget",
		&api.DescribeBudgetActionsForBudgetRequest{AccountId: v.call.Account, BudgetName: name})
	if _, no := refused(err); no {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var rows []actionRow
	for _, a := range out.Actions {
		r := actionRow{Action: a, Text: actionText(a)}
		if a.Status == "PENDING" {
			r.Approve = budgetPath(name) + "/actions/" + url.PathEscape(a.ActionId) + "/approve"
		}
		if r.History, err = v.actionHistory(name, a.ActionId); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// actionHistory is what an action did, the newest first.
func (v *view) actionHistory(budget, id string) ([]api.ActionHistory, error) {
	out, err := ask[api.DescribeBudgetActionHistoriesResponse](v, "budgets", "DescribeBudgetActionHistories",
		&api.DescribeBudgetActionHistoriesRequest{AccountId: v.call.Account, BudgetName: budget, ActionId: id, MaxResults: ptr(historyRows)})
	if _, no := refused(err); no {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out.ActionHistories, func(a, b api.ActionHistory) int { return b.Timestamp.Compare(a.Timestamp.Time) })
	return out.ActionHistories, nil
}

// actionText says what an action does, and when.
func actionText(a api.Action) string {
	what := a.ActionType
	if d := a.Definition; d != nil && d.SsmActionDefinition != nil {
		what = "stops " + strings.Join(d.SsmActionDefinition.InstanceIds, ", ") + " in " + d.SsmActionDefinition.Region
	}
	if t := a.ActionThreshold; t != nil {
		what += " when " + threshold(a.NotificationType, "EQUAL_TO", t.ActionThresholdValue, t.ActionThresholdType)
	}
	if a.ApprovalModel == "MANUAL" {
		return what + ", once somebody approves it"
	}
	return what + ", early enough that the limit holds"
}

// performance draws what was spent and what might have been, by period.
func (v *view) performance(name string) (*chart, error) {
	out, err := ask[api.DescribeBudgetPerformanceHistoryResponse](v, "budgets", "DescribeBudgetPerformanceHistory",
		&api.DescribeBudgetPerformanceHistoryRequest{AccountId: v.call.Account, BudgetName: name})
	if _, no := refused(err); no {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h := out.BudgetPerformanceHistory
	if h == nil || len(h.BudgetedAndActualAmountsList) == 0 {
		return nil, nil
	}
	list := slices.Clone(h.BudgetedAndActualAmountsList)
	start := func(b api.BudgetedAndActualAmounts) time.Time {
		if b.TimePeriod == nil {
			return time.Time{}
		}
		return b.TimePeriod.Start.Time
	}
	slices.SortFunc(list, func(a, b api.BudgetedAndActualAmounts) int { return start(a).Compare(start(b)) })
	l := line{Title: "Spent by period", Unit: "US dollars", X: "period from", Names: []string{"spent", "limit"}}
	for _, b := range list {
		spent, _ := amount(b.ActualAmount)
		limit, _ := amount(b.BudgetedAmount)
		l.Labels, l.Values, l.Beside = append(l.Labels, start(b).UTC().Format("2 Jan")), append(l.Values, spent), append(l.Beside, limit)
		if b.ActualAmount != nil && b.ActualAmount.Unit != "USD" {
			l.Unit = b.ActualAmount.Unit
		}
	}
	if l.Unit != "US dollars" {
		return l.draw()
	}
	return l.bars()
}

type approveBody struct {
	Budget  *api.Budget
	Action  *api.Action
	Text    string
	Message string // what it would stop, as its history says
	Path    string
}

// approveAsk shows what an action would stop before it does.
func (c *Console) approveAsk(v *view) error {
	b, err := v.describeBudget()
	if err != nil {
		return err
	}
	out, err := ask[api.DescribeBudgetActionResponse](v, "budgets", "DescribeBudgetAction", &api.DescribeBudgetActionRequest{
		AccountId: v.call.Account, BudgetName: b.BudgetName, ActionId: v.r.PathValue("id"),
	})
	if err != nil {
		return err
	}
	if out.Action == nil {
		return errNoPage
	}
	body := approveBody{Budget: b, Action: out.Action, Text: actionText(*out.Action), Path: budgetPath(b.BudgetName)}
	history, err := v.actionHistory(b.BudgetName, out.Action.ActionId)
	if err != nil {
		return err
	}
	if len(history) > 0 && history[0].ActionHistoryDetails != nil {
		body.Message = history[0].ActionHistoryDetails.Message
	}
	return v.show("budget-approve", "Approve the action of "+b.BudgetName, "budgets", body)
}

// approve has a pending action done.
func (c *Console) approve(v *view) error {
	name := v.r.PathValue("name")
	if _, err := ask[api.ExecuteBudgetActionResponse](v, "budgets", "ExecuteBudgetAction", &api.ExecuteBudgetActionRequest{
		AccountId: v.call.Account, BudgetName: name, ActionId: v.r.PathValue("id"), ExecutionType: "APPROVE_BUDGET_ACTION",
	}); err != nil {
		return err
	}
	v.to(budgetPath(name))
	return nil
}
