package notebook

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/meter"
	"clary/internal/stage/agent"
	"clary/internal/stage/plan"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const uid = "abcdefghijklmnopqrstuvwxyz"

func at(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }

// seen is a look at s seconds, of a machine that neither slept nor was set.
func seen(s float64) observed {
	return observed{uid: uid, now: at(s), clock: meter.Moment{Boot: "b", Awake: int64(s * 1e9)}, image: image{ready: true}, volume: 5}
}

func pending() status {
	st := status{V: 1, Volume: 5, Volumes: 1, Made: true}
	st.run(uid, t0)
	return st
}

// serving is a notebook in service since 10 s.
func serving(t *testing.T) status {
	t.Helper()
	st := pending()
	st.Launched = true
	o := seen(10)
	o.task, o.answers = running(0, 10), true
	d := next(phasePending, st, o)
	if d.phase != phaseInService || d.open == nil || !d.open.Equal(at(10)) {
		t.Fatalf("an answer makes it %s, billed from %v", d.phase, d.open)
	}
	d.st.Open = false // sessions are another test's
	d.st.Expires = at(1e6)
	return d.st
}

func running(from, beat float64) *compute.TaskStatus {
	return &compute.TaskStatus{Phase: compute.Running, Created: at(from), Started: at(from), Heartbeat: at(beat)}
}

func exited(from, end float64) *compute.TaskStatus {
	t := running(from, end)
	t.Phase, t.Exit = compute.Ended, &compute.Exit{Reason: compute.ReasonExited, At: at(end), Result: plan.Result{ExitCode: 1}}
	return t
}

func lost(from, beat float64) *compute.TaskStatus {
	t := running(from, beat)
	t.Phase = compute.Lost
	return t
}

