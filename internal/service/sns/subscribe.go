package sns

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"clary/internal/api"
	apisns "clary/internal/api/sns"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/outbox"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
)

// Phases of a subscription. One that its receiver ended can be taken up again
// for as long as one can be confirmed.
const (
	phasePending   = "PendingConfirmation"
	phaseConfirmed = "Confirmed"
	phaseDeleted   = "Deleted"
)

// confirmTime is how long a subscription may wait for its confirmation
// (https://aws.amazon.com/about-aws/whats-new/2023/05/amazon-sns-automatic-deletion-unconfirmed-subscriptions/).
const confirmTime = 48 * time.Hour

// Bounds of invitations.
const (
	askAgain = 5 * time.Minute
	askDay   = 24 * time.Hour
	maxAsked = 50 // a day, of one address
)

// subscriptionSpec is a subscription's spec.
type subscriptionSpec struct {
	TopicArn, Protocol, Endpoint string
	By                           string // who subscribed
	Strict                       bool   `json:",omitzero"` // not the account itself
	Attributes                   map[string]string
}

// subscriptionStatus is what we keep beside it.
type subscriptionStatus struct {
	V      int       `json:"v"`
	Token  string    `json:"token"`
	Asked  int       `json:"asked"`           // how often the receiver was asked
	At     time.Time `json:"at"`              // when, last
	Signed bool      `json:"signed,omitzero"` // the confirmation was
	Locked bool      `json:"locked,omitzero"` // AuthenticateOnUnsubscribe
}

// subscription is a record with what it says.
type subscription struct {
	*resource.Record
	subscriptionSpec
	subscriptionStatus
}

func readSubscription(r *resource.Record) (*subscription, error) {
	spec, err := resource.As[subscriptionSpec](r.Spec)
	if err != nil {
		return nil, fmt.Errorf("subscription %s: %w", r.Arn, err)
	}
	st, err := resource.As[subscriptionStatus](r.Status)
	if err != nil {
		return nil, fmt.Errorf("subscription %s: %w", r.Arn, err)
	}
	if spec.Attributes == nil {
		spec.Attributes = map[string]string{}
	}
	return &subscription{r, *spec, *st}, nil
}

func (x *subscription) put(tx store.Tx) error {
	return put(tx, x.Record, x.subscriptionSpec, x.subscriptionStatus)
}

func (x *subscription) web() bool { return x.Protocol == "http" || x.Protocol == "https" }

// subscriptionName is the name of the only subscription that an endpoint has
// to a topic.
func subscriptionName(t *topic, protocol, endpoint string) string {
	sum := sha256.Sum256([]byte(t.UID + "\n" + protocol + "\n" + endpoint))
	return hex.EncodeToString(sum[:16])
}

func subscriptionKey(account, region, name string) resource.Key {
	return resource.Key{Account: account, Region: region, Kind: KindSubscription, Name: name}
}

// Subscribe makes a subscription and asks its endpoint to confirm it. The same
// once more asks again, or is answered with the confirmed one.
func (s *Service) Subscribe(ctx context.Context, c op.Call, in *apisns.SubscribeInput) (*apisns.SubscribeResponse, error) {
	if err := s.checkEndpoint(in.Protocol, in.Endpoint); err != nil {
		return nil, err
	}
	var x *subscription
	id, uid, now := newUUID(), resource.NewUID(), time.Now()
	err := s.store.Update(ctx, func(tx store.Tx) error {
		t, err := findTopic(tx, c, "TopicArn", in.TopicArn)
		if err != nil {
			return err
		}
		k := subscriptionKey(c.Account, c.Region, subscriptionName(t, in.Protocol, in.Endpoint))
		x = &subscription{
			&resource.Record{Key: k, UID: uid, Arn: t.Arn + ":" + id, Parent: t.UID, Created: now},
			subscriptionSpec{t.Arn, in.Protocol, in.Endpoint, c.Principal.Arn, !c.Principal.Root || c.FromTask, map[string]string{}},
			subscriptionStatus{V: 1},
		}
		for name, v := range in.Attributes {
			if err := x.set(name, v); err != nil {
				return err
			}
		}
		old, err := tx.Get(k)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil {
			had, err := readSubscription(old)
			if err != nil {
				return err
			}
			if had.Phase == phaseConfirmed {
				if len(in.Attributes) > 0 && !maps.EqualFunc(had.Attributes, x.Attributes, alike) {
					return invalid("Attributes Reason: Subscription already exists with different attributes")
				}
				x = had
				return nil
			}
			had.Attributes = x.Attributes
			if had.Strict && !x.Strict {
				// The account makes it its own; what asked before may not have
				// reached the endpoint.
				had.By, had.Strict, had.At = x.By, false, time.Time{}
			}
			x = had
		}
		return s.invite(tx, x, t, now)
	})
	if err != nil {
		return nil, err
	}
	out := &apisns.SubscribeResponse{SubscriptionArn: x.Arn}
	if x.Phase != phaseConfirmed && !api.Value(in.ReturnSubscriptionArn) {
		out.SubscriptionArn = "pending confirmation"
	}
	return out, nil
}

