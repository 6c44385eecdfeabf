// Package validatetest makes requests from the facts of a service model: one
// that fits, and from it others that break one constraint each. Start at Maker.
package validatetest

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
)

// Maker builds requests that fit the model, from the facts alone.
type Maker struct {
	Rand *rand.Rand
	Full bool // optional members too
	// Texts remembers which text fits a shape; makers may share it.
	Texts map[*facts.Shape]string
	depth int
}

// Samples are texts that the models' patterns were written for; the maker
// picks one that fits.
func samples() []string {
	out := []string{
		"00:00", "a.amazonaws.com", "123456", "default", "Average", "vpce-1", "v1", "o-abcdefghij/r-abcd", "p-abcdefgh", "ABCDEFGHIJKLMNOPQRSTUV", "a", "ab", "abcd", "abcdefghij", "1", "12", "123", "1.0", "1.0.0", "0.5", "a-b", "A", "true", "Enabled", "us-east-1", "subnet-1", "sg-1",
		"s3://bucket/key", "https://s3.amazonaws.com/b/k", "https://example.com/path", "http://example.com/a", "/opt/ml/a", "/a/b", "/", "/aws/x",
		"123456789012", "2026-01-01", "P1D", "a.b", "a@b.co", "a/b", "text/plain", "image:1", "cron(0 * ? * * *)", "Sunday:00:00", "Mon:00:00", "1:2",
		"arn:aws:iam::123456789012:role/Some", "arn:aws:s3:::bucket/key", "arn:aws:kms:us-east-1:123456789012:key/a", "vol-12345678", "i-12345678", "eni-12345678",
		"eni-attach-12345678", "fs-12345678", "fs-0123456789abcdef0", "fsap-01234567", "vpc-1", "us-east-1a", "use1-az1", "eks/abc", "ami-12345678", "1.28", "ip-10-0-0-1.a", "10.0.0.1", "10.0.0.0/8", "ml.m5.large",
		"12345678-1234-1234-1234-123456789012", "d-abc", "app-abcdefghijklmnop", "{}", "abcdefghijklmnopqrst", "ASIAABCDEFGHIJKLMNOP", "aaaaaaaaaaaa", "000000000000", "/fsx", "00:00-01:00", "Sun:00:00-Mon:00:00", "A-Z", "1GiB", "nvidia.com/mig-1g.5gb",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com/a:1", "123456789012.dkr.ecr.us-east-1.amazonaws.com/a", "https://example.com/a/b.git", "https://github.com/a/b", "sha256:" + strings.Repeat("a", 64), strings.Repeat("a", 32), strings.Repeat("a", 64), "https://sqs.us-east-1.amazonaws.com/1/a", "https://us-east-1.console.aws.amazon.com/a",
		"arn:aws:sagemaker:us-east-1:aws:hub-content/a/Model/b/1.0.0", "arn:aws:sagemaker:us-east-1:aws:hub-content/a/Model/b", "arn:aws:sagemaker:us-east-1:aws:hub/a", "arn:aws:sagemaker:us-east-1:aws:hub-content/a/DataSet/b/1.0.0",
		"arn:aws:eks:us-east-1:123456789012:cluster/a", "arn:aws:lambda:us-east-1:123456789012:function:a", "arn:aws:cloudformation:us-east-1:123456789012:stack/a/b", "arn:aws:cognito-idp:us-east-1:123456789012:userpool/a", "us-east-1_a", "arn:aws:secretsmanager:us-east-1:123456789012:secret:a",
		"arn:aws:dynamodb:us-east-1:123456789012:table/a", "arn:aws:sns:us-east-1:123456789012:a", "arn:aws:ec2:us-east-1:123456789012:instance/a", "arn:aws:codewhisperer:us-east-1:123456789012:profile/a", "s3://b", "https://a.s3.amazonaws.com/a", "arn:aws:athena:us-east-1:123456789012:workgroup/a",
		"dzd_a", "arn:aws:sso::123456789012:application/ssoins-a/apl-a", "mig-1g.5gb", "Python 3.11", "notebook-al2-v3", "arn:aws:sso:::instance/ssoins-abcdefghij123456",
		"arn:aws:sagemaker:us-east-1:123456789012:partner-app/app-ABCDEFGH1234", "8K", "UserName", "arn:aws:sagemaker:us-east-1:123456789012:extension/eks-a/b/c", "DisplayName",
		"arn:aws:sagemaker:us-east-1:123456789012:model-card/a/export-job/b", "arn:aws:sagemaker:us-east-1:123456789012:pipeline/a/execution/b",
	}
	for _, typ := range []string{
		"training-job", "processing-job", "transform-job", "hyper-parameter-tuning-job", "model", "endpoint", "endpoint-config", "algorithm", "model-package", "model-package-group", "pipeline", "experiment",
		"experiment-trial", "experiment-trial-component", "context", "artifact", "action", "image", "image-version", "domain", "user-profile", "space", "app", "app-image-config", "inference-component", "monitoring-schedule", "labeling-job",
		"cluster", "workteam", "workforce", "flow-definition", "human-task-ui", "feature-group", "hub", "hub-content", "project", "device-fleet", "device", "edge-packaging-job", "edge-deployment", "automl-job", "compilation-job", "optimization-job",
		"studio-lifecycle-config", "notebook-instance", "notebook-instance-lifecycle-config", "code-repository", "model-card", "inference-experiment", "inference-recommendations-job", "data-quality-job-definition", "mlflow-tracking-server", "mlflow-app",
		"training-plan", "compute-quota", "cluster-scheduler-config", "partner-app", "reserved-capacity", "lineage-group", "component", "workload-config", "ai-workload-config", "ai-benchmark-job", "ai-recommendation-job", "inference-router", "job", "training-session",
	} {
		for _, suffix := range []string{"", "/b", "/1", "/0.0.1"} {
			out = append(out, "arn:aws:sagemaker:us-east-1:123456789012:"+typ+"/abcdefghijkl"+suffix)
		}
	}
	return out
}

