package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/meter"
	"clary/internal/resource"
	"clary/test/daemon"
)

// cleaner is a program that says what it was given, lets its hosts meet, and
// leaves files, a message and an exit code.
const cleaner = `import json, os, signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))
resources = json.load(open("/opt/ml/config/resourceconfig.json"))
config = json.load(open("/opt/ml/config/processingjobconfig.json"))
host, hosts = resources["current_host"], resources["hosts"]
assert len(hosts) == config["ProcessingResources"]["ClusterConfig"]["InstanceCount"], hosts
if host == hosts[0]:
    door = socket.create_server(("0.0.0.0", 7000))
    for _ in hosts[1:]: print("met", door.accept()[0].recv(100).decode())
else:
    while True:
        try: socket.create_connection((hosts[0], 7000)).sendall(host.encode())
        except OSError: time.sleep(0.02)
        else: break
for i in range(20): print("line", i)
data, out = "/opt/ml/processing/input/data", "/opt/ml/processing/output"
seen = {n: open(os.path.join(data, n)).read() for n in sorted(os.listdir(data))}
json.dump(seen, open(os.path.join(out, host + ".json"), "w"))
with open(os.path.join(out, host + ".bin"), "wb") as f:
    for _ in range(int(sys.argv[1])): f.write(os.urandom(1 << 20))
open("/opt/ml/output/message", "w").write("cleaned at " + host)
print("ready")
time.sleep(int(sys.argv[3]))
if host == hosts[-1]: sys.exit(int(sys.argv[2]))
`

