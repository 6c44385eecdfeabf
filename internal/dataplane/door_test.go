package dataplane_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"clary/internal/aws/op"
	"clary/internal/dataplane"
	"clary/internal/resource"
	"clary/internal/store"
)

func (w *world) want(what string, a answer, status int, words ...string) {
	w.t.Helper()
	if a.status != status {
		w.t.Errorf("%s: status %d, want %d: %.300s", what, a.status, status, a.body)
	}
	for _, word := range words {
		if !strings.Contains(a.body, word) {
			w.t.Errorf("%s: the answer lacks %q: %.300s", what, word, a.body)
		}
	}
}

// A link opens once, in one browser, which may follow it again.
func TestLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	l := n.link(root)
	if !strings.HasPrefix(l, n.origin()+"/?authToken=") {
		t.Fatalf("link %s", l)
	}
	u, _ := url.Parse(l)
	token := u.Query().Get("authToken")

	for _, m := range []string{"HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		if a := w.ask(m, l, ""); a.status != http.StatusMethodNotAllowed || a.cookie != "" || a.header.Get("Allow") != "GET" {
			t.Errorf("%s: %d", m, a.status)
		}
	}
	for what, set := range map[string][]func(*http.Request){
		"an image":     {header("Sec-Fetch-Mode", "no-cors"), header("Sec-Fetch-Dest", "image"), header("Sec-Fetch-Site", "cross-site")},
		"a fetch":      {header("Sec-Fetch-Mode", "cors"), header("Sec-Fetch-Dest", "empty"), header("Sec-Fetch-Site", "cross-site")},
		"a frame":      {header("Sec-Fetch-Mode", "navigate"), header("Sec-Fetch-Dest", "iframe"), header("Sec-Fetch-Site", "cross-site")},
		"an origin":    {header("Origin", "http://evil.example")},
		"a prefetch":   {header("Sec-Purpose", "prefetch")},
		"a prerender":  {header("Sec-Purpose", "prefetch;prerender"), header("Sec-Fetch-Mode", "navigate"), header("Sec-Fetch-Dest", "document")},
		"a WebSocket":  {header("Upgrade", "websocket"), header("Connection", "upgrade")},
		"an old hint":  {header("Purpose", "prefetch")},
		"another host": {func(r *http.Request) { r.Host = "nb-" + resource.NewUID() + ".localhost" }},
	} {
		if a := w.ask("GET", l, "", set...); a.status < 400 || a.cookie != "" {
			t.Errorf("%s takes the link: %d", what, a.status)
		}
	}
	w.want("another link", w.ask("GET", n.origin()+"/?authToken=x", ""), http.StatusForbidden, "does not open first", "clary open first")
	w.want("no link", w.ask("GET", n.origin()+"/?authToken=", ""), http.StatusForbidden)

	in := w.ask("GET", l, "", header("Sec-Fetch-Mode", "navigate"), header("Sec-Fetch-Dest", "document"), header("Sec-Fetch-Site", "cross-site"))
	if in.status != http.StatusSeeOther || in.header.Get("Location") != "/" || in.cookie == "" {
		t.Fatalf("%d to %q, cookie %q", in.status, in.header.Get("Location"), in.cookie)
	}
	set := in.header.Get("Set-Cookie")
	for _, attr := range []string{cookie + "=", "Path=/", "HttpOnly", "Secure", "SameSite=Strict", "Max-Age=3600"} {
		if !strings.Contains(set, attr) {
			t.Errorf("the cookie lacks %s: %s", attr, set)
		}
	}
	if strings.Contains(set, "Domain") || in.header.Get("Referrer-Policy") != "no-referrer" || in.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", in.header)
	}
	w.want("inside", w.ask("GET", n.origin()+"/lab", in.cookie), http.StatusOK, "first GET /lab host="+n.host())

	w.want("another browser", w.ask("GET", l, ""), http.StatusForbidden, "used before", "clary open first")
	w.want("another session", w.ask("GET", l, n.enter(root)), http.StatusForbidden, "used before")
	if a := w.ask("GET", l, in.cookie); a.status != http.StatusSeeOther || a.cookie != "" {
		t.Errorf("the same browser: %d, cookie %q", a.status, a.cookie)
	}
	w.stop()
	w.start(w.addr)
	w.want("another browser after a restart", w.ask("GET", l, ""), http.StatusForbidden, "used before")
	w.want("the session after a restart", w.ask("GET", n.origin()+"/lab", in.cookie), http.StatusOK)

	late := n.link(root)
	w.clock.on(5 * time.Minute)
	w.want("a late link", w.ask("GET", late, ""), http.StatusForbidden, "does not open first")

	// nowhere is the token, or the session's, kept or told
	for _, secret := range []string{token, in.cookie} {
		if strings.Contains(w.log.String(), secret) {
			t.Error("a secret is in the log")
		}
		for _, kind := range []resource.Kind{"NotebookLink", "NotebookSession"} {
			all, _, err := w.store.List(t.Context(), resource.Query{Kind: kind})
			if err != nil || len(all) == 0 {
				t.Fatalf("%s: %d, %v", kind, len(all), err)
			}
			for _, r := range all {
				if b, _ := json.Marshal(r); strings.Contains(string(b), secret) {
					t.Errorf("a secret is in a %s", kind)
				}
			}
		}
	}
}

