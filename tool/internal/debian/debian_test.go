package debian

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got := missing([]Program{
		{Path: "sh", Package: "dash"},
		{Path: plain, Package: "dash"},
		{Path: dir, Package: "a"},
		{Path: "no-such-program", Package: "b"},
		{Path: "nor-this", Package: "b"},
		{Package: "c", There: func() bool { return false }},
		{Package: "d", There: func() bool { return true }},
	})
	if !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%q", got)
	}
}

func TestNothingToDo(t *testing.T) {
	t.Parallel()
	lock := filepath.Join(t.TempDir(), "lock")
	if err := Need(t.Context(), lock, t.Logf, Program{Path: "sh", Package: "dash"}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(lock); err == nil {
		t.Error("a lock was taken for nothing")
	}
}
