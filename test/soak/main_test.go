package main

import (
	"slices"
	"testing"
)

// A run without a kill, or without a job that lived through one, has not passed.
func TestUnseen(t *testing.T) {
	t.Parallel()
	seen := map[string]int{serverKills: 1, supervisorKills: 1, outlived: 1, lost: 1, "objects": 9}
	if got := unseen(seen); len(got) != 0 {
		t.Errorf("of a whole run, %q is missing", got)
	}
	for _, what := range []string{serverKills, supervisorKills, outlived, lost} {
		seen[what] = 0
		if got := unseen(seen); !slices.Equal(got, []string{what}) {
			t.Errorf("without %s, %q is missing", what, got)
		}
		seen[what] = 1
	}
}
