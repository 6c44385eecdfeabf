package supervisor

import (
	"cmp"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/limit"
	"clary/internal/compute/sandbox/task"
)

// account takes what the running task uses into the status, for the next write
// to tell.
func (s *supervisor) account() {
	used := func() time.Duration { return limit.CPU(s.init.Process.Pid) }
	s.use(s.clock.Now(), used, cmp.Or(s.group.Memory(), s.memory.Load()))
}

// settle is account once init is gone, and the program's memory with it.
func (s *supervisor) settle() {
	used := func() time.Duration { return s.init.ProcessState.UserTime() + s.init.ProcessState.SystemTime() }
	s.use(s.end.at, used, cmp.Or(s.status.Usage.Memory, s.group.Peak(), s.memory.Load()))
	if s.disk > 0 {
		_ = unix.Close(s.disk)
		s.disk = 0
	}
}

// use has the processor time from cpu where no group counts it.
func (s *supervisor) use(at time.Time, cpu func() time.Duration, memory int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Started.IsZero() {
		return
	}
	u := compute.Usage{At: at, CPU: s.group.CPU(), Memory: memory, Disk: s.files.Load()}
	if u.CPU == 0 {
		u.CPU = cpu()
	}
	var fs unix.Statfs_t
	if s.disk > 0 && unix.Fstatfs(s.disk, &fs) == nil {
		u.Disk = int64(fs.Blocks-fs.Bfree) * fs.Bsize //nolint:unconvert // differs by architecture
	}
	s.status.Usage = u
}

// openDisk opens the task's own disk where it is a file system; what lies at
// this path once the program runs is the program's word.
func (s *supervisor) openDisk() {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/root/opt/ml", s.init.Process.Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	var inside, outside unix.Stat_t
	if unix.Fstat(fd, &inside) != nil || unix.Stat(task.VolDir, &outside) != nil || inside.Dev == outside.Dev {
		_ = unix.Close(fd)
		return
	}
	s.disk = fd
}
