package costexplorer

import (
	"cmp"
	"context"
	"slices"
	"strings"

	apice "clary/internal/api/ce"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/meter"
	"clary/internal/resource"
)

// GetDimensionValues lists what usage of a period has of a dimension.
func (s *Service) GetDimensionValues(ctx context.Context, c op.Call, in *apice.GetDimensionValuesRequest) (*apice.GetDimensionValuesResponse, error) {
	ask := *in
	ask.NextPageToken = ""
	l := list{period: in.TimePeriod, filter: in.Filter, view: in.BillingViewArn, search: in.SearchString, sort: in.SortBy, token: in.NextPageToken, most: in.MaxResults, of: sign(ask)}
	if in.Context == "RESERVATIONS" || in.Context == "SAVINGS_PLANS" {
		l.none = true // nobody has any
	}
	values, total, next, err := s.values(ctx, c, l, func(u *resource.Usage) string { return value(u, in.Dimension) })
	if err != nil {
		return nil, err
	}
	out := &apice.GetDimensionValuesResponse{
		DimensionValues: []apice.DimensionValuesWithAttributes{}, ReturnSize: int64(len(values)), TotalSize: int64(total), NextPageToken: next,
	}
	for _, v := range values {
		attributes := map[string]string{}
		if in.Dimension == "LINKED_ACCOUNT" {
			attributes["description"] = v
		}
		out.DimensionValues = append(out.DimensionValues, apice.DimensionValuesWithAttributes{Value: v, Attributes: attributes})
	}
	return out, nil
}

// GetTags lists the keys of tags that usage of a period has, or a key's values.
func (s *Service) GetTags(ctx context.Context, c op.Call, in *apice.GetTagsRequest) (*apice.GetTagsResponse, error) {
	ask := *in
	ask.NextPageToken = ""
	l := list{period: in.TimePeriod, filter: in.Filter, view: in.BillingViewArn, search: in.SearchString, sort: in.SortBy, token: in.NextPageToken, most: in.MaxResults, of: sign(ask)}
	l.keys = in.TagKey == ""
	values, total, next, err := s.values(ctx, c, l, func(u *resource.Usage) string {
		return u.Tags[in.TagKey] // "" stands for usage without the tag
	})
	if err != nil {
		return nil, err
	}
	return &apice.GetTagsResponse{Tags: append([]string{}, values...), ReturnSize: int64(len(values)), TotalSize: int64(total), NextPageToken: next}, nil
}

// list is a listing of values.
type list struct {
	period       *apice.DateInterval
	filter       *apice.Expression
	view, search string
	sort         []apice.SortDefinition
	token        string
	of           []byte
	most         *int64
	none, keys   bool // keys: of tags
}

func (s *Service) values(ctx context.Context, c op.Call, l list, of func(*resource.Usage) string) (values []string, total int, next string, err error) {
	at, err := from(l.token, l.of)
	if err != nil {
		return nil, 0, "", err
	}
	q := question{account: c.Account, now: s.now()}
	cut := monthly
	if strings.Contains(l.period.Start, "T") {
		cut = hourly
	}
	if q.span, err = past(l.period, cut, q.now, false); err != nil {
		return nil, 0, "", err
	}
	if q.filter, err = filter(l.filter); err != nil {
		return nil, 0, "", err
	}
	if err := view(c, l.view); err != nil {
		return nil, 0, "", err
	}
	by, down, err := order(l.sort)
	if err != nil {
		return nil, 0, "", err
	}
	if l.none {
		return nil, 0, "", nil
	}
	found := make(map[string]*cell)
	add := func(v string, e *meter.Entry) {
		if !strings.Contains(strings.ToLower(v), strings.ToLower(l.search)) {
			return
		}
		x := found[v]
		if x == nil {
			x = new(cell)
			found[v] = x
		}
		x.add(e)
	}
	err = s.each(ctx, q, func(e *meter.Entry) {
		if l.keys {
			for k := range e.Of.Tags {
				add(k, e)
			}
		} else {
			add(of(e.Of), e)
		}
	})
	if err != nil {
		return nil, 0, "", err
	}
	for v := range found {
		values = append(values, v)
	}
	slices.SortFunc(values, func(a, b string) int {
		n := by(found[a], found[b])
		if down {
			n = -n
		}
		return cmp.Or(n, strings.Compare(a, b))
	})
	total = len(values)
	values, next = page(values, at, l.most)
	return values, total, next, nil
}

// order reads how values are sorted: by a metric, else by name.
func order(in []apice.SortDefinition) (by func(a, b *cell) int, down bool, err error) {
	by = func(*cell, *cell) int { return 0 }
	if len(in) == 0 {
		return by, false, nil
	}
	if len(in) > 1 {
		return nil, false, apierr.Validation("Only one sort definition is supported, these are %d.", len(in))
	}
	name, err := metrics([]string{in[0].Key}, false)
	if err != nil {
		return nil, false, err
	}
	switch name[0] {
	case "UsageQuantity":
		by = func(a, b *cell) int { return cmp.Compare(a.quantity(), b.quantity()) }
	case "NormalizedUsageAmount":
	default:
		by = func(a, b *cell) int { return cmp.Compare(a.micro, b.micro) }
	}
	return by, in[0].SortOrder == "DESCENDING", nil
}

func (c *cell) quantity() (sum float64) {
	for i, u := range units() {
		n, _ := meter.Quantity(u, c.units[i])
		sum += n
	}
	return sum
}
