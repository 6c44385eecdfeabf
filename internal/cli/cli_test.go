package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/front"
	"clary/internal/meter"
	"clary/internal/resource"
)

// bench is a data folder and a server that answers by target.
type bench struct {
	t       *testing.T
	data    string
	mu      sync.Mutex
	answers map[string]func(in map[string]any) (int, any)
	scoped  map[string]func(region string, in map[string]any) (int, any)
	asked   []string
	env     []string
	execed  [][]string
	parent  string // the shell that asks
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, data: t.TempDir(), answers: map[string]func(map[string]any) (int, any){}, scoped: map[string]func(string, map[string]any) (int, any){}, env: []string{"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}}
	srv := httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(srv.Close)
	b.write("run/server.json", fmt.Sprintf(`{"Addr":%q,"Region":"eu-west-1","Account":"123456789012"}`, strings.TrimPrefix(srv.URL, "http://")))
	b.write("keys/root.json", `{"AccessKeyId":"AKIDROOT","SecretAccessKey":"s3'cret$x\\"}`)
	b.write("keys/proxy.token", "tok\n")
	if _, err := front.LoadCA(filepath.Join(b.data, "keys")); err != nil {
		t.Fatal(err)
	}
	b.answer("SageMaker.ListTrainingJobs", map[string]any{"TrainingJobSummaries": []any{}})
	b.answer("SageMaker.ListProcessingJobs", map[string]any{"ProcessingJobSummaries": []any{}})
	b.on("SageMaker.DescribeProcessingJob", noJob)
	b.answer("SageMaker.ListTransformJobs", map[string]any{"TransformJobSummaries": []any{}})
	b.on("SageMaker.DescribeTransformJob", noJob)
	b.answer("SageMaker.ListEndpoints", map[string]any{"Endpoints": []any{}})
	b.on("SageMaker.DescribeEndpoint", goneEndpoint)
	return b
}

func goneEndpoint(map[string]any) (int, any) {
	return 400, map[string]any{"__type": "ValidationException", "message": `Could not find endpoint "arn".`}
}

func noJob(map[string]any) (int, any) {
	return 400, map[string]any{"__type": "ValidationException", "message": "Could not find requested job"}
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.data, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) answer(target string, v any) {
	b.on(target, func(map[string]any) (int, any) { return 200, v })
}

func (b *bench) on(target string, f func(map[string]any) (int, any)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers[target] = f
}

// onScope answers by the region that a request is signed for.
func (b *bench) onScope(target string, f func(region string, in map[string]any) (int, any)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.scoped[target] = f
}

func (b *bench) serve(w http.ResponseWriter, r *http.Request) {
	target := r.Header.Get("X-Amz-Target")
	if target == "" {
		target = r.URL.Path
	}
	var in map[string]any
	_ = json.NewDecoder(r.Body).Decode(&in)
	b.mu.Lock()
	f := b.answers[target]
	if g := b.scoped[target]; g != nil {
		region := ""
		if scope := strings.Split(r.Header.Get("Authorization"), "/"); len(scope) > 2 {
			region = scope[2]
		}
		f = func(in map[string]any) (int, any) { return g(region, in) }
	}
	b.asked = append(b.asked, target+" "+r.URL.RawQuery)
	b.mu.Unlock()
	if f == nil || !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIDROOT/") {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"UnknownOperationException","message":"`+target+`"}`)
		return
	}
	status, v := f(in)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (b *bench) run(args ...string) (code int, out, errOut string) {
	b.t.Helper()
	var o, e bytes.Buffer
	stdio := IO{In: strings.NewReader(""), Out: &o, Err: &e, Env: b.env, Parent: func() string { return b.parent }, Exec: func(path string, argv, env []string) error {
		b.execed = append(b.execed, append([]string{path}, argv...))
		b.env = env
		return nil
	}}
	code = Main(context.Background(), stdio, append([]string{"--data", b.data}, args...))
	return code, o.String(), e.String()
}

// shell runs a script in a real sh and gives the environment that it ends with.
func inSh(t *testing.T, env []string, script string) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script+"\nenv -0")
	cmd.Env = env
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for kv := range strings.SplitSeq(string(out), "\x00") {
		if k, v, ok := strings.Cut(kv, "="); ok && k != "_" && k != "PWD" && k != "SHLVL" && k != "OLDPWD" {
			m[k] = v
		}
	}
	return m
}

