package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// place is what a server holds as long as it runs, and what one leaves to the
// next: the data folder, and the sockets that others come by. Sockets are kept
// as files too: whoever accepts closes its own end alone, and what comes waits
// in the kernel until the next one accepts.
type place struct {
	users  []net.Listener    // of clients; the last one is on loopback
	tasks  *net.UnixListener // of tasks' relays
	door   *net.UnixListener
	files  []*os.File // of the users' listeners, then the tasks', then the door
	unlock func()     // nil: the data folder is not held
}

const (
	taskSocket = "task.sock"
	doorSocket = "next.sock" // by which a server comes that is to replace this one
)

// openPlace takes a place that nobody has.
func openPlace(cfg Config) (p *place, err error) {
	p = new(place)
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.unlock, err = lock(cfg.Data, lockWait); err != nil {
		return p, err
	}
	// Listening first: a port in use is the most common mistake, and says so
	// before anything is touched.
	if p.users, err = listen(cfg.Listen); err != nil {
		return p, err
	}
	if p.tasks, err = listenUnix("unix", filepath.Join(cfg.Data, "run", taskSocket)); err != nil {
		return p, err
	}
	if p.door, err = listenUnix(packets, filepath.Join(cfg.Data, "run", doorSocket)); err != nil {
		return p, err
	}
	for _, l := range p.listeners() {
		f, err := l.(interface{ File() (*os.File, error) }).File() //nolint:errcheck,forcetypeassert // TCP and unix listeners have one
		if err != nil {
			return p, err
		}
		p.files = append(p.files, f)
	}
	return p, nil
}

// placeOf is a place that another server holds, by its files.
func placeOf(files []*os.File) (*place, error) {
	p := &place{files: files}
	if len(files) < 3 {
		return p, fmt.Errorf("it left %d sockets", len(files))
	}
	return p, p.listen()
}

// listen makes the listeners from their files.
func (p *place) listen() error {
	p.users, p.tasks, p.door = nil, nil, nil
	for i, f := range p.files {
		l, err := net.FileListener(f)
		if err != nil {
			return fmt.Errorf("a socket that a server left: %w", err)
		}
		u, unix := l.(*net.UnixListener)
		switch t, ok := l.(*net.TCPListener); {
		case i < len(p.files)-2 && ok:
			p.users = append(p.users, t)
		case i == len(p.files)-2 && unix:
			p.tasks = u
		case i == len(p.files)-1 && unix:
			p.door = u
		default:
			return errors.Join(fmt.Errorf("socket %d that a server left is of the wrong kind", i), l.Close())
		}
	}
	return nil
}

func (p *place) listeners() []net.Listener {
	all := append([]net.Listener{}, p.users...)
	if p.tasks != nil {
		all = append(all, p.tasks)
	}
	if p.door != nil {
		all = append(all, p.door)
	}
	return all
}

// keep has the names of unix sockets outlive their listeners here.
func (p *place) keep() {
	p.tasks.SetUnlinkOnClose(false)
	p.door.SetUnlinkOnClose(false)
}

// release gives the data folder to whoever comes next.
func (p *place) release() {
	if p.unlock != nil {
		p.unlock()
		p.unlock = nil
	}
}

// close gives up all of it. A socket that has gone over stays open there.
func (p *place) close() {
	for _, l := range p.listeners() {
		_ = l.Close() // closed already, or of no use any more
	}
	for _, f := range p.files {
		_ = f.Close()
	}
	p.release()
}

// errInUse says that another server holds the data folder.
var errInUse = errors.New("in use by another clary server")

// lock holds the data folder: two servers on one would each believe to be the
// only writer.
func lock(dir string, wait time.Duration) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w; choose another one with --data", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w; choose another one with --data", err)
	}
	// A server that was killed while it started a program leaves the lock to
	// that program until its exec: a moment is waited for it.
	held := make(chan error, 1)
	fd := int(f.Fd())
	go func() { held <- syscall.Flock(fd, syscall.LOCK_EX) }()
	select {
	case err = <-held:
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock the data folder %s: %w", dir, err), f.Close())
		}
	case <-time.After(wait):
		go func() {
			<-held // cannot be called off; gives it back at once
			f.Close()
		}()
		return nil, fmt.Errorf("the data folder %s is %w", dir, errInUse)
	}
	return func() {
		_ = syscall.Flock(fd, syscall.LOCK_UN) // also for a program that is being started and still has it
		f.Close()
	}, nil
}
