package jail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/task"
	"clary/internal/stage/plan"
)

// StageSide is stage's end of its conversation with init.
type StageSide struct {
	Input StageInput
	Stop  chan struct{} // closed when the task shall end
	// Output is what the program prints.
	Output *os.File

	conn     *packets
	launched chan Answer
	exit     chan Answer
	once     sync.Once
}

// OpenStage takes every privilege from this process and reads what it shall do.
func OpenStage() (*StageSide, error) {
	if err := task.Seal(); err != nil {
		return nil, err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("not dumpable: %w", err)
	}
	s := &StageSide{Stop: make(chan struct{}), launched: make(chan Answer, 1), exit: make(chan Answer, 1)}
	if err := json.NewDecoder(os.Stdin).Decode(&s.Input); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	if id := s.Input.ID; id != 0 {
		if err := become(id); err != nil {
			return nil, err
		}
	}
	if err := confine(stageFence(s.Input.Write), s.Input.Filter, capabilities{}); err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(outputFD, true); err != nil { // a wait for it has a deadline
		return nil, fmt.Errorf("output of the program: %w", err)
	}
	s.Output = os.NewFile(outputFD, "output")
	var err error
	if s.conn, err = NewPackets(os.NewFile(stageFD, "init")); err != nil {
		return nil, err
	}
	go s.receive()
	return s, nil
}

func (s *StageSide) receive() {
	defer close(s.exit)
	defer close(s.launched)
	for {
		var a Answer
		if s.conn.Receive(&a, nil) != nil {
			return
		}
		switch {
		case a.Stop:
			s.once.Do(func() { close(s.Stop) })
		case a.Exit != nil:
			s.exit <- a
		default:
			s.launched <- a
		}
	}
}

var errInitGone = errors.New("the task's first process is gone")

// Launch asks init to run the program, once.
func (s *StageSide) Launch(p Program) error {
	if err := s.conn.Send(Ask{Launch: &p}); err != nil {
		return fmt.Errorf("ask for the program: %w", err)
	}
	a, ok := <-s.launched
	switch {
	case !ok:
		return errInitGone
	case a.Error != "":
		return errors.New(a.Error)
	}
	return nil
}

// Wait returns how the program ended. It is called once.
func (s *StageSide) Wait() (Exit, error) {
	a, ok := <-s.exit
	if !ok {
		return Exit{Code: -1}, errInitGone
	}
	if a.Exit.Error != "" {
		return *a.Exit, errors.New(a.Exit.Error)
	}
	return *a.Exit, nil
}

// Signal sends a signal to the program.
func (s *StageSide) Signal(sig syscall.Signal) error { return s.conn.Send(Ask{Signal: int(sig)}) }

// Report tells how far stage is.
func (s *StageSide) Report(step string) error { return s.conn.Send(Ask{Step: step}) }

// DialAPI gives a connection to the server, which the supervisor has made.
func DialAPI(ctx context.Context) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", APISocket)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })()
	_, conn, err := task.Connected(c.(*net.UnixConn))
	if err == nil && conn == nil {
		err = errors.New("no connection came along")
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("the server is away: %w", err)
	}
	return conn, nil
}

// Finish hands over the result.
func (s *StageSide) Finish(r plan.Result) error {
	r.Failure, r.Artifact, r.ExitMessage = clip(r.Failure, maxText), clip(r.Artifact, 2048), clip(r.ExitMessage, maxText)
	return s.conn.Send(Ask{Result: &r})
}
