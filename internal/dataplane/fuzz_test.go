package dataplane

import (
	"net/http"
	"strings"
	"testing"
)

// FuzzCookies: whatever a browser or a notebook says, ours does not pass.
func FuzzCookies(f *testing.F) {
	for _, s := range []string{"", "a=b", cookieName + "=x", "a=b; " + cookieName + "=x; c=d", "a=\"; " + cookieName + "=x\"", " __HOST-clary-NOTEBOOK = x ", "=" + cookieName + "=x", "a=b; Domain=x; Path=/", ";;;", "=;=;="} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		asked := http.Header{"Cookie": {one, two}}
		token := sessionToken(asked)
		if strings.Contains(token, ";") || token != "" && sessionNames(one, two) != 1 {
			t.Errorf("%q and %q give %q", one, two, token)
		}
		withoutOurs(asked)
		for _, line := range asked["Cookie"] {
			if strings.Contains(strings.ToLower(line), strings.ToLower(cookieName)) {
				t.Errorf("%q passes", line)
			}
		}
		if !strings.Contains(strings.ToLower(one), strings.ToLower(cookieName)) && asked["Cookie"][0] != one {
			t.Errorf("%q became %q", one, asked["Cookie"])
		}
		said := http.Header{"Set-Cookie": {one, two}}
		tame(said)
		for _, line := range said["Set-Cookie"] {
			parts := strings.Split(line, ";")
			name, _, ok := strings.Cut(parts[0], "=")
			if name = strings.TrimSpace(name); !ok || name == "" || strings.EqualFold(name, cookieName) {
				t.Errorf("%q is set", line)
			}
			for _, attr := range parts[1:] {
				if key, _, _ := strings.Cut(attr, "="); strings.EqualFold(strings.TrimSpace(key), "domain") {
					t.Errorf("%q is set", line)
				}
			}
		}
	})
}

// sessionNames counts cookies of our name.
func sessionNames(lines ...string) (n int) {
	for _, l := range lines {
		for part := range strings.SplitSeq(l, ";") {
			if name, _, _ := strings.Cut(part, "="); strings.TrimSpace(name) == cookieName {
				n++
			}
		}
	}
	return n
}

// FuzzHost: only a UID is taken out of a name.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"nb-abcdefghijklmnopqrstuvwxyz.localhost:1", "nb-.x", "", "NB-ABCDEFGHIJKLMNOPQRSTUVWXYZ.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if uid := uidOf(host); uid != "" && (!uidForm.MatchString(uid) || !strings.HasPrefix(strings.ToLower(host), labelPrefix+uid)) {
			t.Errorf("%q gives %q", host, uid)
		}
	})
}
