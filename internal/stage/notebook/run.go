package notebook

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/stage/children"
)

// program is one that is kept running: JupyterLab.
type program struct {
	family *children.Family
	// start starts it.
	start func() (*children.Child, error)
	// patience is how long it may take to end. Then it is killed, and what it
	// had to say of its end is no more asked.
	patience time.Duration
	restart  <-chan chan<- error // each wish is answered when the old one is gone
	stop     <-chan struct{}     // closed when it shall end
}

// keep starts the program, anew when that is wished, and returns its exit code
// once it has ended by itself or was stopped: a shell's, but 0 for one that had
// to be killed.
func (p *program) keep() (int, error) {
	for {
		child, err := p.start()
		if err != nil {
			return 0, err
		}
		select {
		case <-child.Done():
			return child.Code(), nil
		case <-p.stop:
			return p.end(child), nil
		case gone := <-p.restart:
			p.end(child)
			gone <- nil
		}
	}
}

// end asks a program to end and returns its exit code.
func (p *program) end(c *children.Child) int {
	c.Signal(unix.SIGTERM)
	late := time.NewTimer(p.patience)
	defer late.Stop()
	select {
	case <-c.Done():
		return c.Code()
	case <-late.C:
	}
	c.Signal(unix.SIGKILL)
	<-c.Done()
	if c.Killed() {
		return 0
	}
	return c.Code()
}

// start starts a program of the family with an output of its own, nil for this
// process's.
func start(f *children.Family, argv, env []string, dir string, output *os.File, sys *syscall.SysProcAttr) (*children.Child, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	files := []uintptr{null.Fd(), 1, 2}
	if output != nil {
		files[1], files[2] = output.Fd(), output.Fd()
	}
	c, err := f.Start(argv[0], argv, &syscall.ProcAttr{Dir: dir, Env: env, Files: files, Sys: sys})
	return c, errors.Join(err, null.Close())
}
