package transform

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// What is large is put aside, and comes out as it was.
func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789abcde\n", 1<<15)
	c := serve(t, func(w http.ResponseWriter, _ *http.Request, body string) {
		_, _ = io.WriteString(w, large+body)
	})
	second := serve(t, upper)
	tr, err := New(Settings{Containers: []string{c.URL, second.URL}, Split: SplitLine, MaxPayload: 8, Concurrency: 3, Scratch: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	tr.held = 1000
	var got strings.Builder
	err = tr.Do(t.Context(), text("k", "one\ntwo\nsix\nten\n"), 3, func(_ context.Context, r io.Reader) error {
		_, err := io.Copy(&got, r)
		return err
	})
	if want := strings.ToUpper(large + "one\ntwo\n" + large + "six\nten\n"); err != nil || got.String() != want {
		t.Errorf("%d bytes, want %d: %v", got.Len(), len(want), err)
	}
	if left, err := os.ReadDir(tr.s.Scratch); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	tr.s.Scratch += "/nowhere"
	err = tr.Do(t.Context(), text("k", "one\n"), 1, func(_ context.Context, r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
	if _, ok := errors.AsType[*Failure](err); err == nil || ok {
		t.Errorf("without a folder: %v", err)
	}
}

// raw is a server that says what it is told to, whatever it is asked.
func raw(t *testing.T, say func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					_, _ = io.Copy(io.Discard, req.Body)
				}
				say(c)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return "http://" + l.Addr().String()
}

// What a container does to whoever asks it ends with the time that it has, or
// with what an answer may be.
func TestHostile(t *testing.T) {
	t.Parallel()
	forever := func(c net.Conn, what string) {
		for {
			if _, err := io.WriteString(c, what); err != nil {
				return
			}
		}
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, tt := range map[string]struct {
		say  func(net.Conn)
		want string
	}{
		"endless answer": {func(c net.Conn) { _, _ = io.WriteString(c, ok+"\r\n"); forever(c, strings.Repeat("x", 1<<16)) }, "its answer is too large: more than 1 MB"},
		"endless chunks": {func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n")
			forever(c, "1\r\nx\r\n")
		}, "its answer is too large"},
		"endless header":        {func(c net.Conn) { _, _ = io.WriteString(c, ok+"X: "); forever(c, "xxxxxxxxxxxxxxxx") }, "header"},
		"endless headers":       {func(c net.Conn) { _, _ = io.WriteString(c, ok); forever(c, "X-Y: z\r\n") }, "header"},
		"endless informational": {func(c net.Conn) { forever(c, "HTTP/1.1 103 Early Hints\r\n\r\n") }, "response headers exceeded"},
		"slow header": {func(c net.Conn) {
			for _, b := range []byte(ok + "X: " + strings.Repeat("y", 10000)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}, "it took longer than"},
		"slow answer": {func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Content-Length: 100000\r\n\r\n")
			for {
				if _, err := c.Write([]byte{'x'}); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}, "it took longer than"},
		"no HTTP":          {func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example.com ESMTP\r\n") }, "malformed HTTP"},
		"nothing":          {func(net.Conn) {}, "before its answer had ended"},
		"a length of -1":   {func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Length: -1\r\n\r\nx") }, "Content-Length"},
		"a length of 2^60": {func(c net.Conn) { _, _ = fmt.Fprintf(c, ok+"Content-Length: %d\r\n\r\nx", 1<<60) }, "before its answer had ended"},
		"two lengths":      {func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy") }, "Content-Length"},
		"bad chunks":       {func(c net.Conn) { _, _ = io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\nzz\r\n") }, "chunk"},
		"gzip": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 500 \x1b[2J\r\nContent-Length: 3\r\n\r\n\x00\xff\x07")
		}, "answered 500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Settings{Containers: []string{raw(t, tt.say)}, MaxPayload: MB, Timeout: time.Second, Scratch: t.TempDir()}
			if strings.Contains(tt.want, "too large") {
				s.Timeout = time.Minute
			}
			tr, err := New(s)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			tr.held, tr.most = 64<<10, MB
			err = tr.Do(t.Context(), text("k", "a"), 1, func(_ context.Context, r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
			f, ok := errors.AsType[*Failure](err)
			if !ok || f.Class != AlgorithmError || !strings.Contains(f.Text, tt.want) {
				t.Fatalf("%v, want %s", err, tt.want)
			}
			for _, l := range f.Log {
				if strings.ContainsAny(l, "\x1b\x00\n") || !utf8.ValidString(l) {
					t.Errorf("the log has %q", l)
				}
			}
		})
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	after := time.Now().Add(200 * time.Millisecond)
	c := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.URL.Path != "/ping" || time.Now().Before(after) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	well := serve(t, func(http.ResponseWriter, *http.Request, string) {})
	ill := serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusTeapot) })
	gone := serve(t, upper)
	gone.Close()
	ready := func(patience time.Duration, urls ...string) error {
		tr, err := New(Settings{Containers: urls})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		return tr.Ready(t.Context(), patience)
	}
	if err := ready(time.Minute, well.URL, c.URL); err != nil {
		t.Error(err)
	}
	if err := ready(2*time.Second, well.URL, ill.URL); err == nil || !strings.Contains(err.Error(), "Model container failed to respond to ping") || !strings.Contains(err.Error(), "the container at "+ill.URL+" answered 418") {
		t.Error(err)
	}
	if err := ready(2*time.Second, gone.URL); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	tr, err := New(Settings{Containers: []string{gone.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Ready(ctx, time.Minute); !errors.Is(err, stopped) {
		t.Error(err)
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	for body, tt := range map[string]struct{ want, err string }{
		`{"MaxConcurrentTransforms": 8, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 0}`: {"8 SINGLE_RECORD 0", ""},
		`{"MaxConcurrentTransforms": 4.0}`: {"4 - -", ""},
		`{}`:                               {"- - -", ""},
		`{"MaxConcurrentTransforms": null, "MaxPayloadInMB": 6}`:    {"- - 6", ""},
		`{"MaxConcurrentTransforms": 0, "MaxPayloadInMB": 6}`:       {"- - 6", "MaxConcurrentTransforms 0, which is not a whole number from 1 to 100"},
		`{"MaxConcurrentTransforms": 1e9, "MaxPayloadInMB": -1}`:    {"- - -", "MaxPayloadInMB -1"},
		`{"MaxConcurrentTransforms": "4", "BatchStrategy": "Many"}`: {"- - -", "BatchStrategy Many, which is neither"},
		`{"MaxConcurrentTransforms": 1.5, "BatchStrategy": [1]}`:    {"- - -", "MaxConcurrentTransforms 1.5"},
		`[]`:            {"- - -", "no JSON object"},
		`not found`:     {"- - -", "no JSON object"},
		`{"MaxPayload`:  {"- - -", "no JSON object"},
		``:              {"- - -", "no JSON object"},
		"status 404":    {"- - -", ""},
		"status 500":    {"- - -", "answered 500"},
		"status hijack": {"- - -", "GET /execution-parameters"},
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
			switch {
			case r.URL.Path != "/execution-parameters" || r.Method != http.MethodGet:
				t.Errorf("%s %s", r.Method, r.URL)
			case body == "status hijack":
				panic(http.ErrAbortHandler)
			case strings.HasPrefix(body, "status "):
				var code int
				_, _ = fmt.Sscan(body[7:], &code)
				w.WriteHeader(code)
			default:
				_, _ = io.WriteString(w, body)
			}
		})
		tr, err := New(Settings{Containers: []string{c.URL}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := tr.Parameters(t.Context())
		tr.Close()
		show := func(p any) string {
			switch v := p.(type) {
			case *int64:
				if v != nil {
					return fmt.Sprint(*v)
				}
			case *string:
				if v != nil {
					return *v
				}
			}
			return "-"
		}
		if got := show(p.MaxConcurrentTransforms) + " " + show(p.BatchStrategy) + " " + show(p.MaxPayloadInMB); got != tt.want {
			t.Errorf("%s: %s, want %s", body, got, tt.want)
		}
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %s", body, err, tt.err)
		}
	}
}

func TestWeight(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		s    Settings
		size int64
		want int
	}{
		{Settings{Split: SplitLine, MaxPayload: 10}, 0, 1},
		{Settings{Split: SplitLine, MaxPayload: 10}, 9, 1},
		{Settings{Split: SplitLine, MaxPayload: 10}, 25, 3},
		{Settings{Split: SplitLine, MaxPayload: 10}, 1e6, 8},
		{Settings{Split: SplitLine, MaxPayload: 10}, -1, 8},
		{Settings{Split: SplitLine, MaxPayload: 10, Gzip: true}, 9, 8},
		{Settings{Split: SplitLine, MaxPayload: 10, SingleRecord: true}, 9, 8},
		{Settings{Split: SplitLine, MaxPayload: 10, SingleRecord: true}, 3, 3},
		{Settings{Split: SplitLine}, 1e9, 1},
		{Settings{MaxPayload: 10}, 1e9, 1},
	} {
		tt.s.Concurrency = 8
		tr, err := New(tt.s)
		if err != nil {
			t.Fatal(err)
		}
		if got := tr.Weight(tt.size); got != tt.want {
			t.Errorf("%+v of %d: %d", tt.s, tt.size, got)
		}
	}
}
