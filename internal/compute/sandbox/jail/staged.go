package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

// StageInput is what stage reads on descriptor 0.
type StageInput struct {
	Plan     plan.Plan
	Program  Program // what the task names; Env is complete
	Identity compute.Identity
	Grace    time.Duration
	API      bool // APISocket is there
	Filter   []byte
}

// Ask is what stage tells init. A program's output comes as one descriptor
// with Launch.
type Ask struct {
	Step   string       `json:",omitempty"`
	Launch *Program     `json:",omitempty"`
	Signal int          `json:",omitempty"`
	Result *plan.Result `json:",omitempty"`
}

// Answer is what init tells stage.
type Answer struct {
	Launched bool   `json:",omitempty"`
	Error    string `json:",omitempty"` // it was not launched
	Exit     *Exit  `json:",omitempty"`
	Stop     bool   `json:",omitempty"`
}

const stageFD = 3

// maxSteps and maxText bound what stage may make its supervisor keep.
const (
	maxSteps = 64
	maxText  = 8 << 10
)

// staged runs stage, which launches the program when it is ready for it.
func (in *initProcess) staged() (plan.Result, bool, error) {
	none := plan.Result{ExitCode: -1}
	conn, done, err := in.startStage()
	if err != nil {
		return none, false, err
	}
	defer conn.Close()
	all := make(chan ask)
	go receiveAsks(conn, all)
	asks := all

	var exit <-chan Exit
	var program *child
	var result *plan.Result
	steps := 0
	step := func(name string) {
		if steps++; steps <= maxSteps {
			_ = in.ctl.Send(Word{Step: clip(name, 64)})
		}
	}
	for {
		select {
		case o, ok := <-in.orders:
			if !ok {
				return none, false, errors.New("the supervisor is gone")
			}
			if o.Stop != nil {
				_ = conn.Send(Answer{Stop: true})
			}
			if o.Kill {
				in.kill()
			}
		case a, ok := <-asks:
			if !ok {
				asks = nil
				continue
			}
			switch {
			case a.Launch != nil:
				p, err := in.launchFor(a)
				if err != nil {
					_ = conn.Send(Answer{Error: err.Error()})
					continue
				}
				program, exit = p, p.exit
				_ = conn.Send(Answer{Launched: true})
			case a.Signal != 0 && program != nil:
				in.signal(program, syscall.Signal(a.Signal))
			case a.Step != "":
				step(a.Step)
			case a.Result != nil:
				result = a.bounded()
			}
		case e := <-exit:
			exit = nil
			_ = in.ctl.Send(Word{Exit: &e})
			_ = conn.Send(Answer{Exit: &e})
		case ws := <-done:
			// All that stage said lies in the socket still.
			for a := range all {
				switch {
				case a.Result != nil:
					result = a.bounded()
				case a.Step != "":
					step(a.Step)
				}
				if a.output >= 0 {
					_ = unix.Close(a.output)
				}
			}
			in.kill()
			if result == nil {
				e := exitOf(ws)
				return none, false, fmt.Errorf("stage ended without a result (exit %d %s)", e.Code, e.Signal)
			}
			return *result, true, nil
		}
	}
}

// bounded is stage's result cut to what a status may hold.
func (a ask) bounded() *plan.Result {
	r := *a.Result
	r.Failure, r.Artifact, r.Class, r.Signal = clip(r.Failure, maxText), clip(r.Artifact, 2048), clip(r.Class, 64), clip(r.Signal, 64)
	return &r
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

func (in *initProcess) startStage() (*packets, <-chan syscall.WaitStatus, error) {
	t := in.spec.Task
	input, err := json.Marshal(StageInput{
		Plan: t.Plan, Identity: t.Identity, Grace: t.Grace, API: in.spec.APISocket != "", Filter: in.spec.Filter,
		Program: Program{Args: append(append([]string{}, t.Entrypoint...), t.Args...), Env: in.spec.Env, Dir: t.Dir},
	})
	if err != nil {
		return nil, nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	ours, theirs, err := pair(unix.SOCK_SEQPACKET, "stage")
	if err != nil {
		_ = w.Close()
		return nil, nil, err
	}
	defer theirs.Close()
	_, done, err := in.fork("stage", in.below(), []uintptr{r.Fd(), spoolFD, 2, theirs.Fd()})
	if err != nil {
		_, _ = w.Close(), ours.Close()
		return nil, nil, err
	}
	go func() {
		_, _ = w.Write(input) // fails only if stage is gone, which its end tells
		_ = w.Close()
	}()
	conn, err := NewPackets(ours)
	return conn, done, err
}

type ask struct {
	Ask
	output int // of Launch; -1: none
}

// receiveAsks reads what stage says until it is gone.
func receiveAsks(conn *packets, asks chan<- ask) {
	defer close(asks)
	for {
		var a ask
		var fds []int
		if conn.Receive(&a.Ask, &fds) != nil {
			return
		}
		a.output = -1
		for i, fd := range fds {
			if i == 0 && a.Launch != nil && isPipe(fd) {
				a.output = fd
			} else {
				_ = unix.Close(fd)
			}
		}
		asks <- a
	}
}

func isPipe(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

func (in *initProcess) launchFor(a ask) (*child, error) {
	out := spoolFD
	if a.output >= 0 {
		out = a.output
		defer unix.Close(a.output)
	}
	return in.launch(*a.Launch, out)
}
