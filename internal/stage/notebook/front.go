package notebook

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"time"
)

// front is JupyterLab at the address that scripts know from SageMaker,
// https://localhost:8443, with a certificate that nobody has signed.
type front struct {
	to string // host:port

	once sync.Once
	cert tls.Certificate
	err  error
}

// serve serves until the listener is closed.
func (f *front) serve(l net.Listener) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		f.once.Do(f.certify) // few ask
		return &f.cert, f.err
	}}
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go f.join(tls.Server(c, cfg))
	}
}

func (f *front) join(near *tls.Conn) {
	defer near.Close() //nolint:errcheck // it is over
	_ = near.SetDeadline(time.Now().Add(10 * time.Second))
	if near.Handshake() != nil { //nolint:noctx // it has a deadline
		return
	}
	_ = near.SetDeadline(time.Time{})
	far, err := net.DialTimeout("tcp", f.to, 10*time.Second) //nolint:noctx // it has a timeout
	if err != nil {
		return
	}
	defer far.Close() //nolint:errcheck // it is over
	go func() {
		_, _ = io.Copy(far, near)
		if t, ok := far.(*net.TCPConn); ok {
			_ = t.CloseWrite()
		}
	}()
	_, _ = io.Copy(near, far)
}

func (f *front) certify() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.err = err
		return
	}
	name := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, name, name, &key.PublicKey, key)
	f.cert, f.err = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
