package filter

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// machine runs the filter as the kernel does, on a call's number and arguments.
func machine(t *testing.T) func(id uint32, nr int, args ...uint64) uint32 {
	t.Helper()
	b, err := Assemble()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(b) / 8; n > 4096 {
		t.Fatalf("%d instructions, the kernel takes 4096", n)
	}
	var raw []bpf.RawInstruction
	for ; len(b) > 0; b = b[8:] {
		raw = append(raw, bpf.RawInstruction{Op: binary.NativeEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.NativeEndian.Uint32(b[4:])})
	}
	insts, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter cannot be read back")
	}
	vm, err := bpf.NewVM(insts)
	if err != nil {
		t.Fatal(err)
	}
	return func(id uint32, nr int, args ...uint64) uint32 {
		// The virtual machine loads in network order, the kernel natively.
		d := make([]byte, 64)
		binary.BigEndian.PutUint32(d, uint32(nr))
		binary.BigEndian.PutUint32(d[4:], id)
		for i, a := range args {
			binary.BigEndian.PutUint32(d[16+8*i:], uint32(a))
			binary.BigEndian.PutUint32(d[20+8*i:], uint32(a>>32))
		}
		v, err := vm.Run(d)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(v)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	info, err := arch.GetInfo(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	run := machine(t)
	const allow = uint32(unix.SECCOMP_RET_ALLOW)
	errno := func(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }
	const wide = 1 << 32
	for _, tt := range []struct {
		name string
		args []uint64
		want uint32
	}{
		{"read", nil, allow},
		{"mount", nil, errno(unix.EPERM)},
		{"bpf", nil, errno(unix.EPERM)},
		{"clone3", nil, errno(unix.ENOSYS)},
		{"clone", []uint64{unix.CLONE_VM | unix.CLONE_THREAD}, allow},
		{"clone", []uint64{unix.CLONE_NEWUSER | 17}, errno(unix.EPERM)},
		{"ioctl", []uint64{0, unix.TCGETS}, allow},
		{"ioctl", []uint64{0, unix.TIOCSTI}, errno(unix.EPERM)},
		{"ioctl", []uint64{0, unix.TIOCSTI | wide}, errno(unix.EPERM)},
		{"ioctl", []uint64{0, unix.TIOCLINUX | wide}, errno(unix.EPERM)},
		{"ioctl", []uint64{0, unix.TIOCSETD}, errno(unix.EPERM)},
		{"ioctl", []uint64{unix.TIOCSTI, unix.TCSETS}, allow},
		{"socket", []uint64{unix.AF_UNIX, 1, 0}, allow},
		{"socket", []uint64{unix.AF_INET6, 1, unix.IPPROTO_TCP}, allow},
		{"socket", []uint64{unix.AF_NETLINK, 3, unix.NETLINK_ROUTE}, allow},
		{"socket", []uint64{unix.AF_NETLINK, 3, unix.NETLINK_AUDIT}, errno(unix.EPROTONOSUPPORT)},
		{"socket", []uint64{unix.AF_INET, 1, unix.IPPROTO_SCTP}, errno(unix.EPROTONOSUPPORT)},
		{"socket", []uint64{unix.AF_VSOCK, 1, 0}, errno(unix.EAFNOSUPPORT)},
		{"socket", []uint64{unix.AF_VSOCK | wide, 1, 0}, errno(unix.EAFNOSUPPORT)},
		{"socket", []uint64{unix.AF_INET | wide, 1, 0}, errno(unix.EAFNOSUPPORT)},
		{"socketpair", []uint64{unix.AF_UNIX, 1, 0}, allow},
		{"socketpair", []uint64{unix.AF_TIPC, 1, 0}, errno(unix.EAFNOSUPPORT)},
		{"personality", []uint64{math32}, allow},
		{"personality", []uint64{0x0400000}, errno(unix.EPERM)},
		{"fchmodat", []uint64{0, 0, 0o755}, allow},
		{"fchmodat", []uint64{0, 0, 0o2755}, allow},
		{"fchmodat", []uint64{0, 0, 0o4755}, errno(unix.EPERM)},
		{"openat", []uint64{0, 0, unix.O_CREAT, 0o644}, allow},
		{"openat", []uint64{0, 0, unix.O_CREAT, 0o4644}, errno(unix.EPERM)},
		{"openat", []uint64{0, 0, unix.O_TMPFILE | unix.O_RDWR, 0o4644}, errno(unix.EPERM)},
		{"openat", []uint64{0, 0, unix.O_DIRECTORY, 0o4644}, allow}, // no mode is read
		{"openat2", nil, errno(unix.ENOSYS)},
		{"fchownat", []uint64{0, 0, 0, 0}, allow},
		{"fchownat", []uint64{0, 0, math32, 0}, allow},
		{"fchownat", []uint64{0, 0, 501, 20}, unix.SECCOMP_RET_ERRNO},
	} {
		nr, ok := info.SyscallNames[tt.name]
		if !ok {
			t.Errorf("no call %s", tt.name)
			continue
		}
		if got := run(uint32(info.ID), nr, tt.args...); got != tt.want {
			t.Errorf("%s(%x) = %#x, want %#x", tt.name, tt.args, got, tt.want)
		}
	}
	for nr, want := range map[int]uint32{newest: allow, newest + 1: errno(unix.ENOSYS), 1 << 30: errno(unix.ENOSYS), -1: errno(unix.ENOSYS)} {
		if got := run(uint32(info.ID), nr); got != want {
			t.Errorf("call %d = %#x, want %#x", nr, got, want)
		}
	}
	if got := run(uint32(info.ID)^1, info.SyscallNames["read"]); got != errno(unix.ENOSYS) {
		t.Errorf("a call of another architecture = %#x", got)
	}
}

const math32 = 1<<32 - 1
