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
	groupFD   = 5 // and on: files of control groups to enter, then the mounts of the task's own disk and of its volumes
)

// WithVolume says, as the last argument, that a supervisor or an init inherits
// the mount of the volume's image.
const WithVolume = "volume"

// Init is process 1 of a task. It returns when the task is over; the kernel
// then ends all that is left inside.
// groups is how many control groups wait to be entered, volume whether the
// volume's mount was handed over.
func Init(binary string, groups int, volume bool) int {
	if task.Seal() != nil {
		return 1
	}
	syscall.CloseOnExec(specFD)
	ctl, err := NewPackets(os.NewFile(controlFD, "supervisor"))
	if err != nil {
		return 1
	}
	in := &initProcess{ctl: ctl, binary: binary, groups: groups, volume: -1}
	if volume {
		in.volume = groupFD + groups
	}
	result, stage, err := in.run()
	in.syncVolumes()
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
	volume int // descriptor of the volume's mount, -1: none
	reaper *reaper
	pids   uint64 // a limit that no control group keeps
	image  *image // nil: the volume is a folder
	kept   []int  // the folders of volumes, while they can still be opened

	orders chan Order // closed when the supervisor is gone

	output *output
	stage  *stageProcess // nil: the task has no plan
	warden *warden

	mu      sync.Mutex // guards what follows
	program *child
	killed  bool // no program may begin any more
}

// child is warden, and then the program.
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
			if o.Socket {
				in.handSocket()
				continue
			}
			in.orders <- o
		}
	}()
	o, ok := <-in.orders
	if !ok {
		return none, false, errors.New("ended before it began")
	}
	if !o.Go {
		return none, false, nil // it was asked to stop before it began
	}
	in.pids = o.PIDs
	if in.image != nil {
		quit := make(chan struct{})
		defer close(quit)
		go in.image.watch(quit)
		defer in.image.drop()
	}
	if in.isBare() {
		return in.bare()
	}
	return in.staged()
}

// openVolumes keeps the volumes at hand: a user's home, in which one may lie,
// is closed to init without its capabilities.
func (in *initProcess) openVolumes() error {
	for _, m := range in.spec.Task.Mounts {
		if m.Volume == "" {
			continue
		}
		fd, err := unix.Open(m.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("volume: %w", err)
		}
		in.kept = append(in.kept, fd)
	}
	return nil
}

// syncVolumes brings what volumes hold to disk before anybody hears that the
// task has ended.
func (in *initProcess) syncVolumes() {
	for _, fd := range in.kept {
		if err := unix.Syncfs(fd); err != nil {
			fmt.Fprintln(os.Stderr, "clary-task init: volume:", err)
		}
		_ = unix.Close(fd)
	}
}

// images are the mounts of those volumes that are file systems, as inherited.
func (in *initProcess) images() (fds []int) {
	next := groupFD + in.groups
	if in.volume >= 0 {
		next++
	}
	for _, v := range in.spec.Volumes {
		if v.Image {
			fds = append(fds, next)
			next++
		}
	}
	return fds
}

func (in *initProcess) isBare() bool { return isBare(in.spec) }

func isBare(s *task.Spec) bool { return s.Task.Plan == (plan.Plan{}) }

func (in *initProcess) prepare() error {
	f := os.NewFile(specFD, "spec")
	in.spec = new(task.Spec)
	if err := json.NewDecoder(f).Decode(in.spec); err != nil {
		return fmt.Errorf("read the spec: %w", err)
	}
	if err := closeInput(); err != nil {
		return err
	}
	if err := in.enterGroups(); err != nil {
		return err
	}
	volume := mountVolume(in.volume)
	if err := unix.Sethostname([]byte(hostname(in.spec))); err != nil {
		return fmt.Errorf("hostname: %w", err)
	}
	// Mounts and network are different locks of the kernel.
	net := make(chan error, 1)
	go func() { net <- setNetwork(in.spec) }()
	bounded, err := buildRoot(in.spec, in.binary, volume, in.images())
	if err := errors.Join(err, <-net); err != nil {
		return err
	}
	if bounded {
		in.image = new(image)
	}
	if err := enterRoot(); err != nil {
		return err
	}
	if err := closeInput(); err != nil { // the task's own /dev/null, not the host's
		return err
	}
	names, files, err := openListeners(in.spec)
	if err != nil {
		return err
	}
	if err := sealRoot(); err != nil {
		return err
	}
	if err := in.openVolumes(); err != nil {
		return err
	}
	if in.output, err = newOutput(in.spec); err != nil {
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
	err = in.ctl.Send(Word{Ready: true, Listeners: names}, fds...)
	for _, f := range files {
		_ = f.Close()
	}
	if err != nil {
		return fmt.Errorf("hand out listeners: %w", err)
	}
	// They get ready while the supervisor does.
	in.reaper = newReaper()
	defer in.output.close()
	if !in.isBare() {
		if in.stage, err = in.startStage(); err != nil {
			return err
		}
	}
	in.warden, err = in.startWarden()
	return err
}

// handSocket hands out a socket of the task's network, not connected: what it
// shall reach is for the supervisor to say.
func (in *initProcess) handSocket() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		_ = in.ctl.Send(Word{Socket: true})
		return
	}
	_ = in.ctl.Send(Word{Socket: true}, fd)
	_ = unix.Close(fd)
}

// output is the pipe from the program to stage; nil where there is no stage,
// and the program writes to the supervisor.
type output struct{ r, w *os.File }

