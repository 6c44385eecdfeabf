package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"clary/internal/client/clienttest"
)

func testCredentials(context.Context) (Credentials, error) {
	return Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: clienttest.Secret, SessionToken: "token"}, nil
}

// start serves s over a unix socket, as a task sees it.
func start(t *testing.T, h http.Handler) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	srv.Start()
	c := New(Config{
		Endpoint: "http://clary", Region: "us-east-1", Credentials: testCredentials,
		Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	})
	t.Cleanup(func() { c.Close(); srv.Close() })
	return c
}

func TestObjects(t *testing.T) {
	t.Parallel()
	s3 := clienttest.New("bucket")
	s3.PageSize = 2
	c := start(t, s3)
	ctx := t.Context()
	keys := []string{"a b+c%.txt", "d/../e", "d/é", "d//f", "z?x=1&y", "~tilde!*'()"}
	for _, k := range keys {
		if err := c.Put(ctx, "bucket", k, []byte("of "+k)); err != nil {
			t.Fatalf("put %q: %v", k, err)
		}
	}
	var listed []string
	for o, err := range c.List(ctx, "bucket", "") {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, o.Key)
	}
	if strings.Join(listed, "|") != strings.Join(s3.Keys("bucket"), "|") || len(listed) != len(keys) {
		t.Errorf("listed %q, stored %q", listed, s3.Keys("bucket"))
	}
	for _, k := range keys {
		body, o, err := c.Get(ctx, "bucket", k)
		if err != nil {
			t.Fatalf("get %q: %v", k, err)
		}
		data, err := io.ReadAll(body)
		if err != nil || string(data) != "of "+k || o.Size != int64(len(data)) {
			t.Errorf("get %q = %q, %d, %v", k, data, o.Size, err)
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Head(ctx, "bucket", "none"); !IsNotFound(err) {
		t.Errorf("head of nothing: %v", err)
	}
	if _, _, err := c.Get(ctx, "nobucket", "x"); Code(err) != "NoSuchBucket" {
		t.Errorf("get in no bucket: %v", err)
	}
	near, err := c.Near(ctx, "bucket", "", 10)
	if err != nil || !strings.Contains(strings.Join(near, "|"), "d/") {
		t.Errorf("near = %q, %v", near, err)
	}
	if err := c.Delete(ctx, "bucket", keys[0]); err != nil {
		t.Error(err)
	}
	if _, ok := s3.Object("bucket", keys[0]); ok {
		t.Error("deleted object is there")
	}
}

func TestUploadSizes(t *testing.T) {
	t.Parallel()
	s3 := clienttest.New("bucket")
	c := start(t, s3)
	for _, size := range []int{0, 1, partSize >> 7, partSize>>7 + 1, 1 << 20, partSize - 1, partSize, partSize + 1, 2 * partSize, 2*partSize + 7} {
		want := make([]byte, size)
		rng := rand.NewChaCha8([32]byte{byte(size)})
		_, _ = rng.Read(want)
		if _, err := c.Upload(t.Context(), "bucket", "k", io.MultiReader(bytes.NewReader(want))); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if got, _ := s3.Object("bucket", "k"); !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back as %d", size, len(got))
		}
	}
	if n := s3.Uploads(); n != 0 {
		t.Errorf("%d uploads left open", n)
	}
}

func TestUploadFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	s3 := clienttest.New("bucket")
	c := start(t, s3)
	broken := errors.New("source broke")
	body := io.MultiReader(bytes.NewReader(make([]byte, partSize+5)), errReader{broken})
	if _, err := c.Upload(t.Context(), "bucket", "k", body); !errors.Is(err, broken) {
		t.Errorf("err = %v", err)
	}
	if _, ok := s3.Object("bucket", "k"); ok || s3.Uploads() != 0 {
		t.Error("something was left behind")
	}
}

// A body that was cut says io.ErrUnexpectedEOF, as one does that is shorter than
// a part: what came of it is no object.
func TestUploadOfACutBody(t *testing.T) {
	t.Parallel()
	for _, cut := range []error{io.ErrUnexpectedEOF, fmt.Errorf("decompressing: %w", io.ErrUnexpectedEOF), fmt.Errorf("reading: %w", io.EOF)} {
		for _, size := range []int{0, 5, partSize, partSize + 5, 2*partSize + 5} {
			s3 := clienttest.New("bucket")
			body := io.MultiReader(bytes.NewReader(make([]byte, size)), errReader{cut})
			if _, err := start(t, s3).Upload(t.Context(), "bucket", "k", body); err == nil {
				t.Errorf("%d bytes and %v: no error", size, cut)
			}
			if _, ok := s3.Object("bucket", "k"); ok || s3.Uploads() != 0 {
				t.Errorf("%d bytes and %v: something was left behind", size, cut)
			}
		}
	}
}

