package costexplorer

import (
	"context"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"clary/internal/api"
	apice "clary/internal/api/ce"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/meter"
	"clary/internal/resource"
)

const (
	usd = "USD"
	// incomplete is the unit of an amount that lacks usage without a price.
	incomplete = "USD (incomplete)"
	notOne     = "N/A"
)

// cell is one amount of an answer.
type cell struct {
	micro    int64
	unpriced bool
	units    [3]int64
}

func units() [3]string { return [3]string{meter.InstanceSecond, meter.GBSecond, meter.Request} }

func (c *cell) add(e *meter.Entry) {
	c.micro += e.By[0].MicroUSD
	c.unpriced = c.unpriced || e.By[0].Unpriced
	for i, u := range units() {
		if e.Of.Unit == u {
			c.units[i] += e.Units
		}
	}
}

// metric writes one of a cell's metrics.
func (c *cell) metric(name string) apice.MetricValue {
	switch name {
	case "UsageQuantity":
		sum, in := new(big.Rat), notOne
		for i, u := range units() {
			if c.units[i] == 0 {
				continue
			}
			per, unit := meter.Scale(u)
			sum.Add(sum, big.NewRat(c.units[i], per))
			if in == notOne {
				in = unit
			} else {
				in = "mixed"
			}
		}
		if in == "mixed" {
			in = notOne
		}
		return apice.MetricValue{Amount: trim(sum.FloatString(10)), Unit: in}
	case "NormalizedUsageAmount":
		return apice.MetricValue{Amount: "0", Unit: notOne} // as on AWS: of EC2's sizes alone
	}
	return apice.MetricValue{Amount: dollars(c.micro), Unit: c.unit()}
}

func (c *cell) unit() string {
	if c.unpriced {
		return incomplete
	}
	return usd
}

func dollars(micro int64) string { return trim(big.NewRat(micro, 1_000_000).FloatString(6)) }

func trim(s string) string {
	if s = strings.TrimRight(strings.TrimRight(s, "0"), "."); s == "" || s == "-" {
		return "0"
	}
	return s
}

// metrics are the names by which an answer has them.
func metrics(in []string, all bool) ([]string, error) {
	known := []string{"AmortizedCost", "BlendedCost", "NetAmortizedCost", "NetUnblendedCost", "NormalizedUsageAmount", "UnblendedCost", "UsageQuantity"}
	if len(in) == 0 && all {
		return known, nil
	}
	if len(in) == 0 {
		return nil, apierr.Validation("Metrics should not be empty. Valid metrics are: %s.", strings.Join(known, ", "))
	}
	var out []string
	for _, name := range in {
		i := slices.IndexFunc(known, func(k string) bool {
			return strings.EqualFold(k, strings.ReplaceAll(name, "_", "")) // BLENDED_COST is BlendedCost
		})
		if i < 0 {
			return nil, apierr.Validation("Metric %q is invalid. Valid metrics are: %s.", name, strings.Join(known, ", "))
		}
		out = append(out, known[i])
	}
	return out, nil
}

// GetCostAndUsage tells what usage came to.
func (s *Service) GetCostAndUsage(ctx context.Context, c op.Call, in *apice.GetCostAndUsageRequest) (*apice.GetCostAndUsageResponse, error) {
	return s.usage(ctx, c, in, false)
}

// GetCostAndUsageWithResources tells it by resource.
func (s *Service) GetCostAndUsageWithResources(ctx context.Context, c op.Call, in *apice.GetCostAndUsageWithResourcesRequest) (*apice.GetCostAndUsageWithResourcesResponse, error) {
	ask := apice.GetCostAndUsageRequest(*in)
	out, err := s.usage(ctx, c, &ask, true)
	return (*apice.GetCostAndUsageWithResourcesResponse)(out), err
}

type question struct {
	span
	account string
	filter  *meter.Filter
	groups  []grouping
	now     time.Time
}

