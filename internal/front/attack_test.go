package front

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"

	"clary/internal/aws/codec"
	"clary/internal/aws/codec/awsjson"
	"clary/internal/aws/codec/restxml"
	"clary/internal/aws/sigv4"
)

// Heads and framings of other kinds than those of TestSmuggling: none is
// served, none hides another, none breaks the server.
func TestStrangeRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const hidden = "GET /hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	host := "Host: 127.0.0.1\r\n"
	for name, text := range map[string]string{
		"NUL in a value":             "POST / HTTP/1.1\r\n" + host + "A: b\x00c\r\n\r\n" + hidden,
		"NUL in a name":              "POST / HTTP/1.1\r\n" + host + "A\x00: b\r\n\r\n" + hidden,
		"NUL in the target":          "POST /\x00 HTTP/1.1\r\n" + host + "\r\n" + hidden,
		"NUL in the method":          "PO\x00ST / HTTP/1.1\r\n" + host + "\r\n" + hidden,
		"coding after a tab":         "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + hidden,
		"coding with a tail":         "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\x0b\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + hidden,
		"coding in quotes":           "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" + hidden,
		"coding and parameter":       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n" + hidden,
		"coding twice in one":        "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + hidden,
		"coding with a space before": "POST / HTTP/1.1\r\n" + host + " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"length with a tail":         "POST / HTTP/1.1\r\n" + host + "Content-Length: 0\x0b\r\n\r\n" + hidden,
		"length in hex":              "POST / HTTP/1.1\r\n" + host + "Content-Length: 0x0\r\n\r\n" + hidden,
		"length too long":            "POST / HTTP/1.1\r\n" + host + "Content-Length: 18446744073709551616\r\n\r\n" + hidden,
		"negative length":            "POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n" + hidden,
		"empty length":               "POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\n" + hidden,
		"huge chunk":                 "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n" + hidden,
		"huger chunk":                "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\nabc\r\n0\r\n\r\n" + hidden,
		"chunk in hex with 0x":       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + hidden,
		"chunk without an end":       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n" + hidden,
		"chunk of a long line":       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("a", maxGuardLine) + "\r\nx\r\n0\r\n\r\n" + hidden,
		"trailer of a long line":     "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + strings.Repeat("a", maxGuardLine) + "\r\n\r\n" + hidden,
		"trailer with a line feed":   "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n" + hidden,
		"no host":                    "GET / HTTP/1.1\r\n\r\n" + hidden,
		"host in another case twice": "GET / HTTP/1.1\r\n" + host + "HOST: evil.test\r\n\r\n" + hidden,
		"hosts in a list":            "GET / HTTP/1.1\r\nHost: 127.0.0.1, evil.test\r\n\r\n" + hidden,
		"host with a path":           "GET / HTTP/1.1\r\nHost: 127.0.0.1/evil\r\n\r\n" + hidden,
		"absolute target of our own": "GET http://127.0.0.1/ HTTP/1.1\r\n" + host + "\r\n" + hidden,
		"absolute target, TLS":       "GET https://127.0.0.1/ HTTP/1.1\r\n" + host + "\r\n" + hidden,
		"target of two slashes":      "GET //evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n" + hidden,
		"target of a star":           "OPTIONS * HTTP/1.1\r\n" + host + "\r\n" + hidden,
		"target without a slash":     "GET hidden HTTP/1.1\r\n" + host + "\r\n" + hidden,
		"two spaces":                 "GET  / HTTP/1.1\r\n" + host + "\r\n" + hidden,
		"tabs":                       "GET\t/\tHTTP/1.1\r\n" + host + "\r\n" + hidden,
		"space in the target":        "GET /a b HTTP/1.1\r\n" + host + "\r\n" + hidden,
		"HTTP/0.9":                   "GET /\r\n\r\n" + hidden,
		"HTTP/2 preface":             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"HTTP/3":                     "GET / HTTP/3.0\r\n" + host + "\r\n" + hidden,
		"HTTP/1.10":                  "GET / HTTP/1.10\r\n" + host + "\r\n" + hidden,
		"colon first":                "GET / HTTP/1.1\r\n" + host + ": b\r\n\r\n" + hidden,
		"colon in the request line":  "GET: / HTTP/1.1\r\n" + host + "\r\n" + hidden,
		"upgrade":                    "GET / HTTP/1.1\r\n" + host + "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n" + hidden,
		"CONNECT with a body":        "CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 70\r\n\r\n" + hidden,
		"upgrade with a body":        "POST / HTTP/1.1\r\n" + host + "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 70\r\n\r\n" + hidden,
		"CONNECT in chunks":          "CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"CONNECT to a path":          "CONNECT /hidden HTTP/1.1\r\n" + host + "\r\n" + hidden,
		"CONNECT elsewhere":          "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic " + basic("clary", token) + "\r\n\r\n" + hidden,
		"connect in small letters":   "connect sts.us-east-1.amazonaws.com:443 HTTP/1.1\r\nHost: x\r\n\r\n" + hidden,
		"thousand empty lines":       strings.Repeat("\r\n", 1000) + "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n" + hidden,
		"binary":                     "\x00\x01\x02\x03\r\n\r\n" + hidden,
		"8-bit target":               "GET /\xff\xfe HTTP/1.1\r\nHost: evil.test\r\n\r\n" + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			got := w.raw(text)
			if strings.Contains(got, "/hidden") || strings.Count(got, "HTTP/1.1 ") > 1 {
				t.Errorf("more than one answer: %.600s", got)
			}
			if got != "closed" && got != "" && !strings.Contains(got, " 4") && !strings.HasPrefix(got, "HTTP/1.1 5") {
				t.Errorf("answer: %.300s", got)
			}
			if strings.HasPrefix(got, "HTTP/1.1 500") {
				t.Errorf("answer: %.300s", got)
			}
		})
	}
	if got := w.do(describe("job")); got.status != 200 {
		t.Errorf("afterwards: %d %s", got.status, got.body)
	}
	if log := w.log.String(); strings.Contains(log, "panic") || strings.Contains(log, "level=ERROR") {
		t.Errorf("the log: %.2000s", log)
	}
}

