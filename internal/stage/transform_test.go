package stage

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/api"
	"clary/internal/client/clienttest"
	"clary/internal/stage/agent"
	"clary/internal/stage/plan"
)

// modelServer plays what a container's program would serve.
type modelServer struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string // "METHOD path body"
}

// serveModel answers invocations. The rest is well, and says nothing of itself.
func serveModel(t *testing.T, answer func(w http.ResponseWriter, body string)) *modelServer {
	t.Helper()
	m := &modelServer{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.asked = append(m.asked, r.Method+" "+r.URL.Path+" "+string(body))
		m.mu.Unlock()
		switch {
		case r.URL.Path == "/invocations":
			answer(w, string(body))
		case r.URL.Path != "/ping":
			answer(w, r.URL.Path)
		}
	}))
	t.Cleanup(m.Close)
	return m
}

func upperModel(w http.ResponseWriter, body string) {
	if strings.HasPrefix(body, "/") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, strings.ToUpper(body))
}

func (m *modelServer) invocations() (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.asked {
		if body, ok := strings.CutPrefix(a, "POST /invocations "); ok {
			out = append(out, body)
		}
	}
	return out
}

// transformBench is a bench whose program serves until it is asked to end.
func transformBench(t *testing.T, servers map[string]*modelServer) *bench {
	t.Helper()
	b := newBench(t, `trap 'echo asked to end; exit 0' TERM; echo serving; while :; do sleep 0.05; done`)
	b.host.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		s, ok := servers[address]
		if !ok {
			return nil, fmt.Errorf("nobody is at %s", address)
		}
		return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
	}
	return b
}

const here = "127.0.0.1:8080"

// transformer is a job's instance with what the test does not say.
func (b *bench) transformer(p plan.Transform) *transforming {
	if p.Input.S3Uri == "" {
		p.Input.S3Uri = "s3://bucket/in/"
	}
	if p.Output.S3OutputPath == "" {
		p.Output.S3OutputPath = "s3://bucket/out"
	}
	if p.JobName == "" {
		p.JobName = "job"
	}
	p.Region, p.RoleArn = "us-east-1", "arn:aws:iam::123456789012:role/r"
	h := b.host
	h.Env = map[string]string{"PATH": h.Env["PATH"]}
	t := newTransform(p, h)
	t.backoff = time.Millisecond
	return t
}

func (b *bench) transform(p plan.Transform) plan.Result {
	b.t.Helper()
	return b.transformer(p).run(b.t.Context())
}

// outputs are the objects below out/.
func (b *bench) outputs() map[string]string {
	out := map[string]string{}
	for _, k := range b.s3.Keys("bucket") {
		if name, ok := strings.CutPrefix(k, "out/"); ok {
			data, _ := b.s3.Object("bucket", k)
			out[name] = string(data)
		}
	}
	return out
}

