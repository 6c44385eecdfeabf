package front

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// ownCertificate writes a self-signed certificate for names.
func ownCertificate(t *testing.T, certFile, keyFile, common string, names ...string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: common}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := writeFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// distant is a listener whose clients come from another machine.
type distant struct{ net.Listener }

type distantConn struct{ *net.TCPConn }

func (distantConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 5} }

func (d distant) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return distantConn{c.(*net.TCPConn)}, nil
}

func (distant) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 1} }

// serveDistant has w answer other machines too, and gives the address and the
// pool that trusts its certificate.
func serveDistant(t *testing.T, edit ...func(*Config)) (w *world, addr string, pool *x509.CertPool, certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	pool = x509.NewCertPool()
	pool.AddCert(ownCertificate(t, certFile, keyFile, "first", "clary.example.test", "*.s3.example.test"))
	cert, err := LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w = newWorld(t, append(edit, func(c *Config) { c.Cert = cert })...)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.f.Serve(distant{l}) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = w.f.Shutdown(ctx)
		wg.Wait()
	})
	return w, l.Addr().String(), pool, certFile, keyFile
}

// over sends r over TLS to addr under a name.
func over(t *testing.T, addr, name string, pool *x509.CertPool, r *http.Request) (reply, *x509.Certificate, error) {
	t.Helper()
	c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return reply{}, nil, err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(c); err != nil {
		return reply{}, nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), r)
	if err != nil {
		return reply{}, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b)}, c.(*tls.Conn).ConnectionState().PeerCertificates[0], err
}

func TestOtherMachines(t *testing.T) {
	t.Parallel()
	w, addr, pool, _, _ := serveDistant(t)
	named := func(s shot, host string) *http.Request {
		s.host = host
		return w.request(s)
	}
	t.Run("by its name", func(t *testing.T) {
		got, _, err := over(t, addr, "clary.example.test", pool, named(describe("job"), "clary.example.test:1"))
		if err != nil || got.status != 200 {
			t.Errorf("%+v, %v", got, err)
		}
		if h := w.lastCall().Host; h != "https://clary.example.test:1" {
			t.Errorf("host %q", h)
		}
	})
	t.Run("a bucket's name", func(t *testing.T) {
		got, _, err := over(t, addr, "bucket.s3.example.test", pool, named(shot{method: "PUT", path: "/k", body: "x", service: "s3"}, "bucket.s3.example.test"))
		if err != nil || got.header.Get("Etag") != `"bucket/k"` {
			t.Errorf("%+v, %v", got, err)
		}
	})
	for _, host := range []string{"evil.test", "s3.us-east-1.amazonaws.com", "b.s3.us-east-1.amazonaws.com", "sts.us-east-1.amazonaws.com", "192.0.2.1"} {
		t.Run("Host "+host, func(t *testing.T) {
			got, _, err := over(t, addr, "clary.example.test", pool, named(describe("job"), host))
			if err != nil || got.status != http.StatusMisdirectedRequest {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	t.Run("our CA signs nothing here", func(t *testing.T) {
		for _, name := range []string{"localhost", "s3.us-east-1.amazonaws.com", "sts.us-east-1.amazonaws.com"} {
			if _, _, err := over(t, addr, name, w.pool(), w.request(describe("job"))); err == nil {
				t.Errorf("%s: a certificate of ours", name)
			}
		}
	})
	near := &world{t: t, addr: addr}
	t.Run("plain HTTP", func(t *testing.T) {
		before := len(w.calls)
		r := w.request(describe("job"))
		var text strings.Builder
		if err := r.Write(&text); err != nil {
			t.Fatal(err)
		}
		if got := near.raw(text.String()); !strings.HasPrefix(got, "HTTP/1.1 400") || !strings.Contains(got, "https://") || !strings.Contains(got, "Connection: close") {
			t.Errorf("%s", got)
		}
		if len(w.calls) != before {
			t.Error("it was served")
		}
	})
	t.Run("CONNECT", func(t *testing.T) {
		ask := "CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1\r\nHost: sts.us-east-1.amazonaws.com:443\r\nProxy-Authorization: Basic " + basic("clary", token) + "\r\n\r\n"
		if got := near.raw(ask); !strings.HasPrefix(got, "HTTP/1.1 400") {
			t.Errorf("plain: %s", got)
		}
		c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: "clary.example.test", MinVersion: tls.VersionTLS12}}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, ask)
		if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 405") {
			t.Errorf("%s, %v", b, err)
		}
	})
	t.Run("this machine as before", func(t *testing.T) {
		if got := w.do(describe("job")); got.status != 200 {
			t.Errorf("%d %s", got.status, got.body)
		}
		if _, status := w.connect("sts.us-east-1.amazonaws.com:443", basic("clary", token)); status != 200 {
			t.Errorf("CONNECT: %d", status)
		}
	})
}

