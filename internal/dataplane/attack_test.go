package dataplane_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"clary/internal/resource"
)

// What a page of another origin may make a browser ask is refused, though the
// cookie came with it.
func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	other := w.notebook("second", jupyter("second"))
	in := n.enter(root)
	site := func(s string) func(*http.Request) { return header("Sec-Fetch-Site", s) }
	mode := func(s string) func(*http.Request) { return header("Sec-Fetch-Mode", s) }
	dest := func(s string) func(*http.Request) { return header("Sec-Fetch-Dest", s) }
	from := func(s string) func(*http.Request) { return header("Origin", s) }
	type sets = []func(*http.Request)
	for what, tt := range map[string]struct {
		method string
		set    sets
	}{
		"another notebook's fetch":             {"GET", sets{from(other.origin()), site("cross-site"), mode("cors"), dest("empty")}},
		"another notebook's image":             {"GET", sets{site("cross-site"), mode("no-cors"), dest("image")}},
		"another notebook's form":              {"POST", sets{from(other.origin()), site("cross-site"), mode("navigate"), dest("document")}},
		"another notebook's form, old":         {"POST", sets{from(other.origin()), without("Sec-Fetch-Site")}},
		"another notebook's frame":             {"GET", sets{site("cross-site"), mode("navigate"), dest("iframe")}},
		"its preflight":                        {"OPTIONS", sets{from(other.origin()), site("cross-site"), mode("cors")}},
		"another port of the name":             {"GET", sets{from("http://nb-" + n.uid + ".localhost:9"), site("same-site"), mode("cors"), dest("empty")}},
		"another port of the name, a form":     {"POST", sets{from("http://nb-" + n.uid + ".localhost:9"), site("same-site"), mode("navigate"), dest("document")}},
		"another port of the name, a frame":    {"GET", sets{site("same-site"), mode("navigate"), dest("frame")}},
		"another port of the name, a script":   {"GET", sets{site("same-site"), mode("no-cors"), dest("script")}},
		"another port of localhost":            {"PUT", sets{from("http://localhost:9"), site("cross-site"), mode("cors")}},
		"another port of 127.0.0.1":            {"DELETE", sets{from("http://127.0.0.1:9"), site("cross-site"), mode("cors")}},
		"the console":                          {"POST", sets{from("http://console.localhost:" + w.port), site("cross-site"), mode("cors")}},
		"a sandboxed frame of its own":         {"POST", sets{from("null"), site("cross-site"), mode("cors")}},
		"a sandboxed frame that looks":         {"GET", sets{from("null"), site("cross-site"), mode("cors")}},
		"another scheme":                       {"POST", sets{from("https://" + n.host()), site("cross-site")}},
		"a name that begins so":                {"POST", sets{from(n.origin() + ".evil.example")}},
		"a name that ends so":                  {"POST", sets{from("http://evil.example/" + n.host())}},
		"two origins":                          {"POST", sets{header("Origin", n.origin(), other.origin())}},
		"no word of an origin":                 {"POST", sets{without("Origin"), without("Sec-Fetch-Site")}},
		"a typed address that changes":         {"POST", sets{without("Origin"), site("none")}},
		"a site of the future":                 {"GET", sets{site("same-party"), mode("cors")}},
		"a method nobody knows":                {"EXPLODE", sets{without("Origin"), without("Sec-Fetch-Site")}},
		"another notebook's form, DELETE":      {"DELETE", sets{from(other.origin()), without("Sec-Fetch-Site")}},
		"a download of its files, no-cors":     {"GET", sets{site("cross-site"), mode("no-cors"), dest("empty")}},
		"an object, embedded":                  {"GET", sets{site("cross-site"), mode("navigate"), dest("object")}},
		"an origin, though it says its ours":   {"GET", sets{from(other.origin()), site("same-origin")}},
		"a site beside, though origin is ours": {"POST", sets{from(n.origin()), site("same-site"), mode("cors")}},
	} {
		a := w.ask(tt.method, n.origin()+"/api/contents/x", in, tt.set...)
		if a.status != http.StatusForbidden || strings.Contains(a.body, "first "+tt.method) {
			t.Errorf("%s: %d %.200s", what, a.status, a.body)
		}
		for name := range a.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s", what, name)
			}
		}
	}
	for what, set := range map[string]sets{
		"another notebook":         {from(other.origin()), site("cross-site")},
		"another notebook, old":    {from(other.origin()), without("Sec-Fetch-Site"), without("Sec-Fetch-Mode")},
		"another port":             {from("http://nb-" + n.uid + ".localhost:9"), site("same-site")},
		"localhost":                {from("http://localhost:" + w.port)},
		"127.0.0.1":                {from("http://127.0.0.1:" + w.port)},
		"nobody":                   {without("Origin")},
		"null":                     {from("null")},
		"ours, from another site?": {site("cross-site")},
		"a WebSocket's scheme":     {from("ws://" + n.host())},
		"rebound":                  {from("http://evil.example"), func(r *http.Request) { r.Host = "evil.example" }},
	} {
		if c, _, status := n.socket(in, set...); status == http.StatusSwitchingProtocols {
			t.Errorf("a WebSocket from %s opens", what)
			_ = c.Close()
		}
	}
	// and its own pages may
	for what, tt := range map[string]struct {
		method string
		set    sets
	}{
		"a fetch":         {"GET", sets{site("same-origin"), mode("cors")}},
		"typed":           {"GET", sets{site("none"), mode("navigate"), dest("document")}},
		"a post":          {"POST", nil},
		"a patch, old":    {"PATCH", sets{without("Sec-Fetch-Site")}},
		"a beacon":        {"POST", sets{without("Origin"), site("same-origin"), mode("no-cors")}},
		"a link followed": {"GET", sets{site("cross-site"), mode("navigate"), dest("document")}},
		"no browser":      {"GET", nil},
	} {
		w.want(what, w.ask(tt.method, n.origin()+"/api/contents/x", in, tt.set...), http.StatusOK, "first "+tt.method+" /api/contents/x")
	}
}

