package budgets

import (
	"maps"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"clary/internal/api"
	apib "clary/internal/api/budgets"
	"clary/internal/aws/arn"
)

// Types of a budget.
const (
	typeCost  = "COST"
	typeUsage = "USAGE"
)

// Types of a notification.
const (
	actual     = "ACTUAL"
	forecasted = "FORECASTED"
)

const (
	channelSNS   = "SNS"
	channelEmail = "EMAIL"
)

// Limits, as AWS has them.
const (
	maxAlerts = 10 // notifications of a budget
	maxEmail  = 10 // EMAIL subscribers of a notification
	maxSNS    = 1
	maxTags   = 50
)

// units are what the limit of a budget may be in, by its type; the first are
// AWS's.
func units(budgetType string) []string {
	if budgetType == typeCost {
		return []string{usd}
	}
	return []string{unitHours, unitGBMonths, unitRequests}
}

// complete checks a budget as it was asked for and fills in what AWS does.
func complete(in *apib.Budget, account string, now time.Time) (apib.Budget, error) {
	b := *in
	switch {
	case b.BudgetType != typeCost && b.BudgetType != typeUsage:
		return b, invalid("Clary does not support budgets of type %s: nothing here is reserved or has a savings plan. Use COST or USAGE.", b.BudgetType)
	case b.AutoAdjustData != nil:
		return b, invalid("Clary does not support AutoAdjustData. Give a BudgetLimit, or PlannedBudgetLimits.")
	case b.BudgetLimit == nil && len(b.PlannedBudgetLimits) == 0:
		return b, invalid("Unable to create/update budget - please provide one of the followings: Budget Limit/ Planned Budget Limit/ Auto Adjust Data")
	case b.BudgetLimit != nil && len(b.PlannedBudgetLimits) > 0:
		return b, invalid("Only one of BudgetLimit or PlannedBudgetLimits can be present at one time.")
	case b.BillingViewArn != "" && b.BillingViewArn != "arn:aws:billing::"+account+":billingview/primary":
		return b, invalid("Clary does not support billing view %s: there is the account's primary one.", b.BillingViewArn)
	}
	// What is calculated is not the client's to say.
	b.CalculatedSpend, b.HealthStatus = nil, nil
	b.LastUpdatedTime = api.At(now)
	if err := checkLimits(&b); err != nil {
		return b, err
	}
	if err := completePeriod(&b, now); err != nil {
		return b, err
	}
	if err := checkPlan(&b, now); err != nil {
		return b, err
	}
	if err := completeMetric(&b); err != nil {
		return b, err
	}
	_, err := scopeOf(&b)
	return b, err
}

func checkLimits(b *apib.Budget) error {
	all := slices.Collect(maps.Values(b.PlannedBudgetLimits))
	if b.BudgetLimit != nil {
		all = append(all, *b.BudgetLimit)
	}
	for _, l := range all {
		if set := units(b.BudgetType); !slices.Contains(set, l.Unit) {
			return invalid("%s is not in the supported unit set: [%s]", l.Unit, strings.Join(set, ", "))
		}
		if l.Unit != all[0].Unit {
			return invalid("All PlannedBudgetLimits must have the same unit.")
		}
		if n, err := micro(l.Amount); err != nil || n > maxLimit {
			return invalid("Budget limit amount %s is not valid: it must be a number from 0 to %d.", l.Amount, int64(maxLimit/million))
		}
	}
	return nil
}

// maxLimit leaves room for the largest percentage of it.
const maxLimit = 15_000_000_000_000 / 100 * million / 10

// completePeriod fills in when a budget begins and ends.
func completePeriod(b *apib.Budget, now time.Time) error {
	p := apib.TimePeriod{}
	if b.TimePeriod != nil {
		p = *b.TimePeriod
	}
	if b.TimeUnit == custom && (p.Start.IsZero() || p.End.IsZero()) {
		return invalid("A budget of time unit CUSTOM needs the start and the end of its time period.")
	}
	if p.Start.IsZero() {
		p.Start = api.At(calendar(b.TimeUnit, now).From)
	}
	if p.End.IsZero() {
		p.End = api.At(forever)
	}
	switch {
	case !p.Start.Before(p.End.Time):
		return invalid("The start date of the time period must come before the end date.")
	case p.End.After(forever):
		return invalid("The end date of the time period must come before 06/15/87 00:00 UTC.")
	case !p.End.After(now):
		return invalid("The end date of the time period must be in the future.")
	}
	b.TimePeriod = &p
	return nil
}

// checkPlan checks planned limits: one for each of the periods that begin with
// the current one, or the budget's first, as far as it goes and at most so many.
func checkPlan(b *apib.Budget, now time.Time) error {
	if len(b.PlannedBudgetLimits) == 0 {
		return nil
	}
	n := 12
	switch b.TimeUnit {
	case monthly:
	case quarterly:
		n = 4
	default:
		return invalid("PlannedBudgetLimits are for budgets of time unit MONTHLY or QUARTERLY.")
	}
	first := now
	if b.TimePeriod.Start.After(now) {
		first = b.TimePeriod.Start.Time
	}
	var want []string
	for p := calendar(b.TimeUnit, first); len(want) < n && p.From.Before(b.TimePeriod.End.Time); p = calendar(b.TimeUnit, p.To) {
		want = append(want, strconv.FormatInt(p.From.Unix(), 10))
	}
	got := slices.Sorted(maps.Keys(b.PlannedBudgetLimits))
	if !slices.Equal(got, want) {
		return invalid("PlannedBudgetLimits must be given for the beginning of each period, in seconds since 1970 (UTC): %s.", strings.Join(want, ", "))
	}
	return nil
}

