package limit

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNone says that this process may make no control groups.
var ErrNone = errors.New("no control group may be made")

// Limits of a group. Zero members do not limit.
type Limits struct {
	VCPU        int
	MemoryBytes int64
	PIDs        int64
}

// Group is a set of control group folders, one per controller that counts.
type Group struct {
	dirs map[string]dir // controller → its folder
}

type dir struct {
	path string
	v2   bool
}

var controllers = []string{"memory", "cpu", "pids"} //nolint:gochecknoglobals // a constant table

// New makes the group name with limits. When a controller is missing the group
// is made without it; see Has. ErrNone: there is none at all.
func New(name string, l Limits) (*Group, error) { return kernel().group(name, l) }

// host is where groups are made. Tests give it another root and a kernel of
// their own.
type host struct {
	root  string // before every path
	mkdir func(path string) error
	write func(path, value string) error
}

func kernel() *host {
	return &host{mkdir: func(path string) error { return os.Mkdir(path, 0o755) }, write: write}
}

func (h *host) group(name string, l Limits) (*Group, error) {
	bases, err := h.find()
	if err != nil {
		return nil, err
	}
	g := &Group{dirs: map[string]dir{}}
	var last error
	for _, c := range controllers {
		b, ok := bases[c]
		if !ok {
			continue
		}
		d := dir{filepath.Join(b.path, name), b.v2}
		if err := h.mkdir(d.path); err != nil && !errors.Is(err, fs.ErrExist) {
			last = err
			continue
		}
		if err := h.set(c, d, l); err != nil {
			last = err
			_ = os.Remove(d.path)
			continue
		}
		g.dirs[c] = d
	}
	if len(g.dirs) == 0 {
		return nil, errors.Join(ErrNone, last)
	}
	return g, nil
}

// Has says whether a controller ("memory", "cpu", "pids") keeps its limit.
func (g *Group) Has(controller string) bool {
	if g == nil {
		return false
	}
	_, ok := g.dirs[controller]
	return ok
}

// Doors are the files by which a process of one thread's making enters the
// version 1 groups: a thread that writes "0" is in, with its children to come.
// A version 2 group is entered at birth instead, by the descriptor of its
// folder; -1 if there is none.
func (g *Group) Doors() (doors []*os.File, folder int, err error) {
	folder = -1
	if g == nil {
		return nil, folder, nil
	}
	for _, c := range controllers {
		d, ok := g.dirs[c]
		switch {
		case !ok:
		case !d.v2:
			f, err := os.OpenFile(filepath.Join(d.path, "tasks"), os.O_WRONLY, 0)
			if err != nil {
				return nil, -1, err
			}
			doors = append(doors, f)
		case folder < 0:
			if folder, err = unix.Open(d.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
				return nil, -1, &os.PathError{Op: "open", Path: d.path, Err: err}
			}
		}
	}
	return doors, folder, nil
}

// OOMKills counts the processes that were killed for want of memory.
func (g *Group) OOMKills() int {
	return int(value(g.read("memory", "memory.oom_control", "memory.events"), "oom_kill "))
}

// Peak is the most memory that was used at once, 0 if unknown.
func (g *Group) Peak() int64 {
	return value(g.read("memory", "memory.max_usage_in_bytes", "memory.peak"), "")
}

// Memory is how much is in use, without files that were read and would be
// dropped for a program; 0 if unknown.
func (g *Group) Memory() int64 {
	used := value(g.read("memory", "memory.usage_in_bytes", "memory.current"), "")
	stat := g.read("memory", "memory.stat", "memory.stat")
	return max(0, used-max(value(stat, "total_inactive_file "), value(stat, "inactive_file ")))
}

// CPU is the processor time that was used, 0 if unknown: version 1 may count it
// elsewhere.
func (g *Group) CPU() time.Duration {
	text := g.read("cpu", "cpuacct.usage", "cpu.stat")
	return max(time.Duration(value(text, "usage_usec "))*time.Microsecond, time.Duration(value(text, "")))
}

// read is a controller's file, which either version calls by another name; ""
// if there is none.
func (g *Group) read(controller, v1, v2 string) string {
	if !g.Has(controller) {
		return ""
	}
	d := g.dirs[controller]
	file := v1
	if d.v2 {
		file = v2
	}
	b, err := os.ReadFile(filepath.Join(d.path, file))
	if err != nil {
		return ""
	}
	return string(b)
}

// value is the number behind the key that begins a line, 0 if there is none.
func value(text, key string) int64 {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n
		}
	}
	return 0
}

