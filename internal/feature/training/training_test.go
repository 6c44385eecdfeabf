package training

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/job/jobtest"
	"clary/internal/resource"
	"clary/internal/stage/plan"
)

func bench(t *testing.T, script func(compute.Task) fake.Script) *Training {
	t.Helper()
	return New(Config{Config: jobtest.Config(t, script)})
}

func good(name string) *request {
	return &request{
		TrainingJobName: name, RoleArn: jobtest.Role,
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
	tr := bench(t, nil)
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
		"no instance":        {func(r *request) { r.ResourceConfig.InstanceCount = api.Ptr(int64(0)) }, "ValidationException", "InstanceCount"},
		"too many instances": {func(r *request) { r.ResourceConfig.InstanceCount = api.Ptr(int64(21)) }, "ResourceLimitExceeded", "service limit 'Maximum number of instances per training job' is 20 Instances, with current utilization of 0 Instances and a request delta of 21 Instances"},
		"accelerator":        {func(r *request) { r.ResourceConfig.InstanceType = "ml.p3.2xlarge" }, "ResourceLimitExceeded", "service limit 'ml.p3.2xlarge for training job usage' is 0 Instances"},
		"too long":           {func(r *request) { r.StoppingCondition.MaxRuntimeInSeconds = api.Ptr(int64(maxRuntimeLimit + 1)) }, "ValidationException", "MaxRuntimeInSeconds"},
		"spot without wait":  {func(r *request) { r.EnableManagedSpotTraining = api.Ptr(true) }, "ValidationException", "MaxWaitTimeInSeconds"},
		"output not S3":      {func(r *request) { r.OutputDataConfig.S3OutputPath = "https://b/out" }, "ValidationException", "S3OutputPath"},
		"checkpoint outside": {func(r *request) { r.CheckpointConfig = &apism.CheckpointConfig{S3Uri: "s3://b/c", LocalPath: "/etc"} }, "ValidationException", "/opt/ml"},
		"checkpoint above": {func(r *request) {
			r.CheckpointConfig = &apism.CheckpointConfig{S3Uri: "s3://b/c", LocalPath: "/opt/ml/../../etc"}
		}, "ValidationException", "/opt/ml"},
		"no source": {channel(func(c *apism.Channel) { c.DataSource = nil }), "ValidationException", "No data source"},
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
			_, err := tr.Create(t.Context(), jobtest.Call(), in)
			if codeOf(err) != tc.code || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%v, want %s with %q", err, tc.code, tc.text)
			}
		})
	}
	if _, err := tr.Describe(t.Context(), jobtest.Call(), &apism.DescribeTrainingJobRequest{TrainingJobName: "job"}); codeOf(err) != "ValidationException" {
		t.Errorf("a refused job can be described: %v", err)
	}
	if _, err := tr.Create(t.Context(), jobtest.Call(), good("twice")); err != nil {
		t.Fatal(err)
	}
	_, err := tr.Create(t.Context(), jobtest.Call(), good("twice"))
	if codeOf(err) != "ResourceInUse" || !strings.Contains(err.Error(), "already exists") || !strings.Contains(err.Error(), "names must be unique within an AWS account") {
		t.Errorf("second job of a name: %v", err)
	}
}

// TestLife takes a job through its steps by hand, with the clock of a bubble.
func TestLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := bench(t, func(compute.Task) fake.Script {
			return fake.Script{
				Delay: time.Second, Run: 100 * time.Second, Output: []string{"hello"},
				Steps:  []fake.Step{{Name: plan.StepDownloading}, {Name: plan.StepTraining, At: 10 * time.Second}, {Name: plan.StepUploading, At: 90 * time.Second}},
				Result: plan.Result{Artifact: "s3://b/out/job/output/model.tar.gz"},
			}
		})
		ctx, c := t.Context(), jobtest.Call()
		key := resource.Key{Account: c.Account, Region: c.Region, Kind: Kind, Name: "job"}
		if _, err := tr.Create(ctx, c, good("job")); err != nil {
			t.Fatal(err)
		}
		look := func() *apism.DescribeTrainingJobResponse {
			t.Helper()
			if _, err := tr.Reconcile(ctx, key); err != nil {
				t.Fatal(err)
			}
			d, err := tr.Describe(ctx, c, &apism.DescribeTrainingJobRequest{TrainingJobName: "job"})
			if err != nil {
				t.Fatal(err)
			}
			return d.Out
		}
		if d := look(); d.TrainingJobStatus != "InProgress" || d.SecondaryStatus != "Starting" || !strings.HasSuffix(d.ModelArtifacts.S3ModelArtifacts, "/job/output/model.tar.gz") {
			t.Errorf("after the start: %s %s %v", d.TrainingJobStatus, d.SecondaryStatus, d.ModelArtifacts)
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
		use, err := tr.Store.ListUsage(ctx, resource.UsageQuery{Account: jobtest.Account})
		if err != nil || len(use) != 1 || use[0].End.Sub(use[0].Start) != 100*time.Second || use[0].InstanceType != "ml.m5.large" {
			t.Errorf("usage %+v, %v", use, err)
		}
		if _, err := tr.Stop(ctx, c, &apism.StopTrainingJobRequest{TrainingJobName: "job"}); codeOf(err) != "ValidationException" {
			t.Errorf("stop of a finished job: %v", err)
		}
		if _, err := tr.Delete(ctx, c, &apism.DeleteTrainingJobRequest{TrainingJobName: "job"}); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Reconcile(ctx, key); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Describe(ctx, c, &apism.DescribeTrainingJobRequest{TrainingJobName: "job"}); codeOf(err) != "ValidationException" {
			t.Errorf("describe after delete: %v", err)
		}
		if use, _ := tr.Store.ListUsage(ctx, resource.UsageQuery{Account: jobtest.Account}); len(use) != 1 {
			t.Error("deleting a job removed its bill")
		}
	})
}
