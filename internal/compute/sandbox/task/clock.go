package task

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// BootID names this boot of the machine.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// Clocks reads the machine's two steady clocks. Both begin at its start; boot
// counts the time that the machine sleeps, mono does not.
type Clocks func() (boot, mono time.Duration)

// machineClocks looks at one between two looks at the other, and again where
// these are far apart: who is not let run in between has not slept.
func machineClocks() (boot, mono time.Duration) {
	least := time.Duration(math.MaxInt64)
	for range 5 {
		var before, b, after unix.Timespec
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &before) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &b) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &after) != nil {
			return 0, 0
		}
		if apart := time.Duration(after.Nano() - before.Nano()); apart < least {
			least, boot, mono = apart, time.Duration(b.Nano()), time.Duration(before.Nano())+apart/2
		}
		if least < 10*time.Microsecond {
			break
		}
	}
	return boot, mono
}

// Clock is a task's own: it shows the wall clock as it was when the task
// began, and goes on with the boot clock. Setting the wall clock does not move
// it, so that what lies between two of its readings has passed.
type Clock struct {
	read       Clocks
	wall       time.Time
	boot, mono time.Duration // at wall
}

// NewClock begins at the wall clock's now. clocks is nil for the machine's.
func NewClock(now time.Time, clocks Clocks) *Clock {
	if clocks == nil {
		clocks = machineClocks
	}
	c := &Clock{read: clocks, wall: now.Round(0)}
	c.boot, c.mono = clocks()
	return c
}

// Now is the time since the beginning on top of what the wall clock showed.
func (c *Clock) Now() time.Time {
	boot, _ := c.read()
	return c.wall.Add(boot - c.boot)
}

// Slept is how long the machine has slept since the beginning.
func (c *Clock) Slept() time.Duration {
	boot, mono := c.read()
	// The two clocks are not read at the same instant.
	if slept := (boot - c.boot) - (mono - c.mono); slept > time.Millisecond {
		return slept
	}
	return 0
}

// StartTime is when a process began, in ticks since boot. With the boot id it
// makes a pid trustworthy.
func StartTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the command in parentheses and may hold anything.
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, fmt.Errorf("stat of %d: no command", pid)
	}
	f := bytes.Fields(b[i+1:])
	if len(f) < 20 {
		return 0, fmt.Errorf("stat of %d: %d fields", pid, len(f))
	}
	return strconv.ParseUint(string(f[19]), 10, 64)
}
