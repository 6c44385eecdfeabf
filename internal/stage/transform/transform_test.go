package transform

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"clary/internal/stage/jsonpath"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// container is a model's server: what it was sent, and what it says.
type container struct {
	*httptest.Server
	mu    sync.Mutex
	sent  []string // bodies, as they came
	types []string
	most  int // requests at once
	now   int
}

// serve starts a container. answer is asked for each request's body.
func serve(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body string)) *container {
	t.Helper()
	c := &container{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.now++
		c.most = max(c.most, c.now)
		c.mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err == nil {
			c.mu.Lock()
			c.sent, c.types = append(c.sent, string(body)), append(c.types, r.Header.Get("Content-Type")+" "+r.Header.Get("Accept"))
			c.mu.Unlock()
			answer(w, r, string(body))
		}
		c.mu.Lock()
		c.now--
		c.mu.Unlock()
	}))
	t.Cleanup(c.Close)
	return c
}

// upper answers each line in upper case.
func upper(w http.ResponseWriter, _ *http.Request, body string) {
	w.Header().Set("Content-Type", "text/csv")
	_, _ = io.WriteString(w, strings.ToUpper(body))
}

// lengths answers each line with its length.
func lengths(w http.ResponseWriter, _ *http.Request, body string) {
	for l := range strings.Lines(body) {
		_, _ = fmt.Fprintf(w, "%d\n", len(strings.TrimSpace(l)))
	}
}

func text(name, data string) Object {
	return Object{Name: "bucket/" + name, Size: int64(len(data)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(data)), nil
	}}
}

func path(t *testing.T, p string) *jsonpath.Path {
	t.Helper()
	out, err := jsonpath.Parse(p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// does runs one object and gives what was made of it.
func does(t *testing.T, s Settings, o Object, containers ...*container) (string, error) {
	t.Helper()
	for _, c := range containers {
		s.Containers = append(s.Containers, c.URL)
	}
	s.Scratch = t.TempDir()
	tr, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	var out bytes.Buffer
	err = tr.Do(t.Context(), o, max(1, s.Concurrency), func(_ context.Context, r io.Reader) error {
		out.Reset()
		_, err := out.ReadFrom(r)
		return err
	})
	if err != nil {
		return "", err
	}
	return out.String(), nil
}

func TestBatches(t *testing.T) {
	t.Parallel()
	const lines4 = "one\ntwo\nthree\nfour\n"
	two := string(recordIOOf([]byte("first"))) + string(recordIOOf([]byte("second")))
	for name, tt := range map[string]struct {
		s            Settings
		object, want string
		sent         []string
	}{
		"one request":      {Settings{Split: SplitLine, MaxPayload: 100}, lines4, "ONE\nTWO\nTHREE\nFOUR\n", []string{lines4}},
		"as many as fit":   {Settings{Split: SplitLine, MaxPayload: 10}, lines4, "ONE\nTWO\nTHREE\nFOUR\n", []string{"one\ntwo\n", "three\n", "four\n"}},
		"exactly":          {Settings{Split: SplitLine, MaxPayload: 8}, "one\ntwo\nsix\nten", "ONE\nTWO\nSIX\nTEN", []string{"one\ntwo\n", "six\nten"}},
		"single":           {Settings{Split: SplitLine, MaxPayload: 8, SingleRecord: true}, "one\r\n\ntwo", "ONETWO", []string{"one", "two"}},
		"single, by lines": {Settings{Split: SplitLine, MaxPayload: 8, SingleRecord: true, Lines: true}, "one\ntwo\n", "ONE\nTWO\n", []string{"one", "two"}},
		"by lines":         {Settings{Split: SplitLine, MaxPayload: 100, Lines: true}, "one\ntwo", "ONE\nTWO\n", []string{"one\ntwo"}},
		"not split":        {Settings{MaxPayload: 100, SingleRecord: true}, "a\nb", "A\nB", []string{"a\nb"}},
		"nothing":          {Settings{Split: SplitLine, MaxPayload: 100, Lines: true}, "", "", nil},
		"multi RecordIO":   {Settings{Split: SplitRecordIO, MaxPayload: 100}, two, strings.ToUpper(two), []string{two}},
		"single RecordIO":  {Settings{Split: SplitRecordIO, MaxPayload: 100, SingleRecord: true}, two, "FIRSTSECOND", []string{"first", "second"}},
		"single TFRecord":  {Settings{Split: SplitTFRecord, MaxPayload: 100, SingleRecord: true, Lines: true}, string(tfRecordOf([]byte("ab"))) + string(tfRecordOf([]byte("cd"))), "AB\nCD\n", []string{"ab", "cd"}},
		"chunks":           {Settings{}, lines4, strings.ToUpper(lines4), []string{lines4}},
		"chunks of lines":  {Settings{Split: SplitLine, Lines: true}, "a\nb", "A\nB\n", []string{"a\nb"}},
		"chunks, single":   {Settings{Split: SplitLine, SingleRecord: true, Lines: true}, "a\nb", "A\nB\n", []string{"a", "b"}},
		"chunks, nothing":  {Settings{}, "", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, upper)
			got, err := does(t, tt.s, text("k", tt.object), c)
			if err != nil || got != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
			if fmt.Sprintf("%q", c.sent) != fmt.Sprintf("%q", tt.sent) {
				t.Errorf("%q was sent, want %q", c.sent, tt.sent)
			}
		})
	}
}

