// Package iam serves the part of Identity and Access Management that SDKs and
// scripts around SageMaker use: roles, their policies, and what they allow.
package iam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"clary/internal/api"
	apiiam "clary/internal/api/iam"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/identity"
)

// IAM serves the operations.
type IAM struct{ id *identity.Identity }

// New makes the service.
func New(id *identity.Identity) *IAM { return &IAM{id} }

// Name is the service's name.
func (s *IAM) Name() string { return "iam" }

// Operations lists what is served.
func (s *IAM) Operations() map[string]op.Handler {
	role := func(c op.Call, name string) string {
		// as it is stored: policies speak of its path too
		if r, err := s.id.RoleNamed(context.Background(), c.Account, name); err == nil {
			return r.Arn
		}
		return "arn:aws:iam::" + c.Account + ":role/" + name
	}
	return map[string]op.Handler{
		"GetRole": op.On(op.Op(s.GetRole), func(c op.Call, in *apiiam.GetRoleRequest) string { return role(c, in.RoleName) }),
		"CreateRole": op.On(op.Op(s.CreateRole), func(c op.Call, in *apiiam.CreateRoleRequest) string {
			return "arn:aws:iam::" + c.Account + ":role" + cmp.Or(in.Path, "/") + in.RoleName
		}),
		"DeleteRole":               op.On(op.Op(s.DeleteRole), func(c op.Call, in *apiiam.DeleteRoleRequest) string { return role(c, in.RoleName) }),
		"ListRoles":                op.Op(s.ListRoles),
		"PutRolePolicy":            op.On(op.Op(s.PutRolePolicy), func(c op.Call, in *apiiam.PutRolePolicyRequest) string { return role(c, in.RoleName) }),
		"GetRolePolicy":            op.On(op.Op(s.GetRolePolicy), func(c op.Call, in *apiiam.GetRolePolicyRequest) string { return role(c, in.RoleName) }),
		"DeleteRolePolicy":         op.On(op.Op(s.DeleteRolePolicy), func(c op.Call, in *apiiam.DeleteRolePolicyRequest) string { return role(c, in.RoleName) }),
		"ListRolePolicies":         op.On(op.Op(s.ListRolePolicies), func(c op.Call, in *apiiam.ListRolePoliciesRequest) string { return role(c, in.RoleName) }),
		"AttachRolePolicy":         op.On(op.Op(s.AttachRolePolicy), func(c op.Call, in *apiiam.AttachRolePolicyRequest) string { return role(c, in.RoleName) }),
		"DetachRolePolicy":         op.On(op.Op(s.DetachRolePolicy), func(c op.Call, in *apiiam.DetachRolePolicyRequest) string { return role(c, in.RoleName) }),
		"ListAttachedRolePolicies": op.On(op.Op(s.ListAttachedRolePolicies), func(c op.Call, in *apiiam.ListAttachedRolePoliciesRequest) string { return role(c, in.RoleName) }),
		"TagRole":                  op.On(op.Op(s.TagRole), func(c op.Call, in *apiiam.TagRoleRequest) string { return role(c, in.RoleName) }),
		"UntagRole":                op.On(op.Op(s.UntagRole), func(c op.Call, in *apiiam.UntagRoleRequest) string { return role(c, in.RoleName) }),
		"ListRoleTags":             op.On(op.Op(s.ListRoleTags), func(c op.Call, in *apiiam.ListRoleTagsRequest) string { return role(c, in.RoleName) }),
		"SimulatePrincipalPolicy":  op.On(op.Op(s.SimulatePrincipalPolicy), func(_ op.Call, in *apiiam.SimulatePrincipalPolicyRequest) string { return in.PolicySourceArn }),
	}
}

func shown(r *identity.Role) *apiiam.Role {
	var tags []apiiam.Tag
	if len(r.Tags) > 0 {
		tags = tagList(r.Tags)
	}
	return &apiiam.Role{
		Tags: tags,
		Path: r.Path, RoleName: r.Name, RoleId: r.ID, Arn: r.Arn, CreateDate: api.At(r.Created), Description: r.Description,
		AssumeRolePolicyDocument: encoded(r.Trust), MaxSessionDuration: api.Ptr(int64(r.MaxSession)),
	}
}

