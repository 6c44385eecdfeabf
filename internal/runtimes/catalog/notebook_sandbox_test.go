//go:build linux

package catalog_test

import (
	"bufio"
	"context"
	"embed"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/sandbox"
	"clary/internal/runtimes"
	"clary/internal/runtimes/catalog"
)

// probes are compiled in: a file that only a sandbox reads is no input that Go's
// test cache sees.
//
//go:embed testdata
var probes embed.FS

// TestRealNotebook builds the runtime of notebook instances from the package
// index in a sandbox, runs it, and looks at it from inside: testdata/notebook.py
// does what a browser does.
func TestRealNotebook(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := sandbox.New(sandbox.Config{Dir: filepath.Join(dir, "tasks"), TaskBinary: taskBinary(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	c, err := catalog.New(catalog.Config{Dir: filepath.Join(dir, "runtimes"), Driver: d, Environ: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	lend(t, dir)
	rt, err := c.Notebook(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	st := ensure(t, c, rt)
	if !st.Ready {
		t.Fatalf("%s: %s", rt.Title, st.Failed)
	}
	t.Logf("%s built in %s", rt.Title, time.Since(start))
	probe := filepath.Join(dir, "probe")
	files, err := fs.Sub(probes, "testdata")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(probe, files); err != nil {
		t.Fatal(err)
	}
	task := compute.Task{
		ID: "notebook-1", Kind: "notebook", Name: "notebook", Image: st.Image, Env: rt.Env,
		User:    &compute.User{Name: "ec2-user", Home: runtimes.NotebookHome},
		Network: compute.Network{Egress: true}, Identity: compute.Identity{Region: "us-east-1"},
		Mounts: []compute.Mount{{Host: probe, Path: "/opt/probe"}},
		Files: []compute.File{{Path: "/opt/ml/metadata/resource-metadata.json", Mode: 0o444, Data: []byte(
			`{"ResourceArn":"arn:aws:sagemaker:us-east-1:123456789012:notebook-instance/n","ResourceName":"n","ExecutionRoleArn":"arn:aws:iam::123456789012:role/notebook"}`)}},
		Args: []string{"/bin/sh", "-c", strings.Join(rt.Serve, " ") + ` & /opt/clary/env/bin/python /opt/probe/notebook.py; code=$?; kill $!; wait $!; exit $((code + $?))`},
	}
	exit, log := run(t, d, task)
	t.Log(log)
	if exit.Result.ExitCode != 0 || exit.Result.Failure != "" {
		t.Fatalf("%+v", exit)
	}
	for _, want := range []string{"lab", "a cell", "a plot", "the role", "%pip", "widgets", "a terminal", "git", "files"} {
		if !strings.Contains(log, " ok "+want+"\n") {
			t.Errorf("the probe did not say ok %s", want)
		}
	}

	// A stop is quick and clean.
	task.ID, task.Args, task.Grace = "notebook-2", rt.Serve, time.Minute
	if err := d.Start(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Remove(context.Background(), task.ID) })
	spool, err := d.Spool(t.Context(), task.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close() //nolint:errcheck // read to its end
	var asked time.Time
	for lines := bufio.NewScanner(spool); lines.Scan(); {
		t.Log(lines.Text())
		if asked.IsZero() && strings.Contains(lines.Text(), "is running at") {
			asked = time.Now()
			if err := d.Stop(t.Context(), task.ID, task.Grace); err != nil {
				t.Fatal(err)
			}
		}
	}
	ended, err := d.Status(t.Context(), task.ID)
	if err != nil || ended.Exit == nil || ended.Exit.Result.ExitCode != 0 || ended.Exit.Reason != compute.ReasonStopped {
		t.Errorf("%+v, %+v, %v", ended, ended.Exit, err)
	}
	if took := time.Since(asked); took > 20*time.Second {
		t.Errorf("the stop took %s", took)
	}
	t.Run("lifecycle", func(t *testing.T) { lifecycle(t, d, task) }) //nolint:paralleltest // the runtime goes with the test
}
