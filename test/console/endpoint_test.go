package console

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"clary/test/daemon"
)

// adder answers with a sum, and with an error where there is nothing to add.
const adder = `
import json

def model_fn(model_dir):
    print("the model is here", flush=True)
    return 1

def input_fn(body, content_type):
    return [float(x) for x in body.split(",")]

def predict_fn(data, model):
    print("adding", len(data), flush=True)
    return sum(data)

def output_fn(answer, accept):
    return json.dumps(answer), "application/json"
`

const breakingModel = `
def model_fn(model_dir):
    print("looking for the weights", flush=True)
    raise FileNotFoundError("weights.bin is not in the model")
`

// packed is a tar.gz of files.
func packed(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, text := range files {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}))
		_, err := w.Write([]byte(text))
		must(t, err)
	}
	must(t, w.Close())
	must(t, z.Close())
	return b.Bytes()
}

// serve makes a model of a script and a configuration of it, of the same name.
func serve(ctx context.Context, t testing.TB, api *daemon.API, name, script string, more ...map[string]any) {
	t.Helper()
	must(t, api.Put(ctx, bucket, "models/"+name+".tar.gz", packed(t, map[string]string{"weights.txt": "1", "code/inference.py": script})))
	must(t, api.SageMaker(ctx, "CreateModel", map[string]any{
		"ModelName": name, "ExecutionRoleArn": "arn:aws:iam::123456789012:role/Unknown",
		"PrimaryContainer": map[string]any{
			"Image":        "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python:3.10",
			"ModelDataUrl": "s3://" + bucket + "/models/" + name + ".tar.gz", "Environment": map[string]string{"SAGEMAKER_PROGRAM": "inference.py"},
		},
	}, nil))
	variants := []any{map[string]any{"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}}
	for _, m := range more {
		variants = append(variants, m)
	}
	must(t, api.SageMaker(ctx, "CreateEndpointConfig", map[string]any{"EndpointConfigName": name, "ProductionVariants": variants}, nil))
}

// TestEndpointPages follows a model until it answers: from the empty lists to
// its traffic and its end, and one that cannot start.
func TestEndpointPages(t *testing.T) {
	t.Parallel()
	d, api := start(t)
	ctx := t.Context()
	must(t, api.CreateBucket(ctx, bucket))
	b := open(t, d)
	b.signIn("/models")
	b.shoot("empty-models")
	b.visit("/endpoints")
	js[bool](b, "window.here = true")
	serve(ctx, t, api, "adder", adder)
	second := map[string]any{"VariantName": "Second", "ModelName": "adder", "InitialInstanceCount": 1, "InstanceType": "ml.c5.large", "InitialVariantWeight": 3}
	serve(ctx, t, api, "two-adders", adder, second)
	serve(ctx, t, api, "broken", breakingModel)
	for _, name := range []string{"adder", "broken"} {
		must(t, api.SageMaker(ctx, "CreateEndpoint", map[string]any{"EndpointName": name, "EndpointConfigName": name}, nil))
	}
	row := func(name, status string) string {
		return `[...document.querySelectorAll("#endpoints tbody tr")].some(r => /` + name + `.*` + status + `/s.test(r.innerText))`
	}
	b.until("the endpoint in service in the list that was empty", row("adder", "InService"))
	b.until("the other's failure", row("broken", "Failed"))
	if !js[bool](b, "window.here === true") {
		t.Error("the page was loaded again")
	}
	invoke := func(row string, want int) {
		t.Helper()
		status, answer, err := api.Invoke(ctx, "adder", "text/csv", []byte(row))
		if err != nil || status != want {
			t.Fatalf("%s: %d %s %v", row, status, answer, err)
		}
	}
	for range 20 {
		invoke("1,2,3.5", http.StatusOK)
	}
	invoke("one", http.StatusFailedDependency)
	out, err := d.Clary(ctx, "endpoint", "invoke", "adder", "1,2", "-t", "text/csv").CombinedOutput()
	if err != nil || string(out) != "3.0" {
		t.Errorf("clary endpoint invoke: %s %v", out, err)
	}
	fromTheShell(ctx, t, d)
	b.visit("/endpoints")
	b.until("what it costs by now", `/ml\.m5\.large.*\$0\.\d+.*\$0\.\d+/s.test(document.querySelector("#endpoints tbody").innerText)`)
	b.shoot("endpoints")

	b.forget()
	b.visit("/endpoints/adder")
	if kb := b.wire() / 1000; kb > 60 {
		t.Errorf("an endpoint's page takes %.1f kB over the wire, more than 60", kb)
	}
	b.until("its traffic", `document.querySelectorAll("#traffic svg.chart").length >= 3`)
	for _, want := range []string{"InService", "AllTraffic", "1 × ml.m5.large", "an hour until deleted", "Invocations", "Model latency", "invoke_endpoint", "adding 3", "sagemaker-base-python:3.10"} {
		if !strings.Contains(b.text("main"), want) && !strings.Contains(js[string](b, `document.querySelector("main").textContent`), want) {
			t.Errorf("the page of an endpoint lacks %q", want)
		}
	}
	n := js[int](b, `document.querySelectorAll("pre.log .l").length`)
	invoke("1,2,3,4,5,6,7,8,9", http.StatusOK)
	b.until("a line as it is written", fmt.Sprintf(`document.querySelectorAll("pre.log .l").length > %d && /adding 9/.test(document.querySelector("pre.log").innerText)`, n))
	b.shoot("endpoint")
	b.visit("/endpoints/adder/log?q=adding+9")
	if n := js[int](b, `document.querySelectorAll(".log .l").length`); n != 1 {
		t.Errorf("the search finds %d lines, want 1", n)
	}
	b.visit("/endpoints/broken")
	if !strings.Contains(b.text("[role=alert]"), "weights.bin is not in the model") || !strings.Contains(b.text("pre.log"), "looking for the weights") {
		t.Errorf("the failure is not told: %s", b.text("main"))
	}
	if code := b.text("#code"); !strings.Contains(code, "delete_endpoint") || strings.Contains(code, "invoke") {
		t.Errorf("the code for an endpoint that failed: %s", code)
	}
	b.shoot("endpoint-failed")

	must(t, api.SageMaker(ctx, "UpdateEndpoint", map[string]any{"EndpointName": "adder", "EndpointConfigName": "two-adders"}, nil))
	b.visit("/endpoints/adder")
	b.until("both variants, without a reload", `/InService/.test(document.querySelector("#summary").innerText) && /Second/.test(document.querySelector("#summary").innerText) && /75 %/.test(document.querySelector("#summary").innerText)`)
	b.visit("/endpoints/adder?variant=Second&hours=1")
	b.shoot("endpoint-variants")
	b.visit("/models")
	b.shoot("models")
	b.visit("/models/adder")
	b.shoot("model")
	b.run(chromedp.Click(`#summary a[href="/endpoint-configurations/two-adders"]`, chromedp.ByQuery), chromedp.WaitReady("main h1"))
	b.until("the configuration's page, and what is made of it", `!!document.querySelector('a[href="/endpoints/adder"]') && !!document.querySelector('a[href="/models/two-adders"]')`)
	b.shoot("endpoint-configuration")
	b.visit("/endpoint-configurations")
	b.shoot("endpoint-configurations")
	b.visit("/")
	b.until("the endpoint among what costs", `/adder/.test(document.querySelector("#home-all").innerText)`)
	b.shoot("home-endpoints")
	b.visit("/billing")
	b.until("its cost", `!!document.querySelector('a[href="/endpoints/adder"]')`)
	b.visit("/activity")
	b.until("who made it", `/CreateEndpoint/.test(document.body.innerText) && !!document.querySelector('a[href="/endpoint-configurations/adder"]')`)
	b.quiet()

	b.visit("/endpoints/adder/delete")
	b.shoot("endpoint-delete")
	b.run(chromedp.Click("form[action$='/delete'] button", chromedp.ByQuery), chromedp.WaitReady("nav.side"))
	b.until("its end, without a reload", `document.querySelector("#endpoints") != null && !/adder/.test(document.querySelector("#endpoints").innerText)`)
	b.quiet()
	b.visit("/endpoints/adder")
	if !strings.Contains(b.text("main"), "Not found") {
		t.Error("an endpoint that is gone has no page that says so")
	}
	if out, err := d.Clary(ctx, "endpoint", "delete", "broken").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("clary endpoint delete: %s %v", out, err)
	}
	ended(t, d)
}

// fromTheShell asks the commands for what the pages show: adder is in service,
// broken has failed.
func fromTheShell(ctx context.Context, t testing.TB, d *daemon.Daemon) {
	t.Helper()
	for _, c := range []struct {
		args string
		fail bool
		says []string
	}{
		{"endpoint ls", false, []string{"adder", "InService", "1 × ml.m5.large", "broken", "Failed", "$0.0"}},
		{"ps", false, []string{"ENDPOINT", "adder"}},
		{"logs adder", false, []string{"the model is here", "adding 3"}},
		{"logs -f broken", true, []string{"looking for the weights", "broken: Failed", "weights.bin is not in the model"}},
		{"cost", false, []string{"hosting", "adder", "ml.m5.large"}},
	} {
		verb, rest, _ := strings.Cut(c.args, " ")
		out, err := d.Clary(ctx, verb, strings.Fields(rest)...).CombinedOutput()
		if (err != nil) != c.fail {
			t.Errorf("clary %s: %v", c.args, err)
		}
		for _, s := range c.says {
			if !strings.Contains(string(out), s) {
				t.Errorf("clary %s lacks %q:\n%s", c.args, s, out)
			}
		}
	}
}

// ended waits until nothing is charged for any more.
func ended(t testing.TB, d *daemon.Daemon) {
	t.Helper()
	var costs struct {
		Resources []struct {
			Kind, Name string
			Running    bool
		}
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, err := d.Clary(t.Context(), "cost", "--json").Output()
		must(t, err)
		must(t, json.Unmarshal(out, &costs))
		running := false
		for _, r := range costs.Resources {
			running = running || r.Running
		}
		if !running {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("something is charged for still: %+v", costs)
		}
	}
}
