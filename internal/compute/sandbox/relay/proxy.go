package relay

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Proxy is a task's HTTP and HTTPS proxy to the outside.
type Proxy struct {
	Guard *Guard
	// HTTPProxy and HTTPSProxy are the host's own proxies, NoProxy the hosts
	// that are reached without them.
	HTTPProxy, HTTPSProxy, NoProxy string

	transport *http.Transport
}

// NewProxy prepares a proxy.
func NewProxy(p Proxy) *Proxy {
	q := &p
	q.transport = &http.Transport{
		DialContext:           q.dialPlain,
		DisableCompression:    true,
		MaxIdleConns:          32,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: 10 * time.Minute,
		Proxy: func(r *http.Request) (*url.URL, error) {
			return q.upstream("http", r.URL.Host)
		},
	}
	return q
}

// ServeHTTP tunnels CONNECT and forwards absolute http addresses.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		p.connect(w, r)
		return
	}
	if r.URL.Scheme != "http" || r.URL.Host == "" {
		http.Error(w, "this is a proxy: it wants CONNECT or an absolute http address", http.StatusBadRequest)
		return
	}
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.Close = false
	stripHops(out.Header)
	resp, err := p.transport.RoundTrip(out)
	if err != nil {
		fail(w, err)
		return
	}
	defer resp.Body.Close()
	stripHops(resp.Header)
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(flushing{w}, resp.Body)
}

// flushing passes on what there is at once.
type flushing struct{ w http.ResponseWriter }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if fl, ok := f.w.(http.Flusher); ok && err == nil {
		fl.Flush()
	}
	return n, err
}

func stripHops(h http.Header) {
	for _, v := range h.Values("Connection") {
		for name := range strings.SplitSeq(v, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		h.Del(name)
	}
}

func fail(w http.ResponseWriter, err error) {
	code := http.StatusBadGateway
	if errors.Is(err, ErrRefused) {
		code = http.StatusForbidden
	}
	http.Error(w, "clary egress: "+err.Error(), code)
}

func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
	far, err := p.DialTunnel(ctx, r.Host)
	cancel()
	if err != nil {
		fail(w, err)
		return
	}
	hj, ok := w.(http.Hijacker)
	if !ok {
		_ = far.Close()
		http.Error(w, "cannot tunnel", http.StatusInternalServerError)
		return
	}
	near, buf, err := hj.Hijack()
	if err != nil {
		_ = far.Close()
		return
	}
	_ = near.SetDeadline(time.Time{})
	if _, err := near.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_, _ = near.Close(), far.Close()
		return
	}
	// A client may have sent its first bytes without waiting.
	if n := buf.Reader.Buffered(); n > 0 {
		early, _ := buf.Peek(n)
		if _, err := far.Write(early); err != nil {
			_, _ = near.Close(), far.Close()
			return
		}
	}
	join(near, far)
}

// DialTunnel reaches host:port for a tunnel, through the host's own proxy where
// there is one, and refuses what the guard refuses.
func (p *Proxy) DialTunnel(ctx context.Context, hostport string) (net.Conn, error) {
	if _, port, err := net.SplitHostPort(hostport); err != nil || port == "" {
		return nil, fmt.Errorf("%q is not host:port", hostport)
	}
	up, err := p.upstream("https", hostport)
	if err != nil {
		return nil, err
	}
	if up == nil {
		return p.dialGuarded(ctx, "tcp", hostport)
	}
	return dialVia(ctx, up, hostport)
}

// dialPlain is the transport's dialler: the guard does not apply to the host's
// own proxy, which the operator named.
func (p *Proxy) dialPlain(ctx context.Context, network, addr string) (net.Conn, error) {
	if u, err := url.Parse(p.HTTPProxy); err == nil && p.HTTPProxy != "" && addr == hostPort(u) {
		return (&net.Dialer{Timeout: 20 * time.Second}).DialContext(ctx, network, addr)
	}
	return p.dialGuarded(ctx, network, addr)
}

func (p *Proxy) dialGuarded(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&net.Dialer{Timeout: 20 * time.Second, Control: p.Guard.Control}).DialContext(ctx, network, addr)
}

// upstream is the host's proxy for an address, or nil. Where the proxy dials,
// the guard cannot look at the dialled address: it judges what it can know,
// and what it cannot resolve is the proxy's to judge.
func (p *Proxy) upstream(scheme, hostport string) (*url.URL, error) {
	raw := p.HTTPProxy
	if scheme == "https" {
		raw = p.HTTPSProxy
	}
	if raw == "" {
		return nil, nil //nolint:nilnil // no proxy and no error is the usual answer
	}
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if bypass(host, p.NoProxy) {
		return nil, nil //nolint:nilnil // as above
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return nil, fmt.Errorf("%w: %s", ErrRefused, host)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if err := p.Guard.Check(a); err != nil {
			return nil, err
		}
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host); err == nil {
			for _, a := range addrs {
				if err := p.Guard.Check(a); err != nil {
					return nil, err
				}
			}
		}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		if u, err = url.Parse("http://" + raw); err != nil {
			return nil, fmt.Errorf("the host's proxy: %w", err)
		}
	}
	return u, nil
}

// bypass reads a NO_PROXY list: names with their subdomains, addresses,
// ranges, or *.
func bypass(host, list string) bool {
	addr, aerr := netip.ParseAddr(host)
	for e := range strings.SplitSeq(list, ",") {
		e = strings.ToLower(strings.TrimSpace(e))
		if e == "" {
			continue
		}
		if e == "*" {
			return true
		}
		if h, _, err := net.SplitHostPort(e); err == nil {
			e = h
		}
		if aerr == nil {
			if a, err := netip.ParseAddr(e); err == nil && a == addr {
				return true
			}
			if n, err := netip.ParsePrefix(e); err == nil && n.Contains(addr) {
				return true
			}
			continue
		}
		e = strings.TrimPrefix(strings.TrimPrefix(e, "*"), ".")
		if host == e || strings.HasSuffix(host, "."+e) {
			return true
		}
	}
	return false
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "https" {
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

// dialVia asks the host's proxy for a tunnel.
func dialVia(ctx context.Context, up *url.URL, hostport string) (net.Conn, error) {
	if up.Scheme != "http" && up.Scheme != "" {
		return nil, fmt.Errorf("the host's proxy speaks %s, which is not supported", up.Scheme)
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", hostPort(up))
	if err != nil {
		return nil, fmt.Errorf("the host's proxy: %w", err)
	}
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(d)
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: hostport}, Host: hostport, Header: http.Header{}}
	if up.User != nil {
		pw, _ := up.User.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(up.User.Username()+":"+pw)))
	}
	if err := req.Write(c); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("the host's proxy: %w", err)
	}
	br := bufio.NewReaderSize(c, 4096)
	resp, err := http.ReadResponse(br, req) //nolint:bodyclose // what follows an answer to CONNECT is the tunnel
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("the host's proxy: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = c.Close()
		return nil, fmt.Errorf("the host's proxy answered %s", resp.Status)
	}
	_ = c.SetDeadline(time.Time{})
	if br.Buffered() > 0 {
		return &buffered{Conn: c, r: br}, nil
	}
	return c, nil
}

// buffered gives first what was read along with the proxy's answer.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }
