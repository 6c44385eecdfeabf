package server

import (
	"sync"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox"
	"clary/internal/compute/sandbox/task"
	"clary/internal/meter"
)

// clock reads the machine's count of the time that it was awake.
func clock() func() meter.Moment {
	boot := sync.OnceValue(task.BootID)
	return func() meter.Moment {
		var t unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // every Linux has it
		return meter.Moment{Boot: boot(), Awake: t.Nano()}
	}
}

// newDriver is the list of drivers; sandbox is the only one.
func newDriver(cfg Config, dir, bin, sock, bundle, addr string) (driver, error) {
	p := hostProxy(addr)
	return sandbox.New(sandbox.Config{
		Dir: dir, TaskBinary: bin, APISocket: sock, CABundle: bundle,
		EgressAllow: cfg.TaskEgressAllow, HTTPProxy: p.http, HTTPSProxy: p.https, NoProxy: p.no,
	})
}
