package secretsmanager

import (
	"context"
	"errors"
	"strings"

	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

const arnPrefix = "secret:"

func key(c op.Call, name string) resource.Key {
	return resource.Key{Account: c.Account, Region: c.Region, Kind: Kind, Name: name}
}

// suffixed is the ARN of a name with the end that AWS gives it.
func suffixed(c op.Call, name, end string) string {
	return arn.ARN{Partition: "aws", Service: "secretsmanager", Region: c.Region, Account: c.Account, Resource: arnPrefix + name + "-" + end}.String()
}

// find reads a secret by its name, its ARN, or its ARN without the six
// characters at the end.
func find(tx store.Tx, c op.Call, id string) (*secret, error) {
	name := id
	if a, ok := arn.Parse(id); ok {
		rest, ours := strings.CutPrefix(a.Resource, arnPrefix)
		if !ours || a.Service != "secretsmanager" || a.Account != c.Account || a.Region != c.Region {
			return nil, errNoSecret()
		}
		r, err := tx.ByArn(id)
		if err == nil {
			return read(r)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		name = rest
	}
	r, err := tx.Get(key(c, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoSecret()
	}
	if err != nil {
		return nil, err
	}
	return read(r)
}

func errNoSecret() error { return notFound("Secrets Manager can't find the specified secret.") }

// look is find by itself.
func (s *Service) look(ctx context.Context, c op.Call, id string) (x *secret, err error) {
	err = s.store.View(ctx, func(tx store.Tx) error {
		x, err = find(tx, c, id)
		return err
	})
	return x, err
}

// arnOf is what policies are asked about: the ARN of the secret that the id
// finds. One that is not there ends in anything, as policies are written.
func (s *Service) arnOf(c op.Call, id string) string {
	if x, err := s.look(context.Background(), c, id); err == nil {
		return x.Arn
	}
	if strings.HasPrefix(id, "arn:") {
		return id
	}
	return suffixed(c, id, "??????")
}
