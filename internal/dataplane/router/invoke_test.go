package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/resource"
	"clary/internal/serving"
)

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	_, _ = io.Copy(w, r.Body)
}

func TestInvoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var got atomic.Pointer[http.Request]
	w.container("t-1", func(rw http.ResponseWriter, r *http.Request) {
		got.Store(r.Clone(context.Background()))
		b, _ := io.ReadAll(r.Body)
		rw.Header().Set("Content-Type", "text/csv; charset=utf-8")
		rw.Header().Set("X-Amzn-Sagemaker-Custom-Attributes", "made=here")
		rw.Header().Set("X-Amzn-Sagemaker-New-Session-Id", "s-1; Expires=2026-01-01T00:00:00Z")
		rw.Header().Set("Set-Cookie", "a=b")
		_, _ = fmt.Fprintf(rw, "%d", len(b))
	})
	w.put("Mine", one("t-1"))
	for _, size := range []int{0, 1, smallBody, smallBody + 1, largeBody + 1, MaxPayload} {
		s := w.invoke("Mine", strings.Repeat("x", size),
			"Content-Type", "text/csv", "Accept", "application/json", "X-Amzn-SageMaker-Custom-Attributes", "c=1",
			"X-Amzn-SageMaker-Inference-Id", "i-1", "X-Amzn-SageMaker-Session-Id", "NEW_SESSION", "Cookie", "secret=1")
		if s.status != 200 || s.body != fmt.Sprint(size) {
			t.Fatalf("%d bytes: %d %s", size, s.status, s.body)
		}
		for name, want := range map[string]string{
			"Content-Type": "text/csv; charset=utf-8", "X-Amzn-Invoked-Production-Variant": "AllTraffic", "X-Amzn-Sagemaker-Custom-Attributes": "made=here",
			"X-Amzn-Sagemaker-New-Session-Id": "s-1; Expires=2026-01-01T00:00:00Z", "Set-Cookie": "", "Content-Length": fmt.Sprint(len(s.body)),
		} {
			if s.header.Get(name) != want {
				t.Errorf("%s: %q", name, s.header.Get(name))
			}
		}
		r := got.Load()
		if r.Method != http.MethodPost || r.RequestURI != "/invocations" || r.ContentLength != int64(size) {
			t.Errorf("%s %s %d", r.Method, r.RequestURI, r.ContentLength)
		}
		for name, want := range map[string]string{
			"Content-Type": "text/csv", "Accept": "application/json", "X-Amzn-Sagemaker-Custom-Attributes": "c=1", "X-Amzn-Sagemaker-Inference-Id": "i-1",
			"X-Amzn-Sagemaker-Session-Id": "NEW_SESSION", "Authorization": "", "Cookie": "", "X-Amz-Date": "",
		} {
			if r.Header.Get(name) != want {
				t.Errorf("the container got %s: %q", name, r.Header.Get(name))
			}
		}
	}
	if n := w.tasks.dialled("t-1"); n != 1 {
		t.Errorf("%d connections for requests one after the other", n)
	}
	if s := w.invoke("Mine", "a=1", "Content-Type", "application/x-www-form-urlencoded"); s.status != 200 || s.body != "3" {
		t.Errorf("a form: %d %s", s.status, s.body)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.container("t-1", func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		code := 200
		_, _ = fmt.Sscan(string(b), &code)
		rw.WriteHeader(code)
		_, _ = io.WriteString(rw, `no "rows"`)
	})
	e := one("t-1")
	e.Variants = append(e.Variants, serving.Variant{Name: "empty", Weight: 0}, serving.Variant{Name: "dead", Instances: []serving.Instance{{ID: "i-9", Tasks: []compute.TaskID{"t-none"}}}})
	w.put("e", e)
	zero := one("t-1")
	zero.Variants[0].Weight = 0
	w.put("zero", zero)
	w.put("creating", serving.Endpoint{})
	log := " See https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logEventViewer:group=/aws/sagemaker/Endpoints/e in account 123456789012 for more information."
	for name, c := range map[string]struct {
		endpoint, body string
		headers        []string
		status         int
		code, text     string
		original       any
	}{
		"unknown":         {"nobody", "1", nil, 400, "ValidationError", "Endpoint nobody of account 123456789012 not found.", nil},
		"creating":        {"creating", "1", nil, 400, "ValidationError", "Endpoint creating of account 123456789012 not found.", nil},
		"variant":         {"e", "1", []string{"X-Amzn-SageMaker-Target-Variant", "b"}, 400, "ValidationError", "Variant b not found for endpoint e of account 123456789012.", nil},
		"no instance":     {"e", "1", []string{"X-Amzn-SageMaker-Target-Variant", "empty"}, 429, "ModelNotReadyException", "Variant empty has no instance in service that takes the request. Please try again.", nil},
		"no connection":   {"e", "1", []string{"X-Amzn-SageMaker-Target-Variant", "dead"}, 503, "ServiceUnavailable", "The container primary of variant dead takes no connections. Its instance is looked after; please try again.", nil},
		"no weight":       {"zero", "1", nil, 400, "ValidationError", "No variant of endpoint zero of account 123456789012 has a weight above zero. Name one with TargetVariant.", nil},
		"client's":        {"e", "415", nil, 424, "ModelError", `Received client error (415) from primary with message "no "rows"".` + log, 415.0},
		"server's":        {"e", "503", nil, 424, "ModelError", `Received server error (503) from primary with message "no "rows"".` + log, 503.0},
		"elsewhere":       {"e", "302", nil, 424, "ModelError", `Received server error (302) from primary with message "no "rows"".` + log, 302.0},
		"multi-model":     {"e", "1", []string{"X-Amzn-SageMaker-Target-Model", "a.tar.gz"}, 400, "ValidationError", "Endpoint e is not a multi-model endpoint and does not support target model header.", nil},
		"direct":          {"e", "1", []string{"X-Amzn-SageMaker-Target-Container-Hostname", "a"}, 400, "ValidationError", "Endpoint e is not an endpoint of containers that are invoked directly and does not support target container hostname header.", nil},
		"component":       {"e", "1", []string{"X-Amzn-SageMaker-Inference-Component", "a"}, 400, "ValidationError", "Endpoint e is not an endpoint of inference components and does not support inference component name header.", nil},
		"explanations":    {"e", "1", []string{"X-Amzn-SageMaker-Enable-Explanations", "`true`"}, 400, "ValidationError", "Endpoint e is not an endpoint with an explainer and does not support enable explanations header.", nil},
		"a name too long": {strings.Repeat("e", 64), "1", nil, 400, "ValidationError", "1 validation error detected: Value '" + strings.Repeat("e", 64) + "' at 'endpointName' failed to satisfy constraint: Member must have length less than or equal to 63", nil},
	} {
		s := w.invoke(c.endpoint, c.body, c.headers...)
		if s.status != c.status || s.header.Get("X-Amzn-Errortype") != c.code || s.member("message") != c.text || s.member("Message") != c.text || s.member("OriginalStatusCode") != c.original {
			t.Errorf("%s: %d %s %s", name, s.status, s.header.Get("X-Amzn-Errortype"), s.body)
		}
		if c.code == "ModelError" && (s.member("OriginalMessage") != `no "rows"` || s.member("LogStreamArn") != "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/sagemaker/Endpoints/e") {
			t.Errorf("%s: %s", name, s.body)
		}
	}
	if s := w.invoke("zero", "200", "X-Amzn-SageMaker-Target-Variant", "AllTraffic"); s.status != 200 {
		t.Errorf("a variant without weight that is named: %d %s", s.status, s.body)
	}
	if s := w.invoke("e", strings.Repeat("x", MaxPayload+1)); s.status != 400 || s.header.Get("X-Amzn-Errortype") != "ValidationError" || !strings.HasSuffix(fmt.Sprint(s.member("message")), "Value at 'body' failed to satisfy constraint: Member must have length less than or equal to 6291456") {
		t.Errorf("too large: %d %s", s.status, s.body)
	}
}

// What the operator sets counts in place of the model's own bounds.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxPayload, c.InFlight = 17<<20, 40<<20 })
	w.container("t-1", echo)
	w.put("e", one("t-1"))
	if s := w.invoke("e", strings.Repeat("x", 17<<20)); s.status != 200 || len(s.body) != 17<<20 {
		t.Errorf("%d, %d bytes", s.status, len(s.body))
	}
	if s := w.invoke("e", strings.Repeat("x", 17<<20+1)); s.status < 400 || s.status > 499 {
		t.Errorf("one byte more: %d", s.status)
	}
}

func TestWeights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.container("t-1", echo)
	v := func(name string, weight float64) serving.Variant {
		return serving.Variant{Name: name, Weight: weight, Instances: []serving.Instance{{ID: "i-" + name, Tasks: []compute.TaskID{"t-1"}}}}
	}
	w.put("e", serving.Endpoint{Variants: []serving.Variant{v("a", 3), v("b", 0), v("c", 1)}})
	count := map[string]int{}
	const n = 400
	for range n {
		count[w.invoke("e", "x").header.Get("X-Amzn-Invoked-Production-Variant")]++
	}
	// 300 and 100 in the mean; ten deviations off is another rule
	if count["b"] != 0 || count["a"]+count["c"] != n || count["a"] < 214 || count["a"] > 386 {
		t.Error(count)
	}
	if got := w.invoke("e", "x", "X-Amzn-SageMaker-Target-Variant", "b").header.Get("X-Amzn-Invoked-Production-Variant"); got != "b" {
		t.Error(got)
	}
}

