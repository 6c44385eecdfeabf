package stage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"clary/internal/client"
	"clary/internal/client/clienttest"
	"clary/internal/stage/plan"
)

// bench is a host in a temporary root with an S3 of its own.
type bench struct {
	t    *testing.T
	s3   *clienttest.S3
	host Host
	stop chan struct{}
	log  *lockedBuffer

	mu    sync.Mutex
	steps []string
}

type lockedBuffer struct {
	mu    sync.Mutex
	b     bytes.Buffer
	wrote chan struct{}
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// waitFor waits until the log holds text.
func (b *bench) waitFor(text string) {
	b.t.Helper()
	deadline := time.After(2 * time.Minute)
	for !strings.Contains(b.log.String(), text) {
		select {
		case <-b.log.wrote:
		case <-deadline:
			b.t.Fatalf("the log never said %q: %s", text, b.log)
		}
	}
}

type execProcess struct{ cmd *exec.Cmd }

func (p execProcess) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

func (p execProcess) Wait() (int, string, error) {
	err := p.cmd.Wait()
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		ws := ee.Sys().(syscall.WaitStatus)
		if ws.Signaled() {
			return 128 + int(ws.Signal()), ws.Signal().String(), nil
		}
		return ws.ExitStatus(), "", nil
	}
	return 0, "", err
}

func newBench(t *testing.T, script string) *bench {
	t.Helper()
	b := &bench{t: t, s3: clienttest.New("bucket"), stop: make(chan struct{}), log: &lockedBuffer{wrote: make(chan struct{}, 1)}}
	sock := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: b.s3}}
	srv.Start()
	api := client.New(client.Config{
		Endpoint: "http://clary", Region: "us-east-1",
		Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", sock)
		},
		Credentials: func(context.Context) (client.Credentials, error) {
			return client.Credentials{AccessKeyID: "A", SecretAccessKey: "s"}, nil
		},
	})
	t.Cleanup(func() { api.Close(); srv.Close() })
	root := t.TempDir()
	b.host = Host{
		Launch: func(p Program) (Process, error) {
			cmd := exec.Command(p.Args[0], p.Args[1:]...)
			cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = p.Env, p.Dir, p.Output, p.Output
			return execProcess{cmd}, cmd.Start()
		},
		Report: func(s string) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.steps = append(b.steps, s)
			return nil
		},
		API: api, Stop: b.stop, Grace: 20 * time.Second,
		Env:     map[string]string{"PATH": os.Getenv("PATH"), "ML": root + "/opt/ml"},
		Program: Program{Args: []string{"/bin/sh", "-c", script}},
		Root:    root, Stderr: b.log,
	}
	return b
}

func (b *bench) run(p plan.Training) plan.Result {
	b.t.Helper()
	if p.JobName == "" {
		p.JobName = "job"
	}
	if p.OutputS3Uri == "" {
		p.OutputS3Uri = "s3://bucket/out/job/output"
	}
	if len(p.Hosts) == 0 {
		p.Hosts, p.CurrentHost = []string{"algo-1"}, "algo-1"
	}
	p.Region, p.RoleArn = "us-east-1", "arn:aws:iam::123456789012:role/r"
	return Run(b.t.Context(), plan.Plan{Training: &p}, b.host)
}

func (b *bench) ml(p string) string { return filepath.Join(b.host.Root, "opt/ml", p) }

func (b *bench) read(p string) string {
	b.t.Helper()
	data, err := os.ReadFile(b.ml(p))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}

// untar reads an archive of the bucket: name → content, or "-> target".
func (b *bench) untar(key string) map[string]string {
	b.t.Helper()
	data, ok := b.s3.Object("bucket", key)
	if !ok {
		b.t.Fatalf("no %s among %q", key, b.s3.Keys("bucket"))
	}
	gz, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[string]string{}
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			b.t.Fatal(err)
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			b.t.Fatal(err)
		}
		out[h.Name] = string(body)
		if h.Linkname != "" {
			out[h.Name] = "-> " + h.Linkname
		}
	}
}

