package router

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"clary/internal/metrics"
	"clary/internal/resource"
)

const (
	namespace = "AWS/SageMaker"
	// keptMinutes bounds what is held while metrics cannot be put.
	keptMinutes = 60
)

// meterKey names what is counted together.
type meterKey struct {
	endpoint resource.Key
	variant  string
}

// meter counts the requests to one variant.
type meter struct {
	key  meterKey
	open atomic.Int64

	mu      sync.Mutex // guards tallies
	tallies []tally    // one for each minute that was not put yet
}

// meterOf is called with the lock held.
func (r *Router) meterOf(endpoint resource.Key, variant string) *meter {
	k := meterKey{endpoint, variant}
	m := r.meters[k]
	if m == nil {
		m = &meter{key: k}
		r.meters[k] = m
	}
	return m
}

// tally is what was counted in one minute.
type tally struct {
	at                             time.Time // of the last
	n                              float64
	client, server, failed         float64 // errors of the model, of which kind
	perInstance, latency, overhead rollup
}

type rollup struct{ sum, min, max float64 }

func (r *rollup) add(v float64, first bool) {
	if first {
		r.min, r.max = v, v
	}
	r.sum, r.min, r.max = r.sum+v, min(r.min, v), max(r.max, v)
}

func (r *rollup) join(o rollup, first bool) {
	if first {
		*r = o
		return
	}
	r.sum, r.min, r.max = r.sum+o.sum, min(r.min, o.min), max(r.max, o.max)
}

// count adds a request that was given to an instance, with its error.
func (m *meter) count(v *visit, err error) {
	now := time.Now()
	all := now.Sub(v.begun)
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.of(now)
	t.at = now
	first := t.n == 0
	t.n++
	if e, ok := errors.AsType[*modelError](err); ok {
		t.failed++
		switch e.status / 100 {
		case 4:
			t.client++
		case 5:
			t.server++
		}
	}
	t.perInstance.add(1/float64(max(len(v.v.instances), 1)), first)
	t.latency.add(float64(v.model.Microseconds()), first)
	t.overhead.add(float64(max(all-v.model, 0).Microseconds()), first)
}

// of gives the tally of a minute, with the lock held.
func (m *meter) of(at time.Time) *tally {
	n := len(m.tallies)
	if n == 0 || m.tallies[n-1].at.Unix()/60 != at.Unix()/60 {
		if n == keptMinutes {
			m.tallies = append(m.tallies[:0], m.tallies[1:]...)
		}
		m.tallies = append(m.tallies, tally{})
	}
	return &m.tallies[len(m.tallies)-1]
}

func (m *meter) empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.tallies) == 0
}

func (m *meter) drain() []tally {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tallies
	m.tallies = nil
	return t
}

// back takes what could not be put.
func (m *meter) back(old []tally) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(old); n > 0 && len(m.tallies) > 0 && old[n-1].at.Unix()/60 == m.tallies[0].at.Unix()/60 {
		t, o := &m.tallies[0], old[n-1]
		t.perInstance.join(o.perInstance, false)
		t.latency.join(o.latency, false)
		t.overhead.join(o.overhead, false)
		t.n, t.client, t.server, t.failed = t.n+o.n, t.client+o.client, t.server+o.server, t.failed+o.failed
		old = old[:n-1]
	}
	old = append(old, m.tallies...)
	m.tallies = old[max(0, len(old)-keptMinutes):]
}

// putMetrics puts what was counted since.
func (r *Router) putMetrics(ctx context.Context) {
	r.mu.RLock()
	all := make([]*meter, 0, len(r.meters))
	for _, m := range r.meters {
		all = append(all, m)
	}
	r.mu.RUnlock()
	var data []metrics.Datum
	taken := make([][]tally, len(all))
	for i, m := range all {
		taken[i] = m.drain()
		for j := range taken[i] {
			data = m.data(data, &taken[i][j])
		}
	}
	if len(data) == 0 {
		return
	}
	if err := r.cfg.Meter.Put(ctx, data); err != nil {
		for i, m := range all {
			m.back(taken[i])
		}
		if ctx.Err() == nil {
			r.log.Warn("endpoints' metrics were not put, and will be", "err", err)
		}
	}
}

// data is a tally as CloudWatch has it.
func (m *meter) data(to []metrics.Datum, t *tally) []metrics.Datum {
	d := metrics.Datum{
		Account: m.key.endpoint.Account, Region: m.key.endpoint.Region, Namespace: namespace, Time: t.at,
		Dimensions: map[string]string{"EndpointName": m.key.endpoint.Name, "VariantName": m.key.variant}, Count: t.n,
	}
	add := func(name, unit string, r rollup) {
		d.Name, d.Unit, d.Sum, d.Min, d.Max = name, unit, r.sum, r.min, r.max
		to = append(to, d)
	}
	share := func(n float64) rollup { // of ones among zeros
		r := rollup{sum: n}
		if n == t.n {
			r.min = 1
		}
		if n > 0 {
			r.max = 1
		}
		return r
	}
	add("Invocations", "None", share(t.n))
	add("Invocation4XXErrors", "None", share(t.client))
	add("Invocation5XXErrors", "None", share(t.server))
	add("InvocationModelErrors", "None", share(t.failed))
	add("InvocationsPerInstance", "None", t.perInstance)
	add("ModelLatency", "Microseconds", t.latency)
	add("OverheadLatency", "Microseconds", t.overhead)
	return to
}
