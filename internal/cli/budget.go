package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	api "clary/internal/api/budgets"
	room "clary/internal/budget"
	"clary/internal/client"
)

func (a *app) budget() *cobra.Command {
	cmd := &cobra.Command{
		Use: "budget", Short: "Make, describe, list and delete budgets", Aliases: []string{"budgets"},
		Long: "A budget says how much may be spent in a month (UTC), by the started minute. It tells people when it is nearly\n" +
			"reached and, with --stop, stops what costs early enough that the limit holds.",
	}
	cmd.AddCommand(a.budgetList(), a.budgetCreate(), a.budgetDescribe(), a.budgetRemove())
	return cmd
}

// budgets speaks to the server about them.
type budgets struct {
	*app
	t target
	c *client.Client
}

// onBudgets runs a verb.
func (a *app) onBudgets(run func(ctx context.Context, b *budgets, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		t, err := a.target()
		if err != nil {
			return err
		}
		b := &budgets{a, t, t.client()}
		defer b.c.Close()
		return worded(run(cmd.Context(), b, args), t.Addr)
	}
}

func (b *budgets) call(ctx context.Context, operation string, in, out any) error {
	return b.c.JSON(ctx, "budgets", "AWSBudgetServiceGateway."+operation, in, out)
}

// account is what each of their requests begins with.
func (b *budgets) account(more ...string) map[string]any {
	in := map[string]any{"AccountId": b.t.Account}
	for i := 0; i+1 < len(more); i += 2 {
		in[more[i]] = more[i+1]
	}
	return in
}

// budgetFlags are what clary budget create takes.
type budgetFlags struct {
	emails, topics, tags []string
	alerts               []int
	regions              []string
	unit, role           string
	stop, ask            bool
}

func (a *app) budgetCreate() *cobra.Command {
	var f budgetFlags
	cmd := &cobra.Command{
		Use: "create NAME AMOUNT", Short: "Make a budget of so many US dollars", Args: cobra.ExactArgs(2),
		Example: "  clary budget create team 50 --email me@example.com --stop",
		RunE: a.onBudgets(func(ctx context.Context, b *budgets, args []string) error {
			return b.create(ctx, args[0], args[1], f)
		}),
	}
	g := cmd.Flags()
	g.StringArrayVar(&f.emails, "email", nil, "tell this address; may be repeated")
	g.StringArrayVar(&f.topics, "topic", nil, "tell this SNS topic, by its ARN")
	g.IntSliceVar(&f.alerts, "alert", []int{80, 100}, "tell them when so many percent of the limit are spent")
	g.StringArrayVar(&f.tags, "tag", nil, "only what has this tag, KEY=VALUE; may be repeated")
	g.StringVar(&f.unit, "unit", "MONTHLY", "DAILY, MONTHLY, QUARTERLY or ANNUALLY")
	g.BoolVar(&f.stop, "stop", false, "stop notebooks, endpoints and jobs that it covers, in --region, before the limit is reached")
	g.StringArrayVar(&f.regions, "region", nil, "with --stop: where it stops, up to five times (default: the server's own region)")
	g.BoolVar(&f.ask, "ask", false, "with --stop: name what would be stopped at the limit, and wait for somebody's approval")
	g.StringVar(&f.role, "role", "", "with --stop: ARN of the role that stops (default: ClaryBudgets of the account, which is made if there is none)")
	return cmd
}

