// Package computetest is what every compute driver must pass. A driver's test
// is one call of Run. The suite knows a driver only by its contract; programs
// are described, and the driver's test says how to run such a one.
package computetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
)

// Program is what a task of the suite does: print lines, then end or stay.
// What Read, Home and Listen say comes before that.
type Program struct {
	Read       []string          // files, each printed as a line, "missing" if it is not there
	Write      map[string]string // files that are written after that, each a line
	Home       bool              // print $HOME
	Identity   bool              // print the access key that it acts with
	Listen     int               // echo on this port of 127.0.0.1 until the end
	Lines      []string
	Exit       int
	Forever    bool
	IgnoreTERM bool
	Run        time.Duration // between the last line and the end
}

// Subject is a driver under test with the place where its state is.
type Subject struct {
	// Open makes a driver on the same state; a test calls it again to restart.
	Open func(t *testing.T) compute.Driver
	// Args runs a program of the suite.
	Args func(p Program) []string
}

// patience bounds every wait; a busy machine is slow, a hanging driver slower.
const patience = 60 * time.Second

// Run runs the suite. subject makes a fresh, empty one for each test.
func Run(t *testing.T, subject func(t *testing.T) Subject) {
	t.Helper()
	tests := []struct {
		name string
		f    func(*testing.T, *bench)
	}{
		{"Unknown", unknown},
		{"StartTwice", startTwice},
		{"ExitCodes", exitCodes},
		{"Output", output},
		{"OutputOffsets", outputOffsets},
		{"Reopen", reopen},
		{"ReopenAfterEnd", reopenAfterEnd},
		{"Stop", stop},
		{"StopGrace", stopGrace},
		{"StopEnded", stopEnded},
		{"MaxRuntime", maxRuntime},
		{"Remove", remove},
		{"List", list},
		{"Changes", changes},
		{"Files", files},
		{"Home", home},
		{"Volume", volumeOutlives},
		{"VolumeInUse", volumeInUse},
		{"VolumeUnknown", volumeUnknown},
		{"Dial", dial},
		{"Renew", renew},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := subject(t)
			tt.f(t, &bench{Subject: s, Driver: s.Open(t)})
		})
	}
}

type bench struct {
	Subject
	compute.Driver
}

func (b *bench) task(id string, p Program) compute.Task {
	return compute.Task{ID: compute.TaskID(id), Kind: "training", Name: id, Args: b.Args(p), Grace: time.Second}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Wait waits until the task's status satisfies ok.
func Wait(t *testing.T, d compute.Driver, id compute.TaskID, what string, ok func(compute.TaskStatus) bool) compute.TaskStatus {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		st, err := d.Status(t.Context(), id)
		must(t, err)
		if ok(st) {
			return st
		}
		if time.Now().After(deadline) {
			t.Fatalf("task %s is not %s after %s: %+v", id, what, patience, st)
		}
		select { // a change is a hint only and may be another's
		case <-d.Changes():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Ended waits for the task's end.
func Ended(t *testing.T, d compute.Driver, id compute.TaskID) compute.TaskStatus {
	t.Helper()
	st := Wait(t, d, id, "ended", func(s compute.TaskStatus) bool { return s.Phase == compute.Ended })
	if st.Exit == nil {
		t.Fatalf("task %s has ended without an exit: %+v", id, st)
	}
	return st
}

// Output reads all of a task's output.
func Output(t *testing.T, d compute.Driver, id compute.TaskID, from int64) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := d.Spool(ctx, id, from)
	must(t, err)
	defer r.Close() //nolint:errcheck // a reader
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("output of %s after %d bytes: %v", id, len(b), err)
	}
	return b
}

var lineForm = regexp.MustCompile(`^[0-9]{13} `) //nolint:gochecknoglobals // a constant

// Lines are the texts of an output, whose form is checked.
func Lines(t *testing.T, b []byte) []string {
	t.Helper()
	lines := []string{}
	for line := range strings.Lines(string(b)) {
		if !lineForm.MatchString(line) || !strings.HasSuffix(line, "\n") {
			t.Fatalf("line %q is not \"<unix ms> <text>\\n\"", line)
		}
		lines = append(lines, line[14:len(line)-1])
	}
	return lines
}

func wantLines(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("lines\n%q, want\n%q", got, want)
	}
}

