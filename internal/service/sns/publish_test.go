package sns

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // as SNS signs
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	apisns "clary/internal/api/sns"
	"clary/internal/aws/op"
	"clary/internal/outbox"
	"clary/internal/resource"
	"clary/internal/store"
)

// verify checks a message as receivers do: by the members that AWS's
// documentation names, in byte order of their names, and the certificate alone.
func verify(t *testing.T, s *Service, body string) map[string]string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err, body)
	}
	m := map[string]string{}
	for k, v := range all {
		m[k], _ = v.(string)
	}
	names := []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	if m["Type"] == "Notification" {
		names = []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	}
	text := ""
	for _, n := range names {
		if v, has := all[n]; has {
			text += n + "\n" + v.(string) + "\n" //nolint:forcetypeassert // a test
		}
	}
	block, _ := pem.Decode(s.cfg.Signer.Certificate())
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	hash, sum := crypto.SHA1, sha1.Sum([]byte(text)) //nolint:gosec // as above
	digest := sum[:]
	if m["SignatureVersion"] == "2" {
		wide := sha256.Sum256([]byte(text))
		hash, digest = crypto.SHA256, wide[:]
	}
	sig, err := base64.StdEncoding.DecodeString(m["Signature"])
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPKCS1v15(cert.PublicKey.(*rsa.PublicKey), hash, digest, sig); err != nil { //nolint:forcetypeassert // a test
		t.Errorf("%v: %s", err, body)
	}
	if want := "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-"; !strings.HasPrefix(m["SigningCertURL"], want) || !strings.HasSuffix(m["SigningCertURL"], ".pem") {
		t.Error(m["SigningCertURL"])
	}
	return m
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2"} {
		s := serve(t)
		id := s.topic(t, "alerts", map[string]string{"SignatureVersion": version, "DisplayName": "Alerts"})
		web, letters, jsons := s.subscribe(t, id, "http", "http://a.example.com/", nil), s.subscribe(t, id, "email", "a@example.com", nil), s.subscribe(t, id, "email-json", "j@example.com", nil)
		raw := s.subscribe(t, id, "http", "http://raw.example.com/", map[string]string{"RawMessageDelivery": "true"})
		none := s.subscribe(t, id, "http", "http://none.example.com/", nil)
		for _, x := range []string{web, letters, jsons, raw} {
			s.confirm(t, id, x)
		}
		invitation := s.sent(t, "http://a.example.com/")[0]
		m := verify(t, s, invitation.Body)
		if m["Type"] != "SubscriptionConfirmation" || m["SignatureVersion"] != version || m["Token"] != s.token(t, web) || !strings.HasPrefix(m["SubscribeURL"], address+"/?Action=ConfirmSubscription") ||
			invitation.Headers["X-Amz-Sns-Message-Type"] != "SubscriptionConfirmation" || invitation.Headers["X-Amz-Sns-Subscription-Arn"] != "" || invitation.Headers["X-Amz-Sns-Topic-Arn"] != id {
			t.Errorf("%+v %v", invitation, m)
		}
		const text = "Grüße\n<&> \"x\" \u2028"
		for _, subject := range []string{"A subject", strings.Repeat("ü", 100), ""} {
			mid := s.publish(t, apisns.PublishInput{TopicArn: id, Subject: subject, Message: text, MessageAttributes: map[string]apisns.MessageAttributeValue{"k": {DataType: "String", StringValue: "v"}, "b": {DataType: "Binary", BinaryValue: []byte{1}}}})
			last := func(to string) *outbox.Delivery { all := s.sent(t, to); return all[len(all)-1] }
			d := last("http://a.example.com/")
			m := verify(t, s, d.Body)
			if m["Type"] != "Notification" || m["Message"] != text || m["Subject"] != subject || m["MessageId"] != mid || m["TopicArn"] != id || !strings.HasPrefix(m["UnsubscribeURL"], address+"/?Action=Unsubscribe&SubscriptionArn=") ||
				!strings.Contains(d.Body, `"MessageAttributes" : {"b":{"Type":"Binary","Value":"AQ=="},"k":{"Type":"String","Value":"v"}}`) || subject == "" && strings.Contains(d.Body, `"Subject"`) {
				t.Errorf("%s", d.Body)
			}
			if _, err := time.Parse("2006-01-02T15:04:05.000Z", m["Timestamp"]); err != nil {
				t.Error(err)
			}
			for k, v := range map[string]string{"Message-Type": "Notification", "Message-Id": mid, "Topic-Arn": id, "Subscription-Arn": web} {
				if d.Headers["X-Amz-Sns-"+k] != v {
					t.Errorf("%s: %q", k, d.Headers["X-Amz-Sns-"+k])
				}
			}
			if d.Headers["Content-Type"] != "text/plain; charset=UTF-8" || d.Headers["User-Agent"] != "Amazon Simple Notification Service Agent" {
				t.Error(d.Headers)
			}
			if r := last("http://raw.example.com/"); r.Body != text || r.Headers["X-Amz-Sns-Rawdelivery"] != "true" {
				t.Errorf("%+v", r)
			}
			want := subject
			if want == "" {
				want = "AWS Notification Message"
			}
			if l := last("a@example.com"); l.Channel != "email" || l.Sender != "Alerts" || l.Subject != want || !strings.HasPrefix(l.Body, text) || !strings.Contains(l.Body, "Action=Unsubscribe") {
				t.Errorf("%+v", l)
			}
			if l := last("j@example.com"); l.Channel != "email" || l.Subject != want || verify(t, s, l.Body)["MessageId"] != mid || len(l.Headers) > 0 {
				t.Errorf("%+v", l)
			}
		}
		if n := len(s.sent(t, "http://none.example.com/")); n != 1 {
			t.Errorf("%s was told %d times and has not confirmed", none, n)
		}
	}
}