func TestTrainingFromInputToModel(t *testing.T) {
	t.Parallel()
	b := newBench(t, `echo "lr is $SECRET, job is $TRAINING_JOB_NAME"; cp -r $ML/input/data/training $ML/model/copy; mkdir -p $ML/model/sub/empty; echo extra > $ML/output/data/extra.txt`)
	b.host.Env["SECRET"] = "0.1"
	b.s3.Set("bucket", "in/train/a.csv", "1,2")
	b.s3.Set("bucket", "in/train/deep/b.csv", "3,4")
	b.s3.Set("bucket", "in/train/", "")
	b.s3.Set("bucket", "in/training/other.csv", "5")
	res := b.run(plan.Training{
		JobName: "my-job", InstanceType: "ml.m5.large",
		HyperParameters: map[string]string{"lr": `"0.1"`},
		Channels:        []plan.Channel{{Name: "training", S3Uri: "s3://bucket/in/train/", ContentType: "text/csv"}},
		MetricRegexes:   []plan.Metric{{Name: "loss", Regex: "loss=(.*)"}},
	})
	if want := (plan.Result{Artifact: "s3://bucket/out/job/output/model.tar.gz"}); res != want {
		t.Fatalf("result %+v, log %s", res, b.log)
	}
	if got := b.untar("out/job/output/model.tar.gz"); !reflect.DeepEqual(got, map[string]string{
		"copy/": "", "copy/a.csv": "1,2", "copy/deep/": "", "copy/deep/b.csv": "3,4", "sub/": "", "sub/empty/": "",
	}) {
		t.Errorf("model holds %q", got)
	}
	if got := b.untar("out/job/output/output.tar.gz"); !reflect.DeepEqual(got, map[string]string{"extra.txt": "extra\n"}) {
		t.Errorf("output holds %q", got)
	}
	if !slices.Equal(b.steps, []string{plan.StepDownloading, plan.StepTraining, plan.StepUploading}) {
		t.Errorf("steps %q", b.steps)
	}
	if !strings.Contains(b.log.String(), "lr is 0.1, job is my-job") {
		t.Errorf("log %s", b.log)
	}
	var rc struct {
		CurrentHost string   `json:"current_host"`
		Hosts       []string `json:"hosts"`
		Nic         string   `json:"network_interface_name"`
		Type        string   `json:"current_instance_type"`
	}
	if err := json.Unmarshal([]byte(b.read("input/config/resourceconfig.json")), &rc); err != nil || rc.CurrentHost != "algo-1" || rc.Nic != "eth0" || rc.Type != "ml.m5.large" {
		t.Errorf("resourceconfig %+v, %v", rc, err)
	}
	if got := b.read("input/config/hyperparameters.json"); got != `{"lr":"\"0.1\""}` {
		t.Errorf("hyperparameters %s", got)
	}
	if got := b.read("input/config/inputdataconfig.json"); got != `{"training":{"TrainingInputMode":"File","ContentType":"text/csv","S3DistributionType":"FullyReplicated","RecordWrapperType":"None"}}` {
		t.Errorf("inputdataconfig %s", got)
	}
	if got := b.read("input/data/training-manifest"); got != `[{"prefix":"s3://bucket/"},"in/train/a.csv","in/train/deep/b.csv"]` {
		t.Errorf("manifest %s", got)
	}
	names, err := filepath.Glob(b.ml("input/config/*.json"))
	if err != nil || len(names) != 10 {
		t.Errorf("config files %q, %v", names, err)
	}
}

func TestChannels(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		objects map[string]string
		ch      plan.Channel
		host    string
		want    string // files of the channel, "name=content" in order
		fail    string // part of the failure
	}{
		{
			name: "prefix without slash is a folder", objects: map[string]string{"d/train/a": "1", "d/train/s/b": "2"},
			ch: plan.Channel{S3Uri: "s3://bucket/d/train"}, want: "a=1 s/b=2",
		},
		{
			name: "one object", objects: map[string]string{"d/train.csv": "1"},
			ch: plan.Channel{S3Uri: "s3://bucket/d/train.csv"}, want: "train.csv=1",
		},
		{
			name: "part of a name", objects: map[string]string{"d/train_1": "1", "d/train_2": "2", "d/test": "3"},
			ch: plan.Channel{S3Uri: "s3://bucket/d/train_"}, want: "train_1=1 train_2=2",
		},
		{
			name: "folder and its longer sibling", objects: map[string]string{"d/train/a": "1", "d/training/b": "2"},
			ch: plan.Channel{S3Uri: "s3://bucket/d/train"}, want: "a=1 training/b=2",
		},
		{
			name: "whole bucket", objects: map[string]string{"a": "1", "b/c": "2"},
			ch: plan.Channel{S3Uri: "s3://bucket"}, want: "a=1 b/c=2",
		},
		{
			name: "folder markers", objects: map[string]string{"d/": "", "d/x/": "", "d/x/a": "1"},
			ch: plan.Channel{S3Uri: "s3://bucket/d/"}, want: "x/a=1",
		},
		{
			name: "only a folder marker", objects: map[string]string{"d/": ""},
			ch: plan.Channel{S3Uri: "s3://bucket/d/"}, fail: `No S3 objects found under S3 URL "s3://bucket/d/"`,
		},
		{
			name: "marker with data", objects: map[string]string{"d/x/": "data", "d/y": "1"},
			ch: plan.Channel{S3Uri: "s3://bucket/d/"}, fail: "ends with a slash and it holds data",
		},
		{
			name: "collision of file and folder", objects: map[string]string{"d/x": "1", "d/x/y": "2"},
			ch: plan.Channel{S3Uri: "s3://bucket/d/"}, fail: "would be the same file",
		},
		{
			name: "collision by empty segment", objects: map[string]string{"d/x//y": "1", "d/x/y": "2"},
			ch: plan.Channel{S3Uri: "s3://bucket/d/"}, fail: "would be the same file",
		},
		{
			name: "escape", objects: map[string]string{"d/../../../etc/passwd": "root"},
			ch: plan.Channel{S3Uri: "s3://bucket/d/"}, fail: "would leave its folder",
		},
		{
			name: "long segment", objects: map[string]string{"d/" + strings.Repeat("x", 256): "1"},
			ch: plan.Channel{S3Uri: "s3://bucket/d/"}, fail: "more than 255 bytes",
		},
		{
			name: "odd names", objects: map[string]string{"d/a b+c%20.txt": "1", "d/é": "2"},
			ch: plan.Channel{S3Uri: "s3://bucket/d/"}, want: "a b+c%20.txt=1 é=2",
		},
		{
			name: "nothing", objects: map[string]string{"data/train/a": "1"},
			ch:   plan.Channel{S3Uri: "s3://bucket/data/trian/"},
			fail: `No S3 objects found under S3 URL "s3://bucket/data/trian/" given in input data source. Please ensure that the bucket exists in the selected region (us-east-1), that objects exist under that S3 prefix, and that the role "arn:aws:iam::123456789012:role/r" has "s3:ListBucket" permissions on bucket "bucket". Did you mean "s3://bucket/data/train/"?`,
		},
		{name: "no bucket", ch: plan.Channel{S3Uri: "s3://nobucket/x"}, fail: `The bucket "nobucket" does not exist.`},
		{name: "not S3", ch: plan.Channel{S3Uri: "https://x/y"}, fail: "is not an S3 URI"},
		{
			name: "manifest", objects: map[string]string{"m": `[{"prefix":"s3://bucket/p/"},"a","q/b"]`, "p/a": "1", "p/q/b": "2", "p/c": "3"},
			ch: plan.Channel{S3Uri: "s3://bucket/m", S3DataType: "ManifestFile"}, want: "a=1 q/b=2",
		},
		{
			name: "manifest with a missing object", objects: map[string]string{"m": `[{"prefix":"s3://bucket/p/"},"train.csv"]`, "p/trian.csv": "1"},
			ch: plan.Channel{S3Uri: "s3://bucket/m", S3DataType: "ManifestFile"}, fail: `s3://bucket/p/train.csv does not exist. Did you mean "s3://bucket/p/trian.csv"?`,
		},
		{
			name: "manifest that escapes", objects: map[string]string{"m": `[{"prefix":"s3://bucket/p/"},"../x"]`, "p/../x": "1"},
			ch: plan.Channel{S3Uri: "s3://bucket/m", S3DataType: "ManifestFile"}, fail: "would leave",
		},
		{
			name: "bad manifest", objects: map[string]string{"m": `{"prefix":"x"}`},
			ch: plan.Channel{S3Uri: "s3://bucket/m", S3DataType: "ManifestFile"}, fail: "it does not start with [",
		},
		{
			name: "manifest cut short", objects: map[string]string{"m": `[{"prefix":"s3://bucket/p/"},"a"`, "p/a": "1"},
			ch: plan.Channel{S3Uri: "s3://bucket/m", S3DataType: "ManifestFile"}, fail: "does not end with ]",
		},
		{
			name: "augmented", objects: map[string]string{"m.json": `{"img-ref":"s3://bucket/i/1.png","class":3}` + "\n" + `{"img-ref":"s3://bucket/i/2.png","class":4}`, "i/1.png": "1", "i/2.png": "2"},
			ch:   plan.Channel{S3Uri: "s3://bucket/m.json", S3DataType: "AugmentedManifestFile", AttributeNames: []string{"img-ref", "class"}},
			want: `i/1.png=1 i/2.png=2 m.json={"img-ref":"s3://bucket/i/1.png","class":3}` + "\n" + `{"img-ref":"s3://bucket/i/2.png","class":4}`,
		},
		{
			name: "shards of host 1", objects: map[string]string{"d/1": "1", "d/2": "2", "d/3": "3"}, host: "algo-1",
			ch: plan.Channel{S3Uri: "s3://bucket/d/", Distribution: "ShardedByS3Key"}, want: "1=1 3=3",
		},
		{
			name: "shards of host 2", objects: map[string]string{"d/1": "1", "d/2": "2", "d/3": "3"}, host: "algo-2",
			ch: plan.Channel{S3Uri: "s3://bucket/d/", Distribution: "ShardedByS3Key"}, want: "2=2",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "true")
			b.s3.PageSize = 2
			for k, v := range tt.objects {
				b.s3.Set("bucket", k, v)
			}
			tt.ch.Name = "c"
			p := plan.Training{Channels: []plan.Channel{tt.ch}}
			if tt.host != "" {
				p.Hosts, p.CurrentHost = []string{"algo-1", "algo-2"}, tt.host
			}
			res := b.run(p)
			if tt.fail != "" {
				if res.Class != "ClientError" || !strings.Contains(res.Failure, tt.fail) || res.ExitCode != -1 {
					t.Errorf("result %+v", res)
				}
				return
			}
			if res.Failure != "" {
				t.Fatalf("result %+v", res)
			}
			var got []string
			err := filepath.WalkDir(b.ml("input/data/c"), func(p string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				rel, _ := filepath.Rel(b.ml("input/data/c"), p)
				data, err := os.ReadFile(p)
				got = append(got, rel+"="+string(data))
				return err
			})
			if s := strings.Join(got, " "); err != nil || s != tt.want {
				t.Errorf("files %q, want %q, %v", s, tt.want, err)
			}
		})
	}
}

func TestManyObjects(t *testing.T) {
	t.Parallel()
	b := newBench(t, `ls $ML/input/data/c | wc -l`)
	for i := range 300 {
		b.s3.Set("bucket", fmt.Sprintf("d/%03d", i), strings.Repeat("x", i))
	}
	if res := b.run(plan.Training{Channels: []plan.Channel{{Name: "c", S3Uri: "s3://bucket/d"}}}); res.Failure != "" || !strings.Contains(b.log.String(), "300") {
		t.Errorf("%+v %s", res, b.log)
	}
}

func TestDenied(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ method, action string }{
		{http.MethodGet, "s3:ListBucket"}, {http.MethodPut, "s3:PutObject"}, {"object", "s3:GetObject"},
	} {
		b := newBench(t, "echo model > $ML/model/m")
		b.s3.Set("bucket", "d/a", "1")
		b.s3.Fault = func(w http.ResponseWriter, r *http.Request) bool {
			object := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/d/")
			if r.Method != tt.method && (!object || tt.method != "object") {
				return false
			}
			clienttest.Fail(w, http.StatusForbidden, "AccessDenied", "User: x is not authorized")
			return true
		}
		res := b.run(plan.Training{Channels: []plan.Channel{{Name: "c", S3Uri: "s3://bucket/d/"}}})
		if res.Class != "ClientError" || !strings.Contains(res.Failure, tt.action) || !strings.Contains(res.Failure, "role/r") {
			t.Errorf("%s: %+v", tt.action, res)
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, script string
		want         plan.Result
	}{
		{
			"failure file", `echo noise; printf 'my reason\nsecond line\n' > $ML/output/failure; exit 3`,
			plan.Result{ExitCode: 3, Class: "AlgorithmError", Failure: "my reason\nsecond line"},
		},
		{
			"failure file and success", `echo ignored > $ML/output/failure`,
			plan.Result{Artifact: "s3://bucket/out/job/output/model.tar.gz"},
		},
		{
			"traceback", `printf 'epoch 1\nTraceback (most recent call last):\n  File "t.py", line 2, in <module>\n    f()\nValueError: bad\n' >&2; exit 1`,
			plan.Result{ExitCode: 1, Class: "AlgorithmError", Failure: "Traceback (most recent call last):\n  File \"t.py\", line 2, in <module>\n    f()\nValueError: bad"},
		},
		{
			"failure file that names no cause", `printf 'Traceback (most recent call last):\nFile "t.py", line 2\nValueError: bad\n'; echo 'the script failed' > $ML/output/failure; exit 1`,
			plan.Result{ExitCode: 1, Class: "AlgorithmError", Failure: "the script failed\nTraceback (most recent call last):\nFile \"t.py\", line 2\nValueError: bad"},
		},
		{
			"failure file that names the cause", `printf 'Traceback (most recent call last):\n  File "t.py", line 2\nValueError: bad\n'; echo 'failed by ValueError: bad' > $ML/output/failure; exit 1`,
			plan.Result{ExitCode: 1, Class: "AlgorithmError", Failure: "failed by ValueError: bad"},
		},
		{"last lines", `echo one; echo two; exit 7`, plan.Result{ExitCode: 7, Class: "AlgorithmError", Failure: "one\ntwo"}},
		{"silent", `exit 2`, plan.Result{ExitCode: 2, Class: "AlgorithmError", Failure: "the program printed nothing"}},
		{"signal", `echo dying; kill -SEGV $$`, plan.Result{ExitCode: 139, Signal: "segmentation fault", Class: "AlgorithmError", Failure: "dying"}},
		{"failure is a pipe", `rm -f $ML/output/failure; mkfifo $ML/output/failure; echo why; exit 1`, plan.Result{ExitCode: 1, Class: "AlgorithmError", Failure: "why"}},
		{"failure is a link out", `ln -s /etc/passwd $ML/output/failure; echo why; exit 1`, plan.Result{ExitCode: 1, Class: "AlgorithmError", Failure: "why"}},
		{
			"model kept", `echo m > $ML/model/m; echo why; exit 1`,
			plan.Result{ExitCode: 1, Class: "AlgorithmError", Failure: "why", Artifact: "s3://bucket/out/job/output/model.tar.gz"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, tt.script)
			if res := b.run(plan.Training{}); res != tt.want {
				t.Errorf("got %+v, want %+v", res, tt.want)
			}
		})
	}
}

