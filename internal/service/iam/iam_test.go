package iam

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"clary/internal/api"
	apiiam "clary/internal/api/iam"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/identity"
	"clary/internal/store/sqlite"
)

const (
	account = "123456789012"
	trust   = `{"Statement":{"Effect":"Allow","Principal":{"Service":"sagemaker.amazonaws.com"},"Action":"sts:AssumeRole"}}`
)

func open(t *testing.T, strict bool) *IAM {
	t.Helper()
	dir := t.TempDir()
	st, err := sqlite.Open(filepath.Join(dir, "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	id, err := identity.Open(identity.Config{Store: st, Dir: filepath.Join(dir, "keys"), Account: account, StrictRoles: strict})
	if err != nil {
		t.Fatal(err)
	}
	return New(id)
}

var call = op.Call{Account: account, Service: "iam"}

func code(err error) string {
	if e, ok := errors.AsType[*apierr.Error](err); ok {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	s, ctx := open(t, true), t.Context()
	create := func(name, path string) error {
		_, err := s.CreateRole(ctx, call, &apiiam.CreateRoleRequest{RoleName: name, Path: path, AssumeRolePolicyDocument: trust, MaxSessionDuration: api.Ptr[int64](7200)})
		return err
	}
	if err := create("a", "/service/"); err != nil {
		t.Fatal(err)
	}
	if got := code(create("a", "")); got != "EntityAlreadyExists" {
		t.Error(got)
	}
	if _, err := s.CreateRole(ctx, call, &apiiam.CreateRoleRequest{RoleName: "bad", AssumeRolePolicyDocument: "{}"}); code(err) != "MalformedPolicyDocument" {
		t.Error(err)
	}
	r := must[*apiiam.GetRoleResponse](t)(s.GetRole(ctx, call, &apiiam.GetRoleRequest{RoleName: "a"})).Role
	doc, err := url.PathUnescape(r.AssumeRolePolicyDocument)
	if err != nil || doc != trust || r.Arn != "arn:aws:iam::123456789012:role/service/a" || *r.MaxSessionDuration != 7200 || !strings.HasPrefix(r.RoleId, "AROA") {
		t.Errorf("%+v %s %v", r, doc, err)
	}
	if _, err := s.GetRole(ctx, call, &apiiam.GetRoleRequest{RoleName: "unknown"}); code(err) != "NoSuchEntity" {
		t.Error(err)
	}
	for _, n := range []string{"c", "b", "d"} {
		if err := create(n, ""); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	in := &apiiam.ListRolesRequest{MaxItems: api.Ptr[int64](3)}
	for {
		page := must[*apiiam.ListRolesResponse](t)(s.ListRoles(ctx, call, in))
		for _, r := range page.Roles {
			names = append(names, r.RoleName)
		}
		if !*page.IsTruncated {
			break
		}
		in.Marker = page.Marker
	}
	if got := strings.Join(names, " "); got != "a b c d" {
		t.Error(got)
	}
	page := must[*apiiam.ListRolesResponse](t)(s.ListRoles(ctx, call, &apiiam.ListRolesRequest{PathPrefix: "/service/"}))
	if len(page.Roles) != 1 || page.Roles[0].RoleName != "a" {
		t.Errorf("%+v", page.Roles)
	}
	if _, err := s.ListRoles(ctx, call, &apiiam.ListRolesRequest{Marker: "nonsense"}); code(err) != "ValidationError" {
		t.Error(err)
	}
}

func TestUnknownRole(t *testing.T) {
	t.Parallel()
	s := open(t, false)
	r := must[*apiiam.GetRoleResponse](t)(s.GetRole(t.Context(), call, &apiiam.GetRoleRequest{RoleName: "Placeholder"})).Role
	if !strings.Contains(r.AssumeRolePolicyDocument, "sagemaker.amazonaws.com") || r.CreateDate.IsZero() {
		t.Errorf("%+v", r)
	}
	page := must[*apiiam.ListRolesResponse](t)(s.ListRoles(t.Context(), call, &apiiam.ListRolesRequest{}))
	if len(page.Roles) != 0 {
		t.Errorf("%+v", page.Roles)
	}
	if _, err := s.PutRolePolicy(t.Context(), call, &apiiam.PutRolePolicyRequest{RoleName: "Placeholder", PolicyName: "p", PolicyDocument: `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`}); code(err) != "NoSuchEntity" {
		t.Error(err)
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	s, ctx := open(t, false), t.Context()
	must[*apiiam.CreateRoleResponse](t)(s.CreateRole(ctx, call, &apiiam.CreateRoleRequest{RoleName: "r", AssumeRolePolicyDocument: trust}))
	put := func(name, doc string) string {
		_, err := s.PutRolePolicy(ctx, call, &apiiam.PutRolePolicyRequest{RoleName: "r", PolicyName: name, PolicyDocument: doc})
		return code(err)
	}
	const doc = `{"Statement":[{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::b/*"},{"Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::b/no"}]}`
	for _, c := range []struct{ name, doc, want string }{
		{"p", doc, ""},
		{"p", doc, ""},
		{"q", "{", "MalformedPolicyDocument"},
		{"q", `{"Statement":{"Effect":"Allow","Action":"s3:*"}}`, "MalformedPolicyDocument"},
		{"big", `{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"` + strings.Repeat("a", maxInline) + `"}}`, "LimitExceeded"},
	} {
		if got := put(c.name, c.doc); got != c.want {
			t.Errorf("%s %.40s: %s", c.name, c.doc, got)
		}
	}
	names := must[*apiiam.ListRolePoliciesResponse](t)(s.ListRolePolicies(ctx, call, &apiiam.ListRolePoliciesRequest{RoleName: "r"})).PolicyNames
	if strings.Join(names, " ") != "p" {
		t.Error(names)
	}
	const full = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
	if _, err := s.AttachRolePolicy(ctx, call, &apiiam.AttachRolePolicyRequest{RoleName: "r", PolicyArn: full + "X"}); code(err) != "NoSuchEntity" {
		t.Error(err)
	}
	if _, err := s.AttachRolePolicy(ctx, call, &apiiam.AttachRolePolicyRequest{RoleName: "r", PolicyArn: full}); err != nil {
		t.Fatal(err)
	}
	at := must[*apiiam.ListAttachedRolePoliciesResponse](t)(s.ListAttachedRolePolicies(ctx, call, &apiiam.ListAttachedRolePoliciesRequest{RoleName: "r"})).AttachedPolicies
	if len(at) != 1 || at[0].PolicyName != "AmazonSageMakerFullAccess" {
		t.Error(at)
	}
	simulated(t, s, "arn:aws:iam::123456789012:role/r", map[string]string{
		"s3:GetObject arn:aws:s3:::b/yes": "allowed", "s3:GetObject arn:aws:s3:::b/no": "explicitDeny", "s3:PutObject arn:aws:s3:::b/yes": "implicitDeny",
		"sagemaker:CreateModel arn:aws:s3:::b/yes": "allowed",
	})
	if _, err := s.DeleteRole(ctx, call, &apiiam.DeleteRoleRequest{RoleName: "r"}); code(err) != "DeleteConflict" {
		t.Error(err)
	}
	for _, f := range []func() error{
		func() error {
			_, err := s.DeleteRolePolicy(ctx, call, &apiiam.DeleteRolePolicyRequest{RoleName: "r", PolicyName: "p"})
			return err
		},
		func() error {
			_, err := s.DetachRolePolicy(ctx, call, &apiiam.DetachRolePolicyRequest{RoleName: "r", PolicyArn: full})
			return err
		},
	} {
		if err := f(); err != nil {
			t.Error(err)
		}
		if got := code(f()); got != "NoSuchEntity" {
			t.Error(got)
		}
	}
	if _, err := s.DeleteRole(ctx, call, &apiiam.DeleteRoleRequest{RoleName: "r"}); err != nil {
		t.Error(err)
	}
}

// simulated asks for all actions and resources of want in pages of two.
func simulated(t *testing.T, s *IAM, source string, want map[string]string) {
	t.Helper()
	actions, resources := map[string]bool{}, map[string]bool{}
	in := &apiiam.SimulatePrincipalPolicyRequest{PolicySourceArn: source, MaxItems: api.Ptr[int64](2)}
	for k := range want {
		a, r, _ := strings.Cut(k, " ")
		if !actions[a] {
			actions[a] = true
			in.ActionNames = append(in.ActionNames, a)
		}
		if !resources[r] {
			resources[r] = true
			in.ResourceArns = append(in.ResourceArns, r)
		}
	}
	n := 0
	for {
		out, err := s.SimulatePrincipalPolicy(context.Background(), call, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.EvaluationResults {
			n++
			if w := want[r.EvalActionName+" "+r.EvalResourceName]; w != "" && w != r.EvalDecision {
				t.Errorf("%s on %s: %s, want %s", r.EvalActionName, r.EvalResourceName, r.EvalDecision, w)
			}
		}
		if !*out.IsTruncated {
			break
		}
		in.Marker = out.Marker
	}
	if n != len(actions)*len(resources) {
		t.Errorf("%d results of %d", n, len(actions)*len(resources))
	}
}

func TestSimulate(t *testing.T) {
	t.Parallel()
	s := open(t, false)
	simulated(t, s, "arn:aws:iam::123456789012:role/Placeholder", map[string]string{"sagemaker:CreateTrainingJob *": "allowed"})
	simulated(t, s, "arn:aws:iam::123456789012:root", map[string]string{"sagemaker:CreateTrainingJob *": "allowed"})
	simulated(t, s, "arn:aws:sts::123456789012:assumed-role/Placeholder/se", map[string]string{"s3:PutObject *": "allowed"})
	for _, c := range []struct{ source, action, want string }{
		{"nonsense-that-is-no-arn", "a:b", "InvalidInput"},
		{"arn:aws:iam::123456789012:role/r", "GetObject", "InvalidInput"},
		{"arn:aws:iam::999999999999:role/r", "s3:GetObject", "NoSuchEntity"},
	} {
		_, err := s.SimulatePrincipalPolicy(t.Context(), call, &apiiam.SimulatePrincipalPolicyRequest{PolicySourceArn: c.source, ActionNames: []string{c.action}})
		if code(err) != c.want {
			t.Errorf("%s %s: %v", c.source, c.action, err)
		}
	}
}
