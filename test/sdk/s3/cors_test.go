package s3_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

// ask sends a request that nobody signed.
func (c caller) ask(method, path string, header map[string]string) *http.Response {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.addr+path, http.NoBody)
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
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		c.t.Fatal(err)
	}
	return res
}

func allowed(h http.Header) string {
	var out []string
	for k, v := range h {
		if name, ok := strings.CutPrefix(k, "Access-Control-"); ok {
			out = append(out, name+"="+v[0])
		}
	}
	return strings.Join(out, " ")
}

func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	const page = "https://app.example.com"
	preflight := func(path, origin, method, headers string, host ...string) *http.Response {
		t.Helper()
		h := map[string]string{"Origin": origin, "Access-Control-Request-Method": method}
		if headers != "" {
			h["Access-Control-Request-Headers"] = headers
		}
		if len(host) > 0 {
			h["Host"] = host[0]
		}
		return c.ask(http.MethodOptions, path, h)
	}
	c.ok("PUT", "/bucket/k", nil, "data")
	// Without rules nothing is allowed, whether the bucket is there or not.
	for _, path := range []string{"/bucket/k", "/none-such/k", "/", "/x"} {
		if res := preflight(path, page, "GET", ""); res.StatusCode != http.StatusForbidden || allowed(res.Header) != "" {
			t.Errorf("%s: %s %s", path, res.Status, allowed(res.Header))
		}
	}
	if res, _ := c.ok("GET", "/bucket/k", map[string]string{"Origin": page}, ""); allowed(res.Header) != "" {
		t.Errorf("an answer without rules: %s", allowed(res.Header))
	}
	cors := `<CORSConfiguration>
		<CORSRule><AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>
			<AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>
		<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule></CORSConfiguration>`
	c.ok("PUT", "/bucket?cors", map[string]string{"Content-MD5": md5Of(cors)}, cors)
	_, port, err := net.SplitHostPort(c.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{c.addr, "bucket.localhost:" + port} {
		path := "/bucket/k"
		if host != c.addr {
			path = "/k"
		}
		res := preflight(path, page, "PUT", "X-Amz-Meta-A, x-amz-date", host)
		h := res.Header
		if res.StatusCode != http.StatusOK || h.Get("Access-Control-Allow-Origin") != page || h.Get("Access-Control-Allow-Methods") != "GET, PUT" ||
			h.Get("Access-Control-Allow-Headers") != "x-amz-meta-a, x-amz-date" || h.Get("Access-Control-Max-Age") != "60" ||
			!strings.Contains(h.Get("Vary"), "Origin") || h.Get("Access-Control-Expose-Headers") != "ETag" {
			t.Errorf("%s: %s %s", host, res.Status, allowed(h))
		}
	}
	for _, bad := range [][3]string{
		{"https://example.com", "GET", ""},
		{"https://app.example.com.evil.org", "GET", ""},
		{"null", "PUT", ""},
		{page, "DELETE", ""},
		{page, "PUT", "content-type"},
	} {
		if res := preflight("/bucket/k", bad[0], bad[1], bad[2]); res.StatusCode != http.StatusForbidden || allowed(res.Header) != "" {
			t.Errorf("%q: %s %s", bad, res.Status, allowed(res.Header))
		}
	}
	if res := preflight("/bucket/k", page, "TRACE", ""); res.StatusCode != http.StatusBadRequest {
		t.Errorf("an odd method: %s", res.Status)
	}
	res, _ := c.ok("GET", "/bucket/k", map[string]string{"Origin": page}, "")
	if res.Header.Get("Access-Control-Allow-Origin") != page || res.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("an answer: %s", allowed(res.Header))
	}
	if res, _ := c.ok("HEAD", "/bucket/k", map[string]string{"Origin": "https://other.org"}, ""); res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("an answer to anyone: %s", allowed(res.Header))
	}
	if res, _ := c.ok("GET", "/bucket/k", map[string]string{"Origin": "https://other.org"}, ""); allowed(res.Header) != "" {
		t.Errorf("an answer to a stranger: %s", allowed(res.Header))
	}
	if res := c.ask(http.MethodGet, "/bucket/k", map[string]string{"Origin": page}); res.StatusCode != http.StatusForbidden {
		t.Errorf("rules let in who signed nothing: %s", res.Status)
	}
}