func TestNextPending(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		st     func(*status)
		o      func(*observed)
		phase  string
		effect effect
		reason string
	}{
		"runtime is built": {nil, func(o *observed) { o.image = image{progress: "installing 3 packages"} }, phasePending, effectNone, ""},
		"runtime broken":   {nil, func(o *observed) { o.image = image{failed: "The runtime x could not be built: no"} }, phaseFailed, effectNone, "could not be built"},
		"volume first":     {func(st *status) { st.Made = false }, nil, phasePending, effectVolume, ""},
		"start":            {nil, nil, phasePending, effectStart, ""},
		"starting":         {launched, func(o *observed) { o.task = running(0, 1); o.task.Phase = compute.Starting }, phasePending, effectNone, ""},
		"no answer yet":    {launched, func(o *observed) { o.task = running(0, 1) }, phasePending, effectNone, ""},
		"answers":          {launched, func(o *observed) { o.task, o.answers = running(0, 1), true }, phaseInService, effectNone, ""},
		"never answers":    {launched, func(o *observed) { o.task = running(-400, 1) }, phaseFailed, effectNone, "did not answer within five minutes"},
		"slept meanwhile": {launched, func(o *observed) {
			o.task = running(-400, 1)
			o.task.Suspended = 200 * time.Second
		}, phasePending, effectNone, ""},
		"clones":           {ordered, says(agent.State{Phase: agent.Cloning, For: 14 * time.Minute}), phasePending, effectNone, ""},
		"clones for ever":  {ordered, says(agent.State{Phase: agent.Cloning, For: 16 * time.Minute}), phaseFailed, effectNone, "cloned within 15 minutes"},
		"runs a script":    {ordered, says(agent.State{Phase: agent.Creating, For: 5 * time.Minute}), phasePending, effectNone, ""},
		"OnCreate is over": {ordered, says(agent.State{Phase: agent.Creating, Created: true}), phasePending, effectNone, ""},
		"and never heard":  {func(st *status) { ordered(st); st.Created, st.Told = true, 61 }, says(agent.State{Phase: agent.Creating, Created: true}), phaseFailed, effectNone, "did not go on after its OnCreate script"},
		"and it is known":  {func(st *status) { ordered(st); st.Created = true }, says(agent.State{Phase: agent.Creating, Created: true}), phasePending, effectCreated, ""},
		"hangs in it":      {ordered, says(agent.State{Phase: agent.Starting, For: 7 * time.Minute}), phaseFailed, effectNone, "OnStart script took longer than five minutes"},
		"a script failed":  {ordered, says(agent.State{Phase: agent.Failed, Failure: "exit code 1"}), phaseFailed, effectNone, "exit code 1"},
		"failed, no word":  {ordered, says(agent.State{Phase: agent.Failed}), phaseFailed, effectNone, "could not be prepared"},
		"serves, late":     {ordered, says(agent.State{Phase: agent.Serving, For: 4 * time.Minute}), phasePending, effectNone, ""},
		"serves nothing":   {ordered, says(agent.State{Phase: agent.Serving, For: 6 * time.Minute}), phaseFailed, effectNone, "did not answer within five minutes"},
		"falls silent":     {func(st *status) { ordered(st); st.Step = agent.Cloning }, func(o *observed) { o.task = running(-1000, 1) }, phasePending, effectNone, ""},
		"for good":         {func(st *status) { ordered(st); st.Step = agent.Cloning }, func(o *observed) { o.task = running(-2000, 1) }, phaseFailed, effectNone, "did not answer"},
		"ends at once":     {launched, func(o *observed) { o.task = exited(0, 1) }, phasePending, effectNone, ""},
		"folder vanished":  {launched, nil, phasePending, effectNone, ""},
		"for too long": {
			func(st *status) { st.Asked = at(-4000) }, func(o *observed) { o.image.ready, o.lastError = false, "no disk" },
			phaseFailed, effectNone, "within an hour: no disk",
		},
		"earlier task runs": {func(st *status) { st.Clear = "x-1" }, func(o *observed) { o.clear = running(0, 1) }, phasePending, effectHalt, ""},
		"its output comes":  {func(st *status) { st.Clear = "x-1" }, func(o *observed) { o.clear = exited(0, 1) }, phasePending, effectNone, ""},
		"its output is in":  {func(st *status) { st.Clear = "x-1" }, func(o *observed) { o.clear, o.clearRead = exited(0, 1), true }, phasePending, effectRemove, ""},
		"it is gone":        {func(st *status) { st.Clear = "x-1" }, nil, phasePending, effectStart, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st, o := pending(), seen(2)
			if tc.st != nil {
				tc.st(&st)
			}
			if tc.o != nil {
				tc.o(&o)
			}
			d := next(phasePending, st, o)
			if d.phase != tc.phase || d.effect != tc.effect || !strings.Contains(d.st.Failure, tc.reason) || (d.phase == phaseFailed) != (d.st.Failure != "") {
				t.Errorf("%s with effect %d, %q; want %s with %d, %q", d.phase, d.effect, d.st.Failure, tc.phase, tc.effect, tc.reason)
			}
			if (d.open != nil) != (tc.phase == phaseInService) || d.close != nil {
				t.Errorf("billed from %v to %v while it is %s", d.open, d.close, d.phase)
			}
			if d.phase == phaseFailed && (d.st.Task != "" || (o.task != nil) != (d.st.Clear != "")) {
				t.Errorf("failed with task %q and %q to be cleared away", d.st.Task, d.st.Clear)
			}
		})
	}
}

func launched(st *status) { st.Launched = true }

func ordered(st *status) { st.Launched, st.Agent = true, true }

// says is a look at a task that began long ago and whose first process answers.
func says(s agent.State) func(*observed) {
	return func(o *observed) { o.task, o.agent = running(-4000, 1), &s }
}

