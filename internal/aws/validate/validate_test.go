package validate

import (
	"fmt"
	"strings"
	"testing"

	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
)

func input(t testing.TB, operation string) *facts.Shape {
	t.Helper()
	m, err := facts.Load("sagemaker")
	if err != nil {
		t.Fatal(err)
	}
	return m.Operations[operation].Input
}

func check(t testing.TB, s *facts.Shape, body string) *apierr.Error {
	t.Helper()
	n, err := ParseJSON([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := Input(s, &n); err != nil {
		return apierr.From(err)
	}
	return nil
}

func with(extra string) string {
	return `{"TrainingJobName":"a","AlgorithmSpecification":{"TrainingImage":"i","TrainingInputMode":"File"},
"RoleArn":"arn:aws:iam::123456789012:role/Some","OutputDataConfig":{"S3OutputPath":"s3://b/p"},
"ResourceConfig":{"InstanceType":"ml.m5.large","InstanceCount":1,"VolumeSizeInGB":30},"StoppingCondition":{"MaxRuntimeInSeconds":60}` + extra + `}`
}

// TestWording: messages as AWS writes them.
func TestWording(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("v", 2501)
	for _, c := range []struct{ name, body, want string }{
		{"fine", with(""), ""},
		{"null is absent", with(`,"Environment":null`), ""},
		{"unknown members", with(`,"Nothing":{"a":[]}`), ""},
		{
			"name", strings.Replace(with(""), `"a"`, `"a_b"`, 1),
			"1 validation error detected: Value 'a_b' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
		},
		{
			"two", strings.Replace(strings.Replace(with(""), `"a"`, `""`, 1), `"TrainingInputMode":"File"`, `"x":1`, 1),
			"3 validation errors detected: Value '' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}; " +
				"Value '' at 'trainingJobName' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
				"Value null at 'algorithmSpecification.trainingInputMode' failed to satisfy constraint: Member must not be null",
		},
		{
			"enum", strings.Replace(with(""), `"File"`, `"Mail"`, 1),
			"1 validation error detected: Value 'Mail' at 'algorithmSpecification.trainingInputMode' failed to satisfy constraint: Member must satisfy enum value set: [Pipe, FastFile, File]",
		},
		{
			"zero is not absent", strings.Replace(with(""), `"MaxRuntimeInSeconds":60`, `"MaxRuntimeInSeconds":0`, 1),
			"1 validation error detected: Value '0' at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy constraint: Member must have value greater than or equal to 1",
		},
		{
			"list path", with(`,"InputDataConfig":[{"ChannelName":"a","DataSource":{}},{"DataSource":{}}]`),
			"1 validation error detected: Value null at 'inputDataConfig.2.member.channelName' failed to satisfy constraint: Member must not be null",
		},
		{
			"map value", with(`,"HyperParameters":{"a":"b","k":"` + long + `"}`),
			"1 validation error detected: Value '{a=b, k=" + long + "}' at 'hyperParameters' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 2500, Member must have length greater than or equal to 0, Member must satisfy regular expression pattern: .*]",
		},
		{
			"map key", with(`,"Environment":{"1a":"b"}`),
			"1 validation error detected: Value '{1a=b}' at 'environment' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 512, Member must have length greater than or equal to 0, Member must satisfy regular expression pattern: [a-zA-Z_][a-zA-Z0-9_]*]",
		},
		{
			"list of texts", with(`,"VpcConfig":{"SecurityGroupIds":["ok","no no"],"Subnets":["s"]}`),
			"1 validation error detected: Value '[ok, no no]' at 'vpcConfig.securityGroupIds' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 32, Member must have length greater than or equal to 0, Member must satisfy regular expression pattern: [-0-9a-zA-Z]+]",
		},
		{
			"empty list", with(`,"VpcConfig":{"SecurityGroupIds":[],"Subnets":["s"]}`),
			"1 validation error detected: Value '[]' at 'vpcConfig.securityGroupIds' failed to satisfy constraint: Member must have length greater than or equal to 1",
		},
		{
			"null in a list", with(`,"VpcConfig":{"SecurityGroupIds":[null],"Subnets":["s"]}`),
			"1 validation error detected: Value null at 'vpcConfig.securityGroupIds.1.member' failed to satisfy constraint: Member must not be null",
		},
		{
			"null in a map", with(`,"HyperParameters":{"a":null}`),
			"1 validation error detected: Value null at 'hyperParameters.a.member' failed to satisfy constraint: Member must not be null",
		},
		{
			"tags", with(`,"Tags":[{"Key":"a","Value":"b"},{"Key":"","Value":"b"}]`),
			"1 validation error detected: Value '' at 'tags.2.member.key' failed to satisfy constraint: Member must have length greater than or equal to 1",
		},
	} {
		e := check(t, input(t, "CreateTrainingJob"), c.body)
		switch {
		case c.want == "" && e != nil:
			t.Errorf("%s: %v", c.name, e)
		case c.want != "" && (e == nil || e.Code != "ValidationException" || e.Message != c.want):
			t.Errorf("%s:\ngot  %v\nwant %s", c.name, e, c.want)
		}
	}
}

func TestUnion(t *testing.T) {
	t.Parallel()
	s := input(t, "CreateAutoMLJobV2").Member("AutoMLProblemTypeConfig").Shape
	for body, bad := range map[string]bool{
		`{}`: true, `{"Nothing":1}`: true, `{"ImageClassificationJobConfig":null}`: true,
		`{"ImageClassificationJobConfig":{}}`:                                  false,
		`{"ImageClassificationJobConfig":{},"TabularJobConfig":null}`:          false,
		`{"ImageClassificationJobConfig":{},"TextClassificationJobConfig":{}}`: true,
	} {
		e := check(t, s, body)
		if bad != (e != nil && strings.Contains(e.Message, "exactly one")) {
			t.Errorf("%s: %v", body, e)
		}
	}
}

func TestSensitive(t *testing.T) {
	t.Parallel()
	s := input(t, "CreateWorkforce")
	e := check(t, s, `{"WorkforceName":"w","OidcConfig":{"ClientId":"c","ClientSecret":"not to be shown\u0000","Issuer":"x","AuthorizationEndpoint":"x","TokenEndpoint":"x","UserInfoEndpoint":"x","LogoutEndpoint":"x","JwksUri":"x"}}`)
	if e == nil || strings.Contains(e.Message, "not to be shown") || !strings.Contains(e.Message, "Value at 'oidcConfig.clientSecret'") {
		t.Fatal(e)
	}
}

// TestTypes: a value of the wrong JSON type is a SerializationException
// wherever it stands.
func TestTypes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, want string }{
		{`{"InstanceCount":"1"}`, "STRING_VALUE can not be converted to an Integer"},
		{`{"InstanceCount":1.0}`, "DECIMAL_VALUE can not be converted to an Integer"},
		{`{"InstanceCount":1e2}`, "DECIMAL_VALUE can not be converted to an Integer"},
		{`{"InstanceCount":2147483648}`, "NUMBER_VALUE can not be converted to an Integer"},
		{`{"InstanceCount":true}`, "TRUE_VALUE can not be converted to an Integer"},
		{`{"InstanceType":false}`, "FALSE_VALUE can not be converted to a String"},
		{`{"InstanceGroups":{}}`, "Start of structure or map found where not expected."},
		{`{"InstanceGroups":"x"}`, "Expected list or null"},
		{`{"InstanceGroups":[[]]}`, "Start of list found where not expected"},
		{`{"InstanceGroups":[{"InstanceType":[]}]}`, "Start of list found where not expected"},
		{`{"InstancePlacementConfig":7}`, "NUMBER_VALUE where a structure or map was expected"},
	} {
		body := `{"ResourceConfig":` + c.body + `}`
		e := check(t, input(t, "CreateTrainingJob"), body)
		if e == nil || e.Code != "SerializationException" || !strings.Contains(e.Message, c.want) {
			t.Errorf("%s: %v", body, e)
		}
	}
	e := check(t, input(t, "ListTrainingJobs"), `{"CreationTimeAfter":"2026-01-01T00:00:00Z"}`)
	if e == nil || e.Message != "STRING_VALUE can not be converted to milliseconds since epoch" {
		t.Error(e)
	}
	for _, body := range []string{`{"CreationTimeAfter":1700000000}`, `{"CreationTimeAfter":1.7e9}`, `{"CreationTimeAfter":1700000000.25}`} {
		if e := check(t, input(t, "ListTrainingJobs"), body); e != nil {
			t.Errorf("%s: %v", body, e)
		}
	}
}