// encoded: IAM answers policy documents percent-encoded.
func encoded(doc string) string { return strings.ReplaceAll(url.QueryEscape(doc), "+", "%20") }

// GetRole describes a role.
func (s *IAM) GetRole(ctx context.Context, c op.Call, in *apiiam.GetRoleRequest) (*apiiam.GetRoleResponse, error) {
	r, err := s.id.RoleNamed(ctx, c.Account, in.RoleName)
	if err != nil {
		return nil, err
	}
	return &apiiam.GetRoleResponse{Role: shown(r)}, nil
}

// CreateRole makes a role.
func (s *IAM) CreateRole(ctx context.Context, c op.Call, in *apiiam.CreateRoleRequest) (*apiiam.CreateRoleResponse, error) {
	if in.PermissionsBoundary != "" {
		return nil, apierr.New(http.StatusBadRequest, "InvalidInput", "Clary does not support permissions boundaries. No role was made.")
	}
	r := identity.Role{Name: in.RoleName, Path: "/", Description: in.Description, Trust: in.AssumeRolePolicyDocument, MaxSession: 3600}
	if in.Path != "" {
		r.Path = in.Path
	}
	if in.MaxSessionDuration != nil {
		r.MaxSession = int(*in.MaxSessionDuration)
	}
	var err error
	if r.Tags, err = tagged(nil, in.Tags); err != nil {
		return nil, err
	}
	made, err := s.id.CreateRole(ctx, c.Account, r)
	if err != nil {
		return nil, err
	}
	return &apiiam.CreateRoleResponse{Role: shown(made)}, nil
}

// DeleteRole removes a role without policies.
func (s *IAM) DeleteRole(ctx context.Context, c op.Call, in *apiiam.DeleteRoleRequest) (*struct{}, error) {
	return nil, s.id.DeleteRole(ctx, c.Account, in.RoleName)
}

// ListRoles lists the roles that were made; one that merely acts as an unknown
// role does not exist. A page may hold less than MaxItems when a path is asked for.
func (s *IAM) ListRoles(ctx context.Context, c op.Call, in *apiiam.ListRolesRequest) (*apiiam.ListRolesResponse, error) {
	limit := pageSize
	if in.MaxItems != nil {
		limit = int(*in.MaxItems)
	}
	roles, marker, err := s.id.Roles(ctx, c.Account, in.Marker, limit)
	if err != nil {
		return nil, err
	}
	out := &apiiam.ListRolesResponse{Roles: []apiiam.Role{}, Marker: marker, IsTruncated: api.Ptr(marker != "")}
	for _, r := range roles {
		if strings.HasPrefix(r.Path, in.PathPrefix) {
			one := shown(r)
			one.Tags = nil // as on AWS: GetRole tells them
			out.Roles = append(out.Roles, *one)
		}
	}
	return out, nil
}

const maxInline = 10240 // characters of all inline policies of a role, without white space

// PutRolePolicy sets an inline policy.
func (s *IAM) PutRolePolicy(ctx context.Context, c op.Call, in *apiiam.PutRolePolicyRequest) (*struct{}, error) {
	if err := identity.CheckPolicy(in.PolicyDocument); err != nil {
		return nil, err
	}
	return nil, s.id.ChangeRole(ctx, c.Account, in.RoleName, func(r *identity.Role) error {
		if r.Policies == nil {
			r.Policies = map[string]string{}
		}
		r.Policies[in.PolicyName] = in.PolicyDocument
		size := 0
		for _, doc := range r.Policies {
			size += len(strings.Join(strings.Fields(doc), ""))
		}
		if size > maxInline {
			return apierr.New(http.StatusConflict, "LimitExceeded", "Maximum policy size of %d bytes exceeded for role %s", maxInline, in.RoleName)
		}
		return nil
	})
}

