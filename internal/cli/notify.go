package cli

import (
	"fmt"
	"net"
	"os"
)

// notifyName names the socket on which a service manager hears of its service.
const notifyName = "NOTIFY_SOCKET"

// notify tells systemd, if that asked, that the service answers and which
// process it is: after a replacement, another one than it has started.
func (a *app) notify() error {
	path := a.env(notifyName)
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // what was sent was sent
	_, err = fmt.Fprintf(c, "MAINPID=%d\nREADY=1\n", os.Getpid())
	return err
}
