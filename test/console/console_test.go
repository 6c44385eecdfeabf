package console

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"clary/test/daemon"
)

const bucket = "sagemaker-us-east-1-123456789012"

func bin(t testing.TB) string {
	t.Helper()
	path := os.Getenv("CLARY_BIN")
	if path == "" {
		path = "../../bin/clary"
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run `make build`", err)
	}
	return path
}

// start runs a server until the test ends.
func start(t testing.TB, args ...string) (*daemon.Daemon, *daemon.API) {
	t.Helper()
	return startIn(t, nil, args...)
}

// startIn runs one with more in its environment.
func startIn(t testing.TB, env []string, args ...string) (*daemon.Daemon, *daemon.API) {
	t.Helper()
	dir, err := os.MkdirTemp("", "clary-console-") //nolint:usetesting // t.TempDir's name is too long for sockets below it
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(bin(t), dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	d.Env = env
	must(t, d.Borrow())
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
		if err := d.Lend(); err != nil {
			t.Errorf("leaving runtimes for others: %v", err)
		}
		if t.Failed() {
			t.Logf("end of the server's log:\n%s", d.Tail())
		}
		if err := daemon.Clear(dir); err != nil {
			t.Errorf("removing the data: %v", err)
		}
	})
	api, err := d.API()
	if err != nil {
		t.Fatal(err)
	}
	return d, api
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const learner = `
import math, random, time, os, json
random.seed(4)
print("reading", os.listdir("/opt/ml/input/data/train"))
for epoch in range(40):
    loss = 1.6 * math.exp(-epoch / 9) + 0.12 + random.random() * 0.05
    acc = 1 - loss / 2.1
    print(f"epoch={epoch} loss={loss:.4f} accuracy={acc:.4f}", flush=True)
    time.sleep(0.02)
json.dump({"epochs": 40, "accuracy": acc}, open("/opt/ml/model/metrics.json", "w"))
open("/opt/ml/model/model.bin", "wb").write(bytes(range(256)) * 40)
`

const breaker = `
import time
print("loading table")
rows = [{"price": "12"}, {"prize": "13"}]
for r in rows:
    print(int(r["price"]))
`

const walker = `
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
i = 0
while True:
    print(f"step={i} of many", flush=True)
    i += 1
    time.sleep(0.25)
`

func withMetrics(names ...string) func(map[string]any) {
	return func(in map[string]any) {
		var defs []any
		for _, n := range names {
			defs = append(defs, map[string]any{"Name": n, "Regex": n + "=([0-9.]+)"})
		}
		in["AlgorithmSpecification"].(map[string]any)["MetricDefinitions"] = defs
	}
}

// TestPages walks through every page of a new server and of a busy one, in two
// widths and both themes.
func TestPages(t *testing.T) {
	t.Parallel()
	d, api := start(t)
	ctx := t.Context()
	b := open(t, d)

	b.visit("/")
	if !strings.HasSuffix(js[string](b, "location.pathname"), "/signin") {
		t.Error("a stranger is not led to the sign-in")
	}
	b.shoot("signin")
	b.signIn("/")
	if got := js[string](b, "location.search"); got != "" {
		t.Errorf("the link's signature stays in the address: %s", got)
	}
	if h := b.text("h1"); h != "Welcome" {
		t.Errorf("a new server says %q", h)
	}
	b.shoot("home-new")
	for _, href := range js[[]string](b, `[...document.querySelectorAll("nav.side li a")].map(a => a.getAttribute("href"))`) {
		b.visit(href)
		name := strings.Trim(href, "/")
		if name == "" {
			continue
		}
		if n := js[int](b, `document.querySelectorAll("pre[data-snippet]").length`); n != 4 {
			t.Errorf("%s: %d snippets, want one for each client", href, n)
		}
		if name == "notebook-instances" || name == "training-jobs" || name == "endpoints" {
			b.shoot("empty-" + name)
		}
	}
	b.quiet()

	must(t, api.CreateBucket(ctx, bucket))
	must(t, api.Put(ctx, bucket, "data/train/flowers.csv", []byte("length,width,kind\n5.1,3.5,setosa\n6.2,2.9,versicolor\n")))
	create := func(name string, in map[string]any) {
		t.Helper()
		must(t, api.SageMaker(ctx, "CreateTrainingJob", in, nil))
	}
	create("flowers", daemon.JobRequest("flowers", bucket, daemon.Python(learner), daemon.Channel("train", "s3://"+bucket+"/data/train/"), withMetrics("loss", "accuracy"),
		func(in map[string]any) { in["HyperParameters"].(map[string]string)["learning-rate"] = "0.05" }))
	create("prices", daemon.JobRequest("prices", bucket, daemon.Python(breaker)))
	for _, n := range []string{"flowers", "prices"} {
		_, err := api.AwaitJob(ctx, n)
		must(t, err)
	}
	create("walk", daemon.JobRequest("walk", bucket, daemon.Python(walker), withMetrics("step")))

	b.visit("/training-jobs")
	b.until("the running job", `[...document.querySelectorAll("tbody tr")].some(r => /walk.*InProgress/s.test(r.innerText))`)
	b.shoot("training-jobs")
	b.forget()
	b.visit("/training-jobs/flowers")
	if kb := b.wire() / 1000; kb > 60 {
		t.Errorf("a job's page takes %.1f kB over the wire, more than 60", kb)
	}
	for _, want := range []string{"Completed", "Training", "flowers.csv", "model.tar.gz", "loss", "accuracy", "learning-rate"} {
		if !strings.Contains(b.text("main"), want) {
			t.Errorf("the page of a job lacks %q", want)
		}
	}
	if n := js[int](b, `document.querySelector("#metrics .charts").querySelectorAll("svg.chart").length`); n != 2 {
		t.Errorf("%d charts of its own metrics, want 2", n)
	}
	b.shoot("job-completed")
	b.visit("/training-jobs/flowers/code")
	b.shoot("job-code")
	b.visit("/training-jobs/flowers/log?q=epoch%3D12")
	if n := js[int](b, `document.querySelectorAll(".log .l").length`); n != 1 {
		t.Errorf("the search finds %d lines, want 1", n)
	}
	b.visit("/training-jobs/flowers/log")
	b.shoot("job-log")
	b.visit("/object?uri=s3%3A%2F%2F" + bucket + "%2Fout%2Fflowers%2Foutput%2Fmodel.tar.gz")
	if !strings.Contains(b.text("main"), "metrics.json") {
		t.Error("the model's archive is not listed")
	}
	b.shoot("object-archive")
	b.visit("/object?uri=s3%3A%2F%2F" + bucket + "%2Fdata%2Ftrain%2Fflowers.csv")
	if !strings.Contains(b.text("main"), "versicolor") {
		t.Error("the table is not shown")
	}
	b.visit("/training-jobs/prices")
	if !strings.Contains(b.text("[role=alert]"), "KeyError: 'price'") {
		t.Error("the failure is not told")
	}
	b.shoot("job-failed")
	b.visit("/training-jobs/walk")
	b.until("the log of the running job", `document.querySelectorAll("pre.log .l").length > 8`)
	b.shoot("job-running")
	b.visit("/")
	b.shoot("home")
	b.visit("/billing")
	b.shoot("billing")
	b.visit("/activity")
	if !strings.Contains(b.text("main"), "CreateTrainingJob") {
		t.Error("the activity lacks CreateTrainingJob")
	}
	b.shoot("activity")
	b.quiet()

	b.visit("/training-jobs/walk/stop")
	b.shoot("stop")
	b.run(chromedp.Click("form[action$='/stop'] button", chromedp.ByQuery), chromedp.WaitReady("nav.side"))
	b.until("the job's end, without a reload", `/Stopped/.test(document.querySelector("#summary")?.innerText)`)
	b.quiet()

	b.visit("/training-jobs/nothing")
	b.shoot("not-found")
	if !strings.Contains(b.text("main"), "Not found") {
		t.Error("an unknown job has no page that says so")
	}
}

