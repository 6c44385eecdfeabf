package front

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"clary/internal/aws/codec"
	"clary/internal/aws/op"
	"clary/internal/aws/sigv4"
	"clary/internal/identity"
)

// The bounds of what comes in.
const (
	maxHeader     = 64 << 10
	headerTime    = 15 * time.Second
	idleTime      = 2 * time.Minute
	stallTime     = 90 * time.Second // without one byte read or written
	maxBody       = 16 << 20         // of everything but objects
	maxBodies     = 256 << 20        // of all such bodies at a time
	firstPiece    = 64 << 10         // of the budget, for a body of unknown length
	nextPiece     = 1 << 20
	bodyTime      = time.Minute // for such a body, and longer as it goes on
	bodyRate      = 16 << 10    // bytes a second
	trickleRate   = 1 << 10     // of any body
	maxObject     = 5 << 30     // one PUT, as on S3
	maxConns      = 8192
	maxPerAddress = 1024 // connections of one other machine
	sniffTime     = headerTime
	requestIDSize = 16
)

// Private serves one of Clary's own paths for an authenticated caller.
type Private func(w http.ResponseWriter, r *http.Request, c op.Call)

// Config is what a front is made of.
type Config struct {
	Services []op.Service
	// Codecs by protocol: json, query, rest-json, rest-xml, smithy-rpc-v2-cbor;
	// json-1.0 and json-1.1 go before json.
	Codecs  map[string]codec.Codec
	Keys    identity.Keys
	Auth    identity.Authorizer
	Private map[string]Private // by path: /_clary/usage
	Region  string             // of requests whose signature names none
	// MaxPayload bounds the bodies that are bytes for somebody else, where that
	// is more than others may have.
	MaxPayload int64
	// InFlight bounds all such bodies at a time, in bytes; 0: as all others.
	InFlight int64
	// Open are paths that are served to whoever asks without signing.
	Open map[string]http.Handler
	// Console answers console.localhost; nil: nothing does.
	Console http.Handler
	// Notebook answers the host names of notebook instances, below localhost
	// and below NotebookSuffix, over TLS; nil: nothing does.
	Notebook http.Handler
	// Audit notes a call before it is served; a change under the context that
	// it returns keeps the note, and end keeps it otherwise. nil: none is kept.
	Audit func(ctx context.Context, c op.Call, about *identity.Request, in any, resource string) (_ context.Context, end func(error) error)
	Log   *slog.Logger // nil: slog.Default

	// Hosts are further names that the server answers to. BucketSuffixes are
	// domains below which a name is a bucket; localhost is always one.
	Hosts, BucketSuffixes []string
	NotebookSuffix        string

	// Cert is the operator's own certificate; without one nothing is served
	// beyond loopback.
	Cert *Certificate

	// CA signs our end of TLS; nil: none. Token guards the CONNECT proxy; "":
	// none. Tunnel dials what the proxy passes on; it refuses what no client
	// may reach through us.
	CA     *CA
	Token  string
	Tunnel func(ctx context.Context, hostport string) (net.Conn, error)

	Now func() time.Time // nil: time.Now
}

// Front is safe for concurrent use.
type Front struct {
	cfg      Config
	log      *slog.Logger
	routes   *routes
	hosts    *hostRules
	bodies   *semaphore.Weighted
	payloads *semaphore.Weighted // bodies that are bytes for somebody else
	keys     sigv4.Keys

	tunnels sync.WaitGroup
	ctx     context.Context // ends tunnels at Shutdown
	stop    context.CancelFunc

	mu      sync.Mutex // guards what follows
	servers []*http.Server
	feeds   []*feed
	closed  bool
	phase   phase
	conns   map[*conn]struct{} // that the servers have
	flights map[*conn]flight
	joins   int             // tunnels, and TLS that others serve the inside of
	leave   context.Context //nolint:containedctx // ends what only waits, by hurry
	hurry   context.CancelFunc
	give    func(Waiting)
	changed chan struct{} // is closed when something of this changes; nil: nobody waits
}

// New checks the configuration against the service models.
func New(cfg Config) (*Front, error) {
	if cfg.Keys == nil || cfg.Auth == nil {
		return nil, errors.New("front: no keys or no authorizer")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	rt, err := newRoutes(cfg.Services, cfg.Codecs)
	if err != nil {
		return nil, fmt.Errorf("front: %w", err)
	}
	f := &Front{
		cfg: cfg, log: cfg.Log, routes: rt, hosts: newHostRules(cfg.Hosts, cfg.BucketSuffixes, cfg.NotebookSuffix),
		bodies: semaphore.NewWeighted(maxBodies), payloads: semaphore.NewWeighted(cmp.Or(cfg.InFlight, maxBodies)),
		conns: map[*conn]struct{}{}, flights: map[*conn]flight{},
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.Calm()
	return f, nil
}

// Serve answers users on l. On loopback that is HTTP, TLS when there is a CA,
// and CONNECT; connections from elsewhere must be TLS by the operator's
// certificate, since plain HTTP would give requests away.
func (f *Front) Serve(l net.Listener) error {
	a, ok := l.Addr().(*net.TCPAddr)
	if !ok || !a.IP.IsLoopback() && f.cfg.Cert == nil {
		return fmt.Errorf("listen on %s: only a loopback address is served without a certificate of your own", l.Addr())
	}
	return f.serve(l, fromUser)
}

// ServeTask answers tasks on l: no CONNECT, and calls are marked FromTask.
func (f *Front) ServeTask(l net.Listener) error { return f.serve(l, fromTask) }

func (f *Front) serve(l net.Listener, from origin) error {
	feed := newFeed(l, from, f.cfg.CA, f.cfg.Cert)
	feed.front = f
	srv := &http.Server{
		Handler:           &handler{f: f, feed: feed},
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,

		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			ctx = context.WithValue(ctx, connKey{}, c)
			if own, ok := c.(*conn); ok {
				ctx = op.WithFlight(ctx, own)
			}
			return ctx
		},
		ConnState: func(c net.Conn, s http.ConnState) {
			if own, ok := c.(*conn); ok {
				own.turn(s)
			}
		},
	}
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return errors.Join(http.ErrServerClosed, l.Close())
	}
	f.servers, f.feeds = append(f.servers, srv), append(f.feeds, feed)
	f.tell()
	f.mu.Unlock()
	go feed.run()
	err := srv.Serve(feed)
	feed.wait()
	return err
}

// Shutdown stops listening, ends tunnels and what only waits, and waits for
// other requests in flight as long as ctx allows; then it cuts them.
func (f *Front) Shutdown(ctx context.Context) error {
	f.Hurry()
	f.mu.Lock()
	f.closed = true
	servers := f.servers
	f.tell()
	f.mu.Unlock()
	f.stop()
	var wg sync.WaitGroup
	errs := make([]error, len(servers))
	for i, s := range servers {
		wg.Go(func() {
			if errs[i] = s.Shutdown(ctx); errs[i] != nil {
				errs[i] = errors.Join(errs[i], s.Close())
			}
		})
	}
	wg.Wait()
	f.tunnels.Wait()
	return errors.Join(errs...)
}

type connKey struct{}

// connOf is the connection that a request came on.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}
