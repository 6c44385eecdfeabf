package supervisor

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/limit"
	"clary/internal/compute/sandbox/task"
	"clary/internal/stage/plan"
)

// heartbeat is how often a sign of life is written.
const heartbeat = 15 * time.Second

// Run supervises the task in dir to its end. It does nothing when another
// supervisor does or did. It must be called on the main thread: init dies with
// the thread that made it.
//
// Descriptor 0 is closed when the control socket is there, for whoever waits.
func Run(dir string) error {
	if err := task.Seal(); err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	lock, ok, err := task.Lock(".")
	if err != nil || !ok {
		return err
	}
	defer lock.Close()
	if _, err := task.ReadStatus("."); !errors.Is(err, fs.ErrNotExist) {
		return err // somebody has begun: never twice
	}
	spec, err := task.ReadSpec(".")
	if err != nil {
		return err
	}
	s := &supervisor{
		spec: spec, dir: dir, log: log.New(os.Stderr, "", log.LstdFlags|log.Lmicroseconds|log.LUTC),
		stops: make(chan task.Stop), kills: make(chan struct{}, 1), words: make(chan word),
	}
	s.hub = &hub{stop: s.stops, kill: s.kills}
	return s.run()
}

type supervisor struct {
	spec *task.Spec
	dir  string
	log  *log.Logger
	hub  *hub

	stops chan task.Stop
	kills chan struct{}
	words chan word

	mu     sync.Mutex // guards status and its file
	status task.Status
	slept  time.Duration // of the machine, at the start

	spool   *spooler
	spooled chan struct{} // closed when the program's output has ended
	group   *limit.Group
	init    *exec.Cmd
	exited  chan error // of init
	end     outcome
}

// word is what came from init; err is set once, at its end.
type word struct {
	jail.Word
	fds []int
	err error
}

func (s *supervisor) run() error {
	start, err := task.StartTime(os.Getpid())
	if err != nil {
		return err
	}
	s.slept = task.Slept()
	s.status = task.Status{
		TaskStatus: compute.TaskStatus{Phase: compute.Starting, Created: s.spec.Created, Heartbeat: time.Now()},
		Boot:       task.BootID(), PID: os.Getpid(), StartTime: start,
	}
	if err := s.write(task.Quick); err != nil {
		return err
	}
	l, err := task.Listen(".")
	if err != nil {
		return err
	}
	defer l.Close()
	go s.hub.serve(l)
	if err := announce(); err != nil {
		return err
	}
	// Whoever wished before the socket was there left a file.
	if _, err := task.ReadStop("."); err == nil {
		s.end.reason = compute.ReasonStopped
		s.end.result = &plan.Result{ExitCode: -1}
		return s.finish()
	}
	if s.spool, err = newSpooler(task.SpoolFile, s.spec.MaxOutput, func() { s.hub.tell(false, true) }); err != nil {
		return s.fail(err)
	}
	control, err := s.launch()
	if err != nil {
		return s.fail(err)
	}
	defer control.Close()
	s.watch(control)
	return s.finish()
}

// announce closes descriptor 0, which somebody may wait for; it stays taken.
func announce() error {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	return unix.Dup3(null, 0, unix.O_CLOEXEC)
}

// fail ends a task that could not be started.
func (s *supervisor) fail(err error) error {
	s.log.Print(err)
	s.end.err = err
	return s.finish()
}

// control is what the supervisor keeps of its connection to init.
type control interface {
	Send(v any, fds ...int) error
	Receive(v any, fds *[]int) error
	Close() error
}