func list(m map[string]string) []string {
	var out []string
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	return out
}

func TestEnvAndBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.env = append(b.env,
		"AWS_PROFILE=mine", "AWS_SESSION_TOKEN=it's old", "AWS_ENDPOINT_URL_S3=http://elsewhere", "AWS_ENDPOINT_URL=http://before",
		"NO_PROXY=corp.test, 10.0.0.0/8,localhost", "https_proxy=http://corp:3128", "OTHER=a\nb'c")
	original := inSh(t, b.env, "")

	_, script, errText := b.run("env")
	got := inSh(t, b.env, script)
	if errText != "" {
		t.Error(errText)
	}
	for name, want := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDROOT", "AWS_SECRET_ACCESS_KEY": `s3'cret$x\`, "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1",
		"NO_PROXY": "corp.test,10.0.0.0/8,localhost,127.0.0.1,.localhost", "no_proxy": "corp.test,10.0.0.0/8,localhost,127.0.0.1,.localhost", "OTHER": "a\nb'c",
	} {
		if got[name] != want {
			t.Errorf("%s = %q, want %q", name, got[name], want)
		}
	}
	if !strings.HasPrefix(got["AWS_ENDPOINT_URL"], "http://127.0.0.1:") || got["HTTPS_PROXY"] != "http://clary:tok@"+strings.TrimPrefix(got["AWS_ENDPOINT_URL"], "http://") || got["https_proxy"] != got["HTTPS_PROXY"] {
		t.Errorf("endpoint %q, proxy %q %q", got["AWS_ENDPOINT_URL"], got["HTTPS_PROXY"], got["https_proxy"])
	}
	for _, name := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s is still %q", name, v)
		}
	}
	y, err := os.ReadFile(got["SAGEMAKER_USER_CONFIG_OVERRIDE"])
	if err != nil || !strings.Contains(string(y), "TelemetryOptOut: true") {
		t.Errorf("%s, %v", y, err)
	}

	// a second time, from inside: the user's own values are not lost
	b.env = list(got)
	_, script, _ = b.run("env", "--no-proxy")
	again := inSh(t, b.env, script)
	if again["https_proxy"] != "http://corp:3128" || again["HTTPS_PROXY"] != "" || again["NO_PROXY"] != got["NO_PROXY"] {
		t.Errorf("second time: %q %q %q", again["https_proxy"], again["HTTPS_PROXY"], again["NO_PROXY"])
	}

	b.env = list(again)
	_, script, _ = b.run("env", "--unset")
	back := inSh(t, b.env, script)
	for k := range back {
		if back[k] != original[k] {
			t.Errorf("after --unset %s = %q, was %q", k, back[k], original[k])
		}
	}
	for k := range original {
		if _, ok := back[k]; !ok {
			t.Errorf("--unset lost %s", k)
		}
	}
}

func TestUserSettingsOfTheSDKStay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.env = append(b.env, "SAGEMAKER_USER_CONFIG_OVERRIDE=/mine.yaml", "SAGEMAKER_ADMIN_CONFIG_OVERRIDE=/admin.yaml")
	_, script, _ := b.run("env")
	if strings.Contains(script, "export SAGEMAKER_USER_CONFIG_OVERRIDE") || strings.Contains(script, "export SAGEMAKER_ADMIN_CONFIG_OVERRIDE") {
		t.Error("both places were taken and one was changed")
	}
	b.env = b.env[:len(b.env)-1]
	_, script, _ = b.run("env")
	if strings.Contains(script, "export SAGEMAKER_USER_CONFIG_OVERRIDE") {
		t.Error("the user's settings were hidden")
	}
}

