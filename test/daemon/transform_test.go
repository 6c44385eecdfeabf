package daemon_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/client"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/test/daemon"
)

// scorer is a model that answers line by line, takes its time, and can be told
// by its name to fail, or to hang.
const scorer = `import os, time
def model_fn(folder):
    return open(os.path.join(folder, "name")).read()
def input_fn(body, content_type):
    return (body if isinstance(body, str) else body.decode()).splitlines()
def predict_fn(lines, model):
    time.sleep(float(os.environ.get("PAUSE", "0")))
    for line in lines:
        if "fail-" + model in line: raise ValueError("cannot read " + line)
        if "hang-" + model in line:
            print("hanging", flush=True)
            time.sleep(300)
    return "".join(model + " heard " + line + "\n" for line in lines)
def output_fn(prediction, accept):
    return prediction
`

// scoring is a transform job of a model on some instances, which reads
// in/<data>/ and writes out/<name>/ and asks for each line alone.
func scoring(name, model, data string, instances int, options ...func(map[string]any)) map[string]any {
	in := map[string]any{
		"TransformJobName": name, "ModelName": model, "BatchStrategy": "SingleRecord",
		"ModelClientConfig": map[string]any{"InvocationsMaxRetries": 1},
		"TransformInput": map[string]any{
			"DataSource":  map[string]any{"S3DataSource": map[string]any{"S3DataType": "S3Prefix", "S3Uri": "s3://faults/in/" + data + "/"}},
			"ContentType": "text/csv", "SplitType": "Line",
		},
		"TransformOutput":    map[string]any{"S3OutputPath": "s3://faults/out/" + name, "Accept": "text/csv", "AssembleWith": "Line"},
		"TransformResources": map[string]any{"InstanceType": "ml.m5.large", "InstanceCount": instances},
	}
	for _, o := range options {
		o(in)
	}
	return in
}

// input changes a member of TransformInput.
func input(member string, v any) func(map[string]any) {
	return func(in map[string]any) {
		of, _ := in["TransformInput"].(map[string]any)
		of[member] = v
	}
}

func pausing(seconds float64) func(map[string]any) {
	return daemon.With("Environment", map[string]string{"PAUSE": fmt.Sprint(seconds)})
}