// A refused request's body is never read as a request of its own, and the
// connection either goes on rightly framed or ends.
func TestBodiesThatNobodyReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const inside = "GET /hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	last := "GET /last HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
	for name, first := range map[string]string{
		"unsigned":           "PUT /b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + fmt.Sprint(len(inside)) + "\r\n\r\n" + inside,
		"unsigned, chunked":  "PUT /b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inside), inside),
		"chunk extensions":   "PUT /b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x;a=\"b;c\"\r\n%s\r\n0;x\r\nT: 1\r\n\r\n", len(inside), inside),
		"a body with GET":    "GET /b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + fmt.Sprint(len(inside)) + "\r\n\r\n" + inside,
		"a body with HEAD":   "HEAD /b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + fmt.Sprint(len(inside)) + "\r\n\r\n" + inside,
		"a large one":        "PUT /b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + fmt.Sprint(len(inside)*20000) + "\r\n\r\n" + strings.Repeat(inside, 20000),
		"expects to go on":   "PUT /b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: " + fmt.Sprint(len(inside)) + "\r\n\r\n" + inside,
		"another host's":     "PUT /b/k HTTP/1.1\r\nHost: evil.test\r\nContent-Length: " + fmt.Sprint(len(inside)) + "\r\n\r\n" + inside,
		"for a wrong scope":  "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Amz-Target: SageMaker.ListModels\r\n" + auth(w, "logs") + "\r\nContent-Length: " + fmt.Sprint(len(inside)) + "\r\n\r\n" + inside,
		"for a wrong secret": "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Amz-Target: SageMaker.ListModels\r\n" + auth(w, "sagemaker") + "\r\nContent-Length: " + fmt.Sprint(len(inside)) + "\r\n\r\n" + inside,
	} {
		t.Run(name, func(t *testing.T) {
			got := w.raw(first + last)
			if strings.Contains(got, "/hidden") || strings.Contains(got, "100 Continue") {
				t.Errorf("%.800s", got)
			}
			n := strings.Count(got, "HTTP/1.1 ")
			if n > 2 || n == 2 && !strings.Contains(got, "/last") {
				t.Errorf("%d answers: %.800s", n, got)
			}
		})
	}
}

