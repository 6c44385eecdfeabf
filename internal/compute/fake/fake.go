// Package fake is a compute driver for simulations: it runs nothing, and a
// script says how each task goes. What happens is a pure function of the
// script, the calls and the clock, so a run under testing/synctest repeats
// exactly. A World outlives its drivers as real tasks outlive a server. It
// must never be wired into a server. Start reading at Script.
package fake

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

// Script says how a task goes.
type Script struct {
	Delay      time.Duration // from Start to Running
	Run        time.Duration // from Running to the program's end
	Forever    bool          // only Stop and MaxRuntime end it
	IgnoreTERM bool          // it lives on until its grace is over
	Steps      []Step
	Output     []string // lines, spread evenly over Run
	Result     plan.Result
	Reason     compute.Reason // "" is ReasonExited
	Uses       compute.Usage  // from Running on; CPU is that of each second
	Lost       time.Duration  // when its supervisor vanishes, counted from Start; 0: never

	// Work is what the program does to files when it starts: it is given those
	// of the task and of its volumes by absolute path, may change them, and its
	// lines come before Output. It must not call the world.
	Work func(files map[string]string) []string
	// Serve answers connections to the program's ports, from Ready after
	// Running on.
	Serve map[int]func(net.Conn)
	Ready time.Duration
	// Acts is what it says of the identity with which it acts, when it begins
	// and each time that it gets a fresh one; nil says nothing.
	Acts func(compute.Identity) string
}

// Step is a report of stage, counted from Running.
type Step struct {
	Name string
	At   time.Duration
}

// heartbeat is how often a fake supervisor gives a sign of life.
const heartbeat = 30 * time.Second

// World holds tasks.
type World struct {
	script func(compute.Task) Script
	// fault is asked before and after each call's effect; an error is the
	// call's answer.
	fault func(op string, id compute.TaskID, after bool) error

	mu      sync.Mutex // guards all below
	tasks   map[compute.TaskID]*task
	drivers []*Driver
	starts  map[compute.TaskID]int
	volumes map[compute.VolumeID]*volume
}

// NewWorld makes an empty world. script is asked once per task that starts;
// fault may be nil. A call for a volume tells it the volume's id.
func NewWorld(script func(compute.Task) Script, fault func(op string, id compute.TaskID, after bool) error) *World {
	return &World{
		script: script, fault: fault,
		tasks: map[compute.TaskID]*task{}, starts: map[compute.TaskID]int{}, volumes: map[compute.VolumeID]*volume{},
	}
}

// Starts counts how often a task was really begun: never more than once unless
// it was removed in between.
func (w *World) Starts(id compute.TaskID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.starts[id]
}

