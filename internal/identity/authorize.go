package identity

import (
	"context"
	"crypto/cipher"
	"errors"
	"net/http"
	"strings"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/resource"
	"clary/internal/store"
)

// Config is what identity works with.
type Config struct {
	Store       store.Store
	Dir         string // DATA/keys
	Account     string
	StrictRoles bool // unknown roles are refused
}

// Identity knows who is who on this server.
type Identity struct {
	store   store.Store
	account string
	strict  bool
	root    RootKey
	aead    cipher.AEAD
	started time.Time
}

// Open reads the keys, and makes them at the first start.
func Open(c Config) (*Identity, error) {
	root, aead, err := openKeys(c.Dir)
	if err != nil {
		return nil, err
	}
	return &Identity{store: c.Store, account: c.Account, strict: c.StrictRoles, root: root, aead: aead, started: time.Now().Truncate(time.Second)}, nil
}

// Root is the account's own access key.
func (i *Identity) Root() RootKey { return i.root }

// managed are the AWS managed policies that can be attached to a role. They
// allow what their AWS namesakes allow of the services served here.
var managed = map[string]string{
	"arn:aws:iam::aws:policy/AdministratorAccess":       `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
	"arn:aws:iam::aws:policy/PowerUserAccess":           `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":["iam:*"],"Resource":"*"},{"Effect":"Allow","Action":["iam:ListRoles","iam:GetRole"],"Resource":"*"}]}`,
	"arn:aws:iam::aws:policy/AmazonSageMakerFullAccess": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sagemaker:*","logs:*","cloudwatch:*","secretsmanager:ListSecrets","s3:ListAllMyBuckets","s3:CreateBucket","s3:GetBucketLocation","s3:ListBucket","s3:HeadBucket","iam:ListRoles","iam:GetRole","sts:GetCallerIdentity"],"Resource":"*"},{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:DeleteObject","s3:AbortMultipartUpload"],"Resource":["arn:aws:s3:::*SageMaker*","arn:aws:s3:::*Sagemaker*","arn:aws:s3:::*sagemaker*"]},{"Effect":"Allow","Action":["secretsmanager:DescribeSecret","secretsmanager:GetSecretValue","secretsmanager:CreateSecret"],"Resource":"arn:aws:secretsmanager:*:*:secret:AmazonSageMaker-*"},{"Effect":"Allow","Action":["secretsmanager:DescribeSecret","secretsmanager:GetSecretValue"],"Resource":"*","Condition":{"StringEquals":{"secretsmanager:ResourceTag/SageMaker":"true"}}},{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::*:role/*","Condition":{"StringEquals":{"iam:PassedToService":"sagemaker.amazonaws.com"}}}]}`,
	"arn:aws:iam::aws:policy/AmazonS3FullAccess":        `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`,
	"arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess":    `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"*"}]}`,
	"arn:aws:iam::aws:policy/CloudWatchFullAccess":      `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["cloudwatch:*","logs:*"],"Resource":"*"}]}`,
	"arn:aws:iam::aws:policy/SecretsManagerReadWrite":   `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"secretsmanager:*","Resource":"*"}]}`,
	"arn:aws:iam::aws:policy/CloudWatchLogsFullAccess":  `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"logs:*","Resource":"*"}]}`,
}

// Managed says whether an AWS managed policy is known here.
func Managed(arn string) bool { return managed[arn] != "" }

// Evaluate says what a role's policies allow, without asking who calls. The
// names of keys are lower-case.
func (i *Identity) Evaluate(r *Role, action, resourceArn string, keys map[string][]string) (Decision, error) {
	return i.evaluate(r, action, resourceArn, keyMap(keys))
}

func (i *Identity) evaluate(r *Role, action, resourceArn string, keys keyring) (Decision, error) {
	if r.Assumed {
		return Allowed, nil
	}
	var ps []*Policy
	add := func(doc string) error {
		p, err := ParsePolicy(doc, false)
		if err == nil {
			ps = append(ps, p)
		}
		return err
	}
	for _, doc := range r.Policies {
		if err := add(doc); err != nil {
			return ImplicitDeny, err
		}
	}
	for _, name := range r.Managed {
		if err := add(managed[name]); err != nil {
			return ImplicitDeny, err
		}
	}
	return evaluate(ps, ask{action: action, resource: resourceArn, keys: keys}), nil
}

// Allow decides one action of a principal, for the request that ctx holds.
func (i *Identity) Allow(ctx context.Context, p resource.Principal, action, resourceArn string) error {
	return i.allow(ctx, p, action, resourceArn, nil)
}

func (i *Identity) allow(ctx context.Context, p resource.Principal, action, resourceArn string, extra keyMap) error {
	if p.Root {
		return nil
	}
	known := i.facts(ctx, p, resourceArn)
	d := ImplicitDeny
	if p.RoleArn != "" {
		role, err := i.Role(ctx, p.RoleArn)
		if err != nil {
			if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Code != "NoSuchEntity" {
				return err
			}
		} else if outlived(p, role) {
			d = ImplicitDeny
		} else if d, err = i.evaluate(role, action, resourceArn, over{extra, known}); err != nil || known.err != nil {
			return errors.Join(err, known.err)
		}
	}
	switch d {
	case Allowed:
		return nil
	case ExplicitDeny:
		return apierr.AccessDenied("User: %s is not authorized to perform: %s on resource: %s with an explicit deny in an identity-based policy", p.Arn, action, resourceArn)
	default:
	}
	return apierr.AccessDenied("User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action", p.Arn, action, resourceArn, action)
}

// outlived says that a session's role is gone: there is none of its name now,
// or another one. A session that began before a role of its name was made acts
// under that role's policies from then on.
func outlived(p resource.Principal, now *Role) bool {
	began, _, ok := strings.Cut(p.UserID, ":")
	return ok && began != now.ID && began != assumedID(p.Account, now.Name)
}

// PassRole checks that p may hand the role to a service and that the role
// trusts that service.
func (i *Identity) PassRole(ctx context.Context, p resource.Principal, roleArn, service string) error {
	a, ok := arn.Parse(roleArn)
	if !ok {
		return apierr.Validation("Invalid role ARN %q.", roleArn)
	}
	if a.Account != p.Account {
		return apierr.Validation("Cross-account pass role is not allowed. The role %s belongs to account %s, and the request was signed by account %s.", roleArn, a.Account, p.Account)
	}
	extra := keyMap{"iam:passedtoservice": {service}}
	req := requestOf(ctx)
	if req != nil {
		extra["iam:associatedresourcearn"] = some(req.Resource)
	}
	if err := i.allow(ctx, p, "iam:PassRole", roleArn, extra); err != nil {
		return err
	}
	role, err := i.Role(ctx, roleArn)
	if e, ok := errors.AsType[*apierr.Error](err); ok && e.Code == "NoSuchEntity" {
		return noTrust(roleArn, service)
	}
	if err != nil {
		return err
	}
	// the service takes the role on behalf of the resource
	on := keyMap{"aws:sourceaccount": {p.Account}, "aws:principalservicename": {service}, "aws:principalisawsservice": {"true"}}
	if req != nil {
		on["aws:sourcearn"], on["aws:requestedregion"] = some(req.Resource), some(req.Region)
	}
	if d, err := i.trusts(role, "Service", service, on); err != nil || d != Allowed {
		return noTrust(roleArn, service)
	}
	return nil
}

func noTrust(roleArn, service string) error {
	return apierr.Validation("Could not assume role %s. Please ensure that the role exists and allows principal '%s' to assume the role.", roleArn, service)
}

func (i *Identity) trusts(r *Role, typ, who string, keys keyring) (Decision, error) {
	p, err := ParsePolicy(r.Trust, true)
	if err != nil {
		return ImplicitDeny, err
	}
	return evaluate([]*Policy{p}, ask{action: "sts:AssumeRole", typ: typ, who: who, keys: keys}), nil
}

// MayAssume checks an AssumeRole call: the role must trust the caller, and a
// caller that is not the account itself must be allowed the action. A role
// that does not exist is taken by its own account when roles are not strict.
func (i *Identity) MayAssume(ctx context.Context, p resource.Principal, roleArn string) (*Role, error) {
	denied := apierr.New(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: sts:AssumeRole on resource: %s", p.Arn, roleArn)
	role, err := i.Role(ctx, roleArn)
	if e, ok := errors.AsType[*apierr.Error](err); ok && e.Code == "NoSuchEntity" {
		return nil, denied
	}
	if err != nil {
		return nil, err
	}
	if !p.Root {
		if err := i.Allow(ctx, p, "sts:AssumeRole", roleArn); err != nil {
			return nil, denied
		}
	}
	if role.Assumed {
		return role, nil
	}
	known := i.facts(ctx, p, roleArn)
	d, err := i.trusts(role, "AWS", p.Arn, known)
	if err != nil || known.err != nil {
		return nil, errors.Join(err, known.err)
	}
	if d != Allowed {
		return nil, denied
	}
	return role, nil
}