// Of many that take a link at once, one comes in.
func TestLinkRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	l := n.link(root)
	var in, out atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch a, err := w.try("GET", l, ""); {
			case err != nil:
				t.Error(err)
			case a.status == http.StatusSeeOther && a.cookie != "":
				in.Add(1)
			case a.status == http.StatusForbidden:
				out.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 || out.Load() != 19 {
		t.Errorf("%d came in, %d did not", in.Load(), out.Load())
	}
}

// Wherever a link is said to lead, it leads to this host.
func TestWhereLinksLead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	for add, want := range map[string]string{
		"":                              "/",
		"&next=/lab/tree/a%20b.ipynb":   "/lab/tree/a%20b.ipynb",
		"&next=%2Flab%3Freset":          "/lab?reset",
		"&view=lab":                     "/lab",
		"&view=classic":                 "/",
		"&next=//evil.example":          "/",
		"&next=https://evil.example":    "/",
		"&next=/%5Cevil.example":        "/",
		"&next=%2F%2Fevil.example%2F..": "/",
		"&next=%09//evil.example":       "/",
		"&next=/x%0d%0aSet-Cookie:a=b":  "/",
		"&next=javascript:alert(1)":     "/",
		"&next=evil.example":            "/",
		"&next=%3F":                     "/",
	} {
		a := w.ask("GET", n.link(root)+add, "")
		if a.status != http.StatusSeeOther || a.header.Get("Location") != want || len(a.header["Set-Cookie"]) != 1 {
			t.Errorf("%q leads with %d to %q", add, a.status, a.header.Get("Location"))
		}
	}
	for path, want := range map[string]string{
		"/lab/tree/x.ipynb": "/lab/tree/x.ipynb", "//evil.example": "/", "///evil.example": "/", "/%2Fevil.example": "/%2Fevil.example", "/\\evil.example": "/%5Cevil.example", "/..//evil.example": "/..//evil.example",
	} {
		_, query, _ := strings.Cut(n.link(root), "?")
		got := w.raw("GET " + path + "?" + query + " HTTP/1.1\r\nHost: " + n.host() + "\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 303") || !strings.Contains(got, "\r\nLocation: "+want+"\r\n") {
			t.Errorf("%q: %.400s", path, got)
		}
	}
}

// A window that another site leads here comes without its cookie: our own page
// leads it on, to the same address of the same host.
func TestFromAnotherSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	led := []func(*http.Request){header("Sec-Fetch-Mode", "navigate"), header("Sec-Fetch-Dest", "document"), header("Sec-Fetch-Site", "cross-site"), header("Accept", "text/html")}
	for _, path := range []string{"/lab?a=b", "//evil.example/", "/"} {
		a := w.ask("GET", n.origin()+path, "", led...)
		if a.status != http.StatusOK || a.header.Get("Refresh") != "0; url="+n.origin()+path || a.body != "" {
			t.Errorf("%s: %d, %q", path, a.status, a.header.Get("Refresh"))
		}
	}
	a := w.ask("GET", n.origin()+"/lab", "", header("Sec-Fetch-Mode", "navigate"), header("Sec-Fetch-Dest", "document"), header("Sec-Fetch-Site", "same-origin"), header("Accept", "text/html"))
	w.want("led on by ours, without a cookie", a, http.StatusForbidden, "Open first again", "clary open first")
	if a.header.Get("Refresh") != "" {
		t.Error("it goes round and round")
	}
	w.want("a session's window from elsewhere", w.ask("GET", n.origin()+"/lab", n.enter(root), led...), http.StatusOK, "first GET /lab")
}

