package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// ErrRefused is a destination that a task may not reach.
var ErrRefused = errors.New("destination refused")

// Guard says which addresses may be dialled on a task's behalf.
type Guard struct {
	Allow []netip.Prefix // the operator's exceptions
	// Own lists the host's addresses; it is asked at each dial, as they change.
	Own func() []netip.Addr
}

// special are ranges that lead to the host, its network, or nowhere, and the
// one public address at which a cloud answers its machines as if it were local.
var special = prefixes( //nolint:gochecknoglobals // a constant table
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
	"::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)

func prefixes(s ...string) []netip.Prefix {
	p := make([]netip.Prefix, len(s))
	for i := range s {
		p[i] = netip.MustParsePrefix(s[i])
	}
	return p
}

// embedded are IPv6 ranges whose addresses carry an IPv4 address at a byte.
var embedded = []struct { //nolint:gochecknoglobals // a constant table
	p  netip.Prefix
	at int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4
	{netip.MustParsePrefix("::/96"), 12},        // IPv4-compatible
}

// Check refuses addresses that are not plainly out in the world.
func (g *Guard) Check(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	for _, p := range g.Allow {
		if p.Contains(a) {
			return nil
		}
	}
	for _, e := range embedded {
		if e.p.Contains(a) {
			b := a.As16()
			if err := g.Check(netip.AddrFrom4([4]byte(b[e.at : e.at+4]))); err != nil {
				return err
			}
		}
	}
	for _, p := range special {
		if p.Contains(a) {
			return fmt.Errorf("%w: %s", ErrRefused, a)
		}
	}
	if g.Own != nil {
		for _, own := range g.Own() {
			if own.Unmap().WithZone("") == a {
				return fmt.Errorf("%w: %s is this host", ErrRefused, a)
			}
		}
	}
	return nil
}

// Control is net.Dialer's hook: it sees the very address about to be dialled,
// after names were resolved.
func (g *Guard) Control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrRefused, address)
	}
	return g.Check(ap.Addr())
}

// OwnAddresses are those of the host's interfaces.
func OwnAddresses() []netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []netip.Addr
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				own = append(own, ip)
			}
		}
	}
	return own
}
