package daemon_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"clary/internal/aws/sigv4"
	"clary/internal/client"
	"clary/internal/identity"
	"clary/test/daemon"
)

// traffic is clients that never pause and never send a request again: each
// must be answered.
type traffic struct {
	w        *world
	creds    sigv4.Credentials
	stop     chan struct{}
	wg       sync.WaitGroup
	answered atomic.Int64
	put      atomic.Int64
}

// stays is a client's one connection: whoever closes it fails the client.
type stays struct {
	addr string
	c    net.Conn
	r    *bufio.Reader
}

func (s *stays) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.c == nil {
		c, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", s.addr)
		if err != nil {
			return nil, err
		}
		s.c, s.r = c, bufio.NewReader(c)
	}
	if err := s.c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return nil, err
	}
	if err := r.Write(s.c); err != nil {
		return nil, err
	}
	return http.ReadResponse(s.r, r)
}

func (s *stays) CloseIdleConnections() {
	if s.c != nil {
		_ = s.c.Close() // its client is done
	}
}

// sender is what sends requests.
type sender interface {
	http.RoundTripper
	CloseIdleConnections()
}

// traffic starts four clients that stay connected, four that come anew for
// each request, and two that stay over TLS, and ends them with the test.
func (w *world) traffic(t *testing.T) *traffic {
	t.Helper()
	key, err := identity.ReadRootKey(filepath.Join(w.Data, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(w.Data, "keys", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	tr := &traffic{w: w, creds: sigv4.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}, stop: make(chan struct{})}
	for i := range 10 {
		scheme, anew := "http", i%2 == 0 && i < 8
		if i >= 8 {
			scheme = "https"
		}
		rt := sender(&stays{addr: w.Listen})
		if anew || scheme == "https" {
			rt = &http.Transport{
				DisableKeepAlives: anew, MaxIdleConnsPerHost: 1, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12},
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "tcp", w.Listen)
				},
			}
		}
		tr.wg.Go(func() {
			defer rt.CloseIdleConnections()
			tr.client(t, rt, scheme, i)
		})
	}
	t.Cleanup(tr.end)
	return tr
}

func (tr *traffic) end() {
	select {
	case <-tr.stop:
	default:
		close(tr.stop)
	}
	tr.wg.Wait()
}

// client asks for one thing after the other: a list, an object put, and the
// same read.
func (tr *traffic) client(t *testing.T, rt sender, scheme string, i int) {
	for n := 0; ; n++ {
		select {
		case <-tr.stop:
			return
		default:
		}
		key := fmt.Sprintf("/%s/traffic/%d-%d", bucket, i, n)
		text := strings.Repeat(key, 100)
		for _, c := range []struct{ method, path, service, body, want string }{
			{http.MethodPost, "/", "sagemaker", "{}", "TrainingJobSummaries"},
			{http.MethodPut, key, "s3", text, ""},
			{http.MethodGet, key, "s3", "", text},
		} {
			begun := time.Now()
			got, err := tr.ask(t.Context(), rt, scheme, c.method, c.path, c.service, c.body)
			if err != nil || !strings.Contains(got, c.want) {
				t.Errorf("client %d (%s), request %d, %s %s, after %s: %v %.200s", i, scheme, n, c.method, c.path, time.Since(begun), err, got)
				return
			}
			tr.answered.Add(1)
			if c.method == http.MethodPut {
				tr.put.Add(1)
			}
		}
	}
}

func (tr *traffic) ask(ctx context.Context, rt sender, scheme, method, path, service, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, scheme+"://localhost"+tr.w.Listen[strings.LastIndexByte(tr.w.Listen, ':'):]+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.GetBody = nil // it is not sent again
	if service == "sagemaker" {
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		req.Header.Set("X-Amz-Target", "SageMaker.ListTrainingJobs")
	}
	sum := sha256.Sum256([]byte(body))
	sigv4.Sign(req, tr.creds, daemon.Region, service, hex.EncodeToString(sum[:]), time.Now())
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return string(b), err
}

// flows waits until so many more requests were answered.
func (tr *traffic) flows(t *testing.T, n int64) {
	t.Helper()
	from := tr.answered.Load()
	eventually(t, "requests to be answered", func() bool { return t.Failed() || tr.answered.Load() >= from+n })
}

