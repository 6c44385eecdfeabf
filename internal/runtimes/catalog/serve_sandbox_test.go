//go:build linux

package catalog_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
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
		for k, v := range m {
			task.Env[k] = v
		}
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
		"inference.py":     "import joblib, os, tabulate\ndef model_fn(model_dir):\n    return joblib.load(os.path.join(model_dir, 'model.joblib'))\n",
	}))
	c := serveModel(t, d, rt, st, "serve-1", "s3://bucket/out/job/output/model.tar.gz", map[string]string{
		"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://bucket/src/inference.tar.gz", "SAGEMAKER_CONTAINER_LOG_LEVEL": "20", "SAGEMAKER_REGION": "us-east-1",
	})
	c.ready()
	if code, kind, body := c.ask(http.MethodPost, "/invocations", "text/csv", "text/csv", "1\n3\n5\n"); code != 200 || kind != "text/csv; charset=utf-8" || body != "2.0\n4.0\n6.0\n" {
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
