package action

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	s3 "clary/internal/api/s3"
	sm "clary/internal/api/sagemaker"
	"clary/internal/aws/facts"
	"clary/internal/aws/op"
)

func operation(t *testing.T, name string) *facts.Operation {
	t.Helper()
	service, o, _ := strings.Cut(name, ":")
	m, err := facts.Load(service)
	if err != nil {
		t.Fatal(err)
	}
	if m.Operations[o] == nil {
		t.Fatalf("no %s", name)
	}
	return m.Operations[o]
}

func TestResources(t *testing.T) {
	t.Parallel()
	c := op.Call{Region: "eu-west-1", Account: "123456789012"}
	type m = map[string]any
	for _, tt := range []struct {
		op   string
		in   any
		want []string
	}{
		{"sagemaker:DescribeTrainingJob", &sm.DescribeTrainingJobRequest{TrainingJobName: "My-Job"}, []string{"arn:aws:sagemaker:eu-west-1:123456789012:training-job/my-job"}},
		{"sagemaker:DescribeModel", &m{"ModelName": "M"}, []string{"arn:aws:sagemaker:eu-west-1:123456789012:model/m"}},
		{"sagemaker:DeleteModel", &m{}, []string{"arn:aws:sagemaker:eu-west-1:123456789012:model/*"}},
		{"sagemaker:ListModels", &m{"NameContains": "x"}, []string{"*"}},
		{"sagemaker:DescribePipelineExecution", &m{"PipelineExecutionArn": "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/p/execution/e"}, []string{"arn:aws:sagemaker:eu-west-1:123456789012:pipeline/p/execution/e"}},
		{"sagemaker:DescribeModelPackage", &m{"ModelPackageName": "arn:aws:sagemaker:eu-west-1:123456789012:model-package/g/1"}, []string{"arn:aws:sagemaker:eu-west-1:123456789012:model-package/g/1"}},
		{"sagemaker:DescribeModelPackage", &m{"ModelPackageName": "arn:aws:sagemaker:eu-west-1:123456789012:model/g"}, []string{"arn:aws:sagemaker:eu-west-1:123456789012:model-package/arn:aws:sagemaker:eu-west-1:123456789012:model/g"}},
		{"cloudwatch:DeleteAlarms", &m{"AlarmNames": []any{"arn:aws:s3:::b"}}, []string{"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:arn:aws:s3:::b"}},
		{"sagemaker:DescribeApp", &m{"DomainId": "d-1", "UserProfileName": "u", "AppType": "JupyterLab", "AppName": "default"}, []string{"arn:aws:sagemaker:eu-west-1:123456789012:app/d-1/u/jupyterlab/default"}},
		{"sagemaker:BatchDescribeModelPackage", &m{"ModelPackageArnList": []any{"arn:aws:sagemaker:eu-west-1:123456789012:model-package/a/1", "arn:aws:sagemaker:eu-west-1:123456789012:model-package/b/1"}}, []string{"arn:aws:sagemaker:eu-west-1:123456789012:model-package/a/1", "arn:aws:sagemaker:eu-west-1:123456789012:model-package/b/1"}},
		{"cloudwatch:DeleteAlarms", &m{"AlarmNames": []any{"A", "b"}}, []string{"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:A", "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:b"}},
		{"cloudwatch:PutMetricData", &m{"Namespace": "n"}, []string{"*"}},
		{"logs:PutRetentionPolicy", &m{"logGroupName": "/aws/X"}, []string{"arn:aws:logs:eu-west-1:123456789012:log-group:/aws/X:*"}},
		{"logs:StartLiveTail", &m{"logGroupIdentifiers": []any{"arn:aws:logs:eu-west-1:123456789012:log-group:/aws/X"}}, []string{"arn:aws:logs:eu-west-1:123456789012:log-group:/aws/X:*"}},
		{"logs:StartQuery", &m{"logGroupIdentifiers": []any{"arn:aws:logs:eu-west-1:123456789012:log-group:a:*", "arn:aws:logs:eu-west-1:123456789012:log-group:b", "c"}}, []string{"arn:aws:logs:eu-west-1:123456789012:log-group:a:*", "arn:aws:logs:eu-west-1:123456789012:log-group:b:*", "arn:aws:logs:eu-west-1:123456789012:log-group:c:*"}},
		{"logs:StartQuery", &m{"logGroupNames": []any{"a", "b"}}, []string{"arn:aws:logs:eu-west-1:123456789012:log-group:a:*", "arn:aws:logs:eu-west-1:123456789012:log-group:b:*"}},
		{"logs:StartQuery", &m{}, []string{"arn:aws:logs:eu-west-1:123456789012:log-group:*:*"}},
		{"cloudtrail:GetInsightSelectors", &m{"EventDataStore": "arn:aws:cloudtrail:eu-west-1:123456789012:eventdatastore/e"}, []string{"arn:aws:cloudtrail:eu-west-1:123456789012:eventdatastore/e"}},
		{"cloudtrail:GetInsightSelectors", &m{"TrailName": "T"}, []string{"arn:aws:cloudtrail:eu-west-1:123456789012:trail/T"}},
		{"ce:GetCostAndUsage", &m{"BillingViewArn": "arn:aws:billing::123456789012:billingview/primary"}, []string{"arn:aws:billing::123456789012:billingview/primary"}},
		{"ce:GetCostAndUsage", &m{}, []string{"*"}},
		{"sagemaker-metrics:BatchGetMetrics", &m{"MetricQueries": []any{m{"ResourceArn": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/a"}, m{"ResourceArn": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/b"}}}, []string{"arn:aws:sagemaker:eu-west-1:123456789012:training-job/a", "arn:aws:sagemaker:eu-west-1:123456789012:training-job/b"}},
		{"sagemaker:CreateImageVersion", &m{"ImageName": "I"}, []string{"arn:aws:sagemaker:eu-west-1:123456789012:image/i"}},
		{"iam:AddUserToGroup", &m{"GroupName": "g", "UserName": "u"}, []string{"arn:aws:iam::123456789012:group/g"}},
		{"iam:GetUser", &m{}, []string{"arn:aws:iam::123456789012:user/*"}},
		{"iam:ListPolicies", &m{}, []string{"*"}},
		{"secretsmanager:RotateSecret", &m{"SecretId": "git/me"}, []string{"arn:aws:secretsmanager:eu-west-1:123456789012:secret:git/me-??????"}},
		{"secretsmanager:RotateSecret", &m{"SecretId": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:git/me-AbCdEf"}, []string{"arn:aws:secretsmanager:eu-west-1:123456789012:secret:git/me-AbCdEf"}},
		{"secretsmanager:GetRandomPassword", &m{}, []string{"*"}},
		{"sts:GetFederationToken", &m{"Name": "bob"}, []string{"arn:aws:sts::123456789012:federated-user/bob"}},
		{"s3:GetObjectAcl", map[string]string{"Bucket": "b", "Key": "k/x"}, []string{"arn:aws:s3:::b/k/x"}},
		{"s3:GetBucketPolicy", &s3.GetBucketPolicyRequest{Bucket: "b"}, []string{"arn:aws:s3:::b"}},
	} {
		if got := Resources(c, operation(t, tt.op), tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.op, got, tt.want)
		}
	}
}

// Every name in the tables is an operation's or a member's.
func TestTablesNameWhatExists(t *testing.T) {
	t.Parallel()
	m, err := facts.Load("sagemaker")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for name, o := range m.Operations {
		form := sageMakerForm(name)
		if _, ok := sageMakerOperations[name]; !ok && !strings.HasPrefix(name, "List") {
			used[noun(name)] = true
		}
		for _, part := range strings.Split(form, "{")[1:] {
			member, _, _ := strings.Cut(part, "}")
			member, _, _ = strings.Cut(strings.TrimPrefix(member, "lower "), ".")
			if member != "Region" && member != "Account" && o.Input.Member(member) == nil && !generated(name, member) {
				t.Errorf("%s has no member %s", name, member)
			}
		}
	}
	for n := range sageMakerOperations {
		if m.Operations[n] == nil {
			t.Errorf("no operation %s", n)
		}
	}
	for n := range sageMakerNouns {
		if !used[n] {
			t.Errorf("no operation is about %s", n)
		}
	}
	s, err := facts.Load("s3")
	if err != nil {
		t.Fatal(err)
	}
	for n := range s3Actions {
		if s.Operations[n] == nil {
			t.Errorf("no operation %s", n)
		}
	}
}

// generated are parts of an ARN that the service makes at the creation.
func generated(name, member string) bool {
	return strings.HasPrefix(name, "Create") && slices.Contains([]string{"DomainId", "Version"}, member) ||
		slices.Contains([]string{"CreateHubContentReference", "DeleteHubContentReference", "UpdateHubContentReference"}, name) && member == "HubContentType"
}

func TestKeys(t *testing.T) {
	t.Parallel()
	create := operation(t, "sagemaker:CreateTrainingJob")
	one := int64(1)
	in := &sm.CreateTrainingJobRequest{
		ResourceConfig: &sm.ResourceConfig{InstanceType: "ml.m5.large", InstanceCount: &one, VolumeKmsKeyId: "k"},
		VpcConfig:      &sm.VpcConfig{Subnets: []string{"s-1", "s-2"}},
		Tags:           []sm.Tag{{Key: "Team", Value: "red"}, {Key: "empty"}},
	}
	generic := &map[string]any{"Tags": []any{map[string]any{"Key": "Team", "Value": "red"}}, "ProductionVariants": []any{map[string]any{"InstanceType": "a"}, map[string]any{"InstanceType": "b"}}}
	for _, tt := range []struct {
		o    *facts.Operation
		in   any
		key  string
		want string
	}{
		{create, in, "sagemaker:instancetypes", "[ml.m5.large]"},
		{create, in, "sagemaker:volumekmskey", "[k]"},
		{create, in, "sagemaker:vpcsubnets", "[s-1 s-2]"},
		{create, in, "aws:requesttag/team", "[red]"},
		{create, in, "aws:requesttag/empty", "[]"},
		{create, in, "aws:requesttag/none", "[]"},
		{create, in, "aws:tagkeys", "[Team empty]"},
		{create, in, "sagemaker:nothing", "[]"},
		{operation(t, "sagemaker:CreateEndpointConfig"), generic, "sagemaker:instancetypes", "[a b]"},
		{operation(t, "sagemaker:CreateEndpointConfig"), generic, "aws:tagkeys", "[Team]"},
		{operation(t, "sagemaker:DeleteTags"), &sm.DeleteTagsInput{TagKeys: []string{"a"}}, "aws:tagkeys", "[a]"},
		{operation(t, "logs:TagResource"), &map[string]any{"tags": map[string]any{"k": "v"}}, "aws:requesttag/k", "[v]"},
		{operation(t, "sts:AssumeRole"), &map[string]any{"ExternalId": "e"}, "sts:externalid", "[e]"},
		{operation(t, "secretsmanager:GetSecretValue"), &map[string]any{"SecretId": "s", "VersionStage": "AWSPREVIOUS"}, "secretsmanager:versionstage", "[AWSPREVIOUS]"},
		{operation(t, "secretsmanager:CreateSecret"), &map[string]any{"Name": "n", "Tags": []any{map[string]any{"Key": "Team", "Value": "red"}}}, "aws:requesttag/team", "[red]"},
	} {
		if got := fmt.Sprint(Key(tt.o, tt.in, tt.key)); got != tt.want {
			t.Errorf("%s, %s: %s, want %s", tt.o.Name, tt.key, got, tt.want)
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	const role = "arn:aws:iam::123456789012:role/R"
	in := &map[string]any{
		"RoleArn": role, "Name": role, "DefaultUserSettings": map[string]any{"ExecutionRole": role + "2"},
		"List": []any{map[string]any{"ExecutionRoleArn": role + "3"}}, "OtherRoleArn": "not an ARN",
	}
	if got := Roles(in); fmt.Sprint(got) != "["+role+" "+role+"2 "+role+"3]" {
		t.Error(got)
	}
}
