package sandbox_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/computetest"
	"clary/internal/compute/sandbox"
)

// server is a stand-in for a server that is killed: it does what its input
// says and answers each line.
func server(dir string) {
	d, err := sandbox.New(sandbox.Config{Dir: dir, TaskBinary: os.Getenv("SANDBOX_TEST_TASK")})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var tk compute.Task
		if err := json.Unmarshal(in.Bytes(), &tk); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("starting")
		if err := d.Start(context.Background(), tk); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("started")
	}
	os.Exit(0)
}

type serverProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startServer(t *testing.T, p *place) *serverProcess {
	t.Helper()
	s := &serverProcess{cmd: exec.Command(os.Args[0])} //nolint:noctx // it is killed
	s.cmd.Env = append(os.Environ(), "SANDBOX_TEST_SERVER="+p.cfg.Dir, "SANDBOX_TEST_TASK="+p.cfg.TaskBinary)
	s.cmd.Stderr = os.Stderr
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *serverProcess) line(t *testing.T) string {
	t.Helper()
	l, err := s.out.ReadString('\n')
	if err != nil {
		t.Fatalf("server: %q, %v", l, err)
	}
	return l[:len(l)-1]
}

// start has it start a task, and returns when it is about to.
func (s *serverProcess) start(t *testing.T, tk compute.Task) {
	t.Helper()
	b, err := json.Marshal(tk)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.in.Write(append(b, '\n')); err != nil {
		t.Fatal(err)
	}
	if l := s.line(t); l != "starting" {
		t.Fatal(l)
	}
}

func (s *serverProcess) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
}

// TestServerKilled kills a server with SIGKILL at many moments of a task's
// life. The task must run exactly once, to its end, with all its output.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	const lines = 40
	task := script("job-1", `n=0; while [ $n -lt `+strconv.Itoa(lines)+` ]; do echo line $n; n=$((n+1)); sleep 0.01; done; exit 9`)
	check := func(t *testing.T, p *place, ran bool) {
		t.Helper()
		d := p.open(t)
		_, err := d.Status(t.Context(), task.ID)
		if errors.Is(err, compute.ErrNotFound) && !ran {
			return // it was not accepted yet, and nothing of it is left
		}
		if err := d.Start(t.Context(), task); err != nil { // as a reconciler would
			t.Fatal(err)
		}
		st := computetest.Ended(t, d, task.ID)
		if st.Exit.Result.ExitCode != 9 || st.Exit.Reason != compute.ReasonExited {
			t.Errorf("exit %+v", *st.Exit)
		}
		got := computetest.Lines(t, computetest.Output(t, d, task.ID, 0))
		if len(got) != lines || got[0] != "line 0" || got[lines-1] != "line "+strconv.Itoa(lines-1) {
			t.Errorf("%d lines: %q", len(got), got)
		}
	}
	begin := func(t *testing.T) (*place, *serverProcess) {
		t.Helper()
		p := newPlace(t)
		s := startServer(t, p)
		s.start(t, task)
		return p, s
	}
	t.Run("during Start", func(t *testing.T) {
		t.Parallel()
		for i := range 12 {
			p, s := begin(t)
			time.Sleep(time.Duration(i) * 300 * time.Microsecond) // any moment within Start
			s.kill(t)
			check(t, p, false)
		}
	})
	for _, phase := range []compute.Phase{compute.Starting, compute.Running, compute.Ended} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			p, s := begin(t)
			if l := s.line(t); l != "started" {
				t.Fatal(l)
			}
			if phase != compute.Starting {
				d := p.open(t)
				computetest.Wait(t, d, task.ID, string(phase), func(st compute.TaskStatus) bool { return st.Phase == phase })
			}
			s.kill(t)
			check(t, p, true)
		})
	}
	t.Run("ends while no server runs", func(t *testing.T) {
		t.Parallel()
		p, s := begin(t)
		if l := s.line(t); l != "started" {
			t.Fatal(l)
		}
		s.kill(t)
		status := filepath.Join(p.cfg.Dir, string(task.ID), "status.json")
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
			if b, err := os.ReadFile(status); err == nil {
				var st compute.TaskStatus
				if json.Unmarshal(b, &st) == nil && st.Phase == compute.Ended {
					break
				}
			}
			if time.Now().After(deadline) {
				t.Fatal("the task does not end without a server")
			}
		}
		check(t, p, true)
	})
}

// TestAcceptedButNeverBegun is what a loss of power leaves between the two.
func TestAcceptedButNeverBegun(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	good := p.cfg.TaskBinary
	p.cfg.TaskBinary = "/bin/true" // a supervisor that never begins
	d := p.open(t)
	tk := script("late-1", "echo once")
	if err := d.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	p.cfg.TaskBinary = good
	_, st := p.runs(t, p.open(t), tk)
	if st.Exit.Result.ExitCode != 0 {
		t.Errorf("%+v", *st.Exit)
	}
}

// TestRubbish leaves half-accepted and half-removed folders.
func TestRubbish(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for _, n := range []string{".half-1", ".gone-half-2"} {
		if err := os.MkdirAll(filepath.Join(p.cfg.Dir, n, "vol", "locked"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(p.cfg.Dir, n, "vol", "locked"), 0); err != nil {
			t.Fatal(err)
		}
	}
	p.open(t)
	if left, err := os.ReadDir(p.cfg.Dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestBrokenFolder: a task that cannot be read is told as such and can be
// removed; it keeps nobody else from running.
func TestBrokenFolder(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir := filepath.Join(p.cfg.Dir, "broken-1")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "spec.json"), []byte("{\"Task\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := p.open(t)
	if st, err := d.Status(t.Context(), "broken-1"); err == nil || errors.Is(err, compute.ErrNotFound) {
		t.Errorf("%+v, %v", st, err)
	}
	if _, st := p.runs(t, d, script("whole-1", "true")); st.Exit.Result.ExitCode != 0 {
		t.Errorf("%+v", *st.Exit)
	}
	if err := d.Remove(t.Context(), "broken-1"); err != nil {
		t.Error(err)
	}
	if _, err := d.Status(t.Context(), "broken-1"); !errors.Is(err, compute.ErrNotFound) {
		t.Error(err)
	}
}
