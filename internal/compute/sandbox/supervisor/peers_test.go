package supervisor

import (
	"bytes"
	"encoding/binary"
	"testing"

	"clary/internal/compute/sandbox/jail"
)

// packet is one of version 4, with addresses of hosts by number.
func packet(from, to int) []byte {
	b := make([]byte, notes+hardware+header+8)
	hw, ip := b[notes:], b[notes+hardware:]
	mac := jail.PeerMAC(from)
	copy(hw, mac[:])
	copy(hw[6:], mac[:])
	binary.BigEndian.PutUint16(hw[12:], 0x0800)
	ip[0] = 0x45
	source, destination := jail.PeerAddr(from).As4(), jail.PeerAddr(to).As4()
	copy(ip[12:], source[:])
	copy(ip[16:], destination[:])
	return b
}

// TestTo: nothing leaves a host but what is its own, for hosts that there are.
func TestTo(t *testing.T) {
	t.Parallel()
	const me, count = 1, 300
	p := &peers{me: me, count: count}
	for _, to := range []int{0, 2, 254, 255, 299} {
		b := packet(me, to)
		if got := p.to(b); got != to {
			t.Errorf("for %d: goes to %d", to, got)
		}
		source, destination := jail.PeerMAC(me), jail.PeerMAC(to)
		if !bytes.Equal(b[notes:][:6], destination[:]) || !bytes.Equal(b[notes+6:][:6], source[:]) {
			t.Errorf("for %d: goes from %x to %x", to, b[notes+6:][:6], b[notes:][:6])
		}
	}
	with := func(at int, v ...byte) []byte {
		b := packet(me, 2)
		copy(b[at:], v)
		return b
	}
	const ip = notes + hardware
	for name, b := range map[string][]byte{
		"empty":               {},
		"short":               packet(me, 2)[:notes+hardware+header-1],
		"from another":        packet(2, 3),
		"from a stranger":     packet(count, 2),
		"from loopback":       with(ip+12, 127, 0, 0, 1),
		"from credentials":    with(ip+12, 169, 254, 170, 2),
		"to itself":           packet(me, me),
		"to a stranger":       packet(me, count),
		"to the net":          with(ip+16, 10, 77, 0, 0),
		"to all of the net":   with(ip+16, 10, 77, 255, 255),
		"to all":              with(ip+16, 255, 255, 255, 255),
		"to many":             with(ip+16, 224, 0, 0, 1),
		"to another net":      with(ip+16, 10, 78, 0, 3),
		"of another protocol": with(notes+12, 0x86, 0xdd),
		"of a tagged network": with(notes+12, 0x81, 0x00),
		"of another version":  with(ip, 0x65),
	} {
		if got := p.to(b); got != -1 {
			t.Errorf("%s: goes to %d", name, got)
		}
	}
}
