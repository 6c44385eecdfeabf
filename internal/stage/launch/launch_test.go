package launch

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clary/internal/client/clienttest"
)

func bench(t *testing.T) (*launcher, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	base := t.TempDir()
	l := &launcher{base: base, code: filepath.Join(base, "code"), env: map[string]string{}, stdout: &log, stderr: &log}
	if err := os.MkdirAll(l.code, 0o755); err != nil {
		t.Fatal(err)
	}
	return l, &log
}

func TestSourcesFromS3(t *testing.T) {
	t.Parallel()
	s3 := clienttest.New("bucket")
	s3.Set("bucket", "job/sourcedir.tar.gz", tarball(t, map[string]string{"train.py": "pass"}))
	mux := http.NewServeMux()
	mux.Handle("/", s3)
	mux.HandleFunc("/v2/secret", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"AccessKeyId":"A","SecretAccessKey":"s","Token":"t","Expiration":"2030-01-01T00:00:00Z"}`))
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	l, _ := bench(t)
	l.env = map[string]string{"S3_ENDPOINT_URL": srv.URL, "AWS_REGION": "us-east-1", "AWS_CONTAINER_CREDENTIALS_FULL_URI": srv.URL + "/v2/secret"}
	if err := l.fetch(t.Context(), "s3://bucket/job/none.tar.gz"); err == nil || !strings.Contains(err.Error(), "do not exist") {
		t.Errorf("err = %v", err)
	}
	if err := l.fetch(t.Context(), "s3://bucket/job/sourcedir.tar.gz"); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(l.code, "train.py")); err != nil || string(data) != "pass" {
		t.Errorf("%q, %v", data, err)
	}
	// What is there already is used as it is.
	if err := l.fetch(t.Context(), "s3://bucket/job/none.tar.gz"); err != nil {
		t.Error(err)
	}
}

// The reason says what the script's own words were.
func TestFailureHoldsTheTraceback(t *testing.T) {
	t.Parallel()
	c := toolkitCase{name: "x", program: "train.py", sources: map[string]string{"train.py": "def f():\n    raise KeyError('column')\nf()\n"}}
	base, dir := c.prepare(t), pythonDir(t)
	var log bytes.Buffer
	if code := Main(context.Background(), base, c.environ(base, dir), &log, &log); code != 1 {
		t.Errorf("exit code %d", code)
	}
	data, err := os.ReadFile(base + "/output/failure")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ExecuteUserScriptError:\nExitCode 1\n", "Traceback (most recent call last)", "KeyError: 'column'", "train.py\""} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%q is not in %s", want, data)
		}
	}
	if !strings.Contains(log.String(), "KeyError") {
		t.Errorf("log %s", log.String())
	}
}

// Scripts of SageMaker's examples import sagemaker-containers where they train
// and where they serve.
func TestStandIn(t *testing.T) {
	t.Parallel()
	c := toolkitCase{name: "x", program: "train.py", sources: map[string]string{"train.py": "from sagemaker_containers.beta.framework import content_types, encoders, worker\nassert content_types.CSV == 'text/csv'\n"}}
	base, dir := c.prepare(t), pythonDir(t)
	var log bytes.Buffer
	for module, want := range map[string]int{"sagemaker_sklearn_container.training:main": 0, "": 1} {
		if code := Main(context.Background(), base, append(c.environ(base, dir), "SAGEMAKER_TRAINING_MODULE="+module), &log, &log); code != want {
			t.Errorf("%q: exit code %d: %s", module, code, log.String())
		}
	}
}

func TestKilledScript(t *testing.T) {
	t.Parallel()
	c := toolkitCase{name: "x", program: "train.py", sources: map[string]string{"train.py": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"}}
	base, dir := c.prepare(t), pythonDir(t)
	var log bytes.Buffer
	if code := Main(context.Background(), base, c.environ(base, dir), &log, &log); code != 137 {
		t.Errorf("exit code %d", code)
	}
	data, _ := os.ReadFile(base + "/output/failure")
	if !strings.Contains(string(data), "ExitCode -9") || !strings.Contains(string(data), "OutOfMemory") {
		t.Errorf("%s", data)
	}
}

func TestMissingScriptIsNamed(t *testing.T) {
	t.Parallel()
	c := toolkitCase{name: "x", program: "trian.py", sources: map[string]string{"train.py": ""}}
	base, dir := c.prepare(t), pythonDir(t)
	var log bytes.Buffer
	if code := Main(context.Background(), base, c.environ(base, dir), &log, &log); code != 1 {
		t.Errorf("exit code %d", code)
	}
	data, _ := os.ReadFile(base + "/output/failure")
	if !strings.Contains(string(data), `"trian.py" is not among the sources; they hold: train.py`) {
		t.Errorf("%s", data)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`1`, `"a"`, `[1,{"a":null}]`, `1e5`, `-0`, `{`, `NaN`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parse([]byte(s))
		if err != nil {
			return
		}
		if again, err := parse([]byte(toJSON(v))); err != nil || repr(again) == "" {
			t.Errorf("%q became %q: %v", s, toJSON(v), err)
		}
		_ = toArg(v)
	})
}
