package budgets

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/api"
	apib "clary/internal/api/budgets"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

const (
	typeStop  = "RUN_SSM_DOCUMENTS"
	automatic = "AUTOMATIC"
	manual    = "MANUAL"
)

// maxActions is how many actions a budget has, as AWS says, for a threshold.
const maxActions = 5

// checkAction checks what the model does not say of an action.
func (s *Service) checkAction(ctx context.Context, c op.Call, b *apib.Budget, a *apib.Action) error {
	if a.ActionType != typeStop {
		return invalid("Clary does not support budget actions of type %s. Use RUN_SSM_DOCUMENTS, which stops what the budget covers.", a.ActionType)
	}
	d := a.Definition
	if d.SsmActionDefinition == nil || d.IamActionDefinition != nil || d.ScpActionDefinition != nil {
		return invalid("The definition of an action of type RUN_SSM_DOCUMENTS must be an SsmActionDefinition, and nothing else.")
	}
	n := apib.Notification{NotificationType: a.NotificationType, Threshold: a.ActionThreshold.ActionThresholdValue, ThresholdType: a.ActionThreshold.ActionThresholdType}
	if _, err := checkAlert(b, n); err != nil {
		return err
	}
	if err := checkSubscribers(c.Account, a.Subscribers); err != nil {
		return err
	}
	return s.Auth.PassRole(ctx, c.Principal, a.ExecutionRoleArn, sender)
}

// CreateBudgetAction keeps an action; the budget is looked at at once.
func (s *Service) CreateBudgetAction(ctx context.Context, c op.Call, in *apib.CreateBudgetActionRequest) (*apib.CreateBudgetActionResponse, error) {
	tags, err := tagsOf(in.ResourceTags)
	if err != nil {
		return nil, err
	}
	b, err := s.view(ctx, c.Account, in.BudgetName)
	if err != nil {
		return nil, err
	}
	id := newID()
	ask := apib.Action{
		ActionId: id, BudgetName: in.BudgetName, NotificationType: in.NotificationType, ActionType: in.ActionType, ActionThreshold: in.ActionThreshold,
		Definition: in.Definition, ExecutionRoleArn: in.ExecutionRoleArn, ApprovalModel: in.ApprovalModel, Subscribers: in.Subscribers,
	}
	if err := s.checkAction(ctx, c, &b.Budget, &ask); err != nil {
		return nil, err
	}
	now := time.Now()
	err = s.change(ctx, c.Account, in.BudgetName, "create budget action", func(tx store.Tx, b *budget) error {
		if err := topicsExist(tx, ask.Subscribers); err != nil {
			return err
		}
		if err := b.roomFor(tx, &ask); err != nil {
			return err
		}
		a := &action{
			Record: &resource.Record{Key: actionKey(c.Account, id), UID: resource.NewUID(), Arn: b.Arn + "/action/" + id, Parent: b.Name, Created: now},
			Ask:    ask,
		}
		a.becomes(standby, eventCreate, "The action was created.", now)
		if err := a.put(tx, now, time.Time{}); err != nil {
			return err
		}
		b.Actions = append(b.Actions, id)
		if len(tags) == 0 {
			return nil
		}
		return tx.PutTags(a.Arn, tags)
	})
	if err != nil {
		return nil, err
	}
	return &apib.CreateBudgetActionResponse{AccountId: c.Account, BudgetName: in.BudgetName, ActionId: id}, nil
}

// roomFor refuses an action that is there already, or one too many for its
// threshold.
func (b *budget) roomFor(tx store.Tx, ask *apib.Action) error {
	text := func(a apib.Action) string {
		a.ActionId, a.Status, a.Subscribers = "", "", nil
		t, _ := json.Marshal(a) // it was read from JSON
		return string(t)
	}
	n := 0
	for _, id := range b.Actions {
		a, err := b.action(tx, id)
		if err != nil {
			return err
		}
		if text(a.Ask) == text(*ask) {
			return duplicate("Error creating budget action: budget %s already has this action, %s.", b.Name, id)
		}
		if a.Ask.NotificationType == ask.NotificationType && *a.Ask.ActionThreshold == *ask.ActionThreshold {
			n++
		}
	}
	if n >= maxActions {
		return tooMany("one threshold can only have %d budget actions", maxActions)
	}
	return nil
}

// newID makes a UUID of random bits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// action finds one of the budget's actions.
func (b *budget) action(tx store.Tx, id string) (*action, error) {
	r, err := tx.Get(actionKey(b.Account, id))
	if errors.Is(err, store.ErrNotFound) || err == nil && r.Parent != b.Name {
		return nil, notFound("Unable to find budget action: %s - budget %s has no such action.", id, b.Name)
	}
	if err != nil {
		return nil, err
	}
	return readAction(r)
}

