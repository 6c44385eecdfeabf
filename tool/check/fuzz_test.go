package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each Fuzz function begins from inputs that are kept, which every run of the
// tests tries again; and whatever is kept belongs to one.
func TestFuzzersHaveCorpora(t *testing.T) {
	t.Parallel()
	all, err := fuzzers(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 30 {
		t.Fatalf("found only %d Fuzz functions: the search is wrong", len(all))
	}
	for _, f := range all {
		if inputs, err := os.ReadDir(f.corpus()); err != nil || len(inputs) == 0 {
			t.Errorf("%s of %s has no corpus: make fuzz, and keep some of what it found (%v)", f.name, f.dir, err)
		}
	}
	err = filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasSuffix(filepath.Dir(dir), filepath.Join("testdata", "fuzz")) &&
			!slices.ContainsFunc(all, func(f fuzzer) bool { return f.corpus() == dir }) {
			t.Errorf("%s is the corpus of no Fuzz function", dir)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What Go says at the end of a run's time is no finding; what it says of one is.
func TestTimeOver(t *testing.T) {
	t.Parallel()
	const over = "fuzz: elapsed: 20s, execs: 5 (0/sec), new interesting: 0 (total: 8)\n--- FAIL: FuzzX (20.01s)\n    context deadline exceeded\nFAIL\nexit status 1\n"
	for said, want := range map[string]bool{
		over: true,
		"--- FAIL: FuzzX (1.01s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:9: context deadline exceeded\n    \n" +
			"    Failing input written to testdata/fuzz/FuzzX/1\nFAIL\n": false,
		"--- FAIL: FuzzX (1.01s)\n    fuzzing process hung or terminated unexpectedly: exit status 2\nFAIL\n": false,
		"# clary/internal/x [build failed]\nFAIL\n":                                                           false,
	} {
		if got := timeOver.MatchString(said); got != want {
			t.Errorf("%q: over %t, want %t", said, got, want)
		}
	}
}
