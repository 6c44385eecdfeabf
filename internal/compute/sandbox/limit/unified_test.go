package limit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// unified acts as the kernel does with a version 2 tree: a group that holds
// processes passes no controllers on, one that passes some on takes no process,
// and who may write is up to the folder's owner.
type unified struct {
	t        *testing.T
	mount    string
	readOnly []string // groups, with what is below, that are others'
}

func (u *unified) make(group string, controllers ...string) {
	u.t.Helper()
	dir := filepath.Join(u.mount, group)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		u.t.Fatal(err)
	}
	for file, text := range map[string]string{"cgroup.controllers": strings.Join(controllers, " ") + "\n", "cgroup.subtree_control": "\n", "cgroup.procs": ""} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			u.t.Fatal(err)
		}
	}
	knobs := map[string][]string{"memory": {"memory.max", "memory.swap.max"}, "cpu": {"cpu.max", "cpu.weight"}, "pids": {"pids.max"}}
	for _, c := range controllers {
		for _, k := range knobs[c] {
			if err := os.WriteFile(filepath.Join(dir, k), []byte("max\n"), 0o644); err != nil {
				u.t.Fatal(err)
			}
		}
	}
}

func (u *unified) words(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		u.t.Fatal(err)
	}
	return strings.Fields(string(b))
}

func (u *unified) forbidden(path string) bool {
	return slices.ContainsFunc(u.readOnly, func(g string) bool {
		g = filepath.Clean(filepath.Join(u.mount, g))
		return path == g || filepath.Dir(path) == g
	})
}

func (u *unified) mkdir(path string) error {
	if u.forbidden(filepath.Dir(path)) {
		return &fs.PathError{Op: "mkdir", Path: path, Err: unix.EACCES}
	}
	if _, err := os.Stat(path); err == nil {
		return &fs.PathError{Op: "mkdir", Path: path, Err: unix.EEXIST}
	}
	rel, err := filepath.Rel(u.mount, path)
	if err != nil {
		return err
	}
	u.make(rel, u.words(filepath.Join(filepath.Dir(path), "cgroup.subtree_control"))...)
	return nil
}

func (u *unified) write(path, value string) error {
	dir, file := filepath.Split(path)
	dir = filepath.Clean(dir)
	fail := func(e error) error { return &fs.PathError{Op: "write", Path: path, Err: e} }
	if u.forbidden(path) {
		return fail(unix.EACCES)
	}
	switch file {
	case "cgroup.subtree_control":
		c := strings.TrimPrefix(value, "+")
		if !slices.Contains(u.words(filepath.Join(dir, "cgroup.controllers")), c) {
			return fail(unix.ENOENT)
		}
		if dir != u.mount && len(u.words(filepath.Join(dir, "cgroup.procs"))) > 0 {
			return fail(unix.EBUSY)
		}
		value = strings.Join(append(u.words(path), c), " ")
	case "cgroup.procs":
		if dir != u.mount && len(u.words(filepath.Join(dir, "cgroup.subtree_control"))) > 0 {
			return fail(unix.EBUSY)
		}
		// It leaves where it was.
		err := filepath.WalkDir(u.mount, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == "cgroup.procs" {
				left := slices.DeleteFunc(u.words(p), func(w string) bool { return w == value })
				return os.WriteFile(p, []byte(strings.Join(left, "\n")), 0o644)
			}
			return err
		})
		if err != nil {
			return err
		}
		value = strings.Join(append(u.words(path), value), "\n")
	}
	if _, err := os.Stat(path); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(value), 0o644)
}

