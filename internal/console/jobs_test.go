package console

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	sm "clary/internal/api/sagemaker"
)

// get is a page of a world.
func get(t *testing.T, w *world, path string) *httptest.ResponseRecorder {
	t.Helper()
	c, cookie := open(t, w)
	r := httptest.NewRequest(http.MethodGet, "http://console.localhost"+path, nil)
	r.AddCookie(cookie)
	rec := httptest.NewRecorder()
	c.ServeHTTP(rec, r)
	return rec
}

func TestTrainingCode(t *testing.T) {
	t.Parallel()
	one, yes := int64(1), true
	job := &sm.DescribeTrainingJobResponse{
		TrainingJobName: strings.Repeat("n", 60), RoleArn: "arn:role", HyperParameters: map[string]string{"a": "it's"},
		AlgorithmSpecification: &sm.AlgorithmSpecification{TrainingImage: "image:1", TrainingInputMode: "File"},
		OutputDataConfig:       &sm.OutputDataConfig{S3OutputPath: "s3://b/o"},
		ResourceConfig:         &sm.ResourceConfig{InstanceType: "ml.m5.large", InstanceCount: &one, VolumeSizeInGB: &one},
		StoppingCondition:      &sm.StoppingCondition{MaxRuntimeInSeconds: &one},
		EnableNetworkIsolation: &yes,
	}
	code, err := trainingCode(job, "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(again(job.TrainingJobName)); n > 63 {
		t.Errorf("a name of %d characters", n)
	}
	for _, want := range []string{"sm.create_training_job(**", `"EnableNetworkIsolation": True`, `region_name="eu-west-1"`, `"a": "it's"`} {
		if !strings.Contains(code[0].Code, want) {
			t.Errorf("%s lacks %s", code[0].Code, want)
		}
	}
	validInput(t, code[1].Code)
}

// validInput checks the document that the command line gets.
func validInput(t *testing.T, code string) {
	t.Helper()
	_, rest, _ := strings.Cut(code, "<<'END'\n")
	doc, _, _ := strings.Cut(rest, "\nEND\n")
	if !json.Valid([]byte(doc)) {
		t.Errorf("the CLI's input is no JSON: %s", doc)
	}
}

func TestProcessingCode(t *testing.T) {
	t.Parallel()
	job, yes := newWorld().processing(), true
	job.Environment = map[string]string{"MODE": "it's"}
	job.NetworkConfig = &sm.NetworkConfig{EnableNetworkIsolation: &yes}
	job.ProcessingInputs[0].S3Input.S3DataDistributionType = "ShardedByS3Key"
	job.ProcessingInputs = append(job.ProcessingInputs, sm.ProcessingInput{InputName: "query", DatasetDefinition: &sm.DatasetDefinition{}})
	code, err := processingCode(job, "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	validInput(t, code[1].Code)
	for i, want := range [][]string{
		{"sm.create_processing_job(**", `"EnableNetworkIsolation": True`, `"ProcessingJobName": "p-again"`},
		{"aws sagemaker create-processing-job --region eu-west-1"},
		{"from sagemaker.network import", `source="s3://b/in", destination="/opt/ml/processing/n0"`, `s3_data_distribution_type="ShardedByS3Key"`, `entrypoint=["python3", "x.py"]`, "instance_count=2", `"MODE": "it's"`, "# query is not a folder"},
		{"from sagemaker.core.network import", `s3_uri="s3://b/in", local_path="/opt/ml/processing/n0"`, `s3_upload_mode="EndOfJob"`, "enable_network_isolation=True"},
	} {
		for _, w := range want {
			if !strings.Contains(code[i].Code, w) {
				t.Errorf("%s lacks %s", code[i].Code, w)
			}
		}
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	at := func(s int) api.Time { return api.At(time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC)) }
	j := &job{Status: "InProgress", Running: true, transitions: []sm.SecondaryStatusTransition{
		{Status: "Starting", StartTime: at(0), EndTime: at(10)}, {Status: "Training", StartTime: at(10)},
	}}
	steps := j.history(at(40).Time)
	if len(steps) != 2 || steps[1].X != 250 || steps[1].Width != 750 || !steps[1].Open || steps[1].Took != 30*time.Second {
		t.Errorf("%+v", steps)
	}
	if (&job{}).history(at(0).Time) != nil {
		t.Error("a job without history has one")
	}
}

// A processing job's history is what its times tell, also of one that never
// started.
func TestProcessingHistory(t *testing.T) {
	t.Parallel()
	at := func(s int) api.Time { return api.At(time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC)) }
	for want, d := range map[string]sm.DescribeProcessingJobResponse{
		"Starting 5s…":                           {CreationTime: at(0), ProcessingJobStatus: "InProgress"},
		"Starting 2s Processing 3s…":             {CreationTime: at(0), ProcessingStartTime: at(2), ProcessingJobStatus: "Stopping"},
		"Starting 4s Failed 0s":                  {CreationTime: at(0), ProcessingEndTime: at(4), ProcessingJobStatus: "Failed"},
		"Starting 1s Processing 2s Completed 0s": {CreationTime: at(0), ProcessingStartTime: at(1), ProcessingEndTime: at(3), ProcessingJobStatus: "Completed"},
	} {
		j := &job{transitions: processingSteps(&d), Ended: d.ProcessingEndTime.Time, Running: running(d.ProcessingJobStatus)}
		var got []string
		for _, s := range j.history(at(5).Time) {
			open := ""
			if s.Open {
				open = "…"
			}
			got = append(got, s.Status+" "+s.Took.String()+open)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s, want %s", s, want)
		}
	}
}