func errNoPolicy(name string) error {
	return apierr.New(http.StatusNotFound, "NoSuchEntity", "The role policy with name %s cannot be found.", name)
}

// GetRolePolicy shows an inline policy.
func (s *IAM) GetRolePolicy(ctx context.Context, c op.Call, in *apiiam.GetRolePolicyRequest) (*apiiam.GetRolePolicyResponse, error) {
	r, err := s.id.RoleNamed(ctx, c.Account, in.RoleName)
	if err != nil {
		return nil, err
	}
	doc, ok := r.Policies[in.PolicyName]
	if !ok {
		return nil, errNoPolicy(in.PolicyName)
	}
	return &apiiam.GetRolePolicyResponse{RoleName: in.RoleName, PolicyName: in.PolicyName, PolicyDocument: encoded(doc)}, nil
}

// DeleteRolePolicy removes an inline policy.
func (s *IAM) DeleteRolePolicy(ctx context.Context, c op.Call, in *apiiam.DeleteRolePolicyRequest) (*struct{}, error) {
	return nil, s.id.ChangeRole(ctx, c.Account, in.RoleName, func(r *identity.Role) error {
		if _, ok := r.Policies[in.PolicyName]; !ok {
			return errNoPolicy(in.PolicyName)
		}
		delete(r.Policies, in.PolicyName)
		return nil
	})
}

// ListRolePolicies names the inline policies.
func (s *IAM) ListRolePolicies(ctx context.Context, c op.Call, in *apiiam.ListRolePoliciesRequest) (*apiiam.ListRolePoliciesResponse, error) {
	r, err := s.id.RoleNamed(ctx, c.Account, in.RoleName)
	if err != nil {
		return nil, err
	}
	names, marker := page(slices.Sorted(maps.Keys(r.Policies)), in.Marker, in.MaxItems, func(n string) string { return n })
	return &apiiam.ListRolePoliciesResponse{PolicyNames: names, Marker: marker, IsTruncated: api.Ptr(marker != "")}, nil
}

// AttachRolePolicy attaches an AWS managed policy that is known here.
func (s *IAM) AttachRolePolicy(ctx context.Context, c op.Call, in *apiiam.AttachRolePolicyRequest) (*struct{}, error) {
	if !identity.Managed(in.PolicyArn) {
		return nil, apierr.New(http.StatusNotFound, "NoSuchEntity", "Policy %s does not exist or is not attachable.", in.PolicyArn)
	}
	return nil, s.id.ChangeRole(ctx, c.Account, in.RoleName, func(r *identity.Role) error {
		if !slices.Contains(r.Managed, in.PolicyArn) {
			r.Managed = append(r.Managed, in.PolicyArn)
			slices.Sort(r.Managed)
		}
		return nil
	})
}

// DetachRolePolicy detaches it.
func (s *IAM) DetachRolePolicy(ctx context.Context, c op.Call, in *apiiam.DetachRolePolicyRequest) (*struct{}, error) {
	return nil, s.id.ChangeRole(ctx, c.Account, in.RoleName, func(r *identity.Role) error {
		i := slices.Index(r.Managed, in.PolicyArn)
		if i < 0 {
			return apierr.New(http.StatusNotFound, "NoSuchEntity", "Policy %s was not found.", in.PolicyArn)
		}
		r.Managed = slices.Delete(r.Managed, i, i+1)
		return nil
	})
}

// ListAttachedRolePolicies names the attached policies.
func (s *IAM) ListAttachedRolePolicies(ctx context.Context, c op.Call, in *apiiam.ListAttachedRolePoliciesRequest) (*apiiam.ListAttachedRolePoliciesResponse, error) {
	r, err := s.id.RoleNamed(ctx, c.Account, in.RoleName)
	if err != nil {
		return nil, err
	}
	arns, marker := page(r.Managed, in.Marker, in.MaxItems, func(n string) string { return n })
	out := &apiiam.ListAttachedRolePoliciesResponse{Marker: marker, IsTruncated: api.Ptr(marker != "")}
	for _, a := range arns {
		out.AttachedPolicies = append(out.AttachedPolicies, apiiam.AttachedPolicy{PolicyName: a[strings.LastIndexByte(a, '/')+1:], PolicyArn: a})
	}
	return out, nil
}

