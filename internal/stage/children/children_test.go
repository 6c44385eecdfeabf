package children

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// lines keeps what a pump takes.
type lines struct {
	mu  sync.Mutex // guards all
	all []string
}

func (l *lines) add(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(b))
}

func (l *lines) is(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.all, want) {
		t.Errorf("%q, want %q", l.all, want)
	}
}

// What was written before is taken, though the pipe is not at its end.
func TestPumpSettles(t *testing.T) {
	t.Parallel()
	var got lines
	p, w, err := NewPump(got.add)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for n := range 200 {
		s := fmt.Sprintf("%d %s", n, strings.Repeat("x", n*7%300))
		want = append(want, s)
		if _, err := io.WriteString(w, s+"\n"); err != nil {
			t.Fatal(err)
		}
		if n%3 == 0 {
			var all sync.WaitGroup
			for range 3 {
				all.Go(p.Settle)
			}
			all.Wait()
			got.is(t, want...)
		}
	}
	if _, err := io.WriteString(w, "half"); err != nil {
		t.Fatal(err)
	}
	p.Settle()
	if _, err := io.WriteString(w, " a line"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p.Settle()
	<-p.end
	got.is(t, append(want, "half", " a line")...)
	p.Settle() // there is nothing to wait for
}

func TestPumpCutsWhatIsLong(t *testing.T) {
	t.Parallel()
	var got lines
	p, w, err := NewPump(got.add)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, strings.Repeat("y", 5*longest)); err != nil {
		t.Fatal(err)
	}
	p.Settle()
	got.mu.Lock()
	defer got.mu.Unlock()
	if n := len(got.all); n < 3 || strings.Join(got.all, "") != strings.Repeat("y", 5*longest) {
		t.Errorf("%d pieces", n)
	}
	_ = w.Close()
}

func TestFamily(t *testing.T) { //nolint:paralleltest // it waits for all children of the process
	f := New()
	said := make(chan string, 10)
	_, w, err := NewPump(func(text []byte) { said <- string(text) })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // it ends the pump
	run := func(script string) *Child {
		t.Helper()
		c, err := f.Start("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Dir: "/", Files: []uintptr{0, w.Fd(), 2}, Sys: &syscall.SysProcAttr{Setpgid: true}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for script, want := range map[string]int{"exit 0": 0, "exit 9": 9, "kill -TERM $$": 143} {
		c := run(script)
		<-c.Done()
		if c.Code() != want || c.Killed() {
			t.Errorf("%s: %d", script, c.Code())
		}
	}
	c := run("trap 'echo told' TERM; echo ready; while :; do sleep 1000 & wait; done")
	if s := <-said; s != "ready" {
		t.Error(s)
	}
	c.Signal(syscall.SIGTERM)
	if s := <-said; s != "told" {
		t.Error(s)
	}
	c.SignalGroup(syscall.SIGKILL)
	<-c.Done()
	if !c.Killed() {
		t.Error("it was not killed")
	}
	c.Signal(syscall.SIGKILL) // nobody is there: another may have its number
	if _, err := f.Start("/no/such/program", nil, &syscall.ProcAttr{}); !os.IsNotExist(err) {
		t.Error(err)
	}
	f.EndAll() // this is no first process
}