// Running lists the tasks that have not ended, in order.
func (w *World) Running() []compute.TaskID {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []compute.TaskID
	for id, t := range w.tasks {
		if p := t.at(time.Now()).Phase; p == compute.Starting || p == compute.Running {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Crash is the end of a boot: the supervisors of all tasks that have not ended
// vanish at once.
func (w *World) Crash() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, t := range w.tasks {
		if p := t.at(now).Phase; p == compute.Starting || p == compute.Running {
			t.script.Lost = max(now.Sub(t.created), 1)
			w.wake(t)
		}
	}
}

// Driver looks at a world as a server does; a restarted server makes another.
type Driver struct {
	w       *World
	changes chan compute.TaskID
}

var _ compute.Driver = (*Driver)(nil)

// Driver makes a driver of the world.
func (w *World) Driver() *Driver {
	d := &Driver{w: w, changes: make(chan compute.TaskID, 1024)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drivers = append(w.drivers, d)
	return d
}

// task is one task of the world; the world's mutex guards it.
type task struct {
	spec    compute.Task
	script  Script
	created time.Time
	stopped time.Time // of the first Stop
	grace   time.Duration
	woken   chan struct{} // closed and replaced at each change
	timer   *time.Timer
	conns   map[net.Conn]struct{} // of its program
	began   []string              // what it says when it begins
	later   []line                // what calls made it say
	said    []line                // all of it, see lines
}

// end is when and how the task ends by itself, by Stop or by its limit,
// whichever is first.
func (t *task) end() (time.Time, compute.Exit) {
	running := t.created.Add(t.script.Delay)
	at, exit := time.Time{}, compute.Exit{Reason: t.script.Reason, Result: t.script.Result}
	if exit.Reason == "" {
		exit.Reason = compute.ReasonExited
	}
	if !t.script.Forever {
		at = running.Add(t.script.Run)
	}
	asked := func(when time.Time, grace time.Duration, reason compute.Reason) {
		if !at.IsZero() && !when.Before(at) {
			return // it was over by then
		}
		code, signal := 143, "terminated"
		if t.script.IgnoreTERM {
			when, code, signal = when.Add(grace), 137, "killed"
		}
		if !at.IsZero() && at.Before(when) {
			exit.Reason = reason // its own end came within the grace
			return
		}
		if when.Before(running) {
			code, signal = -1, ""
		}
		at, exit = when, compute.Exit{Reason: reason, Result: plan.Result{ExitCode: code, Signal: signal}}
	}
	limit := running.Add(t.spec.MaxRuntime)
	limited := func() {
		if t.spec.MaxRuntime > 0 {
			asked(limit, t.spec.Grace, compute.ReasonMaxRuntime)
		}
	}
	if !t.stopped.IsZero() && (t.spec.MaxRuntime == 0 || t.stopped.Before(limit)) {
		asked(t.stopped, t.grace, compute.ReasonStopped)
	} else {
		limited()
	}
	exit.At = at
	return at, exit
}

// at is the task's status at a moment.
func (t *task) at(now time.Time) compute.TaskStatus {
	st := compute.TaskStatus{Phase: compute.Starting, Created: t.created}
	end, exit := t.end()
	over := !end.IsZero() && !now.Before(end)
	lost := false
	if t.script.Lost > 0 {
		if gone := t.created.Add(t.script.Lost); !now.Before(gone) && (end.IsZero() || gone.Before(end)) {
			now, over, lost = gone, false, true
		}
	}
	if over {
		now = end
	}
	running := t.created.Add(t.script.Delay)
	if !now.Before(running) {
		st.Phase, st.Started = compute.Running, running
		for _, s := range t.script.Steps {
			if when := running.Add(s.At); !when.After(now) {
				st.Steps = append(st.Steps, compute.Step{Name: s.Name, At: when})
			}
		}
	}
	st.Heartbeat = t.created.Add(now.Sub(t.created).Truncate(heartbeat))
	st.Spooled = int64(t.spooled(now))
	if lost {
		st.Phase = compute.Lost
	}
	if over {
		st.Phase, st.Exit, st.Heartbeat = compute.Ended, &exit, end
	}
	if u := t.script.Uses; u != (compute.Usage{}) && st.Heartbeat.After(running) {
		u.At, u.CPU = st.Heartbeat, time.Duration(st.Heartbeat.Sub(running).Seconds()*float64(u.CPU))
		st.Usage = u
	}
	return st
}

// lineAt is when the i-th line of the script's output is printed.
func (t *task) lineAt(i int) time.Time {
	n := len(t.script.Output)
	return t.created.Add(t.script.Delay + t.script.Run*time.Duration(i+1)/time.Duration(n+1))
}

// line is one of the output.
type line struct {
	at   time.Time
	text string
	end  int // of the output's bytes, with this line
}

// append gives b with the line as it is spooled.
func (l *line) append(b []byte) []byte {
	b = strconv.AppendInt(b, l.at.UnixMilli(), 10)
	b = append(b, ' ')
	b = append(b, l.text...)
	return append(b, '\n')
}

// lines are all that the program will have printed, in order. What a call made
// it say comes after what it had said by then, so that nothing said changes;
// they are made anew when there are more.
func (t *task) lines() []line {
	if len(t.said) == len(t.began)+len(t.script.Output)+len(t.later) {
		return t.said
	}
	all := make([]line, 0, len(t.began)+len(t.script.Output)+len(t.later))
	for _, text := range t.began {
		all = append(all, line{at: t.created.Add(t.script.Delay), text: text})
	}
	for i, text := range t.script.Output {
		all = append(all, line{at: t.lineAt(i), text: text})
	}
	all = append(all, t.later...)
	slices.SortStableFunc(all, func(a, b line) int { return a.at.Compare(b.at) })
	end := 0
	var buf []byte
	for i := range all {
		buf = all[i].append(buf[:0])
		end += len(buf)
		all[i].end = end
	}
	t.said = all
	return all
}

// spooled is how many bytes the program has printed.
func (t *task) spooled(now time.Time) (n int) {
	for _, l := range t.lines() {
		if l.at.After(now) {
			break
		}
		n = l.end
	}
	return n
}

func (t *task) output(now time.Time) []byte {
	var b []byte
	for _, l := range t.lines() {
		if l.at.After(now) {
			break
		}
		b = l.append(b)
	}
	return b
}

// next is the first moment after now at which something changes.
func (t *task) next(now time.Time) (first time.Time) {
	consider := func(at time.Time) {
		if at.After(now) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	end, _ := t.end()
	consider(end)
	running := t.created.Add(t.script.Delay)
	consider(running)
	for _, s := range t.script.Steps {
		consider(running.Add(s.At))
	}
	for i := range t.script.Output {
		consider(t.lineAt(i))
	}
	if t.script.Lost > 0 {
		consider(t.created.Add(t.script.Lost))
	}
	return first
}

// wake tells everybody about a change and sets the clock for the next one.
// The world's mutex is held.
func (w *World) wake(t *task) {
	close(t.woken)
	t.woken = make(chan struct{})
	for _, d := range w.drivers {
		select {
		case d.changes <- t.spec.ID:
		default:
		}
	}
	if t.timer != nil {
		t.timer.Stop()
	}
	now := time.Now()
	st := t.at(now)
	if st.Phase == compute.Ended || st.Phase == compute.Lost {
		t.hangUp()
		return
	}
	if next := t.next(now); !next.IsZero() {
		t.timer = time.AfterFunc(next.Sub(now), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.tasks[t.spec.ID] == t {
				w.wake(t)
			}
		})
	}
}

func (w *World) trouble(op string, id compute.TaskID, after bool) error {
	if w.fault == nil {
		return nil
	}
	return w.fault(op, id, after)
}

// do brackets a call's effect by the faults.
func (w *World) do(op string, id compute.TaskID, f func() error) error {
	if err := w.trouble(op, id, false); err != nil {
		return err
	}
	w.mu.Lock()
	err := f()
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return w.trouble(op, id, true)
}

// Name implements compute.Driver.
func (d *Driver) Name() string { return "fake" }

// Probe implements compute.Driver.
func (d *Driver) Probe(context.Context) (compute.Capacity, error) {
	return compute.Capacity{VCPU: 8, MemoryBytes: 32 << 30, Limits: true}, nil
}

// Start implements compute.Driver.
func (d *Driver) Start(_ context.Context, t compute.Task) error {
	return d.w.do("Start", t.ID, func() error {
		if d.w.tasks[t.ID] != nil {
			return nil
		}
		if err := d.w.mountable(t); err != nil {
			return err
		}
		k := &task{spec: t, script: d.w.script(t), created: time.Now(), woken: make(chan struct{}), conns: map[net.Conn]struct{}{}}
		d.w.tasks[t.ID] = k
		d.w.work(k)
		d.w.starts[t.ID]++
		d.w.wake(k)
		return nil
	})
}

// find is the task, or ErrNotFound. The world's mutex is held.
func (w *World) find(id compute.TaskID) (*task, error) {
	if t := w.tasks[id]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("%w: %s", compute.ErrNotFound, id)
}

// Status implements compute.Driver.
func (d *Driver) Status(_ context.Context, id compute.TaskID) (st compute.TaskStatus, err error) {
	err = d.w.do("Status", id, func() error {
		t, err := d.w.find(id)
		if err == nil {
			st = t.at(time.Now())
		}
		return err
	})
	return st, err
}

// Stop implements compute.Driver.
func (d *Driver) Stop(_ context.Context, id compute.TaskID, grace time.Duration) error {
	return d.w.do("Stop", id, func() error {
		t, err := d.w.find(id)
		if err != nil || !t.stopped.IsZero() {
			return err
		}
		t.stopped, t.grace = time.Now(), grace
		d.w.wake(t)
		return nil
	})
}

// Remove implements compute.Driver.
func (d *Driver) Remove(_ context.Context, id compute.TaskID) error {
	return d.w.do("Remove", id, func() error {
		t := d.w.tasks[id]
		if t == nil {
			return nil
		}
		if t.timer != nil {
			t.timer.Stop()
		}
		delete(d.w.tasks, id)
		t.hangUp()
		close(t.woken)
		t.woken = make(chan struct{})
		return nil
	})
}

// List implements compute.Driver.
func (d *Driver) List(context.Context) (ids []compute.TaskID, err error) {
	err = d.w.do("List", "", func() error {
		ids = slices.Sorted(maps.Keys(d.w.tasks))
		return nil
	})
	return ids, err
}

// Changes implements compute.Driver.
func (d *Driver) Changes() <-chan compute.TaskID { return d.changes }

// Spool implements compute.Driver.
func (d *Driver) Spool(ctx context.Context, id compute.TaskID, from int64) (r io.ReadCloser, err error) {
	err = d.w.do("Spool", id, func() error {
		t, err := d.w.find(id)
		if err == nil {
			ctx, cancel := context.WithCancel(ctx)
			r = &spool{w: d.w, t: t, at: from, ctx: ctx, cancel: cancel}
		}
		return err
	})
	return r, err
}

type spool struct {
	w      *World
	t      *task
	at     int64
	ctx    context.Context //nolint:containedctx // Read has none
	cancel context.CancelFunc
}

// Read gives what was printed and waits for more.
func (s *spool) Read(p []byte) (int, error) {
	for {
		if err := s.ctx.Err(); err != nil {
			return 0, err
		}
		s.w.mu.Lock()
		now := time.Now()
		st := s.t.at(now)
		var out []byte
		if s.at < st.Spooled {
			out = s.t.output(now)[:st.Spooled]
		}
		gone := s.w.tasks[s.t.spec.ID] != s.t
		woken := s.t.woken
		s.w.mu.Unlock()
		if s.at < int64(len(out)) {
			n := copy(p, out[s.at:])
			s.at += int64(n)
			return n, nil
		}
		if gone || st.Phase == compute.Ended || st.Phase == compute.Lost {
			return 0, io.EOF
		}
		select {
		case <-woken:
		case <-s.ctx.Done():
		}
	}
}

// Close ends a waiting Read.
func (s *spool) Close() error {
	s.cancel()
	return nil
}
