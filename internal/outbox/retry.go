package outbox

import (
	"math"
	"time"
)

// Final is an error that another try would meet again: a bad address, a
// receiver that refuses.
type Final struct{ Err error }

func (f *Final) Error() string { return f.Err.Error() }

// Unwrap gives the cause.
func (f *Final) Unwrap() error { return f.Err }

// Retry is how often a delivery is tried again, and when, in SNS's phases:
// at once, Min apart, from Min to Max by a function, Max apart.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
type Retry struct {
	AtOnce, Before, Backoff, After int
	Min, Max                       int    // seconds
	Function                       string // linear, arithmetic, geometric, exponential; "": linear
}

// WebRetry is SNS's default for http and https.
func WebRetry() Retry { return Retry{Backoff: 3, Min: 20, Max: 20} }

// MailRetry is SNS's for mail: 50 attempts, over 6 hours.
func MailRetry() Retry {
	return Retry{Before: 2, Backoff: 10, After: 38, Min: 10, Max: 600, Function: "exponential"}
}

// Wait is how long to wait after so many attempts that failed; false: no more.
func (r Retry) Wait(failed int) (time.Duration, bool) {
	n := failed - 1
	for _, phase := range []struct {
		times int
		wait  func(n int) time.Duration
	}{
		{r.AtOnce, func(int) time.Duration { return 0 }},
		{r.Before, func(int) time.Duration { return seconds(r.Min) }},
		{r.Backoff, r.grown},
		{r.After, func(int) time.Duration { return seconds(r.Max) }},
	} {
		if n < phase.times {
			return phase.wait(n), true
		}
		n -= phase.times
	}
	return 0, false
}

// Total is how long all the waits are together.
func (r Retry) Total() (all time.Duration) {
	for n := range r.Backoff {
		all += r.grown(n)
	}
	return all + seconds(r.Before*r.Min+r.After*r.Max)
}

// grown is the nth wait of the backoff phase.
func (r Retry) grown(n int) time.Duration {
	if r.Backoff < 2 || r.Max <= r.Min {
		return seconds(r.Min)
	}
	part := float64(n) / float64(r.Backoff-1)
	low, high := float64(seconds(r.Min)), float64(seconds(r.Max))
	switch r.Function {
	case "exponential", "geometric":
		low = max(low, float64(time.Second)) // nothing grows from zero
		return time.Duration(low * math.Pow(high/low, part))
	case "arithmetic":
		part *= part
	}
	return time.Duration(low + (high-low)*part)
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
