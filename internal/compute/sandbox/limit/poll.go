package limit

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is the memory in use by a process and all below it, counting shared
// pages by share. It serves where no group counts.
func Usage(pid int) int64 {
	var sum int64
	for _, p := range Tree(pid) {
		sum += pss(p)
	}
	return sum
}

func pss(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err == nil {
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "Pss:"); ok {
				n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
				return n << 10
			}
		}
	}
	b, err = os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if f := strings.Fields(string(b)); err == nil && len(f) > 1 {
		n, _ := strconv.ParseInt(f[1], 10, 64)
		return n * int64(os.Getpagesize())
	}
	return 0
}

// Tree is pid and its descendants. In a pid namespace nothing escapes it:
// orphans go to process 1.
func Tree(pid int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []int{pid}
	}
	children := map[int][]int{}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if f := stat(n); f != nil {
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], n)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// stat is a process's from its state on; nil if it is gone.
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])); err == nil && len(f) > 14 {
		return f
	}
	return nil
}

// CPU is the processor time of a process and all below it, and of those of
// theirs that have ended. It serves where no group counts.
func CPU(pid int) time.Duration {
	const tick = time.Second / 100 // of all that Linux tells programs
	var ticks int64
	for _, p := range Tree(pid) {
		f := stat(p)
		if f == nil {
			continue
		}
		for _, v := range f[11:15] { // own and children's, user and system
			n, _ := strconv.ParseInt(v, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * tick
}

// Pin holds this thread, and the processes made from it, to n processors; the
// returned function lets it free again. seed spreads tasks over the machine.
func Pin(n int, seed uint32) (free func()) {
	var now unix.CPUSet
	if n <= 0 || unix.SchedGetaffinity(0, &now) != nil || now.Count() <= n {
		return func() {}
	}
	var all []int
	for i := range 1024 {
		if now.IsSet(i) {
			all = append(all, i)
		}
	}
	var set unix.CPUSet
	for i := range n {
		set.Set(all[(int(seed%uint32(len(all)))+i)%len(all)])
	}
	if unix.SchedSetaffinity(0, &set) != nil {
		return func() {}
	}
	return func() { _ = unix.SchedSetaffinity(0, &now) }
}
