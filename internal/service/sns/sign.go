package sns

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // SNS's signatures of version 1
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const (
	keyBits  = 2048
	certLife = 10 * 365 * 24 * time.Hour
	certNear = 30 * 24 * time.Hour
)

// Signer signs messages as SNS does, with a key of the data folder.
type Signer struct {
	key  *rsa.PrivateKey
	cert []byte // PEM
	id   string
}

// OpenSigner reads the key and its certificate from a folder, sns.pem with mode
// 0600, and makes both at the first start.
func OpenSigner(dir string) (*Signer, error) {
	path := filepath.Join(dir, "sns.pem")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if b, err = makeKey(); err == nil {
			err = keep(path, b)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the key that signs messages: %w", err)
	}
	s, err := readKey(b)
	if err != nil {
		return nil, fmt.Errorf("the key that signs messages, %s: %w", path, err)
	}
	return s, nil
}

func makeKey() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	return certify(key)
}

// certify makes a certificate of the name that receivers look for.
func certify(key *rsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Clary"}, CommonName: "sns.amazonaws.com"},
		DNSNames: []string{"sns.amazonaws.com"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certLife),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...), nil
}

func readKey(b []byte) (*Signer, error) {
	c, rest := pem.Decode(b)
	k, _ := pem.Decode(rest)
	if c == nil || k == nil || c.Type != "CERTIFICATE" || k.Type != "PRIVATE KEY" {
		return nil, errors.New("it is not a certificate and its key; without the file a new one is made")
	}
	cert, err := x509.ParseCertificate(c.Bytes)
	if err != nil {
		return nil, err
	}
	secret, err := x509.ParsePKCS8PrivateKey(k.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := secret.(*rsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the key is not the certificate's")
	}
	if time.Until(cert.NotAfter) < certNear {
		return nil, fmt.Errorf("it ends at %s; without the file a new one is made", cert.NotAfter)
	}
	sum := sha256.Sum256(c.Bytes)
	return &Signer{key, pem.EncodeToMemory(c), hex.EncodeToString(sum[:16])}, nil
}

// keep writes a file that only its owner reads, whole or not at all.
func keep(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".sns-*") // 0600
	if err != nil {
		return err
	}
	_, werr := f.Write(b)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

// Path is where the certificate is found, on SNS's host and on ours.
func (s *Signer) Path() string { return "/SimpleNotificationService-" + s.id + ".pem" }

// Certificate is the certificate, PEM.
func (s *Signer) Certificate() []byte { return s.cert }

// sign signs a canonical text by a version of SNS's signatures.
func (s *Signer) sign(version, text string) (string, error) {
	var digest []byte
	hash := crypto.SHA1
	if version == "2" {
		hash = crypto.SHA256
		sum := sha256.Sum256([]byte(text))
		digest = sum[:]
	} else {
		sum := sha1.Sum([]byte(text)) //nolint:gosec // as above
		digest = sum[:]
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, s.key, hash, digest)
	return base64.StdEncoding.EncodeToString(sig), err
}
