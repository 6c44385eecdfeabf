//go:build linux

package catalog_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/client/clienttest"
	"clary/internal/compute"
	"clary/internal/compute/sandbox"
	"clary/internal/runtimes"
	"clary/internal/runtimes/catalog"
	"clary/internal/stage/plan"
	"clary/test/daemon"
)

// taskBinary builds clary-task. CLARY_TASK names one that is there already, for
// users who cannot build and for the gate, where its name says its content; it is
// copied to where everyone may read it.
func taskBinary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b := filepath.Join(dir, "clary-task")
	if from := os.Getenv("CLARY_TASK"); from != "" {
		content, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(b, content, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	cmd := exec.Command("go", "build", "-trimpath", "-tags=nethttpomithttp2", "-ldflags=-s -w", "-o", b, "clary/cmd/clary-task")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return b
}

// ensure waits until a runtime is ready or has failed.
func ensure(t *testing.T, c *catalog.Catalog, rt runtimes.Runtime) runtimes.State {
	t.Helper()
	deadline := time.After(5 * time.Minute)
	for {
		st, err := c.Ensure(t.Context(), rt)
		if err != nil {
			t.Fatal(err)
		}
		if st.Ready || st.Failed != "" {
			return st
		}
		t.Log(st.Progress)
		select {
		case <-c.Changes():
		case <-deadline:
			t.Fatalf("still %q", st.Progress)
		}
	}
}

// lend leaves what the test builds for the servers of tests to come.
func lend(t *testing.T, dir string) {
	t.Helper()
	t.Cleanup(func() {
		if err := daemon.Lend(filepath.Join(dir, "runtimes")); err != nil {
			t.Error(err)
		}
	})
}

// rooms are a catalog on a sandbox, and the S3 that its tasks see.
func rooms(t *testing.T) (*clienttest.S3, *sandbox.Driver, *catalog.Catalog) {
	t.Helper()
	dir := t.TempDir()
	s3 := clienttest.New("bucket")
	sock := filepath.Join(dir, "task.sock")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: s3}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	d, err := sandbox.New(sandbox.Config{Dir: filepath.Join(dir, "tasks"), TaskBinary: taskBinary(t), APISocket: sock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	c, err := catalog.New(catalog.Config{Dir: filepath.Join(dir, "runtimes"), Driver: d, Environ: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	lend(t, dir)
	return s3, d, c
}

// TestRealTraining is the whole way of a training job below the server: the
// runtime is built from the package index in a sandbox, an unmodified
// script-mode job installs its requirements, trains and leaves a model.
func TestRealTraining(t *testing.T) {
	t.Parallel()
	s3, d, c := rooms(t)
	rt, err := c.Resolve(t.Context(), "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	st := ensure(t, c, rt)
	if !st.Ready {
		t.Fatalf("%s: %s", rt.Title, st.Failed)
	}
	t.Logf("%s built in %s", rt.Title, time.Since(start))
	if ids, err := d.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("build tasks left behind: %q, %v", ids, err)
	}

	s3.Set("bucket", "in/x.csv", "1,2\n3,4\n")
	s3.Set("bucket", "src/sourcedir.tar.gz", sources(t, map[string]string{
		"requirements.txt": "tabulate==0.9.0\nsix<1.17\n",
		"train.py": `
import argparse, os, sys, subprocess, joblib, numpy as np, six, tabulate
from sklearn.linear_model import LinearRegression
p = argparse.ArgumentParser()
p.add_argument("--alpha", type=float)
a = p.parse_args()
data = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "x.csv"), delimiter=",")
joblib.dump(LinearRegression().fit(data[:, :1], data[:, 1]), os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
print("alpha", a.alpha, "six", six.__version__, "tabulate", tabulate.__version__, "exe", sys.executable)
print("pip says", subprocess.run(["pip", "list", "--format=freeze"], capture_output=True, text=True, check=True).stdout.count("=="))
print("loss=0.25;")
`,
	}))
	task := compute.Task{
		ID: "job-1", Kind: "training", Name: "job", Image: st.Image, Args: rt.Train, Env: rt.Env,
		Plan: plan.Plan{Training: &plan.Training{
			JobName: "job", JobArn: "arn:aws:sagemaker:us-east-1:123456789012:training-job/job", Region: "us-east-1",
			Hosts: []string{"algo-1"}, CurrentHost: "algo-1", InstanceType: "ml.m5.large", ScriptMode: true, Framework: rt.Framework,
			HyperParameters: map[string]string{
				"alpha": "0.5", "sagemaker_program": `"train.py"`, "sagemaker_submit_directory": `"s3://bucket/src/sourcedir.tar.gz"`,
				"sagemaker_container_log_level": "20", "sagemaker_region": `"us-east-1"`, "sagemaker_job_name": `"job"`,
			},
			Channels:    []plan.Channel{{Name: "train", S3Uri: "s3://bucket/in/"}},
			OutputS3Uri: "s3://bucket/out/job/output",
		}},
		Network:  compute.Network{Host: "algo-1", Peers: []string{"algo-1"}, Egress: true},
		Identity: compute.Identity{RoleArn: "arn:aws:iam::123456789012:role/r", AccessKeyID: "AKID", SecretAccessKey: "s", SessionToken: "t", Expiration: time.Now().Add(time.Hour), Region: "us-east-1"},
		Grace:    10 * time.Second,
	}
	exit, log := run(t, d, task)
	t.Log(log)
	if exit.Result.ExitCode != 0 || exit.Result.Failure != "" || exit.Result.Artifact == "" {
		t.Fatalf("%+v", exit)
	}
	if envs, err := d.Envs(t.Context()); err != nil || !slices.Equal(envs, []string{st.Image.Env}) {
		t.Errorf("environments that tasks have: %q, %v", envs, err)
	}
	for _, want := range []string{"alpha 0.5", "six 1.16.0", "tabulate 0.9.0", "loss=0.25;", "exe /opt/ml/.venv/bin/python"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	model, ok := s3.Object("bucket", "out/job/output/model.tar.gz")
	if !ok {
		t.Fatal("no model")
	}
	gz, err := gzip.NewReader(bytes.NewReader(model))
	if err != nil {
		t.Fatal(err)
	}
	if h, err := tar.NewReader(gz).Next(); err != nil || h.Name != "model.joblib" {
		t.Errorf("%+v, %v", h, err)
	}
	t.Run("serving", func(t *testing.T) { serveScikit(t, s3, d, rt, st) }) //nolint:paralleltest // the runtime goes with the test
}

// run runs a task to its end.
func run(t *testing.T, d *sandbox.Driver, task compute.Task) (*compute.Exit, string) {
	t.Helper()
	if err := d.Start(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Remove(context.Background(), task.ID); err != nil {
			t.Error(err)
		}
	})
	spool, err := d.Spool(t.Context(), task.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close() //nolint:errcheck // read to its end
	var log bytes.Buffer
	if _, err := io.Copy(&log, spool); err != nil {
		t.Fatal(err)
	}
	st, err := d.Status(t.Context(), task.ID)
	if err != nil || st.Exit == nil {
		t.Fatalf("%+v, %v", st, err)
	}
	return st.Exit, log.String()
}

func sources(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for n, data := range files {
		if err := tw.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(tw, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
