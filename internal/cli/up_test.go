package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A server that holds the data folder and does not take our key is not started
// a second time, and its log stays.
func TestUpBesideAnother(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("run/serve.log", "what it said")
	f, err := os.Create(filepath.Join(b.data, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	b.on("SageMaker.ListTrainingJobs", func(map[string]any) (int, any) {
		return 403, map[string]any{"__type": "UnrecognizedClientException", "message": "who is that?"}
	})
	code, _, errOut := b.run("up", "--no-open", "--no-notebook")
	if code == 0 || !strings.Contains(errOut, "does not answer as it should") || !strings.Contains(errOut, "who is that?") {
		t.Errorf("%d %s", code, errOut)
	}
	if text, err := os.ReadFile(filepath.Join(b.data, "run", "serve.log")); err != nil || string(text) != "what it said" {
		t.Errorf("%q %v", text, err)
	}
}

// While a server starts, the process that the last one was is left alone.
func TestDownWhileStarting(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := exec.Command("cat") //nolint:noctx // ended below
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	b.write("run/server.json", fmt.Sprintf(`{"Addr":"127.0.0.1:1","Region":"us-east-1","PID":%d}`, other.Process.Pid))
	f, err := os.Create(filepath.Join(b.data, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := b.run("down"); code == 0 || !strings.Contains(errOut, "starting") {
		t.Errorf("%d %s", code, errOut)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err != nil {
		t.Errorf("the other process: %v", err)
	}
}