func (b *budgets) create(ctx context.Context, name, dollars string, f budgetFlags) error {
	var to []api.Subscriber
	for _, e := range f.emails {
		to = append(to, api.Subscriber{SubscriptionType: "EMAIL", Address: e})
	}
	for _, t := range f.topics {
		to = append(to, api.Subscriber{SubscriptionType: "SNS", Address: t})
	}
	switch {
	case len(f.regions) > 0 && !f.stop:
		return errors.New("--region goes with --stop: a budget is of all regions, and an action stops in one")
	case f.ask && !f.stop:
		return errors.New("--ask goes with --stop: without it nothing would be stopped")
	case f.stop && len(to) == 0:
		return errors.New("--stop tells somebody what it stopped: say whom with --email or --topic")
	}
	in := api.CreateBudgetRequest{AccountId: b.t.Account, Budget: &api.Budget{
		BudgetName: name, BudgetType: "COST", TimeUnit: f.unit, BudgetLimit: &api.Spend{Amount: strings.TrimPrefix(dollars, "$"), Unit: "USD"},
	}}
	for _, t := range f.tags {
		key, value, ok := strings.Cut(t, "=")
		if !ok {
			return fmt.Errorf("--tag %s: want KEY=VALUE", t)
		}
		if in.Budget.CostFilters == nil {
			in.Budget.CostFilters = map[string][]string{}
		}
		in.Budget.CostFilters["TagKeyValue"] = append(in.Budget.CostFilters["TagKeyValue"], "user:"+key+"$"+value)
	}
	if len(to) > 0 {
		for _, percent := range f.alerts {
			in.NotificationsWithSubscribers = append(in.NotificationsWithSubscribers, api.NotificationWithSubscribers{
				Notification: &api.Notification{NotificationType: "ACTUAL", ComparisonOperator: "GREATER_THAN", Threshold: float64(percent), ThresholdType: "PERCENTAGE"},
				Subscribers:  to,
			})
		}
	}
	if len(f.regions) == 0 {
		f.regions = []string{b.t.Region}
	}
	if err := b.call(ctx, "CreateBudget", in, nil); err != nil {
		return err
	}
	if f.stop {
		if err := b.addStop(ctx, name, to, f); err != nil {
			// half a budget would be taken for one that stops
			return errors.Join(err, b.call(ctx, "DeleteBudget", b.account("BudgetName", name), nil))
		}
	}
	text := fmt.Sprintf("Budget %s: %s, %s", name, money(in.Budget.BudgetLimit), strings.ToLower(f.unit))
	if f.stop {
		text += "; it stops in " + strings.Join(f.regions, ", ") + " alone"
	}
	_, err := fmt.Fprintf(b.Out, "%s; clary budget describe %s\n", text, room.Quote(name))
	return err
}

func (b *budgets) addStop(ctx context.Context, name string, to []api.Subscriber, f budgetFlags) error {
	role, model := f.role, "AUTOMATIC"
	if role == "" {
		role = "arn:aws:iam::" + b.t.Account + ":role/" + stopRole
		if err := b.makeRole(ctx); err != nil {
			return err
		}
	}
	if f.ask {
		model = "MANUAL"
	}
	for _, region := range f.regions {
		if err := b.stopIn(ctx, region, name, role, model, to); err != nil {
			return err
		}
	}
	return nil
}

func (b *budgets) stopIn(ctx context.Context, region, name, role, model string, to []api.Subscriber) error {
	return b.call(ctx, "CreateBudgetAction", api.CreateBudgetActionRequest{
		AccountId: b.t.Account, BudgetName: name, NotificationType: "ACTUAL", ActionType: "RUN_SSM_DOCUMENTS", ApprovalModel: model, ExecutionRoleArn: role, Subscribers: to,
		ActionThreshold: &api.ActionThreshold{ActionThresholdValue: 100, ActionThresholdType: "PERCENTAGE"},
		Definition:      &api.Definition{SsmActionDefinition: &api.SsmActionDefinition{ActionSubType: "STOP_EC2_INSTANCES", Region: region, InstanceIds: []string{"All"}}},
	}, nil)
}

