package notebook

import (
	"slices"
	"time"

	"clary/internal/compute"
	"clary/internal/meter"
	"clary/internal/stage/agent"
)

// observed is all that a look at the world found.
type observed struct {
	uid       string
	now       time.Time
	clock     meter.Moment
	lastError string              // of the look before, if it failed
	clear     *compute.TaskStatus // of the earlier task; nil: the driver knows it no more
	clearRead bool                // every byte of its output is in the log
	task      *compute.TaskStatus // of the run; nil: the driver knows no such task
	taskRead  bool
	answers   bool         // JupyterLab in it answered
	agent     *agent.State // what its first process says; nil: nothing
	image     image
	sample    *agent.Sample // how it is used; nil: nobody asked, or it cannot tell
	limit     time.Duration // without use, after which it is stopped; 0: never
	complaint string        // what is wrong with the tag that says so
	unwanted  bool          // nobody wants what lies on the volume
	found     *agent.Rescue // what its rescue's task says; nil: nothing
	volume    int64         // GB, as the request wants it
	about     about
}

// image is how the notebook's runtime stands.
type image struct {
	ready    bool
	title    string
	progress string // of its build
	failed   string // final for this run
}

// effect is the one act that follows.
type effect int

const (
	effectNone    effect = iota // nothing to do until something changes
	effectForget                // end the browsers' sessions
	effectHalt                  // ask target to stop
	effectRemove                // forget target
	effectVolume                // make or grow the volume
	effectStart                 // start the run
	effectCreated               // tell the task that OnCreate is known to be over
	effectWarn                  // tell whoever has it open that it will be stopped, or will not
	effectStop                  // have what is open saved, and stop
	effectYield                 // the same for a budget, which nothing calls off
	effectRenew                 // hand the task a fresh session of the role
	effectShelter               // start the rescue of what lies on the volume
	effectKeep                  // bring what it found into the bucket
	effectDelete                // destroy the volume, then the record
)

// decision is what next found.
type decision struct {
	phase   string
	st      status
	effect  effect
	target  compute.TaskID // of effectHalt and effectRemove
	open    *time.Time     // a compute interval starts
	close   *time.Time     // one ends, number closed; before open
	closed  int
	grown   bool   // the volume has its new size from now on
	shrink  bool   // it could not be had: the request's size is the old one again
	stopped bool   // by the idle policy
	kept    string // the S3 URI of what was rescued, when it is whole there
	after   time.Duration
}

const (
	crashLimit = 5 // crashes within crashSpan are one too many
	crashSpan  = 10 * time.Minute
	// restartIn is how long a crashed JupyterLab may take to answer again and
	// still count as in service, and be billed.
	restartIn     = time.Minute
	readyBound    = 5 * time.Minute  // from JupyterLab's start to its first answer
	cloneBound    = 15 * time.Minute // for all repositories
	scriptBound   = 6 * time.Minute  // for a lifecycle script, which its task ends after five
	toldBound     = 60               // times that a run is told that OnCreate is over, a second apart
	silentBound   = cloneBound + 2*scriptBound + readyBound
	capacityBound = 15 * time.Minute // until a notebook that does not fit fails, as on AWS
	capacityRetry = 10 * time.Second
	launchBound   = time.Hour // for all before the task's start, the building of its runtime above all
	growBound     = 10 * time.Minute
	lookEvery     = time.Minute
)

// next is pure: from the notebook's state and what was observed it says what
// the state becomes and the one effect to take.
func next(phase string, st status, o observed) decision {
	d := decision{phase: phase, st: st, after: lookEvery}
	d.st.Crashes, d.st.Repos = slices.Clone(st.Crashes), slices.Clone(st.Repos)
	if st.Clear != "" && !d.clear(o) {
		return d
	}
	if st.Open && phase != phaseInService && phase != phasePending {
		d.st.Open = false
		d.effect, d.after = effectForget, 0
		return d
	}
	switch phase {
	case phasePending, phaseInService:
		d.serve(o)
	case phaseStopping:
		d.stop(o)
	case phaseUpdating:
		d.update(o)
	case phaseDeleting:
		d.erase(o)
	}
	return d
}

// clear gets rid of an earlier task, and says whether it is gone.
func (d *decision) clear(o observed) bool {
	if o.clear == nil {
		d.st.Clear = ""
		return true
	}
	d.away(d.st.Clear, o.clear, o.clearRead)
	if d.effect == effectRemove {
		d.st.Clear = ""
	}
	return false
}

