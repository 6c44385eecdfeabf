package stage

import (
	"encoding/json"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"clary/internal/client/clienttest"
	"clary/internal/stage/plan"
)

func (b *bench) process(p plan.Processing) plan.Result {
	b.t.Helper()
	if len(p.Hosts) == 0 {
		p.Hosts, p.CurrentHost = []string{"algo-1"}, "algo-1"
	}
	if p.Config == nil {
		p.Config = json.RawMessage("{}")
	}
	p.JobName, p.Region, p.RoleArn = "job", "us-east-1", "arn:aws:iam::123456789012:role/r"
	return Run(b.t.Context(), plan.Plan{Processing: &p}, b.host)
}

func input(name, uri, local string) plan.Input {
	return plan.Input{Channel: plan.Channel{Name: name, S3Uri: uri}, LocalPath: local}
}

func output(name, uri, local string) plan.Output {
	return plan.Output{Name: name, S3Uri: uri, LocalPath: local}
}

// below lists a folder of the task: "name=content" in order.
func (b *bench) below(dir string) string {
	b.t.Helper()
	dir = filepath.Join(b.host.Root, dir)
	var all []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		data, err := os.ReadFile(p)
		all = append(all, rel+"="+string(data))
		return err
	})
	if err != nil {
		b.t.Error(err)
	}
	return strings.Join(all, " ")
}

// stored lists the bucket below a prefix in the same way.
func (b *bench) stored(prefix string) string {
	var all []string
	for _, k := range b.s3.Keys("bucket") {
		if rel, ok := strings.CutPrefix(k, prefix); ok {
			data, _ := b.s3.Object("bucket", k)
			all = append(all, rel+"="+string(data))
		}
	}
	return strings.Join(all, " ")
}

func TestProcessingFromInputToOutput(t *testing.T) {
	t.Parallel()
	b := newBench(t, `cd $ML/processing; python=none; echo "region $AWS_REGION, home $HOME"; cp input/a.csv output/train/copy; mkdir output/train/deep; cp input/code/run.py output/train/deep/; printf '5 rows' > $ML/output/message`)
	b.s3.Set("bucket", "in/a.csv", "1,2")
	b.s3.Set("bucket", "code/run.py", "pass")
	config := `{"ProcessingJobName":"job","RoleArn":"r","Environment":{"a":"<b>"}}`
	res := b.process(plan.Processing{
		Config: json.RawMessage(config),
		// One lies in the other, as the SDK has them.
		Inputs:  []plan.Input{input("input-1", "s3://bucket/in/", "/opt/ml/processing/input"), input("code", "s3://bucket/code/run.py", "/opt/ml/processing/input/code")},
		Outputs: []plan.Output{output("train", "s3://bucket/out/train", "/opt/ml/processing/output/train"), output("none", "s3://bucket/out/none", "/opt/ml/processing/output/none")},
	})
	if want := (plan.Result{ExitMessage: "5 rows"}); res != want {
		t.Fatalf("result %+v, log %s", res, b.log)
	}
	if got := b.stored("out/"); got != "train/copy=1,2 train/deep/run.py=pass" {
		t.Errorf("outputs %s", got)
	}
	if !slices.Equal(b.steps, []string{plan.StepDownloading, plan.StepTraining, plan.StepUploading}) {
		t.Errorf("steps %q", b.steps)
	}
	if !strings.Contains(b.log.String(), "region us-east-1, home /root") {
		t.Errorf("log %s", b.log)
	}
	if got, want := b.below("/opt/ml/config"), `processingjobconfig.json=`+config+` resourceconfig.json={"current_host":"algo-1","hosts":["algo-1"]}`; got != want {
		t.Errorf("config %s", got)
	}
	if info, err := os.Stat(b.ml("processing/output/none")); err != nil || info.Mode().Perm() != dirMode {
		t.Errorf("%v, %v", info, err)
	}
}

