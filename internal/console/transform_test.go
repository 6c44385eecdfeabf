package console

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	"clary/internal/api/s3"
	sm "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
)

// transforming answers for the job t on two hosts, which failed at its second
// object.
func (w *world) transforming(operation string) (any, error) {
	if operation == "ListTransformJobs" {
		out := &sm.ListTransformJobsResponse{NextToken: "more"}
		for range 3 {
			out.TransformJobSummaries = append(out.TransformJobSummaries, sm.TransformJobSummary{
				TransformJobName: "t", TransformJobStatus: "Failed", CreationTime: w.job.CreationTime, FailureReason: "ClientError: <b>& See job logs",
			})
		}
		return out, nil
	}
	d := &sm.DescribeTransformJobResponse{
		TransformJobName: "t", TransformJobArn: "arn:of:t", TransformJobStatus: "Failed", ModelName: "m",
		FailureReason: "ClientError: See job logs for more information. algo-2: score/in/b.csv: the container answered 415: <b>&",
		CreationTime:  w.job.CreationTime, TransformStartTime: api.At(w.job.CreationTime.Add(time.Minute)), TransformEndTime: w.job.TrainingEndTime,
		MaxConcurrentTransforms: api.Ptr(int64(4)), MaxPayloadInMB: api.Ptr(int64(7)), BatchStrategy: "SingleRecord", Environment: map[string]string{"MODE": "it's"},
		ModelClientConfig:  &sm.ModelClientConfig{InvocationsTimeoutInSeconds: api.Ptr(int64(90)), InvocationsMaxRetries: api.Ptr(int64(2))},
		TransformInput:     &sm.TransformInput{DataSource: &sm.TransformDataSource{S3DataSource: &sm.TransformS3DataSource{S3DataType: "S3Prefix", S3Uri: "s3://score/in/"}}, ContentType: "text/csv", SplitType: "Line", CompressionType: "None"},
		TransformOutput:    &sm.TransformOutput{S3OutputPath: "s3://score/out", Accept: "text/csv", AssembleWith: "Line"},
		TransformResources: &sm.TransformResources{InstanceType: "ml.m5.large", InstanceCount: 2},
		DataProcessing:     &sm.DataProcessing{InputFilter: "$[1:]", OutputFilter: "$", JoinSource: "Input"},
		DataCaptureConfig:  &sm.BatchDataCaptureConfig{DestinationS3Uri: "s3://score/kept", GenerateInferenceId: api.Ptr(true)},
		ExperimentConfig:   &sm.ExperimentConfig{ExperimentName: "x"},
	}
	if w.scored != nil {
		w.scored(d)
	}
	return d, nil
}

func scoredObjects() map[string]string {
	return map[string]string{
		"in/": "", "in/a.csv": "1,2\n3,<b>&\n", "in/b.csv": "5,6\n", "in/deep/c.csv": "7,8\n",
		"out/a.csv.out": "1,2,0\n3,4,1\n", "out/deep/c.csv.out": "7,8,9\n", "out/other": "x",
	}
}

func (w *world) objects(in *s3.ListObjectsV2Request) (any, error) {
	out := &s3.ListObjectsV2Output{}
	if w.kept == nil {
		w.kept = scoredObjects()
	}
	for _, k := range slices.Sorted(maps.Keys(w.kept)) {
		if !strings.HasPrefix(k, in.Prefix) {
			continue
		}
		if int64(len(out.Contents)) == *in.MaxKeys {
			out.IsTruncated = api.Ptr(true)
			break
		}
		at := w.job.CreationTime
		if w.before[k] {
			at = api.At(at.Add(-time.Hour))
		}
		out.Contents = append(out.Contents, s3.Object{Key: k, Size: api.Ptr(int64(len(w.kept[k]))), LastModified: at})
	}
	return out, nil
}

