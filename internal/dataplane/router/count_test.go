package router

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/compute"
	"clary/internal/serving"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.container("t-1", func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch string(b) {
		case "4":
			rw.WriteHeader(http.StatusNotFound)
		case "5":
			rw.WriteHeader(http.StatusInternalServerError)
		case "die":
			panic(http.ErrAbortHandler)
		}
	})
	w.put("e", serving.Endpoint{Variants: []serving.Variant{{Name: "v", Weight: 1, Instances: []serving.Instance{
		{ID: "i-1", Tasks: []compute.TaskID{"t-1"}}, {ID: "i-2", Tasks: []compute.TaskID{"t-1"}},
	}}}})
	w.meter.fail(errors.New("no room"))
	bodies := []string{"x", "x", "x", "4", "4", "5", "die"}
	for _, b := range bodies {
		w.invoke("e", b)
	}
	w.invoke("nobody", "x")
	w.r.putMetrics(t.Context()) // in vain, and nothing is lost
	w.meter.fail(nil)
	for name, want := range map[string]float64{
		"Invocations": 7, "Invocation4XXErrors": 2, "Invocation5XXErrors": 1, "InvocationModelErrors": 4, "InvocationsPerInstance": 3.5,
	} {
		w.eventually(name, func() bool { sum, n := w.meter.sum(name, "v"); return sum == want && n == 7 })
	}
	for _, name := range []string{"ModelLatency", "OverheadLatency"} {
		if sum, n := w.meter.sum(name, "v"); sum <= 0 || n != 7 {
			t.Errorf("%s: %v of %v", name, sum, n)
		}
	}
	w.meter.mu.Lock()
	defer w.meter.mu.Unlock()
	for _, d := range w.meter.data {
		if d.Min > d.Max || d.Count > 1 && (d.Sum < d.Min*d.Count-1e-6 || d.Sum > d.Max*d.Count+1e-6) || d.Dimensions["EndpointName"] != "e" {
			t.Errorf("%+v", d)
		}
	}
}

func TestCapture(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.container("t-1", func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if string(b) == "fail" {
			rw.WriteHeader(http.StatusBadRequest)
		}
		rw.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = io.WriteString(rw, `{"n":1}`)
	})
	e := one("t-1")
	e.Capture = &serving.Capture{Percent: 100, S3Uri: "s3://bucket/some/prefix/", Input: true, Output: true, CSV: []string{"Text/CSV"}, JSON: []string{"application/json"}, RoleArn: "arn:aws:iam::1:role/r"}
	w.put("e", e)
	w.invoke("e", "a,b\n", "Content-Type", "text/csv", "X-Amzn-SageMaker-Inference-Id", "i-7", "X-Amzn-SageMaker-Custom-Attributes", "c=1")
	w.invoke("e", "\xff\x00", "Content-Type", "text/csv")
	w.invoke("e", "fail")
	e.Capture.Input, e.Capture.JSON = false, nil
	w.put("e", e)
	w.invoke("e", "x")
	w.streamed(t.Context(), "e", "x").want(t, `PayloadPart {"n":1}`)
	e.Capture.Percent = 0
	w.put("e", e)
	w.invoke("e", "x")
	w.eventually("all was counted out", func() bool { return w.r.Open("t-1") == 0 })

	w.files.fail(errors.New("no room"))
	w.r.keepAll(t.Context())
	w.files.fail(nil)
	w.r.keepAll(t.Context())
	w.files.mu.Lock()
	defer w.files.mu.Unlock()
	if len(w.files.all) == 0 {
		t.Fatal("no file")
	}
	f := w.files.all[0]
	for _, more := range w.files.all[1:] { // on a slow machine
		f.Body = append(f.Body, more.Body...)
	}
	if !regexp.MustCompile(`^some/prefix/e/AllTraffic/\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl$`).MatchString(f.Key) ||
		f.Bucket != "bucket" || f.RoleArn != e.Capture.RoleArn || f.Account != account || f.Region != region {
		t.Errorf("%+v", f)
	}
	var got []string
	for line := range strings.Lines(string(f.Body)) {
		var e struct {
			CaptureData   map[string]map[string]string `json:"captureData"`
			EventMetadata map[string]any               `json:"eventMetadata"`
			EventVersion  string                       `json:"eventVersion"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.EventVersion != "0" || !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`).MatchString(e.EventMetadata["inferenceTime"].(string)) || len(e.EventMetadata["eventId"].(string)) != 36 {
			t.Error(line)
		}
		delete(e.EventMetadata, "inferenceTime")
		delete(e.EventMetadata, "eventId")
		b, _ := json.Marshal(e)
		got = append(got, string(b))
	}
	want := []string{
		`{"captureData":{"endpointInput":{"data":"a,b\n","encoding":"CSV","mode":"INPUT","observedContentType":"text/csv"},"endpointOutput":{"data":"{\"n\":1}","encoding":"JSON","mode":"OUTPUT","observedContentType":"application/json; charset=utf-8"}},"eventMetadata":{"customAttributes":["c=1"],"inferenceId":"i-7"},"eventVersion":"0"}`,
		`{"captureData":{"endpointInput":{"data":"/wA=","encoding":"BASE64","mode":"INPUT","observedContentType":"text/csv"},"endpointOutput":{"data":"{\"n\":1}","encoding":"JSON","mode":"OUTPUT","observedContentType":"application/json; charset=utf-8"}},"eventMetadata":{},"eventVersion":"0"}`,
		`{"captureData":{"endpointOutput":{"data":"eyJuIjoxfQ==","encoding":"BASE64","mode":"OUTPUT","observedContentType":"application/json; charset=utf-8"}},"eventMetadata":{},"eventVersion":"0"}`,
	}
	want = append(want, want[2])
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What cannot be written is kept up to a bound, and no longer than it may be.
func TestCaptureIsBounded(t *testing.T) {
	t.Parallel()
	f := &files{err: context.DeadlineExceeded}
	r, err := New(Config{Records: nowhere{}, Dialer: once{}, Meter: &meters{}, Keep: f.keep, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	k := batchKey{variant: "v", uri: "s3://b"}
	line := make([]byte, 1<<20)
	for range captureRoom/len(line) + 10 {
		r.captures.add(k, line)
	}
	if c := &r.captures; c.held > captureRoom || c.lost != 10 {
		t.Errorf("%d bytes, %d lost", c.held, c.lost)
	}
	r.keepAll(t.Context())
	if c := &r.captures; c.held != captureRoom || len(c.batches) != 1 {
		t.Errorf("%d bytes of what may be written later", c.held)
	}
	f.fail(apierr.AccessDenied("no"))
	r.keepAll(t.Context())
	if c := &r.captures; c.held != 0 || len(c.batches) != 0 {
		t.Errorf("%d bytes of what is refused", c.held)
	}
	if key := objectKey(k, time.Now()); strings.HasPrefix(key, "/") {
		t.Error(key)
	}
}
