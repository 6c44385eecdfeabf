package dataplane_test

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/op"
	"clary/internal/dataplane"
	"clary/internal/identity"
)

// Policies are asked under the conditions of the request itself: where it comes
// from, by what browser, whether others could read it. What a role's owner
// changes holds from the next second on.
func TestRealPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.notebook("first", jupyter("first"))
	ctx := t.Context()
	ids, err := identity.Open(identity.Config{Store: w.store, Dir: t.TempDir(), Account: account, StrictRoles: true})
	if err != nil {
		t.Fatal(err)
	}
	p, err := dataplane.New(dataplane.Config{Store: w.store, Keys: ids, Auth: ids, Dialer: w.tasks, Suffix: "notebooks.example.org", Port: "1", Log: slog.New(slog.DiscardHandler), Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`
	allow := func(condition string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sagemaker:CreatePresigned*","Resource":"` + n.record().Arn + `","Condition":` + condition + `}]}`
	}
	role, err := ids.CreateRole(ctx, account, identity.Role{Name: "Analyst", Path: "/", Trust: trust, Policies: map[string]string{"p": allow(`{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"},"StringLike":{"aws:UserAgent":"Chrome*"},"Bool":{"aws:SecureTransport":"true"}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	creds, err := ids.Assume(ctx, role.Arn, "me", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, who, err := ids.Secret(ctx, creds.AccessKeyID, creds.SessionToken)
	if err != nil {
		t.Fatal(err)
	}
	host := "nb-" + n.uid + ".notebooks.example.org"
	link := func() string {
		t.Helper()
		l, err := p.URL(ctx, op.Call{Account: account, Principal: who, Host: "https://clary.example.org"}, n.record(), 0)
		if err != nil || !strings.HasPrefix(l, "https://"+host+"/?") {
			t.Fatalf("%s, %v", l, err)
		}
		return l
	}
	ask := func(to, session, from, agent string, secure bool) *httptest.ResponseRecorder {
		t.Helper()
		w.clock.on(time.Second) // what was believed is over
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, to, http.NoBody)
		r.Host, r.RemoteAddr, r.TLS = host, from+":1234", nil
		if secure {
			r.TLS = &tls.ConnectionState{}
		}
		r.Header.Set("User-Agent", agent)
		if session != "" {
			r.Header.Set("Cookie", cookie+"="+session)
		}
		rec := httptest.NewRecorder()
		p.ServeHTTP(rec, r)
		return rec
	}
	l := link()
	if rec := ask(l, "", "198.51.100.1", "Chrome/1", true); rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), "is not authorized to perform: sagemaker:CreatePresignedNotebookInstanceUrl on resource: "+n.record().Arn) {
		t.Fatalf("a link from elsewhere: %d %s", rec.Code, rec.Body)
	}
	in := ask(l, "", "192.0.2.7", "Chrome/1", true)
	if in.Code != http.StatusSeeOther {
		t.Fatalf("the link: %d %s", in.Code, in.Body)
	}
	session := in.Result().Cookies()[0].Value
	get := func(from, agent string, secure bool) *httptest.ResponseRecorder {
		return ask("https://"+host+"/lab", session, from, agent, secure)
	}
	if rec := get("192.0.2.9", "Chrome/2", true); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), "X-Forwarded-Proto: https") || !strings.Contains(rec.Body.String(), "X-Forwarded-For: 192.0.2.9") {
		t.Errorf("inside: %d %s", rec.Code, rec.Body)
	}
	for what, rec := range map[string]*httptest.ResponseRecorder{
		"another address": get("198.51.100.1", "Chrome/2", true), "another browser": get("192.0.2.9", "Firefox", true), "in the open": get("192.0.2.9", "Chrome/2", false),
	} {
		if rec.Code != http.StatusForbidden {
			t.Errorf("%s: %d", what, rec.Code)
		}
	}
	// the very same second: an answer is for who asked
	if get("192.0.2.9", "Chrome/2", true).Code != http.StatusOK {
		t.Error("out")
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/lab", http.NoBody)
	r.Host, r.RemoteAddr = host, "198.51.100.1:1"
	r.Header.Set("User-Agent", "Chrome/2")
	r.Header.Set("Cookie", cookie+"="+session)
	rec := httptest.NewRecorder()
	if p.ServeHTTP(rec, r); rec.Code != http.StatusForbidden {
		t.Errorf("another address in the same second: %d", rec.Code)
	}
	edit := func(doc string) {
		t.Helper()
		if err := ids.ChangeRole(ctx, account, "Analyst", func(r *identity.Role) error { r.Policies = map[string]string{"p": doc}; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	edit(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"sagemaker:CreatePresignedNotebookInstanceUrl","Resource":"*"}]}`)
	if rec := get("192.0.2.9", "Chrome/2", true); rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), "explicit deny") {
		t.Errorf("denied: %d %s", rec.Code, rec.Body)
	}
	edit(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sagemaker:*","Resource":"arn:aws:sagemaker:*:*:notebook-instance/other"}]}`)
	if get("192.0.2.9", "Chrome/2", true).Code != http.StatusForbidden {
		t.Error("allowed for another instance, and in")
	}
	edit(allow(`{}`))
	if get("192.0.2.9", "Chrome/2", true).Code != http.StatusOK {
		t.Error("allowed, and out")
	}
	for name := range role.Policies {
		if err := ids.ChangeRole(ctx, account, "Analyst", func(r *identity.Role) error { delete(r.Policies, name); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := ids.DeleteRole(ctx, account, "Analyst"); err != nil {
		t.Fatal(err)
	}
	if get("192.0.2.9", "Chrome/2", true).Code != http.StatusForbidden {
		t.Error("the role is gone, and in")
	}
	if _, err := ids.CreateRole(ctx, account, identity.Role{Name: "Analyst", Path: "/", Trust: trust, Policies: map[string]string{"p": allow(`{}`)}}); err != nil {
		t.Fatal(err)
	}
	if get("192.0.2.9", "Chrome/2", true).Code != http.StatusForbidden {
		t.Error("another role of the name lets in")
	}
}