// SimulatePrincipalPolicy evaluates the role's own policies and those given.
func (s *IAM) SimulatePrincipalPolicy(ctx context.Context, c op.Call, in *apiiam.SimulatePrincipalPolicyRequest) (*apiiam.SimulatePolicyResponse, error) {
	if in.ResourcePolicy != "" || len(in.PermissionsBoundaryPolicyInputList) > 0 {
		return nil, apierr.New(http.StatusBadRequest, "InvalidInput", "Clary does not simulate resource policies or permissions boundaries.")
	}
	role, err := s.source(ctx, c, in)
	if err != nil {
		return nil, err
	}
	keys := map[string][]string{}
	for _, e := range in.ContextEntries {
		keys[strings.ToLower(e.ContextKeyName)] = e.ContextKeyValues
	}
	resources := in.ResourceArns
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	var all []apiiam.EvaluationResult
	for _, action := range in.ActionNames {
		if service, name, ok := strings.Cut(action, ":"); !ok || service == "" || name == "" {
			return nil, apierr.New(http.StatusBadRequest, "InvalidInput", "Invalid Action Name: %s", action)
		}
		for _, res := range resources {
			d := identity.Allowed
			if role != nil {
				if d, err = s.id.Evaluate(role, action, res, keys); err != nil {
					return nil, err
				}
			}
			all = append(all, apiiam.EvaluationResult{EvalActionName: action, EvalResourceName: res, EvalDecision: string(d)})
		}
	}
	some, marker := page(all, in.Marker, in.MaxItems, func(r apiiam.EvaluationResult) string { return r.EvalActionName + " " + r.EvalResourceName })
	return &apiiam.SimulatePolicyResponse{EvaluationResults: some, Marker: marker, IsTruncated: api.Ptr(marker != "")}, nil
}

// source is the role that is asked about, with the request's policies added;
// nil is the account itself, which may do everything.
func (s *IAM) source(ctx context.Context, c op.Call, in *apiiam.SimulatePrincipalPolicyRequest) (*identity.Role, error) {
	src := in.PolicySourceArn
	if src == "arn:aws:iam::"+c.Account+":root" {
		return nil, nil
	}
	if _, rest, ok := strings.Cut(src, ":assumed-role/"); ok {
		name, _, _ := strings.Cut(rest, "/")
		r, err := s.id.RoleNamed(ctx, c.Account, name)
		if err != nil {
			return nil, err
		}
		src = r.Arn
	}
	role, err := s.id.Role(ctx, src)
	if e, ok := errors.AsType[*apierr.Error](err); ok && e.Code == "ValidationException" {
		return nil, apierr.New(http.StatusBadRequest, "InvalidInput", "Invalid Entity Arn: %s does not clearly define entity type and name.", in.PolicySourceArn)
	}
	if err != nil || len(in.PolicyInputList) == 0 {
		return role, err
	}
	more := *role
	more.Policies = maps.Clone(role.Policies)
	if more.Policies == nil {
		more.Policies = map[string]string{}
	}
	for i, doc := range in.PolicyInputList {
		if err := identity.CheckPolicy(doc); err != nil {
			return nil, err
		}
		more.Policies[fmt.Sprintf("PolicyInputList.%d", i+1)] = doc
	}
	return &more, nil
}

const pageSize = 100 // MaxItems when the caller names none

// page cuts a list behind the marker, the last item of the page before.
func page[T any](all []T, marker string, maxItems *int64, name func(T) string) ([]T, string) {
	if marker != "" {
		i := slices.IndexFunc(all, func(t T) bool { return name(t) == marker })
		all = all[i+1:]
	}
	limit := pageSize
	if maxItems != nil {
		limit = int(*maxItems)
	}
	if len(all) <= limit {
		return all, ""
	}
	return all[:limit], name(all[limit-1])
}
