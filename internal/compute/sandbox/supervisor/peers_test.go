package supervisor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/task"
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

// ends are those of a socket pair.
func ends(t *testing.T, kind int) (a, b *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b = os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// TestTakesPortsAlone: another supervisor may hand out a way to peers and
// nothing else that this one would write to.
func TestTakesPortsAlone(t *testing.T) {
	t.Parallel()
	conn := func(f *os.File) *net.UnixConn {
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c.(*net.UnixConn)
	}
	a, b := ends(t, unix.SOCK_STREAM)
	from, to := conn(a), conn(b)
	raw, _ := ends(t, unix.SOCK_DGRAM)
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, f := range []*os.File{raw, file, nil} {
		if err := task.Hand(from, task.DialledOK, f); err != nil {
			t.Fatal(err)
		}
		if way := take(to); way != nil {
			t.Errorf("%v is taken", f.Name())
		}
	}
}

// TestMoveGoesOn: a packet that the kernel cannot tell of is lost alone.
func TestMoveGoesOn(t *testing.T) {
	t.Parallel()
	const me, other = 0, 1
	way, far := ends(t, unix.SOCK_DGRAM)
	p := &peers{me: me, count: 2, ways: [][]*os.File{nil, {way}}}
	reads := []error{unix.EINTR, unix.EINVAL, nil, unix.EBADF}
	var said bytes.Buffer
	p.move(func(b []byte) (int, error) {
		err := reads[0]
		reads = reads[1:]
		return copy(b, packet(me, other)), err
	}, log.New(&said, "", 0))
	if len(reads) > 0 || !strings.Contains(said.String(), unix.EBADF.Error()) {
		t.Fatalf("it ends before %v: %s", reads, &said)
	}
	b := make([]byte, largest)
	if n, _, err := unix.Recvfrom(int(far.Fd()), b, unix.MSG_DONTWAIT); err != nil || p.to(b[:n]) != other {
		t.Errorf("%d bytes came: %v", n, err)
	}
	if _, _, err := unix.Recvfrom(int(far.Fd()), b, unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("more came: %v", err)
	}
}