// invite asks the endpoint to confirm, within confirmTime from now. What it was
// asked by before holds as well.
func (s *Service) invite(tx store.Tx, x *subscription, t *topic, now time.Time) error {
	if x.Phase == phasePending && now.Sub(x.At) < askAgain {
		return x.put(tx) // it has been asked just now
	}
	if err := s.bound(tx, x, now); err != nil {
		return err
	}
	x.Phase, x.Due, x.At = phasePending, now.Add(confirmTime), now
	x.Asked++
	if x.Token == "" {
		x.Token = newToken(x.Name)
	}
	d, err := s.invitation(x, t, now)
	if err != nil {
		return err
	}
	if err := outbox.Send(tx, x.Account, x.Region, fmt.Sprintf("%s-invitation-%d", x.UID, x.Asked), *d, now); err != nil {
		return err
	}
	return x.put(tx)
}

// asked is how often an address was asked to confirm something, on a day: nobody
// is to be flooded with invitations.
type asked struct {
	V     int       `json:"v"`
	Since time.Time `json:"since"`
	Times int       `json:"times"`
}

// bound counts an invitation, and refuses it where there were too many.
func (*Service) bound(tx store.Tx, x *subscription, now time.Time) error {
	sum := sha256.Sum256([]byte(x.Endpoint))
	k := resource.Key{Account: x.Account, Kind: kindAsked, Name: hex.EncodeToString(sum[:16])}
	r, err := tx.Get(k)
	if errors.Is(err, store.ErrNotFound) {
		r, err = &resource.Record{Key: k, UID: resource.NewUID(), Phase: "Active", Created: now}, nil
	}
	if err != nil {
		return err
	}
	a, err := resource.As[asked](r.Status)
	if err != nil {
		return err
	}
	if now.Sub(a.Since) > askDay {
		*a = asked{V: 1, Since: now}
	}
	if a.Times++; a.Times > maxAsked {
		return fault(http.StatusTooManyRequests, "Throttled", "Rate exceeded: %s has been asked to confirm subscriptions %d times within a day", x.Endpoint, maxAsked)
	}
	r.Due = a.Since.Add(askDay)
	return put(tx, r, struct{}{}, a)
}

// newToken holds the subscription's name, and what nobody guesses.
func newToken(name string) string {
	var b [48]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return name + hex.EncodeToString(b[:])
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return uuid(b)
}

// checkEndpoint holds an endpoint to be one of its protocol.
func (s *Service) checkEndpoint(protocol, endpoint string) error {
	switch protocol {
	case "http", "https":
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != protocol || u.Hostname() == "" || u.Opaque != "" || strings.ContainsFunc(endpoint, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return invalid("Endpoint must match the specified protocol")
		}
		if s.cfg.Reachable != nil {
			if err := s.cfg.Reachable(endpoint); err != nil {
				return invalid("Unreachable Endpoint: %v", err)
			}
		}
	case "email", "email-json":
		if a, err := outbox.Address(endpoint); err != nil || a.Address != endpoint {
			return invalid("Email address")
		}
	default: // sqs, sms, lambda, application and firehose have no service here
		return invalid("Amazon SNS does not support this protocol string: %s", protocol)
	}
	return nil
}

