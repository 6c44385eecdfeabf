package stage

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"clary/internal/client"
	"clary/internal/client/clienttest"
	"clary/internal/stage/plan"
)

// apart says whether the test runs in a process of its own, and first has it
// run in one, in namespaces of its own.
func apart(t *testing.T, env ...string) bool {
	t.Helper()
	const mark = "STAGE_TEST_APART=1"
	if os.Getenv("STAGE_TEST_APART") != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), mark), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Error(err)
	}
	return false
}

// A volume that inputs do not fit on says so.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if !apart(t) {
		return
	}
	b := newBench(t, "echo never")
	if err := os.MkdirAll(b.ml(""), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("disk", b.ml(""), "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(b.ml(""), 0) //nolint:errcheck // the namespace ends
	b.s3.Set("bucket", "in/b", strings.Repeat("x", 2<<20))
	res := b.process(plan.Processing{Inputs: []plan.Input{input("i", "s3://bucket/in", "/opt/ml/in")}})
	if want := "Data download failed: No space left on device while s3://bucket/in/b was written. Please use a larger VolumeSizeInGB"; res.Class != "ClientError" || res.Failure != want || strings.Contains(b.log.String(), "never") {
		t.Errorf("%+v %s", res, b.log)
	}
}

// Memory is the same for 10,000 files as for a few, in and out, with the limits
// that stage has in a task.
func TestManyFilesTakeLittleMemory(t *testing.T) {
	t.Parallel()
	const files, socket, most = 10_000, "STAGE_TEST_S3", 40 << 20
	if os.Getenv(socket) == "" {
		s3 := clienttest.New("bucket")
		for i := range files {
			s3.Set("bucket", fmt.Sprintf("in/%d/%d", i%100, i), strings.Repeat("x", i%512))
		}
		l, err := net.Listen("unix", t.TempDir()+"/s")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: s3, ReadHeaderTimeout: time.Minute}
		go srv.Serve(l) //nolint:errcheck // ends with the test
		defer srv.Close()
		apart(t, socket+"="+l.Addr().String())
		if n := len(s3.Keys("bucket")); n != 2*files {
			t.Errorf("%d objects", n)
		}
		return
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(32 << 20)
	b := newBench(t, `cp -r $ML/in/. $ML/out/`)
	b.host.API = client.New(client.Config{
		Endpoint: "http://clary", Region: "us-east-1",
		Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", os.Getenv(socket))
		},
		Credentials: func(context.Context) (client.Credentials, error) {
			return client.Credentials{AccessKeyID: "A", SecretAccessKey: clienttest.Secret}, nil
		},
	})
	peak := watchMemory()
	res := b.process(plan.Processing{Inputs: []plan.Input{input("i", "s3://bucket/in/", "/opt/ml/in")}, Outputs: []plan.Output{output("o", "s3://bucket/out", "/opt/ml/out")}})
	top := peak()
	if res != (plan.Result{}) {
		t.Fatalf("%+v", res)
	}
	t.Logf("peak %d MiB", top>>20)
	if top > most {
		t.Errorf("it took %d MiB", top>>20)
	}
}

// watchMemory looks at what the process holds until it is asked for the most.
func watchMemory() (peak func() uint64) {
	quit, most := make(chan struct{}), make(chan uint64)
	go func() {
		held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var top uint64
		for {
			select {
			case <-quit:
				most <- top
				return
			case <-tick.C:
				metrics.Read(held)
				top = max(top, held[0].Value.Uint64()-held[1].Value.Uint64())
			}
		}
	}()
	return func() uint64 {
		close(quit)
		return <-most
	}
}

// Memory follows the size and the number of requests, not the object's size: one
// of 400 MB is split, filtered, joined and left as an object of the same size,
// with the limits that stage has in a task.
func TestTransformTakesLittleMemory(t *testing.T) {
	t.Parallel()
	const socket, model, size, most = "STAGE_TEST_S3", "STAGE_TEST_MODEL", 400 << 20, 96 << 20
	if os.Getenv(socket) == "" {
		s3 := clienttest.New("bucket")
		s3.Set("bucket", "in/large", "see Fault")
		s3.Set("bucket", "manifest", `[{"prefix":"s3://bucket/in/"},"large"]`)
		var parts atomic.Int64
		s3.Fault = func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case r.Method == http.MethodGet && r.URL.Path == "/bucket/in/large":
				w.Header().Set("Content-Length", fmt.Sprint(size))
				line := []byte(fmt.Sprintf("%015d,%047d\n", 7, 8))
				block := bytes.Repeat(line, 1<<10)
				for range size / len(block) {
					if _, err := w.Write(block); err != nil {
						return true
					}
				}
			case r.Method == http.MethodHead:
				w.Header().Set("Content-Length", fmt.Sprint(size))
			case r.Method == http.MethodPut && r.URL.Query().Has("partNumber"):
				sum := md5.New()
				n, _ := io.Copy(sum, r.Body)
				parts.Add(n)
				w.Header().Set("ETag", fmt.Sprintf("\"%x\"", sum.Sum(nil)))
			case r.Method == http.MethodPost && r.URL.Query().Has("uploadId"):
				_, _ = fmt.Fprint(w, "<CompleteMultipartUploadResult/>")
			default:
				return false
			}
			return true
		}
		var env []string
		for name, h := range map[string]http.Handler{socket: s3, model: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/ping" && r.URL.Path != "/invocations" {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(body)
		})} {
			l, err := net.Listen("unix", t.TempDir()+"/s")
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
			go srv.Serve(l) //nolint:errcheck // ends with the test
			defer srv.Close()
			env = append(env, name+"="+l.Addr().String())
		}
		apart(t, env...)
		if want := int64(size + size/64*48); parts.Load() != want { // each line, and its second column once more
			t.Errorf("%d bytes were left, want %d", parts.Load(), want)
		}
		return
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(32 << 20)
	b := newBench(t, `exec sleep 600`)
	b.host.API = client.New(client.Config{
		Endpoint: "http://clary", Region: "us-east-1",
		Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", os.Getenv(socket))
		},
		Credentials: func(context.Context) (client.Credentials, error) {
			return client.Credentials{AccessKeyID: "A", SecretAccessKey: clienttest.Secret}, nil
		},
	})
	b.host.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", os.Getenv(model))
	}
	peak := watchMemory()
	four, one := int64(4), int64(1)
	res := b.transform(plan.Transform{
		Input:  plan.TransformInput{S3Uri: "s3://bucket/manifest", S3DataType: "ManifestFile", SplitType: "Line", ContentType: "text/csv"},
		Output: plan.TransformOutput{Accept: "text/csv"}, MaxConcurrentTransforms: &four, MaxPayloadInMB: &one, InputFilter: "$[1]", JoinSource: "Input",
	})
	top := peak()
	if res != (plan.Result{Served: true}) {
		t.Fatalf("%+v: %s", res, b.log)
	}
	t.Logf("peak %d MiB", top>>20)
	if top > most {
		t.Errorf("it took %d MiB", top>>20)
	}
}
