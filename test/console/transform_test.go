package console

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"clary/test/daemon"
)

// scorer grades each row, and takes its time where it is told to.
const scorer = `
import os, time

def model_fn(model_dir):
    print("the model is here", flush=True)
    return 0.5

def input_fn(body, content_type):
    text = body.decode() if isinstance(body, bytes) else body
    return [[float(x) for x in line.split(",")] for line in text.strip().splitlines()]

def predict_fn(rows, model):
    time.sleep(float(os.environ.get("REST", "0")))
    print("scoring", len(rows), "rows", flush=True)
    return [round(model * sum(row), 2) for row in rows]

def output_fn(answer, accept):
    return "\n".join(str(a) for a in answer), "text/csv"
`

// transform is a CreateTransformJob of the model scorer over a prefix.
func transform(name, prefix string, more ...func(map[string]any)) map[string]any {
	in := map[string]any{
		"TransformJobName": name, "ModelName": "scorer",
		"TransformInput": map[string]any{
			"DataSource":  map[string]any{"S3DataSource": map[string]any{"S3DataType": "S3Prefix", "S3Uri": "s3://" + bucket + "/" + prefix}},
			"ContentType": "text/csv", "SplitType": "Line",
		},
		"TransformOutput":    map[string]any{"S3OutputPath": "s3://" + bucket + "/scored/" + name, "Accept": "text/csv", "AssembleWith": "Line"},
		"TransformResources": map[string]any{"InstanceType": "ml.m5.large", "InstanceCount": 1},
		"DataProcessing":     map[string]any{"JoinSource": "Input"},
		"ModelClientConfig":  map[string]any{"InvocationsTimeoutInSeconds": 60, "InvocationsMaxRetries": 0},
	}
	for _, m := range more {
		m(in)
	}
	return in
}

