package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clary/internal/runtimes"
)

func TestDoctorSaysWhatSparkLacks(t *testing.T) {
	t.Parallel()
	for lack, want := range map[string]int{"": 1, "no Java": 2} {
		a := &app{IO: IO{Runtimes: func(string) (runtimes.Survey, error) { return runtimes.Survey{NoSpark: lack}, nil }}}
		got := a.examineRuntimes()
		if len(got) != want || got[0].Level != "ok" || want == 2 && (got[1].Level != "note" || !strings.Contains(got[1].Detail, lack)) {
			t.Errorf("%q: %+v", lack, got)
		}
	}
}

func TestDoctorKnowsAnOldCLI(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"aws-cli/2.9.19 Python/3.11.2 Linux/6.1": "note",
		"aws-cli/2.13.0 Python/3.11.2":           "ok",
		"aws-cli/2.23.6 Python/3.13":             "ok",
		"aws-cli/1.22.34 Python/3.10":            "note",
		"aws-cli/1.44.5 Python/3.11":             "ok",
		"something else":                         "note",
	} {
		b := newBench(t)
		dir := t.TempDir()
		script := "#!/bin/sh\necho '" + said + "'\n"
		if err := os.WriteFile(filepath.Join(dir, "aws"), []byte(script), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
		a := &app{IO: IO{Env: append(b.env, "PATH="+dir)}}
		got := a.examineCLI(t.Context())
		if len(got) != 1 || got[0].Level != want || want == "note" && said[0] == 'a' && !strings.Contains(got[0].Detail, "--endpoint-url") {
			t.Errorf("%q: %+v", said, got)
		}
	}
	a := &app{IO: IO{Env: []string{"PATH=" + t.TempDir()}}}
	if got := a.examineCLI(t.Context()); got != nil {
		t.Errorf("without one: %+v", got)
	}
}