func (g *Maker) text(t testing.TB, s *facts.Shape) string {
	t.Helper()
	v, ok := g.Texts[s]
	if !ok {
		v = g.find(t, s)
		g.Texts[s] = v
	}
	return v
}

func (g *Maker) find(t testing.TB, s *facts.Shape) string {
	t.Helper()
	if len(s.Enum) > 0 {
		return s.Enum[g.Rand.IntN(len(s.Enum))]
	}
	all := samples()
	for _, i := range g.Rand.Perm(len(all)) {
		if len(validate.Broken(s, &validate.Node{Kind: validate.Text, Text: all[i]})) == 0 {
			return all[i]
		}
	}
	for _, n := range []int{0, 12, 20, 36, 100, 1000} {
		if v := strings.Repeat("a", n); len(validate.Broken(s, &validate.Node{Kind: validate.Text, Text: v})) == 0 {
			return v
		}
	}
	t.Errorf("no sample fits %s: %s", s.Name, s.Pattern)
	return ""
}

// Value makes a value that fits a shape.
func (g *Maker) Value(t testing.TB, s *facts.Shape) validate.Node {
	t.Helper()
	switch s.Type {
	case facts.String:
		return validate.Node{Kind: validate.Text, Text: g.text(t, s)}
	case facts.Boolean:
		return validate.Node{Kind: validate.True}
	case facts.Blob:
		return validate.Node{Kind: validate.Text, Text: base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", max(1, low(s)))))}
	case facts.Timestamp:
		return validate.Node{Kind: validate.Number, Text: "1700000000.5"}
	case facts.List:
		n := validate.Node{Kind: validate.Array}
		for range max(1, low(s)) {
			n.Items = append(n.Items, g.Value(t, s.Element.Shape))
		}
		return n
	case facts.Map:
		n := validate.Node{Kind: validate.Object}
		if low(s) <= 1 && len(validate.Broken(s.Key.Shape, &validate.Node{Kind: validate.Text})) == 0 || low(s) > 0 || g.Full {
			first := g.text(t, s.Key.Shape)
			n.Fields = append(n.Fields, validate.Field{Name: first, Value: g.Value(t, s.Value.Shape)})
			for i := 0; len(n.Fields) < low(s) && i < 10; i++ {
				k := validate.Node{Kind: validate.Text, Text: first + fmt.Sprint(i)}
				if len(validate.Broken(s.Key.Shape, &k)) == 0 {
					n.Fields = append(n.Fields, validate.Field{Name: k.Text, Value: g.Value(t, s.Value.Shape)})
				}
			}
		}
		return n
	case facts.Structure:
		n := validate.Node{Kind: validate.Object}
		g.depth++
		defer func() { g.depth-- }()
		for _, m := range s.Members {
			switch {
			case s.Union:
				if len(n.Fields) > 0 {
					continue
				}
			case !m.Required && (!g.Full || g.depth > 4):
				continue
			}
			n.Fields = append(n.Fields, validate.Field{Name: m.Name, Value: g.Value(t, m.Shape)})
		}
		if len(n.Fields) == 0 && g.Full && len(s.Members) > 0 && g.depth < 10 { // forms have no empty structures
			m := s.Members[0]
			n.Fields = append(n.Fields, validate.Field{Name: m.Name, Value: g.Value(t, m.Shape)})
		}
		return n
	default:
		return validate.Node{Kind: validate.Number, Text: fmt.Sprint(max(1, low(s)))}
	}
}

func low(s *facts.Shape) int {
	if s.Min == nil {
		return 0
	}
	return int(*s.Min)
}

// Site is one value of a request that can be spoiled.
type Site struct {
	Path   string // as error messages spell it
	Shape  *facts.Shape
	Node   *validate.Node
	Member *facts.Member
	Parent *validate.Node // the structure that holds it
}

// Sites finds the values below n, a value of shape s.
func Sites(path string, s *facts.Shape, n *validate.Node, out []Site) []Site {
	for i := range n.Fields {
		f := &n.Fields[i]
		if s.Type != facts.Structure {
			if s.Value.Shape.Type == facts.Structure {
				out = Sites(path+"."+f.Name+".member", s.Value.Shape, &f.Value, out)
			}
			continue
		}
		m := s.Member(f.Name)
		at := strings.TrimPrefix(path+"."+lowerFirst(f.Name), ".")
		out = append(out, Site{at, m.Shape, &f.Value, m, n})
		out = Sites(at, m.Shape, &f.Value, out)
	}
	for i := range n.Items {
		if s.Element.Shape.Type == facts.Structure {
			out = Sites(fmt.Sprintf("%s.%d.member", path, i+1), s.Element.Shape, &n.Items[i], out)
		}
	}
	return out
}

// longest is a text that requests still have room for: Budgets' model states
// maxima of 2 GiB.
const longest = 16 << 20

// Spoil is one way to break one constraint.
type Spoil struct {
	Name string
	// Apply gives the spoilt value and the constraint's text, or false where
	// it does not apply.
	Apply func(s Site) (validate.Node, string, bool)
}

// Spoils are all ways.
func Spoils() []Spoil {
	text := func(v string) validate.Node { return validate.Node{Kind: validate.Text, Text: v} }
	return []Spoil{
		{"null", func(s Site) (validate.Node, string, bool) {
			return validate.Node{Kind: validate.Null}, "Member must not be null", s.Member.Required
		}},
		{"enum", func(s Site) (validate.Node, string, bool) {
			return text("no such value"), "Member must satisfy enum value set: [", len(s.Shape.Enum) > 0
		}},
		{"long", func(s Site) (validate.Node, string, bool) {
			if s.Shape.Type != facts.String || s.Shape.Max == nil || *s.Shape.Max > longest || len(s.Shape.Enum) > 0 {
				return validate.Node{}, "", false
			}
			n := text(strings.Repeat("a", int(*s.Shape.Max)+1))
			return n, constraint(s.Shape, &n, "length less"), true
		}},
		{"short", func(s Site) (validate.Node, string, bool) {
			return text(""), "Member must have length greater than or equal to", s.Shape.Type == facts.String && low(s.Shape) > 0
		}},
		{"control", func(s Site) (validate.Node, string, bool) {
			v := s.Node.Text + "\x00\n"
			n := text(v)
			return n, constraint(s.Shape, &n, "pattern"), s.Shape.Pattern != "" && !s.Shape.Matches(v)
		}},
		{"few", func(s Site) (validate.Node, string, bool) {
			return validate.Node{Kind: s.Node.Kind}, "Member must have length greater than or equal to", (s.Shape.Type == facts.List || s.Shape.Type == facts.Map) && low(s.Shape) > 0
		}},
		{"many", func(s Site) (validate.Node, string, bool) {
			if s.Shape.Type != facts.List || s.Shape.Max == nil || *s.Shape.Max > 500 {
				return validate.Node{}, "", false
			}
			n := validate.Node{Kind: validate.Array}
			for range int(*s.Shape.Max) + 1 {
				n.Items = append(n.Items, s.Node.Items[0])
			}
			return n, constraint(s.Shape, &n, "length less"), true
		}},
		{"above", func(s Site) (validate.Node, string, bool) {
			if s.Node.Kind != validate.Number || s.Shape.Max == nil {
				return validate.Node{}, "", false
			}
			n := validate.Node{Kind: validate.Number, Text: fmt.Sprint(int64(*s.Shape.Max) + 1)}
			return n, constraint(s.Shape, &n, "value less"), true
		}},
		{"below", func(s Site) (validate.Node, string, bool) {
			if s.Node.Kind != validate.Number || s.Shape.Min == nil || low(s.Shape) < -1<<30 {
				return validate.Node{}, "", false
			}
			n := validate.Node{Kind: validate.Number, Text: fmt.Sprint(low(s.Shape) - 1)}
			return n, constraint(s.Shape, &n, "value greater"), true
		}},
		{"element", func(s Site) (validate.Node, string, bool) {
			if s.Shape.Type != facts.List || len(s.Node.Items) == 0 || s.Shape.Element.Shape.Type != facts.String {
				return validate.Node{}, "", false
			}
			for _, v := range []string{"", "no such value", "\x00", strings.Repeat("a", 5000)} {
				if n := text(v); len(validate.Broken(s.Shape.Element.Shape, &n)) > 0 {
					items := append([]validate.Node{n}, s.Node.Items[1:]...)
					return validate.Node{Kind: validate.Array, Items: items}, "Member must satisfy constraint: [", true
				}
			}
			return validate.Node{}, "", false
		}},
	}
}

// constraint is the text of the broken constraint that holds part.
func constraint(s *facts.Shape, n *validate.Node, part string) string {
	for _, c := range validate.Broken(s, n) {
		if strings.Contains(c, part) {
			return c
		}
	}
	return "nothing about " + part
}

// lowerFirst is how error messages spell a member.
func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}
