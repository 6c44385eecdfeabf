package notebook

import (
	"time"

	"clary/internal/compute"
	"clary/internal/meter"
)

// An interval starts at what the wall clock shows; from there on it is as long
// as the machine was awake, whatever was done to the wall clock. What happens
// while a server looks is placed on that line by the machine's own count of
// time (meter.Moment). What happened while nobody looked, or before the machine
// was started anew, is placed by the task's clock, which the supervisor writes
// down and which began to be compared when JupyterLab answered.

// bill is an open compute interval.
type bill struct {
	Start time.Time    `json:"start"`
	From  meter.Moment `json:"from"` // the same instant
}

// ready is when JupyterLab of a task first answered, by three clocks.
type ready struct {
	Line  time.Time    `json:"line"`           // the task's
	Slept int64        `json:"slept,omitzero"` // by then, in nanoseconds
	From  meter.Moment `json:"from"`           // the machine's
}

const (
	// drift is how far the wall clock and the awake time may part before the
	// interval is closed and opened anew, so that what is seen meanwhile is
	// right too.
	drift = time.Minute
	// beat is the longest that a supervisor's last sign of life is old, with
	// something on top.
	beat = 45 * time.Second
)

// at is where a moment lies on the interval; false after another start of the
// machine.
func (b *bill) at(m meter.Moment) (time.Time, bool) {
	d, ok := m.Since(b.From)
	return b.Start.Add(d), ok
}

// lineAt is where a moment of the task's clock lies on the interval.
func (st *status) lineAt(t time.Time, slept time.Duration) time.Time {
	first, _ := st.Bill.at(st.Ready.From) // of one start of the machine, or the interval had ended
	end := first.Add(t.Sub(st.Ready.Line) - (slept - time.Duration(st.Ready.Slept)))
	if end.Before(st.Bill.Start) {
		return st.Bill.Start
	}
	return end
}

// ended is when a task's program was over, by the task's clock.
func ended(t *compute.TaskStatus) time.Time {
	if t.Exit != nil && t.Phase == compute.Ended {
		return t.Exit.At
	}
	return t.Heartbeat
}

// billedTo is where the open interval ends that somebody ends now: now, or
// when its program was last alive if that is over and was not yet seen to be.
func (st *status) billedTo(m meter.Moment, t *compute.TaskStatus) time.Time {
	over := t == nil || t.Phase == compute.Ended || t.Phase == compute.Lost
	switch {
	case st.Down != nil:
		// Being started again, which is billed while it goes fast.
		if at, ok := st.Bill.at(m); ok && at.Sub(*st.Down) <= restartIn {
			return at
		}
		return *st.Down
	case st.Ready == nil:
		return st.Bill.Start
	case over && t != nil:
		return st.lineAt(ended(t), t.Suspended)
	case over:
		// Nobody knows how long it lived: no further than it was seen.
		at, _ := st.Bill.at(st.Ready.From)
		return at
	}
	if at, ok := st.Bill.at(m); ok {
		return at
	}
	return st.lineAt(t.Heartbeat, t.Suspended)
}

// onLine is the task's clock now: the wall clock, as long as that was not set
// since the task began.
func onLine(now time.Time, t *compute.TaskStatus) time.Time {
	if now.Before(t.Heartbeat) || now.Sub(t.Heartbeat) > beat {
		return t.Heartbeat
	}
	return now
}

// opens starts the next interval.
func (d *decision) opens(o observed) {
	d.st.Bills++
	d.st.Bill = &bill{Start: o.now, From: o.clock}
	at := o.now
	d.open = &at
}

// closes ends the open one.
func (d *decision) closes(at time.Time) {
	if d.st.Bill == nil {
		return
	}
	at = d.st.Halt.Ends(at, meter.Anchor{At: d.st.Bill.Start, Of: d.st.Bill.From}, haltBound)
	if at.Before(d.st.Bill.Start) {
		at = d.st.Bill.Start
	}
	d.close, d.closed = &at, d.st.Bills
	d.st.Bill, d.st.Down = nil, nil
}

// anchors closes the interval and opens the next one where the wall clock and
// the time that the machine was awake have parted: it slept, or was set.
func (d *decision) anchors(o observed) {
	at, ok := d.st.Bill.at(o.clock)
	if !ok || o.now.Sub(at).Abs() < drift {
		return
	}
	if slept := o.now.Sub(at); slept > 0 {
		d.st.tell("The machine slept, or its clock was set, by " + slept.Round(time.Second).String() + "; that time is not billed.")
	}
	d.closes(at)
	d.opens(o)
}
