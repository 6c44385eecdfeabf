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
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/limit"
	"clary/internal/compute/sandbox/task"
	"clary/internal/compute/sandbox/volume"
	"clary/internal/stage/plan"
)

// heartbeat is how often a sign of life is written.
const heartbeat = 15 * time.Second

// Run supervises the task in dir to its end. It does nothing when another
// supervisor does or did. It must be called on the main thread: init dies with
// the thread that made it.
//
// A byte on descriptor 0 says that the task is on disk; before it nothing is
// touched. Descriptor 0 is closed when the control socket is there, for whoever
// waits. volume is the mount of the volume's image, nil if that is to be made.
func Run(dir string, volume *os.File) error {
	if err := task.Seal(); err != nil {
		return err
	}
	// The os package tries once, with a child of its own, what the kernel's
	// handles of processes can do; better while nothing waits.
	go func() {
		if p, err := os.FindProcess(os.Getpid()); err == nil {
			_ = p.Release()
		}
	}()
	if !released() {
		return nil
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
		spec: spec, dir: dir, volume: volume, log: log.New(os.Stderr, "", log.LstdFlags|log.Lmicroseconds|log.LUTC),
		stops: make(chan task.Stop), kills: make(chan struct{}, 1), words: make(chan word), sockets: make(chan chan<- int),
	}
	s.hub = &hub{stop: s.stops, kill: s.kills, dial: newDialer(s.sockets), peers: newPeers(spec)}
	return s.run()
}

type supervisor struct {
	spec   *task.Spec
	dir    string
	volume *os.File
	taken  []*volume.Open // for as long as this process lives
	log    *log.Logger
	hub    *hub

	stops chan task.Stop
	kills chan struct{}
	words chan word
	// sockets are asked for here, each on a channel with room for its
	// descriptor, -1 if there is none.
	sockets chan chan<- int

	mu     sync.Mutex // guards status and its file
	status task.Status
	clock  *task.Clock

	spool   *spooler
	spooled chan struct{} // closed when the program's output has ended
	group   *limit.Group
	init    *exec.Cmd
	exited  chan error // of init
	end     outcome

	disk          int          // descriptor of the task's own; 0: it is a folder of the host
	memory, files atomic.Int64 // bytes in use that our own watch saw last
}

// word is what came from init; err is set once, at its end.
type word struct {
	jail.Word
	fds []int
	err error
	at  time.Time // when it came
}

func (s *supervisor) run() error {
	start, err := task.StartTime(os.Getpid())
	if err != nil {
		return err
	}
	s.clock = task.NewClock(time.Now(), nil)
	s.status = task.Status{
		TaskStatus: compute.TaskStatus{Phase: compute.Starting, Created: s.spec.Created, Heartbeat: s.clock.Now()},
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
	ctx, cancel := context.WithCancel(context.Background())
	s.watch(ctx, control, s.measure(ctx))
	cancel()
	return s.finish()
}

// released waits for the byte; false says that it will not come.
func released() bool {
	for b := make([]byte, 1); ; {
		if n, err := unix.Read(0, b); err != unix.EINTR {
			return n == 1
		}
	}
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
	if uid := s.spec.HostUser(); uid != 0 {
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
	cmd := exec.Command(binary, "init", binary, strconv.Itoa(len(doors))) //nolint:noctx // it lives as long as its task
	cmd.Env = []string{"GOMAXPROCS=2", "GOGC=off", "GOMEMLIMIT=32MiB"}
	cmd.Stdin, cmd.Stderr = specFile, os.Stderr
	cmd.ExtraFiles = append([]*os.File{theirs, w}, doors...)
	if s.volume != nil {
		cmd.Args = append(cmd.Args, jail.WithVolume)
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.volume)
		defer s.volume.Close()
	}
	images, err := s.takeVolumes()
	defer func() { // init has them, and they end with it
		for _, f := range images {
			_ = f.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, images...)
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
	go s.hear(ctl)
	return ctl, nil
}

// hear passes on what init says.
func (s *supervisor) hear(init control) {
	for {
		var w word
		w.err = init.Receive(&w.Word, &w.fds)
		w.at = s.clock.Now()
		s.words <- w
		if w.err != nil {
			return
		}
	}
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
	if t := s.spec.Template; t != "" && s.volume == nil {
		if err := jail.MakeImage(t, task.ImageFile, s.spec.Limits.DiskBytes); err != nil {
			s.log.Printf("the volume is a folder: %v", err)
		}
	}
	return jail.PrepareVolume(task.VolDir, s.spec)
}

// takeVolumes takes the task's volumes, for as long as this process lives, and
// mounts those that are file systems.
func (s *supervisor) takeVolumes() (images []*os.File, err error) {
	for _, v := range s.spec.Volumes {
		o, err := volume.Take(v.Dir, s.spec.UserID())
		if err != nil {
			return images, fmt.Errorf("volume %s: %w", v.ID, err)
		}
		s.taken = append(s.taken, o)
		if o.Image != v.Image {
			return images, fmt.Errorf("volume %s is not what it was", v.ID)
		}
		if f := o.Mounted(); f != nil {
			images = append(images, f)
		}
	}
	return images, nil
}

// write replaces status.json by what is known now.
func (s *supervisor) write(d task.Durability) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Heartbeat = s.clock.Now()
	s.status.Suspended = s.clock.Slept()
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
	for _, v := range s.taken { // before anybody hears that they are free
		if err := v.Close(); err != nil {
			s.log.Print(err)
		}
	}
	if s.end.at.IsZero() { // it was not started
		s.end.at = s.clock.Now()
	}
	s.settle()
	exit := s.end.exit(s.group)
	exit.At = s.end.at
	s.mu.Lock()
	s.status.Phase = compute.Ended
	s.status.Exit = &exit
	s.mu.Unlock()
	// A full disk must not make a finished job a lost one.
	err := s.write(task.Durable)
	if err != nil {
		s.log.Print(err)
	}
	for deadline := time.Now().Add(25 * time.Hour); err != nil && time.Now().Before(deadline); err = s.write(task.Durable) {
		time.Sleep(time.Second)
	}
	s.hub.end()
	if gerr := s.group.Remove(); gerr != nil {
		s.log.Print(gerr)
	}
	for _, name := range []string{task.ImageFile, task.VolDir} {
		if rerr := RemoveTree(name); rerr != nil {
			s.log.Print(rerr)
		}
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
