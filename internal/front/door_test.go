package front

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/sigv4"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for host, ok := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:2527": true, "127.9.9.9:1": true, "[::1]:2527": true, "localhost": true, "LOCALHOST:80": true, "localhost.": true,
		"clary.example.test": true, "b.s3.example.test": true, "bucket.localhost": true, "s3.localhost": true, "[::ffff:127.0.0.1]:1": true,
		"evil.test": false, "169.254.169.254": false, "10.0.0.1:2527": false, "0.0.0.0": false, "[::]:2527": false,
		"sts.us-east-1.amazonaws.com": false, "b.s3.us-east-1.amazonaws.com": false, "clary": false,
		"console.localhost:2527": false, "nb-abc.localhost:2527": false, "127.0.0.1.evil.test": false, "localhost.evil.test": false,
		"s3.example.test.evil.test": false, "127.0.0.1:2527:1": false, "127.0.0.1@evil.test": false, "2130706433": false, "0x7f.1": false, "[::1": false,
	} {
		t.Run(host, func(t *testing.T) {
			got := w.raw("POST / HTTP/1.1\r\nHost: " + host + "\r\nX-Amz-Target: SageMaker.ListModels\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
			if want := "HTTP/1.1 421"; strings.HasPrefix(got, want) == ok && !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request: malformed Host") {
				t.Errorf("answer: %.200s", got)
			}
			if ok && !strings.Contains(got, "MissingAuthenticationTokenException") {
				t.Errorf("answer: %.200s", got)
			}
		})
	}
}

// Every request that two readers could frame differently is refused and its
// connection closed; what hides behind it is never served.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hidden := "GET /hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	good := "GET /first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	for name, text := range map[string]string{
		"length and chunked":          "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunked and length":          "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
		"after a good one":            good + "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"after a body":                "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabcPOST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"after a chunked body":        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\nPOST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"two lengths":                 "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n" + hidden,
		"same length twice":           "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n" + hidden,
		"list of lengths":             "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0, 5\r\n\r\n" + hidden,
		"length with a sign":          "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: +0\r\n\r\n" + hidden,
		"length with an underscore":   "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1_0\r\n\r\n" + hidden,
		"coding twice":                "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"coding of another kind":      "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: identity\r\n\r\n" + hidden,
		"list of codings":             "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + hidden,
		"coding with a tab":           "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
		"coding before HTTP/1.1":      "POST / HTTP/1.0\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n" + hidden,
		"space before the colon":      "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length : 5\r\n\r\n" + hidden,
		"folded header":               "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nA: b\r\n Content-Length: 5\r\n\r\n" + hidden,
		"bare line feeds":             "POST / HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 0\n\n" + hidden,
		"bare line feed in a field":   "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nA: b\nContent-Length: 0\r\n\r\n" + hidden,
		"bare carriage return":        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nA: b\rContent-Length: 5\r\n\r\n" + hidden,
		"empty line of a line feed":   "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\n" + hidden,
		"no colon":                    "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length\r\n\r\n" + hidden,
		"two hosts":                   "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: localhost\r\n\r\n" + hidden,
		"chunk size with a sign":      "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" + hidden,
		"chunk size of a bare line":   "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n" + hidden,
		"chunk size of no number":     "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n" + hidden,
		"absolute address of another": "GET http://evil.test/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			got := w.raw(text)
			if n := strings.Count(got, "HTTP/1.1 "); n > 2 || n == 2 && !strings.HasPrefix(name, "after") {
				t.Errorf("%d answers: %s", n, got)
			}
			if strings.Contains(got, "/hidden") {
				t.Errorf("the hidden request was answered: %s", got)
			}
			if got != "closed" && !strings.Contains(got, "HTTP/1.1 4") && !strings.Contains(got, "HTTP/1.1 501") {
				t.Errorf("answer: %s", got)
			}
		})
	}
}

func TestLengthWithCodingIs400(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := w.raw("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, "Connection: close") {
		t.Errorf("%s", got)
	}
}

// Requests that follow one another on a connection are framed right, however
// their bytes are cut.
func TestKeepAliveInPieces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	for i, step := range []int{1, 3, 7, 1000, 2, 100000} {
		body := fmt.Sprintf("5\r\nhello\r\n6\r\n wor%dd\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", i%10)
		r := w.request(shot{
			method: "PUT", path: "/bucket/k", body: body, service: "s3", payload: sigv4.StreamingUnsignedTrailer,
			headers: map[string]string{"X-Amz-Decoded-Content-Length": "11", "X-Amz-Trailer": "x-amz-checksum-crc32"},
		})
		if i%2 == 0 {
			r.TransferEncoding, r.ContentLength = []string{"chunked"}, -1
		}
		var text strings.Builder
		if err := r.Write(&text); err != nil {
			t.Fatal(err)
		}
		for s := text.String(); s != ""; {
			n := min(step, len(s))
			if _, err := io.WriteString(c, s[:n]); err != nil {
				t.Fatal(err)
			}
			s = s[n:]
		}
		resp, err := http.ReadResponse(br, r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(w.put) != fmt.Sprintf("hello wor%dd", i%10) {
			t.Fatalf("pieces of %d: %d %s %q %v", step, resp.StatusCode, b, w.put, err)
		}
	}
}

