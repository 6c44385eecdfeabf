package sandbox_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/computetest"
	"clary/internal/compute/sandbox"
)

// binary builds the small binary once for all tests. CLARY_TASK names one that
// is there already, for users who cannot build and for the gate, where its name
// says its content; it is copied to where everyone may read it.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "clary-task-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	b := filepath.Join(dir, "clary-task")
	if from := os.Getenv("CLARY_TASK"); from != "" {
		content, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		return b, os.WriteFile(b, content, 0o755)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-tags=nethttpomithttp2", "-ldflags=-s -w", "-o", b, "clary/cmd/clary-task")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return b, nil
})

func TestMain(m *testing.M) {
	if dir := os.Getenv("SANDBOX_TEST_SERVER"); dir != "" {
		server(dir)
	}
	code := m.Run()
	if b, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(b))
	}
	os.Exit(code)
}

// place is a folder of tasks that drivers come and go on.
type place struct {
	cfg sandbox.Config
}

func newPlace(t *testing.T) *place {
	t.Helper()
	b, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &place{sandbox.Config{Dir: filepath.Join(t.TempDir(), "tasks"), TaskBinary: b}}
	t.Cleanup(func() {
		d, err := sandbox.New(p.cfg)
		if err != nil {
			t.Error(err)
			return
		}
		defer d.Close() //nolint:errcheck // returns nil
		ids, err := d.List(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, id := range ids {
			if t.Failed() {
				log, _ := os.ReadFile(filepath.Join(p.cfg.Dir, string(id), "supervisor.log"))
				t.Logf("supervisor of %s: %s", id, log)
			}
			if err := d.Remove(context.Background(), id); err != nil {
				t.Errorf("remove %s: %v", id, err)
			}
		}
	})
	return p
}

func (p *place) open(t *testing.T) *sandbox.Driver {
	t.Helper()
	d, err := sandbox.New(p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// acting prints the key that the task acts with, now and when it changes.
const acting = `
import json, os, time, urllib.request
def key():
    url = "http://169.254.170.2" + os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
    return json.loads(urllib.request.urlopen(url, timeout=20).read())["AccessKeyId"]
last = key()
print(last, flush=True)
if os.fork(): os._exit(0)
while True:
    time.sleep(0.02)
    now = key()
    if now != last: print(now, flush=True)
    last = now
`

// echoing listens, and from then on sends back what it is sent.
const echoing = `
import os, socket, sys, threading
l = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=100)
if os.fork(): os._exit(0)
def serve(c):
    while True:
        b = c.recv(65536)
        if not b: break
        c.sendall(b)
    c.close()
while True:
    threading.Thread(target=serve, args=(l.accept()[0],)).start()
`

// shell runs a program of the suite.
func shell(p computetest.Program) []string {
	var b strings.Builder
	if p.IgnoreTERM {
		b.WriteString("trap '' TERM\n")
	} else if p.Forever {
		b.WriteString("trap 'exit 143' TERM\n") // process 1 ends by its own hand alone
	}
	for _, f := range p.Read {
		fmt.Fprintf(&b, "if [ -e '%s' ]; then cat '%s'; echo; else echo missing; fi\n", f, f)
	}
	for _, f := range slices.Sorted(maps.Keys(p.Write)) {
		fmt.Fprintf(&b, "printf %%s '%s' > '%s' || exit 99\n", p.Write[f], f)
	}
	if p.Home {
		b.WriteString("echo \"$HOME\"; cd; [ \"$PWD\" = \"$HOME\" ] || exit 98\n")
	}
	if p.Identity {
		fmt.Fprintf(&b, "python3 -c '%s' || exit 97\n", acting)
	}
	if p.Listen != 0 {
		fmt.Fprintf(&b, "python3 -c '%s' %d || exit 96\n", echoing, p.Listen)
	}
	for _, l := range p.Lines {
		fmt.Fprintf(&b, "echo '%s'\n", l)
	}
	switch {
	case p.Forever && p.IgnoreTERM:
		b.WriteString("while :; do sleep 0.1; done\n")
	case p.Forever:
		b.WriteString("sleep 1000 & wait\n")
	case p.Run > 0:
		fmt.Fprintf(&b, "sleep %f\n", p.Run.Seconds())
	}
	fmt.Fprintf(&b, "exit %d\n", p.Exit)
	return []string{"sh", "-c", b.String()}
}

func TestContract(t *testing.T) {
	t.Parallel()
	computetest.Run(t, func(t *testing.T) computetest.Subject {
		p := newPlace(t)
		return computetest.Subject{
			Open: func(t *testing.T) compute.Driver { return p.open(t) },
			Args: shell,
		}
	})
}

// runs starts a script and returns its output's lines and its end.
func (p *place) runs(t *testing.T, d compute.Driver, tk compute.Task) ([]string, compute.TaskStatus) {
	t.Helper()
	if err := d.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	lines := computetest.Lines(t, computetest.Output(t, d, tk.ID, 0))
	return lines, computetest.Ended(t, d, tk.ID)
}

func script(id, text string) compute.Task {
	return compute.Task{ID: compute.TaskID(id), Kind: "test", Name: id, Args: []string{"sh", "-c", text}, Grace: time.Second}
}

func BenchmarkTrue(b *testing.B) {
	bin, err := binary()
	if err != nil {
		b.Fatal(err)
	}
	d, err := sandbox.New(sandbox.Config{Dir: filepath.Join(b.TempDir(), "tasks"), TaskBinary: bin})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // returns nil
	i := 0
	for b.Loop() {
		i++
		id := compute.TaskID(fmt.Sprintf("bench-%d", i))
		if err := d.Start(b.Context(), compute.Task{ID: id, Args: []string{"/bin/true"}}); err != nil {
			b.Fatal(err)
		}
		for {
			st, err := d.Status(b.Context(), id)
			if err != nil {
				b.Fatal(err)
			}
			if st.Phase == compute.Ended {
				if st.Exit.Reason != compute.ReasonExited {
					b.Fatalf("%+v", *st.Exit)
				}
				break
			}
			<-d.Changes()
		}
	}
}
