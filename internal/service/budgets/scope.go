package budgets

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	apib "clary/internal/api/budgets"
	"clary/internal/meter"
)

// What a USAGE budget is in.
const (
	unitHours    = "Hrs"
	unitGBMonths = "GB-Mo"
	unitRequests = "Requests"
)

// ledgerUnit is what the ledger counts a budget's unit in.
func ledgerUnit(unit string) string {
	return map[string]string{unitHours: meter.InstanceSecond, unitGBMonths: meter.GBSecond, unitRequests: meter.Request}[unit]
}

// quantity is charged units in millionths of a budget's unit.
func quantity(unit string, units int64) int64 {
	per, _ := meter.Scale(ledgerUnit(unit))
	return units/per*million + units%per*million/per
}

// dimensions are what CostFilters call Cost Explorer's dimensions.
func dimensions() map[string]string {
	return map[string]string{
		"AZ": "AZ", "BillingEntity": "BILLING_ENTITY", "InstanceType": "INSTANCE_TYPE", "InstanceTypeFamily": "INSTANCE_TYPE_FAMILY",
		"InvoicingEntity": "INVOICING_ENTITY", "LegalEntityName": "LEGAL_ENTITY_NAME", "LinkedAccount": "LINKED_ACCOUNT",
		"Operation": "OPERATION", "PurchaseType": "PURCHASE_TYPE", "RecordType": "RECORD_TYPE", "Region": "REGION", "Service": "SERVICE",
		"UsageType": "USAGE_TYPE", "UsageTypeGroup": "USAGE_TYPE_GROUP",
	}
}

const tagFilter = "TagKeyValue"

// tagPrefix is before a tag's key in CostFilters: the tag is the user's.
const tagPrefix = "user:"

// scopeOf is what a budget covers; nil: all.
func scopeOf(b *apib.Budget) (*meter.Filter, error) {
	e := b.FilterExpression
	if len(b.CostFilters) > 0 {
		if err := checkFilters(b.CostFilters); err != nil {
			return nil, err
		}
		e = expressionOf(b.CostFilters)
	}
	if e == nil {
		return nil, nil
	}
	f, err := filterOf(*e, 0)
	return &f, err
}

func checkFilters(filters map[string][]string) error {
	known := dimensions()
	for _, k := range slices.Sorted(maps.Keys(filters)) {
		switch {
		case k == tagFilter:
			for _, v := range filters[k] {
				if key, _, ok := strings.Cut(v, "$"); !ok || !strings.HasPrefix(key, tagPrefix) || key == tagPrefix {
					return invalid("%s is not a valid value of cost filter TagKeyValue. Use user:KEY$VALUE.", v)
				}
			}
		case known[k] == "":
			return invalid("Cost filter %s is not supported. Use one of: %s, %s.", k, strings.Join(slices.Sorted(maps.Keys(known)), ", "), tagFilter)
		}
		if len(filters[k]) == 0 {
			return invalid("Cost filter %s has no value.", k)
		}
	}
	return nil
}

// expressionOf says CostFilters as an expression: any of a key's values, and
// that of all keys. Tags of one key are a key.
func expressionOf(filters map[string][]string) *apib.Expression {
	var all []apib.Expression
	known := dimensions()
	for _, k := range slices.Sorted(maps.Keys(filters)) {
		if k != tagFilter {
			all = append(all, apib.Expression{Dimensions: &apib.ExpressionDimensionValues{Key: known[k], Values: filters[k]}})
			continue
		}
		tags := make(map[string][]string)
		for _, v := range filters[k] {
			key, value, _ := strings.Cut(strings.TrimPrefix(v, tagPrefix), "$")
			tags[key] = append(tags[key], value)
		}
		for _, key := range slices.Sorted(maps.Keys(tags)) {
			all = append(all, apib.Expression{Tags: &apib.TagValues{Key: key, Values: tags[key]}})
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return &all[0]
	}
	return &apib.Expression{And: all}
}

// maxNested is how deep an expression may be.
const maxNested = 10

func filterOf(e apib.Expression, depth int) (f meter.Filter, err error) {
	said := 0
	for _, is := range []bool{len(e.And) > 0, len(e.Or) > 0, e.Not != nil, e.Dimensions != nil, e.Tags != nil, e.CostCategories != nil, e.ProductAttributes != nil} {
		if is {
			said++
		}
	}
	switch {
	case said != 1:
		return f, invalid("Expression must have exactly one of And, Or, Not, Dimensions, Tags and CostCategories.")
	case e.CostCategories != nil:
		return f, invalid("Clary does not support CostCategories in an expression: there are none.")
	case e.ProductAttributes != nil:
		return f, invalid("Clary does not support ProductAttributes in an expression.")
	case depth > maxNested:
		return f, invalid("Expression is nested too deep: it may have %d levels.", maxNested)
	case len(e.And) == 1 || len(e.Or) == 1:
		return f, invalid("And and Or in an expression must have at least two operands.")
	}
	if f.And, err = filtersOf(e.And, depth); err != nil {
		return f, err
	}
	if f.Or, err = filtersOf(e.Or, depth); err != nil {
		return f, err
	}
	if e.Not != nil {
		n, err := filterOf(*e.Not, depth+1)
		if err != nil {
			return f, err
		}
		f.Not = &n
	}
	if d := e.Dimensions; d != nil {
		f.Dimension = &meter.Term{Key: d.Key, Values: d.Values, Options: d.MatchOptions}
		err = checkOptions(f.Dimension)
	}
	if t := e.Tags; t != nil {
		f.Tag = &meter.Term{Key: strings.TrimPrefix(t.Key, tagPrefix), Values: t.Values, Options: t.MatchOptions}
		err = checkOptions(f.Tag)
	}
	return f, err
}

func filtersOf(list []apib.Expression, depth int) (out []meter.Filter, err error) {
	for _, e := range list {
		f, err := filterOf(e, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func checkOptions(t *meter.Term) error {
	switch {
	case t.Key == "":
		return invalid("A dimension or tag of an expression needs a key.")
	case slices.Contains(t.Options, "GREATER_THAN_OR_EQUAL"):
		return invalid("Match option GREATER_THAN_OR_EQUAL is not supported for budgets.")
	case len(t.Values) == 0 && !slices.Contains(t.Options, "ABSENT"):
		return invalid("%s of an expression needs values.", t.Key)
	}
	return nil
}

// scopeText tells scopes apart.
func scopeText(f *meter.Filter) (string, error) {
	if f == nil {
		return "", nil
	}
	b, err := json.Marshal(f)
	return string(b), err
}
