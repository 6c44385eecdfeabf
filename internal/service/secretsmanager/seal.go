package secretsmanager

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/resource"
	"clary/internal/store"
)

// value is what a version holds: a text, or bytes.
type value struct {
	text   string
	binary []byte
}

func (v value) none() bool { return v.text == "" && len(v.binary) == 0 }

func (v value) is(o value) bool { return v.text == o.text && bytes.Equal(v.binary, o.binary) }

// sealed is the spec of a version's record.
type sealed struct {
	Nonce, Sealed []byte
}

// The first byte of what is sealed.
const (
	isText   = 't'
	isBinary = 'b'
)

func versionKey(x *secret, id string) resource.Key {
	return resource.Key{Account: x.Account, Region: x.Region, Kind: versionKind, Name: x.UID + "/" + id}
}

// bound is what a sealed value belongs to; sealed values cannot be exchanged.
func bound(k resource.Key) []byte {
	return []byte(strings.Join([]string{k.Account, k.Region, string(k.Kind), k.Name}, "\n"))
}

// keep stores a value of a secret.
func (s *Service) keep(tx store.Tx, x *secret, id string, v value) error {
	plain := append([]byte{isText}, v.text...)
	if len(v.binary) > 0 {
		plain = append([]byte{isBinary}, v.binary...)
	}
	k := versionKey(x, id)
	out := sealed{Nonce: make([]byte, s.aead.NonceSize())}
	_, _ = rand.Read(out.Nonce) // never fails, by its documentation
	out.Sealed = s.aead.Seal(nil, out.Nonce, plain, bound(k))
	spec, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return tx.Put(&resource.Record{Key: k, Parent: x.Name, Spec: spec})
}

// open reads a value of a secret.
func (s *Service) open(tx store.Tx, x *secret, id string) (value, error) {
	k := versionKey(x, id)
	r, err := tx.Get(k)
	if err != nil {
		return value{}, fmt.Errorf("value of secret %s: %w", x.Name, err)
	}
	in, err := resource.As[sealed](r.Spec)
	if err != nil {
		return value{}, err
	}
	if len(in.Nonce) != s.aead.NonceSize() {
		return value{}, errSealed()
	}
	plain, err := s.aead.Open(nil, in.Nonce, in.Sealed, bound(k))
	if err != nil || len(plain) == 0 {
		return value{}, errSealed()
	}
	if plain[0] == isBinary {
		return value{binary: plain[1:]}, nil
	}
	return value{text: string(plain[1:])}, nil
}

func errSealed() error {
	return apierr.New(http.StatusBadRequest, "DecryptionFailure",
		"Secrets Manager can't decrypt the protected secret text: the key file of the data folder is not the one that sealed it.")
}
