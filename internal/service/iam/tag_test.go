package iam

import (
	"fmt"
	"testing"

	apiiam "clary/internal/api/iam"
)

func TestRoleTags(t *testing.T) {
	t.Parallel()
	s, ctx := open(t, true), t.Context()
	if _, err := s.CreateRole(ctx, call, &apiiam.CreateRoleRequest{RoleName: "r", AssumeRolePolicyDocument: trust, Tags: []apiiam.Tag{{Key: "team", Value: "a"}}}); err != nil {
		t.Fatal(err)
	}
	for name, tags := range map[string][]apiiam.Tag{
		"reserved": {{Key: "aws:x", Value: "y"}}, "twice": {{Key: "a", Value: "1"}, {Key: "A", Value: "2"}},
	} {
		if _, err := s.TagRole(ctx, call, &apiiam.TagRoleRequest{RoleName: "r", Tags: tags}); code(err) != "InvalidInput" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.TagRole(ctx, call, &apiiam.TagRoleRequest{RoleName: "r", Tags: []apiiam.Tag{{Key: "Team", Value: "b"}, {Key: "empty"}}}); err != nil {
		t.Fatal(err)
	}
	show := func() string {
		out := must[*apiiam.ListRoleTagsResponse](t)(s.ListRoleTags(ctx, call, &apiiam.ListRoleTagsRequest{RoleName: "r"}))
		return fmt.Sprint(out.Tags)
	}
	if got := show(); got != "[{Team b} {empty }]" {
		t.Error(got)
	}
	if r := must[*apiiam.GetRoleResponse](t)(s.GetRole(ctx, call, &apiiam.GetRoleRequest{RoleName: "r"})).Role; len(r.Tags) != 2 {
		t.Errorf("%+v", r.Tags)
	}
	if _, err := s.UntagRole(ctx, call, &apiiam.UntagRoleRequest{RoleName: "r", TagKeys: []string{"TEAM", "other"}}); err != nil {
		t.Fatal(err)
	}
	if got := show(); got != "[{empty }]" {
		t.Error(got)
	}
	var many []apiiam.Tag
	for i := range maxTags {
		many = append(many, apiiam.Tag{Key: fmt.Sprint(i), Value: "v"})
	}
	if _, err := s.TagRole(ctx, call, &apiiam.TagRoleRequest{RoleName: "r", Tags: many}); code(err) != "LimitExceeded" {
		t.Error(err)
	}
	if _, err := s.TagRole(ctx, call, &apiiam.TagRoleRequest{RoleName: "nobody", Tags: many[:1]}); code(err) != "NoSuchEntity" {
		t.Error(err)
	}
}
