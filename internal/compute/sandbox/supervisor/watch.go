package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
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
	memory  bool           // our own watch saw too much memory
}

// exit words the outcome. What we saw ourselves outranks what was said.
func (o *outcome) exit(g *limit.Group) compute.Exit {
	e := compute.Exit{Reason: compute.ReasonExited, At: time.Now(), PeakMemory: g.Peak()}
	if o.result != nil {
		e.Result = *o.result
	} else {
		e.Result.ExitCode = -1
	}
	failed := e.Result.Failure != "" || e.Result.ExitCode != 0
	if p := o.program; p != nil {
		e.Result.ExitCode, e.Result.Signal = p.Code, p.Signal
		failed = failed || p.Code != 0
		if p.Error != "" {
			e.Reason = compute.ReasonFailed
			if e.Result.Failure == "" {
				e.Result.Failure, e.Result.Class = p.Error, "ClientError"
			}
		}
	}
	if o.err != nil {
		e.Reason = compute.ReasonFailed
		if e.Result.Failure == "" {
			e.Result.Failure, e.Result.Class = o.err.Error(), "InternalServerError"
		}
	}
	switch {
	case o.reason == compute.ReasonDisk:
		e.Reason = compute.ReasonDisk
	case o.memory || failed && g.OOMKills() > 0:
		e.Reason = compute.ReasonMemory
	case o.reason != "":
		e.Reason = o.reason
	}
	return e
}

// watch lives with the task until init is gone.
func (s *supervisor) watch(init control) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	term := shutdown(ctx)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	flush := time.NewTicker(time.Second)
	defer flush.Stop()
	exceeded := s.measure(ctx)

	var maxRuntime, grace, upload <-chan time.Time
	var words <-chan word = s.words
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
	for {
		select {
		case w := <-words:
			if w.err != nil {
				words = nil
				continue
			}
			switch {
			case w.Listeners != nil || len(w.fds) > 0:
				if err := serveListeners(s.spec, w.Listeners, w.fds, s.log); err != nil {
					s.end.err = err
					_ = s.init.Process.Kill()
					continue
				}
				s.begin(init)
				if d := s.spec.Task.MaxRuntime; d > 0 {
					maxRuntime = time.After(d)
				}
			case w.Step != "":
				s.step(w.Step)
			case w.Exit != nil:
				s.end.program = w.Exit
				if upload == nil {
					upload = time.After(s.spec.UploadLimit)
				}
			case w.End != nil:
				s.end.result = w.End
				if w.Error != "" {
					s.end.err = errors.New(w.Error)
				}
			}
		case err := <-s.exited:
			for words != nil { // what init said before it went
				w := <-words
				switch {
				case w.err != nil:
					words = nil
				case w.Exit != nil:
					s.end.program = w.Exit
				case w.Step != "":
					s.step(w.Step)
				case w.End != nil:
					s.end.result = w.End
					if w.Error != "" && s.end.err == nil {
						s.end.err = errors.New(w.Error)
					}
				}
			}
			if s.end.result == nil && s.end.err == nil && s.end.reason == "" {
				s.end.err = fmt.Errorf("the task's first process ended: %w", err)
			}
			return
		case st := <-s.stops:
			end(compute.ReasonStopped, st.Grace)
		case <-maxRuntime:
			end(compute.ReasonMaxRuntime, s.spec.Task.Grace)
		case <-grace:
			killProgram()
		case reason := <-exceeded:
			if reason == compute.ReasonMemory {
				s.end.memory = true
			}
			if s.end.reason == "" {
				s.end.reason = reason
			}
			killProgram()
		case <-upload:
			if s.end.err == nil {
				s.end.err = errors.New("the upload took too long after the program's end")
			}
			_ = s.init.Process.Kill()
		case <-s.kills:
			if s.end.reason == "" {
				s.end.reason = compute.ReasonStopped
			}
			_ = s.init.Process.Kill()
		case <-term:
			s.end.err = errors.New("the machine is shutting down")
			_ = s.init.Process.Kill()
		case <-beat.C:
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
	now := time.Now()
	s.update(func(st *task.Status) { st.Phase, st.Started = compute.Running, now })
	// Whether this survives a loss of power is not worth the program's time.
	go func() {
		if err := s.write(task.Durable); err != nil {
			s.log.Print(err)
		}
	}()
}

// step keeps a report of stage: each once, since a job never goes back.
func (s *supervisor) step(name string) {
	s.update(func(st *task.Status) {
		told := slices.ContainsFunc(st.Steps, func(old compute.Step) bool { return old.Name == name })
		if len(st.Steps) < 64 && !told {
			st.Steps = append(st.Steps, compute.Step{Name: name, At: time.Now()})
		}
	})
}

// measure looks once a second at what no kernel limit holds.
func (s *supervisor) measure(ctx context.Context) <-chan compute.Reason {
	c := make(chan compute.Reason, 1)
	memory := s.spec.Limits.MemoryBytes
	if s.group.Has("memory") {
		memory = 0
	}
	disk := s.spec.Limits.DiskBytes
	if memory <= 0 && disk <= 0 {
		return c
	}
	pid := s.init.Process.Pid
	go func() {
		pause := time.Second
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			began := time.Now()
			if memory > 0 && limit.Usage(pid) > memory {
				c <- compute.ReasonMemory
				return
			}
			if disk > 0 && diskUse(task.VolDir, disk) > disk {
				c <- compute.ReasonDisk
				return
			}
			// A large tree must not cost more than a twentieth of a processor.
			pause = max(time.Second, 20*time.Since(began))
		}
	}()
	return c
}

// diskUse adds up a tree's blocks; it stops once the sum is over limit.
func diskUse(dir string, limit int64) int64 {
	var sum int64
	seen := map[uint64]bool{} // files with several names
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // files come and go while we look
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		if st.Nlink > 1 && !d.IsDir() {
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		sum += st.Blocks * 512
		if sum > limit {
			return fs.SkipAll
		}
		return nil
	})
	return sum
}
