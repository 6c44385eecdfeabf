package console

import (
	"context"
	"strings"

	"clary/internal/api/sns"
	"clary/internal/aws/op"
	"clary/internal/outbox"
)

// Mail is what a page says of letters.
type Mail struct {
	// Deliveries reads messages on their way, the newest first, of a phase or of
	// all with "", under the permissions of whoever asks.
	Deliveries func(ctx context.Context, c op.Call, phase, token string) ([]outbox.Told, string, error)
	// Server says by which letters leave, and From as whom; "": none does.
	Server, From string
}

type topicRow struct {
	Name, Arn     string
	Subscriptions int
}

type notificationsBody struct {
	Topics        []topicRow
	Subscriptions []subscriptionRow
	More          bool // there are more topics or subscriptions
	Told          []outbox.Told
	Phases        []choice
	Phase         string
	Hidden        []string
	First, Next   string
	Wrong         string
	Mail          Mail
	Empty         *emptyBody
}

type subscriptionRow struct {
	sns.Subscription
	Topic   string
	Pending bool
}

func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, ':')+1:] }

// notifications are topics, who has subscribed to them, and every message on
// its way.
func (c *Console) notifications(v *view) error {
	q := v.r.URL.Query()
	body := &notificationsBody{Phase: q.Get("phase"), Mail: c.cfg.Mail}
	body.Phases = choices(body.Phase, "Any state", outbox.PhasePending, outbox.PhaseDelivered, outbox.PhaseFailed)
	if err := v.topics(body); err != nil {
		return err
	}
	if d := c.cfg.Mail.Deliveries; d != nil {
		told, next, err := d(v.r.Context(), v.call, body.Phase, q.Get("page"))
		switch e, no := refused(err); {
		case no:
			body.Hidden = append(body.Hidden, "Deliveries are not shown. "+e.Message)
		case err != nil:
			return err
		}
		body.Told = told
		body.First, body.Next = v.pages(next)
	}
	if len(body.Topics) == 0 && len(body.Told) == 0 && len(body.Hidden) == 0 && body.Phase == "" && body.First == "" {
		var err error
		if body.Empty, err = v.empty("notifications"); err != nil {
			return err
		}
	}
	return v.show("notifications", "Notifications", "notifications", body)
}

// topics are the first page of the topics and of the subscriptions.
func (v *view) topics(body *notificationsBody) error {
	if !v.c.cfg.Calls.Serves("sns", "ListTopics") {
		return nil
	}
	topics, err := ask[sns.ListTopicsResponse](v, "sns", "ListTopics", &sns.ListTopicsInput{})
	if e, no := refused(err); no {
		body.Hidden = append(body.Hidden, "Topics are not shown. "+e.Message)
		return nil
	}
	if err != nil {
		return err
	}
	at := map[string]int{}
	for _, t := range topics.Topics {
		at[t.TopicArn] = len(body.Topics)
		body.Topics = append(body.Topics, topicRow{Name: lastPart(t.TopicArn), Arn: t.TopicArn})
	}
	subs, err := ask[sns.ListSubscriptionsResponse](v, "sns", "ListSubscriptions", &sns.ListSubscriptionsInput{})
	if e, no := refused(err); no {
		body.Hidden = append(body.Hidden, "Subscriptions are not shown. "+e.Message)
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range subs.Subscriptions {
		body.Subscriptions = append(body.Subscriptions, subscriptionRow{s, lastPart(s.TopicArn), !strings.HasPrefix(s.SubscriptionArn, "arn:")})
		if i, ok := at[s.TopicArn]; ok {
			body.Topics[i].Subscriptions++
		}
	}
	body.More = topics.NextToken != "" || subs.NextToken != ""
	return nil
}
