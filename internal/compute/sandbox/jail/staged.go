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
	Write    []string // places besides those of every task
	ID       int      // to become, so that the program is another; 0: there is none
}

// Ask is what stage tells init.
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

// What stage inherits besides its input and the log.
const (
	stageFD  = 3 // packets to and from init
	outputFD = 4 // what the program prints
)

// maxSteps and maxText bound what stage may make its supervisor keep.
const (
	maxSteps = 64
	maxText  = 8 << 10
)

// staged runs stage, which launches the program when it is ready for it.
func (in *initProcess) staged() (plan.Result, bool, error) {
	none := plan.Result{ExitCode: -1}
	conn, done := in.stage.conn, in.stage.done
	defer conn.Close()
	all := make(chan Ask)
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
				p, err := in.launch(*a.Launch)
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
			_ = in.ctl.Send(in.exited(e))
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
			}
			in.kill()
			if result == nil {
				e := exitOf(ws)
				return none, false, fmt.Errorf("stage ended without a result (exit %d %s)", e.Code, e.Signal)
			}
			if result.Failure != "" && in.image.wasFull() { // inputs may fill a volume too
				_ = in.ctl.Send(Word{Full: true})
			}
			return *result, true, nil
		}
	}
}

// bounded is stage's result cut to what a status may hold.
func (a Ask) bounded() *plan.Result {
	r := *a.Result
	r.Failure, r.Artifact, r.Class, r.Signal = clip(r.Failure, maxText), clip(r.Artifact, 2048), clip(r.Class, 64), clip(r.Signal, 64)
	r.ExitMessage = clip(r.ExitMessage, maxText)
	return &r
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// stageProcess is a running stage.
type stageProcess struct {
	conn *packets
	done <-chan syscall.WaitStatus
}

func (in *initProcess) startStage() (*stageProcess, error) {
	t := in.spec.Task
	sys := in.below(stageMaps(in.spec))
	id := 0
	if in.spec.HostUID != 0 {
		id = stageID
		sys.Credential.Groups = []uint32{stageID} // by which the API's socket is its own
	}
	input, err := json.Marshal(StageInput{
		ID:   id,
		Plan: t.Plan, Identity: t.Identity, Grace: t.Grace, API: in.spec.APISocket != "", Filter: in.spec.Filter, Write: writable(in.spec),
		Program: Program{Args: append(append([]string{}, t.Entrypoint...), t.Args...), Env: in.spec.Env, Dir: t.Dir},
	})
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	ours, theirs, err := pair(unix.SOCK_SEQPACKET, "stage")
	if err != nil {
		_ = w.Close()
		return nil, err
	}
	defer theirs.Close()
	_, done, err := in.fork("stage", runtimeEnv, sys, []uintptr{r.Fd(), spoolFD, 2, theirs.Fd(), in.output.r.Fd()})
	if err != nil {
		_, _ = w.Close(), ours.Close()
		return nil, err
	}
	go func() {
		_, _ = w.Write(input) // fails only if stage is gone, which its end tells
		_ = w.Close()
	}()
	conn, err := NewPackets(ours)
	return &stageProcess{conn, done}, err
}

// receiveAsks reads what stage says until it is gone.
func receiveAsks(conn *packets, asks chan<- Ask) {
	defer close(asks)
	for {
		var a Ask
		if conn.Receive(&a, nil) != nil {
			return
		}
		asks <- a
	}
}
