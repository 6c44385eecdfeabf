package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	own := netip.MustParseAddr("203.0.113.9")
	g := &Guard{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, Own: func() []netip.Addr { return []netip.Addr{own} }}
	for addr, want := range map[string]bool{
		"1.1.1.1": true, "2606:4700::1111": true, "10.1.2.3": true, "::ffff:10.1.2.3": true, "::ffff:1.1.1.1": true, "64:ff9b::101:101": true,
		"127.0.0.1": false, "127.8.9.1": false, "::1": false, "0.0.0.0": false, "::": false, "::ffff:127.0.0.1": false, "::ffff:0.0.0.0": false,
		"10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "100.64.0.1": false, "169.254.169.254": false, "169.254.170.2": false,
		"fe80::1": false, "fe80::1%eth0": false, "fd00::1": false, "ff02::1": false, "224.0.0.1": false, "255.255.255.255": false,
		"203.0.113.9": false, "::ffff:203.0.113.9": false, "64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "2002:7f00:1::": false, "::127.0.0.1": false,
	} {
		err := g.Check(netip.MustParseAddr(addr))
		if (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", addr, err, want)
		}
		if err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v is not ErrRefused", addr, err)
		}
	}
	for _, bad := range []string{"", "name:80", "1.1.1.1", "1.1.1.1:x"} {
		if err := g.Control("tcp", bad, nil); !errors.Is(err, ErrRefused) {
			t.Errorf("Control(%q) = %v", bad, err)
		}
	}
}

func FuzzGuard(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::ffff:127.0.0.1", "fe80::1%lo", "64:ff9b::7f00:1"} {
		f.Add(s)
	}
	g := &Guard{}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return
		}
		u := a.Unmap().WithZone("")
		dangerous := u.IsLoopback() || u.IsPrivate() || u.IsLinkLocalUnicast() || u.IsUnspecified() || u.IsMulticast()
		if dangerous && g.Check(a) == nil {
			t.Errorf("%s is let through", a)
		}
	})
}

func TestBypass(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		host, list string
		want       bool
	}{
		{"a.example.com", "example.com", true},
		{"a.example.com", ".example.com", true},
		{"a.example.com", "*.example.com", true},
		{"example.com", ".example.com", true},
		{"badexample.com", "example.com", false},
		{"x.org", "a, x.org:443", true},
		{"x.org", "*", true},
		{"x.org", "", false},
		{"10.2.3.4", "10.0.0.0/8", true},
		{"10.2.3.4", "10.2.3.4", true},
		{"11.2.3.4", "10.0.0.0/8", false},
		{"::1", "::1", true},
	} {
		if got := bypass(tt.host, tt.list); got != tt.want {
			t.Errorf("bypass(%q, %q) = %v", tt.host, tt.list, got)
		}
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	session := compute.Identity{AccessKeyID: "A", SecretAccessKey: "S", SessionToken: "T", RoleArn: "R", Expiration: time.Unix(1000, 0)}
	h := Credentials("/v2/credentials/s", func() compute.Identity { return session })
	for _, tt := range []struct {
		method, path string
		code         int
		body         string
	}{
		{"GET", "/v2/credentials/s", 200, `{"AccessKeyId":"A","SecretAccessKey":"S","Token":"T","Expiration":"1970-01-01T00:16:40Z","RoleArn":"R"}`},
		{"GET", "/v2/credentials/x", 404, ""},
		{"GET", "/", 404, ""},
		{"POST", "/v2/credentials/s", 405, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
		if w.Code != tt.code || tt.body != "" && w.Body.String() != tt.body {
			t.Errorf("%s %s: %d %q", tt.method, tt.path, w.Code, w.Body)
		}
	}
	session.AccessKeyID = "fresh"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v2/credentials/s", nil))
	if !strings.Contains(w.Body.String(), `"AccessKeyId":"fresh"`) {
		t.Errorf("once it is renewed: %s", w.Body)
	}
	w = httptest.NewRecorder()
	Credentials("", func() compute.Identity { return session }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 404 {
		t.Errorf("no path: %d", w.Code)
	}
}

// upstream is a proxy such as a company has: it tunnels to one place only.
func upstream(t *testing.T, target string, asked chan<- string) *url.URL {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host + " " + r.Header.Get("Proxy-Authorization")
		if r.Method != http.MethodConnect {
			fmt.Fprint(w, "via upstream") //nolint:errcheck // a test's reply
			return
		}
		far, err := net.Dial("tcp", target) //nolint:noctx // a test
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		near, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n") //nolint:errcheck // a test's reply
		join(near, far)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("me", "pw")
	return u
}

func TestProxyThroughTheHostsProxy(t *testing.T) {
	t.Parallel()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "origin") })) //nolint:errcheck // a test's reply
	t.Cleanup(origin.Close)
	asked := make(chan string, 16)
	up := upstream(t, origin.Listener.Addr().String(), asked)
	p := httptest.NewServer(NewProxy(Proxy{Guard: &Guard{}, HTTPProxy: up.String(), HTTPSProxy: up.String(), NoProxy: "direct.invalid"})) //nolint:bodyclose // the proxy closes them
	t.Cleanup(p.Close)

	connect := func(target string) (int, string) {
		c, err := net.Dial("tcp", p.Listener.Addr().String()) //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // a test
		// The request comes without waiting for the tunnel.
		fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\nGET / HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n", target, target) //nolint:errcheck // read below
		br := bufio.NewReader(c)
		resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // the connection is closed
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(br)
		return resp.StatusCode, string(b)
	}
	code, body := connect("world.invalid:443")
	if got := <-asked; code != 200 || !strings.HasSuffix(body, "origin") || got != "CONNECT world.invalid:443 Basic bWU6cHc=" {
		t.Errorf("%d %q, upstream was asked %q", code, body, got)
	}
	for _, target := range []string{"127.0.0.1:443", "localhost:443", "LOCALHOST.:443", "x.localhost:443", "[::1]:443", "169.254.169.254:443", "10.0.0.1:443"} {
		if code, _ := connect(target); code != http.StatusForbidden {
			t.Errorf("%s: %d", target, code)
		}
	}
	if code, _ := connect("direct.invalid:443"); code != http.StatusBadGateway {
		t.Errorf("NO_PROXY: %d", code)
	}
	if len(asked) > 0 {
		t.Errorf("upstream was asked %q", <-asked)
	}

	pu, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(pu), DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://world.invalid/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // a test
	if b, _ := io.ReadAll(resp.Body); string(b) != "via upstream" {
		t.Errorf("%s %q", resp.Status, b)
	}
}

