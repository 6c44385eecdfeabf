package supervisor

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/relay"
	"clary/internal/compute/sandbox/task"
)

// serveListeners takes what init handed out and serves each for what it is
// called, after checking that it is that.
func serveListeners(s *task.Spec, p *peers, names []string, fds []int, errs *log.Logger) error {
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), "listener")
		defer files[i].Close()
	}
	if len(names) != len(files) {
		return fmt.Errorf("init names %d listeners and hands out %d", len(names), len(files))
	}
	for i, name := range names {
		if name == jail.ListenPeers {
			if err := p.join(fds[i], errs); err != nil {
				return err
			}
			continue
		}
		if err := checkListener(name, fds[i]); err != nil {
			return err
		}
		l, err := net.FileListener(files[i])
		if err != nil {
			return fmt.Errorf("listener %s: %w", name, err)
		}
		toServer := func(ctx context.Context) (net.Conn, error) { return task.Dial(ctx, s.APISocket) }
		switch name {
		case jail.ListenAPI:
			go relay.Each(l, toServer, give)
		case jail.ListenTCP:
			go relay.Streams(l, toServer)
		case jail.ListenCredentials:
			go relay.Serve(l, relay.Credentials(s.CredentialsPath, func() compute.Identity { return task.Identity(".", s) }), errs)
		case jail.ListenProxy:
			p := relay.NewProxy(relay.Proxy{
				Guard:     &relay.Guard{Allow: s.Egress.Allow, Own: relay.OwnAddresses},
				HTTPProxy: s.Egress.HTTPProxy, HTTPSProxy: s.Egress.HTTPSProxy, NoProxy: s.Egress.NoProxy,
			})
			go relay.Serve(l, p, errs)
		}
	}
	return nil
}

func checkListener(name string, fd int) error {
	if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || v != 1 {
		return fmt.Errorf("listener %s does not listen: %w", name, err)
	}
	if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || v != unix.SOCK_STREAM {
		return fmt.Errorf("listener %s is no stream socket", name)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("listener %s: %w", name, err)
	}
	var got string
	switch a := sa.(type) {
	case *unix.SockaddrUnix:
		got = a.Name
	case *unix.SockaddrInet4:
		got = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	default:
		got = fmt.Sprintf("%T", sa)
	}
	want := map[string]string{
		jail.ListenAPI: jail.APISocket, jail.ListenTCP: jail.TCPAddr,
		jail.ListenCredentials: jail.CredentialHost + ":80", jail.ListenProxy: jail.ProxyAddr,
	}[name]
	if want == "" || got != want {
		return fmt.Errorf("listener %q is at %s, want %q", name, got, want)
	}
	return nil
}
