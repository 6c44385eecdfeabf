package activity

import (
	"cmp"
	"slices"
	"time"

	"clary/internal/stage/agent"
)

// view is a sample with its processes as a tree, and what was known before.
type view struct {
	agent.Sample
	before   State
	byPID    map[int]*agent.Process
	children map[int]int // living ones
	kernels  map[int]*agent.Kernel
	shells   map[int]*agent.Terminal
	shown    map[int]bool // terminals (tty) at which something is shown to a reader
	commands map[int]kind // by the command line alone
	kinds    map[int]kind // where they stand
}

func newView(x agent.Sample, s State) *view {
	v := &view{
		Sample: x, before: s,
		byPID: map[int]*agent.Process{}, children: map[int]int{}, kernels: map[int]*agent.Kernel{}, shells: map[int]*agent.Terminal{},
		shown: map[int]bool{}, commands: map[int]kind{}, kinds: map[int]kind{},
	}
	for i := range x.Processes {
		v.byPID[x.Processes[i].PID] = &x.Processes[i]
	}
	for i, k := range x.Kernels {
		if k.PID != 0 {
			v.kernels[k.PID] = &x.Kernels[i]
		}
	}
	for i, t := range x.Terminals {
		v.shells[t.PID] = &x.Terminals[i]
	}
	for _, p := range x.Processes {
		if p.State != "Z" {
			v.children[p.Parent]++
		}
		k := command(p)
		v.commands[p.PID] = k
		if (k == reader || k == monitor) && p.TTY != 0 && p.Foreground {
			v.shown[p.TTY] = true
		}
	}
	for _, p := range x.Processes {
		v.kinds[p.PID] = v.kind(p)
	}
	return v
}

// kind is what a process is where it stands.
func (v *view) kind(p agent.Process) kind {
	own := v.commands[p.PID]
	switch {
	case p.Own || p.State == "Z" || p.State == "T" || p.State == "t":
		return nothing // its own, dead, or halted
	case v.kernels[p.PID] != nil:
		return kernel
	case v.errand(p) || v.below(p, monitor):
		return nothing
	case v.copied(p, own):
		return worker
	case own != program:
		return own
	case len(p.Listens) > 0:
		return server
	case p.TTY != 0 && p.Foreground && v.shown[p.TTY]:
		return shown
	case p.Waits == agent.WaitsChild && v.children[p.PID] > 0:
		return waiter
	}
	return program
}

// copied says whether a process is a copy that a kernel, a prompt or a server
// made of itself, to do some of its work. A program's copies are programs.
func (v *view) copied(p agent.Process, by kind) bool {
	parent := v.byPID[p.Parent]
	if parent == nil || parent.Own || p.Args == "" || p.Args != parent.Args {
		return false
	}
	return v.kernels[parent.PID] != nil || by == prompt || by == program && len(p.Listens) > 0
}

// deepest is how many ancestors of a process are looked at. It is a tree, unless
// it changed while it was read, or whoever tells of it lies.
const deepest = 64

// errandTime is for how long a process may be one of the instance's own
// errands: JupyterLab that looks after a repository, a line of crontab.
const errandTime = 30 * time.Second

// errand says whether a process belongs to something that the instance's own
// processes have just begun, and that is neither a kernel nor a terminal.
func (v *view) errand(p agent.Process) bool {
	for range deepest {
		parent := v.byPID[p.Parent]
		if v.kernels[p.PID] != nil || v.shells[p.PID] != nil || parent == nil {
			return false
		}
		if parent.Own {
			return v.At.Sub(p.Started) < errandTime
		}
		p = *parent
	}
	return false
}

// below says whether one of a process's ancestors is of a kind.
func (v *view) below(p agent.Process, k kind) bool {
	for range deepest {
		parent := v.byPID[p.Parent]
		if parent == nil || parent.Own {
			return false
		}
		if v.commands[parent.PID] == k {
			return true
		}
		p = *parent
	}
	return false
}

// running are the processes and kernels that are at work, in words.
func (v *view) running() []string {
	var out []string
	for _, k := range v.Kernels {
		if k.State != "busy" {
			continue
		}
		if p := v.byPID[k.PID]; k.PID == 0 || p != nil && p.State != "Z" {
			out = append(out, kernelName(k)+" is busy")
		}
	}
	for _, p := range v.Processes {
		if words := v.works(p); words != "" {
			out = append(out, words)
		}
	}
	return out
}

// works says in words what a process is at; "" nothing.
func (v *view) works(p agent.Process) string {
	k := v.kinds[p.PID]
	if k == program {
		return processName(p) + " runs" + v.place(p)
	}
	r := k.rule()
	switch {
	case r.never:
		return ""
	case k == kernel && v.kernels[p.PID].State == "busy":
		return "" // said already
	case slices.Contains(r.works, p.Waits):
		return processName(p) + " runs" + v.place(p)
	case !v.computes(p, r):
		return ""
	case k == kernel:
		return kernelName(*v.kernels[p.PID]) + " computes without a cell"
	}
	return processName(p) + " computes" + v.place(p)
}

// computes says whether a process did more since it was last noted than what
// waits does.
func (v *view) computes(p agent.Process, r rule) bool {
	had, known := v.before.Used[p.PID]
	now := used(p)
	took := ms(v.Up) - v.before.Base
	if !known || now.CPU < had.CPU { // a new one, perhaps of the same number
		if v.before.Base > 0 && v.moment(p.Started) < v.before.Base {
			return false // it was there, and was not looked at: next time
		}
		had = Used{}
		took = max(span, ms(v.At.Sub(p.Started)))
	}
	// a second, and then a fiftieth of the time
	if now.CPU-had.CPU > int64(max(1, r.cpu))*(1000+took/50) {
		return true
	}
	// a mebibyte, and then 16 KiB a second
	return r.bytes && now.Bytes-had.Bytes > 1<<20+took*16
}

func used(p agent.Process) Used {
	return Used{CPU: ms(p.CPU), Bytes: max(0, p.Read) + max(0, p.Wrote)}
}

// used is what is noted of the processes that count by what they do; those that
// did most, if they are very many.
func (v *view) used() map[int]Used {
	var list []agent.Process
	for _, p := range v.Processes {
		if k := v.kinds[p.PID]; k != program && !k.rule().never {
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(a, b agent.Process) int { return cmp.Compare(b.CPU, a.CPU) })
	out := map[int]Used{}
	for _, p := range list[:min(len(list), maxUsed)] {
		out[p.PID] = used(p)
	}
	return out
}