func basic(user, pass string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + pass))
}

func TestProxyWantsItsToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, auth := range map[string]string{
		"none": "", "wrong token": basic("clary", "guess"), "wrong user": basic("root", token), "empty": basic("clary", ""),
		"prefix": basic("clary", token[:3]), "not base64": "%%%",
	} {
		if _, status := w.connect("sts.us-east-1.amazonaws.com:443", auth); status != http.StatusProxyAuthRequired {
			t.Errorf("%s: %d", name, status)
		}
	}
	got := w.raw("CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	if !strings.Contains(got, "407") || !strings.Contains(got, `Proxy-Authenticate: Basic realm="clary"`) || strings.Count(got, "HTTP/1.1") != 1 {
		t.Errorf("%s", got)
	}
}

func TestProxyEndsSTS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"sts.us-east-1.amazonaws.com", "sts.amazonaws.com", "sts.us-gov-west-1.amazonaws.com"} {
		raw, status := w.connect(name+":443", basic("clary", token))
		if status != 200 {
			t.Fatalf("%s: %d", name, status)
		}
		c := tls.Client(raw, w.tlsConfig(name))
		r := w.request(with(whoami(), func(s *shot) { s.host = name }))
		if err := r.Write(c); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(b), "<Account>"+account) {
			t.Errorf("%d %s %v", resp.StatusCode, b, err)
		}
		if got := w.lastCall().Host; got != "https://"+name {
			t.Errorf("host %q", got)
		}
	}
}

func TestInsideAnEndedTunnel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const name = "sts.us-east-1.amazonaws.com"
	inside := func(t *testing.T, request string) string {
		raw, status := w.connect(name+":443", basic("clary", token))
		if status != 200 {
			t.Fatal(status)
		}
		c := tls.Client(raw, w.tlsConfig(name))
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if err != nil && len(b) == 0 {
			return "closed"
		}
		return string(b)
	}
	for what, request := range map[string]string{
		"another name":        "GET / HTTP/1.1\r\nHost: sts.eu-west-1.amazonaws.com\r\nConnection: close\r\n\r\n",
		"our own name":        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		"a tunnel":            "CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic " + basic("clary", token) + "\r\n\r\n",
		"length with chunked": "POST / HTTP/1.1\r\nHost: " + name + "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		t.Run(what, func(t *testing.T) {
			if got := inside(t, request); !strings.HasPrefix(got, "HTTP/1.1 4") {
				t.Errorf("%s", got)
			}
		})
	}
	t.Run("plain HTTP", func(t *testing.T) {
		raw, status := w.connect(name+":443", basic("clary", token))
		if status != 200 {
			t.Fatal(status)
		}
		_, _ = fmt.Fprintf(raw, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", name)
		if b, _ := io.ReadAll(raw); len(b) > 0 {
			t.Errorf("answered %s", b)
		}
	})
	t.Run("another name in TLS", func(t *testing.T) {
		raw, status := w.connect(name+":443", basic("clary", token))
		if status != 200 {
			t.Fatal(status)
		}
		if err := tls.Client(raw, w.tlsConfig("sts.eu-west-1.amazonaws.com")).HandshakeContext(t.Context()); err == nil {
			t.Error("the handshake went through")
		}
	})
}

// What the proxy must not reach: judged by the address that is dialled.
func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	targets := []string{
		"127.0.0.1:443", "localhost:443", "[::1]:443", "0.0.0.0:443", "[::]:443", "169.254.169.254:443", "10.0.0.1:443", "192.168.1.1:443",
		"172.16.0.1:443", "100.64.0.1:443", "[fe80::1]:443", "[fc00::1]:443", "[::ffff:127.0.0.1]:443", "[64:ff9b::7f00:1]:443", "224.0.0.1:443",
		"example.com:80", "example.com:22", "example.com", "sts.us-east-1.amazonaws.com:80", "127.0.0.1:2527",
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			targets = append(targets, net.JoinHostPort(n.IP.String(), "443"))
		}
	}
	for _, target := range targets {
		if _, status := w.connect(target, basic("clary", token)); status != http.StatusForbidden && status != http.StatusBadGateway && status != http.StatusBadRequest {
			t.Errorf("%s: %d", target, status)
		}
	}
}

