# What a program may try to reach from within its task.
import fcntl, glob, mmap, resource, shutil, signal, stat, struct, subprocess, tarfile, io, urllib.request, urllib.error, http.client

X = os.uname().machine == "x86_64"
NR = (
    dict(acct=163, add_key=248, bpf=321, chroot=161, delete_module=176, fanotify_init=300, finit_module=313, fsconfig=431, fsmount=432, fsopen=430, fspick=433,
         init_module=175, io_uring_enter=426, io_uring_register=427, io_uring_setup=425, kcmp=312, kexec_file_load=320, kexec_load=246, keyctl=250, listmount=458,
         memfd_secret=447, mount=165, mount_setattr=442, move_mount=429, move_pages=279, name_to_handle_at=303, open_by_handle_at=304, open_tree=428,
         perf_event_open=298, pivot_root=155, quotactl=179, reboot=169, request_key=249, sethostname=170, setns=308, settimeofday=164, statmount=457,
         swapoff=168, swapon=167, syslog=103, umount2=166, unshare=272, userfaultfd=323, vmsplice=278)
    if X else
    dict(acct=89, add_key=217, bpf=280, chroot=51, delete_module=106, fanotify_init=262, finit_module=273, fsconfig=431, fsmount=432, fsopen=430, fspick=433,
         init_module=105, io_uring_enter=426, io_uring_register=427, io_uring_setup=425, kcmp=272, kexec_file_load=294, kexec_load=104, keyctl=219, listmount=458,
         memfd_secret=447, mount=40, mount_setattr=442, move_mount=429, move_pages=239, name_to_handle_at=264, open_by_handle_at=265, open_tree=428,
         perf_event_open=241, pivot_root=41, quotactl=60, reboot=142, request_key=218, sethostname=161, setns=268, settimeofday=170, statmount=457,
         swapoff=225, swapon=224, syslog=116, umount2=39, unshare=97, userfaultfd=282, vmsplice=75)
)
CLONE, CLONE3, PTRACE, VM_READ, IOCTL, SOCKET, PIDFD_OPEN, PIDFD_GETFD, PERSONALITY = (
    (56, 435, 101, 310, 16, 41, 434, 438, 135) if X else (220, 435, 117, 270, 29, 198, 434, 438, 92)
)

