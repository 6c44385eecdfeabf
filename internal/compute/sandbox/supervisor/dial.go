package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/task"
)

const (
	// mostDials are made at once; more wait for their turn. A connection that
	// stands is no business of this process.
	mostDials = 64
	// dialling bounds one: a program that does not accept leaves its callers
	// waiting.
	dialling = 10 * time.Second
)

// dialer connects to what the program listens on. The socket is the task's, so
// it is in the task's network; connected it goes to the server, and no byte
// passes through here.
type dialer struct {
	sockets chan<- chan<- int
	slots   chan struct{}
	over    chan struct{} // closed when the program's time is over
}

func newDialer(sockets chan<- chan<- int) *dialer {
	return &dialer{sockets: sockets, slots: make(chan struct{}, mostDials), over: make(chan struct{})}
}

// serve answers one Dial on its connection.
func (d *dialer) serve(c *net.UnixConn, port int) {
	ctx, cancel := context.WithTimeout(context.Background(), dialling)
	defer cancel()
	f, answer := d.dial(ctx, port)
	if f != nil {
		defer f.Close()
	}
	_ = c.SetWriteDeadline(time.Now().Add(dialling))
	_ = task.Hand(c, answer, f) // whoever asked may be gone
}

func (d *dialer) dial(ctx context.Context, port int) (*os.File, byte) {
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-d.over:
		return nil, task.DialledNone
	case <-ctx.Done():
		return nil, task.DialledFailed
	}
	got := make(chan int, 1)
	select {
	case d.sockets <- got:
	case <-d.over:
		return nil, task.DialledNone
	case <-ctx.Done(): // the program does not run yet
		return nil, task.DialledNone
	}
	fd := <-got // init answers, or its end does
	if fd < 0 {
		return nil, task.DialledFailed
	}
	f := os.NewFile(uintptr(fd), "socket of the task")
	err := checkSocket(fd)
	if err == nil {
		err = connect(ctx, f, port)
	}
	switch {
	case err == nil:
		return f, task.DialledOK
	case errors.Is(err, unix.ECONNREFUSED):
		_ = f.Close()
		return nil, task.DialledRefused
	}
	_ = f.Close()
	return nil, task.DialledFailed
}

// checkSocket makes sure that init handed out what was asked for.
func checkSocket(fd int) error {
	for _, c := range []struct{ option, want int }{
		{unix.SO_DOMAIN, unix.AF_INET}, {unix.SO_TYPE, unix.SOCK_STREAM}, {unix.SO_PROTOCOL, unix.IPPROTO_TCP}, {unix.SO_ACCEPTCONN, 0},
	} {
		if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, c.option); err != nil || v != c.want {
			return fmt.Errorf("socket option %d of the task is %d: %w", c.option, v, err)
		}
	}
	return unix.SetNonblock(fd, true)
}

// connect connects a socket to a port of its network's loopback.
func connect(ctx context.Context, f *os.File, port int) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if t, ok := ctx.Deadline(); ok {
		if err := f.SetDeadline(t); err != nil {
			return err
		}
	}
	var failed error
	begun := false
	err = raw.Write(func(fd uintptr) bool {
		if !begun {
			begun = true
			failed = unix.Connect(int(fd), &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
			return !errors.Is(failed, unix.EINPROGRESS) && !errors.Is(failed, unix.EINTR)
		}
		var code int
		if code, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); failed == nil && code != 0 {
			failed = unix.Errno(code)
		}
		// What woke us may be of the time before.
		_, perr := unix.Getpeername(int(fd))
		return failed != nil || perr == nil
	})
	if err != nil {
		return err
	}
	return failed
}

// give gives far to who connected by near, a unix socket. No byte of it passes
// through here.
func give(near, far net.Conn) {
	defer far.Close()
	f, err := far.(*net.UnixConn).File()
	if err != nil {
		return
	}
	defer f.Close()
	_ = near.SetWriteDeadline(time.Now().Add(dialling))
	_ = task.Hand(near.(*net.UnixConn), task.DialledOK, f) // whoever asked may be gone
}

// handOver gives the descriptor that came to who asked first, and returns who
// still waits.
func handOver(asked []chan<- int, fds []int) []chan<- int {
	if len(asked) == 0 || len(fds) > 1 { // nobody asked for these
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		fds = nil
	}
	if len(asked) == 0 {
		return nil
	}
	fd := -1
	if len(fds) == 1 {
		fd = fds[0]
	}
	asked[0] <- fd
	return asked[1:]
}
