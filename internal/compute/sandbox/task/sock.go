package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Control is a line that a server sends to a supervisor. The supervisor
// answers Watch with one Event per change, Dial with one Dialled and its
// connection, Stop and Kill with nothing. Peer comes from the supervisor of
// another host of the job: each then gives the other its own way in, and the
// connection lasts as long as both.
type Control struct {
	Watch bool  `json:",omitempty"`
	Stop  *Stop `json:",omitempty"`
	Kill  bool  `json:",omitempty"`
	Dial  int   `json:",omitempty"` // a port
	Peer  int   `json:",omitempty"` // the number, from 1, of the host that speaks
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

// Hand sends a byte and, with it, a file; nil for none.
func Hand(c *net.UnixConn, answer byte, f *os.File) error {
	var rights []byte
	if f != nil {
		rights = unix.UnixRights(int(f.Fd()))
	}
	_, _, err := c.WriteMsgUnix([]byte{answer}, rights, nil)
	return err
}

// Take receives what was handed; the descriptor is -1 if none came along. More
// than one is refused.
func Take(c *net.UnixConn) (answer byte, fd int, err error) {
	b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
	fds, perr := descriptors(oob[:oobn])
	err = errors.Join(err, perr)
	if len(fds) > 1 {
		err = errors.Join(err, errors.New("more than one descriptor came along"))
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	if err == nil && len(fds) == 1 {
		return b[0], fds[0], nil
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
	return b[0], -1, err
}

// Connected receives a connection that was handed; nil if none came along.
func Connected(c *net.UnixConn) (answer byte, conn net.Conn, err error) {
	answer, fd, err := Take(c)
	if err != nil || fd < 0 {
		return answer, nil, err
	}
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	conn, err = net.FileConn(f)
	return answer, conn, err
}

// descriptors are those of a message, also where the rest of it is wrong.
func descriptors(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	var fds []int
	for i := range msgs {
		some, merr := unix.ParseUnixRights(&msgs[i])
		fds, err = append(fds, some...), errors.Join(err, merr)
	}
	return fds, err
}
