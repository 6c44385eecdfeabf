package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/resource"
	"clary/internal/store"
)

// RoleKind is the record kind of roles.
const RoleKind resource.Kind = "Role"

// Role is an IAM role with its inline policies.
type Role struct {
	Name        string
	Path        string
	Arn         string
	ID          string            // AROA...
	Description string            `json:",omitzero"`
	Trust       string            // policy document
	Policies    map[string]string `json:",omitzero"` // inline: name → document
	Managed     []string          `json:",omitzero"` // ARNs of attached policies
	Tags        map[string]string `json:",omitzero"`
	MaxSession  int               // seconds
	Created     time.Time

	// Assumed says that the role does not exist and acts with full access,
	// as unknown roles of one's own account do unless roles are strict.
	Assumed bool `json:"-"`
}

// sageMakerTrust is the trust policy that an assumed role shows: SDKs look for
// the service's name in it.
const sageMakerTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sagemaker.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

func roleKey(account, name string) resource.Key {
	return resource.Key{Account: account, Kind: RoleKind, Name: name}
}

// ErrNoRole is IAM's answer to an unknown role.
func ErrNoRole(name string) *apierr.Error {
	return apierr.New(http.StatusNotFound, "NoSuchEntity", "The role with name %s cannot be found.", name)
}

// Role finds a role by ARN. An unknown one is an error only when roles are
// strict.
func (i *Identity) Role(ctx context.Context, roleArn string) (*Role, error) {
	a, ok := arn.Parse(roleArn)
	if !ok || a.Service != "iam" || !strings.HasPrefix(a.Resource, "role/") {
		return nil, apierr.Validation("Invalid role ARN %q.", roleArn)
	}
	name := roleName(roleArn)
	role, err := i.role(ctx, a.Account, name, roleArn)
	if err == nil && role.Arn != roleArn {
		// of another path: policies about this one say nothing about that role
		return nil, ErrNoRole(name)
	}
	return role, err
}

// RoleNamed finds a role of an account by its name.
func (i *Identity) RoleNamed(ctx context.Context, account, name string) (*Role, error) {
	return i.role(ctx, account, name, "arn:aws:iam::"+account+":role/"+name)
}

func (i *Identity) role(ctx context.Context, account, name, roleArn string) (*Role, error) {
	rec, err := i.store.Get(ctx, roleKey(account, name))
	if errors.Is(err, store.ErrNotFound) {
		if i.strict || account != i.account {
			return nil, ErrNoRole(name)
		}
		return &Role{
			Name: name, Path: "/", Arn: roleArn, ID: assumedID(account, name), Trust: sageMakerTrust,
			MaxSession: 3600, Created: i.started, Assumed: true,
		}, nil
	}
	if err != nil {
		return nil, err
	}
	return readRole(rec)
}

// assumedID is the id of a role that does not exist: one name, one id.
func assumedID(account, name string) string {
	sum := sha256.Sum256([]byte(account + "/" + name))
	return "AROA" + base32.StdEncoding.EncodeToString(sum[:10])
}

func readRole(rec *resource.Record) (*Role, error) {
	var r Role
	if err := json.Unmarshal(rec.Spec, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// Roles lists stored roles by name, a page at a time.
func (i *Identity) Roles(ctx context.Context, account, token string, limit int) ([]*Role, string, error) {
	recs, next, err := i.store.List(ctx, resource.Query{Account: account, Kind: RoleKind, Sort: resource.SortName, Token: token, Limit: limit})
	if errors.Is(err, store.ErrToken) {
		return nil, "", apierr.New(http.StatusBadRequest, "ValidationError", "Invalid Marker.")
	}
	if err != nil {
		return nil, "", err
	}
	out := make([]*Role, 0, len(recs))
	for _, rec := range recs {
		r, err := readRole(rec)
		if err != nil {
			return nil, "", err
		}
		out = append(out, r)
	}
	return out, next, nil
}

// CreateRole stores a new role; EntityAlreadyExists when there is one.
func (i *Identity) CreateRole(ctx context.Context, account string, r Role) (*Role, error) {
	if _, err := ParsePolicy(r.Trust, true); err != nil {
		return nil, malformed(err)
	}
	r.Arn, r.ID, r.Created = "arn:aws:iam::"+account+":role"+r.Path+r.Name, newID("AROA"), time.Now().Truncate(time.Second)
	spec, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	rec := resource.Record{Key: roleKey(account, r.Name), UID: resource.NewUID(), Arn: r.Arn, Created: r.Created, Modified: r.Created, Spec: spec, Status: []byte("{}")}
	err = i.store.Update(ctx, func(tx store.Tx) error {
		w := rec
		return tx.Put(&w)
	})
	if errors.Is(err, store.ErrExists) {
		return nil, apierr.New(http.StatusConflict, "EntityAlreadyExists", "Role with name %s already exists.", r.Name)
	}
	return &r, err
}

// ChangeRole edits a stored role in one transaction.
func (i *Identity) ChangeRole(ctx context.Context, account, name string, edit func(*Role) error) error {
	err := i.store.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Get(roleKey(account, name))
		if err != nil {
			return err
		}
		r, err := readRole(rec)
		if err != nil {
			return err
		}
		if err := edit(r); err != nil {
			return err
		}
		if rec.Spec, err = json.Marshal(r); err != nil {
			return err
		}
		rec.Modified = time.Now()
		return tx.Put(rec)
	})
	if errors.Is(err, store.ErrNotFound) {
		return ErrNoRole(name)
	}
	return err
}

// DeleteRole removes a role that has no policies left.
func (i *Identity) DeleteRole(ctx context.Context, account, name string) error {
	err := i.store.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Get(roleKey(account, name))
		if err != nil {
			return err
		}
		r, err := readRole(rec)
		if err != nil {
			return err
		}
		if len(r.Policies)+len(r.Managed) > 0 {
			return apierr.New(http.StatusConflict, "DeleteConflict", "Cannot delete entity, must detach all policies first.")
		}
		return tx.Delete(rec.Key)
	})
	if errors.Is(err, store.ErrNotFound) {
		return ErrNoRole(name)
	}
	return err
}

// CheckPolicy says in IAM's words what is wrong with an inline policy.
func CheckPolicy(doc string) error {
	if _, err := ParsePolicy(doc, false); err != nil {
		return malformed(err)
	}
	return nil
}

func malformed(err error) error {
	return apierr.New(http.StatusBadRequest, "MalformedPolicyDocument", "%v.", err)
}
