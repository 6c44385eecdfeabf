package activity

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/stage/agent"
)

var update = flag.Bool("update", false, "write the table of docs/IDLE.md anew")

// trace is what tool/traces recorded of one scenario.
type trace struct {
	name      string
	Scenario  string
	Stretches []struct {
		From, To time.Time
		Active   bool
		What     string
	}
	samples []agent.Sample
}

func load(t *testing.T, dir string) []trace {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var out []trace
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		x := trace{name: strings.TrimSuffix(filepath.Base(f), ".json")}
		if err := json.Unmarshal(text, &x); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		zipped, err := os.ReadFile(f + "l.gz")
		if err != nil {
			t.Fatal(err)
		}
		zip, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(zip)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var s agent.Sample
			if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			x.samples = append(x.samples, s)
		}
		if err := lines.Err(); err != nil || len(x.samples) == 0 || len(x.Stretches) == 0 {
			t.Fatalf("%s: %d samples, %d stretches: %v", f, len(x.samples), len(x.Stretches), err)
		}
		out = append(out, x)
	}
	return out
}

// outcome is what the rules say in a stretch.
type outcome struct {
	longest  time.Duration // that it seemed idle
	last     time.Duration // that it did at the end
	evidence string        // at the end
}

// play judges a trace with a time of at least every between two samples; begin
// leaves out that many of the first.
func play(x trace, every time.Duration, begin int) []outcome {
	out := make([]outcome, len(x.Stretches))
	var s State
	var last time.Time
	for _, sample := range x.samples[min(begin, len(x.samples)-1):] {
		if sample.At.Sub(last) < every {
			continue
		}
		last = sample.At
		var v Verdict
		s, v = Judge(s, sample)
		for i, stretch := range x.Stretches {
			if sample.At.Before(stretch.From) || sample.At.After(stretch.To) {
				continue
			}
			// What was before a stretch is no matter of it.
			idle := min(v.Idle, sample.At.Sub(stretch.From)+every)
			o := &out[i]
			o.longest, o.last, o.evidence = max(o.longest, idle), idle, v.Evidence
		}
	}
	return out
}

// pace is how often a server looks, how long what is in use may seem idle, and
// how long what is idle has to seem so at the end of its stretch. Stretches are
// of four minutes, so these times are short.
type pace struct{ every, most, least time.Duration }

func paces() []pace {
	return []pace{
		{0, 90 * time.Second, 90 * time.Second}, // as recorded
		{20 * time.Second, 90 * time.Second, 90 * time.Second},
		{time.Minute, 2 * time.Minute, 55 * time.Second},
	}
}

// TestTraces replays what was recorded of the real JupyterLab: nothing that is
// in use is stopped, everything that is not is, however often somebody looks.
func TestTraces(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"testdata", filepath.Join("testdata", "held")} {
		for _, x := range load(t, dir) {
			t.Run(filepath.Base(dir)+"/"+x.name, func(t *testing.T) {
				t.Parallel()
				for _, p := range paces() {
					for begin := 0; begin < 12; begin += 3 { // wherever the looking falls
						for i, o := range play(x, p.every, begin) {
							stretch := x.Stretches[i]
							switch {
							case stretch.Active && o.longest >= p.most:
								t.Errorf("false stop, every %s from sample %d: %s: idle for %s: %s", p.every, begin, stretch.What, o.longest, o.evidence)
							case !stretch.Active && o.last < p.least:
								t.Errorf("missed stop, every %s from sample %d: %s: idle for %s: %s", p.every, begin, stretch.What, o.last, o.evidence)
							}
						}
						if p.every == 0 {
							break
						}
					}
				}
			})
		}
	}
}

const (
	page  = "../../../../docs/IDLE.md"
	above = "<!-- made by go test ./internal/feature/notebook/activity -update -->\n"
	below = "<!-- end -->\n"
)

// TestTable holds that the page's table is what the rules say of the traces.
func TestTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("| Scenario | Truth | Verdict | Evidence at its end |\n|---|---|---|---|\n")
	for _, dir := range []string{"testdata", filepath.Join("testdata", "held")} {
		for _, x := range load(t, dir) {
			outcomes := play(x, 0, 0)
			for i, o := range outcomes {
				name, scenario := x.name, x.Scenario
				if dir != "testdata" {
					name += " (held back)"
				}
				if i > 0 {
					name, scenario = "", ""
				} else {
					scenario = ": " + scenario
				}
				truth, verdict := "idle", fmt.Sprintf("idle for %s", o.last.Round(time.Second))
				if x.Stretches[i].Active {
					truth = "in use"
				}
				if o.longest < paces()[0].most {
					verdict = "in use"
					if o.longest > 0 {
						verdict += fmt.Sprintf(", at most %s after the last sign", o.longest.Round(time.Second))
					}
				}
				cell := strings.NewReplacer("|", "\\|").Replace
				fmt.Fprintf(&b, "| %s%s | %s: %s | %s | %s |\n", name, cell(scenario), truth, cell(x.Stretches[i].What), verdict, cell(o.evidence))
			}
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), above)
	table, tail, end := strings.Cut(rest, below)
	if !ok || !end {
		t.Fatalf("%s has no place for the table", page)
	}
	if table == b.String() {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the rules say: go test ./internal/feature/notebook/activity -update\n%s", page, b.String())
	}
	if err := os.WriteFile(page, []byte(head+above+b.String()+below+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
