package supervisor

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/jail"
	"clary/internal/stage/plan"
)

// spooled runs input through a spooler in pieces and returns what it kept.
func spooled(t *testing.T, input []byte, most int64, pieces func() int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spool")
	s, err := newSpooler(path, most, func() {})
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	go func() {
		for len(input) > 0 {
			n := min(max(pieces(), 1), len(input))
			_, _ = w.Write(input[:n])
			input = input[n:]
		}
		_ = w.Close()
	}()
	s.run(r)
	if err := s.sync(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.size.Load() != int64(len(b)) {
		t.Errorf("size %d, file has %d", s.size.Load(), len(b))
	}
	return b
}

// texts checks the form of a spool and takes the stamps off.
func texts(t *testing.T, b []byte) []string {
	t.Helper()
	var lines []string
	last := int64(0)
	for line := range strings.Lines(string(b)) {
		stamp, text, ok := strings.Cut(line, " ")
		ms, err := strconv.ParseInt(stamp, 10, 64)
		if !ok || err != nil || ms < last || !strings.HasSuffix(text, "\n") {
			t.Fatalf("line %.40q after %d", line, last)
		}
		last = ms
		lines = append(lines, strings.TrimSuffix(text, "\n"))
	}
	return lines
}

func TestSpoolerKeepsEveryByte(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		input := make([]byte, rnd.IntN(3*maxLine))
		for i := range input {
			input[i] = "abc \r\x00\xff"[rnd.IntN(7)]
			if rnd.IntN(1<<rnd.IntN(20)) == 0 {
				input[i] = '\n'
			}
		}
		size := 1 << rnd.IntN(18)
		lines := texts(t, spooled(t, input, 1<<40, func() int { return rnd.IntN(size) }))
		// Lines that were cut are joined again by their length alone.
		var got []byte
		for _, l := range lines {
			if len(l) > maxLine {
				t.Fatalf("a line of %d bytes", len(l))
			}
			got = append(got, l...)
			if len(l) < maxLine {
				got = append(got, '\n')
			}
		}
		want := input
		if n := len(want); n > 0 && want[n-1] != '\n' {
			want = append(want, '\n')
		}
		if rep := bytes.ReplaceAll(got, []byte("\n"), nil); !bytes.Equal(rep, bytes.ReplaceAll(want, []byte("\n"), nil)) {
			t.Fatalf("%d bytes came back as %d", len(input), len(got))
		}
	}
}

func TestSpoolerLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxLine)
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"a\nb", []string{"a", "b"}},
		{"\n\n", []string{"", ""}},
		{"1%\r2%\r3%\n", []string{"1%\r2%\r3%"}},
		{long + "\nz\n", []string{long, "z"}},
		{long + "y\nz\n", []string{long, "y", "z"}},
	} {
		for _, piece := range []int{1 << 20, 7} {
			if got := texts(t, spooled(t, []byte(tt.in), 1<<40, func() int { return piece })); strings.Join(got, "|") != strings.Join(tt.want, "|") || len(got) != len(tt.want) {
				t.Errorf("%.20q in pieces of %d: %d lines", tt.in, piece, len(got))
			}
		}
	}
}

func TestSpoolerIsBounded(t *testing.T) {
	t.Parallel()
	b := spooled(t, bytes.Repeat([]byte("0123456789\n"), 100_000), 10_000, func() int { return 4096 })
	lines := texts(t, b)
	if len(b) > 10_200 || !strings.Contains(lines[len(lines)-1], "dropped") || lines[0] != "0123456789" {
		t.Errorf("%d bytes, last line %q", len(b), lines[len(lines)-1])
	}
}

// TestOutcome: what the supervisor saw outranks what it was told.
func TestOutcome(t *testing.T) {
	t.Parallel()
	ok := &plan.Result{}
	for _, tt := range []struct {
		name   string
		o      outcome
		reason compute.Reason
		result plan.Result
	}{
		{"success", outcome{program: &jail.Exit{}, result: ok}, compute.ReasonExited, plan.Result{}},
		{"stage lies about the code", outcome{program: &jail.Exit{Code: 3}, result: ok}, compute.ReasonExited, plan.Result{ExitCode: 3}},
		{"stage could not upload", outcome{program: &jail.Exit{}, result: &plan.Result{Failure: "no bucket", Class: "ClientError"}}, compute.ReasonExited, plan.Result{Failure: "no bucket", Class: "ClientError"}},
		{"stage ended it", outcome{full: true, program: &jail.Exit{Code: 143, Signal: "terminated"}, result: &plan.Result{Served: true}}, compute.ReasonExited, plan.Result{Served: true, ExitCode: 143, Signal: "terminated"}},
		{"on a full volume", outcome{full: true, program: &jail.Exit{Code: 143}, result: ok}, compute.ReasonDisk, plan.Result{ExitCode: 143}},
		{"stopped", outcome{reason: compute.ReasonStopped, program: &jail.Exit{Code: 143, Signal: "terminated"}, result: ok}, compute.ReasonStopped, plan.Result{ExitCode: 143, Signal: "terminated"}},
		{"memory", outcome{memory: 5, reason: compute.ReasonMemory, program: &jail.Exit{Code: 137, Signal: "killed"}}, compute.ReasonMemory, plan.Result{ExitCode: 137, Signal: "killed"}},
		{"disk", outcome{reason: compute.ReasonDisk, program: &jail.Exit{Code: 137, Signal: "killed"}}, compute.ReasonDisk, plan.Result{ExitCode: 137, Signal: "killed"}},
		{"full volume", outcome{full: true, program: &jail.Exit{Code: 1}}, compute.ReasonDisk, plan.Result{ExitCode: 1}},
		{"full volume that did no harm", outcome{full: true, program: &jail.Exit{}, result: ok}, compute.ReasonExited, plan.Result{}},
		{"stopped with a full volume", outcome{full: true, reason: compute.ReasonStopped, program: &jail.Exit{Code: 143}}, compute.ReasonStopped, plan.Result{ExitCode: 143}},
		{"never began", outcome{err: io.ErrUnexpectedEOF}, compute.ReasonFailed, plan.Result{ExitCode: -1, Failure: "unexpected EOF", Class: "InternalServerError"}},
		{"no such program", outcome{program: &jail.Exit{Code: -1, Error: "not found"}, result: &plan.Result{ExitCode: -1}}, compute.ReasonFailed, plan.Result{ExitCode: -1, Failure: "not found", Class: "ClientError"}},
	} {
		got := tt.o.exit(nil)
		if got.Reason != tt.reason || got.Result != tt.result || got.PeakMemory != tt.o.memory {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}
