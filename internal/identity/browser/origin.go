package browser

import (
	"net/http"
	"net/url"
	"strings"
)

// Safe says whether a method only looks.
func Safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// FromElsewhere says whether a page of another origin made the request, by what
// its browser says.
func FromElsewhere(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return true
}

// Navigates says whether the request follows a link that leads a window here:
// what another site may do, as long as the request only looks.
func Navigates(r *http.Request) bool {
	return Safe(r.Method) && r.Header.Get("Sec-Fetch-Mode") == "navigate"
}

// SameSite refuses what another site's page asks for. A link from elsewhere is
// followed, but only to look: a session's cookie does not come with it.
func SameSite(r *http.Request) bool {
	if o := r.Header.Get("Origin"); o != "" {
		_, host, ok := strings.Cut(o, "://")
		if !ok || host != r.Host {
			return false
		}
	}
	return !FromElsewhere(r) || Navigates(r)
}

// LocalPath is where a sign-in leads: a path of ours, never another site; "/"
// for all else.
func LocalPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(next, "/") || strings.Contains(next, "\\") {
		return "/"
	}
	// judged as it will be sent: what is encoded badly is encoded anew
	path := u.RequestURI()
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, "\\") {
		return "/"
	}
	return path
}
