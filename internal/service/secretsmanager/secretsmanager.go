// Package secretsmanager serves the part of Secrets Manager that scripts around
// SageMaker use: secrets with versions and labels, found by name or ARN, deleted
// after a recovery window.
//
// A secret is a record that knows its versions; each version's value is a record
// of its own, sealed by a key file of the data folder and bound to its secret and
// version, so that no copy of the store opens it and no value passes for another.
// Values leave by GetSecretValue alone: never by a list, an error, an audit entry
// or a log. Start reading at Operations; versions.go says how labels move.
package secretsmanager

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	api "clary/internal/api/secretsmanager"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

// The kinds of records: a secret, and a value of one, named by the secret's UID
// and the version.
const (
	Kind        resource.Kind = "Secret"
	versionKind resource.Kind = "SecretVersion"
)

// Phases of a secret.
const (
	phaseActive  = "Active"
	phaseDeleted = "Deleted" // until its due time, when it is gone
)

// Service serves the operations and removes what was deleted.
type Service struct {
	store store.Store
	aead  cipher.AEAD
}

// New serves secrets whose values are sealed by aead.
func New(s store.Store, aead cipher.AEAD) *Service { return &Service{s, aead} }

// Name is the service's name.
func (*Service) Name() string { return "secretsmanager" }

// Operations lists what is served.
func (s *Service) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateSecret":         op.On(op.Op(s.CreateSecret), func(c op.Call, in *api.CreateSecretRequest) string { return s.arnOf(c, in.Name) }),
		"GetSecretValue":       op.On(op.Op(s.GetSecretValue), func(c op.Call, in *api.GetSecretValueRequest) string { return s.arnOf(c, in.SecretId) }),
		"PutSecretValue":       op.On(op.Op(s.PutSecretValue), func(c op.Call, in *api.PutSecretValueRequest) string { return s.arnOf(c, in.SecretId) }),
		"UpdateSecret":         op.On(op.Op(s.UpdateSecret), func(c op.Call, in *api.UpdateSecretRequest) string { return s.arnOf(c, in.SecretId) }),
		"DescribeSecret":       op.On(op.Op(s.DescribeSecret), func(c op.Call, in *api.DescribeSecretRequest) string { return s.arnOf(c, in.SecretId) }),
		"DeleteSecret":         op.On(op.Op(s.DeleteSecret), func(c op.Call, in *api.DeleteSecretRequest) string { return s.arnOf(c, in.SecretId) }),
		"RestoreSecret":        op.On(op.Op(s.RestoreSecret), func(c op.Call, in *api.RestoreSecretRequest) string { return s.arnOf(c, in.SecretId) }),
		"TagResource":          op.On(op.Op(s.TagResource), func(c op.Call, in *api.TagResourceRequest) string { return s.arnOf(c, in.SecretId) }),
		"UntagResource":        op.On(op.Op(s.UntagResource), func(c op.Call, in *api.UntagResourceRequest) string { return s.arnOf(c, in.SecretId) }),
		"ListSecretVersionIds": op.On(op.Op(s.ListSecretVersionIds), func(c op.Call, in *api.ListSecretVersionIdsRequest) string { return s.arnOf(c, in.SecretId) }),
		"ListSecrets":          op.Op(s.ListSecrets),
	}
}

// details is a secret's spec.
type details struct {
	Description string `json:",omitzero"`
	KmsKeyId    string `json:",omitzero"` //nolint:revive // AWS's name
}

// status is what we keep beside it.
type status struct {
	V        int       `json:"v"`
	Versions []version `json:"versions,omitzero"` // the oldest first
	Deleted  time.Time `json:"deleted,omitzero"`  // when that was asked for
}

// version is one value of a secret.
type version struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Stages  []string  `json:"stages,omitzero"` // its labels; without one it is deprecated
}

// secret is a record with what it says.
type secret struct {
	*resource.Record
	details
	status
}

func read(r *resource.Record) (*secret, error) {
	d, err := resource.As[details](r.Spec)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", r.Name, err)
	}
	st, err := resource.As[status](r.Status)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", r.Name, err)
	}
	return &secret{r, *d, *st}, nil
}

func (x *secret) put(tx store.Tx) (err error) {
	if x.Spec, err = json.Marshal(x.details); err != nil {
		return err
	}
	if x.Status, err = json.Marshal(x.status); err != nil {
		return err
	}
	x.Modified = time.Now()
	return tx.Put(x.Record)
}

// change edits a secret that is not marked for deletion, in one transaction.
func (s *Service) change(ctx context.Context, c op.Call, id string, edit func(tx store.Tx, x *secret) error) (*secret, error) {
	var x *secret
	err := s.store.Update(ctx, func(tx store.Tx) (err error) {
		if x, err = find(tx, c, id); err != nil {
			return err
		}
		if x.Phase == phaseDeleted {
			return errMarked()
		}
		if err := edit(tx, x); err != nil {
			return err
		}
		return x.put(tx)
	})
	if errors.Is(err, errAsItIs) {
		err = nil
	}
	return x, err
}

// errAsItIs ends a change that finds everything as it was wanted.
var errAsItIs = errors.New("nothing to change")

func invalidRequest(text string) error {
	return apierr.New(http.StatusBadRequest, "InvalidRequestException", "%s", text)
}

func invalidParameter(format string, args ...any) error {
	return apierr.New(http.StatusBadRequest, "InvalidParameterException", format, args...)
}

func notFound(format string, args ...any) error {
	return apierr.New(http.StatusBadRequest, "ResourceNotFoundException", format, args...)
}

func exists(format string, args ...any) error {
	return apierr.New(http.StatusBadRequest, "ResourceExistsException", format, args...)
}

func errMarked() error {
	return invalidRequest("You can't perform this operation on the secret because it was marked for deletion.")
}
