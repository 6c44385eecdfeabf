package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/test/daemon"
)

// cleaner is a program that says what it was given, lets its hosts meet, and
// leaves files, a message and an exit code.
const cleaner = `import json, os, socket, sys, time
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
if host == hosts[-1]: sys.exit(int(sys.argv[2]))
`

// clean is a job of two instances that leaves so many MiB each and whose last
// host exits so.
func clean(name string, size, code int) map[string]any {
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
			"ContainerArguments":  []string{fmt.Sprint(size), fmt.Sprint(code)},
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
// upload: one that ends well, one of which a host fails, and one whose server
// is killed while it uploads.
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
		name   string
		size   int // MiB that each host uploads
		code   int
		kill   bool
		status string
	}{
		{"well", 1, 0, false, "Completed"},
		{"badly", 1, 3, false, "Failed"},
		{"killed", 100, 0, true, "Completed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.must(w.SageMaker(t.Context(), "CreateProcessingJob", clean(tc.name, tc.size, tc.code), nil))
			if tc.kill {
				w.task(t, tc.name, "uploading", in("Uploading"))
				w.must(w.Kill())
				if task := w.TaskOf(tc.name); task == nil || task.Exited {
					t.Fatal("the upload was over too soon")
				}
				w.must(w.Start(context.WithoutCancel(t.Context())))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			j, err := w.AwaitProcessing(ctx, tc.name)
			w.must(err)
			reason, message := "", "cleaned at algo-1"
			if tc.code != 0 {
				reason, message = fmt.Sprintf(", exit code: %d", tc.code), "cleaned at algo-2"
			}
			if j.ProcessingJobStatus != tc.status || !strings.HasSuffix(j.FailureReason, reason) || reason == "" && j.FailureReason != "" || j.ExitMessage != message {
				t.Errorf("it is %+v", j)
			}
			w.shared(t, tc.name, tc.size, rows)
			w.spoke(t, tc.name)
			usage, err := w.Usage(t.Context())
			w.must(err)
			us := usage[tc.name]
			if len(us) != 1 || us[0].Component != "processing" || us[0].Kind != "ProcessingJob" || us[0].Quantity != 2 || us[0].InstanceType != "ml.m5.large" {
				t.Fatalf("billed %+v", us)
			}
			near := func(at time.Time, stamp float64) bool { return math.Abs(float64(at.UnixMicro())/1e6-stamp) < 0.002 }
			if !near(us[0].Start, j.ProcessingStartTime) || !near(us[0].End, j.ProcessingEndTime) {
				t.Errorf("it ran from %f to %f and is billed %+v", j.ProcessingStartTime, j.ProcessingEndTime, us[0])
			}
			eventually(t, "nothing to be left", func() bool { return len(w.Left(us[0].UID)) == 0 })
		})
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
