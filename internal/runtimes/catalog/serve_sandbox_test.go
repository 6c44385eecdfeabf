//go:build linux

package catalog_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"clary/internal/client/clienttest"
	"clary/internal/compute"
	"clary/internal/compute/sandbox"
	"clary/internal/runtimes"
	"clary/internal/serving"
	"clary/internal/stage/plan"
	"clary/internal/stage/serve/servetest"
)

// container is a serving task.
type container struct {
	t  *testing.T
	d  *sandbox.Driver
	id compute.TaskID
	hc *http.Client
}

// serveModel starts a task as an endpoint does.
func serveModel(t *testing.T, d *sandbox.Driver, rt runtimes.Runtime, st runtimes.State, name, model string, env map[string]string) *container {
	t.Helper()
	task := compute.Task{
		ID: compute.TaskID(name), Kind: "endpoint", Name: name, Image: st.Image, Args: rt.Serve, Env: map[string]string{},
		Plan: plan.Plan{Serving: &plan.Serving{
			Region: "us-east-1", RoleArn: "arn:aws:iam::123456789012:role/r", VCPU: 2,
			Models: []plan.Model{{Name: "ModelDataUrl", S3Uri: model, Archive: true, LocalPath: "/opt/ml/model"}},
		}},
		Network:  compute.Network{Host: "algo-1", Egress: true},
		Identity: compute.Identity{RoleArn: "arn:aws:iam::123456789012:role/r", AccessKeyID: "AKID", SecretAccessKey: "s", SessionToken: "t", Expiration: time.Now().Add(time.Hour), Region: "us-east-1"},
		Grace:    30 * time.Second,
	}
	for _, m := range []map[string]string{rt.Env, {"AWS_REGION": "us-east-1", "SAGEMAKER_BIND_TO_PORT": fmt.Sprint(serving.Port)}, env} {
		maps.Copy(task.Env, m)
	}
	if err := d.Start(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	c := &container{t, d, task.ID, &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.Dial(ctx, task.ID, serving.Port)
	}}}}
	t.Cleanup(func() {
		c.hc.CloseIdleConnections()
		if err := d.Remove(context.Background(), task.ID); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *container) ask(method, path, contentType, accept, body string) (int, string, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, "http://container"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Accept", accept)
	resp, err := c.hc.Do(r)
	if err != nil {
		return 0, "", err.Error()
	}
	defer resp.Body.Close() //nolint:errcheck // read below
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(data)
}

// ready waits until it answers pings.
func (c *container) ready() {
	c.t.Helper()
	start := time.Now()
	for {
		if code, _, _ := c.ask(http.MethodGet, "/ping", "", "", ""); code == http.StatusOK {
			c.t.Logf("ready after %s", time.Since(start).Round(time.Millisecond))
			return
		}
		st, err := c.d.Status(c.t.Context(), c.id)
		if err != nil || st.Exit != nil || time.Since(start) > 2*time.Minute {
			c.t.Fatalf("%+v %+v %v: %s", st, st.Exit, err, c.log())
		}
		time.Sleep(10 * time.Millisecond) // the task may not listen yet
	}
}

func (c *container) log() string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	spool, err := c.d.Spool(ctx, c.id, 0)
	if err != nil {
		return err.Error()
	}
	defer spool.Close() //nolint:errcheck // read
	stop := context.AfterFunc(ctx, func() { _ = spool.Close() })
	defer stop()
	var b bytes.Buffer
	_, _ = io.Copy(&b, spool) // until closed
	return b.String()
}

// end stops it, or waits for its own end.
func (c *container) end(stop bool) *compute.Exit {
	c.t.Helper()
	if stop {
		if err := c.d.Stop(c.t.Context(), c.id, 30*time.Second); err != nil {
			c.t.Fatal(err)
		}
	}
	spool, err := c.d.Spool(c.t.Context(), c.id, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	defer spool.Close() //nolint:errcheck // read to its end
	log, err := io.ReadAll(spool)
	st, serr := c.d.Status(c.t.Context(), c.id)
	if err != nil || serr != nil || st.Exit == nil {
		c.t.Fatalf("%+v, %v, %v", st, err, serr)
	}
	c.t.Logf("%s", log)
	return st.Exit
}

// serveScikit serves what a training job left, and then the scripts whose
// answers are known from the real toolkits.
func serveScikit(t *testing.T, s3 *clienttest.S3, d *sandbox.Driver, rt runtimes.Runtime, st runtimes.State) {
	s3.Set("bucket", "src/inference.tar.gz", sources(t, map[string]string{
		"requirements.txt": "tabulate==0.9.0\n",
		"inference.py": `
import joblib, os, tabulate
def model_fn(model_dir):
    name = os.path.join(model_dir, 'model.joblib')
    assert not os.access(model_dir, os.W_OK) and not os.access(name, os.W_OK)
    return joblib.load(name)
`,
	}))
	c := serveModel(t, d, rt, st, "serve-1", "s3://bucket/out/job/output/model.tar.gz", map[string]string{
		"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://bucket/src/inference.tar.gz", "SAGEMAKER_CONTAINER_LOG_LEVEL": "20", "SAGEMAKER_REGION": "us-east-1",
	})
	c.ready()
	if code, kind, body := c.ask(http.MethodPost, "/invocations", "application/json", "text/csv", "[[1],[3],[5]]"); code != 200 || kind != "text/csv; charset=utf-8" || !regexp.MustCompile(`^(2\.0|1\.9)\d*\n(4\.0|3\.9)\d*\n(6\.0|5\.9)\d*\n$`).MatchString(body) {
		// the regression of 1,2 and 3,4 is y = x + 1
		t.Errorf("%d %s %q", code, kind, body)
	}
	if exit := c.end(true); exit.Result.ExitCode != 0 || exit.Reason != compute.ReasonStopped {
		t.Errorf("%+v", exit)
	}

	cases, scripts, answers := servetest.Read(t)
	plain, err := plainRuntime(rt)
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]*container{}
	for _, c := range cases {
		key := c.Framework + "-" + c.Script
		if servers[key] == nil {
			s3.Set("bucket", "m/"+key, sources(t, map[string]string{"code/inference.py": scripts[c.Script]}))
			use := rt
			if c.Framework == "" {
				use = plain
			}
			servers[key] = serveModel(t, d, use, st, "case"+strings.ReplaceAll(key, "_", "-"), "s3://bucket/m/"+key, map[string]string{"SAGEMAKER_MODEL_SERVER_WORKERS": "1"})
			servers[key].ready()
		}
		want, ok := answers[c.Name]
		if !ok {
			t.Fatalf("no record of %s", c.Name)
		}
		t.Run(c.Name, func(t *testing.T) {
			servetest.Check(t.Context(), t, servers[key].hc, "http://container", c, want)
		})
	}

	s3.Set("bucket", "m/broken", sources(t, map[string]string{"code/inference.py": "import pickle\ndef model_fn(d):\n    return pickle.loads(b'no pickle')\n"}))
	b := serveModel(t, d, rt, st, "broken", "s3://bucket/m/broken", nil)
	if exit := b.end(false); exit.Result.ExitCode == 0 || exit.Result.Class != "AlgorithmError" || !strings.Contains(exit.Result.Failure, "UnpicklingError") {
		t.Errorf("%+v", exit)
	}
}

