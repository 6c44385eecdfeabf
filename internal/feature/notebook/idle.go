package notebook

import (
	"fmt"
	"time"

	"clary/internal/feature/notebook/activity"
	"clary/internal/stage/agent"
)

// Whether an instance is in use is for package activity to say; this file says
// what follows of it. watch.go does that.

// idle is what is known of the use of a run.
type idle struct {
	State    activity.State `json:"state"`
	Seen     time.Time      `json:"seen"`           // when it was last looked at
	Next     time.Time      `json:"next"`           // when it is looked at again
	Since    time.Time      `json:"since,omitzero"` // nobody has used it; zero: somebody does
	For      int64          `json:"for,omitzero"`   // nanoseconds, of those that the machine was awake
	Evidence string         `json:"evidence,omitzero"`
	Warned   int64          `json:"warned,omitzero"` // For when whoever has it open was told that it will be stopped
	StopAt   time.Time      `json:"stopat,omitzero"` // as they were told
}

// halt is a stop that nobody asked for.
type halt struct {
	At       time.Time `json:"at"`
	For      int64     `json:"for"` // nanoseconds that nobody had used it
	Evidence string    `json:"evidence"`
}

const (
	sampleSoon = 15 * time.Second // while a stop is announced, or nothing could be told
	maxNotice  = 5 * time.Minute
)

// notice is how long before a stop it is announced.
func notice(limit time.Duration) time.Duration { return min(maxNotice, limit/4) }

// looks says whether it is time to look at how an instance is used.
func (i *idle) looks(now time.Time) bool {
	return i == nil || !now.Before(i.Next) || now.Before(i.Seen)
}

// idles judges a sample, and announces a stop, calls it off, or begins it.
func (d *decision) idles(o observed) {
	d.st.tell(o.complaint)
	switch {
	case !d.st.Agent:
		return
	case o.sample == nil:
		d.after = sampleSoon
		if i := d.st.Idle; !i.looks(o.now) {
			d.after = min(lookEvery, i.Next.Sub(o.now))
		}
		return
	}
	var i idle
	if d.st.Idle != nil {
		i = *d.st.Idle
	}
	v := i.judge(*o.sample, o.now)
	d.st.Idle = &i
	left := o.limit - v.Idle
	switch before := notice(o.limit); {
	case o.limit == 0 || v.Active || left > before:
		if i.Warned > 0 {
			d.effect, i.Warned, i.StopAt = effectWarn, 0, time.Time{}
		}
		if o.limit > 0 && !v.Active {
			d.after = min(d.after, left-before+time.Second)
		}
	case i.Warned == 0:
		// Whoever was away while it became idle is told as early as others.
		d.effect, i.Warned, i.StopAt, d.after = effectWarn, int64(v.Idle), o.now.Add(before), sampleSoon
	case v.Idle-time.Duration(i.Warned) >= before && left <= 0:
		d.effect, d.after = effectStop, 0
	default:
		d.after = min(sampleSoon, max(left, before-(v.Idle-time.Duration(i.Warned)), time.Second))
	}
	i.Next = o.now.Add(d.after)
}

// judge takes a sample into account.
func (i *idle) judge(x agent.Sample, now time.Time) activity.Verdict {
	state, v := activity.Judge(i.State, x)
	i.State, i.Seen, i.For, i.Since, i.Evidence = state, now, int64(v.Idle), v.Since, cut(v.Evidence, maxReason/2)
	if v.Active {
		i.For, i.Since = 0, time.Time{}
	}
	return v
}

// stops ends the run as StopNotebookInstance does.
func (d *decision) stops(o observed, limit time.Duration) {
	i := d.st.Idle
	d.closes(d.st.billedTo(o.clock, o.task))
	d.phase = phaseStopping
	d.st.Halted = &halt{At: o.now, For: i.For, Evidence: i.Evidence}
	d.st.tell(fmt.Sprintf("Stopped, as nobody has used it for %s (it is stopped after %s): %s.",
		time.Duration(i.For).Round(time.Second), limit, i.Evidence))
	d.stopped = true
}
