package task_test

import (
	"testing"
	"time"

	"clary/internal/compute/sandbox/task"
)

// A clock is set forth and back by hours, and the machine sleeps: what a task
// reads is what has passed, and how much of that was sleep.
func TestClock(t *testing.T) {
	t.Parallel()
	boot, mono := 500*time.Hour, 400*time.Hour // it has slept before
	began := time.Date(2026, 3, 29, 1, 59, 0, 0, time.UTC)
	c := task.NewClock(began, func() (time.Duration, time.Duration) { return boot, mono })
	pass := func(awake, asleep time.Duration) {
		boot += awake + asleep
		mono += awake
	}
	check := func(passed, slept time.Duration) {
		t.Helper()
		if got := c.Now().Sub(began); got != passed {
			t.Errorf("%s have passed, want %s", got, passed)
		}
		if got := c.Slept(); got != slept {
			t.Errorf("slept %s, want %s", got, slept)
		}
	}
	check(0, 0)
	pass(time.Hour, 0)
	check(time.Hour, 0)
	pass(0, 500*time.Microsecond) // two clocks are not read at once
	check(time.Hour+500*time.Microsecond, 0)
	pass(time.Minute, 3*time.Hour)
	check(4*time.Hour+time.Minute+500*time.Microsecond, 3*time.Hour+500*time.Microsecond)

	// The machine's own: it goes on, whatever wall it began with.
	far := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	own := task.NewClock(far, nil)
	first := own.Now()
	if first.Before(far) || first.Sub(far) > time.Minute || own.Now().Before(first) {
		t.Errorf("a clock that began at %s shows %s", far, first)
	}
}
