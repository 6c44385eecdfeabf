package processing

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/job"
	"clary/internal/job/jobtest"
	"clary/internal/resource"
	"clary/internal/stage/plan"
	"clary/internal/store"
)

func bench(t *testing.T, script func(compute.Task) fake.Script) *Processing {
	t.Helper()
	return New(jobtest.Config(t, script))
}

func good(name string) *request {
	return &request{
		ProcessingJobName: name, RoleArn: jobtest.Role,
		AppSpecification: &apism.AppSpecification{ImageUri: "img", ContainerEntrypoint: []string{"python3", "/opt/ml/processing/input/code/clean.py"}, ContainerArguments: []string{"--rows", "10"}},
		ProcessingResources: &apism.ProcessingResources{ClusterConfig: &apism.ProcessingClusterConfig{
			InstanceType: "ml.m5.large", VolumeSizeInGB: 30,
		}},
	}
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*apierr.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

func describe(t *testing.T, p *Processing, name string) *apism.DescribeProcessingJobResponse {
	t.Helper()
	d, err := p.Describe(t.Context(), jobtest.Call(), &apism.DescribeProcessingJobRequest{ProcessingJobName: name})
	if err != nil {
		t.Fatal(err)
	}
	return d.Out
}

// steps of a job that downloads for 10 s and uploads from the 90th on.
func steps() []fake.Step {
	return []fake.Step{{Name: plan.StepDownloading}, {Name: plan.StepTraining, At: 10 * time.Second}, {Name: plan.StepUploading, At: 90 * time.Second}}
}

// TestEnds takes jobs of two instances to each of their ends, with the clock of
// a bubble.
func TestEnds(t *testing.T) {
	t.Parallel()
	script := func(edit func(host string, s *fake.Script)) func(compute.Task) fake.Script {
		return func(task compute.Task) fake.Script {
			s := fake.Script{Run: 100 * time.Second, Steps: steps(), Result: plan.Result{ExitMessage: "said by " + task.Network.Host}}
			if edit != nil {
				edit(task.Network.Host, &s)
			}
			return s
		}
	}
	for name, tc := range map[string]struct {
		script          func(compute.Task) fake.Script
		edit            func(*request)
		stop            bool
		status          string
		reason, message string
		billed          time.Duration
	}{
		"completed": {script: script(nil), status: "Completed", message: "said by algo-1", billed: 100 * time.Second},
		"failed": {
			script: script(func(host string, s *fake.Script) {
				if host == "algo-2" {
					s.Run, s.Result.ExitCode = 50*time.Second, 3
				} else {
					s.Forever = true
				}
			}),
			status: "Failed", reason: "AlgorithmError: algo-2: See job logs for more information, exit code: 3", message: "said by algo-2", billed: 50 * time.Second,
		},
		"failed with words": {
			script: script(func(_ string, s *fake.Script) { s.Result.ExitCode, s.Result.Failure = 1, "KeyError: 'age'" }),
			status: "Failed", reason: "AlgorithmError: algo-1: KeyError: 'age', exit code: 1", message: "said by algo-1", billed: 100 * time.Second,
		},
		"no input": {
			script: script(func(_ string, s *fake.Script) {
				s.Run, s.Result = 5*time.Second, plan.Result{ExitCode: -1, Class: "ClientError", Failure: "Data download failed"}
			}),
			status: "Failed", reason: "ClientError: algo-1: Data download failed", billed: 5 * time.Second,
		},
		"disk full": {
			script: script(func(_ string, s *fake.Script) { s.Run, s.Reason = 60*time.Second, compute.ReasonDisk }),
			status: "Failed", reason: "ClientError: algo-1: No space left on device: the processing job wrote more than its volume holds. Please use a larger VolumeSizeInGB; it is 30 GB", message: "said by algo-1", billed: 60 * time.Second,
		},
		"memory": {
			script: script(func(_ string, s *fake.Script) { s.Run, s.Reason = 60*time.Second, compute.ReasonMemory }),
			status: "Failed", reason: "ClientError: Please use an instance type with more memory, or reduce the size of job data processed on an instance. ", message: "said by algo-1", billed: 60 * time.Second,
		},
		"stopped": {
			script: script(func(_ string, s *fake.Script) { s.Forever = true }),
			stop:   true, status: "Stopped", billed: 30 * time.Second,
		},
		"out of time": {
			script: script(func(_ string, s *fake.Script) { s.Forever = true }),
			edit: func(r *request) {
				r.StoppingCondition = &apism.ProcessingStoppingCondition{MaxRuntimeInSeconds: 40}
			},
			status: "Stopped", billed: 40 * time.Second,
		},
		"no program": {
			script: script(nil), edit: func(r *request) { r.AppSpecification.ContainerEntrypoint = nil },
			status: "Failed", reason: "ClientError: the image img has no processing program",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := bench(t, tc.script)
				r := good("job")
				r.ProcessingResources.ClusterConfig.InstanceCount = api.Ptr(int64(2))
				if tc.edit != nil {
					tc.edit(r)
				}
				began := time.Now()
				if _, err := p.Create(t.Context(), jobtest.Call(), r); err != nil {
					t.Fatal(err)
				}
				settle(t, p, tc.stop)
				d := describe(t, p, "job")
				if d.ProcessingJobStatus != tc.status || !strings.HasPrefix(d.FailureReason, tc.reason) || tc.reason == "" && d.FailureReason != "" || d.ExitMessage != tc.message {
					t.Errorf("%s, reason %q, message %q", d.ProcessingJobStatus, d.FailureReason, d.ExitMessage)
				}
				if tc.billed > 0 && (d.ProcessingStartTime.Before(began) || d.ProcessingEndTime.Sub(d.ProcessingStartTime.Time).Round(time.Second) != tc.billed) {
					t.Errorf("from %v to %v", d.ProcessingStartTime, d.ProcessingEndTime)
				}
				l, err := p.List(t.Context(), jobtest.Call(), &apism.ListProcessingJobsRequest{})
				if err != nil || len(l.ProcessingJobSummaries) != 1 {
					t.Fatalf("%+v, %v", l, err)
				}
				if s := l.ProcessingJobSummaries[0]; s.ProcessingJobStatus != tc.status || s.FailureReason != d.FailureReason || s.ExitMessage != tc.message || s.ProcessingEndTime.Unix() != d.ProcessingEndTime.Unix() {
					t.Errorf("listed as %+v", s)
				}
				use, err := p.Store.ListUsage(t.Context(), resource.UsageQuery{Account: jobtest.Account})
				if err != nil {
					t.Fatal(err)
				}
				if tc.billed == 0 {
					if len(use) != 0 {
						t.Errorf("what never ran is billed: %+v", use)
					}
					return
				}
				if len(use) != 1 || use[0].End.Sub(use[0].Start).Round(time.Second) != tc.billed || use[0].Quantity != 2 || use[0].InstanceType != "ml.m5.large" || use[0].Component != "processing" || use[0].Kind != Kind {
					t.Errorf("usage %+v", use)
				}
			})
		})
	}
}