func TestProcessingInputs(t *testing.T) {
	t.Parallel()
	objects := map[string]string{"d/1": "1", "d/2": "2", "d/s/3": "3", "m": `[{"prefix":"s3://bucket/d/"},"2","s/3"]`, "gone": `[{"prefix":"s3://bucket/d/"},"22"]`}
	const where = "/opt/ml/processing/in"
	for _, tt := range []struct {
		name string
		in   plan.Input
		host string
		want string // files of the folder
		fail string
	}{
		{name: "prefix", in: input("i", "s3://bucket/d", where), want: "1=1 2=2 s/3=3"},
		{name: "object", in: input("i", "s3://bucket/d/s/3", where), want: "3=3"},
		{name: "elsewhere", in: input("i", "s3://bucket/d/1", "/tmp/data/in"), want: "1=1"},
		{name: "an odd path", in: input("i", "s3://bucket/d/1", "/opt/../opt//ml/x/"), want: "1=1"},
		{name: "manifest", in: plan.Input{Channel: plan.Channel{Name: "i", S3Uri: "s3://bucket/m", S3DataType: "ManifestFile"}, LocalPath: where}, want: "2=2 s/3=3"},
		{name: "shard", in: plan.Input{Channel: plan.Channel{Name: "i", S3Uri: "s3://bucket/d/", Distribution: "ShardedByS3Key"}, LocalPath: where}, host: "algo-2", want: "2=2"},
		{name: "shard of a manifest", in: plan.Input{Channel: plan.Channel{Name: "i", S3Uri: "s3://bucket/m", S3DataType: "ManifestFile", Distribution: "ShardedByS3Key"}, LocalPath: where}, host: "algo-1", want: "2=2"},
		{name: "nothing of a shard", in: plan.Input{Channel: plan.Channel{Name: "i", S3Uri: "s3://bucket/d/1", Distribution: "ShardedByS3Key"}, LocalPath: where}, host: "algo-2", want: ""},
		{
			name: "nothing", in: input("i", "s3://bucket/dd/s", where),
			fail: `No S3 objects found under S3 URL "s3://bucket/dd/s" given in input data source. Please ensure that the bucket exists in the selected region (us-east-1), that objects exist under that S3 prefix, and that the role "arn:aws:iam::123456789012:role/r" has "s3:ListBucket" permissions on bucket "bucket". Did you mean "s3://bucket/d/s"?`,
		},
		{
			name: "a missing object", in: plan.Input{Channel: plan.Channel{Name: "i", S3Uri: "s3://bucket/gone", S3DataType: "ManifestFile"}, LocalPath: where},
			fail: `Data download failed: input "i": the object s3://bucket/d/22 does not exist. Did you mean "s3://bucket/d/2"?`,
		},
		{name: "pipe", in: plan.Input{Channel: plan.Channel{Name: "i", S3Uri: "s3://bucket/d", InputMode: "Pipe"}, LocalPath: where}, fail: `input "i": input mode Pipe is not supported`},
		{name: "a file's place", in: input("i", "s3://bucket/d", "/opt/ml/config/resourceconfig.json"), fail: `input "i": LocalPath /opt/ml/config/resourceconfig.json cannot be made`},
		{name: "the job's own file", in: plan.Input{Channel: plan.Channel{Name: "i", S3Uri: "s3://bucket/processingjobconfig.json"}, LocalPath: "/opt/ml/config"}, fail: "would be the same file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "echo ran")
			for k, v := range objects {
				b.s3.Set("bucket", k, v)
			}
			b.s3.Set("bucket", "processingjobconfig.json", "theirs")
			p := plan.Processing{Inputs: []plan.Input{tt.in}}
			if tt.host != "" {
				p.Hosts, p.CurrentHost = []string{"algo-1", "algo-2"}, tt.host
			}
			res := b.process(p)
			if tt.fail != "" {
				if res.Class != "ClientError" || !strings.Contains(res.Failure, tt.fail) || res.ExitCode != -1 || strings.Contains(b.log.String(), "ran") {
					t.Errorf("result %+v", res)
				}
				return
			}
			if res != (plan.Result{}) {
				t.Fatalf("result %+v", res)
			}
			if got := b.below(tt.in.LocalPath); got != tt.want {
				t.Errorf("files %q, want %q", got, tt.want)
			}
		})
	}
}

func TestProcessingEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, script string
		want         plan.Result
	}{
		{
			"failure", `echo x > $ML/out/x; printf why > $ML/output/message; echo ignored > $ML/output/failure; printf 'Traceback (most recent call last):\n  File "p.py", line 2\nValueError: bad\n'; exit 3`,
			plan.Result{ExitCode: 3, Class: "AlgorithmError", Failure: "Traceback (most recent call last):\n  File \"p.py\", line 2\nValueError: bad", ExitMessage: "why"},
		},
		{"signal", `echo x > $ML/out/x; echo dying; kill -KILL $$`, plan.Result{ExitCode: 137, Signal: "killed", Class: "AlgorithmError", Failure: "dying"}},
		{"message too long", `echo x > $ML/out/x; yes é | tr -d '\n' | head -c 2001 > $ML/output/message`, plan.Result{ExitMessage: strings.Repeat("é", 512)}},
		{"message cut within a letter", `echo x > $ML/out/x; (printf x; yes é | tr -d '\n') | head -c 2001 > $ML/output/message`, plan.Result{ExitMessage: "x" + strings.Repeat("é", 511)}},
		{"message that is no text", `echo x > $ML/out/x; printf 'a\377b' > $ML/output/message`, plan.Result{ExitMessage: "ab"}},
		{"message is a pipe", `echo x > $ML/out/x; mkfifo $ML/output/message`, plan.Result{}},
		{"message is a link out", `echo x > $ML/out/x; ln -s /etc/passwd $ML/output/message`, plan.Result{}},
		{"folder made anew", `rm -rf $ML/out; mkdir $ML/out; echo x > $ML/out/x`, plan.Result{}},
		{"folder moved in", `mkdir $ML/new; echo x > $ML/new/x; rmdir $ML/out; mv $ML/new $ML/out`, plan.Result{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, tt.script)
			res := b.process(plan.Processing{Outputs: []plan.Output{output("o", "s3://bucket/out/", "/opt/ml/out")}})
			if res != tt.want {
				t.Errorf("got %+v, want %+v", res, tt.want)
			}
			if got := b.stored("out/"); got != "x=x\n" {
				t.Errorf("output %q", got)
			}
		})
	}
}

// What a hostile program leaves is never followed out of where it was put.
func TestProcessingHostileOutputs(t *testing.T) {
	t.Parallel()
	b := newBench(t, `cd $ML/out && echo ok > good && ln -s good inside && mkdir d && ln -s ../good d/back && ln -s d dir && ln -s ../config/resourceconfig.json up && ln -s /etc/passwd abs && mkfifo pipe; rmdir $ML/away; ln -s /etc $ML/away`)
	res := b.process(plan.Processing{Outputs: []plan.Output{output("away", "s3://bucket/away", "/opt/ml/away"), output("o", "s3://bucket/out", "/opt/ml/out")}})
	if res.Class != "ClientError" || !strings.Contains(res.Failure, "/opt/ml/away cannot be read") {
		t.Errorf("%+v", res)
	}
	if got := b.stored(""); got != "out/d/back=ok\n out/good=ok\n out/inside=ok\n" {
		t.Errorf("stored %q", got)
	}
	for _, name := range []string{"up", "abs", "pipe", "dir"} {
		if n := strings.Count(b.log.String(), "/opt/ml/out/"+name+" is"); n != 1 {
			t.Errorf("the log names %s %d times: %s", name, n, b.log)
		}
	}
}

// A file in the place of an output's folder may be all that a program made: it
// is not passed over in silence.
func TestProcessingOutputIsNoFolder(t *testing.T) {
	t.Parallel()
	for _, put := range []string{"echo all > $ML/a", "mkfifo $ML/a"} {
		b := newBench(t, `rmdir $ML/a; `+put+`; echo ok > $ML/b/x`)
		res := b.process(plan.Processing{Outputs: []plan.Output{output("a", "s3://bucket/a", "/opt/ml/a"), output("b", "s3://bucket/b", "/opt/ml/b")}})
		if res.Class != "ClientError" || !strings.Contains(res.Failure, "/opt/ml/a is no folder any more") {
			t.Errorf("%s: %+v", put, res)
		}
		if got := b.stored(""); got != "b/x=ok\n" {
			t.Errorf("%s: stored %q", put, got)
		}
	}
}

