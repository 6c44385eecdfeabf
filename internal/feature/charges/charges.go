// Package charges publishes what an account has spent in the month so far as
// the metric EstimatedCharges of AWS/Billing, which billing alarms watch. All
// of it comes from the ledger: nothing is kept, and a restart publishes the
// same sums. It must never publish more than the ledger says. Start at Run.
package charges

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"clary/internal/meter"
	"clary/internal/metrics"
	"clary/internal/resource"
)

const (
	// Region is where the metric is, as on AWS, whatever regions are spent in.
	Region    = "us-east-1"
	namespace = "AWS/Billing"
	name      = "EstimatedCharges"

	// every is how often sums are published while something costs: so that an
	// alarm is up within a minute of what crosses it.
	every = 30 * time.Second
	// idle is how often they are when nothing does, as AWS publishes some times
	// a day.
	idle = 4 * time.Hour
	// leapt is how long nothing is published after the clock leapt, as above.
	leapt = 45 * time.Second
	// gap is the least time between two looks that were asked for.
	gap = 2 * time.Second
)

// Config is what a Publisher works with.
type Config struct {
	Account string
	Sums    *meter.Sums
	Ledger  meter.Changes
	Metrics metrics.Store
	// Settle is how long after a start nothing is published: what ended while
	// nobody looked is still open in the ledger, and a sum that is too high
	// would stay the maximum of its period.
	Settle time.Duration
	// Changes signals when a record changed that may cost something.
	Changes <-chan struct{}
	Log     *slog.Logger
}

// Run publishes until ctx is done.
func Run(ctx context.Context, c Config) {
	p := publisher{Config: c, settling: meter.Settling{Start: c.Settle, Leap: leapt}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	changes := c.Changes
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case _, ok := <-changes:
			if !ok {
				changes = nil
				continue
			}
			if p.open {
				continue // the next look is near
			}
			timer.Reset(max(0, time.Until(p.looked.Add(gap))))
			continue
		}
		next, err := p.look(ctx, time.Now())
		if err != nil && ctx.Err() == nil {
			c.Log.Error("estimated charges", "err", err)
			next = time.Now().Add(every)
		}
		timer.Reset(max(0, time.Until(next)))
	}
}

type publisher struct {
	Config
	settling  meter.Settling
	open      bool // something costs
	looked    time.Time
	published time.Time
	micro     int64
}

// look publishes the sum where that tells something new, and says when to look
// again.
func (p *publisher) look(ctx context.Context, now time.Time) (time.Time, error) {
	if wait := p.settling.Wait(now); wait > 0 {
		p.open = true // changes are seen then
		return now.Add(wait), nil
	}
	now = now.UTC()
	p.looked = now
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	end := month.AddDate(0, 1, 0)
	p.open = false
	// Before the sum is made: what opens from then on is told of by a change.
	_, err := p.Ledger.UsageSince(ctx, p.Account, now, time.Time{}, 0, func(u resource.Usage) {
		p.open = p.open || u.End.IsZero() && u.Unit != meter.Request
	})
	if err != nil {
		return time.Time{}, err
	}
	spent, err := p.Sums.Spend(ctx, meter.SpendQuery{Account: p.Account, From: month, To: end, Now: now})
	if err != nil {
		return time.Time{}, err
	}
	micro := spent.Total[0].MicroUSD // the first book is what alarms and budgets go by
	if p.open || micro != p.micro || p.published.Before(month) || now.Sub(p.published) >= idle {
		if err := p.publish(ctx, micro, now); err != nil {
			return time.Time{}, err
		}
		p.micro, p.published = micro, now
	}
	next := p.published.Add(idle)
	if p.open {
		next = now.Add(every)
	}
	if next.After(end) {
		next = end // the new month begins with nothing spent
	}
	return next, nil
}

func (p *publisher) publish(ctx context.Context, micro int64, now time.Time) error {
	d := metrics.Datum{
		Account: p.Account, Region: Region, Namespace: namespace, Name: name, Time: now,
		Sum: float64(micro) / 1e6, Count: 1, Unit: "None",
	}
	all, service := d, d
	all.Dimensions = map[string]string{"Currency": "USD"}
	service.Dimensions = map[string]string{"Currency": "USD", "ServiceName": "AmazonSageMaker"}
	if err := p.Metrics.Put(ctx, []metrics.Datum{all, service}); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}
