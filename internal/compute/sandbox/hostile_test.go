package sandbox_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clary/internal/compute"
)

// attacks tries to leave the task, or to learn what it must not know. Each
// prints its name and what came of it.
const attacks = `
import ctypes, errno, fcntl, mmap, os, signal, socket, struct, subprocess, sys, tarfile, io
libc = ctypes.CDLL(None, use_errno=True)
def call(nr, *args):
    r = libc.syscall(ctypes.c_long(nr), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return "ok" if r >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(name, f):
    try: print(name, f(), flush=True)
    except OSError as e: print(name, errno.errorcode.get(e.errno, e), flush=True)
    except Exception as e: print(name, type(e).__name__, e, flush=True)
def read(path):
    with open(path, "rb") as f: f.read(64)
    return "READ"
def write(path):
    with open(path, "wb") as f: f.write(b"1")
    return "WRITTEN"
status = dict(l.split(":\t") for l in open("/proc/self/status").read().splitlines() if ":\t" in l)
print("caps", *[int(status[c], 16) for c in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")])
print("nnp", status["NoNewPrivs"], "seccomp", status["Seccomp"])
print("fds", sorted(n + "=" + os.readlink("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd") if os.path.lexists("/proc/self/fd/" + n)))
X = os.uname().machine == "x86_64"
NR = dict(unshare=272, clone=56, clone3=435, mount=165, ptrace=101, keyctl=250, bpf=321, io_uring_setup=425, userfaultfd=323, perf_event_open=298,
          open_by_handle_at=304, setns=308, chroot=161, pivot_root=155, open_tree=428, fsopen=430, mount_setattr=442, process_vm_readv=310, reboot=169, syslog=103, umount2=166, kexec_load=246, init_module=175, swapon=167, add_key=248) if X else \
     dict(unshare=97, clone=220, clone3=435, mount=40, ptrace=117, keyctl=219, bpf=280, io_uring_setup=425, userfaultfd=282, perf_event_open=241,
          open_by_handle_at=265, setns=268, chroot=51, pivot_root=41, open_tree=428, fsopen=430, mount_setattr=442, process_vm_readv=270, reboot=142, syslog=116, umount2=39, kexec_load=104, init_module=105, swapon=224, add_key=217)
for n in sorted(NR):
    if n not in ("clone", "clone3", "unshare", "ptrace"): attempt("call-" + n, lambda: call(NR[n], 0, 0, 0, 0, 0))
for bit, n in ((0x10000000, "user"), (0x20000, "mnt"), (0x20000000, "pid"), (0x40000000, "net")):
    attempt("unshare-" + n, lambda: call(NR["unshare"], bit))
    attempt("clone-" + n, lambda: call(NR["clone"], bit | 17, 0, 0, 0, 0))
attempt("clone3", lambda: call(NR["clone3"], 0, 0))
attempt("attach-warden", lambda: call(NR["ptrace"], 16, 1, 0, 0))
def x32(): return call(0x40000000 | 39)
def i386():
    r, w = os.pipe()
    if os.fork() == 0:
        m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        m.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3") # mov eax, getpid; int 0x80; ret
        f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
        v = f(); os.write(w, str(v).encode()); os._exit(0)
    os.close(w); got = os.read(r, 20); os.wait()
    return "refused" if got in (b"", b"-38") else "RAN " + got.decode()
if X: attempt("x32", x32); attempt("i386", i386)
else: print("x32 ENOSYS"); print("i386 refused")
for p in ("environ", "mem", "maps", "root/etc/passwd", "cwd", "fd/0", "fd/3"): attempt("warden-" + p, lambda: read("/proc/1/" + p))
os.kill(1, signal.SIGKILL); os.kill(1, signal.SIGSTOP); print("warden lives")
print("pids", len([p for p in os.listdir("/proc") if p.isdigit()]))
for p in ("/etc/shadow", "/etc/ssh/ssh_host_rsa_key", "/etc/machine-id", "/dev/vda", "/dev/sda", "/dev/mem", "/dev/kmsg", "/proc/kcore", "/sys/kernel/debug", sys.argv[1] + "/spec.json", sys.argv[2]): attempt("read " + p, lambda: read(p))
for p in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/run/clary/clary-task", "/usr/bin/python3", "/sys/devices/system/cpu/cpu1/online", "/proc/self/uid_map"): attempt("write " + p, lambda: write(p))
for f, n in ((38, "alg"), (40, "vsock"), (17, "packet"), (15, "key")): attempt("socket-" + n, lambda: socket.socket(f, socket.SOCK_RAW if f == 17 else socket.SOCK_STREAM, 0) and "OPENED")
attempt("socket-raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) and "OPENED")
def abstract(): s = socket.socket(socket.AF_UNIX); s.connect("\0" + sys.argv[3]); return "CONNECTED"
attempt("abstract", abstract)
def host(): s = socket.create_connection(("127.0.0.1", int(sys.argv[4])), 5); return "CONNECTED"
attempt("loopback", host)
attempt("mknod", lambda: os.mknod("/tmp/disk", 0o660 | 0o060000, os.makedev(8, 0)) or "MADE")
attempt("setuid", lambda: os.setuid(1000) or "BECAME")
attempt("setgroups", lambda: os.setgroups([0]) or "BECAME")
master, slave = os.openpty()
attempt("tiocsti", lambda: fcntl.ioctl(slave, 0x5412, b"x") and "PUSHED")
attempt("hostname", lambda: socket.sethostname("x") or "SET")
attempt("nice", lambda: os.nice(-5) and "FAVOURED")
def suid():
    import shutil; shutil.copy("/usr/bin/id", "/tmp/id"); os.chmod("/tmp/id", 0o4755)
    return subprocess.run(["/tmp/id", "-u"], capture_output=True, text=True).stdout.strip()
attempt("suid", suid)
def archive():
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w") as t:
        i = tarfile.TarInfo("f"); i.uid = 501; i.gid = 20; i.size = 1; t.addfile(i, io.BytesIO(b"x"))
    open("/tmp/a.tar", "wb").write(b.getvalue())
    os.mkdir("/tmp/a"); return subprocess.run(["tar", "-C", "/tmp/a", "-xf", "/tmp/a.tar"]).returncode
attempt("archive", archive)
os.symlink(sys.argv[2], "/opt/ml/link"); os.symlink(os.path.dirname(sys.argv[2]), "/opt/ml/dir")
os.mkdir("/opt/ml/closed"); open("/opt/ml/closed/f", "w").close(); os.chmod("/opt/ml/closed", 0)
print("end")
`