// planned is the limit that was planned for a period: that of its calendar
// period, or the last one before it.
func (b *budget) planned(p period) apib.Spend {
	from := calendar(b.Budget.TimeUnit, p.From).From.Unix()
	var best apib.Spend
	when := int64(-1)
	first := int64(-1)
	for k, l := range b.Budget.PlannedBudgetLimits {
		at, _ := strconv.ParseInt(k, 10, 64) // it was checked
		if at <= from && at > when {
			best, when = l, at
		}
		if when < 0 && (first < 0 || at < first) {
			best, first = l, at
		}
	}
	return best
}

// completeMetric checks which of the two ways to say what is summed a budget
// uses, and fills in AWS's defaults.
func completeMetric(b *apib.Budget) error {
	if b.FilterExpression != nil || len(b.Metrics) > 0 {
		if len(b.CostFilters) > 0 || b.CostTypes != nil {
			return invalid("Either FilterExpression and Metrics or CostFilters and CostTypes can be present, not both.")
		}
		metrics := []string{"UnblendedCost", "BlendedCost", "AmortizedCost", "NetUnblendedCost", "NetAmortizedCost"}
		if b.BudgetType == typeUsage {
			metrics = []string{"UsageQuantity"}
		}
		if len(b.Metrics) == 0 {
			b.Metrics = metrics[:1]
		}
		if !slices.Contains(metrics, b.Metrics[0]) {
			return invalid("Metric %s is not supported for budgets of type %s. Use one of: %s.", b.Metrics[0], b.BudgetType, strings.Join(metrics, ", "))
		}
		return nil
	}
	if b.BudgetType == typeUsage {
		if b.CostTypes != nil {
			return invalid("USAGE budgets do not have CostTypes.")
		}
		return nil
	}
	c := apib.CostTypes{}
	if b.CostTypes != nil {
		c = *b.CostTypes
	}
	for _, p := range []**bool{
		&c.IncludeTax, &c.IncludeSubscription, &c.IncludeRefund, &c.IncludeCredit, &c.IncludeUpfront,
		&c.IncludeRecurring, &c.IncludeOtherSubscription, &c.IncludeSupport, &c.IncludeDiscount,
	} {
		if *p == nil {
			*p = api.Ptr(true)
		}
	}
	for _, p := range []**bool{&c.UseBlended, &c.UseAmortized} {
		if *p == nil {
			*p = api.Ptr(false)
		}
	}
	if *c.UseBlended && *c.UseAmortized {
		return invalid("UseBlended and UseAmortized can't both be true.")
	}
	b.CostTypes = &c
	return nil
}

// checkAlert checks a notification and fills in AWS's default.
func checkAlert(b *apib.Budget, n apib.Notification) (apib.Notification, error) {
	if n.ThresholdType == "" {
		n.ThresholdType = "PERCENTAGE"
	}
	n.NotificationState = ""
	switch {
	case n.NotificationType == forecasted && b.TimeUnit == daily:
		return n, invalid("FORECASTED notifications are not supported for %s budgets.", b.TimeUnit)
	case n.ThresholdType == "PERCENTAGE" && n.Threshold > maxPercent:
		return n, invalid("The threshold of a notification can be at most %d percent of the budgeted amount.", maxPercent)
	}
	return n, nil
}

const maxPercent = 1_000_000

// same says whether two notifications are one: their state does not count.
func same(a, b apib.Notification) bool {
	for _, n := range []*apib.Notification{&a, &b} {
		n.NotificationState = ""
		if n.ThresholdType == "" {
			n.ThresholdType = "PERCENTAGE"
		}
	}
	return a == b
}

// checkSubscribers checks who is to be told, all of one notification.
func checkSubscribers(account string, list []apib.Subscriber) error {
	if len(list) == 0 {
		return invalid("A notification must have at least one subscriber.")
	}
	count := make(map[string]int)
	for i, s := range list {
		if slices.Contains(list[:i], s) {
			return duplicate("Error creating subscriber: %s - the subscriber already exists.", s.Address)
		}
		count[s.SubscriptionType]++
		if err := checkAddress(account, s); err != nil {
			return err
		}
	}
	if count[channelSNS] > maxSNS {
		return tooMany("one notification can only have %d subscribers with type of SNS", maxSNS)
	}
	if count[channelEmail] > maxEmail {
		return tooMany("one notification can only have %d subscribers with type of EMAIL", maxEmail)
	}
	return nil
}

func checkAddress(account string, s apib.Subscriber) error {
	if strings.ContainsAny(s.Address, "\r\n") {
		return invalid("The address of a subscriber can't contain line breaks.")
	}
	if s.SubscriptionType == channelEmail {
		a, err := mail.ParseAddress(s.Address)
		if err != nil || a.Address != s.Address || len(s.Address) > 254 {
			return invalid("%s is not a valid email address.", s.Address)
		}
		return nil
	}
	a, ok := arn.Parse(s.Address)
	if !ok || a.Service != "sns" || a.Region == "" || a.Account == "" || a.Resource == "" || strings.Contains(a.Resource, ":") {
		return invalid("Invalid SNS topic ARN: %s", s.Address)
	}
	if a.Account != account {
		return invalid("Clary does not support topics of other accounts: %s is not of account %s.", s.Address, account)
	}
	return nil
}
