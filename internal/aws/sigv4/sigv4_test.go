package sigv4

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"clary/internal/aws/apierr"
)

type vectors struct {
	Botocore, Key, Secret, Token string
	Time                         int64
	Cases                        []vector
}

type vector struct {
	Name, Service, Method, URL string
	Headers                    map[string]string
	Body                       []byte
}

func loadVectors(t testing.TB) vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Cases) < 20 {
		t.Fatalf("only %d cases", len(v.Cases))
	}
	return v
}

// wire gives the request as a server reads it.
func (v vector) wire(t testing.TB) *http.Request {
	t.Helper()
	u, err := url.Parse(v.URL)
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(v.URL, u.Scheme+"://"+u.Host)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", v.Method, path, u.Host)
	chunked := false
	for k, val := range v.Headers {
		if strings.EqualFold(k, "Content-Length") || strings.EqualFold(k, "Host") {
			continue
		}
		if strings.EqualFold(k, "Transfer-Encoding") {
			chunked = true
		}
		fmt.Fprintf(&b, "%s: %s\r\n", k, val)
	}
	if chunked {
		b.WriteString("\r\n")
		if len(v.Body) > 0 {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(v.Body), v.Body)
		}
		b.WriteString("0\r\n\r\n")
	} else {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(v.Body), v.Body)
	}
	r, err := http.ReadRequest(bufio.NewReader(&b))
	if err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	return r
}

// check verifies r as a server does and returns its decoded body.
func check(r *http.Request, secret string, now time.Time) ([]byte, *Body, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	a, err := Parse(r)
	if err != nil {
		return nil, nil, err
	}
	if isS3(a.Service) {
		p, ok := a.SignedPayload()
		if !ok {
			return nil, nil, errors.New("no payload hash")
		}
		v, err := a.Verify(r, secret, p, now)
		if err != nil {
			return nil, nil, err
		}
		body, _, err := v.Body(r)
		if err != nil {
			return nil, nil, err
		}
		data, err := io.ReadAll(body)
		return data, body, err
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(data)
	_, err = a.Verify(r, secret, hex.EncodeToString(sum[:]), now)
	return data, nil, err
}

func TestBotocoreSignatures(t *testing.T) {
	t.Parallel()
	v := loadVectors(t)
	now := time.Unix(v.Time, 0)
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := check(c.wire(t), v.Secret, now.Add(time.Minute)); err != nil {
				if e, ok := errors.AsType[*Error](err); ok {
					t.Log(e.Fields["CanonicalRequest"])
				}
				t.Fatal(err)
			}
			if _, _, err := check(c.wire(t), v.Secret+"x", now); err == nil {
				t.Error("another secret was accepted")
			}
			if _, _, err := check(c.wire(t), v.Secret, now.Add(MaxExpires+time.Hour)); err == nil {
				t.Error("accepted a week later")
			}
		})
	}
}

func TestBotocoreTrailers(t *testing.T) {
	t.Parallel()
	v := loadVectors(t)
	seen := false
	for _, c := range v.Cases {
		if c.Name != "put object over https" {
			continue
		}
		seen = true
		data, body, err := check(c.wire(t), v.Secret, time.Unix(v.Time, 0))
		if err != nil || string(data) != "hello world" {
			t.Errorf("%q, %v", data, err)
		}
		if got := body.Trailer().Get("X-Amz-Checksum-Crc32"); got != "DUoRhQ==" {
			t.Errorf("trailer = %q", got)
		}
	}
	if !seen {
		t.Error("no such case")
	}
}

