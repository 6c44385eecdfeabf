// Package sts serves the part of the Security Token Service that SDKs and jobs
// need: who am I, and sessions of roles.
package sts

import (
	"context"
	"time"

	"clary/internal/api"
	apists "clary/internal/api/sts"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/identity"
)

// STS serves the operations.
type STS struct{ id *identity.Identity }

// New makes the service.
func New(id *identity.Identity) *STS { return &STS{id} }

// Name is the service's name.
func (s *STS) Name() string { return "sts" }

// Operations lists what is served.
func (s *STS) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		// AWS answers it to whoever could sign, whatever policies say.
		"GetCallerIdentity": op.Op(s.GetCallerIdentity).As(op.Free),
		// The role's trust policy decides, so the handler asks.
		"AssumeRole": op.Op(s.AssumeRole).As(op.Free),
	}
}

// GetCallerIdentity says who signed.
func (s *STS) GetCallerIdentity(_ context.Context, c op.Call, _ *apists.GetCallerIdentityRequest) (*apists.GetCallerIdentityResponse, error) {
	return &apists.GetCallerIdentityResponse{Account: c.Principal.Account, Arn: c.Principal.Arn, UserId: c.Principal.UserID}, nil
}

const (
	defaultSession = 3600 // seconds; the API reference's default
	chainedSession = 3600 // the most that a role's session may ask for when it takes a role
)

// AssumeRole makes a session of a role that trusts the caller.
func (s *STS) AssumeRole(ctx context.Context, c op.Call, in *apists.AssumeRoleRequest) (*apists.AssumeRoleResponse, error) {
	if in.Policy != "" || len(in.PolicyArns) > 0 {
		return nil, apierr.New(400, "ValidationError", "Clary does not support session policies in AssumeRole. No session was made.")
	}
	if len(in.Tags) > 0 || len(in.TransitiveTagKeys) > 0 || in.SerialNumber != "" || len(in.ProvidedContexts) > 0 {
		return nil, apierr.New(400, "ValidationError", "Clary does not support session tags, MFA devices or provided contexts in AssumeRole. No session was made.")
	}
	role, err := s.id.MayAssume(ctx, c.Principal, in.RoleArn)
	if err != nil {
		return nil, err
	}
	seconds := int64(defaultSession)
	if in.DurationSeconds != nil {
		seconds = *in.DurationSeconds
	}
	if seconds > int64(role.MaxSession) && role.MaxSession > 0 {
		return nil, apierr.New(400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	if c.Principal.RoleArn != "" && seconds > chainedSession {
		return nil, apierr.New(400, "ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	cr, err := s.id.Assume(ctx, in.RoleArn, in.RoleSessionName, time.Duration(seconds)*time.Second)
	if err != nil {
		return nil, err
	}
	return &apists.AssumeRoleResponse{
		Credentials:      &apists.Credentials{AccessKeyId: cr.AccessKeyID, SecretAccessKey: cr.SecretAccessKey, SessionToken: cr.SessionToken, Expiration: api.At(cr.Expiration)},
		AssumedRoleUser:  &apists.AssumedRoleUser{AssumedRoleId: cr.AssumedRoleID, Arn: cr.AssumedRoleArn},
		PackedPolicySize: api.Ptr(int64(0)), SourceIdentity: in.SourceIdentity,
	}, nil
}