func TestLeastOutstanding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began, let := make(chan string, 10), make(chan struct{})
	slow := func(name string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			if string(b) == "slow" {
				began <- name
				<-let
			}
			_, _ = io.WriteString(rw, name)
		}
	}
	w.container("t-1", slow("1"))
	w.container("t-2", slow("2"))
	w.put("e", serving.Endpoint{Variants: []serving.Variant{{Name: "v", Weight: 1, Instances: []serving.Instance{
		{ID: "i-1", Tasks: []compute.TaskID{"t-1"}}, {ID: "i-2", Tasks: []compute.TaskID{"t-2"}},
	}}}})
	var wg sync.WaitGroup
	wg.Go(func() {
		if s, err := w.try(t.Context(), "e", []byte("slow")); err != nil || s.status != 200 {
			t.Error(s, err)
		}
	})
	busy := <-began
	for range 20 {
		if s := w.invoke("e", "x"); s.body == busy {
			t.Fatal("it went to the busy one")
		}
	}
	if w.r.Open(compute.TaskID("t-"+busy)) != 1 {
		t.Error("one is open")
	}
	close(let)
	wg.Wait()
	w.eventually("none is open", func() bool { return w.r.Open("t-1")+w.r.Open("t-2") == 0 })
}

func TestPipeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	step := func(name, answers string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			if strings.Contains(string(b), "fail "+name) {
				rw.WriteHeader(http.StatusBadRequest)
			}
			rw.Header().Set("Content-Type", answers)
			_, _ = fmt.Fprintf(rw, "%s(%s;%s;%s;%s)", name, b, r.Header.Get("Content-Type"), r.Header.Get("Accept"), r.Header.Get("X-Amzn-Sagemaker-Inference-Id"))
		}
	}
	w.container("t-1", step("a", "text/csv"))
	w.container("t-2", step("b", "application/json"))
	w.container("t-3", step("c", "x/y"))
	e := serving.Endpoint{Variants: []serving.Variant{{Name: "v", Weight: 1, Containers: []string{"first", "second", "third"}, Instances: []serving.Instance{{ID: "i", Tasks: []compute.TaskID{"t-1", "t-2", "t-3"}}}}}}
	w.put("e", e)
	h := []string{"Content-Type", "in/put", "Accept", "out/put", "X-Amzn-SageMaker-Inference-Id", "7"}
	if s := w.invoke("e", "x", h...); s.body != "c(b(a(x;in/put;;7);text/csv;;7);application/json;out/put;7)" || s.header.Get("Content-Type") != "x/y" {
		t.Errorf("%d %s", s.status, s.body)
	}
	if s := w.invoke("e", "fail b", h...); s.status != 424 || !strings.Contains(s.body, "Received client error (400) from second with message") {
		t.Errorf("%d %s", s.status, s.body)
	}
	if n := w.tasks.dialled("t-3"); n != 1 {
		t.Errorf("%d connections to the third", n)
	}
}

