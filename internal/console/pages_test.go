package console

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/api"
	"clary/internal/api/ce"
	"clary/internal/api/cloudtrail"
	"clary/internal/api/cloudwatch"
	"clary/internal/api/logs"
	"clary/internal/api/s3"
	sm "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/aws/sigv4"
	"clary/internal/forgotten"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store/sqlite"
)

// world answers operations from memory and counts them.
type world struct {
	mu     sync.Mutex // guards count
	count  map[string]int
	job    sm.DescribeTrainingJobResponse
	deny   bool               // what things cost
	refuse string             // an operation that is not allowed
	reason string             // why the processing job failed
	gauges map[string]float64 // of CloudWatch
	usage  []resource.Usage   // of endpoints
	bills  map[string]meter.Statement
	served func(*sm.DescribeEndpointOutput)
	spent  func(meter.SpendQuery) meter.Spend
	scored func(*sm.DescribeTransformJobResponse)
	left   forgotten.Report
	money  map[string]any    // answers of Budgets, CloudWatch's alarms, SNS, Cost Explorer, by operation
	kept   map[string]string // objects of the bucket "score", by key
	before map[string]bool   // those of them that are from before the jobs
}

func (w *world) Serves(string, string) bool { return true }

func (w *world) Call(_ context.Context, c op.Call, in any) (any, error) {
	w.mu.Lock()
	w.count[c.Operation]++
	w.mu.Unlock()
	if c.Operation == w.refuse {
		return nil, apierr.AccessDenied("not authorized")
	}
	if out, ok := w.money[c.Operation]; ok {
		if f, ok := out.(func(any) any); ok {
			return f(in), nil
		}
		return out, nil
	}
	switch c.Operation {
	case "ListTrainingJobs":
		out := &sm.ListTrainingJobsResponse{}
		for range 50 {
			out.TrainingJobSummaries = append(out.TrainingJobSummaries, sm.TrainingJobSummary{TrainingJobName: w.job.TrainingJobName, TrainingJobStatus: "Completed", CreationTime: w.job.CreationTime})
		}
		return out, nil
	case "ListNotebookInstances":
		out := &sm.ListNotebookInstancesOutput{}
		for range 50 {
			out.NotebookInstances = append(out.NotebookInstances, sm.NotebookInstanceSummary{
				NotebookInstanceName: "n", NotebookInstanceStatus: "InService", CreationTime: w.job.CreationTime,
				DefaultCodeRepository: "code", AdditionalCodeRepositories: []string{"https://elsewhere/x"}, NotebookInstanceLifecycleConfigName: "setup",
			})
		}
		return out, nil
	case "DescribeNotebookInstance":
		return &sm.DescribeNotebookInstanceOutput{
			NotebookInstanceName: "n", NotebookInstanceStatus: "InService", Url: "nb-a.localhost:2527", CreationTime: w.job.CreationTime,
			DefaultCodeRepository: "code", AdditionalCodeRepositories: []string{"https://elsewhere/x"}, NotebookInstanceLifecycleConfigName: "setup",
		}, nil
	case "ListCodeRepositories":
		out := &sm.ListCodeRepositoriesOutput{NextToken: "more"}
		for _, name := range []string{"code", "data"} {
			out.CodeRepositorySummaryList = append(out.CodeRepositorySummaryList, sm.CodeRepositorySummary{CodeRepositoryName: name, CreationTime: w.job.CreationTime, LastModifiedTime: w.job.CreationTime, GitConfig: gitConfig()})
		}
		return out, nil
	case "DescribeCodeRepository":
		return &sm.DescribeCodeRepositoryOutput{CodeRepositoryName: "code", CodeRepositoryArn: "arn:of:code", GitConfig: gitConfig()}, nil
	case "ListNotebookInstanceLifecycleConfigs":
		out := &sm.ListNotebookInstanceLifecycleConfigsOutput{}
		for range configsPage {
			out.NotebookInstanceLifecycleConfigs = append(out.NotebookInstanceLifecycleConfigs, sm.NotebookInstanceLifecycleConfigSummary{NotebookInstanceLifecycleConfigName: "setup"})
		}
		return out, nil
	case "DescribeNotebookInstanceLifecycleConfig":
		return &sm.DescribeNotebookInstanceLifecycleConfigOutput{
			NotebookInstanceLifecycleConfigName: "setup",
			OnStart:                             []sm.NotebookInstanceLifecycleHook{{Content: base64.StdEncoding.EncodeToString([]byte("echo '<b>&' >> log\n"))}},
		}, nil
	case "DescribeTrainingJob":
		j := w.job
		return &j, nil
	case "ListProcessingJobs":
		out := &sm.ListProcessingJobsResponse{NextToken: "more"}
		for range 50 {
			out.ProcessingJobSummaries = append(out.ProcessingJobSummaries, sm.ProcessingJobSummary{
				ProcessingJobName: "p", ProcessingJobStatus: "Failed", CreationTime: w.job.CreationTime, ExitMessage: "wrote <b>& half",
			})
		}
		return out, nil
	case "DescribeProcessingJob":
		return w.processing(), nil
	case "ListModels", "DescribeModel", "ListEndpointConfigs", "DescribeEndpointConfig", "ListEndpoints", "DescribeEndpoint":
		return w.serving(c.Operation)
	case "ListTransformJobs", "DescribeTransformJob":
		return w.transforming(c.Operation)
	case "DescribeLogStreams":
		out := &logs.DescribeLogStreamsResponse{}
		if in := in.(*logs.DescribeLogStreamsRequest); strings.HasPrefix(in.LogGroupName, "/aws/sagemaker/Endpoints/") {
			out.LogStreams = w.endpointStreams()
			return out, nil
		}
		for _, s := range w.streams(in.(*logs.DescribeLogStreamsRequest).LogStreamNamePrefix) {
			out.LogStreams = append(out.LogStreams, logs.LogStream{LogStreamName: s})
		}
		return out, nil
	case "FilterLogEvents":
		in := in.(*logs.FilterLogEventsRequest)
		out := &logs.FilterLogEventsResponse{}
		if strings.HasPrefix(in.LogGroupName, "/aws/sagemaker/Endpoints/") {
			for _, s := range w.endpointStreams() {
				named := len(in.LogStreamNames) == 0 || slices.Contains(in.LogStreamNames, s.LogStreamName)
				if named && strings.HasPrefix(s.LogStreamName, in.LogStreamNamePrefix) && *s.CreationTime >= *in.StartTime {
					out.Events = append(out.Events, logs.FilteredLogEvent{Timestamp: s.CreationTime, LogStreamName: s.LogStreamName, Message: "rows of " + s.LogStreamName})
				}
			}
			return out, nil
		}
		prefix := in.LogStreamNamePrefix
		if len(in.LogStreamNames) == 1 {
			prefix = in.LogStreamNames[0]
		}
		for _, s := range w.streams(prefix) {
			if len(in.LogStreamNames) == 1 && s != prefix {
				continue
			}
			at := w.job.CreationTime.UnixMilli()
			if strings.Contains(s, earlier) {
				at -= 1000
			}
			if !strings.HasPrefix(s, "j/") && in.StartTime != nil && at >= *in.StartTime {
				out.Events = append(out.Events, logs.FilteredLogEvent{Timestamp: &at, LogStreamName: s, Message: "rows of " + s})
			}
		}
		return out, nil
	case "GetLogEvents":
		at := int64(1)
		return &logs.GetLogEventsResponse{Events: []logs.OutputLogEvent{{Timestamp: &at, Message: "loss=1 <b>& of " + in.(*logs.GetLogEventsRequest).LogStreamName}}}, nil
	case "GetMetricData":
		out := &cloudwatch.GetMetricDataOutput{}
		for _, q := range in.(*cloudwatch.GetMetricDataInput).MetricDataQueries {
			m := q.MetricStat.Metric
			value, ok := w.gauges[m.Namespace+" "+m.MetricName+" "+m.Dimensions[0].Name+"="+m.Dimensions[0].Value]
			if r := (cloudwatch.MetricDataResult{Id: q.Id}); ok {
				r.Timestamps, r.Values = []api.Time{w.job.CreationTime}, []float64{value}
				out.MetricDataResults = append(out.MetricDataResults, r)
			}
		}
		return out, nil
	case "GetObject":
		return w.object(in.(*s3.GetObjectRequest))
	case "ListObjectsV2":
		if in := in.(*s3.ListObjectsV2Request); in.Bucket == "score" {
			return w.objects(in)
		}
		return &s3.ListObjectsV2Output{Contents: []s3.Object{{Key: "k"}}}, nil
	case "GetTags":
		return &ce.GetTagsResponse{Tags: []string{"team", "<b>&"}}, nil
	case "LookupEvents":
		return &cloudtrail.LookupEventsResponse{Events: []cloudtrail.Event{{EventName: "CreateModel", CloudTrailEvent: "{}"}}}, nil
	}
	return nil, errNoPage
}