func unknown(t *testing.T, b *bench) {
	ctx := t.Context()
	for _, id := range []compute.TaskID{"no-such-task", "../etc", "", "A"} {
		if err := b.Stop(ctx, id, 0); !errors.Is(err, compute.ErrNotFound) {
			t.Errorf("Stop(%q) = %v, want ErrNotFound", id, err)
		}
		if _, err := b.Status(ctx, id); !errors.Is(err, compute.ErrNotFound) {
			t.Errorf("Status(%q) = %v, want ErrNotFound", id, err)
		}
		if _, err := b.Spool(ctx, id, 0); !errors.Is(err, compute.ErrNotFound) {
			t.Errorf("Spool(%q) = %v, want ErrNotFound", id, err)
		}
		if err := b.Remove(ctx, id); err != nil {
			t.Errorf("Remove(%q) = %v", id, err)
		}
	}
	ids, err := b.List(ctx)
	must(t, err)
	if len(ids) != 0 {
		t.Errorf("List = %v, want none", ids)
	}
}

func startTwice(t *testing.T, b *bench) {
	tk := b.task("twice-1", Program{Lines: []string{"once"}})
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() { errs <- b.Start(t.Context(), tk) }()
	}
	for range cap(errs) {
		must(t, <-errs)
	}
	Ended(t, b, tk.ID)
	must(t, b.Start(t.Context(), tk))
	must(t, b.Open(t).Start(t.Context(), tk))
	wantLines(t, Lines(t, Output(t, b, tk.ID, 0)), []string{"once"})
}

func exitCodes(t *testing.T, b *bench) {
	for _, code := range []int{0, 1, 3, 127, 255} {
		tk := b.task(fmt.Sprintf("code-%d", code), Program{Exit: code})
		must(t, b.Start(t.Context(), tk))
		st := Ended(t, b, tk.ID)
		if st.Exit.Result.ExitCode != code || st.Exit.Result.Signal != "" || st.Exit.Reason != compute.ReasonExited {
			t.Errorf("exit %d is told as %+v", code, *st.Exit)
		}
		if st.Started.IsZero() || st.Created.After(st.Started) || st.Started.After(st.Exit.At) {
			t.Errorf("times out of order: created %v, started %v, ended %v", st.Created, st.Started, st.Exit.At)
		}
	}
}

func output(t *testing.T, b *bench) {
	var want []string
	for i := range 200 {
		want = append(want, "line "+strconv.Itoa(i))
	}
	tk := b.task("out-1", Program{Lines: want, Run: 50 * time.Millisecond})
	must(t, b.Start(t.Context(), tk))
	live := Output(t, b, tk.ID, 0)
	wantLines(t, Lines(t, live), want)
	st := Ended(t, b, tk.ID)
	if st.Spooled != int64(len(live)) {
		t.Errorf("Spooled = %d, output has %d bytes", st.Spooled, len(live))
	}
	for _, from := range []int64{0, 1, 17, int64(len(live)) - 1, int64(len(live))} {
		if got := Output(t, b, tk.ID, from); !bytes.Equal(got, live[from:]) {
			t.Errorf("from %d: %d bytes, want %d", from, len(got), len(live[from:]))
		}
	}
}