func TestProxyRefusesNonsense(t *testing.T) {
	t.Parallel()
	p := NewProxy(Proxy{Guard: &Guard{}})
	for _, target := range []string{"/relative", "https://x.invalid/", "ftp://x.invalid/"} {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	for _, host := range []string{"x.invalid", ":443", "127.0.0.1:443", "2130706433:443"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodConnect, "http://x/", nil)
		r.Host = host
		p.ServeHTTP(w, r)
		if w.Code < 400 {
			t.Errorf("CONNECT %s: %d", host, w.Code)
		}
	}
}

func TestStripHops(t *testing.T) {
	t.Parallel()
	h := http.Header{"Connection": {"close, X-Secret"}, "X-Secret": {"1"}, "X-Kept": {"1"}, "Proxy-Authorization": {"1"}, "Upgrade": {"x"}}
	stripHops(h)
	if len(h) != 1 || h.Get("X-Kept") == "" {
		t.Errorf("%v", h)
	}
}

// TestStreams sees that an end of file passes while the other way stays open,
// and that a dial that fails closes the connection.
func TestStreams(t *testing.T) {
	t.Parallel()
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close() //nolint:errcheck // a test
	go func() {
		c, err := far.Accept()
		if err != nil {
			return
		}
		b, _ := io.ReadAll(c) // until the near side has ended
		_, _ = c.Write(append([]byte("got "), b...))
		_ = c.Close()
	}()
	near, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fail := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		Streams(near, func(ctx context.Context) (net.Conn, error) {
			select {
			case <-fail:
				return nil, errors.New("no")
			default:
				return (&net.Dialer{}).DialContext(ctx, "tcp", far.Addr().String())
			}
		})
	}()
	c, err := net.Dial("tcp", near.Addr().String()) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "hello")
	_ = c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(c); err != nil || string(b) != "got hello" {
		t.Errorf("%q, %v", b, err)
	}
	fail <- struct{}{}
	c, err = net.Dial("tcp", near.Addr().String()) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("%q of a connection that leads nowhere", b)
	}
	_ = near.Close()
	<-done
}

// TestServeBounded holds all the connections that one task may.
func TestServeBounded(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bounded{Listener: l, slots: make(chan struct{}, 2)}
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := b.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // a test's
	}
	first, second := <-accepted, <-accepted
	if len(b.slots) != 2 {
		t.Errorf("%d slots are taken", len(b.slots))
	}
	_, _ = first.Close(), first.Close() // a second time frees nothing
	third := <-accepted
	if len(b.slots) != 2 {
		t.Errorf("%d slots are taken after one was freed", len(b.slots))
	}
	_, _ = second.Close(), third.Close()
	_ = l.Close()
	for range accepted { //nolint:revive // until it ends
	}
}
