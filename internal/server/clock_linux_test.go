package server

import (
	"testing"
	"time"
)

// TestClock sees that what is billed by goes on as time does, and names the
// machine's start.
func TestClock(t *testing.T) {
	t.Parallel()
	read := clock()
	before, first, began := time.Now(), read(), time.Now() // in this order
	for time.Since(began) < time.Millisecond {             //nolint:revive // time passes
	}
	passed, ok := read().Since(first)
	if most := time.Since(before); !ok || first.Boot == "" || passed < time.Millisecond/2 || passed > most {
		t.Errorf("%s of %s passed since %+v, %t", passed, most, first, ok)
	}
	if again, ok := clock()().Since(first); !ok || again < passed {
		t.Errorf("another server of the same start counts %s, %t", again, ok)
	}
}
