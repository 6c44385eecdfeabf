// Package sdk drives a whole server with the clients that people use: the
// SageMaker Python SDK v2 and v3, boto3, the AWS CLI and the AWS SDKs for Go and
// JavaScript. The flows are under v2, v3, go and js; what needs the server to
// die is here.
package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/test/daemon"
	"clary/test/guard"
)

func venv(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("CLARY_VENV_" + strings.ToUpper(name))
	if dir == "" {
		t.Fatalf("CLARY_VENV_%s is not set: run `make sdk`, or eval \"$(make -s setup)\" first", strings.ToUpper(name))
	}
	if _, err := os.Stat(filepath.Join(dir, "bin", "python")); err != nil {
		t.Fatalf("CLARY_VENV_%s: %v: run `make setup`", strings.ToUpper(name), err)
	}
	return dir
}

func bin(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/clary")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run `make build`", err)
	}
	return path
}

// start runs a server until the test ends, with flags of `clary serve`. Its log
// is shown when the test failed.
func start(t *testing.T, args ...string) *daemon.Daemon {
	t.Helper()
	// Not t.TempDir: its name is as long as the test's, and sockets live below.
	dir, err := os.MkdirTemp("", "clary-sdk-") //nolint:usetesting // as above
	if err != nil {
		t.Fatal(err)
	}
	release, err := guard.Guard(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(bin(t), dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Borrow(); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
		if err := d.Lend(); err != nil {
			t.Errorf("leaving runtimes for others: %v", err)
		}
		if t.Failed() {
			t.Logf("end of the server's log:\n%s", d.Tail())
			if os.Getenv("CLARY_TEST_KEEP") != "" {
				t.Logf("kept: %s", dir)
				if err := release(); err != nil {
					t.Error(err)
				}
				return
			}
		}
		if err := errors.Join(os.RemoveAll(dir), release()); err != nil {
			t.Errorf("removing the data: %v", err)
		}
	})
	return d
}

// office is a mail server that keeps letters in a folder.
type office struct{ addr, letters string }

// post runs a mail server until the test ends.
func post(t *testing.T, venv string) office {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := office{l.Addr().String(), filepath.Join(t.TempDir(), "letters")}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(venv, "bin", "python"),
		"-m", "aiosmtpd", "--nosetuid", "--listen", o.addr, "--class", "aiosmtpd.handlers.Mailbox", o.letters)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	for deadline := time.Now().Add(time.Minute); ; {
		if c, err := net.Dial("tcp", o.addr); err == nil {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			return o
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the mail server ended: %v\n%s", err, said.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("the mail server does not answer")
		}
	}
}

// One server is shared by the flows: a runtime is built once, and clients meet
// each other's jobs as they do in an account.
func TestClients(t *testing.T) {
	t.Parallel()
	v2, v3 := venv(t, "v2"), venv(t, "v3")
	mail := post(t, v2)
	d := start(t, "--smtp", "smtp://"+mail.addr, "--mail-from", "clary@example.com")
	// Side by side, since the longest of them wait most of the time, and from the
	// beginning, whatever else the test program runs.
	var all sync.WaitGroup
	all.Go(func() { t.Run("languages", func(t *testing.T) { languages(t, d) }) })
	for _, c := range []struct{ name, venv, workers string }{{"v2", v2, "6"}, {"v3", v3, "3"}} {
		all.Go(func() { t.Run(c.name, func(t *testing.T) { python(t, d, mail, c.name, c.venv, c.workers) }) })
	}
	all.Wait()
}

// python runs the flows of a folder.
func python(t *testing.T, d *daemon.Daemon, mail office, name, venv, workers string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	cmd := d.Command(ctx, venv, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider",
		"-n", workers, "--dist", "worksteal", "--durations", "5", "--color", "no", name)
	cmd.Env = append(cmd.Env, "CLARY_BIN="+d.Bin, "CLARY_DATA="+d.Data, "CLARY_TEST_MAIL="+mail.letters)
	if only := os.Getenv("CLARY_SDK_ONLY"); only != "" {
		cmd.Args = append(cmd.Args, "-k", only)
	}
	if err := daemon.Lines(cmd, func(line string) { fmt.Println(name + " | " + line) }); err != nil {
		t.Errorf("pytest %s: %v", name, err)
	}
}

