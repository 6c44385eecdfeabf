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

// otherwise are the operations whose golden line does not spell out what they
// ask about.
func otherwise() map[string]struct{ resource, absent, why string } {
	const budget = "arn:aws:budgets::${AccountId}:budget/${BudgetName}"
	return map[string]struct{ resource, absent, why string }{
		"budgets:CreateBudget":    {budget, "", "the name is the budget's, and the file is made of the request's own members"},
		"budgets:UpdateBudget":    {budget, "", "as CreateBudget"},
		"logs:DescribeLogGroups":  {"", "", "no prefix is the empty one"},
		"logs:DescribeLogStreams": {"", "", "no name is the empty one, which is refused"},
		"logs:FilterLogEvents":    {"", "", "as DescribeLogStreams"},
		"logs:GetLogEvents":       {"", "", "as DescribeLogStreams"},
	}
}

// about is what a request of an operation is about.
type about struct {
	service, name, resource string // the resource as the golden file writes it
	absent                  string // what stands for a member that the request lacks
}

func aboutOf(service, name, resource string) about {
	a := about{service, name, strings.NewReplacer("${Region}", "us-east-1", "${Account}", "123456789012").Replace(resource), "*"}
	if o, ok := otherwise()[service+":"+name]; ok {
		a.absent = o.absent
		if o.resource != "" {
			a.resource = o.resource
		}
	}
	return a
}

var member = regexp.MustCompile(`\$\{([A-Za-z]+)\}`)

// members are the names of those that the resource is made of.
func (a about) members() (names []string) {
	for _, m := range member.FindAllStringSubmatch(a.resource, -1) {
		names = append(names, m[1])
	}
	return names
}

// resources are what policies must be asked about, by the request's members.
func (a about) resources(s *facts.Shape, n *validate.Node) []string {
	out := []string{a.resource}
	for _, name := range a.members() {
		values := []string{a.absent}
		if shape, at := find(s, n, name); at != nil {
			values = scalars(shape, at)
		}
		var next []string
		for _, r := range out {
			for _, v := range values {
				if r == "${"+name+"}" || a.isKind(v) {
					next = append(next, v)
					continue
				}
				if strings.HasPrefix(a.service, "sagemaker") {
					v = strings.ToLower(v) // as in the ARNs that it gives
				}
				next = append(next, strings.Replace(r, "${"+name+"}", v, 1))
			}
		}
		out = next
	}
	if kind := a.resource; strings.Contains(kind, ":log-group:") && strings.HasSuffix(kind, "}:*") {
		for i := range out { // policies name a group with it, members without
			out[i] = strings.TrimSuffix(out[i], ":*") + ":*"
		}
	}
	return out
}

// isKind: a value that is an ARN of the resource's kind is the whole resource.
func (a about) isKind(v string) bool {
	kind, _, _ := strings.Cut(a.resource, "${")
	parts := strings.SplitN(kind, ":", 6)
	return len(parts) == 6 && parts[5] != "" && strings.HasPrefix(v, kind)
}

// find looks for a member of a request by its name, its own before those of
// what it holds.
func find(s *facts.Shape, n *validate.Node, name string) (*facts.Shape, *validate.Node) {
	if s == nil || s.Type != facts.Structure {
		return nil, nil
	}
	for i := range n.Fields {
		if m := s.Member(n.Fields[i].Name); strings.EqualFold(m.Name, name) {
			return m.Shape, &n.Fields[i].Value
		}
	}
	for i := range n.Fields {
		shape, at := s.Member(n.Fields[i].Name).Shape, &n.Fields[i].Value
		if shape.Type == facts.List && len(at.Items) > 0 {
			shape, at = shape.Element.Shape, &at.Items[0]
		}
		if shape, at := find(shape, at, name); at != nil {
			return shape, at
		}
	}
	return nil, nil
}

func scalars(s *facts.Shape, n *validate.Node) (out []string) {
	if s.Type != facts.List {
		return []string{n.Text}
	}
	for i := range n.Items {
		out = append(out, n.Items[i].Text)
	}
	return out
}

const second = "second" // ends the second element of a list

// named gives a request the members that its resource is made of, each of
// another text, capitals in it where they may be, and two in a list.
func (a about) named(t *testing.T, g *validatetest.Maker, keep map[*facts.Shape]string, s *facts.Shape, n *validate.Node) {
	t.Helper()
	for _, name := range a.members() {
		shape, at := find(s, n, name)
		if at == nil {
			for _, m := range s.Members {
				if strings.EqualFold(m.Name, name) {
					n.Fields = append(n.Fields, validate.Field{Name: m.Name, Value: g.Value(t, m.Shape)})
					shape, at = m.Shape, &n.Fields[len(n.Fields)-1].Value
				}
			}
		}
		if at == nil {
			t.Errorf("%s:%s has no member %s", a.service, a.name, name)
			continue
		}
		if shape.Type != facts.List {
			own(keep, shape, at, name)
			continue
		}
		e := shape.Element.Shape
		own(keep, e, &at.Items[0], name)
		if two := (validate.Node{Kind: validate.Text, Text: at.Items[0].Text + second}); fits(e, two) && (shape.Max == nil || *shape.Max > 1) {
			at.Items = append(at.Items[:1], two)
		}
	}
}

func fits(s *facts.Shape, n validate.Node) bool { return len(validate.Broken(s, &n)) == 0 }

