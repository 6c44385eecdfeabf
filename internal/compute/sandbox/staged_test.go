package sandbox_test

import (
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/client/clienttest"
	"clary/internal/compute"
	"clary/internal/compute/computetest"
	"clary/internal/stage/plan"
)

// s3 serves objects at a task listener's socket.
func s3(t *testing.T) (*clienttest.S3, string) {
	t.Helper()
	store := clienttest.New("bucket")
	socket := filepath.Join(t.TempDir(), "task.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: store}
	go s.Serve(l) //nolint:errcheck // ends with the test
	t.Cleanup(func() { _ = s.Close() })
	return store, socket
}

func training(id, program string) compute.Task {
	tk := script(id, program)
	tk.Plan.Training = &plan.Training{
		JobName: id, JobArn: "arn:aws:sagemaker:eu-west-1:123456789012:training-job/" + id, Account: "123456789012", Region: "eu-west-1",
		Hosts: []string{"algo-1"}, CurrentHost: "algo-1", InstanceType: "ml.m5.large", OutputS3Uri: "s3://bucket/out/" + id + "/output", Compression: "GZIP",
		Channels: []plan.Channel{{Name: "train", S3DataType: "S3Prefix", S3Uri: "s3://bucket/in/", Distribution: "FullyReplicated", InputMode: "File"}},
	}
	tk.Network = compute.Network{Host: "algo-1", Peers: []string{"algo-1"}}
	tk.Identity = compute.Identity{AccessKeyID: "AKID", SecretAccessKey: clienttest.Secret, SessionToken: "token", Region: "eu-west-1"}
	return tk
}

func TestStaged(t *testing.T) {
	t.Parallel()
	store, socket := s3(t)
	store.Set("bucket", "in/a.csv", "1,2,3\n")
	p := newPlace(t)
	p.cfg.APISocket = socket
	d := p.open(t)
	for _, isolated := range []bool{false, true} {
		id := "train-open"
		if isolated {
			id = "train-isolated"
		}
		tk := training(id, "cat /opt/ml/input/data/train/a.csv; cp /opt/ml/input/data/train/a.csv /opt/ml/model/; ps ax | grep -c '[s]tage'; exit 0")
		tk.Network.Isolated = isolated
		lines, st := p.runs(t, d, tk)
		if st.Exit.Reason != compute.ReasonExited || st.Exit.Result.ExitCode != 0 || st.Exit.Result.Failure != "" {
			t.Errorf("exit %+v", *st.Exit)
		}
		if want := []string{"1,2,3", "0"}; !slices.Equal(lines, want) {
			t.Errorf("output %q", lines)
		}
		var steps []string
		for _, s := range st.Steps {
			steps = append(steps, s.Name)
		}
		if want := []string{plan.StepDownloading, plan.StepTraining, plan.StepUploading}; !slices.Equal(steps, want) {
			t.Errorf("steps %q", steps)
		}
		if want := "s3://bucket/out/" + id + "/output/model.tar.gz"; st.Exit.Result.Artifact != want {
			t.Errorf("artifact %q", st.Exit.Result.Artifact)
		}
		if _, ok := store.Object("bucket", "out/"+id+"/output/model.tar.gz"); !ok {
			t.Errorf("no model among %q", store.Keys("bucket"))
		}
	}
}

func TestStagedFailure(t *testing.T) {
	t.Parallel()
	_, socket := s3(t)
	p := newPlace(t)
	p.cfg.APISocket = socket
	d := p.open(t)
	tk := training("fail-1", "echo because > /opt/ml/output/failure; exit 4")
	tk.Plan.Training.Channels = nil
	_, st := p.runs(t, d, tk)
	if r := st.Exit.Result; st.Exit.Reason != compute.ReasonExited || r.ExitCode != 4 || !strings.Contains(r.Failure, "because") || r.Class == "" {
		t.Errorf("exit %+v", *st.Exit)
	}
	// The program may name what it writes to.
	tk = training("named-1", "echo out > /dev/stdout; echo err > /dev/stderr; exit 0")
	tk.Plan.Training.Channels = nil
	if lines, st := p.runs(t, d, tk); st.Exit.Result.ExitCode != 0 || !slices.Equal(lines, []string{"out", "err"}) {
		t.Errorf("%q, exit %+v", lines, *st.Exit)
	}
	tk = training("fail-2", "echo never")
	tk.Args = []string{"/no/such/program"}
	tk.Plan.Training.Channels = nil
	if _, st = p.runs(t, d, tk); st.Exit.Result.ExitCode != -1 || st.Exit.Result.Failure == "" || st.Exit.Reason != compute.ReasonFailed {
		t.Errorf("exit %+v", *st.Exit)
	}
}

// TestStagedStop stops a program that saves what it has; stage still uploads.
func TestStagedStop(t *testing.T) {
	t.Parallel()
	store, socket := s3(t)
	p := newPlace(t)
	p.cfg.APISocket = socket
	d := p.open(t)
	for _, tt := range []struct{ id, program, signal string }{
		{"save-1", "trap 'echo saved > /opt/ml/model/m; exit 0' TERM; echo up; while :; do sleep 0.05; done", ""},
		{"save-2", "trap '' TERM; echo half > /opt/ml/model/m; echo up; while :; do sleep 0.05; done", "killed"},
	} {
		tk := training(tt.id, tt.program)
		tk.Plan.Training.Channels = nil
		tk.Grace = 500 * time.Millisecond
		if err := d.Start(t.Context(), tk); err != nil {
			t.Fatal(err)
		}
		computetest.Wait(t, d, tk.ID, "printing", func(s compute.TaskStatus) bool { return s.Spooled > 0 })
		if err := d.Stop(t.Context(), tk.ID, 500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		st := computetest.Ended(t, d, tk.ID)
		if st.Exit.Reason != compute.ReasonStopped || st.Exit.Result.Signal != tt.signal {
			t.Errorf("exit %+v", *st.Exit)
		}
		if _, ok := store.Object("bucket", "out/"+tt.id+"/output/model.tar.gz"); !ok {
			t.Errorf("%s: no model among %q", tt.id, store.Keys("bucket"))
		}
	}
}