// countedConn counts what is written at once.
type countedConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestWholePayload sees that a payload goes out with its head and at once, and
// comes as it is.
func TestWholePayload(t *testing.T) {
	t.Parallel()
	var writes atomic.Int32
	data := strings.Repeat("0123456789abcde\n", MB/16)
	got, err := does(t, Settings{
		Split: SplitLine, MaxPayload: MB, Timeout: time.Minute,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return countedConn{c, &writes}, err
		},
	}, text("o", data), serve(t, func(w http.ResponseWriter, _ *http.Request, body string) { _, _ = io.WriteString(w, body) }))
	if err != nil || got != data {
		t.Errorf("%d bytes became %d, %v", len(data), len(got), err)
	}
	if n := writes.Load(); n > 3 {
		t.Errorf("a payload took %d writes", n)
	}
}

// Whatever is split, sent several at a time and put together again is what it
// was: in its order, and each record once.
func TestTransformIsTheIdentity(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	c := serve(t, func(w http.ResponseWriter, r *http.Request, body string) {
		time.Sleep(time.Duration(len(body)%7) * time.Millisecond) // answers come in another order
		_, _ = io.WriteString(w, body)
	})
	for kind, frame := range framings {
		for range 12 {
			var object bytes.Buffer
			for range 1 + rng.IntN(300) {
				object.Write(frame(bytes.Repeat([]byte("x"), rng.IntN(60))))
			}
			s := Settings{Split: kind, MaxPayload: 80 + rng.IntN(2000), Concurrency: 1 + rng.IntN(8)}
			got, err := does(t, s, text("k", object.String()), c)
			if err != nil || got != object.String() {
				t.Fatalf("%+v: %d bytes became %d, %v", s, object.Len(), len(got), err)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most < 2 || c.most > 8 {
		t.Errorf("%d requests at once", c.most)
	}
}

func zipped(t *testing.T, data string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGzip(t *testing.T) {
	t.Parallel()
	c := serve(t, upper)
	s := Settings{Split: SplitLine, MaxPayload: 10, Gzip: true, Lines: true}
	z := zipped(t, "one\ntwo\nthree\n")
	for name, tt := range map[string]struct{ object, want string }{"whole": {z, "ONE\nTWO\nTHREE\n"}, "of nothing": {zipped(t, ""), ""}, "two members": {z + zipped(t, "four\n"), "ONE\nTWO\nTHREE\nFOUR\n"}} {
		if got, err := does(t, s, text("k", tt.object), c); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, object := range map[string]string{"no gzip": "one\ntwo\n", "cut": z[:len(z)-9], "cut in its head": z[:4], "changed": z[:12] + "\xff\xff\xff" + z[15:]} {
		for _, most := range []int{10, 0} {
			s.MaxPayload = most
			_, err := does(t, s, text("k", object), c)
			if f, ok := errors.AsType[*Failure](err); !ok || f.Class != ClientError || !strings.Contains(f.Text, "gzip") || errors.Is(err, errGone) {
				t.Errorf("%s, MaxPayload %d: %v", name, most, err)
			}
		}
	}
}

// A pipeline's containers each get what the one before said, with its type; the
// last is told what is accepted.
func TestPipeline(t *testing.T) {
	t.Parallel()
	for _, most := range []int{100, 0} {
		first := serve(t, func(w http.ResponseWriter, _ *http.Request, body string) {
			w.Header().Set("Content-Type", "application/x-half")
			_, _ = io.WriteString(w, "<"+body+">")
		})
		second := serve(t, upper)
		s := Settings{MaxPayload: most, ContentType: "text/csv", Accept: "application/json", Retries: 3}
		got, err := does(t, s, text("k", "a,b"), first, second)
		if err != nil || got != "<A,B>" {
			t.Errorf("%q, %v", got, err)
		}
		if first.types[0] != "text/csv " || second.types[0] != "application/x-half application/json" {
			t.Errorf("%q then %q", first.types, second.types)
		}
		bad := serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
			http.Error(w, "no half of it", http.StatusBadRequest)
		})
		_, err = does(t, s, text("k", "a,b"), first, bad)
		if f, ok := errors.AsType[*Failure](err); !ok || f.Class != ClientError || !strings.Contains(f.Text, "the container at "+bad.URL+" answered 400: no half of it") {
			t.Errorf("%v", err)
		}
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	for status, tt := range map[int]struct {
		tries int
		class string
		line  string
	}{
		400: {1, ClientError, "bucket/k: ClientError: 400"},
		413: {1, ClientError, "bucket/k: ClientError: 413"},
		429: {3, ClientError, "bucket/k: ClientError: 429"},
		500: {3, AlgorithmError, "bucket/k: Bad HTTP status received from algorithm: 500"},
		503: {3, AlgorithmError, "bucket/k: Bad HTTP status received from algorithm: 503"},
		302: {1, AlgorithmError, "bucket/k: Bad HTTP status received from algorithm: 302"},
	} {
		for _, most := range []int{100, 0} {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, "first line\nsecond \x1b[31mline\n")
			})
			_, err := does(t, Settings{Split: SplitLine, MaxPayload: most, Retries: 2}, text("k", "a\n"), c)
			f, ok := errors.AsType[*Failure](err)
			if !ok {
				t.Errorf("%d: %v", status, err)
				continue
			}
			want := []string{tt.line, "bucket/k: ", "bucket/k: Message:", "bucket/k: first line", "bucket/k: second  [31mline"}
			if f.Class != tt.class || fmt.Sprintf("%q", f.Log) != fmt.Sprintf("%q", want) || len(c.sent) != tt.tries || !strings.Contains(f.Text, fmt.Sprintf("bucket/k: the container answered %d: first line", status)) {
				t.Errorf("%d, MaxPayload %d: after %d tries %s %q, %s", status, most, len(c.sent), f.Class, f.Log, f.Text)
			}
		}
	}
}

// What was asked in vain is asked again, and the result is whole.
func TestRetries(t *testing.T) {
	t.Parallel()
	for _, most := range []int{8, 0} {
		var n atomic.Int32
		c := serve(t, func(w http.ResponseWriter, r *http.Request, body string) {
			switch n.Add(1) {
			case 1:
				w.WriteHeader(http.StatusInternalServerError)
			case 2:
				_, _ = io.WriteString(w, "half of an ans")
				panic(http.ErrAbortHandler)
			case 3:
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(w, "less than it said")
			default:
				upper(w, r, body)
			}
		})
		got, err := does(t, Settings{Split: SplitLine, MaxPayload: most, Retries: 3}, text("k", "one\ntwo\nsix\nten\n"), c)
		if err != nil || got != "ONE\nTWO\nSIX\nTEN\n" {
			t.Errorf("MaxPayload %d: %q, %v", most, got, err)
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	for name, tt := range map[string]struct {
		s      Settings
		object string
		answer func(http.ResponseWriter, *http.Request, string)
		class  string
		log    []string
		text   string
	}{
		"a large object": {Settings{MaxPayload: MB}, strings.Repeat("x", MB+1), upper, ClientError, []string{"Too much data for max payload size"}, "the object is larger than 1 MB; set SplitType"},
		"a large record": {Settings{Split: SplitLine, MaxPayload: MB}, "a\n" + strings.Repeat("x", MB+1), upper, ClientError, []string{"Too much data for max payload size"}, "a record is larger than 1 MB"},
		"no RecordIO":    {Settings{Split: SplitRecordIO, MaxPayload: MB}, "1,2\n3,4\n", upper, ClientError, []string{"ClientError: it is not RecordIO"}, "the magic number"},
		"slow":           {Settings{MaxPayload: MB, Timeout: 50 * time.Millisecond, Retries: 1}, "a", func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() }, AlgorithmError, []string{"Unable to get response from algorithm"}, "it took longer than 50ms, which InvocationsTimeoutInSeconds allows (asked 2 times)"},
		"slow, chunks":   {Settings{Timeout: 50 * time.Millisecond}, "a", func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() }, AlgorithmError, []string{"Unable to get response from algorithm"}, "it took longer than 50ms"},
		"half": {Settings{MaxPayload: MB}, "a", func(w http.ResponseWriter, _ *http.Request, _ string) {
			_, _ = io.WriteString(w, "x")
			panic(http.ErrAbortHandler)
		}, AlgorithmError, []string{"Unable to get response from algorithm"}, "before its answer had ended"},
		"endless head": {Settings{MaxPayload: MB}, "a", func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		}, AlgorithmError, []string{"Unable to get response from algorithm"}, "gave no answer"},
		"no JSON to filter":  {Settings{Split: SplitLine, MaxPayload: MB, ContentType: "application/jsonlines", Input: path(t, "$.a")}, "{\"a\":1}\nnonsense\n", upper, ClientError, []string{"Fail to apply InputFilter"}, "not valid JSON, in \\\"nonsense\\\""},
		"no such member":     {Settings{Split: SplitLine, MaxPayload: MB, ContentType: "application/jsonlines", Input: path(t, "$.a")}, "{\"b\":1}\n", upper, ClientError, []string{"Fail to apply InputFilter"}, `there is no "a"`},
		"no such column":     {Settings{Split: SplitLine, MaxPayload: MB, ContentType: "text/csv", Input: path(t, "$[2]")}, "1,2\n", upper, ClientError, []string{"Fail to apply InputFilter"}, "index 2 is not within the record, which has 2 elements"},
		"open quote":         {Settings{Split: SplitLine, MaxPayload: MB, ContentType: "text/csv", Input: path(t, "$[0]")}, "\"1\n2\",3\n", upper, ClientError, []string{"Fail to apply InputFilter"}, "a quote is not closed"},
		"fewer answers":      {Settings{Split: SplitLine, MaxPayload: MB, ContentType: "text/csv", Join: true}, "1\n2\n3\n", func(w http.ResponseWriter, _ *http.Request, _ string) { _, _ = io.WriteString(w, "a\nb\n") }, ClientError, []string{"Fail to join data: mismatched line count between the input and the output", "3 records went to the container and 2 records came back"}, "mismatched line count"},
		"more answers":       {Settings{Split: SplitLine, MaxPayload: MB, ContentType: "text/csv", Join: true}, "1\n", func(w http.ResponseWriter, _ *http.Request, _ string) { _, _ = io.WriteString(w, "a\nb\nc\n") }, ClientError, []string{"Fail to join data: mismatched line count between the input and the output", "1 record went to the container and 3 records came back"}, "mismatched line count"},
		"more, in chunks":    {Settings{Split: SplitLine, ContentType: "text/csv", Join: true}, "1\n", func(w http.ResponseWriter, _ *http.Request, _ string) { _, _ = io.WriteString(w, "a\nb\nc\n") }, ClientError, []string{"Fail to join data: mismatched line count between the input and the output", "1 record went to the container and 3 records came back"}, "mismatched line count"},
		"more of a document": {Settings{Split: SplitLine, MaxPayload: MB, ContentType: "application/json", Join: true}, "{}\n", func(w http.ResponseWriter, _ *http.Request, _ string) { _, _ = io.WriteString(w, "1\n2\n") }, ClientError, []string{"Fail to join data: mismatched line count between the input and the output", "1 record went to the container and 2 records came back"}, "mismatched"},
		"none":               {Settings{Split: SplitLine, MaxPayload: MB, ContentType: "application/json", Join: true}, "{}\n", func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusNoContent) }, ClientError, []string{"Fail to join data: mismatched line count between the input and the output", "1 record went to the container and 0 records came back"}, "mismatched"},
		"no JSON answers":    {Settings{Split: SplitLine, MaxPayload: MB, ContentType: "application/jsonlines", Join: true}, "{}\n{}\n", upperWith("x\ny\n"), AlgorithmError, []string{"Failed to parse output from the algorithm as JSON"}, `it is \"x\"`},
		"no JSON input":      {Settings{Split: SplitLine, MaxPayload: MB, ContentType: "application/jsonlines", Join: true}, "a\nb\n", upperWith("1\n2\n"), ClientError, []string{"Failed to parse the input as JSON"}, `a record is \"a\"`},
		"no column to keep":  {Settings{Split: SplitLine, MaxPayload: MB, ContentType: "text/csv", Join: true, Output: path(t, "$[0,9]")}, "1,2\n", upper, ClientError, []string{"Fail to apply OutputFilter"}, "index 9 is not within the record, which has 4 elements"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := does(t, tt.s, text("k", tt.object), serve(t, tt.answer))
			f, ok := errors.AsType[*Failure](err)
			if !ok {
				t.Fatalf("%v", err)
			}
			if f.Class != tt.class || !strings.Contains(fmt.Sprintf("%q", f.Text), tt.text) && !strings.Contains(f.Text, tt.text) || !strings.HasPrefix(f.Text, "bucket/k: ") {
				t.Errorf("%s %s, want %s %s", f.Class, f.Text, tt.class, tt.text)
			}
			for i, l := range tt.log {
				if i >= len(f.Log) || !strings.HasPrefix(f.Log[i], "bucket/k: "+l) {
					t.Errorf("%q, want %q", f.Log, tt.log)
				}
			}
			for _, l := range f.Log {
				if strings.Contains(l, "\n") || len(l) > 1100 {
					t.Errorf("a line of the log is %q", l)
				}
			}
		})
	}
}