// TestReplace replaces the server five times under clients that never pause: no
// request is lost, those that stay connected stay so, and a job on one instance
// and one on two run through all of it.
func TestReplace(t *testing.T) {
	t.Parallel()
	w := start(t, dataDir(t))
	w.create(t, daemon.JobRequest("across", bucket, script("import signal\nsignal.signal(signal.SIGTERM, lambda *a: sys.exit(0))\nprint('ready')\ntime.sleep(300)")))
	job := w.task(t, "across", "running", in("Training"))
	w.said(t, "across", "ready")
	w.must(w.Put(t.Context(), bucket, "code/clean.py", []byte(cleaner)))
	for _, name := range []string{"a.csv", "b.csv"} {
		w.must(w.Put(t.Context(), bucket, "rows/"+name, []byte("1,2\n")))
	}
	if err := w.SageMaker(t.Context(), "CreateProcessingJob", clean("cleans", 1, 0, 300), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both hosts to run", func() bool {
		ts, err := w.Tasks()
		n := 0
		for _, task := range ts {
			if task.Name == "cleans" && in("Training")(&task) {
				n++
			}
		}
		return err == nil && n == 2
	})
	tr := w.traffic(t)
	var olds []*daemon.Server
	for i := range 5 {
		tr.flows(t, 300)
		begun, before := time.Now(), tr.answered.Load()
		old, err := w.Replace(t.Context())
		if err != nil {
			t.Fatalf("replacement %d: %v", i, err)
		}
		t.Logf("replacement %d took %s; %d requests were answered meanwhile", i, time.Since(begun).Round(time.Millisecond), tr.answered.Load()-before)
		olds = append(olds, old)
	}
	tr.flows(t, 300)
	tr.end()
	t.Logf("%d requests", tr.answered.Load())
	for i, old := range olds {
		// nothing keeps it: no answer is long, and clients over TLS were told
		if err := old.Ended(time.Minute); err != nil {
			t.Errorf("server %d: %v", i, err)
		}
	}
	if n := len(w.objects(t, "traffic/")); int64(n) != tr.put.Load() {
		t.Errorf("%d objects are there of %d", n, tr.put.Load())
	}
	if task := w.TaskOf("across"); task == nil || task.PID != job.PID || task.Exited {
		t.Errorf("the job's task was %+v and is %+v", job, task)
	}
	w.must(w.SageMaker(t.Context(), "StopTrainingJob", map[string]string{"TrainingJobName": "across"}, nil))
	w.stopReady(t, "cleans")
	j := w.await(t, "across")
	if j.TrainingJobStatus != "Stopped" {
		t.Errorf("it is %s: %s", j.TrainingJobStatus, j.FailureReason)
	}
	w.billed(t, j)
	w.lines(t, "across", twenty())
	w.settled(t, j)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if p, err := w.AwaitProcessing(ctx, "cleans"); err != nil || p.ProcessingJobStatus != "Stopped" {
		t.Errorf("%+v, %v", p, err)
	}
}

// thinker is a model that takes its time when it is asked to.
const thinker = `import time
def model_fn(folder): return None
def predict_fn(data, model):
    text = data if isinstance(data, str) else data.decode()
    if text.startswith("think"):
        print("thinking about", text, flush=True)
        time.sleep(float(text.split()[1]))
    return "thought " + text
def input_fn(body, content_type): return body
def output_fn(prediction, accept): return prediction
`

