package cloudtrail

import (
	"context"
	"errors"
	"testing"
	"time"

	"clary/internal/api"
	apict "clary/internal/api/cloudtrail"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

// trail answers with what it has, and keeps what it was asked.
type trail struct {
	list  []resource.Event
	next  string
	err   error
	asked []resource.EventQuery
}

func (l *trail) ListEvents(_ context.Context, q resource.EventQuery) ([]resource.Event, string, error) {
	l.asked = append(l.asked, q)
	return l.list, l.next, l.err
}

func caller() op.Call { return op.Call{Account: "123456789012", Region: "eu-west-1"} }

func TestLookup(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	l := &trail{next: "n", list: []resource.Event{
		{ID: "i", At: at, Name: "CreateModel", Source: "sagemaker.amazonaws.com", User: "me", AccessKeyID: "AK", ResourceType: "AWS::SageMaker::Model", ResourceName: "m", Text: []byte("{}")},
		{ID: "j", At: at, Name: "CreateRole", Text: []byte("{}")},
	}}
	out, err := New(l).LookupEvents(t.Context(), caller(), &apict.LookupEventsRequest{NextToken: "t", StartTime: api.At(at), EndTime: api.At(at)})
	if err != nil || len(out.Events) != 2 || out.NextToken != "n" {
		t.Fatalf("%+v %v", out, err)
	}
	e := out.Events[0]
	if e.EventId != "i" || e.EventName != "CreateModel" || e.EventSource != "sagemaker.amazonaws.com" || e.Username != "me" || e.AccessKeyId != "AK" ||
		!e.EventTime.Equal(at) || e.ReadOnly != "false" || e.CloudTrailEvent != "{}" || len(e.Resources) != 1 || e.Resources[0].ResourceName != "m" {
		t.Errorf("%+v", e)
	}
	if r := out.Events[1].Resources; r == nil || len(r) != 0 {
		t.Errorf("%+v", r)
	}
	want := resource.EventQuery{Account: "123456789012", Region: "eu-west-1", Token: "t", From: at, To: at, Limit: 50}
	if q := l.asked[0]; !q.From.Equal(at) || !q.To.Equal(at) || q.Account != want.Account || q.Region != want.Region || q.Token != want.Token || q.Limit != want.Limit {
		t.Errorf("%+v", q)
	}
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]resource.EventQuery{
		"EventId": {ID: "v"}, "EventName": {Name: "v"}, "EventSource": {Source: "v"}, "Username": {User: "v"}, "AccessKeyId": {AccessKeyID: "v"},
		"ResourceType": {ResourceType: "v"}, "ResourceName": {ResourceName: "v"},
	} {
		l := &trail{}
		if _, err := New(l).LookupEvents(t.Context(), caller(), &apict.LookupEventsRequest{LookupAttributes: []apict.LookupAttribute{{AttributeKey: key, AttributeValue: "v"}}}); err != nil {
			t.Fatal(err)
		}
		want.Account, want.Region, want.Limit = "123456789012", "eu-west-1", 50
		if l.asked[0] != want {
			t.Errorf("%s: %+v", key, l.asked[0])
		}
	}
	// only what changes something is recorded, and no insight
	for _, in := range []*apict.LookupEventsRequest{
		{EventCategory: "insight"},
		{LookupAttributes: []apict.LookupAttribute{{AttributeKey: "ReadOnly", AttributeValue: "true"}}},
	} {
		l := &trail{list: []resource.Event{{ID: "i"}}}
		if out, err := New(l).LookupEvents(t.Context(), caller(), in); err != nil || out.Events == nil || len(out.Events) != 0 || len(l.asked) != 0 {
			t.Errorf("%+v: %+v %v", in, out, err)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for code, in := range map[string]*apict.LookupEventsRequest{
		"InvalidTimeRangeException":        {StartTime: api.At(now), EndTime: api.At(now.Add(-time.Hour))},
		"InvalidLookupAttributesException": {LookupAttributes: []apict.LookupAttribute{{AttributeKey: "EventName"}, {AttributeKey: "EventId"}}},
		"InvalidNextTokenException":        {NextToken: "?"},
	} {
		_, err := New(&trail{err: store.ErrToken}).LookupEvents(t.Context(), caller(), in)
		if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Code != code {
			t.Errorf("%s: %v", code, err)
		}
	}
	boom := errors.New("disk")
	if _, err := New(&trail{err: boom}).LookupEvents(t.Context(), caller(), &apict.LookupEventsRequest{}); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
}
