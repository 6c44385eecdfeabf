package facts

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func load(t testing.TB, service string) *Model {
	t.Helper()
	m, err := Load(service)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestModels: every embedded model parses, and each of its patterns can be
// translated.
func TestModels(t *testing.T) {
	t.Parallel()
	want := map[string]int{"cloudtrail": 60, "cloudwatch": 59, "iam": 180, "logs": 118, "s3": 116, "sagemaker": 425, "sts": 11}
	for service, n := range want {
		if !slices.Contains(Services(), service) {
			t.Fatalf("no model of %s", service)
		}
		m := load(t, service)
		if len(m.Operations) != n {
			t.Errorf("%s has %d operations, want %d", service, len(m.Operations), n)
		}
		for name, s := range m.Shapes {
			if _, err := s.match(); err != nil {
				t.Errorf("%s.%s: %v", service, name, err)
			}
		}
	}
	if _, err := Load("nothing"); err == nil {
		t.Error("an unknown service has a model")
	}
	m := load(t, "sagemaker")
	s := m.Operations["CreateTrainingJob"].Input
	if !s.Member("TrainingJobName").Required || s.Member("HyperParameters").Required || s.Member("trainingJobName") != nil {
		t.Error("members of CreateTrainingJobRequest")
	}
	if m.TargetPrefix != "SageMaker" || m.JSONVersion != "1.1" || m.SigningName != "sagemaker" {
		t.Errorf("metadata: %+v", m)
	}
	if cw := load(t, "cloudwatch"); !cw.QueryCompatible || cw.SigningName != "monitoring" || cw.Operations["PutMetricData"].Output != nil {
		t.Error("cloudwatch's metadata")
	}
}

// TestEnumOrder holds the order against value lists that AWS's own messages
// have shown, each of the enum's values at the time.
func TestEnumOrder(t *testing.T) {
	t.Parallel()
	for shape, lists := range map[string][]string{
		"TrainingInputMode": {"Pipe, FastFile, File"},
		"TrainingInstanceType": {
			"ml.p2.xlarge, ml.m5.4xlarge, ml.m4.16xlarge, ml.p3.16xlarge, ml.m5.large, ml.p2.16xlarge, ml.c4.2xlarge, ml.c5.2xlarge, ml.c4.4xlarge, ml.c5.4xlarge, ml.c4.8xlarge, ml.c5.9xlarge, ml.c5.xlarge, ml.c4.xlarge, ml.c5.18xlarge, ml.p3.2xlarge, ml.m5.xlarge, ml.m4.10xlarge, ml.m5.12xlarge, ml.m4.xlarge, ml.m5.24xlarge, ml.m4.2xlarge, ml.p2.8xlarge, ml.m5.2xlarge, ml.p3.8xlarge, ml.m4.4xlarge",
			"ml.r7i.48xlarge, ml.r5.12xlarge, ml.r5d.12xlarge, ml.m6i.xlarge, ml.trn1.32xlarge, ml.p2.xlarge, ml.m5.4xlarge, ml.m4.16xlarge, ml.r7i.16xlarge, ml.m7i.xlarge, ml.r5.24xlarge, ml.r5d.24xlarge",
		},
		"ClusterInstanceType":           {"ml.m5.4xlarge, ml.trn1.32xlarge, ml.p5.48xlarge, ml.p4d.24xlarge, ml.t3.xlarge, ml.m5.8xlarge, ml.m5.large, ml.g5.2xlarge, ml.g5.4xlarge, ml.c5.2xlarge, ml.g5.8xlarge, ml.c5n.18xlarge, ml.c5.large, ml.c5.9xlarge, ml.c5.xlarge, ml.c5.12xlarge"},
		"ProductionVariantInstanceType": {"ml.r5d.12xlarge, ml.r5.12xlarge, ml.p2.xlarge, ml.m5.4xlarge, ml.m4.16xlarge, ml.r5d.24xlarge, ml.r5.24xlarge, ml.p3.16xlarge, ml.m5d.xlarge, ml.m5.large, ml.t2.xlarge, ml.p2.16xlarge, ml.m5d.12xlarge, ml.inf1.2xlarge"},
	} {
		s := load(t, "sagemaker").Shapes[shape]
		for _, list := range lists {
			values := strings.Split(list, ", ")
			declared := slices.DeleteFunc(slices.Clone(s.Enum), func(v string) bool { return !slices.Contains(values, v) })
			if got := enumSet(declared); got != "["+list+"]" {
				t.Errorf("%s:\ngot  %s\nwant [%s]", shape, got, list)
			}
		}
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, value string
		fits           bool
	}{
		{`[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}`, "a-b", true},
		{`[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}`, "a-", false},
		{`[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}`, "a\n", false},
		{`[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}`, strings.Repeat("a", 64), false},
		{`.*`, "a b", true},
		{`.*`, "a\nb", false},
		{`.*`, "a\rb", false},
		{`.*`, "a\u2028b", false},
		{`(?!\s*$).+`, "   ", false},
		{`(?!\s*$).+`, "a ", true},
		{`(?!\s*$).+`, "", false},
		{`a|b`, "ab", false},
		{`^a$|^b$`, "b", true},
		{`([a-z]{0,62})(?<!-)`, "abc", true},
		{`([a-z-]{0,62})(?<!-)`, "abc-", false},
		{`(?=.{1,32}$)[a-zA-Z0-9](-*[a-zA-Z0-9])*`, strings.Repeat("a", 33), false},
		{`(?=.{1,32}$)[a-zA-Z0-9](-*[a-zA-Z0-9])*`, strings.Repeat("a", 32), true},
		{`/(?!.*\.\.)[a-zA-Z0-9/_.\-]+`, "/a/../b", false},
		{`/(?!.*\.\.)[a-zA-Z0-9/_.\-]+`, "/a/.b", true},
		{`[\S]{1,2048}`, "a b", false},
		{`x/[\S]{1,2048}`, "x/" + strings.Repeat("é", 2048), true},
		{`x/[\S]{1,2048}`, "x/" + strings.Repeat("a", 2049), false},
		{`x/([a-z]/?){3,1016}`, "x/a", false},
		{`x/([a-z]/?){3,1016}`, "x/ab", false},
		{`x/([a-z]/?){3,1016}`, "x/abc", true},
		{`x/([a-z]/?){3,1016}`, "x/" + strings.Repeat("a", 1016), true},
		{`x/([a-z]/?){3,1016}`, "x/" + strings.Repeat("a", 1017), false},
		{`[a-z]{0,32768}`, strings.Repeat("a", 32768), true},
		{`[a-z]{0,32768}`, strings.Repeat("a", 32769), false},
		{`[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*`, "a😀\t", true},
		{`[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*`, "a\x01", false},
		{`[\p{Alnum}\-]+`, "aZ9-", true},
		{`[\p{Alnum}\-]+`, "é", false},
		{`\p{ASCII}*`, "a\t~", true},
		{`\p{ASCII}*`, "é", false},
		{`\A\S[\p{Print}]*\z`, "a b~", true},
		{`\A\S[\p{Print}]*\z`, " a", false},
		{`\A\S[\p{Print}]*\z`, "a\n", false},
		{`[\p{L}]+`, "é", true},
		{`\w+`, "é", false},
		{`([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,128}`, "a b", true},
		{`[a-z0-9-.]+`, "a-.", true},
		{`[a-z0-9-.]+`, "a,", false},
	} {
		m, err := compile(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if got := m(c.value); got != c.fits {
			t.Errorf("%s on %.40q: %v", c.pattern, c.value, got)
		}
	}
}

// TestPatternsRefused: what cannot be translated faithfully is an error.
func TestPatternsRefused(t *testing.T) {
	t.Parallel()
	for _, p := range []string{
		`a++`, `[a-z&&[^b]]`, `[a[b]]`, `(?i)a`, `(?<x>a)`, `\p{IsGreek}`, `\Qa\E`, `(a)\1`, `[a`, `a{`, `a{x}`, `\uD800`, `\uD800\u0041`, `\u12`, `a\`, `(a`, `[z-a]`,
	} {
		if err := CheckPattern(p); err == nil {
			t.Errorf("%s was translated", p)
		}
	}
}

// TestLinearPatterns: only look-arounds need the engine that backtracks.
func TestLinearPatterns(t *testing.T) {
	t.Parallel()
	around := 0
	for _, service := range Services() {
		for name, s := range load(t, service).Shapes {
			toks, err := scan(s.Pattern)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(s.Pattern, "(?!") || strings.Contains(s.Pattern, "(?=") || strings.Contains(s.Pattern, "(?<") {
				around++
				continue
			}
			if _, ok, _ := simpleRepeat(toks); ok {
				continue
			}
			if _, err := regexp.Compile(render(toks, false)); err != nil {
				t.Errorf("%s.%s: %v", service, name, err)
			}
		}
	}
	if around < 12 {
		t.Errorf("%d look-arounds", around)
	}
}

func TestUnserved(t *testing.T) {
	t.Parallel()
	m := load(t, "sts")
	served := map[string]bool{}
	for name := range m.Operations {
		served[name] = true
	}
	if got := Unserved(m, served); got != "" {
		t.Errorf("%q", got)
	}
	delete(served, "GetCallerIdentity")
	delete(served, "AssumeRole")
	if got := Unserved(m, served); got != "AssumeRole\nGetCallerIdentity\n" {
		t.Errorf("%q", got)
	}
}

// FuzzPattern: any text is translated or refused.
func FuzzPattern(f *testing.F) {
	f.Add(`[a-z]{0,32768}`, "a")
	f.Add(`(?!\s*$).+`, "a")
	f.Add(`[\u0020-\uD7FF]*\p{L}`, "é")
	f.Fuzz(func(_ *testing.T, p, v string) {
		if len(p) > 200 || strings.Count(p, "{") > 3 {
			return
		}
		if m, err := compile(p); err == nil {
			m(v)
		}
	})
}
