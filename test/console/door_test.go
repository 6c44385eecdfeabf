package console

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"clary/internal/aws/sigv4"
	"clary/internal/identity"
	"clary/test/daemon"
)

// browser speaks to the console as a browser does, without showing anything.
// It follows no redirect and keeps no cookie by itself.
type browser struct {
	t    *testing.T
	http *http.Client
	base string
}

func plain(t *testing.T, d *daemon.Daemon) *browser {
	t.Helper()
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, d.Listen) // names below localhost are this server
	}
	_, port, _ := strings.Cut(d.Listen, ":")
	return &browser{t, &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{DialContext: dial, Proxy: nil},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, "http://console.localhost:" + port}
}

type answer struct {
	status int
	header http.Header
	body   string
	cookie *http.Cookie
}

// ask sends a request; set changes it first.
func (b *browser) ask(method, path string, form url.Values, set ...func(*http.Request)) answer {
	b.t.Helper()
	to := path
	if !strings.HasPrefix(path, "http") {
		to = b.base + path
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, to, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.base)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, f := range set {
		f(r)
	}
	res, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	a := answer{res.StatusCode, res.Header, string(body), nil}
	for _, c := range res.Cookies() {
		a.cookie = c
	}
	return a
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func with(c *http.Cookie) func(*http.Request) {
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value}) }
}

func (b *browser) want(a answer, status int, words ...string) {
	b.t.Helper()
	if a.status != status {
		b.t.Errorf("status %d, want %d: %.300s", a.status, status, a.body)
	}
	for _, w := range words {
		if !strings.Contains(a.body, w) {
			b.t.Errorf("the answer lacks %q: %.300s", w, a.body)
		}
	}
}

// formToken is in every form of a page.
func formToken(t *testing.T, page string) string {
	t.Helper()
	_, rest, _ := strings.Cut(page, `name="token" value="`)
	token, _, ok := strings.Cut(rest, `"`)
	if !ok || token == "" {
		t.Fatal("the page has no form token")
	}
	return token
}

