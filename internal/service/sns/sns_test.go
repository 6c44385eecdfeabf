package sns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clary/internal/api"
	apisns "clary/internal/api/sns"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/outbox"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const (
	account = "123456789012"
	region  = "eu-west-1"
	address = "http://127.0.0.1:2527"
)

func call() op.Call {
	return op.Call{Account: account, Region: region, Principal: resource.Principal{Account: account, Arn: "arn:aws:iam::123456789012:root", Root: true}}
}

// nobodys is a call by a link.
func nobodys() op.Call { return op.Call{Account: account, Region: region} }

func serve(t *testing.T) *Service {
	t.Helper()
	dir := t.TempDir()
	db, err := sqlite.Open(filepath.Join(dir, "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	signer, err := OpenSigner(dir)
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Store: db, Signer: signer, Address: address})
}

// refused holds an error to be of a code, on the wire's spelling, and a text.
func refused(t *testing.T, what string, err error, code, text string) {
	t.Helper()
	e, ok := errors.AsType[*apierr.Error](err)
	if !ok || strings.TrimSuffix(e.Code, "Exception") != code || !strings.Contains(e.Message, text) {
		t.Errorf("%s: %v, want %s: %s", what, err, code, text)
	}
}

func (s *Service) topic(t *testing.T, name string, attributes map[string]string) string {
	t.Helper()
	out, err := s.CreateTopic(t.Context(), call(), &apisns.CreateTopicInput{Name: name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return out.TopicArn
}

func (s *Service) subscribe(t *testing.T, topic, protocol, endpoint string, attributes map[string]string) string {
	t.Helper()
	out, err := s.Subscribe(t.Context(), call(), &apisns.SubscribeInput{TopicArn: topic, Protocol: protocol, Endpoint: endpoint, Attributes: attributes, ReturnSubscriptionArn: api.Ptr(true)})
	if err != nil {
		t.Fatal(err)
	}
	return out.SubscriptionArn
}

// sent are all deliveries, by whom they go to; the oldest first.
func (s *Service) sent(t *testing.T, to string) (out []*outbox.Delivery) {
	t.Helper()
	recs, _, err := s.store.List(t.Context(), resource.Query{Account: account, Region: region, Kind: outbox.KindDelivery, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		d, err := resource.As[outbox.Delivery](r.Spec)
		if err != nil {
			t.Fatal(err)
		}
		if d.To == to {
			out = append(out, d)
		}
	}
	return out
}

// token is that of a subscription.
func (s *Service) token(t *testing.T, id string) (token string) {
	t.Helper()
	if err := s.store.View(t.Context(), func(tx store.Tx) error {
		r, err := tx.ByArn(id)
		if err != nil {
			return err
		}
		x, err := readSubscription(r)
		token = x.Token
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return token
}

func (s *Service) confirm(t *testing.T, topic, id string) {
	t.Helper()
	out, err := s.ConfirmSubscription(t.Context(), nobodys(), &apisns.ConfirmSubscriptionInput{TopicArn: topic, Token: s.token(t, id)})
	if err != nil || out.SubscriptionArn != id {
		t.Fatalf("%+v, %v", out, err)
	}
}

// settle makes deliveries of all that was published.
func (s *Service) settle(t *testing.T) {
	t.Helper()
	recs, _, err := s.store.List(t.Context(), resource.Query{Kind: outbox.KindPublication, Phase: outbox.PhasePending, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		if _, err := (fanout{s}).Reconcile(t.Context(), r.Key); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *Service) publish(t *testing.T, in apisns.PublishInput) string {
	t.Helper()
	out, err := s.Publish(t.Context(), call(), &in)
	if err != nil {
		t.Fatal(err)
	}
	s.settle(t)
	return out.MessageId
}

func TestTopics(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", map[string]string{"DisplayName": "Alerts"})
	if id != "arn:aws:sns:eu-west-1:123456789012:alerts" {
		t.Error(id)
	}
	if again := s.topic(t, "alerts", nil); again != id {
		t.Error(again)
	}
	s.topic(t, "alerts", map[string]string{"DisplayName": "Alerts", "Policy": " " + defaultPolicy(id, account)})
	create := func(in apisns.CreateTopicInput) error {
		_, err := s.CreateTopic(t.Context(), call(), &in)
		return err
	}
	refused(t, "other attributes", create(apisns.CreateTopicInput{Name: "alerts", Attributes: map[string]string{"DisplayName": "Other"}}), "InvalidParameter", "Topic already exists with different attributes")
	refused(t, "other tags", create(apisns.CreateTopicInput{Name: "alerts", Tags: []apisns.Tag{{Key: "a", Value: "b"}}}), "InvalidParameter", "Topic already exists with different tags")
	refused(t, "a name", create(apisns.CreateTopicInput{Name: "a b"}), "InvalidParameter", "Invalid parameter: Topic Name")
	refused(t, "a long name", create(apisns.CreateTopicInput{Name: strings.Repeat("a", 257)}), "InvalidParameter", "Topic Name")
	refused(t, "FIFO", create(apisns.CreateTopicInput{Name: "a.fifo"}), "InvalidParameter", "Clary does not support FIFO topics")
	refused(t, "FIFO by attribute", create(apisns.CreateTopicInput{Name: "a", Attributes: map[string]string{"FifoTopic": "true"}}), "InvalidParameter", "FIFO")
	refused(t, "an attribute", create(apisns.CreateTopicInput{Name: "a", Attributes: map[string]string{"Colour": "red"}}), "InvalidParameter", "AttributeName")
	set := func(name, value string) error {
		_, err := s.SetTopicAttributes(t.Context(), call(), &apisns.SetTopicAttributesInput{TopicArn: id, AttributeName: name, AttributeValue: value})
		return err
	}
	for name, value := range map[string]string{"SignatureVersion": "3", "Policy": "{}", "DeliveryPolicy": "{", "TracingConfig": "Active", "KmsMasterKeyId": "alias/x", "HTTPSuccessFeedbackRoleArn": "x", "DisplayName": strings.Repeat("x", 101)} {
		refused(t, name, set(name, value), "InvalidParameter", "")
	}
	if err := errors.Join(set("SignatureVersion", "2"), set("DisplayName", "")); err != nil {
		t.Error(err)
	}
	out, err := s.GetTopicAttributes(t.Context(), call(), &apisns.GetTopicAttributesInput{TopicArn: id})
	if err != nil || out.Attributes["SignatureVersion"] != "2" || out.Attributes["DisplayName"] != "" || out.Attributes["Owner"] != account || out.Attributes["SubscriptionsConfirmed"] != "0" ||
		!strings.Contains(out.Attributes["EffectiveDeliveryPolicy"], `"numRetries":3`) || !strings.Contains(out.Attributes["Policy"], "__default_policy_ID") {
		t.Errorf("%v %v", out, err)
	}
	for arn, want := range map[string]string{
		id + "x": "NotFound", "alerts": "InvalidParameter", "arn:aws:sqs:eu-west-1:123456789012:alerts": "InvalidParameter",
		"arn:aws:sns:us-east-1:123456789012:alerts": "InvalidParameter", "arn:aws:sns:eu-west-1:999999999999:alerts": "NotFound",
	} {
		_, err := s.GetTopicAttributes(t.Context(), call(), &apisns.GetTopicAttributesInput{TopicArn: arn})
		refused(t, arn, err, want, "")
	}
	for i := range 150 {
		s.topic(t, fmt.Sprintf("t%03d", i), nil)
	}
	one, err := s.ListTopics(t.Context(), call(), &apisns.ListTopicsInput{})
	if err != nil || len(one.Topics) != 100 || one.NextToken == "" {
		t.Fatalf("%d topics, %v", len(one.Topics), err)
	}
	two, err := s.ListTopics(t.Context(), call(), &apisns.ListTopicsInput{NextToken: one.NextToken})
	if err != nil || len(two.Topics) != 51 || two.NextToken != "" {
		t.Errorf("%d topics, %v", len(two.Topics), err)
	}
	_, err = s.ListTopics(t.Context(), call(), &apisns.ListTopicsInput{NextToken: "x"})
	refused(t, "a token", err, "InvalidParameter", "NextToken")
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	add := func(label, action string) error {
		_, err := s.AddPermission(t.Context(), call(), &apisns.AddPermissionInput{TopicArn: id, Label: label, AWSAccountId: []string{"999999999999"}, ActionName: []string{action}})
		return err
	}
	if err := add("other", "Publish"); err != nil {
		t.Fatal(err)
	}
	refused(t, "twice", add("other", "Publish"), "InvalidParameter", "Statement already exists")
	refused(t, "an action", add("x", "DeleteEverything"), "InvalidParameter", "out of service scope")
	policy := func() string {
		out, err := s.GetTopicAttributes(t.Context(), call(), &apisns.GetTopicAttributesInput{TopicArn: id})
		if err != nil {
			t.Fatal(err)
		}
		return out.Attributes["Policy"]
	}
	if p := policy(); !strings.Contains(p, `"arn:aws:iam::999999999999:root"`) || !strings.Contains(p, "__default_statement_ID") {
		t.Error(p)
	}
	remove := func() error {
		_, err := s.RemovePermission(t.Context(), call(), &apisns.RemovePermissionInput{TopicArn: id, Label: "other"})
		return err
	}
	if err := remove(); err != nil || policy() != defaultPolicy(id, account) && !alike(policy(), defaultPolicy(id, account)) {
		t.Error(err, policy())
	}
	refused(t, "again", remove(), "NotFound", "")
}

func TestTags(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	tag := func(to string, tags ...apisns.Tag) error {
		_, err := s.TagResource(t.Context(), call(), &apisns.TagResourceRequest{ResourceArn: to, Tags: tags})
		return err
	}
	if err := tag(id, apisns.Tag{Key: "b", Value: "2"}, apisns.Tag{Key: "a", Value: "1"}); err != nil {
		t.Fatal(err)
	}
	refused(t, "twice", tag(id, apisns.Tag{Key: "b"}, apisns.Tag{Key: "b"}), "InvalidParameter", "Duplicated keys")
	refused(t, "aws:", tag(id, apisns.Tag{Key: "aws:b"}), "InvalidParameter", "reserved")
	refused(t, "nothing", tag(id+"x", apisns.Tag{Key: "b"}), "ResourceNotFound", "Resource does not exist")
	var many []apisns.Tag
	for i := range 49 {
		many = append(many, apisns.Tag{Key: fmt.Sprint(i)})
	}
	refused(t, "51", tag(id, many...), "TagLimitExceeded", "")
	if _, err := s.UntagResource(t.Context(), call(), &apisns.UntagResourceRequest{ResourceArn: id, TagKeys: []string{"b", "c"}}); err != nil {
		t.Error(err)
	}
	out, err := s.ListTagsForResource(t.Context(), call(), &apisns.ListTagsForResourceRequest{ResourceArn: id})
	if err != nil || !slices.Equal(out.Tags, []apisns.Tag{{Key: "a", Value: "1"}}) {
		t.Errorf("%+v %v", out, err)
	}
}

// TestKeyFile holds that the key stays over a restart, and that a broken one is
// told of, not replaced.
func TestKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, err := OpenSigner(dir)
	if err != nil {
		t.Fatal(err)
	}
	two, err := OpenSigner(dir)
	if err != nil || one.Path() != two.Path() || string(one.Certificate()) != string(two.Certificate()) {
		t.Errorf("%v: another key at the next start", err)
	}
	path := filepath.Join(dir, "sns.pem")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
	if strings.Contains(string(one.Certificate()), "PRIVATE") {
		t.Error("the certificate that is served holds the key")
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSigner(dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}