func TestProcessingContinuous(t *testing.T) {
	t.Parallel()
	b := newBench(t, `cd $ML/out; echo first > a; echo kept > gone; while [ ! -e $ML/go ]; do sleep 0.05; done; rm gone; echo second >> a; echo late > b`)
	var once sync.Once
	b.s3.Fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/gone") { // it rested, and is sent while the program runs
			once.Do(func() {
				if err := os.WriteFile(b.ml("go"), nil, 0o600); err != nil {
					t.Error(err)
				}
			})
		}
		return false
	}
	out := output("o", "s3://bucket/out", "/opt/ml/out")
	out.Continuous = true
	if res := b.process(plan.Processing{Outputs: []plan.Output{out}}); res != (plan.Result{}) {
		t.Fatalf("%+v", res)
	}
	if got := b.stored("out/"); got != "a=first\nsecond\n b=late\n gone=kept\n" {
		t.Errorf("stored %q", got)
	}
	puts := 0
	for _, r := range b.s3.Requests() {
		if r == "PUT /bucket/out/gone" {
			puts++
		}
	}
	if puts != 1 {
		t.Errorf("a file that did not change was sent %d times", puts)
	}
}

// What changes a file's bytes and not its times was sent before, and is sent
// again at the end.
func TestProcessingContinuousSameTimes(t *testing.T) {
	t.Parallel()
	b := newBench(t, `cd $ML/out; for f in back kept; do printf old > $f; touch -d 2020-01-01 $f; done
python3 - <<'END'
import mmap, os, time
f = open("mapped", "w+b")
f.truncate(3)
m = mmap.mmap(f.fileno(), 3)
m[:] = b"old"
while not os.path.exists(os.environ["ML"] + "/go"):
    time.sleep(0.05)
m[:] = b"new"
END
printf new > back; touch -d 2020-01-01 back`)
	var mu sync.Mutex
	sent := map[string]int{}
	b.s3.Fault = func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if sent[path.Base(r.URL.Path)]++; len(sent) == 3 {
			if err := os.WriteFile(b.ml("go"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
		return false
	}
	out := output("o", "s3://bucket/out", "/opt/ml/out")
	out.Continuous = true
	if res := b.process(plan.Processing{Outputs: []plan.Output{out}}); res != (plan.Result{}) {
		t.Fatalf("%+v, log %s", res, b.log)
	}
	if got := b.stored("out/"); got != "back=new kept=old mapped=new" {
		t.Errorf("stored %q", got)
	}
	if want := map[string]int{"back": 2, "kept": 1, "mapped": 2}; !maps.Equal(sent, want) {
		t.Errorf("sent %v", sent)
	}
}

// Each output is tried: what can be kept is kept.
func TestProcessingUnwritableOutput(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, script string
		fault        func(http.ResponseWriter, *http.Request) bool
		want, second string
		class        string
	}{
		{
			name: "no bucket", script: "true", want: `Data upload failed: /opt/ml/a/x: the bucket "bukket" does not exist`, class: "ClientError",
		},
		{
			name: "denied", script: "true", class: "ClientError",
			fault: func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/bukket/") || r.Method != http.MethodPut {
					return false
				}
				clienttest.Fail(w, http.StatusForbidden, "AccessDenied", "User: x is not authorized")
				return true
			},
			want: `Data upload failed:AccessDenied (403): Access Denied. The role "arn:aws:iam::123456789012:role/r" may not write /opt/ml/a/x to s3://bukket/p/x: it needs "s3:PutObject"`,
		},
		{
			name: "a key", script: "true", class: "ClientError",
			fault: func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/bukket/") || r.Method != http.MethodPut {
					return false
				}
				clienttest.Fail(w, http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
				return true
			},
			want: `Data upload failed: /opt/ml/a/x: S3 does not take the key "p/x": Your key is too long`,
		},
		{name: "the program failed too", script: "echo because; false", want: "because", second: "does not exist", class: "AlgorithmError"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, `for d in a b c; do echo $d > $ML/$d/x; done; `+tt.script)
			b.s3.Fault = tt.fault
			res := b.process(plan.Processing{Outputs: []plan.Output{
				output("a", "s3://bukket/p", "/opt/ml/a"), output("b", "s3://bucket/b", "/opt/ml/b"), output("c", "s3://nowhere/c", "/opt/ml/c"),
			}})
			if res.Class != tt.class || !strings.Contains(res.Failure, tt.want) {
				t.Errorf("%+v", res)
			}
			if got := b.stored(""); got != "b/x=b\n" {
				t.Errorf("stored %q", got)
			}
			for _, text := range []string{"clary: Data upload failed", "nowhere", tt.second} {
				if !strings.Contains(b.log.String(), text) {
					t.Errorf("the log does not say %q: %s", text, b.log)
				}
			}
		})
	}
}

