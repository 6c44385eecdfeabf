package sandbox_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/computetest"
	"clary/internal/compute/sandbox/task"
)

// python runs a script of the suite; its bytes are not written, since what
// holds them is read-only.
func python(id, text, arg string) compute.Task {
	return compute.Task{
		ID: compute.TaskID(id), Kind: "test", Name: id, Args: []string{"python3", "-B", "-c", text, arg}, Grace: time.Second,
		Identity: compute.Identity{AccessKeyID: "AKID", SecretAccessKey: "hush", SessionToken: "token", Expiration: time.Now().Add(time.Hour), Region: "eu-west-1"},
	}
}

func staged(tk compute.Task) compute.Task {
	tr := training(string(tk.ID), "")
	tk.Plan, tk.Network = tr.Plan, tr.Network
	tk.Plan.Training.Channels = nil
	tk.Identity = tr.Identity
	return tk
}

// freeAddress is one of the host's loopback that nobody else uses.
func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.7.7:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestHostile(t *testing.T) {
	t.Parallel()
	computetest.Hostile(t, func(t *testing.T) computetest.Cell {
		store, socket := s3(t)
		p := newPlace(t)
		p.cfg.APISocket = socket
		at := freeAddress(t)
		p.cfg.EgressAllow = []netip.Prefix{netip.PrefixFrom(at.Addr(), 32)}
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte("secret-of-the-server"), 0o644); err != nil {
			t.Fatal(err)
		}
		probe, err := p.open(t).Probe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return computetest.Cell{
			Open:   func(t *testing.T) compute.Driver { return p.open(t) },
			Python: python, Staged: staged, Redirector: at.String(),
			UIDs: probe.Root, Groups: probe.Limits, Volumes: probe.Volumes,
			Pids: func(t *testing.T) map[string]int {
				pids := map[string]int{"server": os.Getpid()}
				maps.Copy(pids, processes(t, p, "neighbour-1"))
				return pids
			},
			Secrets: map[string]string{
				"server": secret, "socket": socket, "spec": filepath.Join(p.cfg.Dir, "attacker-1", task.SpecFile), "neighbour-spec": filepath.Join(p.cfg.Dir, "neighbour-1", task.SpecFile),
				"neighbour-volume": filepath.Join(p.cfg.Dir, "neighbour-1", task.VolDir, "ml", "neighbour"), "control": filepath.Join(p.cfg.Dir, "neighbour-1", task.SockFile),
				"neighbour-kept": filepath.Join(p.volume("neighbour-1"), "data", "neighbour"), "neighbour-image": filepath.Join(p.volume("neighbour-1"), "image"),
			},
			Output: func(id compute.TaskID) string { return "s3://bucket/out/" + string(id) },
			Objects: func(id compute.TaskID) map[string][]byte {
				objects := map[string][]byte{}
				for _, k := range store.Keys("bucket") {
					if b, ok := store.Object("bucket", k); ok && strings.HasPrefix(k, "out/"+string(id)+"/") {
						objects[k] = b
					}
				}
				return objects
			},
		}
	})
}

// TestIDs: where the server may, stage is another user than the program, whose
// files it handles as the program's. So are two tasks, and both from the host.
func TestIDs(t *testing.T) {
	t.Parallel()
	_, socket := s3(t)
	p := newPlace(t)
	p.cfg.APISocket = socket
	d := p.open(t)
	tk := staged(python("ids-1", "import os, time; print(os.stat('/opt/ml/input/config/hyperparameters.json').st_uid, os.getuid(), flush=True); time.sleep(1000)", ""))
	if err := d.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	computetest.Wait(t, d, tk.ID, "printing", func(s compute.TaskStatus) bool { return s.Spooled > 0 })
	pids := processes(t, p, tk.ID)
	uid := owner(t, p, tk.ID)
	want := map[string]string{"program": fmt.Sprint(uid, uid, uid, uid), "stage": fmt.Sprint(uid+2, uid+2, uid+2, uid), "init": "0 0 0 0", "supervisor": "0 0 0 0"}
	if !isRoot() {
		me := os.Getuid()
		for name := range want {
			want[name] = fmt.Sprint(me, me, me, me)
		}
	}
	for name, ids := range want {
		if got := statusLine(t, pids[name], "Uid"); got != ids {
			t.Errorf("%s (%d) is user %q, want %q", name, pids[name], got, ids)
		}
		if got := statusLine(t, pids[name], "Gid"); got != ids {
			t.Errorf("%s (%d) is group %q, want %q", name, pids[name], got, ids)
		}
	}
	for _, name := range []string{"program", "stage"} {
		if got := statusLine(t, pids[name], "CapEff"); got != "0000000000000000" {
			t.Errorf("%s has capabilities %s", name, got)
		}
		if got := statusLine(t, pids[name], "Seccomp"); got != "2" {
			t.Errorf("%s has no filter: %s", name, got)
		}
	}
	if isRoot() {
		// With every namespace gone, ids alone still keep stage from the program.
		for name, want := range map[string]bool{"program": true, "stage": false, "init": false, "supervisor": false} {
			cmd := exec.Command("/bin/kill", "-0", strconv.Itoa(pids[name]))
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
			if err := cmd.Run(); (err == nil) != want {
				t.Errorf("the program's user signals %s: %v", name, err)
			}
		}
	}
	if err := d.Stop(t.Context(), tk.ID, 0); err != nil {
		t.Fatal(err)
	}
	if lines := computetest.Lines(t, computetest.Output(t, d, tk.ID, 0)); len(lines) != 1 || lines[0] != "0 0" {
		t.Errorf("the program sees %q", lines)
	}
}

func statusLine(t *testing.T, pid int, name string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, name+":"); ok {
			return strings.Join(strings.Fields(v), " ")
		}
	}
	return ""
}

// TestHostileOutput floods the log; the program is not hindered.
func TestHostileOutput(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.cfg.MaxOutput = 1 << 20
	lines, st := p.runs(t, p.open(t), script("flood-1", "yes '0123456789 0123456789' | head -c 16M; exit 3"))
	if st.Exit.Result.ExitCode != 3 || st.Spooled > 1<<20+256 || st.Spooled < 1<<19 {
		t.Errorf("%d bytes kept, exit %+v", st.Spooled, *st.Exit)
	}
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "clary: more than 1048576 bytes") {
		t.Errorf("last line %q", last)
	}
}

// processes are a running task's, by what they are on the host.
func processes(t *testing.T, p *place, id compute.TaskID) map[string]int {
	t.Helper()
	st, err := task.ReadStatus(filepath.Join(p.cfg.Dir, string(id)))
	if err != nil {
		t.Fatal(err)
	}
	pids := map[string]int{"supervisor": st.PID}
	for parents := []int{st.PID}; len(parents) > 0; parents = parents[1:] {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parents[0], parents[0]))
		if gone(err) && parents[0] != st.PID {
			continue // what the program starts may be short
		}
		if err != nil {
			t.Fatal(err)
		}
		for f := range strings.FieldsSeq(string(b)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			parents = append(parents, pid)
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if gone(err) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			name := "program"
			if args := strings.Split(string(line), "\x00"); len(args) > 1 && strings.HasSuffix(args[0], "clary-task") {
				name = args[1]
			}
			if _, known := pids[name]; !known { // not what the program has started
				pids[name] = pid
			}
		}
	}
	return pids
}

// gone says whether a process ended before it was read.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }
