package conformance

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"clary/internal/aws/facts"
	"clary/internal/aws/sigv4"
	"clary/internal/aws/validate"
	"clary/internal/aws/validate/validatetest"
)

// golden is what each operation is checked as: action and resource.
func golden(t *testing.T) map[string][2]string {
	t.Helper()
	f, err := os.Open("../golden/actions.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	out := map[string][2]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		p := strings.Fields(s.Text())
		out[p[0]] = [2]string{p[1], p[2]}
	}
	return out
}

func (w *world) form(t *testing.T, service string, form url.Values) string {
	t.Helper()
	m, err := facts.Load(service)
	if err != nil {
		t.Fatal(err)
	}
	form.Set("Version", m.APIVersion)
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	a := w.send(t, m.Operations[form.Get("Action")], message{http.MethodPost, "/", h, []byte(form.Encode())})
	if a.status != http.StatusOK {
		t.Fatalf("%s: %d %s", form.Get("Action"), a.status, a.body)
	}
	return string(a.body)
}

// role makes a role with one policy, "" for none, and takes it.
func (w *world) role(t *testing.T, name, policy string) sigv4.Credentials {
	t.Helper()
	trust := `{"Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}}`
	w.form(t, "iam", url.Values{"Action": {"CreateRole"}, "RoleName": {name}, "AssumeRolePolicyDocument": {trust}})
	if policy != "" {
		w.form(t, "iam", url.Values{"Action": {"PutRolePolicy"}, "RoleName": {name}, "PolicyName": {"p"}, "PolicyDocument": {`{"Version":"2012-10-17","Statement":[` + policy + `]}`}})
	}
	body := w.form(t, "sts", url.Values{"Action": {"AssumeRole"}, "RoleArn": {"arn:aws:iam::123456789012:role/" + name}, "RoleSessionName": {"session"}})
	get := func(tag string) string {
		_, after, _ := strings.Cut(body, "<"+tag+">")
		v, _, _ := strings.Cut(after, "</")
		return v
	}
	return sigv4.Credentials{AccessKeyID: get("AccessKeyId"), SecretAccessKey: get("SecretAccessKey"), SessionToken: get("SessionToken")}
}

