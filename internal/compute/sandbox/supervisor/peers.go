package supervisor

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/task"
)

// peers is a host's place among those of its job. Supervisors give each other
// their packet sockets; each moves what its own task sends to the socket of the
// host that it is for, and nothing else: so the source is who it says. Nothing
// is kept here: what a socket has no room for is lost, as on any network.
type peers struct {
	base  string // the tasks of the job are base and a number
	me    int
	count int
	ready chan struct{} // closed when there is a port

	port *os.File

	mu sync.Mutex // guards what follows
	// ways lead to the hosts, by number. There may be two to one, when both
	// sides began at once; the last one is taken.
	ways [][]*os.File
}

func newPeers(s *task.Spec) *peers {
	n := s.Task.Network
	if len(n.Peers) < 2 {
		return nil
	}
	me := slices.Index(n.Peers, n.Host)
	return &peers{
		base: strings.TrimSuffix(string(s.Task.ID), strconv.Itoa(me+1)), me: me, count: len(n.Peers),
		ready: make(chan struct{}), ways: make([][]*os.File, len(n.Peers)),
	}
}

// join begins to move packets, and asks those that are there already. Who comes
// later asks us.
func (p *peers) join(fd int, errs *log.Logger) error {
	if p == nil || p.port != nil {
		return errors.New("init hands out a way to peers that nobody has asked for")
	}
	if err := checkPort(fd); err != nil {
		return err
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("way to peers: %w", err)
	}
	p.port = os.NewFile(uintptr(own), "peers")
	close(p.ready)
	port := int(p.port.Fd())
	go p.move(func(b []byte) (int, error) { return unix.Read(port, b) }, errs)
	for i := range p.count {
		if i != p.me {
			go p.ask(i)
		}
	}
	return nil
}

// checkPort makes sure that init handed out what it says.
func checkPort(fd int) error {
	for _, c := range []struct{ option, want int }{{unix.SO_DOMAIN, unix.AF_PACKET}, {unix.SO_TYPE, unix.SOCK_RAW}} {
		if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, c.option); err != nil || v != c.want {
			return fmt.Errorf("way to peers: socket option %d is %d: %w", c.option, v, err)
		}
	}
	return nil
}

// ask meets a host that is there.
func (p *peers) ask(i int) {
	dir := filepath.Join("..", p.base+strconv.Itoa(i+1)) // of this process's own folder
	conn, err := task.Dial(context.Background(), filepath.Join(dir, task.SockFile))
	if err != nil {
		return
	}
	defer conn.Close()
	c := conn.(*net.UnixConn)
	if json.NewEncoder(c).Encode(task.Control{Peer: p.me + 1}) != nil {
		return
	}
	if way := take(c); way != nil {
		defer way.Close()
		if task.Hand(c, task.DialledOK, p.port) == nil {
			p.keep(c, i, way)
		}
	}
}

// answer meets a host that has come.
func (p *peers) answer(c *net.UnixConn, number int) {
	if p == nil || number < 1 || number > p.count || number == p.me+1 {
		return
	}
	<-p.ready
	if task.Hand(c, task.DialledOK, p.port) != nil {
		return
	}
	if way := take(c); way != nil {
		defer way.Close()
		p.keep(c, number-1, way)
	}
}

func take(c *net.UnixConn) *os.File {
	_, fd, err := task.Take(c)
	if fd < 0 {
		return nil
	}
	f := os.NewFile(uintptr(fd), "way to a peer")
	if err != nil || checkPort(fd) != nil {
		_ = f.Close()
		return nil
	}
	return f
}

// keep has a way stand for as long as the peer's supervisor lives.
func (p *peers) keep(c *net.UnixConn, i int, way *os.File) {
	p.mu.Lock()
	p.ways[i] = append(p.ways[i], way)
	p.mu.Unlock()
	_, _ = c.Read(make([]byte, 1))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ways[i] = slices.DeleteFunc(p.ways[i], func(f *os.File) bool { return f == way })
}

// A packet as the sockets have it: the kernel's notes, addresses of hardware,
// and what is of version 4.
const (
	notes    = 10
	hardware = 14
	header   = 20
	largest  = notes + hardware + 64<<10
)

// move moves what the task sends, as read has it.
func (p *peers) move(read func([]byte) (int, error), errs *log.Logger) {
	b := make([]byte, largest)
	for {
		n, err := read(b)
		switch {
		case err == nil:
			if to := p.to(b[:n]); to >= 0 {
				p.send(to, b[:n])
			}
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EINVAL): // the second is of one packet, which is gone
		default:
			errs.Printf("way to peers: %v", err)
			return
		}
	}
}

// to says for which host a packet is and writes that host's hardware address
// into it; -1 is for none, or not from this one.
func (p *peers) to(packet []byte) int {
	if len(packet) < notes+hardware+header {
		return -1
	}
	hw, ip := packet[notes:notes+hardware], packet[notes+hardware:]
	if binary.BigEndian.Uint16(hw[12:]) != unix.ETH_P_IP || ip[0]>>4 != 4 {
		return -1
	}
	if netip.AddrFrom4([4]byte(ip[12:16])) != jail.PeerAddr(p.me) {
		return -1
	}
	to := int(binary.BigEndian.Uint16(ip[18:20])) - 1
	if to < 0 || to >= p.count || to == p.me || netip.AddrFrom4([4]byte(ip[16:20])) != jail.PeerAddr(to) {
		return -1
	}
	source, destination := jail.PeerMAC(p.me), jail.PeerMAC(to)
	copy(hw, destination[:])
	copy(hw[6:], source[:])
	return to
}

func (p *peers) send(to int, packet []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.ways[to]; len(w) > 0 {
		_ = unix.Sendto(int(w[len(w)-1].Fd()), packet, unix.MSG_DONTWAIT, nil)
	}
}
