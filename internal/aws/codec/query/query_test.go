package query

import (
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	"clary/internal/api/cloudwatch"
	"clary/internal/api/iam"
	"clary/internal/api/sts"
	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
)

func operation(t testing.TB, service, name string) *facts.Operation {
	t.Helper()
	m, err := facts.Load(service)
	if err != nil {
		t.Fatal(err)
	}
	return m.Operations[name]
}

func TestDecode(t *testing.T) {
	t.Parallel()
	body := "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fx&RoleSessionName=se&DurationSeconds=900" +
		"&Tags.member.2.Key=b&Tags.member.2.Value=&Tags.member.1.Key=a&Tags.member.1.Value=1&Tags.member.10.Key=c&Tags.member.10.Value=3&TransitiveTagKeys="
	var in sts.AssumeRoleRequest
	if err := New().Decode(operation(t, "sts", "AssumeRole"), nil, []byte(body), &in); err != nil {
		t.Fatal(err)
	}
	want := sts.AssumeRoleRequest{
		RoleArn: "arn:aws:iam::123456789012:role/x", RoleSessionName: "se", DurationSeconds: api.Ptr[int64](900),
		Tags: []sts.Tag{{Key: "a", Value: "1"}, {Key: "b"}, {Key: "c", Value: "3"}}, TransitiveTagKeys: []string{},
	}
	if !reflect.DeepEqual(in, want) {
		t.Fatalf("got  %+v\nwant %+v", in, want)
	}
}

func TestDecodeTimesAndNumbers(t *testing.T) {
	t.Parallel()
	body := "Action=PutMetricData&Namespace=n&MetricData.member.1.MetricName=m&MetricData.member.1.Value=1.5e3" +
		"&MetricData.member.1.Timestamp=2026-01-02T03:04:05.678Z&MetricData.member.1.Dimensions.member.1.Name=a&MetricData.member.1.Dimensions.member.1.Value=b"
	var in cloudwatch.PutMetricDataInput
	if err := New().Decode(operation(t, "cloudwatch", "PutMetricData"), nil, []byte(body), &in); err != nil {
		t.Fatal(err)
	}
	d := in.MetricData[0]
	if *d.Value != 1500 || !d.Timestamp.Equal(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)) || d.Dimensions[0].Value != "b" {
		t.Fatalf("%+v", d)
	}
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	op := operation(t, "sts", "AssumeRole")
	for _, c := range []struct{ body, code, text string }{
		{"RoleArn=arn:aws:iam::123456789012:role/x&RoleSessionName=se&DurationSeconds=x", "MalformedInput", "'x' at 'DurationSeconds'"},
		{"RoleArn=arn:aws:iam::123456789012:role/x&RoleSessionName=se&DurationSeconds=899", "ValidationException", "1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		{"RoleArn=arn:aws:iam::123456789012:role/x&RoleSessionName=a%20b", "ValidationException", `Value 'a b' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`},
		{"RoleArn.x=1&RoleSessionName=se", "MalformedInput", "No value at 'RoleArn'"},
		{"%zz", "MalformedInput", "form"},
	} {
		e := apierr.From(New().Decode(op, nil, []byte(c.body), &sts.AssumeRoleRequest{}))
		if e.Code != c.code || !strings.Contains(e.Message, c.text) {
			t.Errorf("%s: %v", c.body, e)
		}
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	out := &iam.SimulatePolicyResponse{
		EvaluationResults: []iam.EvaluationResult{{EvalActionName: "s3:Get<", EvalDecision: "allowed", EvalDecisionDetails: map[string]string{"b": "x", "a": "y"}}},
	}
	if err := New().Encode(w, nil, operation(t, "iam", "SimulatePrincipalPolicy"), out, "rid"); err != nil {
		t.Fatal(err)
	}
	want := `<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><SimulatePrincipalPolicyResult>` +
		`<EvaluationResults><member><EvalActionName>s3:Get&lt;</EvalActionName><EvalDecision>allowed</EvalDecision>` +
		`<EvalDecisionDetails><entry><key>a</key><value>y</value></entry><entry><key>b</key><value>x</value></entry></EvalDecisionDetails>` +
		`</member></EvaluationResults></SimulatePrincipalPolicyResult><ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></SimulatePrincipalPolicyResponse>`
	if got := w.Body.String(); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestEncodeError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    *apierr.Error
		code   string
		status int
	}{
		{apierr.AccessDenied("x"), "<Type>Sender</Type><Code>AccessDenied</Code>", 403},
		{apierr.Validation("x"), "<Code>ValidationError</Code>", 400},
		{apierr.New(400, "NoSuchEntityException", "x"), "<Code>NoSuchEntity</Code>", 404},
		{apierr.New(500, "InternalFailure", "x"), "<Type>Receiver</Type><Code>InternalFailure</Code>", 500},
	} {
		w := httptest.NewRecorder()
		New().EncodeError(w, nil, operation(t, "iam", "GetRole"), c.err, "rid")
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.code) || !strings.Contains(w.Body.String(), "<RequestId>rid</RequestId>") {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
	}
}

// FuzzDecode: whatever the form, it is read or refused with a client's error.
func FuzzDecode(f *testing.F) {
	f.Add("Namespace=n&MetricData.member.1.MetricName=m&MetricData.member.1.Value=1")
	f.Add("MetricData.member.=&MetricData.member.-1=&MetricData=&.=&..=1")
	f.Add("RoleName=x&ContextEntries.member.1.ContextKeyValues.member.1=\xff")
	ops := []*facts.Operation{operation(f, "cloudwatch", "PutMetricData"), operation(f, "iam", "SimulatePrincipalPolicy"), operation(f, "sts", "AssumeRole")}
	inputs := []func() any{
		func() any { return &cloudwatch.PutMetricDataInput{} }, func() any { return &iam.SimulatePrincipalPolicyRequest{} },
		func() any { return &sts.AssumeRoleRequest{} },
	}
	f.Fuzz(func(t *testing.T, body string) {
		for i, op := range ops {
			if err := New().Decode(op, nil, []byte(body), inputs[i]()); err != nil && apierr.From(err).Status != 400 {
				t.Fatal(err)
			}
		}
	})
}

// A form of very many or very deep parameters is refused before it grows.
func TestBoundedForm(t *testing.T) {
	t.Parallel()
	op := operation(t, "cloudwatch", "PutMetricData")
	for name, body := range map[string]string{
		"deep": strings.Repeat("a.", 1<<20) + "=1",
		"many": func() string {
			var sb strings.Builder
			for i := range maxParts + 1 {
				sb.WriteString("k" + strconv.Itoa(i) + "=&")
			}
			return sb.String()
		}(),
	} {
		if err := New().Decode(op, nil, []byte(body), nil); err == nil || apierr.From(err).Code != "MalformedInput" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoNumber(t *testing.T) {
	t.Parallel()
	op := operation(t, "cloudwatch", "PutMetricData")
	for v, want := range map[string]string{
		"NaN": "InvalidParameterValue: The value NaN for parameter MetricData.member.1.Value is invalid.", "-Inf": "InvalidParameterValue: The value -Inf for parameter MetricData.member.1.Value is invalid.",
		"1e999": "InvalidParameterValue: The value 1e999 for parameter MetricData.member.1.Value is invalid.", "x": "MalformedInput: Value 'x' at 'MetricData.1.member.Value' is not a valid double.",
	} {
		err := New().Decode(op, nil, []byte("Namespace=n&MetricData.member.1.MetricName=m&MetricData.member.1.Value="+v), nil)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", v, err)
		}
	}
}
