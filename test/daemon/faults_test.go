package daemon_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"clary/test/daemon"
)

const (
	allowAll = `{"Effect":"Allow","Action":"*","Resource":"*"}`
)

// script is a job's program that prints some lines and writes to all folders
// that SageMaker uploads, then does what text says.
func script(text string) func(map[string]any) {
	return daemon.Python(`import os, sys, time
for i in range(20): print("line", i)
os.makedirs("/opt/ml/output/data", exist_ok=True)
open("/opt/ml/model/weights", "w").write("w")
open("/opt/ml/output/data/notes", "w").write("n")
` + text)
}

func twenty() []string {
	var ls []string
	for i := range 20 {
		ls = append(ls, fmt.Sprintf("line %d", i))
	}
	return ls
}

// TestFaults injects what users and their roles do wrong, for real, and sees
// what they are told.
func TestFaults(t *testing.T) {
	t.Parallel()
	w := start(t, dataDir(t))
	ctx := t.Context()
	w.must(w.CreateBucket(ctx, "faults-other"))
	for _, k := range []string{"data/train/a.csv", "data/train/secret.csv", "data/validation/a.csv"} {
		w.must(w.Put(ctx, bucket, k, []byte("1,2\n")))
	}
	_, err := w.Upload(ctx, bucket, "big/zeros", bytes.NewReader(make([]byte, 1200<<20)))
	w.must(err)
	role := func(name string, statements ...string) func(map[string]any) {
		arn, err := w.Role(ctx, name, statements...)
		w.must(err)
		return daemon.With("RoleArn", arn)
	}
	deny := func(action, resource string) string {
		return fmt.Sprintf(`{"Effect":"Deny","Action":%q,"Resource":%q}`, action, resource)
	}
	train := daemon.Channel("train", "s3://faults/data/train/")
	const data, model = "/output/output.tar.gz", "/output/model.tar.gz"

	for _, c := range []struct {
		name    string
		script  string
		options []func(map[string]any)
		status  string   // Failed
		reason  []string // in this order, the first one at the beginning
		lines   []string
		objects []string // below the job's output
	}{
		{
			name: "list-denied", options: []func(map[string]any){train, role("NoList", allowAll, deny("s3:ListBucket", "arn:aws:s3:::faults"))},
			reason: []string{
				`ClientError: No S3 objects found under S3 URL "s3://faults/data/train/" given in input data source.`,
				`role "arn:aws:iam::123456789012:role/NoList" has "s3:ListBucket" permissions on bucket "faults".`, "Error message from S3: ", "explicit deny",
			},
		},
		{
			name: "object-denied", options: []func(map[string]any){train, role("NoSecret", allowAll, deny("s3:GetObject", "arn:aws:s3:::faults/data/train/secret.csv"))},
			reason: []string{
				"ClientError: Data download failed:AccessDenied (403): Access Denied.", `"arn:aws:iam::123456789012:role/NoSecret"`, "s3://faults/data/train/secret.csv",
				`"s3:GetObject"`, "explicit deny",
			},
		},
		{
			name: "bucket-typo", options: []func(map[string]any){daemon.Channel("train", "s3://fualts/data/train/")},
			reason: []string{
				`ClientError: No S3 objects found under S3 URL "s3://fualts/data/train/" given in input data source.`,
				`The bucket "fualts" does not exist.`, `Did you mean "s3://faults/data/train/"?`,
			},
		},
		{
			name:    "bucket-typo-unseen", // a name that the role may not list is not told
			options: []func(map[string]any){daemon.Channel("train", "s3://fualts/data/train/"), role("NoBuckets", allowAll, deny("s3:ListAllMyBuckets", "*"))},
			reason:  []string{"ClientError: No S3 objects found", `The bucket "fualts" does not exist.`},
		},
		{
			name: "prefix-typo", options: []func(map[string]any){daemon.Channel("train", "s3://faults/data/tarin/")},
			reason: []string{`ClientError: No S3 objects found under S3 URL "s3://faults/data/tarin/"`, `Did you mean "s3://faults/data/train/"?`},
		},
		{
			name:    "folder-typo", // higher up in the path
			options: []func(map[string]any){daemon.Channel("train", "s3://faults/dat/train/")},
			reason:  []string{`ClientError: No S3 objects found under S3 URL "s3://faults/dat/train/"`, `Did you mean "s3://faults/data/train/"?`},
		},
		{
			name: "output-bucket", script: "", options: []func(map[string]any){daemon.With("OutputDataConfig", map[string]any{"S3OutputPath": "s3://fualts/out"})},
			reason: []string{"ClientError: Artifact upload failed:", `the bucket "fualts" does not exist`, `Did you mean "s3://faults`},
			lines:  twenty(),
		},
		{
			name: "missing-channel", script: `open("/opt/ml/input/data/validation/a.csv")`, options: []func(map[string]any){train},
			reason: []string{
				"AlgorithmError: ", "FileNotFoundError: [Errno 2] No such file or directory: '/opt/ml/input/data/validation/a.csv'",
				`The job has no channel "validation", only "train"`, ", exit code: 1",
			},
			lines: twenty(), objects: []string{model, data},
		},
		{
			name: "missing-channel-env", script: `print(os.environ["SM_CHANNEL_TEST"])`,
			reason: []string{"AlgorithmError: ", "KeyError: 'SM_CHANNEL_TEST'", `The job has no channel "test"; it has no input channels`, ", exit code: 1"},
			lines:  twenty(), objects: []string{model, data},
		},
		{
			name: "raises", script: "def learn():\n  raise ValueError('the learning rate must be positive')\nlearn()",
			reason: []string{"AlgorithmError: ", "Traceback", "in learn", "ValueError: the learning rate must be positive", ", exit code: 1"},
			lines:  twenty(), objects: []string{model, data},
		},
		{
			name: "exits", script: "print('the data is too small', file=sys.stderr); sys.exit(3)",
			reason: []string{"AlgorithmError: ", "the data is too small", ", exit code: 3"},
			lines:  twenty(), objects: []string{model, data},
		},
		{
			name: "failure-file", script: "open('/opt/ml/output/failure','w').write('class balance is off'); sys.exit(1)",
			reason: []string{"AlgorithmError: class balance is off", ", exit code: 1"},
			lines:  twenty(), objects: []string{model, data},
		},
		{
			name: "memory", script: "b = []\nwhile True: b.append(bytearray(8 << 20))",
			reason: []string{
				"AlgorithmError: Please use an instance type with more memory", "out of memory", "Its peak was ", " GiB; the limit of ml.m5.large is 0.25 GiB; ml.m5.xlarge has more", ", exit code: 137",
			},
			lines: twenty(), objects: []string{model, data},
		},
		{
			name: "disk-by-script", script: "f = open('/opt/ml/checkpoints-of-mine','wb')\nfor i in range(3000):\n  f.write(bytes(1 << 20))\ntime.sleep(60)",
			reason: []string{"ClientError: ", "No space left on device", "VolumeSizeInGB", "1 GB"},
			lines:  twenty(), objects: []string{model, data},
		},
		{
			name: "disk-by-input", options: []func(map[string]any){daemon.Channel("train", "s3://faults/big/")},
			reason: []string{"ClientError: ", "No space left on device", "VolumeSizeInGB", "1 GB"},
		},
		{
			name: "no-image", options: []func(map[string]any){daemon.With("AlgorithmSpecification", map[string]any{
				"TrainingImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/nobody-pushed-this:1", "TrainingInputMode": "File",
			})},
			reason: []string{"ClientError: ", "nobody-pushed-this:1"},
		},
		{
			name: "no-program", options: []func(map[string]any){daemon.With("AlgorithmSpecification", map[string]any{
				"TrainingImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python:3.10", "TrainingInputMode": "File",
				"ContainerEntrypoint": []string{"/opt/no/such/program"},
			})},
			reason: []string{"ClientError: CannotStartContainerError.", "/opt/no/such/program", "no such file"},
		},
		{
			name: "time", script: "time.sleep(600)", options: []func(map[string]any){daemon.With("StoppingCondition", map[string]any{"MaxRuntimeInSeconds": 1})},
			status: "Stopped", lines: twenty(), objects: []string{model, data},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			job := w.run(t, daemon.JobRequest(c.name, bucket, append(c.options, script(c.script))...))
			t.Logf("%s, %s: %s", job.TrainingJobStatus, job.SecondaryStatus, job.FailureReason)
			status, secondary := "Failed", "Failed"
			if c.status != "" {
				status, secondary = c.status, "MaxRuntimeExceeded"
			}
			if job.TrainingJobStatus != status || job.SecondaryStatus != secondary {
				t.Errorf("it is %s, %s: %s", job.TrainingJobStatus, job.SecondaryStatus, job.FailureReason)
			}
			rest := job.FailureReason
			for i, want := range c.reason {
				at := strings.Index(rest, want)
				if at < 0 || i == 0 && at > 0 {
					t.Errorf("the reason does not say %q (in its place): %s", want, job.FailureReason)
					break
				}
				rest = rest[at+len(want):]
			}
			if c.name == "bucket-typo-unseen" && strings.Contains(job.FailureReason, "s3://faults") {
				t.Errorf("the reason names what the role may not see: %s", job.FailureReason)
			}
			if len(job.FailureReason) > 1024 {
				t.Errorf("the reason has %d bytes", len(job.FailureReason))
			}
			w.billed(t, job)
			if c.name != "disk-by-input" { // where nothing holds back the writing itself, the program may have begun
				w.lines(t, c.name, c.lines)
			}
			var keys []string
			for _, k := range w.objects(t, "out/"+c.name+"/") {
				keys = append(keys, strings.TrimPrefix(k, "out/"+c.name))
			}
			if want := c.objects; !slices.Equal(keys, want) && c.name != "disk-by-input" {
				t.Errorf("uploaded were %q, want %q", keys, want)
			}
			w.settled(t, job)
		})
	}
}
