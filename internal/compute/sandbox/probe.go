package sandbox

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/limit"
	"clary/internal/compute/sandbox/task"
)

func machineSize() (compute.Capacity, error) {
	total, _, err := memory()
	return compute.Capacity{VCPU: runtime.NumCPU(), MemoryBytes: total}, err
}

// memory is the machine's memory and how much of it is free for use.
func memory() (total, available int64, err error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		name, v, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
		switch name {
		case "MemTotal":
			total = n << 10
		case "MemAvailable":
			available = n << 10
		}
	}
	return total, available, nil
}

// Probe looks at the machine.
func (d *Driver) Probe(context.Context) (compute.Capacity, error) {
	c, err := machineSize()
	if err != nil {
		return c, err
	}
	c.Root = d.root
	name := fmt.Sprintf("clary-probe-%d", os.Getpid())
	g, err := limit.New(name, limit.Limits{VCPU: 1, MemoryBytes: 64 << 20, PIDs: 16})
	if err == nil {
		err = g.Remove()
	}
	if err != nil {
		c.Notes = append(c.Notes, "no control groups ("+err.Error()+"): memory is watched once a second, processors are shared by affinity")
	}
	c.Limits = err == nil
	for _, ctl := range []string{"memory", "cpu", "pids"} {
		if err == nil && !g.Has(ctl) {
			c.Limits = false
			c.Notes = append(c.Notes, "no control group controller "+ctl)
		}
	}
	if !d.root {
		c.Notes = append(c.Notes, "not root: all tasks run as this user, separated by namespaces alone")
	}
	return c, nil
}

// admit refuses what would not fit now. The caller holds mu.
func (d *Driver) admit() error {
	if _, available, err := memory(); err == nil && available < d.cfg.MinFree {
		return fmt.Errorf("%w: %d MiB of memory are free, %d needed", compute.ErrCapacity, available>>20, d.cfg.MinFree>>20)
	}
	if d.cfg.MaxTasks <= 0 {
		return nil
	}
	running := 0
	for _, id := range d.uids {
		if alive, err := task.Alive(d.dir(id)); err == nil && alive {
			running++
		}
	}
	if running >= d.cfg.MaxTasks {
		return fmt.Errorf("%w: %d tasks are running", compute.ErrCapacity, running)
	}
	return nil
}