# Privileges.
status = dict(l.split(":\t") for l in open("/proc/self/status").read().splitlines() if ":\t" in l)
attempt("capabilities", lambda: " ".join(str(int(status[c], 16)) for c in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")))
attempt("no-new-privileges", lambda: status["NoNewPrivs"])
attempt("seccomp", lambda: status["Seccomp"])
attempt("groups", lambda: status["Groups"].strip() or "none")
attempt("setuid-1000", aside, lambda: os.setuid(1000) or "BECAME")
attempt("setgroups", aside, lambda: os.setgroups([0]) or "BECAME")
attempt("nice", lambda: os.nice(-5) and "FAVOURED")
attempt("core-limit", lambda: resource.getrlimit(resource.RLIMIT_CORE)[1])
attempt("descriptor-limit", lambda: 64 <= resource.getrlimit(resource.RLIMIT_NOFILE)[1] <= 65536)

# Descriptors.
attempt("descriptors", descriptors)

# System calls.
for n in sorted(NR):
    attempt("call-" + n, call, NR[n], 0, 0, 0, 0, 0)
for bit, n in ((0x10000000, "user"), (0x20000, "mount"), (0x20000000, "pid"), (0x40000000, "net"), (0x08000000, "ipc"), (0x04000000, "uts"), (0x02000000, "cgroup")):
    attempt("unshare-" + n, call, NR["unshare"], bit)
    attempt("clone-" + n, call, CLONE, bit | 17, 0, 0, 0, 0)
attempt("unshare-time", call, NR["unshare"], 0x80)
attempt("clone3", call, CLONE3, 0, 0)
attempt("call-of-the-future", call, 600, 0, 0, 0, 0, 0)
attempt("personality", call, PERSONALITY, 0x0400000)
def x32():
    return call(0x40000000 | 39)
def i386():
    r, w = os.pipe()
    if os.fork() == 0:
        m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        m.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, getpid; int 0x80; ret
        v = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
        os.write(w, str(v).encode())
        os._exit(0)
    os.close(w)
    got = os.read(r, 20)
    os.wait()
    return "refused" if got in (b"", b"-38") else "RAN " + got.decode()
attempt("x32", x32 if X else lambda: "ENOSYS")
attempt("i386", i386 if X else lambda: "refused")
master, slave = os.openpty()
for n, cmd in (("push-back", 0x5412), ("console", 0x541C), ("discipline", 0x5423)):
    b = ctypes.create_string_buffer(b"\x15\0\0\0")
    attempt("terminal-" + n, call, IOCTL, slave, cmd, b)
    attempt("terminal-%s-wide" % n, call, IOCTL, slave, cmd | 1 << 32, b)

# Sockets: which families and protocols open at all.
def sockets(high):
    found = set()
    for family in range(64):
        for kind in (1, 2, 3, 4, 5, 6, 10):
            fd = libc.syscall(ctypes.c_long(SOCKET), ctypes.c_long(high | family), ctypes.c_long(kind), ctypes.c_long(0))
            if fd >= 0:
                os.close(fd)
                found.add("%d/%d" % (family, kind))
    return " ".join(sorted(found)) or "none"
attempt("socket-families", sockets, 0)
attempt("socket-families-wide", sockets, 1 << 32)
def protocols(family, kinds):
    found = set()
    for p in list(range(1, 263)):
        for kind in kinds:
            try:
                socket.socket(family, kind, p).close()
                found.add(p)
            except OSError:
                pass
    return " ".join(map(str, sorted(found))) or "none"
attempt("netlink-protocols", protocols, socket.AF_NETLINK, (2, 3))
attempt("ip-protocols", protocols, socket.AF_INET, (1, 2, 3, 5))
attempt("ipv6-protocols", protocols, socket.AF_INET6, (1, 2, 3, 5))
def tipc():
    socket.socketpair(30, socket.SOCK_SEQPACKET)
    return "OPENED"
attempt("socketpair-tipc", tipc)
def netlink():  # set eth0 down, as an administrator would
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    s.send(struct.pack("IHHII", 32, 16, 5, 1, 0) + struct.pack("BxHiII", 0, 0, 1, 0, 1))
    code = struct.unpack_from("i", s.recv(4096), 16)[0]
    return errno.errorcode.get(-code, "DONE")
attempt("netlink-set", netlink)

# Processes around: the own ones, and none of those that are told.
attempt("number", lambda: "%d below %d" % (os.getpid(), os.getppid()))
attempt("processes", lambda: len([p for p in os.listdir("/proc") if p.isdigit()]))
class Vec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
def vm(pid):
    b = ctypes.create_string_buffer(64)
    here, there = Vec(ctypes.addressof(b), 64), Vec(0x400000, 64)
    r = libc.syscall(ctypes.c_long(VM_READ), ctypes.c_long(pid), ctypes.byref(here), ctypes.c_long(1), ctypes.byref(there), ctypes.c_long(1), ctypes.c_long(0))
    return "READ" if r >= 0 else errno.errorcode[ctypes.get_errno()]
def steal(pid):
    p = libc.syscall(ctypes.c_long(PIDFD_OPEN), ctypes.c_long(pid), ctypes.c_long(0))
    return "OPENED" if p >= 0 else errno.errorcode[ctypes.get_errno()]
for n, pid in sorted(ctx["Pids"].items()):
    attempt("signal-" + n, lambda: os.kill(pid, 0) or "REACHED")
    attempt("signal-group-" + n, lambda: os.killpg(pid, 0) or "REACHED")
    attempt("look-at-" + n, lambda: os.listdir("/proc/%d" % pid) and "SEEN")
    attempt("trace-" + n, call, PTRACE, 16, pid, 0, 0)
    attempt("trace-seize-" + n, call, PTRACE, 0x4206, pid, 0, 0)
    attempt("memory-" + n, vm, pid)
    attempt("descriptor-" + n, steal, pid)
    attempt("priority-" + n, lambda: os.setpriority(os.PRIO_PROCESS, pid, 5) or "SET")
    attempt("affinity-" + n, lambda: os.sched_setaffinity(pid, {0}) or "SET")
    attempt("limit-" + n, lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)) and "SET")

