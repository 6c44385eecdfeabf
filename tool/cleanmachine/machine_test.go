//go:build linux

package main

import "testing"

func TestCommandsForRoot(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"    sudo apt-get update && sudo apt-get install -y gcc": "apt-get update && apt-get install -y gcc",
		"    sudo true":              "true",
		"sudo is not a command here": "",
		"    type sudo apt-get":      "",
	} {
		if got := forRoot(line); got != want {
			t.Errorf("%q: %q, not %q", line, got, want)
		}
	}
}