// settle looks at a job until it is over, a second at a time; stop asks for its
// end in the 30th.
func settle(t *testing.T, p *Processing, stop bool) {
	t.Helper()
	k := resource.Key{Account: jobtest.Account, Region: jobtest.Region, Kind: Kind, Name: "job"}
	for i := range 600 {
		if stop && i == 30 {
			if _, err := p.Stop(t.Context(), jobtest.Call(), &apism.StopProcessingJobRequest{ProcessingJobName: "job"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := jobtest.Look(t.Context(), p.Reconcile, k); err != nil {
			t.Fatal(err)
		}
		if job.Terminal(describe(t, p, "job").ProcessingJobStatus) {
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatalf("the job does not end: %+v", describe(t, p, "job"))
}

// TestOperations has what the operations answer around a job's life.
func TestOperations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := bench(t, func(compute.Task) fake.Script { return fake.Script{Run: 100 * time.Second, Steps: steps()} })
		ctx, c := t.Context(), jobtest.Call()
		full := store.ErrFull
		p.Free = func() error { return full }
		if _, err := p.Create(ctx, c, good("job")); codeOf(err) != "ResourceLimitExceeded" || !strings.Contains(err.Error(), "takes no new processing jobs") {
			t.Errorf("on a full disk: %v", err)
		}
		full = nil
		a, err := p.Create(ctx, c, good("job"))
		if err != nil || a.ProcessingJobArn != "arn:aws:sagemaker:us-east-1:123456789012:processing-job/job" {
			t.Fatalf("%+v, %v", a, err)
		}
		if _, err := p.Create(ctx, c, good("job")); codeOf(err) != "ResourceInUse" || !strings.Contains(err.Error(), "Job name must be unique within an AWS account and region, and a job with this name already exists ("+a.ProcessingJobArn+")") {
			t.Errorf("second of a name: %v", err)
		}
		d := describe(t, p, "job")
		if d.ProcessingJobStatus != "InProgress" || *d.ProcessingResources.ClusterConfig.InstanceCount != 1 || d.StoppingCondition.MaxRuntimeInSeconds != 86400 || !d.ProcessingStartTime.IsZero() {
			t.Errorf("a job that has not begun: %+v", d)
		}
		if _, err := p.Delete(ctx, c, &apism.DeleteProcessingJobRequest{ProcessingJobName: "job"}); codeOf(err) != "ResourceInUse" {
			t.Errorf("delete of a running job: %v", err)
		}
		settle(t, p, false)
		if _, err := p.Stop(ctx, c, &apism.StopProcessingJobRequest{ProcessingJobName: "job"}); codeOf(err) != "ValidationException" || !strings.Contains(err.Error(), "the processing job is in status Completed") {
			t.Errorf("stop of a finished job: %v", err)
		}
		// It has just ended, and its tasks are still there.
		if _, err := p.Delete(ctx, c, &apism.DeleteProcessingJobRequest{ProcessingJobName: "job"}); err != nil {
			t.Fatal(err)
		}
		gone(t, p)
		for range 2 {
			if _, err := p.Reconcile(ctx, resource.Key{Account: jobtest.Account, Region: jobtest.Region, Kind: Kind, Name: "job"}); err != nil {
				t.Fatal(err)
			}
			gone(t, p)
		}
		// Of the next one of its name nothing is left when it is deleted.
		if _, err := p.Create(ctx, c, good("job")); err != nil {
			t.Fatal(err)
		}
		settle(t, p, false)
		if _, err := p.Reconcile(ctx, resource.Key{Account: jobtest.Account, Region: jobtest.Region, Kind: Kind, Name: "job"}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Delete(ctx, c, &apism.DeleteProcessingJobRequest{ProcessingJobName: "job"}); err != nil {
			t.Fatal(err)
		}
		gone(t, p)
		if _, err := p.Create(ctx, c, good("job")); err != nil {
			t.Errorf("the name of a deleted job: %v", err)
		}
	})
}

// gone sees that a job which was deleted is nowhere any more.
func gone(t *testing.T, p *Processing) {
	t.Helper()
	if _, err := p.Describe(t.Context(), jobtest.Call(), &apism.DescribeProcessingJobRequest{ProcessingJobName: "job"}); codeOf(err) != "ValidationException" || !strings.Contains(err.Error(), "Could not find requested job with name: job") {
		t.Errorf("it is described: %v", err)
	}
	if l, err := p.List(t.Context(), jobtest.Call(), &apism.ListProcessingJobsRequest{}); err != nil || len(l.ProcessingJobSummaries) != 0 {
		t.Errorf("it is listed: %+v, %v", l, err)
	}
}

// TestMissing has what is said of a job that never was.
func TestMissing(t *testing.T) {
	t.Parallel()
	p := bench(t, nil)
	for text, err := range map[string]error{
		"Could not find requested job with name: job": second(p.Describe(t.Context(), jobtest.Call(), &apism.DescribeProcessingJobRequest{ProcessingJobName: "job"})),
		"Could not find job to update with name: job": second(p.Stop(t.Context(), jobtest.Call(), &apism.StopProcessingJobRequest{ProcessingJobName: "job"})),
	} {
		if codeOf(err) != "ValidationException" || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %s", err, text)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestTask has what a host is given.
func TestTask(t *testing.T) {
	t.Parallel()
	tasks := map[string]compute.Task{}
	p := bench(t, func(task compute.Task) fake.Script {
		tasks[task.Network.Host] = task
		return fake.Script{Forever: true}
	})
	r := good("job")
	r.Environment = map[string]string{"A": "mine"}
	r.ProcessingInputs = []apism.ProcessingInput{
		input("code", base+"/input/code"),
		input("data", base+"/input/data", func(i *apism.ProcessingInput) {
			i.S3Input.S3DataDistributionType, i.S3Input.S3DataType = "ShardedByS3Key", "ManifestFile"
		}),
		{InputName: "own", AppManaged: api.Ptr(true), DatasetDefinition: &apism.DatasetDefinition{AthenaDatasetDefinition: &apism.AthenaDatasetDefinition{Catalog: "c"}}},
	}
	r.ProcessingOutputConfig = &apism.ProcessingOutputConfig{Outputs: []apism.ProcessingOutput{
		output("end", base+"/output/end"),
		output("always", base+"/output/always", func(o *apism.ProcessingOutput) { o.S3Output.S3UploadMode = "Continuous" }),
		{OutputName: "own", AppManaged: api.Ptr(true), FeatureStoreOutput: &apism.ProcessingFeatureStoreOutput{FeatureGroupName: "g"}},
	}}
	r.ProcessingResources.ClusterConfig.InstanceCount = api.Ptr(int64(2))
	r.NetworkConfig = &apism.NetworkConfig{EnableNetworkIsolation: api.Ptr(true)}
	if _, err := p.Create(t.Context(), jobtest.Call(), r); err != nil {
		t.Fatal(err)
	}
	k := resource.Key{Account: jobtest.Account, Region: jobtest.Region, Kind: Kind, Name: "job"}
	if _, err := p.Reconcile(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	rec, err := p.Store.Get(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{"algo-1", "algo-2"}
	for i, host := range hosts {
		task, ok := tasks[host]
		if !ok {
			t.Fatalf("%s was not started: %v", host, tasks)
		}
		if string(task.ID) != fmt.Sprintf("%s-%d", rec.UID, i+1) || task.Kind != "processing" || task.Name != "job" || task.MaxRuntime != 24*time.Hour || !task.Network.Isolated || !reflect.DeepEqual(task.Network.Peers, hosts) {
			t.Errorf("%+v", task)
		}
		if got := strings.Join(append(task.Entrypoint, task.Args...), " "); got != "python3 /opt/ml/processing/input/code/clean.py --rows 10" {
			t.Errorf("it runs %s", got)
		}
		if !reflect.DeepEqual(task.Env, map[string]string{"A": "mine", "AWS_REGION": jobtest.Region}) {
			t.Errorf("environment %v", task.Env)
		}
		got := *task.Plan.Processing
		config := got.Config
		got.Config = nil
		want := plan.Processing{
			JobName: "job", JobArn: rec.Arn, Region: jobtest.Region, RoleArn: jobtest.Role, Hosts: hosts, CurrentHost: host, NetworkIsolation: true,
			Inputs: []plan.Input{
				{LocalPath: base + "/input/code", Channel: plan.Channel{Name: "code", S3Uri: "s3://b/in", S3DataType: "S3Prefix", Distribution: "FullyReplicated", CompressionType: "None", InputMode: "File"}},
				{LocalPath: base + "/input/data", Channel: plan.Channel{Name: "data", S3Uri: "s3://b/in", S3DataType: "ManifestFile", Distribution: "ShardedByS3Key", CompressionType: "None", InputMode: "File"}},
			},
			Outputs: []plan.Output{
				{Name: "end", S3Uri: "s3://b/out", LocalPath: base + "/output/end"},
				{Name: "always", S3Uri: "s3://b/out", LocalPath: base + "/output/always", Continuous: true},
			},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("plan\n%+v, want\n%+v", got, want)
		}
		same(t, config, `{
			"ProcessingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:processing-job/job", "ProcessingJobName": "job",
			"AppSpecification": {"ImageUri": "img", "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/clean.py"], "ContainerArguments": ["--rows", "10"]},
			"Environment": {"A": "mine"},
			"ProcessingInputs": [
				{"InputName": "code", "S3Input": {"LocalPath": "/opt/ml/processing/input/code", "S3Uri": "s3://b/in", "S3DataDistributionType": "FullyReplicated", "S3DataType": "S3Prefix", "S3InputMode": "File", "S3CompressionType": "None", "S3DownloadMode": "StartOfJob"}},
				{"InputName": "data", "S3Input": {"LocalPath": "/opt/ml/processing/input/data", "S3Uri": "s3://b/in", "S3DataDistributionType": "ShardedByS3Key", "S3DataType": "ManifestFile", "S3InputMode": "File", "S3CompressionType": "None", "S3DownloadMode": "StartOfJob"}},
				{"InputName": "own", "AppManaged": true, "DatasetDefinition": {"AthenaDatasetDefinition": {"Catalog": "c", "Database": "", "QueryString": "", "OutputS3Uri": "", "OutputFormat": ""}}}
			],
			"ProcessingOutputConfig": {"Outputs": [
				{"OutputName": "end", "S3Output": {"LocalPath": "/opt/ml/processing/output/end", "S3Uri": "s3://b/out", "S3UploadMode": "EndOfJob"}},
				{"OutputName": "always", "S3Output": {"LocalPath": "/opt/ml/processing/output/always", "S3Uri": "s3://b/out", "S3UploadMode": "Continuous"}},
				{"OutputName": "own", "AppManaged": true, "FeatureStoreOutput": {"FeatureGroupName": "g"}}
			], "KmsKeyId": null},
			"ProcessingResources": {"ClusterConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 30, "VolumeKmsKeyId": null}},
			"RoleArn": "arn:aws:iam::123456789012:role/Role",
			"StoppingCondition": {"MaxRuntimeInSeconds": 86400}
		}`)
	}
}

func TestHint(t *testing.T) {
	t.Parallel()
	r := good("job")
	r.ProcessingInputs = []apism.ProcessingInput{input("code", base+"/input/code"), input("data", base+"/input/data/")}
	r.ProcessingOutputConfig = &apism.ProcessingOutputConfig{Outputs: []apism.ProcessingOutput{output("out", base+"/output")}}
	const there = `None of the job's inputs lies there: "code" in /opt/ml/processing/input/code, "data" in /opt/ml/processing/input/data/. Add it to ProcessingInputs, which is what run() is given`
	for _, tc := range []struct{ cause, want string }{
		{"FileNotFoundError: [Errno 2] No such file or directory: '/opt/ml/processing/input/rows.csv'", there},
		{"python3: can't open file '/opt/ml/processing/code/x.py': [Errno 2] No such file or directory", there},
		{"File \"/opt/ml/processing/input/code/x.py\", line 1\nFileNotFoundError: /opt/ml/processing/rows", there},
		{"FileNotFoundError: [Errno 2] No such file or directory: '/opt/ml/processing/input/data/rows.csv'", ""},
		{"FileNotFoundError: [Errno 2] No such file or directory: '/opt/ml/processing/output/x/rows.csv'", ""},
		{"FileNotFoundError: [Errno 2] No such file or directory: '/etc/rows.csv'", ""},
		{"ValueError: /opt/ml/processing/input/rows.csv", ""},
	} {
		if got := hint(workOf(t, r), tc.cause); got != tc.want {
			t.Errorf("%s: %q", tc.cause, got)
		}
	}
	if got := hint(workOf(t, good("job")), "No such file or directory: '/opt/ml/processing/input'"); !strings.HasPrefix(got, "None of the job's inputs lies there: it has none. ") {
		t.Errorf("of no inputs: %q", got)
	}
}

func workOf(t *testing.T, r *request) *job.Work {
	t.Helper()
	spec, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	w, err := work(&resource.Record{Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestSmallestConfig has what programs index in a file of a job that names
// little.
func TestSmallestConfig(t *testing.T) {
	t.Parallel()
	r := good("job")
	r.AppSpecification.ContainerEntrypoint, r.AppSpecification.ContainerArguments = nil, nil
	spec, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	rec := &resource.Record{Key: resource.Key{Name: "job"}, Arn: "arn", Spec: spec}
	in, err := readSpec(rec)
	if err != nil {
		t.Fatal(err)
	}
	got, err := configFile(rec, in)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, `{
		"ProcessingJobArn": "arn", "ProcessingJobName": "job",
		"AppSpecification": {"ImageUri": "img", "ContainerEntrypoint": null, "ContainerArguments": null},
		"Environment": {}, "ProcessingInputs": [], "ProcessingOutputConfig": {"Outputs": [], "KmsKeyId": null},
		"ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 30, "VolumeKmsKeyId": null}},
		"RoleArn": "arn:aws:iam::123456789012:role/Role", "StoppingCondition": {"MaxRuntimeInSeconds": 86400}
	}`)
}

func same(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("the file is\n%s, want\n%s", got, want)
	}
}

// TestList has the filters; the order and the pages are the store's own tests'.
func TestList(t *testing.T) {
	t.Parallel()
	p := bench(t, nil)
	for _, name := range []string{"clean-b", "clean-a", "join-c"} {
		if _, err := p.Create(t.Context(), jobtest.Call(), good(name)); err != nil {
			t.Fatal(err)
		}
	}
	names := func(in apism.ListProcessingJobsRequest) string {
		t.Helper()
		var all []string
		for {
			out, err := p.List(t.Context(), jobtest.Call(), &in)
			if err != nil {
				return codeOf(err)
			}
			for _, s := range out.ProcessingJobSummaries {
				all = append(all, s.ProcessingJobName)
			}
			if in.NextToken = out.NextToken; in.NextToken == "" {
				return strings.Join(all, " ")
			}
		}
	}
	two := api.Ptr(int64(2))
	for _, tc := range []struct {
		in   apism.ListProcessingJobsRequest
		want string
	}{
		{apism.ListProcessingJobsRequest{MaxResults: two}, "clean-b clean-a join-c"},
		{apism.ListProcessingJobsRequest{SortOrder: "Descending", MaxResults: two}, "join-c clean-a clean-b"},
		{apism.ListProcessingJobsRequest{SortBy: "Name", MaxResults: two}, "clean-a clean-b join-c"},
		{apism.ListProcessingJobsRequest{NameContains: "CLEAN"}, "clean-b clean-a"},
		{apism.ListProcessingJobsRequest{StatusEquals: "InProgress", SortBy: "Status"}, "clean-b clean-a join-c"},
		{apism.ListProcessingJobsRequest{StatusEquals: "Stopped"}, ""},
		{apism.ListProcessingJobsRequest{CreationTimeAfter: api.At(time.Now().Add(time.Hour))}, ""},
		{apism.ListProcessingJobsRequest{CreationTimeBefore: api.At(time.Now().Add(time.Hour)), LastModifiedTimeAfter: api.At(time.Now().Add(-time.Hour))}, "clean-b clean-a join-c"},
		{apism.ListProcessingJobsRequest{LastModifiedTimeBefore: api.At(time.Now().Add(-time.Hour))}, ""},
		{apism.ListProcessingJobsRequest{NextToken: "nonsense"}, "ValidationException"},
	} {
		if got := names(tc.in); got != tc.want {
			t.Errorf("%+v lists %q, want %q", tc.in, got, tc.want)
		}
	}
}
