package console

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

const cleaner = `
import csv, struct, zlib
rows = list(csv.reader(open("/opt/ml/processing/input/measures/flowers.csv")))
print("read", len(rows) - 1, "rows")
whole = [r for r in rows if all(r)]
with open("/opt/ml/processing/output/table/clean.csv", "w") as f:
    csv.writer(f).writerows(whole)
w, h = 240, 90
pixels = b"".join(b"\0" + bytes(v for x in range(w) for v in (30, 40 + 2 * y, min(255, x))) for y in range(h))
chunk = lambda kind, b: struct.pack(">I", len(b)) + kind + b + struct.pack(">I", zlib.crc32(kind + b))
with open("/opt/ml/processing/output/plots/spread.png", "wb") as f:
    f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b""))
open("/opt/ml/output/message", "w").write("Kept %d of %d rows." % (len(whole) - 1, len(rows) - 1))
print("done", flush=True)
`

const counter = `
import json, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
host = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
i = 0
while True:
    print(f"part={i} of {host}", flush=True)
    i += 1
    time.sleep(0.25)
`

// processing is a CreateProcessingJob that runs a script on hosts.
func processing(name string, hosts int) map[string]any {
	place := "s3://" + bucket + "/clean/" + name
	input := func(input, uri string) any {
		return map[string]any{"InputName": input, "S3Input": map[string]any{
			"S3Uri": "s3://" + bucket + uri, "LocalPath": "/opt/ml/processing/input/" + input, "S3DataType": "S3Prefix", "S3InputMode": "File",
		}}
	}
	return map[string]any{
		"ProcessingJobName": name,
		"RoleArn":           "arn:aws:iam::123456789012:role/Unknown",
		"AppSpecification": map[string]any{
			"ImageUri":            "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python:3.10",
			"ContainerEntrypoint": []string{"python3", "/opt/ml/processing/input/code/" + name + ".py"},
			"ContainerArguments":  []string{"--drop", "empty"},
		},
		"Environment":      map[string]string{"LANG": "C.UTF-8"},
		"ProcessingInputs": []any{input("measures", "/measures/"), input("code", "/code/"+name+".py")},
		"ProcessingOutputConfig": map[string]any{"Outputs": []any{
			map[string]any{"OutputName": "table", "S3Output": map[string]any{"S3Uri": place + "/table", "LocalPath": "/opt/ml/processing/output/table", "S3UploadMode": "EndOfJob"}},
			map[string]any{"OutputName": "plots", "S3Output": map[string]any{"S3Uri": place + "/plots", "LocalPath": "/opt/ml/processing/output/plots", "S3UploadMode": "Continuous"}},
		}},
		"ProcessingResources": map[string]any{"ClusterConfig": map[string]any{"InstanceType": "ml.m5.large", "InstanceCount": hosts, "VolumeSizeInGB": 1}},
		"StoppingCondition":   map[string]any{"MaxRuntimeInSeconds": 600},
	}
}

