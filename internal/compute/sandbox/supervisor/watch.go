package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/limit"
	"clary/internal/compute/sandbox/task"
	"clary/internal/stage/plan"
)

// outcome gathers what decides how a task ended.
type outcome struct {
	reason  compute.Reason // why we ended it; "" if we did not
	program *jail.Exit     // how the program ended
	result  *plan.Result   // init's or stage's word
	err     error          // it could not be run
	memory  int64          // bytes, where our own watch saw too much memory
	full    bool           // the volume was full at the end
	at      time.Time      // of init's end, as the supervisor's clock has it
}

// exit words the outcome. What we saw ourselves outranks what was said.
func (o *outcome) exit(g *limit.Group) compute.Exit {
	e := compute.Exit{Reason: compute.ReasonExited, PeakMemory: cmp.Or(g.Peak(), o.memory)}
	if o.result != nil {
		e.Result = *o.result
	} else {
		e.Result.ExitCode = -1
	}
	failed := e.Result.Failure != "" || e.Result.ExitCode != 0
	if p := o.program; p != nil {
		e.Result.ExitCode, e.Result.Signal = p.Code, p.Signal
		failed = failed || p.Code != 0 && !e.Result.Served
		if p.Error != "" {
			e.Reason = compute.ReasonFailed
			if e.Result.Failure == "" {
				e.Result.Failure, e.Result.Class = p.Error, "ClientError"
			}
		}
	}
	if o.err != nil {
		e.Reason = compute.ReasonFailed
		// whatever the program says, it had no room left to say more
		if e.Result.Failure == "" || errors.Is(o.err, errHostFull) {
			e.Result.Failure, e.Result.Class = o.err.Error(), "InternalServerError"
		}
	}
	switch {
	case o.reason == compute.ReasonDisk, failed && o.full && o.reason == "":
		e.Reason = compute.ReasonDisk
	case o.memory > 0 || failed && g.OOMKills() > 0:
		e.Reason = compute.ReasonMemory
	case o.reason != "":
		e.Reason = o.reason
	}
	return e
}

// watch lives with the task until init is gone, and what the program leaves is
// measured.
func (s *supervisor) watch(ctx context.Context, init control, m measured) {
	term := shutdown(ctx)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	flush := time.NewTicker(time.Second)
	defer flush.Stop()
	// The beginning is worth a sync to those tasks that live on.
	first := time.After(time.Second)

	exited, exceeded := s.exited, m.exceeded
	var left <-chan bool // the last look's answer, while it is under way
	var maxRuntime, grace, upload <-chan time.Time
	var words <-chan word = s.words
	var sockets <-chan chan<- int // not before the program may run
	var asked []chan<- int
	defer func() {
		for _, c := range asked {
			c <- -1
		}
		close(s.hub.dial.over)
	}()
	// end asks the program to go; the first reason is the reason.
	end := func(reason compute.Reason, g time.Duration) {
		if s.end.reason != "" || s.end.program != nil {
			return
		}
		s.end.reason = reason
		if g > 0 {
			_ = init.Send(jail.Order{Stop: &g})
		}
		grace = time.After(max(g, 0))
	}
	// killProgram leaves stage its time.
	killProgram := func() {
		_ = init.Send(jail.Order{Kill: true})
		if upload == nil {
			upload = time.After(s.spec.UploadLimit)
		}
	}
	// gone is told how the program ended. It may have written much since the last
	// look.
	gone := func(e *jail.Exit) {
		s.end.program = e
		left = m.left()
		if upload == nil {
			upload = time.After(s.spec.UploadLimit)
		}
	}
	for {
		select {
		case w := <-words:
			if w.err != nil {
				words = nil
				continue
			}
			s.end.full = s.end.full || w.Full
			switch {
			case w.Socket:
				asked = handOver(asked, w.fds)
			case w.Ready:
				if err := serveListeners(s.spec, s.hub.peers, w.Listeners, w.fds, s.log); err != nil {
					s.end.err = err
					_ = s.init.Process.Kill()
					continue
				}
				s.openDisk()
				s.begin(init)
				sockets = s.sockets
				if d := s.spec.Task.MaxRuntime; d > 0 {
					maxRuntime = time.After(d)
				}
			case w.Step != "":
				s.step(w.Step, w.at)
			case w.Exit != nil:
				gone(w.Exit)
			case w.End != nil:
				s.end.result = w.End
				if w.Error != "" {
					s.end.err = errors.New(w.Error)
				}
			}
		case <-exited:
			for words != nil { // what init said before it went
				w := <-words
				s.end.full = s.end.full || w.Full
				switch {
				case w.err != nil:
					words = nil
				case w.Socket:
					asked = handOver(asked, w.fds)
				case w.Exit != nil:
					gone(w.Exit)
				case w.Step != "":
					s.step(w.Step, w.at)
				case w.End != nil:
					s.end.result = w.End
					if w.Error != "" && s.end.err == nil {
						s.end.err = errors.New(w.Error)
					}
				}
			}
			if s.end.result == nil && s.end.err == nil {
				s.end.err = fmt.Errorf("the task's first process ended: %s", s.init.ProcessState)
			}
			s.end.at = s.clock.Now()
			if left == nil {
				return
			}
			// Nothing but the answer changes what came of the task.
			exited, exceeded, grace, upload = nil, nil, nil, nil
		case over := <-left:
			left = nil
			if over && s.end.reason == "" {
				s.end.reason = compute.ReasonDisk
			}
			if exited == nil {
				return
			}
		case c := <-sockets:
			if init.Send(jail.Order{Socket: true}) != nil {
				c <- -1
				continue
			}
			asked = append(asked, c)
		case st := <-s.stops:
			end(compute.ReasonStopped, st.Grace)
		case <-maxRuntime:
			end(compute.ReasonMaxRuntime, s.spec.Task.Grace)
		case <-grace:
			killProgram()
		case e := <-exceeded:
			s.end.memory = e.memory
			if s.end.err == nil {
				s.end.err = e.err
			}
			if s.end.reason == "" {
				s.end.reason = e.reason
			}
			killProgram()
		case <-upload:
			if s.end.err == nil {
				s.end.err = errors.New("the upload took too long after the program's end")
			}
			_ = s.init.Process.Kill()
		case <-s.kills:
			if exited == nil {
				return // the end is known, and nobody waits for the look
			}
			if s.end.reason == "" {
				s.end.reason = compute.ReasonStopped
			}
			_ = s.init.Process.Kill()
		case <-term:
			if exited == nil {
				return
			}
			s.end.err = errors.New("the machine is shutting down")
			_ = s.init.Process.Kill()
		case <-beat.C:
			if exited != nil {
				s.account()
			}
			if err := s.write(task.Durable); err != nil {
				s.log.Print(err)
			}
		case <-first:
			if err := s.write(task.Durable); err != nil {
				s.log.Print(err)
			}
		case <-flush.C:
			if err := s.spool.sync(); err != nil {
				s.log.Print(err)
			}
		}
	}
}

