package sns

import (
	"context"
	"maps"
	"strconv"

	api "clary/internal/api/sns"
	"clary/internal/aws/op"
	"clary/internal/outbox"
	"clary/internal/resource"
	"clary/internal/store"
)

// set checks an attribute and keeps it.
func (x *subscription) set(name, value string) error {
	switch name {
	case "RawMessageDelivery":
		if value != "true" && value != "false" && value != "" {
			return invalid("Attributes Reason: RawMessageDelivery: Invalid value [%s]. Must be true or false.", value)
		}
		if value == "true" && !x.web() {
			return invalid("Attributes Reason: Delivery protocol [%s] does not support raw message delivery.", x.Protocol)
		}
		if value == "false" {
			value = ""
		}
	case "FilterPolicy":
		if _, err := readFilter(value); err != nil {
			return err
		}
		if value == "{}" {
			value = ""
		}
	case "FilterPolicyScope":
		if value == "MessageBody" {
			return unsupported("the FilterPolicyScope MessageBody: MessageAttributes alone.")
		}
		if value != "MessageAttributes" && value != "" {
			return invalid("FilterPolicyScope: Invalid value [%s]. Please use either MessageBody or MessageAttributes", value)
		}
	case "DeliveryPolicy":
		if value != "" && !x.web() {
			return invalid("DeliveryPolicy Reason: it is of http and https alone")
		}
		if _, err := subscriptionDelivery(value); err != nil {
			return err
		}
	case "RedrivePolicy", "SubscriptionRoleArn", "ReplayPolicy":
		if value != "" {
			return unsupported("the subscription attribute %s.", name)
		}
	default:
		return invalid("AttributeName")
	}
	if value == "" {
		delete(x.Attributes, name)
		return nil
	}
	x.Attributes[name] = value
	return nil
}

// SetSubscriptionAttributes sets one attribute.
func (s *Service) SetSubscriptionAttributes(ctx context.Context, c op.Call, in *api.SetSubscriptionAttributesInput) (*struct{}, error) {
	return nil, s.store.Update(ctx, func(tx store.Tx) error {
		x, err := findSubscription(tx, c, in.SubscriptionArn)
		if err != nil {
			return err
		}
		x.Attributes = maps.Clone(x.Attributes)
		if err := x.set(in.AttributeName, in.AttributeValue); err != nil {
			return err
		}
		return x.put(tx)
	})
}

// GetSubscriptionAttributes says all of a subscription.
func (s *Service) GetSubscriptionAttributes(ctx context.Context, c op.Call, in *api.GetSubscriptionAttributesInput) (*api.GetSubscriptionAttributesResponse, error) {
	out := map[string]string{}
	err := s.store.View(ctx, func(tx store.Tx) error {
		x, err := findSubscription(tx, c, in.SubscriptionArn)
		if err != nil {
			return err
		}
		out = map[string]string{
			"SubscriptionArn": x.Arn, "TopicArn": x.TopicArn, "Owner": x.Account, "Protocol": x.Protocol, "Endpoint": outbox.Shown(x.Endpoint),
			"PendingConfirmation": strconv.FormatBool(x.Phase == phasePending), "ConfirmationWasAuthenticated": strconv.FormatBool(x.Signed),
			"RawMessageDelivery": "false", "SubscriptionPrincipal": x.By,
		}
		maps.Copy(out, x.Attributes)
		if x.Attributes["FilterPolicy"] != "" {
			out["FilterPolicyScope"] = "MessageAttributes"
		}
		if !x.web() {
			return nil
		}
		t, err := findTopic(tx, c, "TopicArn", x.TopicArn)
		if err != nil {
			return err
		}
		d, err := x.delivery(t)
		if err != nil {
			return err
		}
		out["EffectiveDeliveryPolicy"], err = d.text()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.GetSubscriptionAttributesResponse{Attributes: out}, nil
}

// delivery is the policy that holds for it.
func (x *subscription) delivery(t *topic) (delivery, error) {
	own, err := subscriptionDelivery(x.Attributes["DeliveryPolicy"])
	if err != nil {
		return delivery{}, err
	}
	topics, err := topicDelivery(t.Attributes["DeliveryPolicy"])
	return own.over(topics), err
}

// ListSubscriptions pages through all of the account's.
func (s *Service) ListSubscriptions(ctx context.Context, c op.Call, in *api.ListSubscriptionsInput) (*api.ListSubscriptionsResponse, error) {
	list, next, err := s.subscriptions(ctx, c, "", in.NextToken)
	if err != nil {
		return nil, err
	}
	return &api.ListSubscriptionsResponse{Subscriptions: list, NextToken: next}, nil
}

// ListSubscriptionsByTopic pages through a topic's.
func (s *Service) ListSubscriptionsByTopic(ctx context.Context, c op.Call, in *api.ListSubscriptionsByTopicInput) (*api.ListSubscriptionsByTopicResponse, error) {
	t, err := s.viewTopic(ctx, c, in.TopicArn)
	if err != nil {
		return nil, err
	}
	list, next, err := s.subscriptions(ctx, c, t.UID, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &api.ListSubscriptionsByTopicResponse{Subscriptions: list, NextToken: next}, nil
}

// subscriptions reads a page of them; those that ended are none.
func (s *Service) subscriptions(ctx context.Context, c op.Call, topicUID, token string) ([]api.Subscription, string, error) {
	out := []api.Subscription{}
	q := resource.Query{Account: c.Account, Region: c.Region, Kind: KindSubscription, Parent: topicUID, Token: token}
	for {
		q.Limit = pageSize - len(out)
		recs, next, err := s.store.List(ctx, q)
		if err != nil {
			return nil, "", listed(err)
		}
		for _, r := range recs {
			x, err := readSubscription(r)
			if err != nil {
				return nil, "", err
			}
			one := api.Subscription{SubscriptionArn: x.Arn, Owner: x.Account, Protocol: x.Protocol, Endpoint: outbox.Shown(x.Endpoint), TopicArn: x.TopicArn}
			switch x.Phase {
			case phaseDeleted:
				continue
			case phasePending:
				one.SubscriptionArn = phasePending
			}
			out = append(out, one)
		}
		if q.Token = next; next == "" || len(out) == pageSize {
			return out, next, nil
		}
	}
}
