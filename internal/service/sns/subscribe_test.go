package sns

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/api"
	apisns "clary/internal/api/sns"
	"clary/internal/aws/op"
	"clary/internal/reconcile"
	"clary/internal/resource"
)

func TestSubscribe(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	for protocol, endpoints := range map[string][]string{
		"http": {"", "x", "https://example.com", "http://", "http://exa mple.com/", "http:opaque"}, "https": {"http://example.com"},
		"email": {"", "x", "A <a@example.com>", "a@b@c", "a@example.com\nBcc: b@example.com"}, "email-json": {"x"},
		"sqs": {"arn:aws:sqs:eu-west-1:123456789012:q"}, "lambda": {"x"}, "sms": {"+15555550100"}, "application": {"x"}, "firehose": {"x"}, "": {"x"},
	} {
		for _, e := range endpoints {
			_, err := s.Subscribe(t.Context(), call(), &apisns.SubscribeInput{TopicArn: id, Protocol: protocol, Endpoint: e})
			refused(t, protocol+" "+e, err, "InvalidParameter", "Invalid parameter: ")
		}
	}
	_, err := s.Subscribe(t.Context(), call(), &apisns.SubscribeInput{TopicArn: id + "x", Protocol: "email", Endpoint: "a@example.com"})
	refused(t, "no topic", err, "NotFound", "Topic does not exist")
	out, err := s.Subscribe(t.Context(), call(), &apisns.SubscribeInput{TopicArn: id, Protocol: "email", Endpoint: "a@example.com"})
	if err != nil || out.SubscriptionArn != "pending confirmation" {
		t.Fatalf("%+v %v", out, err)
	}
	x := s.subscribe(t, id, "email", "a@example.com", nil) // too soon to ask again
	if n := len(s.sent(t, "a@example.com")); n != 1 {
		t.Errorf("%d letters", n)
	}
	list, err := s.ListSubscriptionsByTopic(t.Context(), call(), &apisns.ListSubscriptionsByTopicInput{TopicArn: id})
	if err != nil || len(list.Subscriptions) != 1 || list.Subscriptions[0].SubscriptionArn != "PendingConfirmation" {
		t.Errorf("%+v %v", list, err)
	}
	s.confirm(t, id, x)
	s.confirm(t, id, x) // again, by a link that is visited twice
	if again := s.subscribe(t, id, "email", "a@example.com", nil); again != x {
		t.Errorf("%s, then %s", x, again)
	}
	_, err = s.Subscribe(t.Context(), call(), &apisns.SubscribeInput{TopicArn: id, Protocol: "email", Endpoint: "a@example.com", Attributes: map[string]string{"FilterPolicy": `{"a":["b"]}`}})
	refused(t, "other attributes", err, "InvalidParameter", "Subscription already exists with different attributes")
	got, err := s.GetSubscriptionAttributes(t.Context(), call(), &apisns.GetSubscriptionAttributesInput{SubscriptionArn: x})
	if err != nil || got.Attributes["PendingConfirmation"] != "false" || got.Attributes["ConfirmationWasAuthenticated"] != "false" || got.Attributes["Protocol"] != "email" || got.Attributes["Endpoint"] != "a@example.com" {
		t.Errorf("%v %v", got, err)
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		id, other := s.topic(t, "alerts", nil), s.topic(t, "other", nil)
		x := s.subscribe(t, id, "email", "a@example.com", nil)
		token := s.token(t, x)
		by := func(topic, token, lock string, signed bool) error {
			c := nobodys()
			if signed {
				c = call()
			}
			_, err := s.ConfirmSubscription(t.Context(), c, &apisns.ConfirmSubscriptionInput{TopicArn: topic, Token: token, AuthenticateOnUnsubscribe: lock})
			return err
		}
		letter := s.sent(t, "a@example.com")[0]
		if letter.Channel != "email" || !strings.Contains(letter.Body, address+"/?Action=ConfirmSubscription&Token="+token) || letter.Subject != "AWS Notification - Subscription Confirmation" {
			t.Errorf("%+v", letter)
		}
		for _, bad := range []string{"", "x", token[:len(token)-1] + "0", token[:32], strings.Repeat("0", len(token))} {
			if bad != token {
				refused(t, bad, by(id, bad, "", false), "InvalidParameter", "Token")
			}
		}
		refused(t, "another topic's", by(other, token, "", false), "InvalidParameter", "Token")
		refused(t, "locked by nobody", by(id, token, "true", false), "AuthorizationError", "")
		time.Sleep(confirmTime)
		refused(t, "too late", by(id, token, "", false), "InvalidParameter", "Token")
		if _, err := (expiry{s, KindSubscription}).Reconcile(t.Context(), s.key(t, x)); err != nil {
			t.Fatal(err)
		}
		_, err := s.GetSubscriptionAttributes(t.Context(), call(), &apisns.GetSubscriptionAttributesInput{SubscriptionArn: x})
		refused(t, "expired", err, "NotFound", "Subscription does not exist")

		// asked again, but not at once, and not without end
		x = s.subscribe(t, id, "email", "b@example.com", nil)
		token = s.token(t, x)
		for _, want := range []int{1, 2} {
			s.subscribe(t, id, "email", "b@example.com", nil)
			if n := len(s.sent(t, "b@example.com")); n != want {
				t.Errorf("%d letters, want %d", n, want)
			}
			time.Sleep(askAgain)
		}
		if s.token(t, x) != token {
			t.Error("the first letter's link has ended")
		}
		for i := range maxAsked {
			_, err = s.Subscribe(t.Context(), call(), &apisns.SubscribeInput{TopicArn: s.topic(t, "many"+strconv.Itoa(i), nil), Protocol: "email", Endpoint: "b@example.com"})
			if i < maxAsked-2 && err != nil {
				t.Fatal(i, err)
			}
		}
		refused(t, "a flood", err, "Throttled", "b@example.com")

		// asked anew, and confirmed with a key: nobody ends it without one
		x = s.subscribe(t, id, "email", "a@example.com", nil)
		if err := by(id, s.token(t, x), "true", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(confirmTime)
		if r, err := (expiry{s, KindSubscription}).Reconcile(t.Context(), s.key(t, x)); err != nil || r.After != 0 {
			t.Errorf("%+v %v", r, err)
		}
		_, err = s.Unsubscribe(t.Context(), nobodys(), &apisns.UnsubscribeInput{SubscriptionArn: x})
		refused(t, "locked", err, "AuthorizationError", "")
		if _, err := s.Unsubscribe(t.Context(), call(), &apisns.UnsubscribeInput{SubscriptionArn: x}); err != nil {
			t.Error(err)
		}
		_, err = s.GetSubscriptionAttributes(t.Context(), call(), &apisns.GetSubscriptionAttributesInput{SubscriptionArn: x})
		refused(t, "ended", err, "NotFound", "")
	})
}