// own gives a text that no other member has, if the shape lets it.
func own(keep map[*facts.Shape]string, s *facts.Shape, n *validate.Node, name string) {
	if _, ok := keep[s]; ok || s.Type != facts.String {
		return
	}
	for _, text := range []string{"X" + name, n.Text + name, n.Text + strings.ToLower(name), "x" + strings.ToLower(name)} {
		if v := (validate.Node{Kind: validate.Text, Text: text}); fits(s, v) {
			*n = v
			return
		}
	}
}

// byArn writes the one member that the resource is made of as the ARN, if the
// model lets it; false where it does not.
func (a about) byArn(keep map[*facts.Shape]string, s *facts.Shape, n *validate.Node) bool {
	names := a.members()
	if len(names) != 1 || a.resource == "${"+names[0]+"}" {
		return false
	}
	shape, at := find(s, n, names[0])
	if at == nil || shape.Type != facts.String && shape.Type != facts.List {
		return false
	}
	arn := validate.Node{Kind: validate.Text, Text: strings.TrimSuffix(member.ReplaceAllString(a.resource, "Abcdefghij"), ":*")}
	if shape.Type == facts.List {
		if !fits(shape.Element.Shape, arn) {
			return false
		}
		for i := range at.Items {
			at.Items[i] = arn
			at.Items[i].Text += strings.Repeat(second, i)
		}
		return true
	}
	if _, ok := keep[shape]; ok || !fits(shape, arn) || !a.isKind(arn.Text) {
		return false
	}
	*at = arn
	return true
}

// Every operation asks policies for what the golden file says of the request
// that it got, and does what they answer.
func TestEveryOperationAsks(t *testing.T) {
	w, want := start(t), golden(t)
	const all = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	nobody := w.role(t, "nobody", "")
	denied := w.role(t, "denied", all+`,{"Effect":"Deny","Action":["b*","s*","i*","l*","c*"],"Resource":"*"}`)
	there := w.role(t, "there", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-1"},"IpAddress":{"aws:SourceIp":"127.0.0.0/8"},"Bool":{"aws:SecureTransport":"false"},"StringLike":{"aws:UserAgent":"Go-http-client/*"},"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/there"}}}`)
	// may do all to the first of two resources
	first := w.role(t, "first", `{"Effect":"Allow","Action":"*","NotResource":"*`+second+`*"}`)
	for name := range otherwise() {
		if want[name][0] == "" {
			t.Errorf("%s is not in the golden file", name)
		}
	}
	asked := map[string]int{}
	for _, service := range facts.Services() {
		m, err := facts.Load(service)
		if err != nil {
			t.Fatal(err)
		}
		protocol, texts := protocols(m)[0], fixed(m)
		if s := m.Shapes["SecretIdType"]; s != nil {
			texts[s] = "conformance/Unknown" // one that is there ends in what was chosen for it
		}
		keep := maps.Clone(texts)
		for i, name := range slices.Sorted(maps.Keys(m.Operations)) {
			o := m.Operations[name]
			if service == "s3" && shadowed(name) {
				continue
			}
			g := &validatetest.Maker{Rand: rand.New(rand.NewPCG(uint64(i), 11)), Full: protocol == "query", Texts: texts}
			n := validate.Node{Kind: validate.Object}
			if o.Input != nil {
				n = g.Value(t, o.Input)
			}
			ask := want[service+":"+name]
			if ask[0] == "" {
				t.Errorf("%s:%s is not in the golden file", service, name)
				continue
			}
			if ask[0] == "-" {
				continue // the handler's own tests
			}
			about := aboutOf(service, name, ask[1])
			asks := func(how string) (message, []string) {
				asked[how]++
				msg, resources := write(protocol, o, &n), about.resources(o.Input, &n)
				check := func(keys sigv4.Credentials, resource string) {
					a := w.sendAs(t, keys, "us-east-1", o, msg)
					text := plainText(protocol, a)
					if !refusedBy(a, text, protocol, o) || o.HTTP.Method != http.MethodHead && !strings.Contains(text, "is not authorized to perform: "+ask[0]+" on resource: "+resource+" because no ") {
						t.Errorf("%s:%s %s: %d %s; want %s on %s", service, name, how, a.status, text, ask[0], resource)
					}
				}
				check(nobody, resources[0])
				if len(resources) > 1 {
					asked["with two"]++
					check(first, resources[1])
				}
				return msg, resources
			}
			if slices.ContainsFunc(about.members(), func(name string) bool { _, at := find(o.Input, &n, name); return at == nil }) {
				asks("without what names its resource")
			}
			about.named(t, g, keep, o.Input, &n)
			msg, resources := asks("with what names its resource")
			if o.HTTP.Method == http.MethodHead { // what it asked shows in what is allowed alone
				keys := w.role(t, name, fmt.Sprintf(`{"Effect":"Allow","Action":%q,"Resource":%q}`, ask[0], resources[0]))
				if a := w.sendAs(t, keys, "us-east-1", o, msg); refusedBy(a, "", protocol, o) {
					t.Errorf("%s:%s is not about %s alone", service, name, resources[0])
				}
			}
			a := w.sendAs(t, denied, "us-east-1", o, msg)
			text := plainText(protocol, a)
			if !refusedBy(a, text, protocol, o) || o.HTTP.Method != http.MethodHead && !strings.Contains(text, "with an explicit deny in an identity-based policy") {
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
			if about.byArn(keep, o.Input, &n) {
				asks("with an ARN for a name")
			}
		}
	}
	if asked["with two"] < 20 || asked["with an ARN for a name"] < 50 {
		t.Errorf("requests: %v", asked)
	}
	t.Logf("requests: %v", asked)
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
