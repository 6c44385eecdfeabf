// Package budgets serves AWS's Budgets: what may be spent in a day, a month or
// another period, by whom it is watched, who is told when a threshold is
// crossed, and what is done then.
//
// A budget is a record without a region. It is looked at when it changes, when
// the ledger does, and at the moments at which what runs can bring it over a
// threshold; what it covers is summed by the book that charges started minutes.
// An alert is marked as told in the transaction that leaves its messages in the
// outbox, so it is told once per period and threshold. It must never fold the
// ledger anew at each look. Start at Operations and, for what happens by
// itself, at Reconcile.
package budgets

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	apib "clary/internal/api/budgets"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	contract "clary/internal/budget"
	"clary/internal/identity"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
)

// Config is what the service works with.
type Config struct {
	Store store.Store
	Auth  identity.Authorizer
	Books []meter.Book // budgets speak by the first
	// Stoppers end what costs, one for each kind that does.
	Stoppers []contract.Stopper
	// Wake has a record looked at now.
	Wake func(resource.Key)
	// Settle is how long nobody is told of what the ledger says after a start
	// or a leap of the clock: what ended meanwhile is still to be seen.
	Settle time.Duration
	Log    *slog.Logger
}

// Service serves the operations and watches budgets.
type Service struct {
	Config

	mu       sync.Mutex // guards what follows
	settling meter.Settling
	covers   map[string]*cover
	open     map[string]*ledger // by account
}

// New makes the service.
func New(c Config) *Service {
	s := &Service{Config: c, settling: meter.Settling{Start: c.Settle, Leap: leapSettle}, covers: make(map[string]*cover), open: make(map[string]*ledger)}
	s.settling.Wait(time.Now()) // from now on
	return s
}

// Name is the service's name.
func (*Service) Name() string { return "budgets" }

// What IAM calls the operations.
const (
	actView   = "budgets:ViewBudget"
	actModify = "budgets:ModifyBudget"
)

// Operations lists what is served.
func (s *Service) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateBudget":    on(s.CreateBudget, actModify, func(in *apib.CreateBudgetRequest) (string, string) { return in.AccountId, budgetName(in.Budget) }),
		"UpdateBudget":    on(s.UpdateBudget, actModify, func(in *apib.UpdateBudgetRequest) (string, string) { return in.AccountId, budgetName(in.NewBudget) }),
		"DeleteBudget":    on(s.DeleteBudget, actModify, func(in *apib.DeleteBudgetRequest) (string, string) { return in.AccountId, in.BudgetName }),
		"DescribeBudget":  on(s.DescribeBudget, actView, func(in *apib.DescribeBudgetRequest) (string, string) { return in.AccountId, in.BudgetName }),
		"DescribeBudgets": on(s.DescribeBudgets, actView, func(in *apib.DescribeBudgetsRequest) (string, string) { return in.AccountId, "*" }),
		"DescribeBudgetPerformanceHistory": on(s.DescribeBudgetPerformanceHistory, actView, func(in *apib.DescribeBudgetPerformanceHistoryRequest) (string, string) {
			return in.AccountId, in.BudgetName
		}),
		"CreateNotification": on(s.CreateNotification, actModify, func(in *apib.CreateNotificationRequest) (string, string) { return in.AccountId, in.BudgetName }),
		"UpdateNotification": on(s.UpdateNotification, actModify, func(in *apib.UpdateNotificationRequest) (string, string) { return in.AccountId, in.BudgetName }),
		"DeleteNotification": on(s.DeleteNotification, actModify, func(in *apib.DeleteNotificationRequest) (string, string) { return in.AccountId, in.BudgetName }),
		"DescribeNotificationsForBudget": on(s.DescribeNotificationsForBudget, actView, func(in *apib.DescribeNotificationsForBudgetRequest) (string, string) {
			return in.AccountId, in.BudgetName
		}),
		"DescribeBudgetNotificationsForAccount": on(s.DescribeBudgetNotificationsForAccount, actView, func(in *apib.DescribeBudgetNotificationsForAccountRequest) (string, string) {
			return in.AccountId, "*"
		}),
		"CreateSubscriber": on(s.CreateSubscriber, actModify, func(in *apib.CreateSubscriberRequest) (string, string) { return in.AccountId, in.BudgetName }),
		"UpdateSubscriber": on(s.UpdateSubscriber, actModify, func(in *apib.UpdateSubscriberRequest) (string, string) { return in.AccountId, in.BudgetName }),
		"DeleteSubscriber": on(s.DeleteSubscriber, actModify, func(in *apib.DeleteSubscriberRequest) (string, string) { return in.AccountId, in.BudgetName }),
		"DescribeSubscribersForNotification": on(s.DescribeSubscribersForNotification, actView, func(in *apib.DescribeSubscribersForNotificationRequest) (string, string) {
			return in.AccountId, in.BudgetName
		}),
		"CreateBudgetAction": on(s.CreateBudgetAction, "", func(in *apib.CreateBudgetActionRequest) (string, string) {
			return in.AccountId, actionPath(in.BudgetName, "*")
		}),
		"UpdateBudgetAction": on(s.UpdateBudgetAction, "", func(in *apib.UpdateBudgetActionRequest) (string, string) {
			return in.AccountId, actionPath(in.BudgetName, in.ActionId)
		}),
		"DeleteBudgetAction": on(s.DeleteBudgetAction, "", func(in *apib.DeleteBudgetActionRequest) (string, string) {
			return in.AccountId, actionPath(in.BudgetName, in.ActionId)
		}),
		"ExecuteBudgetAction": on(s.ExecuteBudgetAction, "", func(in *apib.ExecuteBudgetActionRequest) (string, string) {
			return in.AccountId, actionPath(in.BudgetName, in.ActionId)
		}),
		"DescribeBudgetAction": on(s.DescribeBudgetAction, "", func(in *apib.DescribeBudgetActionRequest) (string, string) {
			return in.AccountId, actionPath(in.BudgetName, in.ActionId)
		}),
		"DescribeBudgetActionsForBudget": on(s.DescribeBudgetActionsForBudget, "", func(in *apib.DescribeBudgetActionsForBudgetRequest) (string, string) {
			return in.AccountId, in.BudgetName
		}),
		"DescribeBudgetActionsForAccount": on(s.DescribeBudgetActionsForAccount, "", func(in *apib.DescribeBudgetActionsForAccountRequest) (string, string) {
			return in.AccountId, actionPath("*", "*")
		}),
		"DescribeBudgetActionHistories": on(s.DescribeBudgetActionHistories, "", func(in *apib.DescribeBudgetActionHistoriesRequest) (string, string) {
			return in.AccountId, actionPath(in.BudgetName, in.ActionId)
		}),
		"TagResource":         op.On(op.Op(s.TagResource), func(_ op.Call, in *apib.TagResourceRequest) string { return in.ResourceARN }),
		"UntagResource":       op.On(op.Op(s.UntagResource), func(_ op.Call, in *apib.UntagResourceRequest) string { return in.ResourceARN }),
		"ListTagsForResource": op.On(op.Op(s.ListTagsForResource), func(_ op.Call, in *apib.ListTagsForResourceRequest) string { return in.ResourceARN }),
	}
}

