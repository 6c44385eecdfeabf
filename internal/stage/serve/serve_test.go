package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"clary/internal/stage/serve/servetest"
)

// patience bounds waits for what must come.
const patience = 2 * time.Minute

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// bench is a server of a script on the machine's own Python.
type bench struct {
	t       *testing.T
	address string
	log     *logBuffer
	stop    context.CancelFunc
	ended   chan error
}

// pythonDir is a folder that holds python and nothing else.
func pythonDir(t *testing.T) string {
	t.Helper()
	p := "/usr/bin/python3"
	if _, err := os.Stat(p); err != nil {
		if p, err = exec.LookPath("python3"); err != nil {
			t.Fatal("these tests need python3")
		}
	}
	dir := t.TempDir()
	if err := os.Symlink(p, filepath.Join(dir, "python")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// folder makes /opt/ml with a script in the model's archive.
func folder(t *testing.T, script string) string {
	t.Helper()
	return folderOf(t, map[string]string{"code/inference.py": script})
}

// folderOf makes /opt/ml with a model of the given files.
func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	base := t.TempDir()
	if err := os.Mkdir(filepath.Join(base, "model"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		p := filepath.Join(base, "model", name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return base
}

func start(t *testing.T, framework, script string, env ...string) *bench {
	t.Helper()
	return startIn(t, framework, folder(t, script), env...)
}

func startIn(t *testing.T, framework, base string, env ...string) *bench {
	t.Helper()
	s, err := newSettings(framework, base, append(env, "PATH="+pythonDir(t)+":/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1", "LC_ALL=C.UTF-8"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &bench{t: t, address: "http://" + l.Addr().String(), log: &logBuffer{}, stop: stop, ended: make(chan error, 1)}
	sv := &server{settings: s, out: b.log}
	go func() { b.ended <- sv.run(ctx, l) }()
	t.Cleanup(func() {
		stop()
		select {
		case <-b.ended:
		case <-time.After(patience):
			t.Error("the server did not end")
		}
		if t.Failed() {
			t.Log(b.log.String())
		}
	})
	return b
}

// end waits for the server to end by itself.
func (b *bench) end() error {
	b.t.Helper()
	select {
	case err := <-b.ended:
		b.ended <- err
		return err
	case <-time.After(patience):
		b.t.Fatal("the server did not end: ", b.log.String())
		return nil
	}
}

func (b *bench) get(method, path, body string) (int, string) {
	b.t.Helper()
	return b.ask(method, path, "text/plain", "", body)
}

func (b *bench) ask(method, path, kind, accept, body string) (int, string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, b.address+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read below
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// ready waits until /ping answers 200.
func (b *bench) ready() {
	b.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		code, _ := b.get(http.MethodGet, "/ping", "")
		if code == http.StatusOK {
			return
		}
		if code != http.StatusServiceUnavailable || time.Now().After(deadline) {
			b.t.Fatalf("/ping answers %d: %s", code, b.log)
		}
	}
}

// TestAsTheToolkits compares with what the toolkits of SageMaker's images
// answered. The cases that need numpy are run on a real runtime, in the
// catalog's tests.
func TestAsTheToolkits(t *testing.T) {
	t.Parallel()
	cases, scripts, answers := servetest.Read(t)
	servers := map[string]*bench{}
	for _, c := range cases {
		if c.Numpy {
			continue
		}
		key := c.Framework + " " + c.Script
		if servers[key] == nil {
			servers[key] = start(t, c.Framework, scripts[c.Script], "SAGEMAKER_MODEL_SERVER_WORKERS=1")
		}
		want, ok := answers[c.Name]
		if !ok {
			t.Fatalf("no record of %s", c.Name)
		}
		t.Run(c.Name, func(t *testing.T) { servetest.Check(t.Context(), t, http.DefaultClient, servers[key].address, c, want) }) //nolint:paralleltest // the servers go with the test
	}
}

const echo = `
import os
def model_fn(model_dir):
    return os.getpid()
def transform_fn(model, body, content_type, accept):
    if body == b"die":
        os.kill(os.getpid(), 9)
    if body == b"exit":
        os._exit(3)
    if body == b"sleep":
        import time
        time.sleep(600)
    return str(model), "text/plain"
`

func TestRequests(t *testing.T) {
	t.Parallel()
	b := start(t, "", echo, "SAGEMAKER_MODEL_SERVER_WORKERS=2", "SAGEMAKER_MODEL_SERVER_TIMEOUT=1")
	b.ready()
	for path, want := range map[string]int{"/": 404, "/invocations": 405, "/execution-parameters": 404} {
		if code, body := b.get(http.MethodGet, path, ""); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	seen := map[string]bool{}
	for deadline := time.Now().Add(patience); len(seen) < 2 && time.Now().Before(deadline); {
		code, pid := b.get(http.MethodPost, "/invocations", "x")
		if code != 200 {
			t.Fatalf("%d %s", code, pid)
		}
		seen[pid] = true
	}
	if len(seen) != 2 {
		t.Errorf("answers came from %d workers", len(seen))
	}
	// A worker that dies takes its own request with it and no other.
	for body, want := range map[string]string{"die": "killed by signal 9", "exit": "exit code 3"} {
		code, text := b.get(http.MethodPost, "/invocations", body)
		if code != http.StatusBadGateway || !strings.Contains(text, want) {
			t.Errorf("%d %s", code, text)
		}
		b.ready()
	}
	// One that is late is no longer waited for.
	if code, text := b.get(http.MethodPost, "/invocations", "sleep"); code != http.StatusGatewayTimeout || !strings.Contains(text, "SAGEMAKER_MODEL_SERVER_TIMEOUT") {
		t.Errorf("%d %s", code, text)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			code, pid := b.get(http.MethodPost, "/invocations", "x")
			if code != 200 || seen[pid] {
				t.Errorf("%d from %s, one of the first", code, pid)
			}
		})
	}
	wg.Wait()
	for _, want := range []string{`"POST /invocations HTTP/1.1" 200 `, `"POST /invocations HTTP/1.1" 502 `, `"POST /invocations HTTP/1.1" 504 `} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("the log does not say %s", want)
		}
	}
	if strings.Contains(b.log.String(), "/ping") {
		t.Error("pings are in the log")
	}
}

// Scripts of SageMaker's examples import sagemaker-containers, and log.
func TestStandIn(t *testing.T) {
	t.Parallel()
	b := start(t, ScikitLearn, `
import logging
from sagemaker_containers.beta.framework import content_types, encoders, env, modules, transformer, worker
def model_fn(model_dir):
    logging.getLogger(__name__).info("loading")
    return None
def input_fn(body, content_type):
    return body
def predict_fn(data, model):
    return data
def output_fn(prediction, accept):
    if accept == content_types.CSV:
        return encoders.encode(prediction, "image/png")
    return worker.Response(prediction, mimetype="text/x", status=201)
`, "SAGEMAKER_MODEL_SERVER_WORKERS=1")
	if code, body := b.get(http.MethodPost, "/invocations", "x"); code != http.StatusCreated || body != "x" {
		t.Errorf("%d %s", code, body)
	}
	if code, body := b.ask(http.MethodPost, "/invocations", "text/plain", "text/csv", "x"); code != http.StatusNotAcceptable || !strings.Contains(body, `"error": "UnsupportedFormatError"`) {
		t.Errorf("%d %s", code, body)
	}
	if !strings.Contains(b.log.String(), "INFO     loading") {
		t.Errorf("the log: %s", b.log)
	}
}

// A model of Hugging Face needs no script: its own settings name the task. The
// package that would run it is played here.
func TestHuggingFace(t *testing.T) {
	t.Parallel()
	packages := t.TempDir()
	if err := os.WriteFile(filepath.Join(packages, "transformers.py"), []byte(`
def pipeline(task, model):
    def run(*args, **options):
        return [{"task": task, "args": list(args), "options": options}]
    return run
`), 0o644); err != nil {
		t.Fatal(err)
	}
	b := startIn(t, HuggingFace, folderOf(t, map[string]string{"config.json": `{"architectures": ["DistilBertForSequenceClassification"]}`}), "PYTHONPATH="+packages, "SAGEMAKER_MODEL_SERVER_WORKERS=1")
	for body, want := range map[string]string{
		`{"inputs": "good", "parameters": {"top_k": 2}}`:   `[{"task": "text-classification", "args": ["good"], "options": {"top_k": 2}}]`,
		`{"inputs": {"question": "who", "context": "me"}}`: `[{"task": "text-classification", "args": [], "options": {"question": "who", "context": "me"}}]`,
		`["a", "b"]`: `[{"task": "text-classification", "args": [["a", "b"]], "options": {}}]`,
	} {
		if code, got := b.ask(http.MethodPost, "/invocations", "application/json", "", body); got != want {
			t.Errorf("%s: %d %s, want %s", body, code, got, want)
		}
	}
	none := startIn(t, HuggingFace, folderOf(t, nil), "PYTHONPATH="+packages, "SAGEMAKER_MODEL_SERVER_WORKERS=1")
	if err := none.end(); err == nil || !strings.Contains(none.log.String(), "set HF_TASK") {
		t.Errorf("%v: %s", err, none.log)
	}
}

// PyTorch's default functions call what there is of it; the packages are played
// here, and a model is what doubles.
func TestPyTorch(t *testing.T) {
	t.Parallel()
	packages := t.TempDir()
	for name, text := range map[string]string{"numpy.py": "array = list\n", "torch.py": `
import contextlib, types
class Tensor(list):
    def to(self, device): return self
    def detach(self): return self
    def cpu(self): return self
    def numpy(self): return self
    def tolist(self): return list(self)
class Module:
    def to(self, device): return self
    def eval(self): self.ready = True
    def __call__(self, data): return Tensor(2 * x for x in data if self.ready)
FloatTensor = from_numpy = Tensor
device = str
no_grad = contextlib.nullcontext
cuda = types.SimpleNamespace(is_available=lambda: False)
def load(path, map_location):
    assert open(path).read() == "weights" and map_location == "cpu"
    return Module()
jit = types.SimpleNamespace(load=load)
`} {
		if err := os.WriteFile(filepath.Join(packages, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := startIn(t, PyTorch, folderOf(t, map[string]string{"model.pth": "weights"}), "PYTHONPATH="+packages, "SAGEMAKER_MODEL_SERVER_WORKERS=1")
	for accept, want := range map[string]struct {
		code int
		body string
	}{"application/json": {200, "[2, 4]"}, "image/png, application/json;q=0.5": {200, "[2, 4]"}, "image/png": {406, "image/png is not supported here"}} {
		if code, got := b.ask(http.MethodPost, "/invocations", "application/json", accept, "[1, 2]"); code != want.code || !strings.HasPrefix(got, want.body) {
			t.Errorf("%s: %d %s", accept, code, got)
		}
	}
	none := startIn(t, PyTorch, folderOf(t, nil), "PYTHONPATH="+packages, "SAGEMAKER_MODEL_SERVER_WORKERS=1")
	if err := none.end(); err == nil || !strings.Contains(none.log.String(), "there is no ") {
		t.Errorf("%v: %s", err, none.log)
	}
}

// What is in flight when the server is asked to end is answered.
func TestEnd(t *testing.T) {
	t.Parallel()
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	b := start(t, "", fmt.Sprintf(`
def model_fn(model_dir):
    return None
def transform_fn(model, body, content_type, accept):
    open(%q, "w").close()
    return open(%q).read(), "text/plain"
`, gate, gate), "SAGEMAKER_MODEL_SERVER_WORKERS=1")
	type answer struct {
		code int
		text string
	}
	got := make(chan answer, 1)
	go func() {
		code, text := b.get(http.MethodPost, "/invocations", "x")
		got <- answer{code, text}
	}()
	if _, err := os.ReadFile(gate); err != nil { // opens once the request is there
		t.Fatal(err)
	}
	b.stop()
	if err := os.WriteFile(gate, []byte("done"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := <-got; a.code != 200 || a.text != "done" {
		t.Errorf("%+v", a)
	}
	if err := b.end(); err != nil {
		t.Error(err)
	}
}

// A model that cannot be loaded ends the server, and the log ends in why.
func TestLoadFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ script, want string }{
		"exception":   {"def model_fn(d):\n    raise KeyError('weights')\n", "KeyError: 'weights'"},
		"no model_fn": {"def predict_fn(data, model):\n    return 1\n", "defines no model_fn"},
		"syntax":      {"def model_fn(d:\n", "SyntaxError"},
		"import":      {"import nowhere\n", "ModuleNotFoundError: No module named 'nowhere'"},
		"both":        {"def model_fn(d): pass\ndef transform_fn(*a): pass\ndef input_fn(*a): pass\n", "goes without input_fn"},
		"exit":        {"import sys\nsys.exit(4)\n", "SystemExit: 4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, "", tt.script, "SAGEMAKER_MODEL_SERVER_WORKERS=2")
			err := b.end()
			if err == nil || !strings.Contains(err.Error(), "could not load the model") {
				t.Errorf("%v", err)
			}
			if !strings.Contains(b.log.String(), "Traceback") || !strings.Contains(b.log.String(), tt.want) {
				t.Errorf("the log: %s", b.log)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	with := folder(t, "")
	for _, tt := range []struct {
		framework, base string
		env             []string
		want            string // program source code, or what the error says
	}{
		{"", with, nil, "inference.py model/code model/code"},
		{ScikitLearn, with, nil, "inference.py model/code "},
		{ScikitLearn, with, []string{"SAGEMAKER_PROGRAM=a.py", "SAGEMAKER_SUBMIT_DIRECTORY=s3://b/k"}, "a.py s3://b/k "},
		{ScikitLearn, t.TempDir(), nil, "must define model_fn"},
		{XGBoost, with, nil, "  "},
		{PyTorch, with, nil, "inference.py model/code model/code"},
		{TensorFlow, t.TempDir(), nil, "  "},
		{XGBoost, with, []string{"SAGEMAKER_PROGRAM=a.py"}, "a.py model/code "},
		{"", with, []string{"SAGEMAKER_MODEL_SERVER_WORKERS=0"}, `SAGEMAKER_MODEL_SERVER_WORKERS is "0"`},
		{"", with, []string{"SAGEMAKER_MODEL_SERVER_TIMEOUT=soon"}, `SAGEMAKER_MODEL_SERVER_TIMEOUT is "soon"`},
	} {
		s, err := newSettings(tt.framework, tt.base, tt.env)
		var got string
		if err != nil {
			got = err.Error()
		} else {
			got = strings.ReplaceAll(strings.Join([]string{s.program, s.source, s.code}, " "), tt.base+"/", "")
		}
		if err == nil && got != tt.want || err != nil && !strings.Contains(got, tt.want) {
			t.Errorf("%s %v: %q, want %q", tt.framework, tt.env, got, tt.want)
		}
	}
	s, err := newSettings("", with, []string{"SM_NUM_CPUS=1"})
	if err != nil || s.workers != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	// What the user says of memory is not mixed with what we say.
	for own, want := range map[string]int{"OTHER=1": 2, "MALLOC_TRIM_THRESHOLD_=1": 1} {
		s, err := newSettings("", with, []string{own})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range s.environ() {
			if strings.HasPrefix(v, "MALLOC_") {
				got = append(got, v)
			}
		}
		if len(got) != want || want == 1 && got[0] != own {
			t.Errorf("%s: %q", own, got)
		}
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	b := start(t, "", echo, "SAGEMAKER_MODEL_SERVER_WORKERS=1")
	big := strings.Repeat("x", mostBytes+1)
	code, text := b.get(http.MethodPost, "/invocations", big)
	var e map[string]string
	if err := json.Unmarshal([]byte(text), &e); err != nil || code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s %v", code, text, err)
	}
	b.ready() // and goes on
}