// away takes the next step to be rid of a task, whose output shall be in the
// log before it is forgotten.
func (d *decision) away(id compute.TaskID, t *compute.TaskStatus, read bool) {
	d.target = id
	switch {
	case t.Phase != compute.Ended && t.Phase != compute.Lost:
		d.effect, d.after = effectHalt, 5*time.Second
	case !read:
		d.after = time.Second
	default:
		d.effect, d.after = effectRemove, 0
	}
}

func (d *decision) stop(o observed) {
	if m := d.st.Until; m != nil {
		end := d.st.billedTo(*m, o.task)
		if at, ok := d.st.Bill.at(*m); ok && end.After(at) {
			end = at
		}
		// Noted before the task, which alone knows, is forgotten.
		d.closes(end)
		d.st.Until, d.after = nil, 0
		return
	}
	if o.task != nil {
		d.away(d.st.Task, o.task, o.taskRead)
		if d.effect != effectRemove {
			return
		}
	}
	d.phase, d.st.Task, d.st.Ready, d.st.Launched, d.st.Idle = phaseStopped, "", nil, false, nil
}

func (d *decision) update(o observed) {
	switch {
	case o.volume == d.st.Volume:
		d.phase, d.st.Asked = phaseStopped, time.Time{}
	case o.now.Sub(d.st.Asked) > growBound:
		d.shrink = true
		d.fail("The volume could not be made larger"+because(o.lastError), o)
	default:
		d.effect, d.after = effectVolume, 0
		d.st.Volume, d.grown = o.volume, true
		d.phase, d.st.Asked = phaseStopped, time.Time{}
	}
}

// serve brings the notebook into service and keeps it there.
func (d *decision) serve(o observed) {
	if d.st.Halt != nil {
		d.yield(o)
		return
	}
	if b := d.st.Bill; b != nil && d.st.Down != nil {
		if at, ok := b.at(o.clock); !ok || at.Sub(*d.st.Down) > restartIn {
			d.closes(*d.st.Down)
			d.phase = phasePending
		}
	}
	switch {
	case o.task == nil && d.st.Launched:
		d.over(o, "What it had on this machine is gone")
	case o.task == nil:
		d.launch(o)
	case o.task.Phase == compute.Ended || o.task.Phase == compute.Lost:
		d.begun()
		d.over(o, o.about.ending(o.task))
	case d.st.Ready == nil:
		d.begun()
		d.await(o)
	default:
		if d.anchors(o); d.open == nil {
			d.idles(o)
		}
		if d.effect == effectNone && renewable(d.st.Expires, o.now) {
			d.effect = effectRenew
		}
	}
}

// launch does what comes before the task.
func (d *decision) launch(o observed) {
	waited := o.now.Sub(d.st.Asked)
	switch {
	case o.image.failed != "":
		d.fail(o.image.failed, o)
	case waited > launchBound:
		d.fail("The notebook instance could not be started within an hour"+because(o.lastError), o)
	case !o.image.ready:
		// The fine steps of a build go to the log alone.
		d.st.tell(o.image.progress)
		d.after = 30 * time.Second
	case !d.st.Made:
		d.effect, d.after = effectVolume, 0
		d.st.Made = true
	default:
		d.effect, d.after = effectStart, 0
		d.begun()
	}
}

// begun notes that the driver has the run, with the order that is given to it.
func (d *decision) begun() {
	if !d.st.Launched {
		d.st.Launched, d.st.Agent = true, true
	}
}

// waiting is the decision after the driver answered that the task does not fit
// now.
func waiting(phase string, st status, o observed) decision {
	d := decision{phase: phase, st: st, after: capacityRetry}
	if o.now.Sub(st.Asked) > capacityBound {
		d.fail(msgNoCapacity, o)
		return d
	}
	d.st.tell(msgNoCapacity + " It is tried again.")
	return d
}