func TestNoSuchProgram(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.host.Program.Args = []string{"/no/such/program"}
	if res := b.run(plan.Training{}); res.ExitCode != -1 || res.Class != "ClientError" || !strings.Contains(res.Failure, `"/no/such/program"`) {
		t.Errorf("%+v", res)
	}
}

// What a hostile program leaves behind is never followed out of /opt/ml.
func TestHostileOutputs(t *testing.T) {
	t.Parallel()
	b := newBench(t, `cd $ML/model && echo ok > good && ln -s good inside && ln -s ../input/config/resourceconfig.json up && ln -s /etc/passwd abs && mkfifo pipe && mkdir d && ln -s ../good d/back`)
	res := b.run(plan.Training{})
	if res.Failure != "" {
		t.Fatalf("%+v", res)
	}
	want := map[string]string{"good": "ok\n", "inside": "-> good", "d/": "", "d/back": "-> ../good"}
	if got := b.untar("out/job/output/model.tar.gz"); !reflect.DeepEqual(got, want) {
		t.Errorf("model holds %q", got)
	}
	for _, name := range []string{"up", "abs", "pipe"} {
		if !strings.Contains(b.log.String(), "/opt/ml/model/"+name) {
			t.Errorf("the log does not name %s: %s", name, b.log)
		}
	}
}

