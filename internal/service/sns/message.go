package sns

import (
	"cmp"
	"encoding/base32"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/outbox"
)

// Types of messages.
const (
	typeNotification = "Notification"
	typeInvitation   = "SubscriptionConfirmation"
	typeFarewell     = "UnsubscribeConfirmation"
)

const (
	agent         = "Amazon Simple Notification Service Agent"
	defaultSender = "AWS Notifications"
	timeForm      = "2006-01-02T15:04:05.000Z"
)

// member is one of a message's, in SNS's order.
type member struct {
	name  string
	value any
}

// message is what http(s) receivers, and email-json ones, get
// (https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html).
type message struct {
	typ, id, topic, subject, text string
	at                            time.Time
	token, subscribe, unsubscribe string
	attributes                    map[string]outbox.Attribute
}

// canonical is the text that is signed
// (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).
func (m *message) canonical() string {
	var b strings.Builder
	for _, p := range [][2]string{
		{"Message", m.text},
		{"MessageId", m.id},
		{"Subject", m.subject},
		{"SubscribeURL", m.subscribe},
		{"Timestamp", m.at.UTC().Format(timeForm)},
		{"Token", m.token},
		{"TopicArn", m.topic},
		{"Type", m.typ},
	} {
		if p[1] != "" || p[0] == "Message" {
			b.WriteString(p[0] + "\n" + p[1] + "\n")
		}
	}
	return b.String()
}

// body is the message, signed.
func (s *Service) body(m *message, version, region string) (string, error) {
	sig, err := s.cfg.Signer.sign(version, m.canonical())
	if err != nil {
		return "", err
	}
	list := []member{
		{"Type", m.typ},
		{"MessageId", m.id},
		{"Token", m.token},
		{"TopicArn", m.topic},
		{"Subject", m.subject},
		{"Message", m.text},
		{"SubscribeURL", m.subscribe},
		{"Timestamp", m.at.UTC().Format(timeForm)},
		{"SignatureVersion", version},
		{"Signature", sig},
		{"SigningCertURL", "https://sns." + region + ".amazonaws.com" + s.cfg.Signer.Path()},
		{"UnsubscribeURL", m.unsubscribe},
	}
	if len(m.attributes) > 0 {
		list = append(list, member{"MessageAttributes", m.attributes})
	}
	var b strings.Builder
	for i, p := range list {
		if v, ok := p.value.(string); ok && v == "" && p.name != "Message" {
			continue
		}
		v, err := json.Marshal(p.value, jsontext.AllowInvalidUTF8(true), json.Deterministic(true))
		if err != nil {
			return "", err
		}
		b.WriteString(map[bool]string{true: "{\n", false: ",\n"}[i == 0])
		fmt.Fprintf(&b, "  %q : %s", p.name, v)
	}
	b.WriteString("\n}")
	return b.String(), nil
}

// action is the address by which a receiver does something without signing.
func (s *Service) action(name string, members ...string) string {
	v := url.Values{"Action": {name}}
	for i := 0; i < len(members); i += 2 {
		v.Set(members[i], members[i+1])
	}
	return s.cfg.Address + "/?" + v.Encode()
}

func (s *Service) confirmURL(x *subscription) string {
	return s.action("ConfirmSubscription", "TopicArn", x.TopicArn, "Token", x.Token)
}

func (s *Service) unsubscribeURL(x *subscription) string {
	return s.action("Unsubscribe", "SubscriptionArn", x.Arn)
}

// headers are those of SNS's requests.
func headers(m *message, x *subscription, contentType string) map[string]string {
	h := map[string]string{
		"X-Amz-Sns-Message-Type": m.typ, "X-Amz-Sns-Message-Id": m.id, "X-Amz-Sns-Topic-Arn": m.topic, "Content-Type": contentType, "User-Agent": agent,
	}
	if m.typ != typeInvitation {
		h["X-Amz-Sns-Subscription-Arn"] = x.Arn
	}
	return h
}

// sender is the name that a topic's letters come from.
func sender(t *topic) string { return cmp.Or(t.Attributes["DisplayName"], defaultSender) }