func (s *Service) key(t *testing.T, id string) resource.Key {
	t.Helper()
	recs, _, err := s.store.List(t.Context(), resource.Query{Account: account, Region: region, Kind: KindSubscription})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		if r.Arn == id {
			return r.Key
		}
	}
	t.Fatalf("no %s", id)
	return resource.Key{}
}

// TestUnsubscribeByLink: the receiver may end it without a key, is told so, and
// may take it up again.
func TestUnsubscribeByLink(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	x := s.subscribe(t, id, "email", "a@example.com", nil)
	_, err := s.Unsubscribe(t.Context(), nobodys(), &apisns.UnsubscribeInput{SubscriptionArn: x})
	refused(t, "one that is not confirmed", err, "AuthorizationError", "")
	s.confirm(t, id, x)
	old := s.token(t, x)
	for range 2 {
		if _, err := s.Unsubscribe(t.Context(), nobodys(), &apisns.UnsubscribeInput{SubscriptionArn: x}); err != nil {
			t.Fatal(err)
		}
	}
	all := s.sent(t, "a@example.com")
	if len(all) != 2 || all[1].Subject != "AWS Notification - Unsubscribe Confirmation" {
		t.Fatalf("%+v", all)
	}
	_, err = s.ConfirmSubscription(t.Context(), nobodys(), &apisns.ConfirmSubscriptionInput{TopicArn: id, Token: old})
	refused(t, "the invitation's link", err, "InvalidParameter", "Token")
	list, err := s.ListSubscriptions(t.Context(), call(), &apisns.ListSubscriptionsInput{})
	if err != nil || len(list.Subscriptions) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	s.publish(t, apisns.PublishInput{TopicArn: id, Message: "m"})
	if n := len(s.sent(t, "a@example.com")); n != 2 {
		t.Errorf("%d letters after the end", n)
	}
	s.confirm(t, id, x) // by the farewell's link
	s.publish(t, apisns.PublishInput{TopicArn: id, Message: "m"})
	if n := len(s.sent(t, "a@example.com")); n != 3 {
		t.Errorf("%d letters", n)
	}
	if _, err := s.Unsubscribe(t.Context(), call(), &apisns.UnsubscribeInput{SubscriptionArn: id + ":11111111-1111-4111-8111-111111111111"}); err != nil {
		t.Errorf("one that is not there: %v", err)
	}
	_, err = s.Unsubscribe(t.Context(), call(), &apisns.UnsubscribeInput{SubscriptionArn: "PendingConfirmation"})
	refused(t, "no ARN", err, "InvalidParameter", "An ARN must have at least 7 elements, not 1")
}

