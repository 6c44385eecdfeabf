package training

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/identity"
	"clary/internal/logs"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/plan"
	"clary/internal/store/sqlite"
)

const (
	account = "123456789012"
	region  = "us-east-1"
	role    = "arn:aws:iam::123456789012:role/Role"
)

// nobody allows everything and makes sessions of nothing.
type nobody struct{}

func (nobody) Allow(context.Context, resource.Principal, string, string) error    { return nil }
func (nobody) PassRole(context.Context, resource.Principal, string, string) error { return nil }
func (nobody) Assume(context.Context, string, string, time.Duration) (identity.Credentials, error) {
	return identity.Credentials{}, nil
}

// readyCatalog has every image but one.
type readyCatalog struct{}

func (readyCatalog) Resolve(_ context.Context, uri string) (runtimes.Runtime, error) {
	if uri == "unknown" {
		return runtimes.Runtime{}, fmt.Errorf("%w: %s", runtimes.ErrUnknownImage, uri)
	}
	return runtimes.Runtime{ID: "x", Recipe: "x", Train: []string{"train"}}, nil
}

func (readyCatalog) Notebook() runtimes.Runtime { return runtimes.Runtime{} }

func (readyCatalog) Ensure(context.Context, runtimes.Runtime) (runtimes.State, error) {
	return runtimes.State{Ready: true}, nil
}
func (readyCatalog) Changes() <-chan string { return nil }

// allIn says that every output is in.
type allIn struct{}

func (allIn) Ensure(compute.TaskID, logs.Stream, string, []plan.Metric) error { return nil }
func (allIn) Forget(compute.TaskID)                                           {}

func (allIn) Done(context.Context, compute.TaskID, logs.Stream, int64) (bool, error) {
	return true, nil
}

// noLogs takes lines of ours and keeps none.
type noLogs struct{ logs.Store }

func (noLogs) Ingest(context.Context, logs.Stream, string, int64, int64, []logs.Event) error {
	return nil
}

