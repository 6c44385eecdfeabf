package cli

import (
	"strings"
	"testing"

	"clary/internal/meter"
)

// A budget is made as asked, whole or not at all.
func TestBudgetCreate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const gateway = "AWSBudgetServiceGateway."
	var budget, action map[string]any
	refuse, deleted := false, 0
	b.on(gateway+"CreateBudget", func(in map[string]any) (int, any) { budget = in; return 200, map[string]any{} })
	b.on(gateway+"DeleteBudget", func(map[string]any) (int, any) { deleted++; return 200, map[string]any{} })
	b.on(gateway+"CreateBudgetAction", func(in map[string]any) (int, any) {
		if action = in; refuse {
			return 400, map[string]any{"__type": "InvalidParameterException", "message": "no such role"}
		}
		return 200, map[string]any{"ActionId": "a"}
	})
	b.answer("/", nil) // IAM
	code, out, e := b.run("budget", "create", "team", "$50", "--email", "a@example.com", "--alert", "90", "--tag", "team=x", "--stop", "--ask")
	if code != 0 || !strings.HasPrefix(out, "Budget team: $50.00, monthly; it stops in eu-west-1 alone;") {
		t.Fatalf("%d %s%s", code, out, e)
	}
	in := budget["Budget"].(map[string]any)
	if limit := in["BudgetLimit"].(map[string]any); limit["Amount"] != "50" || limit["Unit"] != "USD" || in["CostFilters"].(map[string]any)["TagKeyValue"].([]any)[0] != "user:team$x" || budget["AccountId"] != "123456789012" {
		t.Errorf("%v", budget)
	}
	if notes := budget["NotificationsWithSubscribers"].([]any); len(notes) != 1 || notes[0].(map[string]any)["Notification"].(map[string]any)["Threshold"] != 90.0 {
		t.Errorf("%v", budget)
	}
	if action["ApprovalModel"] != "MANUAL" || action["ExecutionRoleArn"] != "arn:aws:iam::123456789012:role/ClaryBudgets" || action["ActionType"] != "RUN_SSM_DOCUMENTS" || len(action["Subscribers"].([]any)) != 1 {
		t.Errorf("%v", action)
	}
	if code, _, _ := b.run("budget", "create", "team", "50", "--topic", "arn:t", "--stop", "--role", "arn:r"); code != 0 || action["ApprovalModel"] != "AUTOMATIC" || action["ExecutionRoleArn"] != "arn:r" || deleted != 0 {
		t.Errorf("%d, %v", code, action)
	}
	regions := []string{}
	b.on(gateway+"CreateBudgetAction", func(in map[string]any) (int, any) {
		action = in
		regions = append(regions, in["Definition"].(map[string]any)["SsmActionDefinition"].(map[string]any)["Region"].(string))
		if refuse {
			return 400, map[string]any{"__type": "InvalidParameterException", "message": "no such role"}
		}
		return 200, map[string]any{"ActionId": "a"}
	})
	if code, out, _ := b.run("budget", "create", "my team's", "50", "--email", "a@b.example", "--stop", "--region", "us-east-1", "--region", "eu-west-1"); code != 0 || strings.Join(regions, " ") != "us-east-1 eu-west-1" || !strings.HasSuffix(out, "it stops in us-east-1, eu-west-1 alone; clary budget describe 'my team'\\''s'\n") {
		t.Errorf("%d %v %s", code, regions, out)
	}
	refuse = true
	if code, _, e := b.run("budget", "create", "team", "50", "--email", "a@example.com", "--stop"); code != 1 || !strings.Contains(e, "no such role") || deleted != 1 {
		t.Errorf("%d %s, deleted %d times", code, e, deleted)
	}
	budget = nil
	for _, args := range []string{"budget create x 1 --stop", "budget create x 1 --ask --email a@b", "budget create x 1 --region eu-west-1", "budget create x 1 --tag k", "budget create x"} {
		if code, _, e := b.run(strings.Fields(args)...); code != 1 || e == "" || budget != nil {
			t.Errorf("%s: %d %s, %v", args, code, e, budget)
		}
	}
}

