package server

import (
	"context"
	"errors"
	"flag"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/facts"
	"clary/internal/aws/op"
	"clary/internal/client"
	"clary/internal/identity"
)

var update = flag.Bool("update", false, "rewrite test/golden/operations.txt")

// start runs a server on dir until stop is called.
func start(t *testing.T, dir string) (r *client.Client, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- Run(ctx, Config{Data: dir, Listen: "127.0.0.1:0"}, func(addr string) { ready <- addr })
	}()
	stop = func() error {
		cancel()
		return <-done
	}
	select {
	case addr := <-ready:
		key, err := identity.ReadRootKey(dir + "/keys")
		if err != nil {
			t.Fatal(err, stop())
		}
		return client.New(client.Config{
			Endpoint: "http://" + addr, Region: "us-east-1",
			Credentials: func(context.Context) (client.Credentials, error) {
				return client.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}, nil
			},
		}), stop
	case err := <-done:
		t.Fatal("the server ended: ", err)
	case <-time.After(time.Minute):
		t.Fatal("the server does not get ready")
	}
	return nil, nil
}

type listing struct {
	TrainingJobSummaries []struct{ TrainingJobName string }
}

func TestServerOnOneFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, stop := start(t, dir)
	var out listing
	if err := c.JSON(t.Context(), "sagemaker", "SageMaker.ListTrainingJobs", map[string]any{}, &out); err != nil {
		t.Error(err)
	}
	var rep usageReport
	if err := c.Document(t.Context(), "sagemaker", "/_clary/usage", nil, &rep); err != nil || len(rep.Bills) != 2 {
		t.Errorf("usage: %+v, %v", rep, err)
	}
	if err := Run(t.Context(), Config{Data: dir, Listen: "127.0.0.1:0"}, nil); err == nil || !strings.Contains(err.Error(), "in use by another clary server") {
		t.Errorf("a second server on the folder: %v", err)
	}
	if err := stop(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("stop: %v", err)
	}
	c, stop = start(t, dir)
	if err := c.JSON(t.Context(), "sagemaker", "SageMaker.ListTrainingJobs", map[string]any{}, &out); err != nil {
		t.Errorf("the root key after a restart: %v", err)
	}
	if err := stop(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("stop: %v", err)
	}
}

// TestUnservedOperations holds the list of SageMaker operations that have no
// behaviour here.
func TestUnservedOperations(t *testing.T) {
	t.Parallel()
	m, err := facts.Load("sagemaker")
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]op.Handler{}
	for _, s := range new(rooms).services() {
		if s.Name() == "sagemaker" {
			maps.Copy(served, s.Operations())
		}
	}
	const file = "../../test/golden/operations.txt"
	got := facts.Unserved(m, served)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s says otherwise than the server serves; run go test ./internal/server -update. Served: %d of %d", file, len(served), len(m.Operations))
	}
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		c    Config
		text string
	}{
		"no folder":           {Config{}, "no data folder"},
		"bad listen":          {Config{Data: t.TempDir(), Listen: "nowhere"}, "listen on nowhere"},
		"bad prices":          {Config{Data: t.TempDir(), Listen: "127.0.0.1:0", Prices: "/does/not/exist"}, "price file"},
		"too long":            {Config{Data: "/tmp/" + strings.Repeat("long", 30), Listen: "127.0.0.1:0"}, "too long for a socket"},
		"public":              {Config{Data: t.TempDir(), Listen: "0.0.0.0:0"}, "--tls-cert"},
		"half a pair":         {Config{Data: t.TempDir(), Listen: "127.0.0.1:0", TLSCert: "c"}, "together"},
		"no such certificate": {Config{Data: t.TempDir(), Listen: "0.0.0.0:0", TLSCert: "/no/c", TLSKey: "/no/k"}, "/no/c"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		if err := Run(ctx, tc.c, nil); err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}
