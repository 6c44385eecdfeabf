package segment

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"clary/internal/logs"
	"clary/internal/logs/logstest"
)

// TestPowerLoss takes the power away at every round of the syncer: of the
// folder only that is left which was forced out by then. Each line that was
// appended before the round began is there, with its offset, and what comes
// after is asked for again.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	type round struct {
		began time.Time
		sizes map[string]int64 // of the files, when it began
	}
	var mu sync.Mutex // guards rounds and appended
	var rounds []round
	appended := map[int64]time.Time{} // by offset, when the call had returned
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, watchSync: func() func() {
		r := round{time.Now(), map[string]int64{}}
		for _, p := range append(segments(t, dir, "log"), filepath.Join(dir, "catalog")) {
			if info, err := os.Stat(p); err == nil {
				r.sizes[p] = info.Size()
			}
		}
		return func() {
			mu.Lock()
			defer mu.Unlock()
			rounds = append(rounds, r)
		}
	}})
	k := logstest.Stream("/g", "s")
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(rounds) >= 4
	}
	next := int64(0)
	tick := time.NewTicker(5 * time.Millisecond) // a job prints now and then
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !enough() && time.Now().Before(deadline); next++ {
		logstest.Must(t, s.Ingest(t.Context(), k, "t", next, next+1, []logs.Event{{Timestamp: next + 1, Message: fmt.Sprint(next)}}))
		mu.Lock()
		appended[next] = time.Now()
		mu.Unlock()
		<-tick.C
	}
	if !enough() {
		t.Fatal("the syncer does not go round")
	}
	mu.Lock()
	defer mu.Unlock()
	last := time.Time{}
	for i, r := range rounds {
		// A round begins no later than syncAfter after the first append that it
		// takes; how long the disk takes is not ours.
		first := time.Time{}
		for at := range next {
			if when := appended[at]; when.After(last) && (first.IsZero() || when.Before(first)) {
				first = when
			}
		}
		if wait := r.began.Sub(first); i > 0 && wait > time.Second {
			t.Errorf("round %d began %s after what it should bring to disk", i, wait)
		}
		last = r.began
		left := copyDir(t, dir)
		for p, size := range r.sizes {
			rel, err := filepath.Rel(dir, p)
			logstest.Must(t, err)
			logstest.Must(t, os.Truncate(filepath.Join(left, rel), size))
		}
		again := open(t, Config{Dir: left})
		at, err := again.Offset(t.Context(), k, "t")
		logstest.Must(t, err)
		for off, when := range appended {
			if off >= at && when.Before(r.began) {
				t.Errorf("round %d: line %d was appended %s before it and is lost", i, off, r.began.Sub(when))
			}
		}
		if got := texts(t, again, k); int64(len(got)) != at {
			t.Errorf("round %d: %d lines at offset %d", i, len(got), at)
		}
	}
}