// outputOffsets reads what a program that is still running has said.
func outputOffsets(t *testing.T, b *bench) {
	tk := b.task("off-1", Program{Lines: []string{"first", "second"}, Forever: true})
	must(t, b.Start(t.Context(), tk))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := b.Spool(ctx, tk.ID, 0)
	must(t, err)
	var got []byte
	p := make([]byte, 7)
	for bytes.Count(got, []byte("\n")) < 2 {
		n, err := r.Read(p)
		got = append(got, p[:n]...)
		must(t, err)
	}
	wantLines(t, Lines(t, got), []string{"first", "second"})
	first := bytes.IndexByte(got, '\n') + 1
	r2, err := b.Open(t).Spool(ctx, tk.ID, int64(first))
	must(t, err)
	rest := make([]byte, len(got)-first)
	_, err = io.ReadFull(r2, rest)
	must(t, err)
	if !bytes.Equal(rest, got[first:]) {
		t.Errorf("from %d: %q, want %q", first, rest, got[first:])
	}
	must(t, r2.Close())
	done := make(chan error, 1)
	go func() {
		_, err := r.Read(p)
		done <- err
	}()
	must(t, b.Stop(t.Context(), tk.ID, time.Second))
	if err := <-done; !errors.Is(err, io.EOF) {
		t.Errorf("a waiting Read ends with %v, want EOF", err)
	}
	must(t, r.Close())
}

func reopen(t *testing.T, b *bench) {
	tk := b.task("again-1", Program{Lines: []string{"a", "b"}, Forever: true})
	must(t, b.Start(t.Context(), tk))
	Wait(t, b, tk.ID, "running", func(s compute.TaskStatus) bool { return s.Phase == compute.Running })
	d := b.Open(t)
	st, err := d.Status(t.Context(), tk.ID)
	must(t, err)
	if st.Phase != compute.Running {
		t.Fatalf("after a restart the task is %s", st.Phase)
	}
	must(t, d.Start(t.Context(), tk))
	must(t, d.Stop(t.Context(), tk.ID, time.Second))
	if st := Ended(t, d, tk.ID); st.Exit.Reason != compute.ReasonStopped {
		t.Errorf("reason %s, want Stopped", st.Exit.Reason)
	}
}

func reopenAfterEnd(t *testing.T, b *bench) {
	tk := b.task("end-1", Program{Lines: []string{"a", "b"}, Exit: 7})
	must(t, b.Start(t.Context(), tk))
	before := Ended(t, b, tk.ID)
	d := b.Open(t)
	after := Ended(t, d, tk.ID)
	if before.Exit.Result != after.Exit.Result || !before.Exit.At.Equal(after.Exit.At) || before.Spooled != after.Spooled {
		t.Errorf("the end has changed: %+v, was %+v", after, before)
	}
	wantLines(t, Lines(t, Output(t, d, tk.ID, 0)), []string{"a", "b"})
}

// terminated is the exit code of a program that obeys SIGTERM: the signal's, or
// its own where it is process 1, which an unhandled signal does not end.
const terminated = 143

func stop(t *testing.T, b *bench) {
	tk := b.task("stop-1", Program{Lines: []string{"up"}, Forever: true})
	must(t, b.Start(t.Context(), tk))
	untilLine(t, b, tk.ID)
	began := time.Now()
	must(t, b.Stop(t.Context(), tk.ID, patience))
	must(t, b.Stop(t.Context(), tk.ID, patience))
	st := Ended(t, b, tk.ID)
	if st.Exit.Reason != compute.ReasonStopped || st.Exit.Result.ExitCode != terminated {
		t.Errorf("exit %+v, want Stopped by SIGTERM", *st.Exit)
	}
	if d := time.Since(began); d > patience/2 {
		t.Errorf("a program that obeys was given %s", d)
	}
}

// untilLine waits for the first line of output, after which the program is
// known to have set its signals, and returns its text.
func untilLine(t *testing.T, d compute.Driver, id compute.TaskID) string {
	t.Helper()
	return until(t, d, id, "\n")[0]
}

// until waits until the output holds text and returns the lines so far.
func until(t *testing.T, d compute.Driver, id compute.TaskID, text string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := d.Spool(ctx, id, 0)
	must(t, err)
	defer r.Close() //nolint:errcheck // a reader
	var got []byte
	p := make([]byte, 512)
	for !bytes.Contains(got, []byte(text)) {
		n, err := r.Read(p)
		got = append(got, p[:n]...)
		must(t, err)
	}
	return Lines(t, got[:bytes.LastIndexByte(got, '\n')+1])
}

