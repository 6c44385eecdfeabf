package forgotten

import (
	"context"
	"fmt"

	"clary/internal/budget"
	"clary/internal/meter"
	"clary/internal/resource"
)

// notebooks are those that nobody uses, and volumes of those that are stopped.
func (f Finder) notebooks(ctx context.Context, q Query, k *kept) (out []Item, err error) {
	var running []string
	for _, r := range k.records {
		if going, _ := open(k.usage[r.UID], meter.InstanceSecond); len(going) > 0 {
			running = append(running, r.Name)
		}
	}
	var idle map[string]Use
	if len(running) > 0 {
		idle = f.Idle(ctx, q.Account, k.region, running)
	}
	for _, r := range k.records {
		i := Item{Kind: r.Kind, Region: r.Region, Name: r.Name, Arn: r.Arn}
		used := k.usage[r.UID]
		if going, ended := open(used, meter.InstanceSecond); len(going) > 0 {
			use, ok := idle[r.Name]
			if !ok || use.Since.IsZero() || q.Now.Sub(use.Since) < q.after(idleAfter) {
				continue
			}
			i.Why, i.Since = Idle, use.Since
			i.Evidence = "nobody has used it for " + words(q.Now.Sub(use.Since))
			if use.Evidence != "" {
				i.Evidence += ": " + use.Evidence
			}
			i.end(budget.Remedy(r.Kind, r.Name))
			f.price(&i, q, used, going, meter.InstanceSecond)
			out = append(out, i)
		} else if volume, _ := open(used, meter.GBSecond); len(volume) > 0 {
			if i.Since = ended; ended.IsZero() {
				i.Since = r.Created // it never came into service
			}
			if r.Phase != "Stopped" && r.Phase != "Failed" || q.Now.Sub(i.Since) < q.after(volumeAfter) {
				continue
			}
			i.Why = Volume
			i.Evidence = fmt.Sprintf("the instance has been %s for %s; its volume of %d GB goes on", phase(r), words(q.Now.Sub(i.Since)), gigabytes(volume))
			i.end(budget.RemedyForVolume(r.Name))
			f.price(&i, q, used, volume, meter.GBSecond)
			out = append(out, i)
		}
	}
	return out, nil
}

func phase(r *resource.Record) string {
	if r.Phase == "Failed" {
		return "failed"
	}
	return "stopped"
}

func gigabytes(list []resource.Usage) (n int64) {
	for _, u := range list {
		n += u.Quantity
	}
	return n
}

// end says what ends it.
func (i *Item) end(r budget.Advice) {
	i.Command, i.Call = r.Command, r.Call+" --region "+i.Region
}
