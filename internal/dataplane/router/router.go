package router

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	api "clary/internal/api/sagemakerruntime"
	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/serving"
)

// What an operator may change, as AWS has it.
const (
	MaxPayload    = 6 << 20 // bytes, of a request and of an answer
	Timeout       = time.Minute
	StreamTimeout = 8 * time.Minute
	InFlight      = 256 << 20 // bytes of all requests and answers at a time
)

// Records is what a router reads of the store.
type Records interface {
	Get(ctx context.Context, k resource.Key) (*resource.Record, error)
	Watch(ctx context.Context, kinds ...resource.Kind) <-chan resource.Key
}

// Meter takes what was counted.
type Meter interface {
	Put(ctx context.Context, data []metrics.Datum) error
}

// Config is what a router works with. Zero members but the first three are the
// defaults.
type Config struct {
	Records Records
	Dialer  compute.Dialer
	Meter   Meter

	MaxPayload    int64
	Timeout       time.Duration // of an answer, from when an instance was chosen
	StreamTimeout time.Duration // of an answer that streams
	InFlight      int64
	// Keep writes captured data; nil: none is captured.
	Keep func(ctx context.Context, f File) error
	Log  *slog.Logger // nil: slog.Default
}

// Router serves SageMaker's runtime. It is safe for concurrent use.
type Router struct {
	cfg  Config
	log  *slog.Logger
	room budget

	mu     sync.RWMutex // guards what follows; who takes an instance holds it to read
	age    int          // counts what was dropped
	routes map[resource.Key]*route
	hosts  map[compute.TaskID]*host
	meters map[meterKey]*meter

	captures captures
}

var (
	_ op.Service      = (*Router)(nil)
	_ serving.Traffic = (*Router)(nil)
)

// New makes a router; Run keeps it up to date.
func New(cfg Config) (*Router, error) {
	if cfg.Records == nil || cfg.Dialer == nil || cfg.Meter == nil {
		return nil, errors.New("router: something that it works with is missing")
	}
	if cfg.MaxPayload <= 0 {
		cfg.MaxPayload = MaxPayload
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = Timeout
	}
	if cfg.StreamTimeout <= 0 {
		cfg.StreamTimeout = StreamTimeout
	}
	if cfg.InFlight <= 0 {
		cfg.InFlight = InFlight
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	r := &Router{
		cfg: cfg, log: cfg.Log,
		routes: map[resource.Key]*route{}, hosts: map[compute.TaskID]*host{}, meters: map[meterKey]*meter{},
	}
	r.room.most = cfg.InFlight
	r.captures.full = make(chan struct{}, 1)
	return r, nil
}

// Name is botocore's.
func (*Router) Name() string { return "sagemaker-runtime" }

// Operations lists what is served.
func (r *Router) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"InvokeEndpoint": op.On(op.Lend(r.InvokeEndpoint), func(c op.Call, in *api.InvokeEndpointInput) string {
			return endpointArn(c, in.EndpointName)
		}),
		"InvokeEndpointWithResponseStream": op.On(op.Stream(r.InvokeEndpointWithResponseStream), func(c op.Call, in *api.InvokeEndpointWithResponseStreamInput) string {
			return endpointArn(c, in.EndpointName)
		}),
	}
}

// budget is bytes that all share.
type budget struct {
	used atomic.Int64
	most int64
}

func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.most {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

const (
	putEvery   = 250 * time.Millisecond // metrics
	sweepEvery = 10 * time.Second
	flushTime  = 5 * time.Second // for what is left when the server stops
)

// Run keeps routes fresh, puts metrics and writes captured data until ctx is
// done, and then what is left of both.
func (r *Router) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { r.watch(ctx) })
	wg.Go(func() { r.keepCaptured(ctx) })
	put, sweep := time.NewTicker(putEvery), time.NewTicker(sweepEvery)
	defer put.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			wg.Wait()
			return
		case <-put.C:
			r.putMetrics(ctx)
		case now := <-sweep.C:
			r.sweep(now)
		}
	}
}

// Close puts what was counted and captured since, and keeps no connection from then on.
func (r *Router) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	r.putMetrics(ctx)
	r.keepAll(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.hosts {
		h.close()
	}
	return nil
}

// watch drops what another server or another room may have changed.
func (r *Router) watch(ctx context.Context) {
	for k := range r.cfg.Records.Watch(ctx, serving.KindEndpoint) {
		r.Changed(k)
	}
}
