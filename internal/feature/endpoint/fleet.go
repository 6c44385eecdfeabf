package endpoint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"clary/internal/compute"
	"clary/internal/serving"
	"clary/internal/stage/plan"
)

const (
	crashSpan = 10 * time.Minute // within which the ends of a variant's instances count
	crashWait = 5 * time.Second  // before the third instance; twice as long each time
	crashMost = 5 * time.Minute

	pollFirst = 20 * time.Millisecond // between looks at one that has to answer, at first
	pollMost  = 100 * time.Millisecond
	pollLate  = time.Second // after a minute

	sessionTTL   = 6 * time.Hour // of the role's session
	sessionFresh = 4 * time.Hour // what is left of it before it is renewed
)

// see takes over what was observed of an instance.
func (d *decision) see(in *instance, o observed) {
	for i := range in.Tasks {
		s := o.tasks[in.Tasks[i].ID]
		if s.unknown {
			d.blind = true
			d.soon(time.Second)
			return
		}
		in.Tasks[i].Launched = in.Tasks[i].Launched || s.status != nil
	}
	if in.launched() {
		in.Crowded = time.Time{}
	}
	d.meter(in, o)
	dep := d.st.of(in)
	if in.Away != nil || dep == nil {
		return
	}
	v := dep.variant(in.Variant)
	if i := in.fallen(o); i >= 0 {
		t := o.tasks[in.Tasks[i].ID].status
		d.lose(in, v, i, o, ended(orNow(t, o.now)), t != nil && t.Phase == compute.Ended, v.ending(i, t))
		return
	}
	if in.Ready != nil {
		d.pulse(in, v, o)
		return
	}
	if !in.launched() {
		d.prepare(in, v, o)
		return
	}
	d.await(in, v, o)
}

// orNow stands in for a task that is gone.
func orNow(t *compute.TaskStatus, now time.Time) *compute.TaskStatus {
	if t == nil {
		return &compute.TaskStatus{Heartbeat: now}
	}
	return t
}

// launched says that the driver has had all tasks.
func (in *instance) launched() bool {
	return !slices.ContainsFunc(in.Tasks, func(t task) bool { return !t.Launched })
}

// fallen gives the first task that is over, or that is no more; -1: none is.
func (in *instance) fallen(o observed) int {
	return slices.IndexFunc(in.Tasks, func(t task) bool {
		s := o.tasks[t.ID].status
		return t.Launched && (s == nil || over(s))
	})
}

// pulse looks after an instance that is healthy, or was a moment ago.
func (d *decision) pulse(in *instance, v *variant, o observed) {
	well, asked := true, 0
	for _, t := range in.Tasks {
		s := o.tasks[t.ID]
		if s.asked {
			asked++
			well = well && s.healthy
		}
	}
	switch {
	case !well:
		in.Strikes++
	case asked == len(in.Tasks):
		in.Strikes = 0
	}
	if in.Strikes >= strikes {
		in.tell(fmt.Sprintf("The instance did not answer /ping %d times in a row. It gets no more requests, and another one takes its place.", strikes))
		d.replace(in, v, o, o.now, true)
		return
	}
	if in.Strikes > 0 {
		d.soon(pingAgain)
	}
}

// idle says that nothing is to be tried with an instance now.
func (in *instance) idle(o observed) bool {
	if !o.now.Before(in.After) {
		return false
	}
	// Hints are many, and most are of something else.
	tried := in.After.Add(-capacityRetry)
	return !o.room || in.Crowded.IsZero() || o.now.Sub(tried) < roomRetry
}

