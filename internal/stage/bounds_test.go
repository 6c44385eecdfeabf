package stage

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/metrics"
	"strings"
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
	quit, peak := make(chan struct{}), make(chan uint64)
	go func() {
		held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var top uint64
		for {
			select {
			case <-quit:
				peak <- top
				return
			case <-tick.C:
				metrics.Read(held)
				top = max(top, held[0].Value.Uint64()-held[1].Value.Uint64())
			}
		}
	}()
	res := b.process(plan.Processing{Inputs: []plan.Input{input("i", "s3://bucket/in/", "/opt/ml/in")}, Outputs: []plan.Output{output("o", "s3://bucket/out", "/opt/ml/out")}})
	close(quit)
	if res != (plan.Result{}) {
		t.Fatalf("%+v", res)
	}
	top := <-peak
	t.Logf("peak %d MiB", top>>20)
	if top > most {
		t.Errorf("it took %d MiB", top>>20)
	}
}
