# Outputs that are not what they seem, when stage comes to upload them.
import shutil

where = ["/proc/self/environ", "/proc/1/environ", "/proc/self/maps", "/etc/passwd", "/run/clary/clary-task", "/usr/bin/env", "/etc/shadow"] + list(ctx["Files"].values())
what = ctx["What"]
model = "/opt/ml/model"
os.makedirs(model, exist_ok=True)
os.makedirs("/opt/ml/output/data", exist_ok=True)
open(model + "/good", "w").write("good")
if what == "inside":
    for i, p in enumerate(where):
        os.symlink(p, "%s/abs%d" % (model, i))
        os.symlink("../../.." + p, "%s/rel%d" % (model, i))
        os.symlink("../../../proc/self/root" + p, "%s/root%d" % (model, i))
        try:
            os.link(p, "%s/hard%d" % (model, i))
        except OSError:
            pass
        os.symlink(p, "/opt/ml/output/data/%d" % i)
    os.symlink("/", model + "/all")
    os.symlink("/proc", model + "/proc")
    os.symlink("../..", model + "/up")
    os.symlink(model, model + "/self")
    os.symlink("loop", model + "/loop")
    os.makedirs(model + "/d/e")
    os.symlink("../../../../etc/passwd", model + "/d/e/chain")
    os.mkfifo(model + "/fifo")
    s = socket.socket(socket.AF_UNIX)
    s.bind(model + "/socket")
    os.makedirs(model + "/closed")
    open(model + "/closed/f", "w").write("closed")
    open(model + "/tool", "w").write("tool")
    os.chmod(model + "/tool", 0o2755)
elif what == "model":
    shutil.rmtree(model)
    os.symlink("/etc", model)
elif what == "parent":
    shutil.rmtree("/opt/ml/output")
    os.symlink("/proc/self", "/opt/ml/output")
elif what == "failure":
    os.symlink("/proc/self/environ", "/opt/ml/output/failure")
    print("dead", flush=True)
    os._exit(3)
elif what == "failure-fifo":
    os.mkfifo("/opt/ml/output/failure")
    print("dead", flush=True)
    os._exit(3)