func upperWith(answer string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, _ string) { _, _ = io.WriteString(w, answer) }
}

// A container that cannot be reached is told apart from one that answers badly.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	c := serve(t, upper)
	c.Close()
	_, err := does(t, Settings{MaxPayload: MB, Retries: 1}, text("k", "a"), c)
	f, ok := errors.AsType[*Failure](err)
	if !ok || !f.Silent() || f.Class != AlgorithmError || !strings.Contains(f.Text, "connection refused") || strings.Contains(f.Text, "http://") {
		t.Errorf("%v", err)
	}
}

// Storage's errors are nobody's fault here: they stay what they are, and the one
// who writes sees no end.
func TestStorageErrors(t *testing.T) {
	t.Parallel()
	c := serve(t, upper)
	broken := errors.New("storage broke")
	for _, most := range []int{100, 0} {
		tr, err := New(Settings{Containers: []string{c.URL}, Split: SplitLine, MaxPayload: most})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		none := Object{Name: "b/k", Size: 10, Open: func(context.Context) (io.ReadCloser, error) { return nil, broken }}
		half := Object{Name: "b/k", Size: 10, Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("one\n"), errReader{fmt.Errorf("it: %w", broken)})), nil
		}}
		cut := Object{Name: "b/k", Size: 10, Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("one\n"), errReader{io.ErrUnexpectedEOF})), nil
		}}
		for name, o := range map[string]Object{"none": none, "half": half, "cut": cut} {
			var seen error
			err := tr.Do(t.Context(), o, 1, func(_ context.Context, r io.Reader) error {
				_, seen = io.ReadAll(r)
				return seen
			})
			if f, ok := errors.AsType[*Failure](err); err == nil || ok || name != "cut" && !errors.Is(err, broken) {
				t.Errorf("%s: %v %v", name, err, f)
			}
			if seen == nil || errors.Is(seen, io.ErrUnexpectedEOF) || errors.Is(seen, io.EOF) {
				t.Errorf("%s: the writer saw %v", name, seen)
			}
		}
		err = tr.Do(t.Context(), text("k", "one\ntwo\n"), 1, func(context.Context, io.Reader) error { return broken })
		if !errors.Is(err, broken) {
			t.Errorf("put: %v", err)
		}
		err = tr.Do(t.Context(), text("k", strings.Repeat("one\n", 1<<18)), 1, func(_ context.Context, r io.Reader) error {
			_, _ = r.Read(make([]byte, 10))
			return broken
		})
		if !errors.Is(err, broken) {
			t.Errorf("put, late: %v", err)
		}
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

// Whoever ends it is not kept waiting, and gets the cause.
func TestEnd(t *testing.T) {
	t.Parallel()
	for _, most := range []int{8, 0} {
		here := make(chan struct{}, 100)
		c := serve(t, func(_ http.ResponseWriter, r *http.Request, _ string) {
			here <- struct{}{}
			<-r.Context().Done()
		})
		tr, err := New(Settings{Containers: []string{c.URL}, Split: SplitLine, MaxPayload: most, Concurrency: 2, Retries: 5, Timeout: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped")
		go func() {
			<-here
			cancel(stopped)
		}()
		err = tr.Do(ctx, text("k", "one\ntwo\nsix\nten\n"), 2, func(_ context.Context, r io.Reader) error {
			_, err := io.ReadAll(r)
			return err
		})
		if !errors.Is(err, stopped) {
			t.Errorf("MaxPayload %d: %v", most, err)
		}
		tr.Close()
	}
}