// clean is a job of two instances that leaves so many MiB each, then takes so
// many seconds, and whose last host exits so.
func clean(name string, size, code, secs int) map[string]any {
	input := func(name, uri, distribution string) map[string]any {
		return map[string]any{"InputName": name, "S3Input": map[string]any{
			"S3Uri": uri, "LocalPath": "/opt/ml/processing/input/" + name, "S3DataType": "S3Prefix", "S3InputMode": "File", "S3DataDistributionType": distribution,
		}}
	}
	return map[string]any{
		"ProcessingJobName": name,
		"RoleArn":           "arn:aws:iam::123456789012:role/Unknown",
		"AppSpecification": map[string]any{
			"ImageUri":            "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python:3.10",
			"ContainerEntrypoint": []string{"/usr/bin/python3", "-u", "/opt/ml/processing/input/code/clean.py"},
			"ContainerArguments":  []string{fmt.Sprint(size), fmt.Sprint(code), fmt.Sprint(secs)},
		},
		"ProcessingInputs": []any{input("code", "s3://faults/code/clean.py", "FullyReplicated"), input("data", "s3://faults/rows/", "ShardedByS3Key")},
		"ProcessingOutputConfig": map[string]any{"Outputs": []any{map[string]any{"OutputName": "out", "S3Output": map[string]any{
			"S3Uri": "s3://faults/cleaned/" + name, "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob",
		}}}},
		"ProcessingResources": map[string]any{"ClusterConfig": map[string]any{"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}},
		"StoppingCondition":   map[string]any{"MaxRuntimeInSeconds": 600},
	}
}

// TestProcessing runs jobs of two instances that share their input and both
// upload: one that ends well, one of which a host fails, one that is stopped,
// and one whose server is killed while it uploads.
func TestProcessing(t *testing.T) {
	t.Parallel()
	w := start(t, dataDir(t))
	w.must(w.Put(t.Context(), bucket, "code/clean.py", []byte(cleaner)))
	rows := map[string]string{}
	for i := range 5 {
		name := fmt.Sprintf("part-%d.csv", i)
		rows[name] = fmt.Sprintf("row %d\n", i)
		w.must(w.Put(t.Context(), bucket, "rows/"+name, []byte(rows[name])))
	}
	for _, tc := range []struct {
		name             string
		size, code, secs int
		during           func(t *testing.T, name string)
		status           string
		reason           string // how it ends
		message          string
	}{
		{name: "well", size: 1, status: "Completed", message: "cleaned at algo-1"},
		{name: "badly", size: 1, code: 3, status: "Failed", reason: ", exit code: 3", message: "cleaned at algo-2"},
		{name: "stopped", size: 1, secs: 300, during: w.stopReady, status: "Stopped", message: "cleaned at algo-1"},
		{name: "killed", size: 100, during: w.killUploading, status: "Completed", message: "cleaned at algo-1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.must(w.SageMaker(t.Context(), "CreateProcessingJob", clean(tc.name, tc.size, tc.code, tc.secs), nil))
			if tc.during != nil {
				tc.during(t, tc.name)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			j, err := w.AwaitProcessing(ctx, tc.name)
			if err != nil {
				t.Fatal(err)
			}
			if j.ProcessingJobStatus != tc.status || !strings.HasSuffix(j.FailureReason, tc.reason) || tc.reason == "" && j.FailureReason != "" || j.ExitMessage != tc.message {
				t.Errorf("it is %+v", j)
			}
			w.shared(t, tc.name, tc.size, rows)
			w.spoke(t, tc.name)
			w.measured(t, j)
			uid := w.charged(t, j)
			eventually(t, "nothing to be left", func() bool { return len(w.Left(uid)) == 0 })
		})
	}
}

// stopReady stops a job whose hosts have done their work and go on.
func (w *world) stopReady(t *testing.T, name string) {
	t.Helper()
	eventually(t, "both hosts to be ready", func() bool {
		by, err := w.Streams(t.Context(), daemon.ProcessingGroup, name)
		w.must(err)
		ready := 0
		for _, lines := range by {
			if slices.Contains(lines, "ready") {
				ready++
			}
		}
		return ready == 2
	})
	w.must(w.SageMaker(t.Context(), "StopProcessingJob", map[string]string{"ProcessingJobName": name}, nil))
}

// killUploading kills the server while a job uploads, and starts it again.
func (w *world) killUploading(t *testing.T, name string) {
	t.Helper()
	w.task(t, name, "uploading", in("Uploading"))
	w.must(w.Kill())
	if task := w.TaskOf(name); task == nil || task.Exited {
		t.Fatal("the upload was over too soon")
	}
	w.must(w.Start(context.WithoutCancel(t.Context())))
}

// charged sees that a job's two instances are billed once, for as long as it
// says, and have a price in each book. It gives the job's UID.
func (w *world) charged(t *testing.T, j *daemon.ProcessingJob) string {
	t.Helper()
	name := j.ProcessingJobName
	var rep struct {
		Usage []resource.Usage
		Bills map[string]meter.Statement
	}
	w.must(w.Document(t.Context(), "sagemaker", "/_clary/usage", url.Values{"kind": {"ProcessingJob"}, "name": {name}}, &rep))
	if len(rep.Usage) != 1 {
		t.Fatalf("billed %+v", rep.Usage)
	}
	u := rep.Usage[0]
	near := func(at time.Time, stamp float64) bool { return math.Abs(float64(at.UnixMicro())/1e6-stamp) < 0.002 }
	if u.Component != "processing" || u.Quantity != 2 || u.InstanceType != "ml.m5.large" || !near(u.Start, j.ProcessingStartTime) || !near(u.End, j.ProcessingEndTime) {
		t.Errorf("it ran from %f to %f and is billed %+v", j.ProcessingStartTime, j.ProcessingEndTime, u)
	}
	for book, granule := range map[string]float64{"minute": 60, "aws": 1} {
		var units int64
		for _, l := range rep.Bills[book].Lines {
			units += l.Units
			if l.Unpriced || l.MicroUSD <= 0 {
				t.Errorf("book %s: %+v", book, l)
			}
		}
		if want := 2 * granule * math.Ceil(u.End.Sub(u.Start).Seconds()/granule); float64(units) != want {
			t.Errorf("book %s charges %d instance-seconds, not %.0f", book, units, want)
		}
	}
	return u.UID
}

// measured sees that CloudWatch knows what each host used, at most once for each
// heartbeat and once for its end.
func (w *world) measured(t *testing.T, j *daemon.ProcessingJob) {
	t.Helper()
	most := 1 + (j.ProcessingEndTime-j.ProcessingStartTime)/15
	for _, host := range []string{"algo-1", "algo-2"} {
		var out struct {
			Datapoints []struct{ Sum, SampleCount float64 }
		}
		w.must(w.JSON(t.Context(), "monitoring", "GraniteServiceVersion20100801.GetMetricStatistics", map[string]any{
			"Namespace": daemon.ProcessingGroup, "MetricName": "CPUUtilization", "Unit": "Percent", "Statistics": []string{"Sum", "SampleCount"},
			"Dimensions": []any{map[string]string{"Name": "Host", "Value": j.ProcessingJobName + "/" + host}},
			"StartTime":  j.ProcessingStartTime - 60, "EndTime": j.ProcessingEndTime + 60, "Period": 3600,
		}, &out))
		var sum, n float64
		for _, p := range out.Datapoints {
			sum, n = sum+p.Sum, n+p.SampleCount
		}
		if n < 1 || n > most || sum <= 0 || sum > 250*n { // two processors, and what a clock's ticks may hide
			t.Errorf("%s used %+v", host, out.Datapoints)
		}
	}
}

// shared sees that both hosts uploaded all that they made, and that each had a
// part of the rows, together all and none twice.
func (w *world) shared(t *testing.T, name string, size int, rows map[string]string) {
	t.Helper()
	prefix, seen := "cleaned/"+name+"/", map[string]string{}
	want := []string{prefix + "algo-1.bin", prefix + "algo-1.json", prefix + "algo-2.bin", prefix + "algo-2.json"}
	var keys []string
	for o, err := range w.List(t.Context(), bucket, prefix) {
		w.must(err)
		keys = append(keys, o.Key)
		if strings.HasSuffix(o.Key, ".bin") {
			if o.Size != int64(size)<<20 {
				t.Errorf("%s has %d bytes", o.Key, o.Size)
			}
			continue
		}
		body, _, err := w.Get(t.Context(), bucket, o.Key)
		w.must(err)
		b, err := io.ReadAll(body)
		w.must(err)
		w.must(body.Close())
		part := map[string]string{}
		w.must(json.Unmarshal(b, &part))
		if len(part) == 0 || len(part) == len(rows) {
			t.Errorf("%s: a host had %d of %d files", o.Key, len(part), len(rows))
		}
		for k, v := range part {
			if _, twice := seen[k]; twice || rows[k] != v {
				t.Errorf("%s: %s is %q", o.Key, k, v)
			}
			seen[k] = v
		}
	}
	if !slices.Equal(keys, want) || len(seen) != len(rows) {
		t.Errorf("uploaded were %q, of %d files", keys, len(seen))
	}
}

// spoke sees that each host has a log stream of its own, whole and in order.
func (w *world) spoke(t *testing.T, name string) {
	t.Helper()
	by, err := w.Streams(t.Context(), daemon.ProcessingGroup, name)
	w.must(err)
	for _, host := range []string{"algo-1", "algo-2"} {
		var lines []string
		for s, ls := range by {
			if strings.HasPrefix(s, name+"/"+host+"-") {
				lines = slices.DeleteFunc(ls, func(l string) bool { return !strings.HasPrefix(l, "line ") })
			}
		}
		if !slices.Equal(lines, twenty()) {
			t.Errorf("%s said %q in %q", host, lines, by)
		}
	}
}
