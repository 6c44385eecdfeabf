package activity

import (
	"golang.org/x/sys/unix"

	"clary/internal/stage/agent"
)

// calls says what a thread waits for that sleeps in a system call.
func calls() map[int]string {
	return map[int]string{
		unix.SYS_READ: agent.WaitsInput, unix.SYS_READV: agent.WaitsInput, unix.SYS_RECVFROM: agent.WaitsInput, unix.SYS_RECVMSG: agent.WaitsInput,
		unix.SYS_ACCEPT: agent.WaitsInput, unix.SYS_ACCEPT4: agent.WaitsInput, unix.SYS_SELECT: agent.WaitsInput, unix.SYS_PSELECT6: agent.WaitsInput,
		unix.SYS_POLL: agent.WaitsInput, unix.SYS_PPOLL: agent.WaitsInput, unix.SYS_EPOLL_WAIT: agent.WaitsInput, unix.SYS_EPOLL_PWAIT: agent.WaitsInput,
		unix.SYS_EPOLL_PWAIT2: agent.WaitsInput,
		unix.SYS_NANOSLEEP:    agent.WaitsTime, unix.SYS_CLOCK_NANOSLEEP: agent.WaitsTime,
		unix.SYS_WAIT4: agent.WaitsChild, unix.SYS_WAITID: agent.WaitsChild,
		unix.SYS_FUTEX: agent.WaitsLock,
	}
}