// A session lasts as long as was asked for, and AWS's bounds hold.
func TestLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	ctx := t.Context()
	for life, ok := range map[time.Duration]bool{0: true, 30 * time.Minute: true, 12 * time.Hour: true, 30*time.Minute - time.Second: false, 12*time.Hour + time.Second: false, -1: false} {
		if _, err := w.plane.URL(ctx, w.call(root), n.record(), life); (err == nil) != ok {
			t.Errorf("%v: %v", life, err)
		}
	}
	in := n.enter(root)
	w.clock.on(time.Hour - time.Second)
	w.want("before its end", w.ask("GET", n.origin()+"/", in), http.StatusOK)
	w.clock.on(time.Second)
	w.want("at its end", w.ask("GET", n.origin()+"/", in, header("Accept", "text/html")), http.StatusForbidden, "Open first again", "clary open first")
	w.want("for a script", w.ask("GET", n.origin()+"/api/status", in), http.StatusForbidden, `{"message":`, "clary open first")
}

// Addresses are as the caller's browser needs them.
func TestAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	for _, tt := range []struct {
		host string
		task bool
		want string
	}{
		{"http://127.0.0.1:2527", false, "http://nb-" + n.uid + ".localhost:2527/"},
		{"http://[::1]:2527", false, "http://nb-" + n.uid + ".localhost:2527/"},
		{"http://localhost:9", false, "http://nb-" + n.uid + ".localhost:9/"},
		{"https://localhost:9", false, "http://nb-" + n.uid + ".localhost:9/"},
		{"http://console.localhost:9", false, "http://nb-" + n.uid + ".localhost:9/"},
		{"http://laptop.example.test:9", false, "http://nb-" + n.uid + ".localhost:9/"},
		{"https://clary.example.test", false, "https://nb-" + n.uid + ".notebooks.example.org/"},
		{"https://clary.example.test:8443", false, "https://nb-" + n.uid + ".notebooks.example.org:8443/"},
		{"https://192.0.2.1:8443", false, "https://nb-" + n.uid + ".notebooks.example.org:8443/"},
		{"http://clary", true, "https://nb-" + n.uid + ".notebooks.example.org:" + w.port + "/"},
	} {
		u, err := w.plane.URL(t.Context(), op.Call{Account: account, Principal: root, Host: tt.host, FromTask: tt.task}, n.record(), 0)
		if err != nil || !strings.HasPrefix(u, tt.want+"?authToken=") {
			t.Errorf("%+v: %s, %v", tt, u, err)
		}
	}
	alone, err := dataplane.New(dataplane.Config{Store: w.store, Keys: w.people, Auth: w.people, Dialer: w.tasks, Port: "2527"})
	if err != nil {
		t.Fatal(err)
	}
	if u, err := alone.URL(t.Context(), op.Call{Account: account, Principal: root, Host: "http://clary", FromTask: true}, n.record(), 0); err != nil || !strings.HasPrefix(u, "http://nb-"+n.uid+".localhost:2527/") {
		t.Errorf("a task's: %s, %v", u, err)
	}
	if _, err := alone.URL(t.Context(), op.Call{Account: account, Principal: root, Host: "https://clary.example.test"}, n.record(), 0); err == nil || !strings.Contains(err.Error(), "--notebook-suffix") {
		t.Errorf("from elsewhere, without names for it: %v", err)
	}
	if s := alone.Site(n.uid); s != "nb-"+n.uid+".localhost:2527" {
		t.Errorf("site %s", s)
	}
	if s := w.plane.Site(n.uid); s != "nb-"+n.uid+".notebooks.example.org" {
		t.Errorf("site %s", s)
	}
}

func TestSuffix(t *testing.T) {
	t.Parallel()
	for suffix, want := range map[string]string{
		"notebooks.example.org": "", "nb.example.co.uk": "", "example.net": "",
		"localhost": "two labels", "nb.localhost": "below localhost", "org": "two labels", "co.uk": "public suffix", "github.io": "", // a domain whose names are sites of their own

		"console.example.com": "registrable domain", "nb.example.com": "registrable domain", "example.com": "registrable domain",
		"s3.example.org": "bucket suffix", "x.s3.example.org": "bucket suffix", "example.org": "bucket suffix",
		"127.0.0.1": "two labels", "a..b": "two labels", "-a.example.org": "two labels", "A.example.org": "two labels", "a_b.example.org": "two labels", "": "two labels", "nb.example.org:1": "two labels", "*.example.org": "two labels",
	} {
		err := dataplane.CheckSuffix(suffix, "console.example.com", "S3.example.org.")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", suffix, err, want)
		}
	}
}