func TestDeleteTopic(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	x := s.subscribe(t, id, "http", "http://a.example.com/", nil)
	s.confirm(t, id, x)
	for range 2 {
		if _, err := s.DeleteTopic(t.Context(), call(), &apisns.DeleteTopicInput{TopicArn: id}); err != nil {
			t.Fatal(err)
		}
	}
	// one of the name that is made before the rest is cleared has nothing of it
	if again := s.topic(t, "alerts", nil); again != id {
		t.Fatal(again)
	}
	s.publish(t, apisns.PublishInput{TopicArn: id, Message: "m"})
	if n := len(s.sent(t, "http://a.example.com/")); n != 1 {
		t.Errorf("%d deliveries", n)
	}
	recs, _, err := s.store.List(t.Context(), resource.Query{Account: account, Region: region, Kind: kindRemains})
	if err != nil || len(recs) != 1 {
		t.Fatalf("%d, %v", len(recs), err)
	}
	if _, err := (remains{s}).Reconcile(t.Context(), recs[0].Key); err != nil {
		t.Fatal(err)
	}
	list, err := s.ListSubscriptions(t.Context(), call(), &apisns.ListSubscriptionsInput{})
	if err != nil || len(list.Subscriptions) != 0 {
		t.Errorf("%+v %v", list, err)
	}
}

