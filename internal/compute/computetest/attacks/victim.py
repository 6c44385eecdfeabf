# A neighbour with secrets in every place where a program may keep some. It
# says when it is ready and goes on until it is stopped.
import threading, time, urllib.request

secret = ctx["Secret"]
os.environ["NEIGHBOUR"] = secret
os.umask(0)
for d in ("/opt/ml", "/tmp", "/dev/shm", "/root", "/var/tmp", "/home/ec2-user", "/home/ec2-user/SageMaker"):
    if not os.path.isdir(d):
        continue  # that is a notebook's
    with open(d + "/neighbour", "w") as f:
        f.write(secret)
os.chmod("/root", 0o777)
held = []
for family, address in (
    (socket.AF_UNIX, "\0" + ctx["Abstract"]),
    (socket.AF_UNIX, "/tmp/neighbour.sock"),
    (socket.AF_INET, ("0.0.0.0", 7999)),
):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.bind(address)
    s.listen()
    held.append(s)
n = 0
while True:
    print("alive %d %s" % (n, os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")), flush=True)
    n += 1
    time.sleep(0.05)