// Who is behind a session is asked again: a key that is gone, a policy that
// changed and another account end it, for what is open as well.
func TestPolicyIsAskedAgain(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		who   resource.Principal
		end   func(*people)
		words string
	}{
		"a deleted key":    {root, func(p *people) { p.gone[root.AccessKeyID] = true }, "not valid any more"},
		"a deny":           {role("R"), func(p *people) { p.denied[role("R").Arn] = true }, "explicit deny"},
		"a deny of a user": {root, func(p *people) { p.denied[root.Arn] = true }, "explicit deny"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			n := w.notebook("first", jupyter("first"))
			in, unused := n.enter(tt.who), n.link(tt.who)
			w.want("before", w.ask("GET", n.origin()+"/", in), http.StatusOK)
			c, br, status := n.socket(in)
			if status != http.StatusSwitchingProtocols {
				t.Fatal(status)
			}
			w.people.set(tt.end)
			begun := time.Now()
			if _, err := br.ReadByte(); err == nil {
				t.Error("the WebSocket speaks on")
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("the WebSocket lived on for %v", took)
			}
			_ = c.Close()
			w.want("afterwards", w.ask("GET", n.origin()+"/", in), http.StatusForbidden, tt.words)
			w.want("a link of before", w.ask("GET", unused, ""), http.StatusForbidden, tt.words)
			var last asked
			w.people.set(func(p *people) { last = p.asked[len(p.asked)-1] })
			if what != "a deleted key" && (last.act != "sagemaker:CreatePresignedNotebookInstanceUrl" || last.arn != n.record().Arn || last.who.Arn != tt.who.Arn) {
				t.Errorf("asked %+v", last)
			}
		})
	}
}

func TestOtherAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	stranger := role("R")
	stranger.Account = "210987654321"
	if u, err := w.plane.URL(t.Context(), w.call(stranger), n.record(), 0); err == nil {
		t.Errorf("a stranger gets %s", u)
	}
	// and if it once had one
	mine := n.link(role("R"))
	w.update(func(tx store.Tx) error {
		page, _, err := w.store.List(t.Context(), resource.Query{Kind: "NotebookLink"})
		if err != nil {
			return err
		}
		r, err := tx.Get(page[0].Key)
		if err != nil {
			return err
		}
		r.Spec = json.RawMessage(strings.ReplaceAll(string(r.Spec), account, stranger.Account))
		return tx.Put(r)
	})
	w.want("a stranger's link", w.ask("GET", mine, ""), http.StatusForbidden, "another account")
}

// A failure of ours is no answer about the session: nothing ends by it.
func TestTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	in := n.enter(root)
	c, br, _ := n.socket(in)
	w.people.set(func(p *people) { p.broken = http.ErrBodyNotAllowed })
	until(t, "trouble is said", func() bool {
		return w.ask("GET", n.origin()+"/", in).status == http.StatusServiceUnavailable
	})
	w.people.set(func(p *people) { p.broken = nil })
	if _, err := c.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := br.ReadString('\n'); err != nil || line != "first hello\n" {
		t.Errorf("%q, %v", line, err)
	}
	w.want("afterwards", w.ask("GET", n.origin()+"/", in), http.StatusOK)
}

// One notebook's session opens no other.
func TestOneSessionOneNotebook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.notebook("first", jupyter("first")), w.notebook("second", jupyter("second"))
	in := a.enter(root)
	w.want("its own", w.ask("GET", a.origin()+"/", in), http.StatusOK, "first GET /")
	w.want("the other", w.ask("GET", b.origin()+"/", in), http.StatusForbidden, "clary open second")
	l := a.link(root)
	moved := strings.Replace(l, a.host(), b.host(), 1)
	w.want("a link at the other", w.ask("GET", moved, ""), http.StatusForbidden, "does not open second")
	if got := w.ask("GET", l, ""); got.status != http.StatusSeeOther {
		t.Errorf("the link afterwards: %d", got.status)
	}
}