// So is each file of one. A bucket that takes none is not asked for ever.
func TestProcessingUnwritableFiles(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refused string
		stored  int
	}{"some": {"/out/a", 100}, "all": {"/out/", 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, `cd $ML/out; for i in $(seq 10 19); do echo > a$i; done; for i in $(seq 100 199); do echo > b$i; done`)
			var refused atomic.Int32
			b.s3.Fault = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, tt.refused) {
					return false
				}
				refused.Add(1)
				clienttest.Fail(w, http.StatusForbidden, "AccessDenied", "User: x is not authorized")
				return true
			}
			res := b.process(plan.Processing{Outputs: []plan.Output{output("o", "s3://bucket/out", "/opt/ml/out")}})
			if res.Class != "ClientError" || !strings.Contains(res.Failure, "may not write /opt/ml/out/a1") {
				t.Errorf("%+v", res)
			}
			if n := len(b.s3.Keys("bucket")); n != tt.stored || refused.Load() > failures+parallel {
				t.Errorf("%d files are stored, %d were refused", n, refused.Load())
			}
		})
	}
}

func TestProcessingStopWhileDownloading(t *testing.T) {
	t.Parallel()
	b := newBench(t, `echo never`)
	b.s3.Set("bucket", "d/a", "1")
	var once sync.Once
	b.s3.Fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/d/a") {
			once.Do(func() { close(b.stop) })
			<-r.Context().Done()
			return true
		}
		return false
	}
	res := b.process(plan.Processing{
		Inputs:  []plan.Input{input("i", "s3://bucket/d", "/opt/ml/in")},
		Outputs: []plan.Output{output("o", "s3://bucket/out", "/opt/ml/in")},
	})
	if want := (plan.Result{ExitCode: -1}); res != want || strings.Contains(b.log.String(), "never") || b.stored("out/") != "" {
		t.Errorf("%+v %s", res, b.log)
	}
}

// Stop ends the program, by force if it must; what there is goes to S3, and a
// Stop that comes while it does changes nothing.
func TestProcessingStop(t *testing.T) {
	t.Parallel()
	t.Run("runs", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, `trap '' TERM; printf half > $ML/out/x; printf m > $ML/output/message; echo ready; while :; do sleep 0.05; done`)
		b.host.Grace = 300 * time.Millisecond
		go func() { b.waitFor("ready"); close(b.stop) }()
		res := b.process(plan.Processing{Outputs: []plan.Output{output("o", "s3://bucket/out", "/opt/ml/out")}})
		if want := (plan.Result{ExitCode: 137, Signal: "killed", ExitMessage: "m"}); res != want || b.stored("out/") != "x=half" {
			t.Errorf("%+v, stored %q", res, b.stored("out/"))
		}
	})
	t.Run("uploads", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, `head -c 20000000 /dev/zero > $ML/out/big; for i in 1 2 3; do printf $i > $ML/out/$i; done`)
		var once sync.Once
		b.s3.Fault = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				once.Do(func() { close(b.stop) })
			}
			return false
		}
		res := b.process(plan.Processing{Outputs: []plan.Output{output("o", "s3://bucket/out", "/opt/ml/out")}})
		if big, _ := b.s3.Object("bucket", "out/big"); res != (plan.Result{}) || len(big) != 20_000_000 || b.s3.Uploads() != 0 || len(b.s3.Keys("bucket")) != 4 {
			t.Errorf("%+v, stored %q", res, b.s3.Keys("bucket"))
		}
	})
}

// A job without a way to S3 and without need of one runs.
func TestProcessingIsolated(t *testing.T) {
	t.Parallel()
	b := newBench(t, `echo ran`)
	b.host.API = nil
	if res := b.process(plan.Processing{NetworkIsolation: true}); res != (plan.Result{}) {
		t.Errorf("%+v", res)
	}
	if _, err := os.Stat(filepath.Join(b.host.Root, "root/.config")); !os.IsNotExist(err) {
		t.Errorf("the SDK is set up: %v", err)
	}
	if res := b.process(plan.Processing{Outputs: []plan.Output{output("o", "s3://bucket/out", "/opt/ml/out")}}); !strings.Contains(res.Failure, `output "o": this task has no way to S3`) {
		t.Errorf("%+v", res)
	}
}
