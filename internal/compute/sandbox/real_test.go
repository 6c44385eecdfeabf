package sandbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/computetest"
)

func isRoot() bool { return os.Geteuid() == 0 }

func TestEnvironment(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.cfg.APISocket = filepath.Join(t.TempDir(), "none.sock")
	d := p.open(t)
	tk := script("env-1", "env | sort; pwd; hostname; id -u; cat /etc/hosts; touch /opt/ml/x /tmp/x /root/x /etc/x /dev/shm/x && echo written; touch /usr/x /x /run/x 2>/dev/null || echo refused")
	tk.Dir = "/opt/ml"
	tk.Env = map[string]string{"MINE": "a=b", "LANG": "xx"}
	tk.Image.Path = []string{"/opt/clary/env/bin"}
	tk.Network = compute.Network{Host: "algo-1", Peers: []string{"algo-1", "algo-2"}, Egress: true}
	tk.Identity = compute.Identity{AccessKeyID: "AKID", Region: "eu-west-1"}
	lines, st := p.runs(t, d, tk)
	if st.Exit.Result.ExitCode != 0 {
		t.Errorf("exit %+v", *st.Exit)
	}
	for _, want := range []string{
		"MINE=a=b", "LANG=xx", "HOME=/root", "HOSTNAME=algo-1", "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1",
		"AWS_ENDPOINT_URL=http://127.0.0.1:2527", "S3_ENDPOINT_URL=http://127.0.0.1:2527", "AWS_DISABLE_HOST_PREFIX_INJECTION=true", "HTTPS_PROXY=http://127.0.0.1:3128", "http_proxy=http://127.0.0.1:3128",
		"PATH=/opt/clary/env/bin:/run/clary/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"/opt/ml", "algo-1", "0", "10.77.0.1 algo-1", "10.77.0.2 algo-2", "written", "refused",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q", want)
		}
	}
	for _, l := range lines {
		if rest, ok := strings.CutPrefix(l, "NO_PROXY="); ok {
			for _, direct := range []string{"169.254.170.2", "algo-2", "10.77.0.2"} {
				if !slices.Contains(strings.Split(rest, ","), direct) {
					t.Errorf("%s goes through the proxy: %s", direct, l)
				}
			}
		}
	}
	if t.Failed() {
		t.Log(strings.Join(lines, "\n"))
	}
}