// TestDoor tries to come in without being let in.
func TestDoor(t *testing.T) {
	t.Parallel()
	d, api := start(t)
	ctx := t.Context()
	b := plain(t, d)
	must(t, api.CreateBucket(ctx, bucket))
	must(t, api.SageMaker(ctx, "CreateTrainingJob", daemon.JobRequest("walk", bucket, daemon.Python(walker)), nil))
	key, err := identity.ReadRootKey(d.Data + "/keys")
	must(t, err)

	// nothing is shown to a stranger
	for _, path := range []string{"/training-jobs", "/training-jobs/walk", "/billing", "/activity", "/object?uri=s3://x/y", "/nothing"} {
		a := b.ask(http.MethodGet, path, nil)
		if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/signin") {
			t.Errorf("%s: %d to %q", path, a.status, a.header.Get("Location"))
		}
	}
	b.want(b.ask(http.MethodPost, "/training-jobs/walk/stop", url.Values{}), http.StatusUnauthorized)

	// a link works once, whole, and not for long
	l := link(t, d, "/training-jobs")
	a := b.ask(http.MethodGet, strings.Replace(l, "X-Amz-Signature=", "X-Amz-Signature=0", 1), nil)
	b.want(a, http.StatusForbidden, "expired or is not whole")
	a = b.ask(http.MethodGet, strings.Replace(l, "next=%2Ftraining-jobs", "next=%2Fbilling", 1), nil)
	b.want(a, http.StatusForbidden)
	in := b.ask(http.MethodGet, l, nil)
	if in.status != http.StatusSeeOther || in.header.Get("Location") != "/training-jobs" {
		t.Fatalf("the link leads with %d to %q", in.status, in.header.Get("Location"))
	}
	b.want(b.ask(http.MethodGet, l, nil), http.StatusForbidden, "used before")
	must(t, d.Kill())
	must(t, d.Start(ctx))
	b.want(b.ask(http.MethodGet, l, nil), http.StatusForbidden, "used before") // a restart forgets nothing
	signed := func(service, path string, life time.Duration, at time.Time) string {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+path, nil)
		must(t, err)
		sigv4.Presign(r, sigv4.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}, "us-east-1", service, life, at)
		return r.URL.String()
	}
	for what, u := range map[string]string{
		"an old one":               signed("signin", "/link", time.Minute, time.Now().Add(-2*time.Minute)),
		"one that lives too long":  signed("signin", "/link", time.Hour, time.Now()),
		"one for another service":  signed("sagemaker", "/link", time.Minute, time.Now()),
		"one that signs no path":   strings.Replace(signed("signin", "/", time.Minute, time.Now()), "/?", "/link?", 1),
		"an object's presigned":    strings.Replace(signed("s3", "/"+bucket+"/k", time.Minute, time.Now()), "/"+bucket+"/k", "/link", 1),
		"without any signature":    b.base + "/link",
		"with a key that is known": b.base + "/link?X-Amz-Credential=" + key.AccessKeyID,
	} {
		if a := b.ask(http.MethodGet, u, nil); a.status != http.StatusForbidden || a.cookie != nil {
			t.Errorf("%s: %d", what, a.status)
		}
	}
	if a := b.ask(http.MethodGet, signed("signin", "/link?next=%2F%2Fevil.example", time.Minute, time.Now()), nil); a.header.Get("Location") != "/" {
		t.Errorf("a link leads to %q", a.header.Get("Location"))
	}

	// two links of one second are two links
	if a, z := link(t, d, "/"), link(t, d, "/"); a == z {
		t.Error("a second link is the first one again")
	}

	// the cookie is bound as tightly as a browser can
	c := in.cookie
	if c == nil || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || !strings.HasPrefix(c.Name, "__Host-") {
		t.Fatalf("the cookie: %+v", c)
	}
	page := b.ask(http.MethodGet, "/training-jobs/walk/stop", nil, with(c))
	b.want(page, http.StatusOK, "Stop walk?")
	csp := page.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("the content policy lacks %s: %s", want, csp)
		}
	}
	if strings.Contains(csp, "unsafe") || page.header.Get("Cache-Control") != "no-store" || page.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers: %v", page.header)
	}

	// a form counts only if it is ours, of this session, from this origin
	token := formToken(t, page.body)
	good := url.Values{"token": {token}}
	stop := "/training-jobs/walk/stop"
	b.want(b.ask(http.MethodPost, stop, url.Values{}, with(c)), http.StatusForbidden)
	b.want(b.ask(http.MethodPost, stop, url.Values{"token": {strings.Repeat("0", len(token))}}, with(c)), http.StatusForbidden)
	b.want(b.ask(http.MethodPost, stop, good, with(c), header("Origin", "http://evil.example")), http.StatusForbidden)
	b.want(b.ask(http.MethodPost, stop, good, with(c), header("Origin", "null")), http.StatusForbidden)
	b.want(b.ask(http.MethodPost, stop, good, with(c), header("Origin", "http://localhost:8080")), http.StatusForbidden)
	b.want(b.ask(http.MethodPost, stop, good, with(c), header("Sec-Fetch-Site", "same-site")), http.StatusForbidden)
	b.want(b.ask(http.MethodPost, stop, good, with(c), header("Sec-Fetch-Site", "cross-site")), http.StatusForbidden)
	b.want(b.ask(http.MethodGet, "/training-jobs", nil, with(c), header("Sec-Fetch-Site", "cross-site"), header("Sec-Fetch-Mode", "no-cors")), http.StatusForbidden)
	other := b.ask(http.MethodGet, link(t, d, "/"), nil).cookie
	b.want(b.ask(http.MethodPost, stop, good, with(other)), http.StatusForbidden)
	var job struct{ TrainingJobStatus string }
	must(t, api.SageMaker(ctx, "DescribeTrainingJob", map[string]any{"TrainingJobName": "walk"}, &job))
	if job.TrainingJobStatus != "InProgress" {
		t.Fatalf("the job is %s", job.TrainingJobStatus)
	}
	if a := b.ask(http.MethodPost, stop, good, with(c)); a.status != http.StatusSeeOther {
		t.Errorf("our own form: %d %s", a.status, a.body)
	}

	// other names and addresses serve no page
	_, port, _ := strings.Cut(d.Listen, ":")
	for _, host := range []string{"127.0.0.1:" + port, "localhost:" + port, "evil.example", "console.localhost.evil.example", "xconsole.localhost:" + port} {
		a := b.ask(http.MethodGet, "/signin", nil, func(r *http.Request) { r.Host = host }, with(c))
		if strings.Contains(a.body, "<html") {
			t.Errorf("%s serves a page", host)
		}
	}

	// an access key signs in as well, a wrong one does not
	form := url.Values{"id": {key.AccessKeyID}, "secret": {key.SecretAccessKey}, "next": {"/billing"}}
	if a := b.ask(http.MethodPost, "/signin", form); a.status != http.StatusSeeOther || a.header.Get("Location") != "/billing" || a.cookie == nil {
		t.Errorf("sign-in: %d to %q", a.status, a.header.Get("Location"))
	}
	for _, bad := range []url.Values{
		{"id": {key.AccessKeyID}, "secret": {"x"}}, {"id": {"AKIANOBODY"}, "secret": {key.SecretAccessKey}}, {}, {"id": {key.AccessKeyID}, "secret": {""}},
	} {
		if a := b.ask(http.MethodPost, "/signin", bad); a.status != http.StatusForbidden || a.cookie != nil {
			t.Errorf("%v: %d", bad, a.status)
		}
	}

	// signed out is out, here and in every copy of the cookie
	home := b.ask(http.MethodGet, "/", nil, with(c))
	if a := b.ask(http.MethodPost, "/signout", url.Values{"token": {formToken(t, home.body)}}, with(c)); a.status != http.StatusSeeOther {
		t.Errorf("sign-out: %d", a.status)
	}
	if a := b.ask(http.MethodGet, "/training-jobs", nil, with(c)); a.status != http.StatusSeeOther {
		t.Errorf("the old cookie still opens: %d", a.status)
	}
}

