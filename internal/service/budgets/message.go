package budgets

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	apib "clary/internal/api/budgets"
	"clary/internal/aws/arn"
	remedy "clary/internal/budget"
	"clary/internal/meter"
	"clary/internal/outbox"
	"clary/internal/resource"
	"clary/internal/store"
)

// sender is who publishes to topics.
const sender = "budgets.amazonaws.com"

// message is what subscribers are told.
type message struct{ subject, text string }

// tell leaves a message for each subscriber. id names what is told of: leaving
// it again changes nothing.
func (s *Service) tell(tx store.Tx, b *budget, id string, to []apib.Subscriber, m message, now time.Time) error {
	for _, sub := range to {
		sum := sha256.Sum256([]byte(sub.SubscriptionType + " " + sub.Address))
		name := id + "/" + hex.EncodeToString(sum[:8])
		var err error
		if sub.SubscriptionType == channelSNS {
			topic, _ := arn.Parse(sub.Address) // it was checked
			err = outbox.Publish(tx, b.Account, topic.Region, name, outbox.Publication{TopicArn: sub.Address, Subject: m.subject, Message: m.text, By: sender}, now)
		} else {
			err = outbox.Send(tx, b.Account, "", name, outbox.Delivery{Channel: "email", To: sub.Address, Subject: m.subject, Body: m.text, About: b.Arn}, now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// subject fits into an SNS subject: 100 characters, one line.
func subject(format string, args ...any) string {
	s := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	r := []rune(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s))
	if len(r) > 100 {
		r = append(r[:97], '.', '.', '.')
	}
	return string(r)
}

// message is what an alert says: AWS's frame, then what runs and how to end it.
func (s *Service) message(ctx context.Context, b *budget, a alert, st standing) (message, error) {
	name := b.Name
	kind := map[string]string{typeCost: "Cost", typeUsage: "Usage"}[b.Budget.BudgetType]
	sign := map[string]string{"LESS_THAN": "<", "EQUAL_TO": "="}[a.ComparisonOperator]
	word := map[string]string{"LESS_THAN": "less than", "EQUAL_TO": "equal to"}[a.ComparisonOperator]
	at := b.words(threshold(a.Threshold, a.ThresholdType, st.Limit))
	is := b.words(st.value(a.NotificationType))
	when := "current " + cmp.Or(map[string]string{daily: "day", monthly: "month", quarterly: "quarter", annually: "year"}[b.Budget.TimeUnit], "budget period")
	if !st.Now.Before(st.Period.To) {
		when = "period that ended " + st.Period.To.Format(time.DateOnly)
	}
	var w strings.Builder
	s.head(&w, b, st.Now)
	fmt.Fprintf(&w, "You requested that we alert you when the %s %s associated with your %s budget is %s %s for the %s. ",
		a.NotificationType, kind, name, cmp.Or(word, "greater than"), at, when)
	fmt.Fprintf(&w, "The %s %s associated with this budget is %s. You can find additional details below.\n\n", a.NotificationType, kind, is)
	fmt.Fprintf(&w, "Budget Name: %s\nBudget Type: %s\nBudgeted Amount: %s\nAlert Type: %s\nAlert Threshold: %s %s\n%s Amount: %s\n",
		name, kind, b.words(st.Limit), a.NotificationType, cmp.Or(sign, ">"), at, a.NotificationType, is)
	if st.Unpriced {
		w.WriteString("\nSome of what this budget covers has no known price and is not in these amounts.\n")
	}
	if err := s.listRunning(ctx, &w, b, st); err != nil {
		return message{}, err
	}
	verb := map[string]string{"LESS_THAN": "is below", "EQUAL_TO": "has reached"}[a.ComparisonOperator]
	if a.NotificationType == forecasted {
		verb = "is forecasted to exceed"
	}
	return message{subject("AWS Budgets: %s %s your alert threshold", name, cmp.Or(verb, "has exceeded")), w.String()}, nil
}

// head begins every message.
func (*Service) head(w *strings.Builder, b *budget, now time.Time) {
	fmt.Fprintf(w, "AWS Budget Notification %s\nAWS Account %s\n\nDear AWS Customer,\n\n", now.UTC().Format("January 2, 2006 15:04 MST"), b.Account)
}

// maxListed is how many resources a message lists.
const maxListed = 50

// listRunning adds what runs and is covered: what it costs an hour, what it cost so
// far, and what ends it.
func (s *Service) listRunning(ctx context.Context, w *strings.Builder, b *budget, st standing) error {
	if len(st.Running) == 0 {
		w.WriteString("\nNothing that this budget covers is running now.\n")
		return nil
	}
	w.WriteString("\nWhat this budget covers and is running now:\n")
	for i, r := range st.Running {
		if i == maxListed {
			fmt.Fprintf(w, "\nand %d more.\n", len(st.Running)-maxListed)
			break
		}
		sofar, err := s.soFar(ctx, b, r, st)
		if err != nil {
			return err
		}
		how := remedy.Remedy(r.Kind, r.Name)
		if r.volumeOnly() {
			how = remedy.RemedyForVolume(r.Name)
		}
		fmt.Fprintf(w, "\n%s %s (%s)\n  costs %s per hour, %s so far in this period\n  to stop it: %s\n", r.Kind, r.Name, r.Region, s.hourly(r, st.Now), sofar, how.Command)
		if how.Call != how.Command {
			fmt.Fprintf(w, "          or: %s --region %s\n", how.Call, r.Region)
		}
	}
	return nil
}

// volumeOnly says that only storage of it costs: it was stopped already.
func (r running) volumeOnly() bool {
	for _, u := range r.Uses {
		if u.Unit != meter.GBSecond {
			return false
		}
	}
	return true
}

// hourly is what a running resource costs, as a message says it.
func (s *Service) hourly(r running, now time.Time) string {
	for i := range r.Uses {
		if _, ok := s.Books[0].Hourly(&r.Uses[i], now); !ok {
			return "an unknown amount (there is no price for it)"
		}
	}
	return price(r.PerHour)
}

// soFar is what a resource cost in the period, of what the budget covers.
func (s *Service) soFar(ctx context.Context, b *budget, r running, st standing) (string, error) {
	f, err := scopeOf(&b.Budget)
	if err != nil {
		return "", err
	}
	list, err := s.Store.ListUsage(ctx, resource.UsageQuery{Account: r.Account, UID: r.UID, From: st.Period.From, To: st.Period.To})
	if err != nil {
		return "", err
	}
	var covered []resource.Usage
	for _, u := range list {
		if f.Match(&u) {
			covered = append(covered, u)
		}
	}
	bill := meter.Bill(covered, s.Books[0], st.Period.From, st.Period.To, st.Now)
	if bill.Unpriced && bill.MicroUSD == 0 {
		return "an unknown amount", nil
	}
	return dollars(bill.MicroUSD), nil
}
