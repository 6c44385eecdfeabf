package identity

import (
	"fmt"
	"strings"
	"testing"
)

func TestLike(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		p, s string
		want bool
	}{
		{"", "", true},
		{"*", "", true},
		{"?", "", false},
		{"a*c", "abc", true},
		{"a*c", "abcd", false},
		{"a?c", "abc", true},
		{"*SageMaker*", "arn:aws:s3:::my-SageMaker-b", true},
		{"a**b", "ab", true},
		{"s3:Get*", "s3:GetObject", true},
		{"a*b*c", "a-b-b-c", true},
		{strings.Repeat("a*", 40) + "b", strings.Repeat("a", 4000), false}, // must not take exponential time
	} {
		if got := like(tc.p, tc.s); got != tc.want {
			t.Errorf("like(%.20q, %.20q) = %v", tc.p, tc.s, got)
		}
	}
}

func TestEvaluate(t *testing.T) {
	t.Parallel()
	const allow = `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`
	for name, tc := range map[string]struct {
		statements, action, resource string
		keys                         map[string][]string
		want                         Decision
	}{
		"nothing":              {`{"Effect":"Allow","Action":"sqs:*","Resource":"*"}`, "s3:GetObject", "arn:aws:s3:::b/k", nil, ImplicitDeny},
		"allow, case-blind":    {`{"Effect":"Allow","Action":["S3:getobject"],"Resource":"arn:aws:s3:::b/*"}`, "s3:GetObject", "arn:aws:s3:::b/k", nil, Allowed},
		"other resource":       {`{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::c/*"}`, "s3:GetObject", "arn:aws:s3:::b/k", nil, ImplicitDeny},
		"deny wins":            {allow + `,{"Effect":"Deny","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/secret*"}`, "s3:GetObject", "arn:aws:s3:::b/secret.csv", nil, ExplicitDeny},
		"NotAction":            {`{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}`, "iam:CreateRole", "*", nil, ImplicitDeny},
		"NotResource":          {allow + `,{"Effect":"Deny","Action":"s3:*","NotResource":"arn:aws:s3:::ours/*"}`, "s3:PutObject", "arn:aws:s3:::theirs/k", nil, ExplicitDeny},
		"condition holds":      {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":["sagemaker.amazonaws.com","x"]}}}`, "iam:PassRole", "r", map[string][]string{"iam:passedtoservice": {"sagemaker.amazonaws.com"}}, Allowed},
		"condition fails":      {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":"lambda.amazonaws.com"}}}`, "iam:PassRole", "r", map[string][]string{"iam:passedtoservice": {"sagemaker.amazonaws.com"}}, ImplicitDeny},
		"key absent":           {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":"c"}}}`, "x:y", "r", nil, ImplicitDeny},
		"key absent, IfExists": {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEqualsIfExists":{"a:b":"c"}}}`, "x:y", "r", nil, Allowed},
		"key absent, negated":  {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringNotLike":{"a:b":"c*"}}}`, "x:y", "r", nil, Allowed},
		"negated needs all":    {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"a:b":["c","d"]}}}`, "x:y", "r", map[string][]string{"a:b": {"d"}}, ImplicitDeny},
		"Null true":            {`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Null":{"a:b":"true"}}}`, "x:y", "r", nil, ExplicitDeny},
		"Null false":           {`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Null":{"a:b":"false"}}}`, "x:y", "r", nil, ImplicitDeny},
		"number":               {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NumericLessThan":{"a:n":5}}}`, "x:y", "r", map[string][]string{"a:n": {"4"}}, Allowed},
		"address":              {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}`, "x:y", "r", map[string][]string{"aws:sourceip": {"10.2.3.4"}}, Allowed},
		"for any value":        {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"aws:TagKeys":["a"]}}}`, "x:y", "r", map[string][]string{"aws:tagkeys": {"b", "a"}}, Allowed},
		"for all values":       {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}}`, "x:y", "r", map[string][]string{"aws:tagkeys": {"b", "a"}}, ImplicitDeny},
		"variable":             {`{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:UserId}/*"}`, "s3:GetObject", "arn:aws:s3:::b/u*/k", map[string][]string{"aws:userid": {"u*"}}, Allowed},
		"no wildcard from it":  {`{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:UserId}/*"}`, "s3:GetObject", "arn:aws:s3:::b/uv/k", map[string][]string{"aws:userid": {"u*"}}, ImplicitDeny},
		"variable denies":      {allow + `,{"Effect":"Deny","Action":"s3:*","NotResource":"arn:aws:s3:::b/${aws:UserId}"}`, "s3:GetObject", "arn:aws:s3:::b/v", map[string][]string{"aws:userid": {"u"}}, ExplicitDeny},
		"variable absent":      {`{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::b/${aws:x}*"]}`, "s3:GetObject", "arn:aws:s3:::b/k", nil, ImplicitDeny},
		"variable's default":   {`{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::b/${aws:x, 'k'}"]}`, "s3:GetObject", "arn:aws:s3:::b/k", nil, Allowed},
		"literal star":         {`{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::b/${*}"]}`, "s3:GetObject", "arn:aws:s3:::b/k", nil, ImplicitDeny},
		"variable in a value":  {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":"x-${aws:UserId}"}}}`, "x:y", "r", map[string][]string{"a:b": {"x-u"}, "aws:userid": {"u"}}, Allowed},
		"for any, absent":      {`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a"]}}}`, "x:y", "r", nil, ImplicitDeny},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := ParsePolicy(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[%s]}`, tc.statements), false)
			if err != nil {
				t.Fatal(err)
			}
			if got := evaluate([]*Policy{p}, ask{action: tc.action, resource: tc.resource, keys: keyMap(tc.keys)}); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		doc   string
		trust bool
	}{
		"not JSON":              {"hello", false},
		"no statement":          {`{"Version":"2012-10-17"}`, false},
		"version":               {`{"Version":"2020-01-01","Statement":[]}`, false},
		"effect":                {`{"Statement":{"Effect":"allow","Action":"*","Resource":"*"}}`, false},
		"no action":             {`{"Statement":{"Effect":"Allow","Resource":"*"}}`, false},
		"no resource":           {`{"Statement":{"Effect":"Allow","Action":"*"}}`, false},
		"principal in identity": {`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}}`, false},
		"trust names nobody":    {`{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}`, true},
		"operator":              {`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringSame":{"a":"b"}}}}`, false},
		"null character":        {`{"Statement":{"Effect":"Allow","Action":"*","Resource":"\u0000*"}}`, false},
		"misspelt member":       {`{"Statement":{"Effect":"Allow","Action":"*","Resources":"*"}}`, false},
		"object as action":      {`{"Statement":{"Effect":"Allow","Action":{},"Resource":"*"}}`, false},
	} {
		if _, err := ParsePolicy(tc.doc, tc.trust); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["a"]},"Action":"sts:AssumeRole"}]}`)
	f.Fuzz(func(_ *testing.T, doc string) {
		for _, trust := range []bool{true, false} {
			if p, err := ParsePolicy(doc, trust); err == nil {
				evaluate([]*Policy{p}, ask{action: "a:b", resource: "c", typ: "AWS", who: "d", keys: keyMap{"a:b": {"c"}}})
			}
		}
	})
}

// What AWS's own policies say of secrets: SageMaker's reads those that are named
// or tagged for it.
func TestManagedSecrets(t *testing.T) {
	t.Parallel()
	const get, secret = "secretsmanager:GetSecretValue", "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
	tagged := map[string][]string{"secretsmanager:resourcetag/sagemaker": {"true"}}
	for _, tt := range []struct {
		policy, action, resource string
		keys                     map[string][]string
		want                     Decision
	}{
		{"AmazonSageMakerFullAccess", get, secret + "AmazonSageMaker-git-AbCdEf", nil, Allowed},
		{"AmazonSageMakerFullAccess", get, secret + "other-AbCdEf", nil, ImplicitDeny},
		{"AmazonSageMakerFullAccess", get, secret + "other-AbCdEf", tagged, Allowed},
		{"AmazonSageMakerFullAccess", "secretsmanager:PutSecretValue", secret + "AmazonSageMaker-git-AbCdEf", tagged, ImplicitDeny},
		{"AmazonSageMakerFullAccess", "secretsmanager:ListSecrets", "*", nil, Allowed},
		{"SecretsManagerReadWrite", "secretsmanager:PutSecretValue", secret + "other-AbCdEf", nil, Allowed},
		{"AmazonS3FullAccess", get, secret + "other-AbCdEf", nil, ImplicitDeny},
	} {
		r := &Role{Managed: []string{"arn:aws:iam::aws:policy/" + tt.policy}}
		if got, err := (&Identity{}).Evaluate(r, tt.action, tt.resource, tt.keys); err != nil || got != tt.want {
			t.Errorf("%s, %s on %s: %s, %v, want %s", tt.policy, tt.action, tt.resource, got, err, tt.want)
		}
	}
}