// TestHear sees what is remembered of a run, so that it is not ordered again.
func TestHear(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		said    agent.State
		cloned  string
		created bool
	}{
		"clones":            {agent.State{Phase: agent.Cloning}, "", false},
		"cloned one":        {agent.State{Phase: agent.Cloning, Cloned: []string{"b"}}, "b", false},
		"failed at another": {agent.State{Phase: agent.Failed, Cloned: []string{"a"}}, "a", false},
		"runs OnCreate":     {agent.State{Phase: agent.Creating}, "a b", false},
		"runs OnStart":      {agent.State{Phase: agent.Starting}, "a b", true},
		"failed in OnStart": {agent.State{Phase: agent.Failed, Cloned: []string{"a", "b"}, Created: true}, "a b", true},
		"serves":            {agent.State{Phase: agent.Serving}, "a b", true},
	} {
		st := pending()
		ordered(&st)
		st.Repos = []repo{{Folder: "a"}, {Folder: "b"}}
		o := seen(2)
		says(tc.said)(&o)
		d := next(phasePending, st, o)
		var cloned []string
		for i, r := range d.st.Repos {
			if st.Repos[i].Cloned {
				t.Errorf("%s: next writes to what it was given", name)
			}
			if r.Cloned {
				cloned = append(cloned, r.Folder)
			}
		}
		if got := strings.Join(cloned, " "); got != tc.cloned || d.st.Created != tc.created {
			t.Errorf("%s: cloned %q, created %v", name, got, d.st.Created)
		}
	}
}

func TestNextCapacity(t *testing.T) {
	t.Parallel()
	st := pending()
	if d := waiting(phasePending, st, seen(600)); d.phase != phasePending || d.st.Notes != 1 {
		t.Errorf("after ten minutes it is %s", d.phase)
	}
	if d := waiting(phasePending, st, seen(1000)); d.phase != phaseFailed || d.st.Failure != msgNoCapacity {
		t.Errorf("after a quarter of an hour it is %s: %q", d.phase, d.st.Failure)
	}
}

// TestCrash takes a notebook through the end of its JupyterLab.
func TestCrash(t *testing.T) {
	t.Parallel()
	st := serving(t)
	o := seen(101)
	o.task = exited(0, 100)
	d := next(phaseInService, st, o)
	if d.phase != phaseInService || d.close != nil || d.st.Clear != st.Task || d.st.Task != taskID(uid, 2) || d.st.Launched || d.st.Ready != nil {
		t.Fatalf("after a crash: %s, billed to %v, task %s, clear %s", d.phase, d.close, d.st.Task, d.st.Clear)
	}
	if !strings.Contains(d.st.Said, "exit code 1") {
		t.Errorf("the log says %q", d.st.Said)
	}
	again := d.st
	again.Clear, again.Launched = "", true

	o = seen(110)
	o.task, o.answers = running(102, 110), true
	quick := next(phaseInService, again, o)
	if quick.phase != phaseInService || quick.open != nil || quick.close != nil || quick.st.Down != nil || quick.st.Ready == nil {
		t.Errorf("started again in time: %s, billed from %v to %v", quick.phase, quick.open, quick.close)
	}
	// Of the new task's own clock: 40 s after its first answer at 110.
	o = seen(160)
	o.task = lost(102, 150)
	if d := next(phaseInService, quick.st, o); d.phase != phasePending || d.close == nil || !d.close.Equal(at(150)) {
		t.Errorf("lost after that: %s, billed to %v", d.phase, d.close)
	}

	o = seen(161)
	o.task = running(102, 150)
	slow := next(phaseInService, again, o)
	if slow.phase != phasePending || slow.close == nil || !slow.close.Equal(at(100)) || slow.closed != 1 {
		t.Errorf("not started again in time: %s, billed to %v", slow.phase, slow.close)
	}
	o.answers = true
	if d := next(phaseInService, again, o); d.phase != phaseInService || d.close == nil || !d.close.Equal(at(100)) || d.open == nil || !d.open.Equal(at(161)) || d.st.Bills != 2 {
		t.Errorf("started again late: %s, billed to %v and from %v", d.phase, d.close, d.open)
	}
}

