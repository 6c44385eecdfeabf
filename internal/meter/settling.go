package meter

import "time"

// Settling knows when the ledger may say that something runs which does not:
// after a start, until what ended meanwhile was seen, and after the machine
// slept or its clock was set, until what runs was looked at.
type Settling struct {
	Start time.Duration // how long after a start; 0: it never unsettles
	Leap  time.Duration // how long after the clock leapt

	began, looked, leapt time.Time
}

// leap is by how much the wall clock and the machine's own part in a leap.
const leap = 30 * time.Second

// Wait says at now, a reading of both clocks, for how long yet to trust the
// ledger no sum. One caller at a time.
func (s *Settling) Wait(now time.Time) time.Duration {
	if s.Start == 0 {
		return 0
	}
	if s.began.IsZero() {
		s.began = now
	}
	if !s.looked.IsZero() {
		s.passed(now, now.Round(0).Sub(s.looked.Round(0)), now.Sub(s.looked))
	}
	s.looked = now
	wait := s.Start - now.Sub(s.began)
	if !s.leapt.IsZero() {
		wait = max(wait, s.Leap-now.Sub(s.leapt))
	}
	return max(0, wait)
}

// passed is told how much time went by, on the wall clock and by the machine's.
func (s *Settling) passed(now time.Time, wall, machine time.Duration) {
	if (wall - machine).Abs() > leap {
		s.leapt = now
	}
}