func TestStructure(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	for _, e := range [][2]string{{"email", "a@example.com"}, {"http", "http://a.example.com/"}} {
		s.confirm(t, id, s.subscribe(t, id, e[0], e[1], nil))
	}
	s.publish(t, apisns.PublishInput{TargetArn: id, MessageStructure: "json", Message: `{"default":"all","email":"letter","x":{"y":1}}`})
	if l := s.sent(t, "a@example.com"); !strings.HasPrefix(l[1].Body, "letter\n") {
		t.Error(l[1].Body)
	}
	if m := verify(t, s, s.sent(t, "http://a.example.com/")[1].Body); m["Message"] != "all" {
		t.Error(m)
	}
}

func TestPublishRefused(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	value := func(typ, text string) map[string]apisns.MessageAttributeValue {
		return map[string]apisns.MessageAttributeValue{"k": {DataType: typ, StringValue: text}}
	}
	for name, tc := range map[string]struct {
		in         apisns.PublishInput
		code, text string
	}{
		"no topic":        {apisns.PublishInput{Message: "m"}, "InvalidParameter", "TopicArn or TargetArn"},
		"two":             {apisns.PublishInput{Message: "m", TopicArn: id, TargetArn: id}, "InvalidParameter", "TopicArn or TargetArn"},
		"SMS":             {apisns.PublishInput{Message: "m", PhoneNumber: "+1"}, "InvalidParameter", "SMS"},
		"absent":          {apisns.PublishInput{Message: "m", TopicArn: id + "x"}, "NotFound", "Topic does not exist"},
		"empty":           {apisns.PublishInput{TopicArn: id}, "InvalidParameter", "Empty message"},
		"long":            {apisns.PublishInput{TopicArn: id, Message: strings.Repeat("x", 256<<10+1)}, "InvalidParameter", "Message too long"},
		"long with these": {apisns.PublishInput{TopicArn: id, Message: strings.Repeat("x", 256<<10), MessageAttributes: value("String", "v")}, "InvalidParameter", "Message too long"},
		"subject":         {apisns.PublishInput{TopicArn: id, Message: "m", Subject: strings.Repeat("x", 101)}, "InvalidParameter", "Subject"},
		"escape":          {apisns.PublishInput{TopicArn: id, Message: "m", Subject: "a\x1bb"}, "InvalidParameter", "Subject"},
		"lines":           {apisns.PublishInput{TopicArn: id, Message: "m", Subject: "a\nb"}, "InvalidParameter", "Subject"},
		"structure":       {apisns.PublishInput{TopicArn: id, Message: "m", MessageStructure: "xml"}, "InvalidParameter", "MessageStructure"},
		"not JSON":        {apisns.PublishInput{TopicArn: id, Message: "m", MessageStructure: "json"}, "InvalidParameter", "failed to parse"},
		"no default":      {apisns.PublishInput{TopicArn: id, Message: `{"email":"m"}`, MessageStructure: "json"}, "InvalidParameter", "No default entry"},
		"FIFO":            {apisns.PublishInput{TopicArn: id, Message: "m", MessageDeduplicationId: "x"}, "InvalidParameter", "MessageDeduplicationId"},
		"type":            {apisns.PublishInput{TopicArn: id, Message: "m", MessageAttributes: value("Text", "v")}, "InvalidParameterValue", "invalid message attribute type"},
		"no value":        {apisns.PublishInput{TopicArn: id, Message: "m", MessageAttributes: value("String", "")}, "InvalidParameterValue", "non-empty"},
		"no number":       {apisns.PublishInput{TopicArn: id, Message: "m", MessageAttributes: value("Number", "x")}, "InvalidParameterValue", "number"},
	} {
		_, err := s.Publish(t.Context(), call(), &tc.in)
		refused(t, name, err, tc.code, tc.text)
	}
	if _, err := s.Publish(t.Context(), call(), &apisns.PublishInput{TopicArn: id, Message: strings.Repeat("x", 256<<10)}); err != nil {
		t.Errorf("256 KiB: %v", err)
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	s.confirm(t, id, s.subscribe(t, id, "http", "http://a.example.com/", nil))
	batch := func(entries ...apisns.PublishBatchRequestEntry) (*apisns.PublishBatchResponse, error) {
		return s.PublishBatch(t.Context(), call(), &apisns.PublishBatchInput{TopicArn: id, PublishBatchRequestEntries: entries})
	}
	e := func(id, m string) apisns.PublishBatchRequestEntry {
		return apisns.PublishBatchRequestEntry{Id: id, Message: m}
	}
	_, err := batch()
	refused(t, "none", err, "EmptyBatchRequest", "")
	_, err = batch(e("a", "m"), e("a", "m"))
	refused(t, "same", err, "BatchEntryIdsNotDistinct", "")
	_, err = batch(e("a b", "m"))
	refused(t, "id", err, "InvalidBatchEntryId", "")
	_, err = batch(e("a", strings.Repeat("x", 200<<10)), e("b", strings.Repeat("x", 100<<10)))
	refused(t, "long", err, "BatchRequestTooLong", "")
	_, err = batch(make([]apisns.PublishBatchRequestEntry, 11)...)
	refused(t, "many", err, "TooManyEntriesInBatchRequest", "")
	out, err := batch(e("a", "one"), e("b", ""), e("c", "three"))
	if err != nil || len(out.Successful) != 2 || len(out.Failed) != 1 || out.Failed[0].Id != "b" || out.Failed[0].Code != "InvalidParameter" || !out.Failed[0].SenderFault {
		t.Fatalf("%+v %v", out, err)
	}
	s.settle(t)
	all := s.sent(t, "http://a.example.com/")
	if len(all) != 3 {
		t.Errorf("%d deliveries", len(all))
	}
}

// TestFanoutAgain: a publication that is looked at again, as after a crash
// before its end was kept, leaves nothing twice; what others leave is told once
// too, and has an identifier that stays.
func TestFanoutAgain(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	s.confirm(t, id, s.subscribe(t, id, "http", "http://a.example.com/", nil))
	leave := func() {
		t.Helper()
		if err := s.store.Update(t.Context(), func(tx store.Tx) error {
			return outbox.Publish(tx, account, region, "budget-1-80-2026-11", outbox.Publication{TopicArn: id, Subject: "s", Message: "over"}, time.Now())
		}); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	s.settle(t)
	k := resource.Key{Account: account, Region: region, Kind: outbox.KindPublication, Name: "budget-1-80-2026-11"}
	if err := s.store.Update(t.Context(), func(tx store.Tx) error {
		r, err := tx.Get(k)
		if err != nil {
			return err
		}
		r.Phase, r.Due = outbox.PhasePending, time.Now()
		return tx.Put(r)
	}); err != nil {
		t.Fatal(err)
	}
	s.settle(t)
	leave() // as a room does that died before it kept that it had
	s.settle(t)
	all := s.sent(t, "http://a.example.com/")
	if len(all) != 2 || !isUUID(verify(t, s, all[1].Body)["MessageId"]) {
		t.Errorf("%d deliveries", len(all))
	}
}

// TestNoTopic: what goes to a topic that is not there is shown.
func TestNoTopic(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const id = "arn:aws:sns:eu-west-1:123456789012:gone"
	if err := s.store.Update(t.Context(), func(tx store.Tx) error {
		return outbox.Publish(tx, account, region, "x", outbox.Publication{TopicArn: id, Message: "over"}, time.Now())
	}); err != nil {
		t.Fatal(err)
	}
	s.settle(t)
	list, _, err := outbox.List(t.Context(), s.store, account, region, outbox.PhaseFailed, id, "", 10)
	if err != nil || len(list) != 1 || list[0].Reason != "Topic does not exist" {
		t.Errorf("%+v %v", list, err)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	a := map[string]outbox.Attribute{
		"store": {Type: "String", Value: "shop"}, "price": {Type: "Number", Value: "100.0"}, "all": {Type: "String.Array", Value: `["a",1,true,null]`}, "bin": {Type: "Binary", Value: "AQ=="},
	}
	for policy, want := range map[string]bool{
		``: true, `{}`: true,
		`{"store":["shop"]}`: true, `{"store":["other"]}`: false, `{"store":["other","shop"]}`: true, `{"store":["Shop"]}`: false, `{"nothing":["x"]}`: false,
		`{"store":["shop"],"price":[100]}`: true, `{"store":["shop"],"price":[1]}`: false, `{"price":["100.0"]}`: false, `{"price":[100.00]}`: true,
		`{"store":[{"prefix":"sh"}]}`: true, `{"store":[{"prefix":"x"}]}`: false, `{"store":[{"suffix":"op"}]}`: true, `{"store":[{"equals-ignore-case":"SHOP"}]}`: true,
		`{"store":[{"anything-but":"shop"}]}`: false, `{"store":[{"anything-but":["a","b"]}]}`: true, `{"nothing":[{"anything-but":"a"}]}`: false,
		`{"store":[{"anything-but":{"prefix":"sh"}}]}`: false, `{"store":[{"anything-but":{"suffix":"x"}}]}`: true, `{"price":[{"anything-but":[100]}]}`: false,
		`{"price":[{"numeric":["=",100]}]}`: true, `{"price":[{"numeric":[">",100]}]}`: false, `{"price":[{"numeric":[">=",100,"<",101]}]}`: true, `{"price":[{"numeric":[">",0,"<=",99.9]}]}`: false, `{"store":[{"numeric":["=",1]}]}`: false,
		`{"store":[{"exists":true}]}`: true, `{"store":[{"exists":false}]}`: false, `{"nothing":[{"exists":false}]}`: true, `{"nothing":[{"exists":true}]}`: false,
		`{"all":["a"]}`: true, `{"all":[1]}`: true, `{"all":[true]}`: true, `{"all":[null]}`: true, `{"all":["b"]}`: false, `{"all":[{"anything-but":"a"}]}`: false,
		`{"bin":["AQ=="]}`: false,
	} {
		f, err := readFilter(policy)
		if err != nil {
			t.Errorf("%s: %v", policy, err)
			continue
		}
		if f.passes(a) != want {
			t.Errorf("%s passes: %t", policy, !want)
		}
	}
	for _, policy := range []string{
		`{`, `[]`, `{"a":"b"}`, `{"a":[]}`, `{"a":[["b"]]}`, `{"a":[{"prefix":1}]}`, `{"a":[{"prefix":""}]}`, `{"a":[{"like":"x"}]}`, `{"a":[{"exists":"x"}]}`, `{"a":[{"numeric":["~",1]}]}`,
		`{"a":[{"numeric":[">","1"]}]}`, `{"a":[{"numeric":["<",1,">",0]}]}`, `{"a":[{"numeric":[]}]}`, `{"a":[{"prefix":"a","suffix":"b"}]}`, `{"a":[{"anything-but":[]}]}`, `{"$or":["x"]}`,
		`{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}`, `{"a":[1e300]}`,
	} {
		_, err := readFilter(policy)
		refused(t, policy, err, "InvalidParameter", "")
	}
}

// TestOtherAccount: an account's topic is not there for another one, whose
// policies may allow everything.
func TestOtherAccount(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	x := s.subscribe(t, id, "email", "a@example.com", nil)
	s.confirm(t, id, x)
	other := call()
	other.Account = "999999999999"
	other.Principal = resource.Principal{Account: other.Account, Arn: "arn:aws:iam::999999999999:root", Root: true}
	for name, do := range map[string]func() error{
		"Publish": func() error {
			_, err := s.Publish(t.Context(), other, &apisns.PublishInput{TopicArn: id, Message: "m"})
			return err
		},
		"PublishBatch": func() error {
			_, err := s.PublishBatch(t.Context(), other, &apisns.PublishBatchInput{TopicArn: id, PublishBatchRequestEntries: []apisns.PublishBatchRequestEntry{{Id: "1", Message: "m"}}})
			return err
		},
		"Subscribe": func() error {
			_, err := s.Subscribe(t.Context(), other, &apisns.SubscribeInput{TopicArn: id, Protocol: "email", Endpoint: "b@example.com"})
			return err
		},
		"SetTopicAttributes": func() error {
			_, err := s.SetTopicAttributes(t.Context(), other, &apisns.SetTopicAttributesInput{TopicArn: id, AttributeName: "DisplayName", AttributeValue: "theirs"})
			return err
		},
		"GetTopicAttributes": func() error {
			_, err := s.GetTopicAttributes(t.Context(), other, &apisns.GetTopicAttributesInput{TopicArn: id})
			return err
		},
	} {
		refused(t, name, do(), "NotFound", "Topic does not exist")
	}
	if _, err := s.DeleteTopic(t.Context(), other, &apisns.DeleteTopicInput{TopicArn: id}); err != nil {
		t.Error(err)
	}
	s.publish(t, apisns.PublishInput{TopicArn: id, Message: "m"})
	if n := len(s.sent(t, "a@example.com")); n != 2 {
		t.Errorf("%d letters, want the invitation and one message", n)
	}
}

// TestEndedMeanwhile: whoever unsubscribes while a message fans out has no more
// of it.
func TestEndedMeanwhile(t *testing.T) {
	t.Parallel()
	s := serve(t)
	id := s.topic(t, "alerts", nil)
	var ids []string
	for _, to := range []string{"link@example.com", "key@example.com", "stays@example.com"} {
		x := s.subscribe(t, id, "email", to, nil)
		s.confirm(t, id, x)
		ids = append(ids, x)
	}
	out, err := s.Publish(t.Context(), call(), &apisns.PublishInput{TopicArn: id, Message: "the message"})
	if err != nil {
		t.Fatal(err)
	}
	pubs, _, err := s.store.List(t.Context(), resource.Query{Kind: outbox.KindPublication})
	if err != nil || len(pubs) != 1 {
		t.Fatalf("%d publications, %v", len(pubs), err)
	}
	p, err := resource.As[outbox.Publication](pubs[0].Spec)
	if err != nil {
		t.Fatal(err)
	}
	seen, _, err := s.store.List(t.Context(), resource.Query{Account: account, Region: region, Kind: KindSubscription, Phase: phaseConfirmed})
	if err != nil || len(seen) != 3 {
		t.Fatalf("%d subscriptions, %v", len(seen), err)
	}
	for i, c := range []op.Call{nobodys(), call()} {
		if _, err := s.Unsubscribe(t.Context(), c, &apisns.UnsubscribeInput{SubscriptionArn: ids[i]}); err != nil {
			t.Fatal(err)
		}
	}
	top, err := s.viewTopic(t.Context(), call(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := (fanout{s}).leave(t.Context(), top, pubs[0], p, seen); err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]bool{"link@example.com": false, "key@example.com": false, "stays@example.com": true} {
		got := slices.ContainsFunc(s.sent(t, to), func(d *outbox.Delivery) bool { return strings.Contains(d.Body, "the message") })
		if got != want {
			t.Errorf("%s has %s: %t", to, out.MessageId, got)
		}
	}
}
