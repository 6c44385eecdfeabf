# A host of a job, and what it does with its peers; each prints what came of it.
import hashlib, json, os, socket, sys, threading, time

ctx = json.loads(sys.argv[1])
me, peers = socket.gethostname(), ctx["Peers"]
others = [p for p in peers if p != me]
PORT = 7000


def say(*a):
    print(*a, flush=True)


def reach(host, port=PORT):
    """Connects to a host that may not be there yet."""
    while True:
        try:
            return socket.create_connection((host, port), 1)
        except OSError:
            time.sleep(0.02)


def line(c):
    b = b""
    while not b.endswith(b"\n"):
        got = c.recv(1)
        if not got:
            raise EOFError
        b += got
    return b.decode().strip()


def introduce():
    """Answers connections and datagrams with the own name and job."""
    said = ("%s %s\n" % (me, ctx["Job"])).encode()
    l = socket.create_server(("", PORT), backlog=100)
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(("", PORT))

    def streams():
        while True:
            c, who = l.accept()
            c.sendall(said)
            c.close()

    def datagrams():
        while True:
            b, who = u.recvfrom(65536)
            u.sendto(b"%d %s" % (len(b), said), who)

    for f in (streams, datagrams):
        threading.Thread(target=f, daemon=True).start()


def ask(host):
    """The name that a host gives, by stream and by datagram, and whether the stream's far end has that host's address."""
    c = reach(host)
    got = [line(c), c.getpeername()[0] == socket.gethostbyname(host)]
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.settimeout(0.5)
    while True:
        u.sendto(bytes(30000), (host, PORT))  # more than one packet holds
        try:
            b, who = u.recvfrom(100)
        except OSError:  # not there, or lost
            continue
        return got + [b.decode().strip(), who[0] == socket.gethostbyname(host)]


def stay():
    while True:
        time.sleep(1000)


def meet():
    introduce()
    for host in others:
        say("met", *ask(host))
    say("all")
    stay()


def digest(read):
    h, n = hashlib.sha256(), 0
    while True:
        b = read()
        if not b:
            return "%d %s" % (n, h.hexdigest())
        h.update(b)
        n += len(b)


def transfer():
    """Each sends to the other while it receives, and both say what they sent and what they got."""
    block = os.urandom(1 << 20)
    l = socket.create_server(("", PORT))
    out = reach(others[0])
    out.settimeout(None)
    sent = []

    def send():
        blocks = iter([block] * ctx["Blocks"])

        def step():
            b = next(blocks, b"")
            out.sendall(b)
            return b

        sent.append(digest(step))
        out.shutdown(socket.SHUT_WR)

    t = threading.Thread(target=send)
    t.start()
    c, _ = l.accept()
    say("got", digest(lambda: c.recv(1 << 20)))
    t.join()
    say("sent", sent[0])


def late():
    """The first asks before the last is there: it says so, and goes on until it answers."""
    introduce()
    if me == peers[0]:
        try:
            socket.create_connection((peers[-1], PORT), 0.5)
            say("there already")
        except OSError:
            say("not yet")
    say("met", *ask(others[0]))
    stay()


def pulse():
    """Passes a byte to and fro, and tells how often; the end of the other is told as it comes."""
    if me == peers[0]:
        l = socket.create_server(("", PORT))
        c, _ = l.accept()
    else:
        c = reach(peers[0])
    c.settimeout(ctx["Patience"])
    n = 0
    try:
        if me == peers[0]:
            c.sendall(b".")
        while c.recv(1):
            if n % 100 == 0:
                say("beat", n)
            n += 1
            time.sleep(0.001)
            c.sendall(b".")
        say("gone closed")
    except OSError as e:
        say("gone", type(e).__name__)
    stay()


globals()[ctx["What"]]()
