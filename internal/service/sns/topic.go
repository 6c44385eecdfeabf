package sns

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	api "clary/internal/api/sns"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
)

const (
	pageSize       = 100
	maxDisplayName = 100
	defaultVersion = "1" // of signatures
)

var topicName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`) //nolint:gochecknoglobals // a constant pattern

// topicSpec is a topic's spec: the attributes that were set.
type topicSpec struct{ Attributes map[string]string }

// topic is a record with what it says.
type topic struct {
	*resource.Record
	topicSpec
}

func readTopic(r *resource.Record) (*topic, error) {
	spec, err := resource.As[topicSpec](r.Spec)
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", r.Name, err)
	}
	if spec.Attributes == nil {
		spec.Attributes = map[string]string{}
	}
	return &topic{r, *spec}, nil
}

func (t *topic) put(tx store.Tx) error { return put(tx, t.Record, t.topicSpec, nil) }

// get is an attribute's value, as it is or by default.
func (t *topic) get(name string) string {
	if v := t.Attributes[name]; v != "" {
		return v
	}
	switch name {
	case "Policy":
		return defaultPolicy(t.Arn, t.Account)
	case "SignatureVersion":
		return defaultVersion
	case "TracingConfig":
		return "PassThrough"
	}
	return ""
}

func topicKey(account, region, name string) resource.Key {
	return resource.Key{Account: account, Region: region, Kind: KindTopic, Name: name}
}

// findTopic reads the topic of an ARN.
func findTopic(tx store.Tx, c op.Call, member, value string) (*topic, error) {
	a, err := parse(c, member, value, 6)
	if err != nil {
		return nil, err
	}
	r, err := tx.Get(topicKey(a.Account, a.Region, a.Resource))
	if errors.Is(err, store.ErrNotFound) || err == nil && (a.Account != c.Account || r.Arn != value) {
		return nil, errNoTopic()
	}
	if err != nil {
		return nil, err
	}
	return readTopic(r)
}

// viewTopic is findTopic by itself.
func (s *Service) viewTopic(ctx context.Context, c op.Call, value string) (t *topic, err error) {
	err = s.store.View(ctx, func(tx store.Tx) error {
		t, err = findTopic(tx, c, "TopicArn", value)
		return err
	})
	return t, err
}

// changeTopic edits a topic in one transaction.
func (s *Service) changeTopic(ctx context.Context, c op.Call, value string, edit func(t *topic) error) error {
	return s.store.Update(ctx, func(tx store.Tx) error {
		t, err := findTopic(tx, c, "TopicArn", value)
		if err != nil {
			return err
		}
		t.Attributes = maps.Clone(t.Attributes)
		if err := edit(t); err != nil {
			return err
		}
		return t.put(tx)
	})
}

// CreateTopic makes a topic. One of the name that is just the same is answered
// with as if it had been made now.
func (s *Service) CreateTopic(ctx context.Context, c op.Call, in *api.CreateTopicInput) (*api.CreateTopicResponse, error) {
	if strings.HasSuffix(in.Name, ".fifo") || in.Attributes["FifoTopic"] == "true" {
		return nil, unsupported("FIFO topics.")
	}
	if !topicName.MatchString(in.Name) {
		return nil, invalid("Topic Name")
	}
	if in.DataProtectionPolicy != "" {
		return nil, unsupported("DataProtectionPolicy.")
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	now, uid := time.Now(), resource.NewUID()
	id := arn.ARN{Partition: "aws", Service: "sns", Region: c.Region, Account: c.Account, Resource: in.Name}.String()
	err = s.store.Update(ctx, func(tx store.Tx) error {
		t := &topic{
			&resource.Record{Key: topicKey(c.Account, c.Region, in.Name), UID: uid, Arn: id, Phase: "Active", Created: now},
			topicSpec{map[string]string{}},
		}
		for k, v := range in.Attributes {
			if err := t.set(k, v); err != nil {
				return err
			}
		}
		old, err := tx.Get(t.Key)
		if err == nil {
			return t.same(tx, old, in.Attributes, tags)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := t.put(tx); err != nil {
			return err
		}
		return tx.PutTags(id, tags)
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateTopicResponse{TopicArn: id}, nil
}

// same says whether the topic that is there is the one that was asked for.
func (t *topic) same(tx store.Tx, old *resource.Record, attributes, tags map[string]string) error {
	had, err := readTopic(old)
	if err != nil {
		return err
	}
	for k := range attributes {
		if !alike(had.get(k), t.get(k)) {
			return invalid("Attributes Reason: Topic already exists with different attributes")
		}
	}
	have, err := tx.Tags(t.Arn)
	if err != nil {
		return err
	}
	if len(tags) > 0 && !maps.Equal(have, tags) {
		return invalid("Tags Reason: Topic already exists with different tags")
	}
	return nil
}

// alike compares values, documents by what they say.
func alike(a, b string) bool {
	var x, y any
	if a == b {
		return true
	}
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// set checks an attribute and keeps it.
func (t *topic) set(name, value string) error {
	switch name {
	case "DisplayName":
		if len([]rune(value)) > maxDisplayName || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return invalid("DisplayName Reason: it has at most %d characters and no line breaks", maxDisplayName)
		}
	case "Policy":
		if err := checkPolicy(value); err != nil {
			return err
		}
	case "DeliveryPolicy":
		if _, err := topicDelivery(value); err != nil {
			return err
		}
	case "SignatureVersion":
		if value != "1" && value != "2" {
			return invalid("SignatureVersion Reason: valid values are 1 and 2")
		}
	case "TracingConfig":
		if value != "PassThrough" {
			return unsupported("the TracingConfig %s: PassThrough alone.", value)
		}
	case "FifoTopic", "ContentBasedDeduplication", "KmsMasterKeyId", "ArchivePolicy", "FifoThroughputScope":
		if value != "" && value != "false" {
			return unsupported("the topic attribute %s.", name)
		}
		return nil
	default:
		if strings.Contains(name, "Feedback") { // logs of deliveries: the outbox keeps them
			return unsupported("the topic attribute %s.", name)
		}
		return invalid("AttributeName")
	}
	if value == "" {
		delete(t.Attributes, name)
		return nil
	}
	t.Attributes[name] = value
	return nil
}

// SetTopicAttributes sets one attribute; an empty one is the default again.
func (s *Service) SetTopicAttributes(ctx context.Context, c op.Call, in *api.SetTopicAttributesInput) (*struct{}, error) {
	return nil, s.changeTopic(ctx, c, in.TopicArn, func(t *topic) error { return t.set(in.AttributeName, in.AttributeValue) })
}

// GetTopicAttributes says all of a topic.
func (s *Service) GetTopicAttributes(ctx context.Context, c op.Call, in *api.GetTopicAttributesInput) (*api.GetTopicAttributesResponse, error) {
	t, err := s.viewTopic(ctx, c, in.TopicArn)
	if err != nil {
		return nil, err
	}
	policy, err := topicDelivery(t.Attributes["DeliveryPolicy"])
	if err != nil {
		return nil, err
	}
	effective, err := policy.topicText()
	if err != nil {
		return nil, err
	}
	out := map[string]string{
		"TopicArn": t.Arn, "Owner": t.Account, "DisplayName": "", "Policy": t.get("Policy"), "EffectiveDeliveryPolicy": effective,
	}
	maps.Copy(out, t.Attributes)
	for name, phase := range map[string]string{"SubscriptionsPending": phasePending, "SubscriptionsConfirmed": phaseConfirmed, "SubscriptionsDeleted": phaseDeleted} {
		n, err := s.count(ctx, t, phase)
		if err != nil {
			return nil, err
		}
		out[name] = strconv.Itoa(n)
	}
	return &api.GetTopicAttributesResponse{Attributes: out}, nil
}

// count counts a topic's subscriptions of a phase.
func (s *Service) count(ctx context.Context, t *topic, phase string) (n int, err error) {
	q := resource.Query{Account: t.Account, Region: t.Region, Kind: KindSubscription, Parent: t.UID, Phase: phase, Limit: 1000, Short: true}
	for {
		recs, next, err := s.store.List(ctx, q)
		if err != nil {
			return 0, err
		}
		n += len(recs)
		if q.Token = next; next == "" {
			return n, nil
		}
	}
}

// ListTopics pages through the topics.
func (s *Service) ListTopics(ctx context.Context, c op.Call, in *api.ListTopicsInput) (*api.ListTopicsResponse, error) {
	recs, next, err := s.store.List(ctx, resource.Query{Account: c.Account, Region: c.Region, Kind: KindTopic, Sort: resource.SortName, Token: in.NextToken, Limit: pageSize})
	if err != nil {
		return nil, listed(err)
	}
	out := &api.ListTopicsResponse{Topics: []api.Topic{}, NextToken: next}
	for _, r := range recs {
		out.Topics = append(out.Topics, api.Topic{TopicArn: r.Arn})
	}
	return out, nil
}

// DeleteTopic removes a topic; its subscriptions follow. One that is not there
// is as good as removed.
func (s *Service) DeleteTopic(ctx context.Context, c op.Call, in *api.DeleteTopicInput) (*struct{}, error) {
	if _, err := parse(c, "TopicArn", in.TopicArn, 6); err != nil {
		return nil, err
	}
	return nil, s.store.Update(ctx, func(tx store.Tx) error {
		t, err := findTopic(tx, c, "TopicArn", in.TopicArn)
		if err != nil {
			if err.Error() == errNoTopic().Error() {
				return nil
			}
			return err
		}
		if err := tx.Delete(t.Key); err != nil {
			return err
		}
		now := time.Now()
		return tx.Put(&resource.Record{
			Key: resource.Key{Account: t.Account, Region: t.Region, Kind: kindRemains, Name: t.UID},
			UID: resource.NewUID(), Phase: phaseDeleted, Created: now, Modified: now, Due: now,
		})
	})
}

// remains deletes the subscriptions of a topic that was deleted. They are known
// by the topic's UID, so one of its name that is made meanwhile has none of them.
type remains struct{ *Service }

// Kind implements reconcile.Reconciler.
func (remains) Kind() resource.Kind { return kindRemains }

// Reconcile deletes a page of them.
func (s remains) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	recs, next, err := s.store.List(ctx, resource.Query{Account: k.Account, Region: k.Region, Kind: KindSubscription, Parent: k.Name, Limit: 500})
	if err != nil {
		return reconcile.Result{}, err
	}
	err = s.store.Update(ctx, func(tx store.Tx) error {
		for _, r := range recs {
			if err := gone(tx.Delete(r.Key)); err != nil {
				return err
			}
		}
		if next == "" {
			return gone(tx.Delete(k))
		}
		return nil
	})
	if err != nil || next == "" {
		return reconcile.Result{}, err
	}
	return reconcile.Result{After: time.Millisecond}, nil
}

// tagMap reads tags.
func tagMap(list []api.Tag) (map[string]string, error) {
	out := make(map[string]string, len(list))
	for _, t := range list {
		if _, twice := out[t.Key]; twice {
			return nil, invalid("Duplicated keys are not allowed.")
		}
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, invalid("Tag key %q Reason: the prefix aws: is reserved", t.Key)
		}
		out[t.Key] = t.Value
	}
	if len(out) > maxTags {
		return nil, errManyTags()
	}
	return out, nil
}

const maxTags = 50

func errManyTags() error {
	return fault(http.StatusBadRequest, "TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded")
}

// tagged is the ARN of a topic that has tags.
func tagged(tx store.Tx, c op.Call, id string) (string, error) {
	t, err := findTopic(tx, c, "ResourceArn", id)
	if err == nil {
		return t.Arn, nil
	}
	if err.Error() == errNoTopic().Error() {
		err = fault(http.StatusNotFound, "ResourceNotFound", "Resource does not exist")
	}
	return "", err
}

// TagResource sets tags by key.
func (s *Service) TagResource(ctx context.Context, c op.Call, in *api.TagResourceRequest) (*api.TagResourceResponse, error) {
	set, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return nil, s.store.Update(ctx, func(tx store.Tx) error {
		id, err := tagged(tx, c, in.ResourceArn)
		if err != nil {
			return err
		}
		all, err := tx.Tags(id)
		if err != nil {
			return err
		}
		for k := range set {
			if _, has := all[k]; !has {
				all[k] = ""
			}
		}
		if len(all) > maxTags {
			return errManyTags()
		}
		return tx.PutTags(id, set)
	})
}

// UntagResource removes tags by key.
func (s *Service) UntagResource(ctx context.Context, c op.Call, in *api.UntagResourceRequest) (*api.UntagResourceResponse, error) {
	return nil, s.store.Update(ctx, func(tx store.Tx) error {
		id, err := tagged(tx, c, in.ResourceArn)
		if err != nil {
			return err
		}
		return tx.DeleteTags(id, in.TagKeys)
	})
}

// ListTagsForResource lists them by key.
func (s *Service) ListTagsForResource(ctx context.Context, c op.Call, in *api.ListTagsForResourceRequest) (*api.ListTagsForResourceResponse, error) {
	out := &api.ListTagsForResourceResponse{Tags: []api.Tag{}}
	err := s.store.View(ctx, func(tx store.Tx) error {
		id, err := tagged(tx, c, in.ResourceArn)
		if err != nil {
			return err
		}
		all, err := tx.Tags(id)
		for _, k := range slices.Sorted(maps.Keys(all)) {
			out.Tags = append(out.Tags, api.Tag{Key: k, Value: all[k]})
		}
		return err
	})
	return out, err
}