// What was signed once may be sent again while its window lasts, as on AWS;
// nothing about it may change, and no second signature may stand beside it.
func TestReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	send := func(edit func(*http.Request)) reply {
		r := w.request(describe("job"))
		edit(r)
		return w.send(r, false)
	}
	again := w.request(describe("job"))
	for range 2 {
		r := again.Clone(t.Context())
		r.Body = io.NopCloser(strings.NewReader(describe("job").body))
		if got := w.send(r, false); got.status != 200 {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	presigned := func(r *http.Request) string {
		q := r.Clone(t.Context())
		q.Header = http.Header{}
		sigv4.Presign(q, sigv4.Credentials{AccessKeyID: goodKey, SecretAccessKey: secret}, "us-east-1", "s3", time.Hour, time.Now())
		return q.URL.RawQuery
	}
	for name, tt := range map[string]struct {
		edit func(*http.Request)
		want string
	}{
		"a later date": {func(r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().Add(time.Minute).UTC().Format("20060102T150405Z"))
		}, "InvalidSignatureException"},
		"no date":            {func(r *http.Request) { r.Header.Del("X-Amz-Date") }, "IncompleteSignatureException"},
		"two dates":          {func(r *http.Request) { r.Header.Add("X-Amz-Date", r.Header.Get("X-Amz-Date")) }, "IncompleteSignatureException"},
		"date beside":        {func(r *http.Request) { r.Header.Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)) }, ""},
		"two authorizations": {func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, "IncompleteSignatureException"},
		"another first": {func(r *http.Request) {
			r.Header["Authorization"] = []string{"Basic eDp5", r.Header.Get("Authorization")}
		}, "IncompleteSignatureException"},
		"query and header": {func(r *http.Request) { r.URL.RawQuery = presigned(r) }, "IncompleteSignatureException"},
		"an old one beside": {func(r *http.Request) {
			r.URL.RawQuery = "AWSAccessKeyId=" + goodKey + "&Signature=x&Expires=9999999999"
		}, "IncompleteSignatureException"},
		"a token more":   {func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "t") }, "UnrecognizedClientException"},
		"two tokens":     {func(r *http.Request) { r.Header["X-Amz-Security-Token"] = []string{"", "t"} }, "IncompleteSignatureException"},
		"two targets":    {func(r *http.Request) { r.Header.Add("X-Amz-Target", "SageMaker.DeleteModel") }, "InvalidSignatureException"},
		"a header more":  {func(r *http.Request) { r.Header.Set("X-Amz-Extra", "1") }, "InvalidSignatureException"},
		"a query more":   {func(r *http.Request) { r.URL.RawQuery = "a=b" }, "InvalidSignatureException"},
		"another path":   {func(r *http.Request) { r.URL.Path = "/x" }, "InvalidSignatureException"},
		"another method": {func(r *http.Request) { r.Method = "PUT" }, "InvalidSignatureException"},
		"another host":   {func(r *http.Request) { r.Host = "localhost" }, "InvalidSignatureException"},
		"fewer signed": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "host;", "", 1))
		}, "InvalidSignatureException"},
		"empty signature": {func(r *http.Request) {
			a, _, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
			r.Header.Set("Authorization", a+"Signature=")
		}, "IncompleteSignatureException"},
		"two signatures": {func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")+", Signature=00")
		}, "IncompleteSignatureException"},
		"another region": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "eu-west-1", "us-east-1", 1))
		}, "InvalidSignatureException"},
		"another day": {func(r *http.Request) {
			day := time.Now().UTC().Format("20060102")
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), day, "20200101", 1))
		}, "InvalidSignatureException"},
	} {
		if got := send(tt.edit); (got.status == 200) != (tt.want == "") || !strings.Contains(got.body, tt.want) {
			t.Errorf("%s: %d %s; want %q", name, got.status, got.body, tt.want)
		}
	}
}

