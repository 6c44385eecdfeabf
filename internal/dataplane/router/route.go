package router

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
)

const (
	// routeLife is how long a record is believed that nobody said had changed:
	// hints may be lost.
	routeLife = time.Second
	// shunned is how long an instance that takes no connections comes last.
	shunned = time.Second
)

// route is what an endpoint's record says of its traffic.
type route struct {
	key      resource.Key
	read     time.Time
	variants []*variant
	weight   float64 // of all
	capture  *serving.Capture
}

type variant struct {
	name       string
	weight     float64
	containers []string
	instances  []*instance
	meter      *meter
}

// instance has a host for each container.
type instance struct {
	id    string
	hosts []*host
}

// Changed implements serving.Traffic.
func (r *Router) Changed(k resource.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.age++
	delete(r.routes, k)
}

// Open implements serving.Traffic.
func (r *Router) Open(id compute.TaskID) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if h := r.hosts[id]; h != nil {
		return int(h.open.Load())
	}
	return 0
}

func endpointArn(c op.Call, name string) string {
	return "arn:aws:sagemaker:" + c.Region + ":" + c.Account + ":endpoint/" + lower(name)
}

func notFound(k resource.Key) error {
	return apierr.Validation("Endpoint %s of account %s not found.", k.Name, k.Account)
}

// take chooses an instance and counts a request in: under the lock, so that
// after Changed nobody is counted in by what a record said before. not is an
// instance that was tried already; it is chosen where there is no other and
// again says that it may be.
func (r *Router) take(ctx context.Context, k resource.Key, target string, not *instance, again bool) (*route, *variant, *instance, error) {
	for {
		r.mu.RLock()
		rt := r.routes[k]
		if rt != nil && time.Since(rt.read) < routeLife {
			v, err := rt.choose(target)
			var at *instance
			if err == nil {
				at, err = v.least(not, again)
			}
			if err == nil {
				at.count(1)
				v.meter.open.Add(1)
			}
			r.mu.RUnlock()
			return rt, v, at, err
		}
		age := r.age
		r.mu.RUnlock()
		if err := r.load(ctx, k, age); err != nil {
			return nil, nil, nil, err
		}
	}
}

// load reads a record anew. What it finds counts unless something changed since
// age.
func (r *Router) load(ctx context.Context, k resource.Key, age int) error {
	rec, err := r.cfg.Records.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return notFound(k)
	}
	if err != nil {
		return err
	}
	e, err := serving.Of(rec)
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", k.Name, err)
	}
	if len(e.Variants) == 0 { // it is being made, or deleted, or failed
		return notFound(k)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.age != age {
		return nil
	}
	rt := &route{key: k, read: time.Now(), capture: e.Capture}
	for _, from := range e.Variants {
		v := &variant{name: from.Name, weight: max(from.Weight, 0), containers: from.Containers, meter: r.meterOf(k, from.Name)}
		for _, i := range from.Instances {
			at := &instance{id: i.ID}
			for _, id := range i.Tasks {
				at.hosts = append(at.hosts, r.hostOf(id))
			}
			if len(at.hosts) > 0 {
				v.instances = append(v.instances, at)
			}
		}
		rt.weight += v.weight
		rt.variants = append(rt.variants, v)
	}
	r.routes[k] = rt
	return nil
}

// hostOf is called with the lock held.
func (r *Router) hostOf(id compute.TaskID) *host {
	h := r.hosts[id]
	if h == nil {
		h = &host{task: id}
		r.hosts[id] = h
	}
	return h
}

// choose picks a variant: the one that is named, else one at random by weight.
func (rt *route) choose(target string) (*variant, error) {
	if target != "" {
		i := slices.IndexFunc(rt.variants, func(v *variant) bool { return v.name == target })
		if i < 0 {
			return nil, apierr.Validation("Variant %s not found for endpoint %s of account %s.", target, rt.key.Name, rt.key.Account)
		}
		return rt.variants[i], nil
	}
	if rt.weight <= 0 {
		return nil, apierr.Validation("No variant of endpoint %s of account %s has a weight above zero. Name one with TargetVariant.", rt.key.Name, rt.key.Account)
	}
	at := rand.Float64() * rt.weight
	for _, v := range rt.variants {
		if at -= v.weight; at < 0 {
			return v, nil
		}
	}
	// rounding alone leads here
	return rt.variants[slices.IndexFunc(rt.variants, func(v *variant) bool { return v.weight > 0 })], nil
}

// least picks the instance with the fewest requests in flight, at random among
// equals. One that just now took no connection comes after all others.
func (v *variant) least(not *instance, again bool) (*instance, error) {
	var best *instance
	var open int64
	n := len(v.instances)
	now := time.Now().UnixNano()
	for i, from := 0, rand.IntN(max(n, 1)); i < n; i++ {
		at := v.instances[(from+i)%n]
		if not != nil && at.id == not.id {
			continue
		}
		o := at.hosts[0].open.Load()
		if now-at.failed() < int64(shunned) {
			o += 1 << 32
		}
		if best == nil || o < open {
			best, open = at, o
		}
	}
	if best == nil && again && not != nil {
		best = not
	}
	if best == nil {
		e := apierr.New(429, "ModelNotReadyException", "Variant %s has no instance in service that takes the request. Please try again.", v.name)
		return nil, e
	}
	return best, nil
}

func (i *instance) count(n int64) {
	for _, h := range i.hosts {
		h.open.Add(n)
	}
}

func (i *instance) failed() (at int64) {
	for _, h := range i.hosts {
		at = max(at, h.failed.Load())
	}
	return at
}

// sweep forgets what nobody uses: routes that no request asked for, tasks that
// no route has and no request is at, and connections that were idle too long.
func (r *Router) sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	used := map[*host]bool{}
	counted := map[*meter]bool{}
	for k, rt := range r.routes {
		if now.Sub(rt.read) > idleTime {
			delete(r.routes, k)
			continue
		}
		for _, v := range rt.variants {
			counted[v.meter] = true
			for _, i := range v.instances {
				for _, h := range i.hosts {
					used[h] = true
				}
			}
		}
	}
	for id, h := range r.hosts {
		h.expire(now)
		if !used[h] && h.open.Load() == 0 {
			h.close()
			delete(r.hosts, id)
		}
	}
	for k, m := range r.meters {
		if !counted[m] && m.open.Load() == 0 && m.empty() {
			delete(r.meters, k)
		}
	}
}