// TestRealXGBoost trains with the image's own algorithm and serves what that
// leaves, without a script and with one.
func TestRealXGBoost(t *testing.T) {
	t.Parallel()
	s3, d, c := rooms(t)
	rt, err := c.Resolve(t.Context(), "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1")
	if err != nil {
		t.Fatal(err)
	}
	st := ensure(t, c, rt)
	if !st.Ready {
		t.Fatalf("%s: %s", rt.Title, st.Failed)
	}
	// y = 10 if x1 > 4 else 1; x2 says nothing
	var csv, svm strings.Builder
	for i := range 40 {
		y := 1
		if i%10 > 4 {
			y = 10
		}
		fmt.Fprintf(&csv, "%d,%d,%d\n", y, i%10, i%3)
		fmt.Fprintf(&svm, "%d 0:%d 1:%d\n", y, i%10, i%3)
	}
	s3.Set("bucket", "csv/a.csv", csv.String())
	s3.Set("bucket", "csv/b.csv", csv.String())
	s3.Set("bucket", "svm/a", svm.String())
	s3.Set("bucket", "weighted/a", strings.NewReplacer("10 0:", "10:0.5 0:", "1 0:", "1:2 0:").Replace(svm.String()))
	train := func(name, image, content string, hps map[string]string) (*compute.Exit, string) {
		return run(t, d, compute.Task{
			ID: compute.TaskID(name), Kind: "training", Name: name, Image: st.Image, Args: rt.Train, Env: rt.Env,
			Plan: plan.Plan{Training: &plan.Training{
				JobName: name, Region: "us-east-1", Hosts: []string{"algo-1"}, CurrentHost: "algo-1", InstanceType: "ml.m5.large", ScriptMode: true, Framework: rt.Framework,
				HyperParameters: hps, OutputS3Uri: "s3://bucket/out/" + name + "/output",
				Channels: []plan.Channel{{Name: "train", S3Uri: "s3://bucket/" + image, ContentType: content}, {Name: "validation", S3Uri: "s3://bucket/" + image, ContentType: content}},
			}},
			Network:  compute.Network{Host: "algo-1", Peers: []string{"algo-1"}},
			Identity: compute.Identity{RoleArn: "arn:aws:iam::123456789012:role/r", AccessKeyID: "AKID", SecretAccessKey: "s", SessionToken: "t", Expiration: time.Now().Add(time.Hour), Region: "us-east-1"},
			Grace:    10 * time.Second,
		})
	}
	hps := map[string]string{"num_round": "20", "objective": "reg:squarederror", "max_depth": "3", "eta": "0.5", "eval_metric": "rmse,r2", "early_stopping_rounds": "5"}
	for name, tt := range map[string]struct{ prefix, content string }{"csv": {"csv/", "text/csv"}, "svm": {"svm/", ""}, "weighted": {"weighted/", "text/libsvm"}} {
		exit, log := train("train-"+name, tt.prefix, tt.content, hps)
		if exit.Result.ExitCode != 0 || exit.Result.Artifact == "" || !regexp.MustCompile(`\[0\]\ttrain-rmse:\d+\.\d{5}\t(train-r2:\S+\t)?validation-rmse:\d+\.\d{5}`).MatchString(log) {
			t.Errorf("%s: %+v\n%s", name, exit, log)
		}
	}
	for name, tt := range map[string]struct {
		content string
		hps     map[string]string
		want    string
	}{
		"parquet":     {"application/x-parquet", map[string]string{"num_round": "1"}, "is not read by this runtime"},
		"wrong-type":  {"text/libsvm", map[string]string{"num_round": "1"}, "Failed to load libsvm data"},
		"wrong-label": {"text/csv", map[string]string{"num_round": "1", "objective": "binary:logistic"}, "label must be in [0,1]"},
	} {
		if exit, log := train(name, "csv/", tt.content, tt.hps); exit.Result.ExitCode == 0 || !strings.Contains(exit.Result.Failure, tt.want) {
			t.Errorf("%s: %+v\n%s", name, exit, log)
		}
	}

	built := serveModel(t, d, rt, st, "built-in", "s3://bucket/out/train-csv/output/model.tar.gz", nil)
	built.ready()
	numbers := regexp.MustCompile(`^\[?(10\.\d+|9\.9\d*), ?(0\.9\d*|1\.0\d*)\]?$`)
	for _, tt := range []struct {
		kind, accept, body string
		code               int
		answers            string
	}{
		{"text/csv", "text/csv", "9,1\n0,1\n", 200, "text/csv"},
		{"text/csv; charset=utf-8", "*/*", "9,1\n0,1", 200, "text/csv"},
		{"text/csv", "application/json", "9,1\n0,1", 200, "application/json"},
		{"text/libsvm", "text/csv", "0:9 1:1\n0:0 1:1\n", 200, "text/csv"},
		{"text/x-libsvm", "text/csv", "1 0:9 1:1\n1 0:0 1:1\n", 200, "text/csv"},
		{"text/csv", "text/csv", "", 204, ""},
		{"text/csv", "text/csv", "1,2,3,4", 400, ""},
		{"text/csv", "text/csv", "a,b", 415, ""},
		{"application/x-image", "text/csv", "x", 415, ""},
		{"text/csv", "image/png", "9,1", 415, ""},
	} {
		code, kind, body := built.ask(http.MethodPost, "/invocations", tt.kind, tt.accept, tt.body)
		if code != tt.code || code == 200 && (kind != tt.answers || !numbers.MatchString(body)) {
			t.Errorf("%s %s %q: %d %s %q", tt.kind, tt.accept, tt.body, code, kind, body)
		}
	}
	if code, _, body := built.ask(http.MethodGet, "/execution-parameters", "", "", ""); code != 200 || !strings.Contains(body, `"MaxPayloadInMB": 6`) {
		t.Errorf("%d %s", code, body)
	}
	// Of a batch transform job each record has a line of its own, and no payload is
	// larger than the image takes.
	batch := serveModel(t, d, rt, st, "batch", "s3://bucket/out/train-csv/output/model.tar.gz", map[string]string{"SAGEMAKER_BATCH": "true", "MAX_CONTENT_LENGTH": "31457280"})
	batch.ready()
	if code, _, body := batch.ask(http.MethodGet, "/execution-parameters", "", "", ""); code != 200 || !strings.Contains(body, `"MaxPayloadInMB": 20`) || !strings.Contains(body, `"BatchStrategy": "MULTI_RECORD"`) {
		t.Errorf("%d %s", code, body)
	}
	if code, _, body := batch.ask(http.MethodPost, "/invocations", "text/csv", "text/csv", "9,1\n0,1\n"); code != 200 || strings.Count(body, "\n") != 2 {
		t.Errorf("%d %q", code, body)
	}

	model, _ := s3.Object("bucket", "out/train-csv/output/model.tar.gz")
	s3.Set("bucket", "m/script", repacked(t, model, map[string]string{"code/inference.py": "import os, xgboost\ndef model_fn(d):\n    b = xgboost.Booster()\n    b.load_model(os.path.join(d, 'xgboost-model'))\n    return b\n"}))
	script := serveModel(t, d, rt, st, "script", "s3://bucket/m/script", map[string]string{"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"})
	script.ready()
	for accept, want := range map[string]string{"application/json": `^\[(10\.|9\.9)[\d.]*, [\d.]+\]$`, "text/csv": `^(10\.|9\.9)[\d.]*\n[\d.]+\n$`} {
		for kind, body := range map[string]string{"text/csv": "9,1\n0,1", "text/libsvm": "1 0:9 1:1\n1 0:0 1:1\n"} {
			if code, got, text := script.ask(http.MethodPost, "/invocations", kind, accept, body); code != 200 || got != accept || !regexp.MustCompile(want).MatchString(text) {
				t.Errorf("%s %s: %d %s %q", kind, accept, code, got, text)
			}
		}
	}
}

// repacked adds files to an archive.
func repacked(t *testing.T, archive []byte, files map[string]string) string {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return sources(t, files)
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(data)
	}
}

// plainRuntime serves scripts of no framework on the packages of another
// runtime.
func plainRuntime(rt runtimes.Runtime) (runtimes.Runtime, error) {
	for i, a := range rt.Serve {
		if a == "-framework" {
			rt.Serve = rt.Serve[:i:i]
			return rt, nil
		}
	}
	return rt, fmt.Errorf("%q names no framework", rt.Serve)
}