// rows are the lines of a file, some of them of the given text.
func rows(file string, n int, odd map[int]string) string {
	var b strings.Builder
	for i := range n {
		line := odd[i]
		if line == "" {
			line = fmt.Sprintf("%s row %d", file, i)
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// heard is what becomes of a file.
func heard(by, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(by + " heard " + line)
	}
	return b.String()
}

// TestTransform runs transform jobs on a real server: well, by a pipeline, with
// the server killed meanwhile, with a model server that dies, with objects that
// are not there, with records that nobody can read, and stopped. What is
// finished is there, whole and once, and nothing else is.
func TestTransform(t *testing.T) {
	t.Parallel()
	w := start(t, dataDir(t))
	w.scorers(t)
	const files, lines = 5, 20
	all := map[string]string{}
	for i := range files {
		name := []string{"", "deep/"}[i%2] + fmt.Sprintf("part-%d.csv", i)
		all[name] = rows(name, lines, nil)
	}
	put := func(data string, objects map[string]string) {
		for name, text := range objects {
			w.must(w.Put(t.Context(), bucket, "in/"+data+"/"+name, []byte(text)))
		}
	}
	put("rows", all)
	with := func(name, text string) map[string]string {
		more := maps.Clone(all)
		more[name] = text
		return more
	}
	last := "zz.csv" // of each data with something odd
	put("dies", with(last, rows(last, lines, map[int]string{7: "hang-one"})))
	put("dies-two", with(last, rows(last, lines, map[int]string{7: "hang-two"})))
	put("fails", with(last, rows(last, lines, map[int]string{7: "fail-one"})))
	put("json", map[string]string{"a.jsonl": `{"id": 1}` + "\n", "b.jsonl": `{"id": 2}` + "\n{no JSON}\n"})
	put("framed", map[string]string{"a.rec": "this is no RecordIO"})
	w.must(w.Put(t.Context(), bucket, "manifest", []byte(`[{"prefix": "s3://faults/in/rows/"}, "part-0.csv", "gone.csv"]`)))
	manifest := input("DataSource", map[string]any{"S3DataSource": map[string]any{"S3DataType": "ManifestFile", "S3Uri": "s3://faults/manifest"}})

	for _, tc := range []struct {
		name      string
		instances int
		request   map[string]any // nil: of the model one over all rows
		during    func(t *testing.T, name string)
		status    string   // "": Completed
		reason    []string // in FailureReason, the first at its begin
		by        string   // whose answers are there; "": one
		whole     bool     // all of the input has its output
		never     string   // what has none
	}{
		{name: "well", instances: 2, whole: true},
		{name: "alone", instances: 1, whole: true},
		{name: "whole-files", instances: 2, request: scoring("whole-files", "one", "rows", 2, daemon.With("BatchStrategy", "MultiRecord"), daemon.With("MaxConcurrentTransforms", 4)), whole: true},
		{name: "pipeline", instances: 2, request: scoring("pipeline", "pipe", "rows", 2), by: "two heard one", whole: true},
		{name: "killed", instances: 2, request: scoring("killed", "one", "rows", 2, pausing(0.05)), during: w.killScoring, whole: true},
		{name: "killed-pipeline", instances: 1, request: scoring("killed-pipeline", "pipe", "rows", 1, pausing(0.02)), during: w.killScoring, by: "two heard one", whole: true},
		{name: "away", instances: 2, request: scoring("away", "pipe", "rows", 2), during: w.killStarting, by: "two heard one", whole: true},
		{name: "dies", instances: 1, request: scoring("dies", "one", "dies", 1), during: w.killServer(0), status: "Failed", reason: []string{"AlgorithmError: ", "exit code: 137"}, never: last, whole: true},
		{name: "dies-two", instances: 1, request: scoring("dies-two", "pipe", "dies-two", 1), during: w.killServer(1), status: "Failed", reason: []string{"AlgorithmError: container-2: ", "exit code: 137"}, by: "two heard one", never: last, whole: true},
		{name: "fails", instances: 2, request: scoring("fails", "one", "fails", 2), status: "Failed", reason: []string{"AlgorithmError: ", "See job logs for more information", last}, never: last, whole: true},
		{name: "no-objects", instances: 2, request: scoring("no-objects", "one", "nothing", 2), status: "Failed", reason: []string{"ClientError: ", "s3://faults/in/nothing/"}},
		{name: "gone", instances: 1, request: scoring("gone", "one", "rows", 1, manifest), status: "Failed", reason: []string{"ClientError: ", "gone.csv"}, never: "gone.csv"},
		{name: "no-bucket", instances: 1, request: scoring("no-bucket", "one", "rows", 1, daemon.With("TransformOutput", map[string]any{"S3OutputPath": "s3://fualts/out"})), status: "Failed", reason: []string{"ClientError: ", "fualts"}},
		{
			name: "records", instances: 1, status: "Failed", reason: []string{"ClientError: ", "b.jsonl"}, never: "b.jsonl",
			request: scoring("records", "one", "json", 1, input("ContentType", "application/jsonlines"), daemon.With("DataProcessing", map[string]any{"InputFilter": "$.id"})),
		},
		{name: "framed", instances: 1, request: scoring("framed", "one", "framed", 1, input("SplitType", "RecordIO"), input("ContentType", "application/x-recordio")), status: "Failed", reason: []string{"ClientError: ", "a.rec"}, never: "a.rec"},
		{name: "stopped", instances: 2, request: scoring("stopped", "one", "rows", 2, pausing(0.5)), during: w.stopScoring, status: "Stopped"},
		{name: "stopped-pipeline", instances: 1, request: scoring("stopped-pipeline", "pipe", "rows", 1, pausing(0.5)), during: w.stopScoring, status: "Stopped", by: "two heard one"},
		{name: "no-model", instances: 1, request: scoring("no-model", "lost", "rows", 1), status: "Failed", reason: []string{"ClientError: ", "Failed to download model data"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.request == nil {
				tc.request = scoring(tc.name, "one", "rows", tc.instances)
			}
			w.must(w.SageMaker(t.Context(), "CreateTransformJob", tc.request, nil))
			if tc.during != nil {
				tc.during(t, tc.name)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			j, err := w.AwaitTransform(ctx, tc.name)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %s", j.TransformJobStatus, j.FailureReason)
			status := tc.status
			if status == "" {
				status = "Completed"
			}
			if j.TransformJobStatus != status || tc.reason == nil && j.FailureReason != "" || strings.Contains(j.FailureReason, "exit code: 0") {
				t.Errorf("it is %+v", j)
			}
			for i, want := range tc.reason {
				if at := strings.Index(j.FailureReason, want); at < 0 || i == 0 && at > 0 {
					t.Errorf("the reason does not say %q: %s", want, j.FailureReason)
				}
			}
			by := tc.by
			if by == "" {
				by = "one"
			}
			w.kept(t, tc.name, by, all, tc.whole, tc.never)
			w.told(t, tc.name, tc.instances, strings.HasPrefix(by, "two"), tc.whole)
			uid := w.paid(t, j, tc.instances)
			eventually(t, "nothing to be left", func() bool { return uid == "" || len(w.Left(uid)) == 0 })
		})
	}
	if err := w.SageMaker(t.Context(), "StopTransformJob", map[string]string{"TransformJobName": "well"}, nil); client.Code(err) != "ValidationException" {
		t.Errorf("a job that is over is stopped: %v", err)
	}
}

// scorers makes the models: one, two, pipe of both, and lost, whose artifact is
// not there.
func (w *world) scorers(t *testing.T) {
	t.Helper()
	container := func(name string) map[string]any {
		return map[string]any{
			"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python:3.10", "ModelDataUrl": "s3://" + bucket + "/" + name + "/model.tar.gz",
			"Environment": map[string]string{"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"},
		}
	}
	for _, name := range []string{"one", "two"} {
		w.must(w.Put(t.Context(), bucket, name+"/model.tar.gz", archived(t, map[string]string{"name": name, "code/inference.py": scorer})))
	}
	for name, containers := range map[string][]any{"one": {container("one")}, "pipe": {container("one"), container("two")}, "lost": {container("lost")}} {
		w.must(w.SageMaker(t.Context(), "CreateModel", map[string]any{"ModelName": name, "ExecutionRoleArn": "arn:aws:iam::123456789012:role/Unknown", "Containers": containers}, nil))
	}
}

// underway waits until a job has finished an object, and goes on.
func (w *world) underway(t *testing.T, name string) {
	t.Helper()
	eventually(t, name+" to have finished an object", func() bool { return len(w.objects(t, "out/"+name+"/")) > 0 })
	if task := w.TaskOf(name); task == nil || task.Exited {
		t.Fatalf("%s was over too soon", name)
	}
}

// killScoring kills the server while a job is half done, and starts it again.
func (w *world) killScoring(t *testing.T, name string) {
	t.Helper()
	w.underway(t, name)
	w.must(w.Kill())
	w.must(w.Start(context.WithoutCancel(t.Context())))
}

// killStarting kills the server as soon as a job's tasks are there.
func (w *world) killStarting(t *testing.T, name string) {
	t.Helper()
	w.task(t, name, "there", func(task *daemon.Task) bool { return task.PID != 0 })
	w.must(w.Kill())
	w.must(w.Start(context.WithoutCancel(t.Context())))
}

func (w *world) stopScoring(t *testing.T, name string) {
	t.Helper()
	w.task(t, name, "scoring", in("Training"))
	eventually(t, "a line to be scored", func() bool {
		by, err := w.Streams(t.Context(), daemon.TransformGroup, name)
		w.must(err)
		for _, lines := range by {
			if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "POST /invocations") }) {
				return true
			}
		}
		return false
	})
	w.must(w.SageMaker(t.Context(), "StopTransformJob", map[string]string{"TransformJobName": name}, nil))
}

