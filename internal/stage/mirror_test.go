package stage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"clary/internal/stage/plan"
)

// looker is a live mirror of a folder, and no S3.
func looker(t *testing.T) (*mirror, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return &mirror{j: &job{}, from: tree{root, "/", "."}, live: true, known: map[uint64]known{}}, dir
}

// A file is sent when it has rested between two looks, and once as it is.
func TestLiveMirrorLooks(t *testing.T) {
	t.Parallel()
	m, dir := looker(t)
	write := func(name, data string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	send := true
	look := func(when string, end bool, want ...string) {
		t.Helper()
		var got []string
		for f, err := range m.changed(end) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, f.name)
			if send {
				m.sent(f, 1)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q are to be sent, not %q", when, got, want)
		}
	}
	write("restored", "")
	for f, err := range m.files(false) {
		if err != nil {
			t.Fatal(err)
		}
		m.sent(f, 0)
	}
	write("a", "1")
	look("new", false)
	write("a", "12")
	look("changed", false)
	send = false
	look("rested", false, "a")
	send = true
	look("it failed", false, "a")
	look("sent", false)
	write("a", "123")
	write("b", "1")
	look("changed again", false)
	look("rested again", false, "a", "b")
	if err := os.Remove(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	look("gone", false)
	if len(m.known) != 2 {
		t.Errorf("%d files are known", len(m.known))
	}
	write("c", "1")
	look("end", true, "a", "c") // a is compared by its bytes when it is sent
}

// A file that is gone when its turn comes is none.
func TestMirrorOfWhatIsGone(t *testing.T) {
	t.Parallel()
	m, _ := looker(t)
	if err := m.sendOne(t.Context(), file{name: "gone"}); err != nil {
		t.Error(err)
	}
}

// What a live mirror holds while it looks is a few bytes for each file, and
// neither all names of a folder nor of those it has seen.
//
//nolint:paralleltest // it measures the heap
func TestLiveMirrorMemory(t *testing.T) {
	const files, most = 20_000, 120
	m, dir := looker(t)
	long := strings.Repeat("x", 200)
	for i := range files {
		if err := os.WriteFile(fmt.Sprintf("%s/%s-%d", dir, long, i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	held := func() int64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	before := held()
	within := func() {
		t.Helper()
		n := (held() - before) / files
		t.Logf("%d bytes a file", n)
		if n > most {
			t.Errorf("%d bytes a file are held", n)
		}
	}
	for _, want := range []int{0, files} {
		n := 0
		for f, err := range m.changed(false) {
			if err != nil {
				t.Fatal(err)
			}
			m.sent(f, 1)
			if n++; n == files/2 {
				within()
			}
		}
		if n != want {
			t.Errorf("%d files are to be sent, not %d", n, want)
		}
	}
	within()
	runtime.KeepAlive(m)
}

// restless is a kind whose mirror is in the midst of a look when the program
// ends.
type restless struct {
	*job
	ended bool
}

func (r *restless) prepare(context.Context) error {
	m := &mirror{j: r.job, from: tree{r.ml, mlPath, "none"}, quit: make(chan struct{})}
	r.mirrors = append(r.mirrors, m)
	m.wg.Go(func() {
		<-m.quit
		runtime.Gosched()
		r.ended = true
	})
	return nil
}

func (r *restless) finish(context.Context, *plan.Result) []error {
	if !r.ended {
		return []error{userError("a look goes on")}
	}
	return nil
}

// Two looks at once send a file twice, and the older one may be the last.
func TestLooksEndBeforeTheLast(t *testing.T) {
	t.Parallel()
	j := newJob(newBench(t, "true").host)
	if res := j.run(t.Context(), &restless{job: &j}); res != (plan.Result{}) {
		t.Errorf("%+v", res)
	}
}