// ConfirmSubscription takes the token that the endpoint was sent.
func (s *Service) ConfirmSubscription(ctx context.Context, c op.Call, in *apisns.ConfirmSubscriptionInput) (*apisns.ConfirmSubscriptionResponse, error) {
	lock := in.AuthenticateOnUnsubscribe == "true"
	if lock && nobody(c) {
		return nil, errNobody("ConfirmSubscription", in.TopicArn)
	}
	var x *subscription
	err := s.store.Update(ctx, func(tx store.Tx) error {
		t, err := findTopic(tx, c, "TopicArn", in.TopicArn)
		if err != nil {
			return err
		}
		if x, err = byToken(tx, t, in.Token); err != nil || x.Phase == phaseConfirmed {
			return err
		}
		x.Phase, x.Due = phaseConfirmed, time.Time{}
		x.Signed, x.Locked = !nobody(c), lock
		return x.put(tx)
	})
	if err != nil {
		return nil, err
	}
	return &apisns.ConfirmSubscriptionResponse{SubscriptionArn: x.Arn}, nil
}

// byToken finds the topic's subscription of a token.
func byToken(tx store.Tx, t *topic, token string) (*subscription, error) {
	const name = 32 // characters of it
	if len(token) < name {
		return nil, invalid("Token")
	}
	r, err := tx.Get(subscriptionKey(t.Account, t.Region, token[:name]))
	if errors.Is(err, store.ErrNotFound) {
		return nil, invalid("Token")
	}
	if err != nil {
		return nil, err
	}
	x, err := readSubscription(r)
	if err != nil {
		return nil, err
	}
	if x.Parent != t.UID || subtle.ConstantTimeCompare([]byte(x.Token), []byte(token)) != 1 || x.Phase != phaseConfirmed && !time.Now().Before(x.Due) {
		return nil, invalid("Token")
	}
	return x, nil
}

func errNobody(operation, id string) error {
	return fault(http.StatusForbidden, "AuthorizationError", "User: anonymous is not authorized to perform: SNS:%s on resource: %s", operation, id)
}

// Unsubscribe ends a subscription. Who follows the link in a message may, and
// is told how to take it up again, unless its confirmation said otherwise.
func (s *Service) Unsubscribe(ctx context.Context, c op.Call, in *apisns.UnsubscribeInput) (*struct{}, error) {
	if _, err := parse(c, "SubscriptionArn", in.SubscriptionArn, 7); err != nil {
		return nil, err
	}
	return nil, s.store.Update(ctx, func(tx store.Tx) error {
		x, err := findSubscription(tx, c, in.SubscriptionArn)
		if err != nil {
			if e, ok := errors.AsType[*apierr.Error](err); ok && e.Status == http.StatusNotFound {
				return nil // as good as ended
			}
			return err
		}
		if !nobody(c) {
			return tx.Delete(x.Key)
		}
		if x.Locked || x.Phase != phaseConfirmed {
			return errNobody("Unsubscribe", in.SubscriptionArn)
		}
		now := time.Now()
		x.Phase, x.Due, x.Token = phaseDeleted, now.Add(confirmTime), newToken(x.Name)
		x.Asked++
		t, err := findTopic(tx, c, "TopicArn", x.TopicArn)
		if err != nil {
			return err
		}
		d, err := s.farewell(x, t, now)
		if err != nil {
			return err
		}
		if err := outbox.Send(tx, x.Account, x.Region, fmt.Sprintf("%s-farewell-%d", x.UID, x.Asked), *d, now); err != nil {
			return err
		}
		return x.put(tx)
	})
}

// findSubscription reads the subscription of an ARN.
func findSubscription(tx store.Tx, c op.Call, id string) (*subscription, error) {
	a, err := parse(c, "SubscriptionArn", id, 7)
	if err != nil {
		return nil, err
	}
	r, err := tx.ByArn(id)
	if errors.Is(err, store.ErrNotFound) || err == nil && (r.Kind != KindSubscription || a.Account != c.Account || r.Account != c.Account || r.Phase == phaseDeleted) {
		return nil, errNoSubscription()
	}
	if err != nil {
		return nil, err
	}
	return readSubscription(r)
}

// expiry deletes subscriptions that nobody confirmed, or took up again, in time,
// and the counts of invitations whose day is over.
type expiry struct {
	*Service
	kind resource.Kind
}

// Kind implements reconcile.Reconciler.
func (s expiry) Kind() resource.Kind { return s.kind }

// Reconcile deletes one whose time is over.
func (s expiry) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	var left time.Duration
	err := s.store.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(k)
		if err != nil || r.Phase == phaseConfirmed {
			return err
		}
		if left = time.Until(r.Due); left > 0 {
			return nil
		}
		return tx.Delete(k)
	})
	return reconcile.Result{After: max(left, 0)}, gone(err)
}
