package reconcile

import (
	"math/rand/v2"
	"strings"
	"time"
)

const (
	backoffFirst = time.Second
	backoffMost  = time.Minute // what waits may cost by the minute
	errorMost    = 1024        // bytes of an error that are kept
)

// backoff is how long to wait after so many failed looks in a row: twice as
// long each time, give or take a fifth, so that what failed together does not
// come back together.
func backoff(attempts int) time.Duration {
	d := backoffMost
	if shift := max(attempts, 1) - 1; shift < 16 {
		d = min(d, backoffFirst<<shift)
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

func clip(s string) string {
	if len(s) > errorMost {
		s = s[:errorMost]
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
