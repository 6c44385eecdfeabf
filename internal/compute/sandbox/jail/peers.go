package jail

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// A job of several hosts: eth0 of each is one end of a pair of interfaces that
// lies in its own namespace; at the other end is a packet socket, which goes to
// the supervisor. So no two tasks share anything that a program could reach.
const (
	portName = "peer0"
	portMTU  = 9001 // as between instances in one VPC
	// portBuffer is how much may wait for the supervisor; more is dropped.
	portBuffer = 4 << 20
)

// PeerAddr is the address of a job's i-th host on the job's own network.
func PeerAddr(i int) netip.Addr {
	n := i + 1
	return netip.AddrFrom4([4]byte{10, 77, byte(n >> 8), byte(n)})
}

// PeerMAC is that of its eth0, a locally administered one.
func PeerMAC(i int) [6]byte {
	a := PeerAddr(i).As4()
	return [6]byte{2, 0, a[0], a[1], a[2], a[3]}
}

// peerEnd describes the other end of a pair.
func peerEnd() []byte {
	const vethInfoPeer = 1
	return attr(vethInfoPeer, ifinfo(0, 0, 0), attr(unix.IFLA_IFNAME, cstr(portName)))
}

// pair makes eth0 of the job's i-th host and its other end. Neither asks who is
// there: the supervisor knows.
func (n *netlink) pair(i int) error {
	mac, mtu := PeerMAC(i), attr(unix.IFLA_MTU, binary.NativeEndian.AppendUint32(nil, portMTU))
	if err := n.link("eth0", "veth", peerEnd()); err != nil {
		return fmt.Errorf("hosts of one job need a pair of interfaces (veth), which this machine does not give: %w", err)
	}
	for _, name := range []string{"eth0", portName} {
		index, err := n.index(name)
		if err != nil {
			return err
		}
		set := [][]byte{ifinfo(index, unix.IFF_NOARP, unix.IFF_NOARP), mtu}
		if name == "eth0" {
			set = append(set, attr(unix.IFLA_ADDRESS, mac[:]))
		}
		if err := n.do(unix.RTM_NEWLINK, 0, set...); err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
		// No address of version 6 makes itself; a kernel without that version refuses.
		const addrGenMode, none = 8, 1
		_ = n.do(unix.RTM_NEWLINK, 0, ifinfo(index, 0, 0), attr(unix.IFLA_AF_SPEC, attr(unix.AF_INET6, attr(addrGenMode, []byte{none}))))
	}
	return n.up(portName)
}

// openPort opens the socket at the other end of eth0. It is of one protocol, so
// it sees what arrives there and never what is sent; and it has the kernel's
// notes on each packet, so that segments stay together and sums undone.
func openPort() (*os.File, error) {
	nl := netlink{}
	index, err := nl.index(portName)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("hosts of one job need a packet socket, which this machine does not give: %w", err)
	}
	f := os.NewFile(uintptr(fd), portName)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, portBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, portBuffer) // as much as a user may
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: int(index)}); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	return f, nil
}

func htons(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// TryPeers makes what a job of several hosts needs, in a namespace that is for
// nothing else.
func TryPeers() error {
	nl, err := newNetlink()
	if err != nil {
		return err
	}
	defer nl.close()
	if err := nl.pair(0); err != nil {
		return err
	}
	f, err := openPort()
	if err != nil {
		return err
	}
	return f.Close()
}
