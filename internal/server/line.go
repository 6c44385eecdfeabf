package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/dataplane/router"
	"clary/internal/front"
	"clary/internal/metrics"
)

// message is what two servers of one data folder say to each other, one packet
// each. A server that is to replace another one begins with replace; the one
// that was replaced comes back with what it still has.
type message struct {
	Say     verb
	Version int    `json:",omitzero"` // of this exchange
	PID     int    `json:",omitzero"`
	Listen  string `json:",omitzero"` // with offer: the address as the operator gave it
	Text    string `json:",omitzero"` // with refuse and failed: why

	Head   []byte        `json:",omitzero"` // with waiting, as the following three: see front.Waiting
	Task   bool          `json:",omitzero"`
	Spoke  bool          `json:",omitzero"`
	Inside *front.Inside `json:",omitzero"`

	Metrics []metrics.Datum `json:",omitzero"`
	Capture *router.File    `json:",omitzero"` // its body is a file
}

type verb string

const (
	sayReplace  verb = "replace"  // the new one: may I?
	sayOffer    verb = "offer"    // the old one: here are the sockets
	sayRefuse   verb = "refuse"   // the old one: no
	sayTake     verb = "take"     // the new one: I can serve on them, let go
	sayReleased verb = "released" // the old one: the data are yours
	sayServes   verb = "serves"   // the new one: I answer
	sayFailed   verb = "failed"   // the new one: I do not; serve on

	sayWaiting verb = "waiting" // the old one, later: a connection
	sayMetrics verb = "metrics" // the old one, later: what answers gave to count
	sayCapture verb = "capture" // the old one, later: what was captured of them
	sayDone    verb = "done"    // the new one: I have it
)

// exchange is the version of what is said. Servers of another one cannot
// replace each other.
const exchange = 1

const (
	maxMessage = 256 << 10
	maxFiles   = 16
	replyWait  = 20 * time.Second // for what takes no time
)

// line is a connection between two servers, over which descriptors go too.
type line struct{ c *net.UnixConn }

func (l line) send(m message, files ...*os.File) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			// not by Fd, which has all who share the socket wait in the kernel
			raw, err := f.SyscallConn()
			if err == nil {
				err = raw.Control(func(fd uintptr) { fds[i] = int(fd) })
			}
			if err != nil {
				return err
			}
		}
		rights = syscall.UnixRights(fds...)
		defer runtime.KeepAlive(files)
	}
	if err := l.c.SetWriteDeadline(time.Now().Add(replyWait)); err != nil {
		return err
	}
	_, _, err = l.c.WriteMsgUnix(b, rights, nil)
	return err
}

// receive waits for the next message; 0 is for ever. io.EOF says that the
// other end is gone.
func (l line) receive(wait time.Duration) (m message, files []*os.File, err error) {
	var at time.Time
	if wait > 0 {
		at = time.Now().Add(wait)
	}
	if err := l.c.SetReadDeadline(at); err != nil {
		return m, nil, err
	}
	b, oob := make([]byte, maxMessage), make([]byte, syscall.CmsgSpace(4*maxFiles))
	n, oobn, flags, _, err := l.c.ReadMsgUnix(b, oob)
	files, ferr := received(oob[:max(0, oobn)])
	switch {
	case errors.Is(err, syscall.ECONNRESET) || err == nil && n == 0:
		err = io.EOF
	case err == nil && flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) != 0:
		err = errors.New("a message between servers is too long")
	}
	if err = errors.Join(err, ferr); err == nil {
		err = json.Unmarshal(b[:n], &m)
	}
	if err != nil {
		closeAll(files)
		return message{}, nil, err
	}
	return m, files, nil
}

// received are the descriptors that came along.
func received(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := syscall.ParseSocketControlMessage(oob)
	var files []*os.File
	for i := range msgs {
		fds, perr := syscall.ParseUnixRights(&msgs[i])
		err = errors.Join(err, perr)
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// ask sends a message and waits until the other end has dealt with it.
func (l line) ask(m message, files ...*os.File) error {
	if err := l.send(m, files...); err != nil {
		return err
	}
	a, more, err := l.receive(replyWait)
	closeAll(more)
	if err == nil && a.Say != sayDone {
		err = fmt.Errorf("%w: %s", errRefused, a.Text)
	}
	return err
}

var errRefused = errors.New("the next server does not take it")

func (l line) close() { _ = l.c.Close() }

// dialDoor reaches the server that has the data folder.
func dialDoor(path string) (line, error) {
	c, err := net.DialUnix(packets, nil, &net.UnixAddr{Name: path, Net: packets})
	if err != nil {
		return line{}, err
	}
	l := line{c}
	if err := l.known(); err != nil {
		l.close()
		return line{}, err
	}
	return l, nil
}

// packets is the kind of socket: what is sent at once comes at once.
const packets = "unixpacket"

// known refuses who is neither this user nor root.
func (l line) known() error {
	uid, err := peer(l.c)
	if err == nil && uid != os.Geteuid() && uid != 0 {
		err = fmt.Errorf("user %d is at the other end", uid)
	}
	return err
}

// absent says that no server listens there.
func absent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}