func (s *Service) usage(ctx context.Context, c op.Call, in *apice.GetCostAndUsageRequest, resources bool) (*apice.GetCostAndUsageResponse, error) {
	text := in.NextPageToken
	ask := *in
	ask.NextPageToken = ""
	at, err := from(text, sign(ask))
	if err != nil {
		return nil, err
	}
	q := question{account: c.Account, now: s.now()}
	if q.span, err = past(in.TimePeriod, in.Granularity, q.now, resources); err != nil {
		return nil, err
	}
	names, err := metrics(in.Metrics, resources)
	if err != nil {
		return nil, err
	}
	if q.groups, err = groupings(in.GroupBy, resources); err != nil {
		return nil, err
	}
	if q.filter, err = filter(in.Filter); err != nil {
		return nil, err
	}
	byResource := slices.ContainsFunc(in.GroupBy, func(g apice.GroupDefinition) bool { return g.Key == resourceID && g.Type != "TAG" })
	if resources && !byResource && !asks(q.filter, resourceID) {
		return nil, apierr.Validation("GetCostAndUsageWithResources requires a group or a filter by %s.", resourceID)
	}
	if err := view(c, in.BillingViewArn); err != nil {
		return nil, err
	}
	cells, unpriced, err := s.cells(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &apice.GetCostAndUsageResponse{GroupDefinitions: in.GroupBy, DimensionValueAttributes: attributes(unpriced)}
	out.ResultsByTime, out.NextPageToken = s.results(q, cells, names, at)
	return out, nil
}

// cells sums up by part of the period and by group.
func (s *Service) cells(ctx context.Context, q question) ([]map[[2]string]*cell, map[string]bool, error) {
	cells := make([]map[[2]string]*cell, len(q.cuts()))
	for i := range cells {
		cells[i] = make(map[[2]string]*cell)
	}
	unpriced := make(map[string]bool)
	err := s.each(ctx, q, func(e *meter.Entry) {
		var k [2]string
		for i, g := range q.groups {
			k[i] = g(e.Of)
		}
		part := cells[q.part(e.Day)]
		x := part[k]
		if x == nil {
			x = new(cell)
			part[k] = x
		}
		if x.add(e); e.By[0].Unpriced {
			unpriced[value(e.Of, "USAGE_TYPE")] = true
		}
	})
	return cells, unpriced, err
}

// each gives the lines that a question is of to f.
func (s *Service) each(ctx context.Context, q question, f func(*meter.Entry)) error {
	if q.cut != hourly {
		return s.sums.Each(ctx, meter.SpendQuery{Account: q.account, From: q.from, To: q.to, Now: q.now}, func(e *meter.Entry) {
			if q.filter.Match(e.Of) {
				f(e)
			}
		})
	}
	usages, err := s.ledger.ListUsage(ctx, meter.Query(q.account, "", q.from, q.to))
	if err != nil {
		return err
	}
	usages = slices.DeleteFunc(usages, func(u resource.Usage) bool { return !q.filter.Match(&u) })
	meter.Hours(usages, s.books[0], q.from, q.to, q.now, f)
	return nil
}

// results is a page of the answer, and the token of the next one.
func (s *Service) results(q question, cells []map[[2]string]*cell, names []string, at token) (out []apice.ResultByTime, next string) {
	// As AWS has it, a bill is an estimate until its month is over.
	month := time.Date(q.now.UTC().Year(), q.now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	cuts, left := q.cuts(), s.page
	for i := at.Period; i < len(cuts); i++ {
		end := q.after(cuts[i])
		r := apice.ResultByTime{
			TimePeriod: q.interval(cuts[i], end), Total: map[string]apice.MetricValue{}, Groups: []apice.Group{}, Estimated: api.Ptr(end.After(month)),
		}
		if len(q.groups) == 0 {
			total := cells[i][[2]string{}]
			if total == nil {
				total = new(cell)
			}
			for _, n := range names {
				r.Total[n] = total.metric(n)
			}
			out = append(out, r)
			continue
		}
		keys := slices.SortedFunc(maps.Keys(cells[i]), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
		for _, k := range keys {
			if i == at.Period && at.After != [2]string{} && slices.Compare(k[:], at.After[:]) <= 0 {
				continue // on the page before
			}
			if left == 0 {
				last := token{Of: at.Of, Period: i}
				if n := len(r.Groups); n > 0 {
					copy(last.After[:], r.Groups[n-1].Keys)
				} else if i == at.Period {
					last.After = at.After
				}
				if len(r.Groups) > 0 {
					out = append(out, r)
				}
				return out, last.String()
			}
			g := apice.Group{Keys: k[:len(q.groups):len(q.groups)], Metrics: make(map[string]apice.MetricValue, len(names))}
			for _, n := range names {
				g.Metrics[n] = cells[i][k].metric(n)
			}
			r.Groups = append(r.Groups, g)
			left--
		}
		out = append(out, r)
	}
	return out, ""
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

// page cuts a list of values.
func page(values []string, at token, most *int64) (part []string, next string) {
	size := 1000
	if most != nil {
		size = int(min(*most, 1000))
	}
	from := min(at.Skip, len(values))
	to := min(from+size, len(values))
	if to < len(values) {
		next = token{Of: at.Of, Skip: to}.String()
	}
	return values[from:to], next
}
