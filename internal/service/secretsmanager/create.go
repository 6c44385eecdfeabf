package secretsmanager

import (
	"context"
	"crypto/rand"
	"errors"
	"regexp"
	"strings"
	"time"

	api "clary/internal/api/secretsmanager"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9/_+=.@!-]+$`) //nolint:gochecknoglobals // a constant pattern

// unsupported refuses members that would have to do something.
func unsupported(members ...string) error {
	return invalidParameter("Clary does not support %s of secrets. Nothing was changed.", strings.Join(members, ", "))
}

// CreateSecret makes a secret, with a first version if it has a value.
func (s *Service) CreateSecret(ctx context.Context, c op.Call, in *api.CreateSecretRequest) (*api.CreateSecretResponse, error) {
	switch {
	case !nameForm.MatchString(in.Name):
		return nil, apierr.Validation("Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	case len(in.AddReplicaRegions) > 0:
		return nil, unsupported("AddReplicaRegions")
	case in.Type != "":
		return nil, unsupported("Type")
	case in.CrossAccountPrimaryARN != "":
		return nil, unsupported("CrossAccountPrimaryARN")
	}
	v, err := given(in.SecretString, in.SecretBinary)
	if err != nil {
		return nil, err
	}
	set, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	var x *secret
	arn, uid, now := suffixed(c, in.Name, randomEnd()), resource.NewUID(), time.Now()
	err = s.store.Update(ctx, func(tx store.Tx) error {
		old, err := tx.Get(key(c, in.Name))
		if err == nil {
			x, err = s.same(tx, old, in.ClientRequestToken, v)
			return err
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		x = &secret{
			&resource.Record{Key: key(c, in.Name), UID: uid, Arn: arn, Phase: phaseActive, Created: now},
			details{in.Description, in.KmsKeyId},
			status{V: 1},
		}
		if !v.none() {
			if err := s.add(tx, x, in.ClientRequestToken, v, nil); err != nil {
				return err
			}
		}
		if err := x.put(tx); err != nil {
			return err
		}
		return tx.PutTags(arn, set)
	})
	if err != nil {
		return nil, err
	}
	out := &api.CreateSecretResponse{ARN: x.Arn, Name: x.Name}
	if !v.none() {
		out.VersionId = in.ClientRequestToken
	}
	return out, nil
}

// same is the secret that an earlier send of the same request made; any other
// of the name is in the way.
func (s *Service) same(tx store.Tx, old *resource.Record, token string, v value) (*secret, error) {
	x, err := read(old)
	if err != nil {
		return nil, err
	}
	if x.Phase == phaseDeleted {
		return nil, invalidRequest("You can't create this secret because a secret with this name is already scheduled for deletion.")
	}
	if token != "" && !v.none() && x.version(token) != nil {
		if had, err := s.open(tx, x, token); err != nil || had.is(v) {
			return x, err
		}
	}
	return nil, exists("The operation failed because the secret %s already exists.", x.Name)
}

// randomEnd are the six characters that tell a secret's ARN from that of an
// earlier one of its name.
func randomEnd() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b[:])
}
