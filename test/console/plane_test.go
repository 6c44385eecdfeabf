package console

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // WebSockets are made with it
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/dataplane"
	"clary/internal/front"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

// plane is the way into notebook instances whose servers are the test's own, so
// that their pages can be as hostile as they like.
type plane struct {
	t     *testing.T
	st    store.Store
	p     *dataplane.Plane
	port  string
	base  string     // of the addresses that calls are made to
	mu    sync.Mutex // guards what follows
	addrs map[compute.TaskID]string
	got   []string // what the notebooks were asked: name, method, path
}

var owner = resource.Principal{Account: "123456789012", Arn: "arn:aws:iam::123456789012:root", AccessKeyID: "AKIA", Root: true}

// Secret implements identity.Keys.
func (*plane) Secret(context.Context, string, string) (string, resource.Principal, error) {
	return "secret", owner, nil
}

// Allow implements identity.Authorizer.
func (*plane) Allow(context.Context, resource.Principal, string, string) error { return nil }

// PassRole implements identity.Authorizer.
func (*plane) PassRole(context.Context, resource.Principal, string, string) error { return nil }

// Dial implements compute.Dialer.
func (p *plane) Dial(ctx context.Context, id compute.TaskID, _ int) (net.Conn, error) {
	p.mu.Lock()
	addr := p.addrs[id]
	p.mu.Unlock()
	return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
}

// startPlane serves below localhost, or below a domain of an operator's own.
func startPlane(t *testing.T, suffix string) *plane {
	t.Helper()
	p := &plane{t: t, addrs: map[compute.TaskID]string{}}
	st, err := sqlite.Open(filepath.Join(t.TempDir(), "db"), sqlite.Options{})
	must(t, err)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	_, p.port, _ = net.SplitHostPort(l.Addr().String())
	log := slog.New(slog.DiscardHandler)
	p.st = st
	p.base = "http://127.0.0.1:" + p.port
	p.p, err = dataplane.New(dataplane.Config{Store: st, Keys: p, Auth: p, Dialer: p, Port: p.port, Suffix: suffix, Log: log})
	must(t, err)
	cfg := front.Config{Keys: p, Auth: p, Notebook: p.p, NotebookSuffix: suffix, Log: log}
	if suffix != "" {
		p.base = "https://clary.example.org:" + p.port
		dir := t.TempDir()
		certify(t, dir, "*."+suffix)
		cfg.Cert, err = front.LoadCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), log)
		must(t, err)
		cfg.CA, err = front.LoadCA(dir)
		must(t, err)
	}
	f, err := front.New(cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.Serve(l) })
	wg.Go(func() { p.p.Run(ctx) })
	t.Cleanup(func() {
		p.p.Shutdown()
		end, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		_ = f.Shutdown(end) // a browser may hold connections that it made in store
		cancel()
		wg.Wait()
		must(t, st.Close())
	})
	return p
}

// served is an instance, and the pages that it has.
type served struct {
	p         *plane
	name, uid string
	key       resource.Key
}

func (s served) origin() string {
	if strings.HasPrefix(s.p.base, "https:") {
		return "https://" + s.p.p.Site(s.uid) + ":" + s.p.port
	}
	return "http://nb-" + s.uid + ".localhost:" + s.p.port
}

// notebook serves pages by their path, and says "hello from NAME" for others.
func (p *plane) notebook(name string, pages map[string]string) served {
	p.t.Helper()
	n := served{p, name, resource.NewUID(), resource.Key{Account: owner.Account, Region: "us-east-1", Kind: "NotebookInstance", Name: name}}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.got = append(p.got, name+" "+r.Method+" "+r.RequestURI)
		p.mu.Unlock()
		switch {
		case strings.Contains(fmt.Sprint(r.Header), "__Host-clary"):
			p.t.Error("a notebook gets our cookie")
		case r.Header.Get("Upgrade") != "":
			echoSocket(w, r)
		case pages[r.URL.Path] != "":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, pages[r.URL.Path])
		case r.URL.Path != "/favicon.ico":
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, "<!doctype html><title>x</title><body>hello from %s at %s", name, r.URL.Path)
		}
	}))
	p.t.Cleanup(func() { h.CloseClientConnections(); h.Close() })
	task := compute.TaskID(n.uid + "-1")
	p.mu.Lock()
	p.addrs[task] = h.Listener.Addr().String()
	p.mu.Unlock()
	must(p.t, p.st.Update(p.t.Context(), func(tx store.Tx) error {
		return tx.Put(&resource.Record{
			Key: n.key, UID: n.uid, Arn: "arn:aws:sagemaker:us-east-1:123456789012:notebook-instance/" + name, Phase: "InService",
			Created: time.Now(), Modified: time.Now(), Status: json.RawMessage(`{"v":1,"task":"` + string(task) + `"}`),
		})
	}))
	return n
}

