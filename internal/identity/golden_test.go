package identity

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// checked is a line of the golden list of operations, with a resource that fits.
type checked struct{ op, action, resource string }

func golden(t *testing.T) []checked {
	t.Helper()
	f, err := os.Open("../../test/golden/actions.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	fill := regexp.MustCompile(`\$\{[A-Za-z]+\}`)
	var out []checked
	for s := bufio.NewScanner(f); s.Scan(); {
		p := strings.Fields(s.Text())
		if len(p) != 3 {
			t.Fatalf("%q", s.Text())
		}
		c := checked{p[0], p[1], p[2]}
		c.resource = strings.NewReplacer("${Region}", "us-east-1", "${Account}", account).Replace(c.resource)
		if strings.HasPrefix(c.resource, "${") {
			c.resource = "arn:aws:sagemaker:us-east-1:" + account + ":thing/x"
		}
		c.resource = fill.ReplaceAllString(c.resource, "some-name")
		if c.action == "-" {
			c.action = c.op // what the handler asks by itself
		}
		out = append(out, c)
	}
	if len(out) < 900 {
		t.Fatalf("%d operations", len(out))
	}
	return out
}

// Each form that a statement may have, on every operation of every service.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	keys := map[string][]string{"aws:requestedregion": {"us-east-1"}, "aws:sourceip": {"10.1.2.3"}}
	const all = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	for _, c := range golden(t) {
		service, name, _ := strings.Cut(c.action, ":")
		other := "arn:aws:none:::other"
		for i, tt := range []struct {
			statements string
			want       Decision
		}{
			{``, ImplicitDeny},
			{all, Allowed},
			{say("Allow", "Action", c.action, "Resource", c.resource, ""), Allowed},
			{say("Allow", "Action", strings.ToUpper(service)+":"+strings.ToLower(name), "Resource", c.resource, ""), Allowed},
			{say("Allow", "Action", service+":*", "Resource", "*", ""), Allowed},
			{say("Allow", "Action", service+":"+name[:len(name)-1]+"?", "Resource", "*", ""), Allowed},
			{say("Allow", "Action", c.action+"x", "Resource", "*", ""), ImplicitDeny},
			{say("Allow", "Action", "none:*", "Resource", "*", ""), ImplicitDeny},
			{say("Allow", "Action", c.action, "Resource", c.resource[:len(c.resource)-1]+"*", ""), Allowed},
			{say("Allow", "Action", c.action, "Resource", other, ""), ImplicitDeny},
			{all + "," + say("Deny", "Action", c.action, "Resource", "*", ""), ExplicitDeny},
			{say("Deny", "Action", c.action, "Resource", c.resource, "") + "," + all, ExplicitDeny},
			{all + "," + say("Deny", "Action", c.action, "Resource", other, ""), Allowed},
			{say("Allow", "NotAction", c.action, "Resource", "*", ""), ImplicitDeny},
			{say("Allow", "NotAction", "none:*", "Resource", "*", ""), Allowed},
			{all + "," + say("Deny", "NotAction", c.action, "Resource", "*", ""), Allowed},
			{all + "," + say("Deny", "NotAction", "none:*", "Resource", "*", ""), ExplicitDeny},
			{say("Allow", "Action", c.action, "NotResource", c.resource, ""), ImplicitDeny},
			{say("Allow", "Action", c.action, "NotResource", other, ""), Allowed},
			{all + "," + say("Deny", "Action", c.action, "NotResource", c.resource, ""), Allowed},
			{all + "," + say("Deny", "Action", c.action, "NotResource", other, ""), ExplicitDeny},
			{say("Allow", "Action", c.action, "Resource", "*", `"StringEquals":{"aws:RequestedRegion":"us-east-1"}`), Allowed},
			{say("Allow", "Action", c.action, "Resource", "*", `"StringEquals":{"aws:RequestedRegion":"eu-west-1"}`), ImplicitDeny},
			{all + "," + say("Deny", "Action", c.action, "Resource", "*", `"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}`), Allowed},
			{all + "," + say("Deny", "Action", c.action, "Resource", "*", `"NotIpAddress":{"aws:SourceIp":"192.168.0.0/16"}`), ExplicitDeny},
		} {
			ps := []*Policy{}
			if tt.statements != "" {
				p, err := ParsePolicy(`{"Version":"2012-10-17","Statement":[`+tt.statements+`]}`, false)
				if err != nil {
					t.Fatalf("%s: %v", tt.statements, err)
				}
				ps = append(ps, p)
			}
			if c.resource == "*" && strings.Contains(tt.statements, `Resource":"arn:aws:none`) {
				continue // what is about nothing is named by * alone
			}
			if got := evaluate(ps, ask{action: c.action, resource: c.resource, keys: keyMap(keys)}); got != tt.want {
				t.Errorf("%s, form %d: %s, want %s: %s", c.op, i, got, tt.want, tt.statements)
			}
		}
	}
}

func say(effect, actions, action, resources, resource, condition string) string {
	c := ""
	if condition != "" {
		c = `,"Condition":{` + condition + `}`
	}
	return fmt.Sprintf(`{"Effect":%q,%q:%q,%q:%q%s}`, effect, actions, action, resources, resource, c)
}
