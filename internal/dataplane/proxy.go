package dataplane

import (
	"context"
	"errors"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"clary/internal/compute"
)

// jupyterPort is where a notebook's server listens inside its task.
const jupyterPort = 8888

const (
	idleConns     = 256 // kept for one notebook
	idleTime      = 90 * time.Second
	maxAnswerHead = 256 << 10
	pieceSize     = 64 << 10
)

// newTransport dials into tasks. The "host" of its addresses is the task's ID:
// another start of the same instance is another task, and shares no connection
// with it.
func (p *Plane) newTransport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			task, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return p.cfg.Dialer.Dial(ctx, compute.TaskID(task), jupyterPort)
		},
		MaxIdleConnsPerHost: idleConns, IdleConnTimeout: idleTime,
		DisableCompression:     true, // what the browser and the notebook agree on
		MaxResponseHeaderBytes: maxAnswerHead,
	}
}

// pieces lends buffers.
type pieces struct{ pool sync.Pool }

func newPieces() *pieces {
	return &pieces{sync.Pool{New: func() any { b := make([]byte, pieceSize); return &b }}}
}

// Get implements httputil.BufferPool.
func (b *pieces) Get() []byte { return *b.pool.Get().(*[]byte) } //nolint:errcheck,forcetypeassert // New's

// Put implements httputil.BufferPool.
func (b *pieces) Put(p []byte) { b.pool.Put(&p) }

func (p *Plane) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: p.transport, BufferPool: newPieces(),
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		Rewrite:  rewrite, ModifyResponse: p.modify, ErrorHandler: p.failed,
	}
}

// rewrite makes the request that the notebook gets: the browser's own, with the
// same Host, so that what the notebook takes for its origin is what the browser
// does, but without what lets somebody in.
func rewrite(r *httputil.ProxyRequest) {
	f := flightOf(r.In.Context())
	r.Out.URL.Scheme, r.Out.URL.Host = "http", net.JoinHostPort(string(f.to.task), "8888")
	r.Out.URL.RawQuery = r.In.URL.RawQuery // as it came, whatever we make of it
	r.Out.Host = r.In.Host
	h := r.Out.Header
	for name := range h {
		if strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "Proxy-") {
			delete(h, name)
		}
	}
	for _, name := range []string{"Authorization", "Forwarded", "X-Real-Ip", "X-Scheme"} {
		delete(h, name)
	}
	withoutOurs(h)
	r.SetXForwarded()
}

// modify judges what the notebook answers.
func (p *Plane) modify(res *http.Response) error {
	h := res.Header
	tame(h)
	// these reach beyond the notebook's own host
	for _, name := range []string{"Clear-Site-Data", "Alt-Svc", "Strict-Transport-Security", "Public-Key-Pins"} {
		h.Del(name)
	}
	for name, value := range map[string]string{"Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin"} {
		if h.Get(name) == "" {
			h.Set(name, value)
		}
	}
	f := flightOf(res.Request.Context())
	if t, _, err := mime.ParseMediaType(h.Get("Content-Type")); err == nil && t == "text/event-stream" || res.StatusCode == http.StatusSwitchingProtocols {
		f.last()
	}
	if f.lasts() && p.isClosing() {
		return errCut
	}
	if res.StatusCode != http.StatusSwitchingProtocols && res.Request.Header.Get("Upgrade") != "" {
		h.Set("Connection", "close") // what follows such a request was not looked at
	}
	return nil
}

// failed answers when the notebook did not.
func (p *Plane) failed(w http.ResponseWriter, r *http.Request, err error) {
	f := flightOf(r.Context())
	v := &visit{p: p, w: w, r: r, uid: f.ask.uid, upgrade: r.Header.Get("Upgrade") != ""}
	switch {
	case errors.Is(context.Cause(r.Context()), errCut) || errors.Is(err, errCut):
		v.fail(overError{f.to.name})
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // nobody is there to answer
	default:
		p.forget(f.ask.uid) // another task may serve by now
		p.log.Debug("notebook", "name", f.to.name, "err", err)
		v.fail(noAnswerError{f.to.name, err})
	}
}

// noAnswerError says that JupyterLab did not answer, or not in HTTP.
type noAnswerError struct {
	name string
	err  error
}

func (e noAnswerError) Error() string { return "notebook instance " + e.name + ": " + e.err.Error() }
func (e noAnswerError) Unwrap() error { return e.err }
