package budgets

import (
	"context"
	"errors"
	"strconv"
	"time"

	"clary/internal/api"
	apib "clary/internal/api/budgets"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

// CreateBudget keeps a budget, which is looked at at once.
func (s *Service) CreateBudget(ctx context.Context, c op.Call, in *apib.CreateBudgetRequest) (*apib.CreateBudgetResponse, error) {
	now := time.Now()
	full, err := complete(in.Budget, c.Account, now)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(in.ResourceTags)
	if err != nil {
		return nil, err
	}
	b := &budget{
		Record: &resource.Record{
			Key: keyOf(c.Account, full.BudgetName), UID: resource.NewUID(), Arn: arnOf(c.Account, full.BudgetName), Phase: "OK", Created: now,
		},
		spec: spec{Budget: full},
	}
	for _, n := range in.NotificationsWithSubscribers {
		if err := b.addAlert(n.Notification, n.Subscribers); err != nil {
			return nil, err
		}
	}
	return nil, s.Store.Update(ctx, func(tx store.Tx) error {
		b.Version = 0 // of an attempt that was in vain
		for _, a := range b.Alerts {
			if err := topicsExist(tx, a.Subscribers); err != nil {
				return err
			}
		}
		if err := b.put(tx, now); errors.Is(err, store.ErrExists) {
			return duplicate("Error creating budget: %s - the budget already exists.", b.Name)
		} else if err != nil || len(tags) == 0 {
			return err
		}
		return tx.PutTags(b.Arn, tags)
	})
}

// UpdateBudget replaces what a budget says; its notifications and actions stay.
func (s *Service) UpdateBudget(ctx context.Context, c op.Call, in *apib.UpdateBudgetRequest) (*apib.UpdateBudgetResponse, error) {
	full, err := complete(in.NewBudget, c.Account, time.Now())
	if err != nil {
		return nil, err
	}
	return nil, s.change(ctx, c.Account, full.BudgetName, "update budget", func(_ store.Tx, b *budget) error {
		if in.NewBudget.TimePeriod == nil && full.TimeUnit == b.Budget.TimeUnit {
			full.TimePeriod = b.Budget.TimePeriod
		}
		if is, was := full.TimePeriod, b.Budget.TimePeriod; full.TimeUnit != b.Budget.TimeUnit || !is.Start.Equal(was.Start.Time) || !is.End.Equal(was.End.Time) {
			b.Period = time.Time{} // another way to count: no period ends by it
		}
		b.Budget = full
		for _, a := range b.Alerts {
			if _, err := checkAlert(&b.Budget, a.Notification); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteBudget removes a budget with all that is its own.
func (s *Service) DeleteBudget(ctx context.Context, c op.Call, in *apib.DeleteBudgetRequest) (*apib.DeleteBudgetResponse, error) {
	return nil, s.Store.Update(ctx, func(tx store.Tx) error {
		b, err := get(tx, c.Account, in.BudgetName, "delete budget")
		if err != nil {
			return err
		}
		return s.remove(tx, b)
	})
}

func (s *Service) remove(tx store.Tx, b *budget) error {
	for _, id := range b.Actions {
		if err := tx.Delete(actionKey(b.Account, id)); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	if err := tx.Delete(b.Key); err != nil {
		return err
	}
	return s.brief(tx, b, true)
}

// DescribeBudget says what a budget says and how it stands.
func (s *Service) DescribeBudget(ctx context.Context, c op.Call, in *apib.DescribeBudgetRequest) (*apib.DescribeBudgetResponse, error) {
	b, err := s.view(ctx, c.Account, in.BudgetName)
	if err != nil {
		return nil, err
	}
	out, err := s.describe(ctx, b, api.Value(in.ShowFilterExpression), time.Now())
	return &apib.DescribeBudgetResponse{Budget: out}, err
}

// DescribeBudgets pages through the budgets of the account.
func (s *Service) DescribeBudgets(ctx context.Context, c op.Call, in *apib.DescribeBudgetsRequest) (*apib.DescribeBudgetsResponse, error) {
	list, next, err := s.list(ctx, c.Account, in.NextToken, in.MaxResults, defaultPage)
	if err != nil {
		return nil, err
	}
	out := &apib.DescribeBudgetsResponse{NextToken: next}
	for _, b := range list {
		d, err := s.describe(ctx, b, api.Value(in.ShowFilterExpression), time.Now())
		if err != nil {
			return nil, err
		}
		out.Budgets = append(out.Budgets, *d)
	}
	return out, nil
}

const defaultPage = 100

// list is a page of an account's budgets, by name.
func (s *Service) list(ctx context.Context, account, token string, limit *int64, usual int) ([]*budget, string, error) {
	q := resource.Query{Account: account, Kind: Kind, Sort: resource.SortName, Token: token, Limit: usual}
	if limit != nil {
		q.Limit = int(*limit)
	}
	recs, next, err := s.Store.List(ctx, q)
	if errors.Is(err, store.ErrToken) {
		return nil, "", errToken()
	}
	if err != nil {
		return nil, "", err
	}
	var out []*budget
	for _, r := range recs {
		b, err := read(r)
		if err != nil {
			return nil, "", err
		}
		out = append(out, b)
	}
	return out, next, nil
}

func errToken() error {
	return apierr.New(400, "InvalidNextTokenException", "The pagination token is invalid.")
}

// page is a page of a list that is kept in one record.
func page[T any](list []T, token string, limit *int64) ([]T, string, error) {
	at := 0
	if token != "" {
		n, err := strconv.Atoi(token)
		if err != nil || n < 1 || n > len(list) {
			return nil, "", errToken()
		}
		at = n
	}
	end := at + defaultPage
	if limit != nil {
		end = at + int(*limit)
	}
	if end >= len(list) {
		return list[at:], "", nil
	}
	return list[at:end], strconv.Itoa(end), nil
}

// describe is a budget as AWS shows it.
func (s *Service) describe(ctx context.Context, b *budget, filter bool, now time.Time) (*apib.Budget, error) {
	st, err := s.stand(ctx, b, b.period(now), now)
	if err != nil {
		return nil, err
	}
	if err := s.foresee(ctx, b, &st); err != nil {
		return nil, err
	}
	out := b.Budget
	if len(out.PlannedBudgetLimits) > 0 {
		l := b.planned(st.Period)
		out.BudgetLimit = &l
	}
	switch {
	case !filter:
		out.FilterExpression = nil
	case out.FilterExpression == nil:
		out.FilterExpression = expressionOf(out.CostFilters)
	}
	out.CalculatedSpend = &apib.CalculatedSpend{ActualSpend: b.amount(st.Spent)}
	if b.Budget.TimeUnit != daily {
		out.CalculatedSpend.ForecastedSpend = b.amount(st.Forecast)
	}
	out.HealthStatus = &apib.HealthStatus{Status: "HEALTHY", LastUpdatedTime: out.LastUpdatedTime}
	return &out, nil
}

// DescribeBudgetPerformanceHistory says what was spent in the periods up to
// now, the newest first.
func (s *Service) DescribeBudgetPerformanceHistory(ctx context.Context, c op.Call, in *apib.DescribeBudgetPerformanceHistoryRequest) (*apib.DescribeBudgetPerformanceHistoryResponse, error) {
	b, err := s.view(ctx, c.Account, in.BudgetName)
	if err != nil {
		return nil, err
	}
	n, ok := map[string]int{daily: 60, monthly: 12, quarterly: 4}[b.Budget.TimeUnit]
	if !ok {
		return nil, invalid("Budget performance history is not available for %s budgets.", b.Budget.TimeUnit)
	}
	now := time.Now()
	p := b.period(now)
	all := append([]period{p}, before(b.Budget.TimeUnit, b.Budget.TimePeriod.Start.Time, b.Budget.TimePeriod.End.Time, p, n)...)
	if t := in.TimePeriod; t != nil {
		if !t.Start.IsZero() && !t.End.IsZero() && !t.Start.Before(t.End.Time) {
			return nil, invalid("The start date of the time period must come before the end date.")
		}
		var within []period
		for _, p := range all {
			if (t.Start.IsZero() || p.To.After(t.Start.Time)) && (t.End.IsZero() || p.From.Before(t.End.Time)) {
				within = append(within, p)
			}
		}
		all = within
	}
	some, next, err := page(all, in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	h := &apib.BudgetPerformanceHistory{
		BudgetName: b.Name, BudgetType: b.Budget.BudgetType, CostFilters: b.Budget.CostFilters, CostTypes: b.Budget.CostTypes,
		TimeUnit: b.Budget.TimeUnit, FilterExpression: b.Budget.FilterExpression, Metrics: b.Budget.Metrics, BillingViewArn: b.Budget.BillingViewArn,
	}
	for _, p := range some {
		spent, _, err := s.spent(ctx, b, p, now)
		if err != nil {
			return nil, err
		}
		h.BudgetedAndActualAmountsList = append(h.BudgetedAndActualAmountsList, apib.BudgetedAndActualAmounts{
			BudgetedAmount: b.amount(b.limit(p)), ActualAmount: b.amount(spent),
			TimePeriod: &apib.TimePeriod{Start: api.At(p.From), End: api.At(p.To)},
		})
	}
	return &apib.DescribeBudgetPerformanceHistoryResponse{BudgetPerformanceHistory: h, NextToken: next}, nil
}
