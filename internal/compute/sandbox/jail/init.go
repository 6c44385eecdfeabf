package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
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
	groupFD   = 5 // and on: files of control groups to enter
)

// Init is process 1 of a task. It returns when the task is over; the kernel
// then ends all that is left inside.
// groups is how many control groups wait to be entered.
func Init(binary string, groups int) int {
	if task.Seal() != nil {
		return 1
	}
	syscall.CloseOnExec(specFD)
	ctl, err := NewPackets(os.NewFile(controlFD, "supervisor"))
	if err != nil {
		return 1
	}
	in := &initProcess{ctl: ctl, binary: binary, groups: groups}
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
	groups int
	reaper *reaper
	pids   uint64 // a limit that no control group keeps

	orders chan Order // closed when the supervisor is gone

	mu      sync.Mutex // guards program
	warden  *warden    // made before it is needed
	program *child
	killed  bool // no program may begin any more
}

// child is a running warden.
type child struct {
	pid   int
	ready chan struct{} // closed when signals reach the program
	exit  chan Exit     // one value
}

func (in *initProcess) run() (plan.Result, bool, error) {
	var none plan.Result
	none.ExitCode = -1
	if err := in.prepare(); err != nil {
		return none, false, err
	}
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
	o, ok := <-in.orders
	if !ok || !o.Go {
		return none, false, errors.New("ended before it began")
	}
	in.pids = o.PIDs
	if in.isBare() {
		return in.bare()
	}
	return in.staged()
}

func (in *initProcess) isBare() bool { return in.spec.Task.Plan == (plan.Plan{}) }

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
	if err := in.enterGroups(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(hostname(in.spec))); err != nil {
		return fmt.Errorf("hostname: %w", err)
	}
	// Mounts and network are different locks of the kernel.
	net := make(chan error, 1)
	go func() { net <- setNetwork(in.spec) }()
	if err := errors.Join(buildRoot(in.spec, in.binary), <-net); err != nil {
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
	const keep = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETFCAP | 1<<unix.CAP_KILL | 1<<unix.CAP_SETPCAP
	if err := dropCapabilities(keep); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("not dumpable: %w", err)
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
	in.reaper = newReaper()
	if in.isBare() {
		// It gets ready while the supervisor does.
		in.warden, err = in.startWarden(spoolFD)
	}
	return err
}

// enterGroups moves this thread into the task's control groups, and with it
// all its children to come. The kernel lets a thread move itself at once,
// while moving another process waits for every processor. Memory is counted
// for the whole process where its first thread is, which is this one.
func (in *initProcess) enterGroups() error {
	for i := range in.groups {
		f := os.NewFile(uintptr(groupFD+i), "control group")
		if f == nil {
			return fmt.Errorf("control group %d is missing", i)
		}
		_, err := f.WriteString("0")
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("enter control group: %w", err)
		}
	}
	return nil
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
				in.signal(p, unix.SIGTERM)
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

// launch runs the program. output becomes its stdout and stderr.
func (in *initProcess) launch(p Program, output int) (*child, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.program != nil {
		return nil, errors.New("the task's program has been started already")
	}
	if in.killed {
		return nil, errors.New("the task is being stopped")
	}
	w := in.warden
	if w == nil {
		var err error
		if w, err = in.startWarden(output); err != nil {
			return nil, err
		}
	}
	if p.Dir == "" {
		p.Dir = "/"
	}
	c := &child{pid: w.pid, ready: make(chan struct{}), exit: make(chan Exit, 1)}
	in.program = c
	o := wardenOrder{Program: p, Filter: in.spec.Filter, PIDs: in.pids}
	go func() {
		c.exit <- w.run(o, c.ready)
	}()
	return c, nil
}

// warden is a started one that waits for its program.
type warden struct {
	pid  int
	done <-chan syscall.WaitStatus
	conn *os.File
}

func (in *initProcess) startWarden(output int) (*warden, error) {
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
	return &warden{pid: pid, done: done, conn: ours}, nil
}

// run hands over the program and returns its end. ready is closed once signals
// reach the program, or none will any more.
func (w *warden) run(o wardenOrder, ready chan struct{}) Exit {
	defer w.conn.Close()
	var exit *Exit
	told := false
	if json.NewEncoder(w.conn).Encode(o) == nil {
		dec := json.NewDecoder(w.conn)
		for exit == nil {
			var m wardenWord
			if dec.Decode(&m) != nil {
				break
			}
			if !told {
				told = true
				close(ready)
			}
			exit = m.Exit
		}
	}
	if !told {
		close(ready)
	}
	ws := <-w.done
	if exit == nil {
		e := exitOf(ws)
		exit = &e
	}
	return *exit
}

// signal passes a signal to the program as soon as it can take one.
func (in *initProcess) signal(c *child, s syscall.Signal) {
	go func() {
		<-c.ready
		in.reaper.signal(c.pid, s)
	}()
}

// below is a child in a user namespace under init's, so that it can have no
// capability over init whatever it does.
func (in *initProcess) below() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
	a.UidMappings, a.GidMappings = idMaps(in.spec)
	a.Credential = &syscall.Credential{NoSetGroups: in.spec.HostUID == 0}
	a.GidMappingsEnableSetgroups = in.spec.HostUID != 0
	return a
}

// idMaps are the task's ids as init sees them.
func idMaps(s *task.Spec) (users, groups []syscall.SysProcIDMap) {
	maps := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	if uid := s.HostUID; uid != 0 {
		maps = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}, {ContainerID: 1000, HostID: uid + 1, Size: 1}}
	}
	return maps, maps
}

// runtimeEnv suits processes of ours that hardly allocate.
var runtimeEnv = []string{"GOMAXPROCS=2", "GOGC=off", "GOMEMLIMIT=32MiB"} //nolint:gochecknoglobals // a constant table

// fork runs a verb of this binary. The child's id maps are files that belong
// to root as long as init is not dumpable, hence the moment's exception.
func (in *initProcess) fork(verb string, sys *syscall.SysProcAttr, files []uintptr) (int, <-chan syscall.WaitStatus, error) {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	defer func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }()
	pid, done, err := in.reaper.start(Binary, []string{"clary-task", verb}, &syscall.ProcAttr{Dir: "/", Env: runtimeEnv, Files: files, Sys: sys})
	if err != nil {
		return 0, nil, fmt.Errorf("start %s: %w", verb, err)
	}
	return pid, done, nil
}