// Every operation asks policies for what the golden file says, and does what
// they answer.
func TestEveryOperationAsks(t *testing.T) {
	w, want := start(t), golden(t)
	const all = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	nobody := w.role(t, "nobody", "")
	denied := w.role(t, "denied", all+`,{"Effect":"Deny","Action":["b*","s*","i*","l*","c*"],"Resource":"*"}`)
	there := w.role(t, "there", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-1"},"IpAddress":{"aws:SourceIp":"127.0.0.0/8"},"Bool":{"aws:SecureTransport":"false"},"StringLike":{"aws:UserAgent":"Go-http-client/*"},"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/there"}}}`)
	for _, service := range facts.Services() {
		m, err := facts.Load(service)
		if err != nil {
			t.Fatal(err)
		}
		protocol, texts := protocols(m)[0], fixed(m)
		for i, name := range slices.Sorted(maps.Keys(m.Operations)) {
			o := m.Operations[name]
			if service == "s3" && shadowed(name) {
				continue
			}
			n := validate.Node{Kind: validate.Object}
			if o.Input != nil {
				n = (&validatetest.Maker{Rand: rand.New(rand.NewPCG(uint64(i), 11)), Full: protocol == "query", Texts: texts}).Value(t, o.Input)
			}
			ask, msg := want[service+":"+name], write(protocol, o, &n)
			if ask[0] == "" {
				t.Errorf("%s:%s is not in the golden file", service, name)
				continue
			}
			if ask[0] == "-" {
				continue // the handler's own tests
			}
			a := w.sendAs(t, nobody, "us-east-1", o, msg)
			text := plainText(protocol, a)
			if !refusedBy(a, text, protocol, o) || o.HTTP.Method != http.MethodHead && !strings.Contains(text, "is not authorized to perform: "+ask[0]+" on resource: "+ask0(ask[1])) {
				t.Errorf("%s:%s as nobody: %d %s; want %v", service, name, a.status, text, ask)
			}
			if r := resourceOf(text); r != "" && !pattern(ask[1]).MatchString(r) {
				t.Errorf("%s:%s: resource %s, want %s", service, name, r, ask[1])
			}
			a = w.sendAs(t, denied, "us-east-1", o, msg)
			if text = plainText(protocol, a); !refusedBy(a, text, protocol, o) || o.HTTP.Method != http.MethodHead && !strings.Contains(text, "with an explicit deny in an identity-based policy") {
				t.Errorf("%s:%s as denied: %d %s", service, name, a.status, text)
			}
			a = w.sendAs(t, there, "eu-west-1", o, msg)
			if text = plainText(protocol, a); !refusedBy(a, text, protocol, o) {
				t.Errorf("%s:%s in another region: %d %s", service, name, a.status, text)
			}
			a = w.sendAs(t, there, "us-east-1", o, msg)
			if text = plainText(protocol, a); strings.Contains(text, "not authorized") || a.status >= 500 && a.status != http.StatusNotImplemented {
				t.Errorf("%s:%s where it is allowed: %d %s", service, name, a.status, text)
			}
		}
	}
}

// whole are requests of operations whose handlers want more than the model
// does before they ask about the role.
func whole(operation string) string {
	switch operation {
	case "CreateTrainingJob":
		return `{"TrainingJobName":"a","RoleArn":"ROLE","AlgorithmSpecification":{"TrainingImage":"123456789012.dkr.ecr.us-east-1.amazonaws.com/none:1","TrainingInputMode":"File"},
"OutputDataConfig":{"S3OutputPath":"s3://conformance-bucket/o"},"ResourceConfig":{"InstanceType":"ml.m5.large","InstanceCount":1,"VolumeSizeInGB":1},"StoppingCondition":{"MaxRuntimeInSeconds":60}}`
	case "CreateProcessingJob":
		return `{"ProcessingJobName":"a","RoleArn":"ROLE","AppSpecification":{"ImageUri":"123456789012.dkr.ecr.us-east-1.amazonaws.com/none:1"},
"ProcessingResources":{"ClusterConfig":{"InstanceType":"ml.m5.large","InstanceCount":1,"VolumeSizeInGB":1}}}`
	}
	return ""
}

// Whoever hands a role to SageMaker needs iam:PassRole for it, in whatever
// operation and wherever in the request it stands; and the role must trust
// SageMaker.
func TestEveryRoleIsPassed(t *testing.T) {
	w := start(t)
	w.form(t, "iam", url.Values{"Action": {"CreateRole"}, "RoleName": {"trusting"}, "AssumeRolePolicyDocument": {`{"Statement":{"Effect":"Allow","Principal":{"Service":"sagemaker.amazonaws.com"},"Action":"sts:AssumeRole"}}`}})
	w.form(t, "iam", url.Values{"Action": {"CreateRole"}, "RoleName": {"lambdas"}, "AssumeRolePolicyDocument": {`{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`}})
	const arns = "arn:aws:iam::123456789012:role/"
	without := w.role(t, "without", `{"Effect":"Allow","NotAction":"iam:PassRole","Resource":"*"}`)
	with := w.role(t, "with", `{"Effect":"Allow","NotAction":"iam:PassRole","Resource":"*"},{"Effect":"Allow","Action":"iam:PassRole","Resource":"`+arns+`trusting","Condition":{"StringEquals":{"iam:PassedToService":"sagemaker.amazonaws.com"}}},{"Effect":"Allow","Action":"iam:PassRole","Resource":"`+arns+`lambdas"}`)
	m, err := facts.Load("sagemaker")
	if err != nil {
		t.Fatal(err)
	}
	texts, asked := map[*facts.Shape]string{m.Shapes["RoleArn"]: "ROLE"}, 0
	for i, name := range slices.Sorted(maps.Keys(m.Operations)) {
		o := m.Operations[name]
		for _, full := range []bool{false, true} {
			g := &validatetest.Maker{Rand: rand.New(rand.NewPCG(uint64(i), 13)), Full: full, Texts: texts}
			n := g.Value(t, o.Input)
			if !bytes.Contains(n.AppendJSON(nil), []byte(`"ROLE"`)) {
				continue
			}
			asked++
			say := func(role string) message {
				msg := write("json", o, &n)
				if body := whole(name); body != "" {
					msg.body = []byte(body)
				}
				msg.body = bytes.ReplaceAll(msg.body, []byte(`"ROLE"`), []byte(`"`+arns+role+`"`))
				return msg
			}
			for _, tt := range []struct {
				keys       sigv4.Credentials
				role, want string
			}{
				{without, "trusting", "is not authorized to perform: iam:PassRole on resource: " + arns + "trusting"},
				{with, "without", "is not authorized to perform: iam:PassRole on resource: " + arns + "without"},
				{with, "path/trusting", "is not authorized to perform: iam:PassRole"},
				{with, "lambdas", "Could not assume role " + arns + "lambdas"},
				{w.keys, "lambdas", "Could not assume role " + arns + "lambdas"},
			} {
				if text := plainText("json", w.sendAs(t, tt.keys, "us-east-1", o, say(tt.role))); !strings.Contains(text, tt.want) {
					t.Errorf("%s with %s: %s; want %s", name, tt.role, text, tt.want)
				}
			}
			if text := plainText("json", w.sendAs(t, with, "us-east-1", o, say("trusting"))); strings.Contains(text, "not authorized") || strings.Contains(text, "assume role") {
				t.Errorf("%s with a role that may be passed: %s", name, text)
			}
			break
		}
	}
	if asked < 30 {
		t.Errorf("%d operations take a role", asked)
	}
	t.Logf("%d operations take a role", asked)
}

func refusedBy(a answer, text, protocol string, o *facts.Operation) bool {
	status := http.StatusBadRequest
	if protocol == "query" || strings.HasPrefix(protocol, "rest") {
		status = http.StatusForbidden
	}
	return a.status == status && (o.HTTP.Method == http.MethodHead || strings.Contains(text, "AccessDenied") || strings.Contains(text, "AuthorizationError"))
}

// ask0 is the fixed beginning of a resource.
func ask0(resource string) string {
	resource = strings.NewReplacer("${Region}", "us-east-1", "${Account}", "123456789012").Replace(resource)
	fixed, _, _ := strings.Cut(resource, "${")
	return fixed
}

var member = regexp.MustCompile(`\\\$\\\{[A-Za-z]+\\\}`)

func pattern(resource string) *regexp.Regexp {
	resource = strings.NewReplacer("${Region}", "us-east-1", "${Account}", "123456789012").Replace(resource)
	if strings.HasPrefix(resource, "${") {
		return regexp.MustCompile(`.`) // whatever the member says
	}
	whole := member.ReplaceAllString(regexp.QuoteMeta(resource), ".+")
	return regexp.MustCompile(fmt.Sprintf(`^(%s|arn:.*)$`, whole))
}

func resourceOf(text string) string {
	_, after, _ := strings.Cut(text, " on resource: ")
	r, _, _ := strings.Cut(after, " because no ")
	return r
}
