package forgotten

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"clary/internal/meter"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
)

// kindNotebook is the kind of notebook instances' records.
const kindNotebook resource.Kind = "NotebookInstance"

// Why something is taken for forgotten.
const (
	Idle      = "Idle"        // a notebook instance that nobody uses
	NoTraffic = "NoTraffic"   // an endpoint that nobody asks
	Flat      = "FlatTraffic" // one that only a monitor asks
	Volume    = "Volume"      // the volume of a notebook instance stopped long ago
)

// The rules.
const (
	idleAfter   = time.Hour
	quietAfter  = 24 * time.Hour
	volumeAfter = 7 * 24 * time.Hour

	flatHours = 24 // with as many requests in each
	flatMost  = 60 // requests an hour; who asks more often than a monitor has a use for it

	trafficOf = 7 * 24 * time.Hour    // is told of
	month     = 30 * 24 * time.Hour   // as GB-months are
	namespace = "AWS/SageMaker"       // of endpoints' metrics
	requests  = "Invocations"         // of each variant
	byName    = "EndpointName"        // a dimension
	pages     = 1000                  // records at once
	instant   = "2 January 15:04 UTC" // as evidence names it
)

// Use is how a notebook instance stands that nobody uses.
type Use struct {
	Since    time.Time // zero: somebody does
	Evidence string
}

// Finder finds.
type Finder struct {
	Store   store.Store
	Metrics metrics.Store
	Books   []meter.Book // minute, aws
	// Idle says which of these notebook instances nobody uses.
	Idle func(ctx context.Context, account, region string, names []string) map[string]Use
}

// Query says what is looked at.
type Query struct {
	Account, Region string          // Region "" is all
	Kinds           []resource.Kind // that may be told of
	// After stands in for the time after which each rule counts; 0: its own.
	After time.Duration
	Now   time.Time
}

// Cost is money by both books.
type Cost struct {
	MicroUSD, AWSMicroUSD int64
	Unpriced              bool `json:",omitzero"` // a part has no price: the sum is incomplete
}

func (c *Cost) add(d Cost) {
	c.MicroUSD, c.AWSMicroUSD, c.Unpriced = c.MicroUSD+d.MicroUSD, c.AWSMicroUSD+d.AWSMicroUSD, c.Unpriced || d.Unpriced
}

// Item is something that is taken for forgotten.
type Item struct {
	Kind              resource.Kind
	Region, Name, Arn string
	Why               string
	Since             time.Time // it has not been used, or was stopped
	Evidence          string
	SoFar             Cost   // of this month, of what would end
	PerMonth          Cost   // of 30 days, if it goes on
	Command, Call     string // that ends it: clary's, the AWS CLI's
}

// Report is all that was found, the dearest first.
type Report struct {
	Account, Region string
	Kinds           []resource.Kind // that it tells of
	Now             time.Time
	Items           []Item
	SoFar, PerMonth Cost
	Rules           []string // by which it was found
}

// Find looks at everything that costs until somebody ends it.
func (f Finder) Find(ctx context.Context, q Query) (*Report, error) {
	rep := &Report{Account: q.Account, Region: q.Region, Kinds: q.Kinds, Now: q.Now, Items: []Item{}, Rules: q.rules()}
	for _, l := range []struct {
		kind resource.Kind
		look func(context.Context, Query, *kept) ([]Item, error)
	}{{kindNotebook, f.notebooks}, {serving.KindEndpoint, f.endpoints}} {
		if !slices.Contains(q.Kinds, l.kind) {
			continue
		}
		all, err := f.kept(ctx, q, l.kind)
		if err != nil {
			return nil, fmt.Errorf("forgotten resources: %w", err)
		}
		for _, k := range all {
			items, err := l.look(ctx, q, k)
			if err != nil {
				return nil, fmt.Errorf("forgotten resources: %w", err)
			}
			rep.Items = append(rep.Items, items...)
		}
	}
	for _, i := range rep.Items {
		rep.SoFar.add(i.SoFar)
		rep.PerMonth.add(i.PerMonth)
	}
	slices.SortFunc(rep.Items, func(a, b Item) int {
		return cmp.Or(cmp.Compare(b.PerMonth.MicroUSD, a.PerMonth.MicroUSD), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Why, b.Why))
	})
	return rep, nil
}

