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
	"lookup_dcookie", "memfd_secret", "migrate_pages", "modify_ldt", "mount", "mount_setattr", "move_mount", "move_pages", "name_to_handle_at", "nfsservctl", "open_by_handle_at",
	"open_tree", "perf_event_open", "pivot_root", "query_module", "quotactl", "quotactl_fd", "reboot", "request_key", "setdomainname",
	"sethostname", "setns", "settimeofday", "stime", "swapoff", "swapon", "syslog", "umount", "umount2", "unshare", "uselib", "userfaultfd",
	"ustat", "vhangup", "vmsplice",
}

// absent are system calls whose arguments lie in memory, where a filter cannot
// look; libraries do without them on older kernels.
var absent = []string{"clone3", "openat2"} //nolint:gochecknoglobals // a constant table

// newest is the last system call that was looked at (futex_requeue). What
// kernels have learned since is not there: libraries do without that as well.
const newest = 456

// pretend stands for "no error", which the library takes for "unset".
const pretend = 4000

const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// Assemble makes the filter for this machine, as the kernel takes it. A task
// may give files to 0 and to the ids in others, those that it has besides.
func Assemble(others ...uint64) ([]byte, error) {
	info, err := arch.GetInfo(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	program := guard(info)
	for _, g := range groups(info, others) {
		policy := seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: []seccomp.SyscallGroup{g}}
		insts, err := policy.Assemble()
		if err != nil {
			return nil, err
		}
		// The last instruction allows; without it the next group is asked.
		program = append(program, insts[:len(insts)-1]...)
	}
	program = append(program, bpf.RetConstant{Val: uint32(seccomp.ActionAllow)})
	for i, inst := range program {
		if r, ok := inst.(bpf.RetConstant); ok && r.Val == uint32(seccomp.ActionErrno|pretend) {
			program[i] = bpf.RetConstant{Val: uint32(seccomp.ActionErrno)}
		}
	}
	return encode(program)
}

// guard is what the library cannot say.
func guard(info *arch.Info) []bpf.Instruction {
	const number, architecture, secondArgument = 0, 4, 24 // offsets; the lower half of the argument
	refuse := func(errno uint32) bpf.Instruction { return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | errno} }
	return []bpf.Instruction{
		// The library lets calls of a foreign architecture (32-bit code)
		// through to the default; here that would pass by every rule.
		bpf.LoadAbsolute{Off: architecture, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		refuse(uint32(unix.ENOSYS)),
		bpf.LoadAbsolute{Off: number, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: newest, SkipFalse: 1},
		refuse(uint32(unix.ENOSYS)),
		// The kernel takes half of this argument, the library compares all of
		// it: what is equal in that half is equal here.
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(info.SyscallNames["ioctl"]), SkipTrue: 5},
		bpf.LoadAbsolute{Off: secondArgument, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.TIOCSTI, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.TIOCLINUX, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.TIOCSETD, SkipTrue: 1},
		refuse(uint32(unix.EPERM)),
	}
}

// groups are the rules, each of one answer.
func groups(info *arch.Info, others []uint64) []seccomp.SyscallGroup {
	fail := func(e unix.Errno) seccomp.Action { return seccomp.ActionErrno | seccomp.Action(e) }
	known := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(n string) bool { _, ok := info.SyscallNames[n]; return !ok })
	}
	when := func(action seccomp.Action, rules ...seccomp.NameWithConditions) seccomp.SyscallGroup {
		return seccomp.SyscallGroup{Action: action, NamesWithCondtions: slices.DeleteFunc(rules, func(r seccomp.NameWithConditions) bool { return len(known([]string{r.Name})) == 0 })}
	}
	return []seccomp.SyscallGroup{
		{Names: known(absent), Action: fail(unix.ENOSYS)},
		{Names: known(denied), Action: fail(unix.EPERM)},
		when(fail(unix.EPERM), rule("clone", has(0, namespaces))),
		when(fail(unix.EPERM), rule("personality", none(0, 0, 8, 0x20000, 0x20008, math.MaxUint32))), // native and 32-bit, with old release numbers or without; asking
		// A program speaks to itself, to its task's hosts and relays, and asks
		// which addresses it has. The library compares more of an argument
		// than the kernel takes, so only what is allowed can be listed.
		when(fail(unix.EAFNOSUPPORT), rule("socket", none(0, unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK)), rule("socketpair", none(0, unix.AF_UNIX))),
		when(fail(unix.EPROTONOSUPPORT),
			rule("socket", none(0, unix.AF_UNIX, unix.AF_INET, unix.AF_INET6), none(2, unix.NETLINK_ROUTE)),
			rule("socket", none(0, unix.AF_UNIX, unix.AF_NETLINK), none(2, 0, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6))),
		// What a task leaves in a folder of the host may belong to root there.
		when(fail(unix.EPERM),
			rule("chmod", has(1, unix.S_ISUID)), rule("fchmod", has(1, unix.S_ISUID)), rule("fchmodat", has(2, unix.S_ISUID)), rule("fchmodat2", has(2, unix.S_ISUID)),
			rule("creat", has(1, unix.S_ISUID)), rule("mknod", has(1, unix.S_ISUID)), rule("mknodat", has(2, unix.S_ISUID)),
			rule("open", has(1, makes), has(2, unix.S_ISUID)), rule("openat", has(2, makes), has(3, unix.S_ISUID))),
		// A task has one id or two, archives name others: whoever unpacks one
		// as 0 would fail for that, so giving files away succeeds and does
		// nothing.
		when(seccomp.ActionErrno|pretend, owners(others)...),
	}
}

// makes are the flags with which an open reads a mode.
const makes = unix.O_CREAT | unix.O_TMPFILE&^unix.O_DIRECTORY

func rule(name string, all ...seccomp.ArgumentConditions) seccomp.NameWithConditions {
	return seccomp.NameWithConditions{Name: name, Conditions: slices.Concat(all...)}
}

// has is an argument with one of these bits.
func has(arg uint32, bits uint64) seccomp.ArgumentConditions {
	return seccomp.ArgumentConditions{{Argument: arg, Operation: seccomp.BitsSet, Value: bits}}
}

// none is an argument that is none of these.
func none(arg uint32, values ...uint64) (all seccomp.ArgumentConditions) {
	for _, v := range values {
		all = append(all, seccomp.Condition{Argument: arg, Operation: seccomp.NotEqual, Value: v})
	}
	return all
}

func owners(others []uint64) (rules []seccomp.NameWithConditions) {
	for _, c := range []struct {
		name string
		uid  uint32
	}{{"chown", 1}, {"fchown", 1}, {"lchown", 1}, {"fchownat", 2}} {
		for _, arg := range []uint32{c.uid, c.uid + 1} {
			rules = append(rules, rule(c.name, none(arg, append([]uint64{0, math.MaxUint32, math.MaxUint64}, others...)...))) // 0, and -1 in both widths: leave as it is
		}
	}
	return rules
}

func encode(program []bpf.Instruction) ([]byte, error) {
	raw, err := bpf.Assemble(program)
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
