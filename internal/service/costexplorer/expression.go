package costexplorer

import (
	"slices"
	"strings"

	apice "clary/internal/api/ce"
	"clary/internal/aws/apierr"
	"clary/internal/meter"
	"clary/internal/resource"
)

// filter reads an expression.
func filter(e *apice.Expression) (*meter.Filter, error) {
	if e == nil {
		return nil, nil
	}
	f, err := expression(e)
	if err != nil {
		return nil, err
	}
	return &f, nil
}

func expression(e *apice.Expression) (f meter.Filter, err error) {
	roots := 0
	for _, set := range []bool{e.And != nil, e.Or != nil, e.Not != nil, e.Dimensions != nil, e.Tags != nil, e.CostCategories != nil, e.ProductAttributes != nil} {
		if set {
			roots++
		}
	}
	if roots != 1 {
		return f, apierr.Validation(`Expression has zero or more than one roots. Only one root operator is allowed for each expression: "and", "or", "not", "tag" or "dimensionValue"`)
	}
	switch {
	case e.And != nil:
		f.And, err = expressions("And", e.And)
	case e.Or != nil:
		f.Or, err = expressions("Or", e.Or)
	case e.Not != nil:
		var g meter.Filter
		g, err = expression(e.Not)
		f.Not = &g
	case e.Dimensions != nil:
		f.Dimension, err = term("Dimensions", e.Dimensions.Key, e.Dimensions.Values, e.Dimensions.MatchOptions)
	case e.Tags != nil:
		f.Tag, err = term("Tags", e.Tags.Key, e.Tags.Values, e.Tags.MatchOptions)
	case e.CostCategories != nil:
		// There are none: nothing has a value of one. A tag that nothing can
		// have says the same.
		f.Tag, err = term("CostCategories", e.CostCategories.Key, e.CostCategories.Values, e.CostCategories.MatchOptions)
		if err == nil {
			f.Tag.Key = "\x00"
		}
	default:
		err = apierr.Validation("Failed to validate filter: ProductAttributes are not supported.")
	}
	return f, err
}

func expressions(what string, in []apice.Expression) (out []meter.Filter, err error) {
	if len(in) < 2 {
		return nil, apierr.Validation("%s expression must have at least 2 operands", what)
	}
	for i := range in {
		f, err := expression(&in[i])
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func term(what, key string, values, options []string) (*meter.Term, error) {
	absent := slices.Contains(options, "ABSENT")
	switch {
	case key == "":
		return nil, apierr.Validation("Failed to validate filter: %s lacks a Key.", what)
	case absent && len(values) > 0:
		return nil, apierr.Validation("Failed to validate filter: %s %s has Values beside the match option ABSENT.", what, key)
	case !absent && len(values) == 0:
		return nil, apierr.Validation("Failed to validate filter: %s %s has no Values.", what, key)
	case slices.Contains(options, "GREATER_THAN_OR_EQUAL"):
		return nil, apierr.Validation("Failed to validate filter: the match option GREATER_THAN_OR_EQUAL is for anomalies.")
	}
	return &meter.Term{Key: key, Values: values, Options: options}, nil
}

// asks says whether a filter asks for a dimension.
func asks(f *meter.Filter, dimension string) bool {
	if f == nil {
		return false
	}
	in := func(fs []meter.Filter) bool {
		return slices.ContainsFunc(fs, func(g meter.Filter) bool { return asks(&g, dimension) })
	}
	return f.Dimension != nil && f.Dimension.Key == dimension || in(f.And) || in(f.Or) || asks(f.Not, dimension)
}

// grouping gives a usage's value of one definition.
type grouping func(*resource.Usage) string

// groupings reads what usage shall be told apart by.
func groupings(in []apice.GroupDefinition, resources bool) ([]grouping, error) {
	if len(in) > 2 {
		return nil, apierr.Validation("Group definitions should not exceed 2, these are %d.", len(in))
	}
	var out []grouping
	for _, g := range in {
		key := g.Key
		switch g.Type {
		case "TAG":
			if key == "" {
				return nil, apierr.Validation("A group definition of type TAG lacks a Key.")
			}
			out = append(out, func(u *resource.Usage) string { return key + "$" + u.Tags[key] })
		case "COST_CATEGORY":
			out = append(out, func(*resource.Usage) string { return key + "$" }) // there are none
		case "DIMENSION", "":
			if !slices.Contains(groupable(), key) && (key != resourceID || !resources) {
				return nil, apierr.Validation("Group definition dimension %q is invalid. Valid dimensions are: %s.", key, strings.Join(groupable(), ", "))
			}
			out = append(out, func(u *resource.Usage) string { return value(u, key) })
		default:
			return nil, apierr.Validation("Group definition type %s is not supported.", g.Type)
		}
	}
	if len(in) == 2 && in[0] == in[1] {
		return nil, apierr.Validation("Group definitions should not repeat.")
	}
	return out, nil
}

const resourceID = "RESOURCE_ID"

func groupable() []string {
	return []string{
		"AZ", "BILLING_ENTITY", "CACHE_ENGINE", "DATABASE_ENGINE", "DEPLOYMENT_OPTION", "INSTANCE_TYPE", "INSTANCE_TYPE_FAMILY",
		"INVOICING_ENTITY", "LEGAL_ENTITY_NAME", "LINKED_ACCOUNT", "OPERATING_SYSTEM", "OPERATION", "PLATFORM", "PURCHASE_TYPE",
		"RECORD_TYPE", "REGION", "RESERVATION_ID", "SAVINGS_PLANS_TYPE", "SAVINGS_PLAN_ARN", "SERVICE", "SERVICE_CODE", "TENANCY",
		"USAGE_TYPE", "USAGE_TYPE_GROUP",
	}
}

// value is what a usage has of a dimension.
func value(u *resource.Usage, dimension string) string {
	v, _ := meter.Attribute(u, dimension)
	return v
}