// killServer kills the model server in the n-th task of a job as soon as it hangs
// over a file, which is the last one.
func (w *world) killServer(n int) func(*testing.T, string) {
	return func(t *testing.T, name string) {
		t.Helper()
		eventually(t, name+" to hang", func() bool {
			by, err := w.Streams(t.Context(), daemon.TransformGroup, name)
			w.must(err)
			for _, lines := range by {
				if slices.Contains(lines, "hanging") {
					return true
				}
			}
			return false
		})
		tasks, err := w.Tasks()
		w.must(err)
		tasks = slices.DeleteFunc(tasks, func(k daemon.Task) bool { return k.Name != name })
		slices.SortFunc(tasks, func(a, b daemon.Task) int { return strings.Compare(a.ID, b.ID) })
		w.must(tasks[n].Kill("serve"))
	}
}

// kept sees that each output of a job is whole, and of what it should be.
func (w *world) kept(t *testing.T, job, by string, of map[string]string, whole bool, never string) {
	t.Helper()
	prefix, n := "out/"+job+"/", 0
	for _, key := range w.objects(t, prefix) {
		name, ok := strings.CutSuffix(strings.TrimPrefix(key, prefix), ".out")
		if !ok || name == never {
			t.Errorf("there is %s", key)
			continue
		}
		text, known := of[name]
		if !known {
			continue // of data that is not checked here
		}
		n++
		body, _, err := w.Get(t.Context(), bucket, key)
		w.must(err)
		got, err := io.ReadAll(body)
		w.must(err)
		w.must(body.Close())
		if want := heard(by, text); string(got) != want {
			t.Errorf("%s has %d bytes, want %d: %.300q", key, len(got), len(want), got)
		}
	}
	if whole && n != len(of) {
		t.Errorf("%d of %d objects have an output: %q", n, len(of), w.objects(t, prefix))
	}
}