func TestProgramThatIsNotThere(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	for i, args := range [][]string{{"no-such-program"}, {"/no/such/program"}, {"/etc/passwd"}, {}} {
		tk := compute.Task{ID: compute.TaskID(fmt.Sprintf("none-%d", i)), Args: args}
		_, st := p.runs(t, d, tk)
		if st.Exit.Reason != compute.ReasonFailed || st.Exit.Result.ExitCode != -1 || st.Exit.Result.Failure == "" || st.Exit.Result.Class != "ClientError" {
			t.Errorf("%q: exit %+v", args, *st.Exit)
		}
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	c, err := newPlace(t).open(t).Probe(t.Context())
	if err != nil || c.VCPU < 1 || c.MemoryBytes < 1<<28 || c.Root != isRoot() {
		t.Errorf("%+v, %v", c, err)
	}
	// What is missing is said.
	said := func(what string) bool {
		return slices.ContainsFunc(c.Notes, func(n string) bool { return strings.Contains(n, what) })
	}
	if c.Volumes == said("volumes are folders") || c.Root == said("no privileges") || c.Limits == said("control group") {
		t.Errorf("%+v", c)
	}
	for _, n := range c.Notes {
		if strings.Contains(n, "can run") {
			t.Error(n)
		}
	}
}

// TestOutputByName opens the output as scripts made for containers do.
func TestOutputByName(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	lines, st := p.runs(t, p.open(t), script("name-1", "echo a > /dev/stdout; echo b > /dev/stderr; echo c | tee /proc/self/fd/2 >/dev/null; cat /dev/stdin; head -c 3 /dev/zero | wc -c; test -w /dev/null && python3 -c 'import pty; print(len(pty.openpty()))'"))
	if want := []string{"a", "b", "c", "3", "2"}; !slices.Equal(lines, want) {
		t.Errorf("%q, %+v", lines, *st.Exit)
	}
}

// TestNeverLostWhileItRuns looks all the time at tasks that begin and end.
func TestNeverLostWhileItRuns(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	for i := range 15 {
		tk := script(fmt.Sprintf("look-%d", i), "echo x")
		if err := d.Start(t.Context(), tk); err != nil {
			t.Fatal(err)
		}
		seen := compute.Starting
		order := map[compute.Phase]int{compute.Starting: 0, compute.Running: 1, compute.Ended: 2}
		for deadline := time.Now().Add(2 * time.Minute); seen != compute.Ended; {
			st, err := d.Status(t.Context(), tk.ID)
			if err != nil {
				t.Fatal(err)
			}
			if n, ok := order[st.Phase]; !ok || n < order[seen] {
				t.Fatalf("%s after %s", st.Phase, seen)
			}
			seen = st.Phase
			if time.Now().After(deadline) {
				t.Fatal("the task does not end")
			}
		}
	}
}

// The program is process 1 of its own pid namespace, as in a container: what it
// does not handle does not end it, and what it handles reaches it.
func TestSignals(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	lines, st := p.runs(t, d, script("self-1", "kill -TERM $$; kill -HUP $$; kill -KILL $$; echo alive $$ $PPID; exit 3"))
	if st.Exit.Result.ExitCode != 3 || st.Exit.Result.Signal != "" || len(lines) != 1 || lines[0] != "alive 1 0" {
		t.Errorf("%q, %+v", lines, *st.Exit)
	}
	_, st = p.runs(t, d, compute.Task{ID: "segv-1", Args: []string{"python3", "-c", "import ctypes; ctypes.string_at(0)"}})
	if r := st.Exit.Result; r.ExitCode != 139 || r.Signal != "segmentation fault" || st.Exit.Reason != compute.ReasonExited {
		t.Errorf("%+v", *st.Exit)
	}

	const grace = 300 * time.Millisecond
	for _, tt := range []struct {
		id, text, says string
		code           int
	}{
		{"deaf-1", "echo up; sleep 1000", "", 137},
		{"trap-1", "trap 'echo caught; exit 5' TERM; echo up; while :; do sleep 0.05; done", "caught", 5},
	} {
		tk := script(tt.id, tt.text)
		if err := d.Start(t.Context(), tk); err != nil {
			t.Fatal(err)
		}
		computetest.Wait(t, d, tk.ID, "printing", func(s compute.TaskStatus) bool { return s.Spooled > 0 })
		began := time.Now()
		wait := grace
		if tt.says != "" {
			wait = time.Minute
		}
		if err := d.Stop(t.Context(), tk.ID, wait); err != nil {
			t.Fatal(err)
		}
		st := computetest.Ended(t, d, tk.ID)
		if st.Exit.Reason != compute.ReasonStopped || st.Exit.Result.ExitCode != tt.code {
			t.Errorf("%s: %+v", tt.id, *st.Exit)
		}
		if lived := st.Exit.At.Sub(began); tt.says == "" && lived < grace || tt.says != "" && lived > wait/2 {
			t.Errorf("%s: ended after %s", tt.id, lived)
		}
		if out := string(computetest.Output(t, d, tk.ID, 0)); !strings.Contains(out, tt.says) {
			t.Errorf("%s: output %q", tt.id, out)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	tk := compute.Task{ID: "mem-1", Args: []string{"python3", "-c", "x=[]\nprint('up', flush=True)\nimport time\nwhile True:\n x.append(bytearray(8<<20)); time.sleep(0.02)"}}
	tk.Resources.MemoryBytes = 128 << 20
	lines, st := p.runs(t, d, tk)
	if st.Exit.Reason != compute.ReasonMemory || st.Exit.Result.Signal != "killed" {
		t.Errorf("exit %+v, want Memory; output %q", *st.Exit, lines)
	}
	// Without control groups it is what the watch saw when it was too much.
	if peak, limit := st.Exit.PeakMemory, tk.Resources.MemoryBytes; isRoot() && (peak < limit/2 || peak > limit) || !isRoot() && peak <= limit {
		t.Errorf("peak memory %d", st.Exit.PeakMemory)
	}
	if st, _ := d.Status(t.Context(), tk.ID); st.Phase != compute.Ended {
		t.Errorf("phase %s", st.Phase)
	}
}

func TestProcessLimit(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	tk := compute.Task{ID: "pids-1", Args: []string{"python3", "-c", `
import os, time
n = 0
try:
    while n < 500:
        if os.fork() == 0:
            time.sleep(30); os._exit(0)
        n += 1
    print("unbounded")
except OSError as e:
    print("bounded", n < 64, e.errno)
`}}
	tk.Resources.PIDs = 64
	lines, _ := p.runs(t, d, tk)
	if !slices.Equal(lines, []string{"bounded True 11"}) {
		t.Errorf("%q", lines)
	}
}

func TestDiskLimit(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	for i, path := range []string{"/opt/ml/model/big", "/tmp/big"} {
		tk := script(fmt.Sprintf("disk-%d", i), "mkdir -p /opt/ml/model; head -c 64M /dev/zero > "+path+" && sleep 60")
		tk.Resources.DiskBytes = 16 << 20
		_, st := p.runs(t, d, tk)
		if st.Exit.Reason != compute.ReasonDisk {
			t.Errorf("%s: exit %+v, want Disk", path, *st.Exit)
		}
		vol := filepath.Join(p.cfg.Dir, string(tk.ID), "vol")
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(vol); os.IsNotExist(err) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the volume is still there")
			}
		}
	}
}

// TestWholeTree leaves daemons behind in every way, and looks for them from
// the host by a mark that is theirs alone.
func TestWholeTree(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	const escape = `
import os, signal, sys, time
mark = sys.argv[1]
def daemon(*hard):
    if os.fork() == 0:
        os.setsid()
        for s in hard: signal.signal(s, signal.SIG_IGN)
        if os.fork() == 0:
            os.execvp("sleep", [mark, "1000"])
        os._exit(0)
daemon(); daemon(signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
print("up", flush=True)
if sys.argv[2] == "stay": time.sleep(1000)
`
	for _, how := range []string{"end", "stop", "remove", "kill supervisor"} {
		mark := fmt.Sprintf("mark-%d-%s", os.Getpid(), strings.ReplaceAll(how, " ", "-"))
		stay := "stay"
		if how == "end" {
			stay = "go"
		}
		tk := compute.Task{ID: compute.TaskID("tree-" + strings.ReplaceAll(how, " ", "-")), Args: []string{"python3", "-c", escape, mark, stay}}
		if err := d.Start(t.Context(), tk); err != nil {
			t.Fatal(err)
		}
		computetest.Wait(t, d, tk.ID, "printing", func(s compute.TaskStatus) bool { return s.Spooled > 0 })
		var err error
		switch how {
		case "stop":
			err = d.Stop(t.Context(), tk.ID, time.Second)
		case "remove":
			err = d.Remove(t.Context(), tk.ID)
		case "kill supervisor":
			killSupervisor(t, p, tk.ID)
			st := computetest.Wait(t, d, tk.ID, "lost", func(s compute.TaskStatus) bool { return s.Phase == compute.Lost })
			if st.Exit != nil || st.Heartbeat.IsZero() {
				t.Errorf("lost task: %+v", st)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if how == "end" || how == "stop" {
			computetest.Ended(t, d, tk.ID)
		}
		deadline := time.Now().Add(2 * time.Minute)
		for len(marked(mark)) > 0 {
			if time.Now().After(deadline) {
				t.Fatalf("%s: still there: %v", how, marked(mark))
			}
			time.Sleep(5 * time.Millisecond) // processes of others cannot be waited for
		}
	}
}

// marked lists the processes whose command line begins with mark.
func marked(mark string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, _ := os.ReadFile(f); strings.HasPrefix(string(b), mark) {
			found = append(found, f)
		}
	}
	return found
}

func TestTwoTasks(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	first := script("one-1", "umask 0; echo secret > /opt/ml/secret; echo secret > /tmp/secret; echo secret > /dev/shm/secret; echo up; sleep 1000")
	if err := d.Start(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	computetest.Wait(t, d, first.ID, "printing", func(s compute.TaskStatus) bool { return s.Spooled > 0 })
	lines, _ := p.runs(t, d, script("two-1", `
ls /opt/ml /tmp /dev/shm; ps ax | grep -c 'sleep 100[0]'
ls `+p.cfg.Dir+` 2>&1 | grep -c 'No such'
cat `+p.cfg.Dir+`/one-1/vol/ml/secret 2>/dev/null; echo done`))
	if got := strings.Join(lines, " "); strings.Contains(got, "secret") || !strings.HasSuffix(got, "0 1 done") {
		t.Errorf("%q", lines)
	}
	if isRoot() {
		a, b := owner(t, p, "one-1"), owner(t, p, "two-1")
		if a == b || a < 1_900_000_000 || b < 1_900_000_000 {
			t.Errorf("ids on the host: %d and %d", a, b)
		}
	}
}

func TestMounts(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	host := t.TempDir()
	ro, rw := filepath.Join(host, "ro"), filepath.Join(host, "rw")
	for _, dir := range []string{ro, rw} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "old"), []byte("old\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"mnt-1", "mnt-2"} { // the second finds the first's files as its own
		tk := script(id, `cat /data/ro/old /data/rw/old; touch /data/ro/new 2>/dev/null || echo refused
echo `+id+` >> /data/rw/new && ln /data/rw/new /data/rw/`+id+` && stat -c %u /data/rw/new /data/rw/old; ls /opt/clary/env`)
		tk.Image.Env = ro
		tk.Mounts = []compute.Mount{{Host: ro, Path: "/data/ro"}, {Host: rw, Path: "/data/rw", Writable: true}}
		lines, st := p.runs(t, d, tk)
		if want := []string{"old", "old", "refused", "0", "0", "old"}; !slices.Equal(lines, want) || st.Exit.Result.ExitCode != 0 {
			t.Errorf("%s: %q, %+v", id, lines, *st.Exit)
		}
	}
	b, err := os.ReadFile(filepath.Join(rw, "new"))
	if err != nil || string(b) != "mnt-1\nmnt-2\n" {
		t.Errorf("%q, %v", b, err)
	}
	for _, path := range []string{"/proc/x", "relative", "/etc", "/a/../usr", "/run/clary/x", "/"} {
		tk := script("bad-1", "echo never")
		tk.Mounts = []compute.Mount{{Host: ro, Path: path}}
		_, st := p.runs(t, d, tk)
		if st.Exit.Reason != compute.ReasonFailed || !strings.Contains(st.Exit.Result.Failure, "mount") {
			t.Errorf("mount at %q: %+v", path, *st.Exit)
		}
		if err := d.Remove(t.Context(), tk.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLongLines(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	lines, _ := p.runs(t, d, compute.Task{ID: "long-1", Args: []string{"python3", "-c", `
import sys
sys.stdout.write("a" * 600000 + "\n" + "10%\r20%\r\n" + "\n" + "no end")
sys.stdout.flush()
sys.stderr.write("!")
`}})
	var sizes []int
	for _, l := range lines {
		sizes = append(sizes, len(l))
	}
	const most = 256<<10 - 26
	if want := []int{most, most, 600000 - 2*most, 8, 0, 7}; !slices.Equal(sizes, want) {
		t.Errorf("line lengths %v, want %v", sizes, want)
	}
	if len(lines) > 5 && lines[5] != "no end!" {
		t.Errorf("last line %q", lines[5])
	}
}
