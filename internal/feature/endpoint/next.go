package endpoint

import (
	"fmt"
	"reflect"
	"time"

	"clary/internal/api"
	"clary/internal/compute"
	"clary/internal/meter"
	"clary/internal/serving"
)

// observed is all that a look at the world found.
type observed struct {
	uid    string
	now    time.Time
	clock  meter.Moment
	waited time.Duration // for answers
	room   bool          // there may be some for instances that did not fit
	tasks  map[compute.TaskID]seen
	images map[string]image // by URI: those of instances that have to start
}

// seen is how one task stands.
type seen struct {
	unknown bool                // the driver could not tell
	status  *compute.TaskStatus // nil: the driver knows no such task
	read    bool                // every byte of its output is in the log
	asked   bool                // it was asked whether it is healthy
	healthy bool
	open    int // requests in flight to it
}

// image is how the runtime of a container stands.
type image struct {
	ready    bool
	title    string
	progress string // of its build
	failed   string // final
}

// effect is the one act that follows.
type effect int

const (
	effectNone   effect = iota
	effectStart         // start the instance's tasks
	effectHalt          // ask them to stop
	effectRemove        // forget them
	effectRenew         // hand them a fresh session of the role
	effectDelete        // forget the record
)

// decision is what next found.
type decision struct {
	phase  string
	st     status
	effect effect
	index  int // of the instance in st.Fleet
	ledger []entry
	tail   *failure // whose container's last lines belong to st.Failure
	blind  bool     // not all tasks could be looked at
	broke  *failure // of an instance whose deployment cannot come to be
	after  time.Duration
}

// failure says why a deployment cannot come to be.
type failure struct {
	why  string
	tail bool // the container runs on, and what it says is in its log
	in   instance
	task int
}

const (
	// pingEvery is the time between two looks at a healthy instance; one that
	// did not answer is looked at again sooner, and is out after so many times.
	pingEvery = 10 * time.Second
	pingAgain = 2 * time.Second
	strikes   = 3

	drainBound    = time.Minute      // for requests in flight to an instance that leaves
	launchBound   = time.Hour        // for all before an instance's tasks, the building of its runtime above all
	capacityBound = 15 * time.Minute // until a deployment that does not fit fails
	capacityRetry = 10 * time.Second
	roomRetry     = time.Second // where something has ended meanwhile
	haltAgain     = 10 * time.Second
	buildLook     = 30 * time.Second
)

// next is pure: from the endpoint's state and what was observed it says what
// the state becomes and the one effect to take. What becomes of the state by
// what was observed is committed before anything is done about it.
func next(phase string, st status, o observed) decision {
	d := decision{phase: phase, st: st.clone(), after: pingEvery}
	for i := range d.st.Fleet {
		d.see(&d.st.Fleet[i], o)
	}
	switch phase {
	case serving.PhaseCreating, serving.PhaseUpdating, serving.PhaseRollingBack:
		d.deploy(o)
	case serving.PhaseDeleting, serving.PhaseFailed:
		d.halted()
		for i := range d.st.Fleet {
			if in := &d.st.Fleet[i]; in.Away == nil || in.Away.After(o.now) || in.Drain {
				in.quit(o.now)
			}
		}
	}
	if d.st.Live != nil {
		d.ensure(d.st.Live, o)
	}
	if d.st.Next != nil {
		d.ensure(d.st.Next, o)
	}
	d.st.Serving = d.st.traffic(o.uid)
	if d.phase != phase || !reflect.DeepEqual(d.st, st) {
		d.after = 0
		return d
	}
	d.act(o)
	if d.effect == effectNone && phase == serving.PhaseDeleting && len(d.st.Fleet) == 0 {
		d.effect = effectDelete
	}
	return d
}

// soon has the endpoint looked at again no later than in a while.
func (d *decision) soon(in time.Duration) { d.after = min(d.after, max(in, 0)) }

// deploy brings a deployment, or a change of the one that serves, to its end.
func (d *decision) deploy(o observed) {
	switch {
	case d.phase == serving.PhaseRollingBack:
		d.rolled()
	case d.st.Next == nil:
		d.scale()
	default:
		if late := d.st.Next.late(o.now); late != "" && d.broke == nil {
			d.broke = &failure{why: late}
		}
		switch {
		case d.broke != nil:
			d.fail(o)
		case !d.blind && d.st.complete(d.st.Next):
			d.turn(o)
		}
	}
}

// late says that a deployment took longer than its policy lets it.
func (d *deployment) late(now time.Time) string {
	if d.Policy == nil || d.Policy.BlueGreenUpdatePolicy == nil {
		return ""
	}
	most := d.Policy.BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds
	if most == nil || now.Sub(d.Began) <= time.Duration(*most)*time.Second {
		return ""
	}
	return fmt.Sprintf("The deployment took longer than MaximumExecutionTimeoutInSeconds, which is %d.", *most)
}

// turn gives the traffic to the new deployment, all at once. What served so far
// is ended when it has none any more.
func (d *decision) turn(o observed) {
	if old := d.st.Live; old != nil {
		d.dismiss(old, o.now.Add(d.st.Next.wait()), true)
	}
	d.st.Live, d.st.Next = d.st.Next, nil
	d.st.Config, d.st.Policy, d.st.Failure = d.st.Live.Config, d.st.Live.Policy, ""
	d.phase = serving.PhaseInService
}

// wait is how long the old instances stay after the new ones have the traffic.
func (d *deployment) wait() time.Duration {
	if d.Policy == nil || d.Policy.BlueGreenUpdatePolicy == nil {
		return 0
	}
	return time.Duration(api.Value(d.Policy.BlueGreenUpdatePolicy.TerminationWaitInSeconds)) * time.Second
}

// fail gives a deployment up. What served before serves on.
func (d *decision) fail(o observed) {
	n := d.st.Next
	d.dismiss(n, o.now, false)
	d.st.Next = nil
	d.blame()
	if d.st.Live != nil {
		d.st.Policy = n.Policy
		d.phase = serving.PhaseInService
		return
	}
	d.phase = serving.PhaseFailed
}

// blame says in the endpoint's FailureReason what went wrong.
func (d *decision) blame() {
	d.st.Failure = cut(d.broke.why)
	if d.broke.tail {
		d.tail = d.broke
	}
}

// scale ends a change of weights and counts.
func (d *decision) scale() {
	l := d.st.Live
	switch {
	case d.broke != nil:
		for i := range l.Variants {
			if v := &l.Variants[i]; v.Was != nil {
				v.Count, v.Weight, v.Was = v.Was.Count, v.Was.Weight, nil
			}
		}
		d.blame()
		d.phase = serving.PhaseRollingBack
	case d.st.scaled(l):
		for i := range l.Variants {
			l.Variants[i].Was = nil
		}
		d.st.Failure, d.phase = "", serving.PhaseInService
	}
}

// rolled ends a rollback when nothing is left of what did not come to be.
func (d *decision) rolled() {
	for i := range d.st.Fleet {
		if in := &d.st.Fleet[i]; in.Away != nil && in.Deployment == d.st.Live.N {
			return
		}
	}
	for i := range d.st.Live.Variants {
		v := &d.st.Live.Variants[i]
		if all, _ := d.st.count(d.st.Live, v.Name); all > v.Count {
			return
		}
	}
	d.phase = serving.PhaseInService
}

// dismiss has a deployment's instances leave.
func (d *decision) dismiss(old *deployment, at time.Time, drain bool) {
	for i := range d.st.Fleet {
		if in := &d.st.Fleet[i]; in.Deployment == old.N {
			in.leave(at, drain && in.Ready != nil)
		}
	}
}