func stopGrace(t *testing.T, b *bench) {
	tk := b.task("grace-1", Program{Lines: []string{"up"}, Forever: true, IgnoreTERM: true})
	must(t, b.Start(t.Context(), tk))
	untilLine(t, b, tk.ID)
	const grace = 700 * time.Millisecond
	began := time.Now()
	must(t, b.Stop(t.Context(), tk.ID, grace))
	st := Ended(t, b, tk.ID)
	if st.Exit.Reason != compute.ReasonStopped || st.Exit.Result.Signal != "killed" {
		t.Errorf("exit %+v, want Stopped by killed", *st.Exit)
	}
	if lived := st.Exit.At.Sub(began); lived < grace {
		t.Errorf("killed after %s, grace is %s", lived, grace)
	}
}

func stopEnded(t *testing.T, b *bench) {
	tk := b.task("over-1", Program{})
	must(t, b.Start(t.Context(), tk))
	before := Ended(t, b, tk.ID)
	must(t, b.Stop(t.Context(), tk.ID, 0))
	if after := Ended(t, b, tk.ID); after.Exit.Reason != before.Exit.Reason {
		t.Errorf("Stop after the end made %s of %s", after.Exit.Reason, before.Exit.Reason)
	}
}

func maxRuntime(t *testing.T, b *bench) {
	for _, tt := range []struct {
		id     string
		ignore bool
		code   int
	}{{"max-1", false, terminated}, {"max-2", true, 137}} {
		tk := b.task(tt.id, Program{Lines: []string{"up"}, Forever: true, IgnoreTERM: tt.ignore})
		tk.MaxRuntime, tk.Grace = 1500*time.Millisecond, 300*time.Millisecond
		must(t, b.Start(t.Context(), tk))
		st := Ended(t, b, tk.ID)
		if st.Exit.Reason != compute.ReasonMaxRuntime || st.Exit.Result.ExitCode != tt.code {
			t.Errorf("exit %+v, want MaxRuntime with %d", *st.Exit, tt.code)
		}
		if ran := st.Exit.At.Sub(st.Started); ran < tk.MaxRuntime {
			t.Errorf("ended after %s of %s", ran, tk.MaxRuntime)
		}
	}
}

func remove(t *testing.T, b *bench) {
	tk := b.task("gone-1", Program{Lines: []string{"up"}, Forever: true, IgnoreTERM: true})
	must(t, b.Start(t.Context(), tk))
	must(t, b.Remove(t.Context(), tk.ID))
	must(t, b.Remove(t.Context(), tk.ID))
	if _, err := b.Status(t.Context(), tk.ID); !errors.Is(err, compute.ErrNotFound) {
		t.Fatalf("Status after Remove = %v", err)
	}
	tk.Args = b.Args(Program{Lines: []string{"anew"}})
	must(t, b.Start(t.Context(), tk))
	Ended(t, b, tk.ID)
	wantLines(t, Lines(t, Output(t, b, tk.ID, 0)), []string{"anew"})
	must(t, b.Remove(t.Context(), tk.ID))
}

func list(t *testing.T, b *bench) {
	want := []compute.TaskID{"l-1", "l-2", "l-3"}
	for _, id := range want {
		must(t, b.Start(t.Context(), b.task(string(id), Program{})))
	}
	for _, d := range []compute.Driver{b, b.Open(t)} {
		got, err := d.List(t.Context())
		must(t, err)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("List = %v, want %v", got, want)
		}
	}
	for _, id := range want {
		Ended(t, b, id)
	}
}

func changes(t *testing.T, b *bench) {
	tk := b.task("hint-1", Program{Lines: []string{"x"}})
	must(t, b.Start(t.Context(), tk))
	deadline := time.After(patience)
	for {
		select {
		case id := <-b.Changes():
			if id != tk.ID {
				t.Fatalf("a change of %q, which nobody started", id)
			}
			st, err := b.Status(t.Context(), id)
			must(t, err)
			if st.Phase == compute.Ended {
				return
			}
		case <-deadline:
			t.Fatal("the task's end was not hinted at")
		}
	}
}
