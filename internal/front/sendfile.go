package front

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
)

// sendFile has the kernel move what is left of a file to a unix socket, which
// package net has it do for TCP alone. handled is false when it cannot; then
// nothing was moved.
func sendFile(c net.Conn, r io.Reader) (n int64, handled bool, err error) {
	socket, ok := c.(*net.UnixConn)
	l, limited := r.(*io.LimitedReader)
	if !ok || !limited || runtime.GOOS != "linux" { // elsewhere the call is another
		return 0, false, nil
	}
	file, ok := l.R.(*os.File)
	if !ok {
		return 0, false, nil
	}
	to, err := socket.SyscallConn()
	if err != nil {
		return 0, false, nil //nolint:nilerr // a write tells
	}
	from, err := file.SyscallConn()
	if err != nil {
		return 0, false, nil //nolint:nilerr // a read tells
	}
	var failed, werr error
	err = from.Control(func(in uintptr) {
		werr = to.Write(func(out uintptr) bool {
			for l.N > 0 {
				m, err := syscall.Sendfile(int(out), int(in), nil, int(min(l.N, sendPiece)))
				if m > 0 {
					n += int64(m)
					l.N -= int64(m)
				}
				switch {
				case errors.Is(err, syscall.EINTR):
				case errors.Is(err, syscall.EAGAIN):
					return false // until there is room
				case err != nil || m == 0: // or the file's end
					failed = err
					return true
				}
			}
			return true
		})
	})
	if n == 0 && (errors.Is(failed, syscall.EINVAL) || errors.Is(failed, syscall.ENOSYS)) {
		return 0, false, nil
	}
	if failed != nil {
		failed = os.NewSyscallError("sendfile", failed)
	}
	return n, true, errors.Join(err, werr, failed)
}