func bench(t *testing.T, script func(compute.Task) fake.Script) (*Training, *sqlite.Store) {
	t.Helper()
	st, err := sqlite.Open(filepath.Join(t.TempDir(), "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := fake.NewWorld(script, nil).Driver()
	tr := New(Config{
		Store: st, Driver: d, Catalog: readyCatalog{}, Output: allIn{}, Logs: noLogs{}, Auth: nobody{}, Sessions: nobody{},
		Wake: func(resource.Key) {}, Free: func() error { return nil },
	})
	t.Cleanup(func() { _ = st.Close() })
	return tr, st
}

func call() op.Call {
	return op.Call{Account: account, Region: region, Principal: resource.Principal{Account: account, Root: true}, Received: time.Now()}
}

func good(name string) *request {
	return &request{
		TrainingJobName: name, RoleArn: role,
		AlgorithmSpecification: &apism.AlgorithmSpecification{TrainingImage: "img", TrainingInputMode: "File"},
		OutputDataConfig:       &apism.OutputDataConfig{S3OutputPath: "s3://b/out"},
		ResourceConfig:         &apism.ResourceConfig{InstanceType: "ml.m5.large", InstanceCount: api.Ptr(int64(1)), VolumeSizeInGB: api.Ptr(int64(30))},
		StoppingCondition:      &apism.StoppingCondition{MaxRuntimeInSeconds: api.Ptr(int64(3600))},
	}
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*apierr.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	tr, _ := bench(t, nil)
	channel := func(edit func(*apism.Channel)) func(*request) {
		return func(r *request) {
			c := apism.Channel{ChannelName: "train", DataSource: &apism.DataSource{S3DataSource: &apism.S3DataSource{S3DataType: "S3Prefix", S3Uri: "s3://b/in"}}}
			edit(&c)
			r.InputDataConfig = append(r.InputDataConfig, c)
		}
	}
	for name, tc := range map[string]struct {
		edit func(*request)
		code string
		text string
	}{
		"no algorithm":       {func(r *request) { r.AlgorithmSpecification = nil }, "ValidationException", "AlgorithmSpecification"},
		"algorithm resource": {func(r *request) { r.AlgorithmSpecification.AlgorithmName = "mine" }, "ValidationException", "AlgorithmName"},
		"no image":           {func(r *request) { r.AlgorithmSpecification.TrainingImage = "" }, "ValidationException", "TrainingImage"},
		"pipe":               {func(r *request) { r.AlgorithmSpecification.TrainingInputMode = "Pipe" }, "ValidationException", "Pipe"},
		"serverless":         {func(r *request) { r.ServerlessJobConfig = &apism.ServerlessJobConfig{} }, "ValidationException", "ServerlessJobConfig"},
		"no resources":       {func(r *request) { r.ResourceConfig = nil }, "ValidationException", "ResourceConfig"},
		"no count":           {func(r *request) { r.ResourceConfig.InstanceCount = nil }, "ValidationException", "InstanceCount"},
		"two instances":      {func(r *request) { r.ResourceConfig.InstanceCount = api.Ptr(int64(2)) }, "ValidationException", "InstanceCount 2, only 1, for training jobs"},
		"accelerator":        {func(r *request) { r.ResourceConfig.InstanceType = "ml.p3.2xlarge" }, "ResourceLimitExceeded", "service limit 'ml.p3.2xlarge for training job usage' is 0 Instances"},
		"too long":           {func(r *request) { r.StoppingCondition.MaxRuntimeInSeconds = api.Ptr(int64(maxRuntimeLimit + 1)) }, "ValidationException", "MaxRuntimeInSeconds"},
		"spot without wait":  {func(r *request) { r.EnableManagedSpotTraining = api.Ptr(true) }, "ValidationException", "MaxWaitTimeInSeconds"},
		"output not S3":      {func(r *request) { r.OutputDataConfig.S3OutputPath = "https://b/out" }, "ValidationException", "S3OutputPath"},
		"checkpoint outside": {func(r *request) { r.CheckpointConfig = &apism.CheckpointConfig{S3Uri: "s3://b/c", LocalPath: "/etc"} }, "ValidationException", "/opt/ml"},
		"no source":          {channel(func(c *apism.Channel) { c.DataSource = nil }), "ValidationException", "No data source"},
		"file system": {channel(func(c *apism.Channel) {
			c.DataSource = &apism.DataSource{FileSystemDataSource: &apism.FileSystemDataSource{}}
		}), "ValidationException", "DataSource"},
		"gzip":           {channel(func(c *apism.Channel) { c.CompressionType = "Gzip" }), "ValidationException", "Gzip"},
		"augmented":      {channel(func(c *apism.Channel) { c.DataSource.S3DataSource.S3DataType = "AugmentedManifestFile" }), "ValidationException", "AugmentedManifestFile"},
		"channel not S3": {channel(func(c *apism.Channel) { c.DataSource.S3DataSource.S3Uri = "https://b/in" }), "ValidationException", "S3Uri"},
		"channel twice":  {func(r *request) { channel(func(*apism.Channel) {})(r); channel(func(*apism.Channel) {})(r) }, "ValidationException", "Duplicate channel"},
		"tag twice":      {func(r *request) { r.Tags = []apism.Tag{{Key: "a"}, {Key: "a"}} }, "ValidationException", "Duplicate tag"},
		"reserved tag":   {func(r *request) { r.Tags = []apism.Tag{{Key: "AWS:x"}} }, "ValidationException", "reserved"},
	} {
		t.Run(name, func(t *testing.T) {
			in := good("job")
			tc.edit(in)
			_, err := tr.Create(t.Context(), call(), in)
			if codeOf(err) != tc.code || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%v, want %s with %q", err, tc.code, tc.text)
			}
		})
	}
	if _, err := tr.Describe(t.Context(), call(), &apism.DescribeTrainingJobRequest{TrainingJobName: "job"}); codeOf(err) != "ValidationException" {
		t.Errorf("a refused job can be described: %v", err)
	}
	if _, err := tr.Create(t.Context(), call(), good("twice")); err != nil {
		t.Fatal(err)
	}
	_, err := tr.Create(t.Context(), call(), good("twice"))
	if codeOf(err) != "ResourceInUse" || !strings.Contains(err.Error(), "already exists") || !strings.Contains(err.Error(), "names must be unique within an AWS account") {
		t.Errorf("second job of a name: %v", err)
	}
}

// TestLife takes a job through its steps by hand, with the clock of a bubble.
func TestLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, st := bench(t, func(compute.Task) fake.Script {
			return fake.Script{
				Delay: time.Second, Run: 100 * time.Second, Output: []string{"hello"},
				Steps:  []fake.Step{{Name: plan.StepDownloading}, {Name: plan.StepTraining, At: 10 * time.Second}, {Name: plan.StepUploading, At: 90 * time.Second}},
				Result: plan.Result{Artifact: "s3://b/out/job/output/model.tar.gz"},
			}
		})
		defer st.Close()
		ctx, c := t.Context(), call()
		if _, err := tr.Create(ctx, c, good("job")); err != nil {
			t.Fatal(err)
		}
		look := func() *apism.DescribeTrainingJobResponse {
			t.Helper()
			if _, err := tr.Reconcile(ctx, key(account, region, "job")); err != nil {
				t.Fatal(err)
			}
			d, err := tr.Describe(ctx, c, &apism.DescribeTrainingJobRequest{TrainingJobName: "job"})
			if err != nil {
				t.Fatal(err)
			}
			return d.Out
		}
		if d := look(); d.TrainingJobStatus != "InProgress" || d.SecondaryStatus != "Starting" || d.ModelArtifacts == nil {
			t.Errorf("after the start: %s %s", d.TrainingJobStatus, d.SecondaryStatus)
		}
		if _, err := tr.Delete(ctx, c, &apism.DeleteTrainingJobRequest{TrainingJobName: "job"}); codeOf(err) != "ResourceInUse" {
			t.Errorf("delete of a running job: %v", err)
		}
		time.Sleep(50 * time.Second)
		if d := look(); d.SecondaryStatus != "Training" || d.TrainingStartTime.IsZero() {
			t.Errorf("under way: %s since %v", d.SecondaryStatus, d.TrainingStartTime)
		}
		time.Sleep(60 * time.Second)
		look()
		d := look()
		if d.TrainingJobStatus != "Completed" || d.ModelArtifacts.S3ModelArtifacts == "" || *d.BillableTimeInSeconds != 100 {
			t.Errorf("at the end: %s %v %v", d.TrainingJobStatus, d.ModelArtifacts, api.Value(d.BillableTimeInSeconds))
		}
		var seen []string
		for _, s := range d.SecondaryStatusTransitions {
			if s.EndTime.IsZero() {
				t.Errorf("transition %s is open", s.Status)
			}
			seen = append(seen, s.Status)
		}
		if got := strings.Join(seen, " "); got != "Starting Starting Downloading Training Uploading Completed" {
			t.Errorf("transitions: %s", got)
		}
		use, err := st.ListUsage(ctx, resource.UsageQuery{Account: account})
		if err != nil || len(use) != 1 || use[0].End.Sub(use[0].Start) != 100*time.Second || use[0].InstanceType != "ml.m5.large" {
			t.Errorf("usage %+v, %v", use, err)
		}
		if _, err := tr.Stop(ctx, c, &apism.StopTrainingJobRequest{TrainingJobName: "job"}); codeOf(err) != "ValidationException" {
			t.Errorf("stop of a finished job: %v", err)
		}
		if _, err := tr.Delete(ctx, c, &apism.DeleteTrainingJobRequest{TrainingJobName: "job"}); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Reconcile(ctx, key(account, region, "job")); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Describe(ctx, c, &apism.DescribeTrainingJobRequest{TrainingJobName: "job"}); codeOf(err) != "ValidationException" {
			t.Errorf("describe after delete: %v", err)
		}
		if use, _ := st.ListUsage(ctx, resource.UsageQuery{Account: account}); len(use) != 1 {
			t.Error("deleting a job removed its bill")
		}
	})
}