func (q Query) after(own time.Duration) time.Duration { return cmp.Or(q.After, own) }

func (q Query) rules() []string {
	return []string{
		"a notebook instance in service that nobody has used for " + words(q.after(idleAfter)),
		"an endpoint without a request for " + words(q.after(quietAfter)),
		fmt.Sprintf("an endpoint with as many requests, at most %d and within a tenth, in each of the last %d hours", flatMost, flatHours),
		"the volume of a notebook instance that was stopped " + words(q.after(volumeAfter)) + " ago or earlier",
	}
}

// kept is the resources of a region, with what they used.
type kept struct {
	region  string
	records []*resource.Record
	usage   map[string][]resource.Usage // by UID, by start
}

// kept reads the resources of a kind, by region.
func (f Finder) kept(ctx context.Context, q Query, kind resource.Kind) ([]*kept, error) {
	by := map[string]*kept{}
	var out []*kept
	rq := resource.Query{Account: q.Account, Region: q.Region, Kind: kind, Sort: resource.SortName, Limit: pages}
	for {
		list, next, err := f.Store.List(ctx, rq)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			k := by[r.Region]
			if k == nil {
				k = &kept{region: r.Region, usage: map[string][]resource.Usage{}}
				by[r.Region], out = k, append(out, k)
			}
			k.records = append(k.records, r)
		}
		if rq.Token = next; next == "" {
			break
		}
	}
	for _, k := range out {
		var names []string
		for _, r := range k.records {
			names = append(names, r.Name)
		}
		list, err := f.Store.ListUsage(ctx, resource.UsageQuery{Account: q.Account, Region: k.region, Kind: kind, Names: names})
		if err != nil {
			return nil, err
		}
		for _, u := range list {
			k.usage[u.UID] = append(k.usage[u.UID], u)
		}
	}
	return out, nil
}

// open says which of a resource's intervals of a unit go on, and when the last
// of the others ended.
func open(list []resource.Usage, unit string) (going []resource.Usage, ended time.Time) {
	for _, u := range list {
		switch {
		case u.Unit != unit:
		case u.End.IsZero():
			going = append(going, u)
		case u.End.After(ended):
			ended = u.End
		}
	}
	return going, ended
}

// price adds what a resource's usage of a unit cost this month, and what goes on
// costs in one.
func (f Finder) price(i *Item, q Query, list, going []resource.Usage, unit string) {
	var of, on []resource.Usage
	for _, u := range list {
		if u.Unit == unit {
			of = append(of, u)
		}
	}
	day := q.Now.UTC().Truncate(24 * time.Hour)
	for _, u := range going {
		u.Start, u.End = day, day.Add(month)
		on = append(on, u)
	}
	first := time.Date(day.Year(), day.Month(), 1, 0, 0, 0, 0, time.UTC)
	i.SoFar = f.cost(of, first, q.Now, q.Now)
	i.PerMonth = f.cost(on, day, day.Add(month), day.Add(month))
}

func (f Finder) cost(list []resource.Usage, from, to, now time.Time) (c Cost) {
	for n, b := range f.Books {
		s := meter.Bill(list, b, from, to, now)
		c.Unpriced = c.Unpriced || s.Unpriced
		if n == 0 {
			c.MicroUSD = s.MicroUSD
		} else {
			c.AWSMicroUSD = s.MicroUSD
		}
	}
	return c
}

// words writes a length of time as people say it.
func words(d time.Duration) string {
	n := func(n int64, one string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %ss", n, one)
	}
	switch {
	case d < time.Minute:
		return n(int64(d/time.Second), "second")
	case d < 2*time.Hour:
		return n(int64(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return n(int64(d/time.Hour), "hour")
	}
	return n(int64(d/(24*time.Hour)), "day")
}
