package limit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rootOf writes files below a folder that stands for /.
func rootOf(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// onFiles takes plain files for a kernel's.
func onFiles(root string) *host {
	h := kernel()
	h.root = root
	return h
}

func TestFindVersion1(t *testing.T) {
	t.Parallel()
	root := rootOf(t, map[string]string{
		"proc/self/cgroup": "9:name=systemd:/\n4:memory:/outer/mine\n3:pids:/\n2:cpu,cpuacct:/docker/abc\n0::/\n",
		"proc/self/mountinfo": `30 20 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
31 20 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
32 20 0:27 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
33 20 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 20 0:29 / /with\040space rw shared:1 - ext4 /dev/vda rw
`,
		"sys/fs/cgroup/unified/cgroup.controllers": "hugetlb\n",
	})
	got, err := onFiles(root).find()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"memory": "/sys/fs/cgroup/memory/outer/mine", "pids": "/sys/fs/cgroup/pids", "cpu": "/sys/fs/cgroup/cpu"}
	for c, p := range want {
		if got[c].path != root+p || got[c].v2 {
			t.Errorf("%s: %+v, want %s", c, got[c], p)
		}
	}
}

// TestVersion2 works on plain files: what is written where is what counts.
func TestVersion2(t *testing.T) {
	t.Parallel()
	own := "sys/fs/cgroup/system.slice/clary.service/"
	root := rootOf(t, map[string]string{
		"proc/self/cgroup":             "0::/system.slice/clary.service/clary-server\n",
		"proc/self/mountinfo":          "33 20 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
		own + "cgroup.controllers":     "cpuset cpu io memory pids\n",
		own + "cgroup.subtree_control": "cpu memory\n",
		own + "clary-t/memory.max":     "max", own + "clary-t/memory.swap.max": "max", own + "clary-t/cpu.max": "max 100000", own + "clary-t/cpu.weight": "100", own + "clary-t/pids.max": "max",
		own + "clary-t/memory.events": "low 0\noom 3\noom_kill 2\n", own + "clary-t/memory.peak": "4096\n",
		own + "clary-t/memory.current": "3000\n", own + "clary-t/memory.stat": "anon 1\ninactive_file 1000\nactive_file 9\n", own + "clary-t/cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
	})
	g, err := onFiles(root).group("clary-t", Limits{VCPU: 2, MemoryBytes: 1 << 30, PIDs: 50})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range controllers {
		if !g.Has(c) {
			t.Errorf("no %s", c)
		}
	}
	for file, want := range map[string]string{"memory.max": "1073741824", "cpu.max": "200000 100000", "pids.max": "50"} {
		if got := read(t, filepath.Join(root, own, "clary-t", file)); !strings.HasPrefix(got, want) {
			t.Errorf("%s = %q, want %q", file, got, want)
		}
	}
	if n := g.OOMKills(); n != 2 {
		t.Errorf("%d kills", n)
	}
	if n := g.Peak(); n != 4096 {
		t.Errorf("peak %d", n)
	}
	if n, cpu := g.Memory(), g.CPU(); n != 2000 || cpu != 1500*time.Millisecond {
		t.Errorf("%d bytes, %s", n, cpu)
	}
	doors, folder, err := g.Doors()
	if err != nil || len(doors) != 0 || folder < 0 {
		t.Errorf("doors %v, folder %d, %v", doors, folder, err)
	}
}

func TestNoGroups(t *testing.T) {
	t.Parallel()
	root := rootOf(t, map[string]string{"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": ""})
	if g, err := onFiles(root).group("x", Limits{}); g != nil || err == nil {
		t.Errorf("%v, %v", g, err)
	}
	var g *Group
	if g.Has("memory") || g.OOMKills() != 0 || g.Peak() != 0 || g.Memory() != 0 || g.CPU() != 0 || g.Remove() != nil {
		t.Error("a missing group limits something")
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	if n := Usage(os.Getpid()); n < 1<<20 || n > 1<<32 {
		t.Errorf("this process uses %d bytes", n)
	}
	before := CPU(os.Getpid())
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	child := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if got := CPU(os.Getpid()) - before; got < child-50*time.Millisecond || got > 30*time.Second {
		t.Errorf("%s of which a child that is gone used %s", got, child)
	}
}

// A group that a process is in is not forgotten: whoever sweeps it is told.
func TestSweep(t *testing.T) {
	t.Parallel()
	name := "clary-sweep-" + strconv.Itoa(os.Getpid())
	g, err := New(name, Limits{MemoryBytes: 64 << 20, PIDs: 16, VCPU: 1})
	if err != nil {
		t.Skipf("NOT TRIED: no groups may be made here: %v", err)
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() //nolint:errcheck // it is gone, if all is well
	for _, d := range g.dirs {
		if err := write(filepath.Join(d.path, "cgroup.procs"), strconv.Itoa(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(name); err == nil {
		t.Error("a group with a process in it is swept")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed
	if err := Sweep(name); err != nil {
		t.Error(err)
	}
	for _, d := range g.dirs {
		if _, err := os.Stat(d.path); !os.IsNotExist(err) {
			t.Errorf("%s: %v", d.path, err)
		}
	}
}