// Each change of a signed request must be noticed.
func TestAltered(t *testing.T) {
	t.Parallel()
	v := loadVectors(t)
	now := time.Unix(v.Time, 0)
	edits := map[string]func(*vector){
		"method": func(c *vector) { c.Method = "DELETE" },
		"host":   func(c *vector) { c.URL = strings.Replace(c.URL, "://", "://evil.", 1) },
		"path":   func(c *vector) { u, _ := url.Parse(c.URL); u = u.JoinPath("more"); c.URL = u.String() },
		"query": func(c *vector) {
			if strings.Contains(c.URL, "?") {
				c.URL += "&acl="
			} else {
				c.URL += "?acl="
			}
		},
		"unsigned header": func(c *vector) { c.Headers["X-Amz-Copy-Source"] = "other/key" },
		"date": func(c *vector) {
			if c.Headers["X-Amz-Date"] != "" {
				c.Headers["X-Amz-Date"] = "20260304T050608Z"
			} else {
				c.URL = strings.NewReplacer("T050607Z", "T050608Z", "Expires=", "Expires=1").Replace(c.URL)
			}
		},
		"key": func(c *vector) {
			c.Headers["Authorization"] = strings.Replace(c.Headers["Authorization"], "AKIDEXAMPLE/2026", "AKIDOTHER/2025", 1)
			c.URL = strings.Replace(c.URL, "20260304%2Feu-west-1", "20260304%2Feu-west-2", 1)
			c.URL = strings.Replace(c.URL, "AWSAccessKeyId=AKID", "Expires=9&AWSAccessKeyId=", 1)
		},
	}
	for name, edit := range edits {
		for _, c := range v.Cases {
			c.Headers = maps.Clone(c.Headers)
			edit(&c)
			if name == "host" && strings.HasSuffix(c.Name, "version 2") {
				continue // version 2 signs no host
			}
			if _, _, err := check(c.wire(t), v.Secret, now); err == nil {
				t.Errorf("%s: another %s was accepted", c.Name, name)
			}
		}
	}
	for _, c := range v.Cases {
		if len(c.Body) == 0 || c.Headers["X-Amz-Content-SHA256"] == UnsignedPayload || strings.HasPrefix(c.Name, "presigned") ||
			strings.HasPrefix(c.Headers["X-Amz-Content-SHA256"], "STREAMING") {
			continue
		}
		c.Body = append([]byte{c.Body[0] ^ 1}, c.Body[1:]...)
		if _, _, err := check(c.wire(t), v.Secret, now); err == nil {
			t.Errorf("%s: another body was accepted", c.Name)
		}
	}
}

const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

func exampleTime() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) }

// The requests and signatures are AWS's published examples.
func TestPublishedExamples(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method, url, body string
		headers                 map[string]string
		key, secret, service    string
		at                      time.Time
		want                    string
	}{
		{"get object", "GET", "https://examplebucket.s3.amazonaws.com/test.txt", "", map[string]string{"Range": "bytes=0-9"}, exampleKey, exampleSecret, "s3", exampleTime(), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{"put object", "PUT", "https://examplebucket.s3.amazonaws.com/test$file.text", "Welcome to Amazon S3.", map[string]string{"Date": "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY"}, exampleKey, exampleSecret, "s3", exampleTime(), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
		{"lifecycle", "GET", "https://examplebucket.s3.amazonaws.com/?lifecycle", "", nil, exampleKey, exampleSecret, "s3", exampleTime(), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{"list", "GET", "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J", "", nil, exampleKey, exampleSecret, "s3", exampleTime(), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
		{"list users", "GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "", map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}, "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "iam", time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC), "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range tt.headers {
				r.Header.Set(k, v)
			}
			if got := Sign(r, Credentials{AccessKeyID: tt.key, SecretAccessKey: tt.secret}, "us-east-1", tt.service, hashHex(tt.body), tt.at); got != tt.want {
				t.Errorf("signature = %s", got)
			}
			if _, _, err := check(r, tt.secret, tt.at); err != nil {
				t.Error(err)
			}
		})
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://examplebucket.s3.amazonaws.com/test.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	Presign(r, Credentials{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret}, "us-east-1", "s3", 24*time.Hour, exampleTime())
	if got := r.URL.Query().Get("X-Amz-Signature"); got != "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404" {
		t.Errorf("presigned signature = %s", got)
	}
}

// signedChunks is AWS's published example of a chunked upload.
func signedChunks(trailer bool) (headers, body string) {
	a, b := strings.Repeat("a", 65536), strings.Repeat("a", 1024)
	const head = "PUT /examplebucket/chunkObject.txt HTTP/1.1\r\nHost: s3.amazonaws.com\r\nx-amz-date: 20130524T000000Z\r\nx-amz-storage-class: REDUCED_REDUNDANCY\r\nContent-Encoding: aws-chunked\r\nx-amz-decoded-content-length: 66560\r\n"
	const auth = "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders="
	if !trailer {
		return head + "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\nContent-Length: 66824\r\n" + auth +
				"content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class,Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9\r\n\r\n",
			"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + a +
				"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + b +
				"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
	}
	return head + "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER\r\nx-amz-trailer: x-amz-checksum-crc32c\r\nTransfer-Encoding: chunked\r\n" + auth +
			"content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer,Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e\r\n\r\n",
		"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + a +
			"\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + b +
			"\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
			"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
}

func readChunked(t *testing.T, headers, body string) ([]byte, *Body, error) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(headers)))
	if err != nil {
		t.Fatal(err)
	}
	r.Body = io.NopCloser(iotest.HalfReader(strings.NewReader(body)))
	return check(r, exampleSecret, exampleTime())
}