func newOutput(s *task.Spec) (*output, error) {
	if isBare(s) {
		return nil, nil //nolint:nilnil // it says so above
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if uid := s.HostUser(); uid != 0 {
		// So that the program may open /dev/stdout by its name.
		if err := w.Chown(uid, uid); err != nil {
			return nil, errors.Join(fmt.Errorf("output: %w", err), r.Close(), w.Close())
		}
	}
	return &output{r, w}, nil
}

func (o *output) close() {
	if o != nil {
		_, _ = o.r.Close(), o.w.Close()
	}
}

// closeInput puts nothing at descriptor 0, which stays taken, so that nothing
// else lands there.
func closeInput() error {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	return unix.Dup3(null, specFD, unix.O_CLOEXEC)
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
	p, err := in.launch(Program{Args: append(append([]string{}, t.Entrypoint...), t.Args...), Env: in.spec.Env, Dir: t.Dir})
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
			if err := in.ctl.Send(in.exited(e)); err != nil {
				return plan.Result{ExitCode: -1}, false, err
			}
			return plan.Result{ExitCode: e.Code, Signal: e.Signal}, false, nil
		}
	}
}

// exited is the word on the program's end.
func (in *initProcess) exited(e Exit) Word { return Word{Exit: &e, Full: in.image.wasFull()} }

// kill ends the program, if one runs, and keeps any from starting.
func (in *initProcess) kill() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.killed = true
	if in.program != nil {
		in.reaper.signal(in.program.pid, unix.SIGKILL)
	}
}

// launch runs the program.
func (in *initProcess) launch(p Program) (*child, error) {
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
	c := &child{pid: in.warden.pid, ready: make(chan struct{}), exit: make(chan Exit, 1)}
	in.program = c
	o := wardenOrder{Program: p, PIDs: in.pids}
	go func() {
		c.exit <- in.warden.run(o, c.ready)
	}()
	return c, nil
}

// warden is a started one that waits for its program.
type warden struct {
	pid  int
	done <-chan syscall.WaitStatus
	conn *os.File
}

func (in *initProcess) startWarden() (*warden, error) {
	output := uintptr(spoolFD)
	if in.output != nil {
		output = in.output.w.Fd()
	}
	ours, theirs, err := pair(unix.SOCK_STREAM, "warden")
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	sys := in.below(idMaps(in.spec))
	sys.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC
	pid, done, err := in.fork("warden", wardenEnv, sys, []uintptr{specFD, output, output, theirs.Fd()})
	if err == nil {
		err = json.NewEncoder(ours).Encode(in.cell())
	}
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	return &warden{pid: pid, done: done, conn: ours}, nil
}

// cell is how the program is confined.
func (in *initProcess) cell() wardenCell {
	s := in.spec
	c := wardenCell{Filter: s.Filter, Write: writable(s), User: s.UserID()}
	if u := s.Task.User; u != nil && u.Sudo && c.User != task.RootID {
		c.Keep = SudoCapabilities
	}
	return c
}

// run hands over the program and returns its end. ready is closed once signals
// reach the program, or none will any more.
func (w *warden) run(o wardenOrder, ready chan struct{}) Exit {
	defer w.conn.Close()
	var failed *Exit
	if json.NewEncoder(w.conn).Encode(o) == nil {
		var e Exit
		// The socket closes when warden becomes the program.
		if json.NewDecoder(w.conn).Decode(&e) == nil {
			failed = &e
		}
	}
	close(ready)
	ws := <-w.done
	if failed != nil {
		return *failed
	}
	return exitOf(ws)
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
func (in *initProcess) below(ids []syscall.SysProcIDMap) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
	a.Credential = &syscall.Credential{NoSetGroups: in.spec.HostUID == 0}
	a.GidMappingsEnableSetgroups = in.spec.HostUID != 0
	return a
}

// idMaps are the program's ids as init sees them; users and groups are alike.
func idMaps(s *task.Spec) []syscall.SysProcIDMap {
	uid := s.HostUID
	if uid == 0 {
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	}
	return []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}, {ContainerID: 1000, HostID: uid + 1, Size: 1}}
}

// stageID is who stage becomes, where the task has ids of its own. The program
// has no such user in its namespace.
const stageID = 1001

// stageMaps adds stage's own id, for which the host has one more.
func stageMaps(s *task.Spec) []syscall.SysProcIDMap {
	maps := idMaps(s)
	if s.HostUID != 0 {
		maps = append(maps, syscall.SysProcIDMap{ContainerID: stageID, HostID: stageHostID(s), Size: 1})
	}
	return maps
}

func stageHostID(s *task.Spec) int { return s.HostUID + 2 }

// writable are the task's own mounts that it may write to, and what a task with
// a user has besides.
func writable(s *task.Spec) (paths []string) {
	for _, m := range s.Task.Mounts {
		if m.Writable || m.Volume != "" {
			paths = append(paths, m.Path)
		}
	}
	if u := s.Task.User; u != nil {
		paths = append(paths, u.Home, logFolder)
	}
	return paths
}

// What suits processes of ours that hardly allocate; warden does one thing after
// the other.
var ( //nolint:gochecknoglobals // constant tables
	runtimeEnv = []string{"GOMAXPROCS=2", "GOGC=off", "GOMEMLIMIT=32MiB"}
	wardenEnv  = []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=32MiB"}
)

// fork runs a verb of this binary. The child's id maps are files that belong
// to root as long as init is not dumpable, hence the moment's exception.
func (in *initProcess) fork(verb string, env []string, sys *syscall.SysProcAttr, files []uintptr) (int, <-chan syscall.WaitStatus, error) {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	defer func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }()
	pid, done, err := in.reaper.start(Binary, []string{"clary-task", verb}, &syscall.ProcAttr{Dir: "/", Env: env, Files: files, Sys: sys})
	if err != nil {
		return 0, nil, fmt.Errorf("start %s: %w", verb, err)
	}
	return pid, done, nil
}
