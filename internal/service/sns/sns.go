// Package sns serves Simple Notification Service: topics, subscriptions by
// mail and http(s) with confirmation, and what is published to them.
//
// Publish leaves a publication in the outbox; the reconciler here makes a
// delivery of it for each confirmed subscription whose filter it passes, signed
// as SNS signs, and the outbox's courier takes those to where they go. Budgets
// and alarms leave their publications themselves.
//
// It must never send anything itself, nor anything but a confirmation to an
// address that did not confirm. Start at Operations; fanout.go is the way of a
// message.
package sns

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	api "clary/internal/api/sns"
	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
)

// The kinds of records: a topic, a subscription, and what is left to do of a
// topic that was deleted.
const (
	KindTopic        resource.Kind = "Topic"
	KindSubscription resource.Kind = "Subscription"
	kindRemains      resource.Kind = "TopicRemains"
	kindAsked        resource.Kind = "SubscriberAsked"
)

// Config is what the service is made of.
type Config struct {
	Store  store.Store
	Signer *Signer
	// Address is where receivers reach this server: http://127.0.0.1:2527.
	Address string
	// Reachable refuses an http(s) address that nothing is sent to; nil: none.
	Reachable func(address string) error
}

// Service serves the operations.
type Service struct {
	cfg   Config
	store store.Store
}

// New makes the service.
func New(c Config) *Service { return &Service{c, c.Store} }

// Name is the service's name.
func (*Service) Name() string { return "sns" }

// Reconcilers are what the loop looks at.
func (s *Service) Reconcilers() []reconcile.Reconciler {
	return []reconcile.Reconciler{fanout{s}, expiry{s, KindSubscription}, expiry{s, kindAsked}, remains{s}}
}

// Operations lists what is served.
func (s *Service) Operations() map[string]op.Handler {
	confirm, unsubscribe := op.Op(s.ConfirmSubscription), op.Op(s.Unsubscribe)
	confirm.Open = func(in any) string { return in.(*api.ConfirmSubscriptionInput).TopicArn }    //nolint:forcetypeassert // its own
	unsubscribe.Open = func(in any) string { return in.(*api.UnsubscribeInput).SubscriptionArn } //nolint:forcetypeassert // its own
	return map[string]op.Handler{
		"CreateTopic":               op.Op(s.CreateTopic),
		"DeleteTopic":               op.Op(s.DeleteTopic),
		"ListTopics":                op.Op(s.ListTopics),
		"GetTopicAttributes":        op.Op(s.GetTopicAttributes),
		"SetTopicAttributes":        op.Op(s.SetTopicAttributes),
		"AddPermission":             op.Op(s.AddPermission),
		"RemovePermission":          op.Op(s.RemovePermission),
		"Subscribe":                 op.Op(s.Subscribe),
		"ConfirmSubscription":       confirm,
		"Unsubscribe":               unsubscribe,
		"ListSubscriptions":         op.Op(s.ListSubscriptions),
		"ListSubscriptionsByTopic":  op.Op(s.ListSubscriptionsByTopic),
		"GetSubscriptionAttributes": op.Op(s.GetSubscriptionAttributes),
		"SetSubscriptionAttributes": op.Op(s.SetSubscriptionAttributes),
		"Publish":                   op.On(op.Op(s.Publish), func(_ op.Call, in *api.PublishInput) string { return cmp.Or(in.TopicArn, in.TargetArn, "*") }),
		"PublishBatch":              op.Op(s.PublishBatch).As("sns:Publish"),
		"TagResource":               op.Op(s.TagResource),
		"UntagResource":             op.Op(s.UntagResource),
		"ListTagsForResource":       op.Op(s.ListTagsForResource),
	}
}

// fault is an error of the model's, by its shape's name.
func fault(status int, shape, format string, args ...any) error {
	return apierr.New(status, shape+"Exception", format, args...)
}

func invalid(format string, args ...any) error {
	return fault(http.StatusBadRequest, "InvalidParameter", "Invalid parameter: "+format, args...)
}

func notFound(text string) error { return fault(http.StatusNotFound, "NotFound", "%s", text) }

func errNoTopic() error { return notFound("Topic does not exist") }

func errNoSubscription() error { return notFound("Subscription does not exist") }

func unsupported(format string, args ...any) error {
	return invalid("Clary does not support "+format+" Nothing was changed.", args...)
}

// parse reads the ARN that a member holds: of a topic, or with more parts of a
// subscription.
func parse(c op.Call, member, value string, parts int) (arn.ARN, error) {
	if n := len(strings.Split(value, ":")); n < parts {
		return arn.ARN{}, invalid("%s Reason: An ARN must have at least %d elements, not %d", member, parts, n)
	}
	a, ok := arn.Parse(value)
	if !ok || a.Service != "sns" || a.Region == "" {
		return arn.ARN{}, invalid("%s", member)
	}
	if a.Region != c.Region {
		return arn.ARN{}, invalid("%s Reason: it is of the region %s; the request is for %s", member, a.Region, c.Region)
	}
	return a, nil
}

// nobody says whether a call came without a signature.
func nobody(c op.Call) bool { return c.Principal.Arn == "" }

// put writes a record with its spec and status.
func put(tx store.Tx, r *resource.Record, spec, status any) error {
	var err error
	if r.Spec, err = json.Marshal(spec); err != nil {
		return err
	}
	if status != nil {
		if r.Status, err = json.Marshal(status); err != nil {
			return err
		}
	}
	r.Modified = time.Now()
	return tx.Put(r)
}

// gone makes nothing of a record that is not there.
func gone(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// listed words a page token that is not ours.
func listed(err error) error {
	if errors.Is(err, store.ErrToken) {
		return invalid("NextToken Reason: it is not of an earlier answer")
	}
	return err
}

// uuid writes a record's UID in the form of SNS's identifiers.
func uuid(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
