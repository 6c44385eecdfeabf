package dataplane

import (
	"errors"
	"net/http"
	"strings"

	"clary/internal/identity/browser"
)

// enter takes a presigned URL: a window is led here, by whomever, and the first
// one that comes becomes a session.
func (v *visit) enter() {
	h := v.r.Header
	mode, dest := h.Get("Sec-Fetch-Mode"), h.Get("Sec-Fetch-Dest")
	purpose := h.Get("Sec-Purpose") + h.Get("Purpose")
	switch {
	case v.r.Method != http.MethodGet:
		v.show(getAlone)
		return
	case v.upgrade:
		v.show(notServed)
		return
	case mode != "" && mode != "navigate", dest != "" && dest != "document", h.Get("Origin") != "" && !strings.EqualFold(h.Get("Origin"), v.origin):
		v.show(fromOutside)
		return
	case strings.Contains(purpose, "prefetch") || strings.Contains(purpose, "prerender"):
		v.show(notServed) // nobody has come yet
		return
	}
	rec, err := v.p.find(v.r.Context(), v.uid)
	if err != nil {
		v.fail(err)
		return
	}
	if rec.Phase != inService { // the link waits
		v.fail(phaseError{rec.Name, rec.Phase})
		return
	}
	had := sessionToken(h)
	token, life, err := v.p.redeem(v.r.Context(), v.ask(had), v.r.URL.Query().Get(tokenParameter), had)
	switch {
	case errors.Is(err, errUsed):
		v.show(used(rec.Name))
	case errors.Is(err, errLink):
		v.show(expired(rec.Name))
	case err != nil:
		v.fail(err)
	default:
		v.head()
		if token != "" {
			http.SetCookie(v.w, newCookie(token, life))
		}
		v.w.Header().Set("Location", v.inside())
		v.w.WriteHeader(http.StatusSeeOther)
	}
}

// inside is where a link leads, without its token: a path of this host.
func (v *visit) inside() string {
	q := v.r.URL.Query()
	next := q.Get("next")
	switch {
	case next != "":
	case v.r.URL.Path != "/" && v.r.URL.Path != "":
		next = v.r.URL.EscapedPath()
	case q.Get("view") == "lab": // as people put it behind AWS's links
		next = "/lab"
	}
	return browser.LocalPath(next)
}