func (s served) link() string {
	s.p.t.Helper()
	r, err := s.p.st.Get(s.p.t.Context(), s.key)
	must(s.p.t, err)
	u, err := s.p.p.URL(s.p.t.Context(), op.Call{Account: owner.Account, Principal: owner, Host: s.p.base}, r, 0)
	must(s.p.t, err)
	return u
}

// asked is what a notebook was asked since the last time.
func (p *plane) asked(prefix string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, g := range p.got {
		if strings.HasPrefix(g, prefix) && !strings.HasSuffix(g, "/favicon.ico") {
			out = append(out, g)
		}
	}
	return out
}

// echoSocket is a WebSocket that answers frames with themselves, unmasked.
func echoSocket(w http.ResponseWriter, r *http.Request) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", accepted(r.Header.Get("Sec-WebSocket-Key")))
	for {
		var head [6]byte // of a short masked frame
		if _, err := io.ReadFull(rw, head[:]); err != nil {
			return
		}
		text := make([]byte, head[1]&0x7f)
		if _, err := io.ReadFull(rw, text); err != nil {
			return
		}
		for i := range text {
			text[i] ^= head[2+i%4]
		}
		if _, err := c.Write(append([]byte{head[0], byte(len(text))}, text...)); err != nil {
			return
		}
	}
}

// accepted answers a WebSocket's key.
func accepted(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // the protocol's
	return base64.StdEncoding.EncodeToString(sum[:])
}

// page is a server of a hostile page on another port.
func (p *plane) page(text string) string {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, text)
	}))
	p.t.Cleanup(func() { h.CloseClientConnections(); h.Close() })
	_, port, _ := net.SplitHostPort(h.Listener.Addr().String())
	return port
}

// attack tries from a page's script all that a browser lets it try.
const attack = `async (victim) => {
	const said = [];
	const note = (what, p) => p.then((v) => said.push(what + ": " + v), () => said.push(what + ": refused"));
	const ws = (url) => new Promise((done, no) => { const s = new WebSocket(url); s.onopen = () => done("open"); s.onerror = no; });
	const load = (el, attr) => new Promise((done) => { el.onload = () => done("loaded"); el.onerror = () => done("refused"); el[attr] = victim + "/evil-" + el.tagName; document.body.append(el); });
	await note("read", fetch(victim + "/evil-read", {credentials: "include"}).then((r) => r.status));
	await note("send", fetch(victim + "/evil-send", {method: "POST", mode: "no-cors", credentials: "include", body: "x"}).then((r) => r.type));
	await note("put", fetch(victim + "/evil-put", {method: "PUT", credentials: "include", body: "x"}).then((r) => r.status));
	await note("keepalive", fetch(victim + "/evil-keepalive", {method: "POST", mode: "no-cors", credentials: "include", keepalive: true, body: "x"}).then((r) => r.type));
	navigator.sendBeacon(victim + "/evil-beacon", "x");
	await note("socket", ws(victim.replace("http", "ws") + "/evil-socket"));
	await load(document.createElement("img"), "src");
	await load(document.createElement("script"), "src");
	const frame = document.createElement("iframe");
	await load(frame, "src");
	try { said.push("frame: " + frame.contentDocument.body.innerText); } catch { said.push("frame: refused"); }
	const form = document.createElement("form");
	const hole = document.createElement("iframe");
	hole.name = "hole";
	document.body.append(hole, form);
	form.action = victim + "/evil-form"; form.method = "post"; form.target = "hole";
	await new Promise((done) => { hole.onload = done; form.submit(); });
	for (const domain of ["localhost", ".localhost", new URL(victim).hostname, "." + new URL(victim).hostname, location.hostname])
		for (const name of ["__Host-clary-notebook", "__host-clary-notebook", ""])
			document.cookie = name + "=__Host-clary-notebook=evil; Path=/; Secure; Domain=" + domain;
	document.cookie = "__Host-clary-notebook=evil; Path=/; Secure";
	return said;
}`

