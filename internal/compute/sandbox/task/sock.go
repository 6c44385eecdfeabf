package task

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Control is a line that a server sends to a supervisor. The supervisor
// answers Watch with one Event per change, Dial with one Dialled and its
// connection, Stop and Kill with nothing.
type Control struct {
	Watch bool  `json:",omitempty"`
	Stop  *Stop `json:",omitempty"`
	Kill  bool  `json:",omitempty"`
	Dial  int   `json:",omitempty"` // a port
}

// How a Dial went, as the one byte that its connection comes with.
const (
	DialledOK      = 'c'
	DialledRefused = 'r'
	DialledNone    = 'n' // the program does not run
	DialledFailed  = 'f'
)

// Events are single bytes: what changed must be read from the folder, which is
// the truth; an event only says that it is worth looking.
const (
	EventStatus = 's'
	EventSpool  = 'g'
	EventEnd    = 'e' // the status is the task's last
)

// A socket's address holds 107 bytes at most, a folder's name more: both ends
// go through the descriptor of the folder.

// Listen makes the control socket of the task in dir.
func Listen(dir string) (*net.UnixListener, error) {
	var l *net.UnixListener
	err := viaFolder(filepath.Join(dir, SockFile), func(p string) (err error) {
		_ = os.Remove(p)
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: p, Net: "unix"})
		if err == nil {
			l.SetUnlinkOnClose(false)
			err = os.Chmod(p, 0o700)
		}
		return err
	})
	return l, err
}

// Dial connects to the unix socket at path, however long that is.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	var c net.Conn
	err := viaFolder(path, func(p string) (err error) {
		d := net.Dialer{Timeout: 10 * time.Second}
		c, err = d.DialContext(ctx, "unix", p)
		return err
	})
	return c, err
}

func viaFolder(path string, f func(string) error) error {
	dir, name := filepath.Split(path)
	if len(path) < 100 {
		return f(path)
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", fd, name))
}

// Peer is the user id at the other end.
func Peer(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	uid := -1
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); cerr != nil {
		return -1, cerr
	}
	if err == nil {
		uid = int(cred.Uid)
	}
	return uid, err
}