// TestCrashes counts those of ten minutes.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		every float64 // seconds
		phase string
	}{{120, phaseFailed}, {200, phaseInService}} {
		st, phase := serving(t), phaseInService
		var d decision
		for i := range 5 {
			end := 100 + float64(i)*tc.every
			o := seen(end + 1)
			o.task = exited(end-50, end)
			d = next(phase, st, o)
			st, phase = d.st, d.phase
			if i == 4 {
				break
			}
			st.Clear = ""
			o = seen(end + 5)
			o.task, o.answers = running(end+1, end+5), true
			again := next(phase, st, o)
			st, phase = again.st, again.phase
			st.Open = false
		}
		if phase != tc.phase {
			t.Errorf("crashing every %v s it is %s, want %s", tc.every, phase, tc.phase)
		}
		if phase == phaseFailed {
			if d.close == nil || !d.close.Equal(at(100+4*tc.every)) {
				t.Errorf("billed to %v, want the last crash", d.close)
			}
			if !strings.Contains(st.Failure, "five times within ten minutes") || !strings.Contains(st.Failure, "exit code 1") {
				t.Errorf("FailureReason %q", st.Failure)
			}
		}
	}
}

// TestCrashesBefore counts those of runs that never answered, however long each
// took.
func TestCrashesBefore(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end   func(from, end float64) *compute.TaskStatus
		phase string
	}{"ended": {exited, phaseFailed}, "lost": {lost, phasePending}} {
		st, phase := pending(), phasePending
		for i := range 5 {
			if phase != phasePending {
				t.Errorf("%s: %s after %d ends", name, phase, i)
			}
			begin := float64(i) * 1000
			o := seen(begin + 900)
			o.task = tc.end(begin, begin+899)
			d := next(phase, st, o)
			st, phase = d.st, d.phase
			st.Clear = ""
		}
		if phase != tc.phase || phase == phaseFailed && !strings.Contains(st.Failure, "five times in a row") {
			t.Errorf("%s: %s, %q", name, phase, st.Failure)
		}
	}
}

// TestBill sees where an interval ends that began at 10 s.
func TestBill(t *testing.T) {
	t.Parallel()
	other := meter.Moment{Boot: "other", Awake: 5e9}
	awake := func(s float64) meter.Moment { return meter.Moment{Boot: "b", Awake: int64(s * 1e9)} }
	slept := running(0, 500)
	slept.Suspended = 300 * time.Second
	sleptLost := *slept
	sleptLost.Phase = compute.Lost
	for name, tc := range map[string]struct {
		m    meter.Moment
		task *compute.TaskStatus
		want float64
	}{
		"runs":                      {awake(100), running(0, 90), 100},
		"slept, or the clock leapt": {awake(200), slept, 200},
		"is over, and nobody saw":   {awake(900), exited(0, 100), 100},
		"lost":                      {awake(900), lost(0, 90), 90},
		"lost after it slept":       {awake(900), &sleptLost, 200},
		"another boot, lost":        {other, lost(0, 90), 90},
		"another boot, not seen":    {other, running(0, 90), 90},
		"gone":                      {awake(900), nil, 10},
		"over before it answered":   {awake(900), exited(0, 5), 10},
	} {
		st := serving(t)
		if got := st.billedTo(tc.m, tc.task); !got.Equal(at(tc.want)) {
			t.Errorf("%s: billed to %s, want %s", name, got.Sub(t0), at(tc.want).Sub(t0))
		}
	}
	st := serving(t)
	down := at(100)
	st.Down, st.Ready = &down, nil
	for m, want := range map[meter.Moment]float64{awake(130): 130, awake(200): 100, other: 100} {
		if got := st.billedTo(m, nil); !got.Equal(at(want)) {
			t.Errorf("stopped at %v while it is started again: billed to %s, want %v s", m, got.Sub(t0), want)
		}
	}
}

// TestAnchor sees an interval split where the machine slept or its clock was set.
func TestAnchor(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		wall, awake float64
		split       bool
	}{
		"nothing happened": {100, 100, false},
		"slept an hour":    {3700, 100, true},
		"slept a little":   {130, 100, false},
		"set back":         {100, 3700, true},
	} {
		st := serving(t)
		o := seen(tc.awake)
		o.now, o.task = at(tc.wall), running(0, tc.awake)
		o.task.Heartbeat = at(tc.awake)
		d := next(phaseInService, st, o)
		if (d.close != nil) != tc.split || (d.open != nil) != tc.split {
			t.Errorf("%s: closed %v, opened %v", name, d.close, d.open)
			continue
		}
		if !tc.split {
			continue
		}
		if !d.close.Equal(at(tc.awake)) || !d.open.Equal(at(tc.wall)) || d.closed != 1 || d.st.Bills != 2 {
			t.Errorf("%s: closed %s, opened %s", name, d.close.Sub(t0), d.open.Sub(t0))
		}
		// What the task's clock tells fits the new interval as well.
		if got := d.st.lineAt(at(tc.awake+50), 0); !got.Equal(at(tc.wall + 50)) {
			t.Errorf("%s: 50 s later by the task's clock is %s", name, got.Sub(t0))
		}
	}
}