func TestModelFolderReplaced(t *testing.T) {
	t.Parallel()
	for _, script := range []string{
		`rmdir $ML/model; ln -s /etc $ML/model`, `rmdir $ML/model`, `rmdir $ML/model; mkfifo $ML/model`, `rmdir $ML/model; echo x > $ML/model`,
	} {
		b := newBench(t, script)
		b.run(plan.Training{})
		if _, ok := b.s3.Object("bucket", "out/job/output/model.tar.gz"); ok {
			if got := b.untar("out/job/output/model.tar.gz"); len(got) != 0 {
				t.Errorf("%s: uploaded %d entries", script, len(got))
			}
		}
	}
}

func TestPlainUpload(t *testing.T) {
	t.Parallel()
	b := newBench(t, `mkdir $ML/model/d; echo 1 > $ML/model/d/a; ln -s d/a $ML/model/b; ln -s /etc/passwd $ML/model/c`)
	res := b.run(plan.Training{Compression: "NONE"})
	if res.Artifact != "s3://bucket/out/job/output/model/" {
		t.Errorf("%+v", res)
	}
	if got := b.s3.Keys("bucket"); !slices.Equal(got, []string{"out/job/output/model/b", "out/job/output/model/d/a"}) {
		t.Errorf("keys %q", got)
	}
}

func TestStopLetsTheProgramSave(t *testing.T) {
	t.Parallel()
	b := newBench(t, `trap 'echo saved > $ML/model/m; exit 0' TERM; echo ready; while :; do sleep 0.05; done`)
	go func() { b.waitFor("ready"); close(b.stop) }()
	res := b.run(plan.Training{})
	if res.Failure != "" || res.Artifact == "" {
		t.Errorf("%+v", res)
	}
	if got := b.untar("out/job/output/model.tar.gz"); got["m"] != "saved\n" {
		t.Errorf("model %q", got)
	}
}

func TestStopKillsAfterTheGrace(t *testing.T) {
	t.Parallel()
	b := newBench(t, `trap '' TERM; echo kept > $ML/model/m; echo ready; while :; do sleep 0.05; done`)
	b.host.Grace = 300 * time.Millisecond
	go func() { b.waitFor("ready"); close(b.stop) }()
	res := b.run(plan.Training{})
	if res.Signal != "killed" || res.Failure != "" || res.Artifact == "" {
		t.Errorf("%+v", res)
	}
}

func TestStopWhileDownloading(t *testing.T) {
	t.Parallel()
	b := newBench(t, `echo never`)
	b.s3.Set("bucket", "d/a", "1")
	b.s3.Fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/d/a") {
			close(b.stop)
			<-r.Context().Done()
			return true
		}
		return false
	}
	res := b.run(plan.Training{Channels: []plan.Channel{{Name: "c", S3Uri: "s3://bucket/d/"}}})
	if want := (plan.Result{ExitCode: -1}); res != want || strings.Contains(b.log.String(), "never") {
		t.Errorf("%+v %s", res, b.log)
	}
}