// certify writes a certificate that nobody trusts.
func certify(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// TestNotebookFromBeside is the same below an operator's domain, where all
// notebooks are one site: the browser sends the cookie with what a notebook
// beside asks, and lets it set cookies for both.
func TestNotebookFromBeside(t *testing.T) {
	t.Parallel()
	p := startPlane(t, "notebooks.example.org")
	victim := p.notebook("victim", nil)
	hostile := p.notebook("hostile", map[string]string{"/lab": "<!doctype html><title>x</title><body>evil"})
	b := open(t, nil, chromedp.Flag("host-resolver-rules", "MAP *.notebooks.example.org 127.0.0.1"), chromedp.Flag("ignore-certificate-errors", true))
	for _, n := range []served{victim, hostile} {
		b.run(chromedp.Navigate(n.link() + "&next=/lab"))
		b.until("the notebook "+n.name, `/hello from victim|evil/.test(document.body?.innerText)`)
		if got := js[string](b, "location.href + document.cookie"); got != n.origin()+"/lab" {
			t.Errorf("the page sees %s", got)
		}
	}
	said := js[[]string](b, fmt.Sprintf("(%s)(%q)", attack, victim.origin()))
	for _, s := range said {
		if !strings.HasSuffix(s, ": refused") && !slices.Contains([]string{"send: opaque", "keepalive: opaque"}, s) {
			t.Error(s)
		}
	}
	js[bool](b, `["example.org", "notebooks.example.org"].every((d) => { document.cookie = "_xsrf=evil; Domain=" + d + "; Path=/"; document.cookie = "__Host-clary-notebook=evil; Secure; Path=/; Domain=" + d; return true; })`)
	if js[string](b, "document.cookie") != "_xsrf=evil" && js[string](b, "document.cookie") != "_xsrf=evil; _xsrf=evil" {
		t.Errorf("cookies: %s", js[string](b, "document.cookie")) // or nothing was tossed
	}
	for _, g := range p.asked("victim ") {
		if strings.Contains(g, "evil") {
			t.Errorf("the notebook was asked %s", g)
		}
	}
	b.run(chromedp.Navigate(victim.origin() + "/tree"))
	b.until("the notebook still", `document.body?.innerText.includes("hello from victim at /tree")`)
	if got := js[string](b, `new Promise((done, no) => { const s = new WebSocket("wss://" + location.host + "/x"); s.onopen = () => s.send("hi"); s.onmessage = (e) => done(e.data); s.onerror = no; })`); got != "hi" {
		t.Errorf("its own socket says %q", got)
	}
}

// TestNotebookFromOutside has pages of other origins try to get at a notebook
// that the same browser has open.
func TestNotebookFromOutside(t *testing.T) {
	t.Parallel()
	p := startPlane(t, "")
	victim := p.notebook("victim", nil)
	hostile := p.notebook("hostile", map[string]string{"/lab": "<!doctype html><title>x</title><body>evil"})
	b := open(t, nil)
	b.run(chromedp.Navigate(victim.link() + "&next=/lab"))
	b.until("the notebook", `document.body?.innerText.includes("hello from victim at /lab")`)
	if got := js[string](b, "location.href + document.cookie"); got != victim.origin()+"/lab" {
		t.Errorf("the page sees %s", got)
	}
	b.run(chromedp.Navigate(hostile.link() + "&next=/lab"))
	b.until("the hostile notebook", `document.body?.innerText == "evil"`)
	port := p.page("<!doctype html><title>x</title><body>evil")
	for _, from := range []string{
		hostile.origin() + "/lab", "http://localhost:" + port + "/", "http://127.0.0.1:" + port + "/", "http://evil.localhost:" + port + "/",
		strings.Replace(victim.origin(), ":"+p.port, ":"+port, 1) + "/", // the same name, which has the cookie
	} {
		b.run(chromedp.Navigate(from))
		b.until("the hostile page", `document.body?.innerText == "evil"`)
		said := js[[]string](b, fmt.Sprintf("(%s)(%q)", attack, victim.origin()))
		for _, s := range said {
			if !strings.HasSuffix(s, ": refused") && !slices.Contains([]string{"send: opaque", "keepalive: opaque", "read: 403", "put: 403"}, s) {
				t.Errorf("%s: %s", from, s)
			}
		}
		if len(said) != 6 {
			t.Errorf("%s: only %v was tried", from, said)
		}
	}
	for _, g := range p.asked("victim ") {
		if strings.Contains(g, "evil") {
			t.Errorf("the notebook was asked %s", g)
		}
	}
	// the session is what it was
	b.run(chromedp.Navigate(victim.origin() + "/tree"))
	b.until("the notebook still", `document.body?.innerText.includes("hello from victim at /tree")`)
	if got := js[string](b, `new Promise((done, no) => { const s = new WebSocket("ws://" + location.host + "/x"); s.onopen = () => s.send("hi"); s.onmessage = (e) => done(e.data); s.onerror = no; })`); got != "hi" {
		t.Errorf("its own socket says %q", got)
	}
	if got := js[int](b, `fetch("/x", {method: "POST", body: "x"}).then((r) => r.status)`); got != http.StatusOK {
		t.Errorf("its own post: %d", got)
	}
}

// TestNotebookLink follows links as people do: typed, from another site's page,
// a second time, in another browser, after the instance was stopped.
func TestNotebookLink(t *testing.T) {
	t.Parallel()
	p := startPlane(t, "")
	n := p.notebook("mine", nil)
	b, other := open(t, nil), open(t, nil)
	shown := func(b *tab, what, text string) {
		t.Helper()
		b.until(what, fmt.Sprintf("document.body?.innerText.includes(%q)", text))
	}
	l := n.link() + "&next=/lab"
	elsewhere := "http://console.localhost:" + p.page(fmt.Sprintf(`<!doctype html><title>x</title><body><a id=a href=%q>link</a> <a id=b href=%q>clean</a>`, l, n.origin()+"/lab/tree")) + "/"
	follow := func(sel string) {
		t.Helper()
		b.run(chromedp.Navigate(elsewhere), chromedp.Click(sel, chromedp.ByQuery))
	}
	follow("#a")
	shown(b, "the notebook, by a link on a page", "hello from mine at /lab")
	if got := js[string](b, "location.href"); got != n.origin()+"/lab" {
		t.Errorf("the address is %s", got)
	}
	follow("#b")
	shown(b, "the notebook, by a clean link on a page", "hello from mine at /lab/tree")
	b.run(chromedp.Navigate(l))
	shown(b, "the same link, in the same browser", "hello from mine at /lab")
	file := filepath.Join(t.TempDir(), "open.html") // as the command line opens it
	must(t, os.WriteFile(file, []byte(fmt.Sprintf(`<!doctype html><meta http-equiv="refresh" content="0; url=%s">`, html.EscapeString(n.link()+"&next=/lab/tree/a"))), 0o600))
	b.run(chromedp.Navigate("file://" + file))
	shown(b, "the notebook, by a file", "hello from mine at /lab/tree/a")
	other.run(chromedp.Navigate(l))
	shown(other, "the same link, in another browser", "This link was used before")
	shown(other, "what to type", "clary open mine")
	other.run(chromedp.Navigate(n.origin() + "/lab"))
	shown(other, "a stranger", "Open mine again")
	other.shoot("notebook-session-over")
	other.run(chromedp.Navigate(strings.Replace(n.origin(), n.uid, resource.NewUID(), 1) + "/lab"))
	shown(other, "no notebook", "No such notebook instance")

	// stopped, what is open ends, and the page says so
	js[bool](b, `new Promise((done) => { window.s = new WebSocket("ws://" + location.host + "/x"); s.onclose = () => window.closed_ = true; s.onopen = () => done(true); })`)
	phase := func(to string) {
		t.Helper()
		must(t, p.st.Update(t.Context(), func(tx store.Tx) error {
			r, err := tx.Get(n.key)
			if err != nil {
				return err
			}
			r.Phase = to
			return tx.Put(r)
		}))
	}
	phase("Stopping")
	must(t, p.p.Close(t.Context(), n.uid))
	b.until("the socket's end", "window.closed_ === true")
	phase("Pending")
	b.run(chromedp.Navigate(n.origin() + "/lab"))
	shown(b, "the instance starts", "mine is starting")
	phase("InService")
	shown(b, "the page that looked again", "Open mine again")
	b.run(chromedp.Navigate(n.link() + "&next=/lab"))
	shown(b, "a new link", "hello from mine at /lab")
}
