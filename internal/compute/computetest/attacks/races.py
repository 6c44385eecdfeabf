# Outputs that change what they are while stage looks at them, until the task is
# stopped. What changes them goes by descriptors of folders, which stay.
import signal, threading, time

where = ["/etc/passwd", "/proc/self/environ", "/proc/self/maps", "/run/clary/ca.pem", "/usr/bin/env"] + list(ctx["Files"].values())
top = ctx["What"]
over = threading.Event()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def make(name, at):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_EXCL, dir_fd=at)
    os.write(fd, b"good")
    os.close(fd)


def swap(n):
    """A name that is a file, a link, a pipe and nothing in turn."""
    p, q = "x%d" % n, ".x%d" % n
    i = 0
    while not over.is_set():
        i += 1
        make(q, here)
        os.utime(q, (1, 1), dir_fd=here)
        os.rename(q, p, src_dir_fd=here, dst_dir_fd=here)
        os.symlink(where[i % len(where)], q, dir_fd=here)
        os.rename(q, p, src_dir_fd=here, dst_dir_fd=here)
        os.mkfifo(q, dir_fd=here)
        os.rename(q, p, src_dir_fd=here, dst_dir_fd=here)
        os.unlink(p, dir_fd=here)
        os.link("good", p, src_dir_fd=here, dst_dir_fd=here)
        os.unlink(p, dir_fd=here)


def lead(name, at, pause):
    """A folder on the way that is a link to elsewhere in turn."""
    i = 0
    while not over.is_set():
        i += 1
        os.rename(name, "." + name, src_dir_fd=at, dst_dir_fd=at)
        os.symlink(("/proc/self", "/etc", "/run/clary")[i % 3], name, dir_fd=at)
        os.unlink(name, dir_fd=at)
        os.rename("." + name, name, src_dir_fd=at, dst_dir_fd=at)
        time.sleep(pause)


os.makedirs(top + "/dir", exist_ok=True)
here, above = (os.open(p, os.O_RDONLY) for p in (top, os.path.dirname(top)))
for n in ("good", "dir/environ", "dir/maps", "dir/status", "dir/passwd"):
    make(n, here)
ts = [threading.Thread(target=swap, args=(n,)) for n in range(4)]
# The folder itself goes less often: what is in it is to be found.
ts += [threading.Thread(target=lead, args=a) for a in (("dir", here, 0), (os.path.basename(top), above, 0.1))]
[t.start() for t in ts]
if signal.sigtimedwait([signal.SIGTERM], 6) is None:  # stage has looked once
    make("late", here)
    signal.sigwait([signal.SIGTERM])
    os.unlink("late", dir_fd=here)
over.set()
[t.join() for t in ts]
