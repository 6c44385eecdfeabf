package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"clary/tool/internal/step"
)

// A fuzzer is one Fuzz function of a package's tests.
type fuzzer struct{ dir, name string }

// corpus is where go test finds the inputs that are kept of it, and leaves one
// that failed.
func (f fuzzer) corpus() string { return filepath.Join(f.dir, "testdata", "fuzz", f.name) }

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz[A-Z]\w*)\(`)

// fuzzers are all that the tree has. They are found by their text: to have go
// test list them would compile every test of every package.
func fuzzers(root string) ([]fuzzer, error) {
	var all []fuzzer
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range fuzzFunc.FindAllSubmatch(text, -1) {
			all = append(all, fuzzer{filepath.Dir(path), string(m[1])})
		}
		return err
	})
	return all, err
}

// fuzzing is a step that fuzzes each of them for a while, one after another. A
// finding fails it, when all have had their turn; the input lies in the corpus,
// where every run of the tests tries it until it is mended.
func fuzzing(each time.Duration) part {
	return part{fmt.Sprintf("fuzz each Fuzz function of the tree for %s", each), func(ctx context.Context, r *runner) error {
		all, err := fuzzers(r.root)
		if err != nil {
			return err
		}
		var failed error
		for i, f := range all {
			rel, err := filepath.Rel(r.root, f.dir)
			if err != nil {
				return err
			}
			fmt.Printf("   %d/%d %s %s\n", i+1, len(all), rel, f.name)
			if err := r.fuzz(ctx, f, each); ctx.Err() != nil {
				return ctx.Err()
			} else if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s %s", rel, f.name))
			}
		}
		return failed
	}}
}

// fuzz fuzzes one. Go would spend up to a minute on making each input that it
// keeps smaller, and of a large one, an archive, that is all of its time.
func (r *runner) fuzz(ctx context.Context, f fuzzer, each time.Duration) error {
	var said strings.Builder
	err := step.Run(ctx, step.Cmd{Dir: f.dir, Out: &said, Args: []string{
		"go", "test", unvetted, "-run", "^$", "-fuzz", "^" + f.name + "$", "-fuzztime", each.String(), "-fuzzminimizetime", "10x", ".",
	}})
	if err == nil || timeOver.MatchString(said.String()) {
		return nil
	}
	_, shown := io.WriteString(r.out, said.String())
	return errors.Join(err, shown)
}

// timeOver is what Go before 1.27 may say of a run that found nothing, when a
// worker is busy as its time ends: https://github.com/golang/go/issues/75804.
var timeOver = regexp.MustCompile(`(?m)^--- FAIL: Fuzz\w+ \([\d.]+s\)\n    context deadline exceeded\nFAIL$`)
