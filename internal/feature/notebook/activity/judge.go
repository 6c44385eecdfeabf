// Package activity decides from samples of a notebook instance whether it is in
// use, and since when it is not. It is pure: it reads no clock, keeps nothing
// but the State that it hands back, and never sees the instance itself.
// docs/IDLE.md says what counts, and shows the rules at work on traces of the
// real JupyterLab; kind.go has them. It must not stop anything: what is done
// about an idle instance is for others to decide. Start at Judge.
package activity

import (
	"time"

	"clary/internal/stage/agent"
)

// State is what is remembered between samples: JSON of some kilobytes. The zero
// State is that of a run that has just begun.
type State struct {
	Up     int64        `json:"up,omitempty"`     // when the last sample was taken; see ms
	Since  int64        `json:"since,omitempty"`  // the last sign of use until then
	Active bool         `json:"active,omitempty"` // something ran at that moment
	Base   int64        `json:"base,omitempty"`   // when Used was noted
	Used   map[int]Used `json:"used,omitempty"`   // by process: those that count by what they do alone
}

// Used is what a process had used.
type Used struct {
	CPU   int64 `json:"c,omitempty"` // milliseconds
	Bytes int64 `json:"b,omitempty"`
}

// Verdict is what a sample says.
type Verdict struct {
	Active   bool          // it is in use, or was since the sample before
	Since    time.Time     // the last sign of use, on the sample's clock; while something runs, its moment
	Idle     time.Duration // from then until the sample, of time that the machine was awake. No change of a clock makes it longer
	Evidence string        // in words
}

const (
	// span is how long a process is looked at before it counts anew.
	span = 60_000
	// blur is by how much one moment may differ in two samples.
	blur = 2
	// maxUsed bounds a State.
	maxUsed = 256
)

// Judge takes what was known and a sample, and gives what is known now. A
// sample that could not be taken is left out. One after a gap is as good: what
// ran before it and does not any more ended just now, as far as anybody knows.
func Judge(s State, x agent.Sample) (State, Verdict) {
	up := ms(x.Up)
	if up < s.Up { // the machine was started anew
		s = State{}
	}
	v := newView(x, s)
	running := v.running()
	next := State{Up: up, Active: len(running) > 0, Since: s.Since, Base: s.Base, Used: s.Used}
	sign, what := v.lastSign()
	fresh := sign > s.Since+blur
	if fresh {
		next.Since = sign
	}
	if next.Active || s.Active || s.Up == 0 {
		next.Since = up
	}
	if s.Up == 0 || up-s.Base >= span {
		next.Base, next.Used = up, v.used()
	}
	out := Verdict{
		Active: next.Active || s.Up != 0 && fresh,
		Idle:   time.Duration(up-next.Since) * time.Millisecond,
	}
	out.Since = x.At.Add(-out.Idle)
	switch {
	case next.Active:
		out.Evidence = list(running)
	case out.Active:
		out.Evidence = what
	default:
		out.Evidence = "nothing has run since " + out.Since.UTC().Format("15:04") + " UTC: " + v.rest()
	}
	return next, out
}

// ms are milliseconds of the clock that a sample's Up is of.
func ms(d time.Duration) int64 { return d.Milliseconds() }

// moment is when something in a sample was, on the clock of Up; 0: never.
func (v *view) moment(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(0, ms(v.Up)-max(0, ms(v.At.Sub(t))))
}

// lastSign is the last thing that somebody did, as far as it left a time.
func (v *view) lastSign() (at int64, what string) {
	sign := func(t time.Time, words string) {
		if m := v.moment(t); m > at {
			at, what = m, words
		}
	}
	sign(v.Booted, "JupyterLab was started")
	for _, k := range v.Kernels {
		sign(k.Last, kernelName(k)+" was used")
	}
	for _, t := range v.Terminals {
		sign(t.Input, "somebody typed in terminal "+short(t.Name))
	}
	sign(v.Saved, "a document was saved")
	sign(v.Kept, "somebody asked to keep it running")
	return at, what
}
