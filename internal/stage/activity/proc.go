package activity

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/stage/agent"
	"clary/internal/stage/user"
)

const (
	root    = "/proc"
	tick    = 10 * time.Millisecond // what proc counts processor time in
	maxArgs = 256                   // bytes
)

// look adds the processes and connections to a sample. Processes come and go
// while it looks: what is gone is left out.
func look(proc string, own []int, s *agent.Sample) error {
	boot, err := clock(unix.CLOCK_BOOTTIME)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return err
	}
	ports, err := sockets(proc)
	if err != nil {
		return err
	}
	holders := map[string]int{} // by socket
	see := func(pid int, p seen) {
		p.Started = s.At.Add(p.age - boot)
		p.Own = slices.Contains(own, pid)
		for _, inode := range p.sockets {
			if port, ok := ports.listening[inode]; ok && !slices.Contains(p.Listens, port) {
				p.Listens = append(p.Listens, port)
			}
			if _, ok := ports.established[inode]; ok {
				holders[inode] = pid
			}
		}
		slices.Sort(p.Listens)
		s.Processes = append(s.Processes, p.Process)
	}
	// A process shows what it does to its own user alone: first to this one,
	// then to the user of the instance.
	var hidden []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, shows, ok := process(filepath.Join(proc, e.Name()), pid); ok && shows {
			see(pid, p)
		} else if ok {
			hidden = append(hidden, pid)
		}
	}
	if err := user.Do(func() {
		for _, pid := range hidden {
			if p, _, ok := process(filepath.Join(proc, strconv.Itoa(pid)), pid); ok {
				see(pid, p)
			}
		}
	}); err != nil {
		return err
	}
	slices.SortFunc(s.Processes, func(a, b agent.Process) int { return a.PID - b.PID })
	s.Connections = ports.connections(holders, func(pid int) bool { return slices.Contains(own, pid) })
	return nil
}

// seen is a process while it is put together.
type seen struct {
	agent.Process
	age     time.Duration // from the machine's boot to its start
	sockets []string      // inodes
}

// process reads one, and says whether it showed what it reads, writes and has
// open, and whether it is still there.
func process(dir string, pid int) (p seen, shows, ok bool) {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return seen{}, false, false
	}
	p, err = parseStat(text)
	if err != nil {
		return seen{}, false, false
	}
	p.PID = pid
	if args, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil && len(args) > 0 {
		p.Args = printable(args)
	}
	p.Read, p.Wrote = -1, -1
	if io, err := os.ReadFile(filepath.Join(dir, "io")); err == nil {
		p.Read, p.Wrote = number(io, "rchar: "), number(io, "wchar: ")
	}
	if p.State == "S" || p.State == "D" {
		if call, err := os.ReadFile(filepath.Join(dir, "syscall")); err == nil {
			p.Waits = waits(string(call))
		}
	}
	p.sockets = held(filepath.Join(dir, "fd"))
	return p, p.Read >= 0, true
}

// parseStat reads what proc_pid_stat(5) describes. The name in it may hold
// anything; it ends at the last parenthesis.
func parseStat(text []byte) (seen, error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return seen{}, fmt.Errorf("no name in %.40q", text)
	}
	f := strings.Fields(string(text[end+1:]))
	const state, parent, group, tty, front, user, system, start = 0, 1, 2, 4, 5, 11, 12, 19
	if len(f) <= start {
		return seen{}, fmt.Errorf("%d fields in %.40q", len(f), text)
	}
	var n [start + 1]int64
	for _, i := range []int{parent, group, tty, front, user, system, start} {
		v, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return seen{}, err
		}
		n[i] = v
	}
	return seen{age: time.Duration(n[start]) * tick, Process: agent.Process{
		Parent: int(n[parent]), State: f[state], TTY: int(n[tty]),
		// what has no command line, a kernel's thread or a zombie, has a name
		Args:       "(" + strings.ToValidUTF8(string(text[open+1:end]), "?") + ")",
		CPU:        time.Duration(n[user]+n[system]) * tick,
		Foreground: n[tty] != 0 && n[front] == n[group],
	}}, nil
}

func printable(args []byte) string {
	if len(args) > maxArgs {
		args = args[:maxArgs]
	}
	text := strings.ToValidUTF8(string(bytes.TrimRight(args, "\x00")), "?")
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text)
}

// number is what follows a name in lines of names and numbers; -1: nothing.
func number(text []byte, name string) int64 {
	_, rest, ok := strings.Cut(string(text), name)
	if !ok {
		return -1
	}
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// waits names the kind of system call that a thread sleeps in.
func waits(call string) string {
	first, _, _ := strings.Cut(call, " ")
	n, err := strconv.Atoi(first)
	if err != nil {
		return "" // it runs
	}
	return calls()[n]
}

// held are the inodes of the sockets that a process has open.
func held(dir string) (out []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // it does not show them, or is gone
	}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if inode, ok := strings.CutPrefix(to, "socket:["); ok && err == nil {
			out = append(out, strings.TrimSuffix(inode, "]"))
		}
	}
	return out
}
