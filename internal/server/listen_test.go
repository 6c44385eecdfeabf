package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// certify writes a self-signed certificate for a name.
func certify(t *testing.T, certFile, keyFile, name string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// A server on all addresses is reached by this machine's commands as ever, and
// reads its certificate again on SIGHUP, which ends no server.
func TestListenOnAllAddresses(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	pool := x509.NewCertPool()
	pool.AddCert(certify(t, certFile, keyFile, "clary.example.test", 1))
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- Run(ctx, Config{Data: filepath.Join(dir, "d"), Listen: "0.0.0.0:0", TLSCert: certFile, TLSKey: keyFile, Hosts: []string{"other.example.test"}}, func(addr string) { ready <- addr })
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	var addr string
	select {
	case addr = <-ready:
	case err := <-done:
		done <- nil
		t.Fatal("the server ended: ", err)
	case <-time.After(time.Minute):
		t.Fatal("the server does not get ready")
	}
	if !strings.HasPrefix(addr, "127.0.0.1:") {
		t.Fatalf("commands are told %s", addr)
	}
	get := func(url, host string) (int, *x509.Certificate) {
		t.Helper()
		tr := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "clary.example.test", MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			},
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.TLS == nil {
			return resp.StatusCode, nil
		}
		return resp.StatusCode, resp.TLS.PeerCertificates[0]
	}
	if status, _ := get("http://"+addr, addr); status != http.StatusForbidden { // unsigned, and answered
		t.Errorf("plain on loopback: %d", status)
	}
	for host, want := range map[string]int{"clary.example.test": 403, "other.example.test": 403, "evil.test": 421} {
		if status, cert := get("https://clary.example.test/", host); status != want || cert.SerialNumber.Int64() != 1 {
			t.Errorf("%s: %d, certificate %v", host, status, cert.SerialNumber)
		}
	}
	pool.AddCert(certify(t, certFile, keyFile, "clary.example.test", 2))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		_, cert := get("https://clary.example.test/", "clary.example.test")
		if cert.SerialNumber.Int64() == 2 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the old certificate serves on")
		}
	}
}
