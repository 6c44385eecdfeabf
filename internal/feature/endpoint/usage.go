package endpoint

import (
	"context"
	"time"

	"clary/internal/compute"
	"clary/internal/metrics"
	"clary/internal/resource"
)

// namespace of the metrics of instances.
const namespace = "/aws/sagemaker/Endpoints"

// measure puts what an instance has used since the last look. It is for people
// to read: what cannot be put now is in the next sample, or in none.
func (e *Endpoints) measure(ctx context.Context, rec *resource.Record, v *variant, in *instance, o observed) {
	for _, k := range in.Tasks {
		t := o.tasks[k.ID].status
		if t == nil || !t.Usage.At.After(t.Started) {
			continue
		}
		if e.measureTask(ctx, rec, v, k.ID, t) != nil {
			return
		}
	}
}

func (e *Endpoints) measureTask(ctx context.Context, rec *resource.Record, v *variant, id compute.TaskID, t *compute.TaskStatus) error {
	now, source := t.Usage, string(id)+"/usage"
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
		if err := e.Instances.PutFrom(ctx, source, now.At.UnixMilli(), e.sample(rec, v, was, now)); err != nil {
			return err
		}
	}
	e.mu.Lock()
	e.used[id] = now
	e.mu.Unlock()
	return nil
}

// sample is what a container used between two looks, in AWS's metrics.
func (e *Endpoints) sample(rec *resource.Record, v *variant, was, now compute.Usage) []metrics.Datum {
	size := e.resources(v)
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
				Account: rec.Account, Region: rec.Region, Namespace: namespace, Name: m.name,
				Dimensions: map[string]string{"EndpointName": rec.Name, "VariantName": v.Name},
				Time:       now.At, Sum: 100 * m.part / m.whole, Unit: "Percent",
			})
		}
	}
	return out
}
