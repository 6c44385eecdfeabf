package job

import (
	"context"
	"time"

	"clary/internal/compute"
	"clary/internal/metrics"
	"clary/internal/resource"
)

// InstanceMetrics keeps how much jobs use of their instances.
type InstanceMetrics interface {
	// PutFrom adds data of a source up to next, which is beyond its offset or
	// nothing is added.
	PutFrom(ctx context.Context, source string, next int64, data []metrics.Datum) error
	Offset(ctx context.Context, source string) (int64, error) // 0 if unknown
}

// measure puts what the hosts have used since the last look. It is for people
// to read: what cannot be put now is in the next sample, or in none.
func (e *Engine) measure(ctx context.Context, rec *resource.Record, w *Work, h hosts) {
	for i, t := range h {
		if t == nil || !t.Usage.At.After(t.Started) {
			continue
		}
		if err := e.measureHost(ctx, rec, w, i, t); err != nil {
			return
		}
	}
}

func (e *Engine) measureHost(ctx context.Context, rec *resource.Record, w *Work, host int, t *compute.TaskStatus) error {
	id, now := taskID(rec.UID, host), t.Usage
	source := string(id) + "/usage"
	e.mu.Lock()
	was, seen := e.used[id]
	e.mu.Unlock()
	if seen && now.At.Sub(was.At) < time.Second { // too little to tell of
		return nil
	}
	if !seen {
		was = compute.Usage{At: t.Started}
		before, err := e.Instances.Offset(ctx, source)
		if err != nil {
			return err
		}
		if before > 0 {
			was = now // what was used by then a server knew that is gone
		}
	}
	if now.At.After(was.At) {
		if err := e.Instances.PutFrom(ctx, source, now.At.UnixMilli(), e.sample(rec, w, host, was, now)); err != nil {
			return err
		}
	}
	e.mu.Lock()
	e.used[id] = now
	e.mu.Unlock()
	return nil
}

// sample is what a host used between two looks, in AWS's metrics.
func (e *Engine) sample(rec *resource.Record, w *Work, host int, was, now compute.Usage) []metrics.Datum {
	size := e.resources(w)
	var out []metrics.Datum
	for _, m := range []struct {
		name        string
		known       bool
		part, whole float64
	}{
		{"CPUUtilization", now.CPU > 0, max(0, float64(now.CPU-was.CPU)), float64(now.At.Sub(was.At))},
		{"MemoryUtilization", now.Memory > 0, float64(now.Memory), float64(size.MemoryBytes)},
		{"DiskUtilization", now.Disk > 0, float64(now.Disk), float64(size.DiskBytes)},
	} {
		if m.known && m.whole > 0 {
			out = append(out, metrics.Datum{
				Account: rec.Account, Region: rec.Region, Namespace: e.Group(), Name: m.name,
				Dimensions: map[string]string{"Host": rec.Name + "/" + hostName(host)},
				Time:       now.At, Sum: 100 * m.part / m.whole, Unit: "Percent",
			})
		}
	}
	return out
}
