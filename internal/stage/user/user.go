// Package user is who is who in a notebook's task, as its first process sees
// it. That process is root of the task; all that the instance's user runs is
// ec2-user's. Where a task has one id only, both are the same and nothing here
// does anything. Start at Two.
package user

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ID is ec2-user's, where the task has two.
const ID = 1000

// Two says whether this process is root of a task in which it can become
// ec2-user.
func Two() bool {
	return os.Geteuid() == 0 && rights()&(1<<unix.CAP_SETUID) != 0
}

// rights are the capabilities that this thread may use.
func rights() uint64 {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return 0
	}
	return uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted)
}

// As makes a child ec2-user's. may hands it on what makes sudo work; without,
// there is no way from it to root.
func As(sys *syscall.SysProcAttr, may bool) *syscall.SysProcAttr {
	if !Two() {
		return sys
	}
	sys.Credential = &syscall.Credential{Uid: ID, Gid: ID, Groups: []uint32{ID}}
	if !may {
		return sys
	}
	all := rights()
	for c := range uintptr(64) {
		if all&(1<<c) != 0 {
			sys.AmbientCaps = append(sys.AmbientCaps, c)
		}
	}
	return sys
}

// Do calls f on a thread that signals and looks at processes and files as
// ec2-user does, which root of a task without all of root's rights could not.
func Do(f func()) error {
	if !Two() {
		f()
		return nil
	}
	runtime.LockOSThread()
	const keep = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, keep, ID, keep); errno != 0 { // ptrace(2) compares groups, too
		runtime.UnlockOSThread()
		return fmt.Errorf("become group %d: %w", ID, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, ID, keep); errno != 0 {
		return fmt.Errorf("become user %d: %w", ID, errno) // the thread ends with its goroutine
	}
	restoreRights() // they went with the id
	f()
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, 0, keep); errno != 0 {
		return fmt.Errorf("become root again: %w", errno) // the thread ends with its goroutine
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, keep, 0, keep); errno != 0 {
		return fmt.Errorf("become root's group again: %w", errno)
	}
	runtime.UnlockOSThread()
	return nil
}

func restoreRights() {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return
	}
	for i := range data {
		data[i].Effective = data[i].Permitted
	}
	_ = unix.Capset(&hdr, &data[0]) // less can be looked at without
}

// NoBequest sees to it that what this process starts gets rights by As alone.
func NoBequest() error {
	if !Two() {
		return nil
	}
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("ambient set: %w", errno)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	for i := range data {
		data[i].Inheritable = 0
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("inheritable set: %w", errno)
	}
	return nil
}