// A job's page says what its kind has to say.
func TestProcessingPage(t *testing.T) {
	t.Parallel()
	page := get(t, newWorld(), "/processing-jobs/p").Body.String()
	for _, want := range []string{
		"Why it failed", "FrameworkProcessor", "Exit message.", "wrote half", "on each of 2 instances", "2 × ml.m5.large", "2 more are not listed",
		"s3://b/in → /opt/ml/processing/n0", "/opt/ml/processing/outn0 → s3://b/out", `class="Processing"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "<th>Message</th>") {
		t.Error("steps without messages have a column of them")
	}
	if stop := get(t, newWorld(), "/processing-jobs/p/stop").Body.String(); !strings.Contains(stop, "folders of its outputs") {
		t.Errorf("the stop page does not say what is kept: %s", stop)
	}
	if list := get(t, newWorld(), "/processing-jobs?status=Failed").Body.String(); !strings.Contains(list, "wrote &lt;b&gt;&amp; half") || !strings.Contains(list, "/processing-jobs?page=more") {
		t.Errorf("the list lacks the exit message or the next page: %s", list)
	}
}

// The log of a job with several hosts is that of one of them, a search that of
// all unless one is asked for.
func TestHosts(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][3]string{ // has, current host, has not
		"/processing-jobs/p":                           {"of p/algo-1-1", ">algo-1<", "of p/algo-2-1"},
		"/processing-jobs/p?host=algo-2":               {"of p/algo-2-1", ">algo-2<", "of p/algo-1-1"},
		"/processing-jobs/p/log?host=algo-2":           {"of p/algo-2-1", ">algo-2<", "All hosts"},
		"/processing-jobs/p/log?q=rows":                {"rows of p/algo-2-1", ">All hosts<", "Nothing"},
		"/processing-jobs/p/log?q=rows&host=algo-2":    {"rows of p/algo-2-1", ">algo-2<", "rows of p/algo-1-1"},
		"/processing-jobs/p/log?q=nothing&host=algo-1": {"rows of p/algo-1-1", ">algo-1<", "rows of p/algo-2-1"},
		"/training-jobs/j":                             {"of j/algo-1-1", "", `aria-label="Hosts"`},
		"/training-jobs/j/log?q=x":                     {"No line", "", `aria-label="Hosts"`},
	} {
		page := get(t, newWorld(), path).Body.String()
		if !strings.Contains(page, want[0]) || strings.Contains(page, want[2]) || strings.Contains(page, earlier) || want[1] != "" && !strings.Contains(page, `aria-current="true"`+want[1]) {
			t.Errorf("%s: want %q: %s", path, want, page)
		}
	}
	w, two := newWorld(), int64(2)
	w.job.ResourceConfig, w.job.CreationTime = &sm.ResourceConfig{InstanceCount: &two}, api.At(time.Now())
	if page := get(t, w, "/training-jobs/j?host=algo-2").Body.String(); !strings.Contains(page, "Every value that algo-2 printed") || !strings.Contains(page, "of j/algo-2-1") {
		t.Errorf("the metrics are not those of the host that is shown: %s", page)
	}
	for reason, host := range map[string]string{
		"AlgorithmError: algo-2: no route to algo-1, exit code: 1": "algo-2", "AlgorithmError: algo-9 is not there": "algo-1",
	} {
		w.reason = reason
		if page := get(t, w, "/processing-jobs/p").Body.String(); !strings.Contains(page, "of p/"+host+"-1") {
			t.Errorf("%s: the log is not that of %s", reason, host)
		}
	}
	for _, host := range []string{"algo-3", "algo-0", "algo-01", "x"} {
		for _, page := range []string{"", "/log", "/log/live"} {
			if rec := get(t, newWorld(), "/processing-jobs/p"+page+"?host="+host); rec.Code != http.StatusNotFound {
				t.Errorf("%s%s: %d", host, page, rec.Code)
			}
		}
	}
}

// Whoever may not list a kind of jobs is told so, and sees the rest.
func TestHomeHides(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.refuse = "ListProcessingJobs"
	page := get(t, w, "/").Body.String()
	if !strings.Contains(page, "Processing jobs are not shown.") || !strings.Contains(page, "/training-jobs/j") || strings.Contains(page, "/processing-jobs/p") {
		t.Errorf("%s", page)
	}
	page = get(t, newWorld(), "/").Body.String()
	for _, want := range []string{"/processing-jobs/p", "/training-jobs/j", "All processing jobs that run", ">Processing</td>"} {
		if !strings.Contains(page, want) {
			t.Errorf("home lacks %q", want)
		}
	}
}

// What a host used of its instance is drawn beside what its program printed.
func TestInstanceCharts(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.gauges = map[string]float64{
		"/aws/sagemaker/TrainingJobs loss TrainingJobName=j":              0.25,
		"/aws/sagemaker/TrainingJobs CPUUtilization Host=j/algo-1":        187.5,
		"/aws/sagemaker/TrainingJobs MemoryUtilization Host=j/algo-1":     12.5,
		"/aws/sagemaker/ProcessingJobs CPUUtilization Host=p/algo-1":      11,
		"/aws/sagemaker/ProcessingJobs CPUUtilization Host=p/algo-2":      22,
		"/aws/sagemaker/ProcessingJobs DiskUtilization Host=p/algo-2":     33,
		"/aws/sagemaker/ProcessingJobs CPUUtilization Host=other/algo-2":  44,
		"/aws/sagemaker/TrainingJobs MemoryUtilization Host=other/algo-1": 55,
	}
	for path, want := range map[string][]string{
		"/training-jobs/j":               {"loss", "0.25", "CPU utilization", "187.5", "percent of one vCPU", "Memory utilization", "12.5", "What the job used"},
		"/processing-jobs/p?host=algo-1": {"CPU utilization", ">11<", "What algo-1 used"},
		"/processing-jobs/p?host=algo-2": {"CPU utilization", ">22<", "What algo-2 used"},
	} {
		page := get(t, w, path).Body.String()
		for _, s := range want {
			if !strings.Contains(page, s) {
				t.Errorf("%s lacks %q", path, s)
			}
		}
		if n := strings.Count(page, "<figure>"); n != strings.Count(strings.Join(want, " "), "utilization")+strings.Count(strings.Join(want, " "), "loss") {
			t.Errorf("%s has %d charts", path, n)
		}
	}
	w.refuse = "GetMetricData"
	if r := get(t, w, "/processing-jobs/p"); r.Code != http.StatusOK || strings.Contains(r.Body.String(), "utilization") {
		t.Errorf("who may not read metrics: %d %s", r.Code, r.Body)
	}
}
