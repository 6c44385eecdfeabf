package budgets

import (
	"context"
	"errors"
	"slices"

	apib "clary/internal/api/budgets"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

// addAlert adds a notification with those who are told.
func (b *budget) addAlert(n *apib.Notification, to []apib.Subscriber) error {
	full, err := checkAlert(&b.Budget, *n)
	if err != nil {
		return err
	}
	if err := checkSubscribers(b.Account, to); err != nil {
		return err
	}
	if b.find(&full) >= 0 {
		return duplicate("Error creating notification: the notification already exists for budget %s.", b.Name)
	}
	if len(b.Alerts) == maxAlerts {
		return tooMany("one budget can only have %d notifications", maxAlerts)
	}
	b.Alerts = append(b.Alerts, alert{ID: resource.NewUID(), Notification: full, Subscribers: slices.Clone(to)})
	return nil
}

// topicsExist refuses a topic that nobody made: no message would ever arrive.
func topicsExist(tx store.Tx, to []apib.Subscriber) error {
	for _, s := range to {
		if s.SubscriptionType != channelSNS {
			continue
		}
		if _, err := tx.ByArn(s.Address); errors.Is(err, store.ErrNotFound) {
			return invalid("SNS topic %s does not exist.", s.Address)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// alertOf finds a notification of the budget.
func (b *budget) alertOf(n *apib.Notification) (*alert, error) {
	if i := b.find(n); i >= 0 {
		return &b.Alerts[i], nil
	}
	return nil, notFound("Unable to find the notification - budget %s has none of that type, operator and threshold.", b.Name)
}

// CreateNotification adds a notification, which is looked at at once.
func (s *Service) CreateNotification(ctx context.Context, c op.Call, in *apib.CreateNotificationRequest) (*apib.CreateNotificationResponse, error) {
	return nil, s.change(ctx, c.Account, in.BudgetName, "create notification", func(tx store.Tx, b *budget) error {
		if err := topicsExist(tx, in.Subscribers); err != nil {
			return err
		}
		return b.addAlert(in.Notification, in.Subscribers)
	})
}

// UpdateNotification changes what a notification says; who is told stays. It is
// another threshold then, and may be told of in the same period.
func (s *Service) UpdateNotification(ctx context.Context, c op.Call, in *apib.UpdateNotificationRequest) (*apib.UpdateNotificationResponse, error) {
	return nil, s.change(ctx, c.Account, in.BudgetName, "update notification", func(_ store.Tx, b *budget) error {
		a, err := b.alertOf(in.OldNotification)
		if err != nil {
			return err
		}
		full, err := checkAlert(&b.Budget, *in.NewNotification)
		if err != nil || same(full, a.Notification) {
			return err
		}
		if b.find(&full) >= 0 {
			return duplicate("Error updating notification: the notification already exists for budget %s.", b.Name)
		}
		delete(b.Told, a.ID)
		a.ID, a.Notification = resource.NewUID(), full
		return nil
	})
}

// DeleteNotification removes a notification with those who are told.
func (s *Service) DeleteNotification(ctx context.Context, c op.Call, in *apib.DeleteNotificationRequest) (*apib.DeleteNotificationResponse, error) {
	return nil, s.change(ctx, c.Account, in.BudgetName, "delete notification", func(_ store.Tx, b *budget) error {
		a, err := b.alertOf(in.Notification)
		if err != nil {
			return err
		}
		b.drop(a.ID)
		return nil
	})
}

func (b *budget) drop(id string) {
	delete(b.Told, id)
	b.Alerts = slices.DeleteFunc(b.Alerts, func(a alert) bool { return a.ID == id })
}

// shown are the budget's notifications with their states.
func (b *budget) shown() []apib.Notification {
	var out []apib.Notification
	for _, a := range b.Alerts {
		n := a.Notification
		n.NotificationState = "OK"
		if b.Told[a.ID].Alarm {
			n.NotificationState = "ALARM"
		}
		out = append(out, n)
	}
	return out
}

// DescribeNotificationsForBudget pages through a budget's notifications.
func (s *Service) DescribeNotificationsForBudget(ctx context.Context, c op.Call, in *apib.DescribeNotificationsForBudgetRequest) (*apib.DescribeNotificationsForBudgetResponse, error) {
	b, err := s.view(ctx, c.Account, in.BudgetName)
	if err != nil {
		return nil, err
	}
	list, next, err := page(b.shown(), in.NextToken, in.MaxResults)
	return &apib.DescribeNotificationsForBudgetResponse{Notifications: list, NextToken: next}, err
}

const defaultAccountPage = 50

// DescribeBudgetNotificationsForAccount pages through budgets with their
// notifications.
func (s *Service) DescribeBudgetNotificationsForAccount(ctx context.Context, c op.Call, in *apib.DescribeBudgetNotificationsForAccountRequest) (*apib.DescribeBudgetNotificationsForAccountResponse, error) {
	list, next, err := s.list(ctx, c.Account, in.NextToken, in.MaxResults, defaultAccountPage)
	if err != nil {
		return nil, err
	}
	out := &apib.DescribeBudgetNotificationsForAccountResponse{NextToken: next}
	for _, b := range list {
		if len(b.Alerts) > 0 {
			out.BudgetNotificationsForAccount = append(out.BudgetNotificationsForAccount, apib.BudgetNotificationsForAccount{BudgetName: b.Name, Notifications: b.shown()})
		}
	}
	return out, nil
}

// CreateSubscriber adds somebody to tell.
func (s *Service) CreateSubscriber(ctx context.Context, c op.Call, in *apib.CreateSubscriberRequest) (*apib.CreateSubscriberResponse, error) {
	return nil, s.change(ctx, c.Account, in.BudgetName, "create subscriber", func(tx store.Tx, b *budget) error {
		a, err := b.alertOf(in.Notification)
		if err != nil {
			return err
		}
		to := append(slices.Clone(a.Subscribers), *in.Subscriber)
		if err := errors.Join(checkSubscribers(b.Account, to), topicsExist(tx, to[len(to)-1:])); err != nil {
			return err
		}
		a.Subscribers = to
		return nil
	})
}

// subscriber finds one of a notification's.
func (a *alert) subscriber(s *apib.Subscriber) (int, error) {
	i := slices.Index(a.Subscribers, *s)
	if i < 0 {
		return 0, notFound("Unable to find the subscriber - the notification has none with address %s.", s.Address)
	}
	return i, nil
}

// UpdateSubscriber puts somebody in another's place.
func (s *Service) UpdateSubscriber(ctx context.Context, c op.Call, in *apib.UpdateSubscriberRequest) (*apib.UpdateSubscriberResponse, error) {
	return nil, s.change(ctx, c.Account, in.BudgetName, "update subscriber", func(tx store.Tx, b *budget) error {
		a, err := b.alertOf(in.Notification)
		if err != nil {
			return err
		}
		i, err := a.subscriber(in.OldSubscriber)
		if err != nil || *in.OldSubscriber == *in.NewSubscriber {
			return err
		}
		to := slices.Clone(a.Subscribers)
		to[i] = *in.NewSubscriber
		if err := errors.Join(checkSubscribers(b.Account, to), topicsExist(tx, to[i:i+1])); err != nil {
			return err
		}
		a.Subscribers = to
		return nil
	})
}

// DeleteSubscriber removes somebody; with the last one goes the notification.
func (s *Service) DeleteSubscriber(ctx context.Context, c op.Call, in *apib.DeleteSubscriberRequest) (*apib.DeleteSubscriberResponse, error) {
	return nil, s.change(ctx, c.Account, in.BudgetName, "delete subscriber", func(_ store.Tx, b *budget) error {
		a, err := b.alertOf(in.Notification)
		if err != nil {
			return err
		}
		i, err := a.subscriber(in.Subscriber)
		if err != nil {
			return err
		}
		if len(a.Subscribers) == 1 {
			b.drop(a.ID)
			return nil
		}
		a.Subscribers = slices.Delete(slices.Clone(a.Subscribers), i, i+1)
		return nil
	})
}

// DescribeSubscribersForNotification pages through those who are told.
func (s *Service) DescribeSubscribersForNotification(ctx context.Context, c op.Call, in *apib.DescribeSubscribersForNotificationRequest) (*apib.DescribeSubscribersForNotificationResponse, error) {
	b, err := s.view(ctx, c.Account, in.BudgetName)
	if err != nil {
		return nil, err
	}
	a, err := b.alertOf(in.Notification)
	if err != nil {
		return nil, err
	}
	list, next, err := page(a.Subscribers, in.NextToken, in.MaxResults)
	return &apib.DescribeSubscribersForNotificationResponse{Subscribers: list, NextToken: next}, err
}