func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	w, addr, pool, certFile, keyFile := serveDistant(t)
	common := func() string {
		_, cert, err := over(t, addr, "clary.example.test", pool, w.request(describe("job")))
		if err != nil {
			return err.Error()
		}
		return cert.Subject.CommonName
	}
	if got := common(); got != "first" {
		t.Fatal(got)
	}
	await := func(want string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; {
			if got := common(); got == want {
				return
			} else if time.Now().After(end) {
				t.Fatalf("%s serves, want %s", got, want)
			}
		}
	}
	pool.AddCert(ownCertificate(t, certFile, keyFile, "second", "clary.example.test"))
	await("second")
	// half a pair: the last good one serves on
	old, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(ownCertificate(t, certFile, keyFile, "third", "clary.example.test"))
	third, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(keyFile, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.f.cfg.Cert.Reload(); err == nil {
		t.Error("a pair that does not fit was taken")
	}
	if got := common(); got != "second" && got != "third" {
		t.Error(got)
	}
	if err := writeFile(keyFile, third, 0o600); err != nil {
		t.Fatal(err)
	}
	await("third")
	if names := w.f.cfg.Cert.Names(); fmt.Sprint(names) != "[clary.example.test]" {
		t.Error(names)
	}
}

// AWS's names of S3, resolved to this machine by whoever trusts our CA.
func TestS3Names(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, want := range map[string]string{
		"bucket.s3.us-east-1.amazonaws.com": `"bucket/k/x"`, "s3.us-east-1.amazonaws.com": `"k/x"`, "bucket.s3.amazonaws.com": `"bucket/k/x"`,
		"a.dotted.bucket.s3.eu-west-1.amazonaws.com": `"a.dotted.bucket/k/x"`, "bucket.s3-us-west-2.amazonaws.com": `"bucket/k/x"`,
		"bucket.s3.dualstack.us-east-1.amazonaws.com": `"bucket/k/x"`,
	} {
		got, _, err := over(t, w.addr, name, w.pool(), w.request(shot{method: "PUT", path: "/k/x", body: "b", service: "s3", host: name}))
		if err != nil || got.status != 200 || got.header.Get("Etag") != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	const name = "bucket.s3.us-east-1.amazonaws.com"
	for _, host := range []string{"other.s3.us-east-1.amazonaws.com", "localhost", "evil.test"} {
		got, _, err := over(t, w.addr, name, w.pool(), w.request(shot{method: "PUT", path: "/k", body: "b", service: "s3", host: host}))
		if err != nil || got.status != http.StatusMisdirectedRequest {
			t.Errorf("Host %s: %+v, %v", host, got, err)
		}
	}
	for _, other := range []string{"sts.us-east-1.amazonaws.com", "ec2.us-east-1.amazonaws.com", "s3.evil.test", "bucket.s3.us-east-1.amazonaws.com.evil.test"} {
		if _, _, err := over(t, w.addr, other, w.pool(), w.request(describe("job"))); err == nil {
			t.Errorf("a certificate for %s", other)
		}
	}
	// the name without the handshake leads nowhere
	got := w.do(shot{method: "PUT", path: "/k", body: "b", service: "s3", host: name})
	if got.status != http.StatusMisdirectedRequest {
		t.Errorf("plain: %d", got.status)
	}
}

func TestListenNeedsACertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := LoadCertificate(filepath.Join(dir, "no"), filepath.Join(dir, "none"), slog.Default()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
	c, k := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	ownCertificate(t, c, k, "a", "x")
	if _, err := LoadCertificate(c, c, slog.Default()); err == nil || !strings.Contains(err.Error(), c) {
		t.Error(err)
	}
}
