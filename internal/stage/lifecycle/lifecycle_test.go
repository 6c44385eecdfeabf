package lifecycle

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"clary/internal/stage/children"
)

// family buries for all tests: two would bury each other's children.
var family = sync.OnceValue(children.New)

// TestRun is the whole of a script's life but what a task's first process alone
// may do: to end what it has left.
func TestRun(t *testing.T) { //nolint:paralleltest // it waits for all children of the process
	family := family()
	stopped := make(chan struct{})
	close(stopped)
	for _, tt := range []struct {
		name, text string
		stop       chan struct{}
		want       []string
		is         error
		failed     string
	}{
		{name: "plain", text: "echo $A; echo two >&2; [[ -n $BASH ]] && pwd", want: []string{"1", "two", "/"}},
		{name: "named", text: "#!/usr/bin/env python3\nimport sys\nprint(6 * 7)\n", want: []string{"42"}},
		{name: "fails", text: "echo why; echo '  '; exit 4", want: []string{"why", "  "}, failed: "exit code 4: why"},
		{name: "silent", text: "false", failed: "exit code 1"},
		{name: "slow", text: "echo begins; sleep 1000 & wait", want: []string{"begins"}, is: ErrSlow},
		{name: "stopped", text: "sleep 1000", stop: stopped, is: ErrStopped},
		{name: "none", text: "#!/no/such\n", is: os.ErrNotExist},
	} {
		var mu sync.Mutex
		var got []string
		s := Script{Name: tt.name, Text: tt.text, File: filepath.Join(t.TempDir(), "deep", "script"), Dir: "/", Env: []string{"A=1", "PATH=/usr/bin:/bin"}, Limit: time.Minute, Stop: tt.stop, Line: func(text []byte) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, string(text))
		}}
		if errors.Is(tt.is, ErrSlow) {
			s.Limit = 300 * time.Millisecond
		}
		err := s.Run(family)
		failed, isFailed := errors.AsType[*FailedError](err)
		switch {
		case tt.failed != "" && (!isFailed || failed.Error() != tt.failed), tt.failed == "" && !errors.Is(err, tt.is):
			t.Errorf("%s: %v", tt.name, err)
		}
		mu.Lock()
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q", tt.name, got)
		}
		mu.Unlock()
		if st, err := os.Stat(s.File); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", tt.name, st, err)
		}
	}
}

// What stays in the background goes on, and so does what it prints.
func TestBackground(t *testing.T) { //nolint:paralleltest // it waits for all children of the process
	family := family()
	flag := filepath.Join(t.TempDir(), "flag")
	late := make(chan string, 1)
	s := Script{Name: "x", Text: "(until [ -e " + flag + " ]; do sleep 0.01; done; echo late) & echo early", File: filepath.Join(t.TempDir(), "s"), Dir: "/", Limit: time.Minute, Env: []string{"PATH=/usr/bin:/bin"}, Line: func(text []byte) {
		if string(text) == "late" {
			late <- "late"
		}
	}}
	if err := s.Run(family); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-late:
	case <-time.After(2 * time.Minute):
		t.Error("the background is silent")
	}
}
