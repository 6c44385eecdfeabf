// Package cloudtrail serves the log of calls: LookupEvents, newest first. What
// is recorded, and how, is the audit room's; this one only looks up.
package cloudtrail

import (
	"context"
	"errors"

	"clary/internal/api"
	apict "clary/internal/api/cloudtrail"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

// Events is where the log lies.
type Events interface {
	ListEvents(ctx context.Context, q resource.EventQuery) ([]resource.Event, string, error)
}

// CloudTrail is the service.
type CloudTrail struct{ events Events }

// New serves events.
func New(events Events) *CloudTrail { return &CloudTrail{events} }

// Name is the service's name.
func (*CloudTrail) Name() string { return "cloudtrail" }

// Operations lists what is served.
func (t *CloudTrail) Operations() map[string]op.Handler {
	return map[string]op.Handler{"LookupEvents": op.Op(t.LookupEvents)}
}

// maxPage is the largest page and the default, as LookupEvents documents it.
const maxPage = 50

// LookupEvents gives one page of an account's events in a region.
func (t *CloudTrail) LookupEvents(ctx context.Context, c op.Call, in *apict.LookupEventsRequest) (*apict.LookupEventsResponse, error) {
	out := &apict.LookupEventsResponse{Events: []apict.Event{}}
	if in.EventCategory == "insight" {
		return out, nil // there are none here
	}
	q := resource.EventQuery{
		Account: c.Account, Region: c.Region, From: in.StartTime.Time, To: in.EndTime.Time, Token: in.NextToken, Limit: maxPage,
	}
	if in.MaxResults != nil {
		q.Limit = int(*in.MaxResults)
	}
	if !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From) {
		return nil, apierr.New(400, "InvalidTimeRangeException", "Invalid time range: StartTime must be before EndTime.")
	}
	if len(in.LookupAttributes) > 1 {
		return nil, apierr.New(400, "InvalidLookupAttributesException", "Only one lookup attribute can be specified.")
	}
	for _, a := range in.LookupAttributes {
		if none := attribute(&q, a); none {
			return out, nil
		}
	}
	list, next, err := t.events.ListEvents(ctx, q)
	if errors.Is(err, store.ErrToken) {
		return nil, apierr.New(400, "InvalidNextTokenException", "The token is not from a previous answer to the same request.")
	}
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		row := apict.Event{
			EventId: e.ID, EventName: e.Name, ReadOnly: "false", AccessKeyId: e.AccessKeyID, EventTime: api.At(e.At),
			EventSource: e.Source, Username: e.User, CloudTrailEvent: string(e.Text), Resources: []apict.Resource{},
		}
		if e.ResourceName != "" {
			row.Resources = append(row.Resources, apict.Resource{ResourceType: e.ResourceType, ResourceName: e.ResourceName})
		}
		out.Events = append(out.Events, row)
	}
	out.NextToken = next
	return out, nil
}

// attribute adds a filter; none: no event has it.
func attribute(q *resource.EventQuery, a apict.LookupAttribute) (none bool) {
	switch a.AttributeKey {
	case "EventId":
		q.ID = a.AttributeValue
	case "EventName":
		q.Name = a.AttributeValue
	case "EventSource":
		q.Source = a.AttributeValue
	case "Username":
		q.User = a.AttributeValue
	case "AccessKeyId":
		q.AccessKeyID = a.AttributeValue
	case "ResourceType":
		q.ResourceType = a.AttributeValue
	case "ResourceName":
		q.ResourceName = a.AttributeValue
	case "ReadOnly":
		return a.AttributeValue != "false" // only what changes something is recorded
	}
	return false
}