func gitConfig() *sm.GitConfig {
	return &sm.GitConfig{RepositoryUrl: "https://git.example.com/code.git", Branch: "main", SecretArn: "arn:aws:secretsmanager:us-east-1:123456789012:secret:git/me-AbCdEf"}
}

// processing is a job on two hosts that failed.
func (w *world) processing() *sm.DescribeProcessingJobResponse {
	two := int64(2)
	p := &sm.DescribeProcessingJobResponse{
		ProcessingJobName: "p", ProcessingJobStatus: "Failed", FailureReason: w.reason, ExitMessage: "wrote half",
		CreationTime: w.job.CreationTime, ProcessingStartTime: w.job.CreationTime, ProcessingEndTime: w.job.TrainingEndTime,
		AppSpecification:       &sm.AppSpecification{ImageUri: "image:1", ContainerEntrypoint: []string{"python3", "x.py"}},
		ProcessingResources:    &sm.ProcessingResources{ClusterConfig: &sm.ProcessingClusterConfig{InstanceCount: &two, InstanceType: "ml.m5.large", VolumeSizeInGB: 10}},
		ProcessingOutputConfig: &sm.ProcessingOutputConfig{},
	}
	for i := range 7 {
		name := "n" + strconv.Itoa(i)
		p.ProcessingInputs = append(p.ProcessingInputs, sm.ProcessingInput{
			InputName: name, S3Input: &sm.ProcessingS3Input{S3Uri: "s3://b/in", LocalPath: "/opt/ml/processing/" + name, S3DataType: "S3Prefix"},
		})
		p.ProcessingOutputConfig.Outputs = append(p.ProcessingOutputConfig.Outputs, sm.ProcessingOutput{
			OutputName: name, S3Output: &sm.ProcessingS3Output{S3Uri: "s3://b/out", LocalPath: "/opt/ml/processing/out" + name, S3UploadMode: "EndOfJob"},
		})
	}
	return p
}

