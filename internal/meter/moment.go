package meter

import "time"

// Moment is a reading of a clock that nobody sets: how long the machine has
// been awake since it was started. Two of them measure what is billed, whatever
// was done to the wall clock and however long the machine slept.
type Moment struct {
	Boot  string `json:"boot,omitzero"` // names the start of the machine
	Awake int64  `json:"awake"`         // nanoseconds since then, without sleep
}

// Since is the time from earlier to m; false when the machine was started
// anew in between.
func (m Moment) Since(earlier Moment) (time.Duration, bool) {
	if m.Boot != earlier.Boot {
		return 0, false
	}
	return time.Duration(m.Awake - earlier.Awake), true
}

// Anchor ties an interval to the machine's own count of time: at the moment Of it
// had come to At.
type Anchor struct {
	At time.Time `json:"at"`
	Of Moment    `json:"of"`
}

// Place is where a moment lies on the interval; false when nobody knows: the
// machine was started anew in between.
func (a Anchor) Place(m Moment) (time.Time, bool) {
	d, ok := m.Since(a.Of)
	return a.At.Add(d), ok && !a.At.IsZero()
}