func TestBundleHoldsWhatTheUserTrusts(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := t.TempDir()
	if _, err := front.LoadCA(other); err != nil {
		t.Fatal(err)
	}
	b.env = append(b.env, "AWS_CA_BUNDLE="+filepath.Join(other, "ca.pem"), "SSL_CERT_FILE=/does/not/exist")
	_, script, _ := b.run("env")
	got := inSh(t, b.env, script)
	bundle, err := os.ReadFile(got["AWS_CA_BUNDLE"])
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{filepath.Join(other, "ca.pem"), filepath.Join(b.data, "keys", "ca.pem")} {
		want, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(bundle, want) {
			t.Errorf("%s is not in the bundle, %v", f, err)
		}
	}
	// and does not grow
	b.env = list(got)
	_, script, _ = b.run("env")
	if again := inSh(t, b.env, script); again["AWS_CA_BUNDLE"] != got["AWS_CA_BUNDLE"] {
		t.Errorf("another bundle: %s", again["AWS_CA_BUNDLE"])
	}
}

func TestShells(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.env = append(b.env, "AWS_PROFILE=x")
	for name, want := range map[string][]string{
		"fish":       {`set -gx AWS_SECRET_ACCESS_KEY 's3\'cret$x\\';`, "set -e AWS_PROFILE;"},
		"powershell": {`$Env:AWS_SECRET_ACCESS_KEY = 's3''cret$x\'`, "Remove-Item -ErrorAction SilentlyContinue Env:AWS_PROFILE"},
		"sh":         {`export AWS_SECRET_ACCESS_KEY='s3'\''cret$x\'`, "unset AWS_PROFILE"},
	} {
		_, out, _ := b.run("env", "--shell", name)
		for _, w := range want {
			if !strings.Contains(out, w+"\n") {
				t.Errorf("%s has no %q:\n%s", name, w, out)
			}
		}
	}
	if code, _, e := b.run("env", "--shell", "cmd"); code != 1 || !strings.Contains(e, "--shell cmd: want sh ") {
		t.Errorf("%d %s", code, e)
	}
	b.env = []string{"SHELL=/usr/bin/fish"}
	if _, out, _ := b.run("env"); !strings.HasPrefix(out, "set -gx") {
		t.Errorf("%s", out)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.env = append(b.env, "AWS_PROFILE=x")
	if code, _, e := b.run("run", "--", "sh", "-c", "exit 3", "--flag"); code != 0 {
		t.Fatal(code, e)
	}
	if len(b.execed) != 1 || !slices.Equal(b.execed[0][1:], []string{"sh", "-c", "exit 3", "--flag"}) || !strings.HasSuffix(b.execed[0][0], "/sh") {
		t.Errorf("ran %q", b.execed)
	}
	if v, _ := lookup(b.env, "AWS_ACCESS_KEY_ID"); v != "AKIDROOT" {
		t.Errorf("key %q", v)
	}
	if _, ok := lookup(b.env, "AWS_PROFILE"); ok {
		t.Error("the profile is still there")
	}
	if code, _, e := b.run("run", "--", "no-such-program"); code != 127 || !strings.Contains(e, "no-such-program: command not found") {
		t.Errorf("%d %s", code, e)
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("run/server.json", `{"Addr":"127.0.0.1:1","Region":"us-east-1"}`)
	for _, args := range [][]string{{"run", "--", "true"}, {"ps"}, {"cost"}, {"logs", "job"}} {
		if code, _, e := b.run(args...); code != 1 || !strings.Contains(e, "no server answers on 127.0.0.1:1: start it with `clary serve`") {
			t.Errorf("%v: %d %s", args, code, e)
		}
	}
	b.data = t.TempDir()
	for _, args := range [][]string{{"env"}, {"ps"}} {
		if code, _, e := b.run(args...); code != 1 || !strings.Contains(e, "no server has run on") {
			t.Errorf("%v: %d %s", args, code, e)
		}
	}
	if code, out, _ := b.run("env", "--unset"); code != 0 || !strings.Contains(out, "unset "+savedName) {
		t.Errorf("%d %s", code, out)
	}
}

func (b *bench) usage() {
	start := time.Date(2026, 3, 4, 5, 0, 0, 0, time.UTC)
	line := meter.Line{Kind: "TrainingJob", Name: "job-a", UID: "u1", Component: "training", InstanceType: "ml.m5.large", Seconds: 120, Units: 120, MicroUSD: 3834}
	aws := line
	aws.Seconds, aws.MicroUSD = 61, 1949
	un := meter.Line{Kind: "TrainingJob", Name: "job-b", UID: "u2", Component: "training", Seconds: 60, Unpriced: true}
	b.answer("/_clary/usage", usage{
		Account: "123456789012", Now: start.Add(time.Hour),
		Usage: []resource.Usage{
			{UID: "u1", Kind: "TrainingJob", Name: "job-a", Component: "training", InstanceType: "ml.m5.large", Quantity: 2, Start: start, End: start.Add(61 * time.Second)},
			{UID: "u2", Kind: "TrainingJob", Name: "job-b", Component: "training", InstanceType: "ml.odd", Quantity: 1, Start: start.Add(time.Minute)},
		},
		Bills: map[string]meter.Statement{
			"minute": {Lines: []meter.Line{line, un}, MicroUSD: 3834, Unpriced: true},
			"aws":    {Lines: []meter.Line{aws}, MicroUSD: 1949},
		},
	})
	at := float64(start.Unix())
	b.answer("SageMaker.ListNotebookInstances", map[string]any{})
	b.answer("SageMaker.ListTrainingJobs", map[string]any{"TrainingJobSummaries": []any{
		map[string]any{"TrainingJobName": "job-b", "TrainingJobStatus": "InProgress", "SecondaryStatus": "Training", "CreationTime": at + 60},
		map[string]any{"TrainingJobName": "job-a", "TrainingJobStatus": "Completed", "SecondaryStatus": "Completed", "CreationTime": at, "TrainingEndTime": at + 90.5},
	}})
}

func TestPs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.answer("/_clary/usage", usage{})
	b.answer("SageMaker.ListNotebookInstances", map[string]any{})
	if code, out, _ := b.run("ps"); code != 0 || !strings.HasPrefix(out, "No jobs yet.") {
		t.Errorf("%d %s", code, out)
	}
	b.usage()
	code, out, e := b.run("ps")
	for _, want := range []string{"JOB", "job-a", "Completed", "2 × ml.m5.large", "1h00m ago", "1m31s", "$0.003834", "InProgress (Training)", "unpriced"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s%s", want, out, e)
		}
	}
	if last := b.asked[len(b.asked)-1]; !strings.Contains(last, "region=eu-west-1") {
		t.Errorf("asked %s", last)
	}
	_, out, _ = b.run("ps", "--json")
	var rows []psRow
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 2 || rows[1].MicroUSD != 3834 || rows[1].Ended == nil || !rows[0].Unpriced {
		t.Errorf("%v %s", err, out)
	}
}