func (w *world) object(in *s3.GetObjectRequest) (any, error) {
	text, ok := w.kept[in.Key]
	if !ok {
		return nil, apierr.New(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	}
	if text == "" {
		return nil, apierr.New(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable")
	}
	return &s3.GetObjectOutput{Body: io.NopCloser(strings.NewReader(text)), ContentLength: api.Ptr(int64(len(text)))}, nil
}

func TestTransformCode(t *testing.T) {
	t.Parallel()
	d, err := newWorld().transforming("DescribeTransformJob")
	if err != nil {
		t.Fatal(err)
	}
	code, err := transformCode(d.(*sm.DescribeTransformJobResponse), "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	validInput(t, code[1].Code)
	both := []string{
		`model_name="m"`, "instance_count=2", `strategy="SingleRecord"`, "max_payload=7", "max_concurrent_transforms=4", `output_path="s3://score/out"`, `accept="text/csv"`,
		`assemble_with="Line"`, `"MODE": "it's"`, `data="s3://score/in/"`, `data_type="S3Prefix"`, `content_type="text/csv"`, `split_type="Line"`, `input_filter="$[1:]"`, `join_source="Input"`,
		`model_client_config={"InvocationsTimeoutInSeconds":90,"InvocationsMaxRetries":2}`, `BatchDataCaptureConfig(destination_s3_uri="s3://score/kept", generate_inference_id=True)`, `experiment_config={"ExperimentName":"x"}`,
	}
	for i, want := range [][]string{
		{"sm.create_transform_job(**", `"GenerateInferenceId": True`, `"TransformJobName": "t-again"`, `"InputFilter": "$[1:]"`, `"MaxPayloadInMB": 7`},
		{"aws sagemaker create-transform-job --region eu-west-1"},
		append([]string{"from sagemaker.transformer import Transformer", "from sagemaker.inputs import"}, both...),
		append([]string{"from sagemaker.core.transformer import Transformer", "from sagemaker.core.shapes import"}, both...),
	} {
		for _, w := range want {
			if !strings.Contains(code[i].Code, w) {
				t.Errorf("%s lacks %s", code[i].Code, w)
			}
		}
		if i > 1 && (strings.Contains(code[i].Code, "output_filter") || strings.Contains(code[i].Code, "compression_type")) {
			t.Errorf("%s says what is so anyway", code[i].Code)
		}
	}
	// what describes nothing makes a request all the same
	if _, err := transformCode(&sm.DescribeTransformJobResponse{TransformJobName: "t"}, "eu-west-1"); err != nil {
		t.Error(err)
	}
}

func TestTransformPage(t *testing.T) {
	t.Parallel()
	page := get(t, newWorld(), "/batch-transform/t").Body.String()
	for _, want := range []string{
		"Why it failed", "its input_fn says which it reads", "on each of 2 instances", "2 × ml.m5.large", `class="Transforming"`, `href="/models/m"`, "reg/scale:1", "reg/guess:2",
		"SingleRecord", "at most 7 MB", "4 on each instance", "1 min 30 s for each batch", "at most 2", "$[1:]", "each answer to its input record", "each answer on lines of its own",
		"s3://score/kept, each with an inference ID", "MODE", "s3://score/in/ → s3://score/out", "2 of 3 objects have their answers.",
		`>a.csv</a>`, `>a.csv.out</a>`, `>deep/c.csv.out</a>`, "1,2\n3,&lt;b&gt;&amp;", "1,2,0\n3,4,1", ">none<", "of t/algo-2-", `aria-current="true">algo-2/data-log<`, ">algo-1/scale<",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, not := range []string{"in/</a>", "Output filter", "Hyperparameters", "Compression", "The job has no input", "others.", "by now", "other</a>", earlier} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %q", not)
		}
	}
	if list := get(t, newWorld(), "/batch-transform?status=Failed").Body.String(); !strings.Contains(list, "&lt;b&gt;&amp; See job logs") || !strings.Contains(list, `<a href="/models/m">m</a>`) || !strings.Contains(list, "/batch-transform?page=more") {
		t.Errorf("the list lacks a model, the reason or the next page: %s", list)
	}
	if stop := get(t, newWorld(), "/batch-transform/t/stop").Body.String(); !strings.Contains(stop, "whose answers are complete") || !strings.Contains(stop, "cannot be started again") {
		t.Errorf("the stop page does not say what is kept: %s", stop)
	}
	if model := get(t, newWorld(), "/models/m").Body.String(); !strings.Contains(model, `<a href="/batch-transform/t">t</a>`) || !strings.Contains(model, `data-snippet="score_boto3"`) || strings.Count(model, `id="tab-v2"`) != 1 {
		t.Errorf("the model's page does not lead to its jobs: %s", model)
	}
	home := get(t, newWorld(), "/").Body.String()
	for _, want := range []string{"/batch-transform/t", "All transform jobs that run", ">Transform job</td>"} {
		if !strings.Contains(home, want) {
			t.Errorf("home lacks %q", want)
		}
	}
	w := newWorld()
	w.refuse = "ListTransformJobs"
	if home := get(t, w, "/").Body.String(); !strings.Contains(home, "Batch transform jobs are not shown.") || !strings.Contains(home, "/training-jobs/j") {
		t.Errorf("who may not list them is not told: %s", home)
	}
	if model := get(t, w, "/models/m"); model.Code != http.StatusOK || !strings.Contains(model.Body.String(), "not allowed") {
		t.Errorf("%d %s", model.Code, model.Body)
	}
}

// A job that says little is shown with what AWS makes of that.
func TestTransformDefaults(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.scored = func(d *sm.DescribeTransformJobResponse) {
		*d = sm.DescribeTransformJobResponse{
			TransformJobName: "t", TransformJobStatus: "InProgress", ModelName: "m", CreationTime: d.CreationTime, TransformInput: d.TransformInput, TransformOutput: d.TransformOutput,
			TransformResources: &sm.TransformResources{InstanceType: "ml.m5.large", InstanceCount: 1},
		}
		d.TransformInput.SplitType = ""
	}
	page := get(t, w, "/batch-transform/t").Body.String()
	for _, want := range []string{"an object is one record", "as the container says, else MultiRecord", "as the container says, else at most 6 MB", "else one on each instance", "2 of 3 objects have their answers by now.", ">not yet<", "/batch-transform/t/stop"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, not := range []string{"Timeout", "Join", "Input filter", "Why it failed"} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %q", not)
		}
	}
	w.scored = func(d *sm.DescribeTransformJobResponse) { d.MaxPayloadInMB = api.Ptr(int64(0)) }
	if page := get(t, w, "/batch-transform/t").Body.String(); !strings.Contains(page, "unlimited, sent in chunks") {
		t.Error("a payload without limit is not told")
	}
	w.scored = func(d *sm.DescribeTransformJobResponse) {
		d.TransformInput, d.TransformOutput, d.TransformResources = nil, nil, nil
	}
	if page := get(t, w, "/batch-transform/t"); page.Code != http.StatusOK {
		t.Errorf("%d %s", page.Code, page.Body)
	}
}

// The log that is shown first is the one that tells most.
func TestTransformLogs(t *testing.T) {
	t.Parallel()
	reason := "AlgorithmError: See job logs for more information."
	for name, c := range map[string]struct {
		path, reason, current, stream string
	}{
		"its failure's host":       {"", "ClientError: See job logs. algo-2: b", "algo-2/data-log", "of t/algo-2-"},
		"the first's":              {"", reason, "algo-1/data-log", "of t/algo-1-"},
		"what the model printed":   {"", "AlgorithmError: Model container failed to respond to ping.", "algo-1", "of t/algo-1-"},
		"one that wrote nothing":   {"?host=algo-2/scale", reason, "algo-2/scale", "Nothing was written by algo-2/scale yet."},
		"of no host":               {"/log?q=rows", reason, "All hosts", "rows of t/algo-2-"},
		"a data-log's own lines":   {"/log?q=rows&host=algo-1/data-log", reason, "algo-1/data-log", "/data-log</span>"},
		"a host's without its log": {"/log?q=rows&host=algo-1", reason, "algo-1", "rows of t/algo-1-"},
	} {
		w := newWorld()
		w.scored = func(d *sm.DescribeTransformJobResponse) { d.FailureReason = c.reason }
		page := get(t, w, "/batch-transform/t"+c.path).Body.String()
		if !strings.Contains(page, `aria-current="true">`+c.current+"<") || !strings.Contains(page, c.stream) || strings.Contains(page, earlier) {
			t.Errorf("%s: want %q and %q: %s", name, c.current, c.stream, page)
		}
		if name == "a host's without its log" && strings.Contains(page, "/data-log</span>") {
			t.Errorf("%s: %s", name, page)
		}
	}
	for _, host := range []string{"algo-3", "algo-3/data-log", "algo-1/other", "x"} {
		if rec := get(t, newWorld(), "/batch-transform/t/log?host="+url.QueryEscape(host)); rec.Code != http.StatusNotFound {
			t.Errorf("%s: %d", host, rec.Code)
		}
	}
	w := newWorld()
	w.gauges = map[string]float64{
		"/aws/sagemaker/TransformJobs CPUUtilization Host=t/algo-1": 11, "/aws/sagemaker/TransformJobs CPUUtilization Host=t/algo-2": 22, "/aws/sagemaker/TransformJobs CPUUtilization Host=other/algo-2": 33,
	}
	if page := get(t, w, "/batch-transform/t?host=algo-2/data-log").Body.String(); !strings.Contains(page, ">22<") || strings.Contains(page, ">11<") {
		t.Error("the charts are not those of the log's host")
	}
}

// withoutModel knows jobs alone.
type withoutModel struct {
	*world
	err error
}

func (m withoutModel) Call(ctx context.Context, c op.Call, in any) (any, error) {
	if c.Operation == "DescribeModel" {
		return nil, m.err
	}
	return m.world.Call(ctx, c, in)
}

func TestTransformOfModelThatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld()
	c, cookie := open(t, w)
	c.cfg.Calls = withoutModel{w, apierr.Validation("Could not find model \"arn\".")}
	body := visit(t, c, cookie, "/batch-transform/t", http.StatusOK)
	if !strings.Contains(body, "m (deleted since)") || strings.Contains(body, `href="/models/m"`) || !strings.Contains(body, ">algo-1<") || strings.Contains(body, "algo-1/scale") {
		t.Errorf("%s", body)
	}
	c.cfg.Calls = withoutModel{w, apierr.AccessDenied("no")}
	if body := visit(t, c, cookie, "/batch-transform/t", http.StatusOK); strings.Contains(body, "deleted since") || !strings.Contains(body, `href="/models/m"`) {
		t.Errorf("%s", body)
	}
	c.cfg.Calls = withoutModel{w, errNoPage}
	visit(t, c, cookie, "/batch-transform/t", http.StatusNotFound)
}