// prepare does what comes before an instance's tasks.
func (d *decision) prepare(in *instance, v *variant, o observed) {
	if in.idle(o) {
		d.soon(in.After.Sub(o.now))
		return
	}
	for i := range v.Containers {
		img := o.images[v.Containers[i].Image]
		switch {
		case img.failed != "":
			d.lose(in, v, i, o, o.now, true, img.failed)
			return
		case !img.ready:
			// The fine steps of a build go to the log alone.
			in.tell(img.progress)
			d.soon(buildLook)
		}
	}
	switch trial := d.trial(in); {
	case in.Refused != "":
		d.lose(in, v, 0, o, o.now, true, in.Refused)
	case trial && !in.Crowded.IsZero() && o.now.Sub(in.Crowded) > capacityBound:
		d.lose(in, v, 0, o, o.now, true, msgNoCapacity)
	case trial && o.now.Sub(in.Asked) > launchBound:
		d.lose(in, v, 0, o, o.now, true, "The instance could not be started within an hour"+because(cmp.Or(in.Trouble, in.Said))+".")
	}
}

// trial says whether what an instance belongs to stands and falls with it.
func (d *decision) trial(in *instance) bool {
	if d.st.Next != nil && d.st.Next.N == in.Deployment {
		return true
	}
	if d.phase != serving.PhaseUpdating || d.st.Next != nil || in.Ready != nil {
		return false
	}
	v := d.st.Live.variant(in.Variant)
	return v.Was != nil && v.Count > v.Was.Count
}

// await waits until all containers of an instance answer.
func (d *decision) await(in *instance, v *variant, o observed) {
	answers := 0
	for i, k := range in.Tasks {
		s := o.tasks[k.ID]
		if s.asked && s.healthy {
			answers++
			continue
		}
		why, began := v.tooLong(i, s.status, o.now)
		if why != "" {
			d.tooLong(in, v, i, o, why)
			return
		}
		d.soon(max(poll(o.now.Sub(began))-o.waited, pollFirst))
	}
	if answers == len(in.Tasks) {
		at := o.now
		in.Ready, in.Strikes = &at, 0
	}
}

// poll is the pause before the next look at what has had to answer for so long:
// a few hundredths of that, so that it is seen soon.
func poll(waited time.Duration) time.Duration {
	if waited > time.Minute {
		return pollLate
	}
	return min(max(waited/50, pollFirst), pollMost)
}

// tooLong says that a container takes longer than it may, or since when it is
// waited for.
func (v *variant) tooLong(i int, t *compute.TaskStatus, now time.Time) (why string, began time.Time) {
	if t.Started.IsZero() {
		if now.Sub(t.Created) > launchBound {
			why = v.unhealthy(i) + " It was not started within an hour."
		}
		return why, t.Created
	}
	now = onLine(now, t)
	fetch, run := time.Time{}, t.Started
	for _, s := range t.Steps {
		switch s.Name {
		case plan.StepDownloading:
			fetch = s.At
		case plan.StepTraining:
			fetch, run = time.Time{}, s.At
		}
	}
	if !fetch.IsZero() {
		if now.Sub(fetch)-t.Suspended > time.Duration(v.Download)*time.Second {
			return v.undelivered(i) + fmt.Sprintf(" It took longer than the %d seconds of ModelDataDownloadTimeoutInSeconds.", v.Download), fetch
		}
		return "", fetch
	}
	if now.Sub(run)-t.Suspended > time.Duration(v.Startup)*time.Second {
		return v.unhealthy(i) + fmt.Sprintf(" It did not answer GET /ping on port %d with status 200 within %d seconds of its start.", serving.Port, v.Startup), run
	}
	return "", run
}

// onLine is a task's clock now: the wall clock, as long as that was not set
// since the task began.
func onLine(now time.Time, t *compute.TaskStatus) time.Time {
	const beat = 45 * time.Second // the longest that a sign of life is old, with something on top
	if now.Before(t.Heartbeat) || now.Sub(t.Heartbeat) > beat {
		return t.Heartbeat
	}
	return now
}

// lose settles an instance that cannot serve. own says that it was its own
// doing: then what it was made for fails.
func (d *decision) lose(in *instance, v *variant, container int, o observed, at time.Time, own bool, why string) {
	if own && d.trial(in) {
		in.tell(why)
		in.leave(o.now, false)
		if d.broke == nil {
			d.broke = &failure{why: why, in: *in, task: container}
		}
		return
	}
	in.tell(strings.TrimRight(why, ".") + ". Another instance takes its place.")
	d.replace(in, v, o, at, false)
}