// Jobs of both kinds are one list, each with its own cost.
func TestPsKinds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.usage()
	at := float64(time.Date(2026, 3, 4, 5, 0, 30, 0, time.UTC).Unix())
	b.answer("SageMaker.ListProcessingJobs", map[string]any{"ProcessingJobSummaries": []any{
		map[string]any{"ProcessingJobName": "job-a", "ProcessingJobStatus": "Completed", "CreationTime": at, "ProcessingEndTime": at + 20},
	}})
	_, out, e := b.run("ps", "--json")
	var rows []psRow
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 3 || rows[1].Kind != "ProcessingJob" || rows[1].Name != "job-a" || rows[1].Ended == nil || rows[1].MicroUSD != 0 || rows[2].MicroUSD == 0 {
		t.Errorf("%v %s%s", err, out, e)
	}
	if _, out, _ := b.run("ps"); !strings.Contains(out, "KIND") || !strings.Contains(out, "processing") {
		t.Error(out)
	}
	no := func(map[string]any) (int, any) {
		return 400, map[string]any{"__type": "AccessDeniedException", "message": "may not list"}
	}
	b.on("SageMaker.ListTrainingJobs", no)
	if code, out, e := b.run("ps"); code != 0 || !strings.Contains(out, "job-a") || strings.Contains(out, "job-b") {
		t.Errorf("who may see one kind gets %d %s%s", code, out, e)
	}
	b.on("SageMaker.ListProcessingJobs", no)
	b.on("SageMaker.ListTransformJobs", no)
	if code, _, e := b.run("ps"); code != 1 || !strings.Contains(e, "may not list") {
		t.Errorf("who may see no job gets %d %s", code, e)
	}
}

