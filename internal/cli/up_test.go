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

// A log is one run's, with those that replaced it until it is large and one of
// them answers; one before it is kept. What a server says that runs is in its log
// then, or in the one before, whoever else has begun meanwhile.
func TestServerLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "serve.log")
	for i, step := range []struct {
		replace bool
		grow    int64 // what the log has become before
		answers bool
		old, is string
	}{
		{false, 0, true, "", "0"},
		{true, 0, true, "", "01"},
		{true, maxLog - 1, true, "", "012"},
		{true, maxLog + 1, false, "", "0123"},
		{true, maxLog + 2, true, "01234", "4"},
		{true, 0, false, "01234", "45"},
		{false, 0, false, "45", "6"},
	} {
		if step.grow > 0 {
			if err := os.Truncate(path, step.grow); err != nil {
				t.Fatal(err)
			}
		}
		f, err := openLog(path, step.replace)
		if err != nil {
			t.Fatal(err)
		}
		say := func() {
			if _, err := fmt.Fprint(f, i); err != nil {
				t.Fatal(err)
			}
		}
		say()
		if step.answers {
			if err := renewLog(path, int(f.Fd())); err != nil {
				t.Fatal(err)
			}
			if step.old != "" {
				say()
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{path: step.is, path + ".old": step.old} {
			text, err := os.ReadFile(name)
			if got := strings.Join(strings.FieldsFunc(string(text), func(r rune) bool { return r == 0 }), ""); got != want || (err != nil) != (want == "") {
				t.Errorf("%d: %s has %q, want %q, %v", i, filepath.Base(name), got, want, err)
			}
		}
	}
}