func TestProxyTunnelsUnread(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	var asked string
	w := newWorld(t, func(c *Config) {
		c.Tunnel = func(_ context.Context, hostport string) (net.Conn, error) {
			asked = hostport
			return far, nil
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 100)
		n, _ := near.Read(buf)
		_, _ = near.Write([]byte("echo " + string(buf[:n])))
		_ = near.Close()
	}()
	c, status := w.connect("s3.us-east-1.amazonaws.com:443", basic("clary", token))
	if status != 200 {
		t.Fatal(status)
	}
	const garbage = "\x00\x01not http\r\n\r\n"
	if _, err := io.WriteString(c, garbage); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil || string(b) != "echo "+garbage || asked != "s3.us-east-1.amazonaws.com:443" {
		t.Errorf("%q of %q, %v", b, asked, err)
	}
	<-done
}

func TestTasksHaveNoProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, err := (&net.Dialer{}).DialContext(t.Context(), "unix", w.task)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprintf(c, "CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", basic("clary", token))
	b, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 405") {
		t.Errorf("%s, %v", b, err)
	}
}

func TestNoProxyWithoutAToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Token = "" })
	if _, status := w.connect("sts.us-east-1.amazonaws.com:443", basic("clary", "")); status != http.StatusMethodNotAllowed {
		t.Errorf("%d", status)
	}
}

func TestTLSOnOurPort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"127.0.0.1", "localhost", "bucket.localhost", "::1"} {
		c, err := (&tls.Dialer{Config: w.tlsConfig(name)}).DialContext(t.Context(), "tcp", w.addr)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := w.request(describe("job"))
		if err := r.Write(c); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
		_ = c.Close()
	}
	if !strings.HasPrefix(w.lastCall().Host, "https://127.0.0.1:") {
		t.Errorf("host %q", w.lastCall().Host)
	}
	if _, err := (&tls.Dialer{Config: w.tlsConfig("sts.us-east-1.amazonaws.com")}).DialContext(t.Context(), "tcp", w.addr); err == nil {
		t.Error("our port gave a certificate for STS outside of a tunnel")
	}
}

func TestOnlyLoopback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := w.f.Serve(l); err == nil {
		t.Error("served beyond loopback")
	}
}

func TestCAIsBoundToNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := LoadCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, "ca.key"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	again, err := LoadCA(dir)
	if err != nil || string(again.PEM()) != string(ca.PEM()) {
		t.Errorf("another CA at the second start: %v", err)
	}
	found := false
	for _, e := range ca.cert.Extensions {
		if e.Id.String() == "2.5.29.30" {
			found = true
			if !e.Critical {
				t.Error("name constraints are not critical")
			}
		}
	}
	if !found {
		t.Error("no name constraints")
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	for name, ok := range map[string]bool{
		"sts.us-east-1.amazonaws.com": true, "localhost": true, "x.localhost": true, "127.0.0.1": true, "::1": true,
		"google.com": false, "amazonaws.com.evil.test": false, "evilamazonaws.com": false, "10.0.0.1": false, "8.8.8.8": false, "console.aws.amazon.com": false,
	} {
		if err := stolen(t, ca, pool, name); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "ca.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCA(dir); err == nil {
		t.Error("a key that others can read was taken")
	}
}

// stolen signs a certificate for name with the CA's key, as a thief would, and
// has it verified.
func stolen(t *testing.T, ca *CA, pool *x509.CertPool, name string) error {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(name); ip != nil {
		tpl.IPAddresses = []net.IP{ip}
	} else {
		tpl.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name})
	return err
}

func TestHeaderTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if got := w.raw("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA: " + strings.Repeat("a", 2*maxHeader) + "\r\n\r\n"); !strings.Contains(got, " 431 ") && got != "closed" {
		t.Errorf("%.200s", got)
	}
}

// FuzzGuard: whatever comes in, the guard passes on no more than that, and a
// head with two framings never reaches the server unspoiled.
func FuzzGuard(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 3)
	f.Add([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), 1)
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), 7)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		if step <= 0 || len(in) > 1<<16 {
			return
		}
		c := &conn{Conn: &scripted{in: in, step: step}}
		out, err := io.ReadAll(c)
		if err == nil && len(out) != len(in) {
			t.Fatalf("%d bytes in, %d out", len(in), len(out))
		}
		if len(out) > len(in) {
			t.Fatalf("%d bytes in, %d out", len(in), len(out))
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(out))))
		if err == nil && len(r.TransferEncoding) > 0 && strings.Contains(strings.ToLower(strings.SplitN(string(out), "\r\n\r\n", 2)[0]), "\ncontent-length:") {
			t.Errorf("two framings went through: %q", out)
		}
	})
}

// scripted gives out its bytes a few at a time.
type scripted struct {
	net.Conn
	in   []byte
	step int
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.in)
	s.in = s.in[n:]
	return n, nil
}

func (*scripted) SetReadDeadline(time.Time) error { return nil }
