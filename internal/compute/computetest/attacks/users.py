# What a notebook's user may try with the rights that make sudo work. It runs as
# the user and then as root of the task.
import shutil, signal, stat

def caps(what, value):
    hdr = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    libc.capget(hdr, data)
    data[what] |= value
    if what == 0:
        data[1] |= value
    return "RAISED" if libc.capset(hdr, data) == 0 else errno.errorcode[ctypes.get_errno()]
for name, bit in (("admin", 21), ("module", 16), ("ptrace", 19), ("net-admin", 12), ("net-raw", 13), ("kill", 5), ("mknod", 27), ("setpcap", 8), ("setfcap", 31), ("sys-chroot", 18)):
    attempt("raise-" + name, caps, 0, 1 << bit)
    attempt("inherit-" + name, caps, 2, 1 << bit)
for n in (1, 1001, 65534, 1900000000, 1900000001, 4294967294):
    attempt("become-%d" % n, aside, lambda: os.setresuid(n, n, n) or "BECAME")
    attempt("become-group-%d" % n, aside, lambda: os.setresgid(n, n, n) or "BECAME")
def change(path):
    os.chmod(path, 0o777)
    return "CHANGED"
def own(path):
    os.chown(path, 0, 0)
    return "OWNED"
for name, path in (("usr", "/usr"), ("python", "/usr/bin/python3"), ("root", "/"), ("run", "/run"), ("binary", "/run/clary/clary-task"), ("socket", "/run/clary/api.sock"), ("certificates", "/etc/ssl/certs"),
                   ("sys", "/proc/sys"), ("null", "/dev/null")):
    attempt("chmod-" + name, change, path)
    attempt("chown-" + name, own, path)
attempt("map-write", write, "/proc/self/uid_map", b"0 0 1")
attempt("filecap", lambda: shutil.copy("/usr/bin/id", "/tmp/id2") and os.setxattr("/tmp/id2", "security.capability", b"\x01\0\0\2" + b"\xff" * 16) or "SET")
attempt("trusted", lambda: os.setxattr("/tmp/id2", "trusted.x", b"x") or "SET")
attempt("immutable", lambda: __import__("fcntl").ioctl(os.open("/tmp/id2", os.O_RDONLY), 0x40086602, (0x10).to_bytes(8, "little")) and "SET" or "SET")
attempt("device", lambda: os.mknod(os.path.expanduser("~/disk"), 0o666 | stat.S_IFBLK, os.makedev(7, 0)) or "MADE")
attempt("works-owner", lambda: [open("/tmp/mine", "w").close(), os.chown("/tmp/mine", 0, 0), os.stat("/tmp/mine").st_uid][2])
attempt("works-home", lambda: [open("/home/ec2-user/SageMaker/mine-%d" % os.getuid(), "w").close(), sorted(set(os.listdir("/home/ec2-user/SageMaker")) - {"lost+found"})][1])
print("end\tend", flush=True)
