# Checkpoints that change what they are while stage looks at them.
import threading, time

where = ["/proc/self/environ", "/proc/self/maps", "/etc/passwd", "/run/clary/ca.pem", "/usr/bin/env"] + list(ctx["Files"].values())
top = "/opt/ml/checkpoints"
os.makedirs(top + "/dir", exist_ok=True)
stop = time.time() + 12


def swap(n):
    """A name that is a file, a link, a pipe and a folder in turn."""
    p, q = "%s/x%d" % (top, n), "%s/.x%d" % (top, n)
    i = 0
    while time.time() < stop:
        i += 1
        try:
            with open(q, "w") as f:
                f.write("good")
            os.utime(q, (1, 1))
            os.rename(q, p)
            os.symlink(where[i % len(where)], q)
            os.rename(q, p)
            os.mkfifo(q)
            os.rename(q, p)
            os.unlink(p)
            os.link("/opt/ml/checkpoints/good", p)
            os.unlink(p)
        except OSError:
            pass


def parent():
    """A folder on the way that is a link to elsewhere in turn."""
    while time.time() < stop:
        try:
            os.rename(top + "/dir", top + "/.dir")
            os.symlink("/proc/self", top + "/dir")
            os.unlink(top + "/dir")
            os.rename(top + "/.dir", top + "/dir")
        except OSError:
            pass


open(top + "/good", "w").write("good")
open(top + "/dir/environ", "w").write("good")
for n in ("maps", "status", "cmdline"):
    open(top + "/dir/" + n, "w").write("good")
ts = [threading.Thread(target=swap, args=(n,)) for n in range(4)] + [threading.Thread(target=parent)]
[t.start() for t in ts]
[t.join() for t in ts]
for n in range(4):
    for p in ("%s/x%d" % (top, n), "%s/.x%d" % (top, n)):
        try:
            os.unlink(p)
        except OSError:
            pass