// TestBounded: a request full of mistakes gives an exact count and a text of
// bounded length.
func TestBounded(t *testing.T) {
	t.Parallel()
	tags := strings.TrimSuffix(strings.Repeat(`{"Key":"","Value":""},`, 20000), ",")
	e := check(t, input(t, "AddTags"), `{"ResourceArn":"arn:aws:sagemaker:us-east-1:123456789012:model/a","Tags":[`+tags+`]}`)
	if e == nil || !strings.HasPrefix(e.Message, "20001 validation errors detected: ") || len(e.Message) > 2*maxMessage {
		t.Fatalf("%.200v", e)
	}
}

// FuzzInput: any JSON is accepted or refused with a client's error, and what
// was accepted is written back as the same request.
func FuzzInput(f *testing.F) {
	f.Add([]byte(with("")))
	f.Add([]byte(`{"TrainingJobName":null,"Tags":[{}],"Environment":{"":""}}`))
	f.Add([]byte(`{"HyperParameters":{"a":"\ud83d\ude00"},"InputDataConfig":[null]}`))
	s := input(f, "CreateTrainingJob")
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := ParseJSON(body)
		if err != nil {
			return
		}
		first := Input(s, &n)
		if first != nil && apierr.From(first).Status != 400 {
			t.Fatal(first)
		}
		again, err := ParseJSON(n.AppendJSON(nil))
		if err != nil {
			t.Fatalf("%s: %v", n.AppendJSON(nil), err)
		}
		if second := Input(s, &again); fmt.Sprint(first) != fmt.Sprint(second) {
			t.Fatalf("%v\n%v", first, second)
		}
	})
}

// TestManyValues: a small body that would become very many values is refused.
func TestManyValues(t *testing.T) {
	t.Parallel()
	body := "[" + strings.Repeat("0,", maxValues) + "0]"
	if _, err := ParseJSON([]byte(body)); err == nil || !strings.Contains(err.Error(), "values") {
		t.Errorf("%v", err)
	}
	if _, err := ParseJSON([]byte(strings.Repeat("[", 1<<20))); err == nil {
		t.Error("a million open lists")
	}
	if _, err := ParseJSON([]byte("[" + strings.Repeat("0,", maxValues/2) + "0]")); err != nil {
		t.Error(err)
	}
}
