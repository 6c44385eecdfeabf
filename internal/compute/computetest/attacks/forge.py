# Words that stage, init or a supervisor would say, wherever a program can say
# something, and a try to end whoever would contradict.
import glob, signal, threading

words = [
    b'{"Step":"Uploading"}', b'{"Step":"Completed"}', b'{"End":{"ExitCode":0},"Stage":true}', b'{"Result":{"ExitCode":0,"Artifact":"s3://bucket/forged"}}',
    b'{"Exit":{"Code":0}}', b'{"Running":true}', b'{"Listeners":["api"]}', b'{"Kill":true}', b'{"Stop":{"Grace":0}}',
]
for w in words:
    print(w.decode(), flush=True)
print("1700000000000 forged", flush=True)
sys.stdout.write("half\r1700000000000 forged\n")
sys.stdout.flush()
for fd in range(3, 256):
    for w in words:
        try:
            os.write(fd, w)
        except OSError:
            pass
for p in ["/run/clary/api.sock"] + glob.glob("/tmp/*.sock"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
        try:
            s = socket.socket(socket.AF_UNIX, kind)
            s.connect(p)
            s.send(words[0])
            print("SAID IT AT " + p, flush=True)
        except OSError:
            pass
for n in ("status.json", "stop.json", "spec.json", "spool"):
    for d in ("/opt/ml", "/", "/root", "/tmp"):
        try:
            open(d + "/" + n, "w").write('{"Phase":"Ended"}')
        except OSError:
            pass
# The output's pipe, opened anew by its name, is still nothing but output.
for fd in (1, 2):
    with open("/proc/self/fd/%d" % fd, "wb", buffering=0) as f:
        f.write(b'{"End":{"ExitCode":0}}\n')
os.makedirs("/opt/ml/output", exist_ok=True)
os.makedirs("/opt/ml/model", exist_ok=True)
open("/opt/ml/model/m", "w").write("m")
open("/opt/ml/output/failure", "w").write("my own words")
for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(s, signal.SIG_IGN)
for pid in (-1, 1):
    for s in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
        try:
            os.kill(pid, s)
        except OSError:
            pass
print("forged\tend", flush=True)
os._exit(42)
