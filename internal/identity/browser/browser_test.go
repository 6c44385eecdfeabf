package browser

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

func open(t *testing.T) store.Store {
	t.Helper()
	st, err := sqlite.Open(filepath.Join(t.TempDir(), "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

type sitting struct {
	Who     string
	Expires time.Time
}

func (s sitting) Until() time.Time { return s.Expires }

const kind resource.Kind = "Sitting"

func put(ctx context.Context, st store.Store, token string, v sitting) error {
	return st.Update(ctx, func(tx store.Tx) error { return Put(tx, Key(kind, token), "owner", v, time.Now()) })
}

func TestRecords(t *testing.T) {
	t.Parallel()
	st, ctx := open(t), t.Context()
	token, now := Token(), time.Now()
	if len(token) < 43 || token == Token() {
		t.Fatalf("token %q", token)
	}
	if err := put(ctx, st, token, sitting{"me", now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := put(ctx, st, token, sitting{"you", now.Add(time.Hour)}); !errors.Is(err, store.ErrExists) {
		t.Errorf("a second one: %v", err)
	}
	if v, err := Get[sitting](ctx, st, Key(kind, token), now); err != nil || v.Who != "me" {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := Get[sitting](ctx, st, Key(kind, token), now.Add(time.Hour)); !errors.Is(err, ErrNone) {
		t.Errorf("when it is over: %v", err)
	}
	if _, err := Get[sitting](ctx, st, Key(kind, "x"+token), now); !errors.Is(err, ErrNone) {
		t.Errorf("another token: %v", err)
	}
	all, _, err := st.List(ctx, resource.Query{Kind: kind, Parent: "owner"})
	if err != nil || len(all) != 1 || strings.Contains(all[0].Name+string(all[0].Spec), token) {
		t.Errorf("what is kept: %+v, %v", all, err)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	st, ctx := open(t), t.Context()
	s := Sweep{Store: st, Of: kind}
	for token, life := range map[string]time.Duration{"old": -time.Second, "young": time.Hour} {
		if err := put(ctx, st, token, sitting{Expires: time.Now().Add(life)}); err != nil {
			t.Fatal(err)
		}
		res, err := s.Reconcile(ctx, Key(kind, token))
		if err != nil {
			t.Fatal(err)
		}
		_, err = st.Get(ctx, Key(kind, token))
		if gone := errors.Is(err, store.ErrNotFound); gone != (life < 0) || gone != (res.After == 0) {
			t.Errorf("%s: %v, look again after %v", token, err, res.After)
		}
	}
	if res, err := s.Reconcile(ctx, Key(kind, "nothing")); err != nil || res.After != 0 {
		t.Errorf("nothing: %v, %v", res, err)
	}
}

func TestSameSite(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method, origin, site, mode string
		want                       bool
	}{
		{"GET", "", "", "", true},
		{"GET", "", "none", "navigate", true},
		{"GET", "", "same-origin", "cors", true},
		{"POST", "http://a.localhost:1", "same-origin", "", true},
		{"GET", "", "cross-site", "navigate", true},
		{"HEAD", "", "cross-site", "navigate", true},
		{"GET", "", "cross-site", "no-cors", false},
		{"GET", "", "same-site", "cors", false},
		{"POST", "", "cross-site", "navigate", false},
		{"POST", "http://b.localhost:1", "", "", false},
		{"POST", "null", "", "", false},
		{"GET", "http://a.localhost:2", "", "", false},
		{"GET", "a.localhost:1", "", "", false},
		{"GET", "", "someday", "", false},
	} {
		r := httptest.NewRequest(tt.method, "http://a.localhost:1/", http.NoBody)
		for k, v := range map[string]string{"Origin": tt.origin, "Sec-Fetch-Site": tt.site, "Sec-Fetch-Mode": tt.mode} {
			if v != "" {
				r.Header.Set(k, v)
			}
		}
		if got := SameSite(r); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func TestLocalPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/billing": "/billing", "/training-jobs?name=a&status=Failed": "/training-jobs?name=a&status=Failed", "": "/",
		"//evil.example": "/", "https://evil.example/": "/", "/\\evil.example": "/", "javascript:alert(1)": "/", "evil": "/", "/%zz": "/",
		"///evil.example": "/", "/%2Fevil.example": "/%2Fevil.example", "/\tevil": "/", "/a\r\nSet-Cookie: x": "/", "http:/evil": "/", "/lab#x": "/lab", "%2f0": "/", "/%2fevil.example/ ": "/", "/%5cevil.example/ ": "/%5Cevil.example/%20", "/a%2f b": "/a/%20b", "?a": "/",
	} {
		if got := LocalPath(in); got != want {
			t.Errorf("%q leads to %q, want %q", in, got, want)
		}
	}
}

// FuzzLocalPath: wherever it leads, it is the same host.
func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"/", "//x", "/\\x", "/a?b#c", "/..//x", "/%2f/x", "\t//x", "/\t/x", "http:///x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := LocalPath(next)
		base, err := url.Parse("http://host:1/")
		if err != nil {
			t.Fatal(err)
		}
		to, err := base.Parse(got)
		if err != nil || to.Host != "host:1" || to.Scheme != "http" || !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\r\n\t") {
			t.Errorf("%q leads to %q, %v", next, got, err)
		}
	})
}
