package jail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/task"
)

// setNetwork makes loopback, and an eth0 with the host's address, since
// training libraries bind to that name.
func setNetwork(s *task.Spec) error {
	nl, err := newNetlink()
	if err != nil {
		return err
	}
	defer nl.close()
	if err := nl.up("lo"); err != nil {
		return err
	}
	if !s.Task.Network.Isolated {
		if err := nl.addr("lo", netip.MustParsePrefix(CredentialHost+"/32")); err != nil {
			return err
		}
	}
	me := max(slices.Index(s.Task.Network.Peers, s.Task.Network.Host), 0)
	if len(s.Task.Network.Peers) > 1 {
		if err := nl.pair(me); err != nil {
			return err
		}
	} else if err := nl.link("eth0", "dummy"); err != nil {
		// A pair whose other end nobody holds does as well.
		if err := nl.link("eth0", "veth", peerEnd()); err != nil {
			return nl.addr("lo", netip.PrefixFrom(PeerAddr(me), 32))
		}
		if err := nl.up(portName); err != nil {
			return err
		}
	}
	if err := nl.addr("eth0", netip.PrefixFrom(PeerAddr(me), 16)); err != nil {
		return err
	}
	return nl.up("eth0")
}

// openListeners opens what the task may talk to.
func openListeners(s *task.Spec) (names []string, files []*os.File, err error) {
	add := func(name string, f *os.File, lerr error) {
		if lerr != nil {
			err = errors.Join(err, fmt.Errorf("listen for %s: %w", name, lerr))
			return
		}
		names, files = append(names, name), append(files, f)
	}
	if s.APISocket != "" {
		f, lerr := listenUnix(APISocket)
		if lerr == nil && s.HostUID != 0 {
			// Stage looks at files as the program does; its group is its own.
			if lerr = os.Chown(APISocket, 0, stageHostID(s)); lerr == nil {
				lerr = os.Chmod(APISocket, 0o660)
			}
		}
		add(ListenAPI, f, lerr)
	}
	if len(s.Task.Network.Peers) > 1 {
		f, lerr := openPort()
		add(ListenPeers, f, lerr)
	}
	if s.Task.Network.Isolated {
		return names, files, err
	}
	if s.APISocket != "" {
		f, lerr := listenTCP(TCPAddr)
		add(ListenTCP, f, lerr)
	}
	f, lerr := listenTCP(CredentialHost + ":80")
	add(ListenCredentials, f, lerr)
	if s.Task.Network.Egress {
		f, lerr := listenTCP(ProxyAddr)
		add(ListenProxy, f, lerr)
	}
	return names, files, err
}

func listenUnix(path string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	return l.File()
}

func listenTCP(addr string) (*os.File, error) {
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.(*net.TCPListener).File()
}

// netlink is the little of rtnetlink that a namespace needs.
type netlink struct {
	fd  int
	seq uint32
}

func newNetlink() (*netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &netlink{fd: fd}, nil
}

func (n *netlink) close() { _ = unix.Close(n.fd) }

func attr(typ uint16, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	b := make([]byte, 4, 4+len(body)+3)
	binary.NativeEndian.PutUint16(b, uint16(4+len(body)))
	binary.NativeEndian.PutUint16(b[2:], typ)
	b = append(b, body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func ifinfo(index int32, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

func cstr(s string) []byte { return append([]byte(s), 0) }

func (n *netlink) do(typ, flags uint16, parts ...[]byte) error {
	body := slices.Concat(parts...)
	n.seq++
	h := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(h, uint32(unix.SizeofNlMsghdr+len(body)))
	binary.NativeEndian.PutUint16(h[4:], typ)
	binary.NativeEndian.PutUint16(h[6:], flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	binary.NativeEndian.PutUint32(h[8:], n.seq)
	if err := unix.Sendto(n.fd, append(h, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	b := make([]byte, 8192)
	for {
		k, _, err := unix.Recvfrom(n.fd, b, 0)
		if err != nil {
			return err
		}
		msgs, err := syscall.ParseNetlinkMessage(b[:k])
		if err != nil {
			return err
		}
		for _, m := range msgs {
			if m.Header.Seq == n.seq && m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4 {
				if e := int32(binary.NativeEndian.Uint32(m.Data)); e != 0 {
					return syscall.Errno(-e)
				}
				return nil
			}
		}
	}
}

// link makes an interface; data is what is particular to its kind.
func (n *netlink) link(name, kind string, data ...[]byte) error {
	info := [][]byte{attr(unix.IFLA_INFO_KIND, cstr(kind))}
	if len(data) > 0 {
		info = append(info, attr(unix.IFLA_INFO_DATA, data...))
	}
	return n.do(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		ifinfo(0, 0, 0), attr(unix.IFLA_IFNAME, cstr(name)), attr(unix.IFLA_LINKINFO, info...))
}

func (n *netlink) index(name string) (int32, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(s)
	if err := unix.IoctlIfreq(s, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	return int32(ifr.Uint32()), nil
}

func (n *netlink) up(name string) error {
	i, err := n.index(name)
	if err != nil {
		return err
	}
	if err := n.do(unix.RTM_NEWLINK, 0, ifinfo(i, unix.IFF_UP, unix.IFF_UP)); err != nil {
		return fmt.Errorf("interface %s up: %w", name, err)
	}
	return nil
}

func (n *netlink) addr(name string, p netip.Prefix) error {
	i, err := n.index(name)
	if err != nil {
		return err
	}
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = unix.AF_INET, byte(p.Bits())
	binary.NativeEndian.PutUint32(b[4:], uint32(i))
	a := p.Addr().As4()
	if err := n.do(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b, attr(unix.IFA_LOCAL, a[:]), attr(unix.IFA_ADDRESS, a[:])); err != nil {
		return fmt.Errorf("address %s: %w", p, err)
	}
	return nil
}
