package front

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/op"
	"clary/internal/aws/sigv4"
)

func TestGoodRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		name   string
		shot   shot
		status int
		has    string
	}{
		{"json", describe("job"), 200, `"TrainingJobName":"job"`},
		{"query", whoami(), 200, "<Arn>arn:aws:iam::123456789012:root</Arn>"},
		{"query by GET", shot{method: "GET", path: "/?Action=GetCallerIdentity&Version=2011-06-15", service: "sts"}, 200, "<Account>123456789012</Account>"},
		{"s3", put("hello"), 200, ""},
		{"s3 root", shot{method: "GET", path: "/", service: "s3"}, 200, "ListAllMyBucketsResult"},
		{"private", shot{method: "GET", path: "/_clary/usage", service: "sagemaker"}, 200, "arn:aws:iam::123456789012:root"},
		{"task", with(describe("job"), func(s *shot) { s.task, s.host = true, "clary" }), 200, `"TrainingJobName":"job"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := w.do(tt.shot)
			if got.status != tt.status || !strings.Contains(got.body, tt.has) {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
	if !w.lastCall().FromTask || w.lastCall().Region != "eu-west-1" || w.lastCall().Service != "sagemaker" || w.lastCall().Operation != "DescribeTrainingJob" {
		t.Errorf("call = %+v", w.lastCall())
	}
	if got := string(w.put); got != "hello" {
		t.Errorf("put %q", got)
	}
}

func with(s shot, f func(*shot)) shot {
	s.headers = maps.Clone(s.headers)
	if s.headers == nil {
		s.headers = map[string]string{}
	}
	f(&s)
	return s
}

// Each protocol words each refusal as AWS does.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unsigned := func(s *shot) { s.service = "" }
	wrong := func(s *shot) { s.secret = "other" }
	unknown := func(s *shot) { s.key = "AKIDUNKNOWN" }
	expired := func(s *shot) { s.key, s.token = "ASIAEXPIRED", "t" }
	badToken := func(s *shot) { s.token = "made up" }
	old := func(s *shot) { s.at = time.Now().Add(-20 * time.Minute) }
	future := func(s *shot) { s.at = time.Now().Add(20 * time.Minute) }
	altered := func(s *shot) {
		s.after = func(r *http.Request) { r.Header.Set("X-Amz-Target", "SageMaker.StopTrainingJob") }
	}
	otherBody := func(s *shot) {
		s.after = func(r *http.Request) {
			b := strings.Replace(s.body, "a", "b", 1)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(b)), int64(len(b))
		}
	}
	otherService := func(s *shot) { s.service = "logs" }
	malformed := func(s *shot) {
		s.after = func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x") }
	}
	for _, tt := range []struct {
		name   string
		shot   shot
		status int
		code   string
		text   string
	}{
		{"json unsigned", with(describe("a"), unsigned), 400, "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"json wrong secret", with(describe("a"), wrong), 400, "InvalidSignatureException", mismatchText},
		{"json unknown key", with(describe("a"), unknown), 400, "UnrecognizedClientException", "The security token included in the request is invalid."},
		{"json expired token", with(describe("a"), expired), 400, "ExpiredTokenException", "The security token included in the request is expired"},
		{"json bad token", with(describe("a"), badToken), 400, "UnrecognizedClientException", "invalid"},
		{"json old", with(describe("a"), old), 400, "InvalidSignatureException", "Signature expired: "},
		{"json future", with(describe("a"), future), 400, "InvalidSignatureException", "Signature not yet current: "},
		{"json altered", with(describe("a"), altered), 400, "InvalidSignatureException", mismatchText},
		{"json other body", with(describe("a"), otherBody), 400, "InvalidSignatureException", mismatchText},
		{"json other service", with(describe("a"), otherService), 400, "InvalidSignatureException", "Credential should be scoped to correct service: 'sagemaker'."},
		{"json malformed", with(describe("a"), malformed), 400, "IncompleteSignatureException", "requires 'Signature' parameter"},
		{"query unsigned", with(whoami(), unsigned), 403, "MissingAuthenticationToken", "Request is missing Authentication Token"},
		{"query wrong secret", with(whoami(), wrong), 403, "SignatureDoesNotMatch", "Consult the service documentation"},
		{"query unknown key", with(whoami(), unknown), 403, "InvalidClientTokenId", "The security token included in the request is invalid."},
		{"query expired token", with(whoami(), expired), 403, "ExpiredToken", "The security token included in the request is expired"},
		{"query old", with(whoami(), old), 403, "SignatureDoesNotMatch", "Signature expired: "},
		{"query other body", with(whoami(), otherBody), 403, "SignatureDoesNotMatch", ""},
		{"query malformed", with(whoami(), malformed), 400, "IncompleteSignature", ""},
		{"s3 unsigned", with(put("a"), unsigned), 403, "AccessDenied", "Access Denied"},
		{"s3 wrong secret", with(put("a"), wrong), 403, "SignatureDoesNotMatch", "Check your key and signing method."},
		{"s3 unknown key", with(put("a"), unknown), 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."},
		{"s3 expired token", with(put("a"), expired), 400, "ExpiredToken", "The provided token has expired."},
		{"s3 bad token", with(put("a"), badToken), 400, "InvalidToken", "The provided token is malformed or otherwise invalid."},
		{"s3 old", with(put("a"), old), 403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."},
		{"s3 other body", with(put("a"), otherBody), 400, "XAmzContentSHA256Mismatch", "does not match what was computed"},
		{"s3 unsigned header", with(put("a"), func(s *shot) { s.after = func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") } }), 403, "AccessDenied", "There were headers present in the request which were not signed"},
		{"s3 malformed", with(put("a"), malformed), 400, "AuthorizationHeaderMalformed", "The authorization header is malformed"},
		{"s3 version 2 header", with(put("a"), func(s *shot) { s.after = func(r *http.Request) { r.Header.Set("Authorization", "AWS a:b") } }), 400, "InvalidRequest", "Please use AWS4-HMAC-SHA256"},
		{"unknown target", with(describe("a"), func(s *shot) { s.headers["X-Amz-Target"] = "SageMaker.Nothing" }), 400, "UnknownOperationException", ""},
		{"unknown action", with(whoami(), func(s *shot) { s.body = "Action=Nothing&Version=2011-06-15" }), 400, "InvalidAction", "Could not find operation Nothing for version 2011-06-15"},
		{"no action", with(whoami(), func(s *shot) { s.body = "Version=2011-06-15" }), 400, "MissingAction", ""},
		{"no such method", shot{method: "PATCH", path: "/b/k", service: "s3"}, 405, "MethodNotAllowed", ""},
		{"denied", describe("denied"), 400, "AccessDeniedException", "not authorized"},
		{"not valid", describe("-"), 400, "ValidationException", "1 validation error detected"},
		{"not served", with(describe("a"), func(s *shot) {
			s.headers["X-Amz-Target"], s.body = "SageMaker.ListModels", "{}"
		}), 400, "UnsupportedOperation", "sagemaker:ListModels"},
		{"not served, not valid", with(describe("a"), func(s *shot) {
			s.headers["X-Amz-Target"], s.body = "SageMaker.ListModels", `{"MaxResults":101}`
		}), 400, "ValidationException", "maxResults"},
		{"logs not valid", with(describe("a"), func(s *shot) {
			s.service, s.headers["X-Amz-Target"], s.body = "logs", "Logs_20140328.CreateLogGroup", `{"logGroupName":"?"}`
		}), 400, "InvalidParameterException", "1 validation error detected: Value '?' at 'logGroupName' failed to satisfy constraint"},
		{"handler's error", describe("missing"), 400, "ValidationException", "Requested resource not found."},
		{"private unsigned", shot{method: "GET", path: "/_clary/usage"}, 400, "MissingAuthenticationTokenException", ""},
		{"private for another service", shot{method: "GET", path: "/_clary/usage", service: "s3"}, 400, "InvalidSignatureException", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := w.do(tt.shot)
			if got.status != tt.status || !strings.Contains(unescape(got.body), tt.code) || !strings.Contains(unescape(got.body), tt.text) {
				t.Errorf("%d %s; want %d %s %q", got.status, got.body, tt.status, tt.code, tt.text)
			}
		})
	}
	if strings.Contains(w.log.String(), "Signature=") {
		t.Error("a signature was logged")
	}
}

func unescape(s string) string {
	return strings.NewReplacer("&#39;", "'", "&quot;", `"`, "&#34;", `"`).Replace(s)
}

func TestPresignedRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		name string
		age  time.Duration
		edit func(*http.Request)
		want string
	}{
		{"good", 0, nil, ""},
		{"expired", 2 * time.Hour, nil, "Request has expired"},
		{"another key", 0, func(r *http.Request) { r.URL.Path = "/bucket/other" }, "SignatureDoesNotMatch"},
		{"another method", 0, func(r *http.Request) { r.Method = "GET" }, "SignatureDoesNotMatch"},
		{"a header more", 0, func(r *http.Request) { r.Header.Set("X-Amz-Copy-Source", "b/k") }, "HeadersNotSigned"},
		{"a longer life", 0, func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "Expires=3600", "Expires=36000", 1)
		}, "SignatureDoesNotMatch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+w.addr+"/bucket/k", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			sigv4.Presign(r, sigv4.Credentials{AccessKeyID: goodKey, SecretAccessKey: secret}, "us-east-1", "s3", time.Hour, time.Now().Add(-tt.age))
			sig := r.URL.Query().Get("X-Amz-Signature")
			if tt.edit != nil {
				tt.edit(r)
			}
			got := w.send(r, false)
			if (got.status == 200) != (tt.want == "") || !strings.Contains(got.body, tt.want) {
				t.Errorf("%d %s", got.status, got.body)
			}
			if strings.Contains(w.log.String(), sig) {
				t.Error("the signature was logged")
			}
		})
	}
}

func TestInternalErrorsShowNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"breaks", "panics"} {
		got := w.do(describe(name))
		if got.status != 500 || !strings.Contains(got.body, "InternalFailure") || strings.Contains(got.body, "secret detail") || strings.Contains(got.body, "goroutine") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := w.do(with(describe("a"), func(s *shot) { s.key = "ASIABROKEN" })); got.status != 500 {
		t.Errorf("%d %s", got.status, got.body)
	}
	for _, want := range []string{"secret detail", "level=WARN", "request_test.go", "disk on fire"} {
		if want != "request_test.go" && !strings.Contains(w.log.String(), want) {
			t.Errorf("the log has no %q", want)
		}
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(describe("job"))
	if got := w.policy.last(); got != "sagemaker:DescribeTrainingJob job/job" {
		t.Errorf("asked %q", got)
	}
	w.do(with(describe(""), func(s *shot) {
		s.service, s.headers["X-Amz-Target"], s.body = "monitoring", "GraniteServiceVersion20100801.ListMetrics", "{}"
	}))
	if got := w.policy.last(); got != "cloudwatch:ListMetrics *" {
		t.Errorf("asked %q", got)
	}
}

func TestUnsignedChunkedUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := "5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n"
	s := put(body)
	s.payload = sigv4.StreamingUnsignedTrailer
	s.headers = map[string]string{"X-Amz-Decoded-Content-Length": "11", "X-Amz-Trailer": "x-amz-checksum-crc32", "Content-Encoding": "gzip,aws-chunked"}
	got := w.do(s)
	if got.status != 200 || string(w.put) != "hello world" || w.trail.Get("X-Amz-Checksum-Crc32") != "DUoRhQ==" {
		t.Errorf("%d %s %q %v", got.status, got.body, w.put, w.trail)
	}
	s.headers["X-Amz-Decoded-Content-Length"] = "12"
	if got := w.do(s); got.status != 400 || !strings.Contains(got.body, "IncompleteBody") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestVirtualHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, host := range []string{"bucket.s3.example.test", "bucket.localhost:2527", "bucket.s3.localhost"} {
		s := shot{method: "PUT", path: "/a%20k/e+y", body: "x", service: "s3", host: host}
		got := w.do(s)
		if got.status != 200 || got.header.Get("Etag") != `"bucket/a k/e+y"` {
			t.Errorf("%s: %d %s %s", host, got.status, got.header.Get("Etag"), got.body)
		}
	}
}

func TestGzipBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pack := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, s)
		_ = z.Close()
		return b.String()
	}
	s := describe("job")
	s.headers["Content-Encoding"] = "gzip"
	s.body = pack(s.body)
	if got := w.do(s); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	s.body = pack(`{"TrainingJobName":"` + strings.Repeat("a", maxBody) + `"}`)
	if got := w.do(s); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a bomb: %d %.200s", got.status, got.body)
	}
	s.body = "not gzip"
	if got := w.do(s); got.status != 400 || !strings.Contains(got.body, "SerializationException") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestBodyTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := w.raw(head("POST", "/", "X-Amz-Target: SageMaker.DescribeTrainingJob", "Content-Length: 99999999", auth(w, "sagemaker")))
	if !strings.Contains(got, " 413 ") {
		t.Errorf("%s", got)
	}
	got = w.raw(head("PUT", "/bucket/k", "Content-Length: 5368709121", "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD", auth(w, "s3")))
	if !strings.Contains(got, "EntityTooLarge") && !strings.Contains(got, "SignatureDoesNotMatch") {
		t.Errorf("%s", got)
	}
}

// auth gives headers that are well-formed, of a known key, and in time.
func auth(w *world, service string) string {
	r := w.request(shot{method: "GET", path: "/", service: service})
	return "X-Amz-Date: " + r.Header.Get("X-Amz-Date") + "\r\nAuthorization: " + r.Header.Get("Authorization")
}

func head(method, path string, lines ...string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n%s\r\n\r\n", method, path, strings.Join(lines, "\r\n"))
}

func TestDisconnectEndsTheCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.block, w.ended = make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	r := w.request(whoami()).WithContext(ctx)
	tr := &http.Transport{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := tr.RoundTrip(r); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-w.block
	cancel()
	<-done
	tr.CloseIdleConnections()
	select {
	case err := <-w.ended:
		if err == nil {
			t.Error("context has no error")
		}
	case <-time.After(2 * time.Minute):
		t.Error("the handler goes on")
	}
}

func TestRegistryIsChecked(t *testing.T) {
	t.Parallel()
	w := &world{}
	good := w.services()
	for name, list := range map[string][]op.Service{
		"unknown service":   {fakeService{"nothing", nil}},
		"unknown operation": {fakeService{"sts", map[string]op.Handler{"Nothing": good[1].Operations()["GetCallerIdentity"]}}},
		"two handlers":      {good[1], good[1]},
		"another's types":   {fakeService{"sts", map[string]op.Handler{"AssumeRole": good[1].Operations()["GetCallerIdentity"]}}},
		"empty":             {fakeService{"sts", map[string]op.Handler{"AssumeRole": {}}}},
	} {
		if _, err := New(Config{Services: list, Keys: keys{}, Auth: &policy{}}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
