package jupyter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// lab is an instance that was opened; serve answers all but the link.
func lab(t *testing.T, serve http.HandlerFunc) *Lab {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "nb-x.localhost:1" || r.Header.Get("Origin") != "http://nb-x.localhost:1" || r.Header.Get("Sec-Fetch-Site") != "same-origin" {
			t.Errorf("asked as %s, %v", r.Host, r.Header)
		}
		switch c, err := r.Cookie("session"); {
		case r.URL.Query().Get("authToken") == "good":
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "s", Path: "/"})
			http.SetCookie(w, &http.Cookie{Name: "_xsrf", Value: "x", Path: "/"})
		case err != nil || c.Value != "s" || r.Header.Get("X-Xsrftoken") != "x":
			http.Error(w, "who is that?\x1b[2J", http.StatusForbidden)
		default:
			serve(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	l, err := Open(t.Context(), "http://nb-x.localhost:1/?authToken=good", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if _, err := Open(t.Context(), "http://nb-x.localhost:1/?authToken=bad", srv.Listener.Addr().String()); err == nil ||
		strings.Contains(err.Error(), "\x1b") || strings.Contains(err.Error(), "authToken") || !strings.Contains(err.Error(), "403 Forbidden") {
		t.Errorf("a bad link: %v", err)
	}
	return l
}

func TestDo(t *testing.T) {
	t.Parallel()
	l := lab(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodDelete {
			http.Error(w, strings.Repeat("é", saidMax), http.StatusTeapot)
			return
		}
		_, _ = fmt.Fprintf(w, `{"a":%q}`, r.Method+" "+r.URL.RequestURI()+" "+string(b))
	})
	var out struct{ A string }
	if err := l.Do(t.Context(), http.MethodPost, "api/x%20y?z=1", map[string]int{"n": 1}, &out); err != nil || out.A != `POST /api/x%20y?z=1 {"n":1}` {
		t.Errorf("%q, %v", out.A, err)
	}
	err := l.Do(t.Context(), http.MethodDelete, "api/x", nil, nil)
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status != http.StatusTeapot || e.What != "DELETE /api/x" || len(e.Said) > saidMax || !strings.HasPrefix(e.Said, "éé") {
		t.Errorf("%v", err)
	}
	if h := l.Header(); h.Get("Cookie") != "session=s; _xsrf=x" && h.Get("Cookie") != "_xsrf=x; session=s" || h.Get("Origin") != "http://nb-x.localhost:1" {
		t.Errorf("a socket is opened with %v", h)
	}
}

// What is in an instance stays, also while JupyterLab cannot say whether it is.
func TestPut(t *testing.T) {
	t.Parallel()
	for looked, written := range map[int]bool{http.StatusOK: false, http.StatusNotFound: true, http.StatusBadGateway: false, http.StatusForbidden: false, http.StatusGone: false} {
		var put []string
		l := lab(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPut {
				if r.URL.RawQuery != "content=0" {
					t.Errorf("looks at %s", r.URL)
				}
				w.WriteHeader(looked)
				return
			}
			var in struct{ Type, Format, Content string }
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				t.Error(err)
			}
			put = append(put, r.URL.Path+" "+in.Type+" "+in.Format+" "+in.Content)
			w.WriteHeader(http.StatusCreated)
		})
		err := l.Put(t.Context(), "a/first steps?.ipynb", []byte("{}"))
		if failed := looked != http.StatusOK && !written; (err != nil) != failed || failed && !strings.Contains(err.Error(), "first steps?.ipynb") {
			t.Errorf("%d: %v", looked, err)
		}
		if written != (len(put) == 1 && put[0] == "/api/contents/a/first steps?.ipynb file text {}") || !written && len(put) > 0 {
			t.Errorf("%d: wrote %q", looked, put)
		}
	}
}
