package cli

import (
	"strings"
	"testing"
)

func TestWrongUseSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"frob":           "`clary help` lists",
		"ps --frob":      "see `clary ps --help`",
		"ps extra":       "usage: clary ps [flags]\n",
		"logs":           "usage: clary logs NAME",
		"run":            "clary run -- python train.py",
		"serve --port 1": "see `clary serve --help`",
	} {
		var out, errs strings.Builder
		if code := Main(t.Context(), IO{Out: &out, Err: &errs}, strings.Fields(line)); code != 1 {
			t.Errorf("clary %s: exit %d", line, code)
		}
		if !strings.Contains(errs.String(), want) {
			t.Errorf("clary %s says %q, not %q", line, errs.String(), want)
		}
	}
}