// inProgress says that something is being done, during which an action stays
// as it is.
func (a *action) inProgress() bool {
	return slices.Contains([]string{executing, reversing, resetting}, a.Phase)
}

func (a *action) free() error {
	if a.inProgress() {
		return locked("Budget action %s is %s. Try again when that is over.", a.Name, a.Phase)
	}
	return nil
}

// viewAction reads an action.
func (s *Service) viewAction(ctx context.Context, account, budget, id string) (a *action, err error) {
	err = s.Store.View(ctx, func(tx store.Tx) error {
		b, err := get(tx, account, budget, "get budget")
		if err != nil {
			return err
		}
		a, err = b.action(tx, id)
		return err
	})
	return a, err
}

// DescribeBudgetAction says what an action does and where it is.
func (s *Service) DescribeBudgetAction(ctx context.Context, c op.Call, in *apib.DescribeBudgetActionRequest) (*apib.DescribeBudgetActionResponse, error) {
	a, err := s.viewAction(ctx, c.Account, in.BudgetName, in.ActionId)
	if err != nil {
		return nil, err
	}
	shown := a.shown()
	return &apib.DescribeBudgetActionResponse{AccountId: c.Account, BudgetName: in.BudgetName, Action: &shown}, nil
}

// DescribeBudgetActionsForBudget pages through a budget's actions.
func (s *Service) DescribeBudgetActionsForBudget(ctx context.Context, c op.Call, in *apib.DescribeBudgetActionsForBudgetRequest) (*apib.DescribeBudgetActionsForBudgetResponse, error) {
	if _, err := s.view(ctx, c.Account, in.BudgetName); err != nil {
		return nil, err
	}
	list, next, err := s.listActions(ctx, c.Account, in.BudgetName, in.NextToken, in.MaxResults)
	return &apib.DescribeBudgetActionsForBudgetResponse{Actions: list, NextToken: next}, err
}

// DescribeBudgetActionsForAccount pages through the account's actions.
func (s *Service) DescribeBudgetActionsForAccount(ctx context.Context, c op.Call, in *apib.DescribeBudgetActionsForAccountRequest) (*apib.DescribeBudgetActionsForAccountResponse, error) {
	list, next, err := s.listActions(ctx, c.Account, "", in.NextToken, in.MaxResults)
	return &apib.DescribeBudgetActionsForAccountResponse{Actions: list, NextToken: next}, err
}

func (s *Service) listActions(ctx context.Context, account, budget, token string, limit *int64) ([]apib.Action, string, error) {
	q := resource.Query{Account: account, Kind: KindAction, Parent: budget, Token: token, Limit: defaultPage}
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
	var out []apib.Action
	for _, r := range recs {
		a, err := readAction(r)
		if err != nil {
			return nil, "", err
		}
		out = append(out, a.shown())
	}
	return out, next, nil
}

// changeAction edits an action in one transaction with its budget.
func (s *Service) changeAction(ctx context.Context, account, name, id, verb string, edit func(tx store.Tx, b *budget, a *action) error) error {
	return s.change(ctx, account, name, verb, func(tx store.Tx, b *budget) error {
		a, err := b.action(tx, id)
		if err != nil {
			return err
		}
		return edit(tx, b, a)
	})
}