// launch makes init and puts limits on it.
func (s *supervisor) launch() (control, error) {
	groups := make(chan error, 1)
	go func() {
		var err error
		l := s.spec.Limits
		s.group, err = limit.New(GroupName(s.dir), limit.Limits{VCPU: l.VCPU, MemoryBytes: l.MemoryBytes, PIDs: l.PIDs})
		groups <- err
	}()
	if err := s.prepareVolume(); err != nil {
		<-groups
		return nil, err
	}
	if err := <-groups; err != nil {
		s.log.Print(err)
	}
	specFile, err := os.Open(task.SpecFile)
	if err != nil {
		return nil, err
	}
	defer specFile.Close()
	binary, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	ours, theirs, err := jail.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	if uid := s.spec.HostUID; uid != 0 {
		// So that the program may open /dev/stdout by its name.
		if err := w.Chown(uid, uid); err != nil {
			return nil, err
		}
	}

	doors, folder, err := s.group.Doors()
	if err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	defer func() {
		for _, f := range doors {
			_ = f.Close()
		}
		if folder >= 0 {
			_ = unix.Close(folder)
		}
	}()
	cmd := exec.Command(binary, "init", binary, strconv.Itoa(len(doors)))
	cmd.Env = []string{"GOMAXPROCS=2", "GOGC=off", "GOMEMLIMIT=32MiB"}
	cmd.Stdin, cmd.Stderr = specFile, os.Stderr
	cmd.ExtraFiles = append([]*os.File{theirs, w}, doors...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET,
		Pdeathsig:  unix.SIGKILL,
		Setsid:     true,
	}
	if folder >= 0 {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, folder
	}
	if s.spec.HostUID == 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	free := func() {}
	if !s.group.Has("cpu") {
		free = limit.Pin(s.spec.Limits.VCPU, seed(s.dir))
	}
	err = cmd.Start()
	free()
	if err != nil {
		return nil, fmt.Errorf("start init: %w", err)
	}
	s.init = cmd
	s.exited = make(chan error, 1)
	go func() { s.exited <- cmd.Wait() }()
	s.spooled = make(chan struct{})
	go func() {
		defer close(s.spooled)
		defer r.Close()
		s.spool.run(r)
	}()
	ctl, err := jail.NewPackets(ours)
	if err != nil {
		_ = cmd.Process.Kill()
		<-s.exited
		return nil, err
	}
	go func() {
		for {
			var w word
			w.err = ctl.Receive(&w.Word, &w.fds)
			s.words <- w
			if w.err != nil {
				return
			}
		}
	}()
	return ctl, nil
}

// GroupName is the control group of the task in dir. Another data folder may
// hold a task of the same id.
func GroupName(dir string) string {
	return fmt.Sprintf("clary-%s-%08x", filepath.Base(dir), seed(dir))
}

func seed(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return h.Sum32()
}

func (s *supervisor) prepareVolume() error {
	for _, d := range []string{task.VolDir, task.RootDir} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return jail.PrepareVolume(task.VolDir, s.spec.HostUID)
}

// write replaces status.json by what is known now.
func (s *supervisor) write(d task.Durability) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.status.Heartbeat = now
	// The two clocks are not read at the same instant.
	if slept := task.Slept() - s.slept; slept > time.Millisecond {
		s.status.Suspended = slept
	}
	if s.spool != nil {
		s.status.Spooled = s.spool.size.Load()
	}
	return task.Write(".", task.StatusFile, s.status, d)
}

// update changes the status and tells watchers.
func (s *supervisor) update(f func(*task.Status)) {
	s.mu.Lock()
	f(&s.status)
	s.mu.Unlock()
	if err := s.write(task.Quick); err != nil {
		s.log.Print(err)
	}
	s.hub.tell(true, false)
}

// finish makes the task's end known: durable first, then told.
func (s *supervisor) finish() error {
	if s.spooled != nil {
		close(s.spool.giveUp)
		<-s.spooled
	}
	if s.spool != nil {
		if err := s.spool.sync(); err != nil {
			s.log.Print(err)
		}
	}
	exit := s.end.exit(s.group)
	s.mu.Lock()
	s.status.Phase = compute.Ended
	s.status.Exit = &exit
	s.mu.Unlock()
	// A full disk must not make a finished job a lost one.
	err := s.write(task.Durable)
	for deadline := time.Now().Add(10 * time.Minute); err != nil && time.Now().Before(deadline); err = s.write(task.Durable) {
		s.log.Print(err)
		time.Sleep(time.Second)
	}
	s.hub.tell(true, true)
	if gerr := s.group.Remove(); gerr != nil {
		s.log.Print(gerr)
	}
	if rerr := RemoveTree(task.VolDir); rerr != nil {
		s.log.Print(rerr)
	}
	return err
}

// RemoveTree deletes a folder whose owner may have taken his own rights away.
func RemoveTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// shutdown delivers the signals by which a machine ends its processes.
func shutdown(ctx context.Context) <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGPIPE)
	signal.Notify(c, unix.SIGTERM)
	context.AfterFunc(ctx, func() { signal.Stop(c) })
	return c
}