// TestTransformPages follows batch transform jobs from the empty list on: one
// that ends, one that fails in the middle, and one on two hosts that is stopped.
func TestTransformPages(t *testing.T) {
	t.Parallel()
	d, api := start(t)
	ctx := t.Context()
	must(t, api.CreateBucket(ctx, bucket))
	serve(ctx, t, api, "scorer", scorer)
	var long strings.Builder
	for i := range 400 {
		_, _ = fmt.Fprintf(&long, "%d,%d\n", i, i+1)
	}
	for key, text := range map[string]string{
		"orders/2026-01.csv": "12.5,3,1\n8,1,0\n", "orders/2026-02.csv": "20,2,2\n", "orders/more/2026-03.csv": "1,1,1\n2,2,2\n3,3,3\n",
		"damaged/a.csv": "1,2\n", "damaged/b.csv": "1,two\n", "many/a.csv": long.String(), "many/b.csv": long.String(),
	} {
		must(t, api.Put(ctx, bucket, key, []byte(text)))
	}
	create := func(in map[string]any) {
		t.Helper()
		must(t, api.SageMaker(ctx, "CreateTransformJob", in, nil))
	}
	b := open(t, d)
	b.signIn("/batch-transform")
	b.shoot("empty-batch-transform")
	js[bool](b, "window.here = true")
	create(transform("score-orders", "orders/", func(in map[string]any) { in["MaxPayloadInMB"], in["MaxConcurrentTransforms"] = 2, 4 }))
	create(transform("score-damaged", "damaged/"))
	row := func(name, status string) string {
		return `[...document.querySelectorAll("#jobs tbody tr")].some(r => /` + name + `.*` + status + `/s.test(r.innerText))`
	}
	b.until("the first job's end in the list", row("score-orders", "Completed"))
	b.until("the second's failure", row("score-damaged", "Failed"))
	if !js[bool](b, "window.here === true") {
		t.Error("the page was loaded again")
	}
	create(transform("score-many", "many/", func(in map[string]any) {
		in["BatchStrategy"], in["Environment"] = "SingleRecord", map[string]string{"REST": "0.3"}
		in["TransformResources"].(map[string]any)["InstanceCount"] = 2
	}))
	b.visit("/batch-transform")
	b.until("the running job", row("score-many", "InProgress"))
	if n := js[int](b, `document.querySelectorAll('#jobs tbody a[href="/models/scorer"]').length`); n != 3 {
		t.Errorf("%d rows lead to their model, want 3", n)
	}
	b.shoot("batch-transform")

	b.forget()
	b.visit("/batch-transform/score-orders")
	if kb := b.wire() / 1000; kb > 60 {
		t.Errorf("a job's page takes %.1f kB over the wire, more than 60", kb)
	}
	for _, want := range []string{
		"Completed", "Starting", "Transforming", "scorer", "sagemaker-base-python:3.10", "1 × ml.m5.large", "3 of 3 objects have their answers.", "2026-01.csv.out", "more/2026-03.csv.out",
		"12.5,3,1,8.25", "8,1,0,4.5", "at most 2 MB", "4 on each instance", "each line is a record", "each answer to its input record", "scoring",
	} {
		if !strings.Contains(b.text("main"), want) {
			t.Errorf("the page of a job lacks %q", want)
		}
	}
	b.shoot("transform-completed")
	b.run(chromedp.Click(`nav[aria-label=Hosts] a[href*="data-log"]`, chromedp.ByQuery), chromedp.WaitReady("pre.log"))
	b.until("what the job asked of the model", `/MaxConcurrentTransforms=4, MaxPayloadInMB=2, BatchStrategy=MULTI_RECORD/.test(document.querySelector("pre.log").innerText)`)
	b.run(chromedp.Click(`#data a[href*="2026-02.csv.out"]`, chromedp.ByQuery), chromedp.WaitReady("main h1"))
	b.until("the scored rows", `/20,2,2,12/.test(document.querySelector("main").innerText)`)
	b.visit("/batch-transform/score-orders/code")
	b.shoot("transform-code")

	b.visit("/batch-transform/score-damaged")
	if !strings.Contains(b.text("[role=alert]"), "See job logs") || !strings.Contains(b.text("pre.log"), "damaged/b.csv") {
		t.Errorf("the failure is not told: %s", b.text("main"))
	}
	b.until("the answers that are kept", `/a\.csv\.out/.test(document.querySelector("#data").innerText) && !/b\.csv\.out/.test(document.querySelector("#data").innerText)`)
	b.shoot("transform-failed")

	b.visit("/batch-transform/score-many")
	b.until("the first host's lines", `[...document.querySelectorAll("pre.log .l")].filter(l => /scoring 1 rows/.test(l.innerText)).length > 2`)
	b.run(chromedp.Click(`nav[aria-label=Hosts] a[href$="algo-2#log"]`, chromedp.ByQuery))
	b.until("the second host's lines, as they come", `(() => {
		const lines = [...document.querySelectorAll("pre.log .l")].filter(l => /scoring 1 rows/.test(l.innerText));
		return lines.length > 6 && document.querySelector("nav[aria-label=Hosts] [aria-current]").innerText === "algo-2";
	})()`)
	b.shoot("transform-running")
	b.visit("/batch-transform/score-many/log?q=the+model+is+here")
	if hosts := js[[]string](b, `[...new Set([...document.querySelectorAll("pre.log .l")].map(l => l.querySelector("span.at").innerText))].sort()`); strings.Join(hosts, " ") != "algo-1 algo-2" {
		t.Errorf("a search finds lines of %q, want some of each host", hosts)
	}
	transformsFromTheShell(ctx, t, d)
	b.visit("/models/scorer")
	b.until("the jobs of the model", `["score-orders", "score-damaged", "score-many"].every(n => !!document.querySelector('#summary a[href="/batch-transform/' + n + '"]'))`)
	b.shoot("model-transforms")
	b.visit("/")
	for _, want := range []string{"score-many", "score-orders", "score-damaged", "Transform job"} {
		if !strings.Contains(b.text("main"), want) {
			t.Errorf("home lacks %q", want)
		}
	}
	b.shoot("home-transform")
	b.visit("/billing")
	b.until("the cost of a transform job", `!!document.querySelector('a[href="/batch-transform/score-orders"]')`)
	b.visit("/activity")
	b.until("who made it", `/CreateTransformJob/.test(document.body.innerText) && !!document.querySelector('a[href="/batch-transform/score-damaged"]')`)
	b.quiet()

	b.visit("/batch-transform/score-many/stop")
	b.shoot("transform-stop")
	b.run(chromedp.Click("form[action$='/stop'] button", chromedp.ByQuery), chromedp.WaitReady("nav.side"))
	b.until("the job's end, without a reload", `/Stopped/.test(document.querySelector("#summary")?.innerText)`)
	if text := b.text("#data"); !strings.Contains(text, "0 of 2 objects have their answers") {
		t.Errorf("a job that was stopped in its first objects shows %s", text)
	}
	must(t, api.SageMaker(ctx, "DeleteModel", map[string]any{"ModelName": "scorer"}, nil))
	b.visit("/batch-transform/score-orders")
	b.until("that the model is gone", `/scorer \(deleted since\)/.test(document.querySelector("main").innerText) && !document.querySelector('a[href="/models/scorer"]')`)
	b.quiet()
	b.visit("/batch-transform/nothing")
	if !strings.Contains(b.text("main"), "Not found") {
		t.Error("an unknown job has no page that says so")
	}
	ended(t, d)
}

// transformsFromTheShell asks the commands for what the pages show.
func transformsFromTheShell(ctx context.Context, t testing.TB, d *daemon.Daemon) {
	t.Helper()
	for _, c := range []struct {
		args string
		fail bool
		says []string
	}{
		{"ps", false, []string{"score-orders", "transform", "Completed", "score-damaged", "Failed", "2 × ml.m5.large"}},
		{"logs score-orders", false, []string{"algo-1  the model is here", "algo-1/data-log  ", "BatchStrategy=MULTI_RECORD"}},
		{"logs -f score-damaged", true, []string{"damaged/b.csv", "score-damaged: Failed", "See job logs"}},
		{"logs score-orders --kind training", true, []string{"no training job score-orders"}},
		{"cost score-orders", false, []string{"TransformJob", "score-orders", "ml.m5.large", "$0.00"}},
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
	out, err := d.Clary(ctx, "ps", "--json").Output()
	must(t, err)
	var rows []struct {
		Kind, Name, Status string
		MicroUSD           int64
	}
	must(t, json.Unmarshal(out, &rows))
	if len(rows) != 3 || rows[0].Kind != "TransformJob" || rows[0].Name != "score-many" || rows[2].MicroUSD == 0 {
		t.Errorf("clary ps --json: %s", out)
	}
}