func TestHolds(t *testing.T) {
	t.Parallel()
	var h holds
	if d := h.look(sdkV2, "u", "me", 0); d != holdFirst {
		t.Errorf("first look is held %v", d)
	}
	if d := h.look(sdkV2, "u", "me", 0); d != holdSilent {
		t.Errorf("a silent caller's second look is held %v", d)
	}
	h.read("u", "me")
	if d := h.look(sdkV2, "u", "me", 0); d != 0 {
		t.Errorf("a caller that reads the log is held %v", d)
	}
	if d := h.look(sdkV2, "u", "you", 0); d != holdFirst {
		t.Errorf("another caller's first look is held %v", d)
	}
	h.read("u", "reader")
	if d := h.look(sdkV2, "u", "reader", 0); d != 0 {
		t.Errorf("a caller that read the log first is held %v", d)
	}
	for i, want := range []time.Duration{0, holdFirst, holdSilent} {
		if d := h.look(sdkV3, "u", "v3", 0); d != want {
			t.Errorf("look %d of version 3 is held %v, not %v", i, d, want)
		}
	}
	for i, want := range []time.Duration{0, time.Minute, time.Minute} {
		if d := h.look(sdkV3, "u", "v3 asked to", time.Minute); d != want {
			t.Errorf("look %d of version 3, held as asked, is held %v, not %v", i, d, want)
		}
	}
	h.forget("u")
	if len(h.m) != 0 {
		t.Error("a job that is over is remembered")
	}
}

// TestSDKOf has the user agents as the SDKs send them.
func TestSDKOf(t *testing.T) {
	t.Parallel()
	for ua, want := range map[string]sdk{
		"Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python#3.11.2 cfg/retry-mode#standard Botocore/1.44.5 lib/AWS-SageMakerCore#2.27.0": sdkV3,
		"AWS-SageMaker-Python-SDK/2.257.7 Python/3.11.2 Linux/6.18 Boto3/1.44.5":                                                                  sdkV2,
		"Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python#3.11.2 Botocore/1.44.5 lib/AWS-SageMaker-Python-SDK#2.257.7":                 sdkV2,
		"Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python#3.11.2 Botocore/1.44.5":                                                      sdkNone,
		"aws-cli/1.44.5 Python/3.11.2 Linux/6.18 botocore/1.44.5":                                                                                 sdkNone,
		"": sdkNone,
	} {
		if got := sdkOf(ua); got != want {
			t.Errorf("%q is %d, not %d", ua, got, want)
		}
	}
}
