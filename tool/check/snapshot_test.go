package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A snapshot holds what the checkout does, nothing more, and what did not change
// keeps its time.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	s := &snapshot{dir: t.TempDir()}
	var root string
	files := map[string]string{}
	fill := func(gone ...string) {
		t.Helper()
		root = t.TempDir() // another clone
		for f, text := range files {
			p := filepath.Join(root, f)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.fill(root, slices.Concat(slices.Collect(maps.Keys(files)), gone)); err != nil {
			t.Fatal(err)
		}
		for f, text := range files {
			if b, err := os.ReadFile(filepath.Join(s.dir, f)); err != nil || string(b) != text {
				t.Errorf("%s: %q, %v", f, b, err)
			}
		}
	}
	files["a.go"], files["x/y/b.go"], files["x/c"] = "a", "b", "c"
	fill()

	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, f := range []string{"a.go", "x/y/b.go"} {
		if err := os.Chtimes(filepath.Join(s.dir, f), old, old); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"bin/clary", "internal/server/taskbin/clary-task.sum", "stray/file", "x/y/stray"} {
		p := filepath.Join(s.dir, f)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("built"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files["x/y/b.go"] = "B"          // as long as before
	files["x/c/d"] = "d"             // a folder in the place of a file
	delete(files, "x/c")             //
	files["internal/server/e"] = "e" // beside what was built
	fill("gone.go")

	times := func(f string) bool {
		info, err := os.Stat(filepath.Join(s.dir, f))
		return err == nil && info.ModTime().Equal(old)
	}
	if !times("a.go") || times("x/y/b.go") {
		t.Errorf("unchanged keeps its time: %t; changed gets one: %t", times("a.go"), !times("x/y/b.go"))
	}
	for f, want := range map[string]bool{"bin/clary": true, "internal/server/taskbin/clary-task.sum": true, "stray": false, "x/y/stray": false} {
		if _, err := os.Stat(filepath.Join(s.dir, f)); (err == nil) != want {
			t.Errorf("%s is there: %t", f, err == nil)
		}
	}

	if err := os.Chmod(filepath.Join(s.dir, "a.go"), 0o755); err != nil {
		t.Fatal(err)
	}
	delete(files, "x/c/d")
	files["x/c"] = "a file again"
	fill()
	if info, err := os.Stat(filepath.Join(s.dir, "a.go")); err != nil || info.Mode() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Two runs at once have a place each; the next one has the first again.
func TestSnapshotsApart(t *testing.T) {
	t.Parallel()
	trees := t.TempDir()
	place := func() *snapshot {
		s, err := lockSnapshot(trees)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b := place(), place()
	if a.dir == b.dir {
		t.Error("both are in one place")
	}
	if err := a.release(); err != nil {
		t.Fatal(err)
	}
	if c := place(); c.dir != a.dir {
		t.Errorf("%s is free, and %s was taken", a.dir, c.dir)
	}
}