// tooLong settles an instance that takes longer than it may.
func (d *decision) tooLong(in *instance, v *variant, container int, o observed, why string) {
	first := d.broke == nil
	d.lose(in, v, container, o, o.now, true, why)
	if first && d.broke != nil {
		d.broke.tail = true
	}
}

// replace has an instance leave; ensure makes another one in its place.
func (d *decision) replace(in *instance, v *variant, o observed, crashed time.Time, drain bool) {
	in.leave(o.now, drain)
	v.Crashes = slices.DeleteFunc(v.Crashes, func(c time.Time) bool { return crashed.Sub(c).Abs() >= crashSpan })
	v.Crashes = append(v.Crashes, crashed)
	if n := len(v.Crashes); n > 16 {
		v.Crashes = v.Crashes[n-16:]
	}
}

// pause is how long the next instance is waited with after some that ended soon
// after one another: the first is replaced at once.
func pause(crashes int) time.Duration {
	if crashes < 2 {
		return 0
	}
	return min(crashWait<<min(crashes-2, 16), crashMost)
}

// ensure makes the instances that a deployment lacks, and ends those that it
// does not want.
func (d *decision) ensure(dep *deployment, o observed) {
	for i := range dep.Variants {
		v := &dep.Variants[i]
		all, _ := d.st.count(dep, v.Name)
		for ; all < v.Count; all++ {
			d.st.add(o.uid, dep, v, o.now, o.now.Add(pause(len(v.Crashes))))
		}
		for ; all > v.Count; all-- {
			d.st.Fleet[d.st.spare(dep, v.Name)].leave(o.now, true)
		}
	}
}

// spare is the instance that a variant can do without the easiest: one that is
// not healthy, else the youngest.
func (st *status) spare(dep *deployment, variant string) int {
	best := -1
	for i := range st.Fleet {
		in := &st.Fleet[i]
		if in.Deployment != dep.N || in.Variant != variant || in.Away != nil {
			continue
		}
		if best < 0 || in.Ready == nil || st.Fleet[best].Ready != nil {
			best = i
		}
	}
	return best
}

// act finds the one thing to do.
func (d *decision) act(o observed) {
	for i := range d.st.Fleet {
		in := &d.st.Fleet[i]
		d.index = i
		switch {
		case slices.ContainsFunc(in.Tasks, func(t task) bool { return o.tasks[t.ID].unknown }):
		case in.Away != nil:
			d.away(in, o)
		case !in.launched():
			d.launch(in, o)
		case in.Ready != nil && !in.idle(o) && in.Expires.Sub(o.now) < sessionFresh:
			d.effect = effectRenew
		}
		if d.effect != effectNone {
			d.after = 0
			return
		}
	}
}

// launch starts an instance whose time has come.
func (d *decision) launch(in *instance, o observed) {
	if in.idle(o) {
		return
	}
	v := d.st.of(in).variant(in.Variant)
	for i := range v.Containers {
		if !o.images[v.Containers[i].Image].ready {
			return
		}
	}
	d.effect = effectStart
}

// away takes the next step to be rid of an instance. Its output shall be in the
// log, and its end in the ledger, before it is forgotten.
func (d *decision) away(in *instance, o observed) {
	if o.now.Before(*in.Away) {
		d.soon(in.Away.Sub(o.now))
		return
	}
	runs, open, read := false, 0, true
	for _, t := range in.Tasks {
		s := o.tasks[t.ID]
		if s.status == nil {
			continue
		}
		runs = runs || !over(s.status)
		open += s.open
		read = read && s.read
	}
	switch {
	case runs && in.Drain && open > 0 && o.now.Sub(*in.Away) < drainBound:
		d.soon(pollMost)
	case runs && !in.idle(o) && o.now.Sub(in.Halted) > haltAgain:
		d.effect, in.Halted = effectHalt, o.now
	case runs:
		d.soon(haltAgain)
	case !read:
		d.soon(time.Second)
	case in.idle(o):
		d.soon(in.After.Sub(o.now))
	default:
		d.effect = effectRemove
	}
}