// TestPsNotebooks sees notebook instances beside jobs, for those who may.
func TestPsNotebooks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.usage()
	start := time.Date(2026, 3, 4, 5, 0, 0, 0, time.UTC)
	b.answer("/_clary/usage", usage{
		Now:       start.Add(time.Hour),
		Usage:     []resource.Usage{{Kind: "NotebookInstance", Name: "nb", Unit: meter.InstanceSecond, Quantity: 1, Start: start.Add(10 * time.Minute)}},
		Idle:      map[string]time.Time{"nb": start.Add(40 * time.Minute)},
		IdleNotes: map[string]idleNote{"nb": {Evidence: "nothing has run", StopAt: start.Add(65 * time.Minute)}},
		Bills:     map[string]meter.Statement{"minute": {Lines: []meter.Line{{Kind: "NotebookInstance", Name: "nb", Unit: meter.InstanceSecond, Seconds: 3000, MicroUSD: 41667}}}},
	})
	b.answer("SageMaker.ListNotebookInstances", map[string]any{"NotebookInstances": []any{
		map[string]any{"NotebookInstanceName": "nb", "NotebookInstanceStatus": "InService", "InstanceType": "ml.t3.medium", "CreationTime": float64(start.Unix())},
	}})
	_, out, e := b.run("ps")
	for _, want := range []string{"job-a", "NOTEBOOK", "nb", "InService", "ml.t3.medium", "1h00m ago", "50m", "20m00s, stops in 5m00s", "$0.041667"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s%s", want, out, e)
		}
	}
	_, out, _ = b.run("ps", "--json")
	var rows []struct {
		Kind, Name, IdleEvidence string
		MicroUSD                 int64
		StopAt                   time.Time
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 3 || rows[2].IdleEvidence != "nothing has run" || rows[2].StopAt.IsZero() || rows[0].Kind != "TrainingJob" || rows[2].Kind != "NotebookInstance" || rows[2].MicroUSD != 41667 {
		t.Errorf("%v %s", err, out)
	}
	b.on("SageMaker.ListNotebookInstances", func(map[string]any) (int, any) {
		return 400, map[string]any{"__type": "AccessDeniedException", "message": "no"}
	})
	if code, out, e := b.run("ps"); code != 0 || !strings.Contains(out, "job-a") || strings.Contains(out, "NOTEBOOK") {
		t.Errorf("who may see jobs alone gets %d %s%s", code, out, e)
	}
}

func TestPsPages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.usage()
	b.on("SageMaker.ListTrainingJobs", func(in map[string]any) (int, any) {
		n := int(in["MaxResults"].(float64))
		var jobs []any
		for i := range n {
			jobs = append(jobs, map[string]any{"TrainingJobName": fmt.Sprintf("j-%v-%d", in["NextToken"], i), "TrainingJobStatus": "Stopped"})
		}
		return 200, map[string]any{"TrainingJobSummaries": jobs, "NextToken": fmt.Sprint(n)}
	})
	_, out, _ := b.run("ps", "-n", "150", "--json")
	var rows []psRow
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 150 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if code, _, _ := b.run("ps", "-n", "0"); code != 1 {
		t.Error("-n 0 was taken")
	}
}

func TestCost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.usage()
	code, out, e := b.run("cost", "--from", "2026-03-01")
	for _, want := range []string{"SECONDS", "MINUTES", "ON AWS", "job-a", "61", "2", "$0.003834", "$0.001949", "3540…", "Total", "$0.003834 + unpriced"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s%s", want, out, e)
		}
	}
	if last := b.asked[len(b.asked)-1]; !strings.Contains(last, "from=2026-03-01T00%3A00%3A00Z") || !strings.Contains(last, "region=%2A") {
		t.Errorf("asked %s", last)
	}
	_, out, _ = b.run("cost", "job-a", "--json")
	var rep struct {
		Resources             []costRow
		MicroUSD, AWSMicroUSD int64
		Unpriced              bool
	}
	if err := json.Unmarshal([]byte(out), &rep); err != nil || len(rep.Resources) != 1 || rep.MicroUSD != 3834 || rep.AWSMicroUSD != 1949 || rep.Unpriced || rep.Resources[0].Minutes != 2 || rep.Resources[0].Seconds != 61 {
		t.Errorf("%v %s", err, out)
	}
	if code, _, e := b.run("cost", "--from", "soon"); code != 1 || !strings.Contains(e, "want a day like") {
		t.Errorf("%d %s", code, e)
	}
}