// told sees that each container of each instance has a log of its own, and each
// instance a data log; no line of one is in another.
func (w *world) told(t *testing.T, job string, instances int, pipeline, began bool) {
	t.Helper()
	by, err := w.Streams(t.Context(), daemon.TransformGroup, job)
	w.must(err)
	of := func(suffix string) (n int) {
		for name, lines := range by {
			rest, host := strings.CutPrefix(name, job+"/algo-")
			_, rest, slash := strings.Cut(rest, "/")
			if !host || slash != (suffix != "") || rest != suffix {
				continue
			}
			n++
			for _, l := range lines {
				if data := strings.Contains(l, ":[sagemaker logs]: "); data != (suffix == "data-log") || strings.Contains(l, "\x1f") {
					t.Errorf("%s has %q", name, l)
				}
			}
		}
		return n
	}
	if !began {
		of("data-log")
		return
	}
	want := []string{"", "data-log"}
	if pipeline {
		want = []string{"container-1", "container-2", "data-log"}
	}
	for _, suffix := range want {
		if n := of(suffix); n != instances {
			t.Errorf("%d logs %q of %d instances: %q", n, suffix, instances, slices.Sorted(maps.Keys(by)))
		}
	}
	if len(by) != instances*len(want) {
		t.Errorf("logs %q", slices.Sorted(maps.Keys(by)))
	}
}

// paid sees that a job's instances are billed once, for as long as it says, and
// have a price in each book. It gives the job's UID, "" of one that never began.
func (w *world) paid(t *testing.T, j *daemon.TransformJob, instances int) string {
	t.Helper()
	var rep struct {
		Usage []resource.Usage
		Bills map[string]meter.Statement
	}
	w.must(w.Document(t.Context(), "sagemaker", "/_clary/usage", url.Values{"kind": {"TransformJob"}, "name": {j.TransformJobName}}, &rep))
	if j.TransformStartTime == 0 {
		if len(rep.Usage) != 0 {
			t.Errorf("it never began and is billed %+v", rep.Usage)
		}
		return ""
	}
	if len(rep.Usage) != 1 {
		t.Fatalf("billed %+v", rep.Usage)
	}
	u := rep.Usage[0]
	near := func(at time.Time, stamp float64) bool { return math.Abs(float64(at.UnixMicro())/1e6-stamp) < 0.002 }
	if u.Component != "transform" || u.Quantity != int64(instances) || u.InstanceType != "ml.m5.large" || !near(u.Start, j.TransformStartTime) || !near(u.End, j.TransformEndTime) {
		t.Errorf("it ran from %f to %f and is billed %+v", j.TransformStartTime, j.TransformEndTime, u)
	}
	for book, bill := range rep.Bills {
		for _, l := range bill.Lines {
			if l.Unpriced || l.MicroUSD <= 0 {
				t.Errorf("book %s: %+v", book, l)
			}
		}
	}
	return u.UID
}
