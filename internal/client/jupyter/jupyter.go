// Package jupyter speaks to the JupyterLab of a notebook instance as a page in
// a browser does: it comes in by a presigned URL, keeps its cookies and answers
// for its origin. It must know no other way in. Start at Open.
package jupyter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// Lab is a session with one instance.
type Lab struct {
	http *http.Client
	base *url.URL
	addr string
}

// Open opens a session by a presigned URL. The host names of notebooks are a
// browser's to resolve: addr is where the server listens.
func Open(ctx context.Context, link, addr string) (*Lab, error) {
	u, err := url.Parse(link)
	if err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	l := &Lab{base: &url.URL{Scheme: u.Scheme, Host: u.Host}, addr: addr}
	l.http = &http.Client{Jar: jar, Transport: &http.Transport{DialContext: l.Dial}}
	if err := l.do(ctx, http.MethodGet, link, nil, nil); err != nil {
		l.Close()
		return nil, fmt.Errorf("open the notebook: %w", err)
	}
	return l, nil
}

// Close lets the session's connections go. The session itself ends by itself.
func (l *Lab) Close() { l.http.CloseIdleConnections() }

// Dial connects to the server, whatever host is named.
func (l *Lab) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, l.addr)
}

// Error is an answer that is none.
type Error struct {
	What   string // that was asked for
	Status int
	Said   string // its beginning
}

func (e *Error) Error() string {
	return fmt.Sprintf("JupyterLab refused %s: %d %s: %q", e.What, e.Status, http.StatusText(e.Status), e.Said)
}

// saidMax is how much of a refusal an error tells.
const saidMax = 300

// Do asks for a path of the instance, in JSON; out nil drops the answer, whose
// refusal is an *Error.
func (l *Lab) Do(ctx context.Context, method, path string, in, out any) error {
	return l.do(ctx, method, l.At(path), in, out)
}

func (l *Lab) do(ctx context.Context, method, at string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, at, body)
	if err != nil {
		return err
	}
	r.Header = l.header()
	resp, err := l.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		what := method + " " + r.URL.Path // the query of a link is a secret
		return &Error{what, resp.StatusCode, strings.ToValidUTF8(string(b[:min(len(b), saidMax)]), "")}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// At is the address of a path of the instance.
func (l *Lab) At(path string) string {
	path, query, asks := strings.Cut(path, "?")
	u := l.base.JoinPath(path)
	if asks {
		u.RawQuery = query
	}
	return u.String()
}

// header is what a page of the instance's own would send, but for cookies.
func (l *Lab) header() http.Header {
	h := http.Header{"Origin": {l.base.String()}, "Sec-Fetch-Site": {"same-origin"}}
	for _, c := range l.http.Jar.Cookies(l.base) {
		if c.Name == "_xsrf" {
			h.Set("X-XSRFToken", c.Value)
		}
	}
	return h
}

// Header is what a page of the instance's own would send, for a WebSocket.
func (l *Lab) Header() http.Header {
	h := l.header()
	var cookies []string
	for _, c := range l.http.Jar.Cookies(l.base) {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	h.Set("Cookie", strings.Join(cookies, "; "))
	return h
}

// Put writes a file of text unless there is one of that name: it may have been
// worked in.
func (l *Lab) Put(ctx context.Context, name string, text []byte) error {
	at := "api/contents/" + (&url.URL{Path: name}).EscapedPath()
	err := l.Do(ctx, http.MethodGet, at+"?content=0", nil, nil)
	if e, ok := errors.AsType[*Error](err); !ok || e.Status != http.StatusNotFound {
		return err
	}
	return l.Do(ctx, http.MethodPut, at, map[string]any{"type": "file", "format": "text", "content": string(text)}, nil)
}