func TestBudgetShown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const gateway = "AWSBudgetServiceGateway."
	b.answer(gateway+"DescribeBudgets", map[string]any{})
	b.answer(gateway+"DescribeBudgetActionsForAccount", map[string]any{"Actions": []any{}})
	if code, out, e := b.run("budget", "ls"); code != 0 || !strings.HasPrefix(out, "No budget.") {
		t.Errorf("%d %s%s", code, out, e)
	}
	team := map[string]any{
		"BudgetName": "team", "TimeUnit": "MONTHLY", "BudgetType": "COST", "BudgetLimit": map[string]any{"Amount": "20", "Unit": "USD"},
		"CalculatedSpend": map[string]any{"ActualSpend": map[string]any{"Amount": "25.0", "Unit": "USD"}, "ForecastedSpend": map[string]any{"Amount": "30.125", "Unit": "USD"}},
	}
	action := map[string]any{"BudgetName": "team", "ActionId": "a1", "Status": "PENDING", "ApprovalModel": "MANUAL"}
	b.answer(gateway+"DescribeBudgets", map[string]any{"Budgets": []any{team}})
	b.answer(gateway+"DescribeBudgetActionsForAccount", map[string]any{"Actions": []any{action}})
	b.answer(gateway+"DescribeBudget", map[string]any{"Budget": team})
	b.answer(gateway+"DescribeNotificationsForBudget", map[string]any{"Notifications": []any{map[string]any{"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80, "NotificationState": "ALARM"}}})
	b.answer(gateway+"DescribeBudgetActionsForBudget", map[string]any{"Actions": []any{action}})
	b.answer(gateway+"DescribeBudgetActionHistories", map[string]any{"ActionHistories": []any{map[string]any{"Timestamp": 1.7e9, "EventType": "SYSTEM", "Status": "PENDING", "ActionHistoryDetails": map[string]any{"Message": "would stop\x1b n"}}}})
	for args, want := range map[string][]string{
		"budget ls":                   {"team", "$25.00", "$20.00", "125.00 %", "$30.125", "PENDING, asks first"},
		"budget describe team":        {"team: $25.00 of $20.00 spent (125.00 %), MONTHLY, forecast $30.125", "ACTUAL GREATER_THAN 80 %: ALARM", "--action-id a1 --execution-type APPROVE_BUDGET_ACTION", "2023-11-14T22:13:20Z SYSTEM PENDING: would stop  n"},
		"budget ls --json":            {`"BudgetName": "team"`, `"Status": "PENDING"`},
		"budget describe team --json": {`"Histories"`, `"EventType": "SYSTEM"`},
	} {
		code, out, e := b.run(strings.Fields(args)...)
		for _, w := range want {
			if code != 0 || !strings.Contains(out, w) {
				t.Errorf("%s: %d, no %q in\n%s%s", args, code, w, out, e)
			}
		}
	}
}

// What is not proven is named, with an exit code.
func TestBillVerify(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := meter.Proof{Account: "123456789012", Intervals: 3, Open: 1, OK: true, Books: []meter.BookProof{{Book: "minute", Bill: 1500000, Again: 1500000, Lines: 2}}, Checks: []meter.Check{{Name: "sums", OK: true}}}
	b.answer("/_clary/proof", p)
	if code, out, e := b.run("bill", "verify"); code != 0 || !strings.Contains(out, "Book minute: $1.500000 in 2 lines; reckoned again it is the same.") || !strings.Contains(out, "ok    sums") || !strings.HasSuffix(out, "The bill is proven.\n") {
		t.Errorf("%d %s%s", code, out, e)
	}
	p.OK, p.Books[0].Again, p.Checks[0] = false, 1499999, meter.Check{Name: "sums", Found: []string{"March is off"}, Count: 5}
	b.answer("/_clary/proof", p)
	code, out, e := b.run("bill", "verify")
	for _, want := range []string{"the bill is $0.000001 off", "WRONG sums", "March is off", "and 4 more", "not proven"} {
		if code != 1 || !strings.Contains(out, want) || e != "" {
			t.Errorf("%d, no %q in %s%s", code, want, out, e)
		}
	}
}