// UpdateBudgetAction changes what is given of an action, which is then on
// standby again.
func (s *Service) UpdateBudgetAction(ctx context.Context, c op.Call, in *apib.UpdateBudgetActionRequest) (*apib.UpdateBudgetActionResponse, error) {
	merged := func(a apib.Action) apib.Action {
		if in.NotificationType != "" {
			a.NotificationType = in.NotificationType
		}
		if in.ActionThreshold != nil {
			a.ActionThreshold = in.ActionThreshold
		}
		if in.Definition != nil {
			a.Definition = in.Definition
		}
		if in.ExecutionRoleArn != "" {
			a.ExecutionRoleArn = in.ExecutionRoleArn
		}
		if in.ApprovalModel != "" {
			a.ApprovalModel = in.ApprovalModel
		}
		if len(in.Subscribers) > 0 {
			a.Subscribers = in.Subscribers
		}
		return a
	}
	b, err := s.view(ctx, c.Account, in.BudgetName)
	if err != nil {
		return nil, err
	}
	was, err := s.viewAction(ctx, c.Account, in.BudgetName, in.ActionId)
	if err != nil {
		return nil, err
	}
	ask := merged(was.Ask)
	if err := s.checkAction(ctx, c, &b.Budget, &ask); err != nil {
		return nil, err
	}
	out := &apib.UpdateBudgetActionResponse{AccountId: c.Account, BudgetName: in.BudgetName}
	err = s.changeAction(ctx, c.Account, in.BudgetName, in.ActionId, "update budget action", func(tx store.Tx, _ *budget, a *action) error {
		if err := errors.Join(a.free(), topicsExist(tx, in.Subscribers)); err != nil {
			return err
		}
		old, now := a.shown(), time.Now()
		a.Ask, a.Period, a.Stops = merged(a.Ask), time.Time{}, nil
		a.becomes(standby, eventUpdate, "The action was updated.", now)
		is := a.shown()
		out.OldAction, out.NewAction = &old, &is
		return a.put(tx, now, time.Time{})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteBudgetAction removes an action with its history.
func (s *Service) DeleteBudgetAction(ctx context.Context, c op.Call, in *apib.DeleteBudgetActionRequest) (*apib.DeleteBudgetActionResponse, error) {
	out := &apib.DeleteBudgetActionResponse{AccountId: c.Account, BudgetName: in.BudgetName}
	err := s.changeAction(ctx, c.Account, in.BudgetName, in.ActionId, "delete budget action", func(tx store.Tx, b *budget, a *action) error {
		if err := a.free(); err != nil {
			return err
		}
		was := a.shown()
		out.Action = &was
		b.Actions = slices.DeleteFunc(b.Actions, func(id string) bool { return id == a.Name })
		return tx.Delete(a.Key)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ExecuteBudgetAction approves an action that waits, tries one again that
// failed, or puts one on standby again.
func (s *Service) ExecuteBudgetAction(ctx context.Context, c op.Call, in *apib.ExecuteBudgetActionRequest) (*apib.ExecuteBudgetActionResponse, error) {
	err := s.changeAction(ctx, c.Account, in.BudgetName, in.ActionId, "execute budget action", func(tx store.Tx, _ *budget, a *action) error {
		if err := a.free(); err != nil {
			return err
		}
		now := time.Now()
		from := func(phases ...string) error {
			if !slices.Contains(phases, a.Phase) {
				return invalid("%s is not possible for budget action %s, which is %s.", in.ExecutionType, a.Name, a.Phase)
			}
			return nil
		}
		switch in.ExecutionType {
		case "APPROVE_BUDGET_ACTION":
			if err := from(pending); err != nil {
				return err
			}
			a.becomes(executing, eventExecute, "The action was approved.", now)
			return a.put(tx, now, now)
		case "RETRY_BUDGET_ACTION":
			if err := from(failed); err != nil {
				return err
			}
			a.becomes(executing, eventExecute, "The action is tried again.", now)
			return a.put(tx, now, now)
		case "RESET_BUDGET_ACTION":
			if err := from(pending, executed, failed, reversed, unreversed); err != nil {
				return err
			}
			a.Period, a.Stops = time.Time{}, nil
			a.becomes(standby, eventExecute, "The action was reset.", now)
			return a.put(tx, now, time.Time{})
		}
		return invalid("Clary does not support %s: what was stopped is not started again by itself. Start it when you want it, and use RESET_BUDGET_ACTION to have the action act again.", in.ExecutionType)
	})
	if err != nil {
		return nil, err
	}
	return &apib.ExecuteBudgetActionResponse{AccountId: c.Account, BudgetName: in.BudgetName, ActionId: in.ActionId, ExecutionType: in.ExecutionType}, nil
}

// DescribeBudgetActionHistories pages through what happened to an action, the
// newest first.
func (s *Service) DescribeBudgetActionHistories(ctx context.Context, c op.Call, in *apib.DescribeBudgetActionHistoriesRequest) (*apib.DescribeBudgetActionHistoriesResponse, error) {
	a, err := s.viewAction(ctx, c.Account, in.BudgetName, in.ActionId)
	if err != nil {
		return nil, err
	}
	var all []apib.ActionHistory
	for _, h := range slices.Backward(a.History) {
		if p := in.TimePeriod; p != nil && (!p.Start.IsZero() && h.At.Before(p.Start.Time) || !p.End.IsZero() && !h.At.Before(p.End.Time)) {
			continue
		}
		all = append(all, apib.ActionHistory{
			Timestamp: api.At(h.At), Status: h.Status, EventType: h.Event,
			ActionHistoryDetails: &apib.ActionHistoryDetails{Message: h.Message, Action: &h.Action},
		})
	}
	list, next, err := page(all, in.NextToken, in.MaxResults)
	return &apib.DescribeBudgetActionHistoriesResponse{ActionHistories: list, NextToken: next}, err
}
