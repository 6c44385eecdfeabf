package dataplane

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"clary/internal/compute"
	"clary/internal/identity"
	"clary/internal/identity/browser"
	"clary/internal/reconcile"
	"clary/internal/store"
)

// Config is what a plane works with.
type Config struct {
	Store  store.Store
	Keys   identity.Keys
	Auth   identity.Authorizer
	Dialer compute.Dialer
	// Suffix is the operator's domain below which notebook instances have
	// their names for other machines; "": they have none.
	Suffix string
	Port   string           // of the server's listener on loopback
	Log    *slog.Logger     // nil: slog.Default
	Now    func() time.Time // nil: time.Now
}

// Plane is an http.Handler for the host names of notebook instances.
type Plane struct {
	cfg       Config
	log       *slog.Logger
	pages     *pages
	proxy     *httputil.ReverseProxy
	transport *http.Transport
	woken     chan struct{}

	mu      sync.Mutex // guards what follows
	passes  map[ask]pass
	age     int // counts what was forgotten
	flights map[*flight]struct{}
	closing bool
}

// New makes a plane; Run watches over what it lets through.
func New(cfg Config) (*Plane, error) {
	if cfg.Store == nil || cfg.Keys == nil || cfg.Auth == nil || cfg.Dialer == nil {
		return nil, errors.New("dataplane: something that it works with is missing")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	pg, err := loadPages()
	if err != nil {
		return nil, err
	}
	p := &Plane{
		cfg: cfg, log: cfg.Log, pages: pg, woken: make(chan struct{}, 1),
		passes: map[ask]pass{}, flights: map[*flight]struct{}{},
	}
	p.transport = p.newTransport()
	p.proxy = p.newProxy()
	return p, nil
}

// Reconcilers sweep links and sessions that are over.
func Reconcilers(s store.Store) []reconcile.Reconciler {
	return []reconcile.Reconciler{browser.Sweep{Store: s, Of: linkKind}, browser.Sweep{Store: s, Of: sessionKind}}
}

// visit is one request on its way.
type visit struct {
	p       *Plane
	w       http.ResponseWriter
	r       *http.Request
	uid     string // of the notebook instance
	origin  string // of its pages
	upgrade bool
}

// ServeHTTP answers one request that came under the host name of a notebook
// instance. TLS is as net/http tells it.
func (p *Plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{p: p, w: w, r: r, uid: uidOf(r.Host), origin: originOf(r), upgrade: r.Header.Get("Upgrade") != ""}
	if v.uid == "" {
		v.show(notHere)
		return
	}
	if v.upgrade && !webSocket(r) || r.Method == http.MethodTrace || r.Method == http.MethodConnect {
		v.show(notServed)
		return
	}
	if r.URL.RawQuery != "" && r.URL.Query().Has(tokenParameter) {
		v.enter()
		return
	}
	if !v.fromOurs() {
		v.show(fromOutside)
		return
	}
	f := p.takeOff(v)
	defer p.land(f)
	to, err := p.pass(f.ctx, f.ask)
	if err != nil {
		v.fail(err)
		return
	}
	f.to = to
	p.proxy.ServeHTTP(&answer{ResponseWriter: w, f: f}, r.WithContext(f.ctx))
}

// webSocket says whether a request asks for a WebSocket and nothing else.
func webSocket(r *http.Request) bool {
	up := r.Header["Upgrade"]
	if r.Method != http.MethodGet || len(up) != 1 || !strings.EqualFold(up[0], "websocket") {
		return false
	}
	for _, line := range r.Header["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return true
			}
		}
	}
	return false
}

// fromOurs says whether the notebook's own page asks, or somebody who typed the
// address or followed a link here, or a client that is no browser. What changes
// something, and a WebSocket, must say that it is of our own origin: SameSite
// keeps the cookie from other sites, but another port of the same name, and a
// name beside ours below one domain, are the same site.
func (v *visit) fromOurs() bool {
	origins := v.r.Header["Origin"]
	if len(origins) > 1 || len(origins) == 1 && !strings.EqualFold(origins[0], v.origin) {
		return false
	}
	own := len(origins) == 1
	switch {
	case browser.FromElsewhere(v.r):
		return !v.upgrade && browser.Navigates(v.r) && v.r.Header.Get("Sec-Fetch-Dest") == "document"
	case v.upgrade:
		return own
	case browser.Safe(v.r.Method) || v.r.Method == http.MethodOptions:
		return true
	}
	return own || v.r.Header.Get("Sec-Fetch-Site") == "same-origin"
}
