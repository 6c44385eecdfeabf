# Outputs that change what they are while stage looks at them, until the task is
# stopped. What changes them goes by descriptors of folders, which stay.
import shutil, signal, threading, time

where = ["/etc/passwd"] * 8 + ["/proc/self/environ", "/proc/self/maps", "/run/clary/ca.pem", "/usr/bin/env"] + list(ctx["Files"].values())
folders = ["/etc"] * 4 + ["/proc/self", "/run/clary", "/opt/ml", "/"]
top = ctx["What"]
over = threading.Event()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def make(name):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_EXCL, dir_fd=here)
    os.write(fd, b"good")
    os.close(fd)


def exchange(name):
    """What two names are, at once and all the time."""
    if libc.renameat2(here, name + b"~", here, name, 2) != 0:
        os._exit(1)


def change():
    """A name that is a file, a pipe, another's file and nothing in turn."""
    while not over.is_set():
        make("x")
        os.utime("x", (1, 1), dir_fd=here)
        os.mkfifo("x~", dir_fd=here)
        os.rename("x~", "x", src_dir_fd=here, dst_dir_fd=here)
        os.unlink("x", dir_fd=here)
        os.link("good", "x", src_dir_fd=here, dst_dir_fd=here)
        os.unlink("x", dir_fd=here)


def lead():
    """The folder itself is a link in turn. It goes less often: what is in it is to be found."""
    name, above, i = os.path.basename(top), os.open(os.path.dirname(top), os.O_RDONLY), 0
    while not over.is_set():
        i += 1
        os.rename(name, "." + name, src_dir_fd=above, dst_dir_fd=above)
        os.symlink(folders[i % len(folders)], name, dir_fd=above)
        os.unlink(name, dir_fd=above)
        os.rename("." + name, name, src_dir_fd=above, dst_dir_fd=above)
        time.sleep(1)


os.makedirs(top, exist_ok=True)
here = os.open(top, os.O_RDONLY)
make("good")
names = []
for i, to in enumerate(where):
    make("f%d" % i)
    os.symlink(to, "f%d~" % i, dir_fd=here)
    names.append(b"f%d" % i)
for i, to in enumerate(folders):
    os.mkdir("z%d" % i, dir_fd=here)
    for n in ("passwd", "environ", "maps", "status"):
        make("z%d/%s" % (i, n))
    os.symlink(to, "z%d~" % i, dir_fd=here)
    names.append(b"z%d" % i)
child = os.fork()
while child == 0:
    for n in names:
        exchange(n)
ts = [threading.Thread(target=f) for f in (change, lead)]
[t.start() for t in ts]
if signal.sigtimedwait([signal.SIGTERM], 6) is None:  # stage has looked once
    make("late")
    signal.sigwait([signal.SIGTERM])
over.set()
[t.join() for t in ts]
if os.waitpid(child, os.WNOHANG) != (0, 0):
    sys.exit("names cannot be exchanged")
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
for n in os.listdir(top):  # else the end would send once more, and well, what was sent before
    if n != "good":
        (shutil.rmtree if os.path.isdir(top + "/" + n) and not os.path.islink(top + "/" + n) else os.unlink)(top + "/" + n)
