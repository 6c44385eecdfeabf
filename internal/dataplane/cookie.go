package dataplane

import (
	"net/http"
	"strings"
	"time"
)

// cookieName binds the cookie to this very host and to secure origins, which
// browsers count names below localhost among.
const cookieName = "__Host-clary-notebook"

func newCookie(token string, life time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: token, Path: "/", MaxAge: int(life / time.Second),
		HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode,
	}
}

// sessionToken is our cookie in a request. Two are none: a browser sends one,
// and nobody shall choose between them.
func sessionToken(h http.Header) string {
	var token string
	for _, line := range h["Cookie"] {
		for part := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(part, "=")
			if strings.TrimSpace(name) != cookieName {
				continue
			}
			if token != "" {
				return ""
			}
			token = strings.TrimSpace(value)
		}
	}
	return token
}

// withoutOurs takes our cookie out of a request: wherever its name stands,
// since the reader inside may divide cookies in another way.
func withoutOurs(h http.Header) {
	lines := h["Cookie"]
	if len(lines) == 0 {
		return
	}
	var kept []string
	for _, line := range lines {
		if !strings.Contains(strings.ToLower(line), strings.ToLower(cookieName)) {
			kept = append(kept, line)
			continue
		}
		var parts []string
		for part := range strings.SplitSeq(line, ";") {
			if !strings.Contains(strings.ToLower(part), strings.ToLower(cookieName)) && strings.TrimSpace(part) != "" {
				parts = append(parts, strings.TrimSpace(part))
			}
		}
		if len(parts) > 0 {
			kept = append(kept, strings.Join(parts, "; "))
		}
	}
	if len(kept) == 0 {
		h.Del("Cookie")
		return
	}
	h["Cookie"] = kept
}

// tame lets the notebook's own cookies pass, for its own host alone. Ours it
// cannot set, nor one without a name, whose value a browser may send as if it
// were one.
func tame(h http.Header) {
	lines := h["Set-Cookie"]
	if len(lines) == 0 {
		return
	}
	kept := lines[:0:0]
	for _, line := range lines {
		parts := strings.Split(line, ";")
		name, _, ok := strings.Cut(parts[0], "=")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.EqualFold(name, cookieName) {
			continue
		}
		own := parts[:1]
		for _, attr := range parts[1:] {
			if key, _, _ := strings.Cut(attr, "="); !strings.EqualFold(strings.TrimSpace(key), "domain") {
				own = append(own, attr)
			}
		}
		kept = append(kept, strings.Join(own, ";"))
	}
	if len(kept) == 0 {
		h.Del("Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}
