package transform

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
	"clary/internal/serving"
	"clary/internal/stage/plan"
	"clary/internal/store"
)

type bench struct {
	*Transform
	t *testing.T
}

// newBench has the models "one", of one container, and "pipe", of two.
func newBench(t *testing.T, script func(compute.Task) fake.Script) *bench {
	t.Helper()
	b := &bench{New(jobtest.Config(t, script)), t}
	first := apism.ContainerDefinition{Image: "img", ModelDataUrl: "s3://b/one.tar.gz", Environment: map[string]string{"A": "model", "B": "model"}}
	b.put("one", &apism.CreateModelInput{PrimaryContainer: &first})
	b.put("pipe", &apism.CreateModelInput{Containers: []apism.ContainerDefinition{first, {Image: "img-2", ModelDataUrl: "s3://b/two.tar.gz"}}, EnableNetworkIsolation: api.Ptr(true)})
	return b
}

func (b *bench) put(name string, m *apism.CreateModelInput) {
	b.t.Helper()
	m.ModelName, m.ExecutionRoleArn = name, jobtest.Role
	spec, err := json.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	err = b.Store.Update(b.t.Context(), func(tx store.Tx) error {
		return tx.Put(&resource.Record{Key: b.key(serving.KindModel, name), UID: resource.NewUID(), Arn: "arn:model/" + name, Created: time.Now(), Modified: time.Now(), Spec: spec})
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) key(kind resource.Kind, name string) resource.Key {
	return resource.Key{Account: jobtest.Account, Region: jobtest.Region, Kind: kind, Name: name}
}

func good(name string) *request {
	return &request{
		TransformJobName: name, ModelName: "one",
		TransformInput:     &apism.TransformInput{DataSource: &apism.TransformDataSource{S3DataSource: &apism.TransformS3DataSource{S3DataType: "S3Prefix", S3Uri: "s3://b/in/"}}},
		TransformOutput:    &apism.TransformOutput{S3OutputPath: "s3://b/out"},
		TransformResources: &apism.TransformResources{InstanceType: "ml.m5.large", InstanceCount: 1},
	}
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*apierr.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

func (b *bench) create(r *request) {
	b.t.Helper()
	if _, err := b.Create(b.t.Context(), jobtest.Call(), r); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) describe(name string) *apism.DescribeTransformJobResponse {
	b.t.Helper()
	d, err := b.Describe(b.t.Context(), jobtest.Call(), &apism.DescribeTransformJobRequest{TransformJobName: name})
	if err != nil {
		b.t.Fatal(err)
	}
	return d.Out
}

// settle looks at a job until it is over, a second at a time; stop asks for its
// end in the 30th.
func (b *bench) settle(stop bool) *apism.DescribeTransformJobResponse {
	b.t.Helper()
	for i := range 600 {
		if stop && i == 30 {
			if _, err := b.Stop(b.t.Context(), jobtest.Call(), &apism.StopTransformJobRequest{TransformJobName: "job"}); err != nil {
				b.t.Fatal(err)
			}
		}
		if err := jobtest.Look(b.t.Context(), b.Reconcile, b.key(Kind, "job")); err != nil {
			b.t.Fatal(err)
		}
		if d := b.describe("job"); job.Terminal(d.TransformJobStatus) {
			return d
		}
		time.Sleep(time.Second)
	}
	b.t.Fatalf("the job does not end: %+v", b.describe("job"))
	return nil
}

// steps of a container that fetches its model for 10 s.
func steps() []fake.Step {
	return []fake.Step{{Name: plan.StepDownloading}, {Name: plan.StepTraining, At: 10 * time.Second}}
}

// TestEnds takes jobs of two instances to each of their ends, with the clock of
// a bubble.
func TestEnds(t *testing.T) {
	t.Parallel()
	failing := func(class, cause string) func(string, *fake.Script) {
		return func(host string, s *fake.Script) {
			if host == "algo-2" {
				s.Run, s.Result = 50*time.Second, plan.Result{ExitCode: -1, Class: class, Failure: cause}
			}
		}
	}
	for name, tc := range map[string]struct {
		model  string
		edit   func(host string, s *fake.Script) // of a host's script
		change func(b *bench)                    // once the job is created
		stop   bool
		status string
		reason string // FailureReason, or its beginning before "…"
		billed time.Duration
	}{
		"completed":                 {status: "Completed", billed: 100 * time.Second},
		"completed by a pipeline":   {model: "pipe", status: "Completed", billed: 100 * time.Second},
		"its model is deleted":      {change: func(b *bench) { b.forget("one") }, status: "Completed", billed: 100 * time.Second},
		"records":                   {edit: failing("ClientError", "See job logs for more information. b/in/a.csv: 413"), status: "Failed", reason: "ClientError: algo-2: See job logs for more information. b/in/a.csv: 413", billed: 50 * time.Second},
		"the algorithm":             {edit: failing("AlgorithmError", "See job logs for more information"), status: "Failed", reason: "AlgorithmError: algo-2: See job logs for more information", billed: 50 * time.Second},
		"no words":                  {edit: failing("AlgorithmError", ""), status: "Failed", reason: "AlgorithmError: algo-2: See job logs for more information", billed: 50 * time.Second},
		"the server":                {edit: failing("InternalServerError", "S3 is away"), status: "Failed", reason: "InternalServerError: algo-2: S3 is away", billed: 50 * time.Second},
		"stopped":                   {edit: func(_ string, s *fake.Script) { s.Forever = true }, stop: true, status: "Stopped", billed: 30 * time.Second},
		"stopped, with a pipeline":  {model: "pipe", edit: func(_ string, s *fake.Script) { s.Forever = true }, stop: true, status: "Stopped", billed: 30 * time.Second},
		"who does not stop":         {edit: func(_ string, s *fake.Script) { s.Forever, s.IgnoreTERM = true, true }, stop: true, status: "Stopped", billed: 60 * time.Second},
		"disk full":                 {edit: func(_ string, s *fake.Script) { s.Run, s.Reason = 60*time.Second, compute.ReasonDisk }, status: "Failed", reason: "ClientError: algo-1: No space left on device: the transform job wrote more than its volume holds: 30 GB", billed: 60 * time.Second},
		"memory":                    {edit: func(_ string, s *fake.Script) { s.Run, s.Reason = 60*time.Second, compute.ReasonMemory }, status: "Failed", reason: "ClientError: Please use an instance type with more memory, or reduce the size of job data processed on an instance. The transform container of algo-1 ran out…", billed: 60 * time.Second},
		"a container of a pipeline": {model: "pipe", edit: dies("algo-1-container-2"), status: "Failed", reason: "AlgorithmError: algo-1/container-2: KeyError: 1, exit code: 1", billed: 40 * time.Second},
		"the other one's":           {model: "pipe", edit: dies("algo-2-container-2"), status: "Failed", reason: "AlgorithmError: algo-2/container-2: KeyError: 1, exit code: 1", billed: 40 * time.Second},
		"no program":                {model: "jobs", status: "Failed", reason: `ClientError: The image "jobs" has no program that serves models…`},
		"no image":                  {model: "unknown", status: "Failed", reason: "ClientError: …"},
		"no second image":           {model: "half", status: "Failed", reason: "ClientError: …"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(task compute.Task) fake.Script {
					s := fake.Script{Run: 100 * time.Second, Steps: steps()}
					if task.Plan.Serving != nil {
						s.Forever = true
					}
					if tc.edit != nil {
						tc.edit(task.Network.Host, &s)
					}
					return s
				})
				b.put("jobs", &apism.CreateModelInput{PrimaryContainer: &apism.ContainerDefinition{Image: "jobs"}})
				b.put("unknown", &apism.CreateModelInput{PrimaryContainer: &apism.ContainerDefinition{Image: "unknown"}})
				b.put("half", &apism.CreateModelInput{Containers: []apism.ContainerDefinition{{Image: "img"}, {Image: "unknown"}}})
				r := good("job")
				r.TransformResources.InstanceCount = 2
				if tc.model != "" {
					r.ModelName = tc.model
				}
				began := time.Now()
				b.create(r)
				if tc.change != nil {
					tc.change(b)
				}
				d := b.settle(tc.stop)
				head, more := strings.CutSuffix(tc.reason, "…")
				if d.TransformJobStatus != tc.status || !strings.HasPrefix(d.FailureReason, head) || !more && d.FailureReason != tc.reason {
					t.Errorf("%s, reason %q", d.TransformJobStatus, d.FailureReason)
				}
				if tc.billed > 0 && (d.TransformStartTime.Before(began) || d.TransformEndTime.Sub(d.TransformStartTime.Time).Round(time.Second) != tc.billed) {
					t.Errorf("from %v to %v", d.TransformStartTime, d.TransformEndTime)
				}
				l, err := b.List(t.Context(), jobtest.Call(), &apism.ListTransformJobsRequest{})
				if err != nil || len(l.TransformJobSummaries) != 1 {
					t.Fatalf("%+v, %v", l, err)
				}
				if s := l.TransformJobSummaries[0]; s.TransformJobStatus != tc.status || s.FailureReason != d.FailureReason || s.TransformJobArn != d.TransformJobArn || s.TransformEndTime.Unix() != d.TransformEndTime.Unix() {
					t.Errorf("listed as %+v", s)
				}
				for range 2 { // it is cleared away
					if _, err := b.Reconcile(t.Context(), b.key(Kind, "job")); err != nil {
						t.Fatal(err)
					}
				}
				if ids, err := b.Driver.List(t.Context()); err != nil || len(ids) != 0 {
					t.Errorf("tasks stay behind: %v, %v", ids, err)
				}
				use, err := b.Store.ListUsage(t.Context(), resource.UsageQuery{Account: jobtest.Account})
				if err != nil {
					t.Fatal(err)
				}
				if tc.billed == 0 {
					if len(use) != 0 {
						t.Errorf("what never ran is billed: %+v", use)
					}
					return
				}
				if len(use) != 1 || use[0].End.Sub(use[0].Start).Round(time.Second) != tc.billed || use[0].Quantity != 2 || use[0].InstanceType != "ml.m5.large" || use[0].Component != "transform" || use[0].Kind != Kind {
					t.Errorf("usage %+v", use)
				}
			})
		})
	}
}