// invitation asks an endpoint to confirm.
func (s *Service) invitation(x *subscription, t *topic, now time.Time) (*outbox.Delivery, error) {
	return s.ask(x, t, now, &message{
		typ: typeInvitation, text: "You have chosen to subscribe to the topic " + t.Arn + ".\nTo confirm the subscription, visit the SubscribeURL included in this message.",
	}, "AWS Notification - Subscription Confirmation", "You have chosen to subscribe to the topic:\n"+t.Arn+"\n\n"+
		"To confirm this subscription, visit the link below. If it was not you, do nothing: nothing more is sent to you.\n\n"+s.confirmURL(x)+"\n\n"+
		"The link works for 48 hours.\n")
}

// farewell says that a subscription has ended, and how to take it up again.
func (s *Service) farewell(x *subscription, t *topic, now time.Time) (*outbox.Delivery, error) {
	return s.ask(x, t, now, &message{
		typ: typeFarewell, text: "You have chosen to deactivate subscription " + x.Arn + ".\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message.",
	}, "AWS Notification - Unsubscribe Confirmation", "Your subscription to the topic below has ended:\n"+t.Arn+"\n\n"+
		"If it was not you, or you want it again, visit the link below within 48 hours.\n\n"+s.confirmURL(x)+"\n")
}

// ask is a delivery that holds a token.
func (s *Service) ask(x *subscription, t *topic, now time.Time, m *message, subject, letter string) (*outbox.Delivery, error) {
	d := &outbox.Delivery{Channel: x.Protocol, To: x.Endpoint, About: x.Arn, Strict: x.Strict}
	if x.Protocol == "email" {
		d.Sender, d.Subject, d.Body = sender(t), subject, letter
		return d, nil
	}
	m.id, m.topic, m.at, m.token, m.subscribe = newUUID(), t.Arn, now, x.Token, s.confirmURL(x)
	return s.pack(d, m, x, t)
}

// pack puts a message into a delivery, as JSON.
func (s *Service) pack(d *outbox.Delivery, m *message, x *subscription, t *topic) (*outbox.Delivery, error) {
	body, err := s.body(m, t.get("SignatureVersion"), t.Region)
	if err != nil {
		return nil, err
	}
	d.Body = body
	if !x.web() {
		d.Channel, d.Sender, d.Subject = "email", sender(t), cmp.Or(m.subject, "AWS Notification Message")
		return d, nil
	}
	return s.toWeb(d, m, x, t)
}

// toWeb adds what http(s) deliveries have beside a body.
func (*Service) toWeb(d *outbox.Delivery, m *message, x *subscription, t *topic) (*outbox.Delivery, error) {
	p, err := x.delivery(t)
	if err != nil {
		return nil, err
	}
	retry := p.retry.retry()
	d.Headers, d.Retry = headers(m, x, p.request.HeaderContentType), &retry
	return d, nil
}

// notification is a publication on its way to one subscription.
func (s *Service) notification(x *subscription, t *topic, p *outbox.Publication, id string, at time.Time) (*outbox.Delivery, error) {
	m := &message{
		typ: typeNotification, id: id, topic: t.Arn, subject: p.Subject, text: p.Message, at: at, unsubscribe: s.unsubscribeURL(x), attributes: p.Attributes,
	}
	if p.Structured != nil {
		var own bool
		if m.text, own = p.Structured[x.Protocol]; !own {
			m.text = p.Structured["default"]
		}
	}
	d := &outbox.Delivery{Channel: x.Protocol, To: x.Endpoint, About: x.Arn, Subject: p.Subject, Strict: x.Strict}
	switch {
	case x.Protocol == "email":
		d.Sender, d.Subject = sender(t), cmp.Or(p.Subject, "AWS Notification Message")
		d.Body = m.text + "\n\n--\nTo get no more messages of this topic, visit the link below:\n" + m.unsubscribe + "\n"
		return d, nil
	case x.Attributes["RawMessageDelivery"] == "true":
		d.Body = m.text
		d, err := s.toWeb(d, m, x, t)
		if err == nil {
			d.Headers["X-Amz-Sns-Rawdelivery"] = "true"
		}
		return d, err
	}
	return s.pack(d, m, x, t)
}

// messageID is a publication's: the one that Publish answered with, or for
// those that others leave one that their record alone has.
func messageID(name, uid string) string {
	if isUUID(name) {
		return name
	}
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(uid))
	if err != nil || len(b) != 16 {
		return newUUID()
	}
	return uuid([16]byte(b))
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !strings.ContainsRune("0123456789abcdef", rune(c)) {
			return false
		}
	}
	return true
}