// The first container of a chain is asked once, whatever becomes of the others;
// a later one that closed its kept connection is asked by a new one.
func TestPipelineAskedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var first, second atomic.Int64
	w.container("t-1", func(rw http.ResponseWriter, r *http.Request) {
		first.Add(1)
		_, _ = io.Copy(rw, r.Body)
	})
	w.container("t-2", func(rw http.ResponseWriter, r *http.Request) {
		second.Add(1)
		if b, _ := io.ReadAll(r.Body); string(b) == "die" {
			panic(http.ErrAbortHandler)
		}
		_, _ = fmt.Fprint(rw, "ok")
	})
	two := serving.Variant{Name: "v", Weight: 1, Instances: []serving.Instance{
		{ID: "i-1", Tasks: []compute.TaskID{"t-1", "t-2"}}, {ID: "i-2", Tasks: []compute.TaskID{"t-1", "t-2"}},
	}}
	w.put("e", serving.Endpoint{Variants: []serving.Variant{two}})
	for _, path := range []func(string) said{
		func(b string) said { return w.invoke("e", b) },
		func(b string) said {
			res, err := w.client.Do(w.request(t.Context(), "/endpoints/e/invocations-response-stream", []byte(b)))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			return said{res.StatusCode, res.Header, string(body) + fmt.Sprint(err)}
		},
	} {
		path("x") // the connections are kept from here on
		before, then := first.Load(), second.Load()
		if s := path("die"); s.status != 424 {
			t.Errorf("%d %s", s.status, s.body)
		}
		if a, b := first.Load()-before, second.Load()-then; a != 1 || b < 1 || b > 2 {
			t.Errorf("the first was asked %d times, the second %d", a, b)
		}
	}
	w.put("half", serving.Endpoint{Variants: []serving.Variant{{Name: "v", Weight: 1, Instances: []serving.Instance{
		{ID: "i-1", Tasks: []compute.TaskID{"t-1", "t-none"}}, {ID: "i-2", Tasks: []compute.TaskID{"t-1", "t-none"}},
	}}}})
	before := first.Load()
	if s := w.invoke("half", "x"); s.status != 503 {
		t.Errorf("%d %s", s.status, s.body)
	}
	if n := first.Load() - before; n != 1 {
		t.Errorf("the first was asked %d times", n)
	}
	w.eventually("none is open", func() bool { return w.r.Open("t-1") == 0 })
}

// A request is asked again where nobody saw it, and nowhere else.
func TestAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var seen [3]atomic.Int64
	serve := func(i int) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			seen[i].Add(1)
			b, _ := io.ReadAll(r.Body)
			if string(b) == "die" {
				panic(http.ErrAbortHandler)
			}
			_, _ = fmt.Fprint(rw, i)
		}
	}
	first := w.container("t-1", serve(1))
	w.container("t-2", serve(2))
	w.put("e", serving.Endpoint{Variants: []serving.Variant{{Name: "v", Weight: 1, Instances: []serving.Instance{
		{ID: "i-1", Tasks: []compute.TaskID{"t-1"}}, {ID: "i-2", Tasks: []compute.TaskID{"t-2"}}, {ID: "i-3", Tasks: []compute.TaskID{"t-none"}},
	}}}})
	// one instance of three takes no connection
	for range 50 {
		if s := w.invoke("e", "x"); s.status != 200 {
			t.Fatalf("%d %s", s.status, s.body)
		}
	}
	if seen[1].Load() == 0 || seen[2].Load() == 0 {
		t.Error("one of two got nothing")
	}
	// a fresh connection that breaks after the request was read
	w.container("t-4", serve(0))
	w.put("fresh", one("t-4"))
	if s := w.invoke("fresh", "die"); s.status != 424 || !strings.Contains(s.body, "as the model process exited") || s.member("OriginalStatusCode") != 0.0 {
		t.Errorf("%d %s", s.status, s.body)
	}
	if n := seen[0].Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
	// once more at most, where a connection was kept
	w.invoke("fresh", "x")
	before := seen[0].Load()
	if s := w.invoke("fresh", "die"); s.status != 424 {
		t.Errorf("%d %s", s.status, s.body)
	}
	if n := seen[0].Load() - before; n != 2 {
		t.Errorf("it was asked %d times", n)
	}
	dead := serving.Variant{Name: "v", Weight: 1}
	for i := range 4 {
		dead.Instances = append(dead.Instances, serving.Instance{ID: fmt.Sprintf("i-%d", i), Tasks: []compute.TaskID{compute.TaskID(fmt.Sprintf("t-dead-%d", i))}})
	}
	w.put("dead", serving.Endpoint{Variants: []serving.Variant{dead}})
	if s := w.invoke("dead", "x"); s.status != 503 {
		t.Errorf("%d %s", s.status, s.body)
	}
	dials := 0
	for _, i := range dead.Instances {
		dials += w.tasks.dialled(i.Tasks[0])
	}
	if dials != 2 {
		t.Errorf("%d instances were tried", dials)
	}
	// connections that the container closed while they were idle
	for range 20 {
		first.CloseClientConnections()
		if s := w.invoke("e", "x"); s.status != 200 {
			t.Fatalf("%d %s", s.status, s.body)
		}
	}
}