// A page whose name was pointed at this machine, and every name but the
// notebook's, leads nowhere.
func TestWrongHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	in := n.enter(root)
	for _, host := range []string{
		"evil.example", "evil.example:" + w.port, "127.0.0.1:" + w.port, "localhost:" + w.port, "console.localhost:" + w.port, "[::1]:" + w.port, n.host() + ".evil.example",
		"nb-" + n.uid + ".notebooks.example.org", "nb-" + n.uid + ".example.org", "nb-" + n.uid + ".evil.example", "x.nb-" + n.uid + ".localhost", "nb-" + n.uid + "x.localhost", "nb-" + n.uid,
		"nb-" + n.uid + ".localhost@evil.example", n.host() + "/", n.host() + "\tx",
	} {
		got := w.raw("GET /api/contents HTTP/1.1\r\nHost: " + host + "\r\nCookie: " + cookie + "=" + in + "\r\nConnection: close\r\n\r\n")
		if strings.Contains(got, "first GET") {
			t.Errorf("Host %q: %.200s", host, got)
		}
	}
	if a := w.ask("GET", "http://nb-"+resource.NewUID()+".localhost:"+w.port+"/", in, header("Accept", "text/html")); a.status != http.StatusNotFound || !strings.Contains(a.body, "clary notebook ls") {
		t.Errorf("an unknown notebook: %d %s", a.status, a.body)
	}
	if got := w.raw("GET http://" + n.host() + "/ HTTP/1.1\r\nHost: " + n.host() + "\r\nCookie: " + cookie + "=" + in + "\r\nConnection: close\r\n\r\n"); strings.Contains(got, "first GET") {
		t.Errorf("as a proxy: %.200s", got)
	}
}

// Cookies that somebody else put beside ours let nobody in, and where there are
// two of our name there is none.
func TestCookieTossing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	in, other := n.enter(root), w.notebook("second", jupyter("second")).enter(root)
	for what, line := range map[string]string{
		"two":                    cookie + "=" + in + "; " + cookie + "=" + other,
		"two, theirs first":      cookie + "=" + other + "; " + cookie + "=" + in,
		"the same twice":         cookie + "=" + in + "; " + cookie + "=" + in,
		"in another's value":     "a=\"; " + cookie + "=" + other + "\"",
		"in capitals":            strings.ToUpper(cookie) + "=" + in,
		"without its prefix":     strings.TrimPrefix(cookie, "__Host-") + "=" + in,
		"with a longer name":     "x" + cookie + "=" + in,
		"empty":                  cookie + "=",
		"another's":              cookie + "=" + other,
		"after a comma":          "a=b, " + cookie + "=" + in,
		"in quotes":              cookie + "=\"" + in + "\"",
		"the hash in the record": cookie + "=" + hashOf(w, n),
	} {
		if a := w.ask("GET", n.origin()+"/", "", header("Cookie", line)); a.status != http.StatusForbidden || strings.Contains(a.body, "first GET") {
			t.Errorf("%s: %d %.200s", what, a.status, a.body)
		}
	}
	if a := w.ask("GET", n.origin()+"/", "", header("Cookie", cookie+"="+in, cookie+"="+other)); a.status != http.StatusForbidden {
		t.Errorf("two lines: %d", a.status)
	}
	w.want("among others", w.ask("GET", n.origin()+"/", "", header("Cookie", "_xsrf=1; "+cookie+"="+in+"; username=\"x\"", "more=2")), http.StatusOK)
}