// A process that the program leaves behind holds its output open; the job
// ends all the same.
func TestLeftoverProcess(t *testing.T) {
	t.Parallel()
	b := newBench(t, `sleep 60 & echo $! > $ML/pid; echo done`)
	t.Cleanup(func() {
		var pid int
		if _, err := fmt.Sscan(b.read("pid"), &pid); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	start := time.Now()
	if res := b.run(plan.Training{}); res.Failure != "" {
		t.Errorf("%+v", res)
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %s", d)
	}
}

func TestServerAwayDuringUpload(t *testing.T) {
	t.Parallel()
	b := newBench(t, `echo m > $ML/model/m`)
	n := 0
	var mu sync.Mutex
	b.s3.Fault = func(http.ResponseWriter, *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if n++; n < 5 {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	if res := b.run(plan.Training{}); res.Artifact == "" || res.Failure != "" {
		t.Errorf("%+v", res)
	}
}

func TestCheckpoints(t *testing.T) {
	t.Parallel()
	b := newBench(t, `cat $ML/checkpoints/old; echo new > $ML/checkpoints/new; mkdir -p $ML/checkpoints/d; echo deep > $ML/checkpoints/d/x; ln -s /etc/passwd $ML/checkpoints/l`)
	b.s3.Set("bucket", "cp/old", "earlier")
	res := b.run(plan.Training{Checkpoint: &plan.Checkpoint{S3Uri: "s3://bucket/cp"}})
	if res.Failure != "" || !strings.Contains(b.log.String(), "earlier") {
		t.Errorf("%+v %s", res, b.log)
	}
	if got := b.s3.Keys("bucket"); !slices.Equal(got, []string{"cp/d/x", "cp/new", "cp/old", "out/job/output/model.tar.gz"}) {
		t.Errorf("keys %q", got)
	}
	puts := 0
	for _, r := range b.s3.Requests() {
		if r == "PUT /bucket/cp/old" {
			puts++
		}
	}
	if puts != 0 {
		t.Errorf("an unchanged checkpoint was sent %d times", puts)
	}
}

func TestEmptyPlan(t *testing.T) {
	t.Parallel()
	b := newBench(t, "echo hello; exit 4")
	res := Run(t.Context(), plan.Plan{}, b.host)
	if res.ExitCode != 4 || !strings.Contains(b.log.String(), "hello") {
		t.Errorf("%+v", res)
	}
	if _, err := os.Stat(b.ml("")); !os.IsNotExist(err) {
		t.Errorf("/opt/ml exists: %v", err)
	}
}

func FuzzLocalName(f *testing.F) {
	for _, s := range []string{"a/b", "../x", "a//b", "/", "a/./b", "\x00", "...", "a\\..\\b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, err := localName(item{name: name})
		if err == nil && !filepath.IsLocal(got) {
			t.Errorf("%q became %q", name, got)
		}
	})
}

func TestStopWhileCheckpointsAreRestored(t *testing.T) {
	t.Parallel()
	b := newBench(t, `echo never`)
	b.s3.Set("bucket", "cp/a", "1")
	b.s3.Fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/cp/a") {
			close(b.stop)
			<-r.Context().Done()
			return true
		}
		return false
	}
	res := b.run(plan.Training{Checkpoint: &plan.Checkpoint{S3Uri: "s3://bucket/cp/"}})
	if want := (plan.Result{ExitCode: -1}); res != want || strings.Contains(b.log.String(), "never") {
		t.Errorf("%+v %s", res, b.log)
	}
}

// A home that cannot be written is the user's own idea and stops no job.
func TestUnusableHome(t *testing.T) {
	t.Parallel()
	b := newBench(t, `echo ran`)
	b.host.Env["HOME"] = "/opt/ml/home/file/x"
	if err := os.MkdirAll(b.ml("home"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.ml("home/file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if res := b.run(plan.Training{}); res.Failure != "" || !strings.Contains(b.log.String(), "ran") {
		t.Errorf("%+v %s", res, b.log)
	}
}