func TestNextStopping(t *testing.T) {
	t.Parallel()
	st := pending()
	st.Launched, st.Open = true, true
	o := seen(20)
	o.task = running(0, 20)
	d := next(phaseStopping, st, o)
	if d.effect != effectForget || d.st.Open {
		t.Fatalf("sessions outlive the stop: effect %d", d.effect)
	}
	st = d.st
	if d = next(phaseStopping, st, o); d.effect != effectHalt || d.target != st.Task || d.phase != phaseStopping {
		t.Errorf("running: %s, effect %d of %s", d.phase, d.effect, d.target)
	}
	o.task = exited(0, 21)
	if d = next(phaseStopping, st, o); d.effect != effectNone || d.phase != phaseStopping {
		t.Errorf("its output is not in: %s, effect %d", d.phase, d.effect)
	}
	o.taskRead = true
	if d = next(phaseStopping, st, o); d.effect != effectRemove || d.phase != phaseStopped || d.st.Task != "" || !d.rests() {
		t.Errorf("over: %s, effect %d", d.phase, d.effect)
	}
	o.task = nil
	if d = next(phaseStopping, st, o); d.effect != effectNone || d.phase != phaseStopped {
		t.Errorf("gone: %s, effect %d", d.phase, d.effect)
	}
}

func TestNextUpdating(t *testing.T) {
	t.Parallel()
	st := status{V: 1, Volume: 5, Volumes: 1, Asked: t0}
	if d := next(phaseUpdating, st, seen(1)); d.phase != phaseStopped || d.grown || d.effect != effectNone {
		t.Errorf("nothing to grow: %s, effect %d", d.phase, d.effect)
	}
	o := seen(1)
	o.volume = 9
	if d := next(phaseUpdating, st, o); d.phase != phaseStopped || !d.grown || d.effect != effectVolume || d.st.Volume != 9 {
		t.Errorf("to grow: %s, effect %d, %d GB", d.phase, d.effect, d.st.Volume)
	}
	o = seen(700)
	o.volume, o.lastError = 9, "no space left on device"
	if d := next(phaseUpdating, st, o); d.phase != phaseFailed || !d.shrink || d.grown || d.st.Volume != 5 || !strings.Contains(d.st.Failure, "no space left") {
		t.Errorf("cannot grow: %s, %q", d.phase, d.st.Failure)
	}
}

func TestNextRenews(t *testing.T) {
	t.Parallel()
	st := serving(t)
	st.Expires = at(100).Add(sessionTTL)
	o := seen(100)
	o.task = running(0, 90)
	if d := next(phaseInService, st, o); d.effect != effectNone {
		t.Errorf("a new session: effect %d", d.effect)
	}
	o = seen(100 + 3*3600)
	o.task = running(0, 100+3*3600)
	if d := next(phaseInService, st, o); d.effect != effectRenew {
		t.Errorf("a session of three hours: effect %d", d.effect)
	}
}

// TestNextProperties walks random worlds: no run begins while an earlier task
// may be there, InService comes of an answer alone, intervals open and close in
// turn and lie one after the other, and nothing is open of what rests.
func TestNextProperties(t *testing.T) {
	t.Parallel()
	stops := 0
	for seed := range uint64(3000) {
		w := walk{r: rand.New(rand.NewPCG(seed, 2)), tasks: map[compute.TaskID]*compute.TaskStatus{}, phase: phasePending, st: pending()}
		w.st.Made = false
		for range 400 {
			if w.gone {
				break
			}
			if w.step(); w.wrong != "" {
				t.Fatalf("seed %d at %s: %s", seed, w.now.Sub(t0), w.wrong)
			}
		}
		stops += w.stops
	}
	if stops < 100 {
		t.Errorf("only %d stops for want of use", stops)
	}
}

