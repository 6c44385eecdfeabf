package arn

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for in, ok := range map[string]bool{
		"arn:aws:s3:::bucket/key": true, "arn:aws:iam::123456789012:role/a:b": true, "arn:aws-cn:sagemaker:cn-north-1:1:model/x": true,
		"": false, "arn": false, "arn:aws:s3:::": false, "arn::s3:::b": false, "arn:aws::::b": false, "ARN:aws:s3:::b": false, " arn:aws:s3:::b": false,
	} {
		if _, got := Parse(in); got != ok {
			t.Errorf("%q: %v", in, got)
		}
	}
	if got := SageMaker("us-east-1", "1", "training-job", "My-Job"); got != "arn:aws:sagemaker:us-east-1:1:training-job/my-job" {
		t.Error(got)
	}
}

// FuzzParse: what is taken apart is put together again as it was.
func FuzzParse(f *testing.F) {
	f.Add("arn:aws:sagemaker:us-east-1:123456789012:training-job/x")
	f.Add("arn:aws:logs:us-east-1:1:log-group:/a:*")
	f.Add("arn:aws:s3:::")
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := Parse(s)
		if ok != (strings.HasPrefix(s, "arn:") && ok) {
			t.Fatal("not an ARN was taken for one")
		}
		if ok && (a.String() != s || a.Resource == "" || strings.Contains(a.Service, ":")) {
			t.Fatalf("%q became %q", s, a)
		}
	})
}
