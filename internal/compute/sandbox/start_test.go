package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/computetest"
	"clary/internal/compute/sandbox"
)

// Whoever looks at a task before its supervisor has written anything must not
// start another: it would yield, after costing a start.
func TestOneSupervisorIsStarted(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir := t.TempDir()
	count := filepath.Join(dir, "started")
	wrapper := fmt.Sprintf("#!/bin/sh\necho \"$1\" >> %s\nexec %s \"$@\"\n", count, p.cfg.TaskBinary)
	cfg := p.cfg
	cfg.TaskBinary = filepath.Join(dir, "counted")
	if err := os.WriteFile(cfg.TaskBinary, []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := sandbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // returns nil
	tk := script("once-1", "echo done")
	if err := d.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	for {
		if err := d.Start(t.Context(), tk); err != nil {
			t.Fatal(err)
		}
		st, err := d.Status(t.Context(), tk.ID)
		if err != nil {
			t.Fatal(err)
		}
		if st.Phase != compute.Starting {
			break
		}
	}
	computetest.Ended(t, d, tk.ID)
	started, err := os.ReadFile(count)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(started), "supervise"); n != 1 {
		t.Errorf("%d supervisors were started", n)
	}
}

// The power went before the status of a task that had begun was on disk.
func TestTornStatusIsALostTask(t *testing.T) {
	t.Parallel()
	for _, torn := range []string{"", "{\"Phase\":\"Run", "\x00\x00\x00\x00"} {
		p := newPlace(t)
		d := p.open(t)
		tk := script("torn-1", "echo some; exit 3")
		lines, _ := p.runs(t, d, tk)
		if err := os.WriteFile(filepath.Join(p.cfg.Dir, "torn-1", "status.json"), []byte(torn), 0o600); err != nil {
			t.Fatal(err)
		}
		// The supervisor may still be at its cleaning.
		deadline := time.Now().Add(2 * time.Minute)
		st, err := d.Status(t.Context(), tk.ID)
		for ; err != nil && time.Now().Before(deadline); st, err = d.Status(t.Context(), tk.ID) {
			<-time.After(5 * time.Millisecond)
		}
		if err != nil || st.Phase != compute.Lost || st.Exit != nil || st.Heartbeat.IsZero() || st.Spooled == 0 {
			t.Errorf("%q: %+v, %v", torn, st, err)
		}
		if err := d.Start(t.Context(), tk); err != nil {
			t.Errorf("%q: starting again: %v", torn, err)
		}
		if again := computetest.Lines(t, computetest.Output(t, d, tk.ID, 0)); len(again) != len(lines) {
			t.Errorf("%q: output %q, was %q", torn, again, lines)
		}
		if err := d.Remove(t.Context(), tk.ID); err != nil {
			t.Errorf("%q: remove: %v", torn, err)
		}
	}
}

// A server that ends before the task is on disk leaves a supervisor that has
// touched nothing.
func TestUnreleasedSupervisorTouchesNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), p.cfg.TaskBinary, "supervise", dir)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