// A principal sees in the console what its policies let it see, and no more.
func TestConsoleAsRole(t *testing.T) {
	t.Parallel()
	d, api := start(t)
	ctx := t.Context()
	b := plain(t, d)
	arn, err := api.Role(ctx, "Reader", `{"Effect":"Allow","Action":["sagemaker:ListTrainingJobs"],"Resource":"*"}`)
	must(t, err)
	creds, err := api.Assume(ctx, arn)
	must(t, err)
	a := b.ask(http.MethodPost, "/signin", url.Values{"id": {creds.AccessKeyID}, "secret": {creds.SecretAccessKey}, "session": {creds.SessionToken}})
	if a.cookie == nil {
		t.Fatalf("a role's session does not sign in: %d", a.status)
	}
	b.want(b.ask(http.MethodGet, "/training-jobs", nil, with(a.cookie)), http.StatusOK)
	b.want(b.ask(http.MethodGet, "/", nil, with(a.cookie)), http.StatusOK)
	b.want(b.ask(http.MethodGet, "/billing", nil, with(a.cookie)), http.StatusOK)
	b.want(b.ask(http.MethodGet, "/activity", nil, with(a.cookie)), http.StatusForbidden, "not authorized to perform: cloudtrail:LookupEvents")
	b.want(b.ask(http.MethodGet, "/training-jobs/x", nil, with(a.cookie)), http.StatusForbidden, "not authorized to perform: sagemaker:DescribeTrainingJob")

	// nor does who uses notebook instances alone need to be let at jobs
	arn, err = api.Role(ctx, "Writer", `{"Effect":"Allow","Action":["sagemaker:ListNotebookInstances"],"Resource":"*"}`)
	must(t, err)
	creds, err = api.Assume(ctx, arn)
	must(t, err)
	a = b.ask(http.MethodPost, "/signin", url.Values{"id": {creds.AccessKeyID}, "secret": {creds.SecretAccessKey}, "session": {creds.SessionToken}})
	b.want(b.ask(http.MethodGet, "/notebook-instances", nil, with(a.cookie)), http.StatusOK)
	b.want(b.ask(http.MethodGet, "/", nil, with(a.cookie)), http.StatusOK)
	b.want(b.ask(http.MethodGet, "/billing", nil, with(a.cookie)), http.StatusOK)
	b.want(b.ask(http.MethodGet, "/training-jobs", nil, with(a.cookie)), http.StatusForbidden, "not authorized to perform: sagemaker:ListTrainingJobs")
}

// TestOpen opens the console as `clary open` does on a desktop: its browser is
// started with the address of a file.
func TestOpen(t *testing.T) {
	t.Parallel()
	d, _ := start(t)
	dir := t.TempDir()
	pipe := filepath.Join(dir, "said")
	must(t, syscall.Mkfifo(pipe, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "xdg-open"), []byte("#!/bin/sh\necho \"$1\" >"+pipe+"\n"), 0o700)) //nolint:gosec // a program
	cmd := d.Clary(t.Context(), "open", "/billing?from=2026-01-01&to=2026-02-01")
	cmd.Env = append(cmd.Env, "PATH="+dir+":/usr/bin:/bin", "DISPLAY=:9")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	said, err := os.ReadFile(pipe)
	must(t, err)
	page := strings.TrimSpace(string(said))
	if !strings.HasPrefix(page, "file://"+d.Data+"/run/") {
		t.Fatalf("the browser is led to %s", page)
	}
	b := open(t, d)
	b.run(chromedp.Navigate(page))
	b.until("the console", `document.querySelector("nav.side") != null && location.pathname == "/billing"`)
	if got := js[string](b, "location.href"); got != b.url("/billing?from=2026-01-01&to=2026-02-01") {
		t.Errorf("the page knows %s", got)
	}
	b.quiet()
	b.run(chromedp.Navigate(page)) // once more, as somebody who found the file would
	b.until("the link's end", `document.body?.innerText.includes("used before")`)
}
