// Package children is the duty of a task's first process: it starts programs,
// waits for them, and buries whatever orphan is left to it, so that no number
// of a process is taken for another's. Start at New.
package children

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"clary/internal/stage/user"
)

// Family is all that this process is the parent of. Nothing else in the process
// may wait for children: neither os/exec nor a second family goes with it.
type Family struct {
	mu   sync.Mutex // held while a child is made, told something or buried
	live map[int]*Child
}

// New begins to bury.
func New() *Family {
	f := &Family{live: map[int]*Child{}}
	dead := make(chan os.Signal, 1)
	signal.Notify(dead, unix.SIGCHLD)
	go func() {
		for range dead {
			f.bury()
		}
	}()
	return f
}

// Child is a program that was started.
type Child struct {
	PID    int
	family *Family
	done   chan struct{}
	status syscall.WaitStatus
}

// Start starts a program.
func (f *Family) Start(path string, argv []string, attr *syscall.ProcAttr) (*Child, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, &os.PathError{Op: "start", Path: path, Err: err}
	}
	c := &Child{PID: pid, family: f, done: make(chan struct{})}
	f.live[pid] = c
	return c, nil
}

func (f *Family) bury() {
	for {
		f.mu.Lock()
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if c := f.live[pid]; err == nil && c != nil {
			delete(f.live, pid)
			c.status = status
			close(c.done)
		}
		f.mu.Unlock()
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}

// Done is closed when the program has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Code is a shell's exit code of a program that has ended.
func (c *Child) Code() int {
	if c.status.Signaled() {
		return 128 + int(c.status.Signal())
	}
	return c.status.ExitStatus()
}

// Killed says whether a program that has ended was ended by SIGKILL.
func (c *Child) Killed() bool { return c.status.Signaled() && c.status.Signal() == unix.SIGKILL }

// Signal tells the program something, unless it has ended.
func (c *Child) Signal(s syscall.Signal) {
	c.family.mu.Lock()
	defer c.family.mu.Unlock()
	if c.family.live[c.PID] != nil {
		kill(c.PID, s)
	}
}

// SignalGroup tells the program's process group, unless the program has ended.
func (c *Child) SignalGroup(s syscall.Signal) {
	c.family.mu.Lock()
	defer c.family.mu.Unlock()
	if c.family.live[c.PID] != nil {
		kill(-c.PID, s)
	}
}

// EndAll kills every process of the task but its first, which this one must be.
func (f *Family) EndAll() {
	if os.Getpid() == 1 {
		kill(-1, unix.SIGKILL)
	}
}

// kill is done as root and as ec2-user: the rights to reach everybody are not
// a task's.
func kill(pid int, s syscall.Signal) {
	_ = syscall.Kill(pid, s) // it may be ending
	if user.Two() {
		_ = user.Do(func() { _ = syscall.Kill(pid, s) })
	}
}