func TestSubscriptionAttributes(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", map[string]string{"DeliveryPolicy": `{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":5,"maxDelayTarget":10,"numRetries":4}}}`})
	web, mail := s.subscribe(t, id, "http", "http://a.example.com/", nil), s.subscribe(t, id, "email", "a@example.com", nil)
	set := func(x, name, value string) error {
		_, err := s.SetSubscriptionAttributes(t.Context(), call(), &apisns.SetSubscriptionAttributesInput{SubscriptionArn: x, AttributeName: name, AttributeValue: value})
		return err
	}
	refused(t, "raw letters", set(mail, "RawMessageDelivery", "true"), "InvalidParameter", "does not support raw message delivery")
	refused(t, "not a truth value", set(web, "RawMessageDelivery", "yes"), "InvalidParameter", "Invalid value [yes]")
	refused(t, "scope", set(web, "FilterPolicyScope", "MessageBody"), "InvalidParameter", "Clary does not support")
	refused(t, "filter", set(web, "FilterPolicy", "{"), "InvalidParameter", "FilterPolicy")
	refused(t, "queue", set(web, "RedrivePolicy", "{}"), "InvalidParameter", "Clary does not support")
	refused(t, "unknown", set(web, "Colour", "red"), "InvalidParameter", "AttributeName")
	refused(t, "policy of mail", set(mail, "DeliveryPolicy", `{"healthyRetryPolicy":{"numRetries":1}}`), "InvalidParameter", "http")
	refused(t, "absent", set(id+":11111111-1111-4111-8111-111111111111", "FilterPolicy", "{}"), "NotFound", "Subscription does not exist")
	effective := func() string {
		got, err := s.GetSubscriptionAttributes(t.Context(), call(), &apisns.GetSubscriptionAttributesInput{SubscriptionArn: web})
		if err != nil {
			t.Fatal(err)
		}
		return got.Attributes["EffectiveDeliveryPolicy"]
	}
	if p := effective(); !strings.Contains(p, `"numRetries":4`) {
		t.Errorf("the topic's: %s", p)
	}
	if err := set(web, "DeliveryPolicy", `{"healthyRetryPolicy":{"numRetries":1},"requestPolicy":{"headerContentType":"application/json"}}`); err != nil {
		t.Fatal(err)
	}
	if p := effective(); !strings.Contains(p, `"numRetries":1`) || !strings.Contains(p, "application/json") {
		t.Errorf("its own: %s", p)
	}
	s.confirm(t, id, web)
	s.publish(t, apisns.PublishInput{TopicArn: id, Message: "m"})
	all := s.sent(t, "http://a.example.com/")
	if d := all[len(all)-1]; d.Headers["Content-Type"] != "application/json" || d.Retry == nil || d.Retry.Backoff != 1 {
		t.Errorf("%+v", d)
	}
}

func TestDeliveryPolicies(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"http":{"defaultHealthyRetryPolicy":{"numRetries":101}}}`:                                          "between 0 and 100",
		`{"http":{"defaultHealthyRetryPolicy":{"numRetries":-1}}}`:                                           "between 0 and 100",
		`{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":30,"maxDelayTarget":20,"numRetries":1}}}`:    "minDelayTarget",
		`{"http":{"defaultHealthyRetryPolicy":{"maxDelayTarget":3601,"numRetries":1}}}`:                      "maxDelayTarget",
		`{"http":{"defaultHealthyRetryPolicy":{"numRetries":2,"numNoDelayRetries":3}}}`:                      "sum of",
		`{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":100,"maxDelayTarget":100,"numRetries":37}}}`: "3600",
		`{"http":{"defaultHealthyRetryPolicy":{"backoffFunction":"random","numRetries":1}}}`:                 "backoffFunction",
		`{"http":{"defaultThrottlePolicy":{"maxReceivesPerSecond":1}}}`:                                      "throttlePolicy",
		`{"http":{"defaultRequestPolicy":{"headerContentType":"image/png"}}}`:                                "headerContentType",
		`{"http":{"colour":1}}`: "parse", `[`: "parse",
		"": "", `{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":1,"maxDelayTarget":60,"numRetries":50,"numNoDelayRetries":3,"numMinDelayRetries":2,"numMaxDelayRetries":35,"backoffFunction":"exponential"},"disableSubscriptionOverrides":true}}`: "",
	} {
		d, err := topicDelivery(text)
		if want != "" {
			refused(t, text, err, "InvalidParameter", want)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if text != "" {
			own, err := subscriptionDelivery(`{"healthyRetryPolicy":{"numRetries":1}}`)
			if r := own.over(d).retry.retry(); err != nil || r.AtOnce != 3 || r.Before != 2 || r.Backoff != 10 || r.After != 35 || r.Min != 1 || r.Max != 60 {
				t.Errorf("%+v %v", r, err)
			}
		}
	}
}