// begin lets init go on to the program.
func (s *supervisor) begin(init control) {
	order := jail.Order{Go: true}
	if n := s.spec.Limits.PIDs; n > 0 && !s.group.Has("pids") {
		order.PIDs = uint64(n)
	}
	if err := init.Send(order); err != nil {
		s.log.Print(err)
	}
	now := s.clock.Now()
	s.update(func(st *task.Status) { st.Phase, st.Started = compute.Running, now })
}

// step keeps a report of stage: each once, since a job never goes back.
func (s *supervisor) step(name string, at time.Time) {
	s.update(func(st *task.Status) {
		told := slices.ContainsFunc(st.Steps, func(old compute.Step) bool { return old.Name == name })
		if len(st.Steps) < 64 && !told {
			st.Steps = append(st.Steps, compute.Step{Name: name, At: at})
		}
	})
}

// exceeded is what our own watch found: a limit that was passed, or that the
// host cannot bear the task any longer.
type exceeded struct {
	reason compute.Reason
	memory int64 // bytes in use, with ReasonMemory
	err    error
}

// measured is what our own watch finds.
type measured struct {
	exceeded <-chan exceeded
	// left has what the program leaves looked at, once. It answers on its channel
	// whether that is more than the volume may hold; nil: that cannot be.
	left func() <-chan bool
}

// measure looks once a second at what no kernel limit holds.
func (s *supervisor) measure(ctx context.Context) measured {
	memory := s.spec.Limits.MemoryBytes
	if s.group.Has("memory") {
		memory = 0
	}
	pid := s.init.Process.Pid
	volume := newVolumeWatch(s, pid)
	if memory <= 0 && volume == nil {
		return measured{left: func() <-chan bool { return nil }}
	}
	look := func() *exceeded {
		if memory > 0 {
			used := limit.Usage(pid)
			s.memory.Store(used)
			if used > memory {
				return &exceeded{reason: compute.ReasonMemory, memory: used}
			}
		}
		if volume == nil {
			return nil
		}
		over, err := volume.look()
		if volume.folder != nil {
			s.files.Store(volume.folder.used)
		}
		switch {
		case err != nil:
			return &exceeded{err: err}
		case over:
			return &exceeded{reason: compute.ReasonDisk}
		}
		return nil
	}
	found, last, left := make(chan exceeded, 1), make(chan struct{}, 1), make(chan bool, 1)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		ticks := tick.C
		for {
			select {
			case <-ctx.Done():
				return
			case <-last:
				over := volume.folder.last()
				s.files.Store(volume.folder.used)
				left <- over
			case <-ticks:
				if e := look(); e != nil {
					found <- *e
					ticks = nil
				}
			}
		}
	}()
	return measured{found, func() <-chan bool {
		if volume == nil || volume.folder == nil {
			return nil
		}
		last <- struct{}{}
		return left
	}}
}