// Price is a dollar an hour.
func (w *world) Price(u resource.Usage) map[string]meter.Statement {
	lines := []meter.Line{{MicroUSD: u.Quantity * 1e6}}
	return map[string]meter.Statement{"minute": {Lines: lines}, "aws": {Lines: lines}}
}

func (w *world) Costs(_ context.Context, _ op.Call, q resource.UsageQuery) (Bills, error) {
	w.mu.Lock()
	w.count["costs"]++
	w.mu.Unlock()
	if w.deny {
		return Bills{}, apierr.AccessDenied("not authorized")
	}
	out := Bills{Now: time.Now()}
	if q.Kind == endpointKind {
		out.Usage, out.By = w.usage, w.bills
	}
	return out, nil
}

func (w *world) Spend(_ context.Context, _ op.Call, q meter.SpendQuery) (meter.Spend, error) {
	w.mu.Lock()
	w.count["spend"]++
	w.mu.Unlock()
	if w.deny {
		return meter.Spend{}, apierr.AccessDenied("not authorized")
	}
	if w.spent != nil {
		return w.spent(q), nil
	}
	return meter.Spend{}, nil
}

func (w *world) Forgotten(context.Context, op.Call, string) (*forgotten.Report, error) {
	w.mu.Lock()
	w.count["forgotten"]++
	w.mu.Unlock()
	if w.deny {
		return nil, apierr.AccessDenied("not authorized")
	}
	return &w.left, nil
}