func TestPublishedChunkedUpload(t *testing.T) {
	t.Parallel()
	for _, trailer := range []bool{false, true} {
		h, b := signedChunks(trailer)
		data, body, err := readChunked(t, h, b)
		if err != nil || string(data) != strings.Repeat("a", 66560) {
			t.Fatalf("trailer %v: %d bytes, %v", trailer, len(data), err)
		}
		if trailer && body.Trailer().Get("x-amz-checksum-crc32c") != "sOO8/Q==" {
			t.Errorf("trailer = %v", body.Trailer())
		}
	}
}

func TestChunkedAttacks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		trailer bool
		old     string
		new     string
		code    string
	}{
		{"a byte of a chunk", false, "\r\naaaa", "\r\nabaa", "SignatureDoesNotMatch"},
		{"a chunk's signature", false, "chunk-signature=00556", "chunk-signature=10556", "SignatureDoesNotMatch"},
		{"the last chunk's signature", false, "chunk-signature=b6c", "chunk-signature=c6c", "SignatureDoesNotMatch"},
		{"no last chunk", false, "0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n", "", "IncompleteBody"},
		{"cut in a chunk", false, "aa\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n", "", "IncompleteBody"},
		{"last chunk early", false, "400;chunk-signature=0055", "0;chunk-signature=0055", "IncompleteBody"},
		{"no signature", false, "400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497", "400", "InvalidRequest"},
		{"size with a sign", false, "400;", "+400;", "InvalidRequest"},
		{"size too large", false, "400;", "7fffffffffffffff;", "InvalidRequest"},
		{"size of many digits", false, "400;", "00000000000000000000400;", "InvalidRequest"},
		{"bytes after the end", false, "449df9\r\n\r\n", "449df9\r\n\r\nx", "InvalidRequest"},
		{"bare line feeds", false, "400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n", "400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\n", "InvalidRequest"},
		{"endless line", false, "400;", strings.Repeat("4", 10000) + ";", "InvalidRequest"},
		{"a trailer's value", true, "sOO8", "tOO8", "SignatureDoesNotMatch"},
		{"a trailer not announced", true, "x-amz-checksum-crc32c:", "x-amz-checksum-sha256:", "MalformedTrailerError"},
		{"no trailer signature", true, "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n", "", "SignatureDoesNotMatch"},
		{"trailer after its signature", true, "2e435\r\n", "2e435\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n", "MalformedTrailerError"},
		{"trailers cut", true, "2e435\r\n\r\n", "2e435\r\n", "IncompleteBody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, b := signedChunks(tt.trailer)
			if !strings.Contains(b, tt.old) {
				t.Fatal("nothing to replace")
			}
			_, _, err := readChunked(t, h, strings.Replace(b, tt.old, tt.new, 1))
			e, ok := errors.AsType[*apierr.Error](err)
			if !ok || e.Code != tt.code {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// Whoever reads only as many bytes as were announced must have seen the error.
func TestErrorComesWithTheLastByte(t *testing.T) {
	t.Parallel()
	h, b := signedChunks(false)
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(h)))
	if err != nil {
		t.Fatal(err)
	}
	r.Body = io.NopCloser(strings.NewReader(strings.Replace(b, "chunk-signature=b6c", "chunk-signature=c6c", 1)))
	a, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	v, err := a.Verify(r, exampleSecret, a.Payload, exampleTime())
	if err != nil {
		t.Fatal(err)
	}
	body, n, err := v.Body(r)
	if err != nil || n != 66560 {
		t.Fatal(n, err)
	}
	got := 0
	buf := make([]byte, 1000)
	for int64(got) < n {
		m, err := body.Read(buf[:min(int64(len(buf)), n-int64(got))])
		got += m
		if err != nil {
			return
		}
	}
	t.Error("all bytes came without an error")
}

func TestWrongWholeHash(t *testing.T) {
	t.Parallel()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://b.s3.amazonaws.com/k", strings.NewReader("other"))
	if err != nil {
		t.Fatal(err)
	}
	Sign(r, Credentials{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret}, "us-east-1", "s3", hashHex("body!"), exampleTime())
	_, _, err = check(r, exampleSecret, exampleTime())
	if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Code != "XAmzContentSHA256Mismatch" {
		t.Errorf("err = %v", err)
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		presigned bool
		life      time.Duration
		after     time.Duration
		want      Reason
	}{
		{"at once", false, 0, 0, 0},
		{"15 minutes old", false, 0, Window, 0},
		{"older", false, 0, Window + time.Second, Skewed},
		{"15 minutes ahead", false, 0, -Window, 0},
		{"further ahead", false, 0, -Window - time.Second, Skewed},
		{"presigned, alive", true, time.Hour, time.Hour, 0},
		{"presigned, a week", true, MaxExpires, MaxExpires, 0},
		{"presigned, over", true, time.Hour, time.Hour + time.Second, Expired},
		{"presigned, ahead", true, time.Hour, -time.Hour, Early},
		{"presigned, more than a week", true, MaxExpires + time.Second, 0, Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/b/k", nil)
			if err != nil {
				t.Fatal(err)
			}
			cr := Credentials{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret}
			if tt.presigned {
				Presign(r, cr, "us-east-1", "s3", tt.life, exampleTime())
			} else {
				Sign(r, cr, "us-east-1", "s3", EmptyHash, exampleTime())
			}
			_, _, err = check(r, exampleSecret, exampleTime().Add(tt.after))
			var e *Error
			if errors.As(err, &e) != (tt.want != 0) || e != nil && e.Reason != tt.want {
				t.Errorf("err = %v, want reason %d", err, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const cred = "Credential=AKID/20130524/us-east-1/s3/aws4_request"
	const good = "AWS4-HMAC-SHA256 " + cred + ", SignedHeaders=host, Signature=00"
	for _, tt := range []struct {
		name, auth, query string
		want              Reason
	}{
		{"nothing", "", "", Missing},
		{"version 2 header", "AWS AKID:sig", "", Unsupported},
		{"bearer", "Bearer x", "", Unsupported},
		{"asymmetric", "AWS4-ECDSA-P256-SHA256 " + cred, "", Unsupported},
		{"no signature", "AWS4-HMAC-SHA256 " + cred + ", SignedHeaders=host", "", Malformed},
		{"twice a part", good + ", Signature=11", "", Malformed},
		{"short credential", strings.Replace(good, "/s3", "", 1), "", Malformed},
		{"terminator", strings.Replace(good, "aws4_request", "aws5", 1), "", Scope},
		{"region", strings.Replace(good, "us-east-1", "../x", 1), "", Malformed},
		{"region's form", strings.Replace(good, "us-east-1", "Nowhere", 1), "", Scope},
		{"scope's date", strings.Replace(good, "20130524", "20130525", 1), "", Scope},
		{"headers in disorder", strings.Replace(good, "=host", "=x-amz-date;host", 1), "", Malformed},
		{"headers in capitals", strings.Replace(good, "=host", "=Host", 1), "", Malformed},
		{"header and query", good, "X-Amz-Algorithm=AWS4-HMAC-SHA256", Ambiguous},
		{"query twice", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Algorithm=AWS4-HMAC-SHA256", Ambiguous},
		{"query incomplete", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256", Malformed},
		{"bad escape", good, "%zz", Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{Method: http.MethodGet, Host: "h", URL: &url.URL{Path: "/", RawQuery: tt.query}, Header: http.Header{"X-Amz-Date": {"20130524T000000Z"}}}
			if tt.auth != "" {
				r.Header.Set("Authorization", tt.auth)
			}
			_, err := Parse(r)
			var e *Error
			if !errors.As(err, &e) || e.Reason != tt.want {
				t.Errorf("err = %v, want reason %d", err, tt.want)
			}
		})
	}
}

func TestUnsignedHostIsRefused(t *testing.T) {
	t.Parallel()
	r := &http.Request{Method: http.MethodGet, Host: "h", URL: &url.URL{Path: "/"}, Header: http.Header{"X-Amz-Date": {"20130524T000000Z"}}}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20130524/us-east-1/s3/aws4_request, SignedHeaders=x-amz-date, Signature="+strings.Repeat("0", 64))
	_, _, err := check(r, "secret", exampleTime())
	if err == nil {
		t.Fatal("accepted")
	}
	r.Header.Set("X-Amz-Content-Sha256", UnsignedPayload)
	_, _, err = check(r, "secret", exampleTime())
	var e *Error
	if !errors.As(err, &e) || e.Reason != Uncovered || e.Fields["HeadersNotSigned"] != "host, x-amz-content-sha256" {
		t.Errorf("err = %v", err)
	}
}

func TestNoSignatureInErrors(t *testing.T) {
	t.Parallel()
	r := &http.Request{Method: http.MethodGet, Host: "h", URL: &url.URL{Path: "/"}, Header: http.Header{}}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Signature=deadbeef, Signature=deadbeef")
	if _, err := Parse(r); err == nil || strings.Contains(err.Error(), "deadbeef") {
		t.Errorf("err = %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00", "20130524T000000Z", "a=b", "/x%20y")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=00", "/%zz")
	f.Add("", "", "AWSAccessKeyId=A&Signature=AAAA&Expires=99999999999", "/b/k")
	f.Fuzz(func(t *testing.T, auth, date, query, path string) {
		r := &http.Request{Method: http.MethodGet, Host: "h", RequestURI: "/" + path, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{}}
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		r.Header.Set("X-Amz-Date", date)
		if _, _, err := check(r, "secret", exampleTime()); err == nil {
			t.Error("a made-up signature was accepted")
		}
	})
}

func FuzzChunks(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n"), int64(5))
	f.Add([]byte("0\r\n\r\n"), int64(0))
	f.Add([]byte("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), int64(5))
	f.Fuzz(func(t *testing.T, in []byte, n int64) {
		if n < 0 {
			return
		}
		r := &http.Request{
			Header: http.Header{"X-Amz-Decoded-Content-Length": {fmt.Sprint(n)}, "X-Amz-Trailer": {"x-amz-checksum-crc32"}},
			Body:   io.NopCloser(iotest.OneByteReader(bytes.NewReader(in))),
		}
		v := &Verified{auth: &Auth{Payload: StreamingUnsignedTrailer}}
		b, _, err := v.Body(r)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(b)
		if err == nil && int64(len(data)) != n {
			t.Errorf("%d of %d bytes without an error", len(data), n)
		}
		if int64(len(data)) > n {
			t.Errorf("%d bytes where %d were announced", len(data), n)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	v := loadVectors(b)
	r := v.Cases[0].wire(b)
	sum := sha256.Sum256(v.Cases[0].Body)
	h := hex.EncodeToString(sum[:])
	now := time.Unix(v.Time, 0)
	for b.Loop() {
		a, err := Parse(r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := a.Verify(r, v.Secret, h, now); err != nil {
			b.Fatal(err)
		}
	}
}