func hashOf(w *world, n notebook) string {
	w.t.Helper()
	all, _, err := w.store.List(w.t.Context(), resource.Query{Kind: "NotebookSession", Parent: n.uid})
	if err != nil || len(all) == 0 {
		w.t.Fatal(err)
	}
	return all[0].Name
}

// What lets somebody in does not reach the notebook, whatever else does.
func TestWhatTheNotebookGets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	in := n.enter(root)
	a := w.ask("POST", n.origin()+"/api/x?a=1;b=2&c=%zz", "", header("Cookie", "_xsrf=a|b; "+cookie+"="+in+"; k=\"v;w\"", "second=1"),
		header("Authorization", "token abc"), header("Proxy-Authorization", "Basic eDp5"), header("X-Forwarded-For", "6.6.6.6"), header("X-Forwarded-Host", "evil.example"),
		header("X-Forwarded-Proto", "gopher"), header("X-Forwarded-Port", "1"), header("X-Forwarded-Prefix", "/evil"), header("Forwarded", "for=6.6.6.6"), header("X-Real-Ip", "6.6.6.6"), header("X-Scheme", "gopher"),
		header("X-Xsrftoken", "a|b"), header("Accept-Encoding", "br"), header("User-Agent", "browser"), header("Te", "trailers"), header("Keep-Alive", "timeout=9"),
		header("Connection", "close, X-Xsrftoken-Not, Te"), body("hello"))
	w.want("it", a, http.StatusOK, "POST /api/x?a=1;b=2&c=%zz host="+n.host()+" body=5 <nil>",
		"Cookie: _xsrf=a|b; k=\"v; w\"\r\n", "Cookie: second=1\r\n", "X-Xsrftoken: a|b", "Accept-Encoding: br", "User-Agent: browser", "Origin: "+n.origin(),
		"X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-Host: "+n.host()+"\r\n", "X-Forwarded-Proto: http\r\n")
	for _, never := range []string{in, cookie, "Authorization", "6.6.6.6", "evil.example", "gopher", "X-Forwarded-Port", "X-Forwarded-Prefix", "Forwarded: ", "X-Real-Ip", "X-Scheme", "Keep-Alive", "Connection"} {
		if strings.Contains(a.body, never) {
			t.Errorf("it gets %q: %s", never, a.body)
		}
	}
	// a Connection header that names what we set takes none of it away
	a = w.ask("GET", n.origin()+"/", in, header("Connection", "close, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Host, Cookie, Origin"), header("Cookie", cookie+"="+in+"; a=b"))
	w.want("names of ours", a, http.StatusOK, "X-Forwarded-For: 127.0.0.1", "host="+n.host())
	// nor does one of theirs without an agent get ours
	if a := w.ask("GET", n.origin()+"/", in, header("User-Agent", "")); strings.Contains(a.body, "Go-http-client") || strings.Contains(a.body, "Cookie:") {
		t.Errorf("%s", a.body)
	}
	for _, line := range []string{cookie + "=" + in + "; a=\"x " + cookie + "=" + in + "\"", "a=b ,__host-CLARY-notebook=" + in + "; " + cookie + "=" + in} {
		if a := w.ask("GET", n.origin()+"/", "", header("Cookie", line)); a.status != http.StatusOK || strings.Contains(a.body, in) {
			t.Errorf("%q: %d %s", line, a.status, a.body)
		}
	}
}

