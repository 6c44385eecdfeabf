package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/codec/eventstream"
	"clary/internal/compute"
	"clary/internal/serving"
)

func computeID(s string) compute.TaskID { return compute.TaskID(s) }

// events reads a stream one event at a time.
type events struct {
	res *http.Response
	buf []byte
}

func (w *world) streamed(ctx context.Context, endpoint, body string, headers ...string) *events {
	w.Helper()
	res, err := w.client.Do(w.request(ctx, "/endpoints/"+endpoint+"/invocations-response-stream", []byte(body), headers...))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = res.Body.Close() })
	return &events{res: res}
}

// next is "type payload", or "" at the end.
func (e *events) next() (string, error) {
	for {
		m, rest, ok, err := eventstream.Take(e.buf)
		if err != nil {
			return "", err
		}
		if ok {
			e.buf = rest
			kind := ""
			for _, h := range m.Headers {
				if h.Name == ":event-type" || h.Name == ":exception-type" {
					kind = h.Value
				}
			}
			return kind + " " + string(m.Payload), nil
		}
		b := make([]byte, 4096)
		n, err := e.res.Body.Read(b)
		e.buf = append(e.buf, b[:n]...)
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) && len(e.buf) == 0 {
				return "", nil
			}
			return "", err
		}
	}
}

func (e *events) want(t *testing.T, want string) {
	t.Helper()
	if got, err := e.next(); err != nil || got != want {
		t.Fatalf("%q, %v; want %q", got, err, want)
	}
}

// Pieces reach the client as the container says them.
func TestStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	let := make(chan string)
	w.container("t-1", func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "first") })
	w.container("t-2", func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Header.Get("Accept") == "fail" {
			rw.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(rw, "no")
			return
		}
		rw.Header().Set("Content-Type", "application/jsonlines")
		rw.Header().Set("X-Amzn-Sagemaker-Custom-Attributes", string(b))
		_ = http.NewResponseController(rw).Flush()
		for s := range let {
			if s == "die" {
				panic(http.ErrAbortHandler)
			}
			_, _ = io.WriteString(rw, s)
			_ = http.NewResponseController(rw).Flush()
		}
	})
	w.put("e", serving.Endpoint{Variants: []serving.Variant{{Name: "v", Weight: 1, Containers: []string{"a", "b"}, Instances: []serving.Instance{{ID: "i", Tasks: []compute.TaskID{"t-1", "t-2"}}}}}})
	e := w.streamed(t.Context(), "e", "x")
	for name, want := range map[string]string{
		"Content-Type": eventstream.ContentType, "X-Amzn-Sagemaker-Content-Type": "application/jsonlines",
		"X-Amzn-Invoked-Production-Variant": "v", "X-Amzn-Sagemaker-Custom-Attributes": "first",
	} {
		if got := e.res.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, s := range []string{"one", `{"two":2}`} {
		let <- s
		e.want(t, "PayloadPart "+s)
	}
	close(let)
	e.want(t, "")
	w.eventually("nothing is open", func() bool { return w.r.Open("t-2") == 0 })

	let = make(chan string)
	e = w.streamed(t.Context(), "e", "x")
	let <- "one"
	e.want(t, "PayloadPart one")
	let <- "die"
	got, err := e.next()
	if err != nil || !strings.HasPrefix(got, "ModelStreamError ") || !strings.Contains(got, `"ErrorCode":"StreamBroken"`) || !strings.Contains(got, `"Message":"The connection to container b ended before its response did."`) {
		t.Errorf("%q, %v", got, err)
	}
	e.want(t, "")

	e = w.streamed(t.Context(), "e", "x", "X-Amzn-SageMaker-Accept", "fail")
	b, _ := io.ReadAll(e.res.Body)
	if s := (said{e.res.StatusCode, e.res.Header, string(b)}); s.status != 424 || !strings.HasPrefix(fmt.Sprint(s.member("Message")), `Received client error (400) from b with message "no". See`) {
		t.Errorf("%d %s", s.status, b)
	}
	if e = w.streamed(t.Context(), "none", "x"); e.res.StatusCode != http.StatusBadRequest {
		t.Error(e.res.Status)
	}
}

func TestStreamEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.StreamTimeout = 300 * time.Millisecond })
	gone := make(chan struct{}, 2)
	w.container("t-1", func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, "x")
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		gone <- struct{}{}
	})
	w.put("e", one("t-1"))
	e := w.streamed(t.Context(), "e", "x")
	e.want(t, "PayloadPart x")
	got, err := e.next()
	if err != nil || !strings.Contains(got, `"ErrorCode":"ModelInvocationTimeExceeded"`) {
		t.Errorf("%q, %v", got, err)
	}
	<-gone

	w = newWorld(t)
	w.container("t-1", func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, "x")
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		gone <- struct{}{}
	})
	w.put("e", one("t-1"))
	ctx, leave := context.WithCancel(t.Context())
	w.streamed(ctx, "e", "x").want(t, "PayloadPart x")
	leave()
	<-gone
	w.eventually("nothing is open", func() bool { return w.r.Open("t-1") == 0 })
}

// A stream that never ends costs one piece of memory.
func TestStreamIsLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxPayload, c.InFlight = 64<<10, 128<<10 })
	const size = 8 << 20
	w.raw("t-1", func(c net.Conn) {
		_, _ = io.WriteString(c, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size))
		_, _ = io.WriteString(c, strings.Repeat("x", size))
		_, _ = io.Copy(io.Discard, c)
	})
	w.put("e", one("t-1"))
	e, n := w.streamed(t.Context(), "e", "x"), 0
	for {
		got, err := e.next()
		if err != nil {
			t.Fatal(err)
		}
		if got == "" {
			break
		}
		n += len(got) - len("PayloadPart ")
	}
	if n != size {
		t.Errorf("%d bytes", n)
	}
}
