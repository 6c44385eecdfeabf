package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/task"
	"clary/internal/stage/plan"
)

// What init inherits.
const (
	specFD    = 0 // the task's spec
	controlFD = 3 // packets to and from the supervisor
	spoolFD   = 4 // where the program's output goes; 2 is the supervisor's log
)

// Init is process 1 of a task. It returns when the task is over; the kernel
// then ends all that is left inside.
func Init(binary string) int {
	runtime.LockOSThread()
	// What init becomes must not be readable by whoever shares its user id.
	for _, fd := range []int{specFD, controlFD, spoolFD} {
		syscall.CloseOnExec(fd)
	}
	ctl, err := NewPackets(os.NewFile(controlFD, "supervisor"))
	if err != nil {
		return 1
	}
	in := &initProcess{ctl: ctl, binary: binary}
	result, stage, err := in.run()
	end := Word{End: &result, Stage: stage}
	if err != nil {
		end.Error = err.Error()
	}
	if ctl.Send(end) != nil {
		return 1
	}
	return 0
}

type initProcess struct {
	ctl    *packets
	spec   *task.Spec
	binary string // this program on the host
	reaper *reaper

	orders chan Order // closed when the supervisor is gone

	mu      sync.Mutex // guards program
	program *child
	killed  bool // no program may begin any more
}

// child is a running warden.
type child struct {
	pid  int
	exit chan Exit // one value
}

func (in *initProcess) run() (plan.Result, bool, error) {
	var none plan.Result
	none.ExitCode = -1
	if err := in.prepare(); err != nil {
		return none, false, err
	}
	in.reaper = newReaper()
	in.orders = make(chan Order)
	go func() {
		defer close(in.orders)
		for {
			var o Order
			if in.ctl.Receive(&o, nil) != nil {
				return
			}
			in.orders <- o
		}
	}()
	if o, ok := <-in.orders; !ok || !o.Go {
		return none, false, errors.New("ended before it began")
	}
	if in.spec.Task.Plan == (plan.Plan{}) {
		return in.bare()
	}
	return in.staged()
}

func (in *initProcess) prepare() error {
	f := os.NewFile(specFD, "spec")
	in.spec = new(task.Spec)
	if err := json.NewDecoder(f).Decode(in.spec); err != nil {
		return fmt.Errorf("read the spec: %w", err)
	}
	// Descriptor 0 stays taken, so that nothing else lands there.
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Dup3(null, specFD, unix.O_CLOEXEC); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(hostname(in.spec))); err != nil {
		return fmt.Errorf("hostname: %w", err)
	}
	if err := buildRoot(in.spec, in.binary); err != nil {
		return err
	}
	if err := setNetwork(in.spec); err != nil {
		return err
	}
	if err := enterRoot(); err != nil {
		return err
	}
	names, files, err := openListeners(in.spec)
	if err != nil {
		return err
	}
	if err := sealRoot(); err != nil {
		return err
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	err = in.ctl.Send(Word{Listeners: names}, fds...)
	for _, f := range files {
		_ = f.Close()
	}
	if err != nil {
		return fmt.Errorf("hand out listeners: %w", err)
	}
	const keep = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETFCAP | 1<<unix.CAP_KILL | 1<<unix.CAP_SETPCAP
	if err := dropCapabilities(keep); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

func hostname(s *task.Spec) string {
	if h := s.Task.Network.Host; h != "" {
		return h
	}
	return "algo-1"
}

// bare runs the program without stage.
func (in *initProcess) bare() (plan.Result, bool, error) {
	t := in.spec.Task
	p, err := in.launch(Program{Args: append(append([]string{}, t.Entrypoint...), t.Args...), Env: in.spec.Env, Dir: t.Dir}, spoolFD)
	if err != nil {
		return plan.Result{ExitCode: -1}, false, err
	}
	for {
		select {
		case o, ok := <-in.orders:
			switch {
			case !ok || o.Kill:
				in.kill()
			case o.Stop != nil:
				in.reaper.signal(p.pid, unix.SIGTERM)
			}
			if !ok {
				return plan.Result{ExitCode: -1}, false, errors.New("the supervisor is gone")
			}
		case e := <-p.exit:
			if err := in.ctl.Send(Word{Exit: &e}); err != nil {
				return plan.Result{ExitCode: -1}, false, err
			}
			return plan.Result{ExitCode: e.Code, Signal: e.Signal}, false, nil
		}
	}
}

// kill ends the program, if one runs, and keeps any from starting.
func (in *initProcess) kill() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.killed = true
	if in.program != nil {
		in.reaper.signal(in.program.pid, unix.SIGKILL)
	}
}

// launch starts warden with the program. output becomes its stdout and stderr.
func (in *initProcess) launch(p Program, output int) (*child, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.program != nil {
		return nil, errors.New("the task's program has been started already")
	}
	if in.killed {
		return nil, errors.New("the task is being stopped")
	}
	if p.Dir == "" {
		p.Dir = "/"
	}
	ours, theirs, err := pair(unix.SOCK_STREAM, "warden")
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	sys := in.below()
	sys.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC
	pid, done, err := in.fork("warden", sys, []uintptr{specFD, uintptr(output), uintptr(output), theirs.Fd()})
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	c := &child{pid: pid, exit: make(chan Exit, 1)}
	in.program = c
	go func() {
		defer ours.Close()
		var told Exit
		err := json.NewEncoder(ours).Encode(p)
		if err == nil {
			err = json.NewDecoder(ours).Decode(&told)
		}
		ws := <-done
		if err != nil {
			told = exitOf(ws)
		}
		c.exit <- told
	}()
	return c, nil
}

// below is a child in a user namespace under init's, so that it can have no
// capability over init whatever it does.
func (in *initProcess) below() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
	maps := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	a.Credential = &syscall.Credential{NoSetGroups: true}
	if uid := in.spec.HostUID; uid != 0 {
		maps = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}, {ContainerID: 1000, HostID: uid + 1, Size: 1}}
		a.Credential.NoSetGroups = false
		a.GidMappingsEnableSetgroups = true
	}
	a.UidMappings, a.GidMappings = maps, maps
	return a
}

// fork runs a verb of this binary. The child's id maps are files that belong
// to root as long as init is not dumpable, hence the moment's exception.
func (in *initProcess) fork(verb string, sys *syscall.SysProcAttr, files []uintptr) (int, <-chan syscall.WaitStatus, error) {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	defer func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }()
	pid, done, err := in.reaper.start(Binary, []string{"clary-task", verb}, &syscall.ProcAttr{Dir: "/", Env: []string{"GOMAXPROCS=2"}, Files: files, Sys: sys})
	if err != nil {
		return 0, nil, fmt.Errorf("start %s: %w", verb, err)
	}
	return pid, done, nil
}