// From Changed's return on, what begins goes by the new record; what Open
// counts is all that is at an instance.
func TestChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var stopped [8]atomic.Bool
	for i := range stopped {
		id := compute.TaskID(fmt.Sprintf("t-%d", i))
		w.container(id, func(rw http.ResponseWriter, _ *http.Request) {
			if stopped[i].Load() {
				t.Errorf("%s was asked after it was drained", id)
			}
			_, _ = io.WriteString(rw, "ok")
		})
		if i == 0 {
			w.put("e", one(id))
			continue
		}
		old := compute.TaskID(fmt.Sprintf("t-%d", i-1))
		var enough atomic.Bool // none is called off: it could be at its container later than here
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for !enough.Load() {
					if s, err := w.try(t.Context(), "e", []byte("x")); err != nil || s.status != 200 {
						t.Error(s, err)
					}
				}
			})
		}
		w.put("e", one(id))
		w.eventually("the old one is drained", func() bool { return w.r.Open(old) == 0 })
		stopped[i-1].Store(true)
		for range 10 {
			w.invoke("e", "x")
		}
		enough.Store(true)
		wg.Wait()
	}
	k := resource.Key{Account: account, Region: region, Kind: serving.KindEndpoint, Name: "e"}
	w.put("e", serving.Endpoint{})
	if s := w.invoke("e", "x"); s.status != 400 {
		t.Errorf("a deleted endpoint: %d", s.status)
	}
	w.r.Changed(k)
	w.eventually("all is forgotten", func() bool {
		w.r.sweep(time.Now().Add(time.Hour))
		w.r.mu.RLock()
		defer w.r.mu.RUnlock()
		return len(w.r.hosts)+len(w.r.routes) == 0
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Timeout = 50 * time.Millisecond })
	let := make(chan struct{})
	w.container("t-1", func(http.ResponseWriter, *http.Request) { <-let })
	t.Cleanup(func() { close(let) })
	w.raw("t-2", func(c net.Conn) { // half an answer
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
		_, _ = io.Copy(io.Discard, c)
	})
	want := `Received server error (0) from primary with message "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again.".`
	for _, id := range []compute.TaskID{"t-1", "t-2"} {
		w.put("e", one(id))
		if s := w.invoke("e", "x"); s.status != 424 || !strings.HasPrefix(fmt.Sprint(s.member("Message")), want) {
			t.Errorf("%s: %d %s", id, s.status, s.body)
		}
	}
}

// A client that leaves takes its request along.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began, gone := make(chan struct{}), make(chan struct{})
	w.container("t-1", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(began)
		<-r.Context().Done()
		close(gone)
	})
	w.put("e", one("t-1"))
	ctx, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := w.try(ctx, "e", []byte("x")); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	<-began
	leave()
	<-gone
	wg.Wait()
	w.eventually("nothing is open", func() bool { return w.r.Open("t-1") == 0 })
}

// What is in flight is bounded, requests and answers together.
func TestBudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.InFlight = 3 << 20 })
	let := make(chan struct{})
	var began sync.WaitGroup
	began.Add(1)
	w.container("t-1", func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if len(b) == 2<<20 {
			began.Done()
			<-let
			return
		}
		rw.Header().Set("Content-Length", fmt.Sprint(600<<10))
		_, _ = rw.Write(bytes.Repeat([]byte("y"), 600<<10))
	})
	w.put("e", one("t-1"))
	var wg sync.WaitGroup
	wg.Go(func() {
		if s, err := w.try(t.Context(), "e", make([]byte, 2<<20)); err != nil || s.status != 200 {
			t.Error(s, err)
		}
	})
	began.Wait()
	if s := w.invoke("e", "x"); s.status != 200 || len(s.body) != 600<<10 {
		t.Errorf("what fits: %d", s.status)
	}
	// A request that does not fit waits for nobody, and so keeps nobody waiting.
	for size, what := range map[int]string{1<<20 + 1: "as many requests as it may", 600 << 10: "as many requests and responses as it may"} {
		if s := w.invoke("e", strings.Repeat("x", size)); s.status != 503 || s.header.Get("X-Amzn-Errortype") != "ServiceUnavailable" || !strings.Contains(s.body, what) {
			t.Errorf("%d bytes: %d %s, want %s", size, s.status, s.body, what)
		}
	}
	close(let)
	wg.Wait()
}
