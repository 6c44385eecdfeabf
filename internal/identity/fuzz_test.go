package identity

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

// FuzzEvaluate: whatever a policy says, it is read or refused; a denial beside
// it always wins; and asking twice gives one answer.
func FuzzEvaluate(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:UserId}/*","Condition":{"StringLike":{"aws:UserAgent":["a*","?"]}}}]}`, "s3:GetObject", "arn:aws:s3:::b/u/k", "boto")
	f.Add(`{"Statement":{"Effect":"Deny","NotAction":["iam:*"],"NotResource":"*","Condition":{"ForAllValues:ArnNotLikeIfExists":{"aws:PrincipalArn":"arn:*"},"Null":{"aws:SourceIp":true}}}}`, "iam:PassRole", "arn:aws:iam::1:role/R", "x")
	f.Add(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NumericLessThan":{"aws:EpochTime":"NaN"},"DateGreaterThan":{"aws:CurrentTime":"2026-01-01"},"IpAddress":{"aws:SourceIp":"10.0.0.0/99"},"BinaryEquals":{"a:b":"%%"},"Bool":{"aws:SecureTransport":"TRUE"}}}}`, "a:b", "c", "")
	f.Add(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:b","Resource":"${${aws:x}}${aws:y, '${*}'}${"}}`, "a:b", "", "")
	i := &Identity{}
	f.Fuzz(func(t *testing.T, doc, action, res, agent string) {
		req := &Request{SourceIP: netip.MustParseAddr("10.1.2.3"), UserAgent: agent, Time: time.Unix(1700000000, 0), Region: "us-east-1"}
		for _, trust := range []bool{true, false} {
			p, err := ParsePolicy(doc, trust)
			if err != nil {
				continue
			}
			a := ask{action: action, resource: res, typ: "AWS", who: agent, keys: &facts{ctx: t.Context(), id: i, req: req, who: principal("arn:aws:iam::" + account + ":role/R")}}
			first := evaluate([]*Policy{p}, a)
			if second := evaluate([]*Policy{p, p}, a); second != first {
				t.Fatalf("%s, then %s", first, second)
			}
			deny := &Policy{Statement: []Statement{{Effect: "Deny", Action: list{"*"}, Resource: list{"*"}}}}
			if got := evaluate([]*Policy{p, deny}, a); got != ExplicitDeny {
				t.Fatalf("beside a denial: %s", got)
			}
		}
	})
}

// FuzzLike holds the matcher against a regular expression.
func FuzzLike(f *testing.F) {
	f.Add("a*b?c", "aXXbYc")
	f.Add("**", "")
	f.Add("?*?", "ab")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 60 || len(text) > 200 || strings.ContainsRune(pattern, literal) || strings.ContainsFunc(pattern+text, func(r rune) bool { return r > 126 || r < 32 }) {
			return
		}
		re := regexp.QuoteMeta(pattern)
		re = strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(re)
		if want, got := regexp.MustCompile(`^(?s:`+re+`)$`).MatchString(text), like(pattern, text); got != want {
			t.Fatalf("like(%q, %q) = %v", pattern, text, got)
		}
	})
}
