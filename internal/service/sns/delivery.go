package sns

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/outbox"
)

// Bounds of a delivery policy
// (https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html).
const (
	maxRetries = 100
	maxDelay   = 3600 // seconds, of one wait and of all
	plainText  = "text/plain; charset=UTF-8"
)

// retryPolicy is how http(s) deliveries are tried again.
type retryPolicy struct {
	MinDelayTarget     int    `json:"minDelayTarget"`
	MaxDelayTarget     int    `json:"maxDelayTarget"`
	NumRetries         int    `json:"numRetries"`
	NumMaxDelayRetries int    `json:"numMaxDelayRetries"`
	NumNoDelayRetries  int    `json:"numNoDelayRetries"`
	NumMinDelayRetries int    `json:"numMinDelayRetries"`
	BackoffFunction    string `json:"backoffFunction"`
}

type requestPolicy struct {
	HeaderContentType string `json:"headerContentType"`
}

// delivery is a delivery policy: a topic's, or a subscription's over it.
type delivery struct {
	retry   *retryPolicy
	request *requestPolicy
	closed  bool // subscriptions have none of their own
}

func defaultRetry() retryPolicy {
	return retryPolicy{MinDelayTarget: 20, MaxDelayTarget: 20, NumRetries: 3, BackoffFunction: "linear"}
}

// topicForm is how a topic says it.
type topicForm struct {
	HTTP struct {
		Retry    *retryPolicy   `json:"defaultHealthyRetryPolicy,omitzero"`
		Closed   bool           `json:"disableSubscriptionOverrides"`
		Throttle jsontext.Value `json:"defaultThrottlePolicy,omitzero"`
		Request  *requestPolicy `json:"defaultRequestPolicy,omitzero"`
	} `json:"http"`
}

// subscriptionForm is how a subscription does.
type subscriptionForm struct {
	Retry    *retryPolicy   `json:"healthyRetryPolicy,omitzero"`
	Throttle jsontext.Value `json:"throttlePolicy,omitzero"`
	Request  *requestPolicy `json:"requestPolicy,omitzero"`
}

func topicDelivery(text string) (delivery, error) {
	var f topicForm
	if err := readPolicy(text, &f); err != nil {
		return delivery{}, err
	}
	return delivery{f.HTTP.Retry, f.HTTP.Request, f.HTTP.Closed}, checkDelivery(f.HTTP.Retry, f.HTTP.Throttle, f.HTTP.Request)
}

func subscriptionDelivery(text string) (delivery, error) {
	var f subscriptionForm
	if err := readPolicy(text, &f); err != nil {
		return delivery{}, err
	}
	return delivery{f.Retry, f.Request, false}, checkDelivery(f.Retry, f.Throttle, f.Request)
}

func readPolicy(text string, f any) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), f, json.RejectUnknownMembers(true)); err != nil {
		return invalid("DeliveryPolicy: failed to parse JSON")
	}
	return nil
}

func checkDelivery(p *retryPolicy, throttle jsontext.Value, q *requestPolicy) error {
	if len(throttle) > 0 && string(throttle) != "null" {
		var t struct {
			Max *int `json:"maxReceivesPerSecond"`
		}
		if err := json.Unmarshal(throttle, &t); err != nil || t.Max != nil {
			return unsupported("throttlePolicy.")
		}
	}
	if q != nil && !contentType(q.HeaderContentType) {
		return invalid("DeliveryPolicy: requestPolicy.headerContentType %q is not one that SNS sends", q.HeaderContentType)
	}
	if p == nil {
		return nil
	}
	def := defaultRetry()
	if p.MinDelayTarget == 0 {
		p.MinDelayTarget = def.MinDelayTarget
	}
	if p.MaxDelayTarget == 0 {
		p.MaxDelayTarget = max(def.MaxDelayTarget, p.MinDelayTarget)
	}
	if p.BackoffFunction == "" {
		p.BackoffFunction = def.BackoffFunction
	}
	switch p.BackoffFunction {
	case "linear", "arithmetic", "geometric", "exponential":
	default:
		return invalid("DeliveryPolicy: backoffFunction must be one of linear, arithmetic, geometric, exponential")
	}
	for _, n := range []int{p.NumRetries, p.NumNoDelayRetries, p.NumMinDelayRetries, p.NumMaxDelayRetries} {
		if n < 0 || n > maxRetries {
			return invalid("DeliveryPolicy: numbers of retries must be between 0 and %d", maxRetries)
		}
	}
	switch {
	case p.MinDelayTarget < 1 || p.MaxDelayTarget > maxDelay || p.MinDelayTarget > p.MaxDelayTarget:
		return invalid("DeliveryPolicy: minDelayTarget and maxDelayTarget must be between 1 and %d, the one not over the other", maxDelay)
	case p.NumNoDelayRetries+p.NumMinDelayRetries+p.NumMaxDelayRetries > p.NumRetries:
		return invalid("DeliveryPolicy: numRetries must be greater than or equal to the sum of numNoDelayRetries, numMinDelayRetries and numMaxDelayRetries")
	case p.retry().Total() > maxDelay*time.Second:
		return invalid("DeliveryPolicy: the total of all delays must not be over %d seconds", maxDelay)
	}
	return nil
}

func contentType(s string) bool {
	switch s {
	case "", plainText, "text/plain", "text/css", "text/csv", "text/html", "text/xml", "application/json", "application/xml", "application/octet-stream",
		"application/soap+xml", "application/x-www-form-urlencoded", "application/atom+xml":
		return true
	}
	return false
}

func (p retryPolicy) retry() outbox.Retry {
	return outbox.Retry{
		AtOnce: p.NumNoDelayRetries, Before: p.NumMinDelayRetries, After: p.NumMaxDelayRetries,
		Backoff: p.NumRetries - p.NumNoDelayRetries - p.NumMinDelayRetries - p.NumMaxDelayRetries,
		Min:     p.MinDelayTarget, Max: p.MaxDelayTarget, Function: p.BackoffFunction,
	}
}

// over is what holds for a subscription to a topic of policy t.
func (d delivery) over(t delivery) delivery {
	out := delivery{d.retry, d.request, t.closed}
	if t.closed || out.retry == nil {
		out.retry = t.retry
	}
	if t.closed || out.request == nil {
		out.request = t.request
	}
	return out.whole()
}

// whole has the defaults where it says nothing.
func (d delivery) whole() delivery {
	if d.retry == nil {
		r := defaultRetry()
		d.retry = &r
	}
	if d.request == nil || d.request.HeaderContentType == "" {
		d.request = &requestPolicy{plainText}
	}
	return d
}

// topicText is a topic's EffectiveDeliveryPolicy.
func (d delivery) topicText() (string, error) {
	var f topicForm
	w := d.whole()
	f.HTTP.Retry, f.HTTP.Closed, f.HTTP.Request = w.retry, w.closed, w.request
	b, err := json.Marshal(f)
	return string(b), err
}

// text is a subscription's.
func (d delivery) text() (string, error) {
	b, err := json.Marshal(subscriptionForm{Retry: d.retry, Request: d.request})
	return string(b), err
}