// Paths reach handlers as they were signed: nothing is cleaned, joined or
// decoded twice.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, key := range map[string]string{
		"/bucket/../other/k": "../other/k", "/bucket/./k": "./k", "/bucket//k": "/k", "/bucket/a//b": "a//b", "/bucket/%2e%2e/k": "../k", "/bucket/%2F..%2Fk": "/../k",
		"/bucket/%252e": "%2e", "/bucket/a%5C..%5Cb": `a\..\b`, "/bucket/k%3Facl": "k?acl", "/bucket/k;v=1": "k;v=1", "/bucket/a+b": "a+b", "/bucket/%20": " ", "/bucket/k/": "k/",
	} {
		got := w.do(shot{method: "PUT", path: path, body: "x", service: "s3"})
		if want := `"bucket/` + key + `"`; got.status != 200 || got.header.Get("Etag") != want {
			t.Errorf("%s: %d %s, want %s: %s", path, got.status, got.header.Get("Etag"), want, got.body)
		}
	}
	for _, path := range []string{"/bucket/%00", "/bucket/%ff%fe", "/bucket/%zz", "/%2e%2e/k", "/bucket%2Fk"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+w.addr, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Opaque = path
		sigv4.Sign(r, sigv4.Credentials{AccessKeyID: goodKey, SecretAccessKey: secret}, "us-east-1", "s3", sigv4.UnsignedPayload, time.Now())
		if got := w.send(r, false); got.status >= 500 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

func TestManyHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	many := func(n int, line string) string {
		return "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + strings.Repeat(line, n) + "\r\n"
	}
	for name, text := range map[string]string{
		"ten thousand small ones": many(10000, "a:\r\n"), "a long name": many(1, strings.Repeat("a", maxHeader*2)+": b\r\n"),
		"a long target": "GET /" + strings.Repeat("a", maxHeader*2) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "a long method": strings.Repeat("A", maxHeader*2) + " / HTTP/1.1\r\n\r\n",
		"a long line without an end": strings.Repeat("A", maxHeader*3),
	} {
		if got := w.raw(text); !strings.HasPrefix(got, "HTTP/1.1 4") && got != "closed" {
			t.Errorf("%s: %.100q", name, got)
		}
	}
}