type walk struct {
	r     *rand.Rand
	tasks map[compute.TaskID]*compute.TaskStatus
	now   time.Time
	clock int64
	phase string
	st    status
	begun map[compute.TaskID]bool
	last  time.Time // end of the last interval, by the awake clock
	kept  bool      // what was worth it on the volume, or nothing was
	gone  bool
	stops int // by the idle policy
	wrong string
}

func (w *walk) fail(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

func (w *walk) step() {
	pass := time.Duration(w.r.Int64N(int64(time.Minute)))
	if w.phase == phaseDeleting {
		pass *= 40 // a rescue waits longer for another try
	}
	w.clock += int64(pass)
	w.now = t0.Add(time.Duration(w.clock))
	for _, t := range w.tasks {
		if t.Phase != compute.Running && t.Phase != compute.Starting {
			continue
		}
		t.Heartbeat = w.now
		switch w.r.IntN(40) {
		case 0:
			t.Phase, t.Exit = compute.Ended, &compute.Exit{At: w.now, Reason: compute.ReasonExited}
		case 1:
			t.Phase = compute.Lost
		default:
			t.Phase = compute.Running
		}
	}
	w.ask()
	said := []agent.State{
		{Phase: agent.Cloning, For: pass},
		{Phase: agent.Starting, For: pass},
		{Phase: agent.Serving, For: pass},
		{Phase: agent.Serving, For: pass},
		{Phase: agent.Failed, Failure: "no"},
	}[w.r.IntN(5)]
	o := observed{
		uid: uid, now: w.now, clock: meter.Moment{Awake: w.clock}, image: image{ready: w.r.IntN(4) > 0}, volume: w.st.Volume,
		clear: w.tasks[w.st.Clear], clearRead: w.r.IntN(2) == 0, task: w.tasks[w.st.Task], taskRead: w.r.IntN(2) == 0, answers: w.r.IntN(2) == 0,
	}
	if w.r.IntN(3) > 0 {
		o.agent = &said
		o.answers = o.answers && said.Phase == agent.Serving
	}
	if w.phase == phaseDeleting && o.task != nil && o.task.Phase == compute.Running {
		o.found = []*agent.Rescue{nil, {}, {Failure: "no"}, {Ready: true}, {Ready: true, Files: []agent.File{{Name: "x"}}}}[w.r.IntN(5)]
		w.kept = w.kept || o.found != nil && o.found.Ready && len(o.found.Files) == 0
	}
	if w.phase == phaseInService && w.st.Idle.looks(w.now) && w.r.IntN(3) > 0 {
		x := usedAt(w.now, t0, w.r.IntN(40) == 0)
		o.sample, o.limit = &x, 5*time.Minute
	}
	d := next(w.phase, w.st, o)
	if d.effect == effectStop {
		if i := d.st.Idle; w.st.Idle == nil || w.st.Idle.Warned == 0 || time.Duration(i.For) < o.limit || w.st.Ready == nil {
			w.fail("it is stopped after %+v", w.st.Idle)
		}
		if w.r.IntN(2) == 0 {
			d.stops(o, o.limit)
			w.stops++
		}
	}
	if d.effect == effectStart && w.r.IntN(8) == 0 {
		d = waiting(w.phase, w.st, o)
	}
	w.follow(o, d)
}

// ask does now and then what a user may.
func (w *walk) ask() {
	if w.r.IntN(10) > 0 {
		return
	}
	switch w.phase {
	case phaseInService:
		if m := (meter.Moment{Awake: w.clock}); w.st.Bill != nil && w.r.IntN(3) == 0 {
			w.st.Until = &m // the driver did not answer
		} else if w.st.Bill != nil {
			w.closed(w.st.billedTo(m, w.tasks[w.st.Task]))
			w.st.Bill, w.st.Down = nil, nil
		}
		w.phase = phaseStopping
	case phaseStopped, phaseFailed:
		if w.r.IntN(3) == 0 {
			w.phase, w.st.Failure = phaseDeleting, ""
			return
		}
		w.phase = phasePending
		w.st.run(uid, w.now)
		w.st.Crashes, w.st.Failure = nil, ""
	}
}

func (w *walk) closed(at time.Time) {
	if at.Before(w.st.Bill.Start) || at.After(w.now) {
		w.fail("an interval from %s ends at %s", w.st.Bill.Start.Sub(t0), at.Sub(t0))
	}
	w.last = at
}

func (w *walk) follow(o observed, d decision) {
	if d.phase == phaseInService && w.phase == phasePending && !o.answers {
		w.fail("in service without an answer")
	}
	if awaited := w.st.Task != "" && w.st.Ready == nil && w.st.Clear == "" && o.task != nil && o.task.Phase == compute.Running; awaited && o.agent != nil && o.agent.Phase == agent.Failed &&
		(w.phase == phasePending || w.phase == phaseInService) && d.phase != phaseFailed {
		w.fail("its first process failed, and it is %s", d.phase)
	}
	if d.st.Step == agent.Serving && !d.st.Created || w.st.Created && !d.st.Created {
		w.fail("created is forgotten")
	}
	if d.close != nil {
		if w.st.Bill == nil || d.closed != w.st.Bills {
			w.fail("interval %d is closed of %d", d.closed, w.st.Bills)
			return
		}
		w.closed(*d.close)
	}
	if d.open != nil {
		if w.st.Bill != nil && d.close == nil || d.open.Before(w.last) || d.st.Bills != w.st.Bills+1 {
			w.fail("interval %d opens at %s, the one before ended at %s", d.st.Bills, d.open.Sub(t0), w.last.Sub(t0))
		}
	}
	switch d.effect {
	case effectHalt:
		if t := w.tasks[d.target]; t != nil && w.r.IntN(2) == 0 {
			t.Phase, t.Exit = compute.Ended, &compute.Exit{At: w.now, Reason: compute.ReasonStopped}
		}
	case effectRemove:
		if p := w.tasks[d.target].Phase; p != compute.Ended && p != compute.Lost {
			w.fail("%s is removed while it is %s", d.target, p)
		}
		delete(w.tasks, d.target)
	case effectStart:
		if len(w.tasks) > 0 {
			w.fail("%s starts beside %d others", d.st.Task, len(w.tasks))
		}
		if w.begun == nil {
			w.begun = map[compute.TaskID]bool{}
		}
		if w.begun[d.st.Task] {
			w.fail("%s starts twice", d.st.Task)
		}
		w.begun[d.st.Task] = true
		w.tasks[d.st.Task] = &compute.TaskStatus{Phase: compute.Starting, Created: w.now, Heartbeat: w.now}
	case effectShelter:
		if len(w.tasks) > 0 {
			w.fail("a rescue starts beside %d others", len(w.tasks))
		}
		w.tasks[d.st.Task] = &compute.TaskStatus{Phase: compute.Starting, Created: w.now, Heartbeat: w.now}
	case effectKeep:
		if w.r.IntN(3) == 0 {
			return // it fails: nothing is committed
		}
		w.kept = true
	case effectDelete:
		if w.st.Made && !w.kept || len(w.tasks) > 0 {
			w.fail("the volume is destroyed; kept: %t, tasks: %d", w.kept, len(w.tasks))
		}
		w.gone = true
	case effectNone, effectForget, effectVolume, effectCreated, effectWarn, effectStop, effectRenew, effectYield:
	}
	if d.rests() && (d.st.Bill != nil || d.st.Task != "" || len(w.tasks) > 0) {
		w.fail("%s rests with bill %v, task %q and %d tasks", d.phase, d.st.Bill, d.st.Task, len(w.tasks))
	}
	if d.phase == phasePending && d.st.Bill != nil && d.st.Down == nil {
		w.fail("billed while it is Pending")
	}
	if (d.phase == phaseFailed) != (d.st.Failure != "") {
		w.fail("%s with failure %q", d.phase, d.st.Failure)
	}
	w.phase, w.st = d.phase, d.st
}