const (
	stopRole   = "ClaryBudgets"
	iamVersion = "2010-05-08"
	stopTrust  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"budgets.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	stopPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sagemaker:Stop*","sagemaker:DeleteEndpoint"],"Resource":"*"}]}`
)

// makeRole makes the role that budgets stop as, with no other right. One that is
// there is given the right again: who made it may have got no further.
func (b *budgets) makeRole(ctx context.Context) error {
	err := b.c.Query(ctx, "iam", iamVersion, "CreateRole", "RoleName", stopRole, "AssumeRolePolicyDocument", stopTrust)
	if err != nil && client.Code(err) != "EntityAlreadyExists" {
		return err
	}
	return b.c.Query(ctx, "iam", iamVersion, "PutRolePolicy", "RoleName", stopRole, "PolicyName", "stop", "PolicyDocument", stopPolicy)
}

// money writes an amount of the Budgets API.
func money(s *api.Spend) string {
	switch {
	case s == nil:
		return ""
	case s.Unit == "USD":
		return "$" + cents(s.Amount)
	}
	return s.Amount + " " + s.Unit
}

// cents writes a decimal number with two decimals at least.
func cents(amount string) string {
	whole, part, _ := strings.Cut(amount, ".")
	return whole + "." + part + strings.Repeat("0", max(0, 2-len(part)))
}

// budgetLine is a budget as --json prints it.
type budgetLine struct {
	api.Budget
	Actions []api.Action `json:",omitzero"`
}

func (b *budgets) all(ctx context.Context) ([]budgetLine, error) {
	var out []budgetLine
	in := b.account()
	at := map[string]int{}
	for {
		var page api.DescribeBudgetsResponse
		if err := b.call(ctx, "DescribeBudgets", in, &page); err != nil {
			return nil, err
		}
		for _, x := range page.Budgets {
			at[x.BudgetName] = len(out)
			out = append(out, budgetLine{Budget: x})
		}
		if page.NextToken == "" {
			break
		}
		in["NextToken"] = page.NextToken
	}
	in = b.account()
	for {
		var page api.DescribeBudgetActionsForAccountResponse
		if err := b.call(ctx, "DescribeBudgetActionsForAccount", in, &page); err != nil {
			return nil, err
		}
		for _, x := range page.Actions {
			if i, ok := at[x.BudgetName]; ok {
				out[i].Actions = append(out[i].Actions, x)
			}
		}
		if page.NextToken == "" {
			return out, nil
		}
		in["NextToken"] = page.NextToken
	}
}

func (a *app) budgetList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Short: "List budgets, with how far they are spent", Args: cobra.NoArgs, Aliases: []string{"list"},
		RunE: a.onBudgets(func(ctx context.Context, b *budgets, _ []string) error {
			all, err := b.all(ctx)
			if err != nil {
				return err
			}
			if b.json {
				if all == nil {
					all = []budgetLine{}
				}
				return b.printJSON(all)
			}
			if len(all) == 0 {
				_, err := fmt.Fprintln(b.Out, "No budget. Make one: clary budget create NAME AMOUNT --email ADDRESS")
				return err
			}
			var rows [][]string
			for _, x := range all {
				actual, forecast := spentOf(x.Budget)
				rows = append(rows, []string{x.BudgetName, x.TimeUnit, actual, money(x.BudgetLimit), percent(x.Budget), forecast, actionsText(x.Actions)})
			}
			printTable(b.Out, []string{"budget", "unit", "spent", "limit", "of it", "forecast", "action"}, rows, nil, 3, 4, 5, 6)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

func spentOf(b api.Budget) (actual, forecast string) {
	if c := b.CalculatedSpend; c != nil {
		return money(c.ActualSpend), money(c.ForecastedSpend)
	}
	return "", ""
}

// percent is how much of a budget is spent.
func percent(b api.Budget) string {
	if b.CalculatedSpend == nil || b.CalculatedSpend.ActualSpend == nil || b.BudgetLimit == nil {
		return ""
	}
	spent, err := strconv.ParseFloat(b.CalculatedSpend.ActualSpend.Amount, 64)
	limit, err2 := strconv.ParseFloat(b.BudgetLimit.Amount, 64)
	if err != nil || err2 != nil || limit == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f %%", 100*spent/limit)
}

func actionsText(list []api.Action) string {
	var out []string
	for _, x := range list {
		text := x.Status
		if x.ApprovalModel == "MANUAL" {
			text += ", asks first"
		}
		out = append(out, text)
	}
	if out == nil {
		return "none"
	}
	return strings.Join(out, "; ")
}

func (a *app) budgetRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME", Short: "Delete a budget; what it stopped stays stopped", Args: cobra.ExactArgs(1), Aliases: []string{"delete"},
		RunE: a.onBudgets(func(ctx context.Context, b *budgets, args []string) error {
			return b.call(ctx, "DeleteBudget", b.account("BudgetName", args[0]), nil)
		}),
	}
}

func (a *app) budgetDescribe() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe NAME", Short: "Say how a budget stands, whom it tells, and what it stopped", Args: cobra.ExactArgs(1),
		RunE: a.onBudgets(func(ctx context.Context, b *budgets, args []string) error {
			return b.describe(ctx, args[0])
		}),
	}
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// described is a budget with all that belongs to it.
type described struct {
	Budget        *api.Budget
	Notifications []api.Notification
	Actions       []api.Action
	Histories     map[string][]api.ActionHistory // by action
}

func (b *budgets) describe(ctx context.Context, name string) error {
	d := described{Histories: map[string][]api.ActionHistory{}}
	var one api.DescribeBudgetResponse
	if err := b.call(ctx, "DescribeBudget", b.account("BudgetName", name), &one); err != nil {
		return err
	}
	var notes api.DescribeNotificationsForBudgetResponse
	if err := b.call(ctx, "DescribeNotificationsForBudget", b.account("BudgetName", name), &notes); err != nil {
		return err
	}
	var actions api.DescribeBudgetActionsForBudgetResponse
	if err := b.call(ctx, "DescribeBudgetActionsForBudget", b.account("BudgetName", name), &actions); err != nil {
		return err
	}
	d.Budget, d.Notifications, d.Actions = one.Budget, notes.Notifications, actions.Actions
	for _, x := range d.Actions {
		var h api.DescribeBudgetActionHistoriesResponse
		if err := b.call(ctx, "DescribeBudgetActionHistories", b.account("BudgetName", name, "ActionId", x.ActionId), &h); err != nil {
			return err
		}
		d.Histories[x.ActionId] = h.ActionHistories
	}
	if b.json {
		return b.printJSON(d)
	}
	return b.printBudget(d)
}

func (b *budgets) printBudget(d described) error {
	if d.Budget == nil {
		return errors.New("the server describes no budget")
	}
	actual, forecast := spentOf(*d.Budget)
	var text strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&text, format, args...) }
	say("%s: %s of %s spent (%s), %s", d.Budget.BudgetName, actual, money(d.Budget.BudgetLimit), percent(*d.Budget), d.Budget.TimeUnit)
	if forecast != "" {
		say(", forecast %s", forecast)
	}
	say("\n")
	for _, n := range d.Notifications {
		unit := " %"
		if n.ThresholdType == "ABSOLUTE_VALUE" {
			unit = ""
		}
		say("  tells at %s %s %g%s: %s\n", n.NotificationType, n.ComparisonOperator, n.Threshold, unit, n.NotificationState)
	}
	for _, x := range d.Actions {
		say("  action %s, %s: %s\n", x.ActionId, x.ApprovalModel, x.Status)
		if x.Status == "PENDING" {
			say("    approve it: aws budgets execute-budget-action --account-id %s --budget-name %s --action-id %s --execution-type APPROVE_BUDGET_ACTION\n", b.t.Account, room.Quote(x.BudgetName), x.ActionId)
		}
		for _, h := range d.Histories[x.ActionId] {
			message := ""
			if h.ActionHistoryDetails != nil {
				message = h.ActionHistoryDetails.Message
			}
			say("    %s %s %s: %s\n", h.Timestamp.UTC().Format(time.RFC3339), h.EventType, h.Status, printable(message))
		}
	}
	_, err := io.WriteString(b.Out, text.String())
	return err
}
