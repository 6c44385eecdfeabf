package s3_test

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/sigv4"
)

// caller speaks plain signed HTTP, so that the bytes on the wire are seen.
type caller struct {
	t    *testing.T
	addr string
}

// reply is an answer whose body was read.
type reply struct {
	Status     string
	StatusCode int
	Header     http.Header
}

func (c caller) do(method, path string, header map[string]string, body string) (reply, string) {
	c.t.Helper()
	return c.send("http://"+c.addr+path, method, header, body, sigv4.UnsignedPayload)
}

func (c caller) send(url, method string, header map[string]string, body, payload string) (reply, string) {
	c.t.Helper()
	req, _ := c.signed(url, method, header, payload)
	return c.trip(req, strings.NewReader(body), int64(len(body)))
}

// signed is a request without its body, and its signature.
func (c caller) signed(url, method string, header map[string]string, payload string) (*http.Request, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for k, v := range header {
		if k == "Host" {
			req.Host = v
		} else {
			req.Header.Set(k, v)
		}
	}
	req.Header.Set("X-Amz-Content-Sha256", payload)
	return req, sigv4.Sign(req, sigv4.Credentials{AccessKeyID: keyID, SecretAccessKey: secretKey}, "us-east-1", "s3", payload, time.Now())
}

// trip sends the request with a body of that size.
func (c caller) trip(req *http.Request, body io.Reader, size int64) (reply, string) {
	c.t.Helper()
	if size > 0 {
		req.Body, req.ContentLength = io.NopCloser(body), size
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	if err := res.Body.Close(); err != nil {
		c.t.Fatal(err)
	}
	return reply{res.Status, res.StatusCode, res.Header}, string(got)
}

// ok sends what must succeed.
func (c caller) ok(method, path string, header map[string]string, body string) (reply, string) {
	c.t.Helper()
	res, got := c.do(method, path, header, body)
	if res.StatusCode/100 != 2 {
		c.t.Fatalf("%s %s: %s\n%s", method, path, res.Status, got)
	}
	return res, got
}

type errorBody struct {
	XMLName                 xml.Name `xml:"Error"`
	Code, Message, Resource string
	RequestID               string `xml:"RequestId"`
	HostID                  string `xml:"HostId"`
}

func (c caller) refused(status int, code, method, path string, header map[string]string, body string) errorBody {
	c.t.Helper()
	res, got := c.do(method, path, header, body)
	var e errorBody
	if err := xml.Unmarshal([]byte(got), &e); err != nil {
		c.t.Fatalf("%s %s: %s %q: %v", method, path, res.Status, got, err)
	}
	if res.StatusCode != status || e.Code != code || e.Message == "" || e.RequestID == "" || e.HostID == "" {
		c.t.Errorf("%s %s: %s %s, want %d %s", method, path, res.Status, got, status, code)
	}
	return e
}

func newCaller(t *testing.T) caller {
	t.Helper()
	c := caller{t, serve(t)}
	c.ok("PUT", "/bucket", nil, "")
	return c
}

func TestHeadersOnTheWire(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	c.ok("PUT", "/bucket/k", map[string]string{"x-amz-meta-Camel-Case": "V", "x-amz-meta-uni": "ü", "Content-Encoding": "aws-chunked,gzip"}, "data")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test's
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "http://"+c.addr+"/bucket/k", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Content-Sha256", sigv4.UnsignedPayload)
	sigv4.Sign(req, sigv4.Credentials{AccessKeyID: keyID, SecretAccessKey: secretKey}, "us-east-1", "s3", sigv4.UnsignedPayload, time.Now())
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	var raw strings.Builder
	in := bufio.NewScanner(conn)
	for in.Scan() && in.Text() != "" {
		raw.WriteString(in.Text() + "\n")
	}
	for _, want := range []string{
		"x-amz-meta-camel-case: V\n", "x-amz-meta-uni: =?UTF-8?b?w7w=?=\n", "Content-Length: 4\n", "Content-Encoding: gzip\n",
		"x-amz-request-id: ", "Etag: \"8d777f385d3dfec8815d20f7496026dc\"\n", "Content-Type: binary/octet-stream\n", "Accept-Ranges: bytes\n",
	} {
		if !strings.Contains(raw.String(), want) {
			t.Errorf("no %q in\n%s", want, raw.String())
		}
	}
}

func TestErrorsOnTheWire(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	if e := c.refused(404, "NoSuchKey", "GET", "/bucket/none", nil, ""); e.Resource != "/bucket/none" {
		t.Errorf("resource %q", e.Resource)
	}
	c.refused(404, "NoSuchBucket", "GET", "/none-such/k", nil, "")
	c.refused(400, "MalformedXML", "PUT", "/other", nil, "<CreateBucketConfiguration>")
	c.refused(400, "MalformedXML", "POST", "/bucket/k?uploadId=x", nil, "<a><Part><ETag>x</ETag><PartNumber>one</PartNumber></Part></a>")
	c.refused(400, "MalformedXML", "PUT", "/bucket/k?tagging", map[string]string{"Content-MD5": md5Of("<!DOCTYPE a []><a/>")}, "<!DOCTYPE a []><a/>")
	c.refused(400, "InvalidRequest", "POST", "/bucket?delete", nil, "<Delete><Object><Key>k</Key></Object></Delete>")
	c.refused(400, "BadDigest", "POST", "/bucket?delete", map[string]string{"Content-MD5": md5Of("other")}, "<Delete><Object><Key>k</Key></Object></Delete>")
	c.refused(400, "InvalidArgument", "GET", "/bucket?max-keys=many", nil, "")
	c.refused(400, "InvalidArgument", "GET", "/bucket/k?partNumber=0", nil, "")
	c.refused(405, "MethodNotAllowed", "POST", "/bucket/k", nil, "")
	c.refused(501, "NotImplemented", "PUT", "/bucket?policy", map[string]string{"Content-MD5": md5Of("{}")}, "{}")
	c.refused(400, "InvalidBucketName", "PUT", "/no_name", nil, "")
	c.refused(403, "AccessDenied", "PUT", "/bucket/secret", nil, "x")
	c.refused(400, "InvalidRequest", "PUT", "/bucket/k", map[string]string{"X-Amz-Trailer": "x-amz-checksum-crc32"}, "") // told, and not sent
	res, body := c.do("HEAD", "/bucket/none", nil, "")
	if res.StatusCode != http.StatusNotFound || body != "" || res.Header.Get("X-Amz-Request-Id") == "" {
		t.Errorf("HEAD: %s %q", res.Status, body)
	}
	c.ok("PUT", "/bucket/k", nil, "data")
	res, body = c.do("GET", "/bucket/k", map[string]string{"If-None-Match": `"x", "8d777f385d3dfec8815d20f7496026dc"`}, "")
	if res.StatusCode != http.StatusNotModified || body != "" || res.Header.Get("Etag") != `"8d777f385d3dfec8815d20f7496026dc"` {
		t.Errorf("304: %s %q %v", res.Status, body, res.Header)
	}
	if res, _ := c.do("GET", "/bucket/k", map[string]string{"If-Modified-Since": "not a date"}, ""); res.StatusCode != http.StatusOK {
		t.Errorf("a date that is none: %s", res.Status)
	}
}

func TestVirtualHosts(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	_, port, err := net.SplitHostPort(c.addr)
	if err != nil {
		t.Fatal(err)
	}
	host := map[string]string{"Host": "bucket.localhost:" + port}
	c.ok("PUT", "/a//b%20c", host, "data")
	if _, body := c.ok("GET", "/bucket/a//b%20c", nil, ""); body != "data" {
		t.Errorf("read %q", body)
	}
	if _, body := c.ok("GET", "/?list-type=2", host, ""); !strings.Contains(body, "<Key>a//b c</Key>") {
		t.Errorf("listed %s", body)
	}
}

// TestChunkedUpload sends what SDKs send over TLS: chunks and a trailing sum.
func TestChunkedUpload(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	chunks := func(data, sum string) string {
		return fmt.Sprintf("%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n", len(data), data, sum)
	}
	header := map[string]string{
		"X-Amz-Trailer": "x-amz-checksum-crc32", "X-Amz-Decoded-Content-Length": "9", "Content-Encoding": "aws-chunked",
		"X-Amz-Sdk-Checksum-Algorithm": "CRC32",
	}
	send := func(body string) (reply, string) {
		return c.send("http://"+c.addr+"/bucket/k", "PUT", header, body, sigv4.StreamingUnsignedTrailer)
	}
	res, body := send(chunks("123456789", "y/Q5Jg=="))
	if res.StatusCode != http.StatusOK || res.Header.Get("X-Amz-Checksum-Crc32") != "y/Q5Jg==" {
		t.Fatalf("%s %s", res.Status, body)
	}
	res, body = c.ok("GET", "/bucket/k", map[string]string{"x-amz-checksum-mode": "ENABLED"}, "")
	if body != "123456789" || res.Header.Get("X-Amz-Checksum-Crc32") != "y/Q5Jg==" || res.Header.Get("Content-Encoding") != "" {
		t.Errorf("read %q with %v", body, res.Header)
	}
	if res, body := send(chunks("987654321", "y/Q5Jg==")); res.StatusCode != http.StatusBadRequest || !strings.Contains(body, "<Code>BadDigest</Code>") {
		t.Errorf("a wrong trailer: %s %s", res.Status, body)
	}
	if res, body := send("9\r\n987654321\r\n0\r\n\r\n"); res.StatusCode != http.StatusBadRequest {
		t.Errorf("no trailer: %s %s", res.Status, body)
	}
	if _, body := c.ok("GET", "/bucket/k", nil, ""); body != "123456789" {
		t.Errorf("a refused upload left %q", body)
	}
}

// TestBrokenUpload ends a connection in the middle of a body.
func TestBrokenUpload(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	c.ok("PUT", "/bucket/k", nil, "before")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+c.addr+"/bucket/k", bytes.NewReader(make([]byte, 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Content-Sha256", sigv4.UnsignedPayload)
	sigv4.Sign(req, sigv4.Credentials{AccessKeyID: keyID, SecretAccessKey: secretKey}, "us-east-1", "s3", sigv4.UnsignedPayload, time.Now())
	var raw bytes.Buffer
	if err := req.Write(&raw); err != nil {
		t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(raw.Bytes()[:raw.Len()/2]); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusBadRequest || !strings.Contains(string(got), "<Code>IncompleteBody</Code>") {
		t.Errorf("%s %s %v", res.Status, got, err)
	}
	if _, body := c.ok("GET", "/bucket/k", nil, ""); body != "before" {
		t.Errorf("object holds %q", body)
	}
	_ = res.Body.Close()
	_ = conn.Close()
}