// Paths reach the notebook as they were sent, and none leads elsewhere.
func TestPaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	plain := w.notebook("plain", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(rw, "plain %s %s", r.Host, r.RequestURI)
	}))
	in := plain.enter(root)
	for _, path := range []string{
		"/", "//", "//evil.example/x", "///a", "/a//b", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc", "/..%2f..%2fetc", "/files/a%2Fb", "/files/a%2fb?path=..%2f..", "/%5c%5cevil", "/a;b=c/d", "/a%00b", "/%E2%82%AC", "/a%20b",
		"/.", "/./x", "/x/..", "/_clary/usage", "/_clary/report", "/@evil.example", "/:80/x", "/?http://" + n.host() + "/", "/a?", "/a?b?c#", "/lab/tree/a+b", "/a'b(c)!$&,", "/~", "/a%25b", "/nb-" + n.uid, "/*", "/?X-Amz-Signature=1", "/?auth",
	} {
		got := w.raw("GET " + path + " HTTP/1.1\r\nHost: " + plain.host() + "\r\nCookie: " + cookie + "=" + in + "\r\nConnection: close\r\n\r\n")
		want := "plain " + plain.host() + " " + path
		if sent := strings.Contains(got, want); !sent && !strings.HasPrefix(got, "HTTP/1.1 400") {
			t.Errorf("%s: %.300s", path, got)
		}
		if strings.Contains(got, "first ") {
			t.Errorf("%s leads to another notebook", path)
		}
	}
	// a path that the task's own name is made of
	for _, path := range []string{"http://evil.example/", "evil.example:80", "*", "\\\\evil", "/ HTTP/1.1\r\nX: y"} {
		got := w.raw("OPTIONS " + path + " HTTP/1.1\r\nHost: " + plain.host() + "\r\nCookie: " + cookie + "=" + in + "\r\nConnection: close\r\n\r\n")
		if strings.Contains(got, "plain "+plain.host()) && !strings.Contains(path, "\r\n") {
			t.Errorf("%s: %.300s", path, got)
		}
	}
}

// Of a request that two readers could divide differently nothing arrives, and
// none hides behind another.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	in := n.enter(root)
	head := "Host: " + n.host() + "\r\nOrigin: " + n.origin() + "\r\nCookie: " + cookie + "=" + in + "\r\n"
	hidden := "GET /hidden HTTP/1.1\r\nHost: " + n.host() + "\r\nCookie: " + cookie + "=" + in + "\r\n\r\n"
	for what, text := range map[string]string{
		"length and coding":      "POST /a HTTP/1.1\r\n" + head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"coding and length":      "POST /a HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
		"two lengths":            "POST /a HTTP/1.1\r\n" + head + "Content-Length: 0\r\nContent-Length: 70\r\n\r\n" + hidden,
		"h2c":                    "GET /a HTTP/1.1\r\n" + head + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n" + hidden,
		"two upgrades":           "GET /a HTTP/1.1\r\n" + head + "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n" + hidden,
		"upgrades on two lines":  "GET /a HTTP/1.1\r\n" + head + "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n" + hidden,
		"upgrade not meant":      "GET /a HTTP/1.1\r\n" + head + "Upgrade: websocket\r\n\r\n" + hidden,
		"upgrade with a body":    "GET /a HTTP/1.1\r\n" + head + "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc" + hidden,
		"upgrade by POST":        "POST /a HTTP/1.1\r\n" + head + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + hidden,
		"upgrade refused":        "GET /a HTTP/1.1\r\n" + head + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + hidden,
		"upgrade, no session":    "GET /a HTTP/1.1\r\nHost: " + n.host() + "\r\nOrigin: " + n.origin() + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + hidden,
		"header with CR":         "GET /a HTTP/1.1\r\n" + head + "X: a\rb\r\n\r\n" + hidden,
		"header with LF":         "GET /a HTTP/1.1\r\n" + head + "X: a\nHost: evil\r\n\r\n" + hidden,
		"header with NUL":        "GET /a HTTP/1.1\r\n" + head + "X: a\x00b\r\n\r\n" + hidden,
		"folded header":          "GET /a HTTP/1.1\r\n" + head + "X: a\r\n b\r\n\r\n" + hidden,
		"space before the colon": "POST /a HTTP/1.1\r\n" + head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
		"TRACE":                  "TRACE /a HTTP/1.1\r\n" + head + "Connection: close\r\n\r\n",
		"CONNECT":                "CONNECT " + n.host() + " HTTP/1.1\r\n" + head + "\r\n" + hidden,
		"another host behind":    "GET /a HTTP/1.1\r\n" + head + "Host: evil.example\r\n\r\n" + hidden,
	} {
		got := w.raw(text)
		if strings.Contains(got, "/hidden") || strings.Count(got, "HTTP/1.1 ") > 1 {
			t.Errorf("%s: more than one answer: %.600s", what, got)
		}
		if what != "upgrade refused" && strings.Contains(got, " /a host=") {
			t.Errorf("%s arrives: %.300s", what, got)
		}
		if what == "TRACE" && strings.Contains(got, in) {
			t.Error("TRACE shows the cookie")
		}
	}
	w.want("afterwards", w.ask("GET", n.origin()+"/", in), http.StatusOK)
	// a body inside chunks is one body
	got := w.raw("POST /a HTTP/1.1\r\n" + head + "Connection: close, Content-Length\r\nContent-Length: " + fmt.Sprint(len(hidden)) + "\r\n\r\n" + hidden)
	if !strings.Contains(got, fmt.Sprintf("body=%d", len(hidden))) || strings.Contains(got, "/hidden") {
		t.Errorf("a length that Connection names: %.400s", got)
	}
	got = w.raw("POST /a HTTP/1.1\r\n" + head + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n", len(hidden), hidden))
	if !strings.Contains(got, fmt.Sprintf("body=%d", len(hidden))) || strings.Contains(got, "/hidden") {
		t.Errorf("chunks: %.400s", got)
	}
}

