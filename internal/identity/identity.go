// Package identity knows accounts, access keys, roles and sessions, and says
// whether a principal may do a thing.
package identity

import (
	"context"
	"time"

	"clary/internal/resource"
)

// Keys finds the secret behind an access key. Session tokens are checked here.
type Keys interface {
	// Secret returns the signing secret and who it stands for. Errors are
	// *apierr.Error: InvalidClientTokenId, ExpiredToken.
	Secret(ctx context.Context, accessKeyID, sessionToken string) (string, resource.Principal, error)
}

// Authorizer decides. Allow returns nil or an *apierr.Error AccessDenied in
// AWS's words.
type Authorizer interface {
	Allow(ctx context.Context, p resource.Principal, action, resourceArn string) error
	// PassRole checks iam:PassRole, that the role is of p's account, and that
	// its trust policy names service (sagemaker.amazonaws.com).
	PassRole(ctx context.Context, p resource.Principal, roleArn, service string) error
}

// Credentials are what AssumeRole hands out.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	Expiration                                 time.Time
	AssumedRoleArn, AssumedRoleID              string
}

// Sessions makes role sessions for tasks and AssumeRole.
type Sessions interface {
	// Assume makes a session of a role that the caller was already allowed to
	// take. The session name is RoleSessionName's pattern.
	Assume(ctx context.Context, roleArn, sessionName string, d time.Duration) (Credentials, error)
}
