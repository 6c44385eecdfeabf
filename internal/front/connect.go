package front

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const dialTime = 30 * time.Second

// connect is the proxy for users' shells: it ends TLS for STS, whose address
// the Python SDKs do not let anyone choose, and tunnels other hosts unread.
func (h *handler) connect(w http.ResponseWriter, r *http.Request, c *conn) {
	w.Header().Set("Connection", "close") // a tunnel or nothing
	if c.from != fromUser || c.ended != "" || c.scheme != "http" || h.f.cfg.Token == "" {
		refuse(w, http.StatusMethodNotAllowed, "There is no proxy here.")
		return
	}
	if !h.f.proxyUser(r) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="clary"`)
		refuse(w, http.StatusProxyAuthRequired, "The proxy wants the user and password that `clary env` prints.")
		return
	}
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil || port != "443" {
		refuse(w, http.StatusForbidden, "The proxy passes on port 443 alone.")
		return
	}
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	if endsTLS(name) && h.f.cfg.CA != nil {
		h.end(w, name)
		return
	}
	h.tunnel(w, r)
}

// proxyUser compares digests, so that not even the token's length shows.
func (f *Front) proxyUser(r *http.Request) bool {
	got := r.Header.Values("Proxy-Authorization")
	if len(got) != 1 {
		return false
	}
	q := &http.Request{Header: http.Header{"Authorization": got}}
	user, token, ok := q.BasicAuth()
	a, b := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(f.cfg.Token))
	return ok && user == "clary" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// hijack takes the connection and answers that the tunnel stands.
func hijack(w http.ResponseWriter) (net.Conn, error) {
	near, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	_ = near.SetDeadline(time.Time{}) // a closed connection shows at the next line
	if _, err := io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return nil, errors.Join(err, near.Close())
	}
	if buf.Reader.Buffered() > 0 {
		return &peekedConn{Conn: near, br: buf.Reader}, nil
	}
	return near, nil
}

// end hands the tunnel's inside to the same server, as TLS for name.
func (h *handler) end(w http.ResponseWriter, name string) {
	near, err := hijack(w)
	if err != nil {
		h.f.log.Debug("tunnel", "host", name, "err", err)
		return
	}
	h.feed.work.Go(func() { h.feed.look(near, name, Waiting{}) })
}

// tunnel joins the client with the host it asked for.
func (h *handler) tunnel(w http.ResponseWriter, r *http.Request) {
	if h.f.cfg.Tunnel == nil {
		refuse(w, http.StatusForbidden, "The proxy passes nothing on.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), dialTime)
	far, err := h.f.cfg.Tunnel(ctx, r.Host)
	cancel()
	if err != nil {
		h.f.log.Debug("tunnel", "host", r.Host, "err", err)
		refuse(w, http.StatusBadGateway, "The proxy cannot reach that host: "+err.Error())
		return
	}
	near, err := hijack(w)
	if err != nil {
		_ = far.Close()
		h.f.log.Debug("tunnel", "host", r.Host, "err", err)
		return
	}
	h.f.pass(near, far)
}

// join copies both ways until both are done or the front stops.
func (f *Front) join(a, b net.Conn) {
	end := context.AfterFunc(f.ctx, func() { _, _ = a.Close(), b.Close() })
	defer end()
	done := make(chan struct{}, 2)
	half := func(dst, src net.Conn) {
		_, err := io.Copy(dst, src)
		cw, ok := dst.(interface{ CloseWrite() error })
		if err != nil || !ok || cw.CloseWrite() != nil {
			_, _ = a.Close(), b.Close()
		}
		done <- struct{}{}
	}
	go half(a, b)
	go half(b, a)
	<-done
	<-done
	_, _ = a.Close(), b.Close()
}