// A flow is a Python script that is told to go on at some of its lines.
func flow(t *testing.T, d *daemon.Daemon, venv, script string, at map[string]func(), args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	done := map[string]bool{}
	var all []string
	err := daemon.Lines(d.Command(ctx, venv, append([]string{"python", script}, args...)...), func(line string) {
		all = append(all, line)
		if act := at[line]; act != nil && !done[line] {
			done[line] = true
			act()
		}
	})
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, strings.Join(all, "\n"))
	}
	for line := range at {
		if !done[line] {
			t.Errorf("%s never said %q:\n%s", script, line, strings.Join(all, "\n"))
		}
	}
}

func killAndStart(t *testing.T, d *daemon.Daemon, between func()) func() {
	return func() {
		if err := d.Kill(); err != nil {
			t.Errorf("kill: %v", err)
		}
		between()
		if err := d.Start(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("start again: %v", err)
		}
	}
}

// The server dies while jobs run and while they end; no line, second or file
// of theirs is lost or doubled.
func TestServerKilledDuringJobs(t *testing.T) {
	t.Parallel()
	v2 := venv(t, "v2")
	d := start(t)
	now := func() {}
	flow(t, d, v2, "crash/jobs.py", map[string]func(){
		"kill: created":     killAndStart(t, d, now),
		"kill: downloading": killAndStart(t, d, now),
		"kill: training":    killAndStart(t, d, now),
		"kill: ends meanwhile": killAndStart(t, d, func() {
			await(t, d, "the job to end without a server")
		}),
		"kill: stopping": killAndStart(t, d, now),
	})
}

// await waits until no task of the data folder is without an end.
func await(t *testing.T, d *daemon.Daemon, what string) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for time.Now().Before(deadline) {
		specs, _ := filepath.Glob(filepath.Join(d.Data, "tasks", "*", "spec.json"))
		ended := 0
		for _, spec := range specs {
			b, err := os.ReadFile(filepath.Join(filepath.Dir(spec), "status.json"))
			if err == nil && strings.Contains(string(b), `"Ended"`) {
				ended++
			}
		}
		if ended == len(specs) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("waited in vain for %s", what)
}

// What the console's empty pages of money say is run as it stands, each on a
// server of its own: budgets are of the account.
func TestMoneySnippets(t *testing.T) {
	t.Parallel()
	for sdk, clients := range map[string][]string{"v2": {"v2", "boto3", "cli"}, "v3": {"v3"}} {
		t.Run(sdk, func(t *testing.T) {
			t.Parallel()
			v := venv(t, sdk)
			d := start(t)
			flow(t, d, v, "snippets.py", nil, append([]string{d.Bin, d.Data}, clients...)...)
		})
	}
}

// A v2 fit goes on over a server that dies under it.
func TestFitSurvivesKill(t *testing.T) {
	t.Parallel()
	v2 := venv(t, "v2")
	d := start(t)
	flow(t, d, v2, "crash/fit.py", map[string]func(){
		"kill: training": killAndStart(t, d, func() {}),
	})
}

// A v2 transform goes on over a server that dies under it: each row is asked of
// the model once.
func TestTransformSurvivesKill(t *testing.T) {
	t.Parallel()
	v2 := venv(t, "v2")
	d := start(t)
	flow(t, d, v2, "crash/transform.py", map[string]func(){
		"kill: scoring": killAndStart(t, d, func() {}),
		"kill: ending":  killAndStart(t, d, func() {}),
	})
}

// A notebook instance is back with its file whatever dies around it.
func TestNotebookSurvivesDeaths(t *testing.T) {
	t.Parallel()
	v2 := venv(t, "v2")
	d := start(t)
	now := func() {}
	die := func(what string) func() {
		return func() {
			tasks, err := d.Tasks()
			if err != nil || len(tasks) != 1 {
				t.Errorf("%d tasks: %v", len(tasks), err)
				return
			}
			if err := tasks[0].Kill(what); err != nil {
				t.Errorf("kill the %s: %v", what, err)
			}
		}
	}
	flow(t, d, v2, "crash/notebook.py", map[string]func(){
		"kill: pending":    killAndStart(t, d, now),
		"kill: in service": killAndStart(t, d, now),
		"die: jupyter":     die("program"),
		"die: supervisor":  die("supervisor"),
		"kill: stopping":   killAndStart(t, d, now),
	}, d.Bin, d.Data)
}