// newUnified is a tree in which this process is in the group own, perhaps with
// others.
func newUnified(t *testing.T, own string, company ...int) (*host, *unified) {
	t.Helper()
	root := rootOf(t, map[string]string{
		"proc/self/cgroup":    "0::" + own + "\n",
		"proc/self/mountinfo": "33 20 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
	})
	u := &unified{t: t, mount: filepath.Join(root, "sys/fs/cgroup")}
	all := []string{"cpuset", "cpu", "io", "memory", "pids"}
	at := "/"
	u.make(at, all...)
	for part := range strings.SplitSeq(strings.Trim(own, "/"), "/") {
		if err := os.WriteFile(filepath.Join(u.mount, at, "cgroup.subtree_control"), []byte("cpu memory pids"), 0o644); err != nil {
			t.Fatal(err)
		}
		at = filepath.Join(at, part)
		u.make(at, "cpu", "memory", "pids")
	}
	var procs []string
	for _, p := range append([]int{os.Getpid()}, company...) {
		procs = append(procs, strconv.Itoa(p))
	}
	if err := os.WriteFile(filepath.Join(u.mount, own, "cgroup.procs"), []byte(strings.Join(procs, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	return &host{root: root, mkdir: u.mkdir, write: u.write}, u
}

func TestDelegated(t *testing.T) {
	t.Parallel()
	const service = "/system.slice/clary.service"
	limits := Limits{VCPU: 2, MemoryBytes: 1 << 30, PIDs: 50}
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		h, u := newUnified(t, service)
		g, err := h.group("clary-t", limits)
		if err != nil {
			t.Fatal(err)
		}
		// This process went to a leaf, since the group now passes on.
		if got := u.words(filepath.Join(u.mount, service, leaf, "cgroup.procs")); !slices.Equal(got, []string{strconv.Itoa(os.Getpid())}) {
			t.Errorf("the leaf holds %q", got)
		}
		for file, want := range map[string]string{"memory.max": "1073741824", "memory.swap.max": "0", "cpu.max": "200000 100000", "cpu.weight": "200", "pids.max": "50"} {
			if got := read(t, filepath.Join(u.mount, service, "clary-t", file)); got != want {
				t.Errorf("%s = %q, want %q", file, got, want)
			}
		}
		if !g.Has("memory") || !g.Has("cpu") || !g.Has("pids") {
			t.Errorf("%+v", g)
		}
		// A supervisor, whose server is in the leaf, makes its groups beside it.
		if err := os.WriteFile(filepath.Join(h.root, "proc/self/cgroup"), []byte("0::"+service+"/"+leaf+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := h.group("clary-u", limits); err != nil {
			t.Error(err)
		}
		if got := read(t, filepath.Join(u.mount, service, "clary-u", "pids.max")); got != "50" {
			t.Errorf("pids.max = %q", got)
		}
	})
	t.Run("in company", func(t *testing.T) {
		t.Parallel()
		// A shell's scope: nobody else may be moved.
		h, u := newUnified(t, "/user.slice/scope", 1)
		u.readOnly = []string{"/"}
		if g, err := h.group("clary-t", limits); !errors.Is(err, ErrNone) {
			t.Errorf("%+v, %v", g, err)
		}
		if got := u.words(filepath.Join(u.mount, "/user.slice/scope/cgroup.procs")); len(got) != 2 {
			t.Errorf("the scope holds %q", got)
		}
		if _, err := os.Stat(filepath.Join(u.mount, "/user.slice/scope", leaf)); err == nil {
			t.Error("a leaf was made for nobody")
		}
	})
	t.Run("not delegated", func(t *testing.T) {
		t.Parallel()
		h, u := newUnified(t, service)
		u.readOnly = []string{"/", "/system.slice", service}
		if g, err := h.group("clary-t", limits); !errors.Is(err, ErrNone) {
			t.Errorf("%+v, %v", g, err)
		}
	})
	t.Run("root in company", func(t *testing.T) {
		t.Parallel()
		// Root may make a tree of its own.
		h, u := newUnified(t, "/user.slice/scope", 1)
		if _, err := h.group("clary-t", limits); err != nil {
			t.Fatal(err)
		}
		if got := read(t, filepath.Join(u.mount, "clary/clary-t/memory.max")); got != "1073741824" {
			t.Errorf("memory.max = %q", got)
		}
	})
	t.Run("without memory", func(t *testing.T) {
		t.Parallel()
		// As on machines whose kernel was started so.
		h, u := newUnified(t, service)
		u.make(service, "cpu", "pids")
		if err := os.WriteFile(filepath.Join(u.mount, service, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
			t.Fatal(err)
		}
		g, err := h.group("clary-t", limits)
		if err != nil || g.Has("memory") || !g.Has("pids") || !g.Has("cpu") {
			t.Errorf("%+v, %v", g, err)
		}
	})
	t.Run("hybrid", func(t *testing.T) {
		t.Parallel()
		h, u := newUnified(t, service)
		u.make(service, "pids")
		files := map[string]string{
			"proc/self/cgroup":    "4:memory:/outer\n0::" + service + "\n",
			"proc/self/mountinfo": "30 20 0:25 / /v1/memory rw - cgroup cgroup rw,memory\n33 20 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(h.root, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := h.find()
		if err != nil || got["memory"].v2 || got["memory"].path != filepath.Join(h.root, "v1/memory/outer") || !got["pids"].v2 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// TestBornInside starts a process in a version 2 group of the real kernel, and
// ends all that is in it. No controller is needed for that, nor changed.
func TestBornInside(t *testing.T) {
	t.Parallel()
	mounts, err := parseMounts("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(mounts, func(m mount) bool { return m.v2 })
	if i < 0 {
		t.Skip("NOT TRIED: no version 2 hierarchy is mounted here")
	}
	path := filepath.Join(mounts[i].point, fmt.Sprintf("clary-born-%d", os.Getpid()))
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Skipf("NOT TRIED: no version 2 group may be made here: %v", err)
	}
	g := &Group{dirs: map[string]dir{"pids": {path, true}}}
	defer func() {
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}()
	doors, folder, err := g.Doors()
	if err != nil || len(doors) != 0 || folder < 0 {
		t.Fatalf("doors %v, folder %d, %v", doors, folder, err)
	}
	defer unix.Close(folder) //nolint:errcheck // a test's
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: folder}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	if err != nil || !strings.Contains(string(b), "/"+filepath.Base(path)+"\n") {
		t.Errorf("it was born in %q, %v", b, err)
	}
	if err := write(filepath.Join(path, "cgroup.kill"), "1"); err != nil {
		t.Log(err) // before Linux 5.14
		_ = cmd.Process.Kill()
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it was not killed")
	}
}
