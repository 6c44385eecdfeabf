package jail

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confine takes every privilege from this process and its children to come:
// capabilities but those that are said, new privileges by exec, files beyond the
// fence, and the system calls that the filter denies. It is called on a locked
// thread, from which the children are then made.
func confine(f fence, filter []byte, c capabilities) error {
	if err := c.drop(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if err := f.raise(); err != nil {
		return err
	}
	return loadFilter(filter)
}

// become makes id this process's user and group on every thread, while files
// are still looked at and made as 0, whose they are: what runs as 0 can then
// neither signal nor trace this process, nor look into it, whatever else
// failed. Groups are the caller's to set before.
func become(id int) error {
	const noFixup, noFixupLocked = 1 << 2, 1 << 3 // of capabilities, which the rest needs
	n := uintptr(id)
	for _, c := range []struct {
		what       string
		trap, a, b uintptr
		c          uintptr
	}{
		{"keep capabilities", unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, noFixup | noFixupLocked, 0},
		{"group", unix.SYS_SETRESGID, n, n, n},
		{"user", unix.SYS_SETRESUID, n, n, n},
		{"group for files", unix.SYS_SETFSGID, 0, 0, 0},
		{"user for files", unix.SYS_SETFSUID, 0, 0, 0},
	} {
		if _, _, errno := syscall.AllThreadsSyscall(c.trap, c.a, c.b, c.c); errno != 0 {
			return fmt.Errorf("%s: %w", c.what, errno)
		}
	}
	// These two tell nothing of failure, but what holds.
	for _, trap := range []uintptr{unix.SYS_SETFSUID, unix.SYS_SETFSGID} {
		if now, _, _ := unix.RawSyscall(trap, ^uintptr(0), 0, 0); now != 0 {
			return fmt.Errorf("files are looked at as %d", now)
		}
	}
	return nil
}

// SudoCapabilities are those of a user who may become root of the task. They
// count for the task's own ids alone.
const SudoCapabilities = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER

// BecomeUser makes id the user and only group of this thread and of what it
// execs, with the capabilities in keep, which programs then hand on. It is
// called on a locked thread; other threads stay who they are.
func BecomeUser(id int, keep uint64) error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	n := uintptr(id)
	group := uint32(id)
	for _, c := range []struct {
		what       string
		trap, a, b uintptr
		c          uintptr
	}{
		{"groups", unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&group)), 0},
		{"group", unix.SYS_SETRESGID, n, n, n},
		{"user", unix.SYS_SETRESUID, n, n, n},
	} {
		if _, _, errno := unix.RawSyscall(c.trap, c.a, c.b, c.c); errno != 0 {
			return fmt.Errorf("%s: %w", c.what, errno)
		}
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	lo, hi := uint32(keep), uint32(keep>>32)
	data := [2]unix.CapUserData{{Effective: lo, Permitted: lo, Inheritable: lo}, {Effective: hi, Permitted: hi, Inheritable: hi}}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	for c := range uintptr(64) {
		if keep&(1<<c) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
			return fmt.Errorf("hand on capabilities: %w", err)
		}
	}
	return nil
}

// limitProgram bounds what the program may open, and keeps it from leaving
// images of itself.
func limitProgram(pids uint64) error {
	const most = 65536
	var files syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("limit of descriptors: %w", err)
	}
	files.Max = min(files.Max, most)
	files.Cur = files.Max
	// By this package, since exec would bring back what it knows of.
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("limit of descriptors: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limit of cores: %w", err)
	}
	if pids > 0 {
		if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: pids, Max: pids}); err != nil {
			return fmt.Errorf("limit of processes: %w", err)
		}
	}
	return nil
}

// capabilities are sets of them, a bit each.
type capabilities struct {
	own     uint64 // of this process
	bequest uint64 // that what it execs may have at most
}

// dropCapabilities leaves this process those in keep and no more; children
// that exec get none beyond them, whatever their user.
func dropCapabilities(keep uint64) error { return capabilities{keep, keep}.drop() }

func (c capabilities) drop() error {
	for n := range uintptr(64) {
		if c.bequest&(1<<n) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, n, 0, 0, 0); errors.Is(err, unix.EINVAL) {
			break // past the last one
		} else if err != nil {
			return fmt.Errorf("bounding set: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("ambient set: %w", err)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	lo, hi := uint32(c.own), uint32(c.own>>32)
	data := [2]unix.CapUserData{{Effective: lo, Permitted: lo}, {Effective: hi, Permitted: hi}}
	// Every thread has a set of its own.
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("capabilities: %w", errno)
	}
	return nil
}

// loadFilter installs an assembled filter on every thread.
func loadFilter(filter []byte) error {
	const size = int(unsafe.Sizeof(unix.SockFilter{}))
	if len(filter) == 0 || len(filter)%size != 0 {
		return fmt.Errorf("system call filter of %d bytes", len(filter))
	}
	prog := make([]unix.SockFilter, len(filter)/size)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&prog[0])), len(filter)), filter)
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog))); errno != 0 {
		return fmt.Errorf("system call filter: %w", errno)
	}
	return nil
}