func TestUploadOfARefusedPart(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"1", "2", "5"} {
		s3 := clienttest.New("bucket")
		s3.Fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("partNumber") != part {
				return false
			}
			clienttest.Fail(w, http.StatusForbidden, "AccessDenied", "no part "+part)
			return true
		}
		_, err := start(t, s3).Upload(t.Context(), "bucket", "k", bytes.NewReader(make([]byte, 5*partSize)))
		if e, ok := errors.AsType[*Error](err); !ok || e.Message != "no part "+part {
			t.Errorf("part %s: err = %v", part, err)
		}
		if _, ok := s3.Object("bucket", "k"); ok || s3.Uploads() != 0 {
			t.Errorf("part %s: something was left behind", part)
		}
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestRetries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		code int
		ok   bool
	}{
		{"503", http.StatusServiceUnavailable, true},
		{"500", http.StatusInternalServerError, true},
		{"429", http.StatusTooManyRequests, true},
		{"dropped connection", 0, true},
		{"403", http.StatusForbidden, false},
		{"501", http.StatusNotImplemented, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s3 := clienttest.New("bucket")
			var n atomic.Int32
			s3.Fault = func(w http.ResponseWriter, _ *http.Request) bool {
				if n.Add(1) > 3 {
					return false
				}
				if tt.code == 0 {
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(tt.code)
				return true
			}
			c := start(t, s3)
			err := c.Put(t.Context(), "bucket", "k", []byte("x"))
			if (err == nil) != tt.ok {
				t.Errorf("err = %v after %d tries", err, n.Load())
			}
			if !tt.ok && n.Load() != 1 {
				t.Errorf("tried %d times", n.Load())
			}
		})
	}
}

func TestPatienceEndsAndTells(t *testing.T) {
	t.Parallel()
	var told atomic.Int32
	c := New(Config{
		Endpoint: "http://clary", Credentials: testCredentials,
		Dial: func(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") },
	}).Patient(400*time.Millisecond, func(error) { told.Add(1) })
	err := c.Put(t.Context(), "b", "k", nil)
	if err == nil || !strings.Contains(err.Error(), "connection refused") || told.Load() == 0 {
		t.Errorf("err = %v, told %d times", err, told.Load())
	}
}

func TestGetGoesOnWhereAConnectionBroke(t *testing.T) {
	t.Parallel()
	want := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	s3 := clienttest.New("bucket")
	s3.Set("bucket", "k", string(want))
	var gets atomic.Int32
	s3.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		if n := gets.Add(1); n <= 3 && r.Header.Get("Range") == "" || n == 2 {
			rec := httptest.NewRecorder()
			inner := *r
			s3nofault(s3).ServeHTTP(rec, &inner)
			maps.Copy(w.Header(), rec.Header())
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes()[:100_000])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		return false
	}
	c := start(t, s3)
	body, _, err := c.Get(t.Context(), "bucket", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close() //nolint:errcheck // test
	got, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
	if gets.Load() < 3 {
		t.Errorf("only %d requests: nothing broke", gets.Load())
	}
}

// s3nofault is the same store without its faults.
func s3nofault(s *clienttest.S3) http.Handler {
	n := clienttest.New("bucket")
	data, _ := s.Object("bucket", "k")
	n.Set("bucket", "k", string(data))
	return n
}

func TestGetRefusesAChangedObject(t *testing.T) {
	t.Parallel()
	s3 := clienttest.New("bucket")
	s3.Set("bucket", "k", strings.Repeat("a", 1000))
	s3.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "" {
			return false
		}
		w.Header().Set("ETag", `"old"`)
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("aaaa"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	c := start(t, s3)
	body, _, err := c.Get(t.Context(), "bucket", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close() //nolint:errcheck // test
	if _, err := io.ReadAll(body); err == nil || !strings.Contains(err.Error(), "changed while") {
		t.Errorf("err = %v", err)
	}
}

func TestCompleteAfterLostAnswer(t *testing.T) {
	t.Parallel()
	s3 := clienttest.New("bucket")
	var lost atomic.Bool
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") && lost.CompareAndSwap(false, true) {
			s3.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		s3.ServeHTTP(w, r)
	})
	c := start(t, h)
	if _, err := c.Upload(t.Context(), "bucket", "k", bytes.NewReader(make([]byte, partSize+1))); err != nil {
		t.Error(err)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	c := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") == "SageMaker.Bad" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"com.amazonaws#ValidationException","message":"no such thing"}`)
			return
		}
		_, _ = io.WriteString(w, `{"Name":"`+r.Header.Get("Content-Type")+`"}`)
	}))
	var out struct{ Name string }
	if err := c.JSON(t.Context(), "sagemaker", "SageMaker.Describe", map[string]string{"A": "b"}, &out); err != nil || out.Name != "application/x-amz-json-1.1" {
		t.Errorf("%+v, %v", out, err)
	}
	err := c.JSON(t.Context(), "sagemaker", "SageMaker.Bad", nil, nil)
	if Code(err) != "ValidationException" || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("err = %v", err)
	}
}

func TestParseURI(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		uri, bucket, key string
		bad              bool
	}{
		{"s3://b/k/l", "b", "k/l", false},
		{"s3://b", "b", "", false},
		{"s3://b/", "b", "", false},
		{"s3:///k", "", "", true},
		{"https://b/k", "", "", true},
		{"", "", "", true},
	} {
		b, k, err := ParseURI(tt.uri)
		if b != tt.bucket || k != tt.key || (err != nil) != tt.bad {
			t.Errorf("ParseURI(%q) = %q, %q, %v", tt.uri, b, k, err)
		}
	}
}

// A server that answers is not waited for as long as one that is away.
func TestRefusalsEndEarlier(t *testing.T) {
	t.Parallel()
	s3 := clienttest.New("bucket")
	s3.Fault = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	}
	c := start(t, s3).Patient(time.Hour, nil)
	c.pol.refusals = 300 * time.Millisecond
	if err := c.Put(t.Context(), "bucket", "k", nil); Code(err) != "500" {
		t.Errorf("err = %v", err)
	}
}
