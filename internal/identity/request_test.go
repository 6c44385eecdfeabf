package identity

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"clary/internal/store"
)

type ownKeys map[string][]string

func (o ownKeys) ConditionKey(name string) []string { return o[name] }

// What a call says about itself decides, by each operator and each key.
func TestConditionsOfTheCall(t *testing.T) {
	t.Parallel()
	i, ctx := open(t, t.TempDir(), true), t.Context()
	const job = "arn:aws:sagemaker:eu-west-1:" + account + ":training-job/x"
	if err := i.store.Update(ctx, func(tx store.Tx) error { return tx.PutTags(job, map[string]string{"Team": "red"}) }); err != nil {
		t.Fatal(err)
	}
	call := &Request{
		SourceIP: netip.MustParseAddr("203.0.113.9"), Secure: true, UserAgent: "Boto3/1.44 sagemaker", Region: "eu-west-1",
		Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Resource: job,
		Own: ownKeys{"sagemaker:instancetypes": {"ml.m5.large", "ml.c5.large"}, "aws:tagkeys": {"team"}, "aws:requesttag/team": {"red"}, "sagemaker:maxruntimeinseconds": {"600"}},
	}
	n := 0
	for cond, want := range map[string]bool{
		`"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}`:                                               true,
		`"IpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.9"]}`:                                   true,
		`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`:                                                   false,
		`"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}`:                                                true,
		`"NotIpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.0/24"]}`:                             false,
		`"IpAddress":{"aws:SourceIp":"2001:db8::/32"}`:                                                false,
		`"Bool":{"aws:SecureTransport":"true"}`:                                                       true,
		`"Bool":{"aws:SecureTransport":"false"}`:                                                      false,
		`"Bool":{"aws:MultiFactorAuthPresent":"true"}`:                                                false,
		`"BoolIfExists":{"aws:MultiFactorAuthPresent":"true"}`:                                        true,
		`"StringLike":{"aws:UserAgent":"Boto3/*"}`:                                                    true,
		`"StringNotLike":{"aws:UserAgent":"Boto3/*"}`:                                                 false,
		`"StringEquals":{"aws:RequestedRegion":["us-east-1","eu-west-1"]}`:                            true,
		`"StringNotEquals":{"aws:RequestedRegion":"us-east-1"}`:                                       true,
		`"StringEqualsIgnoreCase":{"aws:requestedREGION":"EU-WEST-1"}`:                                true,
		`"StringNotEqualsIgnoreCase":{"aws:RequestedRegion":"EU-WEST-1"}`:                             false,
		`"DateGreaterThan":{"aws:CurrentTime":"2026-03-04T00:00:00Z"}`:                                true,
		`"DateLessThan":{"aws:CurrentTime":"2026-03-04"}`:                                             false,
		`"DateLessThanEquals":{"aws:EpochTime":"1772600767"}`:                                         true,
		`"DateEquals":{"aws:CurrentTime":"2026-03-04T05:06:07Z"}`:                                     true,
		`"DateNotEquals":{"aws:CurrentTime":"2026-03-04T05:06:07Z"}`:                                  false,
		`"DateGreaterThanEquals":{"aws:CurrentTime":"soon"}`:                                          false,
		`"NumericLessThanEquals":{"aws:EpochTime":"1772600767"}`:                                      true,
		`"NumericEquals":{"sagemaker:MaxRuntimeInSeconds":"600.0"}`:                                   true,
		`"NumericLessThan":{"sagemaker:MaxRuntimeInSeconds":600}`:                                     false,
		`"NumericGreaterThan":{"sagemaker:MaxRuntimeInSeconds":"NaN"}`:                                false,
		`"NumericEquals":{"sagemaker:MaxRuntimeInSeconds":"NaN"}`:                                     false,
		`"NumericNotEquals":{"sagemaker:MaxRuntimeInSeconds":"5"}`:                                    true,
		`"NumericGreaterThanEqualsIfExists":{"sagemaker:Absent":"5"}`:                                 true,
		`"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::` + account + `:role/p/R"}`:                    true,
		`"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/*"}`:                                      true,
		`"ArnLike":{"aws:PrincipalArn":"arn:*:role/*"}`:                                               false,
		`"ArnLike":{"aws:PrincipalArn":"*"}`:                                                          true,
		`"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/q/*"}`:                                 true,
		`"ArnNotEquals":{"aws:PrincipalArn":"arn:aws:iam::` + account + `:role/p/R"}`:                 false,
		`"StringEquals":{"aws:PrincipalType":"AssumedRole","aws:PrincipalAccount":"` + account + `"}`: true,
		`"StringEquals":{"aws:PrincipalTag/Cost":"42"}`:                                               true,
		`"StringEquals":{"aws:PrincipalTag/cost":"43"}`:                                               false,
		`"StringEquals":{"aws:ResourceTag/Team":"red"}`:                                               true,
		`"StringEquals":{"sagemaker:ResourceTag/Team":"blue"}`:                                        false,
		`"StringEquals":{"secretsmanager:ResourceTag/Team":"red"}`:                                    true,
		`"StringEquals":{"aws:ResourceTag/Team":"${aws:RequestTag/Team}"}`:                            true,
		`"StringEquals":{"aws:ResourceTag/Team":"${aws:PrincipalTag/Cost}"}`:                          false,
		`"StringEquals":{"aws:RequestTag/Team":"red"}`:                                                true,
		`"Null":{"aws:RequestTag/Team":"false"}`:                                                      true,
		`"Null":{"aws:RequestTag/Owner":"true"}`:                                                      true,
		`"Null":{"aws:RequestTag/Owner":"false"}`:                                                     false,
		`"Null":{"aws:TokenIssueTime":"true"}`:                                                        true,
		`"ForAllValues:StringEquals":{"aws:TagKeys":["team","cost"]}`:                                 true,
		`"ForAllValues:StringEquals":{"aws:TagKeys":["cost"]}`:                                        false,
		`"ForAllValues:StringEquals":{"aws:Absent":["cost"]}`:                                         true,
		`"ForAnyValue:StringEquals":{"aws:Absent":["cost"]}`:                                          false,
		`"ForAnyValue:StringLike":{"sagemaker:InstanceTypes":"ml.c5.*"}`:                              true,
		`"ForAllValues:StringLike":{"sagemaker:InstanceTypes":"ml.c5.*"}`:                             false,
		`"ForAllValues:StringLike":{"sagemaker:InstanceTypes":["ml.c5.*","ml.m5.*"]}`:                 true,
		`"ForAnyValue:StringNotLike":{"sagemaker:InstanceTypes":"ml.c5.*"}`:                           true,
		`"ForAllValues:StringNotLike":{"sagemaker:InstanceTypes":"ml.p4d.*"}`:                         true,
		`"ForAllValues:StringLikeIfExists":{"sagemaker:Absent":"x"}`:                                  true,
		`"BinaryEquals":{"aws:userid":"QVJPQTE6cw=="}`:                                                false,
		`"StringEquals":{"aws:RequestedRegion":"eu-west-1"},"Bool":{"aws:SecureTransport":"false"}`:   false,
		`"StringEquals":{"aws:RequestedRegion":"eu-west-1","aws:PrincipalAccount":"000000000000"}`:    false,
	} {
		n++
		for _, effect := range []string{"Allow", "Deny"} {
			name := fmt.Sprintf("c%d%s", n, effect)
			statement := fmt.Sprintf(`{"Effect":%q,"Action":"sagemaker:*","Resource":"*","Condition":{%s}}`, effect, cond)
			if effect == "Deny" {
				statement += `,{"Effect":"Allow","Action":"*","Resource":"*"}`
			}
			role, err := i.CreateRole(ctx, account, Role{
				Name: name, Path: "/", Trust: sageMakerTrust, Tags: map[string]string{"Cost": "42"},
				Policies: map[string]string{"p": `{"Version":"2012-10-17","Statement":[` + statement + `]}`},
			})
			if err != nil {
				t.Fatalf("%s: %v", cond, err)
			}
			if cond == `"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::`+account+`:role/p/R"}` || cond == `"ArnNotEquals":{"aws:PrincipalArn":"arn:aws:iam::`+account+`:role/p/R"}` {
				continue // of another role; below
			}
			err = i.Allow(WithRequest(ctx, call), principal(role.Arn), "sagemaker:DescribeTrainingJob", job)
			if got := (err == nil) == (effect == "Allow"); got != want {
				t.Errorf("%s %s: %v", effect, cond, err)
			}
		}
	}
	r, err := i.CreateRole(ctx, account, Role{Name: "R", Path: "/p/", Trust: sageMakerTrust, Policies: map[string]string{
		"p": `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::` + account + `:role/p/R"}}}}`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Allow(ctx, principal(r.Arn), "sagemaker:X", "*"); err != nil {
		t.Error(err)
	}
}

// Keys of the request are absent where there is no request, as in a reconciler.
func TestNoRequest(t *testing.T) {
	t.Parallel()
	i := open(t, t.TempDir(), true)
	f := i.facts(t.Context(), principal("arn:aws:iam::"+account+":role/R"), "*")
	for _, k := range []string{"aws:sourceip", "aws:securetransport", "aws:useragent", "aws:requestedregion", "sagemaker:instancetypes"} {
		if v := f.values(k); v != nil {
			t.Errorf("%s = %v", k, v)
		}
	}
	if v := f.values("aws:currenttime"); len(v) != 1 {
		t.Errorf("%v", v)
	}
	task := &facts{id: i, req: &Request{}}
	if v := task.values("aws:sourceip"); v != nil {
		t.Errorf("an address of nowhere: %v", v)
	}
}

// A service that takes a role does so for one resource of one account.
func TestTrustNamesItsSource(t *testing.T) {
	t.Parallel()
	i, ctx := open(t, t.TempDir(), true), t.Context()
	const job = "arn:aws:sagemaker:eu-west-1:" + account + ":training-job/x"
	ctx = WithRequest(ctx, &Request{Resource: job, Region: "eu-west-1"})
	caller, err := i.CreateRole(ctx, account, Role{Name: "caller", Path: "/", Trust: sageMakerTrust, Policies: map[string]string{
		"p": `{"Statement":{"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":"sagemaker.amazonaws.com"},"ArnLike":{"iam:AssociatedResourceArn":"arn:aws:sagemaker:*:*:training-job/*"}}}}`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	for cond, want := range map[string]string{
		`"StringEquals":{"aws:SourceAccount":"` + account + `"}`:                      "",
		`"StringEquals":{"aws:SourceAccount":"000000000000"}`:                         "ValidationException",
		`"ArnLike":{"aws:SourceArn":"arn:aws:sagemaker:eu-west-1:` + account + `:*"}`: "",
		`"ArnLike":{"aws:SourceArn":"arn:aws:sagemaker:*:*:training-job/*"}`:          "",
		`"ArnLike":{"aws:SourceArn":"arn:aws:sagemaker:*:*:endpoint/*"}`:              "ValidationException",
		`"Bool":{"aws:PrincipalIsAWSService":"true"}`:                                 "",
		`"StringEquals":{"sts:ExternalId":"x"}`:                                       "ValidationException",
	} {
		role, err := i.CreateRole(ctx, account, Role{
			Name: fmt.Sprintf("r%x", len(cond)) + fmt.Sprint(time.Now().UnixNano()), Path: "/",
			Trust: `{"Statement":{"Effect":"Allow","Principal":{"Service":"sagemaker.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{` + cond + `}}}`,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := code(i.PassRole(ctx, principal(caller.Arn), role.Arn, "sagemaker.amazonaws.com")); got != want {
			t.Errorf("%s: %q, want %q", cond, got, want)
		}
	}
}

// A role is its whole ARN: naming it without its path, or by another, is naming
// another role, which policies about this one do not allow.
func TestRoleOfAnotherPath(t *testing.T) {
	t.Parallel()
	i, ctx := open(t, t.TempDir(), false), t.Context()
	boss, err := i.CreateRole(ctx, account, Role{Name: "boss", Path: "/admin/", Trust: `{"Statement":{"Effect":"Allow","Principal":{"AWS":"*","Service":"sagemaker.amazonaws.com"},"Action":"sts:AssumeRole"}}`})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := i.CreateRole(ctx, account, Role{Name: "caller", Path: "/", Trust: sageMakerTrust, Policies: map[string]string{
		"p": `{"Statement":[{"Effect":"Allow","Action":["iam:PassRole","sts:AssumeRole"],"Resource":"arn:aws:iam::*:role/*"},{"Effect":"Deny","Action":["iam:PassRole","sts:AssumeRole"],"Resource":"arn:aws:iam::*:role/admin/*"}]}`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, named := range []string{boss.Arn, "arn:aws:iam::" + account + ":role/boss", "arn:aws:iam::" + account + ":role/team/boss", "arn:aws:iam::" + account + ":user/boss"} {
		if err := i.PassRole(ctx, principal(caller.Arn), named, "sagemaker.amazonaws.com"); err == nil {
			t.Errorf("passed as %s", named)
		}
		if _, err := i.MayAssume(ctx, principal(caller.Arn), named); err == nil {
			t.Errorf("taken as %s", named)
		}
	}
	if r, err := i.RoleNamed(ctx, account, "boss"); err != nil || r.Arn != boss.Arn {
		t.Errorf("by its name: %v, %v", r, err)
	}
}
