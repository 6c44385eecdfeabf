package console

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"clary/internal/aws/op"
	"clary/internal/forgotten"
	"clary/internal/identity"
	"clary/internal/identity/browser"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
)

// Calls asks operations: validated, authorised, audited and served as for any
// client. The call's Service and Operation name what is asked; in is a pointer
// to the operation's input, the answer one to its output, or an *apierr.Error.
type Calls interface {
	Call(ctx context.Context, c op.Call, in any) (any, error)
	// Serves says whether an operation has behaviour.
	Serves(service, operation string) bool
}

// Costs reads the ledger of the kinds of resources that a caller may list; the
// error is an *apierr.Error where that is none of those asked for.
type Costs interface {
	Costs(ctx context.Context, c op.Call, q resource.UsageQuery) (Bills, error)
	// Spend sums up days of the caller's account, by minute, then by aws.
	Spend(ctx context.Context, c op.Call, q meter.SpendQuery) (meter.Spend, error)
	// Forgotten is what costs and nobody uses, in a region or, with "", in all.
	Forgotten(ctx context.Context, c op.Call, region string) (*forgotten.Report, error)
	// Price is what one interval costs by both books: a price to be shown.
	Price(u resource.Usage) map[string]meter.Statement
}

// Bills is usage, and what it costs by each price book: minute, aws.
type Bills struct {
	Usage []resource.Usage
	By    map[string]meter.Statement
	Now   time.Time
	// Idle has the notebook instances that nobody uses, by name, where the query
	// asks for instances by their names.
	Idle map[string]Idle

	hidden []string // names whose costs the reader may not see
}

// Idle is how a notebook instance that nobody uses stands.
type Idle struct {
	Since    time.Time // nobody has used it; zero: it does not run any more
	Evidence string    // by what that is known
	StopAt   time.Time // it will be stopped for that; zero: not yet
	Stopped  time.Time // it was; zero: it was not
}

// Config is what a console is made of.
type Config struct {
	Calls Calls
	Costs Costs
	Keys  identity.Keys
	// Store keeps sign-ins, and nothing else, for the console.
	Store  store.Store
	Mail   Mail
	Region string // that a session begins in
	// Changes is signalled, until ctx ends, when a record may have changed;
	// Grown when a log stream has. Signals are joined.
	Changes func(ctx context.Context) <-chan struct{}
	Grown   func(ctx context.Context, account, region, group, stream string) <-chan struct{}
	Log     *slog.Logger     // nil: slog.Default
	Now     func() time.Time // nil: time.Now
}

// Console is an http.Handler for the console's own host name.
type Console struct {
	cfg    Config
	log    *slog.Logger
	pages  map[string]*template.Template
	assets *assets
	mux    *http.ServeMux
}

// New reads the templates.
func New(cfg Config) (*Console, error) {
	if cfg.Calls == nil || cfg.Costs == nil || cfg.Keys == nil || cfg.Store == nil {
		return nil, errors.New("console: something that it works with is missing")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Console{cfg: cfg, log: cfg.Log}
	var err error
	if c.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if c.pages, err = loadPages(c.assets); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c.mux = c.routes()
	return c, nil
}

// routes is the list of pages.
func (c *Console) routes() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("GET /static/{name}", c.assets.serve)
	m.HandleFunc("GET /signin", c.signInPage)
	m.HandleFunc("POST /signin", c.signIn)
	m.HandleFunc("GET /link", c.link)
	m.Handle("POST /signout", c.page(c.signOut))
	m.Handle("POST /region", c.page(c.setRegion))
	m.Handle("GET /live", c.page(c.live))
	m.Handle("GET /{$}", c.page(c.home))
	for _, k := range jobKinds() {
		k.pages(c, m)
	}
	m.Handle("GET /notebook-instances", c.page(c.notebookInstances))
	m.Handle("GET /notebook-instances/{name}", c.page(c.notebookInstance))
	m.Handle("POST /notebook-instances/{name}/open", c.page(c.notebookOpen))
	m.Handle("GET /notebook-instances/{name}/start", c.page(c.notebookAsk("Start")))
	m.Handle("POST /notebook-instances/{name}/start", c.page(c.notebookStart))
	m.Handle("GET /notebook-instances/{name}/stop", c.page(c.notebookAsk("Stop")))
	m.Handle("POST /notebook-instances/{name}/stop", c.page(c.notebookStop))
	m.Handle("GET /git-repositories", c.page(c.gitRepositories))
	m.Handle("GET /git-repositories/{name}", c.page(c.gitRepository))
	m.Handle("GET /lifecycle-configurations", c.page(c.lifecycleConfigurations))
	m.Handle("GET /lifecycle-configurations/{name}", c.page(c.lifecycleConfiguration))
	m.Handle("GET /models", c.page(c.models))
	m.Handle("GET /models/{name}", c.page(c.model))
	m.Handle("GET /endpoint-configurations", c.page(c.configs))
	m.Handle("GET /endpoint-configurations/{name}", c.page(c.config))
	m.Handle("GET /endpoints", c.page(c.endpoints))
	m.Handle("GET /endpoints/{name}", c.page(c.endpoint))
	m.Handle("GET /endpoints/{name}/log", c.page(c.endpointLog))
	m.Handle("GET /endpoints/{name}/log/live", c.page(c.endpointTail))
	m.Handle("GET /endpoints/{name}/delete", c.page(c.endpointAsk))
	m.Handle("POST /endpoints/{name}/delete", c.page(c.endpointDelete))
	m.Handle("GET /object", c.page(c.object))
	m.Handle("GET /billing", c.page(c.billing))
	m.Handle("GET /forgotten", c.page(c.forgottenPage))
	m.Handle("GET /budgets", c.page(c.budgets))
	m.Handle("GET /budgets/{name}", c.page(c.budget))
	m.Handle("GET /budgets/{name}/actions/{id}/approve", c.page(c.approveAsk))
	m.Handle("POST /budgets/{name}/actions/{id}/approve", c.page(c.approve))
	m.Handle("GET /alarms", c.page(c.alarms))
	m.Handle("GET /alarms/{name}", c.page(c.alarm))
	m.Handle("GET /notifications", c.page(c.notifications))
	m.Handle("GET /activity", c.page(c.activity))
	for _, s := range sections {
		if !s.page {
			m.Handle("GET /"+s.Path, c.page(c.waiting(s)))
		}
	}
	m.Handle("/", c.page(func(*view) error { return errNoPage }))
	return m
}

// ServeHTTP answers one request that came under the console's host name.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	guard(w.Header())
	if !browser.SameSite(r) {
		http.Error(w, "This request came from another site.", http.StatusForbidden)
		return
	}
	defer c.caught(w, r)
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	c.mux.ServeHTTP(w, r)
}

// caught logs a panic of a page, which the HTTP server would keep to itself.
func (c *Console) caught(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // the very value
		panic(v)
	}
	c.log.Error("page", "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	http.Error(w, "The page could not be made.", http.StatusInternalServerError)
}

// maxForm bounds what a form may send.
const maxForm = 64 << 10

func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