// TestReplaceWhileModelsThink replaces the server while a model takes its time:
// the next server does not wait for it, and both count and capture what they
// answered.
func TestReplaceWhileModelsThink(t *testing.T) {
	t.Parallel()
	w := start(t, dataDir(t))
	const name = "thinks"
	w.must(w.Put(t.Context(), bucket, "model/model.tar.gz", archived(t, map[string]string{"code/inference.py": thinker})))
	w.must(w.SageMaker(t.Context(), "CreateModel", map[string]any{
		"ModelName": name, "ExecutionRoleArn": "arn:aws:iam::123456789012:role/Unknown",
		"PrimaryContainer": map[string]any{
			"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python:3.10", "ModelDataUrl": "s3://" + bucket + "/model/model.tar.gz",
			"Environment": map[string]string{"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"},
		},
	}, nil))
	w.must(w.SageMaker(t.Context(), "CreateEndpointConfig", map[string]any{
		"EndpointConfigName": name, "ProductionVariants": []any{map[string]any{"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}},
		"DataCaptureConfig": map[string]any{
			"EnableCapture": true, "InitialSamplingPercentage": 100, "DestinationS3Uri": "s3://" + bucket + "/captured",
			"CaptureOptions": []any{map[string]string{"CaptureMode": "Input"}, map[string]string{"CaptureMode": "Output"}},
		},
	}, nil))
	w.must(w.SageMaker(t.Context(), "CreateEndpoint", map[string]string{"EndpointName": name, "EndpointConfigName": name}, nil))
	w.settles(t, name, name, 1)

	type said struct {
		code   int
		answer []byte
		err    error
	}
	long := make(chan said, 1)
	go func() {
		code, answer, err := w.Invoke(t.Context(), name, "text/plain", []byte("think 20"))
		long <- said{code, answer, err}
	}()
	eventually(t, "the model to think", func() bool {
		spools, err := filepath.Glob(filepath.Join(w.Data, "tasks", "*", "spool"))
		w.must(err)
		for _, s := range spools {
			if b, err := os.ReadFile(s); err == nil && bytes.Contains(b, []byte("thinking about think 20")) {
				return true
			}
		}
		return false
	})
	begun := time.Now()
	old, err := w.Replace(t.Context())
	w.must(err)
	t.Logf("replaced after %s", time.Since(begun))
	if got := w.ask(t, name, "hello"); got != "thought hello" {
		t.Errorf("the next server: %s", got)
	}
	select {
	case got := <-long:
		t.Fatalf("the long answer came before the next server's: %d %s, %v", got.code, got.answer, got.err)
	default:
	}
	if !old.Runs() {
		t.Error("the old server is gone before its answer")
	}
	if got := <-long; got.err != nil || got.code != http.StatusOK || string(got.answer) != "thought think 20" {
		t.Errorf("the old server: %d %s, %v", got.code, got.answer, got.err)
	}
	if err := old.Ended(time.Minute); err != nil {
		t.Errorf("the old server: %v", err)
	}
	eventually(t, "both invocations to be counted and captured", func() bool {
		captured := 0
		for _, key := range w.objects(t, "captured/") {
			r, _, err := w.Get(t.Context(), bucket, key)
			w.must(err)
			b, err := io.ReadAll(r)
			w.must(errors.Join(err, r.Close()))
			captured += bytes.Count(b, []byte("\n"))
		}
		return captured == 2 && w.invocations(t, name) == 2
	})
	w.must(w.SageMaker(t.Context(), "DeleteEndpoint", map[string]string{"EndpointName": name}, nil))
	eventually(t, "it to be gone", func() bool {
		return client.Code(w.SageMaker(t.Context(), "DescribeEndpoint", map[string]string{"EndpointName": name}, new(hosted))) == "ValidationException"
	})
}

// invocations are those that were counted of an endpoint.
func (w *world) invocations(t *testing.T, endpoint string) int {
	t.Helper()
	var out struct{ Datapoints []struct{ Sum float64 } }
	now := time.Now()
	err := w.JSON(t.Context(), "monitoring", "GraniteServiceVersion20100801.GetMetricStatistics", map[string]any{
		"Namespace": "AWS/SageMaker", "MetricName": "Invocations", "Statistics": []string{"Sum"}, "Period": 60,
		"StartTime": now.Add(-time.Hour).Unix(), "EndTime": now.Add(time.Hour).Unix(),
		"Dimensions": []any{map[string]string{"Name": "EndpointName", "Value": endpoint}, map[string]string{"Name": "VariantName", "Value": "AllTraffic"}},
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, p := range out.Datapoints {
		sum += p.Sum
	}
	return int(sum)
}

// slow is a request that is under way for as long as one wants.
type slow struct {
	conn net.Conn
	key  string
	rest string
}

// begin sends half of an object.
func (tr *traffic) begin(t *testing.T, key string) *slow {
	t.Helper()
	body := strings.Repeat("slow ", 20000)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+tr.w.Listen+"/"+bucket+"/"+key, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	sigv4.Sign(req, tr.creds, daemon.Region, "s3", hex.EncodeToString(sum[:]), time.Now())
	var b bytes.Buffer
	if err := req.Write(&b); err != nil {
		t.Fatal(err)
	}
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", tr.w.Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	half := b.Len() / 2
	if _, err := c.Write(b.Bytes()[:half]); err != nil {
		t.Fatal(err)
	}
	return &slow{c, key, b.String()[half:]}
}

// finish sends the rest and wants it stored.
func (s *slow) finish() error {
	if err := s.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := io.WriteString(s.conn, s.rest); err != nil {
		return err
	}
	b := make([]byte, 64)
	n, err := s.conn.Read(b)
	if err == nil && !bytes.Contains(b[:n], []byte(" 200 ")) {
		err = fmt.Errorf("answered %q", b[:n])
	}
	return err
}

// says waits for a line in the server's log, beyond those that were there.
func (w *world) says(t *testing.T, from int64, text string) {
	t.Helper()
	eventually(t, "the log to say "+text, func() bool {
		b, err := os.ReadFile(w.Log)
		return err == nil && int64(len(b)) > from && bytes.Contains(b[from:], []byte(text))
	})
}

func (w *world) logged(t *testing.T) int64 {
	t.Helper()
	st, err := os.Stat(w.Log)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// A server that waits for a request to end can still be kept, and one that is
// killed then leaves its place to the other.
func TestReplaceWaits(t *testing.T) {
	t.Parallel()
	w := start(t, dataDir(t))
	tr := w.traffic(t)

	// the new one dies
	s, at := tr.begin(t, "slow/one"), w.logged(t)
	w.heavy()
	next, err := w.Launch("--replace")
	w.must(err)
	w.says(t, at, "takes this one's place")
	tr.flows(t, 100)
	w.must(next.Kill())
	w.says(t, at, "the new server is gone")
	tr.flows(t, 100)
	w.must(s.finish())

	// a second one is refused while the first waits, which then serves
	s, at = tr.begin(t, "slow/two"), w.logged(t)
	w.heavy()
	next, err = w.Launch("--replace")
	w.must(err)
	w.says(t, at, "takes this one's place")
	if _, err := w.Replace(t.Context()); err == nil || !strings.Contains(err.Error(), "another server is taking its place") {
		t.Errorf("a second one that replaces: %v", err)
	}
	tr.flows(t, 100)
	w.must(s.finish())
	eventually(t, "the new server to answer", func() bool { return w.Announced(next) })
	if err := w.Now().Ended(time.Minute); err != nil {
		t.Errorf("the old server: %v", err)
	}
	w.Is(next)
	tr.flows(t, 100)

	// a new one that may not listen there changes nothing
	elsewhere, err := daemon.New(bin(t), filepath.Dir(w.Data))
	w.must(err)
	if err := elsewhere.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "clary serve --replace") {
		t.Errorf("a second server: %v", err)
	}
	if _, err := elsewhere.Replace(t.Context()); err == nil || !strings.Contains(err.Error(), "listens on "+w.Listen) {
		t.Errorf("a replacement elsewhere: %v", err)
	}
	if _, err := w.Replace(t.Context(), "--prices", "/does/not/exist"); err == nil || !strings.Contains(err.Error(), "price file") {
		t.Errorf("a replacement without prices: %v", err)
	}
	tr.flows(t, 100)
	tr.end()

	// the old one dies
	_, at = tr.begin(t, "slow/three"), w.logged(t)
	w.heavy()
	next, err = w.Launch("--replace")
	w.must(err)
	w.says(t, at, "takes this one's place")
	w.must(w.Kill())
	eventually(t, "the new server to answer", func() bool { return w.Announced(next) })
	w.Is(next)
	if n := len(w.objects(t, "slow/")); n != 2 {
		t.Errorf("%d objects are there", n)
	}
}

// heavy lets a request that has begun become one that takes long.
func (*world) heavy() { time.Sleep(1200 * time.Millisecond) } // a second is long, and nothing tells of it

// TestReplaceKilled kills the new server, or the old one, at many moments of a
// replacement. Another one serves then, or can be started, with all that was
// answered before.
func TestReplaceKilled(t *testing.T) {
	t.Parallel()
	w := start(t, dataDir(t))
	put := 0
	for i := range 24 {
		key := fmt.Sprintf("kept/%d", i)
		w.must(w.Put(t.Context(), bucket, key, []byte(key)))
		put++
		old, begun := w.Now(), time.Now()
		next, err := w.Launch("--replace")
		w.must(err)
		time.Sleep(time.Duration(i/2) * 50 * time.Millisecond) // some moment
		victim := next
		if i%2 == 1 {
			victim = old
		}
		w.must(victim.Kill())
		switch {
		case victim == old: // whatever it had done, the other one takes the place
			t.Logf("%d: the old server was killed", i)
			eventually(t, "the new server to answer", func() bool {
				if !next.Runs() {
					t.Fatalf("%d: the new server ended: %s", i, w.Tail())
				}
				return w.Announced(next)
			})
			w.Is(next)
			continue
		case w.replies(t, old):
			t.Logf("%d: the old server serves on, after %s", i, time.Since(begun))
			continue
		}
		t.Logf("%d: the old server had gone", i)
		w.must(w.Start(t.Context()))
	}
	if n := len(w.objects(t, "kept/")); n != put {
		t.Errorf("%d objects are there of %d", n, put)
	}
	j := w.run(t, daemon.JobRequest("after", bucket, script("")))
	if j.TrainingJobStatus != "Completed" {
		t.Errorf("a job afterwards is %s: %s", j.TrainingJobStatus, j.FailureReason)
	}
}

// replies waits until a server answers, or until this one, that alone could, has
// ended.
func (w *world) replies(t *testing.T, s *daemon.Server) (ok bool) {
	t.Helper()
	c := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	eventually(t, "a server to answer", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.Listen, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err == nil {
			ok = true
			err = resp.Body.Close()
		}
		return err == nil || !s.Runs()
	})
	return ok
}

// TestReplaceInBackground does with `clary up` and `clary down` what others do
// with signals.
func TestReplaceInBackground(t *testing.T) {
	t.Parallel()
	d, err := daemon.New(bin(t), dataDir(t))
	if err != nil {
		t.Fatal(err)
	}
	clary := func(verb string, args ...string) string {
		t.Helper()
		out, err := d.Clary(t.Context(), verb, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("clary %s %q: %v\n%s", verb, args, err, out)
		}
		return string(out)
	}
	pid := func() (pid int) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(d.Data, "run", "server.json"))
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ PID int }
		if err := json.Unmarshal(b, &said); err != nil {
			t.Fatal(err)
		}
		return said.PID
	}
	runs := func(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
	up := []string{"--no-open", "--no-notebook", "--listen", d.Listen}
	t.Cleanup(func() { _ = d.Clary(context.Background(), "down").Run() })
	if out := clary("up", append(up, "--replace")...); !strings.Contains(out, "answers on http://"+d.Listen) {
		t.Errorf("up without a server to replace: %s", out)
	}
	first := pid()
	if out := clary("up", append(up, "--replace")...); !strings.Contains(out, "answers on http://"+d.Listen) {
		t.Errorf("up --replace: %s", out)
	}
	second := pid()
	if second == first {
		t.Error("the same server runs")
	}
	eventually(t, "the first server to end", func() bool { return !runs(first) })
	if out, err := d.Clary(t.Context(), "up", append(up, "--replace", "--", "--prices", "/does/not/exist")...).CombinedOutput(); err == nil || !strings.Contains(string(out), "price file") {
		t.Errorf("up --replace without prices: %v %s", err, out)
	}
	if third := pid(); third != second || !runs(third) {
		t.Errorf("%d runs, after %d", third, second)
	}
	if out := clary("up", up...); !strings.Contains(out, "runs already on http://"+d.Listen) {
		t.Errorf("up beside it: %s", out)
	}
	clary("down")
	eventually(t, "the second server to end", func() bool { return !runs(second) })
	if out := clary("down"); !strings.Contains(out, "No server runs") {
		t.Errorf("down again: %s", out)
	}
}