func TestLogsFollow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	looks := 0
	b.on("SageMaker.DescribeTrainingJob", func(in map[string]any) (int, any) {
		if in["TrainingJobName"] != "job" {
			return 400, map[string]any{"__type": "ValidationException", "message": "Requested resource not found."}
		}
		looks++
		if looks < 3 {
			return 200, map[string]any{"TrainingJobStatus": "InProgress", "SecondaryStatus": "Training", "CreationTime": 1.5}
		}
		return 200, map[string]any{"TrainingJobStatus": "Failed", "CreationTime": 1.5, "FailureReason": "AlgorithmError: \x1b[2Jboom, exit code: 1"}
	})
	b.on("Logs_20140328.DescribeLogStreams", func(map[string]any) (int, any) {
		if looks < 2 {
			return 400, map[string]any{"__type": "ResourceNotFoundException", "message": "The specified log group does not exist."}
		}
		return 200, map[string]any{"logStreams": []any{map[string]any{"logStreamName": "job/algo-1-1"}}}
	})
	lines := []string{"one", "two", "three", "last"}
	b.on("Logs_20140328.GetLogEvents", func(in map[string]any) (int, any) {
		at := 0
		if t, ok := in["nextToken"].(string); ok {
			_, _ = fmt.Sscanf(t, "f/%d", &at)
		}
		upto := len(lines)
		if looks < 3 {
			upto = 2
		}
		var events []any
		if at < upto { // one a page
			events = append(events, map[string]any{"timestamp": 1000 + at, "message": lines[at]})
			at++
		}
		return 200, map[string]any{"events": events, "nextForwardToken": fmt.Sprintf("f/%d", at)}
	})
	code, out, e := b.run("logs", "-f", "job")
	if code != 1 || out != "one\ntwo\nthree\nlast\n" {
		t.Errorf("%d %q", code, out)
	}
	if !strings.Contains(e, "job: Failed") || !strings.Contains(e, "boom") || strings.Contains(e, "\x1b[2J") {
		t.Errorf("%q", e)
	}
	code, out, _ = b.run("logs", "-t", "job")
	if code != 0 || !strings.HasPrefix(out, "1970-01-01T00:00:01.000Z  one\n") {
		t.Errorf("%d %q", code, out)
	}
	if code, _, e := b.run("logs", "other"); code != 1 || !strings.Contains(e, "no job or endpoint other") {
		t.Errorf("%d %q", code, e)
	}
}

// Streams of several hosts are one log, in the order of time, also where a page
// of one ends among the lines of another.
func TestLogsOfHosts(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.on("SageMaker.DescribeTrainingJob", noJob)
	b.answer("SageMaker.DescribeProcessingJob", map[string]any{
		"ProcessingJobName": "job", "ProcessingJobStatus": "Completed", "CreationTime": 17.999, "ProcessingResources": map[string]any{"ClusterConfig": map[string]any{"InstanceCount": 2}},
	})
	b.on("Logs_20140328.DescribeLogStreams", func(in map[string]any) (int, any) {
		if in["logGroupName"] != "/aws/sagemaker/ProcessingJobs" {
			return 400, map[string]any{"__type": "ResourceNotFoundException"}
		}
		var streams []any // of this job, and of one that had its name before
		for _, name := range []string{"job/algo-1-16", "job/algo-1-17", "job/algo-2-16", "job/algo-2-17"} {
			streams = append(streams, map[string]any{"logStreamName": name})
		}
		return 200, map[string]any{"logStreams": streams}
	})
	pages := map[string][]any{
		"job/algo-1-17": {[]int{1, 4}, []int{5, 9}},
		"job/algo-2-16": {[]int{0, 7}},
		"job/algo-2-17": {[]int{2}, []int{3}, []int{6}},
	}
	b.on("Logs_20140328.GetLogEvents", func(in map[string]any) (int, any) {
		at := 0
		if t, ok := in["nextToken"].(string); ok {
			_, _ = fmt.Sscanf(t, "f/%d", &at)
		}
		var events []any
		if list := pages[in["logStreamName"].(string)]; at < len(list) {
			for _, ms := range list[at].([]int) {
				events = append(events, map[string]any{"timestamp": ms, "message": fmt.Sprint("at ", ms)})
			}
			at++
		}
		return 200, map[string]any{"events": events, "nextForwardToken": fmt.Sprintf("f/%d", at)}
	})
	want := "algo-1  at 1\nalgo-2  at 2\nalgo-2  at 3\nalgo-1  at 4\nalgo-1  at 5\nalgo-2  at 6\nalgo-1  at 9\n"
	if code, out, e := b.run("logs", "-f", "job"); code != 0 || out != want || !strings.Contains(e, "job: Completed") {
		t.Errorf("%d %s%s", code, out, e)
	}
}