// Remove deletes the group. Its processes must have ended; the kernel may need
// a moment to agree.
func (g *Group) Remove() error {
	if g == nil {
		return nil
	}
	var errs error
	for _, d := range g.dirs {
		err := os.Remove(d.path)
		for try := 0; errors.Is(err, unix.EBUSY) && try < 50; try++ {
			time.Sleep(10 * time.Millisecond) // version 1 has no event for "empty"
			err = os.Remove(d.path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

// Sweep deletes what a killed supervisor left of the group name. It fails while
// processes of it are still about to end.
func Sweep(name string) error {
	bases, err := kernel().find()
	if err != nil {
		return nil //nolint:nilerr // where there are no groups there is none of that name
	}
	g := &Group{dirs: map[string]dir{}}
	for c, b := range bases {
		g.dirs[c] = dir{filepath.Join(b.path, name), b.v2}
	}
	return g.Remove()
}

func (h *host) set(controller string, d dir, l Limits) error {
	write := func(file, value string) error { return h.write(filepath.Join(d.path, file), value) }
	switch {
	case controller == "memory" && l.MemoryBytes > 0:
		n := strconv.FormatInt(l.MemoryBytes, 10)
		if d.v2 {
			_ = write("memory.swap.max", "0") // absent without swap accounting
			return write("memory.max", n)
		}
		if err := write("memory.limit_in_bytes", n); err != nil {
			return err
		}
		_ = write("memory.memsw.limit_in_bytes", n) // absent without swap accounting
	case controller == "cpu" && l.VCPU > 0:
		const period = 100_000
		quota := strconv.Itoa(l.VCPU * period)
		if d.v2 {
			_ = write("cpu.weight", strconv.Itoa(min(100*l.VCPU, 10_000)))
			return write("cpu.max", quota+" "+strconv.Itoa(period))
		}
		_ = write("cpu.shares", strconv.Itoa(1024*l.VCPU))
		if err := write("cpu.cfs_period_us", strconv.Itoa(period)); err != nil {
			return err
		}
		return write("cpu.cfs_quota_us", quota)
	case controller == "pids" && l.PIDs > 0:
		return write("pids.max", strconv.FormatInt(l.PIDs, 10))
	}
	return nil
}

func write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}

// find says where groups may be made for each controller: below this
// process's own group.
func (h *host) find() (map[string]dir, error) {
	root := h.root
	mounts, err := parseMounts(root + "/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(root + "/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	bases := map[string]dir{}
	var unified string
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		if f[0] == "0" && f[1] == "" {
			unified = f[2]
			continue
		}
		for c := range strings.SplitSeq(f[1], ",") {
			for _, m := range mounts {
				if !m.v2 && m.has(c) {
					if p, ok := m.below(f[2]); ok {
						bases[c] = dir{path: root + p}
					}
				}
			}
		}
	}
	for _, m := range mounts {
		if p, ok := m.below(unified); m.v2 && ok && unified != "" {
			for c, d := range h.findUnified(root+m.point, root+p) {
				if _, old := bases[c]; !old {
					bases[c] = d
				}
			}
		}
	}
	return bases, nil
}

// leaf is where processes of a delegated version 2 group go, because a group
// that passes controllers on may hold none itself.
const leaf = "clary-server"

// findUnified looks for a version 2 group that passes controllers on.
func (h *host) findUnified(mount, own string) map[string]dir {
	own = strings.TrimSuffix(own, "/"+leaf)
	candidates := []string{own}
	if own != mount {
		candidates = append(candidates, filepath.Join(mount, "clary"))
	}
	for _, base := range candidates {
		if base != own {
			if err := h.mkdir(base); err != nil && !errors.Is(err, fs.ErrExist) {
				continue
			}
		}
		got := map[string]dir{}
		for _, c := range controllers {
			if h.enable(base, c) {
				got[c] = dir{path: base, v2: true}
			}
		}
		if len(got) > 0 {
			return got
		}
	}
	return nil
}

// enable passes a controller on to groups below base.
func (h *host) enable(base, controller string) bool {
	has := func(file string) bool {
		b, err := os.ReadFile(filepath.Join(base, file))
		return err == nil && slices.Contains(strings.Fields(string(b)), controller)
	}
	if has("cgroup.subtree_control") {
		return true
	}
	if !has("cgroup.controllers") {
		return false
	}
	control := filepath.Join(base, "cgroup.subtree_control")
	err := h.write(control, "+"+controller)
	if errors.Is(err, unix.EBUSY) && onlyUs(base) {
		l := filepath.Join(base, leaf)
		if err := h.mkdir(l); err != nil && !errors.Is(err, fs.ErrExist) {
			return false
		}
		if h.write(filepath.Join(l, "cgroup.procs"), strconv.Itoa(os.Getpid())) != nil {
			return false
		}
		err = h.write(control, "+"+controller)
	}
	return err == nil
}

// onlyUs says that a group holds this process and no other.
func onlyUs(base string) bool {
	b, err := os.ReadFile(filepath.Join(base, "cgroup.procs"))
	return err == nil && strings.TrimSpace(string(b)) == strconv.Itoa(os.Getpid())
}

type mount struct {
	root, point string
	v2          bool
	options     []string
}

func (m mount) has(controller string) bool {
	return slices.Contains(m.options, controller)
}

// below maps a group's path to where it lies in the file system; a mount may
// show but a part of the tree.
func (m mount) below(group string) (string, bool) {
	rel, err := filepath.Rel(m.root, group)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", false
	}
	return filepath.Join(m.point, rel), true
}

func parseMounts(path string) ([]mount, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var ms []mount
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		left, right, ok := strings.Cut(s.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		switch r[0] {
		case "cgroup":
			ms = append(ms, mount{root: l[3], point: l[4], options: strings.Split(r[2], ",")})
		case "cgroup2":
			ms = append(ms, mount{root: l[3], point: l[4], v2: true})
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ms, nil
}
