package sns

import (
	"context"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	api "clary/internal/api/sns"
	"clary/internal/aws/op"
)

// document is an access policy, as far as we write in it.
type document struct {
	Version    string           `json:"Version,omitzero"`
	ID         string           `json:"Id,omitzero"`
	Statements []jsontext.Value `json:"Statement"`
}

// statement is one that AddPermission writes.
type statement struct {
	Sid       string              `json:"Sid"`
	Effect    string              `json:"Effect"`
	Principal map[string][]string `json:"Principal"`
	Action    []string            `json:"Action"`
	Resource  string              `json:"Resource"`
}

// defaultPolicy is the one that SNS gives a new topic: its owner may all.
func defaultPolicy(topicArn, account string) string {
	return `{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow",` +
		`"Principal":{"AWS":"*"},"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission","SNS:RemovePermission",` +
		`"SNS:DeleteTopic","SNS:Subscribe","SNS:ListSubscriptionsByTopic","SNS:Publish"],"Resource":"` + topicArn +
		`","Condition":{"StringEquals":{"AWS:SourceOwner":"` + account + `"}}}]}`
}

const maxPolicy = 30 << 10

// checkPolicy holds a policy to be one; who else may do what is nothing to a
// server of one account, so it is kept and shown, and asks nobody.
func checkPolicy(text string) error {
	if text == "" {
		return nil
	}
	var d document
	if len(text) > maxPolicy {
		return invalid("Policy Error: it is longer than %d bytes", maxPolicy)
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil || len(d.Statements) == 0 {
		return invalid("Policy Error: it is not a policy document with statements")
	}
	for _, raw := range d.Statements {
		if _, err := sid(raw); err != nil {
			return err
		}
	}
	return nil
}

func sid(raw jsontext.Value) (string, error) {
	var s struct {
		Sid    string
		Effect string
	}
	if err := json.Unmarshal(raw, &s); err != nil || s.Effect != "Allow" && s.Effect != "Deny" {
		return "", invalid("Policy Error: a statement has no Effect of Allow or Deny")
	}
	return s.Sid, nil
}

// AddPermission adds a statement to the topic's policy.
func (s *Service) AddPermission(ctx context.Context, c op.Call, in *api.AddPermissionInput) (*struct{}, error) {
	add := statement{Sid: in.Label, Effect: "Allow", Principal: map[string][]string{}}
	for _, a := range in.AWSAccountId {
		if len(a) != 12 || strings.Trim(a, "0123456789") != "" {
			return nil, invalid("AWSAccountId")
		}
		add.Principal["AWS"] = append(add.Principal["AWS"], "arn:aws:iam::"+a+":root")
	}
	actions := []string{"GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic", "Subscribe", "ListSubscriptionsByTopic", "Publish"}
	for _, a := range in.ActionName {
		if !slices.Contains(actions, a) {
			return nil, invalid("Policy statement action out of service scope!")
		}
		add.Action = append(add.Action, "SNS:"+a)
	}
	if len(in.AWSAccountId) == 0 || len(in.ActionName) == 0 || in.Label == "" {
		return nil, invalid("Label, AWSAccountId and ActionName are all needed")
	}
	return nil, s.changeTopic(ctx, c, in.TopicArn, func(t *topic) error {
		add.Resource = t.Arn
		return t.statements(func(all []jsontext.Value) ([]jsontext.Value, error) {
			for _, raw := range all {
				if has, err := sid(raw); err != nil || has == in.Label {
					return nil, invalid("Statement already exists")
				}
			}
			b, err := json.Marshal(add)
			return append(all, b), err
		})
	})
}

// RemovePermission takes a statement out of it.
func (s *Service) RemovePermission(ctx context.Context, c op.Call, in *api.RemovePermissionInput) (*struct{}, error) {
	return nil, s.changeTopic(ctx, c, in.TopicArn, func(t *topic) error {
		return t.statements(func(all []jsontext.Value) ([]jsontext.Value, error) {
			before := len(all)
			left := slices.DeleteFunc(all, func(raw jsontext.Value) bool {
				has, err := sid(raw)
				return err == nil && has == in.Label
			})
			if len(left) == before {
				return nil, notFound("Statement does not exist")
			}
			return left, nil
		})
	})
}

// statements edits those of the topic's policy.
func (t *topic) statements(edit func([]jsontext.Value) ([]jsontext.Value, error)) error {
	var d document
	if err := json.Unmarshal([]byte(t.get("Policy")), &d); err != nil {
		return err
	}
	n := len(d.Statements)
	left, err := edit(slices.Clip(d.Statements))
	if err != nil {
		return err
	}
	if len(left) == 0 && n > 0 {
		delete(t.Attributes, "Policy")
		return nil
	}
	d.Statements = left
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return t.set("Policy", string(b))
}