// A name that jobs of two kinds have is asked back for.
func TestLogsOfEitherKind(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.answer("SageMaker.DescribeTrainingJob", map[string]any{"TrainingJobStatus": "Completed"})
	b.answer("SageMaker.DescribeProcessingJob", map[string]any{"ProcessingJobStatus": "Failed", "FailureReason": "AlgorithmError: no rows"})
	b.answer("Logs_20140328.DescribeLogStreams", map[string]any{})
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{1, "a training job and a processing job are named x: say --kind training or --kind processing", nil},
		{0, "x: Completed", []string{"--kind", "training"}},
		{1, "AlgorithmError: no rows", []string{"--kind", "processing"}},
		{1, "--kind notebook: want training, processing, transform or endpoint", []string{"--kind", "notebook"}},
	} {
		if code, _, e := b.run(append([]string{"logs", "-f", "x"}, c.args...)...); code != c.code || !strings.Contains(e, c.says) {
			t.Errorf("%v: %d %s", c.args, code, e)
		}
	}
}

func TestServeRefusesBadFlags(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for want, args := range map[string][]string{
		"want 12 digits":   {"--account", "12"},
		"want an address":  {"--wheel-index", "pytorch"},
		"want more than 0": {"--instance-scale", "0"},
		"want five":        {"--notebook-idle-stop", "1m"},
		"want debug":       {"--log-level", "loud"},
		"want 1 to 64":     {"--invoke-payload-mib", "65"},
		"four times":       {"--invoke-in-flight-mib", "23"},
		"timeout: want":    {"--invoke-stream-timeout", "0s"},
		"want a range":     {"--task-egress-allow", "10.0.0.1"},
		"unknown flag":     {"--nonsense"},
	} {
		if code, _, e := b.run(append([]string{"serve"}, args...)...); code != 1 || !strings.Contains(e, want) {
			t.Errorf("%v: %d %s", args, code, e)
		}
	}
}

func TestDefaultData(t *testing.T) {
	t.Parallel()
	for want, env := range map[string]map[string]string{
		"/d":                    {"CLARY_DATA": "/d", "HOME": "/h"},
		"/x/clary":              {"XDG_DATA_HOME": "/x", "HOME": "/h"},
		"/h/.local/share/clary": {"HOME": "/h"},
	} {
		if got := defaultData(func(k string) string { return env[k] }); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestDollars(t *testing.T) {
	t.Parallel()
	for micro, want := range map[int64]string{0: "$0.000000", 1: "$0.000001", 1234567: "$1.234567", -5: "-$0.000005"} {
		if got := dollars(micro); got != want {
			t.Errorf("%d: %s", micro, got)
		}
	}
}

func TestStoppedUnused(t *testing.T) {
	t.Parallel()
	now := time.Now()
	rows, cells := notebookRows([]notebook{{NotebookInstanceName: "nb", NotebookInstanceStatus: "Stopped"}}, usage{
		Now: now, IdleNotes: map[string]idleNote{"nb": {Evidence: "nothing has run", Stopped: now}},
	})
	if len(rows) != 1 || rows[0].StoppedUnused == nil || rows[0].IdleEvidence != "nothing has run" || rows[0].StopAt != nil || cells[0][5] != "stopped unused" {
		t.Errorf("%+v, %v", rows, cells)
	}
}