// await waits for JupyterLab's answer, and before that for what comes first.
func (d *decision) await(o observed) {
	known := d.st.Created
	if o.agent != nil {
		d.st.hear(o.agent)
	}
	late := d.late(o)
	switch {
	case o.agent != nil && o.agent.Phase == agent.Failed:
		d.fail(orElse(o.agent.Failure, "The notebook instance could not be prepared; its log streams hold what was said"), o)
	case o.answers:
		if d.st.Bill == nil {
			d.opens(o)
		}
		d.phase, d.st.Open, d.st.Down = phaseInService, true, nil
		d.st.Ready = &ready{Line: onLine(o.now, o.task), Slept: int64(o.task.Suspended), From: o.clock}
		d.st.Asked = time.Time{}
		d.after = time.Second // from then on it is seen how it is used
	case late != "":
		d.fail(late+"; the log streams of the notebook instance hold what was said", o)
	case o.agent != nil && o.agent.Phase == agent.Creating && o.agent.Created && known:
		// The run waits to hear that nobody will order it again.
		d.effect, d.after = effectCreated, min(50*time.Millisecond<<min(d.st.Told, 8), time.Second)
		d.st.Told++
	case o.agent != nil && o.agent.Phase == agent.Creating && o.agent.Created:
		d.after = 0
	case o.now.Sub(o.task.Created) < 10*time.Second:
		d.after = 50 * time.Millisecond
	default:
		d.after = time.Second
	}
}

// late says what takes too long, "" if nothing does.
func (d *decision) late(o observed) string {
	const slow = "JupyterLab did not answer within five minutes of its start"
	lived := o.task.Heartbeat.Sub(o.task.Created) - o.task.Suspended
	switch s := o.agent; {
	case s == nil && (lived > silentBound || lived > readyBound && d.st.Step == ""):
		return slow
	case s == nil:
	case s.Phase == agent.Serving && s.For > readyBound:
		return slow
	case s.Phase == agent.Cloning && s.For > cloneBound:
		return "The repositories could not be cloned within 15 minutes"
	case s.Created && s.Phase == agent.Creating: // it waits for us
		if d.st.Told > toldBound {
			return "The notebook instance did not go on after its OnCreate script"
		}
	case (s.Phase == agent.Creating || s.Phase == agent.Starting) && s.For > scriptBound:
		return "The " + string(s.Phase) + " script took longer than five minutes"
	}
	return ""
}

// over settles a run whose task has ended: another one follows, unless there
// were too many.
func (d *decision) over(o observed, why string) {
	crashed := o.now
	if o.task != nil {
		crashed = ended(o.task)
	}
	if d.st.Bill != nil && d.st.Down == nil && d.st.Ready != nil {
		at := d.st.billedTo(o.clock, o.task)
		d.st.Down = &at
	}
	// What ends before it answers may take its time, with scripts that come
	// before it: such ends count whenever they were.
	when := " in a row"
	if d.st.Ready != nil || o.task == nil || o.task.Phase == compute.Lost {
		d.st.Crashes = slices.DeleteFunc(d.st.Crashes, func(c time.Time) bool { return crashed.Sub(c).Abs() >= crashSpan })
	}
	if d.st.Crashes = append(d.st.Crashes, crashed); crashed.Sub(d.st.Crashes[0]).Abs() < crashSpan {
		when = " within ten minutes"
	}
	if len(d.st.Crashes) >= crashLimit {
		d.fail("JupyterLab ended five times"+when+". The last time: "+why, o)
		return
	}
	d.st.tell(why + ". It is started again.")
	if o.task == nil || o.task.Phase == compute.Lost {
		// The machine, not JupyterLab, went away, and nobody knows for how long.
		if d.st.Bill != nil && d.st.Down != nil {
			d.closes(*d.st.Down)
		}
		d.phase = phasePending
	}
	if o.task != nil {
		d.st.Clear = d.st.Task
	}
	d.st.run(o.uid, o.now)
	d.after = 0
}

// fail ends the run for good: only StartNotebookInstance tries again.
func (d *decision) fail(why string, o observed) {
	if d.st.Bill != nil {
		if d.st.Down != nil {
			d.closes(*d.st.Down)
		} else {
			d.closes(d.st.billedTo(o.clock, o.task))
		}
	}
	d.phase = phaseFailed
	d.st.Failure = cut(why, maxReason)
	d.st.tell(d.st.Failure)
	if o.task != nil {
		d.st.Clear = d.st.Task
	}
	d.st.Task, d.st.Ready, d.st.Launched, d.st.Down, d.st.Asked, d.st.Idle = "", nil, false, nil, time.Time{}, nil
	d.effect, d.after = effectNone, 0
}

// rests says whether nothing is left to do until somebody asks.
func (d *decision) rests() bool {
	return resting(d.phase) && d.st.Clear == "" && !d.st.Open
}
