package validate

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"clary/internal/aws/facts"
)

// maker builds requests that fit the model, from the facts alone.
type maker struct {
	rnd   *rand.Rand
	depth int
	full  bool // optional members too
	texts map[*facts.Shape]string
}

// samples are texts that the models' patterns were written for; the maker
// picks one that fits.
func samples() []string {
	out := []string{
		"a", "ab", "abcd", "abcdefghij", "1", "12", "123", "1.0", "1.0.0", "0.5", "a-b", "A", "true", "Enabled", "us-east-1", "subnet-1", "sg-1",
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

func (g *maker) text(t testing.TB, s *facts.Shape) string {
	t.Helper()
	v, ok := g.texts[s]
	if !ok {
		v = g.find(t, s)
		g.texts[s] = v
	}
	return v
}

func (g *maker) find(t testing.TB, s *facts.Shape) string {
	t.Helper()
	if len(s.Enum) > 0 {
		return s.Enum[g.rnd.IntN(len(s.Enum))]
	}
	all := samples()
	for _, i := range g.rnd.Perm(len(all)) {
		if len(broken(s, &Node{Kind: Text, Text: all[i]})) == 0 {
			return all[i]
		}
	}
	for _, n := range []int{0, 12, 20, 36, 100} {
		if v := strings.Repeat("a", n); len(broken(s, &Node{Kind: Text, Text: v})) == 0 {
			return v
		}
	}
	t.Errorf("no sample fits %s: %s", s.Name, s.Pattern)
	return ""
}

func (g *maker) value(t testing.TB, s *facts.Shape) Node {
	t.Helper()
	switch s.Type {
	case facts.String:
		return Node{Kind: Text, Text: g.text(t, s)}
	case facts.Boolean:
		return Node{Kind: True}
	case facts.Blob:
		return Node{Kind: Text, Text: base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", max(1, low(s)))))}
	case facts.Timestamp:
		return Node{Kind: Number, Text: "1700000000.5"}
	case facts.List:
		n := Node{Kind: Array}
		for range max(1, low(s)) {
			n.Items = append(n.Items, g.value(t, s.Element.Shape))
		}
		return n
	case facts.Map:
		n := Node{Kind: Object}
		if low(s) <= 1 && len(broken(s.Key.Shape, &Node{Kind: Text})) == 0 || low(s) > 0 || g.full {
			n.Fields = append(n.Fields, Field{g.text(t, s.Key.Shape), g.value(t, s.Value.Shape)})
		}
		return n
	case facts.Structure:
		n := Node{Kind: Object}
		g.depth++
		defer func() { g.depth-- }()
		for _, m := range s.Members {
			switch {
			case s.Union:
				if len(n.Fields) > 0 {
					continue
				}
			case !m.Required && (!g.full || g.depth > 4):
				continue
			}
			n.Fields = append(n.Fields, Field{m.Name, g.value(t, m.Shape)})
		}
		return n
	default:
		return Node{Kind: Number, Text: fmt.Sprint(max(1, low(s)))}
	}
}

func low(s *facts.Shape) int {
	if s.Min == nil {
		return 0
	}
	return int(*s.Min)
}

// site is one value of a request that can be spoiled.
type site struct {
	path   string
	shape  *facts.Shape
	node   *Node
	member *facts.Member
}

func sites(path string, s *facts.Shape, n *Node, out []site) []site {
	for i := range n.Fields {
		f := &n.Fields[i]
		if s.Type != facts.Structure {
			if s.Value.Shape.Type == facts.Structure {
				out = sites(path+"."+f.Name+".member", s.Value.Shape, &f.Value, out)
			}
			continue
		}
		m := s.Member(f.Name)
		at := strings.TrimPrefix(path+"."+lowerFirst(f.Name), ".")
		out = append(out, site{at, m.Shape, &f.Value, m})
		out = sites(at, m.Shape, &f.Value, out)
	}
	for i := range n.Items {
		if s.Element.Shape.Type == facts.Structure {
			out = sites(fmt.Sprintf("%s.%d.member", path, i+1), s.Element.Shape, &n.Items[i], out)
		}
	}
	return out
}

// spoil is one way to break one constraint.
type spoil struct {
	name string
	// apply gives the spoilt value and the constraint's text, or false where
	// it does not apply.
	apply func(s site) (Node, string, bool)
}

func spoils() []spoil {
	text := func(v string) Node { return Node{Kind: Text, Text: v} }
	return []spoil{
		{"null", func(s site) (Node, string, bool) {
			return Node{Kind: Null}, "Member must not be null", s.member.Required
		}},
		{"enum", func(s site) (Node, string, bool) {
			return text("no such value"), "Member must satisfy enum value set: [", len(s.shape.Enum) > 0
		}},
		{"long", func(s site) (Node, string, bool) {
			if s.shape.Type != facts.String || s.shape.Max == nil || len(s.shape.Enum) > 0 {
				return Node{}, "", false
			}
			return text(strings.Repeat("a", int(*s.shape.Max)+1)), boundText("length", "less", *s.shape.Max), true
		}},
		{"short", func(s site) (Node, string, bool) {
			return text(""), "Member must have length greater than or equal to", s.shape.Type == facts.String && low(s.shape) > 0
		}},
		{"control", func(s site) (Node, string, bool) {
			v := s.node.Text + "\x00\n"
			return text(v), patternText(s.shape), s.shape.Pattern != "" && !s.shape.Matches(v)
		}},
		{"few", func(s site) (Node, string, bool) {
			return Node{Kind: s.node.Kind}, "Member must have length greater than or equal to", (s.shape.Type == facts.List || s.shape.Type == facts.Map) && low(s.shape) > 0
		}},
		{"many", func(s site) (Node, string, bool) {
			if s.shape.Type != facts.List || s.shape.Max == nil || *s.shape.Max > 500 {
				return Node{}, "", false
			}
			n := Node{Kind: Array}
			for range int(*s.shape.Max) + 1 {
				n.Items = append(n.Items, s.node.Items[0])
			}
			return n, boundText("length", "less", *s.shape.Max), true
		}},
		{"above", func(s site) (Node, string, bool) {
			if s.node.Kind != Number || s.shape.Max == nil {
				return Node{}, "", false
			}
			return Node{Kind: Number, Text: fmt.Sprint(int64(*s.shape.Max) + 1)}, boundText("value", "less", *s.shape.Max), true
		}},
		{"below", func(s site) (Node, string, bool) {
			if s.node.Kind != Number || s.shape.Min == nil || low(s.shape) < -1<<30 {
				return Node{}, "", false
			}
			return Node{Kind: Number, Text: fmt.Sprint(low(s.shape) - 1)}, boundText("value", "greater", *s.shape.Min), true
		}},
	}
}
