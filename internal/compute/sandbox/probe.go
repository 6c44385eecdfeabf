package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/limit"
	"clary/internal/compute/sandbox/volume"
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

// privileged says whether this process may give tasks user ids of their own.
// The 0 of a container often may not, and is then a user like any other.
func privileged() bool {
	if os.Geteuid() != 0 {
		return false
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return false
	}
	const need = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN
	return data[0].Effective&need == need
}

// inNamespaces tries a verb in such as a task needs.
func (d *Driver) inNamespaces(ctx context.Context, verb string) error {
	cmd := exec.CommandContext(ctx, d.cfg.TaskBinary, verb)
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return errors.New(cmp.Or(strings.TrimSpace(said.String()), err.Error()))
	}
	return nil
}

// Probe looks at the machine.
func (d *Driver) Probe(ctx context.Context) (compute.Capacity, error) {
	c, err := machineSize()
	if err != nil {
		return c, err
	}
	c.Root, c.Tasks = d.root, d.cfg.MaxTasks
	if err := d.inNamespaces(ctx, "hold"); err != nil {
		c.Notes = append(c.Notes, "no task can run: user namespaces are not allowed here ("+err.Error()+"); see sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns")
	} else if err := d.inNamespaces(ctx, "peers"); err != nil {
		c.Notes = append(c.Notes, "no job of several hosts can run: "+err.Error())
	}
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
	switch err := d.volumes.usable(); {
	case err == nil:
		c.Volumes = true
	case d.root:
		c.Notes = append(c.Notes, "volumes are folders ("+err.Error()+"): their size is watched once a second, and a program that means harm can hide files from that")
	default:
		c.Notes = append(c.Notes, "volumes are folders: their size is watched once a second, and a program that means harm can hide files from that; run as root they are file systems of their own")
	}
	if c.Volumes {
		if err := volume.Usable(); err != nil {
			c.Notes = append(c.Notes, "volumes of notebook instances are folders ("+err.Error()+"): their size is watched once a second")
		}
	}
	if jail.Landlock() < 2 { // the first one forbids every move between folders
		c.Notes = append(c.Notes, "no Landlock in this kernel (5.19 or newer, named in its lsm= list): files are guarded by mounts and ids alone")
	}
	if _, err := exec.LookPath("git"); err != nil {
		c.Notes = append(c.Notes, "no git on this machine, so notebook instances have none: apt-get install git")
	}
	for _, name := range []string{"jq", "wget"} {
		if _, err := exec.LookPath(name); err != nil {
			c.Notes = append(c.Notes, "no "+name+" on this machine, which lifecycle scripts of notebook instances often call: apt-get install "+name)
		}
	}
	if !d.root {
		c.Notes = append(c.Notes, "no privileges: all tasks run as this user, separated by namespaces alone")
	}
	return c, nil
}

// admit refuses what would not fit now. A runtime's build is not counted: jobs
// wait for it. The caller holds mu.
func (d *Driver) admit(kind string) error {
	if _, available, err := memory(); err == nil && available < d.cfg.MinFree {
		return fmt.Errorf("%w: %d MiB of memory are free, %d needed", compute.ErrCapacity, available>>20, d.cfg.MinFree>>20)
	}
	// Whoever has not ended is watched, or about to be.
	if running := len(d.watches) + d.beginning; running >= d.cfg.MaxTasks && kind != "build" {
		return fmt.Errorf("%w: %d tasks are running", compute.ErrCapacity, running)
	}
	return nil
}