// Clients that trickle are given up too: in a chunk, in its head, and in a body
// that is held in memory, a byte at a time.
func TestTrickle(t *testing.T) {
	t.Parallel()
	w := &world{t: t}
	head := func(service, extra string) string {
		s := shot{method: "POST", path: "/", service: service, at: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), host: "clary", headers: map[string]string{"X-Amz-Target": "SageMaker.DescribeTrainingJob"}}
		if service == "s3" {
			s = shot{method: "PUT", path: "/bucket/k", service: service, payload: sigv4.UnsignedPayload, at: s.at, host: "clary"}
		}
		r := w.request(s)
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: clary\r\n%s\r\n", s.method, s.path, extra)
		for k, v := range r.Header {
			fmt.Fprintf(&b, "%s: %s\r\n", k, v[0])
		}
		return b.String() + "\r\n"
	}
	for _, tt := range []struct {
		name, says string
		each       time.Duration // a byte more each
		within     time.Duration
	}{
		{"in a chunk", head("s3", "Transfer-Encoding: chunked") + "5\r\nhel", 0, stallTime + time.Second},
		{"in a chunk's head", head("s3", "Transfer-Encoding: chunked") + "5", 0, stallTime + time.Second},
		{"in the trailer", head("s3", "Transfer-Encoding: chunked") + "0\r\nA", 0, stallTime + time.Second},
		{"a byte a minute", head("sagemaker", "Content-Length: 5000"), time.Minute, bodyTime + stallTime},
		{"a byte each ten seconds", head("sagemaker", "Content-Length: 5000"), 10 * time.Second, bodyTime + stallTime},
		{"a chunk each ten seconds", head("sagemaker", "Transfer-Encoding: chunked"), 10 * time.Second, bodyTime + stallTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, err := New(Config{
					Services: w.services(), Keys: keys{}, Auth: &policy{}, Log: slog.New(slog.DiscardHandler),
					Codecs: map[string]codec.Codec{"json": awsjson.New("1.1"), "rest-xml": restxml.New()},
				})
				if err != nil {
					t.Fatal(err)
				}
				p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				served := make(chan error, 1)
				go func() { served <- f.ServeTask(p) }()
				c := p.dial()
				begun := time.Now()
				stop := make(chan struct{})
				go func() {
					_, err := io.WriteString(c, tt.says)
					for err == nil && tt.each > 0 {
						select {
						case <-time.After(tt.each):
						case <-stop:
							return
						}
						piece := "x"
						if strings.Contains(tt.says, "chunked") {
							piece = "1\r\nx\r\n"
						}
						_, err = io.WriteString(c, piece)
					}
				}()
				answer, _ := http.ReadResponse(bufio.NewReader(c), nil)
				took := time.Since(begun)
				close(stop)
				if took > tt.within+5*time.Second || took < 50*time.Second {
					t.Errorf("given up after %v, want %v", took, tt.within)
				}
				if answer != nil && answer.StatusCode != http.StatusBadRequest {
					t.Errorf("%s", answer.Status)
				}
				_ = c.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				if err := f.Shutdown(ctx); err != nil {
					t.Error(err)
				}
				<-served
			})
		})
	}
}

// Bodies of unknown length take of the common budget as they grow, and are
// refused, not held up, when it is spent.
func TestBudgetOfBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.f.bodies = semaphore.NewWeighted(firstPiece + nextPiece)
	send := func(n int) reply {
		s := describe("job")
		s.body = `{"TrainingJobName":"job","Nothing":"` + strings.Repeat("a", n) + `"}`
		r := w.request(s)
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
		return w.send(r, false)
	}
	for range 2 { // what was held is given back
		if got := send(firstPiece); got.status != 200 {
			t.Errorf("%d %s", got.status, got.body)
		}
		if got := send(2 * nextPiece); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "ServiceUnavailable") {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
}

// One address does not take every place.
func TestConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	f := newFeed(nil, fromUser, nil, nil)
	from := func(ip string) net.Conn {
		return addressed{addr: &net.TCPAddr{IP: net.IP(netip.MustParseAddr(ip).AsSlice()), Port: 1}}
	}
	var leave []func()
	for i := range maxPerAddress {
		l, ok := f.enter(from("192.0.2.1"))
		if !ok {
			t.Fatalf("refused after %d", i)
		}
		leave = append(leave, l)
	}
	if _, ok := f.enter(from("192.0.2.1")); ok {
		t.Error("one more was let in")
	}
	if _, ok := f.enter(from("192.0.2.2")); !ok {
		t.Error("another address was refused")
	}
	if _, ok := f.enter(from("127.0.0.1")); !ok {
		t.Error("this machine was refused")
	}
	leave[0]()
	if _, ok := f.enter(from("192.0.2.1")); !ok {
		t.Error("a place that was left is not free")
	}
}

type addressed struct {
	net.Conn
	addr net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.addr }
