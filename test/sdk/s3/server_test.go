// Package s3_test drives Clary's S3 with real clients.
package s3_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/aws/checksum"
	"clary/internal/aws/codec"
	"clary/internal/aws/codec/restxml"
	"clary/internal/aws/op"
	"clary/internal/blob/folder"
	"clary/internal/front"
	"clary/internal/resource"
	"clary/internal/service/s3"
	"clary/internal/store/sqlite"
)

const (
	account   = "123456789012"
	keyID     = "AKIATESTTESTTESTTEST"
	secretKey = "test-secret"
	otherID   = "AKIAOTHEROTHEROTHERO" // of another account
)

// keys knows two accounts.
type keys struct{}

func (keys) Secret(_ context.Context, id, _ string) (string, resource.Principal, error) {
	p := resource.Principal{AccessKeyID: id, Root: true}
	switch id {
	case keyID:
		p.Account = account
	case otherID:
		p.Account = "210987654321"
	default:
		return "", p, apierr.New(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
	}
	p.Arn = "arn:aws:iam::" + p.Account + ":root"
	return secretKey, p, nil
}

// auth denies what is called secret.
type auth struct{}

func (auth) Allow(_ context.Context, _ resource.Principal, action, arn string) error {
	if strings.Contains(arn, "/secret") {
		return apierr.AccessDenied("not authorized to perform: %s on resource: %s", action, arn)
	}
	return nil
}

func (auth) PassRole(context.Context, resource.Principal, string, string) error { return nil }

// server is one that a test has for itself.
type server struct{ addr, ca string } // ca is a file

// serve starts a server and gives its address.
func serve(t *testing.T) string {
	t.Helper()
	return start(t).addr
}

func start(t *testing.T) server {
	t.Helper()
	dir := t.TempDir()
	ca, err := front.LoadCA(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := folder.Open(folder.Config{Root: filepath.Join(dir, "blobs"), Index: db.Objects()})
	if err != nil {
		t.Fatal(err)
	}
	f, err := front.New(front.Config{
		Services: []op.Service{s3.New(blobs, auth{})},
		Codecs:   map[string]codec.Codec{"rest-xml": restxml.New()},
		Keys:     keys{}, Auth: auth{}, CA: ca,
		Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = f.Shutdown(ctx) // what is still open is cut
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return server{l.Addr().String(), caFile}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("server: %s", b)
	return len(b), nil
}

// venv is the Python environment with boto3 and the AWS CLI.
func venv(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CLARY_VENV_V2")
	if dir == "" {
		t.Fatal("CLARY_VENV_V2 is not set: it names a Python environment of test/sdk/requirements-v2.txt; `make setup` makes it")
	}
	return dir
}

// run runs a client's program against a server of its own, over the scheme.
func run(t *testing.T, scheme, program string, args ...string) {
	t.Helper()
	t.Parallel()
	env := venv(t)
	srv := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "VENV=" + env, "LC_ALL=C.UTF-8",
		"AWS_ENDPOINT_URL=" + scheme + "://" + srv.addr, "AWS_CA_BUNDLE=" + srv.ca,
		"AWS_ACCESS_KEY_ID=" + keyID, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_DEFAULT_REGION=us-east-1",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1", "OTHER_KEY=" + otherID,
		"PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=ignore",
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
}

func python(t *testing.T, scheme, script string) {
	t.Helper()
	run(t, scheme, filepath.Join(venv(t), "bin", "python"), script)
}

func md5Of(s string) string { return checksum.Of(checksum.MD5, []byte(s)) }
