# Taking all there is.
import resource, signal, struct, threading, time

what = ctx["What"]


def say(*a):
    print(*a, flush=True)


def fill(f):
    """Writes on and on, but no more than a host can bear."""
    for _ in range(1024):
        os.write(f.fileno(), bytes(1 << 20))
    say("escaped")


def hold():
    while True:
        time.sleep(1000)


if what == "fork":
    say("up")
    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        pass
    while True:
        try:
            if os.fork() == 0:
                for s in range(1, 32):
                    try:
                        signal.signal(s, signal.SIG_IGN)
                    except (OSError, ValueError):
                        pass
                os.setsid()
        except OSError:
            time.sleep(0.001)
elif what == "anonymous":
    say("up")
    kept = []
    while True:
        kept.append(bytearray(8 << 20))
        time.sleep(0.005)
elif what == "many":  # many small ones, each less than init
    say("up")
    while True:
        try:
            if os.fork() == 0:
                kept = bytearray(3 << 20)
                try:
                    open("/proc/self/oom_score_adj", "w").write("0")
                except OSError:
                    pass
                hold()
        except OSError:
            pass
        time.sleep(0.01)
elif what in ("shm", "etc"):
    say("up")
    try:
        with open({"shm": "/dev/shm/fill", "etc": "/etc/fill"}[what], "wb", buffering=0) as f:
            while True:
                f.write(bytes(8 << 20))
                time.sleep(0.005)
    except OSError as e:
        say("refused", errno.errorcode[e.errno])
elif what == "memfd":
    say("up")
    fd = os.memfd_create("fill")
    while True:
        os.write(fd, bytes(8 << 20))
        time.sleep(0.005)
elif what == "pipes":
    say("up")
    kept = []
    try:
        while True:
            r, w = os.pipe()
            os.set_blocking(w, False)
            kept.append((r, w))
            try:
                os.write(w, bytes(1 << 16))
            except BlockingIOError:
                pass
    except OSError as e:
        say("refused", errno.errorcode[e.errno])
elif what == "plain":
    say("up")
    with open("/opt/ml/fill", "wb", buffering=0) as f:
        fill(f)
elif what == "unlinked":
    say("up")
    with open("/tmp/fill", "wb", buffering=0) as f:
        os.unlink("/tmp/fill")
        fill(f)
        hold()
elif what == "passed":  # held by nobody but a message under way
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    say("up")
    for _ in range(256):
        fd = os.open("/tmp/fill", os.O_CREAT | os.O_WRONLY)
        os.unlink("/tmp/fill")
        for _ in range(4):
            os.write(fd, bytes(1 << 20))
        socket.send_fds(a, [b"x"], [fd])
        os.close(fd)
    say("escaped")
elif what == "deep":
    say("up")
    os.chdir("/opt/ml")
    for _ in range(60):
        n = "d" * 200
        os.mkdir(n)
        os.chdir(n)
    with open("fill", "wb", buffering=0) as f:
        fill(f)
elif what == "mapped":  # no descriptor is open
    import mmap
    fd = os.open("/tmp/fill", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 1 << 30)
    m = mmap.mmap(fd, 1 << 30)
    os.close(fd)
    os.unlink("/tmp/fill")
    say("up")
    for i in range(0, 1 << 30, 4096):
        m[i] = 1
    say("escaped")
elif what == "closed":
    say("up")
    os.mkdir("/var/tmp/closed")
    with open("/var/tmp/closed/fill", "wb", buffering=0) as f:
        os.chmod("/var/tmp/closed", 0)
        fill(f)
elif what == "names":
    say("up")
    for n in range(300000):
        d = "/opt/ml/%d" % (n // 1000)
        if n % 1000 == 0:
            os.mkdir(d)
        os.close(os.open("%s/%d" % (d, n), os.O_CREAT | os.O_WRONLY))
    say("escaped")
elif what == "descriptors":
    kept = []
    try:
        while True:
            kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as e:
        say("up", len(kept), errno.errorcode[e.errno])
    hold()
elif what == "connections":
    kept = []
    for address in (("127.0.0.1", 2527), ("127.0.0.1", 3128), ("169.254.170.2", 80)):
        for i in range(3000):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(address)
            kept.append(s)
            if i % 100 == 0:
                time.sleep(0.01)
    say("up", len(kept))
    hold()
elif what == "survive":
    libc.prctl(36, 1, 0, 0, 0)  # a subreaper keeps its orphans
    mark = ctx["Mark"]
    for how in range(4):
        if os.fork() == 0:
            os.setsid()
            libc.prctl(1, 0)  # no signal at the parent's death
            if how > 1:
                for s in range(1, 32):
                    try:
                        signal.signal(s, signal.SIG_IGN)
                    except (OSError, ValueError):
                        pass
            if how % 2 and os.fork() != 0:
                os._exit(0)
            os.execvp("sleep", [mark, "1000"])
    time.sleep(0.2)
    say("up")
    if ctx["Marks"]:
        hold()
