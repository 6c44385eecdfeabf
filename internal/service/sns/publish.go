package sns

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	api "clary/internal/api/sns"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/outbox"
	"clary/internal/store"
)

const (
	maxMessage = 256 << 10 // with its attributes
	maxSubject = 100
	maxBatch   = 10
)

var ( // constant patterns
	attributeName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,256}$`)                       //nolint:gochecknoglobals // as above
	entryID       = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)                         //nolint:gochecknoglobals // as above
	dataType      = regexp.MustCompile(`^(String\.Array|String|Number|Binary)(\..+)?$`) //nolint:gochecknoglobals // as above
)

// Publish leaves a message for the topic's subscriptions.
func (s *Service) Publish(ctx context.Context, c op.Call, in *api.PublishInput) (*api.PublishResponse, error) {
	if in.PhoneNumber != "" {
		return nil, invalid("PhoneNumber Reason: Clary does not send SMS")
	}
	if (in.TopicArn == "") == (in.TargetArn == "") {
		return nil, invalid("TopicArn or TargetArn Reason: exactly one of them is needed")
	}
	id := cmp.Or(in.TopicArn, in.TargetArn)
	p, err := publication(&api.PublishBatchRequestEntry{
		Message: in.Message, Subject: in.Subject, MessageStructure: in.MessageStructure, MessageAttributes: in.MessageAttributes,
		MessageDeduplicationId: in.MessageDeduplicationId,
	})
	if err != nil {
		return nil, err
	}
	out := &api.PublishResponse{MessageId: newUUID()}
	now := time.Now()
	err = s.store.Update(ctx, func(tx store.Tx) error {
		t, err := findTopic(tx, c, "TopicArn", id)
		if err != nil {
			return err
		}
		p.TopicArn, p.By = t.Arn, c.Principal.Arn
		return outbox.Publish(tx, t.Account, t.Region, out.MessageId, *p, now)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// PublishBatch leaves up to ten messages; each fails alone.
func (s *Service) PublishBatch(ctx context.Context, c op.Call, in *api.PublishBatchInput) (*api.PublishBatchResponse, error) {
	if err := checkBatch(in.PublishBatchRequestEntries); err != nil {
		return nil, err
	}
	out := &api.PublishBatchResponse{Successful: []api.PublishBatchResultEntry{}, Failed: []api.BatchResultErrorEntry{}}
	var good []*outbox.Publication
	for i := range in.PublishBatchRequestEntries {
		e := &in.PublishBatchRequestEntries[i]
		p, err := publication(e)
		if err != nil {
			f, _ := errors.AsType[*apierr.Error](err)
			out.Failed = append(out.Failed, api.BatchResultErrorEntry{Id: e.Id, Code: strings.TrimSuffix(f.Code, "Exception"), Message: f.Message, SenderFault: true})
			continue
		}
		good = append(good, p)
		out.Successful = append(out.Successful, api.PublishBatchResultEntry{Id: e.Id, MessageId: newUUID()})
	}
	now := time.Now()
	err := s.store.Update(ctx, func(tx store.Tx) error {
		t, err := findTopic(tx, c, "TopicArn", in.TopicArn)
		if err != nil {
			return err
		}
		for i, p := range good {
			p.TopicArn, p.By = t.Arn, c.Principal.Arn
			if err := outbox.Publish(tx, t.Account, t.Region, out.Successful[i].MessageId, *p, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func checkBatch(entries []api.PublishBatchRequestEntry) error {
	switch {
	case len(entries) == 0:
		return fault(http.StatusBadRequest, "EmptyBatchRequest", "The batch request doesn't contain any entries.")
	case len(entries) > maxBatch:
		return fault(http.StatusBadRequest, "TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
	}
	seen := map[string]bool{}
	total := 0
	for _, e := range entries {
		if !entryID.MatchString(e.Id) {
			return fault(http.StatusBadRequest, "InvalidBatchEntryId", "The Id of a batch entry in a batch request doesn't abide by the specification.")
		}
		if seen[e.Id] {
			return fault(http.StatusBadRequest, "BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
		}
		seen[e.Id] = true
		total += size(e.Message, e.MessageAttributes)
	}
	if total > maxMessage {
		return fault(http.StatusBadRequest, "BatchRequestTooLong", "The length of all the messages put together is more than the limit.")
	}
	return nil
}

// size is what counts against the limit.
func size(text string, attributes map[string]api.MessageAttributeValue) int {
	n := len(text)
	for k, a := range attributes {
		n += len(k) + len(a.DataType) + len(a.StringValue) + len(a.BinaryValue)
	}
	return n
}

// publication checks a message.
func publication(in *api.PublishBatchRequestEntry) (*outbox.Publication, error) {
	switch {
	case in.Message == "":
		return nil, invalid("Empty message")
	case !utf8.ValidString(in.Message):
		return nil, invalid("Message Reason: it is not UTF-8")
	case size(in.Message, in.MessageAttributes) > maxMessage:
		return nil, invalid("Message too long")
	case in.MessageDeduplicationId != "":
		return nil, invalid("MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type")
	case !subject(in.Subject):
		return nil, invalid("Subject")
	}
	p := &outbox.Publication{Subject: in.Subject, Message: in.Message}
	switch in.MessageStructure {
	case "":
	case "json":
		var all map[string]any
		if err := json.Unmarshal([]byte(in.Message), &all); err != nil {
			return nil, invalid("Message Structure - JSON message body failed to parse")
		}
		p.Message, p.Structured = "", map[string]string{}
		for k, v := range all {
			if text, ok := v.(string); ok { // others are passed over, as on SNS
				p.Structured[k] = text
			}
		}
		if _, ok := p.Structured["default"]; !ok {
			return nil, invalid("Message Structure - No default entry in JSON message body")
		}
	default:
		return nil, invalid("MessageStructure: valid value is json")
	}
	for name, v := range in.MessageAttributes {
		a, err := attribute(name, v)
		if err != nil {
			return nil, err
		}
		if p.Attributes == nil {
			p.Attributes = map[string]outbox.Attribute{}
		}
		p.Attributes[name] = a
	}
	return p, nil
}

// subject: UTF-8 without line breaks and control characters, which does not
// begin with a space.
func subject(s string) bool {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxSubject || s != strings.TrimLeft(s, " ") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' })
}

func attribute(name string, v api.MessageAttributeValue) (outbox.Attribute, error) {
	none := outbox.Attribute{}
	low := strings.ToLower(name)
	if !attributeName.MatchString(name) || strings.HasPrefix(low, "aws.") || strings.HasPrefix(low, "amazon.") ||
		strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return none, fault(http.StatusBadRequest, "InvalidParameterValue", "Invalid parameter value: the message attribute name %q is not valid", name)
	}
	if !dataType.MatchString(v.DataType) {
		return none, fault(http.StatusBadRequest, "InvalidParameterValue",
			"The message attribute '%s' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.", name)
	}
	if strings.HasPrefix(v.DataType, "Binary") {
		if len(v.BinaryValue) == 0 {
			return none, errEmpty(name, v.DataType)
		}
		return outbox.Attribute{Type: v.DataType, Value: base64.StdEncoding.EncodeToString(v.BinaryValue)}, nil
	}
	if v.StringValue == "" {
		return none, errEmpty(name, v.DataType)
	}
	if strings.HasPrefix(v.DataType, "Number") {
		if _, err := strconv.ParseFloat(v.StringValue, 64); err != nil {
			return none, fault(http.StatusBadRequest, "InvalidParameterValue", "Could not cast message attribute '%s' value to number.", name)
		}
	}
	return outbox.Attribute{Type: v.DataType, Value: v.StringValue}, nil
}

func errEmpty(name, typ string) error {
	return fault(http.StatusBadRequest, "InvalidParameterValue",
		"The message attribute '%s' must contain non-empty message attribute value for message attribute type '%s'.", name, typ)
}