# Files of the host, of the server, of others.
for n, p in ctx["Files"].items():
    attempt("read-" + n, read, p)
for n, p in ctx["Writes"].items():
    attempt("write-" + n, write, p)
def writable(top):
    """Every file below top that can be opened for writing."""
    found = []
    for d, dirs, files in os.walk(top):
        if top == "/proc":
            dirs[:] = [x for x in dirs if not (d == "/proc" and x.isdigit()) and x not in ("self", "thread-self")]
        for f in files:
            p = os.path.join(d, f)
            try:
                fd = os.open(p, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                continue
            os.close(fd)
            found.append(p)
    return " ".join(found[:20]) or "none"
attempt("writable-proc", writable, "/proc")
attempt("writable-sys", writable, "/sys")
def devices():
    found = []
    for d, _, files in os.walk("/dev"):
        for f in files:
            p = os.path.join(d, f)
            st = os.lstat(p)
            if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
                found.append(("b" if stat.S_ISBLK(st.st_mode) else "") + os.path.relpath(p, "/dev"))
    return " ".join(sorted(x for x in found if not x.startswith("pts/") or x == "pts/ptmx"))
attempt("devices", devices)
attempt("device-made", lambda: os.mknod("/tmp/disk", 0o660 | stat.S_IFBLK, os.makedev(8, 0)) or "MADE")
def mounts():
    """Mounts on which a setuid file or a device would work, or that can be written."""
    loose, rw = [], []
    for l in open("/proc/self/mountinfo"):
        f = l.split()
        at, opts = f[4], f[5].split(",")
        device = at.startswith("/dev/") and at not in ("/dev/pts", "/dev/shm")
        if device:
            continue
        if "nosuid" not in opts or ("nodev" not in opts and at != "/dev/pts"):
            loose.append(at)
        if "rw" in opts:
            rw.append(at)
    return " ".join(loose) or "none", " ".join(sorted(set(rw)))
attempt("mounts-loose", lambda: mounts()[0])
attempt("mounts-writable", lambda: mounts()[1])
def search():
    """Every small file that can be read, looked through for what is others'."""
    marks = [m.encode()[::-1] for m in ctx["Marks"]]  # as they come: no copy of them is here
    found, self = [], "/proc/%d" % os.getpid()
    for top in ("/proc", "/sys", "/dev/shm", "/etc", "/home", "/mnt", "/opt/ml", "/root", "/run", "/srv", "/tmp", "/var"):
        for d, dirs, files in os.walk(top):
            dirs[:] = [x for x in dirs if not (d.startswith("/proc/") and x in ("map_files", "root", "cwd", "fd", "task"))]
            if d == "/proc":
                dirs[:] = [x for x in dirs if x not in ("self", "thread-self")]
            if d.startswith(self):
                continue
            for f in files:
                p = os.path.join(d, f)
                try:
                    if not (p.startswith("/proc") or os.path.isfile(p)):
                        continue
                    fd = os.open(p, os.O_RDONLY | os.O_NONBLOCK)
                except OSError:
                    continue
                try:
                    b = os.read(fd, 1 << 16)
                except OSError:
                    b = b""
                os.close(fd)
                if any(m in b for m in marks):
                    found.append(p)
    return " ".join(found) or "none"
attempt("search", search)

# Sockets of others.
attempt("abstract-host", connect, socket.AF_UNIX, "\0" + ctx["HostAbstract"])
attempt("abstract-neighbour", connect, socket.AF_UNIX, "\0" + ctx["Abstract"])
attempt("stage-socket", connect, socket.AF_UNIX, "/run/clary/api.sock")
for a in ctx["Addresses"]:
    attempt("connect-" + a, connect, socket.AF_INET6 if ":" in a else socket.AF_INET, (a, ctx["Port"]))
for p in (7999, 22, 111):
    attempt("loopback-%d" % p, connect, socket.AF_INET, ("127.0.0.1", p))

# Files with rights, and the view of the host.
def suid():
    shutil.copy("/usr/bin/id", "/tmp/id")
    os.chmod("/tmp/id", 0o4755)
    return "MADE"
attempt("setuid-file", suid)
def suid_at_birth():
    os.umask(0)
    fd = os.open("/tmp/born", os.O_CREAT | os.O_WRONLY, 0o4755)
    return "MADE" if os.fstat(fd).st_mode & stat.S_ISUID else "no"
attempt("setuid-file-at-birth", suid_at_birth)
def suid_run():
    """Every setuid file in sight gives nothing."""
    won = []
    for p in glob.glob("/usr/bin/*") + glob.glob("/usr/sbin/*") + glob.glob("/usr/lib/*/*"):
        try:
            st = os.stat(p)
        except OSError:
            continue
        if stat.S_ISREG(st.st_mode) and st.st_mode & (stat.S_ISUID | stat.S_ISGID) and os.statvfs(p).f_flag & os.ST_NOSUID == 0:
            won.append(p)
    return " ".join(won) or "none"
attempt("setuid-files-of-the-host", suid_run)
def archive():
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w") as t:
        i = tarfile.TarInfo("f")
        i.uid, i.gid, i.size = 501, 20, 1
        t.addfile(i, io.BytesIO(b"x"))
    open("/tmp/a.tar", "wb").write(b.getvalue())
    os.mkdir("/tmp/a")
    return subprocess.run(["tar", "-C", "/tmp/a", "-xf", "/tmp/a.tar"]).returncode
attempt("works-archive", archive)
def threads():
    import threading
    done = []
    ts = [threading.Thread(target=done.append, args=(i,)) for i in range(8)]
    [t.start() for t in ts]
    [t.join() for t in ts]
    return len(done)
attempt("works-threads", threads)
def rename():
    os.makedirs("/opt/ml/a/b", exist_ok=True)
    os.makedirs("/opt/ml/c", exist_ok=True)
    open("/opt/ml/a/b/f", "w").write("x")
    os.rename("/opt/ml/a/b/f", "/opt/ml/c/f")
    os.link("/opt/ml/c/f", "/opt/ml/a/g")
    os.truncate("/opt/ml/c/f", 0)
    os.symlink("f", "/opt/ml/c/l")
    os.mkfifo("/opt/ml/c/p")
    s = socket.socket(socket.AF_UNIX)
    s.bind("/tmp/own.sock")
    shutil.rmtree("/opt/ml/a")
    for d in ("/tmp", "/var/tmp", "/root", "/etc", "/dev/shm"):
        open(d + "/own", "w").close()
    with open("/proc/self/comm", "w") as f:
        f.write("own")
    return "all"
attempt("works-files", rename)
def network():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen()
    c = socket.create_connection(s.getsockname(), 5)
    u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    u.bind(("::1", 0))
    return " ".join(sorted(n for _, n in socket.if_nameindex() if n in ("lo", "eth0")))
attempt("works-network", network)
def shared():
    import multiprocessing
    with multiprocessing.Pool(2) as p:
        return sum(p.map(abs, [-1, -2]))
attempt("works-multiprocessing", shared)
print("end\tend", flush=True)