func TestHostile(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("clary-test-%d", os.Getpid())
	abstract, err := net.Listen("unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close() //nolint:errcheck // a test's
	loopback, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer loopback.Close() //nolint:errcheck // a test's
	_, port, _ := net.SplitHostPort(loopback.Addr().String())

	store, socket := s3(t)
	_ = store
	p := newPlace(t)
	p.cfg.APISocket = socket
	d := p.open(t)
	for _, staged := range []bool{false, true} {
		id := compute.TaskID("hostile-bare")
		if staged {
			id = "hostile-staged"
		}
		tk := training(string(id), "")
		tk.Plan.Training.Channels = nil
		if !staged {
			tk.Plan.Training = nil
		}
		tk.Args = []string{"python3", "-c", attacks, filepath.Join(p.cfg.Dir, string(id)), secret, name, port}
		lines, st := p.runs(t, d, tk)
		if st.Exit.Result.ExitCode != 0 || len(lines) == 0 || lines[len(lines)-1] != "end" {
			t.Errorf("exit %+v", *st.Exit)
		}
		for _, l := range lines {
			got, want := l[strings.LastIndexByte(l, ' ')+1:], ""
			switch {
			case strings.HasPrefix(l, "caps"):
				got, want = l, "caps 0 0 0 0 0"
			case strings.HasPrefix(l, "nnp"):
				got, want = l, "nnp 1 seccomp 2"
			case strings.HasPrefix(l, "fds"):
				if strings.Count(l, "=") == 3 && strings.Count(l, "pipe:") == 2 {
					continue
				}
				want = "0, 1 and 2"
			case l == "clone3 ENOSYS" || l == "x32 ENOSYS" || l == "i386 refused" || l == "warden lives" || l == "end":
				continue
			case strings.HasPrefix(l, "call-process_vm_readv"):
				continue // harmless: it asks for the rights of ptrace
			case strings.HasPrefix(l, "call-"), strings.HasPrefix(l, "unshare-"), strings.HasPrefix(l, "clone-"), strings.HasPrefix(l, "attach-"):
				want = "EPERM"
			case strings.HasPrefix(l, "pids"):
				want = "2"
			case strings.HasPrefix(l, "suid"), strings.HasPrefix(l, "archive"):
				want = "0"
			default: // any refusal will do
				if strings.HasPrefix(got, "E") && strings.ToUpper(got) == got {
					continue
				}
				want = "an error"
			}
			if got != want {
				t.Errorf("%s: %q, want %q", id, l, want)
			}
		}
		if t.Failed() {
			t.Logf("%s\n%s", id, strings.Join(lines, "\n"))
		}
		if err := d.Remove(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("a link led out of the task: %q, %v", b, err)
	}
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
