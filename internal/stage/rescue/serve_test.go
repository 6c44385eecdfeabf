package rescue

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/stage/agent"
)

// TestServe asks for a rescue as the server does.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	root := t.TempDir()
	must(t, root, `echo loose > 'a b'; git init -q r; echo 1 > r/a`)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var log bytes.Buffer
	go func() {
		ended <- serve(ctx, l, root, agent.Shelter{MaxLoose: 1 << 20}, func(f string, args ...any) { fmt.Fprintf(&log, f+"\n", args...) })
	}()
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() //nolint:errcheck // read whole
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	var r agent.Rescue
	for deadline := time.Now().Add(time.Minute); !r.Ready; time.Sleep(5 * time.Millisecond) {
		_, text := get("/rescue")
		if err := json.Unmarshal([]byte(text), &r); err != nil || r.Failure != "" || time.Now().After(deadline) {
			t.Fatalf("%v, %s", err, text)
		}
	}
	if len(r.Files) != 2 {
		t.Fatalf("%+v", r)
	}
	for _, f := range r.Files {
		if code, text := get("/rescue/" + f.Name); code != 200 || int64(len(text)) != f.Bytes {
			t.Errorf("%s: %d, %d bytes of %d", f.Name, code, len(text), f.Bytes)
		}
	}
	for _, path := range []string{"/", "/rescue/", "/rescue/x", "/rescue/home", "/rescue/..%2f..%2fetc%2fpasswd", "/rescue/../../etc/passwd", "/rescue/loose.tar.gz/x"} {
		if code, text := get(path); code != 404 {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if !strings.Contains(log.String(), "the rescue has 2 files") {
		t.Errorf("log %s", log.String())
	}
}

// TestServeEnds: a rescue that is told to end does, whatever git waits for.
func TestServeEnds(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	must(t, root, `git init -q r; echo 1 > r/a; mkfifo r/.gitignore`)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, l, root, agent.Shelter{MaxLoose: 1 << 20}, func(string, ...any) {})
	}()
	// git has opened the pipe when there is somebody to write to.
	fifo := filepath.Join(root, "r", ".gitignore")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		w, err := os.OpenFile(fifo, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			defer w.Close() //nolint:errcheck // nothing is written
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("git does not read it")
		}
	}
	began := time.Now()
	cancel()
	if err := <-ended; err != nil || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// TestServeFails: a volume that is not there is said, and the answer stays.
func TestServeFails(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, said := make(chan error, 1), make(chan string, 9)
	go func() {
		ended <- serve(ctx, l, filepath.Join(t.TempDir(), "none"), agent.Shelter{}, func(f string, args ...any) { said <- fmt.Sprintf(f, args...) })
	}()
	<-said
	resp, err := http.Get("http://" + l.Addr().String() + "/rescue")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read whole
	var r agent.Rescue
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || r.Ready || !strings.Contains(r.Failure, "the volume cannot be read") {
		t.Errorf("%+v, %v", r, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestOrder: an order is read once, and one without a rescue is none.
func TestOrder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "order")
	for text, want := range map[string]string{
		`{"Name":"n","Shelter":{"MaxLoose":7}}`: "",
		`{"Name":"n"}`:                          "it asks for none",
		`{`:                                     "unexpected end of JSON input",
	} {
		if err := os.WriteFile(path, []byte(text), 0o400); err != nil {
			t.Fatal(err)
		}
		s, err := order(path)
		if want == "" && (err != nil || s.MaxLoose != 7) || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %+v, %v", text, s, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the order is there still")
		}
	}
	if _, err := order(path); err == nil {
		t.Error("there was no order")
	}
}
