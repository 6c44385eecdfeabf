package identity

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/resource"
)

// RootKey is the account's own access key.
type RootKey struct {
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
}

const (
	rootFile    = "root.json"
	sessionFile = "session.key"
)

// ReadRootKey reads the root key of the data folder's keys folder; the CLI
// uses it to sign as the operator.
func ReadRootKey(dir string) (RootKey, error) {
	var k RootKey
	b, err := os.ReadFile(filepath.Join(dir, rootFile))
	if err != nil {
		return k, err
	}
	if err := json.Unmarshal(b, &k); err != nil || k.AccessKeyID == "" || k.SecretAccessKey == "" {
		return k, fmt.Errorf("%s is not a root key file", filepath.Join(dir, rootFile))
	}
	return k, nil
}

// openKeys reads the root key and the key that seals session tokens, and makes
// them at the first start.
func openKeys(dir string) (RootKey, cipher.AEAD, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return RootKey{}, nil, err
	}
	root, err := ReadRootKey(dir)
	if errors.Is(err, fs.ErrNotExist) {
		root = RootKey{AccessKeyID: newID("AKIA"), SecretAccessKey: newSecret()}
		var b []byte
		if b, err = json.Marshal(root); err == nil {
			err = writeSecret(dir, rootFile, b)
		}
	}
	if err != nil {
		return RootKey{}, nil, err
	}
	aead, err := KeyFile(dir, sessionFile)
	return root, aead, err
}

// KeyFile reads a key of the keys folder, and makes it at the first start. What
// is sealed by it is lost with the file.
func KeyFile(dir, name string) (cipher.AEAD, error) {
	seal, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		seal = make([]byte, 32)
		_, _ = rand.Read(seal) // never fails, by its documentation
		err = writeSecret(dir, name, seal)
	}
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return cipher.NewGCM(block)
}

// writeSecret makes a file that only its owner reads, whole or not at all.
func writeSecret(dir, name string, b []byte) error {
	f, err := os.CreateTemp(dir, "."+name+"-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// newID makes an AWS-like identifier: prefix and 16 characters of A-Z2-7.
func newID(prefix string) string {
	var b [10]byte
	_, _ = rand.Read(b[:])
	return prefix + base32.StdEncoding.EncodeToString(b[:])
}

// newSecret makes a secret access key: 40 characters.
func newSecret() string {
	var b [30]byte
	_, _ = rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// session is what a session token holds, sealed: a token needs no record and
// survives every restart.
type session struct {
	Key     string // access key id
	Secret  string
	Role    string // ARN
	RoleID  string
	Name    string
	Expires time.Time
}

func (i *Identity) sealSession(s session) (string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, i.aead.NonceSize())
	_, _ = rand.Read(nonce)
	return base64.StdEncoding.EncodeToString(i.aead.Seal(nonce, nonce, b, nil)), nil
}

func (i *Identity) openSession(token string) (s session, ok bool) {
	b, err := base64.StdEncoding.DecodeString(token)
	n := i.aead.NonceSize()
	if err != nil || len(b) < n {
		return s, false
	}
	plain, err := i.aead.Open(nil, b[:n], b[n:], nil)
	if err != nil {
		return s, false
	}
	return s, json.Unmarshal(plain, &s) == nil
}

func errInvalidToken() error {
	return apierr.New(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
}

// Secret finds the secret of an access key. A session's key is good only with
// its token, the root key only without one.
func (i *Identity) Secret(_ context.Context, accessKeyID, sessionToken string) (string, resource.Principal, error) {
	if accessKeyID == i.root.AccessKeyID && sessionToken == "" {
		return i.root.SecretAccessKey, resource.Principal{
			Account: i.account, Arn: "arn:aws:iam::" + i.account + ":root", UserID: i.account, AccessKeyID: accessKeyID, Root: true,
		}, nil
	}
	s, ok := i.openSession(sessionToken)
	if !ok || s.Key != accessKeyID {
		return "", resource.Principal{}, errInvalidToken()
	}
	if !time.Now().Before(s.Expires) {
		return "", resource.Principal{}, apierr.New(http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired")
	}
	return s.Secret, resource.Principal{
		Account: accountOf(s.Role), Arn: sessionArn(s.Role, s.Name), UserID: s.RoleID + ":" + s.Name, AccessKeyID: accessKeyID, RoleArn: s.Role,
	}, nil
}

func sessionArn(role, name string) string {
	return "arn:aws:sts::" + accountOf(role) + ":assumed-role/" + roleName(role) + "/" + name
}

// roleName is the last part of a role's ARN: its path is no part of its name.
func roleName(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// Assume makes a session of a role that the caller was already allowed to take.
func (i *Identity) Assume(ctx context.Context, roleArn, sessionName string, d time.Duration) (Credentials, error) {
	role, err := i.Role(ctx, roleArn)
	if err != nil {
		return Credentials{}, err
	}
	s := session{Key: newID("ASIA"), Secret: newSecret(), Role: roleArn, RoleID: role.ID, Name: sessionName, Expires: time.Now().Add(d).Truncate(time.Second)}
	token, err := i.sealSession(s)
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{
		AccessKeyID: s.Key, SecretAccessKey: s.Secret, SessionToken: token, Expiration: s.Expires,
		AssumedRoleArn: sessionArn(roleArn, sessionName), AssumedRoleID: s.RoleID + ":" + sessionName,
	}, nil
}
