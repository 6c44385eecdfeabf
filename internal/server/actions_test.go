package server

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The golden file is what an operator reads to write policies, and what the
// tests of policies are made of.
func TestActions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, err := open(t.Context(), Config{Data: dir, Listen: "127.0.0.1:0", Account: defaultAccount, Region: defaultRegion}, "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	var sb strings.Builder
	for _, c := range r.front.Checks() {
		fmt.Fprintf(&sb, "%s:%s %s %s\n", c.Service, c.Operation, c.Action, c.Resource)
	}
	const file = "../../test/golden/actions.txt"
	if *update {
		if err := os.WriteFile(file, []byte(sb.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if sb.String() != string(want) {
		t.Errorf("%s says otherwise than the server asks; run go test ./internal/server -update and read the difference", file)
	}
}
