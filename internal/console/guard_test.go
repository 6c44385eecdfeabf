package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The page that opens a notebook instance may be led to it: browsers hold a
// form's answer, too, against the page's policy.
func TestFormLeadsToNotebook(t *testing.T) {
	t.Parallel()
	c, cookie := open(t, newWorld())
	for path, want := range map[string]string{
		"/notebook-instances/n": "form-action 'self' http://nb-a.localhost:2527;",
		"/notebook-instances":   "form-action 'self' ;",
	} {
		r := httptest.NewRequest(http.MethodGet, "http://console.localhost:2527"+path, http.NoBody)
		r.AddCookie(cookie)
		rec := httptest.NewRecorder()
		c.ServeHTTP(rec, r)
		if csp := rec.Header().Get("Content-Security-Policy"); rec.Code != http.StatusOK || !strings.Contains(csp, want) {
			t.Errorf("%s: %d, %s", path, rec.Code, csp)
		}
	}
}

// A cookie that is SameSite=Strict stays behind when a page elsewhere, or a
// file, leads here: our own page leads on with it, once.
func TestLedFromElsewhere(t *testing.T) {
	t.Parallel()
	c, cookie := open(t, newWorld())
	ask := func(site string, with bool) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "http://console.localhost:1/training-jobs?name=a", http.NoBody)
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Site", site)
		if with {
			r.AddCookie(cookie)
		}
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		return w
	}
	if w := ask("cross-site", false); w.Code != http.StatusOK || w.Header().Get("Refresh") != "0; url=http://console.localhost:1/training-jobs?name=a" || strings.Contains(w.Body.String(), "<nav") {
		t.Errorf("led here: %d %v", w.Code, w.Header())
	}
	if w := ask("same-origin", false); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/signin?next=%2Ftraining-jobs%3Fname%3Da" || w.Header().Get("Refresh") != "" {
		t.Errorf("a stranger: %d %v", w.Code, w.Header())
	}
	if w := ask("cross-site", true); w.Code != http.StatusOK || w.Header().Get("Refresh") != "" || !strings.Contains(w.Body.String(), "<nav") {
		t.Errorf("with the cookie: %d %v", w.Code, w.Header())
	}
}