// A hostile notebook cannot set our cookie, nor reach beyond its own host.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var hinted bool
	n := w.notebook("first", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		if r.URL.Path == "/hints" {
			h.Set("Set-Cookie", cookie+"=evil")
			h.Set("Link", "</x>; rel=preload")
			rw.WriteHeader(http.StatusEarlyHints)
			hinted = true
			h.Del("Set-Cookie")
			return
		}
		for _, c := range []string{
			cookie + "=evil; Path=/; Secure", " " + cookie + " =evil", strings.ToUpper(cookie) + "=evil", "=" + cookie + "=evil", cookie, "", "nameless",
			"_xsrf=good; Path=/; Domain=example.org", "a=b; domain = .localhost; HttpOnly", "last=1",
		} {
			h.Add("Set-Cookie", c)
		}
		h.Set("Clear-Site-Data", `"*"`)
		h.Set("Alt-Svc", `h3=":443"`)
		h.Set("Strict-Transport-Security", "max-age=1; includeSubDomains")
		h.Set("Connection", "X-Mine")
		h.Set("X-Mine", "1")
		h.Set("Content-Type", "text/html")
		_, _ = rw.Write([]byte("hello"))
	}))
	in := n.enter(root)
	a := w.ask("GET", n.origin()+"/", in)
	if got, want := strings.Join(a.header["Set-Cookie"], " | "), "_xsrf=good; Path=/ | a=b; HttpOnly | last=1"; got != want {
		t.Errorf("cookies %q, want %q", got, want)
	}
	for _, name := range []string{"Clear-Site-Data", "Alt-Svc", "Strict-Transport-Security"} {
		if a.header.Get(name) != "" {
			t.Errorf("%s passes", name)
		}
	}
	if a.header.Get("Referrer-Policy") != "same-origin" || a.header.Get("Cross-Origin-Opener-Policy") != "same-origin" {
		t.Errorf("headers %v", a.header)
	}
	got := w.raw("GET /hints HTTP/1.1\r\nHost: " + n.host() + "\r\nCookie: " + cookie + "=" + in + "\r\nConnection: close\r\n\r\n")
	if !hinted || strings.Contains(got, " 103 ") || strings.Contains(got, "Set-Cookie") {
		t.Errorf("hints: %s", got)
	}
}

// What answers nonsense is said not to answer.
func TestNonsense(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for what, text := range map[string]string{
		"nothing":           "",
		"no HTTP":           "SSH-2.0-OpenSSH\r\n",
		"two lengths":       "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"an endless header": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
		"another protocol":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"unasked":           "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"a header of lines": "HTTP/1.1 200 OK\r\nX-A: b\x00c\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(what, func(t *testing.T) {
			n := w.notebookAt("n"+strings.ReplaceAll(what, " ", "-"), says(t, text))
			a := w.ask("GET", n.origin()+"/", n.enter(root), header("Accept", "text/html"))
			if a.status != http.StatusBadGateway || !strings.Contains(a.body, "does not answer") || a.header.Get("Refresh") != "2" {
				t.Errorf("%d: %.300s", a.status, a.body)
			}
		})
	}
}
