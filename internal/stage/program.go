package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"clary/internal/stage/plan"
	"clary/internal/stage/tail"
)

// drainFor bounds how long output is waited for after the program has ended
// while something it left behind still holds the pipe.
const drainFor = 2 * time.Second

// runProgram runs the task's program to its end. On Stop it is asked to end,
// and killed after the grace.
func runProgram(ctx context.Context, h Host) plan.Result {
	prog := h.Program
	if len(prog.Args) == 0 {
		return plan.Result{ExitCode: -1, Class: classClient, Failure: "the image names no program and the request gives none"}
	}
	prog.Env = environ(h.Env)
	select {
	case <-h.Stop:
		return plan.Result{ExitCode: -1}
	default:
	}
	r := h.Output
	if r == nil {
		var err error
		if r, prog.Output, err = os.Pipe(); err != nil {
			return failed(fmt.Errorf("output of the program: %w", err))
		}
	}
	defer r.Close() //nolint:errcheck // read to its end
	proc, err := h.Launch(prog)
	if prog.Output != nil {
		_ = prog.Output.Close() // the program has its own
	}
	if err != nil {
		return plan.Result{ExitCode: -1, Class: classClient, Failure: fmt.Sprintf("CannotStartContainerError. Please make sure the container can be run with this entrypoint: %q: %v", prog.Args[0], err)}
	}
	last := &tail.Buffer{}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.MultiWriter(last, h.Stderr), r)
		copied <- err
	}()
	type end struct {
		code   int
		signal string
		err    error
	}
	ended := make(chan end, 1)
	go func() {
		code, sig, err := proc.Wait()
		ended <- end{code, sig, err}
	}()
	var e end
	stopped := false
	select {
	case e = <-ended:
	case <-h.Stop:
		stopped = true
		e = stop(ctx, h, proc, ended)
	case <-ctx.Done():
		_ = proc.Signal(syscall.SIGKILL) // its end is waited for below
		e = <-ended
	}
	if err := r.SetReadDeadline(time.Now().Add(drainFor)); err != nil {
		_ = r.Close() // never wait for output without a bound
	}
	if err := <-copied; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, os.ErrClosed) {
		h.say("clary: output of the program: %v", err)
	}
	if e.err != nil {
		return plan.Result{ExitCode: -1, Class: classClient, Failure: fmt.Sprintf("CannotStartContainerError. Please make sure the container can be run with this entrypoint: %v", e.err)}
	}
	res := plan.Result{ExitCode: e.code, Signal: e.signal}
	if stopped || (e.code == 0 && e.signal == "") {
		return res
	}
	res.Class = classAlgorithm
	res.Failure = tail.Cause(last.Bytes())
	if res.Failure == "" {
		res.Failure = "the program printed nothing"
	}
	return res
}

// stop asks the program to end and kills it after the grace.
func stop[E any](ctx context.Context, h Host, proc Process, ended <-chan E) E {
	if err := proc.Signal(syscall.SIGTERM); err != nil {
		h.say("clary: asking the program to end: %v", err)
	}
	grace := time.NewTimer(h.Grace)
	defer grace.Stop()
	select {
	case e := <-ended:
		return e
	case <-grace.C:
		h.say("clary: the program did not end within %s and is killed", h.Grace)
	case <-ctx.Done():
	}
	if err := proc.Signal(syscall.SIGKILL); err != nil {
		h.say("clary: killing the program: %v", err)
	}
	return <-ended
}
