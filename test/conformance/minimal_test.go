package conformance

import (
	"bufio"
	"cmp"
	"flag"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
	"clary/internal/aws/validate/validatetest"
)

var update = flag.Bool("update", false, "rewrite test/golden/answers.txt")

const answersFile = "../golden/answers.txt"

// answers is what each operation that has behaviour answers to its minimal
// request: the status of a good answer, else the error's code, or several
// where time decides, with | between them. All others are unsupported.
func answers(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open(answersFile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	out := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		i := strings.LastIndexByte(s.Text(), ' ')
		out[s.Text()[:i]] = s.Text()[i+1:]
	}
	return out
}

// Each operation gets the request that has what the model requires and nothing
// else, in an order in which things are made, used and removed.
func TestMinimalRequests(t *testing.T) {
	w, want := start(t), answers(t)
	var got []string
	for _, service := range facts.Services() {
		m, err := facts.Load(service)
		if err != nil {
			t.Fatal(err)
		}
		for _, protocol := range protocols(m) {
			w.prepare(t, m)
			texts := fixed(m)
			for shape, text := range names(service) {
				if s := m.Shapes[shape]; s != nil {
					texts[s] = text
				}
			}
			for _, name := range slices.SortedFunc(maps.Keys(m.Operations), byLife) {
				if service == "s3" && shadowed(name) {
					continue
				}
				o := m.Operations[name]
				h := fnv.New64()
				_, _ = h.Write([]byte(service + name))
				n := request(t, &validatetest.Maker{Rand: rand.New(rand.NewPCG(h.Sum64(), 11)), Texts: texts}, protocol, o)
				a := w.valid(t, protocol, o, &n)
				key, said := service+"/"+protocol+" "+name, errorCode(protocol, a)
				if said == "" {
					said = strconv.Itoa(a.status)
				}
				unsupported := "UnsupportedOperation"
				if protocol == "rest-xml" {
					unsupported = "NotImplemented"
				}
				one := or(want[key], unsupported)
				if !slices.Contains(strings.Split(one, "|"), said) && !*update {
					t.Errorf("%s: %d %s, want %s: %.600s", key, a.status, said, one, a.body)
				}
				if slices.Contains(strings.Split(one, "|"), said) {
					said = one
				}
				if said != unsupported {
					got = append(got, key+" "+said)
				}
				delete(want, key)
			}
		}
	}
	for key := range want {
		t.Errorf("%s: the models have no %s", answersFile, key)
	}
	slices.Sort(got)
	if *update {
		if err := os.WriteFile(answersFile, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// byLife sorts operations: what makes things, what uses them, what ends them,
// of the latter what is inside first.
func byLife(a, b string) int {
	phase := func(name string) int {
		for i, verbs := range [][]string{{"Create", "Put", "Start", "Add"}, {"Abort", "Delete", "Remove", "Stop", "Untag", "Unsubscribe"}} {
			if slices.ContainsFunc(verbs, func(v string) bool { return strings.HasPrefix(name, v) }) {
				return 2 * i
			}
		}
		return 1
	}
	if d := cmp.Compare(phase(a), phase(b)); d != 0 {
		return d
	}
	if phase(a) == 2 {
		a, b = b, a
	}
	return strings.Compare(a, b)
}

// request is one that the maker makes and the protocol can say.
func request(t *testing.T, g *validatetest.Maker, protocol string, o *facts.Operation) validate.Node {
	t.Helper()
	n := validate.Node{Kind: validate.Object}
	if o.Input == nil {
		return n
	}
	n = g.Value(t, o.Input)
	if protocol == "query" {
		fill(t, g, o.Input, &n)
	}
	if err := validate.Input(o.Input, &n); err != nil {
		t.Errorf("%s: a request made of the facts: %.300s", o.Name, err)
	}
	return n
}

// fill puts a member into each empty structure below n and an entry into each
// empty map: a form has neither.
func fill(t *testing.T, g *validatetest.Maker, s *facts.Shape, n *validate.Node) {
	t.Helper()
	for i := range n.Items {
		fill(t, g, s.Element.Shape, &n.Items[i])
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		to := s.Value
		if s.Type == facts.Structure {
			to = s.Member(f.Name)
		}
		if f.Value.Kind == validate.Object && len(f.Value.Fields) == 0 {
			full := *g
			full.Full = true
			all := full.Value(t, to.Shape)
			f.Value.Fields = all.Fields[:1]
		}
		fill(t, g, to.Shape, &f.Value)
	}
}

// names are those of the things that the minimal requests make and use.
func names(service string) map[string]string {
	const name = "conformance"
	out := map[string]string{
		"RoleArn": "arn:aws:iam::123456789012:role/Some", "arnType": "arn:aws:iam::123456789012:policy/" + name,
		"policyDocumentType": `{"Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}}`, // a role's trust
	}
	for _, shape := range []string{
		"TrainingJobName", "ProcessingJobName", "TransformJobName", "ModelName", "EndpointName", "EndpointConfigName", "NotebookInstanceName", "NotebookInstanceLifecycleConfigName", "EntityName",
		"LogGroupName", "LogStreamName", "AlarmName", "roleNameType", "policyNameType",
	} {
		out[shape] = name
	}
	switch service { // what can be tagged
	case "sagemaker":
		out["ResourceArn"] = "arn:aws:sagemaker:us-east-1:123456789012:model/" + name
	case "sns":
		out["AmazonResourceName"] = "arn:aws:sns:us-east-1:123456789012:" + name
	}
	return out
}

// prepare makes one of each thing that a handler wants more for than the model
// does.
func (w *world) prepare(t *testing.T, m *facts.Model) {
	t.Helper()
	const role = "arn:aws:iam::123456789012:role/Some"
	job := strings.NewReplacer("ROLE", role, `"a"`, `"conformance"`)
	var all [][2]string
	switch m.Service {
	case "budgets":
		all = [][2]string{{"CreateBudget", `{"AccountId":"123456789012","Budget":{"BudgetName":"conformance","BudgetLimit":{"Amount":"1","Unit":"USD"},"TimeUnit":"MONTHLY","BudgetType":"COST"}}`}}
	case "cloudwatch":
		all = [][2]string{{"PutMetricAlarm", `{"AlarmName":"conformance","Namespace":"a","MetricName":"a","Statistic":"Sum","Period":60,"EvaluationPeriods":1,"Threshold":1,"ComparisonOperator":"GreaterThanThreshold"}`}}
	case "sagemaker":
		all = [][2]string{
			{"CreateTrainingJob", job.Replace(whole("CreateTrainingJob"))},
			{"CreateProcessingJob", job.Replace(whole("CreateProcessingJob"))},
			{"CreateModel", `{"ModelName":"conformance","ExecutionRoleArn":"` + role + `","PrimaryContainer":{"Image":"123456789012.dkr.ecr.us-east-1.amazonaws.com/none:1"}}`},
			{"CreateEndpointConfig", `{"EndpointConfigName":"conformance","ProductionVariants":[{"VariantName":"a","ModelName":"conformance","InstanceType":"ml.m5.large","InitialInstanceCount":1}]}`},
		}
	}
	for _, one := range all {
		n, err := validate.ParseJSON([]byte(one[1]))
		if err != nil {
			t.Fatal(err)
		}
		o := m.Operations[one[0]]
		if a := w.valid(t, m.Protocol, o, &n); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", o.Name, a.status, a.body)
		}
	}
}
