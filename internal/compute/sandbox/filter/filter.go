// Package filter says which system calls a job may make. The server assembles
// the filter once; it reaches a task as bytes in its spec, so that the small
// binary needs no assembler. Start reading at Assemble.
package filter

import (
	"encoding/binary"
	"math"
	"runtime"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// denied are system calls that a job has no use for and that reach deep into
// the kernel, change the machine, or would let it make namespaces in which it
// had capabilities.
var denied = []string{ //nolint:gochecknoglobals // a constant table
	"_sysctl", "acct", "add_key", "adjtimex", "bpf", "chroot", "clock_adjtime", "clock_settime", "create_module", "delete_module",
	"fanotify_init", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "get_kernel_syms", "init_module",
	"io_uring_enter", "io_uring_register", "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl",
	"lookup_dcookie", "memfd_secret", "mount", "mount_setattr", "move_mount", "move_pages", "name_to_handle_at", "nfsservctl", "open_by_handle_at",
	"open_tree", "perf_event_open", "pivot_root", "query_module", "quotactl", "quotactl_fd", "reboot", "request_key", "setdomainname",
	"sethostname", "setns", "settimeofday", "stime", "swapoff", "swapon", "syslog", "umount", "umount2", "unshare", "uselib", "userfaultfd",
	"ustat", "vhangup", "vmsplice",
}

// pretend stands for "no error", which the library takes for "unset".
const pretend = 4000

const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// Assemble makes the filter for this machine, as the kernel takes it.
func Assemble() ([]byte, error) {
	info, err := arch.GetInfo(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	known := func(names ...string) []string {
		return slices.DeleteFunc(names, func(n string) bool { _, ok := info.SyscallNames[n]; return !ok })
	}
	equal := func(arg uint32, v uint64) seccomp.ArgumentConditions {
		return seccomp.ArgumentConditions{{Argument: arg, Operation: seccomp.Equal, Value: v}}
	}
	conditional := []seccomp.NameWithConditions{
		{Name: "clone", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsSet, Value: namespaces}}},
		{Name: "ioctl", Conditions: equal(1, unix.TIOCSTI)},
		{Name: "ioctl", Conditions: equal(1, unix.TIOCLINUX)},
	}
	for _, family := range []uint64{unix.AF_ALG, unix.AF_VSOCK, unix.AF_PACKET, unix.AF_KEY, unix.AF_TIPC, unix.AF_RDS, unix.AF_BLUETOOTH, unix.AF_CAN, unix.AF_XDP, unix.AF_NFC, unix.AF_QIPCRTR, unix.AF_SMC} {
		conditional = append(conditional, seccomp.NameWithConditions{Name: "socket", Conditions: equal(0, family)})
	}
	owners := []seccomp.NameWithConditions{}
	for _, c := range []struct {
		name string
		uid  uint32
	}{{"chown", 1}, {"fchown", 1}, {"lchown", 1}, {"fchownat", 2}} {
		if len(known(c.name)) == 0 {
			continue
		}
		for _, arg := range []uint32{c.uid, c.uid + 1} {
			var foreign seccomp.ArgumentConditions
			for _, own := range []uint64{0, math.MaxUint32, math.MaxUint64} { // 0, and -1 in both widths: leave as it is
				foreign = append(foreign, seccomp.Condition{Argument: arg, Operation: seccomp.NotEqual, Value: own})
			}
			owners = append(owners, seccomp.NameWithConditions{Name: c.name, Conditions: foreign})
		}
	}
	policy := seccomp.Policy{
		DefaultAction: seccomp.ActionAllow,
		Syscalls: []seccomp.SyscallGroup{
			// Its flags lie in memory where a filter cannot look; libraries
			// fall back to clone.
			{Names: known("clone3"), Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)},
			{Names: known(slices.Clone(denied)...), Action: seccomp.ActionErrno},
			// After these, since the conditions overwrite the call's number.
			{NamesWithCondtions: conditional, Action: seccomp.ActionErrno},
			// A task has one id or two, archives name others: whoever unpacks
			// one as 0 would fail for that, so giving files away succeeds and
			// does nothing.
			{NamesWithCondtions: owners, Action: seccomp.ActionErrno | pretend},
		},
	}
	insts, err := policy.Assemble()
	if err != nil {
		return nil, err
	}
	for i, inst := range insts {
		if r, ok := inst.(bpf.RetConstant); ok && r.Val == uint32(seccomp.ActionErrno|pretend) {
			insts[i] = bpf.RetConstant{Val: uint32(seccomp.ActionErrno)}
		}
	}
	// The library lets calls of a foreign architecture (32-bit code) through
	// to the default; here that would pass by every rule.
	guard := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 4, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
	}
	raw, err := bpf.Assemble(append(guard, insts...))
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 8*len(raw))
	for _, r := range raw {
		b = binary.NativeEndian.AppendUint16(b, r.Op)
		b = append(b, r.Jt, r.Jf)
		b = binary.NativeEndian.AppendUint32(b, r.K)
	}
	return b, nil
}