// dies ends a container that serves in the 40th second.
func dies(name string) func(string, *fake.Script) {
	return func(host string, s *fake.Script) {
		s.Forever = host != name
		if host == name {
			s.Run, s.Result = 40*time.Second, plan.Result{ExitCode: 1, Class: "AlgorithmError", Failure: "KeyError: 1"}
		}
	}
}

// forget deletes a model.
func (b *bench) forget(name string) {
	b.t.Helper()
	if err := b.Store.Update(b.t.Context(), func(tx store.Tx) error { return tx.Delete(b.key(serving.KindModel, name)) }); err != nil {
		b.t.Fatal(err)
	}
}

// TestOperations has what the operations answer around a job's life.
func TestOperations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(compute.Task) fake.Script { return fake.Script{Run: 100 * time.Second, Steps: steps()} })
		ctx, c := t.Context(), jobtest.Call()
		full := store.ErrFull
		b.Free = func() error { return full }
		if _, err := b.Create(ctx, c, good("job")); codeOf(err) != "ResourceLimitExceeded" || !strings.Contains(err.Error(), "takes no new transform jobs") {
			t.Errorf("on a full disk: %v", err)
		}
		full = nil
		a, err := b.Create(ctx, c, good("job"))
		if err != nil || a.TransformJobArn != "arn:aws:sagemaker:us-east-1:123456789012:transform-job/job" {
			t.Fatalf("%+v, %v", a, err)
		}
		if _, err := b.Create(ctx, c, good("job")); codeOf(err) != "ResourceInUse" || !strings.Contains(err.Error(), "Job name must be unique within an AWS account and region, and a job with this name already exists ("+a.TransformJobArn+")") {
			t.Errorf("second of a name: %v", err)
		}
		d := b.describe("job")
		want := &apism.DescribeTransformJobResponse{
			TransformJobName: "job", TransformJobArn: a.TransformJobArn, TransformJobStatus: "InProgress", ModelName: "one", Environment: map[string]string{},
			TransformInput: &apism.TransformInput{
				DataSource:      &apism.TransformDataSource{S3DataSource: &apism.TransformS3DataSource{S3DataType: "S3Prefix", S3Uri: "s3://b/in/"}},
				CompressionType: "None", SplitType: "None",
			},
			TransformOutput:    &apism.TransformOutput{S3OutputPath: "s3://b/out", AssembleWith: "None"},
			TransformResources: &apism.TransformResources{InstanceType: "ml.m5.large", InstanceCount: 1},
			DataProcessing:     &apism.DataProcessing{InputFilter: "$", OutputFilter: "$", JoinSource: "None"},
			CreationTime:       d.CreationTime,
		}
		if !reflect.DeepEqual(d, want) || d.CreationTime.IsZero() {
			t.Errorf("described as\n%+v, want\n%+v", d, want)
		}
		if text, err := json.Marshal(d); err != nil || !strings.Contains(string(text), `"KmsKeyId":""`) || !strings.Contains(string(text), `"Environment":{}`) {
			t.Errorf("%s, %v", text, err)
		}
		if d = b.settle(false); d.TransformJobStatus != "Completed" {
			t.Fatalf("it is %s", d.TransformJobStatus)
		}
		for text, err := range map[string]error{
			"The request was rejected because the transform job is in status Completed.": second(b.Stop(ctx, c, &apism.StopTransformJobRequest{TransformJobName: "job"})),
			"Could not find job to update with name: nobody":                             second(b.Stop(ctx, c, &apism.StopTransformJobRequest{TransformJobName: "nobody"})),
			"Could not find requested job with name: nobody":                             second(b.Describe(ctx, c, &apism.DescribeTransformJobRequest{TransformJobName: "nobody"})),
		} {
			if codeOf(err) != "ValidationException" || !strings.Contains(err.Error(), text) {
				t.Errorf("%v, want %s", err, text)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestDescribeEchoes has what a request says, as it said it.
func TestDescribeEchoes(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	r := good("job")
	r.MaxConcurrentTransforms, r.MaxPayloadInMB, r.BatchStrategy = api.Ptr(int64(4)), api.Ptr(int64(0)), "SingleRecord"
	r.ModelClientConfig = &apism.ModelClientConfig{InvocationsTimeoutInSeconds: api.Ptr(int64(60)), InvocationsMaxRetries: api.Ptr(int64(0))}
	r.Environment = map[string]string{"A": "mine"}
	r.TransformInput.ContentType, r.TransformInput.SplitType, r.TransformInput.CompressionType = "application/jsonlines", "Line", "Gzip"
	r.TransformOutput.Accept, r.TransformOutput.AssembleWith, r.TransformOutput.KmsKeyId = "application/json", "Line", "key"
	r.TransformResources.VolumeKmsKeyId = "key"
	r.DataCaptureConfig = &apism.BatchDataCaptureConfig{DestinationS3Uri: "s3://b/kept", KmsKeyId: "key", GenerateInferenceId: api.Ptr(true)}
	r.DataProcessing = &apism.DataProcessing{InputFilter: "$.features", OutputFilter: "$['id']", JoinSource: "Input"}
	r.ExperimentConfig = &apism.ExperimentConfig{TrialName: "trial"}
	b.create(r)
	d := b.describe("job")
	got := &request{
		TransformJobName: d.TransformJobName, ModelName: d.ModelName, MaxConcurrentTransforms: d.MaxConcurrentTransforms, ModelClientConfig: d.ModelClientConfig, MaxPayloadInMB: d.MaxPayloadInMB,
		BatchStrategy: d.BatchStrategy, Environment: d.Environment, TransformInput: d.TransformInput, TransformOutput: d.TransformOutput, DataCaptureConfig: d.DataCaptureConfig,
		TransformResources: d.TransformResources, DataProcessing: d.DataProcessing, ExperimentConfig: d.ExperimentConfig,
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("described as\n%+v, want\n%+v", got, r)
	}
}

// TestTasks has what the containers of two instances are given.
func TestTasks(t *testing.T) {
	t.Parallel()
	tasks := map[string]compute.Task{}
	b := newBench(t, func(task compute.Task) fake.Script {
		tasks[task.Network.Host] = task
		return fake.Script{Forever: true}
	})
	r := good("job")
	r.ModelName, r.TransformResources.InstanceCount = "pipe", 2
	r.Environment = map[string]string{"B": "job"}
	r.MaxConcurrentTransforms, r.MaxPayloadInMB, r.BatchStrategy = api.Ptr(int64(4)), api.Ptr(int64(2)), "MultiRecord"
	r.TransformInput.ContentType, r.TransformInput.SplitType = "text/csv", "Line"
	r.TransformOutput.Accept, r.TransformOutput.AssembleWith = "text/csv", "Line"
	r.DataProcessing = &apism.DataProcessing{InputFilter: "$[1:]", JoinSource: "Input"}
	r.DataCaptureConfig = &apism.BatchDataCaptureConfig{DestinationS3Uri: "s3://b/kept", GenerateInferenceId: api.Ptr(true)}
	b.create(r)
	if _, err := b.Reconcile(t.Context(), b.key(Kind, "job")); err != nil {
		t.Fatal(err)
	}
	rec, err := b.Store.Get(t.Context(), b.key(Kind, "job"))
	if err != nil {
		t.Fatal(err)
	}
	all, leaders := []string{"algo-1", "algo-2", "algo-1-container-2", "algo-2-container-2"}, []string{"algo-1", "algo-2"}
	shared := map[string]string{
		"AWS_REGION": jobtest.Region, "SAGEMAKER_BATCH": "true", "SAGEMAKER_BIND_TO_PORT": "8080",
		"SAGEMAKER_MAX_PAYLOAD_IN_MB": "2", "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "4", "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD", "B": "job",
	}
	if len(tasks) != len(all) {
		t.Fatalf("started are %v", tasks)
	}
	for i, host := range all {
		task := tasks[host]
		if string(task.ID) != fmt.Sprintf("%s-%d", rec.UID, i+1) || task.Kind != "transform" || task.Name != "job" || task.MaxRuntime != 120*time.Hour || task.Grace != 30*time.Second ||
			!task.Network.Isolated || !reflect.DeepEqual(task.Network.Peers, all) || task.Resources.DiskBytes != 30<<30 || strings.Join(task.Args, " ") != "serve" {
			t.Errorf("%+v", task)
		}
		env := map[string]string{}
		for k, v := range task.Env {
			if shared[k] == "" {
				env[k] = v
			} else if v != shared[k] {
				t.Errorf("%s has %s=%s", host, k, v)
			}
		}
		if len(task.Env)-len(env) != len(shared) {
			t.Errorf("%s has %v", host, task.Env)
		}
		if i >= len(leaders) {
			want := plan.Plan{Serving: &plan.Serving{
				Region: jobtest.Region, RoleArn: jobtest.Role, VCPU: 2, NetworkIsolation: true,
				Models: []plan.Model{{Name: "ModelDataUrl", S3Uri: "s3://b/two.tar.gz", Archive: true, LocalPath: "/opt/ml/model"}},
			}}
			if !reflect.DeepEqual(task.Plan, want) || len(env) != 0 {
				t.Errorf("%s: plan %+v, environment %v", host, task.Plan.Serving, env)
			}
			continue
		}
		want := plan.Transform{
			JobName: "job", JobArn: rec.Arn, Account: jobtest.Account, Region: jobtest.Region, RoleArn: jobtest.Role, Hosts: leaders, CurrentHost: host,
			VCPU: 2, Models: []plan.Model{{Name: "ModelDataUrl", S3Uri: "s3://b/one.tar.gz", Archive: true, LocalPath: "/opt/ml/model"}}, Next: []string{host + "-container-2"},
			Input:         plan.TransformInput{S3DataType: "S3Prefix", S3Uri: "s3://b/in/", ContentType: "text/csv", CompressionType: "None", SplitType: "Line"},
			Output:        plan.TransformOutput{S3OutputPath: "s3://b/out", Accept: "text/csv", AssembleWith: "Line"},
			BatchStrategy: "MultiRecord", MaxConcurrentTransforms: api.Ptr(int64(4)), MaxPayloadInMB: api.Ptr(int64(2)), TimeoutSeconds: 600, MaxRetries: 3,
			InputFilter: "$[1:]", OutputFilter: "$", JoinSource: "Input", Capture: &plan.TransformCapture{S3Uri: "s3://b/kept", GenerateInferenceID: true}, NetworkIsolation: true,
		}
		if !reflect.DeepEqual(*task.Plan.Transform, want) || !reflect.DeepEqual(env, map[string]string{"A": "model"}) {
			t.Errorf("%s: plan\n%+v, want\n%+v; environment %v", host, *task.Plan.Transform, want, env)
		}
	}
}

// TestSmallestPlan has the defaults that stage is told, and those that it asks
// the container for.
func TestSmallestPlan(t *testing.T) {
	t.Parallel()
	var got *plan.Transform
	var env map[string]string
	b := newBench(t, func(task compute.Task) fake.Script {
		got, env = task.Plan.Transform, task.Env
		return fake.Script{Forever: true}
	})
	r := good("job")
	r.ModelClientConfig = &apism.ModelClientConfig{InvocationsMaxRetries: api.Ptr(int64(0))}
	b.create(r)
	if _, err := b.Reconcile(t.Context(), b.key(Kind, "job")); err != nil {
		t.Fatal(err)
	}
	if got == nil || got.BatchStrategy != "" || got.MaxConcurrentTransforms != nil || got.MaxPayloadInMB != nil || got.TimeoutSeconds != 600 || got.MaxRetries != 0 || got.Next != nil || got.Capture != nil ||
		got.InputFilter != "$" || got.OutputFilter != "$" || got.JoinSource != "None" || got.Input.SplitType != "None" || got.Input.CompressionType != "None" || got.Output.AssembleWith != "None" {
		t.Errorf("%+v", got)
	}
	want := map[string]string{"A": "model", "B": "model", "AWS_REGION": jobtest.Region, "SAGEMAKER_BATCH": "true", "SAGEMAKER_BIND_TO_PORT": "8080"}
	if !reflect.DeepEqual(env, want) {
		t.Errorf("environment %v", env)
	}
}

// TestList has the filters; the order and the pages are the store's own tests'.
func TestList(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for _, name := range []string{"score-b", "score-a", "embed-c"} {
		b.create(good(name))
	}
	names := func(in apism.ListTransformJobsRequest) string {
		t.Helper()
		var all []string
		for {
			out, err := b.List(t.Context(), jobtest.Call(), &in)
			if err != nil {
				return codeOf(err)
			}
			for _, s := range out.TransformJobSummaries {
				all = append(all, s.TransformJobName)
			}
			if in.NextToken = out.NextToken; in.NextToken == "" {
				return strings.Join(all, " ")
			}
		}
	}
	two := api.Ptr(int64(2))
	for _, tc := range []struct {
		in   apism.ListTransformJobsRequest
		want string
	}{
		{apism.ListTransformJobsRequest{MaxResults: two}, "embed-c score-a score-b"},
		{apism.ListTransformJobsRequest{SortOrder: "Ascending", MaxResults: two}, "score-b score-a embed-c"},
		{apism.ListTransformJobsRequest{SortBy: "Name", MaxResults: two}, "score-b score-a embed-c"},
		{apism.ListTransformJobsRequest{SortBy: "Name", SortOrder: "Ascending"}, "embed-c score-a score-b"},
		{apism.ListTransformJobsRequest{NameContains: "SCORE"}, "score-a score-b"},
		{apism.ListTransformJobsRequest{StatusEquals: "InProgress", SortBy: "Status"}, "embed-c score-a score-b"},
		{apism.ListTransformJobsRequest{StatusEquals: "Stopped"}, ""},
		{apism.ListTransformJobsRequest{CreationTimeAfter: api.At(time.Now().Add(time.Hour))}, ""},
		{apism.ListTransformJobsRequest{CreationTimeBefore: api.At(time.Now().Add(time.Hour)), LastModifiedTimeAfter: api.At(time.Now().Add(-time.Hour))}, "embed-c score-a score-b"},
		{apism.ListTransformJobsRequest{LastModifiedTimeBefore: api.At(time.Now().Add(-time.Hour))}, ""},
		{apism.ListTransformJobsRequest{NextToken: "nonsense"}, "ValidationException"},
	} {
		if got := names(tc.in); got != tc.want {
			t.Errorf("%+v lists %q, want %q", tc.in, got, tc.want)
		}
	}
}
