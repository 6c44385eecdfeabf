package endpoint

import (
	"time"

	"clary/internal/compute"
	"clary/internal/meter"
)

// An instance is billed from the first sign of life of its first container to
// the end of its last one, as their supervisors wrote it down: what lies
// between two such times has passed, whatever was done to the wall clock. A
// container that never began counts for nothing. The time that the machine
// slept is left out.

// bill is an open interval.
type bill struct {
	N     int          `json:"n"`
	From  time.Time    `json:"from"`
	Task  int          `json:"task,omitzero"`  // of the instance, whose clock it goes by
	Slept int64        `json:"slept,omitzero"` // by the machine when it began, in nanoseconds
	Line  meter.Anchor `json:"line,omitzero"`  // a moment of it
}

// entry is a line of the ledger.
type entry struct {
	n     int
	opens string // the instance type of an interval that begins; "": it ends
	at    time.Time
}

// nap is how long the machine may sleep before an open interval is ended and
// another one begun, so that what is seen meanwhile is right too.
const nap = time.Minute

// over says that nothing of a task runs any more.
func over(t *compute.TaskStatus) bool {
	return t.Phase == compute.Ended || t.Phase == compute.Lost
}

// ended is when a task was over, by its own clock.
func ended(t *compute.TaskStatus) time.Time {
	if t.Exit != nil && t.Phase == compute.Ended {
		return t.Exit.At
	}
	return t.Heartbeat
}

// meter opens, splits and closes what is billed of an instance.
func (d *decision) meter(in *instance, o observed) {
	if in.Bill == nil && !in.Billed {
		for i, k := range in.Tasks {
			t := o.tasks[k.ID].status
			if t != nil && !t.Started.IsZero() && (in.Bill == nil || t.Started.Before(in.Bill.From)) {
				in.Bill = &bill{From: t.Started, Task: i}
			}
		}
		if in.Bill == nil {
			return
		}
		d.opens(in, o)
	}
	b := in.Bill
	if b == nil {
		return
	}
	var last time.Time
	var slept time.Duration // until then
	for _, k := range in.Tasks {
		t := o.tasks[k.ID].status
		switch {
		case t != nil && !over(t), t == nil && !k.Launched && in.Away == nil:
			if d.naps(in, o); d.paid(in, o) {
				in.Billed = true
			}
			return
		case t != nil && !t.Started.IsZero():
			if slept = max(slept, t.Suspended); ended(t).After(last) {
				last = ended(t)
			}
		}
	}
	if last.IsZero() && in.Ready != nil {
		last = *in.Ready // nobody knows how long it lived: no further than it was seen
	}
	d.closes(in, last.Add(-max(slept-time.Duration(b.Slept), 0)))
	in.Billed = true
}

// naps ends an interval in which the machine slept, and begins another.
func (d *decision) naps(in *instance, o observed) {
	b := in.Bill
	t := o.tasks[in.Tasks[b.Task].ID].status
	if t == nil || over(t) || t.Suspended-time.Duration(b.Slept) < nap {
		return
	}
	slept := t.Suspended - time.Duration(b.Slept)
	in.tell("The machine slept for " + slept.Round(time.Second).String() + "; that time is not billed.")
	d.closes(in, t.Heartbeat.Add(-slept))
	in.Bill = &bill{From: t.Heartbeat, Task: b.Task, Slept: int64(t.Suspended)}
	if in.Bill.From.Before(b.From) {
		in.Bill.From = b.From
	}
	d.opens(in, o)
}

func (d *decision) opens(in *instance, o observed) {
	d.st.Bills++
	b := in.Bill
	t := o.tasks[in.Tasks[b.Task].ID].status
	b.N, b.Line = d.st.Bills, meter.Anchor{At: onLine(o.now, t).Add(-(t.Suspended - time.Duration(b.Slept))), Of: o.clock}
	d.ledger = append(d.ledger, entry{n: in.Bill.N, opens: in.Type, at: in.Bill.From})
}

func (d *decision) closes(in *instance, at time.Time) {
	at = d.st.Halt.Ends(at, in.Bill.Line, haltBound)
	if at.Before(in.Bill.From) {
		at = in.Bill.From
	}
	d.ledger = append(d.ledger, entry{n: in.Bill.N, at: at})
	in.Bill = nil
}