// TestWhoSubscribed: what is not subscribed with the account's own key is
// delivered under the rules of tasks, the invitation first; and the password
// in an address is not shown.
func TestWhoSubscribed(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	role := call()
	role.Principal = resource.Principal{Account: account, Arn: "arn:aws:sts::123456789012:assumed-role/R/task", RoleArn: "arn:aws:iam::123456789012:role/R"}
	inTask := call()
	inTask.FromTask = true
	for name, c := range map[string]op.Call{"role": role, "task": inTask, "account": call()} {
		to := "http://u:secret@" + name + ".example.com/"
		out, err := s.Subscribe(t.Context(), c, &apisns.SubscribeInput{TopicArn: id, Protocol: "http", Endpoint: to, ReturnSubscriptionArn: api.Ptr(true)})
		if err != nil {
			t.Fatal(err)
		}
		s.confirm(t, id, out.SubscriptionArn)
		s.publish(t, apisns.PublishInput{TopicArn: id, Message: name})
		for _, d := range s.sent(t, to) {
			if d.Strict != (name != "account") {
				t.Errorf("%s: %+v", name, d)
			}
		}
	}
	list, err := s.ListSubscriptions(t.Context(), call(), &apisns.ListSubscriptionsInput{})
	if err != nil || len(list.Subscriptions) != 3 {
		t.Fatalf("%+v %v", list, err)
	}
	for _, x := range list.Subscriptions {
		if strings.Contains(x.Endpoint, "secret") {
			t.Error(x.Endpoint)
		}
	}
}

// TestOwn: the account makes its own what somebody else asked for first, whose
// invitation may not have got there; nobody takes it from the account.
func TestOwn(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	role := call()
	role.Principal = resource.Principal{Account: account, Arn: "arn:aws:sts::123456789012:assumed-role/R/task", RoleArn: "arn:aws:iam::123456789012:role/R"}
	const to = "http://127.0.0.1:8080/"
	strict := func() (all []bool) {
		for _, d := range s.sent(t, to) {
			all = append(all, d.Strict)
		}
		return all
	}
	var x string
	for i, step := range []struct {
		by    op.Call
		asked []bool // so far
	}{{role, []bool{true}}, {role, []bool{true}}, {call(), []bool{true, false}}, {call(), []bool{true, false}}, {role, []bool{true, false}}} {
		out, err := s.Subscribe(t.Context(), step.by, &apisns.SubscribeInput{TopicArn: id, Protocol: "http", Endpoint: to, ReturnSubscriptionArn: api.Ptr(true)})
		if err != nil {
			t.Fatal(err)
		}
		if x = out.SubscriptionArn; !slices.Equal(strict(), step.asked) {
			t.Errorf("%d: invitations %v, want %v", i, strict(), step.asked)
		}
	}
	s.confirm(t, id, x)
	s.publish(t, apisns.PublishInput{TopicArn: id, Message: "m"})
	if all := strict(); !slices.Equal(all, []bool{true, false, false}) {
		t.Errorf("%v", all)
	}
}

// TestAskedForgotten: the count of an address's invitations lasts for its day.
func TestAskedForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.subscribe(t, s.topic(t, "one", nil), "email", "a@example.com", nil)
		asked := func() []*resource.Record {
			recs, _, err := s.store.List(t.Context(), resource.Query{Account: account, Kind: kindAsked})
			if err != nil {
				t.Fatal(err)
			}
			return recs
		}
		look := func() {
			for _, r := range asked() {
				if _, err := (expiry{s, kindAsked}).Reconcile(t.Context(), r.Key); err != nil {
					t.Fatal(err)
				}
			}
		}
		first := asked()
		if len(first) != 1 || first[0].Due.IsZero() {
			t.Fatalf("%+v", first) // nothing would look at it
		}
		time.Sleep(askDay - time.Minute)
		s.subscribe(t, s.topic(t, "two", nil), "email", "a@example.com", nil)
		if look(); len(asked()) != 1 {
			t.Error("forgotten within its day")
		}
		time.Sleep(time.Minute)
		if look(); len(asked()) != 0 {
			t.Error("kept after its day")
		}
		all := s.Reconcilers()
		if !slices.ContainsFunc(all, func(r reconcile.Reconciler) bool { return r.Kind() == kindAsked }) {
			t.Error("nothing looks at the counts")
		}
	})
}
