package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/stage/plan"
)

// Order is what a supervisor tells init.
type Order struct {
	Go   bool           `json:",omitempty"` // what was handed out is served
	PIDs uint64         `json:",omitempty"` // with Go: a limit that no control group keeps
	Stop *time.Duration `json:",omitempty"` // ask the program to end within this grace
	Kill bool           `json:",omitempty"` // end the program now; stage goes on
	// Socket asks for one of the task's network, after Go.
	Socket bool `json:",omitempty"`
}

// Word is what init tells its supervisor. Listeners comes with as many
// descriptors, in that order.
type Word struct {
	Ready     bool         `json:",omitempty"` // all is made, the listeners among it
	Listeners []string     `json:",omitempty"`
	Step      string       `json:",omitempty"`
	Socket    bool         `json:",omitempty"` // that was asked for; it comes with one descriptor, or none could be made
	Exit      *Exit        `json:",omitempty"` // of the user's program
	Full      bool         `json:",omitempty"` // the volume was full when the program, or stage, ended
	End       *plan.Result `json:",omitempty"` // init is done
	Stage     bool         `json:",omitempty"` // with End: it is stage's word
	Error     string       `json:",omitempty"` // with End: the task could not be run
}

// Exit is how a program ended.
type Exit struct {
	Code   int
	Signal string `json:",omitempty"`
	Error  string `json:",omitempty"` // it could not be started
}

// The names of the listeners that init hands out.
const (
	ListenAPI         = "api"         // unix socket for stage
	ListenTCP         = "tcp"         // 127.0.0.1:2527
	ListenCredentials = "credentials" // 169.254.170.2:80
	ListenProxy       = "proxy"       // 127.0.0.1:3128
	ListenPeers       = "peers"       // a packet socket: what the task sends to hosts of its job
)

// Where a task finds its listeners.
const (
	APISocket      = "/run/clary/api.sock"
	Binary         = "/run/clary/clary-task"
	TCPAddr        = "127.0.0.1:2527"
	CredentialHost = "169.254.170.2"
	ProxyAddr      = "127.0.0.1:3128"
)

// packets is a conversation in JSON packets; it is used by both ends.
type packets struct{ c *net.UnixConn }

const maxPacket = 160 << 10

// NewPackets makes a connection of a socket pair's end. f is closed.
func NewPackets(f *os.File) (*packets, error) { //nolint:revive // the type is an implementation detail of two methods
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	_ = f.Close()
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("control socket is a %T", c)
	}
	return &packets{u}, nil
}

func (p *packets) Send(v any, fds ...int) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err = p.c.WriteMsgUnix(b, oob, nil)
	return err
}

// Receive reads one packet and the descriptors that came with it; a receiver
// that wants none must give nil and gets none.
func (p *packets) Receive(v any, fds *[]int) error {
	b := make([]byte, maxPacket)
	var oob []byte
	if fds != nil {
		oob = make([]byte, unix.CmsgSpace(16*4))
	}
	n, oobn, flags, _, err := p.c.ReadMsgUnix(b, oob)
	if errors.Is(err, unix.ECONNRESET) {
		// The other end has gone without reading all that it was sent. The
		// kernel says so once, and before what that end said last.
		n, oobn, flags, _, err = p.c.ReadMsgUnix(b, oob)
	}
	if err != nil {
		return err
	}
	if fds != nil && oobn > 0 {
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return err
		}
		for i := range msgs {
			got, err := unix.ParseUnixRights(&msgs[i])
			if err != nil {
				return err
			}
			for _, fd := range got {
				syscall.CloseOnExec(fd)
			}
			*fds = append(*fds, got...)
		}
	}
	if n == 0 {
		return net.ErrClosed
	}
	if flags&unix.MSG_TRUNC != 0 {
		return fmt.Errorf("packet of more than %d bytes", maxPacket)
	}
	return json.Unmarshal(b[:n], v)
}

func (p *packets) Close() error { return p.c.Close() }

// pair makes a connected pair of sockets: ours and the one to inherit.
func pair(kind int, name string) (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	// Non-blocking on our side, so that the runtime can wait for it.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), nil
}

// Pair is the control connection between a supervisor and init.
func Pair() (ours, theirs *os.File, err error) { return pair(unix.SOCK_SEQPACKET, "init") }