// TestProcessingPages follows processing jobs from the empty list on: one that
// ends, one that fails, and one on two hosts that is stopped.
func TestProcessingPages(t *testing.T) {
	t.Parallel()
	d, api := start(t)
	ctx := t.Context()
	must(t, api.CreateBucket(ctx, bucket))
	must(t, api.Put(ctx, bucket, "measures/flowers.csv", []byte("length,width,kind\n5.1,3.5,setosa\n6.2,,versicolor\n5.9,3.0,virginica\n")))
	create := func(name, script string, hosts int) {
		t.Helper()
		must(t, api.Put(ctx, bucket, "code/"+name+".py", []byte(script)))
		must(t, api.SageMaker(ctx, "CreateProcessingJob", processing(name, hosts), nil))
	}
	b := open(t, d)
	b.signIn("/processing-jobs")
	b.shoot("empty-processing-jobs")
	js[bool](b, "window.here = true")
	create("clean-flowers", cleaner, 1)
	create("prices", breaker, 1)
	row := func(name, status string) string {
		return `[...document.querySelectorAll("#jobs tbody tr")].some(r => /` + name + `.*` + status + `/s.test(r.innerText))`
	}
	b.until("the first job's end in the list", row("clean-flowers", "Completed"))
	b.until("the second's failure", row("prices", "Failed"))
	if !js[bool](b, "window.here === true") {
		t.Error("the page was loaded again")
	}
	create("count-parts", counter, 2)
	b.visit("/processing-jobs")
	b.until("the running job", row("count-parts", "InProgress"))
	for _, want := range []string{"Kept 2 of 3 rows.", "KeyError: 'price'"} {
		if !strings.Contains(b.text("#jobs"), want) {
			t.Errorf("the list lacks %q", want)
		}
	}
	b.shoot("processing-jobs")

	b.visit("/processing-jobs/clean-flowers")
	for _, want := range []string{"Completed", "Starting", "Processing", "Kept 2 of 3 rows.", "read 3 rows", "flowers.csv", "clean.csv", "spread.png", "--drop empty", "1 × ml.m5.large", "LANG"} {
		if !strings.Contains(b.text("main"), want) {
			t.Errorf("the page of a job lacks %q", want)
		}
	}
	b.shoot("processing-completed")
	b.run(chromedp.Click(`#data a[href*="clean.csv"]`, chromedp.ByQuery), chromedp.WaitReady("main h1"))
	b.until("the cleaned table", `/virginica/.test(document.querySelector("main table")?.innerText) && !/versicolor/.test(document.body.innerText)`)
	b.visit("/object?uri=s3%3A%2F%2F" + bucket + "%2Fclean%2Fclean-flowers%2Fplots%2Fspread.png")
	b.until("the picture", `document.querySelector("img.picture")?.naturalWidth === 240`)
	b.visit("/processing-jobs/clean-flowers/code")
	b.shoot("processing-code")

	b.visit("/processing-jobs/prices")
	if !strings.Contains(b.text("[role=alert]"), "KeyError: 'price'") {
		t.Error("the failure is not told")
	}
	b.shoot("processing-failed")

	b.visit("/processing-jobs/count-parts")
	b.until("the first host's lines", `[...document.querySelectorAll("pre.log .l")].filter(l => /part=\d+ of algo-1/.test(l.innerText)).length > 2`)
	b.run(chromedp.Click(`nav[aria-label=Hosts] a[href*="algo-2"]`, chromedp.ByQuery))
	b.until("the second host's lines, as they come", `(() => {
		const lines = [...document.querySelectorAll("pre.log .l")].map(l => l.innerText).filter(l => /part=/.test(l));
		return lines.length > 6 && lines.every(l => / of algo-2$/.test(l)) && document.querySelector("nav[aria-label=Hosts] [aria-current]").innerText === "algo-2";
	})()`)
	b.shoot("processing-running")
	b.visit("/processing-jobs/count-parts/log?q=part%3D1+of")
	if hosts := js[[]string](b, `[...document.querySelectorAll("pre.log .l")].map(l => l.querySelector("span.at").innerText).sort()`); strings.Join(hosts, " ") != "algo-1 algo-2" {
		t.Errorf("a search finds lines of %q, want one of each host", hosts)
	}
	b.shoot("processing-search")
	b.visit("/")
	for _, want := range []string{"count-parts", "clean-flowers", "prices", "Processing job"} {
		if !strings.Contains(b.text("main"), want) {
			t.Errorf("home lacks %q", want)
		}
	}
	b.shoot("home-processing")
	b.visit("/billing")
	b.until("the cost of a processing job", `!!document.querySelector('a[href="/processing-jobs/clean-flowers"]')`)
	b.visit("/activity")
	b.until("who made it", `/CreateProcessingJob/.test(document.body.innerText) && !!document.querySelector('a[href="/processing-jobs/prices"]')`)
	b.quiet()

	b.visit("/processing-jobs/count-parts/stop")
	b.shoot("processing-stop")
	b.run(chromedp.Click("form[action$='/stop'] button", chromedp.ByQuery), chromedp.WaitReady("nav.side"))
	b.until("the job's end, without a reload", `/Stopped/.test(document.querySelector("#summary")?.innerText)`)
	b.quiet()
	b.visit("/processing-jobs/nothing")
	if !strings.Contains(b.text("main"), "Not found") {
		t.Error("an unknown job has no page that says so")
	}
}
