# What a host may try to reach, or to pretend, by the network of its job. Its
# peer tells all that comes to it, by stream or by datagram.
import struct, threading, time

PORT, SPOKEN = 7000, 7001
me = socket.gethostname()


def tell():
    seen = set()
    lock = threading.Lock()

    def say(what, who, b):
        with lock:
            if (what, who, b) not in seen:
                seen.add((what, who, b))
                print("%s-from-%s\t%s" % (what, who, b.decode(errors="replace")), flush=True)

    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(("", PORT))
    l = socket.create_server(("", PORT))

    def streams():
        while True:
            c, who = l.accept()
            say("stream", who[0], b"")
            c.close()

    threading.Thread(target=streams, daemon=True).start()
    print("up\tup", flush=True)
    while True:
        b, who = u.recvfrom(2048)
        u.sendto(b, who)
        say("datagram", who[0], b)


if ctx["What"] == "tell":
    tell()

peer, stranger, own = (socket.gethostbyname("algo-2"), ctx["Stranger"], socket.gethostbyname(me))


def datagram(option=None, bind=None, to=peer, device=None, what=b"spoofed"):
    """Sends by whatever is left to a program; that it left is no sin, that it came would be."""
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if device:
        u.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
    if option:
        u.setsockopt(socket.SOL_IP, option, 1)
    u.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    if bind:
        u.bind((bind, 0))
    for _ in range(20):
        u.sendto(what, (to, PORT))
    return "sent"


def honest():
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.settimeout(0.2)
    while True:
        u.sendto(b"honest", (peer, PORT))
        try:
            return u.recv(100).decode()
        except OSError:
            continue


attempt("descriptors", descriptors)
attempt("honest", honest)

# Sources of others, and the own ones that peers must not see.
FREEBIND, TRANSPARENT = 15, 19
attempt("source-free", datagram, FREEBIND, stranger)
attempt("source-transparent", datagram, TRANSPARENT, stranger)
attempt("source-loopback", datagram, None, "127.0.0.1")
if not ctx["Isolated"]:
    attempt("source-credentials", datagram, None, "169.254.170.2")


def stated(address):
    """The source in a message's head."""
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    info = struct.pack("i4s4s", 0, socket.inet_aton(address), b"\0\0\0\0")
    u.sendmsg([b"spoofed"], [(socket.SOL_IP, 8, info)], 0, (peer, PORT))
    return "sent"


attempt("source-stated", stated, stranger)


def raw(*kind):
    socket.socket(*kind).close()
    return "OPENED"


attempt("raw-packet", raw, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
attempt("raw-packet-cooked", raw, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
attempt("raw-ip", raw, socket.AF_INET, socket.SOCK_RAW, 255)
attempt("raw-ping", raw, socket.AF_INET, socket.SOCK_DGRAM, 1)


def routed():
    """Source routing, by which a peer would pass it on."""
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.setsockopt(socket.SOL_IP, 4, struct.pack("BBB4sB", 0x83, 7, 4, socket.inet_aton(stranger), 1))
    u.sendto(b"spoofed", (peer, PORT))
    return "sent"


attempt("source-routed", routed)


# The far end of eth0.
attempt("far-end", datagram, None, None, peer, b"peer0")
attempt("far-end-bound", datagram, FREEBIND, stranger, peer, b"peer0")
attempt("far-end-broadcast", datagram, None, None, "255.255.255.255", b"peer0")


def overhear():
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"peer0")
    u.bind(("", PORT))
    u.settimeout(0.5)
    datagram(what=b"honest")
    return u.recv(100).decode()


attempt("far-end-overhear", overhear)


def names():
    return " ".join(sorted(n for _, n in socket.if_nameindex() if n in ("lo", "eth0", "peer0")))


def ioctl(cmd):
    """The address of eth0, its flags, its name: an administrator's."""
    import fcntl
    fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), cmd, struct.pack("16sH22x", b"eth0", 0))
    return "SET"


attempt("interfaces", names)
for name, cmd in (("flags", 0x8914), ("address", 0x8916), ("hardware", 0x8924), ("name", 0x8923), ("neighbour", 0x8955), ("mtu", 0x8922)):
    attempt("set-" + name, ioctl, cmd)


# Who is not of this job: hosts of another with the same addresses, the machine,
# all at once.
def port(address, port, device=None):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(0.5)
    if device:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
    s.connect((address, port))
    return "CONNECTED"


# Relays of the peer are its own alone.
for n, p in (("api", 2527), ("proxy", 3128), ("credentials", 80)):
    attempt("peer-" + n, port, peer, p)
attempt("stranger", port, stranger, PORT)
for a in ctx["Addresses"]:
    for device in (b"eth0", b"peer0"):
        attempt("host-%s-%s" % (device.decode(), a), port, a, ctx["Port"], device)
for n, to in (("stranger", stranger), ("net", "10.77.0.0"), ("broadcast", "10.77.255.255"), ("all", "255.255.255.255"), ("multicast", "224.0.0.1")):
    attempt("beyond-" + n, datagram, None, None, to, None, b"beyond")
    attempt("beyond-eth0-" + n, datagram, None, None, to, b"eth0", b"beyond")
def six():
    u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    u.sendto(b"beyond", ("ff02::1", PORT, 0, socket.if_nametoindex("eth0")))
    return "sent"
attempt("beyond-version-6", six)
attempt("honest-still", honest)
print("end\tend", flush=True)
