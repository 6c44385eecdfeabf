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

// topicPages bounds what a page lists of topics, and of subscriptions: ten
// pages of SNS's are a thousand.
const topicPages = 10

// topics are the topics and the subscriptions.
func (v *view) topics(body *notificationsBody) error {
	if !v.c.cfg.Calls.Serves("sns", "ListTopics") {
		return nil
	}
	at := map[string]int{}
	err := body.whole(func(token string) (string, error) {
		out, err := ask[sns.ListTopicsResponse](v, "sns", "ListTopics", &sns.ListTopicsInput{NextToken: token})
		if err != nil {
			return "", err
		}
		for _, t := range out.Topics {
			at[t.TopicArn] = len(body.Topics)
			body.Topics = append(body.Topics, topicRow{Name: lastPart(t.TopicArn), Arn: t.TopicArn})
		}
		return out.NextToken, nil
	})
	if e, no := refused(err); no {
		body.Hidden = append(body.Hidden, "Topics are not shown. "+e.Message)
		return nil
	}
	if err != nil {
		return err
	}
	err = body.whole(func(token string) (string, error) {
		out, err := ask[sns.ListSubscriptionsResponse](v, "sns", "ListSubscriptions", &sns.ListSubscriptionsInput{NextToken: token})
		if err != nil {
			return "", err
		}
		for _, s := range out.Subscriptions {
			body.Subscriptions = append(body.Subscriptions, subscriptionRow{s, lastPart(s.TopicArn), !strings.HasPrefix(s.SubscriptionArn, "arn:")})
			if i, ok := at[s.TopicArn]; ok {
				body.Topics[i].Subscriptions++
			}
		}
		return out.NextToken, nil
	})
	if e, no := refused(err); no {
		body.Hidden = append(body.Hidden, "Subscriptions are not shown. "+e.Message)
		return nil
	}
	return err
}

// whole asks for one page after the other, and notes whether that was not all.
func (b *notificationsBody) whole(page func(token string) (next string, err error)) (err error) {
	token := ""
	for range topicPages {
		if token, err = page(token); err != nil || token == "" {
			return err
		}
	}
	b.More = true
	return nil
}
