// Package action says what IAM calls an operation: the action, the resources
// it is checked against, and the condition keys that the request's members
// decide. It reads the request by the names of the model's members, and
// decides nothing. Start at Of, Resources and Key.
package action

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"clary/internal/aws/arn"
	"clary/internal/aws/facts"
	"clary/internal/aws/op"
)

// Of is the IAM action of an operation.
func Of(m *facts.Model, name string) string {
	prefix := m.SigningName
	if prefix == "monitoring" {
		prefix = "cloudwatch"
	}
	if prefix == "s3" {
		if a, ok := s3Actions[name]; ok {
			name = a
		}
		if strings.Contains(name, ":") {
			return name
		}
	}
	return prefix + ":" + name
}

// Resources are the ARNs that an operation is checked against: one, or one for
// each name in a list of names. in is a struct of package api, or a map as JSON
// has it. "*" stands for all where an operation is about none.
func Resources(c op.Call, o *facts.Operation, in any) []string {
	var form string
	switch o.Model.Service {
	case "sagemaker":
		form = sageMakerForm(o.Name)
	case "sagemaker-runtime":
		form = "arn:aws:sagemaker:{Region}:{Account}:endpoint/{lower EndpointName}"
	case "sagemaker-metrics":
		form = "{MetricQueries.ResourceArn}"
	case "s3":
		form = s3Form(o)
	case "iam":
		form = iamForm(o)
	case "sts":
		form = stsForms[o.Name]
	case "logs":
		form = logsForm(o, in)
	case "cloudwatch":
		form = cloudWatchForm(o)
	case "sns":
		form = snsForm(o)
	case "cloudtrail":
		form = cloudTrailForm(o, in)
	case "ce":
		form = costExplorerForm(o)
	case "secretsmanager":
		// of a name it knows no more than where its ARN begins
		form = firstOf(o, nil, [][2]string{{"SecretId", "arn:aws:secretsmanager:{Region}:{Account}:secret:{SecretId}-??????"}})
	}
	if form == "" || form == "*" {
		return []string{"*"}
	}
	return fill(form, c, in)
}

// fill puts values for {Member}, {Region} and {Account}. A member that the
// request lacks is *; a value that is itself an ARN of the form's kind is the
// whole resource.
func fill(form string, c op.Call, in any) []string {
	var whole []string
	out := []string{""}
	rest := form
	for {
		before, after, found := strings.Cut(rest, "{")
		for i := range out {
			out[i] += before
		}
		if !found {
			return append(whole, out...)
		}
		name, tail, _ := strings.Cut(after, "}")
		rest = tail
		var values []string
		switch name {
		case "Region":
			values = []string{c.Region}
		case "Account":
			values = []string{c.Account}
		default:
			values = Member(in, strings.TrimPrefix(name, "lower "))
		}
		if len(values) == 0 {
			values = []string{"*"}
		}
		var next []string
		for _, v := range values {
			if ofForm(form, v) {
				whole = append(whole, ended(form, v))
				continue
			}
			if strings.HasPrefix(name, "lower ") {
				v = strings.ToLower(v)
			}
			for _, o := range out {
				next = append(next, o+v)
			}
		}
		out = next
	}
}

// ended: members show a log group's ARN without the ":*" that policies write.
func ended(form, value string) string {
	if strings.HasSuffix(form, "}:*") {
		return strings.TrimSuffix(value, ":*") + ":*"
	}
	return value
}

// ofForm says whether a value is an ARN of the kind that form makes: a name
// that looks like another kind's ARN stays a name.
func ofForm(form, value string) bool {
	a, ok := arn.Parse(value)
	if !ok || strings.HasPrefix(form, "{") {
		return ok
	}
	f, ok := arn.Parse(form)
	prefix, _, _ := strings.Cut(f.Resource, "{")
	return ok && prefix != "" && a.Service == f.Service && strings.HasPrefix(a.Resource, prefix)
}

// Roles are the roles that a request hands to the service, wherever they stand
// in it: iam:PassRole is asked for each.
func Roles(in any) []string {
	var out []string
	roles(reflect.ValueOf(in), "", &out)
	slices.Sort(out)
	return slices.Compact(out)
}

func roles(v reflect.Value, name string, out *[]string) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch v.Kind() { //nolint:exhaustive // the others hold no names
	case reflect.Slice:
		for i := range v.Len() {
			roles(v.Index(i), name, out)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			roles(v.MapIndex(k), k.String(), out)
		}
	case reflect.String:
		a, ok := arn.Parse(v.String())
		if ok && a.Service == "iam" && strings.HasPrefix(a.Resource, "role/") && (strings.HasSuffix(strings.ToLower(name), "rolearn") || strings.HasSuffix(name, "Role")) {
			*out = append(*out, v.String())
		}
	}
}

// Member finds the scalar values at a path of member names, through lists.
func Member(in any, path string) []string {
	var out []string
	gather(reflect.ValueOf(in), path, &out)
	return out
}

func gather(v reflect.Value, path string, out *[]string) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8 {
		for i := range v.Len() {
			gather(v.Index(i), path, out)
		}
		return
	}
	if path != "" {
		name, rest, _ := strings.Cut(path, ".")
		switch {
		case v.Kind() == reflect.Struct:
			if f := v.FieldByName(facts.GoName(name)); f.IsValid() {
				gather(f, rest, out)
			}
		case v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String:
			if e := v.MapIndex(reflect.ValueOf(name).Convert(v.Type().Key())); e.IsValid() {
				gather(e, rest, out)
			}
		}
		return
	}
	switch v.Kind() { //nolint:exhaustive // only scalars count
	case reflect.String:
		if v.String() != "" {
			*out = append(*out, v.String())
		}
	case reflect.Bool:
		*out = append(*out, strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int32, reflect.Int64:
		*out = append(*out, strconv.FormatInt(v.Int(), 10))
	case reflect.Float32, reflect.Float64:
		*out = append(*out, strconv.FormatFloat(v.Float(), 'f', -1, 64))
	}
}