// TestLive watches a page while what it shows changes; nothing is reloaded.
func TestLive(t *testing.T) {
	t.Parallel()
	d, api := start(t)
	ctx := t.Context()
	must(t, api.CreateBucket(ctx, bucket))
	b := open(t, d)
	b.run(chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(`window.streams = []; window.EventSource = class extends EventSource { constructor(u) { super(u); window.streams.push(this); } }`).Do(ctx)
		return err
	}))
	b.signIn("/training-jobs")
	js[bool](b, "window.here = true")
	must(t, api.SageMaker(ctx, "CreateTrainingJob", daemon.JobRequest("first", bucket, daemon.Python("print('hello')")), nil))
	b.until("the first job in the empty list", `document.body.innerText.includes("first")`)
	b.until("its end", `/Completed/.test(document.body.innerText)`)
	if !js[bool](b, "window.here === true") {
		t.Error("the page was loaded again")
	}
	must(t, api.SageMaker(ctx, "CreateTrainingJob", daemon.JobRequest("second", bucket, daemon.Python(walker)), nil))
	b.visit("/training-jobs/second")
	b.until("lines as they come", `document.querySelectorAll("pre.log .l").length > 10`)
	// a page that nobody sees keeps no connection, and goes on where it was
	hide := func(hidden bool) {
		js[bool](b, fmt.Sprintf(`Object.defineProperty(document, "hidden", {value: %t, configurable: true}); document.dispatchEvent(new Event("visibilitychange"))`, hidden))
	}
	hide(true)
	if open := js[int](b, `streams.filter(s => s.readyState !== EventSource.CLOSED).length`); open != 0 {
		t.Errorf("a page that is hidden keeps %d streams", open)
	}
	seen := js[int](b, `document.querySelectorAll("pre.log .l").length`)
	hide(false)
	if open := js[int](b, `streams.filter(s => s.readyState !== EventSource.CLOSED).length`); open != 2 {
		t.Errorf("a page that is seen again has %d streams, want 2", open)
	}
	b.until("lines after it was hidden", fmt.Sprintf(`document.querySelectorAll("pre.log .l").length > %d + 5`, seen))
	// the server is gone for a moment: the page goes on by itself
	must(t, d.Kill())
	must(t, d.Start(ctx))
	n := js[int](b, `document.querySelectorAll("pre.log .l").length`)
	b.until("lines after a crash", fmt.Sprintf(`document.querySelectorAll("pre.log .l").length > %d + 5`, n))
	lines := js[[]string](b, `[...document.querySelectorAll("pre.log .l")].map(l => l.lastChild.textContent).filter(l => l.startsWith("step="))`)
	for i, l := range lines[1:] {
		var a, z int
		if _, err := fmt.Sscanf(lines[i], "step=%d", &a); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(l, "step=%d", &z); err != nil {
			t.Fatal(err)
		}
		if z != a+1 {
			t.Fatalf("line %q follows %q: something is lost or doubled", l, lines[i])
		}
	}
	must(t, api.SageMaker(ctx, "StopTrainingJob", map[string]any{"TrainingJobName": "second"}, nil))
	b.until("its end", `/Stopped/.test(document.querySelector("#summary")?.innerText)`)
}
