package console

import (
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/api/cloudtrail"
	"clary/internal/resource"
)

// activityRow is one recorded call.
type activityRow struct {
	At                      time.Time
	Name, Resource, Path    string
	User, Agent, From, Code string
	Same                    string // address of what this user did
	Text                    string // the record, indented
}

type activityBody struct {
	Rows            []activityRow
	Attribute, Find string
	From, To        string
	Attributes      []choice
	First, Next     string
	Wrong           string
	Filtered        bool
	Empty           *emptyBody
}

// activity lists what was changed, by whom.
func (c *Console) activity(v *view) error {
	q := v.r.URL.Query()
	body := activityBody{Attribute: q.Get("by"), Find: strings.TrimSpace(q.Get("find")), From: q.Get("from"), To: q.Get("to")}
	body.Filtered = body.Find != "" || body.From != "" || body.To != ""
	for _, a := range [][2]string{
		{"EventName", "Call"}, {"ResourceName", "Resource"}, {"ResourceType", "Kind of resource"}, {"Username", "Who"}, {"AccessKeyId", "Access key ID"}, {"EventId", "Event ID"},
	} {
		body.Attributes = append(body.Attributes, choice{a[0], a[1], a[0] == body.Attribute})
	}
	in := &cloudtrail.LookupEventsRequest{MaxResults: ptr(50), NextToken: q.Get("page")}
	var wrong bool
	if in.StartTime, wrong = dayBound(body.From, 0); wrong {
		body.Wrong = "“From” is not a day like 2026-01-31."
	}
	if in.EndTime, wrong = dayBound(body.To, 24*time.Hour-time.Nanosecond); wrong {
		body.Wrong = "“to” is not a day like 2026-01-31."
	}
	if body.Wrong != "" {
		return v.show("activity", "Activity", "activity", body)
	}
	if body.Find != "" {
		in.LookupAttributes = []cloudtrail.LookupAttribute{{AttributeKey: body.Attribute, AttributeValue: body.Find}}
	}
	out, err := ask[cloudtrail.LookupEventsResponse](v, "cloudtrail", "LookupEvents", in)
	if e, ok := refused(err); ok && e.Code != "AccessDeniedException" {
		body.Wrong = e.Message
		return v.show("activity", "Activity", "activity", body)
	}
	if err != nil {
		return err
	}
	for _, e := range out.Events {
		body.Rows = append(body.Rows, activityOf(e))
	}
	if in.NextToken != "" {
		q.Del("page")
		body.First = "/activity?" + q.Encode()
	}
	if out.NextToken != "" {
		q.Set("page", out.NextToken)
		body.Next = "/activity?" + q.Encode()
	}
	if len(body.Rows) == 0 && !body.Filtered && in.NextToken == "" {
		if body.Empty, err = v.empty("activity"); err != nil {
			return err
		}
	}
	return v.show("activity", "Activity", "activity", body)
}

func activityOf(e cloudtrail.Event) activityRow {
	r := activityRow{At: e.EventTime.Time, Name: e.EventName, User: e.Username, Text: e.CloudTrailEvent}
	if pretty := jsontext.Value(e.CloudTrailEvent); pretty.Indent() == nil {
		r.Text = string(pretty)
	}
	var more struct {
		Agent string `json:"userAgent"`
		From  string `json:"sourceIPAddress"`
		Code  string `json:"errorCode"`
	}
	if json.Unmarshal([]byte(e.CloudTrailEvent), &more) == nil {
		r.Agent, r.From, r.Code = agentName(more.Agent), more.From, more.Code
	}
	r.Same = "/activity?" + url.Values{"by": {"Username"}, "find": {r.User}}.Encode()
	if len(e.Resources) > 0 {
		r.Resource = e.Resources[0].ResourceName
		if kind, ours := strings.CutPrefix(e.Resources[0].ResourceType, "AWS::SageMaker::"); ours {
			r.Path = pathOf(resource.Kind(kind), r.Resource)
		}
	}
	return r
}

// agentName is the client that people know by a user agent.
func agentName(ua string) string {
	for _, a := range [][2]string{
		{"AWS-SageMaker-Python-SDK/3", "SageMaker SDK v3"},
		{"AWS-SageMaker-Python-SDK/2", "SageMaker SDK v2"},
		{"AWS-SageMaker-Python-SDK", "SageMaker SDK"},
		{"aws-cli", "AWS CLI"},
		{"Boto3", "boto3"},
		{"Botocore", "botocore"},
		{"aws-sdk-go", "AWS SDK for Go"},
		{"aws-sdk-js", "AWS SDK for JavaScript"},
		{"clary-cli", "clary"},
		{"Mozilla", "Console"},
	} {
		if strings.Contains(ua, a[0]) {
			return a[1]
		}
	}
	name, _, _ := strings.Cut(ua, " ")
	return name
}
