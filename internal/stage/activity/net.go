package activity

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"clary/internal/stage/agent"
)

// States of a TCP socket, as proc has them.
const (
	stateEstablished = "01"
	stateListen      = "0A"
)

// ports are the TCP sockets of a network namespace, by inode.
type ports struct {
	listening   map[string]int
	established map[string]ends
}

type ends struct{ local, peer netip.AddrPort }

func sockets(proc string) (ports, error) {
	out := ports{listening: map[string]int{}, established: map[string]ends{}}
	for _, name := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(filepath.Join(proc, "self/net", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // there is no such protocol
		}
		if err != nil {
			return out, err
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			const local, peer, state, inode = 1, 2, 3, 9
			if len(f) <= inode || f[state] != stateEstablished && f[state] != stateListen {
				continue
			}
			at, err := address(f[local])
			if err != nil {
				return out, err
			}
			if f[state] == stateListen {
				out.listening[f[inode]] = int(at.Port())
				continue
			}
			to, err := address(f[peer])
			if err != nil {
				return out, err
			}
			out.established[f[inode]] = ends{at, to}
		}
	}
	return out, nil
}

// address reads the form of proc: words of an address as this machine has them
// in memory, and the port.
func address(s string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q: %w", s, err)
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word) // every machine that we run on is little-endian
	}
	a, ok := netip.AddrFromSlice(b)
	n, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q", s)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// connections are the established ones but for what the instance's own
// processes have with others, and a process with itself.
func (p ports) connections(holders map[string]int, own func(pid int) bool) []agent.Connection {
	at := map[netip.AddrPort]int{}
	for inode, e := range p.established {
		at[e.local] = holders[inode]
	}
	var out []agent.Connection
	for inode, e := range p.established {
		pid := holders[inode]
		peer, inside := at[e.peer]
		if own(pid) || inside && (own(peer) || peer == pid) {
			continue
		}
		out = append(out, agent.Connection{PID: pid, Local: e.local.String(), Peer: e.peer.String()})
	}
	slices.SortFunc(out, func(a, b agent.Connection) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.Local, b.Local), cmp.Compare(a.Peer, b.Peer))
	})
	return out
}