type oneKey struct{}

func (oneKey) Secret(context.Context, string, string) (string, resource.Principal, error) {
	return "secret", resource.Principal{Account: "123456789012", Arn: "arn:aws:iam::123456789012:root", Root: true}, nil
}

func open(t *testing.T, w *world) (*Console, *http.Cookie) {
	t.Helper()
	st, err := sqlite.Open(filepath.Join(t.TempDir(), "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	never := func(context.Context) <-chan struct{} { return nil }
	c, err := New(Config{
		Calls: w, Costs: w, Keys: oneKey{}, Store: st, Region: "us-east-1", Changes: never,
		Grown: func(context.Context, string, string, string, string) <-chan struct{} { return nil },
		Log:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.sessions().begin(t.Context(), session{AccessKeyID: "k", Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return c, &http.Cookie{Name: cookieName, Value: token}
}

// earlier ends the streams of jobs that had a name before.
const earlier = "-1000000000"

// streams are those of all jobs, and of jobs that had their names before.
func (w *world) streams(prefix string) (out []string) {
	for _, writer := range []string{"j/algo-1", "j/algo-2", "p/algo-1", "p/algo-2", "t/algo-1", "t/algo-1/data-log", "t/algo-2/data-log"} {
		for _, end := range []string{earlier, fmt.Sprint("-", w.job.CreationTime.Unix())} {
			host, isLog := strings.CutSuffix(writer, dataLog)
			s := host + end
			if isLog {
				s += dataLog
			}
			if strings.HasPrefix(s, prefix) {
				out = append(out, s)
			}
		}
	}
	return out
}

func newWorld() *world {
	yes := api.At(time.Now().Add(-time.Hour))
	w := &world{count: map[string]int{}, reason: "AlgorithmError: ModuleNotFoundError <b>&", job: sm.DescribeTrainingJobResponse{
		TrainingJobName: "j", TrainingJobStatus: "Completed", CreationTime: yes, TrainingEndTime: api.At(time.Now()),
		AlgorithmSpecification: &sm.AlgorithmSpecification{MetricDefinitions: []sm.MetricDefinition{{Name: "loss", Regex: "loss=([0-9.]+)"}}},
		OutputDataConfig:       &sm.OutputDataConfig{S3OutputPath: "s3://b/o"},
	}}
	for i := range 20 {
		w.job.InputDataConfig = append(w.job.InputDataConfig, sm.Channel{
			ChannelName: "c" + string(rune('a'+i)), DataSource: &sm.DataSource{S3DataSource: &sm.S3DataSource{S3Uri: "s3://b/in"}},
		})
	}
	return w
}

// A page asks a bounded number of operations, however much there is.
func TestOperationsPerPage(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]map[string]int{
		"/":                             {"ListProcessingJobs": 3, "ListTrainingJobs": 3, "ListTransformJobs": 3, "ListNotebookInstances": 2, "ListEndpoints": 1, "costs": 5, "spend": 1, "forgotten": 1},
		"/training-jobs":                {"ListTrainingJobs": 1, "costs": 1},
		"/training-jobs/j":              {"DescribeTrainingJob": 1, "costs": 1, "DescribeLogStreams": 1, "GetLogEvents": 1, "GetMetricData": 1, "ListObjectsV2": shownPlaces + 1},
		"/training-jobs/j/code":         {"DescribeTrainingJob": 1},
		"/training-jobs/j/log":          {"DescribeTrainingJob": 1, "DescribeLogStreams": 1, "GetLogEvents": 1},
		"/training-jobs/j/stop":         {"DescribeTrainingJob": 1, "costs": 1},
		"/billing":                      {"spend": 1}, // nothing was used
		"/forgotten":                    {"forgotten": 1},
		"/billing?from=2026-01-01&to=x": {},
		"/activity":                     {"LookupEvents": 1},
		"/activity?from=soon":           {},
		"/activity?from=2026-11-01&to=2026-11-02&by=Username&find=me": {"LookupEvents": 1},
		"/processing-jobs":                     {"ListProcessingJobs": 1, "costs": 1},
		"/processing-jobs?to=tomorrow":         {},
		"/processing-jobs/p":                   {"DescribeProcessingJob": 1, "costs": 1, "DescribeLogStreams": 1, "GetLogEvents": 1, "GetMetricData": 1, "ListObjectsV2": 2 * shownPlaces},
		"/processing-jobs/p?host=algo-2":       {"DescribeProcessingJob": 1, "costs": 1, "DescribeLogStreams": 1, "GetLogEvents": 1, "GetMetricData": 1, "ListObjectsV2": 2 * shownPlaces},
		"/processing-jobs/p/code":              {"DescribeProcessingJob": 1},
		"/processing-jobs/p/log":               {"DescribeProcessingJob": 1, "DescribeLogStreams": 1, "GetLogEvents": 1},
		"/processing-jobs/p/log?q=rows":        {"DescribeProcessingJob": 1, "FilterLogEvents": 1},
		"/processing-jobs/p/stop":              {"DescribeProcessingJob": 1, "costs": 1},
		"/batch-transform":                     {"ListTransformJobs": 1, "DescribeTransformJob": 3, "costs": 1},
		"/batch-transform?from=soon":           {},
		"/batch-transform/t":                   {"DescribeTransformJob": 1, "DescribeModel": 1, "costs": 1, "DescribeLogStreams": 1, "GetLogEvents": 1, "GetMetricData": 1, "ListObjectsV2": 2, "GetObject": 2},
		"/batch-transform/t?host=algo-2/scale": {"DescribeTransformJob": 1, "DescribeModel": 1, "costs": 1, "DescribeLogStreams": 2, "GetMetricData": 1, "ListObjectsV2": 2, "GetObject": 2},
		"/batch-transform/t/code":              {"DescribeTransformJob": 1},
		"/batch-transform/t/log":               {"DescribeTransformJob": 1, "DescribeModel": 1, "DescribeLogStreams": 1, "GetLogEvents": 1},
		"/batch-transform/t/log?q=rows":        {"DescribeTransformJob": 1, "DescribeModel": 1, "DescribeLogStreams": 1, "FilterLogEvents": 1},
		"/batch-transform/t/stop":              {"DescribeTransformJob": 1, "costs": 1},
		"/notebook-instances":                  {"ListNotebookInstances": 1, "costs": 1, "ListObjectsV2": 1},
		"/notebook-instances/n":                {"DescribeNotebookInstance": 1, "costs": 1, "GetLogEvents": 1},
		"/notebook-instances/n/start":          {"DescribeNotebookInstance": 1, "costs": 1},
		"/notebook-instances/n/stop":           {"DescribeNotebookInstance": 1, "costs": 1},
		"/training-jobs?from=yesterday":        {},

		"/git-repositories":               {"ListCodeRepositories": 1, "ListNotebookInstances": 1},
		"/git-repositories/code":          {"DescribeCodeRepository": 1, "ListNotebookInstances": 1},
		"/lifecycle-configurations":       {"ListNotebookInstanceLifecycleConfigs": 1, "DescribeNotebookInstanceLifecycleConfig": configsPage, "ListNotebookInstances": 1},
		"/lifecycle-configurations/setup": {"DescribeNotebookInstanceLifecycleConfig": 1, "ListNotebookInstances": 1},

		"/models":                            {"ListModels": 1, "DescribeModel": configsPage},
		"/models/m":                          {"ListTransformJobs": 1, "DescribeTransformJob": 3, "DescribeModel": 1, "ListEndpointConfigs": 1, "DescribeEndpointConfig": configsPage},
		"/endpoint-configurations":           {"ListEndpointConfigs": 1, "DescribeEndpointConfig": configsPage},
		"/endpoint-configurations/c":         {"DescribeEndpointConfig": 1, "ListEndpoints": 1, "DescribeEndpoint": configsPage},
		"/endpoints":                         {"ListEndpoints": 1, "costs": 1},
		"/endpoints?from=soon":               {},
		"/endpoints/e":                       {"DescribeEndpoint": 1, "DescribeEndpointConfig": 1, "costs": 1, "GetMetricData": 1, "DescribeLogStreams": 1, "GetLogEvents": 1},
		"/endpoints/e?variant=B&hours=168":   {"DescribeEndpoint": 1, "DescribeEndpointConfig": 1, "costs": 1, "GetMetricData": 1, "DescribeLogStreams": 1, "GetLogEvents": 1},
		"/endpoints/e?host=B%2Fi-2":          {"DescribeEndpoint": 1, "DescribeEndpointConfig": 1, "costs": 1, "GetMetricData": 1, "DescribeLogStreams": 1, "GetLogEvents": 1},
		"/endpoints/e/log":                   {"DescribeEndpoint": 1, "DescribeLogStreams": 1, "GetLogEvents": 1},
		"/endpoints/e/log?q=rows":            {"DescribeEndpoint": 1, "DescribeLogStreams": 1, "FilterLogEvents": 1},
		"/endpoints/e/log?q=rows&host=A/i-1": {"DescribeEndpoint": 1, "DescribeLogStreams": 1, "FilterLogEvents": 1},
		"/endpoints/e/delete":                {"DescribeEndpoint": 1, "costs": 1},
	} {
		w := newWorld()
		c, cookie := open(t, w)
		r := httptest.NewRequest(http.MethodGet, "http://console.localhost"+path, nil)
		r.AddCookie(cookie)
		rec := httptest.NewRecorder()
		c.ServeHTTP(rec, r)
		if rec.Code != http.StatusOK {
			t.Errorf("%s: %d %.300s", path, rec.Code, rec.Body)
		}
		if path == "/training-jobs/j" && !strings.Contains(rec.Body.String(), "14 more are not listed") {
			t.Error("the page does not say that it lists a part of the channels")
		}
		if !maps.Equal(w.count, want) {
			t.Errorf("%s asks %v, want %v", path, w.count, want)
		}
		if body := rec.Body.String(); strings.Contains(body, "<b>&") || strings.Contains(body, " style=") || strings.Contains(body, "onclick") {
			t.Errorf("%s: something is not escaped or would be refused", path)
		}
	}
}

// Who may not see what something costs sees the rest of its page.
func TestCostsDenied(t *testing.T) {
	t.Parallel()
	for path, status := range map[string]int{
		"/": http.StatusOK, "/training-jobs": http.StatusOK, "/training-jobs/j": http.StatusOK, "/notebook-instances": http.StatusOK, "/notebook-instances/n": http.StatusOK,
		"/processing-jobs": http.StatusOK, "/processing-jobs/p": http.StatusOK, "/processing-jobs/p/stop": http.StatusOK,
		"/batch-transform": http.StatusOK, "/batch-transform/t": http.StatusOK, "/batch-transform/t/stop": http.StatusOK,
		"/training-jobs/j/stop": http.StatusOK, "/notebook-instances/n/stop": http.StatusOK, "/notebook-instances/n/start": http.StatusOK, "/billing": http.StatusForbidden,
		"/endpoints": http.StatusOK, "/endpoints/e": http.StatusOK, "/endpoints/e/delete": http.StatusOK,
	} {
		w := newWorld()
		w.deny = true
		c, cookie := open(t, w)
		r := httptest.NewRequest(http.MethodGet, "http://console.localhost"+path, nil)
		r.AddCookie(cookie)
		rec := httptest.NewRecorder()
		c.ServeHTTP(rec, r)
		body := rec.Body.String()
		asks := strings.HasSuffix(path, "/stop") || strings.HasSuffix(path, "/start") || strings.HasSuffix(path, "/delete")
		if rec.Code != status || status == http.StatusOK && strings.Contains(body, "not allowed") == asks || strings.Contains(body, "$0<") || strings.Contains(body, "has cost") {
			t.Errorf("%s: %d %s", path, rec.Code, body)
		}
	}
}

// Each page of the console has its template and each template its page.
func TestTemplates(t *testing.T) {
	t.Parallel()
	c, _ := open(t, newWorld())
	names := slices.Sorted(maps.Keys(c.pages))
	want := []string{"activity", "alarm", "alarms", "billing", "budget", "budget-approve", "budgets", "code", "endpoint", "endpoint-configuration", "endpoint-configurations", "endpoint-delete", "endpoints", "error", "forgotten", "git-repositories", "git-repository", "home", "job", "jobs", "lifecycle-configuration", "lifecycle-configurations", "log", "model", "models", "notebook-instance", "notebook-instances", "notebook-start", "notebook-stop", "notifications", "object", "section", "signin", "stop"}
	if !slices.Equal(names, want) {
		t.Errorf("%v", names)
	}
	for _, s := range sections {
		r := httptest.NewRequest(http.MethodGet, "http://console.localhost/"+s.Path, nil)
		if _, pattern := c.mux.Handler(r); pattern == "/" {
			t.Errorf("%s has no page", s.Path)
		}
	}
}

// A link opens once, and is remembered until it would have ended.
func TestLinkOnce(t *testing.T) {
	t.Parallel()
	c, _ := open(t, newWorld())
	for i, want := range []bool{true, false} {
		if first, err := c.sessions().use(t.Context(), "signature", time.Now().Add(time.Minute)); err != nil || first != want {
			t.Errorf("look %d: first %t, %v", i, first, err)
		}
	}
}

// A signature is the same in capitals, and so is its link. Who fetches it ahead
// does not use it up.
func TestLinkBySignature(t *testing.T) {
	t.Parallel()
	c, _ := open(t, newWorld())
	r := httptest.NewRequest(http.MethodGet, "http://console.localhost"+LinkPath+"?next=%2Fbilling", nil)
	sigv4.Presign(r, sigv4.Credentials{AccessKeyID: "k", SecretAccessKey: "secret"}, "us-east-1", LinkService, LinkLife, time.Now())
	for _, ahead := range []func(*http.Request){
		func(r *http.Request) { r.Method = http.MethodHead },
		func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") },
	} {
		early := r.Clone(t.Context())
		ahead(early)
		rec := httptest.NewRecorder()
		c.ServeHTTP(rec, early)
		if rec.Code != http.StatusServiceUnavailable || len(rec.Result().Cookies()) > 0 {
			t.Errorf("fetched ahead: %d", rec.Code)
		}
	}
	q, signature, _ := strings.Cut(r.URL.RawQuery, "X-Amz-Signature=")
	for i, s := range []string{signature, signature, strings.ToUpper(signature)} {
		again := r.Clone(t.Context())
		again.URL.RawQuery = q + "X-Amz-Signature=" + s
		rec := httptest.NewRecorder()
		c.ServeHTTP(rec, again)
		want := http.StatusForbidden
		if i == 0 {
			want = http.StatusSeeOther
		}
		if rec.Code != want {
			t.Errorf("look %d: %d", i, rec.Code)
		}
	}
}

// nothing answers as operations do for unknown names.
type nothing struct{ *world }

func (nothing) Call(_ context.Context, c op.Call, _ any) (any, error) {
	switch c.Operation {
	case "DescribeNotebookInstance":
		return nil, apierr.Validation("RecordNotFound")
	case "DescribeProcessingJob", "DescribeTransformJob":
		return nil, apierr.Validation("Could not find requested job with name: x")
	case "DescribeCodeRepository":
		return nil, apierr.Validation("Cannot find CodeRepository: arn")
	case "DescribeModel":
		return nil, apierr.Validation("Could not find model \"arn\".")
	case "DescribeEndpointConfig":
		return nil, apierr.Validation("Could not find endpoint configuration \"arn\".")
	case "DescribeEndpoint":
		return nil, apierr.Validation("Could not find endpoint \"arn\".")
	case "DescribeNotebookInstanceLifecycleConfig":
		return nil, apierr.Validation("Unable to describe Notebook Instance Lifecycle Config 'arn'. (Details: Notebook Instance Lifecycle Config does not exist.)")
	}
	return nil, apierr.Validation("Requested resource not found.")
}

func TestUnknownName(t *testing.T) {
	t.Parallel()
	w := newWorld()
	c, cookie := open(t, w)
	c.cfg.Calls = nothing{w}
	for _, path := range []string{
		"/training-jobs/x", "/processing-jobs/x", "/processing-jobs/x/log", "/batch-transform/x", "/batch-transform/x/code", "/notebook-instances/x", "/notebook-instances/x/stop", "/git-repositories/x", "/lifecycle-configurations/x",
		"/models/x", "/endpoint-configurations/x", "/endpoints/x", "/endpoints/x/log", "/endpoints/x/delete",
	} {
		r := httptest.NewRequest(http.MethodGet, "http://console.localhost"+path, nil)
		r.AddCookie(cookie)
		rec := httptest.NewRecorder()
		c.ServeHTTP(rec, r)
		if rec.Code != http.StatusNotFound || !strings.Contains(rec.Body.String(), "nothing of that name") {
			t.Errorf("%s: %d %.300s", path, rec.Code, rec.Body)
		}
	}
}

type broken struct{ *world }

func (broken) Call(context.Context, op.Call, any) (any, error) { panic("out of order") }

// A page that panics is an error that the log tells of.
func TestPanic(t *testing.T) {
	t.Parallel()
	w := newWorld()
	c, cookie := open(t, w)
	var said bytes.Buffer
	c.cfg.Calls, c.log = broken{w}, slog.New(slog.NewTextHandler(&said, nil))
	r := httptest.NewRequest(http.MethodGet, "http://console.localhost/training-jobs", nil)
	r.AddCookie(cookie)
	rec := httptest.NewRecorder()
	c.ServeHTTP(rec, r)
	if rec.Code != http.StatusInternalServerError || strings.Contains(rec.Body.String(), "out of order") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if !strings.Contains(said.String(), "out of order") || !strings.Contains(said.String(), "level=ERROR") {
		t.Errorf("the log says %q", said.String())
	}
}

// An expired session opens nothing, and is swept.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	c, cookie := open(t, newWorld())
	if _, err := c.sessions().get(t.Context(), cookie.Value); err != nil {
		t.Fatal(err)
	}
	c.cfg.Now = func() time.Time { return time.Now().Add(sessionLife + time.Second) }
	if _, err := c.sessions().get(t.Context(), cookie.Value); err == nil {
		t.Error("it outlives its time")
	}
	for _, r := range Reconcilers(c.cfg.Store) {
		res, err := r.Reconcile(t.Context(), sessionKey(cookie.Value))
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind() == sessionKind && res.After < sessionLife-time.Minute {
			t.Errorf("looked at again after %s", res.After)
		}
	}
}