// on makes a handler of an operation on a budget of the caller's account: of
// says whose and which.
func on[In, Out any](f func(context.Context, op.Call, *In) (*Out, error), action string, of func(*In) (account, name string)) op.Handler {
	h := op.Op(func(ctx context.Context, c op.Call, in *In) (*Out, error) {
		if account, _ := of(in); account != c.Account {
			return nil, apierr.AccessDenied("Account %s is not authorized to perform this operation on the budgets of account %s.", c.Account, account)
		}
		return f(ctx, c, in)
	})
	if action != "" {
		h = h.As(action)
	}
	return op.On(h, func(_ op.Call, in *In) string { return arnOf(of(in)) })
}

func budgetName(b *apib.Budget) string {
	if b == nil {
		return ""
	}
	return b.BudgetName
}

func actionPath(budget, id string) string { return budget + "/action/" + id }

func invalid(format string, args ...any) error {
	return apierr.New(http.StatusBadRequest, "InvalidParameterException", format, args...)
}

func notFound(format string, args ...any) error {
	return apierr.New(http.StatusBadRequest, "NotFoundException", format, args...)
}

func duplicate(format string, args ...any) error {
	return apierr.New(http.StatusBadRequest, "DuplicateRecordException", format, args...)
}

func tooMany(format string, args ...any) error {
	return apierr.New(http.StatusBadRequest, "CreationLimitExceededException", format, args...)
}

func locked(format string, args ...any) error {
	return apierr.New(http.StatusBadRequest, "ResourceLockedException", format, args...)
}

// get finds a budget; verb is what was to be done with it.
func get(tx store.Tx, account, name, verb string) (*budget, error) {
	r, err := tx.Get(keyOf(account, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound("Unable to %s: %s - the budget doesn't exist.", verb, name)
	}
	if err != nil {
		return nil, err
	}
	return read(r)
}

// view reads a budget.
func (s *Service) view(ctx context.Context, account, name string) (b *budget, err error) {
	err = s.Store.View(ctx, func(tx store.Tx) (err error) {
		b, err = get(tx, account, name, "get budget")
		return err
	})
	return b, err
}

// change edits a budget in one transaction, after which it is looked at.
func (s *Service) change(ctx context.Context, account, name, verb string, edit func(tx store.Tx, b *budget) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		b, err := get(tx, account, name, verb)
		if err != nil {
			return err
		}
		if err := edit(tx, b); err != nil {
			return err
		}
		if err := b.put(tx, time.Now()); err != nil {
			return err
		}
		return s.brief(tx, b, false)
	})
}