// dataLog are the lines that belong into the data log, without their times.
func (b *bench) dataLog() (out []string) {
	form := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}:\[sagemaker logs\]: `)
	for l := range strings.Lines(b.log.String()) {
		if line, ok := strings.CutPrefix(strings.TrimSuffix(l, "\n"), plan.DataLog); ok {
			if !form.MatchString(line) {
				b.t.Errorf("%q is not as AWS has it", line)
			}
			out = append(out, form.ReplaceAllString(line, ""))
		} else if strings.Contains(l, plan.DataLog) {
			b.t.Errorf("a line is within another: %q", l)
		}
	}
	return out
}

func TestDataLogMark(t *testing.T) {
	t.Parallel()
	if plan.DataLog != agent.Mark+"data-log"+agent.Mark {
		t.Errorf("%q", plan.DataLog)
	}
}

func TestTransform(t *testing.T) {
	t.Parallel()
	m := serveModel(t, upperModel)
	b := transformBench(t, map[string]*modelServer{here: m})
	for k, v := range map[string]string{"in/a.csv": "one\ntwo\n", "in/sub/b.csv": "three", "in/empty.csv": "", "in/sub/": "", "in/": "", "elsewhere/c.csv": "no"} {
		b.s3.Set("bucket", k, v)
	}
	res := b.transform(plan.Transform{Input: plan.TransformInput{SplitType: "Line", ContentType: "text/csv"}, Output: plan.TransformOutput{AssembleWith: "Line", S3OutputPath: "s3://bucket/out/"}})
	if res != (plan.Result{Served: true}) {
		t.Fatalf("%+v: %s", res, b.log)
	}
	if got, want := fmt.Sprint(b.outputs()), "map[a.csv.out:ONE\nTWO\n empty.csv.out: sub/b.csv.out:THREE\n]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := m.invocations(); len(got) != 2 {
		t.Errorf("it was asked %q", got)
	}
	if got := b.dataLog(); !slices.Equal(got, []string{"MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"}) {
		t.Errorf("%q", got)
	}
	if got := strings.Join(b.steps, " "); got != "Downloading Training" {
		t.Errorf("steps %s", got)
	}
	if !strings.Contains(b.log.String(), "serving\n") || !strings.Contains(b.log.String(), "asked to end\n") {
		t.Errorf("%s", b.log)
	}
}

// Where each result goes, however the input is named.
func TestTransformNames(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		in   plan.TransformInput
		want string
	}{
		"folder":     {plan.TransformInput{S3Uri: "s3://bucket/in/"}, "a.csv b.csv sub/c.csv"},
		"no slash":   {plan.TransformInput{S3Uri: "s3://bucket/in"}, "a.csv b.csv in2.csv sub/c.csv"},
		"one object": {plan.TransformInput{S3Uri: "s3://bucket/in/sub/c.csv"}, "c.csv"},
		"part":       {plan.TransformInput{S3Uri: "s3://bucket/in/a"}, "a.csv"},
		"bucket":     {plan.TransformInput{S3Uri: "s3://bucket"}, "in/a.csv in/b.csv in/sub/c.csv in2.csv manifest"},
		"manifest":   {plan.TransformInput{S3Uri: "s3://bucket/manifest", S3DataType: "ManifestFile"}, "b.csv sub/c.csv"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := transformBench(t, map[string]*modelServer{here: serveModel(t, upperModel)})
			for _, k := range []string{"in/a.csv", "in/b.csv", "in/sub/c.csv", "in2.csv"} {
				b.s3.Set("bucket", k, k)
			}
			b.s3.Set("bucket", "manifest", `[{"prefix":"s3://bucket/in/"},"b.csv","sub/c.csv"]`)
			res := b.transform(plan.Transform{Input: tt.in})
			var got []string
			for k, v := range b.outputs() {
				got = append(got, strings.TrimSuffix(k, ".out"))
				if k != "manifest.out" && !strings.HasSuffix(v, strings.ToUpper(strings.TrimSuffix(k, ".out"))) {
					t.Errorf("%s holds %s", k, v)
				}
			}
			slices.Sort(got)
			if res != (plan.Result{Served: true}) || strings.Join(got, " ") != tt.want {
				t.Errorf("%+v: %s, want %s", res, got, tt.want)
			}
		})
	}
	// Two that would be one are told apart, and the other is done.
	b := transformBench(t, map[string]*modelServer{here: serveModel(t, upperModel)})
	b.s3.Set("bucket", "in/a/a1", "x")
	b.s3.Set("bucket", "in/a1", "y")
	res := b.transform(plan.Transform{Input: plan.TransformInput{S3Uri: "s3://bucket/in/a"}})
	if res.Class != classClient || !strings.Contains(res.Failure, "would have the same output, a1.out: let S3Uri end with a slash (1 of 2 objects failed)") || b.outputs()["a1.out"] != "X" {
		t.Errorf("%+v %v", res, b.outputs())
	}
}

// Outputs that lie among the inputs are none, those of an earlier job neither;
// what only looks like one is.
func TestTransformAmongItsInputs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, out string }{{"s3://bucket/in/", "s3://bucket/in"}, {"s3://bucket/in", "s3://bucket/in"}, {"s3://bucket/in", "s3://bucket/in-scored"}, {"s3://bucket", "s3://bucket/scored"}} {
		m := serveModel(t, upperModel)
		b := transformBench(t, map[string]*modelServer{here: m})
		b.s3.PageSize = 1
		hosts := []string{"algo-1", "algo-2"}
		for i := range 6 {
			b.s3.Set("bucket", fmt.Sprintf("in/%d", i), fmt.Sprint(i))
		}
		b.s3.Set("bucket", "in/x.out", "of nothing")
		for range 2 {
			for _, h := range hosts {
				p := plan.Transform{Hosts: hosts, CurrentHost: h, Input: plan.TransformInput{S3Uri: tt.in}, Output: plan.TransformOutput{S3OutputPath: tt.out}}
				if res := b.transform(p); res != (plan.Result{Served: true}) {
					t.Fatalf("%+v: %+v", tt, res)
				}
			}
		}
		if got := b.s3.Keys("bucket"); len(got) != 14 || len(m.invocations()) != 14 {
			t.Errorf("%+v: %d invocations, %q", tt, len(m.invocations()), got)
		}
	}
}

// Several instances do each object once, also when there are more than nine.
func TestTransformShares(t *testing.T) {
	t.Parallel()
	m := serveModel(t, upperModel)
	b := transformBench(t, map[string]*modelServer{here: m})
	var hosts []string
	for i := range 11 {
		hosts = append(hosts, fmt.Sprintf("algo-%d", i+1))
	}
	for i := range 30 {
		b.s3.Set("bucket", fmt.Sprintf("in/%02d", i), fmt.Sprint("object ", i))
	}
	b.s3.Set("bucket", "in/05/", "")
	b.s3.PageSize = 7
	for i, h := range hosts {
		if res := b.transform(plan.Transform{Hosts: hosts, CurrentHost: h}); res != (plan.Result{Served: true}) {
			t.Fatalf("%+v", res)
		}
		if i == 1 {
			if got := len(b.outputs()); got != 6 || b.outputs()["00.out"] == "" || b.outputs()["01.out"] == "" || b.outputs()["22.out"] == "" {
				t.Errorf("two hosts did %v", b.outputs())
			}
		}
	}
	if got := b.outputs(); len(got) != 30 || got["29.out"] != "OBJECT 29" || len(m.invocations()) != 30 {
		t.Errorf("%d outputs of %d invocations", len(got), len(m.invocations()))
	}
}

// The request's word counts, then the container's, then AWS's.
func TestTransformParameters(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		p    plan.Transform
		says string
		want string
	}{
		"nobody":        {plan.Transform{}, "", "MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"},
		"the container": {plan.Transform{}, `{"MaxConcurrentTransforms":4,"MaxPayloadInMB":2,"BatchStrategy":"SINGLE_RECORD"}`, "MaxConcurrentTransforms=4, MaxPayloadInMB=2, BatchStrategy=SINGLE_RECORD"},
		"the request":   {plan.Transform{MaxConcurrentTransforms: api.Ptr(int64(2)), MaxPayloadInMB: api.Ptr(int64(1)), BatchStrategy: "MultiRecord"}, `{"MaxConcurrentTransforms":4,"MaxPayloadInMB":2,"BatchStrategy":"SINGLE_RECORD"}`, "MaxConcurrentTransforms=2, MaxPayloadInMB=1, BatchStrategy=MULTI_RECORD"},
		"0 asks":        {plan.Transform{MaxConcurrentTransforms: api.Ptr(int64(0)), MaxPayloadInMB: api.Ptr(int64(0)), BatchStrategy: "SingleRecord"}, `{"MaxConcurrentTransforms":4,"MaxPayloadInMB":2}`, "MaxConcurrentTransforms=4, MaxPayloadInMB=0, BatchStrategy=SINGLE_RECORD"},
		"too much":      {plan.Transform{MaxPayloadInMB: api.Ptr(int64(60))}, `{"MaxConcurrentTransforms":4}`, "MaxConcurrentTransforms=1, MaxPayloadInMB=60, BatchStrategy=MULTI_RECORD"},
		"nonsense":      {plan.Transform{}, `<html>`, "MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := transformBench(t, map[string]*modelServer{here: serveModel(t, func(w http.ResponseWriter, body string) {
				if body != "/execution-parameters" || tt.says == "" {
					upperModel(w, body)
					return
				}
				_, _ = io.WriteString(w, tt.says)
			})})
			b.s3.Set("bucket", "in/a", "x")
			res := b.transform(tt.p)
			if got := b.dataLog(); res != (plan.Result{Served: true}) || !slices.Equal(got, []string{tt.want}) {
				t.Errorf("%+v %q", res, got)
			}
			if told := strings.Contains(b.log.String(), "defaults are used instead"); told != (name == "nonsense") {
				t.Errorf("%s", b.log)
			}
		})
	}
}

// An object that fails does not keep others from being done; the job fails with
// AWS's words and the first one's cause.
func TestTransformObjectsFail(t *testing.T) {
	t.Parallel()
	m := serveModel(t, func(w http.ResponseWriter, body string) {
		switch body {
		case "too large\n":
			http.Error(w, "it is too large", http.StatusRequestEntityTooLarge)
		case "crash\n":
			http.Error(w, "Traceback", http.StatusInternalServerError)
		default:
			upperModel(w, body)
		}
	})
	b := transformBench(t, map[string]*modelServer{here: m})
	for k, v := range map[string]string{"a": "fine\n", "b": "too large\n", "c": "crash\n", "d": "fine too\n"} {
		b.s3.Set("bucket", "in/"+k, v)
	}
	b.s3.Set("bucket", "manifest", `[{"prefix":"s3://bucket/in/"},"a","b","nowhere","c","d"]`)
	res := b.transform(plan.Transform{Input: plan.TransformInput{S3Uri: "s3://bucket/manifest", S3DataType: "ManifestFile", SplitType: "Line"}, MaxRetries: 2, MaxConcurrentTransforms: api.Ptr(int64(3))})
	want := plan.Result{ExitCode: -1, Served: true, Class: classClient, Failure: "See job logs for more information. bucket/in/b: the container answered 413: it is too large (3 of 5 objects failed)"}
	if res != want {
		t.Errorf("%+v, want %+v", res, want)
	}
	if got := fmt.Sprint(b.outputs()); got != "map[a.out:FINE\n d.out:FINE TOO\n]" {
		t.Errorf("%s", got)
	}
	log := b.dataLog()
	for _, l := range []string{
		"bucket/in/b: ClientError: 413", "bucket/in/b: ", "bucket/in/b: Message:", "bucket/in/b: it is too large",
		"bucket/in/c: Bad HTTP status received from algorithm: 500", "bucket/in/c: Traceback",
	} {
		if !slices.Contains(log, l) {
			t.Errorf("%q lacks %q", log, l)
		}
	}
	if !strings.Contains(strings.Join(log, "\n"), "bucket/in/nowhere: ClientError: Data download failed") {
		t.Errorf("%q", log)
	}
	if n := len(slices.DeleteFunc(m.invocations(), func(b string) bool { return b != "crash\n" })); n != 3 {
		t.Errorf("the one that crashes was asked %d times", n)
	}
}

func TestTransformFails(t *testing.T) {
	t.Parallel()
	line := plan.TransformInput{SplitType: "Line"}
	for name, tt := range map[string]struct {
		p     plan.Transform
		edit  func(b *bench, tr *transforming)
		class string
		want  string
	}{
		"no objects":  {plan.Transform{Input: plan.TransformInput{S3Uri: "s3://bucket/inn/"}}, nil, classClient, `No S3 objects found under S3 URL "s3://bucket/inn/" given in input data source`},
		"no bucket":   {plan.Transform{Input: plan.TransformInput{S3Uri: "s3://buckte/in/"}}, nil, classClient, `The bucket "buckte" does not exist`},
		"no output":   {plan.Transform{Output: plan.TransformOutput{S3OutputPath: "s3://nowhere/out"}, Input: line}, nil, classClient, `See job logs for more information. bucket/in/a: Data upload failed: the result of s3://bucket/in/a: the bucket "nowhere" does not exist`},
		"bad filter":  {plan.Transform{InputFilter: "$..a"}, nil, classClient, "InputFilter: \"$..a\" is not a JSONPath"},
		"bad format":  {plan.Transform{JoinSource: "Input"}, nil, classClient, "ContentType is \"\""},
		"no model":    {plan.Transform{Models: []plan.Model{{Name: "ModelDataUrl", S3Uri: "s3://bucket/no.tar.gz", Archive: true, LocalPath: model}}}, nil, classClient, "Failed to download model data from URL"},
		"never ready": {plan.Transform{Next: []string{"algo-1-container-2"}}, func(_ *bench, tr *transforming) { tr.startup = 100 * time.Millisecond }, classAlgorithm, "Model container failed to respond to ping. Please ensure /ping endpoint is implemented and responds with an HTTP 200 status code"},
		"no program":  {plan.Transform{}, func(_ *bench, tr *transforming) { tr.h.Program.Args = []string{"/nowhere"}; tr.h.Dial = refuse }, classClient, "CannotStartContainerError"},
		"the end":     {plan.Transform{}, func(_ *bench, tr *transforming) { tr.h.Program.Args = []string{"/bin/true"}; tr.h.Dial = refuse }, classAlgorithm, "ended by itself"},
		"a crash": {plan.Transform{}, func(_ *bench, tr *transforming) {
			tr.h.Program.Args = []string{"/bin/sh", "-c", "echo KeyError: 1; exit 3"}
			tr.h.Dial = refuse
		}, classAlgorithm, "KeyError: 1"},
		"nobody there":    {plan.Transform{Input: line}, func(b *bench, tr *transforming) { tr.h.Dial = afterwards(b, tr.h.Dial) }, classAlgorithm, "See job logs for more information. bucket/in/a: the container gave no answer: "},
		"denied to read":  {plan.Transform{Input: line}, func(b *bench, _ *transforming) { b.deny(http.MethodGet, "/bucket/in/a") }, classClient, "Data download failed:AccessDenied (403)"},
		"denied to write": {plan.Transform{Input: line}, func(b *bench, _ *transforming) { b.deny(http.MethodPut, "/bucket/out/a.out") }, classClient, `needs "s3:PutObject" on "arn:aws:s3:::bucket/out/a.out"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := transformBench(t, map[string]*modelServer{here: serveModel(t, upperModel)})
			b.s3.Set("bucket", "in/a", "x")
			tr := b.transformer(tt.p)
			if tt.edit != nil {
				tt.edit(b, tr)
			}
			res := tr.run(t.Context())
			ended := strings.Contains(name, "no model") || strings.Contains(name, "bad ") || res.ExitCode >= 0 || strings.Contains(res.Failure, "CannotStart")
			if res.Class != tt.class || !strings.Contains(res.Failure, tt.want) || len(b.outputs()) > 0 || res.Served == ended {
				t.Errorf("%+v, want %s: %s; %v", res, tt.class, tt.want, b.outputs())
			}
			if n := b.s3.Uploads(); n != 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
}

func (b *bench) deny(method, path string) {
	b.s3.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != method || r.URL.Path != path {
			return false
		}
		clienttest.Fail(w, http.StatusForbidden, "AccessDenied", "no")
		return true
	}
}

func refuse(context.Context, string, string) (net.Conn, error) {
	return nil, fmt.Errorf("connection refused")
}

// afterwards refuses once the container was asked how it wants to be asked, and
// closes what it has open.
func afterwards(b *bench, dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.Contains(b.log.String(), "MaxConcurrentTransforms=") {
			return refuse(ctx, network, address)
		}
		return dial(ctx, network, address)
	}
}

// An object that uses several of the requests that may be in flight gives all of
// them back: however many such objects there are, each has its turn.
func TestTransformTurns(t *testing.T) {
	t.Parallel()
	b := transformBench(t, map[string]*modelServer{here: serveModel(t, upperModel)})
	want := map[string]string{}
	for i, size := range []int{6, 1, 6, 2, 6, 6, 1, 6} { // records, each of a request
		name := fmt.Sprintf("%d.csv", i)
		b.s3.Set("bucket", "in/"+name, strings.Repeat("x\n", size))
		want[name+".out"] = strings.Repeat("X\n", size)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a turn that never comes
	defer cancel()
	res := b.transformer(plan.Transform{
		Input: plan.TransformInput{SplitType: "Line"}, Output: plan.TransformOutput{AssembleWith: "Line", S3OutputPath: "s3://bucket/out"},
		BatchStrategy: "SingleRecord", MaxConcurrentTransforms: api.Ptr(int64(3)),
	}).run(ctx)
	if got := b.outputs(); res != (plan.Result{Served: true}) || !maps.Equal(got, want) {
		t.Errorf("%+v: %q, want %q", res, got, want)
	}
}

// A server that dies over a record fails the job with its last words; what was
// done stays, and of the rest there is nothing.
func TestTransformServerDies(t *testing.T) {
	t.Parallel()
	b := transformBench(t, nil)
	dies := make(chan struct{})
	b.host.Program.Args = []string{"/bin/sh", "-c", `while [ ! -e "$0" ]; do sleep 0.02; done; echo "MemoryError: no more"; exit 7`, b.ml("die")}
	release := make(chan struct{})
	m := serveModel(t, func(w http.ResponseWriter, body string) {
		if strings.HasPrefix(body, "die") {
			select {
			case <-dies:
			default:
				close(dies)
			}
			<-release
			return
		}
		upperModel(w, body)
	})
	defer close(release)
	b.host.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, m.Listener.Addr().String())
	}
	b.s3.Set("bucket", "in/a", "fine\n")
	b.s3.Set("bucket", "in/b", "fine\ndie\n")
	b.s3.Set("bucket", "in/c", "fine\n")
	go func() {
		<-dies
		if err := os.WriteFile(b.ml("die"), nil, 0o600); err != nil {
			t.Error(err)
		}
	}()
	res := b.transform(plan.Transform{Input: plan.TransformInput{SplitType: "Line"}, BatchStrategy: "SingleRecord", MaxRetries: 3})
	if res.Class != classAlgorithm || res.ExitCode != 7 || !strings.Contains(res.Failure, "MemoryError: no more") {
		t.Errorf("%+v", res)
	}
	if got := fmt.Sprint(b.outputs()); got != "map[a.out:FINE]" || b.s3.Uploads() != 0 {
		t.Errorf("%s, %d uploads", got, b.s3.Uploads())
	}
}

// A stop ends it at once; what was done stays, what was half done leaves nothing.
func TestTransformStops(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"/ping", "/execution-parameters", "slow"} {
		t.Run(strings.Trim(at, "/"), func(t *testing.T) {
			t.Parallel()
			b := transformBench(t, nil)
			var once sync.Once
			m := &modelServer{}
			m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if r.URL.Path == at || string(body) == at {
					once.Do(func() { close(b.stop) })
					<-r.Context().Done()
					return
				}
				if r.URL.Path == "/invocations" {
					_, _ = w.Write(bytes.Repeat(body, 1<<20))
				}
			}))
			t.Cleanup(m.Close)
			b.host.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, m.Listener.Addr().String())
			}
			b.s3.Set("bucket", "in/a", "x")
			b.s3.Set("bucket", "in/b", strings.Repeat("xyxyxy\n", 3)+"slow")
			res := b.transform(plan.Transform{Input: plan.TransformInput{SplitType: "Line"}, BatchStrategy: "SingleRecord", MaxRetries: 3})
			if res != (plan.Result{ExitCode: -1}) {
				t.Errorf("%+v", res)
			}
			want := 0
			if at == "slow" {
				want = 1
			}
			if got := b.outputs(); len(got) != want || b.s3.Uploads() != 0 {
				t.Errorf("%d outputs, %d uploads", len(got), b.s3.Uploads())
			}
			if at == "slow" && !strings.Contains(b.log.String(), "asked to end") { // else it may not have come to hear of it
				t.Errorf("%s", b.log)
			}
		})
	}
}

func TestTransformPipeline(t *testing.T) {
	t.Parallel()
	second := serveModel(t, upperModel)
	first := serveModel(t, func(w http.ResponseWriter, body string) {
		if strings.HasPrefix(body, "/") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, "first of "+body)
	})
	b := transformBench(t, map[string]*modelServer{here: first, "algo-1-container-2:8080": second})
	b.s3.Set("bucket", "in/a", "x")
	res := b.transform(plan.Transform{Next: []string{"algo-1-container-2"}})
	if got := b.outputs(); res != (plan.Result{Served: true}) || got["a.out"] != "FIRST OF X" {
		t.Errorf("%+v %v", res, got)
	}
}

// The capture names what was read and written, below the hour in which the job
// began.
func TestTransformCapture(t *testing.T) {
	t.Parallel()
	m := serveModel(t, func(w http.ResponseWriter, body string) {
		if body == "bad\n" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		upperModel(w, body)
	})
	b := transformBench(t, map[string]*modelServer{here: m})
	b.s3.Set("bucket", "in/a", "x\n")
	b.s3.Set("bucket", "in/sub/b", "y\n")
	b.s3.Set("bucket", "in/z", "bad\n")
	before := time.Now().UTC()
	res := b.transform(plan.Transform{
		Input: plan.TransformInput{SplitType: "Line", ContentType: "text/csv"}, Capture: &plan.TransformCapture{S3Uri: "s3://bucket/captured/", GenerateInferenceID: true},
	})
	if res.Class != classClient {
		t.Errorf("%+v", res)
	}
	if out := b.outputs()["a.out"]; !regexp.MustCompile(`^X,[0-9a-f-]{36},\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n$`).MatchString(out) {
		t.Errorf("%q", out)
	}
	hours := []string{before.Format("2006/01/02/15"), time.Now().UTC().Format("2006/01/02/15")}
	for folder, want := range map[string]string{"input": `[map[prefix:s3://bucket/in/] a sub/b]`, "output": `[map[prefix:s3://bucket/out/] a.out sub/b.out]`} {
		var found []string
		for _, k := range b.s3.Keys("bucket") {
			if strings.HasPrefix(k, "captured/"+folder+"/") {
				found = append(found, k)
			}
		}
		if len(found) != 1 || !slices.Contains(hours, found[0][len("captured/"+folder+"/"):][:13]) || !strings.HasSuffix(found[0], ".json") {
			t.Fatalf("%q", found)
		}
		data, _ := b.s3.Object("bucket", found[0])
		var manifest []any
		if err := json.Unmarshal(data, &manifest); err != nil || fmt.Sprint(manifest) != want {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestTransformGzip(t *testing.T) {
	t.Parallel()
	b := transformBench(t, map[string]*modelServer{here: serveModel(t, upperModel)})
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = io.WriteString(w, "one\ntwo\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b.s3.Set("bucket", "in/a.gz", z.String())
	b.s3.Set("bucket", "in/b.gz", z.String()[:z.Len()-6])
	res := b.transform(plan.Transform{Input: plan.TransformInput{SplitType: "Line", CompressionType: "Gzip"}})
	if got := fmt.Sprint(b.outputs()); got != "map[a.gz.out:ONE\nTWO\n]" || res.Class != classClient || !strings.Contains(res.Failure, "bucket/in/b.gz: its gzip data ends too early (1 of 2 objects failed)") {
		t.Errorf("%+v %s", res, got)
	}
}

// Lines of the data log stand alone, wherever the program's output is cut.
func TestLineWriter(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	l := &lineWriter{w: &got}
	put := func(s string) {
		t.Helper()
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("%q: %d, %v", s, n, err)
		}
	}
	l.own("A\n")
	put("one ")
	l.own("B\n")
	put("")
	put("line")
	l.own("C\n")
	put(" here\nand ")
	put("another\n")
	l.own("D\n")
	put("no end")
	l.own("E\n")
	l.flush()
	l.flush()
	put("more")
	l.own(strings.Repeat("F", mostWaiting) + "\n")
	if want := "A\none line here\nB\nC\nand another\nD\nno end\nE\nmore\n" + strings.Repeat("F", mostWaiting) + "\n"; got.String() != want {
		t.Errorf("%q, want %q", got.String(), want)
	}
}