// Inputs are shown with their own outputs, wherever these are named.
func TestScored(t *testing.T) {
	t.Parallel()
	one := func(uri string) func(*sm.DescribeTransformJobResponse) {
		return func(d *sm.DescribeTransformJobResponse) { d.TransformInput.DataSource.S3DataSource.S3Uri = uri }
	}
	manifest := func(d *sm.DescribeTransformJobResponse) {
		one("s3://score/list")(d)
		d.TransformInput.DataSource.S3DataSource.S3DataType = "ManifestFile"
	}
	many := scoredObjects()
	for i := range pairsListed + 5 {
		many["in/x"+string(rune('a'+i/100))+string(rune('a'+i/10%10))+string(rune('a'+i%10))] = "1"
		many["out/"+string(rune('a'+i/100))+string(rune('a'+i/10%10))+string(rune('a'+i%10))] = "1"
	}
	packed := func(text string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
		return b.String()
	}
	for name, c := range map[string]struct {
		job       func(*sm.DescribeTransformJobResponse)
		kept      map[string]string
		before    map[string]bool
		has, hast []string
	}{
		"an object's own name": {one("s3://score/in/deep/c.csv"), map[string]string{"in/deep/c.csv": "7", "out/c.csv.out": "8"}, nil, []string{">c.csv<", ">c.csv.out<"}, nil},
		"outputs among inputs": {
			func(d *sm.DescribeTransformJobResponse) { d.TransformOutput.S3OutputPath = "s3://score/in/" },
			map[string]string{"in/a.csv": "7", "in/a.csv.out": "8", "in/b.out": "9"},
			nil,
			[]string{"1 of 2 objects have", ">b.out<", ">a.csv.out<"},
			nil,
		},
		"a folder's name":       {one("s3://score/in"), scoredObjects(), nil, []string{"2 of 3 objects", ">deep/c.csv.out<"}, nil},
		"a bucket":              {one("s3://score"), map[string]string{"a": "7", "out/a.out": "8"}, nil, []string{">a.out<"}, nil},
		"a part of a name":      {one("s3://score/in/a"), scoredObjects(), nil, []string{"1 of 1 object has its answers.", ">a.csv.out<"}, []string{">b.csv<"}},
		"from before":           {one("s3://score/in/"), scoredObjects(), map[string]bool{"out/a.csv.out": true}, []string{"1 of 3 objects", ">deep/c.csv.out<", "7,8,9"}, []string{">a.csv.out<"}},
		"nothing":               {one("s3://score/none/"), scoredObjects(), nil, []string{"No object is under this prefix."}, []string{"objects have"}},
		"more than are shown":   {one("s3://score/in/"), many, nil, []string{"or more others.", ">a.csv.out<"}, []string{"objects have their answers"}},
		"a manifest":            {manifest, map[string]string{"list": `[{"prefix":"s3://score/in/"},"b.csv","a.csv"]`, "in/a.csv": "1,2\n", "out/a.csv.out": "1,2,0"}, nil, []string{"1 of 2 objects", ">a.csv.out<", "1,2,0"}, nil},
		"a manifest that ends":  {manifest, map[string]string{"list": `[{"prefix":"s3://score/in/"},"b.csv",`}, nil, []string{"0 of 1 or more"}, nil},
		"no manifest":           {manifest, map[string]string{"list": `{"a":1}`}, nil, []string{"The manifest is none"}, nil},
		"a manifest that lacks": {manifest, map[string]string{}, nil, []string{"The manifest cannot be read. The specified key does not exist."}, nil},
		"packed": {
			func(d *sm.DescribeTransformJobResponse) { d.TransformInput.CompressionType = "Gzip" },
			map[string]string{"in/a.gz": packed("4,5,6\n")},
			nil,
			[]string{"4,5,6", "0 of 1 object has"},
			nil,
		},
		"not packed": {
			func(d *sm.DescribeTransformJobResponse) { d.TransformInput.CompressionType = "Gzip" },
			map[string]string{"in/a.gz": "4,5,6\n"},
			nil,
			[]string{"not compressed by gzip"},
			nil,
		},
		"empty":   {one("s3://score/in/"), map[string]string{"in/a": ""}, nil, []string{"It is empty."}, nil},
		"bytes":   {one("s3://score/in/"), map[string]string{"in/a": "\x00\x01"}, nil, []string{"no text and no picture"}, nil},
		"picture": {one("s3://score/in/"), map[string]string{"in/a.png": "\x89PNG\x0d\x0a\x1a\x0a"}, nil, []string{`src="/object?picture=1&amp;uri=s3%3A%2F%2Fscore%2Fin%2Fa.png"`}, nil},
		"lines":   {one("s3://score/in/"), map[string]string{"in/a": strings.Repeat("line\n", 40)}, nil, []string{"This is the beginning only."}, []string{strings.Repeat("line\n", glanceLines+1)}},
		"no S3":   {one("http://x"), scoredObjects(), nil, []string{"The input is no S3 address."}, nil},
	} {
		w := newWorld()
		w.scored, w.kept, w.before = c.job, c.kept, c.before
		page := get(t, w, "/batch-transform/t")
		body := page.Body.String()
		if page.Code != http.StatusOK {
			t.Errorf("%s: %d", name, page.Code)
		}
		for _, s := range c.has {
			if !strings.Contains(body, s) {
				_, data, _ := strings.Cut(body, `aria-label="Data"`)
				t.Errorf("%s: the page lacks %q: %s", name, s, data)
			}
		}
		for _, s := range c.hast {
			if strings.Contains(body, s) {
				t.Errorf("%s: the page has %q", name, s)
			}
		}
	}
	w := newWorld()
	w.refuse = "ListObjectsV2"
	if page := get(t, w, "/batch-transform/t"); page.Code != http.StatusOK || !strings.Contains(page.Body.String(), "not authorized") {
		t.Errorf("who may not list objects: %d", page.Code)
	}
}

// stopper notes what is stopped.
type stopper struct {
	*world
	name string
}

func (s *stopper) Call(ctx context.Context, c op.Call, in any) (any, error) {
	if in, ok := in.(*sm.StopTransformJobRequest); ok {
		s.name = in.TransformJobName
		return nil, nil
	}
	return s.world.Call(ctx, c, in)
}

func TestTransformStop(t *testing.T) {
	t.Parallel()
	w := newWorld()
	c, cookie := open(t, w)
	s := &stopper{world: w}
	c.cfg.Calls = s
	r := httptest.NewRequest(http.MethodPost, "http://console.localhost/batch-transform/t/stop", strings.NewReader(url.Values{"token": {formToken(cookie.Value)}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "http://console.localhost")
	r.AddCookie(cookie)
	rec := httptest.NewRecorder()
	c.ServeHTTP(rec, r)
	if rec.Code != http.StatusSeeOther || s.name != "t" || rec.Header().Get("Location") != "/batch-transform/t" {
		t.Errorf("%d, %q was stopped", rec.Code, s.name)
	}
}
